//! Jobs and tasks as the world holds them.
//!
//! A task of a million instances is four sets of ranges: waiting, finished, failed, stopped.
//! Only instances that a machine has are written down one by one (`live`), and only instances
//! that were tried more than once have a record of that (`attempts`).
//!
//! Invariants (`World::check` tests them)
//! - Each instance is in exactly one of the four sets or in `live`.
//! - `counts` is what the sets say; placed instances count as waiting.
//! - A task that is over has nothing waiting and nothing live.
//!
//! The fields are readable by all; only `World::apply` has a `&mut` to them.

use crate::cluster::MachineShape;
use gristmill_model::{
    AccountId, Cause, ClusterId, Counts, FinishedRun, InstanceNo, InstanceState, JobId, JobSpec,
    JobState, Placement, RangeSet, RunOutcome, TaskName, TaskSpec, TaskState, Timestamp,
    event::AfterRun,
};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::{iter::Peekable, sync::Arc};

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its owner.
    pub account: AccountId,
    /// As submitted.
    pub spec: Arc<JobSpec>,
    /// The present priority.
    pub priority: u16,
    /// Its state.
    pub state: JobState,
    /// Why it failed; empty otherwise.
    pub message: String,
    /// When it was submitted.
    pub created: Timestamp,
    /// When its first instance started, since it was last started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its tasks by name.
    pub tasks: OrdMap<TaskName, Arc<Task>>,
    /// How many tasks are in each state.
    pub task_counts: Counts,
    /// How many instances are in each state.
    pub instance_counts: Counts,
}

/// A task of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its state.
    pub state: TaskState,
    /// When its first instance started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How many instances are in each state.
    pub counts: Counts,
    /// How many predecessors are not done; 0: its instances may run.
    pub blocked_by: u32,
    /// The automatic cluster made for it, while it has one.
    pub auto_cluster: Option<ClusterId>,
    /// How many machines the quota withheld from `auto_cluster`.
    pub machines_short: u32,
    /// What machines it asks for of the cluster it is attached to. Follows from its placement.
    pub lane: Option<Arc<MachineShape>>,
    /// How long its programs take, in microseconds: a mean in which newer runs weigh more.
    pub pace: Option<u32>,
    pub(crate) waiting: RangeSet,
    pub(crate) finished: RangeSet,
    pub(crate) failed: RangeSet,
    pub(crate) stopped: RangeSet,
    pub(crate) live: OrdMap<u32, InstanceState>,
    pub(crate) attempts: OrdMap<u32, Attempts>,
}

/// How often an instance was tried before; kept only when not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attempts {
    /// Retries used up: runs that failed for a reason of the job.
    pub retries: u32,
    /// Runs that the infrastructure lost.
    pub put_back: u32,
}

impl Job {
    /// The specification of a task.
    pub fn task_spec(&self, task: &TaskName) -> Option<&TaskSpec> {
        self.spec.tasks.get(task)
    }

    /// The cluster on which a task's instances run: the named one, or the automatic one while
    /// it exists.
    pub fn cluster_of(&self, task: &TaskName) -> Option<ClusterId> {
        let state = self.tasks.get(task)?;
        match &self.task_spec(task)?.placement {
            Placement::Fixed(cluster) | Placement::Attach { cluster, .. } => Some(*cluster),
            Placement::Auto(_) => state.auto_cluster,
        }
    }

    /// How many instances count against the owner's quota: all while the job has not ended.
    pub(crate) fn open_instances(&self) -> u64 {
        if self.state.is_final() { 0 } else { self.instance_counts.total().into() }
    }

    /// The names of the tasks that wait for `task`.
    pub fn successors<'a>(&'a self, task: &TaskName) -> impl Iterator<Item = &'a TaskName> + 'a {
        self.spec.dependencies.get(task).into_iter().flatten()
    }

    /// Whether `task` holds its successors back. A failed task does not when failures do not
    /// count (`reference/api.md` 5.1, the note).
    pub(crate) fn holds_back(&self, task: &Task) -> bool {
        match task.state {
            JobState::Finished => false,
            JobState::Failed => self.spec.fail_on_instance_fail,
            JobState::Waiting | JobState::Running | JobState::Stopped => true,
        }
    }
}

impl Task {
    /// A task nobody touched.
    pub(crate) fn untouched(spec: &TaskSpec) -> Self {
        Self {
            state: TaskState::Waiting,
            started: None,
            ended: None,
            counts: Counts { waiting: spec.instance_count, ..Counts::default() },
            blocked_by: 0,
            auto_cluster: None,
            machines_short: 0,
            lane: lane_of(spec),
            pace: None,
            waiting: RangeSet::below(spec.instance_count),
            finished: RangeSet::default(),
            failed: RangeSet::default(),
            stopped: RangeSet::default(),
            live: OrdMap::new(),
            attempts: OrdMap::new(),
        }
    }

    /// The state of one instance; `None` when there is no such number.
    pub fn instance(&self, number: InstanceNo) -> Option<InstanceState> {
        let n = number.0;
        if let Some(state) = self.live.get(&n) {
            return Some(state.clone());
        }
        let sets = [
            (&self.waiting, InstanceState::Waiting),
            (&self.finished, InstanceState::Finished),
            (&self.failed, InstanceState::Failed),
            (&self.stopped, InstanceState::Stopped),
        ];
        sets.into_iter().find(|(set, _)| set.contains(n)).map(|(_, state)| state)
    }

    /// How often an instance was tried before.
    pub fn attempts(&self, number: InstanceNo) -> Attempts {
        self.attempts.get(&number.0).copied().unwrap_or_default()
    }

    /// How many instances there are.
    pub fn instance_count(&self) -> u32 {
        self.counts.total()
    }

    /// Whether a machine has one of its instances.
    pub fn is_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// Instances from number `from` on, ascending, all or those in one state. Taking a page
    /// costs the page, not the task.
    pub fn instances<'a>(
        &'a self,
        from: InstanceNo,
        only: Option<JobState>,
    ) -> Box<dyn Iterator<Item = (InstanceNo, InstanceState)> + 'a> {
        let from = from.0;
        let plain = |set: &'a RangeSet, state: InstanceState| {
            set.iter_from(from).map(move |n| (InstanceNo(n), state.clone()))
        };
        match only {
            None => Box::new(
                (from..self.instance_count())
                    .filter_map(|n| Some((InstanceNo(n), self.instance(InstanceNo(n))?))),
            ),
            Some(JobState::Waiting) => Box::new(merge(
                plain(&self.waiting, InstanceState::Waiting),
                self.live_named(from, "Waiting"),
            )),
            Some(JobState::Running) => Box::new(self.live_named(from, "Running")),
            Some(JobState::Finished) => Box::new(plain(&self.finished, InstanceState::Finished)),
            Some(JobState::Failed) => Box::new(plain(&self.failed, InstanceState::Failed)),
            Some(JobState::Stopped) => Box::new(plain(&self.stopped, InstanceState::Stopped)),
        }
    }

    fn live_named<'a>(
        &'a self,
        from: u32,
        name: &'static str,
    ) -> impl Iterator<Item = (InstanceNo, InstanceState)> + 'a {
        self.live
            .range(from..)
            .filter(move |(_, state)| state.name() == name)
            .map(|(n, state)| (InstanceNo(*n), state.clone()))
    }

    /// Gives waiting instances to a machine, `state` says in which state each is then.
    pub(crate) fn place(
        &mut self,
        numbers: &RangeSet,
        mut state: impl FnMut(u32) -> InstanceState,
    ) {
        assert!(self.waiting.contains_all(numbers), "only a waiting instance is placed");
        self.waiting.subtract(numbers);
        for number in numbers.iter() {
            self.live.insert(number, state(number));
        }
    }

    /// Ends runs whose instances are finished.
    pub(crate) fn finish_runs(&mut self, runs: &[FinishedRun]) {
        for FinishedRun { instance, started, ended, .. } in runs {
            self.end_run(*instance, AfterRun::Finished, false);
            self.note_pace(*started, *ended);
        }
    }

    fn note_pace(&mut self, started: Timestamp, ended: Timestamp) {
        let took = u32::try_from(ended.0 - started.0).unwrap_or(u32::MAX);
        let mean = |old: u32| ((u64::from(old) * 7 + u64::from(took)) / 8) as u32;
        self.pace = Some(self.pace.map_or(took, mean));
    }

    pub(crate) fn start_run(&mut self, number: InstanceNo, at: Timestamp) {
        let live = self.live.get_mut(&number.0).expect("only a placed instance starts");
        let InstanceState::Placed { run, worker, generation, .. } = *live else {
            panic!("only a placed instance starts");
        };
        *live = InstanceState::Running { run, worker, generation, since: at };
        self.counts.waiting -= 1;
        self.counts.running += 1;
        self.started.get_or_insert(at);
        if self.state == TaskState::Waiting {
            self.state = TaskState::Running;
        }
    }

    pub(crate) fn end_run(&mut self, number: InstanceNo, after: AfterRun, lost: bool) {
        let n = number.0;
        match self.live.remove(&n).expect("only a live run ends") {
            InstanceState::Running { .. } => self.counts.running -= 1,
            _ => self.counts.waiting -= 1,
        }
        let (set, count) = match after {
            AfterRun::Finished => (&mut self.finished, &mut self.counts.finished),
            AfterRun::Retry | AfterRun::PutBack => (&mut self.waiting, &mut self.counts.waiting),
            AfterRun::Failed => (&mut self.failed, &mut self.counts.failed),
            AfterRun::Ignored => (&mut self.stopped, &mut self.counts.stopped),
        };
        set.insert(n);
        *count += 1;
        match after {
            AfterRun::Retry => self.attempts.entry(n).or_default().retries += 1,
            AfterRun::PutBack if lost => self.attempts.entry(n).or_default().put_back += 1,
            _ => {}
        }
    }

    /// Ends the task; what still waits is stopped. Its runs were ended before.
    pub(crate) fn end(&mut self, state: TaskState, at: Timestamp) {
        assert!(self.live.is_empty(), "the runs of a task end before the task");
        self.stopped.extend(&std::mem::take(&mut self.waiting));
        self.counts.stopped += std::mem::take(&mut self.counts.waiting);
        self.state = state;
        self.ended = Some(at);
        self.machines_short = 0;
    }

    /// What did not finish waits again, as if it had never been tried.
    pub(crate) fn restart(&mut self) {
        if self.state == TaskState::Finished {
            return;
        }
        self.waiting.extend(&std::mem::take(&mut self.failed));
        self.waiting.extend(&std::mem::take(&mut self.stopped));
        let Counts { failed, stopped, .. } = std::mem::take(&mut self.counts);
        self.counts.finished = self.finished.len();
        self.counts.waiting = failed + stopped;
        let waiting = &self.waiting;
        self.attempts.retain_numbers(|n| !waiting.contains(n));
        (self.state, self.started, self.ended) = (TaskState::Waiting, None, None);
    }
}

/// What machines a task asks for of the cluster it is attached to.
pub(crate) fn lane_of(spec: &TaskSpec) -> Option<Arc<MachineShape>> {
    match &spec.placement {
        Placement::Attach { shape, .. } => Some(Arc::new(MachineShape::attached(shape))),
        Placement::Fixed(_) | Placement::Auto(_) => None,
    }
}

/// Keeping only some keys; `OrdMap` has no such function of its own.
trait RetainNumbers {
    fn retain_numbers(&mut self, keep: impl Fn(u32) -> bool);
}

impl RetainNumbers for OrdMap<u32, Attempts> {
    fn retain_numbers(&mut self, keep: impl Fn(u32) -> bool) {
        *self = self.iter().filter(|(n, _)| keep(**n)).map(|(n, tries)| (*n, *tries)).collect();
    }
}

/// Merges two ascending sequences.
fn merge<T>(
    left: impl Iterator<Item = (InstanceNo, T)>,
    right: impl Iterator<Item = (InstanceNo, T)>,
) -> impl Iterator<Item = (InstanceNo, T)> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (number(&mut left), number(&mut right)) {
        (Some(l), Some(r)) if r < l => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}

fn number<T>(items: &mut Peekable<impl Iterator<Item = (InstanceNo, T)>>) -> Option<InstanceNo> {
    items.peek().map(|(number, _)| *number)
}

/// Whether a run with this outcome was lost by the infrastructure.
pub(crate) fn is_lost(outcome: &RunOutcome) -> bool {
    matches!(outcome, RunOutcome::Infrastructure { .. })
}

/// Why a run did not end well, for codes and messages; `None` when it did or was ended by us.
pub fn cause_of(outcome: &RunOutcome) -> Option<Cause> {
    match outcome {
        RunOutcome::Exited { code: 0 } | RunOutcome::Cancelled => None,
        RunOutcome::Exited { .. } => Some(Cause::NonZeroExit),
        RunOutcome::Signalled { .. } => Some(Cause::Signal),
        RunOutcome::TimedOut => Some(Cause::Timeout),
        RunOutcome::OutOfMemory => Some(Cause::OutOfMemory),
        RunOutcome::Unable { cause, .. } | RunOutcome::Infrastructure { cause, .. } => Some(*cause),
    }
}

/// What happened to a run, in words.
pub fn describe(outcome: &RunOutcome) -> String {
    match outcome {
        RunOutcome::Exited { code } => format!("exit code {code}"),
        RunOutcome::Signalled { signal } => format!("ended by signal {signal}"),
        RunOutcome::TimedOut => "ran longer than its time-out".to_owned(),
        RunOutcome::OutOfMemory => "used more memory than it may".to_owned(),
        RunOutcome::Unable { message, .. } | RunOutcome::Infrastructure { message, .. } => {
            message.clone()
        }
        RunOutcome::Cancelled => "ended by the server".to_owned(),
    }
}

impl Task {
    /// The counts as the sets say them.
    pub(crate) fn counted(&self) -> Counts {
        let running = |state: &&InstanceState| matches!(state, InstanceState::Running { .. });
        let running = self.live.values().filter(running).count() as u32;
        Counts {
            waiting: self.waiting.len() + self.live.len() as u32 - running,
            running,
            finished: self.finished.len(),
            failed: self.failed.len(),
            stopped: self.stopped.len(),
        }
    }
}
