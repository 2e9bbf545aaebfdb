//! Keeps books of its own from nothing but the events, and says what does not fit.
//!
//! Rules
//! - A run is placed once, with a number that was never used, on an instance that has no run.
//! - A run ends once, where it was placed.
//! - An instance finishes at most once, whatever else becomes of its job.
//! - Retries stay within what the task allows; put-backs within the limit.
//! - A job ends only when no run of it is open; `Finished` means that every instance ended.
//! - One token makes one thing.
//! - The table of results has one row per finished instance.

use crate::region::{Region, ResultRow};
use gristmill_model::{
    Event, InstanceNo, JobId, JobSpec, JobState, RunId, RunOutcome, TaskName, WorkerId,
    event::AfterRun,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type Place = (JobId, TaskName, InstanceNo);

/// The independent books.
#[derive(Default)]
pub struct Referee {
    specs: BTreeMap<JobId, Arc<JobSpec>>,
    /// Jobs that ended and were not started again, and jobs that were deleted.
    ended: BTreeSet<JobId>,
    open: BTreeMap<RunId, (Place, WorkerId)>,
    busy: BTreeSet<Place>,
    newest_run: RunId,
    finished: BTreeSet<Place>,
    failed: BTreeSet<Place>,
    tries: BTreeMap<Place, (u32, u32)>,
    tokens: BTreeSet<String>,
    put_back_max: u32,
}

impl Referee {
    /// Empty books.
    pub fn new(put_back_max: u32) -> Self {
        Self { put_back_max, ..Self::default() }
    }

    /// Takes note of an event; the error says what does not fit.
    pub fn see(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::JobSubmitted { job, spec, token, .. } => {
                self.specs.insert(*job, Arc::clone(spec));
                match token {
                    Some(token) if !self.tokens.insert(token.text.clone()) => {
                        Err(format!("token {} made two things", token.text))
                    }
                    _ => Ok(()),
                }
            }
            Event::ClusterCreated { token: Some(token), .. } => {
                let new = self.tokens.insert(token.text.clone());
                new.then_some(()).ok_or(format!("token {} made two things", token.text))
            }
            Event::RunPlaced { run, job, task, instance, worker, .. } => {
                self.placed(*run, (*job, task.clone(), *instance), *worker)
            }
            Event::RunsPlaced { first, job, task, instances, worker, .. } => {
                (first.0..).zip(instances.iter()).try_for_each(|(run, instance)| {
                    let place = (*job, task.clone(), InstanceNo(instance));
                    self.placed(RunId(run), place, *worker)
                })
            }
            Event::RunsFinished { job, task, worker, runs, .. } => runs.iter().try_for_each(|it| {
                let place = (*job, task.clone(), it.instance);
                let outcome = RunOutcome::Exited { code: 0 };
                self.run_ended(it.run, &place, *worker, &outcome, AfterRun::Finished)
            }),
            Event::RunStarted { run, .. } => {
                let open = self.open.contains_key(run);
                open.then_some(()).ok_or(format!("run {run} started and is not open"))
            }
            Event::RunEnded { run, job, task, instance, worker, outcome, after, .. } => {
                let place = (*job, task.clone(), *instance);
                self.run_ended(*run, &place, *worker, outcome, *after)
            }
            Event::JobStopped { job, .. } => self.job_ended(*job, None),
            Event::JobEnded { job, state, .. } => self.job_ended(*job, Some(*state)),
            Event::JobRestarted { job, .. } => self.job_restarted(*job),
            Event::JobDeleted { job } | Event::JobArchived { job, .. } => {
                let over = self.ended.contains(job);
                over.then_some(()).ok_or(format!("{job} was deleted before its end"))
            }
            _ => Ok(()),
        }
    }

    fn placed(&mut self, run: RunId, place: Place, worker: WorkerId) -> Result<(), String> {
        if run <= self.newest_run {
            return Err(format!("run {run} was used before"));
        }
        if self.ended.contains(&place.0) || self.finished.contains(&place) {
            return Err(format!("run {run} of {place:?}, which is over"));
        }
        if !self.busy.insert(place.clone()) {
            return Err(format!("{place:?} runs twice at once"));
        }
        self.newest_run = run;
        self.open.insert(run, (place, worker));
        Ok(())
    }

    fn run_ended(
        &mut self,
        run: RunId,
        place: &Place,
        worker: WorkerId,
        outcome: &RunOutcome,
        after: AfterRun,
    ) -> Result<(), String> {
        if self.open.remove(&run) != Some((place.clone(), worker)) {
            return Err(format!("run {run} of {place:?} ended and was not open there"));
        }
        self.busy.remove(place);
        let retries_max = self.specs[&place.0].tasks[&place.1].retry_count_max;
        let (retries, put_back) = self.tries.entry(place.clone()).or_default();
        match after {
            AfterRun::Finished if !self.finished.insert(place.clone()) => {
                return Err(format!("{place:?} finished twice"));
            }
            AfterRun::Failed if !self.failed.insert(place.clone()) => {
                return Err(format!("{place:?} failed twice"));
            }
            AfterRun::Retry => *retries += 1,
            AfterRun::PutBack if matches!(outcome, RunOutcome::Infrastructure { .. }) => {
                *put_back += 1;
            }
            _ => {}
        }
        if *retries > retries_max || *put_back > self.put_back_max {
            return Err(format!("{place:?}: {retries} retries, put back {put_back} times"));
        }
        Ok(())
    }

    fn job_ended(&mut self, job: JobId, state: Option<JobState>) -> Result<(), String> {
        if self.busy.iter().any(|place| place.0 == job) {
            return Err(format!("{job} ended with open runs"));
        }
        if !self.ended.insert(job) {
            return Err(format!("{job} ended twice"));
        }
        if state == Some(JobState::Finished) {
            return self.all_ended(job);
        }
        Ok(())
    }

    fn all_ended(&self, job: JobId) -> Result<(), String> {
        let spec = &self.specs[&job];
        for (task, task_spec) in &spec.tasks {
            for number in 0..task_spec.instance_count {
                let place = (job, task.clone(), InstanceNo(number));
                let failed = self.failed.contains(&place) && !spec.fail_on_instance_fail;
                if !self.finished.contains(&place) && !failed {
                    return Err(format!("{job} is Finished, {task}/{number} is not"));
                }
            }
        }
        Ok(())
    }

    fn job_restarted(&mut self, job: JobId) -> Result<(), String> {
        let finished = &self.finished;
        self.failed.retain(|place| place.0 != job);
        self.tries.retain(|place, _| place.0 != job || finished.contains(place));
        let over = self.ended.remove(&job);
        over.then_some(()).ok_or(format!("{job} was started again before its end"))
    }

    /// Whether the table of results is right.
    pub fn check_results(&self, region: &Region) -> Result<(), String> {
        let rows: Vec<Place> = region.results.iter().map(place_of).collect();
        let set: BTreeSet<Place> = rows.iter().cloned().collect();
        if set.len() < rows.len() {
            return Err("a result was counted twice".to_owned());
        }
        if set != self.finished {
            return Err(format!("{} results of {} instances", set.len(), self.finished.len()));
        }
        Ok(())
    }

    /// Whether an acknowledged job has ended or was deleted.
    pub fn is_over(&self, job: JobId) -> bool {
        self.ended.contains(&job)
    }

    /// Whether the books know a job.
    pub fn knows(&self, job: JobId) -> bool {
        self.specs.contains_key(&job)
    }

    /// Whether some run is open.
    pub fn is_busy(&self) -> bool {
        !self.open.is_empty()
    }
}

fn place_of(row: &ResultRow) -> Place {
    (row.job, row.task.clone(), row.instance)
}
