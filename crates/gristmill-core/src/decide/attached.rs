//! Lanes: machines that a cluster has for tasks attached to it.
//!
//! A lane is widened as soon as instances wait for it, within the account's quota and the bound
//! on automatic machines. It is narrowed in two ways: what was asked for and is not there yet is
//! given back as soon as it is not needed; a machine goes when it had nothing to do for
//! `Options::attached_idle`, so a lane does not flap between one short job and the next.
//! What a lane should have is [`World::lane_wanted`].
//!
//! [`World::lane_wanted`]: crate::World::lane_wanted

use super::Draft;
use crate::{
    cluster::{Cluster, Worker},
    lanes::{Lane, Pool},
    market::Purse,
    world::Turn,
};
use gristmill_model::{AccountId, ClusterId, Event, GroupName};
use std::sync::Arc;

impl Draft<'_> {
    /// Where tasks of an account wait for a wider lane: the one whose task comes first.
    pub(super) fn next_narrow_lane(
        &self,
        account: AccountId,
        purse: Purse,
    ) -> Option<(Turn, Pool)> {
        let lanes = self.world.lanes_of(account).filter(|(pool, lane)| {
            lane.unplaced > 0
                && pool.lane.as_ref().is_some_and(|it| Purse::of(&it.resource) == purse)
                && self.lane_size(pool, lane) < self.world.lane_wanted(pool, lane)
        });
        let first =
            |(pool, _): (&Pool, &Lane)| Some((self.world.first_turn(pool)?.clone(), pool.clone()));
        lanes.filter_map(first).min()
    }

    /// How many machines a lane wants by now.
    fn lane_size(&self, pool: &Pool, lane: &Lane) -> u32 {
        let group = lane.group.as_ref();
        group.map_or(0, |name| self.world.cluster_of(pool.cluster).groups[name].desired)
    }

    /// Gives a lane that is too narrow at most `left` more machines.
    pub(super) fn widen(&mut self, account: AccountId, pool: &Pool, left: u32) {
        let lane = self.world.lane(account, pool).expect("somebody waits for it").clone();
        let size = self.lane_size(pool, &lane);
        let more = self.world.lane_wanted(pool, &lane).saturating_sub(size).min(left);
        let group = lane.group.unwrap_or_else(|| self.open_lane(pool));
        self.resize_group(pool.cluster, &group, size + more);
    }

    fn open_lane(&mut self, pool: &Pool) -> GroupName {
        let group = self.world.cluster_of(pool.cluster).next_lane_name();
        let spec = pool.lane.as_ref().expect("only attached tasks have lanes").group();
        let (cluster, at) = (pool.cluster, self.now);
        self.emit(Event::GroupOpened { cluster, group: group.clone(), spec, at });
        group
    }

    /// Gives back machines that lanes of an account wanted, do not have yet and do not need.
    pub(super) fn narrow_lanes(&mut self, account: AccountId) {
        let lanes: Vec<_> = self
            .world
            .lanes_of(account)
            .filter_map(|(pool, lane)| Some((pool.clone(), lane.group.clone()?)))
            .filter(|(pool, _)| !self.world.cluster_of(pool.cluster).deleting)
            .collect();
        for (pool, name) in lanes {
            let group = &self.world.cluster_of(pool.cluster).groups[&name];
            let size = group.desired;
            let coming = size.saturating_sub(group.alive()) + group.metrics.pending;
            let lane = self.world.lane(account, &pool).expect("it has a group");
            let less = size.saturating_sub(self.world.lane_wanted(&pool, lane)).min(coming);
            if less > 0 {
                self.resize_group(pool.cluster, &name, size - less);
                self.close_empty_lane(pool.cluster, &name);
            }
        }
    }

    /// A machine of a lane had nothing to do for long enough.
    pub(super) fn release_idle(&mut self, worker: &Worker) {
        let Worker { id, cluster, .. } = *worker;
        let group = worker.group.clone();
        let known = Arc::clone(self.world.cluster_of(cluster));
        let (desired, at) = (known.groups[&group].desired.saturating_sub(1), self.now);
        self.emit(Event::GroupResized { cluster, group, desired, at });
        self.send_away(id, "it had nothing to do");
        self.accounts.insert(known.account);
    }

    /// Something changed at a cluster by which its lanes may be too narrow.
    pub(super) fn look_at_lanes(&mut self, cluster: ClusterId) {
        if !self.world.lanes.is_empty() {
            self.accounts.extend(self.world.clusters.get(&cluster).map(|it| it.account));
        }
    }

    /// A lane without machines that wants none is gone.
    pub(super) fn close_empty_lane(&mut self, id: ClusterId, name: &GroupName) {
        let cluster: &Cluster = self.world.cluster_of(id);
        let Some(group) = cluster.groups.get(name).filter(|_| !cluster.deleting) else { return };
        if group.lane.is_some() && group.desired == 0 && group.workers.is_empty() {
            let (group, at) = (name.clone(), self.now);
            self.emit(Event::GroupClosed { cluster: id, group, at });
        }
    }
}
