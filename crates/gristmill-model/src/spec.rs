//! What a user asks for: jobs, tasks, clusters. A specification is checked once, when it is made
//! from the wire, and never changes afterwards except through an event.
//!
//! Sources: `reference/api.md` 7 (jobs), 9 (clusters), 13 (shared objects).

use crate::{
    app::AppCall,
    catalogue::InstanceTypeName,
    ids::{ClusterId, ImageId},
    names::{GroupName, JobName, OssPath, TaskName},
    time::Seconds,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Bounds with names. Every one is enforced where the specification is made or when a job is
/// submitted. Since 0.1.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most tasks in one job.
    pub tasks_per_job_max: u32,
    /// The most instances in one task.
    pub instances_per_task_max: u32,
    /// The largest `MaxRetryCount` a task may ask for.
    pub retry_count_max: u32,
    /// How often infrastructure may put one instance back before it fails.
    pub infrastructure_retry_max: u32,
    /// The longest time one run may ask for.
    pub timeout_max: Seconds,
    /// The most machines of an account, over all its clusters.
    pub machines_max: u32,
    /// The most machines one automatic cluster is given.
    pub auto_cluster_machines_max: u32,
    /// The largest `DesiredVMCount` of a group.
    pub group_size_max: u32,
    /// The most jobs of one account that have not been deleted.
    pub jobs_max: u32,
    /// The most processor cores of an account's machines together.
    pub cores_max: u64,
    /// The most instances of an account in jobs that have not ended.
    pub instances_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tasks_per_job_max: 100_000,
            instances_per_task_max: 1_000_000,
            retry_count_max: 100,
            infrastructure_retry_max: 20,
            timeout_max: Seconds(30 * 86_400),
            machines_max: 50,
            auto_cluster_machines_max: 50,
            group_size_max: 65_536,
            jobs_max: 1_000_000,
            cores_max: 100_000,
            instances_max: 1_000_000_000,
        }
    }
}

/// A job as submitted (`JobDescription`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The name; not unique.
    pub name: JobName,
    /// Free text, at most 1000 characters.
    pub description: String,
    /// 0 to 1000; the higher runs first. Kept here as submitted; the present value is the job's.
    pub priority: u16,
    /// Whether one failed instance fails the job.
    pub fail_on_instance_fail: bool,
    /// Whether the record is deleted after success.
    pub auto_release: bool,
    /// Where events are announced, if anywhere.
    pub notification: Option<Notification>,
    /// At least one task.
    pub tasks: BTreeMap<TaskName, TaskSpec>,
    /// Predecessor to successors. Only names in `tasks`; no cycle.
    pub dependencies: BTreeMap<TaskName, BTreeSet<TaskName>>,
    /// The call of an app that the job was made from, if it was. Kept for echoes; `tasks` has all
    /// there is to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Box<AppCall>>,
}

/// One task of a job (`TaskDescription`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// What to run.
    pub program: Program,
    /// How many instances; at least 1.
    pub instance_count: u32,
    /// How often one instance may be tried again after it failed.
    pub retry_count_max: u32,
    /// The longest time one run may take.
    pub timeout: Seconds,
    /// Where it runs.
    pub placement: Placement,
    /// `InputMapping`: what is seen where.
    pub inputs: Vec<Input>,
    /// `OutputMapping`: which local path is uploaded where.
    pub outputs: Vec<Output>,
    /// `LogMapping`: which local file is uploaded into which prefix.
    pub logs: Vec<Output>,
    /// Whether local writes in input mounts are wished (`WriteSupport`); echoed. The mounts are
    /// overlays in both cases (`reference/mounts.md` 1, rule 6).
    pub write_support: bool,
    /// `Mounts` of the task.
    pub mounts: Option<Mounts>,
    /// Character set of the names the program sees, as sent (`GBK` by default).
    pub locale: String,
    /// Whether file locks work on mounts.
    pub lock: bool,
    /// Prefix that receives standard output, as sent (may lack the final slash).
    pub stdout: Option<OssPath>,
    /// Prefix that receives standard error, as sent.
    pub stderr: Option<OssPath>,
    /// `CredentialConfig`: has no effect, is echoed unchanged.
    pub credential_config: Option<serde_json::Value>,
}

/// What one instance runs (`Parameters.Command`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Program and arguments in one text; split like a shell splits words, run without a shell.
    pub command_line: String,
    /// A tar.gz unpacked into the working directory before the run.
    pub package: Option<OssPath>,
    /// Environment of the task, later than the cluster's.
    pub env: BTreeMap<String, String>,
    /// The container image, when one is asked for.
    pub docker: Option<Docker>,
}

/// `Command.Docker`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Docker {
    /// Image reference; not empty.
    pub image: String,
    /// `RunMode`, echoed.
    pub run_mode: String,
}

/// One input: an object-store prefix or object seen at a local path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What.
    pub source: OssPath,
    /// Absolute path inside the machine.
    pub local: String,
}

/// One output: a local file or directory uploaded to a place in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Absolute path inside the machine; a directory when it ends in `/` or `destination` does.
    pub local: String,
    /// Where to.
    pub destination: OssPath,
}

/// Where a task runs (`reference/api.md` 7.1.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Placement {
    /// On the machines of an existing cluster.
    Fixed(ClusterId),
    /// On a cluster made for the task and removed after it.
    Auto(AutoCluster),
    /// On an existing cluster that may grow for the task.
    Attach {
        /// The existing cluster.
        cluster: ClusterId,
        /// What added machines look like.
        shape: AutoCluster,
    },
}

impl Placement {
    /// What machines made for the task look like.
    pub fn shape(&self) -> Option<&AutoCluster> {
        match self {
            Self::Fixed(_) => None,
            Self::Auto(shape) | Self::Attach { shape, .. } => Some(shape),
        }
    }
}

/// What the machines of an automatic cluster look like (`reference/api.md` 13.7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AutoCluster {
    /// `ImageId`, if given.
    pub image: Option<ImageId>,
    /// `ECSImageId`, if given; wins.
    pub ecs_image: Option<ImageId>,
    /// `None`: the region's default type.
    pub instance_type: Option<InstanceTypeName>,
    /// On demand, spot or prepaid.
    pub resource: Resource,
    /// Disks, networks and mounts.
    pub configs: Configs,
    /// Shown to machines as metadata.
    pub user_data: BTreeMap<String, String>,
    /// Keep the cluster when the task fails.
    pub reserve_on_fail: bool,
    /// Licence service; stored and echoed.
    pub dependency_isv_service: String,
}

/// How machines are paid for (`ResourceType` with its spot members).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Resource {
    /// Ordinary machines.
    #[default]
    OnDemand,
    /// Preemptible machines. The limit is in thousandths, `None` for `SpotAsPriceGo`.
    Spot {
        /// Highest price in thousandths of the currency unit; `None`: as the price goes.
        price_limit_milli: Option<u32>,
    },
    /// Machines the operator set aside for the account.
    PrePaid,
}

/// `Configs` of a cluster or an automatic cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Configs {
    /// The system disk.
    pub system_disk: Option<Disk>,
    /// The data disk with its mount point.
    pub data_disk: Option<DataDisk>,
    /// Networks as sent: checked for CIDR syntax, otherwise echoed.
    pub networks: Option<serde_json::Value>,
    /// Mounts that live as long as the machine.
    pub mounts: Option<Mounts>,
}

/// A disk: size in GB and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// GB.
    pub size_gb: u32,
    /// `cloud_efficiency` and so on.
    pub kind: String,
}

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDisk {
    /// Size and type.
    pub disk: Disk,
    /// Where it appears.
    pub mount_point: String,
}

/// `Mounts` (`reference/api.md` 13.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mounts {
    /// What is mounted where.
    pub entries: Vec<MountEntry>,
    /// Character set of names.
    pub locale: String,
    /// File locks.
    pub lock: bool,
    /// Whether blocks are cached on disk.
    pub cache: bool,
    /// Bytes of a cache block.
    pub cache_block_size: u32,
    /// Bytes of the cache.
    pub cache_total_size: u64,
    /// All other members as sent, without secrets; echoed.
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// One entry of `Mounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountEntry {
    /// `oss://…` or `nas://…`, as sent.
    pub source: String,
    /// Local absolute path.
    pub destination: String,
    /// Whether changes go back to the source.
    pub write_support: bool,
}

/// Where events are announced (`reference/api.md` 13.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Topic name.
    pub topic: String,
    /// Endpoint of the message service.
    pub endpoint: String,
    /// Event names.
    pub events: BTreeSet<String>,
    /// Stored and echoed.
    pub user_data: String,
    /// Stored and echoed.
    pub user_template: String,
}

/// A cluster as asked for (`ClusterDescription`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// The name; not unique.
    pub name: JobName,
    /// Free text.
    pub description: String,
    /// Image of groups without their own.
    pub image: Option<ImageId>,
    /// Type of groups without their own.
    pub instance_type: Option<InstanceTypeName>,
    /// At least one group.
    pub groups: BTreeMap<GroupName, GroupSpec>,
    /// Shown to machines as metadata.
    pub user_data: BTreeMap<String, String>,
    /// Environment of programs on the cluster.
    pub env: BTreeMap<String, String>,
    /// Command run when a machine starts, after its mounts.
    pub bootstrap: String,
    /// Disks, networks, mounts.
    pub configs: Configs,
    /// Where cluster events are announced.
    pub notification: Option<Notification>,
    /// `ScheduleType`, `PasswordInherit`, `DependencyIsvService`: stored and echoed.
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// A group of equal machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// How many machines are wanted.
    pub desired: u32,
    /// `None`: the cluster's.
    pub instance_type: Option<InstanceTypeName>,
    /// `None`: the cluster's.
    pub image: Option<ImageId>,
    /// How the machines are paid for.
    pub resource: Resource,
    /// Prefix of host names; empty: `<cluster name>-<group>`.
    pub host_name_prefix: String,
    /// `Mode`: stored and echoed.
    pub mode: String,
}
