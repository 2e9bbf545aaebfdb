//! Commands about clusters.
//!
//! Quota: an account may want so many machines and cores over all clusters that are not being
//! deleted, prepaid machines aside. A user who asks for more is refused; an automatic cluster
//! takes what is left and is topped up later, the task with the highest priority first.

use super::Draft;
use crate::{cluster::Cluster, market::Usage};
use gristmill_model::{
    AccountId, Answer, ClusterChange, ClusterId, ClusterSpec, Event, GroupChange, GroupName,
    Refusal,
    change::NewMounts,
    event::{Purpose, TokenUse},
    input::Token,
    spec::Resource,
};
use std::sync::Arc;

impl Draft<'_> {
    pub(super) fn create_cluster(
        &mut self,
        account: AccountId,
        spec: &Arc<ClusterSpec>,
        token: &Option<Token>,
    ) -> Result<Answer, Refusal> {
        if let Some(answer) = self.answered_before(account, TokenUse::Cluster, token)? {
            return Ok(answer);
        }
        for group in spec.groups.values() {
            self.within_size(group.desired)?;
        }
        let wished = Cluster::described(ClusterId(0), account, spec, &Purpose::Fixed, self.now);
        let wished = wished.usage(&self.world.options);
        self.within_quota(account, Usage::default(), wished)?;
        let cluster = self.ids.cluster();
        let purpose = Purpose::Fixed;
        let (spec, token, at) = (Arc::clone(spec), token.clone(), self.now);
        self.emit(Event::ClusterCreated { cluster, account, spec, purpose, token, at });
        self.fit_cluster(cluster);
        Ok(Answer::Cluster(cluster))
    }

    fn within_size(&self, size: u32) -> Result<(), Refusal> {
        let most = self.world.options.limits.group_size_max;
        if size <= most {
            return Ok(());
        }
        let reason = format!("{size} is not in [0, {most}]");
        Err(Refusal::Invalid { member: "DesiredVMCount", reason })
    }

    /// Refuses what would use more than the account may. Using less is always possible, also
    /// for an account that uses too much.
    fn within_quota(&self, account: AccountId, old: Usage, new: Usage) -> Result<(), Refusal> {
        let (used, may) = (self.world.account(account), self.world.allowance(account));
        for (what, limit, used, old, new) in [
            (
                "machines",
                may.machines,
                used.machines.into(),
                old.machines.into(),
                new.machines.into(),
            ),
            ("cores", may.cores, used.cores, old.cores, new.cores),
        ] {
            if new > old && used - old + new > limit {
                return Err(Refusal::Quota { what, limit, used });
            }
        }
        Ok(())
    }

    pub(super) fn modify_cluster(
        &mut self,
        account: AccountId,
        id: ClusterId,
        change: &Arc<ClusterChange>,
    ) -> Result<Answer, Refusal> {
        let cluster = self.active_cluster(account, id, "change")?;
        for (name, group) in &change.groups {
            check_change(&cluster, name, group)?;
            group.desired.map_or(Ok(()), |size| self.within_size(size))?;
        }
        let news = what_is_new(&cluster, change);
        lanes_stay(&cluster, &news)?;
        let options = &self.world.options;
        let (old, new) = (cluster.usage(options), cluster.changed(&news).usage(options));
        self.within_quota(account, old, new)?;
        if !news.is_empty() {
            let change = Arc::new(news);
            self.emit(Event::ClusterChanged { cluster: id, change, at: self.now });
            self.fit_cluster(id);
        }
        Ok(Answer::Done)
    }

    pub(super) fn resize_group(&mut self, cluster: ClusterId, group: &GroupName, desired: u32) {
        let (group, at) = (group.clone(), self.now);
        self.emit(Event::GroupResized { cluster, group: group.clone(), desired, at });
        self.fit_group(cluster, &group);
    }

    pub(super) fn delete_cluster(
        &mut self,
        account: AccountId,
        id: ClusterId,
    ) -> Result<Answer, Refusal> {
        self.active_cluster(account, id, "delete")?;
        self.remove_cluster(id, "the cluster is deleted");
        Ok(Answer::Deleting { machines_left: self.world.clusters.contains_key(&id) })
    }

    pub(super) fn active_cluster(
        &self,
        account: AccountId,
        id: ClusterId,
        action: &'static str,
    ) -> Result<Arc<Cluster>, Refusal> {
        let cluster = self.world.clusters.get(&id).filter(|it| it.account == account);
        let cluster =
            cluster.ok_or_else(|| Refusal::NotFound { kind: "cluster", id: id.to_string() })?;
        if cluster.deleting {
            let (id, state) = (id.to_string(), "Deleting");
            return Err(Refusal::Conflict { kind: "cluster", id, state, action });
        }
        Ok(Arc::clone(cluster))
    }

    /// Starts to delete a cluster. Its instances wait again; that uses nothing up.
    pub(super) fn remove_cluster(&mut self, id: ClusterId, reason: &str) {
        self.emit(Event::ClusterDeleting { cluster: id, at: self.now });
        let cluster = Arc::clone(self.world.cluster_of(id));
        for worker in cluster.groups.values().flat_map(|group| &group.workers) {
            self.send_away(*worker, reason);
        }
        self.drop_empty_cluster(id);
    }

    pub(super) fn drop_empty_cluster(&mut self, id: ClusterId) {
        let cluster = self.world.cluster_of(id);
        if cluster.deleting && cluster.groups.values().all(|group| group.workers.is_empty()) {
            self.emit(Event::ClusterGone { cluster: id });
        }
    }
}

/// Whether a group can change like that.
fn check_change(cluster: &Cluster, name: &GroupName, change: &GroupChange) -> Result<(), Refusal> {
    let Some(group) = cluster.spec.groups.get(name) else {
        return Err(Refusal::UnknownGroup { group: name.clone() });
    };
    if group.resource == Resource::PrePaid && change.desired.is_some_and(|desired| desired > 0) {
        let reason = format!("group `{name}` is prepaid: its size is what the operator set aside");
        return Err(Refusal::Invalid { member: "DesiredVMCount", reason });
    }
    if change.spot.is_some() && !cluster.is_spot(name) {
        let reason = format!("group `{name}` has no spot machines");
        return Err(Refusal::Invalid { member: "SpotStrategy", reason });
    }
    Ok(())
}

/// Refuses to change groups that follow attached tasks.
fn lanes_stay(cluster: &Cluster, news: &ClusterChange) -> Result<(), Refusal> {
    let mut names = news.groups.keys();
    match names.find(|name| cluster.groups[*name].lane.is_some()) {
        Some(name) => {
            let reason = format!("group `{name}` is made for attached tasks and follows them");
            Err(Refusal::Invalid { member: "Groups", reason })
        }
        None => Ok(()),
    }
}

/// The part of a change that is not so already.
fn what_is_new(cluster: &Cluster, change: &ClusterChange) -> ClusterChange {
    let spec = &cluster.spec;
    let mut news = change.clone();
    news.image = news.image.filter(|image| spec.image.as_ref() != Some(image));
    news.user_data = news.user_data.filter(|user_data| spec.user_data != *user_data);
    news.env = news.env.filter(|env| spec.env != *env);
    news.mounts = news.mounts.filter(|mounts| match mounts {
        NewMounts::Nothing => spec.configs.mounts.is_some(),
        NewMounts::These(mounts) => spec.configs.mounts.as_ref() != Some(mounts),
    });
    for (name, group) in &mut news.groups {
        let (old, size) = (&spec.groups[name], cluster.groups[name].desired);
        let prepaid = old.resource == Resource::PrePaid;
        group.desired = group.desired.filter(|desired| *desired != size && !prepaid);
        let (kind, image) = (group.instance_type.take(), group.image.take());
        group.instance_type = kind.filter(|kind| old.instance_type.as_ref() != Some(kind));
        group.image = image.filter(|image| old.image.as_ref() != Some(image));
        group.spot = group.spot.take().filter(|spot| old.resource != *spot);
    }
    news.groups.retain(|_, group| *group != GroupChange::default());
    news
}
