//! Finished jobs that left the mill: one row each, looked up by account.
//!
//! A row is written in the transaction of the event that archives the job and removed in that of the event
//! that deletes it, so a job is always in exactly one place. What is in the record is the
//! writer's business.

use crate::{attempt::job_key, error::StoreError};
use gristmill_model::{AccountId, ClusterId, Event, JobId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// A job on its way into the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Its id.
    pub job: JobId,
    /// Its owner.
    pub account: AccountId,
    /// When it ended.
    pub ended: Timestamp,
    /// The clusters its tasks name.
    pub clusters: Vec<ClusterId>,
    /// Everything else.
    pub record: Vec<u8>,
}

/// Which jobs of the history are wanted.
#[derive(Debug, Clone, Copy)]
pub struct HistoryQuery {
    /// Whose.
    pub account: AccountId,
    /// Only jobs after this one, in the order of the listing.
    pub after: Option<JobId>,
    /// The newest first.
    pub reverse: bool,
    /// Only jobs with a task on this cluster.
    pub cluster: Option<ClusterId>,
    /// How many at most.
    pub jobs_max: usize,
}

pub(crate) fn insert(transaction: &Transaction<'_>, row: &HistoryRow) -> rusqlite::Result<()> {
    let (job, account) = (job_key(row.job), row.account.0.cast_signed());
    let clusters: String = row.clusters.iter().map(|id| format!(" {id} ")).collect();
    transaction
        .prepare_cached(
            "INSERT INTO history (job, account, ended, clusters, record) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (job) DO UPDATE SET ended = excluded.ended, record = excluded.record",
        )?
        .execute(params![job, account, row.ended.0, clusters, row.record])?;
    let mut named = transaction.prepare_cached(
        "INSERT OR IGNORE INTO history_of_cluster (account, cluster, job) VALUES (?1, ?2, ?3)",
    )?;
    for cluster in &row.clusters {
        named.execute(params![account, cluster.to_string(), job])?;
    }
    Ok(())
}

/// Takes a deleted job out.
pub(crate) fn forget(transaction: &Transaction<'_>, event: &Event) -> rusqlite::Result<()> {
    match event {
        Event::JobDeleted { job } => remove(transaction, &job_key(*job)),
        _ => Ok(()),
    }
}

fn remove(transaction: &Transaction<'_>, job: &[u8; 16]) -> rusqlite::Result<()> {
    let named: Option<(i64, String)> = transaction
        .prepare_cached("DELETE FROM history WHERE job = ?1 RETURNING account, clusters")?
        .query_row([job], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((account, clusters)) = named else { return Ok(()) };
    let mut unname = transaction.prepare_cached(
        "DELETE FROM history_of_cluster WHERE account = ?1 AND cluster = ?2 AND job = ?3",
    )?;
    for cluster in clusters.split_whitespace() {
        unname.execute(params![account, cluster, job])?;
    }
    Ok(())
}

/// The record of a job of an account.
pub(crate) fn one(
    connection: &Connection,
    account: AccountId,
    job: JobId,
) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT record FROM history WHERE job = ?1 AND account = ?2")?
        .query_row(params![job_key(job), account.0.cast_signed()], |row| row.get(0))
        .optional()
}

/// A page of records.
pub(crate) fn page(
    connection: &Connection,
    query: &HistoryQuery,
) -> rusqlite::Result<Vec<(JobId, Vec<u8>)>> {
    let (compare, order) = if query.reverse { ("<", "DESC") } else { (">", "ASC") };
    let start = if query.reverse { u128::MAX } else { 0 };
    // The first page includes the ends of the range, which are no ids.
    let after = query.after.map_or(start, |job| job.0).to_be_bytes();
    // CROSS JOIN: the list of jobs leads, their records are looked up.
    let (from, wanted) = match query.cluster {
        Some(_) => (
            "history_of_cluster AS list CROSS JOIN history ON history.job = list.job",
            "list.cluster = ?3",
        ),
        None => ("history AS list", "?3 IS NULL"),
    };
    let sql = format!(
        "SELECT list.job, record FROM {from}
         WHERE list.account = ?1 AND list.job {compare} ?2 AND {wanted}
         ORDER BY list.job {order} LIMIT ?4"
    );
    let cluster = query.cluster.map(|id| id.to_string());
    let most = i64::try_from(query.jobs_max).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)?
        .query_map(params![query.account.0.cast_signed(), after, cluster, most], |row| {
            Ok((JobId(u128::from_be_bytes(row.get(0)?)), row.get(1)?))
        })?
        .collect()
}

/// Removes up to `rows_max` jobs that ended before `before`, or that are more than `jobs_max`, oldest first;
/// their attempts go with those of deleted jobs. Returns which went.
pub(crate) fn expire(
    transaction: &Transaction<'_>,
    before: Timestamp,
    jobs_max: u64,
    rows_max: usize,
) -> rusqlite::Result<Vec<JobId>> {
    let mut gone = Vec::new();
    while gone.len() < rows_max {
        let Some((job, ended)) = oldest(transaction)? else { break };
        if ended >= before.0 && size(transaction)? <= jobs_max {
            break;
        }
        remove(transaction, &job)?;
        transaction
            .prepare_cached("INSERT OR IGNORE INTO deleted_job (job) VALUES (?1)")?
            .execute([job])?;
        gone.push(JobId(u128::from_be_bytes(job)));
    }
    Ok(gone)
}

/// Jobs that went into the history with these events and are there no more.
pub(crate) fn expired(connection: &Connection, events: &[Event]) -> Result<Vec<JobId>, StoreError> {
    let is_there = |job: JobId| {
        connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM history WHERE job = ?1)")?
            .query_row([job_key(job)], |row| row.get::<_, bool>(0))
    };
    let mut gone = Vec::new();
    for event in events {
        if let Event::JobArchived { job, .. } = event
            && !is_there(*job).map_err(|source| StoreError::read("the history", source))?
        {
            gone.push(*job);
        }
    }
    Ok(gone)
}

fn oldest(transaction: &Transaction<'_>) -> rusqlite::Result<Option<([u8; 16], i64)>> {
    transaction
        .prepare_cached("SELECT job, ended FROM history ORDER BY ended LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn size(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached("SELECT jobs FROM history_size")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}
