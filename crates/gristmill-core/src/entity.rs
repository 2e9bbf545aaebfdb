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
//! Start at [`EntityKey`] and [`World::touched`]; `records` holds the shapes, `restore` the way
//! back.

mod records;
mod restore;

pub use records::{ClusterRecord, JobRecord, TaskRecord, WorkerRecord};
pub use restore::RestoreError;

use crate::{
    job::Job,
    market::MarketRecord,
    world::{TokenKey, TokenRecord, World},
};
use gristmill_model::{
    AccountId, ClusterId, Event, JobId, JobSpec, RunId, WorkerId,
    event::{Purpose, TokenUse},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

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
    /// `market`: prices, machines set aside, quotas.
    Market,
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
            Self::Market => f.write_str("market"),
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
        if text == "market" {
            return Ok(Self::Market);
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

/// What the history keeps of a job: the record and the specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArchivedJob {
    record: JobRecord,
    spec: Arc<JobSpec>,
}

impl ArchivedJob {
    /// What is kept of a job.
    pub fn of(job: &Job) -> Self {
        Self { record: JobRecord::of(job), spec: Arc::clone(&job.spec) }
    }

    /// The job as it was; `None` when record and specification are not of one job.
    pub fn revive(self) -> Option<Job> {
        self.record.into_job(self.spec).ok()
    }
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
    /// What the operator set.
    Market(MarketRecord),
    /// An idempotency token.
    Token {
        /// Whose and which.
        key: TokenKey,
        /// What was made with it.
        record: TokenRecord,
    },
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
            | Event::RunStarted { job, .. } => vec![K::Job(*job)],
            Event::RunsFinished { job, worker, .. } | Event::RunEnded { job, worker, .. } => {
                self.with_lane(vec![K::Job(*job)], *worker)
            }
            Event::JobDeleted { job } | Event::JobArchived { job, .. } => {
                vec![K::Job(*job), K::Spec(*job)]
            }
            Event::RunPlaced { job, worker, .. } | Event::RunsPlaced { job, worker, .. } => {
                self.with_lane(vec![K::Job(*job), K::Region], *worker)
            }
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
            Event::ClusterChanged { cluster, .. } => {
                let mut keys = vec![K::Cluster(*cluster)];
                keys.extend(self.task_served_by(*cluster).map(|(job, _)| K::Job(job)));
                let groups =
                    self.clusters.get(cluster).into_iter().flat_map(|it| it.groups.values());
                keys.extend(groups.flat_map(|group| &group.workers).map(|id| K::Worker(*id)));
                keys
            }
            Event::ClusterGone { cluster }
            | Event::GroupOpened { cluster, .. }
            | Event::GroupClosed { cluster, .. } => vec![K::Cluster(*cluster)],
            Event::WorkerWanted { worker, cluster, .. } => {
                vec![K::Worker(*worker), K::Cluster(*cluster)]
            }
            Event::SpotPriceSet { .. } | Event::PrepaidSet { .. } | Event::QuotaSet { .. } => {
                vec![K::Market]
            }
            Event::WorkerDelayed { worker, failed: None, .. } => vec![K::Worker(*worker)],
            // Each of these is a line in the log of its cluster.
            Event::WorkerDelayed { worker, .. }
            | Event::WorkerNoticed { worker, .. }
            | Event::NoticeWithdrawn { worker, .. }
            | Event::WorkerRunning { worker, .. }
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

    /// A machine for attached tasks knows since when it is idle.
    fn with_lane(&self, mut keys: Vec<EntityKey>, worker: WorkerId) -> Vec<EntityKey> {
        let serves_a_lane = self.workers.get(&worker).is_some_and(|it| it.lane.is_some());
        keys.extend(serves_a_lane.then_some(EntityKey::Worker(worker)));
        keys
    }

    /// The keys of everything there is.
    pub fn entity_keys(&self) -> impl Iterator<Item = EntityKey> + '_ {
        let jobs = self.jobs.keys().flat_map(|job| [EntityKey::Spec(*job), EntityKey::Job(*job)]);
        let market = (!self.market.is_empty()).then_some(EntityKey::Market);
        std::iter::once(EntityKey::Region)
            .chain(market)
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
            EntityKey::Market if self.market.is_empty() => return None,
            EntityKey::Market => Entity::Market((&self.market).into()),
            EntityKey::Token(key) => {
                Entity::Token { key: key.clone(), record: self.tokens.get(key)?.clone() }
            }
        })
    }
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
