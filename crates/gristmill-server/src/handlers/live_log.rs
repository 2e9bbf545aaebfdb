//! `GET /jobs/{job}/tasks/{task}/instances/{n}/log?stream=stdout&offset=N&wait=SECONDS`, ours:
//! what a program has written so far, from a given offset on.
//!
//! Answers 200 with the bytes, `x-gristmill-next-offset`, and `x-gristmill-eof: true` when nothing
//! will follow from here: the run is over, and its log is (or will be in a moment) the object that
//! `StdoutRedirectPath` names.

use super::{jobs, not_found};
use crate::{
    door::{Call, Door, Reply},
    history,
};
use gristmill_model::{InstanceNo, InstanceState, RunId, WorkerId};
use gristmill_wire::{api::Query, error::ApiError};
use std::time::{Duration, Instant};

/// The longest time a reader may wait for bytes.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long an agent waits for bytes before it answers that there are none.
const AGENT_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often is looked again while a reader waits for a run to begin, or an agent does not wait.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The shortest time between two looks at the world.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The parts of the path.
pub struct LogPlace<'a> {
    job: &'a str,
    task: &'a str,
    instance: &'a str,
}

impl<'a> LogPlace<'a> {
    /// Whether this is the path of a live log.
    pub fn of(method: &str, path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", ["jobs", job, "tasks", task, "instances", instance, "log"]) => {
                Some(Self { job, task, instance })
            }
            _ => None,
        }
    }
}

/// Reads, waiting for bytes when there are none yet.
pub async fn read(
    door: &Door,
    call: &Call,
    query: &Query<'_>,
    place: LogPlace<'_>,
) -> Result<Reply, ApiError> {
    let stream = match query.get("stream").unwrap_or("stdout") {
        "stdout" => 1,
        "stderr" => 2,
        _ => return Err(ApiError::invalid("stream", "must be stdout or stderr")),
    };
    let offset = number(query, "offset")?;
    let wait = Duration::from_secs(number(query, "wait")?).min(WAIT_MAX);
    let since = Instant::now();
    let mut turns = door.mill.published().turns();
    loop {
        let asked = Instant::now();
        turns.mark_unchanged();
        let state = state(door, call, &place).await?;
        let running = run_of(&state);
        let (bytes, over) = match running {
            Some((worker, run)) => {
                let wait = wait.saturating_sub(since.elapsed()).min(AGENT_WAIT_MAX);
                let read = door.sessions.read_log(worker, run, (stream, offset), wait).await;
                let (bytes, over) = read.unwrap_or_default();
                // An agent that has not heard of the run yet does not know it either.
                let over = over && run_of(&self::state(door, call, &place).await?) != running;
                (bytes, over)
            }
            None => (Vec::new(), state != InstanceState::Waiting),
        };
        if !bytes.is_empty() || over || since.elapsed() >= wait {
            let next = offset + bytes.len() as u64;
            let headers = vec![
                ("x-gristmill-next-offset", next.to_string()),
                ("x-gristmill-eof", over.to_string()),
            ];
            return Ok(Reply::Bytes(bytes, headers));
        }
        let pause = ASK_EVERY.saturating_sub(asked.elapsed());
        if running.is_some() {
            tokio::time::sleep(pause).await;
        } else {
            let _ = tokio::time::timeout(pause, turns.changed()).await; // the world, or the pause
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// A number of the query; 0 when it is not there.
pub fn number(query: &Query<'_>, name: &'static str) -> Result<u64, ApiError> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else { return Ok(0) };
    text.parse().map_err(|_| ApiError::invalid(name, "must be a whole number"))
}

async fn state(door: &Door, call: &Call, place: &LogPlace<'_>) -> Result<InstanceState, ApiError> {
    let world = door.mill.published().world();
    let job = history::find(door, &world, call.account, place.job).await?;
    let (_, task) = jobs::find_task(&job, place.task)?;
    let number = place.instance.parse().ok().map(InstanceNo);
    number
        .and_then(|number| task.instance(number))
        .ok_or_else(|| not_found("instance", place.instance))
}

/// The run that an instance is in.
fn run_of(state: &InstanceState) -> Option<(WorkerId, RunId)> {
    match state {
        InstanceState::Running { worker, run, .. } | InstanceState::Placed { worker, run, .. } => {
            Some((*worker, *run))
        }
        _ => None,
    }
}
