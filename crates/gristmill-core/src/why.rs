//! Why a job waits, in a sentence for its owner.
//!
//! The first reason that applies, from the one nearest to success: something runs, something is
//! on its way to a machine, something could be placed, machines are missing, others come first,
//! predecessors have not ended.

use crate::{
    cluster::{Cluster, Group, Worker},
    job::{Job, Task},
    lanes::Pool,
    world::{Turn, World},
};
use gristmill_model::{
    GroupName, JobId, JobState, TaskName, WorkerId, WorkerState, spec::Resource,
};
use std::cmp::Reverse;

/// Beyond this place in a queue nobody counts.
const PLACE_MAX: usize = 1_000;

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
        if counts.running > 0 {
            let running = count(counts.running, "instance");
            return Some(format!("{running} running, {} waiting", counts.waiting));
        }
        if let Some((name, task)) = job.tasks.iter().find(|(_, task)| task.is_live()) {
            let placed = count(task.live.len() as u32, "instance");
            return Some(format!("{placed} of task `{name}` at machines that prepare to run"));
        }
        let ready = job.tasks.iter().find(|(_, task)| is_ready(task));
        Some(match ready {
            Some((name, task)) => self.why_ready_task_waits(job, name, task),
            None => why_blocked(job),
        })
    }

    fn why_ready_task_waits(&self, job: &Job, name: &TaskName, task: &Task) -> String {
        let Some(id) = job.cluster_of(name) else {
            return format!("task `{name}` waits for machines: {}", self.nothing_left(job, name));
        };
        let Some(cluster) = self.clusters.get(&id).filter(|it| !it.deleting) else {
            return format!("task `{name}` waits for cluster {id}, which was deleted");
        };
        let pool = Pool { cluster: id, lane: task.lane.clone() };
        let groups = self.serving(cluster, &pool);
        if groups.iter().all(|(_, group)| group.metrics.running == 0) {
            let missing = self.missing_machines(job, name, cluster, &groups);
            return format!("task `{name}` waits for {missing}");
        }
        let mut machines = groups.iter().flat_map(|(_, group)| &group.workers);
        let leaves = |id: &WorkerId| {
            let worker = self.worker_of(*id);
            worker.state != WorkerState::Running || worker.notice.is_some()
        };
        if machines.all(leaves) {
            let why = self
                .withheld(cluster, &groups)
                .unwrap_or_else(|| "machines on demand come first".into());
            return format!(
                "task `{name}` waits: the machines of cluster {id} are reclaimed: {why}"
            );
        }
        let turn = Turn { priority: Reverse(job.priority), job: job.id, task: name.clone() };
        match self.place_in_queue(&pool, &turn) {
            _ if task.waiting.is_empty() => format!("task `{name}` is about to end"),
            0 if self.free.contains_key(&pool) => format!("task `{name}` is about to be placed"),
            0 => format!("task `{name}` is next for a machine of cluster {id}; all are busy"),
            PLACE_MAX => {
                format!("task `{name}` waits behind {PLACE_MAX} or more tasks on cluster {id}")
            }
            place => {
                let others = count(place as u32, "other task");
                format!("task `{name}` waits behind {others} on cluster {id}")
            }
        }
    }

    fn nothing_left(&self, job: &Job, name: &TaskName) -> String {
        let shape = job.spec.tasks[name].placement.shape();
        if shape.is_some_and(|shape| shape.resource == Resource::PrePaid) {
            return "all that the operator set aside for the account are taken".to_owned();
        }
        let (used, may) = (self.account(job.account), self.allowance(job.account));
        if u64::from(used.machines) < may.machines {
            return format!("the account uses {} of the {} cores it may", used.cores, may.cores);
        }
        format!("the account uses {} of the {} it may", used.machines, may.machines)
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

    fn missing_machines(
        &self,
        job: &Job,
        name: &TaskName,
        cluster: &Cluster,
        groups: &[(&GroupName, &Group)],
    ) -> String {
        let id = cluster.id;
        let starting: u32 = groups.iter().map(|(_, group)| group.metrics.starting).sum();
        let workers = || groups.iter().flat_map(|(_, group)| group.workers.iter());
        let workers = || workers().map(|id| self.worker_of(*id));
        let delayed = |worker: &&std::sync::Arc<Worker>| worker.state == WorkerState::Pending;
        let failed = |worker: &&std::sync::Arc<Worker>| !worker.hint.is_empty();
        if starting > 0 {
            let starting = format!("cluster {id}: {} starting", count(starting, "machine"));
            // A machine that is tried again has a story to tell.
            let before = workers().find(failed).map(|it| format!("; the last said: {}", it.hint));
            starting + &before.unwrap_or_default()
        } else if let Some(withheld) = self.withheld(cluster, groups) {
            format!("machines of cluster {id}: {withheld}")
        } else if let Some(worker) = workers().find(delayed) {
            format!("a machine of cluster {id}; the provider says: {}", worker.hint)
        } else if job.tasks[name].lane.is_some() {
            format!("machines of cluster {id}: {}", self.nothing_left(job, name))
        } else {
            format!("cluster {id}, which is to have no machines: its DesiredVMCount is 0")
        }
    }

    /// How many tasks come before this one on its cluster.
    fn place_in_queue(&self, pool: &Pool, turn: &Turn) -> usize {
        let Some(queue) = self.queues.get(pool) else { return 0 };
        queue.range(..turn.clone()).take(PLACE_MAX).count()
    }
}

/// `1 machine`, `2 machines`.
fn count(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn is_ready(task: &Task) -> bool {
    matches!(task.state, JobState::Waiting | JobState::Running) && task.blocked_by == 0
}

fn why_blocked(job: &Job) -> String {
    let open = |name: &TaskName| !job.tasks[name].state.is_final();
    let blocked = job.tasks.iter().find(|(name, task)| open(name) && task.blocked_by > 0);
    let Some((name, _)) = blocked else { return "the job is about to end".to_owned() };
    let before: Vec<_> = job
        .spec
        .dependencies
        .iter()
        .filter(|(before, after)| after.contains(name) && open(before))
        .map(|(before, _)| format!("`{before}`"))
        .collect();
    format!("task `{name}` waits for {}", before.join(", "))
}
