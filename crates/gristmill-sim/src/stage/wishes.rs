//! The users: what they ask for, and how they tidy up when the faults are over.

use super::*;
use gristmill_model::{AccountId, ClusterChange, GroupChange, Quota, spec::Resource};

impl Stage {
    pub(super) fn on_wish(&mut self) {
        if !self.faults {
            return;
        }
        self.wishes += 1;
        if let Some(wish) = users::wish(&self.region.world, &mut self.chance, self.wishes) {
            let delay = self.delay();
            self.after_millis(delay, Message::Input(wish, Sender::User(0)));
        }
        let pause = 200 + 20 * self.delay();
        self.after_millis(pause, Message::Wish);
    }

    /// After the faults: users give the machines that jobs wait for, or give the jobs up, and
    /// delete clusters that nobody needs.
    pub(super) fn tidy_up(&mut self) -> Result<(), String> {
        self.open_the_market()?;
        let jobs = self.region.world.all_jobs().filter(|job| !job.state.is_final());
        let jobs: Vec<_> = jobs.map(|job| (job.id, job.account)).collect();
        for (job, account) in jobs {
            if self.waits_in_vain(job) {
                self.input(Input::StopJob { account, job }, Sender::User(0))?;
            }
        }
        let clusters = self.region.world.all_clusters().filter(|it| !it.deleting);
        let clusters: Vec<_> = clusters.map(|it| (it.id, it.account, self.is_unfit(it))).collect();
        for (cluster, account, unfit) in clusters {
            if !self.is_needed(cluster) {
                self.input(Input::DeleteCluster { account, cluster }, Sender::User(0))?;
            } else if unfit {
                let groups = [(users::group(), GroupChange::size(1))].into();
                let change = ClusterChange { groups, ..ClusterChange::default() }.into();
                self.input(Input::ModifyCluster { account, cluster, change }, Sender::User(0))?;
            }
        }
        Ok(())
    }

    /// The operator gives everybody what they need.
    fn open_the_market(&mut self) -> Result<(), String> {
        let mut wishes = Vec::new();
        let market = self.region.world.market();
        for instance_type in market.prices.keys().cloned() {
            wishes.push(Input::SetSpotPrice { instance_type, price: None });
        }
        for account in [AccountId(1), AccountId(2)] {
            wishes.push(Input::SetQuota { account, quota: self.enough_for(account) });
            for instance_type in users::kinds() {
                wishes.push(Input::SetPrepaid { account, instance_type, machines: 8 });
            }
        }
        wishes.into_iter().try_for_each(|wish| self.input(wish, Sender::User(0)))
    }

    /// One machine more than users want for themselves, or jobs would have none at all.
    fn enough_for(&self, account: AccountId) -> Quota {
        let world = &self.region.world;
        let clusters = world.clusters_of(account, None).filter(|it| !it.deleting);
        let by_users = clusters.filter(|it| !self.is_automatic(it));
        let by_users: u32 = by_users.filter(|it| !is_prepaid(it)).map(own_size).sum();
        let machines = (by_users >= world.options().limits.machines_max).then_some(by_users + 1);
        Quota { machines: machines.map(u64::from), ..Quota::default() }
    }

    fn is_automatic(&self, cluster: &Cluster) -> bool {
        let mut tasks = self.region.world.all_jobs().flat_map(|job| job.tasks.values());
        tasks.any(|task| task.auto_cluster == Some(cluster.id))
    }

    pub(super) fn is_needed(&self, cluster: ClusterId) -> bool {
        let mut jobs = self.region.world.all_jobs().filter(|job| !job.state.is_final());
        jobs.any(|job| {
            let mut open = job.tasks.iter().filter(|(_, task)| !task.state.is_final());
            open.any(|(name, _)| job.cluster_of(name) == Some(cluster))
        })
    }

    /// One machine each: jobs go on, and the quota has room for automatic clusters.
    pub(super) fn is_unfit(&self, cluster: &Cluster) -> bool {
        let own = own_size(cluster);
        if self.is_automatic(cluster) { own == 0 } else { own != 1 }
    }

    /// For a cluster that is deleted, or for prepaid machines that all went to an older one.
    pub(super) fn waits_in_vain(&self, job: JobId) -> bool {
        let Some(job) = self.region.world.any_job(job) else { return false };
        job.spec.tasks.values().any(|task| match &task.placement {
            Placement::Fixed(cluster) => {
                self.region.world.any_cluster(*cluster).is_none_or(is_of_no_use)
            }
            Placement::Attach { cluster, .. } => {
                self.region.world.any_cluster(*cluster).is_none_or(|cluster| cluster.deleting)
            }
            _ => false,
        })
    }
}

/// Deleted, or prepaid without a machine.
fn is_of_no_use(cluster: &Cluster) -> bool {
    cluster.deleting || (is_prepaid(cluster) && own_size(cluster) == 0)
}

/// Whether its own machines are prepaid: all clusters here have one group.
fn is_prepaid(cluster: &Cluster) -> bool {
    let own = cluster.spec.groups.get(&users::group());
    own.is_some_and(|group| group.resource == Resource::PrePaid)
}

/// Machines of the groups that the user made.
fn own_size(cluster: &Cluster) -> u32 {
    let own = cluster.groups.values().filter(|group| group.lane.is_none());
    own.map(|group| group.desired).sum()
}
