//! What events change of clusters, groups and machines.

use crate::{
    cluster::{Cluster, Group, LogLine, MachineShape, Reclaim, Worker, describe_anew, host_name},
    lanes::Pool,
    world::World,
};
use gristmill_model::{
    AccountId, ClusterChange, ClusterId, ClusterSpec, Generation, GroupChange, GroupName,
    GroupSpec, JobId, Seconds, TaskName, Timestamp, WorkerId, WorkerState, event::Purpose,
    spec::Resource,
};
use imbl::OrdMap;
use std::sync::Arc;

impl World {
    pub(super) fn add_cluster(
        &mut self,
        id: ClusterId,
        account: AccountId,
        spec: &Arc<ClusterSpec>,
        purpose: &Purpose,
        at: Timestamp,
    ) {
        let cluster = Cluster::described(id, account, spec, purpose, at);
        let (desired, usage) = (cluster.desired(), cluster.usage(&self.options));
        self.clusters.insert(id, Arc::new(cluster));
        self.account_clusters.insert((account, id));
        self.change_account(account, |account| account.take(usage));
        self.log_cluster(id, None, at, "created");
        if let Purpose::Task { job, task } = purpose {
            let wanted = self.machines_wanted(*job, task);
            self.change_task(*job, task, |task| {
                task.auto_cluster = Some(id);
                task.machines_short = wanted.saturating_sub(desired);
            });
        }
    }

    pub(super) fn resize(&mut self, id: ClusterId, name: &GroupName, desired: u32, at: Timestamp) {
        let mut before = 0;
        self.change_sizes(id, |cluster| {
            let group = cluster.groups.get_mut(name).expect("decide resizes groups that exist");
            before = std::mem::replace(&mut group.desired, desired);
        });
        let text = format!("resized from {before} to {desired}");
        self.log_cluster(id, Some(name), at, &text);
        let serves = self.task_served_by(id);
        let of_lane = self.cluster_of(id).groups[name].lane.is_some();
        if let Some((job, task)) = serves.filter(|_| !of_lane) {
            // Somebody who makes it smaller does not want it filled up again; prepaid machines
            // are given and taken by the operator alone.
            let prepaid = self.cluster_of(id).shape_of(name).resource == Resource::PrePaid;
            let grown = desired.saturating_sub(before);
            self.change_task(job, &task, |task| {
                let short = task.machines_short.saturating_sub(grown);
                task.machines_short = match before.checked_sub(desired) {
                    None | Some(0) => short,
                    Some(lost) if prepaid => short + lost,
                    Some(_) => 0,
                };
            });
        }
    }

    pub(super) fn open_lane(
        &mut self,
        id: ClusterId,
        name: &GroupName,
        spec: &GroupSpec,
        at: Timestamp,
    ) {
        let shape = Arc::new(MachineShape::from(spec));
        let pool = Pool { cluster: id, lane: Some(shape.clone()) };
        let cluster = self.change_cluster(id);
        Arc::make_mut(&mut cluster.spec).groups.insert(name.clone(), spec.clone());
        let group = Group { lane: Some(shape), ..Group::default() };
        let other = cluster.groups.insert(name.clone(), group);
        assert!(other.is_none(), "a group is opened once");
        let account = cluster.account;
        self.change_lane(account, &pool, |lane| lane.group = Some(name.clone()));
        self.log_cluster(id, Some(name), at, "opened for attached tasks");
    }

    pub(super) fn close_lane(&mut self, id: ClusterId, name: &GroupName, at: Timestamp) {
        let cluster = self.change_cluster(id);
        Arc::make_mut(&mut cluster.spec).groups.remove(name);
        let group = cluster.groups.remove(name).expect("decide closes groups that exist");
        assert!(group.workers.is_empty(), "only a group without machines is closed");
        let (account, pool) = (cluster.account, Pool { cluster: id, lane: group.lane });
        self.change_lane(account, &pool, |lane| lane.group = None);
        self.log_cluster(id, Some(name), at, "closed");
    }

    /// Machines that are there keep the shape they were made with.
    pub(super) fn change_description(
        &mut self,
        id: ClusterId,
        change: &ClusterChange,
        at: Timestamp,
    ) {
        let spec = Arc::clone(&self.cluster_of(id).spec);
        for (name, group) in &spec.groups {
            let own = change.groups.get(name).is_some_and(GroupChange::is_of_shape);
            if own || change.image.is_some() && group.image.is_none() {
                self.freeze_machines(id, name);
            }
        }
        self.change_sizes(id, |cluster| describe_anew(Arc::make_mut(&mut cluster.spec), change));
        self.match_cluster(id);
        let changed = names_of(change);
        if !changed.is_empty() {
            self.log_cluster(id, None, at, &format!("changed: {}", changed.join(", ")));
        }
        for (name, group) in &change.groups {
            if let Some(desired) = group.desired {
                self.resize(id, name, desired, at);
            }
        }
    }

    fn freeze_machines(&mut self, id: ClusterId, name: &GroupName) {
        let cluster = Arc::clone(self.cluster_of(id));
        let shape = Arc::new(cluster.shape_of(name));
        for worker in &cluster.groups[name].workers {
            let shape = Arc::clone(&shape);
            self.change_worker(*worker, |worker| {
                worker.made_as.get_or_insert(shape);
            });
        }
    }

    pub(super) fn start_deleting(&mut self, id: ClusterId, at: Timestamp) {
        if let Some((job, task)) = self.task_served_by(id) {
            self.change_task(job, &task, |task| {
                task.auto_cluster = None;
                task.machines_short = 0;
            });
        }
        self.change_sizes(id, |cluster| cluster.deleting = true);
        self.log_cluster(id, None, at, "deleting");
    }

    pub(super) fn drop_cluster(&mut self, id: ClusterId) {
        let cluster = self.clusters.remove(&id).expect("an event names a cluster that exists");
        assert!(cluster.deleting, "only a cluster that is being deleted goes");
        for lane in cluster.groups.values().filter_map(|group| group.lane.clone()) {
            let pool = Pool { cluster: id, lane: Some(lane) };
            self.change_lane(cluster.account, &pool, |lane| lane.group = None);
        }
        self.account_clusters.remove(&(cluster.account, id));
    }

    /// The task for which an automatic cluster works now.
    pub(crate) fn task_served_by(&self, id: ClusterId) -> Option<(JobId, TaskName)> {
        let Purpose::Task { job, task } = &self.clusters.get(&id)?.purpose else { return None };
        let served = self.jobs.get(job)?.tasks.get(task)?.auto_cluster == Some(id);
        served.then(|| (*job, task.clone()))
    }

    /// How many machines an automatic cluster for a task should have, quota aside: one for each
    /// instance that has not ended.
    pub(crate) fn machines_wanted(&self, job: JobId, task: &TaskName) -> u32 {
        let counts = self.job_of(job).tasks[task].counts;
        let open = counts.waiting + counts.running;
        open.min(self.options.limits.auto_cluster_machines_max)
    }

    pub(super) fn want_worker(
        &mut self,
        (id, generation, cluster, group): (WorkerId, Generation, ClusterId, &GroupName),
        host_name: &str,
        at: Timestamp,
    ) {
        if self.workers.contains_key(&id) {
            self.change_worker(id, |worker| {
                worker.generation = generation;
                worker.state = WorkerState::Starting;
                (worker.since, worker.again_at) = (at, None);
                (worker.made_as, worker.not_for_room) = (None, false);
            });
            return;
        }
        self.change_cluster(cluster).hosts += 1;
        let set_up_max = match self.cluster_of(cluster).spec.bootstrap.is_empty() {
            true => Seconds(0),
            false => self.options.bootstrap_max,
        };
        let is_spot = self.cluster_of(cluster).is_spot(group);
        let lane = self.cluster_of(cluster).groups[group].lane.clone();
        self.add_worker(Worker {
            id,
            generation,
            cluster,
            group: group.clone(),
            host_name: host_name.to_owned(),
            state: WorkerState::Starting,
            address: String::new(),
            hint: String::new(),
            created: at,
            since: at,
            failures: 0,
            again_at: None,
            made_as: None,
            set_up_max,
            ahead: 0,
            not_for_room: false,
            trouble: None,
            notice: None,
            idle_since: None,
            is_spot,
            lane,
            runs: OrdMap::new(),
        });
        let worker = Arc::clone(self.worker_of(id));
        self.log_worker(&worker, at, "created");
    }

    pub(super) fn delay_worker(
        &mut self,
        id: WorkerId,
        reason: &str,
        again_at: Timestamp,
        failed: Option<Timestamp>,
    ) {
        self.change_worker(id, |worker| {
            worker.state = WorkerState::Pending;
            worker.hint = reason.to_owned();
            worker.failures += 1;
            worker.again_at = Some(again_at);
        });
        if let Some(at) = failed {
            let worker = Arc::clone(self.worker_of(id));
            self.log_worker(&worker, at, &format!("not set up: {reason}"));
        }
    }

    pub(super) fn worker_runs(&mut self, id: WorkerId, address: &str, ahead: u32, at: Timestamp) {
        self.change_worker(id, |worker| {
            worker.ahead = ahead;
            worker.state = WorkerState::Running;
            worker.address = address.to_owned();
            if worker.notice.is_none() {
                worker.hint.clear();
            }
            (worker.since, worker.failures, worker.again_at) = (at, 0, None);
            worker.note_idle(at);
            worker.trouble = None;
        });
        let worker = Arc::clone(self.worker_of(id));
        self.log_worker(&worker, at, "active");
    }

    pub(super) fn notice_worker(
        &mut self,
        id: WorkerId,
        notice: Reclaim,
        reason: &str,
        at: Timestamp,
    ) {
        self.change_worker(id, |worker| {
            worker.notice = Some(notice);
            worker.hint = format!("to be reclaimed: {reason}");
        });
        let worker = Arc::clone(self.worker_of(id));
        self.log_worker(&worker, at, &worker.hint);
    }

    pub(super) fn withdraw_notice(&mut self, id: WorkerId, at: Timestamp) {
        self.change_worker(id, |worker| {
            worker.notice = None;
            worker.hint.clear();
        });
        let worker = Arc::clone(self.worker_of(id));
        self.log_worker(&worker, at, "stays: it is not reclaimed");
    }

    pub(super) fn worker_goes(&mut self, id: WorkerId, reason: &str, at: Timestamp) {
        let worker = Arc::clone(self.worker_of(id));
        let settled = worker.since.after(self.options.worker_settle) <= at;
        let group = &self.cluster_of(worker.cluster).groups[&worker.group];
        let unwanted = group.alive() > group.desired || worker.is_leaving();
        if worker.state == WorkerState::Running && !settled && !unwanted {
            self.change_cluster(worker.cluster).note_unsettled(&worker.group, at);
        }
        self.change_worker(id, |worker| {
            worker.state = WorkerState::Deleting;
            worker.hint = reason.to_owned();
            (worker.notice, worker.not_for_room, worker.idle_since) = (None, false, None);
            (worker.since, worker.again_at) = (at, None);
        });
        let worker = Arc::clone(self.worker_of(id));
        self.log_worker(&worker, at, &format!("deleting: {reason}"));
    }

    pub(super) fn log_cluster(
        &mut self,
        id: ClusterId,
        group: Option<&GroupName>,
        at: Timestamp,
        text: &str,
    ) {
        let line = LogLine { at, group: group.cloned(), worker: None, text: text.to_owned() };
        self.change_cluster(id).note(line);
    }

    pub(super) fn log_worker(&mut self, worker: &Worker, at: Timestamp, text: &str) {
        let (group, text) = (Some(worker.group.clone()), text.to_owned());
        let line = LogLine { at, group, worker: Some(worker.id), text };
        self.change_cluster(worker.cluster).note(line);
    }

    /// The next free host name of a group.
    pub(crate) fn next_host_name(&self, cluster: ClusterId, group: &GroupName) -> String {
        let cluster = self.cluster_of(cluster);
        host_name(&cluster.spec, group, cluster.hosts + 1)
    }
}

/// The members that changed, as the vendor calls them, sizes aside: these have lines of their own.
fn names_of(change: &ClusterChange) -> Vec<String> {
    let ClusterChange { groups, image, user_data, env, mounts } = change;
    let of_cluster = [
        ("ImageId", image.is_some()),
        ("UserData", user_data.is_some()),
        ("EnvVars", env.is_some()),
        ("Mounts", mounts.is_some()),
    ];
    let mut names: Vec<String> = of_cluster
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(name, _)| name.to_owned())
        .collect();
    for (name, group) in groups {
        let of_group = [
            ("InstanceType", group.instance_type.is_some()),
            ("ImageId", group.image.is_some()),
            ("SpotPriceLimit", group.spot.is_some()),
        ];
        let changed = of_group.into_iter().filter(|(_, changed)| *changed);
        names.extend(changed.map(|(member, _)| format!("{member} of {name}")));
    }
    names
}
