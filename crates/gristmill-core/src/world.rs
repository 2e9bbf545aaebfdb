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
//! Start at [`World`]; the rules are in `decide`, the changes in `apply`, the reads in `read`.

use crate::{
    cluster::{Cluster, Worker},
    job::{Job, Task},
    lanes::{Lane, Pool},
    market::{Market, Purse},
    options::Options,
};
use gristmill_model::{
    AccountId, ClusterId, Counts, JobId, JobState, Placement, RunId, TaskName, TaskState,
    Timestamp, WorkerId, WorkerState, event::TokenUse,
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
    pub(crate) account_jobs: OrdSet<(AccountId, JobId)>,
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

/// Where a task stands in the indexes.
#[derive(PartialEq, Eq, Clone)]
struct Shelf {
    queue: Option<Pool>,
    starved: Option<Purse>,
    /// Instances for which its lane has to find a machine.
    unplaced: u32,
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
            account_jobs: OrdSet::new(),
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
        change(task);
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
    }

    /// Puts a task that is new in the world into the indexes.
    pub(crate) fn index_task(&mut self, id: JobId, name: &TaskName) {
        let job = Arc::clone(self.job_of(id));
        let placement = &job.spec.tasks[name].placement;
        let shelf = Shelf::of(&job.tasks[name], placement);
        let turn = Turn { priority: Reverse(job.priority), job: id, task: name.clone() };
        self.move_shelf(job.account, turn, &Shelf::NONE, &shelf);
    }

    fn move_shelf(&mut self, account: AccountId, turn: Turn, from: &Shelf, to: &Shelf) {
        if from.unplaced != to.unplaced {
            let pool = to.queue.as_ref().or(from.queue.as_ref());
            let pool = pool.expect("who waits for a lane is in its queue");
            self.change_lane(account, pool, |lane| {
                lane.unplaced = lane.unplaced - u64::from(from.unplaced) + u64::from(to.unplaced);
            });
        }
        if from.starved != to.starved {
            for (purse, present) in [(from.starved, false), (to.starved, true)] {
                if let Some(purse) = purse {
                    put(&mut self.starved, (account, purse), turn.clone(), present);
                }
            }
        }
        if from.queue != to.queue {
            if let Some(pool) = &from.queue {
                put(&mut self.queues, pool.clone(), turn.clone(), false);
                self.match_cluster(pool.cluster);
            }
            if let Some(pool) = &to.queue {
                put(&mut self.queues, pool.clone(), turn, true);
                self.match_cluster(pool.cluster);
            }
        }
    }

    /// The door to a machine: free places, deadlines and metrics follow.
    pub(crate) fn change_worker(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        let worker = self.workers.get_mut(&id).expect("an event names a machine that exists");
        let worker = Arc::make_mut(worker);
        let before = Station::of(worker, &self.options);
        change(worker);
        let after = Station::of(worker, &self.options);
        let (pool, group) = (worker.pool(), worker.group.clone());
        if before.state != after.state {
            let group = self.change_cluster(pool.cluster).groups.get_mut(&group);
            let metrics = &mut group.expect("a machine is in a group").metrics;
            *metrics.of(before.state) -= 1;
            *metrics.of(after.state) += 1;
        }
        self.move_station(pool, id, Some(before), Some(after));
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
        self.move_station(pool, id, None, Some(station));
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
        self.move_station(worker.pool(), id, Some(station), None);
        worker
    }

    fn move_station(
        &mut self,
        pool: Pool,
        id: WorkerId,
        before: Option<Station>,
        after: Option<Station>,
    ) {
        let free = |station: &Option<Station>| station.as_ref().and_then(|s| s.free);
        let due = |station: &Option<Station>| station.as_ref().and_then(|s| s.deadline);
        if free(&before) != free(&after) {
            if let Some(used) = free(&before) {
                put(&mut self.free, pool.clone(), (used, id), false);
            }
            if let Some(used) = free(&after) {
                put(&mut self.free, pool.clone(), (used, id), true);
            }
            self.match_cluster(pool.cluster);
        }
        let crowded = |station: &Option<Station>| station.as_ref().and_then(|s| s.crowded);
        if crowded(&before) != crowded(&after) {
            for (entry, present) in [(crowded(&before), false), (crowded(&after), true)] {
                if let Some(entry) = entry {
                    put(&mut self.crowded, pool.clone(), entry, present);
                }
            }
        }
        let present = |station: &Option<Station>| station.as_ref().is_some_and(|s| s.present);
        if present(&before) != present(&after) {
            let account = self.cluster_of(pool.cluster).account;
            self.change_account(account, |account| {
                account.present =
                    account.present - u32::from(present(&before)) + u32::from(present(&after));
            });
        }
        let busy = |station: &Option<Station>| station.as_ref().map_or(0, |s| u64::from(s.busy));
        if pool.lane.is_some() && busy(&before) != busy(&after) {
            let account = self.cluster_of(pool.cluster).account;
            self.change_lane(account, &pool, |lane| {
                lane.busy = lane.busy - busy(&before) + busy(&after);
            });
        }
        let leaving = |station: &Option<Station>| station.as_ref().is_some_and(|s| s.leaving);
        match (leaving(&before), leaving(&after)) {
            (false, true) => drop(self.leaving.insert(id)),
            (true, false) => drop(self.leaving.remove(&id)),
            _ => {}
        }
        if due(&before) != due(&after) {
            if let Some(at) = due(&before) {
                self.deadlines.remove(&(at, Deadline::Worker(id)));
            }
            if let Some(at) = due(&after) {
                self.deadlines.insert((at, Deadline::Worker(id)));
            }
        }
    }

    /// Whether a task waits on a cluster and a machine has room for it.
    pub(crate) fn matches(&self, cluster: ClusterId) -> bool {
        let own = Pool::own(cluster);
        let own_free = self.free.contains_key(&own);
        if own_free && self.queues.contains_key(&own) {
            return true;
        }
        if self.lanes.is_empty() {
            return false;
        }
        let waits = self.queues.range(own..).map(|(pool, _)| pool);
        let mut waits = waits.take_while(|pool| pool.cluster == cluster);
        waits.any(|pool| self.free.contains_key(pool) || own_free && self.shares_own(pool))
    }

    /// Keeps the list of clusters with something to place right when tasks or machines change.
    pub(crate) fn match_cluster(&mut self, cluster: ClusterId) {
        let matches = self.matches(cluster);
        if matches != self.matchable.contains(&cluster) {
            if matches {
                self.matchable.insert(cluster);
            } else {
                self.matchable.remove(&cluster);
            }
        }
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

impl Shelf {
    const NONE: Self = Self { queue: None, starved: None, unplaced: 0 };

    fn of(task: &Task, placement: &Placement) -> Self {
        let open = matches!(task.state, TaskState::Waiting | TaskState::Running);
        if !open || task.blocked_by > 0 {
            return Self::NONE;
        }
        let (cluster, starved) = match placement {
            Placement::Fixed(cluster) | Placement::Attach { cluster, .. } => (Some(*cluster), None),
            Placement::Auto(shape) => {
                let short = task.machines_short > 0 && !task.waiting.is_empty();
                let starved = task.auto_cluster.is_none() || short;
                (task.auto_cluster, starved.then(|| Purse::of(&shape.resource)))
            }
        };
        let cluster = cluster.filter(|_| !task.waiting.is_empty());
        let queue = cluster.map(|cluster| Pool { cluster, lane: task.lane.clone() });
        let unplaced = if task.lane.is_some() { task.waiting.len() } else { 0 };
        Self { queue, starved, unplaced }
    }
}

/// Where a machine stands in the indexes.
struct Station {
    state: WorkerState,
    /// Slots that hold a run.
    busy: u32,
    free: Option<u32>,
    deadline: Option<Timestamp>,
    crowded: Option<Crowded>,
    present: bool,
    leaving: bool,
}

impl Station {
    fn of(worker: &Worker, options: &Options) -> Self {
        let used = worker.used();
        let most = options.slots_per_worker + worker.ahead;
        let takes_work = worker.state == WorkerState::Running && worker.notice.is_none();
        let room = takes_work && used < most;
        let crowded = worker.state == WorkerState::Pending && !worker.not_for_room;
        Self {
            state: worker.state,
            busy: used.min(options.slots_per_worker),
            free: room.then_some(used),
            deadline: worker.deadline(options),
            crowded: crowded.then_some((worker.is_spot, worker.created, worker.id)),
            present: worker.is_present(),
            leaving: worker.is_leaving(),
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

/// Puts `item` into the set under `key`, or takes it out; an empty set is not kept.
fn put<K: Ord + Clone, T: Ord + Clone>(
    sets: &mut OrdMap<K, OrdSet<T>>,
    key: K,
    item: T,
    present: bool,
) {
    if present {
        sets.entry(key).or_default().insert(item);
        return;
    }
    let set = sets.get_mut(&key).expect("an index holds what was put there");
    set.remove(&item);
    if set.is_empty() {
        sets.remove(&key);
    }
}
