//! The bodies of answers (`reference/api.md` appendix A), as plain structs.
//!
//! The server fills them, our own client reads them. Every member is always written: a missing
//! one reads back as an empty object in the Python SDK, and a null object crashes it (4.2).
//! Reading is lenient: a member that an older or foreign server leaves out is its default.

use crate::time::WireTime;
use gristmill_model::{
    AccountId, ClusterId, InstanceNo, InstanceType, JobId, JobState, TaskName, WorkerId,
    WorkerState,
    state::{Cause, Counts},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

macro_rules! body {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $kind:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
        }
    };
}

body! {
    /// The answer of a create: 201 and the id.
    Created {
        /// The id.
        id: String,
    }
}

body! {
    /// How many tasks or instances are in each state.
    Metrics {
        /// Waiting.
        waiting_count: u32,
        /// Running.
        running_count: u32,
        /// Finished.
        finished_count: u32,
        /// Failed.
        failed_count: u32,
        /// Stopped.
        stopped_count: u32,
    }
}

impl From<Counts> for Metrics {
    fn from(counts: Counts) -> Self {
        Self {
            waiting_count: counts.waiting,
            running_count: counts.running,
            finished_count: counts.finished,
            failed_count: counts.failed,
            stopped_count: counts.stopped,
        }
    }
}

body! {
    /// `GET /jobs/{job}` and the items of `GET /jobs`.
    Job {
        /// `job-…`.
        id: String,
        /// The name.
        name: String,
        /// The account's number; Java reads it.
        owner_id: u64,
        /// The same as text; Python reads it.
        owner: String,
        /// `DAG` or `App`.
        r#type: String,
        /// Free text.
        description: String,
        /// The present priority.
        priority: u16,
        /// One of the five states.
        state: String,
        /// Why it failed, or empty.
        message: String,
        /// When it was submitted.
        creation_time: WireTime,
        /// When its first instance started.
        start_time: WireTime,
        /// When it ended.
        end_time: WireTime,
        /// Its tasks by state.
        task_metrics: Metrics,
        /// Its instances by state.
        instance_metrics: Metrics,
    }
}

impl Job {
    /// A job of type DAG with what never changes; the rest is empty, waiting.
    pub fn new(id: JobId, account: AccountId, name: &str, description: &str) -> Self {
        Self {
            id: id.to_string(),
            name: name.to_owned(),
            owner_id: account.0,
            owner: account.to_string(),
            r#type: "DAG".to_owned(),
            description: description.to_owned(),
            state: JobState::Waiting.name().to_owned(),
            ..Self::default()
        }
    }
}

body! {
    /// `GET /jobs/{job}/tasks/{task}` and the items of the list.
    Task {
        /// The key in `DAG.Tasks`.
        task_name: String,
        /// One of the five states.
        state: String,
        /// When its first instance started.
        start_time: WireTime,
        /// When it ended.
        end_time: WireTime,
        /// Its instances by state.
        instance_metrics: Metrics,
    }
}

impl Task {
    /// A task that waits.
    pub fn new(name: &TaskName) -> Self {
        Self {
            task_name: name.to_string(),
            state: JobState::Waiting.name().to_owned(),
            ..Self::default()
        }
    }
}

body! {
    /// `GET /jobs/{job}/tasks/{task}/instances/{n}` and the items of the list.
    Instance {
        /// A number, not a text.
        instance_id: u32,
        /// One of the five states.
        state: String,
        /// When the last run started.
        start_time: WireTime,
        /// When the last run ended.
        end_time: WireTime,
        /// Retries done.
        retry_count: u32,
        /// 0 to 100.
        progress: u32,
        /// The object with the standard output of this instance, or empty.
        stdout_redirect_path: String,
        /// The object with its standard error, or empty.
        stderr_redirect_path: String,
        /// Where it runs or ran.
        node_ip: String,
        /// How it ended. The code is not empty exactly when it failed.
        result: InstanceResult,
        /// For App jobs; empty texts otherwise.
        error: InstanceError,
        /// For App jobs; empty otherwise.
        outputs: BTreeMap<String, Value>,
    }
}

body! {
    /// `Result` of an instance.
    InstanceResult {
        /// The program's exit code.
        exit_code: i32,
        /// Why it failed, as a word.
        error_code: String,
        /// Why it failed, as a sentence.
        error_message: String,
        /// More words.
        detail: String,
    }
}

body! {
    /// `Error` of an instance of an App job.
    InstanceError {
        /// A word.
        code: String,
        /// A sentence.
        message: String,
    }
}

body! {
    /// `POST /jobs?sync`: how the call of an app ended.
    SynchronousInstance {
        /// The same as the header `x-acs-request-id`.
        request_id: String,
        /// The job that was made. Ours.
        job_id: String,
        /// When its first instance started.
        start_time: WireTime,
        /// When it ended; empty when the wait ended first.
        end_time: WireTime,
        /// Name of an output to its value; empty unless the job finished.
        outputs: BTreeMap<String, Value>,
        /// Empty texts when the job finished.
        error: InstanceError,
    }
}

impl Instance {
    /// An instance that waits.
    pub fn new(number: InstanceNo) -> Self {
        Self {
            instance_id: number.0,
            state: JobState::Waiting.name().to_owned(),
            ..Self::default()
        }
    }
}

impl InstanceResult {
    /// The result of a run that failed for `cause`.
    pub fn failed(cause: Cause, exit_code: i32, message: &str, detail: &str) -> Self {
        Self {
            exit_code,
            error_code: cause.code().to_owned(),
            error_message: message.to_owned(),
            detail: detail.to_owned(),
        }
    }
}

body! {
    /// `GET /clusters/{cluster}` and the items of the list. Built by `cluster_body`.
    Cluster {
        /// `cls-…`.
        id: String,
        /// The name.
        name: String,
        /// The account's number.
        owner_id: u64,
        /// Free text.
        description: String,
        /// When it was made.
        creation_time: WireTime,
        /// `Active` or `Deleting`.
        state: String,
        /// Empty.
        error_code: String,
        /// Image of groups without their own.
        image_id: String,
        /// Type of groups without their own.
        instance_type: String,
        /// Shown to machines as metadata.
        user_data: BTreeMap<String, String>,
        /// Environment of programs on the cluster.
        env_vars: BTreeMap<String, String>,
        /// Old feature: empty.
        input_mapping: BTreeMap<String, String>,
        /// Old feature: the defaults.
        input_mapping_config: InputMappingConfig,
        /// Old feature: false.
        write_support: bool,
        /// Command run when a machine starts.
        bootstrap: String,
        /// Echoed.
        schedule_type: String,
        /// Python reads it.
        security_group: String,
        /// Java reads it.
        security_groups: Vec<String>,
        /// `{"Topic":{…}}`, never absent.
        notification: Value,
        /// Disks, networks, mounts.
        configs: Value,
        /// The groups by name.
        groups: BTreeMap<String, Group>,
        /// Machines by state.
        metrics: ClusterMetrics,
        /// Newest last.
        operation_logs: Vec<String>,
        /// Echoed.
        password_inherit: bool,
        /// Echoed.
        dependency_isv_service: String,
    }
}

/// `InputMappingConfig` of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InputMappingConfig {
    /// Character set of names.
    pub locale: String,
    /// File locks.
    pub lock: bool,
}

impl Default for InputMappingConfig {
    fn default() -> Self {
        Self { locale: super::locale::LOCALE_DEFAULT.to_owned(), lock: false }
    }
}

body! {
    /// One group of a cluster.
    Group {
        /// How many machines are wanted.
        #[serde(rename = "DesiredVMCount")]
        desired_vm_count: u32,
        /// How many run.
        #[serde(rename = "ActualVMCount")]
        actual_vm_count: u32,
        /// Their type.
        instance_type: String,
        /// `OnDemand`, `Spot` or `PrePaid`.
        resource_type: String,
        /// Empty without `Spot`.
        spot_strategy: String,
        /// 0 without a limit.
        spot_price_limit: f64,
        /// Empty: the cluster's.
        image_id: String,
        /// Prefix of host names.
        hostname_prefix: String,
        /// Echoed.
        mode: String,
        /// `SystemDisk` and `DataDisk`, where there are any.
        disks: Value,
    }
}

body! {
    /// Machines of a cluster by state. Pending ones are in none: `bcs` shows them as unallocated.
    #[derive(Copy, Eq)]
    ClusterMetrics {
        /// Starting.
        starting_count: u32,
        /// Running.
        running_count: u32,
        /// Being deleted.
        stopping_count: u32,
        /// Always 0 here.
        stopped_count: u32,
    }
}

impl FromIterator<WorkerState> for ClusterMetrics {
    fn from_iter<I: IntoIterator<Item = WorkerState>>(states: I) -> Self {
        let mut metrics = Self::default();
        for state in states {
            match state {
                WorkerState::Pending => {}
                WorkerState::Starting => metrics.starting_count += 1,
                WorkerState::Running => metrics.running_count += 1,
                WorkerState::Deleting => metrics.stopping_count += 1,
            }
        }
        metrics
    }
}

body! {
    /// A machine: `GET …/instances/{worker}` and the items of the list.
    ClusterInstance {
        /// `i-…`.
        id: String,
        /// `Pending`, `Starting`, `Running`, `Deleting`.
        state: String,
        /// Empty until known.
        ip_address: String,
        /// Unique in the cluster.
        host_name: String,
        /// The same as `Id`.
        ecs_instance_id: String,
        /// Why it is not running, or empty.
        hint: String,
        /// A number: 0, or what went wrong: 1 it could not be made, 2 it could not be set up.
        error_code: i32,
        /// What went wrong, or empty.
        error_message: String,
        /// When it was wanted.
        creation_time: WireTime,
        /// The password for logging in; empty when the image's own is kept.
        instance_password: String,
    }
}

impl ClusterInstance {
    /// A machine without an address.
    pub fn new(id: WorkerId, state: WorkerState, host_name: &str) -> Self {
        Self {
            id: id.to_string(),
            ecs_instance_id: id.to_string(),
            state: state.name().to_owned(),
            host_name: host_name.to_owned(),
            ..Self::default()
        }
    }
}

body! {
    /// `GET /images/{image}` and the items of the list.
    Image {
        /// `img-…`.
        id: String,
        /// The name.
        name: String,
        /// `System` or `Self`.
        r#type: String,
        /// Free text.
        description: String,
        /// `m-…`.
        ecs_image_id: String,
        /// A number.
        owner_id: u64,
        /// `Linux` or `Windows`.
        platform: String,
        /// When it was made.
        creation_time: WireTime,
    }
}

body! {
    /// `GET /quotas`. No list may be empty: the Java tests take the first entry of each.
    Quotas {
        /// `OnDemand`, `Spot`, `PrePaid`.
        available_cluster_resource_type: Vec<String>,
        /// Types on demand.
        available_cluster_instance_type: Vec<String>,
        /// Types for spot.
        available_spot_instance_type: Vec<String>,
        /// Types of system disks.
        available_cluster_instance_system_disk_type: Vec<String>,
        /// Types of data disks.
        available_cluster_instance_data_disk_type: Vec<String>,
        /// Ours: what the account may use and does use.
        account_quotas: Vec<AccountQuota>,
    }
}

body! {
    /// One quota of an account.
    AccountQuota {
        /// `Machines`, `Cores`, `Jobs`, `Instances`.
        name: String,
        /// The most there may be.
        limit: u64,
        /// What there is.
        used: u64,
    }
}

body! {
    /// `GET /available`.
    AvailableResource {
        /// Types on demand.
        available_cluster_instance_type: Vec<InstanceDesc>,
        /// Types for spot.
        available_spot_instance_type: Vec<InstanceDesc>,
        /// Types that the operator set aside.
        available_prepaid_instance_type: Vec<InstanceDesc>,
        /// `OnDemand`, `Spot`, `PrePaid`.
        available_resource_type: Vec<String>,
        /// Types of system disks.
        available_system_disk_type: Vec<String>,
        /// Types of data disks.
        available_data_disk_type: Vec<String>,
    }
}

body! {
    /// An instance type.
    InstanceDesc {
        /// Its name.
        instance_type: String,
        /// Cores.
        cpu_core: u32,
        /// Whole GB.
        memory_size: u32,
        /// Where it is offered.
        network: NetworkDesc,
    }
}

body! {
    /// In which networks a type is offered.
    NetworkDesc {
        /// Nowhere today.
        classic: bool,
        /// Everywhere.
        vpc: bool,
    }
}

impl From<&InstanceType> for InstanceDesc {
    fn from(kind: &InstanceType) -> Self {
        Self {
            instance_type: kind.name.to_string(),
            cpu_core: kind.cpu_cores,
            memory_size: kind.memory_gb,
            network: NetworkDesc { classic: false, vpc: true },
        }
    }
}

/// The types of disk a region without real disks offers.
fn disk_kinds() -> Vec<String> {
    vec![super::configs::DISK_KIND_DEFAULT.to_owned(), "cloud_ssd".to_owned()]
}

/// The ways to pay a region offers.
fn resource_kinds(has_prepaid: bool) -> Vec<String> {
    let kinds = ["OnDemand", "Spot"].into_iter().chain(has_prepaid.then_some("PrePaid"));
    kinds.map(str::to_owned).collect()
}

impl Quotas {
    /// What a region with these types offers an account, with or without prepaid machines. Every
    /// type is also in [`AvailableResource::of`], or `bcs` hides it.
    pub fn of(types: &[InstanceType], has_prepaid: bool) -> Self {
        let names: Vec<_> = types.iter().map(|kind| kind.name.to_string()).collect();
        Self {
            available_cluster_resource_type: resource_kinds(has_prepaid),
            available_cluster_instance_type: names.clone(),
            available_spot_instance_type: names,
            available_cluster_instance_system_disk_type: disk_kinds(),
            available_cluster_instance_data_disk_type: disk_kinds(),
            account_quotas: Vec::new(),
        }
    }
}

impl AvailableResource {
    /// What a region with these types offers an account with prepaid machines of those.
    pub fn of(types: &[InstanceType], prepaid: &[InstanceType]) -> Self {
        let types: Vec<InstanceDesc> = types.iter().map(InstanceDesc::from).collect();
        Self {
            available_cluster_instance_type: types.clone(),
            available_spot_instance_type: types,
            available_prepaid_instance_type: prepaid.iter().map(InstanceDesc::from).collect(),
            available_resource_type: resource_kinds(!prepaid.is_empty()),
            available_system_disk_type: disk_kinds(),
            available_data_disk_type: disk_kinds(),
        }
    }
}

impl From<JobId> for Created {
    fn from(id: JobId) -> Self {
        Self { id: id.to_string() }
    }
}

impl From<ClusterId> for Created {
    fn from(id: ClusterId) -> Self {
        Self { id: id.to_string() }
    }
}
