//! Pools: which machines of a cluster serve which of its tasks.
//!
//! A cluster's own groups, as its owner described them, are one pool; tasks that name the cluster
//! run there. Tasks that are *attached* to the cluster bring a type, an image and a resource type:
//! tasks with the same three share a lane, a pool of machines made for them in a group
//! `attached-N`. A lane is as wide as its tasks need and the account may, and goes when idle.
//!
//! ```text
//! task on C          ──> own machines of C
//! task attached to C ──> its lane of C, then own machines of C that look like the lane's
//! ```
//!
//! Invariants
//! - What a cluster's owner asked for is neither grown nor shrunk by attached tasks.
//! - A lane has a group exactly while it has machines or wants some.
//!
//! Start at [`Pool`] and [`World::lane_wanted`]; who widens and narrows is `decide::fill`.

use crate::{
    cluster::{Cluster, Group, MachineShape},
    world::{Turn, World},
};
use gristmill_model::{
    AccountId, ClusterId, GroupName, GroupSpec, catalogue::InstanceTypeName, spec::AutoCluster,
};
use std::sync::Arc;

/// Machines of a cluster that serve the same tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pool {
    pub(crate) cluster: ClusterId,
    /// What the attached tasks ask for; `None`: the cluster's own machines.
    pub(crate) lane: Option<Arc<MachineShape>>,
}

/// What a lane has and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lane {
    /// Instances that no machine has yet.
    pub(crate) unplaced: u64,
    /// Slots of its machines that hold a run.
    pub(crate) busy: u64,
    /// Its group, while it has one.
    pub(crate) group: Option<GroupName>,
}

impl Pool {
    /// The cluster's own machines.
    pub(crate) fn own(cluster: ClusterId) -> Self {
        Self { cluster, lane: None }
    }
}

impl MachineShape {
    /// What a task that is attached to a cluster asks for.
    pub(crate) fn attached(shape: &AutoCluster) -> Self {
        Self {
            instance_type: shape.instance_type.clone(),
            image: shape.ecs_image.clone().or_else(|| shape.image.clone()),
            resource: shape.resource.clone(),
        }
    }

    /// The description of a group of such machines that has none yet.
    pub(crate) fn group(&self) -> GroupSpec {
        GroupSpec {
            desired: 0,
            instance_type: self.instance_type.clone(),
            image: self.image.clone(),
            resource: self.resource.clone(),
            host_name_prefix: String::new(),
            mode: String::new(),
        }
    }
}

impl From<&GroupSpec> for MachineShape {
    fn from(group: &GroupSpec) -> Self {
        Self {
            instance_type: group.instance_type.clone(),
            image: group.image.clone(),
            resource: group.resource.clone(),
        }
    }
}

impl Cluster {
    /// The groups its owner described.
    pub(crate) fn own_groups(&self) -> impl Iterator<Item = (&GroupName, &Group)> {
        self.groups.iter().filter(|(_, group)| group.lane.is_none())
    }

    /// The group of an automatic cluster, and how many machines it is to have.
    pub(crate) fn only_group(&self) -> (&GroupName, u32) {
        let (name, group) =
            self.own_groups().next().expect("an automatic cluster has one group of its own");
        (name, group.desired)
    }

    /// The lowest `attached-N` that is no group yet.
    pub(crate) fn next_lane_name(&self) -> GroupName {
        let name = |number: u32| format!("attached-{number}").parse().expect("a legal name");
        let mut names = (1..).map(name);
        names.find(|name| !self.groups.contains_key(name)).expect("there are numbers enough")
    }
}

impl World {
    /// The lanes of an account, by cluster.
    pub(crate) fn lanes_of(&self, account: AccountId) -> impl Iterator<Item = (&Pool, &Lane)> {
        let first = (account, Pool::own(ClusterId(0)));
        let rest = self.lanes.range(first..);
        rest.take_while(move |((owner, _), _)| *owner == account)
            .map(|((_, pool), lane)| (pool, lane))
    }

    /// The lane of a pool; none: it has no machines and nobody waits for it.
    pub(crate) fn lane(&self, account: AccountId, pool: &Pool) -> Option<&Lane> {
        self.lanes.get(&(account, pool.clone()))
    }

    /// The door to a lane. One that has and wants nothing is not kept.
    pub(crate) fn change_lane(
        &mut self,
        account: AccountId,
        pool: &Pool,
        change: impl FnOnce(&mut Lane),
    ) {
        let key = (account, pool.clone());
        let mut lane = self.lanes.get(&key).cloned().unwrap_or_default();
        change(&mut lane);
        if lane == Lane::default() {
            self.lanes.remove(&key);
        } else {
            self.lanes.insert(key, lane);
        }
    }

    /// Puts the lanes of a cluster that comes out of a checkpoint into the index.
    pub(crate) fn note_lanes(&mut self, cluster: &Cluster) {
        for (name, group) in &cluster.groups {
            if let Some(lane) = group.lane.clone() {
                let pool = Pool { cluster: cluster.id, lane: Some(lane) };
                self.change_lane(cluster.account, &pool, |lane| lane.group = Some(name.clone()));
            }
        }
    }

    /// The type of a lane's machines.
    pub(crate) fn type_of(&self, pool: &Pool) -> Option<InstanceTypeName> {
        let named = pool.lane.as_ref().and_then(|lane| lane.instance_type.as_ref());
        let cluster = self.clusters.get(&pool.cluster);
        let kind = named.or_else(|| cluster.and_then(|it| it.spec.instance_type.as_ref()));
        kind.or(self.options.default_type.as_ref()).cloned()
    }

    /// Whether a lane's tasks may run on the cluster's own machines: these all have the type and
    /// the image that the tasks name. What a task does not name it does not care about.
    pub(crate) fn shares_own(&self, pool: &Pool) -> bool {
        let Some(lane) = &pool.lane else { return true };
        let Some(cluster) = self.clusters.get(&pool.cluster) else { return false };
        let looks_alike = |(name, _): (&GroupName, &Group)| {
            let own = cluster.shape_of(name);
            let kind = own.instance_type.as_ref().or(self.options.default_type.as_ref());
            let same_type = lane.instance_type.is_none() || lane.instance_type.as_ref() == kind;
            same_type && (lane.image.is_none() || lane.image == own.image)
        };
        cluster.own_groups().all(looks_alike)
    }

    /// How many machines a lane should have, quota aside: enough for what waits, less what the
    /// cluster's own machines will take, and for what it runs.
    pub(crate) fn lane_wanted(&self, pool: &Pool, lane: &Lane) -> u32 {
        let Some(cluster) = self.clusters.get(&pool.cluster).filter(|it| !it.deleting) else {
            return 0;
        };
        let slots = self.options.slots_per_worker;
        let waits = lane.unplaced.saturating_sub(self.own_room(cluster, pool, lane.unplaced));
        let machines = (waits + lane.busy).div_ceil(u64::from(slots.max(1)));
        let others = cluster.groups.values().filter(|it| it.lane.is_some() && it.lane != pool.lane);
        let others: u32 = others.map(|group| group.desired).sum();
        let most = self.options.limits.auto_cluster_machines_max.saturating_sub(others);
        u32::try_from(machines).unwrap_or(u32::MAX).min(most)
    }

    /// How many machines a lane is to have by now.
    pub(crate) fn lane_size(&self, pool: &Pool, lane: &Lane) -> u32 {
        let group = lane.group.as_ref();
        group.map_or(0, |name| self.cluster_of(pool.cluster).groups[name].desired)
    }

    /// How many machines a lane is to have that have not come and that nobody needs. Those of a
    /// cluster that is being deleted go with it.
    pub(crate) fn lane_surplus(&self, pool: &Pool, lane: &Lane) -> u32 {
        let cluster = self.clusters.get(&pool.cluster).filter(|it| !it.deleting);
        let group = cluster.zip(lane.group.as_ref()).map(|(it, name)| &it.groups[name]);
        let Some(group) = group else { return 0 };
        match group.desired.saturating_sub(group.alive()) + group.metrics.pending {
            // Most often: nothing more is asked.
            0 => 0,
            not_come => group.desired.saturating_sub(self.lane_wanted(pool, lane)).min(not_come),
        }
    }

    /// How many instances of a lane the cluster's own machines take soon: they have room, or are
    /// coming, and no other task waits for them. Beyond `enough` nobody counts.
    fn own_room(&self, cluster: &Cluster, pool: &Pool, enough: u64) -> u64 {
        if enough == 0 || !self.shares_own(pool) {
            return 0;
        }
        let (own, slots) = (Pool::own(pool.cluster), self.options.slots_per_worker);
        let coming: u32 = cluster.own_groups().map(|(_, group)| group.metrics.starting).sum();
        let free = self.free.get(&own).into_iter().flatten();
        let free = free.map(|(used, _)| slots.saturating_sub(*used)).take_while(|room| *room > 0);
        let all = std::iter::once(coming.saturating_mul(slots)).chain(free);
        let others = self.queues.get(&own).into_iter().flatten();
        let others = others.map(|turn| self.jobs[&turn.job].tasks[&turn.task].waiting.len());
        surplus(all.map(u64::from), others.map(u64::from), enough)
    }

    /// The task of a pool whose turn it is.
    pub(crate) fn first_turn(&self, pool: &Pool) -> Option<&Turn> {
        self.queues.get(pool)?.get_min()
    }
}

/// What is left of some room when others have taken theirs, at most `enough`. Looks at no more of
/// either than it must.
fn surplus(
    room: impl Iterator<Item = u64>,
    mut others: impl Iterator<Item = u64>,
    enough: u64,
) -> u64 {
    let (mut left, mut wanted) = (0, 0);
    for more in room {
        left += more;
        while left >= enough + wanted {
            match others.next() {
                Some(other) => wanted += other,
                None => return enough,
            }
        }
    }
    for other in others {
        if wanted >= left {
            break;
        }
        wanted += other;
    }
    left.saturating_sub(wanted)
}

#[cfg(test)]
mod tests {
    use super::surplus;

    #[test]
    fn room_is_counted_as_far_as_it_must_be() {
        let cases: [(&[u64], &[u64], u64, u64); 6] = [
            (&[], &[], 3, 0),
            (&[2, 2], &[], 3, 3),
            (&[2, 2], &[1], 9, 3),
            (&[2, 2], &[1, 2, 4], 9, 0),
            (&[5, 5], &[1, 2], 4, 4),
            (&[5, 5], &[9], 4, 1),
        ];
        for (room, others, enough, left) in cases {
            let found = surplus(room.iter().copied(), others.iter().copied(), enough);
            assert_eq!(found, left, "{room:?} less {others:?}, at most {enough}");
        }
        let endless = std::iter::repeat(1);
        assert_eq!(surplus(endless.clone(), std::iter::empty(), 7), 7);
        assert_eq!(surplus([4].into_iter(), endless, 9), 0);
    }
}
