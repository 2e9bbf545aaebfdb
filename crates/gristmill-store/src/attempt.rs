//! Attempts that ended: one row each, written once from `Event::RunEnded`.
//!
//! The event carries everything, so filling the row asks nobody. Texts a program or a mount can
//! make long are cut here at [`TEXT_BYTES_MAX`]; the journal keeps them whole until it is cut.
//! The words in the columns are the store's own and stay for ever: they are listed in the tables
//! below, not derived from the names of variants.

use gristmill_model::{
    Cause, Event, InstanceNo, JobId, RunId, RunOutcome, Timestamp, WorkerId, event::AfterRun,
};
use rusqlite::{Row, Transaction};

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

const INSERT: &str = "INSERT INTO attempt
    (job, task, instance, run, worker, address, retries, outcome, number, cause, message, detail,
     started, ended, became)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT DO NOTHING";

/// Ids are kept as big-endian bytes: their order is the order of the numbers.
pub(crate) fn job_key(job: JobId) -> [u8; 16] {
    job.0.to_be_bytes()
}

/// Keeps what an event adds to the read tables; most add nothing. A run that ended before keeps
/// its first record.
pub(crate) fn record(transaction: &Transaction<'_>, event: &Event) -> rusqlite::Result<()> {
    match event {
        Event::RunEnded { .. } => insert(transaction, event),
        Event::RunsFinished { .. } => {
            event.finished_one_by_one().try_for_each(|one| insert(transaction, &one))
        }
        Event::JobDeleted { job } => transaction
            .prepare_cached("INSERT OR IGNORE INTO deleted_job (job) VALUES (?1)")?
            .execute([job_key(*job)])
            .map(drop),
        _ => Ok(()),
    }
}

fn insert(transaction: &Transaction<'_>, event: &Event) -> rusqlite::Result<()> {
    let Event::RunEnded {
        run,
        job,
        task,
        instance,
        worker,
        address,
        retries,
        outcome,
        detail,
        started,
        ended,
        after,
    } = event
    else {
        return Ok(());
    };
    let Columns { outcome, number, cause, message } = Columns::of(outcome);
    let inserted = transaction.prepare_cached(INSERT)?.execute(rusqlite::params![
        job_key(*job),
        task.as_str(),
        instance.0,
        run_column(*run),
        worker.0.to_be_bytes(),
        address,
        retries,
        outcome,
        number,
        cause,
        message.map(bounded),
        bounded(detail),
        started.map(|at| at.0),
        ended.0,
        word(AFTER, *after),
    ])?;
    if inserted == 0 {
        tracing::error!(%run, %job, %task, %instance, "a run ended twice; the first record stands");
    }
    Ok(())
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

fn run_column(run: RunId) -> i64 {
    i64::try_from(run.0).expect("runs are counted up from 1")
}

/// An outcome, spread over four columns.
struct Columns<'a> {
    outcome: &'static str,
    number: Option<i32>,
    cause: Option<&'static str>,
    message: Option<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(outcome: &'a RunOutcome) -> Self {
        let plain = |outcome| Self { outcome, number: None, cause: None, message: None };
        match outcome {
            RunOutcome::Exited { code } => Self { number: Some(*code), ..plain("exited") },
            RunOutcome::Signalled { signal } => {
                Self { number: Some(*signal), ..plain("signalled") }
            }
            RunOutcome::TimedOut => plain("timed out"),
            RunOutcome::OutOfMemory => plain("out of memory"),
            RunOutcome::Unable { cause, message } => Self {
                cause: Some(word(CAUSES, *cause)),
                message: Some(message),
                ..plain("unable")
            },
            RunOutcome::Infrastructure { cause, message } => Self {
                cause: Some(word(CAUSES, *cause)),
                message: Some(message),
                ..plain("infrastructure")
            },
            RunOutcome::Cancelled => plain("cancelled"),
        }
    }
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

fn word<T: PartialEq + Copy>(table: &[(T, &'static str)], value: T) -> &'static str {
    let row = table.iter().find(|row| row.0 == value);
    row.expect("every value has a word; a test holds the tables complete").1
}

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
