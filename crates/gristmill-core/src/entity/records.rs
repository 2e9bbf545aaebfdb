//! The shapes of entities as they are written.
//!
//! They belong to the past: old checkpoints must stay readable, so members are only added, with
//! `#[serde(default)]`. What follows from something else is left out and computed again on the
//! way back.

use crate::{
    apply::blocked_by,
    cluster::{Cluster, Group, LogLine, MachineShape, Reclaim, Trouble, Worker},
    job::{Attempts, Job, Task, lane_of},
};
use gristmill_model::{
    AccountId, ClusterId, ClusterSpec, Counts, Generation, GroupName, InstanceState, JobId,
    JobSpec, JobState, RangeSet, Seconds, TaskName, TaskSpec, Timestamp, WorkerId, WorkerState,
    event::Purpose,
};
use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A job without its specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    pub(super) id: JobId,
    account: AccountId,
    priority: u16,
    state: JobState,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    created: Timestamp,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// Tasks that were touched.
    tasks: BTreeMap<TaskName, TaskRecord>,
}

/// A task that was touched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    state: JobState,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auto_cluster: Option<ClusterId>,
    #[serde(default)]
    machines_short: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pace: Option<u32>,
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    waiting: RangeSet,
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    finished: RangeSet,
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    failed: RangeSet,
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    stopped: RangeSet,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    live: Vec<(u32, InstanceState)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<(u32, Attempts)>,
}

/// A cluster without its machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    id: ClusterId,
    account: AccountId,
    spec: Arc<ClusterSpec>,
    purpose: Purpose,
    deleting: bool,
    created: Timestamp,
    hosts: u32,
    desired: BTreeMap<GroupName, u32>,
    log: Vec<LogLine>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    unsettled: BTreeMap<GroupName, (u32, Timestamp)>,
    /// Groups for attached tasks. Since 0.2.0.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lanes: BTreeSet<GroupName>,
}

/// A machine without its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    pub(super) id: WorkerId,
    generation: Generation,
    pub(super) cluster: ClusterId,
    pub(super) group: GroupName,
    host_name: String,
    state: WorkerState,
    address: String,
    hint: String,
    created: Timestamp,
    since: Timestamp,
    failures: u32,
    again_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_as: Option<Arc<MachineShape>>,
    /// Since 0.2.0.
    #[serde(default, skip_serializing_if = "is_no_time")]
    set_up_max: Seconds,
    #[serde(default, skip_serializing_if = "is_zero")]
    ahead: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not_for_room: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<Trouble>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notice: Option<Reclaim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle_since: Option<Timestamp>,
}

fn is_no_time(seconds: &Seconds) -> bool {
    seconds.0 == 0
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl JobRecord {
    pub(super) fn of(job: &Job) -> Self {
        let touched = |(name, task): (&TaskName, &Arc<Task>)| {
            let untouched = Task::untouched(&job.spec.tasks[name]);
            let same = Task { blocked_by: task.blocked_by, ..untouched } == **task;
            (!same).then(|| (name.clone(), TaskRecord::of(task)))
        };
        Self {
            id: job.id,
            account: job.account,
            priority: job.priority,
            state: job.state,
            message: job.message.clone(),
            created: job.created,
            started: job.started,
            ended: job.ended,
            tasks: job.tasks.iter().filter_map(touched).collect(),
        }
    }

    /// The job again; the error is the name of a task that is not specified.
    pub(super) fn into_job(mut self, spec: Arc<JobSpec>) -> Result<Job, TaskName> {
        if let Some(name) = self.tasks.keys().find(|name| !spec.tasks.contains_key(*name)) {
            return Err(name.clone());
        }
        let tasks: OrdMap<_, _> = spec
            .tasks
            .iter()
            .map(|(name, spec)| {
                let record = self.tasks.remove(name);
                let task = match record {
                    Some(record) => record.into_task(spec),
                    None => Task::untouched(spec),
                };
                (name.clone(), Arc::new(task))
            })
            .collect();
        let mut job = Job {
            id: self.id,
            account: self.account,
            spec,
            priority: self.priority,
            state: self.state,
            message: self.message,
            created: self.created,
            started: self.started,
            ended: self.ended,
            tasks,
            task_counts: Counts::default(),
            instance_counts: Counts::default(),
        };
        derive_counts(&mut job);
        Ok(job)
    }
}

fn derive_counts(job: &mut Job) {
    for (name, count) in blocked_by(job) {
        let task = job.tasks.get_mut(&name).expect("the names are those of the tasks");
        Arc::make_mut(task).blocked_by = count;
    }
    for task in job.tasks.values() {
        *job.task_counts.of(task.state) += 1;
        let (sum, counts) = (&mut job.instance_counts, task.counts);
        sum.waiting += counts.waiting;
        sum.running += counts.running;
        sum.finished += counts.finished;
        sum.failed += counts.failed;
        sum.stopped += counts.stopped;
    }
}

impl TaskRecord {
    pub(super) fn of(task: &Task) -> Self {
        Self {
            state: task.state,
            started: task.started,
            ended: task.ended,
            auto_cluster: task.auto_cluster,
            machines_short: task.machines_short,
            pace: task.pace,
            waiting: task.waiting.clone(),
            finished: task.finished.clone(),
            failed: task.failed.clone(),
            stopped: task.stopped.clone(),
            live: task.live.iter().map(|(n, state)| (*n, state.clone())).collect(),
            attempts: task.attempts.iter().map(|(n, tries)| (*n, *tries)).collect(),
        }
    }

    pub(super) fn into_task(self, spec: &TaskSpec) -> Task {
        let mut task = Task {
            state: self.state,
            started: self.started,
            ended: self.ended,
            counts: Counts::default(),
            blocked_by: 0,
            auto_cluster: self.auto_cluster,
            machines_short: self.machines_short,
            lane: lane_of(spec),
            pace: self.pace,
            waiting: self.waiting,
            finished: self.finished,
            failed: self.failed,
            stopped: self.stopped,
            live: self.live.into_iter().collect(),
            attempts: self.attempts.into_iter().collect(),
        };
        task.counts = task.counted();
        task
    }
}

impl ClusterRecord {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let desired = cluster.groups.iter().map(|(name, group)| (name.clone(), group.desired));
        let unsettled = cluster.groups.iter();
        let unsettled = unsettled.filter_map(|(name, it)| Some((name.clone(), it.unsettled?)));
        let lanes = cluster.groups.iter().filter(|(_, group)| group.lane.is_some());
        Self {
            id: cluster.id,
            account: cluster.account,
            spec: Arc::clone(&cluster.spec),
            purpose: cluster.purpose.clone(),
            deleting: cluster.deleting,
            created: cluster.created,
            hosts: cluster.hosts,
            desired: desired.collect(),
            log: cluster.log.iter().cloned().collect(),
            unsettled: unsettled.collect(),
            lanes: lanes.map(|(name, _)| name.clone()).collect(),
        }
    }

    pub(super) fn into_cluster(self) -> Cluster {
        let (spec, lanes, all_unsettled) = (&self.spec, &self.lanes, &self.unsettled);
        let group = |(name, desired): (GroupName, u32)| {
            let unsettled = all_unsettled.get(&name).copied();
            let described = spec.groups.get(&name).filter(|_| lanes.contains(&name));
            let lane = described.map(|spec| Arc::new(MachineShape::from(spec)));
            (name, Group { desired, unsettled, lane, ..Group::default() })
        };
        let groups = self.desired.into_iter().map(group).collect();
        Cluster {
            id: self.id,
            account: self.account,
            spec: self.spec,
            purpose: self.purpose,
            deleting: self.deleting,
            created: self.created,
            hosts: self.hosts,
            groups,
            log: Vector::from(self.log),
        }
    }
}

impl WorkerRecord {
    pub(super) fn of(worker: &Worker) -> Self {
        Self {
            id: worker.id,
            generation: worker.generation,
            cluster: worker.cluster,
            group: worker.group.clone(),
            host_name: worker.host_name.clone(),
            state: worker.state,
            address: worker.address.clone(),
            hint: worker.hint.clone(),
            created: worker.created,
            since: worker.since,
            failures: worker.failures,
            again_at: worker.again_at,
            made_as: worker.made_as.clone(),
            set_up_max: worker.set_up_max,
            ahead: worker.ahead,
            not_for_room: worker.not_for_room,
            trouble: worker.trouble,
            notice: worker.notice,
            idle_since: worker.idle_since,
        }
    }

    /// `lane` is that of its group.
    pub(super) fn into_worker(self, is_spot: bool, lane: Option<Arc<MachineShape>>) -> Worker {
        Worker {
            id: self.id,
            generation: self.generation,
            cluster: self.cluster,
            group: self.group,
            host_name: self.host_name,
            state: self.state,
            address: self.address,
            hint: self.hint,
            created: self.created,
            since: self.since,
            failures: self.failures,
            again_at: self.again_at,
            made_as: self.made_as,
            set_up_max: self.set_up_max,
            ahead: self.ahead,
            not_for_room: self.not_for_room,
            trouble: self.trouble,
            notice: self.notice,
            idle_since: self.idle_since,
            is_spot,
            lane,
            runs: OrdMap::new(),
        }
    }
}
