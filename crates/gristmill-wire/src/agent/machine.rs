//! What a machine of a cluster is made of, as its agent is told: once, when it is started.
//!
//! Every member has a default, and what an agent does not know it leaves out: an older agent
//! makes a plainer machine.

use super::Mapping;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// What is made before the machine takes work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineConfig {
    /// The directory of the image that is its root; none: the host's own root.
    pub image: Option<PathBuf>,
    /// The command that is run once, after the mounts and before any program; empty for none.
    pub bootstrap: String,
    /// How long it may take; 0 for no bound.
    pub bootstrap_seconds_max: u32,
    /// Its environment: the service's names and the cluster's `EnvVars`.
    pub env: BTreeMap<String, String>,
    /// What it sees of the object store.
    pub mounts: Vec<MachineMount>,
    /// Character set of the names in mounts.
    pub locale: String,
    /// File locks on mounts.
    pub lock: bool,
    /// URL of the object store.
    pub oss_endpoint: String,
    /// Key for the object store, good for the cluster's mounts only.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: String,
    /// Files that every program of the machine sees, by their absolute path.
    pub files: BTreeMap<String, String>,
    /// Bytes that everything the machine's programs write may take, outside of its data disk; 0
    /// for no bound.
    pub system_disk_bytes: u64,
    /// Its data disk, if it has one.
    pub data_disk: Option<DataDiskConfig>,
    /// How it joins its network; absent: it shares the host's.
    pub network: Option<NetworkConfig>,
    /// A file of the host with the names of its neighbours, in the form of `/etc/hosts`; empty for
    /// none. It changes while the machine lives.
    pub hosts: PathBuf,
}

/// How a machine joins its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// The file that the network's namespace hangs on.
    pub file: PathBuf,
    /// What the network's end of the machine's wire is called.
    pub link: String,
    /// How many bits the addresses of the network have in common.
    pub bits: u8,
    /// The network's own address, with the region's doors.
    pub gateway: String,
}

/// A data disk: empty at first, shared by the machine's programs, gone with the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDiskConfig {
    /// Its size.
    pub bytes: u64,
    /// Absolute path at which programs see it.
    pub mount_point: String,
}

/// A place in the object store and where the machine sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineMount {
    /// `oss://bucket/key`.
    pub remote: String,
    /// Absolute local path.
    pub local: String,
}

impl From<&MachineMount> for Mapping {
    fn from(mount: &MachineMount) -> Self {
        Self { remote: mount.remote.clone(), local: mount.local.clone() }
    }
}
