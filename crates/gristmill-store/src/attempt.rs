//! Attempts that ended, as `Event::RunEnded` and `Event::RunsFinished` tell of them.
//!
//! The event carries everything, so an attempt is made without asking anybody. Texts a program or a
//! mount can make long are cut here at [`TEXT_BYTES_MAX`]; the journal keeps them whole until it is
//! cut. Release 0.1.0 wrote a row for each attempt, which is still read here; its words in the
//! columns are listed in the tables below. Now they are in `segment` and `tail`.

use gristmill_model::{
    Cause, Event, InstanceNo, JobId, RunId, RunOutcome, Timestamp, WorkerId, event::AfterRun,
};
use rusqlite::{Row, Transaction};
use std::ops::Range;

/// The longest detail or message that is kept of one attempt, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;

/// One execution of an instance that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The instance.
    pub instance: InstanceNo,
    /// This execution; a higher number is later.
    pub run: RunId,
    /// Where it ran.
    pub worker: WorkerId,
    /// The machine's address.
    pub address: String,
    /// Retries used up before it.
    pub retries: u32,
    /// How it ended.
    pub outcome: RunOutcome,
    /// More words, at most [`TEXT_BYTES_MAX`].
    pub detail: String,
    /// When the program started; `None` when it never did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// What became of the instance.
    pub after: AfterRun,
}

/// What [`from_row`] reads, in its order.
pub(crate) const COLUMNS: &str = "instance, run, worker, address, retries, outcome, number, cause, message, detail, started, \
     ended, became";

/// Ids are kept as big-endian bytes: their order is the order of the numbers.
pub(crate) fn job_key(job: JobId) -> [u8; 16] {
    job.0.to_be_bytes()
}

/// Notes that a job is gone; its attempts are removed later.
pub(crate) fn record(transaction: &Transaction<'_>, event: &Event) -> rusqlite::Result<()> {
    let Event::JobDeleted { job } = event else { return Ok(()) };
    transaction
        .prepare_cached("INSERT OR IGNORE INTO deleted_job (job) VALUES (?1)")?
        .execute([job_key(*job)])
        .map(drop)
}

impl Attempt {
    /// The attempts that an event ended, those of instances in a range.
    pub(crate) fn each_of(event: &Event, wanted: &Range<u32>, found: &mut impl FnMut(Self)) {
        match event {
            Event::RunsFinished { worker, address, runs, .. } => {
                for one in runs.iter().filter(|one| wanted.contains(&one.instance.0)) {
                    found(Self {
                        instance: one.instance,
                        run: one.run,
                        worker: *worker,
                        address: address.clone(),
                        retries: 0,
                        outcome: RunOutcome::Exited { code: 0 },
                        detail: String::new(),
                        started: Some(one.started),
                        ended: one.ended,
                        after: AfterRun::Finished,
                    });
                }
            }
            Event::RunEnded { instance, .. } if !wanted.contains(&instance.0) => {}
            Event::RunEnded {
                run,
                instance,
                worker,
                address,
                retries,
                outcome,
                detail,
                started,
                ended,
                after,
                ..
            } => found(Self {
                instance: *instance,
                run: *run,
                worker: *worker,
                address: address.clone(),
                retries: *retries,
                outcome: bounded_outcome(outcome.clone()),
                detail: bounded(detail).to_owned(),
                started: *started,
                ended: *ended,
                after: *after,
            }),
            _ => {}
        }
    }
}

/// The outcome with its words cut where they are too long.
fn bounded_outcome(mut outcome: RunOutcome) -> RunOutcome {
    if let RunOutcome::Unable { message, .. } | RunOutcome::Infrastructure { message, .. } =
        &mut outcome
    {
        message.truncate(message.floor_char_boundary(TEXT_BYTES_MAX));
    }
    outcome
}

/// Reads one attempt from [`COLUMNS`].
pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        instance: InstanceNo(row.get(0)?),
        run: RunId(row.get::<_, i64>(1)?.cast_unsigned()),
        worker: WorkerId(u128::from_be_bytes(row.get(2)?)),
        address: row.get(3)?,
        retries: row.get(4)?,
        outcome: outcome(row)?,
        detail: row.get(9)?,
        started: row.get::<_, Option<i64>>(10)?.map(Timestamp),
        ended: Timestamp(row.get(11)?),
        after: meaning(AFTER, row, 12)?,
    })
}

fn outcome(row: &Row<'_>) -> rusqlite::Result<RunOutcome> {
    let kind = row.get_ref(5)?.as_str()?;
    Ok(match kind {
        "exited" => RunOutcome::Exited { code: row.get(6)? },
        "signalled" => RunOutcome::Signalled { signal: row.get(6)? },
        "timed out" => RunOutcome::TimedOut,
        "out of memory" => RunOutcome::OutOfMemory,
        "unable" => RunOutcome::Unable { cause: meaning(CAUSES, row, 7)?, message: row.get(8)? },
        "infrastructure" => {
            RunOutcome::Infrastructure { cause: meaning(CAUSES, row, 7)?, message: row.get(8)? }
        }
        "cancelled" => RunOutcome::Cancelled,
        _ => return Err(unknown_word(5, kind)),
    })
}

const CAUSES: &[(Cause, &str)] = &[
    (Cause::NonZeroExit, "exit code"),
    (Cause::Signal, "signal"),
    (Cause::Timeout, "timeout"),
    (Cause::OutOfMemory, "memory"),
    (Cause::Command, "command"),
    (Cause::Package, "package"),
    (Cause::Mount, "mount"),
    (Cause::Upload, "upload"),
    (Cause::Image, "image"),
    (Cause::WorkerLost, "worker lost"),
    (Cause::Sandbox, "sandbox"),
];

const AFTER: &[(AfterRun, &str)] = &[
    (AfterRun::Finished, "finished"),
    (AfterRun::Retry, "retry"),
    (AfterRun::PutBack, "put back"),
    (AfterRun::Failed, "failed"),
    (AfterRun::Ignored, "ignored"),
];

fn meaning<T: Copy>(table: &[(T, &str)], row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    let found = table.iter().find(|row| row.1 == text);
    found.map(|row| row.0).ok_or_else(|| unknown_word(column, text))
}

fn unknown_word(column: usize, word: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        rusqlite::types::Type::Text,
        format!("unknown word `{word}`").into(),
    )
}

/// The text, cut at a character where it is too long.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_and_every_fate_has_a_word() {
        for (cause, _) in CAUSES {
            // No `_` arm: a new cause must get its word above.
            match cause {
                Cause::NonZeroExit
                | Cause::Signal
                | Cause::Timeout
                | Cause::OutOfMemory
                | Cause::Command
                | Cause::Package
                | Cause::Mount
                | Cause::Upload
                | Cause::Image
                | Cause::WorkerLost
                | Cause::Sandbox => {}
            }
        }
        for (after, _) in AFTER {
            match after {
                AfterRun::Finished
                | AfterRun::Retry
                | AfterRun::PutBack
                | AfterRun::Failed
                | AfterRun::Ignored => {}
            }
        }
        assert_eq!((CAUSES.len(), AFTER.len()), (11, 5));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(bounded("short"), "short");
        let long = "日".repeat(TEXT_BYTES_MAX);
        let cut = bounded(&long);
        assert_eq!(cut.len(), TEXT_BYTES_MAX - TEXT_BYTES_MAX % 3);
    }
}
