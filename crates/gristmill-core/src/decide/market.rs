//! What the operator sets, and spot machines that are taken back.
//!
//! A spot machine whose limit is passed is told so and takes nothing new; after
//! `Options::spot_notice` it goes, and its runs are put back like those of a lost machine: no
//! retry is used up. When the price falls before that, it stays. Machines that do not run yet go
//! at once. While the price is too high the group wants no machines; it asks again when it falls.
//!
//! A machine on demand (or prepaid) that finds no room may have the place of a spot machine: one
//! for each, the one with the fewest runs. While such machines wait, spot machines do not ask.

use super::Draft;
use crate::cluster::{Cluster, Worker};
use gristmill_model::{
    AccountId, Answer, Event, PriceMilli, Quota, ReclaimCause, Timestamp, WorkerId, WorkerState,
    catalogue::InstanceTypeName,
};
use std::{cmp::Reverse, sync::Arc};

/// Why a spot machine goes or does not ask while machines on demand wait.
const NEEDED: &str = "its place is needed for machines on demand";

impl Draft<'_> {
    pub(super) fn set_spot_price(
        &mut self,
        instance_type: &InstanceTypeName,
        price: Option<PriceMilli>,
    ) -> Answer {
        if self.world.market.prices.get(instance_type).copied() == price {
            return Answer::Done;
        }
        let (instance_type, at) = (instance_type.clone(), self.now);
        self.emit(Event::SpotPriceSet { instance_type, price, at });
        let spot: Vec<_> = self.world.spot.iter().copied().collect();
        for worker in spot {
            self.review_price(worker);
        }
        let is_open = |it: &&Arc<Cluster>| !it.deleting && it.groups.keys().any(|g| it.is_spot(g));
        let clusters: Vec<_> =
            self.world.clusters.values().filter(is_open).map(|cluster| cluster.id).collect();
        clusters.into_iter().for_each(|cluster| self.fit_cluster(cluster));
        Answer::Done
    }

    /// Tells a spot machine that it goes, or that it stays after all.
    fn review_price(&mut self, id: WorkerId) {
        let worker = Arc::clone(self.world.worker_of(id));
        let dear = self.world.worker_overpriced(&worker);
        let told = worker.notice.map(|notice| notice.cause);
        match (worker.state, dear, told) {
            (WorkerState::Deleting, ..) => {}
            (WorkerState::Pending | WorkerState::Starting, Some(reason), _) => {
                self.send_away(id, &reason);
            }
            (WorkerState::Running, Some(reason), None) => {
                self.give_notice(id, ReclaimCause::Price, &reason);
            }
            (_, None, Some(ReclaimCause::Price)) => {
                self.emit(Event::NoticeWithdrawn { worker: id, at: self.now });
            }
            _ => {}
        }
    }

    pub(super) fn give_notice(&mut self, worker: WorkerId, cause: ReclaimCause, reason: &str) {
        let (reason, at) = (reason.to_owned(), self.now);
        let until = at.after(self.world.options.spot_notice);
        self.emit(Event::WorkerNoticed { worker, cause, reason, until, at });
    }

    /// A noticed machine's time is over.
    pub(super) fn reclaim(&mut self, worker: &Worker) {
        let why = worker.hint.strip_prefix("to be reclaimed: ").unwrap_or(&worker.hint);
        self.lose(worker, &format!("reclaimed: {why}"));
    }

    /// A machine that is not on the spot market found no room: one that is may have to go.
    /// Whether one is going.
    pub(super) fn make_room(&mut self) -> bool {
        let world = &self.world;
        let spot = || world.spot.iter().map(|id| world.worker_of(*id));
        let goes = |it: &&Arc<Worker>| it.notice.is_some() || it.state == WorkerState::Deleting;
        let needy = |(spot, ..): &&(bool, Timestamp, WorkerId)| !spot;
        let mut needy = world.crowded.values().flat_map(|set| set.iter().filter(needy));
        // Of those that wait no more are counted than there are going.
        if needy.nth(spot().filter(goes).count()).is_none() {
            return true;
        }
        let there = |it: &&Arc<Worker>| {
            matches!(it.state, WorkerState::Starting | WorkerState::Running) && it.notice.is_none()
        };
        let rank = |it: &Arc<Worker>| (it.state, it.used(), Reverse(it.created), it.id);
        let Some((state, .., id)) = spot().filter(there).map(rank).min() else { return false };
        match state {
            WorkerState::Running => self.give_notice(id, ReclaimCause::Capacity, NEEDED),
            _ => {
                let worker = Arc::clone(self.world.worker_of(id));
                self.send_away(id, NEEDED);
                self.fit_group(worker.cluster, &worker.group);
            }
        }
        true
    }

    /// Why a spot machine does not ask for a place now.
    pub(super) fn yields(&self, is_spot: bool) -> Option<&'static str> {
        let mut first = self.world.crowded.values().filter_map(|set| set.get_min());
        (is_spot && first.any(|(spot, ..)| !spot)).then_some(NEEDED)
    }

    pub(super) fn set_quota(&mut self, account: AccountId, quota: Quota) -> Answer {
        let present = self.world.market.quotas.get(&account).copied().unwrap_or_default();
        if present != quota {
            self.emit(Event::QuotaSet { account, quota, at: self.now });
        }
        Answer::Done
    }
}
