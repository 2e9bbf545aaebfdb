//! What each event changes. The only writer of a world; a restart replays the journal through it.
//!
//! An event that does not fit the world is a broken invariant (a journal of another world, or a
//! bug in `decide`) and panics: going on would make two books that disagree.
//!
//! Start at [`World::apply`].

mod clusters;

use crate::{
    cluster::{Assigned, Reclaim, Trouble},
    job::{Job, Task, is_lost},
    world::{Made, TokenKey, TokenRecord, World},
};
use gristmill_model::{
    AccountId, Counts, Event, FinishedRun, Generation, InstanceNo, InstanceState, JobId, JobSpec,
    JobState, Placement, RangeSet, RunId, RunOutcome, TaskName, TaskState, Timestamp, WorkerId,
    event::{AfterRun, TokenUse},
    input::Token,
    state::JobEvent,
};
use std::sync::Arc;

/// Where and when runs with consecutive numbers were placed.
struct Placed {
    first: RunId,
    worker: WorkerId,
    generation: Generation,
    at: Timestamp,
}

impl World {
    /// The only function that changes a world.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::JobSubmitted { job, account, spec, token, at } => {
                self.add_job(*job, *account, spec, *at);
                self.note_token(*account, TokenUse::Job, token, Made::Job(*job), *at);
            }
            Event::JobStopped { job, at } => self.end_job(*job, JobState::Stopped, "", *at),
            Event::JobRestarted { job, .. } => self.restart_job(*job),
            Event::JobEnded { job, state, message, at } => {
                self.end_job(*job, *state, message, *at);
            }
            Event::JobDeleted { job } | Event::JobArchived { job, .. } => self.drop_job(*job),
            Event::JobPriorityChanged { job, priority, .. } => {
                self.change_job(*job).priority = *priority;
            }
            Event::TaskEnded { job, task, state, at } => self.end_task(*job, task, *state, *at),
            Event::RunPlaced { run, job, task, instance, worker, generation, at } => {
                let one = Placed { first: *run, worker: *worker, generation: *generation, at: *at };
                self.place(&one, *job, task, &[instance.0].into_iter().collect());
            }
            Event::RunsPlaced { first, job, task, instances, worker, generation, at } => {
                let these =
                    Placed { first: *first, worker: *worker, generation: *generation, at: *at };
                self.place(&these, *job, task, instances);
            }
            Event::RunsFinished { job, task, worker, runs, .. } => {
                self.finish_runs(*job, task, *worker, runs);
            }
            Event::RunStarted { job, task, instance, at, .. } => {
                self.start_run(*job, task, *instance, *at);
            }
            Event::RunEnded { run, job, task, instance, worker, outcome, ended, after, .. } => {
                let place = Assigned { job: *job, task: task.clone(), instance: *instance };
                self.end_run(*run, &place, (*worker, *ended), outcome, *after);
            }
            Event::ClusterCreated { cluster, account, spec, purpose, token, at } => {
                self.add_cluster(*cluster, *account, spec, purpose, *at);
                self.note_token(*account, TokenUse::Cluster, token, Made::Cluster(*cluster), *at);
            }
            Event::GroupResized { cluster, group, desired, at } => {
                self.resize(*cluster, group, *desired, *at);
            }
            Event::GroupOpened { cluster, group, spec, at } => {
                self.open_lane(*cluster, group, spec, *at);
            }
            Event::GroupClosed { cluster, group, at } => self.close_lane(*cluster, group, *at),
            Event::ClusterChanged { cluster, change, at } => {
                self.change_description(*cluster, change, *at);
            }
            Event::SpotPriceSet { instance_type, price, .. } => {
                self.market.set_price(instance_type, *price);
            }
            Event::PrepaidSet { account, instance_type, machines, .. } => {
                self.market.set_prepaid(*account, instance_type, *machines);
            }
            Event::QuotaSet { account, quota, .. } => self.market.set_quota(*account, *quota),
            Event::ClusterDeleting { cluster, at } => self.start_deleting(*cluster, *at),
            Event::ClusterGone { cluster } => self.drop_cluster(*cluster),
            Event::WorkerWanted { worker, generation, cluster, group, host_name, at } => {
                let who = (*worker, *generation, *cluster, group);
                self.want_worker(who, host_name, *at);
            }
            Event::WorkerDelayed {
                worker,
                reason,
                again_at,
                failed,
                not_for_room,
                not_made,
                ..
            } => {
                self.delay_worker(*worker, reason, *again_at, *failed);
                self.change_worker(*worker, |worker| {
                    worker.not_for_room = *not_for_room;
                    worker.trouble = Trouble::of(*not_made, failed.is_some());
                });
            }
            Event::WorkerNoticed { worker, cause, reason, until, at } => {
                let notice = Reclaim { cause: *cause, until: *until };
                self.notice_worker(*worker, notice, reason, *at);
            }
            Event::NoticeWithdrawn { worker, at } => self.withdraw_notice(*worker, *at),
            Event::WorkerRunning { worker, address, ahead, at, .. } => {
                self.worker_runs(*worker, address, *ahead, *at);
            }
            Event::WorkerDeleting { worker, reason, at } => {
                self.worker_goes(*worker, reason, *at);
            }
            Event::WorkerGone { worker, at } => {
                let gone = self.drop_worker(*worker);
                self.log_worker(&gone, *at, "released");
            }
            Event::TokenExpired { account, used_for, text } => self.forget_token(&TokenKey {
                account: *account,
                used_for: *used_for,
                text: text.clone(),
            }),
        }
    }

    fn note_token(
        &mut self,
        account: AccountId,
        used_for: TokenUse,
        token: &Option<Token>,
        made: Made,
        at: Timestamp,
    ) {
        if let Some(Token { text, body }) = token {
            let key = TokenKey { account, used_for, text: text.clone() };
            self.remember_token(key, TokenRecord { body: body.clone(), made, at });
        }
    }

    // Jobs and tasks.

    fn add_job(&mut self, id: JobId, account: AccountId, spec: &Arc<JobSpec>, at: Timestamp) {
        let job = Arc::new(new_job(id, account, spec, at));
        self.list_job(&job, true);
        assert!(self.jobs.insert(id, job).is_none(), "a job id is used once");
        let instances = self.job_of(id).open_instances();
        self.change_account(account, |account| {
            account.jobs += 1;
            account.instances += instances;
        });
        for task in spec.tasks.keys() {
            self.index_task(id, task);
        }
    }

    /// Ends a job and every task that has not ended.
    fn end_job(&mut self, id: JobId, state: JobState, message: &str, at: Timestamp) {
        let event = match state {
            JobState::Finished => JobEvent::Completed,
            JobState::Failed => JobEvent::InstanceFailed,
            _ => JobEvent::Stop,
        };
        for task in self.tasks_where(id, |task| !task.state.is_final()) {
            self.change_task(id, &task, |task| task.end(TaskState::Stopped, at));
        }
        let (account, instances) = (self.job_of(id).account, self.job_of(id).open_instances());
        self.change_account(account, |account| account.instances -= instances);
        let ended = self.job_of(id).state.next(event).expect("decide ends only jobs that may end");
        let job = self.change_job_state(id, ended);
        job.ended = Some(at);
        job.message = message.to_owned();
        let job = Arc::clone(self.job_of(id));
        self.note_finished(&job, true);
    }

    fn restart_job(&mut self, id: JobId) {
        let begun = self.job_of(id).state.next(JobEvent::Start);
        let job = self.change_job_state(id, begun.expect("decide starts only ended jobs"));
        (job.started, job.ended) = (None, None);
        job.message.clear();
        let (account, instances) = (job.account, job.open_instances());
        self.change_account(account, |account| account.instances += instances);
        for task in self.tasks_where(id, |task| task.state != TaskState::Finished) {
            self.change_task(id, &task, |task| task.blocked_by = u32::MAX);
            self.change_task(id, &task, Task::restart);
        }
        let blocked = blocked_by(self.job_of(id));
        for (task, count) in blocked {
            if self.job_of(id).tasks[&task].blocked_by != count {
                self.change_task(id, &task, |task| task.blocked_by = count);
            }
        }
    }

    fn drop_job(&mut self, id: JobId) {
        // A job that is only in the history was counted out when it went there.
        let Some(job) = self.jobs.remove(&id) else { return };
        assert!(job.state.is_final(), "only an ended job is deleted");
        self.note_finished(&job, false);
        self.list_job(&job, false);
        self.change_account(job.account, |account| account.jobs -= 1);
    }

    fn end_task(&mut self, id: JobId, name: &TaskName, state: TaskState, at: Timestamp) {
        let reserve = match &self.job_of(id).spec.tasks[name].placement {
            Placement::Auto(shape) => shape.reserve_on_fail && state == TaskState::Failed,
            _ => false,
        };
        self.change_task(id, name, |task| {
            task.end(state, at);
            if reserve {
                task.auto_cluster = None;
            }
        });
        let job = Arc::clone(self.job_of(id));
        if !job.holds_back(&job.tasks[name]) {
            for successor in job.successors(name) {
                self.change_task(id, successor, |task| task.blocked_by -= 1);
            }
        }
    }

    fn tasks_where(&self, job: JobId, test: impl Fn(&Task) -> bool) -> Vec<TaskName> {
        let tasks = self.job_of(job).tasks.iter();
        tasks.filter(|(_, task)| test(task)).map(|(name, _)| name.clone()).collect()
    }

    // Runs.

    fn place(&mut self, placed: &Placed, job: JobId, task: &TaskName, instances: &RangeSet) {
        let Placed { first, worker, generation, at } = *placed;
        self.next_run = self.next_run.max(RunId(first.0 + u64::from(instances.len())));
        let mut run = first.0;
        self.change_task(job, task, |task| {
            task.place(instances, |_| {
                let state = InstanceState::Placed { run: RunId(run), worker, generation, at };
                run += 1;
                state
            });
        });
        self.change_worker(worker, |worker| {
            for (run, instance) in (first.0..).zip(instances.iter()) {
                let what = Assigned { job, task: task.clone(), instance: InstanceNo(instance) };
                worker.runs.insert(RunId(run), what);
            }
            worker.idle_since = None;
        });
    }

    fn finish_runs(&mut self, job: JobId, task: &TaskName, worker: WorkerId, runs: &[FinishedRun]) {
        self.change_task(job, task, |task| task.finish_runs(runs));
        self.change_worker(worker, |worker| {
            for FinishedRun { run, .. } in runs {
                worker.runs.remove(run).expect("a run ends where it was placed");
            }
            worker.note_idle(runs.iter().map(|run| run.ended).max().expect("some ended"));
        });
    }

    fn start_run(&mut self, id: JobId, task: &TaskName, instance: InstanceNo, at: Timestamp) {
        self.change_task(id, task, |task| task.start_run(instance, at));
        if let Ok(running) = self.job_of(id).state.next(JobEvent::InstanceStarted) {
            self.change_job_state(id, running).started = Some(at);
        }
    }

    fn end_run(
        &mut self,
        run: RunId,
        what: &Assigned,
        (worker, ended): (WorkerId, Timestamp),
        outcome: &RunOutcome,
        after: AfterRun,
    ) {
        let lost = is_lost(outcome);
        self.change_task(what.job, &what.task, |task| task.end_run(what.instance, after, lost));
        self.change_worker(worker, |worker| {
            worker.runs.remove(&run).expect("a run ends where it was placed");
            worker.note_idle(ended);
        });
    }
}

fn new_job(id: JobId, account: AccountId, spec: &Arc<JobSpec>, at: Timestamp) -> Job {
    let fresh = |(name, spec): (&TaskName, _)| (name.clone(), Task::untouched(spec));
    let mut tasks: Vec<(TaskName, Task)> = spec.tasks.iter().map(fresh).collect();
    for successor in spec.dependencies.values().flatten() {
        let at = tasks.binary_search_by(|(name, _)| name.cmp(successor));
        tasks[at.expect("dependencies name tasks of the job")].1.blocked_by += 1;
    }
    let task_count = u32::try_from(tasks.len()).expect("the number of tasks is bounded");
    let instances = tasks.iter().map(|(_, task)| task.counts.waiting).sum();
    Job {
        id,
        account,
        spec: Arc::clone(spec),
        priority: spec.priority,
        state: JobState::Waiting,
        message: String::new(),
        created: at,
        started: None,
        ended: None,
        tasks: tasks.into_iter().map(|(name, task)| (name, Arc::new(task))).collect(),
        task_counts: Counts { waiting: task_count, ..Counts::default() },
        instance_counts: Counts { waiting: instances, ..Counts::default() },
    }
}

/// How many predecessors hold each task back.
pub(crate) fn blocked_by(job: &Job) -> Vec<(TaskName, u32)> {
    let mut blocked: std::collections::BTreeMap<&TaskName, u32> =
        job.tasks.keys().map(|name| (name, 0)).collect();
    for (predecessor, successors) in &job.spec.dependencies {
        if job.holds_back(&job.tasks[predecessor]) {
            for successor in successors {
                *blocked.get_mut(successor).expect("dependencies name tasks of the job") += 1;
            }
        }
    }
    blocked.into_iter().map(|(name, count)| (name.clone(), count)).collect()
}
