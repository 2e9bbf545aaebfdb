//! Instances of a task: the state from the published world, the last run from the read tables.

use super::{jobs, not_found, sync_jobs};
use crate::{
    door::{Call, Door, Reply},
    history,
};
use gristmill_core::{Job, Task, job::describe};
use gristmill_model::{
    AppCall, InstanceNo, InstanceState, JobId, OssPath, RunOutcome, TaskName, TaskSpec,
};
use gristmill_store::{Attempt, StoreError};
use gristmill_wire::{
    api::{List, ListQuery, Query, responses as bodies},
    error::{ApiError, Code},
    time::WireTime,
};

/// `GET /jobs/{job}/tasks/{task}/instances`
pub async fn list(
    door: &Door,
    call: &Call,
    job: &str,
    task: &str,
    query: &Query<'_>,
) -> Result<Reply, ApiError> {
    let wish = ListQuery::instances(query)?;
    let world = door.mill.published().world();
    let found = history::find(door, &world, call.account, job).await?;
    let (name, task) = jobs::find_task(&found, task)?;
    let start = wish.marker.key::<u32>()?.map_or(0, |last| last.saturating_add(1));
    let (page, last) = page(task, start, &wish);
    let ended: Vec<InstanceNo> = page.iter().map(|(number, _)| *number).collect();
    let view = View::of(&found, &name, task);
    let attempts = read(door, view.job, &name, ended).await?;
    let items = page
        .iter()
        .map(|(number, state)| body(door, &view, *number, state, attempts.get(number)))
        .collect();
    Ok(Reply::ok(&List::page(items, last)))
}

/// The instances of a page, and the last one's number when more follow.
fn page(
    task: &Task,
    start: u32,
    wish: &ListQuery,
) -> (Vec<(InstanceNo, InstanceState)>, Option<u32>) {
    let mut numbers = task.instances(InstanceNo(start), wish.state);
    let page: Vec<_> = numbers.by_ref().take(wish.items_max).collect();
    let last = page.last().filter(|_| numbers.next().is_some()).map(|(number, _)| number.0);
    (page, last)
}

/// `GET /jobs/{job}/tasks/{task}/instances/{n}`
pub async fn get(
    door: &Door,
    call: &Call,
    job: &str,
    task: &str,
    number: &str,
) -> Result<Reply, ApiError> {
    let world = door.mill.published().world();
    let found = history::find(door, &world, call.account, job).await?;
    jobs::find_task(&found, task)?;
    let instance = number.parse().map_err(|_| not_found("instance", number))?;
    Ok(Reply::ok(&show(door, &found, task, InstanceNo(instance)).await?))
}

/// An instance of a task of this job as clients see it.
pub async fn show(
    door: &Door,
    job: &Job,
    task: &str,
    number: InstanceNo,
) -> Result<bodies::Instance, ApiError> {
    let (name, task) = jobs::find_task(job, task)?;
    let state = task.instance(number);
    let state = state.ok_or_else(|| not_found("instance", &number.to_string()))?;
    let view = View::of(job, &name, task);
    let attempts = read(door, view.job, &name, vec![number]).await?;
    Ok(body(door, &view, number, &state, attempts.get(&number)))
}

type Attempts = std::collections::BTreeMap<InstanceNo, Attempt>;

/// Reads the last attempts; the database is read on a thread that may block.
async fn read(
    door: &Door,
    job: JobId,
    task: &TaskName,
    instances: Vec<InstanceNo>,
) -> Result<Attempts, ApiError> {
    let (readers, task) = (door.readers.clone(), task.clone());
    let read = tokio::task::spawn_blocking(move || readers.last_attempts(job, &task, &instances));
    let found: Result<Attempts, StoreError> =
        read.await.map_err(|error| ApiError::new(Code::InternalError, error.to_string()))?;
    found.map_err(|error| ApiError::new(Code::InternalError, error.to_string()))
}

/// What is the same for all instances of a page.
struct View<'a> {
    job: JobId,
    name: &'a TaskName,
    task: &'a Task,
    spec: &'a TaskSpec,
    app: Option<&'a AppCall>,
}

impl<'a> View<'a> {
    fn of(job: &'a Job, name: &'a TaskName, task: &'a Task) -> Self {
        let (spec, app) = (&job.spec.tasks[name], job.spec.app.as_deref());
        Self { job: job.id, name, task, spec, app }
    }
}

fn body(
    door: &Door,
    view: &View<'_>,
    number: InstanceNo,
    state: &InstanceState,
    attempt: Option<&Attempt>,
) -> bodies::Instance {
    let mut body = bodies::Instance {
        state: state.name().to_owned(),
        retry_count: view.task.attempts(number).retries,
        stdout_redirect_path: view.log("stdout", view.spec.stdout.as_ref(), number),
        stderr_redirect_path: view.log("stderr", view.spec.stderr.as_ref(), number),
        ..bodies::Instance::new(number)
    };
    match (state, attempt) {
        (InstanceState::Running { worker, since, .. }, _) => {
            let world = door.mill.published().world();
            body.start_time = WireTime(Some(*since));
            body.node_ip = world.worker(*worker).map(|it| it.address.clone()).unwrap_or_default();
        }
        (InstanceState::Waiting | InstanceState::Placed { .. }, Some(attempt)) => {
            // It was there before and came back: what happened is all that can be told.
            if view.task.attempts(number).put_back > 0 {
                body.result.detail = describe(&attempt.outcome);
            }
        }
        (_, None) => {}
        (_, Some(attempt)) => show_attempt(&mut body, state, attempt),
    }
    body.progress = if *state == InstanceState::Finished { 100 } else { 0 };
    if let Some(app) = view.app {
        show_call(&mut body, state, app);
    }
    body
}

/// What only instances of calls of apps have: what came out, or why nothing did.
fn show_call(body: &mut bodies::Instance, state: &InstanceState, app: &AppCall) {
    match state {
        InstanceState::Finished => body.outputs = sync_jobs::outputs(app),
        InstanceState::Failed => {
            let (code, message) = (&body.result.error_code, &body.result.error_message);
            body.error = bodies::InstanceError { code: code.clone(), message: message.clone() };
        }
        _ => {}
    }
}

fn show_attempt(body: &mut bodies::Instance, state: &InstanceState, attempt: &Attempt) {
    body.start_time = WireTime(attempt.started);
    body.end_time = WireTime(Some(attempt.ended));
    body.node_ip.clone_from(&attempt.address);
    let code = match &attempt.outcome {
        RunOutcome::Exited { code } => *code,
        RunOutcome::Signalled { signal } => 128 + signal,
        _ => 0,
    };
    body.result = bodies::InstanceResult {
        exit_code: code,
        detail: attempt.detail.clone(),
        ..bodies::InstanceResult::default()
    };
    if *state == InstanceState::Failed
        && let Some(cause) = gristmill_core::job::cause_of(&attempt.outcome)
    {
        let message = describe(&attempt.outcome);
        body.result = bodies::InstanceResult::failed(cause, code, &message, &attempt.detail);
    }
}

impl View<'_> {
    /// The object with a stream of one instance (`reference/api.md` 14.3).
    fn log(&self, stream: &str, prefix: Option<&OssPath>, number: InstanceNo) -> String {
        let Some(prefix) = prefix else { return String::new() };
        let name = format!("{stream}.{}.{}.{number}", self.job, self.name);
        prefix.clone().into_prefix().join(&name).to_string()
    }
}
