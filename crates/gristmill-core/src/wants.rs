//! Who wants machines, and how many an account may still have.
//!
//! Tasks with automatic clusters and lanes of attached tasks that have fewer machines than they
//! need stand in a line, one for each account and purse: the task with the highest priority
//! first. Nobody passes the first in line for the quota, or small machines would take core by
//! core what a large one waits for. A prepaid machine is of a type, so whoever waits for
//! another type is passed.
//!
//! Nothing is changed here. Start at [`World::first_want`]; who serves the line is
//! `decide::fill`.

use crate::{
    cluster::{Cluster, Group},
    lanes::{Lane, Pool},
    market::Purse,
    world::{Turn, World},
};
use gristmill_model::{
    AccountId, ClusterId, GroupName, Timestamp, catalogue::InstanceTypeName, event::Purpose,
};
use std::collections::BTreeMap;

/// Who wants more machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Want {
    /// A task with an automatic cluster.
    Task(Turn),
    /// Tasks that are attached to a cluster.
    Lane(Pool),
}

/// A group of prepaid machines.
pub(crate) struct PrepaidGroup {
    /// The oldest cluster comes first.
    created: Timestamp,
    pub(crate) cluster: ClusterId,
    pub(crate) group: GroupName,
    pub(crate) kind: InstanceTypeName,
    pub(crate) size: u32,
    /// Whether it is a user's, who takes whatever is left.
    pub(crate) greedy: bool,
    /// How many of its machines have work.
    pub(crate) busy: u32,
}

impl World {
    /// Who comes first of those that want machines out of a purse, and how many these may be;
    /// never 0.
    pub(crate) fn first_want(&self, account: AccountId, purse: Purse) -> Option<(Want, u32)> {
        match purse {
            // No machine has less than a core.
            Purse::Quota if self.quota_left(account, 1) == 0 => None,
            Purse::Quota => {
                let (first, kind) = self.first_in_line(account, purse, |_| true)?;
                let left = self.quota_left(account, self.options.cores_of(kind.as_ref()));
                (left > 0).then_some((first, left))
            }
            Purse::PrePaid => {
                self.market.prepaid_of(account).next()?;
                self.first_in_line(account, purse, |_| true)?;
                let left = self.prepaid_left(account);
                let some_left = |kind: Option<&_>| kind.is_some_and(|kind| left.contains_key(kind));
                let (first, kind) = self.first_in_line(account, purse, some_left)?;
                Some((first, left[&kind?]))
            }
        }
    }

    /// Whether anybody wants machines of an account, or may come to.
    pub(crate) fn wants_machines(&self, account: AccountId) -> bool {
        let starves = |purse| self.starved.contains_key(&(account, purse));
        let starves = starves(Purse::Quota) || starves(Purse::PrePaid);
        starves || self.lanes_of(account).next().is_some()
    }

    /// The first in line whose machines are of a type that will do.
    fn first_in_line(
        &self,
        account: AccountId,
        purse: Purse,
        will_do: impl Fn(Option<&InstanceTypeName>) -> bool,
    ) -> Option<(Want, Option<InstanceTypeName>)> {
        let starved = self.starved.get(&(account, purse)).into_iter().flatten();
        let mut starved = starved.map(|turn| (turn, self.type_for(turn)));
        let task = starved.find(|(_, kind)| will_do(kind.as_ref()));
        let lanes = self.lanes_of(account).filter(|(_, lane)| lane.unplaced > 0);
        let lanes = lanes.filter(|(pool, _)| pool.purse() == Some(purse));
        let lanes = lanes.filter(|(pool, lane)| self.is_narrow(pool, lane));
        let lanes = lanes.filter_map(|(pool, _)| Some((self.first_turn(pool)?, pool)));
        let lanes = lanes.map(|(turn, pool)| (turn, pool, self.type_of(pool)));
        let lane = lanes.filter(|(.., kind)| will_do(kind.as_ref())).min();
        match (task, lane) {
            (Some((turn, kind)), Some((first, ..))) if turn < first => {
                Some((Want::Task(turn.clone()), kind))
            }
            (_, Some((_, pool, kind))) => Some((Want::Lane(pool.clone()), kind)),
            (Some((turn, kind)), None) => Some((Want::Task(turn.clone()), kind)),
            (None, None) => None,
        }
    }

    fn is_narrow(&self, pool: &Pool, lane: &Lane) -> bool {
        self.lane_size(pool, lane) < self.lane_wanted(pool, lane)
    }

    /// The type of the machines of a task's automatic cluster: what its owner made of the
    /// cluster, once there is one.
    fn type_for(&self, turn: &Turn) -> Option<InstanceTypeName> {
        let job = self.job_of(turn.job);
        let kind = match job.tasks[&turn.task].auto_cluster {
            Some(cluster) => {
                let cluster = self.cluster_of(cluster);
                cluster.shape_of(cluster.only_group().0).instance_type
            }
            None => job.spec.tasks[&turn.task].placement.shape()?.instance_type.clone(),
        };
        kind.or_else(|| self.options.default_type.clone())
    }

    /// How many more machines of so many cores the quota has room for.
    fn quota_left(&self, account: AccountId, cores: u64) -> u32 {
        let (used, may) = (self.account(account), self.allowance(account));
        let machines = may.machines.saturating_sub(used.machines.into());
        let by_cores = may.cores.saturating_sub(used.cores) / cores.max(1);
        u32::try_from(machines.min(by_cores)).unwrap_or(u32::MAX)
    }

    /// How many prepaid machines of each type those in line may have: what nobody has and what
    /// is idle in clusters of the user. No type has 0.
    fn prepaid_left(&self, account: AccountId) -> BTreeMap<InstanceTypeName, u32> {
        let mut left: BTreeMap<_, _> =
            self.market.prepaid_of(account).map(|(kind, there)| (kind.clone(), there)).collect();
        for group in self.prepaid_groups(account) {
            if let Some(left) = left.get_mut(&group.kind) {
                let taken = if group.greedy { group.busy } else { group.size };
                *left = left.saturating_sub(taken);
            }
        }
        left.retain(|_, left| *left > 0);
        left
    }

    /// The groups of prepaid machines of an account, those of the oldest cluster first.
    pub(crate) fn prepaid_groups(&self, account: AccountId) -> Vec<PrepaidGroup> {
        let clusters = self.clusters_of(account, None).filter(|it| !it.deleting);
        let groups = clusters.flat_map(|it| it.groups.iter().map(move |entry| (it, entry)));
        let mut found: Vec<_> = groups
            .filter_map(|(cluster, (name, group))| self.prepaid_group(cluster, name, group))
            .collect();
        found.sort_by_key(|it| (it.created, it.cluster, it.group.clone()));
        found
    }

    fn prepaid_group(
        &self,
        cluster: &Cluster,
        name: &GroupName,
        group: &Group,
    ) -> Option<PrepaidGroup> {
        let shape = cluster.shape_of(name);
        if Purse::of(&shape.resource) != Purse::PrePaid {
            return None;
        }
        let workers = group.workers.iter().map(|id| self.worker_of(*id));
        Some(PrepaidGroup {
            created: cluster.created,
            cluster: cluster.id,
            group: name.clone(),
            kind: shape.instance_type.or_else(|| self.options.default_type.clone())?,
            size: group.desired,
            greedy: cluster.purpose == Purpose::Fixed && group.lane.is_none(),
            busy: workers.filter(|worker| worker.used() > 0).count() as u32,
        })
    }
}

impl Pool {
    /// Where the machines of a lane are taken from.
    fn purse(&self) -> Option<Purse> {
        self.lane.as_ref().map(|lane| Purse::of(&lane.resource))
    }
}
