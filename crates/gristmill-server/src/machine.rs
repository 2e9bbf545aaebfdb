//! What a machine is made of, derived from its cluster's specification at the moment it is asked
//! for: a changed cluster changes the machines that come.

use crate::{
    briefing::{Briefing, cluster_entries},
    keys::KeyRing,
    seats::Seat,
    way_out::RESOLVER_FILE,
};
use gristmill_core::Cluster;
use gristmill_model::event::EnsureWorker;
use gristmill_wire::agent::{DataDiskConfig, MachineConfig, MachineMount};
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf};

/// Where programs find what their machine is: a JSON object.
pub const METADATA_FILE: &str = "/batchcompute/metadata.json";

/// The machine's part of an agent's configuration.
pub fn describe(
    request: &EnsureWorker,
    cluster: &Cluster,
    briefing: &Briefing,
    keys: &KeyRing,
    seat: &Seat,
    (image, bootstrap_seconds_max): (Option<PathBuf>, u32),
) -> MachineConfig {
    let EnsureWorker { worker, generation, .. } = *request;
    let spec = &cluster.spec;
    let mounts = spec.configs.mounts.as_ref();
    let (access_key_id, access_key_secret) = keys.machine_key(worker, generation);
    MachineConfig {
        image,
        bootstrap: spec.bootstrap.clone(),
        bootstrap_seconds_max,
        env: briefing.machine_environment(worker, cluster),
        mounts: cluster_entries(spec)
            .map(|(remote, entry)| MachineMount {
                remote: remote.to_string(),
                local: entry.destination.clone(),
            })
            .collect(),
        locale: mounts.map_or_else(|| "UTF-8".to_owned(), |mounts| mounts.locale.clone()),
        lock: mounts.is_some_and(|mounts| mounts.lock),
        oss_endpoint: briefing.oss_endpoint.clone(),
        access_key_id,
        access_key_secret,
        files: files(request, cluster, briefing, seat),
        system_disk_bytes: spec.configs.system_disk.as_ref().map_or(0, |disk| gib(disk.size_gb)),
        data_disk: spec.configs.data_disk.as_ref().map(|data| DataDiskConfig {
            bytes: gib(data.disk.size_gb),
            mount_point: data.mount_point.clone(),
        }),
        network: seat.network.clone(),
        hosts: seat.hosts.clone(),
    }
}

fn files(
    request: &EnsureWorker,
    cluster: &Cluster,
    briefing: &Briefing,
    seat: &Seat,
) -> BTreeMap<String, String> {
    let about = metadata(request, cluster, briefing, seat);
    let mut files = BTreeMap::from([(METADATA_FILE.to_owned(), about)]);
    if let Some(text) = &seat.resolver_text {
        files.insert(RESOLVER_FILE.to_owned(), text.clone());
    }
    files
}

fn gib(count: u32) -> u64 {
    u64::from(count) << 30
}

/// `UserData` is "shown to machines as metadata" (`reference/api.md` 9.1); the rest saves scripts
/// from asking the API who they are.
fn metadata(request: &EnsureWorker, cluster: &Cluster, briefing: &Briefing, seat: &Seat) -> String {
    let about = json!({
        "Region": briefing.region,
        "ClusterId": cluster.id.to_string(),
        "ClusterName": cluster.spec.name.to_string(),
        "GroupName": request.group.to_string(),
        "InstanceId": request.worker.to_string(),
        "HostName": request.host_name,
        "IpAddress": seat.address.to_string(),
        "UserData": cluster.spec.user_data,
    });
    format!("{about:#}\n")
}
