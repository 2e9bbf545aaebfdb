//! `GET /jobs/{job}/events`, ours: a job as it changes, as server-sent events.
//!
//! ```text
//! event: task   data: a Task, and "Entered": which instances entered which state
//! event: job    data: a Job; after the tasks that changed with it
//! event: end    data: {"State": "Finished"}; the last. "Deleted": the record is gone
//! ```
//!
//! Each stream begins with the whole present state (every task, then the job), so a client that lost
//! its stream asks again and has lost nothing. After that it is told what is different between
//! published worlds, which are durable. A client that reads slowly sees fewer looks, never an older state
//! after a newer one; states that were entered and left between two looks are not told. Of a job that is
//! in the history the stream tells the state that it ended in, and is over.

use super::jobs;
use crate::{
    door::{Call, Door, Reply},
    front::stopped,
    history,
    places::Place,
    published::Published,
};
use axum::body::{Body, Bytes};
use futures::{Stream, stream};
use gristmill_core::{Job, Task, World};
use gristmill_model::{AccountId, JobId, RangeSet, TaskName};
use gristmill_store::Readers;
use gristmill_wire::error::{ApiError, Code};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How many streams are open at a time, over all accounts.
pub const FOLLOWERS_MAX: usize = 1_024;
/// The time between two looks of one stream that always has something to tell.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How many looks may follow each other at once after a rest: a short job is told as it happens.
const LOOKS_AT_ONCE: u32 = 8;
/// A line without meaning after so long, so that both ends notice a dead connection.
const BEAT: Duration = Duration::from_secs(15);
/// The most ranges of instances in one message; a task that has more is only counted.
const RANGES_MAX: usize = 1_000;

/// The job of the path, if this is such a request.
pub fn job_of<'a>(method: &str, path: &'a str) -> Option<&'a str> {
    let job = path.strip_prefix("/jobs/")?.strip_suffix("/events")?;
    (method == "GET" && !job.contains('/')).then_some(job)
}

/// Opens the stream.
pub async fn follow(door: &Door, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let published = door.mill.published().clone();
    let job = history::find(door, &published.world(), call.account, id).await?.id;
    let place = door.followers.take(call.account).ok_or_else(|| {
        let message = "too many streams of events are open: ask again later";
        ApiError::new(Code::Throttling, message)
    })?;
    let follower = Follower {
        turns: published.turns(),
        published,
        readers: door.readers.clone(),
        halting: door.halting.clone(),
        account: call.account,
        job,
        before: None,
        told: 0,
        pace: Pace(Instant::now()),
        over: false,
        _place: place,
    };
    Ok(Reply::Events(Body::from_stream(follower.stream())))
}

/// One open stream.
struct Follower {
    published: Published,
    readers: Readers,
    turns: watch::Receiver<u64>,
    halting: watch::Receiver<bool>,
    account: AccountId,
    job: JobId,
    /// The world of the look before.
    before: Option<Arc<World>>,
    told: u64,
    pace: Pace,
    over: bool,
    _place: Place,
}

/// When a stream may look: each look takes [`LOOK_AGAIN`] out of what time puts in.
struct Pace(Instant);

impl Pace {
    /// There was a look: how long the next one waits at least.
    fn after_look(&mut self, now: Instant) -> Duration {
        self.0 = self.0.max(now) + LOOK_AGAIN;
        (self.0 - now).saturating_sub(LOOK_AGAIN * LOOKS_AT_ONCE)
    }
}

impl Follower {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let text = follower.next().await?;
            Some((Ok(Bytes::from(text)), follower))
        })
    }

    /// Waits for something to tell; `None`: the stream is over.
    async fn next(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        if self.before.is_some() {
            let pause = self.pace.after_look(Instant::now());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        loop {
            self.turns.mark_unchanged();
            let news = self.look().await;
            if !news.is_empty() {
                return Some(news);
            }
            tokio::select! {
                changed = self.turns.changed() => changed.ok()?,
                () = stopped(&mut self.halting) => return None,
                () = tokio::time::sleep(BEAT) => return Some(": still there\n\n".to_owned()),
            }
        }
    }

    async fn look(&mut self) -> String {
        let world = self.published.world();
        let job = match world.shared_job(self.account, self.job) {
            Some(job) => Some(job),
            // Books that cannot be read end the stream; its client asks again.
            None => history::archived(&self.readers, self.account, self.job).await.ok().flatten(),
        };
        let mut news = Messages { text: String::new(), told: &mut self.told };
        let before = self.before.as_deref().and_then(|world| world.job(self.account, self.job));
        match job {
            Some(job) => {
                tell_changes(&mut news, &world, before, &job);
                self.over = job.state.is_final();
                if self.over {
                    news.add("end", &json!({ "State": job.state.name() }));
                }
            }
            None => {
                self.over = true;
                news.add("end", &json!({ "State": "Deleted" }));
            }
        }
        let text = news.text;
        self.before = Some(world);
        text
    }
}

/// Worlds share what did not change: the same address is the same job.
fn tell_changes(news: &mut Messages<'_>, world: &World, before: Option<&Job>, job: &Job) {
    if before.is_some_and(|before| std::ptr::eq(before, job)) {
        return;
    }
    for (name, task) in &job.tasks {
        let before = before.and_then(|before| before.tasks.get(name));
        if !before.is_some_and(|before| Arc::ptr_eq(before, task)) {
            news.add("task", &task_message(name, before.map(Arc::as_ref), task));
        }
    }
    let body = serde_json::to_value(jobs::job_body(world, job));
    news.add("job", &body.expect("answers have only texts as names"));
}

fn task_message(name: &TaskName, before: Option<&Task>, task: &Task) -> Value {
    let body = serde_json::to_value(jobs::task_body(name, task));
    let mut body = body.expect("answers have only texts as names");
    if let Some(before) = before {
        let entered = task.entered_since(before).into_iter().filter_map(|entered| {
            Some((entered.state.name().to_owned(), json!(in_words(&entered.instances)?)))
        });
        body["Entered"] = Value::Object(entered.collect());
    }
    body
}

/// `0-99,120`.
fn in_words(instances: &RangeSet) -> Option<String> {
    let ranges = instances.ranges();
    if ranges.len() > RANGES_MAX {
        return None;
    }
    let words = ranges.iter().map(|range| match range.end - range.start {
        1 => range.start.to_string(),
        _ => format!("{}-{}", range.start, range.end - 1),
    });
    Some(words.collect::<Vec<_>>().join(","))
}

/// Server-sent events in the making.
struct Messages<'a> {
    text: String,
    told: &'a mut u64,
}

impl Messages<'_> {
    fn add(&mut self, kind: &str, data: &Value) {
        *self.told += 1;
        // JSON has no line breaks of its own, so one `data` line holds it.
        writeln!(self.text, "id: {}\nevent: {kind}\ndata: {data}\n", self.told)
            .expect("writing to a string succeeds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_events_of_a_job_are_ours() {
        assert_eq!(job_of("GET", "/jobs/job-1/events"), Some("job-1"));
        for (method, path) in [
            ("POST", "/jobs/job-1/events"),
            ("GET", "/jobs/job-1/tasks/events"),
            ("GET", "/jobs/events"),
            ("GET", "/clusters/c/events"),
        ] {
            assert_eq!(job_of(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn instances_are_told_as_ranges_or_not_at_all() {
        let numbers = |step: usize| (0..5_000).step_by(step).collect::<RangeSet>();
        assert_eq!(in_words(&[3, 4, 5, 9].into_iter().collect()).as_deref(), Some("3-5,9"));
        assert_eq!(in_words(&numbers(1)).as_deref(), Some("0-4999"));
        assert_eq!(in_words(&numbers(2)), None);
    }

    #[test]
    fn after_a_rest_some_looks_follow_at_once_and_then_they_are_spread() {
        let start = Instant::now();
        let mut pace = Pace(start);
        let at_once = (0..LOOKS_AT_ONCE).map(|_| pace.after_look(start));
        assert!(at_once.max().is_some_and(|pause| pause.is_zero()));
        assert_eq!(pace.after_look(start), LOOK_AGAIN);
        assert_eq!(pace.after_look(start + LOOK_AGAIN), LOOK_AGAIN);
        let rested = start + LOOK_AGAIN * 2 * LOOKS_AT_ONCE;
        assert_eq!(pace.after_look(rested), Duration::ZERO);
    }

    #[test]
    fn a_message_is_one_line_of_data() {
        let mut told = 6;
        let mut messages = Messages { text: String::new(), told: &mut told };
        messages.add("job", &json!({ "Message": "two\nlines" }));
        assert_eq!(messages.text, "id: 7\nevent: job\ndata: {\"Message\":\"two\\nlines\"}\n\n");
    }
}
