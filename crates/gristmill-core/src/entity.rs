//! The world in pieces, for checkpoints: what to write after which event, and the way back.
//!
//! A checkpoint is a set of entities by key. After a batch the server writes the entities whose
//! keys were touched ([`World::entity`] gives the value, `None`: delete it); at a restart
//! [`World::restore`] builds the world from all of them, then the journal after the checkpoint
//! is applied.
//!
//! What follows from something else is not written: counts, queues, free places, what each
//! machine runs, the machines of a group. A task nobody touched is not written at all, and a
//! finished task is a few ranges.
//!
//! The shapes below are journal records: old checkpoints must stay readable, so members are
//! only added, with `#[serde(default)]`.

use crate::{
    apply::blocked_by,
    cluster::{Assigned, Cluster, Group, LogLine, Worker},
    job::{Attempts, Job, Task},
    options::Options,
    world::{TokenKey, TokenRecord, World},
};
use gristmill_model::{
    AccountId, ClusterId, ClusterSpec, Counts, Event, Generation, GroupName, InstanceState, JobId,
    JobSpec, JobState, RangeSet, RunId, TaskName, Timestamp, WorkerId, WorkerState,
    event::{Purpose, TokenUse},
};
use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// The name of an entity. Its text form is stable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityKey {
    /// `region`: what belongs to nothing else.
    Region,
    /// `spec/<job>`: written once.
    Spec(JobId),
    /// `job/<job>`.
    Job(JobId),
    /// `cluster/<cluster>`.
    Cluster(ClusterId),
    /// `worker/<worker>`.
    Worker(WorkerId),
    /// `token/<account>/<job or cluster>/<text>`.
    Token(TokenKey),
}

/// A text that names no entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the key of an entity: `{0}`")]
pub struct BadKey(pub String);

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region => f.write_str("region"),
            Self::Spec(job) => write!(f, "spec/{job}"),
            Self::Job(job) => write!(f, "job/{job}"),
            Self::Cluster(cluster) => write!(f, "cluster/{cluster}"),
            Self::Worker(worker) => write!(f, "worker/{worker}"),
            Self::Token(TokenKey { account, used_for, text }) => {
                let used_for = match used_for {
                    TokenUse::Job => "job",
                    TokenUse::Cluster => "cluster",
                };
                write!(f, "token/{account}/{used_for}/{text}")
            }
        }
    }
}

impl FromStr for EntityKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = || BadKey(text.chars().take(80).collect());
        if text == "region" {
            return Ok(Self::Region);
        }
        let (kind, rest) = text.split_once('/').ok_or_else(bad)?;
        match kind {
            "spec" => rest.parse().map(Self::Spec).map_err(|_| bad()),
            "job" => rest.parse().map(Self::Job).map_err(|_| bad()),
            "cluster" => rest.parse().map(Self::Cluster).map_err(|_| bad()),
            "worker" => rest.parse().map(Self::Worker).map_err(|_| bad()),
            "token" => token_key(rest).map(Self::Token).ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

fn token_key(text: &str) -> Option<TokenKey> {
    let mut parts = text.splitn(3, '/');
    let account = AccountId(parts.next()?.parse().ok()?);
    let used_for = match parts.next()? {
        "job" => TokenUse::Job,
        "cluster" => TokenUse::Cluster,
        _ => return None,
    };
    Some(TokenKey { account, used_for, text: parts.next()?.to_owned() })
}

/// A piece of the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Entity {
    /// What belongs to nothing else.
    Region {
        /// The number of the next run.
        next_run: RunId,
    },
    /// What a job asked for.
    Spec {
        /// The job.
        job: JobId,
        /// Its specification.
        spec: Arc<JobSpec>,
    },
    /// What became of a job.
    Job(JobRecord),
    /// A cluster.
    Cluster(ClusterRecord),
    /// A machine.
    Worker(WorkerRecord),
    /// An idempotency token.
    Token {
        /// Whose and which.
        key: TokenKey,
        /// What was made with it.
        record: TokenRecord,
    },
}

/// A job without its specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    id: JobId,
    account: AccountId,
    priority: u16,
    state: JobState,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    created: Timestamp,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// Tasks that were touched.
    tasks: BTreeMap<TaskName, TaskRecord>,
}

/// A task that was touched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    state: JobState,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auto_cluster: Option<ClusterId>,
    #[serde(default)]
    machines_short: u32,
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    waiting: RangeSet,
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    finished: RangeSet,
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    failed: RangeSet,
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    stopped: RangeSet,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    live: Vec<(u32, InstanceState)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<(u32, Attempts)>,
}

/// A cluster without its machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    id: ClusterId,
    account: AccountId,
    spec: Arc<ClusterSpec>,
    purpose: Purpose,
    deleting: bool,
    created: Timestamp,
    hosts: u32,
    desired: BTreeMap<GroupName, u32>,
    log: Vec<LogLine>,
}

/// A machine without its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    id: WorkerId,
    generation: Generation,
    cluster: ClusterId,
    group: GroupName,
    host_name: String,
    state: WorkerState,
    address: String,
    hint: String,
    created: Timestamp,
    since: Timestamp,
    failures: u32,
    again_at: Option<Timestamp>,
}

/// Entities that do not make a world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Something refers to something that is not there.
    #[error("{what} refers to {to}, which the checkpoint does not hold")]
    Missing {
        /// Who refers.
        what: String,
        /// To what.
        to: String,
    },
    /// The pieces fit, but the books do not add up.
    #[error("the checkpoint does not add up: {}", .0.join("; "))]
    Unsound(Vec<String>),
}

impl World {
    /// What a checkpoint has to write anew because of `event`. Ask before the event is applied
    /// (`Decision::touched` was): afterwards a machine that is gone no longer tells its cluster.
    pub fn touched(&self, event: &Event) -> Vec<EntityKey> {
        use EntityKey as K;
        match event {
            Event::JobSubmitted { job, account, token, .. } => {
                let token = token.as_ref().map(|token| (*account, TokenUse::Job, &token.text));
                with_token(vec![K::Job(*job), K::Spec(*job)], token)
            }
            Event::JobStopped { job, .. }
            | Event::JobRestarted { job, .. }
            | Event::JobEnded { job, .. }
            | Event::JobPriorityChanged { job, .. }
            | Event::TaskEnded { job, .. }
            | Event::RunStarted { job, .. }
            | Event::RunEnded { job, .. } => vec![K::Job(*job)],
            Event::JobDeleted { job } => vec![K::Job(*job), K::Spec(*job)],
            Event::RunPlaced { job, .. } => vec![K::Job(*job), K::Region],
            Event::ClusterCreated { cluster, account, purpose, token, .. } => {
                let token = token.as_ref().map(|token| (*account, TokenUse::Cluster, &token.text));
                let mut keys = with_token(vec![K::Cluster(*cluster)], token);
                if let Purpose::Task { job, .. } = purpose {
                    keys.push(K::Job(*job));
                }
                keys
            }
            Event::GroupResized { cluster, .. } | Event::ClusterDeleting { cluster, .. } => {
                let mut keys = vec![K::Cluster(*cluster)];
                keys.extend(self.task_served_by(*cluster).map(|(job, _)| K::Job(job)));
                keys
            }
            Event::ClusterGone { cluster } => vec![K::Cluster(*cluster)],
            Event::WorkerWanted { worker, cluster, .. } => {
                vec![K::Worker(*worker), K::Cluster(*cluster)]
            }
            Event::WorkerDelayed { worker, .. } => vec![K::Worker(*worker)],
            Event::WorkerRunning { worker, .. }
            | Event::WorkerDeleting { worker, .. }
            | Event::WorkerGone { worker, .. } => {
                let mut keys = vec![K::Worker(*worker)];
                keys.extend(self.workers.get(worker).map(|it| K::Cluster(it.cluster)));
                keys
            }
            Event::TokenExpired { account, used_for, text } => {
                with_token(Vec::new(), Some((*account, *used_for, text)))
            }
        }
    }

    /// The keys of everything there is.
    pub fn entity_keys(&self) -> impl Iterator<Item = EntityKey> + '_ {
        let jobs = self.jobs.keys().flat_map(|job| [EntityKey::Spec(*job), EntityKey::Job(*job)]);
        std::iter::once(EntityKey::Region)
            .chain(jobs)
            .chain(self.clusters.keys().copied().map(EntityKey::Cluster))
            .chain(self.workers.keys().copied().map(EntityKey::Worker))
            .chain(self.tokens.keys().cloned().map(EntityKey::Token))
    }

    /// The present value of an entity; `None`: there is none, a checkpoint deletes it.
    pub fn entity(&self, key: &EntityKey) -> Option<Entity> {
        Some(match key {
            EntityKey::Region => Entity::Region { next_run: self.next_run },
            EntityKey::Spec(id) => {
                Entity::Spec { job: *id, spec: Arc::clone(&self.jobs.get(id)?.spec) }
            }
            EntityKey::Job(id) => Entity::Job(JobRecord::of(self.jobs.get(id)?)),
            EntityKey::Cluster(id) => Entity::Cluster(ClusterRecord::of(self.clusters.get(id)?)),
            EntityKey::Worker(id) => Entity::Worker(WorkerRecord::of(self.workers.get(id)?)),
            EntityKey::Token(key) => {
                Entity::Token { key: key.clone(), record: self.tokens.get(key)?.clone() }
            }
        })
    }

    /// The world of a checkpoint. The entities may come in any order.
    pub fn restore(
        options: Options,
        entities: impl IntoIterator<Item = Entity>,
    ) -> Result<Self, RestoreError> {
        let mut pieces = Pieces::default();
        let mut world = Self::new(options);
        for entity in entities {
            match entity {
                Entity::Region { next_run } => world.next_run = next_run,
                Entity::Spec { job, spec } => drop(pieces.specs.insert(job, spec)),
                Entity::Job(record) => pieces.jobs.push(record),
                Entity::Cluster(record) => world.put_cluster(record),
                Entity::Worker(record) => pieces.workers.push(record),
                Entity::Token { key, record } => world.remember_token(key, record),
            }
        }
        for record in pieces.workers {
            world.put_worker(record)?;
        }
        for record in pieces.jobs {
            let spec = pieces.specs.remove(&record.id);
            world.put_job(record, spec)?;
        }
        world.check().map_err(RestoreError::Unsound)?;
        Ok(world)
    }

    fn put_cluster(&mut self, record: ClusterRecord) {
        let cluster = record.into_cluster();
        let (id, account, desired) = (cluster.id, cluster.account, cluster.desired());
        if !cluster.deleting {
            self.change_account(account, |account| account.machines += desired);
        }
        self.account_clusters.insert((account, id));
        self.clusters.insert(id, Arc::new(cluster));
    }

    fn put_worker(&mut self, record: WorkerRecord) -> Result<(), RestoreError> {
        let (worker, group) = (record.id, record.group.clone());
        let cluster = self.clusters.get(&record.cluster);
        if cluster.is_none_or(|cluster| !cluster.groups.contains_key(&group)) {
            let to = format!("group `{group}` of {}", record.cluster);
            return Err(RestoreError::Missing { what: format!("machine {worker}"), to });
        }
        self.add_worker(record.into_worker());
        Ok(())
    }

    fn put_job(
        &mut self,
        record: JobRecord,
        spec: Option<Arc<JobSpec>>,
    ) -> Result<(), RestoreError> {
        let id = record.id;
        let missing = |to: String| RestoreError::Missing { what: id.to_string(), to };
        let spec = spec.ok_or_else(|| missing("its specification".to_owned()))?;
        let job = record.into_job(spec).map_err(|task| missing(format!("task `{task}`")))?;
        self.account_jobs.insert((job.account, id));
        self.change_account(job.account, |account| account.jobs += 1);
        let job = Arc::new(job);
        self.jobs.insert(id, Arc::clone(&job));
        for (name, task) in &job.tasks {
            self.index_task(id, name);
            for (number, state) in &task.live {
                self.put_run(id, name, *number, state)?;
            }
        }
        Ok(())
    }

    fn put_run(
        &mut self,
        job: JobId,
        task: &TaskName,
        number: u32,
        state: &InstanceState,
    ) -> Result<(), RestoreError> {
        let (InstanceState::Placed { run, worker, .. }
        | InstanceState::Running { run, worker, .. }) = *state
        else {
            return Ok(());
        };
        if !self.workers.contains_key(&worker) {
            let what = format!("{job} {task}/{number}");
            return Err(RestoreError::Missing { what, to: format!("machine {worker}") });
        }
        let instance = gristmill_model::InstanceNo(number);
        let what = Assigned { job, task: task.clone(), instance };
        self.change_worker(worker, |worker| {
            worker.runs.insert(run, what);
        });
        Ok(())
    }
}

#[derive(Default)]
struct Pieces {
    specs: BTreeMap<JobId, Arc<JobSpec>>,
    jobs: Vec<JobRecord>,
    workers: Vec<WorkerRecord>,
}

fn with_token(
    mut keys: Vec<EntityKey>,
    token: Option<(AccountId, TokenUse, &String)>,
) -> Vec<EntityKey> {
    keys.extend(token.map(|(account, used_for, text)| {
        EntityKey::Token(TokenKey { account, used_for, text: text.clone() })
    }));
    keys
}

impl JobRecord {
    fn of(job: &Job) -> Self {
        let touched = |(name, task): (&TaskName, &Arc<Task>)| {
            let untouched = Task::untouched(&job.spec.tasks[name]);
            let same = Task { blocked_by: task.blocked_by, ..untouched } == **task;
            (!same).then(|| (name.clone(), TaskRecord::of(task)))
        };
        Self {
            id: job.id,
            account: job.account,
            priority: job.priority,
            state: job.state,
            message: job.message.clone(),
            created: job.created,
            started: job.started,
            ended: job.ended,
            tasks: job.tasks.iter().filter_map(touched).collect(),
        }
    }

    /// The job again; the error is the name of a task that is not specified.
    fn into_job(mut self, spec: Arc<JobSpec>) -> Result<Job, TaskName> {
        if let Some(name) = self.tasks.keys().find(|name| !spec.tasks.contains_key(*name)) {
            return Err(name.clone());
        }
        let tasks: OrdMap<_, _> = spec
            .tasks
            .iter()
            .map(|(name, spec)| {
                let record = self.tasks.remove(name);
                let task = record.map_or_else(|| Task::untouched(spec), TaskRecord::into_task);
                (name.clone(), Arc::new(task))
            })
            .collect();
        let mut job = Job {
            id: self.id,
            account: self.account,
            spec,
            priority: self.priority,
            state: self.state,
            message: self.message,
            created: self.created,
            started: self.started,
            ended: self.ended,
            tasks,
            task_counts: Counts::default(),
            instance_counts: Counts::default(),
        };
        derive_counts(&mut job);
        Ok(job)
    }
}

fn derive_counts(job: &mut Job) {
    for (name, count) in blocked_by(job) {
        let task = job.tasks.get_mut(&name).expect("the names are those of the tasks");
        Arc::make_mut(task).blocked_by = count;
    }
    for task in job.tasks.values() {
        *job.task_counts.of(task.state) += 1;
        let (sum, counts) = (&mut job.instance_counts, task.counts);
        sum.waiting += counts.waiting;
        sum.running += counts.running;
        sum.finished += counts.finished;
        sum.failed += counts.failed;
        sum.stopped += counts.stopped;
    }
}

impl TaskRecord {
    fn of(task: &Task) -> Self {
        Self {
            state: task.state,
            started: task.started,
            ended: task.ended,
            auto_cluster: task.auto_cluster,
            machines_short: task.machines_short,
            waiting: task.waiting.clone(),
            finished: task.finished.clone(),
            failed: task.failed.clone(),
            stopped: task.stopped.clone(),
            live: task.live.iter().map(|(n, state)| (*n, state.clone())).collect(),
            attempts: task.attempts.iter().map(|(n, tries)| (*n, *tries)).collect(),
        }
    }

    fn into_task(self) -> Task {
        let mut task = Task {
            state: self.state,
            started: self.started,
            ended: self.ended,
            counts: Counts::default(),
            blocked_by: 0,
            auto_cluster: self.auto_cluster,
            machines_short: self.machines_short,
            waiting: self.waiting,
            finished: self.finished,
            failed: self.failed,
            stopped: self.stopped,
            live: self.live.into_iter().collect(),
            attempts: self.attempts.into_iter().collect(),
        };
        task.counts = task.counted();
        task
    }
}

impl ClusterRecord {
    fn of(cluster: &Cluster) -> Self {
        let desired = cluster.groups.iter().map(|(name, group)| (name.clone(), group.desired));
        Self {
            id: cluster.id,
            account: cluster.account,
            spec: Arc::clone(&cluster.spec),
            purpose: cluster.purpose.clone(),
            deleting: cluster.deleting,
            created: cluster.created,
            hosts: cluster.hosts,
            desired: desired.collect(),
            log: cluster.log.iter().cloned().collect(),
        }
    }

    fn into_cluster(self) -> Cluster {
        let group = |(name, desired)| (name, Group { desired, ..Group::default() });
        Cluster {
            id: self.id,
            account: self.account,
            spec: self.spec,
            purpose: self.purpose,
            deleting: self.deleting,
            created: self.created,
            hosts: self.hosts,
            groups: self.desired.into_iter().map(group).collect(),
            log: Vector::from(self.log),
        }
    }
}

impl WorkerRecord {
    fn of(worker: &Worker) -> Self {
        Self {
            id: worker.id,
            generation: worker.generation,
            cluster: worker.cluster,
            group: worker.group.clone(),
            host_name: worker.host_name.clone(),
            state: worker.state,
            address: worker.address.clone(),
            hint: worker.hint.clone(),
            created: worker.created,
            since: worker.since,
            failures: worker.failures,
            again_at: worker.again_at,
        }
    }

    fn into_worker(self) -> Worker {
        Worker {
            id: self.id,
            generation: self.generation,
            cluster: self.cluster,
            group: self.group,
            host_name: self.host_name,
            state: self.state,
            address: self.address,
            hint: self.hint,
            created: self.created,
            since: self.since,
            failures: self.failures,
            again_at: self.again_at,
            runs: OrdMap::new(),
        }
    }
}
