//! Who is told of an event: the notices that users subscribed to (`reference/api.md` 15).
//!
//! [`notices`] looks at the world *before* the event: what is new follows from both. It is called
//! where events are emitted and never at a replay, so a restart announces nothing twice.
//!
//! Rules
//! - A state is announced when it is entered. An instance that was only placed is still waiting,
//!   so putting it back is not announced.
//! - What begins is told from the outside in (job, task, instance), what ends from the inside out.
//! - A run whose start was not reported before its end is announced as running first.
//! - Jobs and clusters without a subscription cost one look.
//!
//! Start at [`notices`].

use crate::{
    cluster::Cluster,
    job::{Job, Task, cause_of, describe},
    world::World,
};
use gristmill_model::{
    AccountId, Event, GroupName, InstanceNo, InstanceState, JobId, JobSpec, JobState, Notice,
    RunOutcome, TaskName, TaskState, Timestamp, WorkerId, WorkerState,
    event::AfterRun,
    notice::{
        Facts, InstanceFacts, JobFacts, NOTICE_INSTANCES_MAX, ResultFacts, Subject, instance_event,
        task_event,
    },
    spec::Notification,
    state::JobEvent,
};

/// What has to be announced when `event` happens in `world`.
pub(crate) fn notices(world: &World, event: &Event, now: Timestamp) -> Vec<Notice> {
    match event {
        Event::JobSubmitted { job, account, spec, at, .. } => {
            submitted(*job, *account, spec, *at, now)
        }
        Event::JobStopped { job, at } => job_ended(world, *job, JobState::Stopped, "", *at, now),
        Event::JobEnded { job, state, message, at } => {
            job_ended(world, *job, *state, message, *at, now)
        }
        Event::JobRestarted { job, .. } => restarted(world, *job, now),
        Event::JobPriorityChanged { job, priority, .. } => {
            reprioritised(world, *job, *priority, now)
        }
        Event::TaskEnded { job, task, state, at } => {
            task_ended(world, *job, task, *state, *at, now)
        }
        Event::RunStarted { job, task, instance, at, .. } => {
            run_started(world, *job, task, *instance, *at, now)
        }
        Event::RunEnded { .. } => run_ended(world, event, now),
        Event::RunsFinished { job, .. } => {
            if Crier::of(world.job_of(*job), now).is_none() {
                return Vec::new();
            }
            event.finished_one_by_one().flat_map(|one| run_ended(world, &one, now)).collect()
        }
        Event::ClusterGone { cluster } => {
            let cluster = world.cluster_of(*cluster);
            let Some(mut crier) = Crier::of_cluster(cluster, now) else { return Vec::new() };
            let (name, created) = (cluster.spec.name.clone(), cluster.created);
            crier.tell(Facts::ClusterDeleted { name, created });
            crier.notices
        }
        Event::WorkerWanted { worker, cluster, group, at, .. } => {
            // Asking again for a machine that could not be made makes no new one.
            if world.workers.contains_key(worker) {
                return Vec::new();
            }
            machine(world.cluster_of(*cluster), *worker, group, None, *at, now)
        }
        Event::WorkerRunning { worker, address, .. } => {
            let known = world.worker_of(*worker);
            if known.state == WorkerState::Running {
                return Vec::new();
            }
            let cluster = world.cluster_of(known.cluster);
            machine(cluster, *worker, &known.group, Some(address), known.created, now)
        }
        _ => Vec::new(),
    }
}

fn machine(
    cluster: &Cluster,
    worker: WorkerId,
    group: &GroupName,
    address: Option<&String>,
    created: Timestamp,
    now: Timestamp,
) -> Vec<Notice> {
    let Some(mut crier) = Crier::of_cluster(cluster, now) else { return Vec::new() };
    crier.tell(Facts::Machine {
        worker,
        group: group.clone(),
        active: address.is_some(),
        address: address.cloned().unwrap_or_default(),
        created,
    });
    crier.notices
}

fn submitted(
    id: JobId,
    account: AccountId,
    spec: &JobSpec,
    at: Timestamp,
    now: Timestamp,
) -> Vec<Notice> {
    let Some(mut crier) = Crier::of_job(id, account, spec, now) else { return Vec::new() };
    crier.tell(Facts::Job(JobFacts {
        name: spec.name.clone(),
        state: JobState::Waiting,
        created: at,
        started: None,
        ended: None,
        message: String::new(),
    }));
    for (name, task) in &spec.tasks {
        crier.tell_task(name, JobState::Waiting, None, None);
        crier.tell_range(name, 0..task.instance_count, JobState::Waiting, 0);
    }
    crier.notices
}

fn job_ended(
    world: &World,
    id: JobId,
    state: JobState,
    message: &str,
    at: Timestamp,
    now: Timestamp,
) -> Vec<Notice> {
    let job = world.job_of(id);
    let Some(mut crier) = Crier::of(job, now) else { return Vec::new() };
    for (name, task) in job.tasks.iter().filter(|(_, task)| !task.state.is_final()) {
        crier.tell_waiting(name, task, JobState::Stopped);
        crier.tell_task(name, JobState::Stopped, task.started, Some(at));
    }
    let message = message.to_owned();
    crier.tell(Facts::Job(JobFacts { state, ended: Some(at), message, ..facts(job) }));
    crier.notices
}

fn restarted(world: &World, id: JobId, now: Timestamp) -> Vec<Notice> {
    let job = world.job_of(id);
    let Some(mut crier) = Crier::of(job, now) else { return Vec::new() };
    crier.tell(Facts::Job(JobFacts {
        state: JobState::Waiting,
        started: None,
        ended: None,
        message: String::new(),
        ..facts(job)
    }));
    for (name, task) in job.tasks.iter().filter(|(_, task)| task.state != TaskState::Finished) {
        crier.tell_task(name, JobState::Waiting, None, None);
        let mut again = task.failed.clone();
        again.extend(&task.stopped);
        for range in again.ranges() {
            crier.tell_range(name, range.clone(), JobState::Waiting, 0);
        }
    }
    crier.notices
}

fn reprioritised(world: &World, id: JobId, to: u16, now: Timestamp) -> Vec<Notice> {
    let job = world.job_of(id);
    let Some(mut crier) = Crier::of(job, now) else { return Vec::new() };
    crier.tell(Facts::Priority { job: facts(job), from: job.priority, to });
    crier.notices
}

fn task_ended(
    world: &World,
    id: JobId,
    name: &TaskName,
    state: TaskState,
    at: Timestamp,
    now: Timestamp,
) -> Vec<Notice> {
    let job = world.job_of(id);
    let Some(mut crier) = Crier::of(job, now) else { return Vec::new() };
    let task = &job.tasks[name];
    crier.tell_waiting(name, task, JobState::Stopped);
    crier.tell_task(name, state, task.started, Some(at));
    crier.notices
}

fn run_started(
    world: &World,
    id: JobId,
    name: &TaskName,
    instance: InstanceNo,
    at: Timestamp,
    now: Timestamp,
) -> Vec<Notice> {
    let job = world.job_of(id);
    let Some(mut crier) = Crier::of(job, now) else { return Vec::new() };
    if let Ok(state) = job.state.next(JobEvent::InstanceStarted) {
        crier.tell(Facts::Job(JobFacts { state, started: Some(at), ..facts(job) }));
    }
    let task = &job.tasks[name];
    if task.state == TaskState::Waiting {
        crier.tell_task(name, JobState::Running, Some(task.started.unwrap_or(at)), None);
    }
    let retries = task.attempts(instance).retries;
    crier.tell_running(name, instance, at, retries);
    crier.notices
}

fn run_ended(world: &World, event: &Event, now: Timestamp) -> Vec<Notice> {
    let Event::RunEnded {
        job: id,
        task: name,
        instance,
        retries,
        outcome,
        detail,
        started,
        ended,
        after,
        ..
    } = event
    else {
        return Vec::new();
    };
    let Some(mut crier) = Crier::of(world.job_of(*id), now) else { return Vec::new() };
    let ran = match world.job_of(*id).tasks[name].instance(*instance) {
        Some(InstanceState::Running { .. }) => true,
        _ => {
            if let Some(at) = started {
                crier.tell_running(name, *instance, *at, *retries);
            }
            started.is_some()
        }
    };
    let state = match after {
        AfterRun::Finished => JobState::Finished,
        AfterRun::Failed => JobState::Failed,
        AfterRun::Ignored => JobState::Stopped,
        AfterRun::Retry | AfterRun::PutBack if ran => JobState::Waiting,
        AfterRun::Retry | AfterRun::PutBack => return crier.notices,
    };
    let waits = state == JobState::Waiting;
    let retries = retries + u32::from(*after == AfterRun::Retry);
    crier.tell_instances(name, *instance, 1, state, |facts| {
        facts.retries = retries;
        if !waits {
            (facts.started, facts.ended) = (*started, Some(*ended));
            facts.result = result(state, outcome, detail);
        }
    });
    crier.notices
}

fn result(state: JobState, outcome: &RunOutcome, detail: &str) -> ResultFacts {
    let exit_code = match outcome {
        RunOutcome::Exited { code } => *code,
        RunOutcome::Signalled { signal } => 128 + signal,
        _ => 0,
    };
    let cause = cause_of(outcome).filter(|_| state == JobState::Failed);
    ResultFacts {
        exit_code,
        error_code: cause.map(|cause| cause.code().to_owned()).unwrap_or_default(),
        error_message: cause.map(|_| describe(outcome)).unwrap_or_default(),
        detail: detail.to_owned(),
    }
}

fn facts(job: &Job) -> JobFacts {
    JobFacts {
        name: job.spec.name.clone(),
        state: job.state,
        created: job.created,
        started: job.started,
        ended: job.ended,
        message: job.message.clone(),
    }
}

/// Collects the notices of one subject, those that are subscribed to.
struct Crier<'a> {
    subscription: &'a Notification,
    account: AccountId,
    about: Subject,
    spec: Option<&'a JobSpec>,
    now: Timestamp,
    notices: Vec<Notice>,
}

impl<'a> Crier<'a> {
    fn of(job: &'a Job, now: Timestamp) -> Option<Self> {
        Self::of_job(job.id, job.account, &job.spec, now)
    }

    fn of_job(id: JobId, account: AccountId, spec: &'a JobSpec, now: Timestamp) -> Option<Self> {
        let crier = Self::new(spec.notification.as_ref()?, account, Subject::Job(id), now)?;
        Some(Self { spec: Some(spec), ..crier })
    }

    fn of_cluster(cluster: &'a Cluster, now: Timestamp) -> Option<Self> {
        let subscription = cluster.spec.notification.as_ref()?;
        Self::new(subscription, cluster.account, Subject::Cluster(cluster.id), now)
    }

    fn new(
        subscription: &'a Notification,
        account: AccountId,
        about: Subject,
        now: Timestamp,
    ) -> Option<Self> {
        let notices = Vec::new();
        let crier = Self { subscription, account, about, spec: None, now, notices };
        subscription.is_active().then_some(crier)
    }

    fn wants(&self, event: &str) -> bool {
        self.subscription.events.contains(event)
    }

    fn tell(&mut self, facts: Facts) {
        if self.wants(facts.event()) {
            self.notices.push(Notice {
                account: self.account,
                about: self.about,
                topic: self.subscription.topic.clone(),
                endpoint: self.subscription.endpoint.clone(),
                at: self.now,
                facts,
            });
        }
    }

    fn tell_task(
        &mut self,
        name: &TaskName,
        state: TaskState,
        started: Option<Timestamp>,
        ended: Option<Timestamp>,
    ) {
        if self.wants(task_event(state)) {
            self.tell(Facts::Task { task: name.clone(), state, started, ended });
        }
    }

    fn tell_running(&mut self, name: &TaskName, no: InstanceNo, at: Timestamp, retries: u32) {
        self.tell_instances(name, no, 1, JobState::Running, |facts| {
            facts.started = Some(at);
            facts.retries = retries;
        });
    }

    /// Everything of a task that waits comes into another state. Those that were tried before
    /// speak for themselves, because their retries are shown.
    fn tell_waiting(&mut self, name: &TaskName, task: &Task, state: JobState) {
        if !self.wants(instance_event(state)) {
            return;
        }
        for range in task.waiting.ranges() {
            let mut start = range.start;
            for (tried, attempts) in task.attempts.range(range.clone()) {
                self.tell_range(name, start..*tried, state, 0);
                self.tell_range(name, *tried..tried + 1, state, attempts.retries);
                start = tried + 1;
            }
            self.tell_range(name, start..range.end, state, 0);
        }
    }

    fn tell_range(
        &mut self,
        name: &TaskName,
        range: std::ops::Range<u32>,
        state: JobState,
        retries: u32,
    ) {
        let mut first = range.start;
        while first < range.end && self.wants(instance_event(state)) {
            let count = NOTICE_INSTANCES_MAX.min(range.end - first);
            self.tell_instances(name, InstanceNo(first), count, state, |facts| {
                facts.retries = retries;
            });
            first += count;
        }
    }

    fn tell_instances(
        &mut self,
        name: &TaskName,
        first: InstanceNo,
        count: u32,
        state: JobState,
        more: impl FnOnce(&mut InstanceFacts),
    ) {
        if !self.wants(instance_event(state)) {
            return;
        }
        let task = self.spec.and_then(|spec| spec.tasks.get(name));
        let mut facts = InstanceFacts {
            task: name.clone(),
            first,
            count,
            state,
            started: None,
            ended: None,
            retries: 0,
            stdout: task.and_then(|task| task.stdout.clone()),
            stderr: task.and_then(|task| task.stderr.clone()),
            result: ResultFacts::default(),
        };
        more(&mut facts);
        self.tell(Facts::Instances(facts));
    }
}
