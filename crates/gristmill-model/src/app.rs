//! Apps: templates of jobs (`reference/api.md` 11), and what a job made from one keeps of its call.
//!
//! An [`AppSpec`] is checked once, when it is made from the wire; each change of an app is a new
//! revision with a specification of its own. A job made from an app is an ordinary job with one
//! task; its [`AppCall`] is kept for echoes and for the machine that serves a resident program.

use crate::{
    ids::{AccountId, ClusterId, ImageId},
    names::AppName,
};
use serde::{Deserialize, Serialize};
use serde_json::Number;
use std::{collections::BTreeMap, fmt};

/// The name of the only task of a job made from an app (`reference/api.md` 8.1).
pub const APP_TASK: &str = "task";

/// One revision of an app as described by its owner (`AppDescription`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Unique among the owner's apps.
    pub name: AppName,
    /// Free text, at most 1000 characters.
    pub description: String,
    /// Program and arguments; `${name}` stands for a parameter.
    pub command_line: String,
    /// What the program runs in.
    pub image: AppImage,
    /// What a call gives to the program.
    pub inputs: BTreeMap<String, Parameter>,
    /// Where a call wants its results.
    pub outputs: BTreeMap<String, Parameter>,
    /// Environment of the program.
    pub env: BTreeMap<String, String>,
    /// Whether the program is started once on a machine and then serves call after call.
    pub daemonize: bool,
    /// What the machines and the task are like.
    pub config: AppConfig,
}

/// What the program of an app runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppImage {
    /// The root file system of the machine.
    Vm(ImageId),
    /// A container.
    Docker {
        /// Image reference; not empty.
        image: String,
        /// `RegistryOSSPath`, as sent.
        registry: String,
        /// `RunMode`, as sent.
        run_mode: String,
    },
}

/// One parameter of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Free text.
    pub description: String,
    /// What values it takes.
    pub kind: ParameterKind,
    /// The value of a call that gives none. `None`: an input that every call has to give.
    pub default: Option<ParameterValue>,
    /// Where the object or directory that the value names is seen; empty for a plain value.
    pub local_path: String,
}

/// What values a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParameterKind {
    /// Texts.
    String,
    /// Numbers.
    Number,
}

impl ParameterKind {
    /// The vendor's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Number => "Number",
        }
    }
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// Of a `String`.
    Text(String),
    /// Of a `Number`.
    Number(Number),
}

impl fmt::Display for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// A member of an app's `Config`: its value, and whether a call may give another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting<T> {
    /// Free text.
    pub description: String,
    /// The value of a call that gives none.
    pub default: T,
    /// Whether a call may give another.
    pub overwritable: bool,
}

impl<T> From<T> for Setting<T> {
    fn from(default: T) -> Self {
        Self { description: String::new(), default, overwritable: true }
    }
}

/// `Config` of an app (`reference/api.md` 11.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppConfig {
    /// `OnDemand`, `Spot` or `PrePaid`.
    pub resource_type: Setting<String>,
    /// Empty: the region's default.
    pub instance_type: Setting<String>,
    /// How many instances a job has.
    pub instance_count: Setting<u32>,
    /// GB of the system disk.
    pub min_disk_size: Setting<u32>,
    /// Type of the system disk.
    pub disk_type: Setting<String>,
    /// GB of the data disk; 0 for none.
    pub min_data_disk_size: Setting<u32>,
    /// Type of the data disk.
    pub data_disk_type: Setting<String>,
    /// Where the data disk appears.
    pub data_disk_mount_point: Setting<String>,
    /// How often an instance is tried again.
    pub max_retry_count: Setting<u32>,
    /// Longest run, in seconds.
    pub timeout: Setting<u32>,
}

/// What a job made from an app keeps of its call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCall {
    /// The app as the job named it: `x`, `:x` or `Public:x`.
    pub app_name: String,
    /// Whose app it is.
    pub owner: AccountId,
    /// The revision that was newest when the job was submitted.
    pub revision: u32,
    /// Whether a resident program serves it.
    pub daemonize: bool,
    /// Every input that has a value, given or by default.
    pub inputs: BTreeMap<String, ParameterValue>,
    /// Every output that has a value.
    pub outputs: BTreeMap<String, ParameterValue>,
    /// What holds for this job.
    pub config: CallConfig,
}

/// `App.Config` of a job: the app's defaults with what the job overrides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallConfig {
    /// `OnDemand`, `Spot` or `PrePaid`.
    pub resource_type: String,
    /// Empty: the region's default.
    pub instance_type: String,
    /// How many instances.
    pub instance_count: u32,
    /// GB of the system disk.
    pub min_disk_size: u32,
    /// Type of the system disk.
    pub disk_type: String,
    /// GB of the data disk; 0 for none.
    pub min_data_disk_size: u32,
    /// Type of the data disk.
    pub data_disk_type: String,
    /// Where the data disk appears.
    pub data_disk_mount_point: String,
    /// How often an instance is tried again.
    pub max_retry_count: u32,
    /// Longest run, in seconds.
    pub timeout: u32,
    /// Echoed: there are no classic networks any more.
    pub classic_network: bool,
    /// The fixed cluster, if the job does not make one of its own.
    pub cluster: Option<ClusterId>,
    /// Keep an automatic cluster when the job fails.
    pub reserve_on_fail: bool,
}
