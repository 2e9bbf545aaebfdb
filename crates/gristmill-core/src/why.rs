//! Why a job waits: in a sentence for its owner, and for programs as an [`Obstacle`] of each task.
//!
//! The sentence says what runs, what is on its way to a machine, and what stands in the way of
//! the rest. An obstacle is the first thing that is missing: predecessors, the cluster, machines
//! (starting, refused, too dear, not set aside, beyond the quota), or a turn.
//!
//! Start at [`World::why`] and [`World::obstacles`]; `obstacle` has the words.

mod obstacle;

use crate::{
    cluster::{Cluster, Group, Worker},
    job::{Job, Task},
    lanes::{Lane, Pool},
    world::{Turn, World},
};
use gristmill_model::{
    GroupName, JobId, Placement, TaskName, WorkerId, WorkerState, spec::Resource,
};
use obstacle::{PLACE_MAX, count};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

pub use obstacle::Obstacle;

/// How many tasks are looked at for the one that a job's sentence tells of.
const TASKS_MAX: usize = 10_000;

/// How many of the tasks that another one waits for are named.
const NAMED_MAX: usize = 20;

impl World {
    /// Why a job is where it is; `None` when there is no such job.
    pub fn why(&self, id: JobId) -> Option<String> {
        let job = self.jobs.get(&id)?;
        if job.state.is_final() {
            return Some(match job.message.as_str() {
                "" => format!("the job is {}", job.state),
                message => format!("the job is {}: {message}", job.state),
            });
        }
        let counts = job.instance_counts;
        let rest = self.first_obstacle(job);
        let rest = rest.map(|(name, obstacle)| format!("task `{name}` {obstacle}"));
        if counts.running > 0 {
            let running = count(counts.running, "instance");
            let running = format!("{running} running, {} waiting", counts.waiting);
            return Some([running].into_iter().chain(rest).collect::<Vec<_>>().join("; "));
        }
        if let Some((name, task)) = job.tasks.iter().find(|(_, task)| task.is_live()) {
            let placed = count(task.live.len() as u32, "instance");
            return Some(format!("{placed} of task `{name}` at machines that prepare to run"));
        }
        Some(rest.unwrap_or_else(|| "the job is about to end".to_owned()))
    }

    /// The obstacle of the first task that has one; tasks that need no other come first.
    fn first_obstacle(&self, job: &Job) -> Option<(TaskName, Obstacle)> {
        let waits = |task: &Task| !task.state.is_final() && !task.waiting.is_empty();
        let tasks = || job.tasks.iter().take(TASKS_MAX).filter(|(_, task)| waits(task));
        let first = tasks().find(|(_, task)| task.blocked_by == 0).or_else(|| tasks().next());
        let (name, task) = first?;
        Some((name.clone(), self.obstacle_of(job, name, task)?))
    }

    /// What stands in the way of the first `tasks_max` tasks of which something waits for a machine.
    /// Looks at the dependencies of the job once.
    pub fn obstacles(&self, id: JobId, tasks_max: usize) -> Vec<(TaskName, Obstacle)> {
        let Some(job) = self.jobs.get(&id) else { return Vec::new() };
        let waits = |task: &Task| !task.state.is_final() && !task.waiting.is_empty();
        let tasks = job.tasks.iter().filter(|(_, task)| waits(task)).take(tasks_max);
        let (blocked, free): (Vec<_>, Vec<_>) = tasks.partition(|(_, task)| task.blocked_by > 0);
        let mut before = before(job, blocked.iter().map(|(name, _)| *name));
        let blocked = blocked.iter().map(|(name, task)| {
            let names = before.remove(name).unwrap_or_default();
            ((*name).clone(), waits_for(task, names))
        });
        let free = free
            .iter()
            .filter_map(|(name, task)| Some(((*name).clone(), self.obstacle_of(job, name, task)?)));
        let all: BTreeMap<_, _> = blocked.chain(free).collect();
        all.into_iter().collect()
    }

    fn obstacle_of(&self, job: &Job, name: &TaskName, task: &Task) -> Option<Obstacle> {
        if task.state.is_final() || task.waiting.is_empty() {
            return None;
        }
        if task.blocked_by > 0 {
            let names = before(job, [name].into_iter()).remove(name).unwrap_or_default();
            return Some(waits_for(task, names));
        }
        let Some(id) = job.cluster_of(name) else { return Some(self.nothing_left(job, name)) };
        let Some(cluster) = self.clusters.get(&id).filter(|it| !it.deleting) else {
            return Some(Obstacle::ClusterDeleted(id));
        };
        let pool = Pool { cluster: id, lane: task.lane.clone() };
        let groups = self.serving(cluster, &pool);
        if groups.iter().all(|(_, group)| group.metrics.running == 0) {
            return Some(self.missing_machines(job, name, &pool, cluster, &groups));
        }
        let workers = groups.iter().flat_map(|(_, group)| &group.workers);
        let workers = workers.map(|id| self.worker_of(*id));
        let mut running = workers.filter(|it| it.state == WorkerState::Running);
        if running.all(|worker| worker.notice.is_some()) {
            let why = self.why_reclaimed(cluster, &groups);
            return Some(Obstacle::Reclaimed { cluster: id, why });
        }
        let turn = Turn { priority: Reverse(job.priority), job: job.id, task: name.clone() };
        Some(match self.place_in_queue(&pool, &turn) {
            0 if self.has_room(&pool, task) => Obstacle::Placing,
            0 => self.what_keeps_it_small(job, name, &pool).unwrap_or(Obstacle::Busy(id)),
            PLACE_MAX => Obstacle::Turn { cluster: id, others: u32::MAX },
            place => Obstacle::Turn { cluster: id, others: place as u32 },
        })
    }

    /// Whether the emptiest machine has room for a run of a task. One that holds short runs ahead
    /// has none for long ones.
    fn has_room(&self, pool: &Pool, task: &Task) -> bool {
        let own = Pool::own(pool.cluster);
        let own = Some(&own).filter(|_| self.shares_own(pool));
        let emptiest = |pool: &Pool| self.free.get(pool)?.get_min().copied();
        let mut machines = [Some(pool), own].into_iter().flatten().filter_map(emptiest);
        machines.any(|(used, worker)| {
            used < self.options.room_for(task.pace, self.worker_of(worker).ahead)
        })
    }

    /// The bound that keeps a busy automatic cluster or lane from growing, when one does.
    fn what_keeps_it_small(&self, job: &Job, name: &TaskName, pool: &Pool) -> Option<Obstacle> {
        match &job.spec.tasks[name].placement {
            Placement::Fixed(_) => None,
            Placement::Auto(_) => {
                (job.tasks[name].machines_short > 0).then(|| self.nothing_left(job, name))
            }
            Placement::Attach { .. } => self.what_keeps_a_lane_small(job, name, pool),
        }
    }

    fn what_keeps_a_lane_small(&self, job: &Job, name: &TaskName, pool: &Pool) -> Option<Obstacle> {
        let empty = Lane::default();
        let lane = self.lane(job.account, pool).unwrap_or(&empty);
        let cluster = &self.clusters[&pool.cluster];
        let size = lane.group.as_ref().map_or(0, |group| cluster.groups[group].desired);
        let lanes = cluster.groups.values().filter(|group| group.lane.is_some());
        let all: u32 = lanes.map(|group| group.desired).sum();
        let limit = self.options.limits.auto_cluster_machines_max;
        if all >= limit {
            return Some(Obstacle::AttachedFull { cluster: pool.cluster, limit });
        }
        (size < self.lane_wanted(pool, lane)).then(|| self.nothing_left(job, name))
    }

    /// Why a task gets no machines: the account's bounds.
    fn nothing_left(&self, job: &Job, name: &TaskName) -> Obstacle {
        let shape = job.spec.tasks[name].placement.shape();
        if shape.is_some_and(|shape| shape.resource == Resource::PrePaid) {
            return Obstacle::PrepaidTaken;
        }
        let (used, may) = (self.account(job.account), self.allowance(job.account));
        if u64::from(used.machines) < may.machines {
            return Obstacle::CoreQuota { used: used.cores, limit: may.cores };
        }
        Obstacle::MachineQuota { used: used.machines.into(), limit: may.machines }
    }

    /// The groups whose machines serve a pool's tasks.
    fn serving<'a>(&self, cluster: &'a Cluster, pool: &Pool) -> Vec<(&'a GroupName, &'a Group)> {
        let shares_own = self.shares_own(pool);
        let serves = |group: &Group| group.lane == pool.lane || shares_own && group.lane.is_none();
        cluster.groups.iter().filter(|(_, group)| serves(group)).collect()
    }

    /// What keeps a group of spot or prepaid machines empty.
    fn withheld(&self, cluster: &Cluster, groups: &[(&GroupName, &Group)]) -> Option<String> {
        groups.iter().find_map(|(name, group)| {
            if let Some(dear) = self.group_overpriced(cluster, name) {
                return Some(format!("{dear} of group `{name}`"));
            }
            let prepaid = cluster.shape_of(name).resource == Resource::PrePaid;
            (prepaid && group.desired == 0)
                .then(|| format!("group `{name}` is prepaid and no machines are set aside for it"))
        })
    }

    fn why_reclaimed(&self, cluster: &Cluster, groups: &[(&GroupName, &Group)]) -> String {
        if let Some(withheld) = self.withheld(cluster, groups) {
            return withheld;
        }
        let mut workers = groups.iter().flat_map(|(_, group)| &group.workers);
        let shared = workers.any(|id: &WorkerId| self.worker_of(*id).is_leaving());
        let why =
            if shared { "another account has fewer" } else { "machines on demand come first" };
        why.to_owned()
    }

    fn missing_machines(
        &self,
        job: &Job,
        name: &TaskName,
        pool: &Pool,
        cluster: &Cluster,
        groups: &[(&GroupName, &Group)],
    ) -> Obstacle {
        let cluster_id = cluster.id;
        let machines: u32 = groups.iter().map(|(_, group)| group.metrics.starting).sum();
        let workers = || groups.iter().flat_map(|(_, group)| group.workers.iter());
        let workers = || workers().map(|id| self.worker_of(*id));
        let delayed = |worker: &&Arc<Worker>| worker.state == WorkerState::Pending;
        let failed = |worker: &&Arc<Worker>| !worker.hint.is_empty();
        if machines > 0 {
            // A machine that is tried again has a story to tell.
            let said = workers().find(failed).map(|it| it.hint.clone()).unwrap_or_default();
            Obstacle::MachinesStarting { cluster: cluster_id, machines, said }
        } else if let Some(why) = self.withheld(cluster, groups) {
            Obstacle::Withheld { cluster: cluster_id, why }
        } else if let Some(worker) = workers().find(delayed) {
            Obstacle::MachineRefused { cluster: cluster_id, said: worker.hint.clone() }
        } else {
            let small = self.what_keeps_it_small(job, name, pool);
            small.unwrap_or(Obstacle::ClusterEmpty(cluster_id))
        }
    }

    /// How many tasks come before this one on its cluster.
    fn place_in_queue(&self, pool: &Pool, turn: &Turn) -> usize {
        let Some(queue) = self.queues.get(pool) else { return 0 };
        queue.range(..turn.clone()).take(PLACE_MAX).count()
    }
}

/// For each of these tasks those that have to end before it, of many the first.
fn before<'a>(
    job: &'a Job,
    names: impl Iterator<Item = &'a TaskName>,
) -> BTreeMap<&'a TaskName, Vec<TaskName>> {
    let mut found: BTreeMap<_, Vec<_>> = names.map(|name| (name, Vec::new())).collect();
    for (earlier, later) in &job.spec.dependencies {
        if !job.holds_back(&job.tasks[earlier]) {
            continue;
        }
        for name in later {
            if let Some(names) = found.get_mut(name).filter(|names| names.len() < NAMED_MAX) {
                names.push(earlier.clone());
            }
        }
    }
    found
}

fn waits_for(task: &Task, names: Vec<TaskName>) -> Obstacle {
    let others = task.blocked_by.saturating_sub(names.len() as u32);
    Obstacle::Tasks { names, others }
}
