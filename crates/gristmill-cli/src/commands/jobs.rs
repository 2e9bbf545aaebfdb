//! `bcs j`: the list of jobs, and the way to one job, task or instance.

use super::{End, Outcome, detail, number, text};
use crate::{
    caches::Kind,
    client::{Client, Job},
    moment,
    session::Session,
    table,
    watch::Watch,
    words::messages as m,
};
use clap::ArgMatches;
use serde_json::Value;

const ROWS_DEFAULT: usize = 10;

/// `bcs j [job] [task] [instance]`.
pub(super) async fn job(words: &ArgMatches, session: &mut Session) -> Outcome {
    let Some(written) = text(words, "job") else { return list(words, session).await };
    let job = session.caches.resolve(Kind::Jobs, written)?;
    if words.get_flag("watch") {
        return watch(&session.client()?, &job, None, session).await;
    }
    if words.get_flag("description") {
        let description = session.client()?.get_description(&job).await?;
        session.out.data(&serde_json::to_string_pretty(&description)?)?;
        return Ok(End::Success);
    }
    let Some(task) = text(words, "task") else { return detail::job(&job, words, session).await };
    let task = session.caches.resolve(Kind::Tasks, task)?;
    match number::<u64>(words, "instance")? {
        None => detail::task(&job, &task, words, session).await,
        Some(instance) => detail::instance(&job, &task, instance, words, session).await,
    }
}

async fn list(words: &ArgMatches, session: &mut Session) -> Outcome {
    if words.get_flag("watch") {
        return Err(m::WATCH_NEEDS_JOB.complain([]).into());
    }
    let client = session.client()?;
    let top = number::<usize>(words, "top")?.unwrap_or(ROWS_DEFAULT);
    if words.get_flag("show_json") {
        let mut jobs = client.list_raw(&["jobs"]).await?;
        jobs.retain(|raw| {
            serde_json::from_value::<Job>(raw.clone()).is_ok_and(|job| matches(&job, words))
        });
        session.out.data(&serde_json::to_string_pretty(&jobs)?)?;
        return Ok(End::Success);
    }
    let mut jobs = client.list_jobs().await?;
    jobs.retain(|job| matches(job, words));
    sort(&mut jobs);
    let total = jobs.len();
    if !words.get_flag("all") {
        jobs.truncate(top);
    }
    let rows: Vec<Vec<String>> = jobs.iter().map(|job| row(job, session)).collect();
    let header = ["Id", "Name", "State", "Counts", "Created", "StartTime", "EndTime", "Elapsed"];
    let table = table::numbered(&header, &rows, session.out.colour);
    session.out.data(&table)?;
    session.say(m::TOTAL, &[("total", &total.to_string()), ("rows", &rows.len().to_string())]);
    session.caches.remember(Kind::Jobs, jobs.into_iter().map(|job| job.id).collect())?;
    Ok(End::Success)
}

fn matches(job: &Job, words: &ArgMatches) -> bool {
    let in_states =
        |states: &str| states.split(',').any(|state| state.trim().eq_ignore_ascii_case(&job.state));
    text(words, "state").is_none_or(in_states)
        && text(words, "id").is_none_or(|part| job.id.contains(part))
        && text(words, "name").is_none_or(|part| job.name.contains(part))
}

/// Those that run or wait first, by start, then the others; the newest first.
fn sort(jobs: &mut [Job]) {
    jobs.sort_by_key(|job| {
        let start = if job.has_ended() { None } else { job.start_time };
        std::cmp::Reverse((!job.has_ended(), start, job.creation_time, job.id.clone()))
    });
}

fn row(job: &Job, session: &Session) -> Vec<String> {
    let zone = &(session.env.zone)();
    vec![
        job.id.clone(),
        job.name.clone(),
        job.state.clone(),
        job.task_metrics.ratio(),
        moment::local(job.creation_time, zone),
        moment::local(job.start_time, zone),
        moment::local(job.end_time, zone),
        moment::elapsed(job.start_time, job.end_time, (session.env.clock)()),
    ]
}

/// Watches a job to its end; a job that did not finish is a failure. Its description is asked for
/// unless it is known.
pub(super) async fn watch(
    client: &Client,
    job: &str,
    description: Option<&Value>,
    session: &mut Session,
) -> Outcome {
    let watch = Watch::new(client, &session.env, job);
    let seen = watch.run(description, &mut session.out).await?;
    let table = watch.table(&seen);
    session.out.data(&table::painted(&table, session.out.colour))?;
    if seen.job.state == "Finished" {
        return Ok(End::Success);
    }
    session.say(
        m::JOB_ENDED,
        &[("job", job), ("state", &seen.job.state), ("message", &seen.job.message)],
    );
    Ok(End::Failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_model::Timestamp;

    #[test]
    fn running_and_waiting_jobs_come_first_then_the_newest() {
        let job = |id: &str, state: &str, created: i64, start: Option<i64>| Job {
            id: id.into(),
            state: state.into(),
            creation_time: Some(Timestamp(created)),
            start_time: start.map(Timestamp),
            ..Job::default()
        };
        let mut jobs = vec![
            job("old-finished", "Finished", 1, Some(2)),
            job("waiting", "Waiting", 2, None),
            job("new-failed", "Failed", 9, Some(9)),
            job("running", "Running", 3, Some(4)),
        ];
        sort(&mut jobs);
        let order: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(order, ["running", "waiting", "new-failed", "old-finished"]);
    }
}
