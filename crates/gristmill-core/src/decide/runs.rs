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
    job::{Attempts, Job, Task},
    lanes::Pool,
};
use gristmill_model::{
    Answer, Cause, Event, FinishedRun, Generation, InstanceState, JobId, RangeSet, RunId,
    RunOutcome, RunReport, TaskName, TaskState, Timestamp, WorkerId, WorkerState, event::AfterRun,
    input::Proposal,
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
            if let Some((instances, generation)) = self.may_place(proposal) {
                let Proposal { job, task, worker, .. } = proposal.clone();
                let (first, at) = (self.world.next_run, self.now);
                let placed =
                    Event::RunsPlaced { first, job, task, instances, worker, generation, at };
                self.emit(placed);
            }
        }
        Answer::Done
    }

    /// What of a proposal still holds, and for which generation of the machine.
    fn may_place(&self, proposal: &Proposal) -> Option<(RangeSet, Generation)> {
        let worker = self.world.workers.get(&proposal.worker)?;
        let job = self.world.jobs.get(&proposal.job)?;
        let task = job.tasks.get(&proposal.task)?;
        let most = self.world.options.room_for(task.pace, worker.ahead);
        let room = most.saturating_sub(worker.used());
        let open = !task.state.is_final() && task.blocked_by == 0;
        let here = self.serves(&worker.pool(), job, &proposal.task);
        let takes_work = worker.state == WorkerState::Running && worker.notice.is_none();
        let waiting = task.waiting.common(&proposal.instances).smallest(room);
        (takes_work && open && here && !waiting.is_empty()).then_some((waiting, worker.generation))
    }

    /// Whether machines of a pool serve a task.
    fn serves(&self, pool: &Pool, job: &Job, name: &TaskName) -> bool {
        let lane = job.tasks[name].lane.clone();
        let wanted = Pool { cluster: pool.cluster, lane };
        let own = pool.lane.is_none() && self.world.shares_own(&wanted);
        job.cluster_of(name) == Some(pool.cluster) && (*pool == wanted || own)
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
        let mut rest = reports;
        while let Some(report) = rest.first() {
            let finished = self.finished_at_the_front(worker, rest);
            rest = &rest[finished.len().max(1)..];
            // A report may end its job and with it the machine; the rest is dropped then,
            // because the machine holds no run any longer.
            match report {
                _ if !finished.is_empty() => self.on_finished(worker, finished),
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

    /// How many reports from the first on can be one event: current runs of one task in ascending
    /// order that ended with 0 at the first try, with nothing more to say.
    fn finished_at_the_front(&self, worker: WorkerId, reports: &[RunReport]) -> Vec<FinishedRun> {
        let mut finished: Vec<FinishedRun> = Vec::new();
        let Some(machine) = self.world.workers.get(&worker) else { return finished };
        let mut shared: Option<(&Assigned, &Task)> = None;
        for report in reports {
            let Some((run, started, ended)) = plain_success(report) else { break };
            let Some(what) = machine.runs.get(&run) else { break };
            let (first, task) = *shared.get_or_insert_with(|| {
                (what, self.world.job_of(what.job).tasks[&what.task].as_ref())
            });
            let same = (what.job, &what.task) == (first.job, &first.task);
            let ascending = finished.last().is_none_or(|last| last.run < run);
            let first_try = task.attempts(what.instance) == Attempts::default();
            if !(same && ascending && first_try) {
                break;
            }
            let state = task.live.get(&what.instance.0).expect("a current run is live");
            let (started, ended) = plausible(started, ended, began(state), self.now);
            finished.push(FinishedRun { run, instance: what.instance, started, ended });
        }
        finished
    }

    fn on_finished(&mut self, worker: WorkerId, runs: Vec<FinishedRun>) {
        let machine = self.world.worker_of(worker);
        let address = machine.address.clone();
        let Assigned { job, task, instance } = machine.runs[&runs[0].run].clone();
        if self.world.job_of(job).tasks[&task].state == TaskState::Waiting {
            // The report that it started is not sent for short runs, or was overtaken.
            self.on_started(worker, runs[0].run);
        }
        self.emit(Event::RunsFinished { job, task: task.clone(), worker, address, runs });
        self.eased.insert(worker);
        let outcome = RunOutcome::Exited { code: 0 };
        self.after_instance(job, &task, instance, AfterRun::Finished, &outcome);
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
        let (begun, latest) = (began(&state), self.now);
        let started = end.started.map(|it| plausible(it, end.ended, begun, latest).0);
        let (_, ended) = plausible(end.ended, end.ended, begun, latest);
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
        self.eased.insert(worker);
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
fn plausible(
    started: Timestamp,
    ended: Timestamp,
    began: Timestamp,
    now: Timestamp,
) -> (Timestamp, Timestamp) {
    let ended = ended.clamp(began, now.max(began));
    (started.clamp(began, ended), ended)
}

/// A run that ended with 0 and says nothing more: which, when it started and when it ended.
fn plain_success(report: &RunReport) -> Option<(RunId, Timestamp, Timestamp)> {
    match report {
        RunReport::Ended { run, started: Some(started), ended, outcome, detail } => {
            let plain = *outcome == RunOutcome::Exited { code: 0 } && detail.is_empty();
            plain.then_some((*run, *started, *ended))
        }
        _ => None,
    }
}
