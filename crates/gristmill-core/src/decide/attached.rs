//! Lanes: machines that a cluster has for tasks attached to it.
//!
//! A lane is widened as soon as instances wait for it, within the account's quota and the bound
//! on automatic machines; whose turn it is says `fill`. It is narrowed in two ways: what was asked
//! for and is not there yet is returned as soon as it is not needed, and nothing is asked for in
//! its place; a machine goes when it had nothing to do for `Options::attached_idle`, so a lane
//! does not flap between one short job and the next.
//! What a lane should have is [`World::lane_wanted`].
//!
//! [`World::lane_wanted`]: crate::World::lane_wanted

use super::Draft;
use crate::{
    cluster::{Cluster, Worker},
    lanes::Pool,
};
use gristmill_model::{AccountId, ClusterId, Event, GroupName};

impl Draft<'_> {
    /// Gives a lane that is too narrow at most `left` more machines.
    pub(super) fn widen(&mut self, account: AccountId, pool: &Pool, left: u32) {
        let lane = self.world.lane(account, pool).expect("somebody waits for it").clone();
        let size = self.world.lane_size(pool, &lane);
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

    /// Each lane of an account returns what has not come and is not needed.
    pub(super) fn narrow_lanes(&mut self, account: AccountId) {
        let lanes = self.world.lanes_of(account);
        let wide = lanes.filter(|(pool, lane)| self.world.lane_surplus(pool, lane) > 0);
        let wide: Vec<_> =
            wide.filter_map(|(pool, lane)| Some((pool.cluster, lane.group.clone()?))).collect();
        for (cluster, group) in wide {
            self.fit_group(cluster, &group);
        }
    }

    /// A lane wants no more than it needs; other groups are as large as their owner says.
    pub(super) fn narrow(&mut self, id: ClusterId, name: &GroupName) {
        let cluster = self.world.cluster_of(id);
        let group = &cluster.groups[name];
        let pool = Pool { cluster: id, lane: group.lane.clone() };
        let lane = self.world.lane(cluster.account, &pool);
        let less = lane.map_or(0, |lane| self.world.lane_surplus(&pool, lane));
        if less > 0 {
            let (group, desired, at) = (name.clone(), group.desired - less, self.now);
            self.emit(Event::GroupResized { cluster: id, group, desired, at });
        }
    }

    /// A machine of a lane had nothing to do for long enough.
    pub(super) fn release_idle(&mut self, worker: &Worker) {
        let Worker { id, cluster, .. } = *worker;
        let group = worker.group.clone();
        let size = self.world.cluster_of(cluster).groups[&group].desired;
        let (desired, at) = (size.saturating_sub(1), self.now);
        self.emit(Event::GroupResized { cluster, group, desired, at });
        self.send_away(id, "it had nothing to do");
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
