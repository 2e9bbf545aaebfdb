//! Clusters, their groups, and machines as the world holds them.
//!
//! A machine goes `Pending -> Starting -> Running -> Deleting -> gone`. `Pending` means that the
//! provider said no and is asked again at `again_at`; `Starting` that it was asked and the
//! machine has not called. Every state has a way out: `again_at`, `Options::worker_start_max`,
//! the server's patience with silent machines, and the provider's `Gone`.

use crate::{lanes::Pool, options::Options};
use gristmill_model::{
    AccountId, ClusterChange, ClusterId, ClusterSpec, Generation, GroupName, GroupSpec, ImageId,
    InstanceNo, JobId, ReclaimCause, RunId, Seconds, TaskName, Timestamp, WorkerId, WorkerState,
    catalogue::InstanceTypeName, change::NewMounts, event::Purpose, spec::Resource,
};
use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// So many machines in a row may be lost before they settled; then replacements wait.
pub(crate) const UNSETTLED_FREE: u32 = 3;

/// Losses further apart than this are not in a row.
pub(crate) const UNSETTLED_APART: Seconds = Seconds(60);

/// How many lines of its operation log a cluster keeps.
pub const LOG_LINES_MAX: usize = 100;

/// A cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Its owner.
    pub account: AccountId,
    /// As asked for; sizes are in `groups`.
    pub spec: Arc<ClusterSpec>,
    /// What it was made for. A cluster kept by `ReserveOnFail` keeps the word, but its task no
    /// longer knows it.
    pub purpose: Purpose,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// When it was made.
    pub created: Timestamp,
    /// How many host names were given out.
    pub hosts: u32,
    /// Its groups by name.
    pub groups: BTreeMap<GroupName, Group>,
    /// The last lines of its operation log, newest last.
    pub log: Vector<LogLine>,
}

/// A group of equal machines.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// How many machines are wanted.
    pub desired: u32,
    /// Its machines, those included that are going.
    pub workers: OrdSet<WorkerId>,
    /// How many machines are in each state.
    pub metrics: Metrics,
    /// How many machines in a row were lost before they settled, and when the last one was.
    pub unsettled: Option<(u32, Timestamp)>,
    /// The attached tasks it was made for; `None`: the cluster's owner described it.
    pub lane: Option<Arc<MachineShape>>,
}

/// How many machines are in each state (`Metrics` of a cluster counts the last three).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Wanted, and the provider said no.
    pub pending: u32,
    /// Asked for.
    pub starting: u32,
    /// Take instances.
    pub running: u32,
    /// Going.
    pub stopping: u32,
}

/// One line of a cluster's operation log (`reference/api.md` 9.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// Which group, when it concerns one.
    pub group: Option<GroupName>,
    /// Which machine, when it concerns one.
    pub worker: Option<WorkerId>,
    /// What happened.
    pub text: String,
}

/// A machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// How often it was asked for.
    pub generation: Generation,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its group.
    pub group: GroupName,
    /// Unique in the cluster.
    pub host_name: String,
    /// Its state.
    pub state: WorkerState,
    /// Its address; empty until it called.
    pub address: String,
    /// Why it is not running, when somebody said why.
    pub hint: String,
    /// When it was first wanted.
    pub created: Timestamp,
    /// Since when it is in its state; while `Pending`, when it was last asked for.
    pub since: Timestamp,
    /// How often in a row it could not be made.
    pub failures: u32,
    /// When it is asked for again; only while `Pending`.
    pub again_at: Option<Timestamp>,
    /// The shape it was made with, when its group describes another one by now.
    pub made_as: Option<Arc<MachineShape>>,
    /// How long its bootstrap command may take, on top of its start.
    pub set_up_max: Seconds,
    /// How many runs it takes beyond those it executes.
    pub ahead: u32,
    /// Whether what it waits for, while `Pending`, is something else than room.
    pub not_for_room: bool,
    /// What went wrong when it was asked for last; why is its `hint`.
    pub trouble: Option<Trouble>,
    /// That it will be taken back, when it was told so.
    pub notice: Option<Reclaim>,
    /// Since when it has nothing to do, while it serves attached tasks.
    pub idle_since: Option<Timestamp>,
    /// Whether it is a spot machine. Follows from its group.
    pub is_spot: bool,
    /// The attached tasks it was made for. Follows from its group.
    pub lane: Option<Arc<MachineShape>>,
    /// What it is to run: exactly this.
    pub runs: OrdMap<RunId, Assigned>,
}

/// What went wrong with a machine that was asked for. Waiting for room or for a lower price is not
/// among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// The provider could not make it.
    NotMade,
    /// It could not be set up: its image, network, disks, mounts or bootstrap command.
    NotSetUp,
}

impl Trouble {
    pub(crate) fn of(not_made: bool, not_set_up: bool) -> Option<Self> {
        match (not_made, not_set_up) {
            (_, true) => Some(Self::NotSetUp),
            (true, false) => Some(Self::NotMade),
            (false, false) => None,
        }
    }
}

/// What a machine looks like, with the members that a group leaves to its cluster filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct MachineShape {
    /// `None`: the region's default.
    pub instance_type: Option<InstanceTypeName>,
    /// `None`: the region's default.
    pub image: Option<ImageId>,
    /// How it is paid for.
    pub resource: Resource,
}

/// A machine's notice that it will be taken back. Why is its `hint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reclaim {
    /// Why.
    pub cause: ReclaimCause,
    /// When it goes; of no meaning when it goes after its runs.
    pub until: Timestamp,
}

/// What a machine is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The job.
    pub job: JobId,
    /// Its task.
    pub task: TaskName,
    /// Its instance.
    pub instance: InstanceNo,
}

impl Cluster {
    /// How many machines are in each state, over all groups.
    pub fn metrics(&self) -> Metrics {
        self.groups.values().fold(Metrics::default(), |sum, group| Metrics {
            pending: sum.pending + group.metrics.pending,
            starting: sum.starting + group.metrics.starting,
            running: sum.running + group.metrics.running,
            stopping: sum.stopping + group.metrics.stopping,
        })
    }

    /// A cluster as it begins.
    pub(crate) fn described(
        id: ClusterId,
        account: AccountId,
        spec: &Arc<ClusterSpec>,
        purpose: &Purpose,
        at: Timestamp,
    ) -> Self {
        // Prepaid machines of a user's cluster are dealt to it, not asked for.
        let dealt =
            |spec: &GroupSpec| *purpose == Purpose::Fixed && spec.resource == Resource::PrePaid;
        let group = |spec: &GroupSpec| Group {
            desired: if dealt(spec) { 0 } else { spec.desired },
            ..Group::default()
        };
        Self {
            id,
            account,
            spec: Arc::clone(spec),
            purpose: purpose.clone(),
            deleting: false,
            created: at,
            hosts: 0,
            groups: spec.groups.iter().map(|(name, spec)| (name.clone(), group(spec))).collect(),
            log: Vector::new(),
        }
    }

    /// The cluster as a change would make it.
    pub(crate) fn changed(&self, change: &ClusterChange) -> Self {
        let mut cluster = self.clone();
        describe_anew(Arc::make_mut(&mut cluster.spec), change);
        for (name, group) in &change.groups {
            if let (Some(desired), Some(group)) = (group.desired, cluster.groups.get_mut(name)) {
                group.desired = desired;
            }
        }
        cluster
    }

    /// What new machines of a group look like.
    pub fn shape_of(&self, group: &GroupName) -> MachineShape {
        let spec = &self.spec;
        let Some(group) = spec.groups.get(group) else { return MachineShape::default() };
        MachineShape {
            instance_type: group.instance_type.clone().or_else(|| spec.instance_type.clone()),
            image: group.image.clone().or_else(|| spec.image.clone()),
            resource: group.resource.clone(),
        }
    }

    /// Whether a group's machines are on the spot market.
    pub fn is_spot(&self, group: &GroupName) -> bool {
        let group = self.spec.groups.get(group);
        group.is_some_and(|group| matches!(group.resource, Resource::Spot { .. }))
    }

    /// How many machines are wanted, over all groups.
    pub fn desired(&self) -> u32 {
        self.groups.values().map(|group| group.desired).sum()
    }

    /// Notes that a machine went before it settled.
    pub(crate) fn note_unsettled(&mut self, group: &GroupName, at: Timestamp) {
        let group = self.groups.get_mut(group).expect("a machine is in a group");
        group.unsettled = Some(match group.unsettled {
            Some((count, last)) if at <= last.after(UNSETTLED_APART) => (count + 1, at),
            _ => (1, at),
        });
    }

    pub(crate) fn note(&mut self, line: LogLine) {
        if self.log.len() == LOG_LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }
}

impl Group {
    /// Until when a replacement waits because too many machines did not settle. When the clock
    /// was set back since, it waits no longer than if the last one had been lost now.
    pub(crate) fn wait_until(&self, options: &Options, now: Timestamp) -> Option<Timestamp> {
        let (count, last) = self.unsettled?;
        let failures = count.checked_sub(UNSETTLED_FREE).filter(|failures| *failures > 0)?;
        let until = last.min(now).after(options.back_off(failures));
        (until > now).then_some(until)
    }

    /// How many machines are there or coming.
    pub fn alive(&self) -> u32 {
        self.metrics.pending + self.metrics.starting + self.metrics.running
    }
}

impl Metrics {
    pub(crate) fn of(&mut self, state: WorkerState) -> &mut u32 {
        match state {
            WorkerState::Pending => &mut self.pending,
            WorkerState::Starting => &mut self.starting,
            WorkerState::Running => &mut self.running,
            WorkerState::Deleting => &mut self.stopping,
        }
    }
}

impl Worker {
    /// How many runs it has.
    pub fn used(&self) -> u32 {
        u32::try_from(self.runs.len()).expect("a machine holds fewer runs than 2^32")
    }

    /// Whether it goes as soon as its runs have ended.
    pub(crate) fn is_leaving(&self) -> bool {
        self.notice.is_some_and(|notice| notice.cause == ReclaimCause::Share)
    }

    /// Whether it takes a place of the provider.
    pub(crate) fn is_present(&self) -> bool {
        self.state != WorkerState::Pending
    }

    /// The machines it belongs to.
    pub(crate) fn pool(&self) -> Pool {
        Pool { cluster: self.cluster, lane: self.lane.clone() }
    }

    /// Notes that its last run ended, if it was the last.
    pub(crate) fn note_idle(&mut self, at: Timestamp) {
        self.idle_since = (self.lane.is_some() && self.runs.is_empty()).then_some(at);
    }

    /// When something has to be done about it if nothing happens before.
    pub(crate) fn deadline(&self, options: &Options) -> Option<Timestamp> {
        match self.state {
            WorkerState::Pending => self.again_at,
            WorkerState::Starting => {
                let start_max = options.worker_start_max.0;
                Some(self.since.after(Seconds(start_max.saturating_add(self.set_up_max.0))))
            }
            WorkerState::Running => {
                let notice = self.notice.filter(|notice| notice.cause != ReclaimCause::Share);
                let reclaimed = notice.map(|notice| notice.until);
                let idle = self.idle_since.map(|since| since.after(options.attached_idle));
                reclaimed.into_iter().chain(idle).min()
            }
            WorkerState::Deleting => None,
        }
    }
}

/// A host name: the group's prefix or the names of cluster and group, and a number. Only
/// `[a-z0-9-]`, at most 63 characters, so that every resolver takes it.
pub(crate) fn host_name(spec: &ClusterSpec, group: &GroupName, number: u32) -> String {
    let prefix = spec.groups.get(group).map_or("", |group| group.host_name_prefix.as_str());
    let wish = if prefix.is_empty() { format!("{}-{group}", spec.name) } else { prefix.into() };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let number = number.to_string();
    let stem: String = wish.chars().map(plain).take(63 - 1 - number.len()).collect();
    match stem.trim_matches('-') {
        "" => format!("worker-{number}"),
        stem => format!("{stem}-{number}"),
    }
}

/// Changes a description, sizes aside.
pub(crate) fn describe_anew(spec: &mut ClusterSpec, change: &ClusterChange) {
    let ClusterChange { groups, image, user_data, env, mounts } = change.clone();
    spec.image = image.or(spec.image.take());
    if let Some(user_data) = user_data {
        spec.user_data = user_data;
    }
    if let Some(env) = env {
        spec.env = env;
    }
    match mounts {
        Some(NewMounts::These(mounts)) => spec.configs.mounts = Some(mounts),
        Some(NewMounts::Nothing) => spec.configs.mounts = None,
        None => {}
    }
    for (name, change) in groups {
        let group = spec.groups.get_mut(&name).expect("decide changes groups that exist");
        group.instance_type = change.instance_type.or(group.instance_type.take());
        group.image = change.image.or(group.image.take());
        group.resource = change.spot.unwrap_or_else(|| group.resource.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_wait_after_losses_in_a_row_and_not_for_a_clock_that_was_set_back() {
        let options = Options::default();
        let second = |n: i64| Timestamp(n * 1_000_000);
        let wait = |count, now| {
            let group = Group { unsettled: Some((count, second(100))), ..Group::default() };
            group.wait_until(&options, second(now))
        };
        let cases = [
            (UNSETTLED_FREE, 100, None),
            (UNSETTLED_FREE + 1, 100, Some(101)),
            (UNSETTLED_FREE + 3, 100, Some(104)),
            (UNSETTLED_FREE + 3, 103, Some(104)),
            (UNSETTLED_FREE + 3, 104, None),
            (UNSETTLED_FREE + 3, 10, Some(14)),
        ];
        for (count, now, until) in cases {
            assert_eq!(wait(count, now), until.map(second), "{count} losses, at {now}");
        }
    }
}
