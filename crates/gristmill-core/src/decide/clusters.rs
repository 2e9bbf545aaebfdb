//! Commands about clusters, automatic clusters, and how many machines each group has.
//!
//! `fit_group` is the one place where machines are wanted or sent away; everything else
//! changes how many are desired and calls it.
//!
//! Quota: an account may want `machines_max` machines over all clusters that are not being
//! deleted. A user who asks for more is refused; an automatic cluster takes what is left and is
//! topped up later, the task with the highest priority first.

use super::Draft;
use crate::{
    cluster::{Cluster, Worker},
    world::Turn,
};
use gristmill_model::{
    AccountId, Answer, ClusterId, ClusterSpec, Effect, Event, Generation, GroupName, GroupSpec,
    JobName, Placement, Refusal, TaskName, WorkerId, WorkerState,
    event::{EnsureWorker, Purpose, TokenUse},
    input::Token,
    spec::AutoCluster,
};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// The longest name of a cluster on the wire.
const CLUSTER_NAME_MAX: usize = 64;

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
        let sizes = spec.groups.values().map(|group| group.desired);
        self.within_quota(account, 0, sizes)?;
        let cluster = self.ids.cluster();
        let purpose = Purpose::Fixed;
        let (spec, token, at) = (Arc::clone(spec), token.clone(), self.now);
        self.emit(Event::ClusterCreated { cluster, account, spec, purpose, token, at });
        self.fit_cluster(cluster);
        Ok(Answer::Cluster(cluster))
    }

    /// Refuses sizes that are too large, each or together. `given_up` machines are freed by the
    /// same command.
    fn within_quota(
        &self,
        account: AccountId,
        given_up: u32,
        sizes: impl Iterator<Item = u32>,
    ) -> Result<(), Refusal> {
        let limits = &self.world.options.limits;
        let mut sum = u64::from(self.world.account(account).machines) - u64::from(given_up);
        let before = sum + u64::from(given_up);
        for size in sizes {
            if size > limits.group_size_max {
                let reason = format!("{size} is not in [0, {}]", limits.group_size_max);
                return Err(Refusal::Invalid { member: "DesiredVMCount", reason });
            }
            sum += u64::from(size);
        }
        let limit = u64::from(limits.machines_max);
        if sum > limit && sum > before {
            return Err(Refusal::Quota { what: "machines of an account", limit });
        }
        Ok(())
    }

    pub(super) fn resize_cluster(
        &mut self,
        account: AccountId,
        id: ClusterId,
        desired: &BTreeMap<GroupName, u32>,
    ) -> Result<Answer, Refusal> {
        let cluster = self.active_cluster(account, id, "change")?;
        let mut given_up = 0;
        for name in desired.keys() {
            let group = cluster.groups.get(name).ok_or_else(|| Refusal::Invalid {
                member: "Groups",
                reason: format!("the cluster has no group `{name}`"),
            })?;
            given_up += group.desired;
        }
        self.within_quota(account, given_up, desired.values().copied())?;
        for (group, &size) in desired {
            if cluster.groups[group].desired != size {
                self.resize_group(id, group, size);
            }
        }
        self.accounts.insert(account);
        Ok(Answer::Done)
    }

    fn resize_group(&mut self, cluster: ClusterId, group: &GroupName, desired: u32) {
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

    fn active_cluster(
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
        self.accounts.insert(cluster.account);
    }

    pub(super) fn drop_empty_cluster(&mut self, id: ClusterId) {
        let cluster = self.world.cluster_of(id);
        if cluster.deleting && cluster.groups.values().all(|group| group.workers.is_empty()) {
            self.emit(Event::ClusterGone { cluster: id });
        }
    }

    fn fit_cluster(&mut self, id: ClusterId) {
        let groups: Vec<_> = self.world.cluster_of(id).groups.keys().cloned().collect();
        for group in groups {
            self.fit_group(id, &group);
        }
    }

    /// Wants machines, or sends some away, until a group has as many as desired.
    pub(super) fn fit_group(&mut self, id: ClusterId, name: &GroupName) {
        let cluster = self.world.cluster_of(id);
        if cluster.deleting {
            return;
        }
        let group = &cluster.groups[name];
        let (alive, desired) = (group.alive(), group.desired);
        for _ in alive..desired {
            self.want_new(id, name);
        }
        for worker in self.most_dispensable(id, name, alive.saturating_sub(desired)) {
            self.send_away(worker, "the group was made smaller");
        }
    }

    /// The machines whose loss hurts least: not there yet, then idle, then with few runs; the
    /// youngest first.
    fn most_dispensable(&self, id: ClusterId, name: &GroupName, count: u32) -> Vec<WorkerId> {
        if count == 0 {
            return Vec::new();
        }
        let group = &self.world.cluster_of(id).groups[name];
        let mut ranked: Vec<_> = group
            .workers
            .iter()
            .map(|id| self.world.worker_of(*id))
            .filter(|worker| worker.state != WorkerState::Deleting)
            .map(|worker| (worker.state, worker.used(), Reverse(worker.created), worker.id))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().take(count as usize).map(|(.., id)| id).collect()
    }

    fn want_new(&mut self, cluster: ClusterId, group: &GroupName) {
        let mut worker = self.ids.worker();
        while self.world.workers.contains_key(&worker) {
            worker = self.ids.worker();
        }
        let host_name = self.world.next_host_name(cluster, group);
        let generation = Generation(1);
        let (group, at) = (group.clone(), self.now);
        let wait = self.world.cluster_of(cluster).groups[&group].wait_until(&self.world.options);
        self.emit(Event::WorkerWanted { worker, generation, cluster, group, host_name, at });
        match wait.filter(|again_at| *again_at > self.now) {
            Some(again_at) => {
                let reason = "machines of the group were lost as soon as they ran".to_owned();
                self.emit(Event::WorkerDelayed { worker, generation, reason, again_at });
            }
            None => self.ensure(worker),
        }
    }

    /// Asks again for a machine that could not be made.
    pub(super) fn want_again(&mut self, worker: &Worker) {
        let Worker { id, cluster, .. } = *worker;
        let generation = Generation(worker.generation.0 + 1);
        let (group, host_name) = (worker.group.clone(), worker.host_name.clone());
        let at = self.now;
        self.emit(Event::WorkerWanted { worker: id, generation, cluster, group, host_name, at });
        self.ensure(id);
    }

    fn ensure(&mut self, worker: WorkerId) {
        let effect = self.world.ensure_effect(self.world.worker_of(worker));
        self.effects.push(effect);
    }

    /// Puts the runs of a machine back and lets it go.
    fn send_away(&mut self, id: WorkerId, reason: &str) {
        let worker = Arc::clone(self.world.worker_of(id));
        if worker.state == WorkerState::Deleting {
            return;
        }
        for run in worker.runs.keys() {
            let end = self.cut_short(*run, id, reason);
            self.end_run(id, *run, end, None);
        }
        self.let_go(&worker, reason);
    }

    /// The machine is to go. Its runs were ended before.
    pub(super) fn let_go(&mut self, worker: &Worker, reason: &str) {
        let Worker { id, generation, .. } = *worker;
        self.emit(Event::WorkerDeleting { worker: id, reason: reason.to_owned(), at: self.now });
        self.effects.push(Effect::RemoveWorker { worker: id, generation });
    }

    /// Gives the machines that are left to automatic clusters that want them.
    pub(super) fn fill_accounts(&mut self) {
        while let Some(account) = self.accounts.pop_first() {
            while let Some(turn) = self.next_starved(account) {
                let used = self.world.account(account).machines;
                let left = self.world.options.limits.machines_max.saturating_sub(used);
                if left == 0 {
                    break;
                }
                self.feed(account, &turn, left);
            }
        }
    }

    fn next_starved(&self, account: AccountId) -> Option<Turn> {
        self.world.starved.get(&account)?.get_min().cloned()
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
        let mut groups = self.world.cluster_of(cluster).groups.iter();
        let (name, group) = groups.next().expect("an automatic cluster has one group");
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

impl crate::World {
    /// What should exist of a machine.
    pub(crate) fn ensure_effect(&self, worker: &Worker) -> Effect {
        let spec = &self.cluster_of(worker.cluster).spec;
        let group = spec.groups.get(&worker.group);
        let own_type = group.and_then(|group| group.instance_type.clone());
        let own_image = group.and_then(|group| group.image.clone());
        Effect::EnsureWorker(EnsureWorker {
            worker: worker.id,
            generation: worker.generation,
            cluster: worker.cluster,
            group: worker.group.clone(),
            host_name: worker.host_name.clone(),
            instance_type: own_type.or_else(|| spec.instance_type.clone()),
            image: own_image.or_else(|| spec.image.clone()),
        })
    }
}
