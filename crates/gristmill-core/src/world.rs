//! The world: everything the mill knows, and the indexes it decides by.
//!
//! All maps are persistent. `World::clone` copies a handful of pointers, so the server publishes
//! a clone after every commit and can go back to the one before.
//!
//! Invariants
//! - Only `World::apply` changes anything; this file holds the narrow doors it goes through.
//!   [`World::change_task`] and [`World::change_worker`] keep counts and indexes right by
//!   comparing before and after, so no caller keeps them by hand.
//! - Indexes hold only what is needed: a queue exists only while it is not empty. A plan with
//!   nothing to do looks at one empty set.
//!
//! Start at [`World`]; the rules are in `decide`, the changes in `apply`, the reads in `read`, and
//! how a task or a machine moves through the indexes in `indexes`.

use crate::{
    cluster::{Cluster, Worker},
    indexes::{JobList, Shelf, Station},
    job::{Job, Task},
    lanes::{Lane, Pool},
    market::{Market, Purse},
    options::Options,
};
use gristmill_model::{
    AccountId, ClusterId, Counts, JobId, JobState, RunId, TaskName, Timestamp, WorkerId,
    event::TokenUse,
};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, sync::Arc};

/// Everything the mill knows.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub(crate) options: Arc<Options>,
    pub(crate) next_run: RunId,
    pub(crate) jobs: OrdMap<JobId, Arc<Job>>,
    pub(crate) clusters: OrdMap<ClusterId, Arc<Cluster>>,
    pub(crate) workers: OrdMap<WorkerId, Arc<Worker>>,
    pub(crate) tokens: OrdMap<TokenKey, TokenRecord>,
    pub(crate) market: Market,
    // Everything below follows from the above.
    pub(crate) accounts: OrdMap<AccountId, Account>,
    /// Jobs by what they are asked for by.
    pub(crate) job_lists: OrdSet<(JobList, JobId)>,
    pub(crate) account_clusters: OrdSet<(AccountId, ClusterId)>,
    /// Tasks with instances to place, by where they run.
    pub(crate) queues: OrdMap<Pool, OrdSet<Turn>>,
    /// Machines with room; the emptiest first.
    pub(crate) free: OrdMap<Pool, OrdSet<(u32, WorkerId)>>,
    /// Clusters where a task waits and a machine has room for it.
    pub(crate) matchable: OrdSet<ClusterId>,
    /// What attached tasks have and want.
    pub(crate) lanes: OrdMap<(AccountId, Pool), Lane>,
    /// Tasks that want more automatic machines than they have, by where these come from.
    pub(crate) starved: OrdMap<(AccountId, Purse), OrdSet<Turn>>,
    /// Spot machines, those included that are going.
    pub(crate) spot: OrdSet<WorkerId>,
    /// Machines that leave after their runs, for another account.
    pub(crate) leaving: OrdSet<WorkerId>,
    /// Machines that wait for room.
    pub(crate) crowded: OrdMap<Pool, OrdSet<Crowded>>,
    pub(crate) deadlines: OrdSet<(Timestamp, Deadline)>,
    /// Finished jobs by their end: the first ones move into the history.
    pub(crate) finished: OrdSet<(Timestamp, JobId)>,
}

/// What an account uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Jobs that were not deleted.
    pub jobs: u32,
    /// Machines wanted by clusters that are not being deleted, prepaid ones aside.
    pub machines: u32,
    /// Their cores.
    pub cores: u64,
    /// Instances of jobs that have not ended.
    pub instances: u64,
    /// Machines that take a place: asked for, there, or going.
    pub present: u32,
}

/// A task's place in a queue: higher priority first, then first come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) priority: Reverse<u16>,
    pub(crate) job: JobId,
    pub(crate) task: TaskName,
}

/// A machine that waits for room: those on demand before those on the spot market, then the
/// oldest.
pub(crate) type Crowded = (bool, Timestamp, WorkerId);

/// Something that is due at some time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    Worker(WorkerId),
    Token(TokenKey),
}

/// An idempotency token as a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenKey {
    /// Whose.
    pub account: AccountId,
    /// Of which operation.
    pub used_for: TokenUse,
    /// The client's text.
    pub text: String,
}

/// What is remembered of an idempotency token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Digest of the body it was sent with.
    pub body: String,
    /// What was made.
    pub made: Made,
    /// When.
    pub at: Timestamp,
}

/// What was made with an idempotency token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    /// A job.
    Job(JobId),
    /// A cluster.
    Cluster(ClusterId),
}

impl World {
    /// An empty world.
    pub fn new(options: Options) -> Self {
        Self {
            options: Arc::new(options),
            next_run: RunId(1),
            jobs: OrdMap::new(),
            clusters: OrdMap::new(),
            workers: OrdMap::new(),
            tokens: OrdMap::new(),
            market: Market::default(),
            accounts: OrdMap::new(),
            job_lists: OrdSet::new(),
            account_clusters: OrdSet::new(),
            queues: OrdMap::new(),
            free: OrdMap::new(),
            matchable: OrdSet::new(),
            lanes: OrdMap::new(),
            starved: OrdMap::new(),
            spot: OrdSet::new(),
            leaving: OrdSet::new(),
            crowded: OrdMap::new(),
            deadlines: OrdSet::new(),
            finished: OrdSet::new(),
        }
    }

    /// When a `Tick` has something to do, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let first = self.deadlines.get_min().map(|(at, _)| *at);
        [first, self.archive_due()].into_iter().flatten().min()
    }

    /// When the oldest finished job moves into the history.
    pub(crate) fn archive_due(&self) -> Option<Timestamp> {
        let (ended, _) = self.finished.get_min()?;
        let crowded = self.finished.len() > self.options.finished_kept_max as usize;
        Some(if crowded { *ended } else { ended.after(self.options.finished_kept) })
    }

    /// Keeps the list of finished jobs right when one comes, ends or goes.
    pub(crate) fn note_finished(&mut self, job: &Job, present: bool) {
        let Some(ended) = job.ended.filter(|_| job.state == JobState::Finished) else { return };
        if present {
            self.finished.insert((ended, job.id));
        } else {
            self.finished.remove(&(ended, job.id));
        }
    }

    /// A job that must exist: events and indexes name only such.
    pub(crate) fn job_of(&self, job: JobId) -> &Arc<Job> {
        self.jobs.get(&job).expect("an event names a job that exists")
    }

    pub(crate) fn cluster_of(&self, cluster: ClusterId) -> &Arc<Cluster> {
        self.clusters.get(&cluster).expect("an event names a cluster that exists")
    }

    pub(crate) fn worker_of(&self, worker: WorkerId) -> &Arc<Worker> {
        self.workers.get(&worker).expect("an event names a machine that exists")
    }

    /// The door to a job's own fields. Tasks have their own door.
    pub(crate) fn change_job(&mut self, job: JobId) -> &mut Job {
        Arc::make_mut(self.jobs.get_mut(&job).expect("an event names a job that exists"))
    }

    /// The door to a cluster's fields that no index looks at.
    pub(crate) fn change_cluster(&mut self, cluster: ClusterId) -> &mut Cluster {
        let cluster = self.clusters.get_mut(&cluster);
        Arc::make_mut(cluster.expect("an event names a cluster that exists"))
    }

    /// The door to a task: counts of the job, queues and wants follow.
    pub(crate) fn change_task(
        &mut self,
        id: JobId,
        name: &TaskName,
        change: impl FnOnce(&mut Task),
    ) {
        let job = self.jobs.get_mut(&id).expect("an event names a job that exists");
        let job = Arc::make_mut(job);
        let placement = &job.spec.tasks.get(name).expect("a task is specified").placement;
        let task = job.tasks.get_mut(name).expect("an event names a task that exists");
        let task = Arc::make_mut(task);
        let (state, counts, shelf) = (task.state, task.counts, Shelf::of(task, placement));
        let own = task.auto_cluster;
        change(task);
        let new_own = task.auto_cluster;
        let (new_state, new_counts, new_shelf) =
            (task.state, task.counts, Shelf::of(task, placement));
        move_counts(&mut job.instance_counts, counts, new_counts);
        if state != new_state {
            *job.task_counts.of(state) -= 1;
            *job.task_counts.of(new_state) += 1;
        }
        if shelf != new_shelf {
            let turn = Turn { priority: Reverse(job.priority), job: id, task: name.clone() };
            let account = job.account;
            self.move_shelf(account, turn, &shelf, &new_shelf);
        }
        if own != new_own {
            self.move_in_lists(id, own.map(JobList::OnCluster), new_own.map(JobList::OnCluster));
        }
    }

    /// Puts a task that is new in the world into the indexes.
    pub(crate) fn index_task(&mut self, id: JobId, name: &TaskName) {
        let job = Arc::clone(self.job_of(id));
        let placement = &job.spec.tasks[name].placement;
        let shelf = Shelf::of(&job.tasks[name], placement);
        let turn = Turn { priority: Reverse(job.priority), job: id, task: name.clone() };
        self.move_shelf(job.account, turn, &Shelf::default(), &shelf);
    }

    /// The door to a machine: free places, deadlines and metrics follow.
    pub(crate) fn change_worker(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        let worker = self.workers.get_mut(&id).expect("an event names a machine that exists");
        let worker = Arc::make_mut(worker);
        let (state, before) = (worker.state, Station::of(worker, &self.options));
        change(worker);
        let (new_state, after) = (worker.state, Station::of(worker, &self.options));
        let pool = worker.pool();
        if state != new_state {
            let group = worker.group.clone();
            let group = self.change_cluster(pool.cluster).groups.get_mut(&group);
            let metrics = &mut group.expect("a machine is in a group").metrics;
            *metrics.of(state) -= 1;
            *metrics.of(new_state) += 1;
        }
        self.move_station(&pool, id, &before, &after);
    }

    /// The door to what a cluster takes from its owner's quota: sizes, types, whether it is being
    /// deleted.
    pub(crate) fn change_sizes(&mut self, id: ClusterId, change: impl FnOnce(&mut Cluster)) {
        let options = Arc::clone(&self.options);
        let cluster = self.change_cluster(id);
        let before = cluster.usage(&options);
        change(cluster);
        let (account, after) = (cluster.account, cluster.usage(&options));
        if before != after {
            self.change_account(account, |account| {
                account.give_back(before);
                account.take(after);
            });
        }
    }

    /// Puts a new machine into the world.
    pub(crate) fn add_worker(&mut self, worker: Worker) {
        let station = Station::of(&worker, &self.options);
        let (pool, id) = (worker.pool(), worker.id);
        let group = self.change_cluster(pool.cluster).groups.get_mut(&worker.group);
        let group = group.expect("a machine is in a group");
        group.workers.insert(id);
        *group.metrics.of(worker.state) += 1;
        if worker.is_spot {
            self.spot.insert(id);
        }
        self.workers.insert(id, Arc::new(worker));
        self.move_station(&pool, id, &Station::default(), &station);
    }

    /// Takes a machine out of the world.
    pub(crate) fn drop_worker(&mut self, id: WorkerId) -> Arc<Worker> {
        let worker = self.workers.remove(&id).expect("an event names a machine that exists");
        assert!(worker.runs.is_empty(), "the runs of a machine end before the machine");
        let station = Station::of(&worker, &self.options);
        self.spot.remove(&id);
        let group = self.change_cluster(worker.cluster).groups.get_mut(&worker.group);
        let group = group.expect("a machine is in a group");
        group.workers.remove(&id);
        *group.metrics.of(worker.state) -= 1;
        self.move_station(&worker.pool(), id, &station, &Station::default());
        worker
    }

    /// The door to what an account uses. An account that uses nothing is not kept.
    pub(crate) fn change_account(&mut self, id: AccountId, change: impl FnOnce(&mut Account)) {
        let mut account = self.accounts.get(&id).copied().unwrap_or_default();
        change(&mut account);
        if account == Account::default() {
            self.accounts.remove(&id);
        } else {
            self.accounts.insert(id, account);
        }
    }

    pub(crate) fn remember_token(&mut self, key: TokenKey, record: TokenRecord) {
        self.forget_token(&key);
        let due = record.at.after(self.options.token_kept);
        self.deadlines.insert((due, Deadline::Token(key.clone())));
        self.tokens.insert(key, record);
    }

    pub(crate) fn forget_token(&mut self, key: &TokenKey) {
        if let Some(record) = self.tokens.remove(key) {
            let due = record.at.after(self.options.token_kept);
            self.deadlines.remove(&(due, Deadline::Token(key.clone())));
        }
    }
}

fn move_counts(total: &mut Counts, before: Counts, after: Counts) {
    let step = |total: &mut u32, before: u32, after: u32| *total = *total - before + after;
    step(&mut total.waiting, before.waiting, after.waiting);
    step(&mut total.running, before.running, after.running);
    step(&mut total.finished, before.finished, after.finished);
    step(&mut total.failed, before.failed, after.failed);
    step(&mut total.stopped, before.stopped, after.stopped);
}
