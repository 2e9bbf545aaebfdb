//! Automatic clusters: made for one task, as large as its open instances and the quota allow,
//! topped up when something becomes free, the task with the highest priority first. Tasks that
//! are attached to clusters stand in the same line: their lanes are in `attached`.

use super::Draft;
use crate::{lanes::Pool, market::Purse, world::Turn};
use gristmill_model::{
    AccountId, ClusterId, ClusterSpec, Event, GroupName, GroupSpec, JobName, Placement, TaskName,
    catalogue::InstanceTypeName, event::Purpose, spec::AutoCluster,
};
use std::{collections::BTreeMap, sync::Arc};

/// The longest name of a cluster on the wire.
const CLUSTER_NAME_MAX: usize = 64;

/// Who wants more machines.
enum Want {
    /// A task with an automatic cluster.
    Task(Turn),
    /// Tasks that are attached to a cluster.
    Lane(Pool),
}

impl Draft<'_> {
    /// Gives the machines that are left to automatic clusters that want them.
    pub(super) fn fill_accounts(&mut self) {
        while let Some(account) = self.accounts.pop_first() {
            self.narrow_lanes(account);
            for purse in [Purse::Quota, Purse::PrePaid] {
                while let Some(want) = self.first_want(account, purse) {
                    let left = self.machines_left(account, purse, &want);
                    match want {
                        _ if left == 0 => break,
                        Want::Task(turn) => self.feed(account, &turn, left),
                        Want::Lane(pool) => self.widen(account, &pool, left),
                    }
                }
            }
            self.fit_prepaid(account);
        }
    }

    fn next_starved(&self, account: AccountId, purse: Purse) -> Option<Turn> {
        self.world.starved.get(&(account, purse))?.get_min().cloned()
    }

    /// Who comes first of those that want machines of an account.
    fn first_want(&self, account: AccountId, purse: Purse) -> Option<Want> {
        match (self.next_starved(account, purse), self.next_narrow_lane(account, purse)) {
            (Some(task), Some((lane, _))) if task < lane => Some(Want::Task(task)),
            (_, Some((_, pool))) => Some(Want::Lane(pool)),
            (Some(task), None) => Some(Want::Task(task)),
            (None, None) => None,
        }
    }

    /// How many more machines an account may have for a task or a lane.
    fn machines_left(&self, account: AccountId, purse: Purse, want: &Want) -> u32 {
        let kind = match want {
            Want::Task(turn) => {
                let shape = self.world.job_of(turn.job).spec.tasks[&turn.task].placement.shape();
                let kind = shape.and_then(|shape| shape.instance_type.clone());
                kind.or_else(|| self.world.options.default_type.clone())
            }
            Want::Lane(pool) => self.world.type_of(pool),
        };
        match purse {
            Purse::PrePaid => kind.map_or(0, |kind| self.prepaid_left(account, &kind)),
            Purse::Quota => self.quota_left(account, kind.as_ref()),
        }
    }

    /// How many more machines of a type the quota has room for.
    pub(super) fn quota_left(&self, account: AccountId, kind: Option<&InstanceTypeName>) -> u32 {
        let (used, may) = (self.world.account(account), self.world.allowance(account));
        let machines = may.machines.saturating_sub(used.machines.into());
        let cores = may.cores.saturating_sub(used.cores);
        let by_cores = cores / self.world.options.cores_of(kind).max(1);
        u32::try_from(machines.min(by_cores)).unwrap_or(u32::MAX)
    }

    /// Makes or tops up the automatic cluster of a task with at most `left` machines.
    fn feed(&mut self, account: AccountId, turn: &Turn, left: u32) {
        let task = &self.world.job_of(turn.job).tasks[&turn.task];
        // Never 0, or this would be asked for ever: who is starved is short and has something
        // waiting, or has no cluster.
        let more = task.machines_short.min(task.counts.waiting).min(left);
        if let Some(cluster) = task.auto_cluster {
            let (group, size) = self.only_group(cluster);
            self.resize_group(cluster, &group, size + more);
            return;
        }
        let size = self.world.machines_wanted(turn.job, &turn.task).min(left);
        let spec = auto_cluster_spec(self.world.job_of(turn.job), &turn.task, size);
        let cluster = self.ids.cluster();
        let purpose = Purpose::Task { job: turn.job, task: turn.task.clone() };
        let (spec, token, at) = (Arc::new(spec), None, self.now);
        self.emit(Event::ClusterCreated { cluster, account, spec, purpose, token, at });
        self.fit_cluster(cluster);
    }

    fn only_group(&self, cluster: ClusterId) -> (GroupName, u32) {
        let mut groups = self.world.cluster_of(cluster).own_groups();
        let (name, group) = groups.next().expect("an automatic cluster has one group of its own");
        (name.clone(), group.desired)
    }
}

fn auto_cluster_spec(job: &crate::job::Job, task: &TaskName, size: u32) -> ClusterSpec {
    let Placement::Auto(shape) = &job.spec.tasks[task].placement else {
        unreachable!("only a task with an automatic cluster waits for one");
    };
    let mut name = format!("auto-{task}");
    name.truncate(CLUSTER_NAME_MAX);
    ClusterSpec {
        name: name.parse::<JobName>().expect("a task's name has the alphabet of a cluster's"),
        description: format!("made for task `{task}` of {}", job.id),
        image: None,
        instance_type: shape.instance_type.clone(),
        groups: [("group".parse().expect("a legal name"), auto_group(shape, size))].into(),
        user_data: shape.user_data.clone(),
        env: BTreeMap::new(),
        bootstrap: String::new(),
        configs: shape.configs.clone(),
        notification: None,
        extra: BTreeMap::new(),
    }
}

fn auto_group(shape: &AutoCluster, size: u32) -> GroupSpec {
    GroupSpec {
        desired: size,
        instance_type: shape.instance_type.clone(),
        image: shape.ecs_image.clone().or_else(|| shape.image.clone()),
        resource: shape.resource.clone(),
        host_name_prefix: String::new(),
        mode: String::new(),
    }
}
