//! Rows of a task that lie over each other, made into rows that lie side by side.
//!
//! A task whose instances end in wild order leaves at every checkpoint rows that span all of it; a look at
//! one instance has to unpack each. So while a checkpoint is prepared, where more than [`DEPTH_MAX`] rows
//! hold one instance, they and the new attempts there become rows of [`segment::cut`], ordered by
//! instance. It is done for a bounded number of rows; what is left is for the next checkpoint.
//!
//! Of a run that is in two rows the older row's word is kept, as readers do.

use crate::{
    attempt::Attempt,
    segment::{self, Key, Segment},
};
use gristmill_model::{JobId, TaskName};
use rusqlite::Connection;
use std::{collections::BTreeMap, ops::Range};
use tracing::warn;

/// How many older rows may hold one instance.
const DEPTH_MAX: usize = 8;
/// How many rows of a task are made anew at one place at most; no other place is begun after so many.
const ROWS_MAX: usize = 128;

/// What a checkpoint writes for a task.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// New rows.
    pub segments: Vec<Segment>,
    /// Rows they take the place of.
    pub replaced: Vec<Key>,
}

/// Cuts new attempts of a task, which are ordered by instance and run, and merges them with older
/// rows where these are too many.
pub(crate) fn merge(
    connection: &Connection,
    (job, task): (JobId, &TaskName),
    mut attempts: Vec<Attempt>,
) -> rusqlite::Result<Merged> {
    let mut merged = Merged::default();
    let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else { return Ok(merged) };
    let mut rows = segment::keys(connection, job, task, &(first.instance.0..last.instance.0 + 1))?;
    while merged.replaced.len() < ROWS_MAX {
        let Some(place) = deepest(&rows) else { break };
        let here: Vec<Key> = rows.extract_if(.., |row| row.holds(place)).take(ROWS_MAX).collect();
        let (mut all, mut read) = (BTreeMap::new(), Vec::new());
        for row in here {
            match attempts_of(connection, &row)? {
                Some(attempts) => {
                    for attempt in attempts {
                        all.entry((attempt.instance, attempt.run)).or_insert(attempt);
                    }
                    read.push(row);
                }
                None => warn!(%job, %task, first = row.first, "a damaged row stays as it is"),
            }
        }
        let span = span(&read);
        let from = attempts.partition_point(|it| it.instance.0 < span.start);
        let to = attempts.partition_point(|it| it.instance.0 < span.end);
        for attempt in attempts.drain(from..to) {
            all.entry((attempt.instance, attempt.run)).or_insert(attempt);
        }
        let all: Vec<Attempt> = all.into_values().collect();
        merged.segments.append(&mut segment::cut(&all));
        merged.replaced.extend(read);
    }
    merged.segments.append(&mut segment::cut(&attempts));
    Ok(merged)
}

/// What a row holds; `None` if it cannot be understood: that is for whoever looks at it, and no reason to
/// write no checkpoint.
fn attempts_of(connection: &Connection, row: &Key) -> rusqlite::Result<Option<Vec<Attempt>>> {
    let mut attempts = Vec::new();
    match segment::read(connection, row, &(0..u32::MAX), &mut |attempt| attempts.push(attempt)) {
        Ok(()) => Ok(Some(attempts)),
        Err(rusqlite::Error::FromSqlConversionFailure(..)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An instance that the most rows hold, if these are too many.
fn deepest(rows: &[Key]) -> Option<u32> {
    // Where a row begins the depth grows; it is largest at some beginning.
    let mut begins: Vec<u32> = rows.iter().map(|row| row.first).collect();
    let mut ends: Vec<u32> = rows.iter().map(|row| row.last).collect();
    begins.sort_unstable();
    ends.sort_unstable();
    let depth = |(at, begin): (usize, &u32)| {
        let over = ends.partition_point(|end| end < begin);
        (at + 1 - over, *begin)
    };
    let (depth, place) = begins.iter().enumerate().map(depth).max()?;
    (depth > DEPTH_MAX).then_some(place)
}

/// Everything between the first and the last instance of these rows.
fn span(rows: &[Key]) -> Range<u32> {
    let first = rows.iter().map(|row| row.first).min().unwrap_or(0);
    let last = rows.iter().map(|row| row.last).max().unwrap_or(0);
    first..last.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;
    use gristmill_model::{InstanceNo, RunId, RunOutcome, Timestamp, WorkerId, event::AfterRun};
    use std::path::Path;

    const JOB: JobId = JobId(1);

    fn attempt(instance: u32, run: u64) -> Attempt {
        Attempt {
            instance: InstanceNo(instance),
            run: RunId(run),
            worker: WorkerId(1),
            address: "10.0.0.7".to_owned(),
            retries: 0,
            outcome: RunOutcome::Exited { code: 0 },
            detail: String::new(),
            started: Some(Timestamp(5)),
            ended: Timestamp(9),
            after: AfterRun::Finished,
        }
    }

    fn books() -> Connection {
        let mut connection = Connection::open_in_memory().expect("opens");
        schema::migrate(&mut connection, Path::new("test.db"), schema::STEPS).expect("made");
        connection
    }

    /// One checkpoint: merged and written.
    fn write(
        connection: &mut Connection,
        task: &TaskName,
        through: u64,
        attempts: Vec<Attempt>,
    ) -> usize {
        let merged = merge(connection, (JOB, task), attempts).expect("merged");
        let transaction = connection.transaction().expect("begun");
        merged.replaced.iter().for_each(|key| segment::delete(&transaction, key).expect("gone"));
        segment::insert(&transaction, (JOB, task), through, &merged.segments).expect("written");
        transaction.commit().expect("committed");
        merged.replaced.len()
    }

    /// Instances that end in wild order: a look at one unpacks a bounded number of rows, and all are
    /// found.
    #[test]
    fn rows_of_instances_that_end_in_wild_order_do_not_pile_up() {
        let (mut connection, task) = (books(), "count".parse().expect("a legal name"));
        let (instances, checkpoints) = (40_000, 40);
        for checkpoint in 0..checkpoints {
            let mine = (0..instances).filter(|number| number * 7_919 % checkpoints == checkpoint);
            let attempts = mine.map(|number| attempt(number, u64::from(number) + 1)).collect();
            let replaced = write(&mut connection, &task, checkpoint.into(), attempts);
            assert!(replaced < 2 * ROWS_MAX, "{replaced}");
            let rows = segment::keys(&connection, JOB, &task, &(0..instances)).expect("read");
            for instance in (0..instances).step_by(997) {
                let depth = rows.iter().filter(|row| row.holds(instance)).count();
                assert!(depth <= DEPTH_MAX + 1, "{depth} rows hold {instance}");
            }
        }
        let mut found = Vec::new();
        segment::look(&connection, JOB, &task, &(0..instances), &mut |it| found.push(it))
            .expect("read");
        found.sort_by_key(|attempt| attempt.instance);
        let wanted: Vec<_> =
            (0..instances).map(|number| attempt(number, u64::from(number) + 1)).collect();
        assert_eq!(found, wanted);
    }

    /// Instances that end in order are written once and never again.
    #[test]
    fn rows_side_by_side_are_left_alone() {
        let (mut connection, task) = (books(), "count".parse().expect("a legal name"));
        for start in (0..40_000).step_by(2_000) {
            let attempts = (start..start + 2_000).map(|it| attempt(it, it.into())).collect();
            assert_eq!(write(&mut connection, &task, start.into(), attempts), 0);
        }
    }

    /// Else no checkpoint would be written any more, and the journal would grow for ever.
    #[test]
    fn a_damaged_row_stays_and_the_others_are_merged() {
        let (mut connection, task) = (books(), "count".parse().expect("a legal name"));
        for time in 1..=DEPTH_MAX as u64 {
            write(&mut connection, &task, time, vec![attempt(3, time)]);
        }
        connection
            .execute(
                "UPDATE segment SET record = x'ff' WHERE id = (SELECT min(id) FROM segment)",
                [],
            )
            .expect("damaged");
        let replaced: usize =
            (20..24).map(|time| write(&mut connection, &task, time, vec![attempt(3, time)])).sum();
        assert!(replaced >= DEPTH_MAX - 1, "{replaced}");
        let rows = segment::keys(&connection, JOB, &task, &(3..4)).expect("read");
        let whole = rows.iter().filter_map(|row| attempts_of(&connection, row).expect("read"));
        let mut runs: Vec<u64> = whole.flatten().map(|attempt| attempt.run.0).collect();
        runs.sort_unstable();
        let wanted: Vec<u64> = (2..=DEPTH_MAX as u64).chain(20..24).collect();
        assert_eq!(runs, wanted, "all but that of the damaged row");
    }

    #[test]
    fn of_a_run_that_is_told_of_twice_the_older_word_is_kept() {
        let (mut connection, task) = (books(), "count".parse().expect("a legal name"));
        for time in 1..=12 {
            let ended = Timestamp(time);
            let again = vec![Attempt { ended, ..attempt(3, 1) }];
            write(&mut connection, &task, time.cast_unsigned(), again);
        }
        let mut found = Vec::new();
        segment::look(&connection, JOB, &task, &(3..4), &mut |it| found.push(it.ended.0))
            .expect("read");
        assert_eq!(found.first(), Some(&1), "{found:?}");
        assert!(found.len() <= DEPTH_MAX + 1, "{found:?}");
    }
}
