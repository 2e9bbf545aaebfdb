//! Accounts that compete for the places of a full host.
//!
//! Quotas bound each account; together they may promise more machines than there are places. Then:
//!
//! - A place that becomes free goes to the account that has the fewest machines; within it to
//!   the job with the highest priority, then to the oldest. Priorities of different accounts are
//!   not compared. Machines that nobody has work for come last.
//! - When a machine with work finds no place and another account has at least two machines more,
//!   one of those that follow that account's tasks (automatic clusters, lanes) leaves: it takes
//!   nothing new and goes when its runs have ended. No run is cut short for a share.
//! - A new machine of an account does not ask while one of an account with fewer machines waits.
//!
//! So accounts with enough work come to the same number of machines, give or take one, as fast as
//! runs end; fixed clusters keep what their owner asked for.

use super::Draft;
use crate::{
    cluster::{Cluster, Group, Worker},
    lanes::Pool,
    world::Crowded,
};
use gristmill_model::{
    AccountId, Event, GroupName, JobId, ReclaimCause, Timestamp, WorkerId, WorkerState,
    event::Purpose, spec::Resource,
};
use std::{cmp::Reverse, sync::Arc};

/// Why a machine leaves for another account.
const SHARED: &str = "another account has fewer machines and waits";

/// A machine's place in the line for room; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_spot: bool,
    /// Whether nobody has work for it.
    idle: bool,
    /// How many machines its account has.
    present: u32,
    turn: Option<(Reverse<u16>, JobId)>,
    created: Timestamp,
    worker: WorkerId,
}

impl Draft<'_> {
    /// The machine that comes first of those that wait for room.
    pub(super) fn first_in_line(&self) -> Option<WorkerId> {
        self.first_rank().map(|rank| rank.worker)
    }

    fn first_rank(&self) -> Option<Rank> {
        let first =
            |(pool, set): (&Pool, &imbl::OrdSet<Crowded>)| Some(self.rank(pool, *set.get_min()?));
        self.world.crowded.iter().filter_map(first).min()
    }

    fn rank(&self, pool: &Pool, (is_spot, created, worker): Crowded) -> Rank {
        let turn = self.world.first_turn(pool).map(|turn| (turn.priority, turn.job));
        let account = self.world.cluster_of(pool.cluster).account;
        let present = self.world.account(account).present;
        Rank { is_spot, idle: turn.is_none(), present, turn, created, worker }
    }

    /// Whether a machine of an account that has fewer waits for room, while this one was not
    /// asked for yet.
    pub(super) fn others_come_first(&self, id: WorkerId) -> bool {
        let Some(first) = self.first_rank() else { return false };
        let worker = self.world.worker_of(id);
        let mut mine = self.rank(&worker.pool(), (worker.is_spot, worker.created, id));
        // It is counted already, as one that is asked for.
        mine.present -= 1;
        (first.is_spot, first.idle, first.present) < (mine.is_spot, mine.idle, mine.present)
    }

    /// A new machine stands in line for room, behind others.
    pub(super) fn queue_up(&mut self, worker: WorkerId) {
        let known = self.world.worker_of(worker);
        let (generation, wait) =
            (known.generation, self.world.options.back_off(1 + known.failures));
        self.emit(Event::WorkerDelayed {
            worker,
            generation,
            reason: SHARED.to_owned(),
            again_at: self.now.after(wait),
            failed: None,
            not_for_room: false,
            not_made: false,
        });
    }

    /// A machine with work found no room: one of an account that has more may have to leave.
    pub(super) fn share_places(&mut self, needy: &Worker) {
        if self.world.first_turn(&needy.pool()).is_none() {
            return;
        }
        let account = self.world.cluster_of(needy.cluster).account;
        let coming = self.world.leaving.len() as u32;
        let fair = self.world.account(account).present + coming + 1;
        let mut others: Vec<_> =
            self.world.accounts.keys().map(|id| (self.staying(*id), *id)).collect();
        others.sort_unstable_by_key(|(staying, id)| (Reverse(*staying), *id));
        let mut rich = others.into_iter().take_while(|(staying, _)| *staying > fair);
        if let Some(victim) = rich.find_map(|(_, id)| self.most_dispensable_of(id)) {
            self.ask_to_leave(victim);
        }
    }

    /// How many machines of an account are there and not leaving.
    fn staying(&self, account: AccountId) -> u32 {
        let leaving = self.world.leaving.iter().map(|id| self.world.worker_of(*id).cluster);
        let leaving = leaving.filter(|id| self.world.cluster_of(*id).account == account).count();
        self.world.account(account).present.saturating_sub(leaving as u32)
    }

    /// Of the machines of an account that follow its tasks, the one whose loss hurts least.
    fn most_dispensable_of(&self, account: AccountId) -> Option<WorkerId> {
        let clusters = self.world.clusters_of(account, None).filter(|it| !it.deleting);
        let groups = clusters.flat_map(|it| it.groups.iter().map(move |entry| (it, entry)));
        let follows = |(cluster, (name, group)): &(&Cluster, (&GroupName, &Group))| {
            let made_for_tasks = cluster.purpose != Purpose::Fixed || group.lane.is_some();
            made_for_tasks && cluster.shape_of(name).resource != Resource::PrePaid
        };
        let workers = groups.filter(follows).flat_map(|(_, (_, group))| &group.workers);
        let workers = workers.map(|id| self.world.worker_of(*id)).filter(|it| {
            matches!(it.state, WorkerState::Starting | WorkerState::Running) && it.notice.is_none()
        });
        let rank = |it: &Arc<Worker>| (it.state, it.used(), Reverse(it.created), it.id);
        workers.map(rank).min().map(|(.., id)| id)
    }

    fn ask_to_leave(&mut self, id: WorkerId) {
        let worker = Arc::clone(self.world.worker_of(id));
        match worker.state {
            WorkerState::Running => {
                self.give_notice(id, ReclaimCause::Share, SHARED);
                self.eased.insert(id);
            }
            _ => self.leave(&worker),
        }
    }

    /// Machines that were only waiting for their last run go.
    pub(super) fn let_leavers_go(&mut self) {
        if self.world.leaving.is_empty() {
            return;
        }
        while let Some(id) = self.eased.pop_first() {
            let Some(worker) = self.world.workers.get(&id).cloned() else { continue };
            if worker.is_leaving() && worker.runs.is_empty() {
                self.leave(&worker);
            }
        }
    }

    fn leave(&mut self, worker: &Worker) {
        self.send_away(worker.id, SHARED);
        self.fit_group(worker.cluster, &worker.group);
    }
}
