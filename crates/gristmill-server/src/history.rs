//! Jobs wherever they are: in the world while the mill needs them, in the store's history afterwards.
//!
//! A job moves in one transaction, so it is always in one of the two. The world is looked at first:
//! what has left it meanwhile is in the history.

use crate::{door::Door, handlers::not_found};
use gristmill_core::{ArchivedJob, Job, JobQuery, World};
use gristmill_model::{AccountId, JobId, JobState, Placement};
use gristmill_store::{HistoryQuery, HistoryRow, Readers};
use gristmill_wire::error::{ApiError, Code};
use std::{collections::BTreeSet, sync::Arc};

/// A job on its way into the history.
pub fn row(job: &Job) -> HistoryRow {
    let clusters: BTreeSet<_> = job
        .spec
        .tasks
        .values()
        .filter_map(|task| match &task.placement {
            Placement::Fixed(cluster) | Placement::Attach { cluster, .. } => Some(*cluster),
            Placement::Auto(_) => None,
        })
        .collect();
    HistoryRow {
        job: job.id,
        account: job.account,
        ended: job.ended.unwrap_or(job.created),
        clusters: clusters.into_iter().collect(),
        record: serde_json::to_vec(&ArchivedJob::of(job)).expect("a job is made of plain data"),
    }
}

/// The job of this caller, or "not found".
pub async fn find(
    door: &Door,
    world: &World,
    account: AccountId,
    id: &str,
) -> Result<Arc<Job>, ApiError> {
    let job: JobId = id.parse().map_err(|_| not_found("job", id))?;
    if let Some(job) = world.shared_job(account, job) {
        return Ok(job);
    }
    archived(&door.readers, account, job).await?.ok_or_else(|| not_found("job", id))
}

/// The job, if it is this caller's and in the history.
pub async fn archived(
    readers: &Readers,
    account: AccountId,
    job: JobId,
) -> Result<Option<Arc<Job>>, ApiError> {
    let readers = readers.clone();
    let record = blocking(move || readers.history_job(account, job)).await?;
    record.map(|record| revive(&record).map(Arc::new)).transpose()
}

/// Whether the job is this caller's and only in the history.
pub async fn holds(door: &Door, account: AccountId, job: JobId) -> Result<bool, ApiError> {
    let readers = door.readers.clone();
    Ok(blocking(move || readers.history_job(account, job)).await?.is_some())
}

/// A page of the jobs of an account and whether more follow, from both places in the order of the ids.
pub async fn page(
    door: &Door,
    world: &World,
    account: AccountId,
    query: &JobQuery,
    jobs_max: usize,
) -> Result<(Vec<Arc<Job>>, bool), ApiError> {
    let wanted = jobs_max + 1;
    let here = world.jobs_of(account, query).take(wanted);
    let mut jobs: Vec<Arc<Job>> =
        here.filter_map(|job| world.shared_job(account, job.id)).collect();
    // Only finished jobs are there.
    if query.state.is_none_or(|state| state == JobState::Finished) {
        let JobQuery { after, reverse, cluster, .. } = *query;
        let asked = HistoryQuery { account, after, reverse, cluster, jobs_max: wanted };
        let readers = door.readers.clone();
        for (_, record) in blocking(move || readers.history(&asked)).await? {
            jobs.push(Arc::new(revive(&record)?));
        }
        jobs.sort_by_key(|job| job.id);
        jobs.dedup_by_key(|job| job.id);
        if reverse {
            jobs.reverse();
        }
    }
    let more = jobs.len() > jobs_max;
    jobs.truncate(jobs_max);
    Ok((jobs, more))
}

fn revive(record: &[u8]) -> Result<Job, ApiError> {
    let archived: Option<ArchivedJob> = serde_json::from_slice(record).ok();
    archived.and_then(ArchivedJob::revive).ok_or_else(|| {
        ApiError::new(Code::InternalError, "a job of the history cannot be read".to_owned())
    })
}

/// Reads the books on a thread that may block.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, gristmill_store::StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let internal = |words: String| ApiError::new(Code::InternalError, words);
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| internal(error.to_string()))?.map_err(|error| internal(error.to_string()))
}
