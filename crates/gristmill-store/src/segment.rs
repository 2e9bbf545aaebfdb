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

/// What is not plain about an attempt.
#[derive(Serialize, Deserialize)]
struct Rest {
    retries: u32,
    outcome: RunOutcome,
    detail: String,
    started: bool,
    after: AfterRun,
}

/// Adds attempts of one task, ordered by instance and run.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    job: JobId,
    task: &TaskName,
    attempts: &[Attempt],
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO task (job, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![job_key(job), task.as_str()])?;
    let Some(task) = number(transaction, job, task)? else { return Ok(()) };
    let mut insert = transaction.prepare_cached(
        "INSERT INTO segment (task, first, last, id, attempts, record) VALUES (?1, ?2, ?3,
             (SELECT coalesce(max(id), 0) + 1 FROM segment WHERE task = ?1), ?4, ?5)",
    )?;
    for some in attempts.chunks(ATTEMPTS_MAX) {
        let (first, last) = (some[0].instance.0, some[some.len() - 1].instance.0);
        insert.execute(params![task, first, last, some.len() as i64, encode(some)])?;
    }
    Ok(())
}

fn number(connection: &Connection, job: JobId, task: &TaskName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM task WHERE job = ?1 AND name = ?2")?
        .query_row(params![job_key(job), task.as_str()], |row| row.get(0))
        .optional()
}

/// Hands out the attempts of instances in a range, older rows first.
pub(crate) fn look(
    connection: &Connection,
    job: JobId,
    task: &TaskName,
    instances: &Range<u32>,
    found: &mut impl FnMut(Attempt),
) -> rusqlite::Result<()> {
    let Some(task) = number(connection, job, task)? else { return Ok(()) };
    let mut rows = connection.prepare_cached(
        "SELECT record FROM segment WHERE task = ?1 AND first < ?3 AND last >= ?2 ORDER BY id",
    )?;
    let mut rows = rows.query(params![task, instances.start, instances.end])?;
    while let Some(row) = rows.next()? {
        decode(row.get_ref(0)?.as_blob()?, instances, found).map_err(|damaged| {
            rusqlite::Error::FromSqlConversionFailure(
                0,
                rusqlite::types::Type::Blob,
                Box::new(damaged),
            )
        })?;
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
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?, row.get(4)?])
    })?;
    let rows: Vec<[i64; 5]> = rows.collect::<Result<_, _>>()?;
    let mut delete = transaction.prepare_cached(
        "DELETE FROM segment WHERE task = ?1 AND first = ?2 AND last = ?3 AND id = ?4",
    )?;
    for [task, first, last, id, _] in &rows {
        delete.execute([task, first, last, id])?;
    }
    if rows.is_empty() {
        transaction.prepare_cached("DELETE FROM task WHERE job = ?1")?.execute([job_key(job)])?;
    }
    Ok(rows.iter().map(|row| row[4] as usize).sum())
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
