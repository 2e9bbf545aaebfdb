//! Commands about jobs, and how a job goes on when something in it ends.
//!
//! What is legal in which state is `JobState::next` (`reference/api.md` 5.1); deleting and
//! changing the priority are legal after the end, the latter not after success.

use super::Draft;
use crate::{
    job::{Job, cause_of, describe},
    world::{Made, TokenKey},
};
use gristmill_model::{
    AccountId, Answer, Event, InstanceNo, JobId, JobSpec, JobState, Placement, Refusal, RunOutcome,
    TaskName, TaskSpec, TaskState,
    event::{AfterRun, TokenUse},
    input::Token,
    spec::Limits,
    state::JobEvent,
};
use std::sync::Arc;

/// How many jobs move into the history in one go.
const ARCHIVED_AT_ONCE_MAX: u32 = 256;

impl Draft<'_> {
    pub(super) fn submit_job(
        &mut self,
        account: AccountId,
        spec: &Arc<JobSpec>,
        token: &Option<Token>,
    ) -> Result<Answer, Refusal> {
        if let Some(answer) = self.answered_before(account, TokenUse::Job, token)? {
            return Ok(answer);
        }
        within_limits(spec, &self.world.options.limits)?;
        self.clusters_exist(account, spec)?;
        let (used, may) = (self.world.account(account), self.world.allowance(account));
        if u64::from(used.jobs) >= may.jobs {
            let (what, limit, used) = ("jobs", may.jobs, used.jobs.into());
            return Err(Refusal::Quota { what, limit, used });
        }
        let instances: u64 = spec.tasks.values().map(|task| u64::from(task.instance_count)).sum();
        self.instances_allowed(account, instances)?;
        let newest = self.world.jobs.get_max().map(|(id, _)| *id);
        let job = self.ids.job(self.now, newest);
        let (spec, token, at) = (Arc::clone(spec), token.clone(), self.now);
        self.emit(Event::JobSubmitted { job, account, spec, token, at });
        self.overtake(job);
        Ok(Answer::Job(job))
    }

    fn instances_allowed(&self, account: AccountId, more: u64) -> Result<(), Refusal> {
        let used = self.world.account(account).instances;
        let limit = self.world.allowance(account).instances;
        if used + more > limit {
            return Err(Refusal::Quota { what: "instances", limit, used });
        }
        Ok(())
    }

    /// The answer of the first time, when the same token was seen with the same body.
    pub(super) fn answered_before(
        &self,
        account: AccountId,
        used_for: TokenUse,
        token: &Option<Token>,
    ) -> Result<Option<Answer>, Refusal> {
        let Some(token) = token else { return Ok(None) };
        let key = TokenKey { account, used_for, text: token.text.clone() };
        let Some(record) = self.world.tokens.get(&key) else { return Ok(None) };
        if record.at.after(self.world.options.token_kept) <= self.now {
            return Ok(None);
        }
        if record.body != token.body {
            return Err(Refusal::TokenMismatch);
        }
        Ok(Some(match record.made {
            Made::Job(job) => Answer::Job(job),
            Made::Cluster(cluster) => Answer::Cluster(cluster),
        }))
    }

    fn clusters_exist(&self, account: AccountId, spec: &JobSpec) -> Result<(), Refusal> {
        for task in spec.tasks.values() {
            let (Placement::Fixed(cluster) | Placement::Attach { cluster, .. }) = &task.placement
            else {
                continue;
            };
            let known = self.world.cluster(account, *cluster).is_some_and(|it| !it.deleting);
            if !known {
                let reason = format!("cluster `{cluster}` does not exist");
                return Err(Refusal::Invalid { member: "ClusterId", reason });
            }
        }
        Ok(())
    }

    pub(super) fn stop_job(&mut self, account: AccountId, id: JobId) -> Result<Answer, Refusal> {
        let job = self.owned_job(account, id)?;
        job.state.next(JobEvent::Stop).map_err(|_| conflict(&job, "stop"))?;
        self.end_runs_of(id);
        self.emit(Event::JobStopped { job: id, at: self.now });
        self.remove_auto_clusters(id);
        Ok(Answer::Done)
    }

    pub(super) fn start_job(&mut self, account: AccountId, id: JobId) -> Result<Answer, Refusal> {
        let job = self.owned_job(account, id)?;
        job.state.next(JobEvent::Start).map_err(|_| conflict(&job, "start"))?;
        self.instances_allowed(account, job.instance_counts.total().into())?;
        self.emit(Event::JobRestarted { job: id, at: self.now });
        self.overtake(id);
        Ok(Answer::Done)
    }

    pub(super) fn delete_job(&mut self, account: AccountId, id: JobId) -> Result<Answer, Refusal> {
        let job = self.owned_job(account, id)?;
        if !job.state.is_final() {
            return Err(conflict(&job, "delete"));
        }
        self.emit(Event::JobDeleted { job: id });
        Ok(Answer::Done)
    }

    /// A job of the history goes; one that is in the world is deleted in the ordinary way.
    pub(super) fn forget_job(&mut self, id: JobId) -> Answer {
        if !self.world.jobs.contains_key(&id) {
            self.emit(Event::JobDeleted { job: id });
        }
        Answer::Done
    }

    /// Finished jobs that are old, or too many, move into the history.
    pub(super) fn archive_finished(&mut self) {
        for _ in 0..ARCHIVED_AT_ONCE_MAX {
            if self.world.archive_due().is_none_or(|due| due > self.now) {
                return;
            }
            let Some((_, job)) = self.world.finished.get_min().copied() else { return };
            self.emit(Event::JobArchived { job, at: self.now });
        }
    }

    pub(super) fn change_priority(
        &mut self,
        account: AccountId,
        id: JobId,
        priority: u16,
    ) -> Result<Answer, Refusal> {
        let job = self.owned_job(account, id)?;
        if !matches!(job.state, JobState::Stopped | JobState::Failed) {
            return Err(conflict(&job, "change of priority"));
        }
        if job.priority != priority {
            self.emit(Event::JobPriorityChanged { job: id, priority, at: self.now });
        }
        Ok(Answer::Done)
    }

    fn owned_job(&self, account: AccountId, id: JobId) -> Result<Arc<Job>, Refusal> {
        let job = self.world.jobs.get(&id).filter(|job| job.account == account);
        job.cloned().ok_or_else(|| Refusal::NotFound { kind: "job", id: id.to_string() })
    }

    /// An instance is done for good: perhaps its task is, perhaps its job.
    pub(super) fn after_instance(
        &mut self,
        id: JobId,
        task: &TaskName,
        instance: InstanceNo,
        after: AfterRun,
        outcome: &RunOutcome,
    ) {
        let job = self.world.job_of(id);
        if after == AfterRun::Failed && job.spec.fail_on_instance_fail {
            let message = failure(task, instance, outcome);
            return self.fail_job(id, task, message);
        }
        let counts = job.tasks[task].counts;
        if counts.waiting + counts.running > 0 {
            return;
        }
        let state = if counts.failed > 0 { TaskState::Failed } else { TaskState::Finished };
        self.end_task(id, task, state);
        let job = self.world.job_of(id);
        if job.task_counts.waiting + job.task_counts.running == 0 {
            self.complete_job(id);
        }
    }

    fn end_task(&mut self, id: JobId, task: &TaskName, state: TaskState) {
        self.emit(Event::TaskEnded { job: id, task: task.clone(), state, at: self.now });
        if let Some(cluster) = self.world.job_of(id).tasks[task].auto_cluster {
            self.remove_cluster(cluster, "the task ended");
        }
        self.after_task(id, task);
    }

    fn complete_job(&mut self, id: JobId) {
        let (state, message) = (JobState::Finished, String::new());
        self.emit(Event::JobEnded { job: id, state, message, at: self.now });
        if self.world.job_of(id).spec.auto_release {
            self.emit(Event::JobDeleted { job: id });
        }
    }

    fn fail_job(&mut self, id: JobId, task: &TaskName, message: String) {
        self.end_runs_of(id);
        self.end_task(id, task, TaskState::Failed);
        let state = JobState::Failed;
        self.emit(Event::JobEnded { job: id, state, message, at: self.now });
        self.remove_auto_clusters(id);
    }

    fn remove_auto_clusters(&mut self, id: JobId) {
        let tasks = self.world.job_of(id).tasks.values();
        let clusters: Vec<_> = tasks.filter_map(|task| task.auto_cluster).collect();
        for cluster in clusters {
            self.remove_cluster(cluster, "the job ended");
        }
    }
}

fn conflict(job: &Job, action: &'static str) -> Refusal {
    Refusal::Conflict { kind: "job", id: job.id.to_string(), state: job.state.name(), action }
}

/// The message of a job that failed: which task, which instance, why.
fn failure(task: &TaskName, instance: InstanceNo, outcome: &RunOutcome) -> String {
    let code = cause_of(outcome).map_or("", |cause| cause.code());
    format!("instance {instance} of task `{task}` failed: {code}: {}", describe(outcome))
}

fn within_limits(spec: &JobSpec, limits: &Limits) -> Result<(), Refusal> {
    let invalid = |member, reason| Err(Refusal::Invalid { member, reason });
    if spec.tasks.is_empty() {
        return invalid("DAG", "a job has at least one task".to_owned());
    }
    if spec.tasks.len() > limits.tasks_per_job_max as usize {
        let most = limits.tasks_per_job_max;
        return invalid("DAG", format!("a job has at most {most} tasks"));
    }
    spec.tasks.iter().try_for_each(|(name, task)| task_within_limits(name, task, limits))?;
    let instances: u64 = spec.tasks.values().map(|task| u64::from(task.instance_count)).sum();
    if instances >= u64::from(u32::MAX) {
        return invalid("InstanceCount", format!("{instances} instances are too many for a job"));
    }
    dependencies_are_sound(spec)
}

fn task_within_limits(name: &TaskName, task: &TaskSpec, limits: &Limits) -> Result<(), Refusal> {
    let checks = [
        ("InstanceCount", task.instance_count, 1, limits.instances_per_task_max),
        ("MaxRetryCount", task.retry_count_max, 0, limits.retry_count_max),
        ("Timeout", task.timeout.0, 1, limits.timeout_max.0),
    ];
    for (member, value, least, most) in checks {
        if !(least..=most).contains(&value) {
            let reason = format!("task `{name}`: {value} is not in [{least}, {most}]");
            return Err(Refusal::Invalid { member, reason });
        }
    }
    Ok(())
}

/// The wire checked this with better words; a job that can never end is not let in by anybody.
fn dependencies_are_sound(spec: &JobSpec) -> Result<(), Refusal> {
    let invalid = |reason: String| Refusal::Invalid { member: "DAG", reason };
    let mut missing: std::collections::BTreeMap<_, u32> =
        spec.tasks.keys().map(|name| (name, 0)).collect();
    for name in spec.dependencies.keys() {
        if !spec.tasks.contains_key(name) {
            return Err(invalid(format!("`{name}` is not a task")));
        }
    }
    for name in spec.dependencies.values().flatten() {
        let count = missing.get_mut(name);
        *count.ok_or_else(|| invalid(format!("`{name}` is not a task")))? += 1;
    }
    let mut open: Vec<_> =
        missing.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    let mut reached = 0;
    while let Some(name) = open.pop() {
        reached += 1;
        for successor in spec.dependencies.get(name).into_iter().flatten() {
            let count = missing.get_mut(successor).expect("checked above");
            *count -= 1;
            if *count == 0 {
                open.push(successor);
            }
        }
    }
    if reached < spec.tasks.len() {
        return Err(invalid("the dependencies have a cycle".to_owned()));
    }
    Ok(())
}
