//! Specifications back as the vendor's JSON, completed with every default
//! (`reference/api.md` 7.5, 9.2, 13).
//!
//! Each struct here is a view: it borrows from a specification and is written once. Reading what
//! is written gives the same specification again; a property test holds it. There is never a
//! null: what is not there is `""`, `{}`, `[]` or left out. Secrets are not in a specification
//! and so cannot come out.
//!
//! A job of 100,000 tasks is written task by task: use [`JobDescription`] with a serializer
//! rather than [`job_description`], which holds the whole tree.

use crate::api::{
    app::call_view,
    configs::{default_extra, default_mounts},
};
use gristmill_model::{
    ClusterId, ImageId, JobSpec, OssPath, Placement, TaskName, TaskSpec,
    catalogue::InstanceTypeName,
    spec::{
        AutoCluster, Configs, Disk, Docker, Input, MountEntry, Mounts, Notification, Output,
        Program, Resource,
    },
};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::LazyLock,
};

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
    tree(&JobDescription { spec, priority })
}

/// A view as a tree of JSON values.
pub(super) fn tree(view: &impl Serialize) -> Value {
    serde_json::to_value(view).expect("a view has only texts as names")
}

impl Serialize for JobDescription<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let spec = self.spec;
        let view = JobView {
            name: spec.name.as_str(),
            description: &spec.description,
            priority: self.priority,
            kind: if spec.app.is_some() { "App" } else { "DAG" },
            job_fail_on_instance_fail: spec.fail_on_instance_fail,
            auto_release: spec.auto_release,
            notification: NotificationView::of(spec.notification.as_ref()),
            app: spec.app.as_ref().map(|call| {
                let task = spec.tasks.values().next();
                let path =
                    |of: fn(&TaskSpec) -> &Option<OssPath>| task.and_then(|it| of(it).as_ref());
                call_view(call, path(|it| &it.stdout), path(|it| &it.stderr))
            }),
            dag: DagView {
                // Java walks the tasks of every job, so that an app's job has none.
                tasks: Tasks(if spec.app.is_some() { &NO_TASKS } else { &spec.tasks }),
                dependencies: &spec.dependencies,
            },
        };
        view.serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct JobView<'a> {
    name: &'a str,
    description: &'a str,
    priority: u16,
    #[serde(rename = "Type")]
    kind: &'a str,
    job_fail_on_instance_fail: bool,
    auto_release: bool,
    notification: NotificationView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<Value>,
    #[serde(rename = "DAG")]
    dag: DagView<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DagView<'a> {
    tasks: Tasks<'a>,
    dependencies: &'a BTreeMap<TaskName, BTreeSet<TaskName>>,
}

static NO_TASKS: BTreeMap<TaskName, TaskSpec> = BTreeMap::new();

struct Tasks<'a>(&'a BTreeMap<TaskName, TaskSpec>);

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, task)| (name, TaskView::of(task))))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TaskView<'a> {
    parameters: ParametersView<'a>,
    instance_count: u32,
    max_retry_count: u32,
    timeout: u32,
    cluster_id: Text<ClusterId>,
    /// Left out for a fixed cluster: even an empty one makes the official command line show an
    /// automatic cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_cluster: Option<AutoClusterView<'a>>,
    #[serde(serialize_with = "inputs")]
    input_mapping: &'a [Input],
    #[serde(serialize_with = "outputs")]
    output_mapping: &'a [Output],
    #[serde(serialize_with = "outputs")]
    log_mapping: &'a [Output],
    write_support: bool,
    mounts: MountsView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_config: Option<&'a Value>,
}

impl<'a> TaskView<'a> {
    fn of(task: &'a TaskSpec) -> Self {
        let (cluster, auto_cluster) = match &task.placement {
            Placement::Fixed(cluster) => (Some(*cluster), None),
            Placement::Auto(shape) => (None, Some(AutoClusterView::of(shape, None))),
            Placement::Attach { cluster, shape } => {
                (None, Some(AutoClusterView::of(shape, Some(*cluster))))
            }
        };
        Self {
            parameters: ParametersView::of(task),
            instance_count: task.instance_count,
            max_retry_count: task.retry_count_max,
            timeout: task.timeout.0,
            cluster_id: Text(cluster),
            auto_cluster,
            input_mapping: &task.inputs,
            output_mapping: &task.outputs,
            log_mapping: &task.logs,
            write_support: task.write_support,
            mounts: MountsView::of(task.mounts.as_ref()),
            credential_config: task.credential_config.as_ref(),
        }
    }
}

/// What is there as text, or the empty text.
struct Text<T>(Option<T>);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            None => serializer.serialize_str(""),
            Some(value) => serializer.collect_str(value),
        }
    }
}

fn inputs<S: Serializer>(inputs: &[Input], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(inputs.iter().map(|input| (&input.source, &input.local)))
}

fn outputs<S: Serializer>(outputs: &[Output], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(outputs.iter().map(|output| (&output.local, &output.destination)))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ParametersView<'a> {
    command: CommandView<'a>,
    input_mapping_config: LocaleView<'a>,
    stdout_redirect_path: Text<&'a OssPath>,
    stderr_redirect_path: Text<&'a OssPath>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CommandView<'a> {
    command_line: &'a str,
    package_path: Text<&'a OssPath>,
    env_vars: &'a BTreeMap<String, String>,
    docker: DockerView<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerView<'a> {
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_mode: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LocaleView<'a> {
    locale: &'a str,
    lock: bool,
}

impl<'a> ParametersView<'a> {
    fn of(task: &'a TaskSpec) -> Self {
        let Program { command_line, package, env, docker } = &task.program;
        let docker = match docker {
            None => DockerView { image: "", run_mode: None },
            Some(Docker { image, run_mode }) => DockerView { image, run_mode: Some(run_mode) },
        };
        Self {
            command: CommandView {
                command_line,
                package_path: Text(package.as_ref()),
                env_vars: env,
                docker,
            },
            input_mapping_config: LocaleView { locale: &task.locale, lock: task.lock },
            stdout_redirect_path: Text(task.stdout.as_ref()),
            stderr_redirect_path: Text(task.stderr.as_ref()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AutoClusterView<'a> {
    cluster_id: Text<ClusterId>,
    image_id: Text<&'a ImageId>,
    #[serde(rename = "ECSImageId")]
    ecs_image_id: Text<&'a ImageId>,
    instance_type: Text<&'a InstanceTypeName>,
    resource_type: &'static str,
    spot_strategy: &'static str,
    spot_price_limit: f64,
    configs: ConfigsView<'a>,
    user_data: &'a BTreeMap<String, String>,
    reserve_on_fail: bool,
    dependency_isv_service: &'a str,
}

impl<'a> AutoClusterView<'a> {
    fn of(shape: &'a AutoCluster, attached: Option<ClusterId>) -> Self {
        let Price { resource_type, spot_strategy, spot_price_limit } = Price::of(&shape.resource);
        Self {
            cluster_id: Text(attached),
            image_id: Text(shape.image.as_ref()),
            ecs_image_id: Text(shape.ecs_image.as_ref()),
            instance_type: Text(shape.instance_type.as_ref()),
            resource_type,
            spot_strategy,
            spot_price_limit,
            configs: ConfigsView::of(&shape.configs),
            user_data: &shape.user_data,
            reserve_on_fail: shape.reserve_on_fail,
            dependency_isv_service: &shape.dependency_isv_service,
        }
    }
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
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConfigsView<'a> {
    disks: DisksView<'a>,
    networks: &'a Value,
    mounts: MountsView<'a>,
}

static NO_NETWORKS: LazyLock<Value> = LazyLock::new(|| json!({ "Classic": {} }));

impl<'a> ConfigsView<'a> {
    pub(super) fn of(configs: &'a Configs) -> Self {
        Self {
            disks: DisksView::of(configs),
            networks: configs.networks.as_ref().unwrap_or(&NO_NETWORKS),
            mounts: MountsView::of(configs.mounts.as_ref()),
        }
    }
}

/// `Disks` with those that are there (`reference/api.md` 13.1).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DisksView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_disk: Option<DiskView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_disk: Option<DiskView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DiskView<'a> {
    size: u32,
    #[serde(rename = "Type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_point: Option<&'a str>,
}

impl<'a> DisksView<'a> {
    pub(super) fn of(configs: &'a Configs) -> Self {
        let view = |disk: &'a Disk, mount_point| DiskView {
            size: disk.size_gb,
            kind: &disk.kind,
            mount_point,
        };
        Self {
            system_disk: configs.system_disk.as_ref().map(|disk| view(disk, None)),
            data_disk: configs
                .data_disk
                .as_ref()
                .map(|data| view(&data.disk, Some(data.mount_point.as_str()))),
        }
    }
}

/// `Mounts` with every member.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MountsView<'a> {
    #[serde(serialize_with = "entries")]
    entries: &'a [MountEntry],
    locale: &'a str,
    lock: bool,
    cache_support: bool,
    cache_block_size: u32,
    cache_total_size: u64,
    #[serde(rename = "NAS")]
    nas: &'a Value,
    #[serde(rename = "OSS")]
    oss: &'a Value,
    refresh_strategy: &'a Value,
    refresh_topic_name: &'a Value,
    refresh_time_out: &'a Value,
    nas_meta_cache: &'a Value,
}

static NO_MOUNTS: LazyLock<Mounts> = LazyLock::new(default_mounts);
static NO_EXTRA: LazyLock<BTreeMap<String, Value>> = LazyLock::new(default_extra);

impl<'a> MountsView<'a> {
    fn of(mounts: Option<&'a Mounts>) -> Self {
        let mounts = mounts.unwrap_or(&NO_MOUNTS);
        let extra = |name: &str| mounts.extra.get(name).unwrap_or_else(|| &NO_EXTRA[name]);
        Self {
            entries: &mounts.entries,
            locale: &mounts.locale,
            lock: mounts.lock,
            cache_support: mounts.cache,
            cache_block_size: mounts.cache_block_size,
            cache_total_size: mounts.cache_total_size,
            nas: extra("NAS"),
            oss: extra("OSS"),
            refresh_strategy: extra("RefreshStrategy"),
            refresh_topic_name: extra("RefreshTopicName"),
            refresh_time_out: extra("RefreshTimeOut"),
            nas_meta_cache: extra("NasMetaCache"),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EntryView<'a> {
    source: &'a str,
    destination: &'a str,
    write_support: bool,
}

fn entries<S: Serializer>(entries: &[MountEntry], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().map(|entry| EntryView {
        source: &entry.source,
        destination: &entry.destination,
        write_support: entry.write_support,
    }))
}

/// `Notification`, with empty members when there is none: the official command line needs it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NotificationView<'a> {
    topic: TopicView<'a>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
struct TopicView<'a> {
    name: &'a str,
    endpoint: &'a str,
    events: Vec<&'a str>,
    user_data: &'a str,
    user_template: &'a str,
}

impl<'a> NotificationView<'a> {
    pub(super) fn of(notification: Option<&'a Notification>) -> Self {
        let topic = notification.map(|notification| TopicView {
            name: &notification.topic,
            endpoint: &notification.endpoint,
            events: notification.events.iter().map(String::as_str).collect(),
            user_data: &notification.user_data,
            user_template: &notification.user_template,
        });
        Self { topic: topic.unwrap_or_default() }
    }
}
