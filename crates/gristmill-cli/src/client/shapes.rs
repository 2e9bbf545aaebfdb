//! What the client reads of the service's answers.
//!
//! Tolerant on purpose: a member that is missing, `null` or of an older form reads as its
//! default, so that one odd answer does not break a listing. `wire` holds the exact shapes that a
//! server must write; this is the other end.

use crate::moment;
use gristmill_model::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

fn tolerant<'de, D: Deserializer<'de>, T: Default + for<'v> Deserialize<'v>>(
    value: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(value)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

fn time<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Timestamp>, D::Error> {
    let text: String = tolerant(value)?;
    Ok(moment::parse(&text))
}

/// The five counts of tasks or instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Counts {
    /// Not begun.
    #[serde(rename = "WaitingCount")]
    pub waiting: u64,
    /// Running now.
    #[serde(rename = "RunningCount")]
    pub running: u64,
    /// Ended well.
    #[serde(rename = "FinishedCount")]
    pub finished: u64,
    /// Failed for good.
    #[serde(rename = "FailedCount")]
    pub failed: u64,
    /// Stopped.
    #[serde(rename = "StoppedCount")]
    pub stopped: u64,
}

impl Counts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.waiting + self.running + self.finished + self.failed + self.stopped
    }

    /// Those that will not change any more by themselves.
    pub fn ended(self) -> u64 {
        self.finished + self.failed
    }

    /// `ended/total`, the Counts column.
    pub fn ratio(self) -> String {
        format!("{}/{}", self.ended(), self.total())
    }
}

/// A job (`reference/api.md` 7.4).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    /// `job-…`
    #[serde(deserialize_with = "tolerant")]
    pub id: String,
    /// Its name.
    #[serde(deserialize_with = "tolerant")]
    pub name: String,
    /// `Waiting`, `Running`, `Finished`, `Failed` or `Stopped`.
    #[serde(deserialize_with = "tolerant")]
    pub state: String,
    /// Why it failed, or why it waits.
    #[serde(deserialize_with = "tolerant")]
    pub message: String,
    /// When it was submitted.
    #[serde(deserialize_with = "time")]
    pub creation_time: Option<Timestamp>,
    /// When its first instance started.
    #[serde(deserialize_with = "time")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(deserialize_with = "time")]
    pub end_time: Option<Timestamp>,
    /// Its tasks by state.
    #[serde(deserialize_with = "tolerant")]
    pub task_metrics: Counts,
    /// Its instances by state.
    #[serde(deserialize_with = "tolerant")]
    pub instance_metrics: Counts,
}

impl Job {
    /// Whether it has ended, well or not.
    pub fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "Finished" | "Failed" | "Stopped")
    }
}

/// Why a job waits (`GET /jobs/{job}/why`, ours).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Why {
    /// What stands in the way of tasks that wait.
    #[serde(deserialize_with = "tolerant")]
    pub tasks: Vec<Obstacle>,
}

/// What stands in the way of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Obstacle {
    /// Which task.
    #[serde(deserialize_with = "tolerant")]
    pub task_name: String,
    /// A name for programs.
    #[serde(deserialize_with = "tolerant")]
    pub code: String,
    /// In English.
    #[serde(deserialize_with = "tolerant")]
    pub message: String,
    /// What it is about, by name.
    #[serde(deserialize_with = "tolerant")]
    pub facts: BTreeMap<String, String>,
}

/// A task (`reference/api.md` 8.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// Its name in the description.
    #[serde(deserialize_with = "tolerant")]
    pub task_name: String,
    /// As of a job.
    #[serde(deserialize_with = "tolerant")]
    pub state: String,
    /// When its first instance started.
    #[serde(deserialize_with = "time")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(deserialize_with = "time")]
    pub end_time: Option<Timestamp>,
    /// Its instances by state.
    #[serde(deserialize_with = "tolerant")]
    pub instance_metrics: Counts,
}

/// How an instance ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InstanceResult {
    /// Of its program.
    #[serde(deserialize_with = "tolerant")]
    pub exit_code: i64,
    /// Empty unless it failed.
    #[serde(deserialize_with = "tolerant")]
    pub error_code: String,
    /// The same for a person.
    #[serde(deserialize_with = "tolerant")]
    pub error_message: String,
    /// More.
    #[serde(deserialize_with = "tolerant")]
    pub detail: String,
}

/// One run of a task (`reference/api.md` 8.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Instance {
    /// From 0.
    #[serde(deserialize_with = "tolerant")]
    pub instance_id: u64,
    /// As of a job.
    #[serde(deserialize_with = "tolerant")]
    pub state: String,
    /// When its last run started.
    #[serde(deserialize_with = "time")]
    pub start_time: Option<Timestamp>,
    /// When its last run ended.
    #[serde(deserialize_with = "time")]
    pub end_time: Option<Timestamp>,
    /// Retries done.
    #[serde(deserialize_with = "tolerant")]
    pub retry_count: u64,
    /// Percent.
    #[serde(deserialize_with = "tolerant")]
    pub progress: u64,
    /// The object with its standard output.
    #[serde(deserialize_with = "tolerant")]
    pub stdout_redirect_path: String,
    /// The object with its standard error.
    #[serde(deserialize_with = "tolerant")]
    pub stderr_redirect_path: String,
    /// Where it ran.
    #[serde(deserialize_with = "tolerant")]
    pub node_ip: String,
    /// How it ended.
    #[serde(deserialize_with = "tolerant")]
    pub result: InstanceResult,
}

/// A group of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Machines wanted.
    #[serde(rename = "DesiredVMCount", deserialize_with = "tolerant")]
    pub desired: u64,
    /// Machines there.
    #[serde(rename = "ActualVMCount", deserialize_with = "tolerant")]
    pub actual: u64,
    /// Their type.
    #[serde(rename = "InstanceType", deserialize_with = "tolerant")]
    pub instance_type: String,
    /// `OnDemand`, `Spot` or `PrePaid`.
    #[serde(rename = "ResourceType", deserialize_with = "tolerant")]
    pub resource_type: String,
}

/// A cluster (`reference/api.md` 9.2).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cluster {
    /// `cls-…`
    #[serde(deserialize_with = "tolerant")]
    pub id: String,
    /// Its name.
    #[serde(deserialize_with = "tolerant")]
    pub name: String,
    /// `Active` or `Deleting`.
    #[serde(deserialize_with = "tolerant")]
    pub state: String,
    /// The image of its machines.
    #[serde(deserialize_with = "tolerant")]
    pub image_id: String,
    /// When it was made.
    #[serde(deserialize_with = "time")]
    pub creation_time: Option<Timestamp>,
    /// By name.
    #[serde(deserialize_with = "tolerant")]
    pub groups: BTreeMap<String, Group>,
    /// What happened to it, newest last.
    #[serde(deserialize_with = "tolerant")]
    pub operation_logs: Vec<String>,
}

impl Cluster {
    /// `actual / desired` over all groups.
    pub fn counts(&self) -> String {
        let sum = |count: fn(&Group) -> u64| self.groups.values().map(count).sum::<u64>();
        format!("{} / {}", sum(|group| group.actual), sum(|group| group.desired))
    }
}

/// A machine of a cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Machine {
    /// `i-…`
    #[serde(deserialize_with = "tolerant")]
    pub id: String,
    /// Its host name.
    #[serde(deserialize_with = "tolerant")]
    pub host_name: String,
    /// Its address.
    #[serde(deserialize_with = "tolerant")]
    pub ip_address: String,
    /// `Pending`, `Starting`, `Running`, `Deleting` or `Deleted`.
    #[serde(deserialize_with = "tolerant")]
    pub state: String,
    /// Why it is not running.
    #[serde(deserialize_with = "tolerant")]
    pub hint: String,
    /// 0, or what went wrong.
    #[serde(deserialize_with = "tolerant")]
    pub error_code: i64,
    /// The same for a person.
    #[serde(deserialize_with = "tolerant")]
    pub error_message: String,
    /// When it was made.
    #[serde(deserialize_with = "time")]
    pub creation_time: Option<Timestamp>,
}

/// A kind of machine, in `GET /available`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MachineType {
    /// Its name.
    #[serde(deserialize_with = "tolerant")]
    pub instance_type: String,
    /// Cores.
    #[serde(deserialize_with = "tolerant")]
    pub cpu_core: u64,
    /// Memory in GB.
    #[serde(deserialize_with = "tolerant")]
    pub memory_size: f64,
}

/// What exists (`reference/api.md` 12.2).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Available {
    /// On demand.
    #[serde(deserialize_with = "tolerant")]
    pub available_cluster_instance_type: Vec<MachineType>,
    /// As spot machines.
    #[serde(deserialize_with = "tolerant")]
    pub available_spot_instance_type: Vec<MachineType>,
}

/// What this account may use (`reference/api.md` 12.1).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Quotas {
    /// `OnDemand`, `Spot`, `PrePaid`.
    #[serde(deserialize_with = "tolerant")]
    pub available_cluster_resource_type: Vec<String>,
    /// Machine types on demand.
    #[serde(deserialize_with = "tolerant")]
    pub available_cluster_instance_type: Vec<String>,
    /// Machine types as spot machines.
    #[serde(deserialize_with = "tolerant")]
    pub available_spot_instance_type: Vec<String>,
    /// Disk types.
    #[serde(deserialize_with = "tolerant")]
    pub available_cluster_instance_system_disk_type: Vec<String>,
    /// Disk types.
    #[serde(deserialize_with = "tolerant")]
    pub available_cluster_instance_data_disk_type: Vec<String>,
}

/// An image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Image {
    /// `img-…`
    #[serde(deserialize_with = "tolerant")]
    pub id: String,
    /// Its name.
    #[serde(deserialize_with = "tolerant")]
    pub name: String,
    /// `Linux` or `Windows`.
    #[serde(deserialize_with = "tolerant")]
    pub platform: String,
    /// `System` or `Self`.
    #[serde(rename = "Type", deserialize_with = "tolerant")]
    pub kind: String,
    /// `m-…`, for one's own.
    #[serde(deserialize_with = "tolerant")]
    pub ecs_image_id: String,
    /// Free text.
    #[serde(deserialize_with = "tolerant")]
    pub description: String,
    /// When it was made.
    #[serde(deserialize_with = "time")]
    pub creation_time: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_answer_reads_as_far_as_it_goes() {
        let text = r#"{"Id":"job-1","Name":null,"State":"Waiting","StartTime":"","EndTime":null,
            "CreationTime":"2024-01-02T03:04:05.000000Z","TaskMetrics":{"WaitingCount":2},
            "InstanceMetrics":null,"Unknown":[1]}"#;
        let job: Job = serde_json::from_str(text).unwrap();
        assert_eq!((job.id.as_str(), job.name.as_str()), ("job-1", ""));
        assert_eq!(job.creation_time, Some(Timestamp(1_704_164_645_000_000)));
        assert_eq!(job.start_time, None);
        assert_eq!((job.task_metrics.ratio(), job.instance_metrics.total()), ("0/2".to_owned(), 0));
    }
}
