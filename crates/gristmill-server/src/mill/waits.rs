//! Since when instances could run, for the measure of how long they waited for a machine.
//!
//! They can run once their job is there and every task before theirs has ended. The second is noted when
//! it happens: to look for it at each placement would be a look at all dependencies of the job. What
//! happened before the server started is not known here, and the waits that follow from it are not
//! measured.

use gristmill_core::{Job, World};
use gristmill_model::{Event, JobId, TaskName, Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Since when tasks of jobs under way could run.
pub(super) struct Waits {
    /// What happened from here on is known.
    begun: Timestamp,
    /// Tasks that waited for others, or for their job to be started again.
    released: BTreeMap<JobId, HashMap<TaskName, Timestamp>>,
}

impl Waits {
    pub(super) fn since(begun: Timestamp) -> Self {
        Self { begun, released: BTreeMap::new() }
    }

    /// Takes in what happened in a turn, which the world contains. How long instances waited that were
    /// placed, and how many they were.
    pub(super) fn note(&mut self, world: &World, events: &[Event]) -> Vec<(Duration, u32)> {
        let mut waited = Vec::new();
        for event in events {
            match event {
                Event::TaskEnded { job, task, at, .. } => {
                    let Some(job) = world.any_job(*job) else { continue };
                    self.release(job, job.successors(task), *at);
                }
                Event::JobRestarted { job, at } => {
                    let Some(job) = world.any_job(*job) else { continue };
                    self.release(job, job.tasks.keys(), *at);
                }
                Event::RunsPlaced { job, task, instances, at, .. } => {
                    let Some(since) = self.could_run_since(world, *job, task) else { continue };
                    let micros = u64::try_from(at.0.saturating_sub(since.0)).unwrap_or(0);
                    waited.push((Duration::from_micros(micros), instances.len()));
                }
                Event::JobEnded { job, .. }
                | Event::JobStopped { job, .. }
                | Event::JobDeleted { job } => {
                    self.released.remove(job);
                }
                _ => {}
            }
        }
        waited
    }

    /// Nothing holds these tasks back any more, unless something else does.
    fn release<'a>(&mut self, job: &Job, tasks: impl Iterator<Item = &'a TaskName>, at: Timestamp) {
        let free = tasks.filter(|name| job.tasks[*name].blocked_by == 0);
        let mut free = free.map(|name| (name.clone(), at)).peekable();
        if free.peek().is_some() {
            self.released.entry(job.id).or_default().extend(free);
        }
    }

    fn could_run_since(&self, world: &World, id: JobId, task: &TaskName) -> Option<Timestamp> {
        let released = self.released.get(&id).and_then(|tasks| tasks.get(task));
        released.copied().or_else(|| {
            let job = world.any_job(id)?;
            // Else it may have waited for a task that ended before all this began.
            let all_known = job.spec.dependencies.is_empty() || job.created >= self.begun;
            all_known.then_some(job.created)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_model::{AccountId, Generation, JobState, RunId, WorkerId, spec::Limits};
    use gristmill_wire::api::parse_job;
    use serde_json::json;
    use std::sync::Arc;

    const JOB: JobId = JobId(1);

    fn name(task: &str) -> TaskName {
        task.parse().expect("a legal name")
    }

    /// Submitted at 10: `last` waits for `first` and `second`.
    fn submitted() -> Event {
        let task = json!({
            "ClusterId": "cls-00000000000000000000k5",
            "InstanceCount": 1,
            "Parameters": {"Command": {"CommandLine": "true"}},
        });
        let body = json!({"Name": "job", "Priority": 1, "DAG": {
            "Tasks": {"first": task, "second": task, "last": task},
            "Dependencies": {"first": ["last"], "second": ["last"]},
        }});
        let spec = parse_job(body.to_string().as_bytes(), &Limits::default()).expect("legal");
        let (spec, account) = (Arc::new(spec), AccountId(1));
        Event::JobSubmitted { job: JOB, account, spec, token: None, at: Timestamp(10) }
    }

    fn ended(task: &str, at: i64) -> Event {
        let (task, at) = (name(task), Timestamp(at));
        Event::TaskEnded { job: JOB, task, state: JobState::Finished, at }
    }

    fn placed(task: &str, at: i64) -> Event {
        Event::RunsPlaced {
            first: RunId(1),
            job: JOB,
            task: name(task),
            instances: [0].into_iter().collect(),
            worker: WorkerId(1),
            generation: Generation(1),
            at: Timestamp(at),
        }
    }

    /// What is measured of a placement when the world has seen these events.
    fn micros(waits: &mut Waits, world: &World, task: &str, at: i64) -> Option<u64> {
        let waited = waits.note(world, &[placed(task, at)]);
        waited.first().map(|(waited, _)| u64::try_from(waited.as_micros()).expect("short"))
    }

    #[test]
    fn a_task_waits_from_the_last_end_before_it() {
        let mut world = World::new(gristmill_core::Options::default());
        let mut waits = Waits::since(Timestamp(0));
        let mut happens = |waits: &mut Waits, event: Event| {
            world.apply(&event);
            assert!(waits.note(&world, &[event]).is_empty());
            world.clone()
        };
        let world = happens(&mut waits, submitted());
        assert_eq!(micros(&mut waits, &world, "first", 15), Some(5), "it waits for no other");
        happens(&mut waits, ended("first", 20));
        let world = happens(&mut waits, ended("second", 30));
        assert_eq!(micros(&mut waits, &world, "last", 37), Some(7));
        assert_eq!(micros(&mut waits, &world, "last", 39), Some(9), "it is placed again");
        let stopped = Event::JobStopped { job: JOB, at: Timestamp(40) };
        happens(&mut waits, stopped);
        assert!(waits.released.is_empty());
        let world = happens(&mut waits, Event::JobRestarted { job: JOB, at: Timestamp(50) });
        assert_eq!(micros(&mut waits, &world, "last", 52), Some(2));
    }

    #[test]
    fn what_ended_before_the_server_started_is_not_guessed() {
        let mut world = World::new(gristmill_core::Options::default());
        for event in [submitted(), ended("first", 20), ended("second", 30)] {
            world.apply(&event);
        }
        let mut waits = Waits::since(Timestamp(35));
        assert_eq!(micros(&mut waits, &world, "last", 37), None);
    }
}
