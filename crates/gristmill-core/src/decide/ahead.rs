//! Runs that machines hold ahead, taken back when something more urgent comes.
//!
//! A machine may hold short runs beyond those it executes, so that it never waits for the server.
//! A task of a higher priority that finds no machine would stand behind them. So they are taken
//! back from as many machines as it has instances: they wait again, and what comes first is placed
//! first as soon as a run ends.
//!
//! Invariants
//! - Nothing that may have begun is taken back: a machine begins its runs in their order, and
//!   twice as many as it executes at a time stay.
//! - Taking back uses up no retry; the machine is told to forget the run, and what it says of it
//!   later is dropped.

use super::Draft;
use crate::{cluster::Worker, job::Job, lanes::Pool};
use gristmill_model::{InstanceState, JobId, RunId, TaskName, WorkerId, event::AfterRun};
use std::sync::Arc;

/// How many machines are looked at for one task.
const MACHINES_MAX: usize = 1_000;

impl Draft<'_> {
    /// A job may run now: what is of lower priority does not stand before its tasks.
    pub(super) fn overtake(&mut self, id: JobId) {
        if let Some(job) = self.world.jobs.get(&id).filter(|job| job.priority > 0).cloned() {
            job.tasks.keys().for_each(|name| self.overtake_with(&job, name));
        }
    }

    /// The same for the tasks that waited for one that ended; all others of the job stand where
    /// they stood.
    pub(super) fn after_task(&mut self, id: JobId, task: &TaskName) {
        let job = Arc::clone(self.world.job_of(id));
        if job.priority > 0 && !job.holds_back(&job.tasks[task]) {
            job.successors(task).for_each(|name| self.overtake_with(&job, name));
        }
    }

    fn overtake_with(&mut self, job: &Job, name: &TaskName) {
        let task = &job.tasks[name];
        let ready = task.blocked_by == 0 && !task.state.is_final() && !task.waiting.is_empty();
        if let Some(cluster) = job.cluster_of(name).filter(|_| ready) {
            let pool = Pool { cluster, lane: task.lane.clone() };
            self.make_way(job, &pool, task.waiting.len());
        }
    }

    fn make_way(&mut self, job: &Job, pool: &Pool, instances: u32) {
        let instances = instances.saturating_sub(self.free_slots(pool, instances));
        let Some(cluster) = self.world.clusters.get(&pool.cluster) else { return };
        let groups = cluster.groups.values().filter(|group| group.lane == pool.lane);
        let workers = groups.flat_map(|group| &group.workers).take(MACHINES_MAX);
        let held = workers.map(|id| (*id, self.held_for_less(self.world.worker_of(*id), job)));
        let held: Vec<_> =
            held.filter(|(_, runs)| !runs.is_empty()).take(instances as usize).collect();
        for (worker, runs) in held {
            runs.into_iter().for_each(|run| self.take_back(worker, run));
        }
    }

    /// How many instances of any task find a place at once; beyond `enough` nobody counts.
    fn free_slots(&self, pool: &Pool, enough: u32) -> u32 {
        let slots = self.world.options.slots_per_worker;
        let free = self.world.free.get(pool).into_iter().flatten();
        let free = free.map(|(used, _)| slots.saturating_sub(*used)).take_while(|room| *room > 0);
        free.take(enough as usize).sum()
    }

    /// The runs that a machine holds ahead and has not begun, of jobs with a lower priority.
    /// Neighbours are mostly of one job, and most jobs are looked at in vain.
    fn held_for_less(&self, worker: &Worker, job: &Job) -> Vec<RunId> {
        let begun = 2 * self.world.options.slots_per_worker as usize;
        let mut last: Option<(JobId, Option<&Arc<Job>>)> = None;
        let mut lesser = |id: JobId| match last {
            Some((known, found)) if known == id => found,
            _ => {
                let other = Some(self.world.job_of(id));
                let found = other.filter(|other| other.priority < job.priority);
                last = Some((id, found));
                found
            }
        };
        let held = worker.runs.iter().skip(begun).filter(|(_, what)| {
            let state =
                lesser(what.job).and_then(|it| it.tasks[&what.task].instance(what.instance));
            matches!(state, Some(InstanceState::Placed { .. }))
        });
        held.map(|(run, _)| *run).collect()
    }

    fn take_back(&mut self, worker: WorkerId, run: RunId) {
        let end = self.cut_short(run, worker, "something with a higher priority came");
        self.end_run(worker, run, end, Some(AfterRun::PutBack));
    }
}
