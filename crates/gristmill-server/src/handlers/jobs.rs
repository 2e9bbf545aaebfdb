//! Jobs and tasks (`reference/api.md` 7 and 8).

use super::{apps, belongings, not_found, supported};
use crate::{
    door::{Call, Door, Reply},
    history,
    mill::MillError,
};
use gristmill_core::{Job, JobQuery, Obstacle, Task, World};
use gristmill_faults::Point;
use gristmill_model::{AccountId, Answer, Input, JobId, JobSpec, JobState, Refusal, TaskName};
use gristmill_wire::{
    api::{
        JobDescription, List, ListQuery, Query, Submission, idempotency_token, parse_priority,
        parse_submission, responses as bodies,
    },
    error::{ApiError, Code},
    time::WireTime,
};
use http::StatusCode;
use std::{ops::Bound, sync::Arc};

/// How many waiting tasks `GET /jobs/{job}/why` tells of.
const WHY_TASKS_MAX: usize = 1_000;

/// `POST /jobs`
pub async fn create(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let (job, _) = submit(door, call, query).await?;
    Ok(Reply::json(StatusCode::CREATED, &bodies::Created::from(job)))
}

/// Submits the job of a body: its id, durable, and what it is. A caller that waits for the result
/// must call an app.
pub async fn submit(
    door: &Door,
    call: &Call,
    query: &Query<'_>,
) -> Result<(JobId, Arc<JobSpec>), ApiError> {
    let token = idempotency_token(query, &call.body)?;
    let spec = match parse_submission(&call.body, &door.config.limits)? {
        Submission::App(job) => apps::expand(door, call.account, *job).await?,
        Submission::Dag(_) if query.has("sync") => {
            return Err(ApiError::invalid(
                "Type",
                "must be App: other jobs have no result to wait for",
            ));
        }
        Submission::Dag(spec) => *spec,
    };
    belongings::check_job(door, call, &spec).await?;
    supported::check_job(door, &spec)?;
    let spec = Arc::new(spec);
    let input = Input::SubmitJob { account: call.account, spec: spec.clone(), token };
    let turn = gristmill_faults::at(Point::JobAsked);
    turn.or_fail().map_err(|fault| ApiError::new(Code::InternalError, fault.to_string()))?;
    for _ in 1..turn.times() {
        door.put(input.clone()).await?;
    }
    match door.put(input).await? {
        Answer::Job(job) => Ok((job, spec)),
        other => unreachable!("submitting a job answers with a job, not {other:?}"),
    }
}

/// A task of a job, or "not found".
pub fn find_task<'a>(job: &'a Job, name: &str) -> Result<(TaskName, &'a Task), ApiError> {
    let found = name.parse().ok().and_then(|name: TaskName| {
        let task = job.tasks.get(&name)?;
        Some((name, task.as_ref()))
    });
    found.ok_or_else(|| not_found("task", name))
}

/// `GET /jobs/{job}`
pub async fn get(door: &Door, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let world = door.mill.published().world();
    let job = history::find(door, &world, call.account, id).await?;
    Ok(Reply::ok(&job_body(&world, &job)))
}

/// A job as the API shows it.
pub fn job_body(world: &World, job: &Job) -> bodies::Job {
    let waits = !job.state.is_final() && job.message.is_empty();
    bodies::Job {
        r#type: if job.spec.app.is_some() { "App" } else { "DAG" }.to_owned(),
        priority: job.priority,
        state: job.state.name().to_owned(),
        message: if waits { world.why(job.id).unwrap_or_default() } else { job.message.clone() },
        creation_time: WireTime(Some(job.created)),
        start_time: WireTime(job.started),
        end_time: WireTime(job.ended),
        task_metrics: job.task_counts.into(),
        instance_metrics: job.instance_counts.into(),
        ..bodies::Job::new(job.id, job.account, job.spec.name.as_str(), &job.spec.description)
    }
}

/// `GET /jobs/{job}?description`
pub async fn description(door: &Door, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let world = door.mill.published().world();
    let job = history::find(door, &world, call.account, id).await?;
    Ok(Reply::ok(&JobDescription { spec: &job.spec, priority: job.priority }))
}

/// `GET /jobs`
pub async fn list(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let wish = ListQuery::jobs(query)?;
    let world = door.mill.published().world();
    let found = JobQuery {
        after: wish.marker.key::<JobId>()?,
        reverse: wish.is_reverse,
        state: wish.state,
        cluster: wish.cluster,
    };
    let (page, more) = history::page(door, &world, call.account, &found, wish.items_max).await?;
    let last = page.last().filter(|_| more).map(|job| job.id);
    let items = page.iter().map(|job| job_body(&world, job)).collect();
    Ok(Reply::ok(&List::page(items, last)))
}

/// Puts a command about a job through the mill. A job that is only in the history is Finished, and
/// only deleting it is legal then.
async fn act(
    door: &Door,
    (account, job): (AccountId, JobId),
    input: Input,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    match door.put(input.clone()).await {
        Err(MillError::Refused(Refusal::NotFound { .. }))
            if history::holds(door, account, job).await? =>
        {
            let action = match input {
                Input::DeleteJob { .. } => {
                    door.put(Input::ForgetJob { job }).await?;
                    return Ok(Reply::Empty(done));
                }
                Input::StopJob { .. } => "stop",
                Input::StartJob { .. } => "start",
                _ => "change of priority",
            };
            let (id, state) = (job.to_string(), JobState::Finished.name());
            let conflict = Refusal::Conflict { kind: "job", id, state, action };
            Err(MillError::Refused(conflict).into())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Reply::Empty(done)),
    }
}

fn job_id(id: &str) -> Result<JobId, ApiError> {
    id.parse().map_err(|_| not_found("job", id))
}

/// `POST /jobs/{job}/stop`
pub async fn stop(door: &Door, call: &Call, id: &str, done: StatusCode) -> Result<Reply, ApiError> {
    let (account, job) = (call.account, job_id(id)?);
    act(door, (account, job), Input::StopJob { account, job }, done).await
}

/// `POST /jobs/{job}/start`
pub async fn start(
    door: &Door,
    call: &Call,
    id: &str,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    let (account, job) = (call.account, job_id(id)?);
    act(door, (account, job), Input::StartJob { account, job }, done).await
}

/// `DELETE /jobs/{job}`
pub async fn delete(
    door: &Door,
    call: &Call,
    id: &str,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    let (account, job) = (call.account, job_id(id)?);
    act(door, (account, job), Input::DeleteJob { account, job }, done).await
}

/// `PUT /jobs/{job}`
pub async fn change_priority(
    door: &Door,
    call: &Call,
    id: &str,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    let (account, job, priority) = (call.account, job_id(id)?, parse_priority(&call.body)?);
    act(door, (account, job), Input::ChangePriority { account, job, priority }, done).await
}

/// `GET /jobs/{job}/tasks`
pub async fn list_tasks(
    door: &Door,
    call: &Call,
    id: &str,
    query: &Query<'_>,
) -> Result<Reply, ApiError> {
    let wish = ListQuery::tasks(query)?;
    let world = door.mill.published().world();
    let job = history::find(door, &world, call.account, id).await?;
    let start = wish.marker.key::<TaskName>()?.map_or(Bound::Unbounded, Bound::Excluded);
    let mut tasks = job.tasks.range((start, Bound::Unbounded)).filter(|(name, task)| {
        wish.state.is_none_or(|state| task.state == state)
            && wish.cluster.is_none_or(|cluster| job.cluster_of(name) == Some(cluster))
    });
    let page: Vec<_> = tasks.by_ref().take(wish.items_max).collect();
    let last = page.last().filter(|_| tasks.next().is_some()).map(|(name, _)| name.to_string());
    let items = page.into_iter().map(|(name, task)| task_body(name, task)).collect();
    Ok(Reply::ok(&List::page(items, last)))
}

/// `GET /jobs/{job}/tasks/{task}`
pub async fn get_task(door: &Door, call: &Call, id: &str, name: &str) -> Result<Reply, ApiError> {
    let world = door.mill.published().world();
    let job = history::find(door, &world, call.account, id).await?;
    let (name, task) = find_task(&job, name)?;
    Ok(Reply::ok(&task_body(&name, task)))
}

/// A task as the API shows it.
pub fn task_body(name: &TaskName, task: &Task) -> bodies::Task {
    bodies::Task {
        state: task.state.name().to_owned(),
        start_time: WireTime(task.started),
        end_time: WireTime(task.ended),
        instance_metrics: task.counts.into(),
        ..bodies::Task::new(name)
    }
}

/// `GET /jobs/{job}/why`, ours: one sentence on why a job waits, and what stands in the way of each
/// task.
pub fn why_path<'a>(method: &str, path: &'a str) -> Option<&'a str> {
    let job = path.strip_prefix("/jobs/")?.strip_suffix("/why")?;
    (method == "GET" && !job.contains('/')).then_some(job)
}

/// See [`why_path`].
pub async fn why(door: &Door, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let world = door.mill.published().world();
    let job = history::find(door, &world, call.account, id).await?;
    let why = world.why(job.id).unwrap_or_default();
    let tasks = world.obstacles(job.id, WHY_TASKS_MAX);
    let tasks: Vec<_> = tasks.iter().map(|(name, it)| obstacle(name, it)).collect();
    Ok(Reply::ok(&serde_json::json!({ "Why": why, "Tasks": tasks })))
}

/// What stands in the way of a task, for programs and for people.
fn obstacle(name: &TaskName, it: &Obstacle) -> serde_json::Value {
    let facts = it.facts().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    serde_json::json!({
        "TaskName": name,
        "Code": it.code(),
        "Message": it.to_string(),
        "Facts": facts.collect::<serde_json::Map<_, serde_json::Value>>(),
    })
}
