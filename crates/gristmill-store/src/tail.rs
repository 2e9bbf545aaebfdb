//! Attempts that ended since the last checkpoint, in memory: the journal has them, the next checkpoint
//! makes segments of them.
//!
//! Writer and readers share it. The writer adds a batch when it is durable and before the world is
//! published, so who sees an instance finished finds its attempt. The lock is held for an addition
//! or for one look, never across I/O.

use crate::attempt::Attempt;
use gristmill_model::{Event, JobId, TaskName};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// A task of a job.
pub(crate) type TaskKey = (JobId, TaskName);

/// A handle; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail(Arc<RwLock<Ended>>);

/// What ended, by task: `RunEnded` and `RunsFinished` in their order.
#[derive(Debug, Default)]
struct Ended {
    events: BTreeMap<TaskKey, Vec<Event>>,
    attempts: usize,
}

impl Tail {
    /// Takes note of what a durable batch ended.
    pub fn add(&self, events: &[Event]) {
        let mut ended = self.write();
        for event in events {
            match event {
                Event::RunEnded { job, task, .. } | Event::RunsFinished { job, task, .. } => {
                    ended.attempts += match event {
                        Event::RunsFinished { runs, .. } => runs.len(),
                        _ => 1,
                    };
                    ended.events.entry((*job, task.clone())).or_default().push(event.clone());
                }
                Event::JobDeleted { job } => ended.events.retain(|key, _| key.0 != *job),
                _ => {}
            }
        }
    }

    /// How many attempts came since the last checkpoint.
    pub fn attempts(&self) -> usize {
        self.read().attempts
    }

    /// Hands out the attempts of instances in a range, older ones first.
    pub fn look(
        &self,
        job: JobId,
        task: &TaskName,
        instances: &Range<u32>,
        found: &mut impl FnMut(Attempt),
    ) {
        let ended = self.read();
        let events = ended.events.get(&(job, task.clone())).into_iter().flatten();
        events.for_each(|event| Attempt::each_of(event, instances, found));
    }

    /// Everything, by task and ordered by instance and run; of a run that ended twice the first.
    pub fn sorted(&self) -> Vec<(TaskKey, Vec<Attempt>)> {
        let sort = |(key, events): (&TaskKey, &Vec<Event>)| {
            let mut attempts = Vec::new();
            let everything = 0..u32::MAX;
            for event in events {
                Attempt::each_of(event, &everything, &mut |attempt| attempts.push(attempt));
            }
            attempts.sort_by_key(|attempt| (attempt.instance, attempt.run));
            attempts.dedup_by_key(|attempt| (attempt.instance, attempt.run));
            (key.clone(), attempts)
        };
        self.read().events.iter().map(sort).collect()
    }

    /// Forgets everything: it is in segments now.
    pub fn clear(&self) {
        *self.write() = Ended::default();
    }

    // What the lock guards is changed in whole steps, so it is sound after a panic elsewhere.

    fn read(&self) -> RwLockReadGuard<'_, Ended> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ended> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
