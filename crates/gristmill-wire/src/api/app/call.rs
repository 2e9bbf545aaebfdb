//! A job of type `App`: the call is checked against the app and becomes a job with one task.
//!
//! Everything that can be wrong with a call is found here: names and types of parameters, inputs
//! that are missing, settings that may not be overridden. What comes out is an ordinary job; the
//! mill knows nothing of apps (ADR on app jobs).

use super::{
    command::filled_in,
    config::CallConfigBody,
    parameters::{Scalar, value},
    shown,
};
use crate::{
    api::{
        locale::LOCALE_DEFAULT,
        mappings::oss_path,
        placement::empty_shape,
        read::{Member, Named, Object},
        shared::{filled, resource},
    },
    error::{ApiError, quote},
};
use gristmill_model::{
    AccountId, AppSpec, JobName, JobSpec, OssPath, Placement, Seconds, TaskSpec,
    app::{APP_TASK, AppCall, AppImage, CallConfig, Parameter, ParameterValue},
    catalogue::InstanceTypeName,
    spec::{
        AutoCluster, Configs, DataDisk, Disk, Docker, Input, Limits, Notification, Output, Program,
    },
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The longest name of an app inside a job (`reference/api.md` 4.5).
const APP_NAME_CHARS_MAX: usize = 1024;

/// `App` of a job, read and not yet checked against an app.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::api) struct AppBody {
    app_name: Member<String>,
    inputs: Member<Named<Scalar>>,
    outputs: Member<Named<Scalar>>,
    logging: Member<Object<LoggingBody>>,
    config: Member<Object<CallConfigBody>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LoggingBody {
    stdout_path: Member<String>,
    stderr_path: Member<String>,
}

/// A job of type `App` whose app has still to be looked up.
#[derive(Debug)]
pub struct AppJob {
    pub(in crate::api) name: JobName,
    pub(in crate::api) description: String,
    pub(in crate::api) priority: u16,
    pub(in crate::api) fail_on_instance_fail: bool,
    pub(in crate::api) auto_release: bool,
    pub(in crate::api) notification: Option<Notification>,
    pub(in crate::api) app: AppBody,
}

/// Which revision of whose app a job was made from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Whose.
    pub owner: AccountId,
    /// The newest revision.
    pub revision: u32,
}

impl AppJob {
    /// Takes the name of the app out: `Some` text of `AppName`.
    pub fn app_name(&self) -> Result<&str, ApiError> {
        let name = "AppName";
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':');
        match &self.app.app_name {
            Member::Absent => Err(ApiError::missing(name)),
            Member::Given(text)
                if (1..=APP_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain) =>
            {
                Ok(text)
            }
            Member::Given(_) | Member::Wrong => {
                let max = APP_NAME_CHARS_MAX;
                let reason = format!("must be a text of [1, {max}] characters of [a-zA-Z0-9_-:]");
                Err(ApiError::invalid(name, reason))
            }
        }
    }

    /// The job with one task that this call of the app is.
    pub fn expand(
        self,
        app: &AppSpec,
        origin: Origin,
        limits: &Limits,
    ) -> Result<JobSpec, ApiError> {
        let app_name = self.app_name()?.to_owned();
        let Self { name, description, priority, fail_on_instance_fail, auto_release, .. } = self;
        let AppBody { inputs, outputs, logging, config, .. } = self.app;
        let inside = |error: ApiError| error.inside("App");
        let inputs = values("Inputs", inputs, &app.inputs).map_err(inside)?;
        complete(app, &inputs).map_err(inside)?;
        let outputs = values("Outputs", outputs, &app.outputs).map_err(inside)?;
        let Object(config) = config.optional("Config").map_err(inside)?.unwrap_or_default();
        let config = config.over(&app.config, limits).map_err(inside)?;
        let Object(logging) = logging.optional("Logging").map_err(inside)?.unwrap_or_default();
        let call = AppCall {
            app_name,
            owner: origin.owner,
            revision: origin.revision,
            daemonize: app.daemonize,
            inputs,
            outputs,
            config,
        };
        let mut task = task(app, &call).map_err(inside)?;
        task.stdout = redirect(logging.stdout_path, "StdoutPath").map_err(inside)?;
        task.stderr = redirect(logging.stderr_path, "StderrPath").map_err(inside)?;
        let task_name = APP_TASK.parse().expect("a legal name of a task");
        Ok(JobSpec {
            name,
            description,
            priority,
            fail_on_instance_fail,
            auto_release,
            notification: self.notification,
            tasks: [(task_name, task)].into(),
            dependencies: BTreeMap::new(),
            app: Some(Box::new(call)),
        })
    }
}

type Values = BTreeMap<String, ParameterValue>;

/// The values of a call, completed with defaults; each must be a parameter of the app and of its
/// type.
fn values(
    member: &'static str,
    given: Member<Named<Scalar>>,
    known: &BTreeMap<String, Parameter>,
) -> Result<Values, ApiError> {
    let Named(given) = given.optional(member)?.unwrap_or_default();
    let mut values: Values = known
        .iter()
        .filter_map(|(name, parameter)| Some((name.clone(), parameter.default.clone()?)))
        .collect();
    for (name, scalar) in given {
        let Some(parameter) = known.get(&name) else {
            let reason = format!("has {}, which is no parameter of the app", quote(&name));
            return Err(ApiError::invalid(member, reason));
        };
        let Some(scalar) = scalar.optional(member)? else { continue };
        let value = value(parameter.kind, scalar)
            .map_err(|reason| ApiError::invalid(member, format!("{}: {reason}", quote(&name))))?;
        values.insert(name, value);
    }
    Ok(values)
}

/// Every input has a value.
fn complete(app: &AppSpec, inputs: &Values) -> Result<(), ApiError> {
    match app.inputs.keys().find(|name| !inputs.contains_key(*name)) {
        None => Ok(()),
        Some(name) => {
            let reason = format!("lacks {}, which has no default", quote(name));
            Err(ApiError::invalid("Inputs", reason))
        }
    }
}

fn task(app: &AppSpec, call: &AppCall) -> Result<TaskSpec, ApiError> {
    let known = app.inputs.iter().chain(&app.outputs);
    let shown: BTreeMap<&str, String> = known
        .map(|(name, parameter)| {
            let value = call.inputs.get(name).or_else(|| call.outputs.get(name));
            (name.as_str(), shown(parameter, value))
        })
        .collect();
    let mut env = app.env.clone();
    env.extend(shown.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let (docker, image) = match &app.image {
        AppImage::Vm(image) => (None, Some(image.clone())),
        AppImage::Docker { image, registry, run_mode } => {
            if !registry.is_empty() {
                env.insert("BATCH_COMPUTE_DOCKER_REGISTRY_OSS_PATH".into(), registry.clone());
            }
            (Some(Docker { image: image.clone(), run_mode: run_mode.clone() }), None)
        }
    };
    let config = &call.config;
    Ok(TaskSpec {
        program: Program {
            command_line: filled_in(&app.command_line, &shown),
            package: None,
            env,
            docker,
        },
        instance_count: config.instance_count,
        retry_count_max: config.max_retry_count,
        timeout: Seconds(config.timeout),
        placement: match config.cluster {
            Some(cluster) => Placement::Fixed(cluster),
            None => Placement::Auto(AutoCluster { ecs_image: image, ..shape(config)? }),
        },
        inputs: inputs(app, call)?,
        outputs: outputs(app, call)?,
        logs: Vec::new(),
        write_support: false,
        mounts: None,
        locale: LOCALE_DEFAULT.to_owned(),
        lock: false,
        stdout: None,
        stderr: None,
        credential_config: None,
    })
}

/// What the machines of the job's own cluster look like.
fn shape(config: &CallConfig) -> Result<AutoCluster, ApiError> {
    let kind = Member::Given(config.resource_type.clone());
    let instance_type = config.instance_type.as_str();
    Ok(AutoCluster {
        instance_type: (!instance_type.is_empty())
            .then(|| InstanceTypeName(instance_type.to_owned())),
        resource: resource(kind, Member::Absent, Member::Absent)?,
        configs: Configs {
            system_disk: Some(Disk {
                size_gb: config.min_disk_size,
                kind: config.disk_type.clone(),
            }),
            data_disk: data_disk(config)?,
            networks: None,
            mounts: None,
        },
        reserve_on_fail: config.reserve_on_fail,
        ..empty_shape()
    })
}

fn data_disk(config: &CallConfig) -> Result<Option<DataDisk>, ApiError> {
    let refused = |reason: &str| Err(ApiError::invalid("Config", reason));
    if config.min_data_disk_size == 0 {
        return Ok(None);
    }
    if config.data_disk_mount_point.is_empty() {
        return refused("asks for a data disk without a DataDiskMountPoint");
    }
    if config.data_disk_type != config.disk_type {
        return refused("must have the same DataDiskType and DiskType");
    }
    Ok(Some(DataDisk {
        disk: Disk { size_gb: config.min_data_disk_size, kind: config.data_disk_type.clone() },
        mount_point: config.data_disk_mount_point.clone(),
    }))
}

/// What parameters with a local path name: each of them with its path in the store.
fn mapped<'a>(
    member: &'static str,
    parameters: &'a BTreeMap<String, Parameter>,
    values: &'a Values,
) -> impl Iterator<Item = Result<(OssPath, String), ApiError>> {
    parameters.iter().filter(|(_, parameter)| !parameter.local_path.is_empty()).filter_map(
        move |(name, parameter)| match values.get(name) {
            Some(ParameterValue::Text(text)) if !text.is_empty() => {
                let path = oss_path(member, text).map(|path| {
                    // A directory is mapped from a directory, whether the slash was typed or not.
                    let path = match parameter.local_path.ends_with('/') {
                        true => path.into_prefix(),
                        false => path,
                    };
                    (path, parameter.local_path.clone())
                });
                Some(path.map_err(|error| error.inside(name)))
            }
            _ => None,
        },
    )
}

fn inputs(app: &AppSpec, call: &AppCall) -> Result<Vec<Input>, ApiError> {
    mapped("Inputs", &app.inputs, &call.inputs)
        .map(|mapped| mapped.map(|(source, local)| Input { source, local }))
        .collect()
}

fn outputs(app: &AppSpec, call: &AppCall) -> Result<Vec<Output>, ApiError> {
    mapped("Outputs", &app.outputs, &call.outputs)
        .map(|mapped| mapped.map(|(destination, local)| Output { local, destination }))
        .collect()
}

fn redirect(member: Member<String>, name: &'static str) -> Result<Option<OssPath>, ApiError> {
    filled(member, name)?.map(|text| oss_path(name, &text)).transpose()
}
