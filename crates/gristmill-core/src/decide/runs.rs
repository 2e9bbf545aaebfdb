//! Placing instances, and what agents report of them.
//!
//! A run is current while its machine's `runs` holds it. Everything said about any other run is
//! late, repeated, foreign or a lie and is dropped.
//!
//! Times: what an agent says is kept between the moment the run was placed and now, so a
//! machine whose clock is an hour off cannot end a run before it began.

use super::Draft;
use crate::{
    cluster::{Assigned, Worker},
    job::Attempts,
};
use gristmill_model::{
    Answer, Cause, Event, Generation, InstanceState, JobId, RunId, RunOutcome, RunReport,
    TaskState, Timestamp, WorkerId, WorkerState, event::AfterRun, input::Proposal,
};
use std::sync::Arc;

/// How a run ended, as reported or as decided here.
pub(super) struct RunEnd {
    pub(super) outcome: RunOutcome,
    pub(super) detail: String,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Timestamp,
}

impl Draft<'_> {
    pub(super) fn place(&mut self, proposals: &[Proposal]) -> Answer {
        for proposal in proposals {
            if let Some(generation) = self.may_place(proposal) {
                let Proposal { job, task, instance, worker } = proposal.clone();
                let (run, at) = (self.world.next_run, self.now);
                self.emit(Event::RunPlaced { run, job, task, instance, worker, generation, at });
            }
        }
        Answer::Done
    }

    /// Whether a proposal still holds, and for which generation of the machine.
    fn may_place(&self, proposal: &Proposal) -> Option<Generation> {
        let worker = self.world.workers.get(&proposal.worker)?;
        let room = worker.used() < self.world.options.slots_per_worker;
        let job = self.world.jobs.get(&proposal.job)?;
        let task = job.tasks.get(&proposal.task)?;
        let open = !task.state.is_final() && task.blocked_by == 0;
        let here = job.cluster_of(&proposal.task) == Some(worker.cluster);
        let waits = task.waiting.contains(proposal.instance.0);
        (worker.state == WorkerState::Running && room && open && here && waits)
            .then_some(worker.generation)
    }

    pub(super) fn on_reports(
        &mut self,
        worker: WorkerId,
        generation: Generation,
        reports: &[RunReport],
    ) -> Answer {
        if self.wanted(worker, generation).is_none() {
            return Answer::Unwanted;
        }
        for report in reports {
            // A report may end its job and with it the machine; the rest is dropped then,
            // because the machine holds no run any longer.
            match report {
                RunReport::Started { run, .. } => self.on_started(worker, *run),
                RunReport::Ended { run, started, ended, outcome, detail } => {
                    let (outcome, detail) = (outcome.clone(), detail.clone());
                    let end = RunEnd { outcome, detail, started: *started, ended: *ended };
                    self.on_ended(worker, *run, end);
                }
            }
        }
        Answer::Done
    }

    /// What the machine is to run under this id, while the run is current.
    pub(super) fn current(&self, worker: WorkerId, run: RunId) -> Option<&Assigned> {
        self.world.workers.get(&worker)?.runs.get(&run)
    }

    fn on_started(&mut self, worker: WorkerId, run: RunId) {
        let Some(Assigned { job, task, instance }) = self.current(worker, run).cloned() else {
            return;
        };
        let state = self.world.job_of(job).tasks[&task].instance(instance);
        if let Some(InstanceState::Placed { .. }) = state {
            self.emit(Event::RunStarted { run, job, task, instance, at: self.now });
        }
    }

    fn on_ended(&mut self, worker: WorkerId, run: RunId, mut end: RunEnd) {
        let Some(what) = self.current(worker, run) else { return };
        let state = self.world.job_of(what.job).tasks[&what.task].state;
        if end.started.is_some() && state == TaskState::Waiting {
            // The report that it started is not sent for short runs, or was overtaken.
            self.on_started(worker, run);
        }
        if end.outcome == RunOutcome::Cancelled {
            // Nobody asked for that, or the run would not be current.
            let message = "the machine ended the run without being told to".to_owned();
            end.outcome = RunOutcome::Infrastructure { cause: Cause::WorkerLost, message };
        }
        self.end_run(worker, run, end, None);
    }

    /// Ends a current run and draws the conclusions.
    pub(super) fn end_run(
        &mut self,
        worker: WorkerId,
        run: RunId,
        end: RunEnd,
        decided: Option<AfterRun>,
    ) {
        let machine = self.world.worker_of(worker);
        let address = machine.address.clone();
        let Assigned { job: id, task, instance } = machine.runs[&run].clone();
        let job = self.world.job_of(id);
        let state = job.tasks[&task].instance(instance).expect("a run is of an instance");
        let attempts = job.tasks[&task].attempts(instance);
        let after = decided
            .unwrap_or_else(|| self.verdict(&end.outcome, attempts, retry_count_max(job, &task)));
        let (started, ended) = plausible(&end, began(&state), self.now);
        self.emit(Event::RunEnded {
            run,
            job: id,
            task: task.clone(),
            instance,
            worker,
            address,
            retries: attempts.retries,
            outcome: end.outcome.clone(),
            detail: end.detail,
            started,
            ended,
            after,
        });
        if matches!(after, AfterRun::Finished | AfterRun::Failed) {
            self.after_instance(id, &task, instance, after, &end.outcome);
        }
    }

    fn verdict(&self, outcome: &RunOutcome, tried: Attempts, retry_count_max: u32) -> AfterRun {
        let put_back_max = self.world.options.limits.infrastructure_retry_max;
        match outcome {
            RunOutcome::Exited { code: 0 } => AfterRun::Finished,
            RunOutcome::Cancelled => AfterRun::PutBack,
            RunOutcome::Infrastructure { .. } if tried.put_back < put_back_max => AfterRun::PutBack,
            RunOutcome::Infrastructure { .. } => AfterRun::Failed,
            RunOutcome::Exited { .. }
            | RunOutcome::Signalled { .. }
            | RunOutcome::TimedOut
            | RunOutcome::OutOfMemory
            | RunOutcome::Unable { .. } => {
                if tried.retries < retry_count_max {
                    AfterRun::Retry
                } else {
                    AfterRun::Failed
                }
            }
        }
    }

    /// Ends all runs of a job that is about to end.
    pub(super) fn end_runs_of(&mut self, id: JobId) {
        let tasks = self.world.job_of(id).tasks.values();
        let live: Vec<_> = tasks
            .flat_map(|task| task.live.values())
            .filter_map(|state| match state {
                InstanceState::Placed { run, worker, .. }
                | InstanceState::Running { run, worker, .. } => Some((*run, *worker)),
                _ => None,
            })
            .collect();
        for (run, worker) in live {
            let end = self.cut_short(run, worker, "the job ended");
            self.end_run(worker, run, end, Some(AfterRun::Ignored));
        }
    }

    /// The end of a run that the server does not want any longer.
    pub(super) fn cut_short(&self, run: RunId, worker: WorkerId, detail: &str) -> RunEnd {
        self.end_now(run, worker, RunOutcome::Cancelled, detail)
    }

    /// The end of a run whose machine was lost or forgot it.
    pub(super) fn lost(&self, run: RunId, worker: WorkerId, message: String) -> RunEnd {
        let outcome = RunOutcome::Infrastructure { cause: Cause::WorkerLost, message };
        self.end_now(run, worker, outcome, "")
    }

    fn end_now(&self, run: RunId, worker: WorkerId, outcome: RunOutcome, detail: &str) -> RunEnd {
        let what = &self.world.worker_of(worker).runs[&run];
        let task = &self.world.job_of(what.job).tasks[&what.task];
        let started = match task.instance(what.instance) {
            Some(InstanceState::Running { since, .. }) => Some(since),
            _ => None,
        };
        RunEnd { outcome, detail: detail.to_owned(), started, ended: self.now }
    }

    /// The machine, when it is the one meant and is to be there.
    pub(super) fn wanted(&self, id: WorkerId, generation: Generation) -> Option<Arc<Worker>> {
        let worker = self.world.workers.get(&id)?;
        let wanted = worker.generation == generation && worker.state != WorkerState::Deleting;
        wanted.then(|| Arc::clone(worker))
    }
}

fn retry_count_max(job: &crate::job::Job, task: &gristmill_model::TaskName) -> u32 {
    job.task_spec(task).map_or(0, |spec| spec.retry_count_max)
}

/// Since when a run has been with its machine.
fn began(state: &InstanceState) -> Timestamp {
    match state {
        InstanceState::Placed { at, .. } => *at,
        InstanceState::Running { since, .. } => *since,
        _ => unreachable!("a current run is placed or running"),
    }
}

/// Start and end within what the server knows: not before `began`, not after `now`.
fn plausible(end: &RunEnd, began: Timestamp, now: Timestamp) -> (Option<Timestamp>, Timestamp) {
    let latest = now.max(began);
    let ended = end.ended.clamp(began, latest);
    (end.started.map(|started| started.clamp(began, ended)), ended)
}
