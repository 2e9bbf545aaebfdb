//! What each event changes. The only writer of a world; a restart replays the journal through it.
//!
//! An event that does not fit the world is a broken invariant (a journal of another world, or a
//! bug in `decide`) and panics: going on would make two books that disagree.
//!
//! Start at [`World::apply`].

use crate::{
    cluster::{Assigned, Cluster, Group, LogLine, Worker, host_name},
    job::{Job, Task, is_lost},
    world::{Made, TokenKey, TokenRecord, World},
};
use gristmill_model::{
    AccountId, ClusterId, ClusterSpec, Counts, Event, Generation, GroupName, InstanceNo,
    InstanceState, JobId, JobSpec, JobState, Placement, RunId, RunOutcome, TaskName, TaskState,
    Timestamp, WorkerId, WorkerState,
    event::{AfterRun, Purpose, TokenUse},
    input::Token,
    state::JobEvent,
};
use imbl::{OrdMap, Vector};
use std::sync::Arc;

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
            Event::JobDeleted { job } => self.drop_job(*job),
            Event::JobPriorityChanged { job, priority, .. } => {
                self.change_job(*job).priority = *priority;
            }
            Event::TaskEnded { job, task, state, at } => self.end_task(*job, task, *state, *at),
            Event::RunPlaced { run, job, task, instance, worker, generation, at } => {
                let place = Assigned { job: *job, task: task.clone(), instance: *instance };
                self.place(*run, place, *worker, *generation, *at);
            }
            Event::RunStarted { job, task, instance, at, .. } => {
                self.start_run(*job, task, *instance, *at);
            }
            Event::RunEnded { run, job, task, instance, worker, outcome, after, .. } => {
                let place = Assigned { job: *job, task: task.clone(), instance: *instance };
                self.end_run(*run, &place, *worker, outcome, *after);
            }
            Event::ClusterCreated { cluster, account, spec, purpose, token, at } => {
                self.add_cluster(*cluster, *account, spec, purpose, *at);
                self.note_token(*account, TokenUse::Cluster, token, Made::Cluster(*cluster), *at);
            }
            Event::GroupResized { cluster, group, desired, at } => {
                self.resize(*cluster, group, *desired, *at);
            }
            Event::ClusterDeleting { cluster, at } => self.start_deleting(*cluster, *at),
            Event::ClusterGone { cluster } => self.drop_cluster(*cluster),
            Event::WorkerWanted { worker, generation, cluster, group, host_name, at } => {
                let who = (*worker, *generation, *cluster, group);
                self.want_worker(who, host_name, *at);
            }
            Event::WorkerDelayed { worker, reason, again_at, .. } => {
                self.delay_worker(*worker, reason, *again_at);
            }
            Event::WorkerRunning { worker, address, at, .. } => {
                self.worker_runs(*worker, address, *at);
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
        let job = new_job(id, account, spec, at);
        assert!(self.jobs.insert(id, Arc::new(job)).is_none(), "a job id is used once");
        self.account_jobs.insert((account, id));
        self.change_account(account, |account| account.jobs += 1);
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
        let job = self.change_job(id);
        job.state = job.state.next(event).expect("decide ends only jobs that may end");
        job.ended = Some(at);
        job.message = message.to_owned();
    }

    fn restart_job(&mut self, id: JobId) {
        let job = self.change_job(id);
        job.state = job.state.next(JobEvent::Start).expect("decide starts only ended jobs");
        (job.started, job.ended) = (None, None);
        job.message.clear();
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
        let job = self.jobs.remove(&id).expect("an event names a job that exists");
        assert!(job.state.is_final(), "only an ended job is deleted");
        self.account_jobs.remove(&(job.account, id));
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

    fn place(
        &mut self,
        run: RunId,
        what: Assigned,
        worker: WorkerId,
        generation: Generation,
        at: Timestamp,
    ) {
        self.next_run = self.next_run.max(RunId(run.0 + 1));
        let placed = InstanceState::Placed { run, worker, generation, at };
        self.change_task(what.job, &what.task, |task| task.place(what.instance, placed));
        self.change_worker(worker, |worker| {
            worker.runs.insert(run, what);
        });
    }

    fn start_run(&mut self, id: JobId, task: &TaskName, instance: InstanceNo, at: Timestamp) {
        self.change_task(id, task, |task| task.start_run(instance, at));
        let job = self.change_job(id);
        if let Ok(running) = job.state.next(JobEvent::InstanceStarted) {
            job.state = running;
            job.started = Some(at);
        }
    }

    fn end_run(
        &mut self,
        run: RunId,
        what: &Assigned,
        worker: WorkerId,
        outcome: &RunOutcome,
        after: AfterRun,
    ) {
        let lost = is_lost(outcome);
        self.change_task(what.job, &what.task, |task| task.end_run(what.instance, after, lost));
        self.change_worker(worker, |worker| {
            worker.runs.remove(&run).expect("a run ends where it was placed");
        });
    }

    // Clusters and machines.

    fn add_cluster(
        &mut self,
        id: ClusterId,
        account: AccountId,
        spec: &Arc<ClusterSpec>,
        purpose: &Purpose,
        at: Timestamp,
    ) {
        let group =
            |spec: &gristmill_model::GroupSpec| Group { desired: spec.desired, ..Group::default() };
        let cluster = Cluster {
            id,
            account,
            spec: Arc::clone(spec),
            purpose: purpose.clone(),
            deleting: false,
            created: at,
            hosts: 0,
            groups: spec.groups.iter().map(|(name, spec)| (name.clone(), group(spec))).collect(),
            log: Vector::new(),
        };
        let desired = cluster.desired();
        self.clusters.insert(id, Arc::new(cluster));
        self.account_clusters.insert((account, id));
        self.change_account(account, |account| account.machines += desired);
        self.log_cluster(id, None, at, "created");
        if let Purpose::Task { job, task } = purpose {
            let wanted = self.machines_wanted(*job, task);
            self.change_task(*job, task, |task| {
                task.auto_cluster = Some(id);
                task.machines_short = wanted.saturating_sub(desired);
            });
        }
    }

    fn resize(&mut self, id: ClusterId, name: &GroupName, desired: u32, at: Timestamp) {
        let cluster = self.change_cluster(id);
        let group = cluster.groups.get_mut(name).expect("decide resizes groups that exist");
        let before = std::mem::replace(&mut group.desired, desired);
        let account = cluster.account;
        self.change_account(account, |account| {
            account.machines = account.machines - before + desired;
        });
        let text = format!("resized from {before} to {desired}");
        self.log_cluster(id, Some(name), at, &text);
        if let Some((job, task)) = self.task_served_by(id) {
            // Somebody who makes it smaller does not want it filled up again.
            let grown = desired.saturating_sub(before);
            self.change_task(job, &task, |task| {
                let short = task.machines_short.saturating_sub(grown);
                task.machines_short = if desired < before { 0 } else { short };
            });
        }
    }

    fn start_deleting(&mut self, id: ClusterId, at: Timestamp) {
        if let Some((job, task)) = self.task_served_by(id) {
            self.change_task(job, &task, |task| {
                task.auto_cluster = None;
                task.machines_short = 0;
            });
        }
        let cluster = self.change_cluster(id);
        cluster.deleting = true;
        let (account, desired) = (cluster.account, cluster.desired());
        self.change_account(account, |account| account.machines -= desired);
        self.log_cluster(id, None, at, "deleting");
    }

    fn drop_cluster(&mut self, id: ClusterId) {
        let cluster = self.clusters.remove(&id).expect("an event names a cluster that exists");
        assert!(cluster.deleting, "only a cluster that is being deleted goes");
        self.account_clusters.remove(&(cluster.account, id));
    }

    /// The task for which an automatic cluster works now.
    pub(crate) fn task_served_by(&self, id: ClusterId) -> Option<(JobId, TaskName)> {
        let Purpose::Task { job, task } = &self.clusters.get(&id)?.purpose else { return None };
        let served = self.jobs.get(job)?.tasks.get(task)?.auto_cluster == Some(id);
        served.then(|| (*job, task.clone()))
    }

    /// How many machines an automatic cluster for a task should have, quota aside: one for each
    /// instance that has not ended.
    pub(crate) fn machines_wanted(&self, job: JobId, task: &TaskName) -> u32 {
        let counts = self.job_of(job).tasks[task].counts;
        let open = counts.waiting + counts.running;
        open.min(self.options.limits.auto_cluster_machines_max)
    }

    fn want_worker(
        &mut self,
        (id, generation, cluster, group): (WorkerId, Generation, ClusterId, &GroupName),
        host_name: &str,
        at: Timestamp,
    ) {
        if self.workers.contains_key(&id) {
            self.change_worker(id, |worker| {
                worker.generation = generation;
                worker.state = WorkerState::Starting;
                (worker.since, worker.again_at) = (at, None);
            });
            return;
        }
        self.change_cluster(cluster).hosts += 1;
        self.add_worker(Worker {
            id,
            generation,
            cluster,
            group: group.clone(),
            host_name: host_name.to_owned(),
            state: WorkerState::Starting,
            address: String::new(),
            hint: String::new(),
            created: at,
            since: at,
            failures: 0,
            again_at: None,
            runs: OrdMap::new(),
        });
        let worker = Arc::clone(self.worker_of(id));
        self.log_worker(&worker, at, "created");
    }

    fn delay_worker(&mut self, id: WorkerId, reason: &str, again_at: Timestamp) {
        self.change_worker(id, |worker| {
            worker.state = WorkerState::Pending;
            worker.hint = reason.to_owned();
            worker.failures += 1;
            worker.again_at = Some(again_at);
        });
    }

    fn worker_runs(&mut self, id: WorkerId, address: &str, at: Timestamp) {
        self.change_worker(id, |worker| {
            worker.state = WorkerState::Running;
            worker.address = address.to_owned();
            worker.hint.clear();
            (worker.since, worker.failures, worker.again_at) = (at, 0, None);
        });
        let worker = Arc::clone(self.worker_of(id));
        self.log_worker(&worker, at, "active");
    }

    fn worker_goes(&mut self, id: WorkerId, reason: &str, at: Timestamp) {
        let worker = Arc::clone(self.worker_of(id));
        let settled = worker.since.after(self.options.worker_settle) <= at;
        let group = &self.cluster_of(worker.cluster).groups[&worker.group];
        let unwanted = group.alive() > group.desired;
        if worker.state == WorkerState::Running && !settled && !unwanted {
            self.change_cluster(worker.cluster).note_unsettled(&worker.group, at);
        }
        self.change_worker(id, |worker| {
            worker.state = WorkerState::Deleting;
            worker.hint = reason.to_owned();
            (worker.since, worker.again_at) = (at, None);
        });
        let worker = Arc::clone(self.worker_of(id));
        self.log_worker(&worker, at, &format!("deleting: {reason}"));
    }

    fn log_cluster(&mut self, id: ClusterId, group: Option<&GroupName>, at: Timestamp, text: &str) {
        let line = LogLine { at, group: group.cloned(), worker: None, text: text.to_owned() };
        self.change_cluster(id).note(line);
    }

    fn log_worker(&mut self, worker: &Worker, at: Timestamp, text: &str) {
        let (group, text) = (Some(worker.group.clone()), text.to_owned());
        let line = LogLine { at, group, worker: Some(worker.id), text };
        self.change_cluster(worker.cluster).note(line);
    }

    /// The next free host name of a group.
    pub(crate) fn next_host_name(&self, cluster: ClusterId, group: &GroupName) -> String {
        let cluster = self.cluster_of(cluster);
        host_name(&cluster.spec, group, cluster.hosts + 1)
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
