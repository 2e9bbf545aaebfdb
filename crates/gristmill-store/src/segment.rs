//! Ended attempts on the disk: many of one task in one row.
//!
//! ```text
//! record  = 1  count  machines  (id  address)*  attempt*
//! attempt = instance step and whether it is plain, run step, start step, took,
//!           machine, and for one that is not plain the rest as JSON
//! ```
//!
//! A plain attempt ended with exit code 0 at the first try and says nothing more; it costs about ten
//! bytes. Attempts are ordered by instance, then run. The form is never changed; a new one gets a
//! new first byte.

use crate::{
    attempt::{Attempt, job_key},
    bytes::{Damaged, Reader, Writer},
};
use gristmill_model::{
    InstanceNo, JobId, RunId, RunOutcome, TaskName, Timestamp, WorkerId, event::AfterRun,
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The first byte of a record.
const FORMAT: u8 = 1;
/// How many attempts one row holds at most: what a look at one instance has to unpack.
const ATTEMPTS_MAX: usize = 1_024;
/// So many bits of a row's number count the rows that one checkpoint adds to one task.
const ROWS_BITS: u32 = 16;

/// What is not plain about an attempt.
#[derive(Serialize, Deserialize)]
struct Rest {
    retries: u32,
    outcome: RunOutcome,
    detail: String,
    started: bool,
    after: AfterRun,
}

/// A row before it is written.
#[derive(Debug)]
pub(crate) struct Segment {
    first: u32,
    last: u32,
    attempts: usize,
    record: Vec<u8>,
}

/// Rows of the attempts of one task, which are ordered by instance and run.
pub(crate) fn cut(attempts: &[Attempt]) -> Vec<Segment> {
    let segment = |some: &[Attempt]| Segment {
        first: some[0].instance.0,
        last: some[some.len() - 1].instance.0,
        attempts: some.len(),
        record: encode(some),
    };
    attempts.chunks(ATTEMPTS_MAX).map(segment).collect()
}

/// Adds rows of one task. `through` is the last event before them: it makes later rows have larger
/// numbers, and larger ones than releases gave that counted from 1.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    (job, task): (JobId, &TaskName),
    through: u64,
    segments: &[Segment],
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO task (job, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![job_key(job), task.as_str()])?;
    let Some(task) = number(transaction, job, task)? else { return Ok(()) };
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO segment (task, first, last, id, attempts, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let numbers = (through << ROWS_BITS).cast_signed()..;
    for (id, Segment { first, last, attempts, record }) in numbers.zip(segments) {
        insert.execute(params![task, first, last, id, *attempts as i64, record])?;
    }
    Ok(())
}

fn number(connection: &Connection, job: JobId, task: &TaskName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM task WHERE job = ?1 AND name = ?2")?
        .query_row(params![job_key(job), task.as_str()], |row| row.get(0))
        .optional()
}

/// Where a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    task: i64,
    /// The smallest instance in it.
    pub first: u32,
    /// The largest.
    pub last: u32,
    id: i64,
}

impl Key {
    /// Whether an instance lies within it.
    pub fn holds(&self, instance: u32) -> bool {
        (self.first..=self.last).contains(&instance)
    }
}

/// The rows of a task that reach into a range of instances, older ones first.
pub(crate) fn keys(
    connection: &Connection,
    job: JobId,
    task: &TaskName,
    instances: &Range<u32>,
) -> rusqlite::Result<Vec<Key>> {
    let Some(task) = number(connection, job, task)? else { return Ok(Vec::new()) };
    connection
        .prepare_cached(
            "SELECT first, last, id FROM segment INDEXED BY segment_span
             WHERE task = ?1 AND first < ?3 AND last >= ?2 ORDER BY id",
        )?
        .query_map(params![task, instances.start, instances.end], |row| {
            Ok(Key { task, first: row.get(0)?, last: row.get(1)?, id: row.get(2)? })
        })?
        .collect()
}

/// Hands out the attempts of a row that are of instances in a range.
pub(crate) fn read(
    connection: &Connection,
    key: &Key,
    wanted: &Range<u32>,
    found: &mut impl FnMut(Attempt),
) -> rusqlite::Result<()> {
    let Key { task, first, last, id } = key;
    let blob = rusqlite::types::Type::Blob;
    connection
        .prepare_cached(
            "SELECT record FROM segment WHERE task = ?1 AND first = ?2 AND last = ?3 AND id = ?4",
        )?
        .query_row(params![task, first, last, id], |row| {
            decode(row.get_ref(0)?.as_blob()?, wanted, found).map_err(|damaged| {
                rusqlite::Error::FromSqlConversionFailure(0, blob, Box::new(damaged))
            })
        })
}

/// Takes a row away.
pub(crate) fn delete(transaction: &Transaction<'_>, key: &Key) -> rusqlite::Result<()> {
    let Key { task, first, last, id } = key;
    transaction
        .prepare_cached(
            "DELETE FROM segment WHERE task = ?1 AND first = ?2 AND last = ?3 AND id = ?4",
        )?
        .execute(params![task, first, last, id])
        .map(drop)
}

/// Hands out the attempts of instances in a range, older rows first. The rows are found in the index
/// alone: a row that does not hold one of the instances is not touched.
pub(crate) fn look(
    connection: &Connection,
    job: JobId,
    task: &TaskName,
    instances: &Range<u32>,
    found: &mut impl FnMut(Attempt),
) -> rusqlite::Result<()> {
    for key in keys(connection, job, task, instances)? {
        read(connection, &key, instances, found)?;
    }
    Ok(())
}

/// Removes up to `attempts_max` attempts of a job, at least one row if there is one, and its tasks
/// when nothing is left of them. Returns how many went.
pub(crate) fn remove(
    transaction: &Transaction<'_>,
    job: JobId,
    attempts_max: usize,
) -> rusqlite::Result<usize> {
    let mut some = transaction.prepare_cached(
        "SELECT task, first, last, segment.id, attempts FROM segment
         JOIN task ON task.id = segment.task WHERE task.job = ?1 LIMIT ?2",
    )?;
    let rows_max = (attempts_max / ATTEMPTS_MAX).max(1) as i64;
    let rows = some.query_map(params![job_key(job), rows_max], |row| {
        let key = Key { task: row.get(0)?, first: row.get(1)?, last: row.get(2)?, id: row.get(3)? };
        Ok((key, row.get::<_, i64>(4)? as usize))
    })?;
    let rows: Vec<(Key, usize)> = rows.collect::<Result<_, _>>()?;
    for (key, _) in &rows {
        delete(transaction, key)?;
    }
    if rows.is_empty() {
        transaction.prepare_cached("DELETE FROM task WHERE job = ?1")?.execute([job_key(job)])?;
    }
    Ok(rows.iter().map(|(_, attempts)| attempts).sum())
}

fn plain(attempt: &Attempt) -> bool {
    attempt.outcome == RunOutcome::Exited { code: 0 }
        && attempt.after == AfterRun::Finished
        && attempt.retries == 0
        && attempt.detail.is_empty()
        && attempt.started.is_some()
}

fn encode(attempts: &[Attempt]) -> Vec<u8> {
    let mut machines: Vec<(WorkerId, &str)> = Vec::new();
    let mut body = Writer::default();
    let (mut instance, mut run, mut start) = (0, 0, 0);
    for attempt in attempts {
        let plain = plain(attempt);
        let step = u64::from(attempt.instance.0) - instance;
        instance = attempt.instance.0.into();
        body.number(step << 1 | u64::from(!plain));
        body.step(&mut run, attempt.run.0);
        let started = attempt.started.unwrap_or(attempt.ended);
        body.step(&mut start, started.0.cast_unsigned());
        body.signed(attempt.ended.0.wrapping_sub(started.0));
        let machine = (attempt.worker, attempt.address.as_str());
        let at = machines.iter().position(|known| *known == machine).unwrap_or_else(|| {
            machines.push(machine);
            machines.len() - 1
        });
        body.number(at as u64);
        if !plain {
            let rest = Rest {
                retries: attempt.retries,
                outcome: attempt.outcome.clone(),
                detail: attempt.detail.clone(),
                started: attempt.started.is_some(),
                after: attempt.after,
            };
            body.text(&serde_json::to_vec(&rest).expect("a rest is made of plain data"));
        }
    }
    let mut record = Writer::default();
    record.byte(FORMAT);
    record.number(attempts.len() as u64);
    record.number(machines.len() as u64);
    for (worker, address) in machines {
        record.id(worker.0);
        record.text(address.as_bytes());
    }
    record.0.append(&mut body.0);
    record.0
}

fn decode(
    record: &[u8],
    wanted: &Range<u32>,
    found: &mut impl FnMut(Attempt),
) -> Result<(), Damaged> {
    let mut from = Reader(record);
    if from.byte()? != FORMAT {
        return Err(Damaged);
    }
    let count = from.number()?;
    let mut machines = Vec::new();
    for _ in 0..from.number()? {
        machines.push((WorkerId(from.id()?), from.str()?));
    }
    let (mut instance, mut run, mut start) = (0u32, 0, 0);
    for _ in 0..count {
        let head = from.number()?;
        let step = u32::try_from(head >> 1).map_err(|_| Damaged)?;
        instance = instance.checked_add(step).ok_or(Damaged)?;
        let run = RunId(from.step(&mut run)?);
        let started = Timestamp(from.step(&mut start)?.cast_signed());
        let ended = Timestamp(started.0.wrapping_add(from.signed()?));
        let (worker, address) = *machines.get(from.small()? as usize).ok_or(Damaged)?;
        let rest = if head & 1 == 0 { None } else { Some(from.text()?) };
        if !wanted.contains(&instance) {
            continue;
        }
        let rest = match rest {
            Some(text) => serde_json::from_slice(text).map_err(|_| Damaged)?,
            None => Rest {
                retries: 0,
                outcome: RunOutcome::Exited { code: 0 },
                detail: String::new(),
                started: true,
                after: AfterRun::Finished,
            },
        };
        found(Attempt {
            instance: InstanceNo(instance),
            run,
            worker,
            address: address.to_owned(),
            retries: rest.retries,
            outcome: rest.outcome,
            detail: rest.detail,
            started: rest.started.then_some(started),
            ended,
            after: rest.after,
        });
    }
    Ok(())
}
