//! `sj rj dj uj`: stop, start again, delete, change the priority of jobs.

use super::{End, Outcome, required};
use crate::{
    caches::Kind,
    client::{Client, ClientError},
    session::Session,
    words::messages as m,
};
use clap::ArgMatches;

const PRIORITY_MAX: u32 = 1000;

/// Does `command` to every job named, in order, and goes on after a failure: the jobs are
/// independent of each other.
pub(super) async fn act(command: &str, words: &ArgMatches, session: &mut Session) -> Outcome {
    let name = if command == "update_job" { "job" } else { "jobs" };
    let god = session.settings.is_god();
    let jobs = session.caches.resolve_many(Kind::Jobs, required(words, name), god)?;
    let priority = match command {
        "update_job" => Some(priority(required(words, "priority"))?),
        _ => None,
    };
    let question = match command {
        "stop_job" => m::ASK_STOP,
        "restart_job" => m::ASK_RESTART,
        "delete_job" => m::ASK_DELETE,
        _ => m::ASK_UPDATE,
    };
    session.confirm(words.get_flag("yes"), question, &[("jobs", &jobs.join(", "))])?;
    let client = session.client()?;
    let mut end = End::Success;
    for job in &jobs {
        let done = match command {
            "stop_job" => client.stop_job(job).await,
            "restart_job" => client.start_job(job).await,
            "delete_job" => delete(&client, job).await,
            _ => client.change_priority(job, priority.expect("read above")).await,
        };
        match done {
            Ok(()) => session.say(m::DONE_WITH, &[("what", job)]),
            Err(error) => {
                end = End::Failure;
                let why = error.say(session.language);
                session.say(m::ERROR, &[("text", &why)]);
            }
        }
    }
    Ok(end)
}

fn priority(text: &str) -> anyhow::Result<u32> {
    let read = text.parse().ok().filter(|priority| *priority <= PRIORITY_MAX);
    let refusal = || {
        m::NOT_A_NUMBER.complain([
            ("option", &"priority"),
            ("text", &text),
            ("first", &0),
            ("last", &PRIORITY_MAX),
        ])
    };
    Ok(read.ok_or_else(refusal)?)
}

/// Stops first; a job that has already ended is fine.
pub(super) async fn delete(client: &Client, job: &str) -> Result<(), ClientError> {
    match client.stop_job(job).await {
        Err(error) if error.code() != Some("StateConflict") => return Err(error),
        Ok(()) | Err(_) => {}
    }
    client.delete_job(job).await
}
