//! Attempts that ended since the last checkpoint, in memory: the journal has them, the next checkpoint
//! makes segments of them.
//!
//! ```text
//! events -> open -> (a checkpoint begins) sealed -> segments
//! ```
//!
//! Writer and readers share it. The writer adds a batch when it is durable and before the world is
//! published, so who sees an instance finished finds its attempt. While a checkpoint is prepared, what it
//! will write is sealed: still looked at, not added to. The lock is held for an addition or for one look,
//! never across I/O.

use crate::attempt::Attempt;
use gristmill_model::{Event, JobId, TaskName};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// A task of a job.
pub(crate) type TaskKey = (JobId, TaskName);

/// A handle; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail(Arc<RwLock<Ended>>);

/// `RunEnded` and `RunsFinished` in their order, by task.
type Events = BTreeMap<TaskKey, Vec<Event>>;

#[derive(Debug, Default)]
struct Ended {
    /// What the checkpoint under way writes.
    sealed: Arc<Events>,
    /// Jobs that were deleted since it was sealed.
    deleted: BTreeSet<JobId>,
    open: Events,
    /// How many attempts `open` has.
    attempts: usize,
}

impl Ended {
    fn forget(&mut self, job: JobId) {
        self.open.retain(|key, _| key.0 != job);
        self.deleted.insert(job);
    }
}

impl Tail {
    /// Takes note of what a durable batch ended.
    pub fn add(&self, events: &[Event]) {
        let mut ended = self.write();
        for event in events {
            match event {
                Event::RunEnded { job, task, .. } | Event::RunsFinished { job, task, .. } => {
                    ended.attempts += attempts_of(event);
                    ended.open.entry((*job, task.clone())).or_default().push(event.clone());
                }
                Event::JobDeleted { job } => ended.forget(*job),
                _ => {}
            }
        }
    }

    /// Nobody asks for these jobs any more.
    pub fn forget(&self, jobs: &[JobId]) {
        let mut ended = self.write();
        jobs.iter().for_each(|job| ended.forget(*job));
    }

    /// How many attempts came since the last checkpoint began.
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
        let key = (job, task.clone());
        for events in [ended.sealed.get(&key), ended.open.get(&key)].into_iter().flatten() {
            events.iter().for_each(|event| Attempt::each_of(event, instances, found));
        }
    }

    /// Begins a checkpoint: what is here now is what it writes. What an earlier one sealed and did not
    /// write is part of it.
    pub fn seal(&self) -> Sealed {
        let mut ended = self.write();
        let mut open = std::mem::take(&mut ended.open);
        ended.attempts = 0;
        let mut sealed = std::mem::take(&mut ended.sealed);
        if sealed.is_empty() {
            sealed = Arc::new(open);
        } else {
            let deleted = std::mem::take(&mut ended.deleted);
            let all = Arc::make_mut(&mut sealed);
            all.retain(|(job, _), _| !deleted.contains(job));
            for (key, mut events) in std::mem::take(&mut open) {
                all.entry(key).or_default().append(&mut events);
            }
        }
        ended.deleted.clear();
        ended.sealed = sealed.clone();
        Sealed(sealed)
    }

    /// Whether a job was deleted since the checkpoint under way began.
    pub fn is_deleted(&self, job: JobId) -> bool {
        self.read().deleted.contains(&job)
    }

    /// Forgets what was sealed: it is in segments now.
    pub fn written(&self) {
        let mut ended = self.write();
        ended.sealed = Arc::default();
        ended.deleted.clear();
    }

    // What the lock guards is changed in whole steps, so it is sound after a panic elsewhere.

    fn read(&self) -> RwLockReadGuard<'_, Ended> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ended> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a checkpoint writes of attempts.
#[derive(Debug)]
pub(crate) struct Sealed(Arc<Events>);

impl Sealed {
    /// By task and ordered by instance and run; of a run that ended twice the first.
    pub fn sorted(&self) -> impl Iterator<Item = (&TaskKey, Vec<Attempt>)> {
        self.0.iter().map(|(key, events)| {
            let mut attempts = Vec::with_capacity(events.iter().map(attempts_of).sum());
            let everything = 0..u32::MAX;
            for event in events {
                Attempt::each_of(event, &everything, &mut |attempt| attempts.push(attempt));
            }
            attempts.sort_by_key(|attempt| (attempt.instance, attempt.run));
            attempts.dedup_by_key(|attempt| (attempt.instance, attempt.run));
            (key, attempts)
        })
    }
}

fn attempts_of(event: &Event) -> usize {
    match event {
        Event::RunsFinished { runs, .. } => runs.len(),
        _ => 1,
    }
}
