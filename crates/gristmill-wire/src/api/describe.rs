//! Specifications back as the vendor's JSON, completed with every default
//! (`reference/api.md` 7.5, 9.2, 13).
//!
//! Reading what is written here gives the same specification again; a property test holds it.
//! There is never a null: what is not there is `""`, `{}`, `[]` or left out. Secrets are not in a
//! specification and so cannot come out.
//!
//! A job of 100,000 tasks is written task by task: use [`JobDescription`] with a serializer
//! rather than [`job_description`], which holds the whole tree.

use crate::api::configs::{default_extra, default_mounts};
use gristmill_model::{
    ClusterId, ImageId, JobSpec, OssPath, Placement, TaskName, TaskSpec,
    catalogue::InstanceTypeName,
    spec::{AutoCluster, Configs, Disk, Mounts, Notification, Output, Resource},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Display};

/// The body of `GET /jobs/{job}?description`, written task by task.
#[derive(Debug, Clone, Copy)]
pub struct JobDescription<'a> {
    /// The job as submitted.
    pub spec: &'a JobSpec,
    /// The present priority, which may differ from the one submitted.
    pub priority: u16,
}

/// The same as one tree.
pub fn job_description(spec: &JobSpec, priority: u16) -> Value {
    serde_json::to_value(JobDescription { spec, priority })
        .expect("a description has only texts as names")
}

impl Serialize for JobDescription<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let JobSpec { name, description, fail_on_instance_fail, auto_release, .. } = self.spec;
        let mut members = serializer.serialize_struct("JobDescription", 8)?;
        members.serialize_field("Name", name)?;
        members.serialize_field("Description", description)?;
        members.serialize_field("Priority", &self.priority)?;
        members.serialize_field("Type", "DAG")?;
        members.serialize_field("JobFailOnInstanceFail", fail_on_instance_fail)?;
        members.serialize_field("AutoRelease", auto_release)?;
        members.serialize_field("Notification", &notification(self.spec.notification.as_ref()))?;
        members.serialize_field("DAG", &Dag(self.spec))?;
        members.end()
    }
}

struct Dag<'a>(&'a JobSpec);

impl Serialize for Dag<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("DAG", 2)?;
        members.serialize_field("Tasks", &Tasks(&self.0.tasks))?;
        members.serialize_field("Dependencies", &self.0.dependencies)?;
        members.end()
    }
}

struct Tasks<'a>(&'a BTreeMap<TaskName, TaskSpec>);

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, spec)| (name, task(spec))))
    }
}

fn task(spec: &TaskSpec) -> Value {
    let mut body = json!({
        "Parameters": parameters(spec),
        "InstanceCount": spec.instance_count,
        "MaxRetryCount": spec.retry_count_max,
        "Timeout": spec.timeout.0,
        "InputMapping": object(spec.inputs.iter().map(|input| (&input.source, &input.local))),
        "OutputMapping": mapping(&spec.outputs),
        "LogMapping": mapping(&spec.logs),
        "WriteSupport": spec.write_support,
        "Mounts": mounts(spec.mounts.as_ref()),
    });
    let members = body.as_object_mut().expect("it was made as an object");
    members.extend(placement(&spec.placement));
    if let Some(config) = &spec.credential_config {
        members.insert("CredentialConfig".into(), config.clone());
    }
    body
}

fn parameters(spec: &TaskSpec) -> Value {
    let docker = match &spec.program.docker {
        None => json!({ "Image": "" }),
        Some(docker) => json!({ "Image": docker.image, "RunMode": docker.run_mode }),
    };
    json!({
        "Command": {
            "CommandLine": spec.program.command_line,
            "PackagePath": path(spec.program.package.as_ref()),
            "EnvVars": spec.program.env,
            "Docker": docker,
        },
        "InputMappingConfig": { "Locale": spec.locale, "Lock": spec.lock },
        "StdoutRedirectPath": path(spec.stdout.as_ref()),
        "StderrRedirectPath": path(spec.stderr.as_ref()),
    })
}

fn path(path: Option<&OssPath>) -> String {
    path.map(OssPath::to_string).unwrap_or_default()
}

fn mapping(outputs: &[Output]) -> Value {
    object(outputs.iter().map(|output| (&output.local, &output.destination)))
}

fn object(pairs: impl Iterator<Item = (impl Display, impl Display)>) -> Value {
    pairs
        .map(|(key, value)| (key.to_string(), value.to_string().into()))
        .collect::<Map<_, _>>()
        .into()
}

/// `ClusterId`, and `AutoCluster` unless the cluster is fixed: even an empty one makes the
/// official command line show an automatic cluster.
fn placement(placement: &Placement) -> Map<String, Value> {
    let (cluster, auto) = match placement {
        Placement::Fixed(cluster) => (cluster.to_string(), None),
        Placement::Auto(shape) => (String::new(), Some(auto_cluster(shape, None))),
        Placement::Attach { cluster, shape } => {
            (String::new(), Some(auto_cluster(shape, Some(*cluster))))
        }
    };
    let members = [("ClusterId", Some(cluster.into())), ("AutoCluster", auto)];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn auto_cluster(shape: &AutoCluster, attached: Option<ClusterId>) -> Value {
    let mut body = json!({
        "ClusterId": attached.map(|cluster| cluster.to_string()).unwrap_or_default(),
        "ImageId": image(shape.image.as_ref()),
        "ECSImageId": image(shape.ecs_image.as_ref()),
        "InstanceType": instance_type(shape.instance_type.as_ref()),
        "Configs": configs(&shape.configs),
        "UserData": shape.user_data,
        "ReserveOnFail": shape.reserve_on_fail,
        "DependencyIsvService": shape.dependency_isv_service,
    });
    let Price { resource_type, spot_strategy, spot_price_limit } = Price::of(&shape.resource);
    body["ResourceType"] = resource_type.into();
    body["SpotStrategy"] = spot_strategy.into();
    body["SpotPriceLimit"] = spot_price_limit.into();
    body
}

pub(super) fn image(image: Option<&ImageId>) -> String {
    image.map(ImageId::to_string).unwrap_or_default()
}

pub(super) fn instance_type(name: Option<&InstanceTypeName>) -> String {
    name.map(InstanceTypeName::to_string).unwrap_or_default()
}

/// The three members that say how machines are paid for.
pub(super) struct Price {
    pub resource_type: &'static str,
    pub spot_strategy: &'static str,
    pub spot_price_limit: f64,
}

impl Price {
    pub(super) fn of(resource: &Resource) -> Self {
        let (resource_type, spot_strategy, milli) = match resource {
            Resource::OnDemand => ("OnDemand", "", 0),
            Resource::PrePaid => ("PrePaid", "", 0),
            Resource::Spot { price_limit_milli: None } => ("Spot", "SpotAsPriceGo", 0),
            Resource::Spot { price_limit_milli: Some(milli) } => {
                ("Spot", "SpotWithPriceLimit", *milli)
            }
        };
        Self { resource_type, spot_strategy, spot_price_limit: f64::from(milli) / 1000.0 }
    }
}

/// `Configs` with all three parts.
pub(super) fn configs(configs: &Configs) -> Value {
    let no_networks = || json!({ "Classic": {} });
    json!({
        "Disks": disks(configs),
        "Networks": configs.networks.clone().unwrap_or_else(no_networks),
        "Mounts": mounts(configs.mounts.as_ref()),
    })
}

/// `Disks` with those that are there.
pub(super) fn disks(configs: &Configs) -> Value {
    let disk = |disk: &Disk| json!({ "Size": disk.size_gb, "Type": disk.kind });
    let mut disks = Map::new();
    if let Some(system) = &configs.system_disk {
        disks.insert("SystemDisk".into(), disk(system));
    }
    if let Some(data) = &configs.data_disk {
        let mut body = disk(&data.disk);
        body["MountPoint"] = data.mount_point.as_str().into();
        disks.insert("DataDisk".into(), body);
    }
    disks.into()
}

/// `Mounts` with every member.
fn mounts(mounts: Option<&Mounts>) -> Value {
    let default = default_mounts();
    let mounts = mounts.unwrap_or(&default);
    let entry = |entry: &gristmill_model::spec::MountEntry| {
        json!({
            "Source": entry.source,
            "Destination": entry.destination,
            "WriteSupport": entry.write_support,
        })
    };
    let mut body = json!({
        "Entries": mounts.entries.iter().map(entry).collect::<Vec<_>>(),
        "Locale": mounts.locale,
        "Lock": mounts.lock,
        "CacheSupport": mounts.cache,
        "CacheBlockSize": mounts.cache_block_size,
        "CacheTotalSize": mounts.cache_total_size,
    });
    let members = body.as_object_mut().expect("it was made as an object");
    members.extend(default_extra());
    members.extend(mounts.extra.clone());
    body
}

/// `Notification`, with empty members when there is none: the official command line needs it.
pub(super) fn notification(notification: Option<&Notification>) -> Value {
    let topic = match notification {
        None => {
            json!({"Name": "", "Endpoint": "", "Events": [], "UserData": "", "UserTemplate": ""})
        }
        Some(Notification { topic, endpoint, events, user_data, user_template }) => json!({
            "Name": topic,
            "Endpoint": endpoint,
            "Events": events,
            "UserData": user_data,
            "UserTemplate": user_template,
        }),
    };
    json!({ "Topic": topic })
}
