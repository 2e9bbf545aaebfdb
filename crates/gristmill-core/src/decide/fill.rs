//! Machines for those that follow tasks: automatic clusters and lanes.
//!
//! Everybody who changes what somebody wants, or what may be had, says so by its event:
//! [`Concern::of`] is the one list, and [`Draft::emit`] marks the account. At the end of the step
//! each marked account is looked at once:
//!
//! 1. groups return prepaid machines that are no longer set aside for them;
//! 2. each lane returns, once, what has not come and is not needed ([`World::lane_surplus`]);
//! 3. the line for prepaid machines is served ([`World::first_want`]);
//! 4. users' groups get the prepaid machines that are left;
//! 5. the line for the quota is served.
//!
//! Why it ends. 1, 2 and 4 go over what there is once. A turn of 3 or 5 gives whoever is first in
//! line at least one machine (or the cluster it has not), and nothing that follows a task loses
//! one: what somebody gets of prepaid machines beyond those that nobody has are idle ones of
//! users' groups, and these count as left. So each turn leaves less, and nothing is left when the
//! quota and what is set aside are used up. What is changed here concerns no other account, and
//! this one not again, so the marks that it makes are dropped.
//!
//! Why nothing is forgotten. After 3 nobody in that line may have anything. 4 and 5 only add
//! machines, and by own ones of its cluster or those of its other lanes a lane wants fewer, never
//! more; so that stays true, and after 5 it is true of the other line. A lane may by then be wider
//! than it has to be only where own machines of its cluster are starting; when these call, fail or
//! go, the account is marked again. `World::check` looks for both after each step of every test.
//!
//! [`World::lane_surplus`]: crate::World::lane_surplus
//! [`World::first_want`]: crate::World::first_want

use super::Draft;
use crate::{market::Purse, wants::Want, world::World};
use gristmill_model::{AccountId, Answer, ClusterId, Event, JobId, WorkerId};

/// What an event may mean for those who want machines.
enum Concern {
    /// Nothing.
    Nobody,
    /// Somebody may want more or less, or own machines of a cluster take more or less.
    Wants(Owner),
    /// So they may, and there may be more or less to be had.
    Sizes(Owner),
}

/// Whose account it is.
enum Owner {
    Account(AccountId),
    Job(JobId),
    Cluster(ClusterId),
    Worker(WorkerId),
}

impl Concern {
    fn of(event: &Event) -> Self {
        use Owner as O;
        match event {
            Event::JobSubmitted { account, .. } => Self::Wants(O::Account(*account)),
            Event::JobStopped { job, .. }
            | Event::JobRestarted { job, .. }
            | Event::JobEnded { job, .. }
            | Event::TaskEnded { job, .. }
            | Event::RunPlaced { job, .. }
            | Event::RunsPlaced { job, .. }
            | Event::RunsFinished { job, .. }
            | Event::RunEnded { job, .. } => Self::Wants(O::Job(*job)),
            Event::WorkerWanted { cluster, .. } => Self::Wants(O::Cluster(*cluster)),
            Event::WorkerDelayed { worker, .. }
            | Event::WorkerNoticed { worker, .. }
            | Event::NoticeWithdrawn { worker, .. }
            | Event::WorkerRunning { worker, .. }
            | Event::WorkerDeleting { worker, .. } => Self::Wants(O::Worker(*worker)),
            Event::ClusterCreated { account, .. }
            | Event::PrepaidSet { account, .. }
            | Event::QuotaSet { account, .. } => Self::Sizes(O::Account(*account)),
            Event::GroupResized { cluster, .. }
            | Event::ClusterChanged { cluster, .. }
            | Event::ClusterDeleting { cluster, .. } => Self::Sizes(O::Cluster(*cluster)),
            // A job that is over is in no line.
            Event::JobDeleted { .. }
            | Event::JobArchived { .. }
            | Event::JobPriorityChanged { .. }
            // It waited no longer since it was placed.
            | Event::RunStarted { .. }
            // A group without machines.
            | Event::GroupOpened { .. }
            | Event::GroupClosed { .. }
            // What a price takes or gives are machines, and these have events of their own.
            | Event::SpotPriceSet { .. }
            // What goes counts for nothing since it was told to go.
            | Event::ClusterGone { .. }
            | Event::WorkerGone { .. }
            | Event::TokenExpired { .. } => Self::Nobody,
        }
    }
}

impl Owner {
    fn account(self, world: &World) -> AccountId {
        match self {
            Self::Account(account) => account,
            Self::Job(job) => world.job_of(job).account,
            Self::Cluster(cluster) => world.cluster_of(cluster).account,
            Self::Worker(worker) => world.cluster_of(world.worker_of(worker).cluster).account,
        }
    }
}

impl Draft<'_> {
    /// Marks the account whose automatic clusters and lanes an event concerns. Most events are
    /// of runs, and cost nothing where nobody wants machines.
    pub(super) fn mark(&mut self, event: &Event) {
        match Concern::of(event) {
            Concern::Nobody => {}
            Concern::Wants(owner) => {
                if self.world.starved.is_empty() && self.world.lanes.is_empty() {
                    return;
                }
                let account = owner.account(self.world);
                if self.world.wants_machines(account) {
                    self.accounts.insert(account);
                }
            }
            Concern::Sizes(owner) => {
                let account = owner.account(self.world);
                self.accounts.insert(account);
                // Where nothing is set aside nobody has prepaid machines.
                let deals = self.world.market.prepaid_of(account).next().is_some();
                if deals || matches!(event, Event::PrepaidSet { .. }) {
                    self.dealt.insert(account);
                }
            }
        }
    }

    /// New limits are no event: after a restart whoever wants machines is looked at.
    pub(super) fn on_resumed(&mut self) -> Answer {
        let World { starved, lanes, market, .. } = &*self.world;
        self.accounts.extend(starved.keys().map(|(account, _)| *account));
        self.accounts.extend(lanes.keys().map(|(account, _)| *account));
        self.dealt.extend(market.prepaid.keys().map(|(account, _)| *account));
        self.accounts.extend(&self.dealt);
        Answer::Done
    }

    /// Gives what is left to those that want it, account by account.
    pub(super) fn fill_accounts(&mut self) {
        for account in std::mem::take(&mut self.accounts) {
            self.return_prepaid(account);
            self.narrow_lanes(account);
            self.serve_line(account, Purse::PrePaid);
            self.deal_prepaid(account);
            self.serve_line(account, Purse::Quota);
        }
    }

    fn serve_line(&mut self, account: AccountId, purse: Purse) {
        while let Some((want, left)) = self.world.first_want(account, purse) {
            match want {
                Want::Task(turn) => self.feed(account, &turn, left),
                Want::Lane(pool) => self.widen(account, &pool, left),
            }
            if purse == Purse::PrePaid {
                self.return_prepaid(account);
            }
        }
    }
}
