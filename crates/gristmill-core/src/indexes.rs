//! The indexes of the world: where a task or a machine stands before a change, and where after it.
//!
//! The doors of [`World`] look at both and move what differs, so no caller keeps an index by
//! hand. `World::check` builds all of them again and compares.
//!
//! Start at [`Shelf`] and [`Station`].

use crate::{
    cluster::Worker,
    job::{Job, Task},
    lanes::Pool,
    market::Purse,
    options::Options,
    world::{Crowded, Deadline, Turn, World},
};
use gristmill_model::{
    AccountId, ClusterId, JobId, JobState, Placement, TaskState, Timestamp, WorkerId, WorkerState,
};
use imbl::{OrdMap, OrdSet};

/// What jobs are listed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JobList {
    /// All of an account.
    Of(AccountId),
    /// Those of an account in one state.
    InState(AccountId, JobState),
    /// Those with a task on a cluster.
    OnCluster(ClusterId),
}

impl JobList {
    /// All lists in which a job is, some more than once.
    fn with(job: &Job) -> impl Iterator<Item = Self> + '_ {
        let clusters = job.spec.tasks.iter().filter_map(|(name, spec)| match &spec.placement {
            Placement::Fixed(cluster) | Placement::Attach { cluster, .. } => Some(*cluster),
            Placement::Auto(_) => job.tasks[name].auto_cluster,
        });
        let own = [Self::Of(job.account), Self::InState(job.account, job.state)];
        own.into_iter().chain(clusters.map(Self::OnCluster))
    }
}

/// Where a task stands in the indexes. The default is nowhere.
#[derive(PartialEq, Eq, Default)]
pub(crate) struct Shelf {
    queue: Option<Pool>,
    starved: Option<Purse>,
    /// Instances for which its lane has to find a machine.
    unplaced: u32,
}

/// Where a machine stands in the indexes. The default is nowhere.
#[derive(Default)]
pub(crate) struct Station {
    /// Slots that hold a run.
    busy: u32,
    free: Option<u32>,
    deadline: Option<Timestamp>,
    crowded: Option<Crowded>,
    present: bool,
    leaving: bool,
}

impl Shelf {
    pub(crate) fn of(task: &Task, placement: &Placement) -> Self {
        let open = matches!(task.state, TaskState::Waiting | TaskState::Running);
        if !open || task.blocked_by > 0 {
            return Self::default();
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

impl Station {
    pub(crate) fn of(worker: &Worker, options: &Options) -> Self {
        let used = worker.used();
        let most = options.slots_per_worker + worker.ahead;
        let takes_work = worker.state == WorkerState::Running && worker.notice.is_none();
        let room = takes_work && used < most;
        let crowded = worker.state == WorkerState::Pending && !worker.not_for_room;
        Self {
            busy: used.min(options.slots_per_worker),
            free: room.then_some(used),
            deadline: worker.deadline(options),
            crowded: crowded.then_some((worker.is_spot, worker.created, worker.id)),
            present: worker.is_present(),
            leaving: worker.is_leaving(),
        }
    }
}

impl World {
    /// Puts a job into its lists, or takes it out of all.
    pub(crate) fn list_job(&mut self, job: &Job, present: bool) {
        for list in JobList::with(job) {
            match present {
                true => drop(self.job_lists.insert((list, job.id))),
                false => drop(self.job_lists.remove(&(list, job.id))),
            }
        }
    }

    /// Moves a job from one list to another.
    pub(crate) fn move_in_lists(&mut self, job: JobId, from: Option<JobList>, to: Option<JobList>) {
        if let Some(list) = from {
            self.job_lists.remove(&(list, job));
        }
        if let Some(list) = to {
            self.job_lists.insert((list, job));
        }
    }

    /// The door to a job's state: its list follows.
    pub(crate) fn change_job_state(&mut self, id: JobId, state: JobState) -> &mut Job {
        let (account, before) = (self.job_of(id).account, self.job_of(id).state);
        let [from, to] = [before, state].map(|state| Some(JobList::InState(account, state)));
        self.move_in_lists(id, from, to);
        let job = self.change_job(id);
        job.state = state;
        job
    }

    /// Moves a task of an account in the indexes.
    pub(crate) fn move_shelf(&mut self, account: AccountId, turn: Turn, from: &Shelf, to: &Shelf) {
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
            for (pool, present) in [(&from.queue, false), (&to.queue, true)] {
                if let Some(pool) = pool {
                    put(&mut self.queues, pool.clone(), turn.clone(), present);
                    self.match_cluster(pool.cluster);
                }
            }
        }
    }

    /// Moves a machine of a pool in the indexes.
    pub(crate) fn move_station(&mut self, pool: &Pool, id: WorkerId, from: &Station, to: &Station) {
        if from.free != to.free {
            swap(
                &mut self.free,
                pool,
                from.free.map(|used| (used, id)),
                to.free.map(|used| (used, id)),
            );
            self.match_cluster(pool.cluster);
        }
        if from.crowded != to.crowded {
            swap(&mut self.crowded, pool, from.crowded, to.crowded);
        }
        if from.present != to.present {
            let account = self.cluster_of(pool.cluster).account;
            self.change_account(account, |account| {
                account.present = account.present - u32::from(from.present) + u32::from(to.present);
            });
        }
        if pool.lane.is_some() && from.busy != to.busy {
            let account = self.cluster_of(pool.cluster).account;
            self.change_lane(account, pool, |lane| {
                lane.busy = lane.busy - u64::from(from.busy) + u64::from(to.busy);
            });
        }
        match (from.leaving, to.leaving) {
            (false, true) => drop(self.leaving.insert(id)),
            (true, false) => drop(self.leaving.remove(&id)),
            _ => {}
        }
        if from.deadline != to.deadline {
            if let Some(at) = from.deadline {
                self.deadlines.remove(&(at, Deadline::Worker(id)));
            }
            if let Some(at) = to.deadline {
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
}

/// Moves something within the set under `key`.
fn swap<K: Ord + Clone, T: Ord + Clone>(
    sets: &mut OrdMap<K, OrdSet<T>>,
    key: &K,
    from: Option<T>,
    to: Option<T>,
) {
    for (item, present) in [(from, false), (to, true)] {
        if let Some(item) = item {
            put(sets, key.clone(), item, present);
        }
    }
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
