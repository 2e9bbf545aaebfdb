//! `POST /jobs?sync`: makes a job from an app and answers when it has ended (`reference/api.md` 7.3).
//!
//! The job is an ordinary one: it is in lists, and it goes on when the caller goes away or the wait
//! is over. Whatever becomes of it is told in `Error`, with status 200, because the call itself was
//! served.
//!
//! Invariants
//! - So many callers wait at a time and no more; one more is told to come again before its job is
//!   made.
//! - Nobody waits longer than the region's bound.
//! - A caller that is gone gives its place back: its future is dropped with its connection.

use super::{instances, jobs};
use crate::{
    config::SyncConfig,
    door::{Call, Door, Reply},
    history,
    places::{Place, Places},
};
use gristmill_model::{
    AccountId, InstanceNo, JobId, JobSpec, JobState, Timestamp,
    app::{APP_TASK, AppCall},
};
use gristmill_wire::{
    api::{
        Query,
        responses::{InstanceError, SynchronousInstance},
    },
    error::{ApiError, Code},
    time::WireTime,
};

/// The places of callers that wait.
pub struct Waiters {
    places: Places,
    config: SyncConfig,
}

impl Waiters {
    /// Nobody waits yet.
    pub fn new(config: SyncConfig) -> Self {
        Self { places: Places::new(config.waiting_max as usize), config }
    }

    fn place(&self, account: AccountId) -> Result<Place, ApiError> {
        self.places.take(account).ok_or_else(|| {
            let message = "too many callers wait for results already, try again later";
            ApiError::new(Code::Throttling, message)
        })
    }
}

/// What was last seen of a job.
#[derive(Clone, Copy)]
struct Seen {
    state: JobState,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
}

/// `POST /jobs?sync`
pub async fn create(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let _place = door.waiters.place(call.account)?;
    let (job, spec) = jobs::submit(door, call, query).await?;
    if spec.app.is_none() {
        unreachable!("submitting for a caller that waits takes calls of apps only");
    }
    let wait_max = door.waiters.config.wait_max.into();
    let ended = tokio::time::timeout(wait_max, end_of(door, call.account, job)).await;
    let seen = match ended {
        Ok(ended) => Some(ended?),
        Err(_) => look(door, call.account, job).await?,
    };
    let error = error_of(door, call.account, job, &spec, seen).await?;
    let ended = seen.and_then(|seen| seen.ended).filter(|_| error.code != "Timeout");
    let outputs = match (&spec.app, error.code.is_empty()) {
        (Some(app), true) => outputs(app),
        _ => Default::default(),
    };
    Ok(Reply::ok(&SynchronousInstance {
        request_id: call.request_id.clone(),
        job_id: job.to_string(),
        start_time: WireTime(seen.and_then(|seen| seen.started)),
        end_time: WireTime(ended),
        outputs,
        error,
    }))
}

/// The outputs of a call as its answer has them: name to value.
pub fn outputs(app: &AppCall) -> std::collections::BTreeMap<String, serde_json::Value> {
    let value = |value| serde_json::to_value(value).expect("a value is plain");
    app.outputs.iter().map(|(name, it)| (name.clone(), value(it))).collect()
}

/// What the job looks like now, also in the history; `None`: it was deleted.
async fn look(door: &Door, account: AccountId, job: JobId) -> Result<Option<Seen>, ApiError> {
    let world = door.mill.published().world();
    let job = match world.shared_job(account, job) {
        Some(job) => Some(job),
        None => history::archived(&door.readers, account, job).await?,
    };
    Ok(job.map(|job| Seen { state: job.state, started: job.started, ended: job.ended }))
}

/// Waits until the job has ended or was deleted; what was seen last.
async fn end_of(door: &Door, account: AccountId, job: JobId) -> Result<Seen, ApiError> {
    let mut turns = door.mill.published().turns();
    let mut last = Seen { state: JobState::Waiting, started: None, ended: None };
    loop {
        turns.borrow_and_update();
        match look(door, account, job).await? {
            Some(seen) if seen.state.is_final() => return Ok(seen),
            Some(seen) => last = seen,
            None => return Ok(Seen { ended: Some((door.clock)()), ..last }),
        }
        if turns.changed().await.is_err() {
            // The mill is stopping; its last world is all there will be.
            std::future::pending::<()>().await;
        }
    }
}

/// `Error` of the answer; empty after success.
async fn error_of(
    door: &Door,
    account: AccountId,
    job: JobId,
    spec: &JobSpec,
    seen: Option<Seen>,
) -> Result<InstanceError, ApiError> {
    let error = |code: &str, message: String| InstanceError { code: code.to_owned(), message };
    let is_gone = match seen {
        Some(seen) if !seen.state.is_final() => look(door, account, job).await?.is_none(),
        _ => false,
    };
    Ok(match seen.map(|seen| seen.state) {
        Some(JobState::Finished) => InstanceError::default(),
        Some(JobState::Failed) => failure(door, account, job).await?,
        Some(JobState::Stopped) => error("Stopped", format!("job {job} was stopped")),
        Some(JobState::Waiting | JobState::Running) if is_gone => {
            // Only a job that finished is released by itself.
            match spec.auto_release {
                true => InstanceError::default(),
                false => error("Deleted", format!("job {job} was deleted")),
            }
        }
        Some(JobState::Waiting | JobState::Running) => {
            let seconds = door.waiters.config.wait_max.0;
            error("Timeout", format!("job {job} goes on; the wait ended after {seconds} s"))
        }
        None => error("Deleted", format!("job {job} was deleted")),
    })
}

/// Why a job failed: what its first failed instance says.
async fn failure(door: &Door, account: AccountId, job: JobId) -> Result<InstanceError, ApiError> {
    let world = door.mill.published().world();
    let id = job.to_string();
    let found = history::find(door, &world, account, &id).await?;
    let (_, task) = jobs::find_task(&found, APP_TASK)?;
    let failed = task.instances(InstanceNo(0), Some(JobState::Failed)).next();
    let Some((number, _)) = failed else {
        return Ok(InstanceError { code: "Failed".to_owned(), message: found.message.clone() });
    };
    let instance = instances::show(door, &found, APP_TASK, number).await?;
    Ok(instance.error)
}
