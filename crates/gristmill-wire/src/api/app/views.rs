//! Apps and calls back as the vendor's JSON (appendix A of `reference/api.md`).

use gristmill_model::{
    AppSpec, OssPath, Timestamp,
    app::{AppCall, AppImage, Parameter, Setting},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::time::WireTime;

/// The body of `GET /apps/{app}?Detail=True`: everything, for the owner. Of `Docker` and `VM` only
/// the one in use is there: clients print a present one and Python cannot read a null.
pub fn app_detail(app: &AppSpec) -> Value {
    let mut body = json!({
        "Name": app.name,
        "Description": app.description,
        "CommandLine": app.command_line,
        "InputParameters": parameters(app.inputs.iter(), true),
        "OutputParameters": parameters(app.outputs.iter(), true),
        "EnvVars": app.env,
        "Daemonize": app.daemonize,
        "Config": config(app),
    });
    let (member, image) = match &app.image {
        AppImage::Vm(image) => ("VM", json!({ "ECSImageId": image })),
        AppImage::Docker { image, registry, run_mode } => {
            ("Docker", json!({"Image": image, "RegistryOSSPath": registry, "RunMode": run_mode}))
        }
    };
    body[member] = image;
    body
}

/// The body of `GET /apps/{app}` and the items of `GET /apps`: what a caller needs to know, without
/// command line, image and local paths.
pub fn app_public(app: &AppSpec, created: Timestamp) -> Value {
    json!({
        "Name": app.name,
        "Description": app.description,
        "CreationTime": WireTime(Some(created)),
        "InputParameters": parameters(app.inputs.iter(), false),
        "OutputParameters": parameters(app.outputs.iter(), false),
        "Config": config(app),
    })
}

fn parameters<'a>(
    all: impl Iterator<Item = (&'a String, &'a Parameter)>,
    with_path: bool,
) -> Map<String, Value> {
    all.map(|(name, parameter)| {
        let mut body = json!({
            "Description": parameter.description,
            "Type": parameter.kind.name(),
            "Default": parameter.default,
        });
        if with_path {
            body["LocalPath"] = parameter.local_path.as_str().into();
        }
        (name.clone(), body)
    })
    .collect()
}

fn config(app: &AppSpec) -> Value {
    fn setting<T: Serialize>(setting: &Setting<T>) -> Value {
        json!({
            "Description": setting.description,
            "Default": setting.default,
            "Overwritable": setting.overwritable,
        })
    }
    let config = &app.config;
    json!({
        "ResourceType": setting(&config.resource_type),
        "InstanceType": setting(&config.instance_type),
        "InstanceCount": setting(&config.instance_count),
        "MinDiskSize": setting(&config.min_disk_size),
        "DiskType": setting(&config.disk_type),
        "MinDataDiskSize": setting(&config.min_data_disk_size),
        "DataDiskType": setting(&config.data_disk_type),
        "DataDiskMountPoint": setting(&config.data_disk_mount_point),
        "MaxRetryCount": setting(&config.max_retry_count),
        "Timeout": setting(&config.timeout),
    })
}

/// `App` of `GET /jobs/{job}?description`: what was sent, completed with the app's defaults.
pub fn call_view(call: &AppCall, stdout: Option<&OssPath>, stderr: Option<&OssPath>) -> Value {
    let path = |path: Option<&OssPath>| path.map(ToString::to_string).unwrap_or_default();
    let config = &call.config;
    json!({
        "AppName": call.app_name,
        "Inputs": call.inputs,
        "Outputs": call.outputs,
        "Logging": {"StdoutPath": path(stdout), "StderrPath": path(stderr)},
        "Config": {
            "ResourceType": config.resource_type,
            "InstanceType": config.instance_type,
            "InstanceCount": config.instance_count,
            "MinDiskSize": config.min_disk_size,
            "DiskType": config.disk_type,
            "MinDataDiskSize": config.min_data_disk_size,
            "DataDiskType": config.data_disk_type,
            "DataDiskMountPoint": config.data_disk_mount_point,
            "MaxRetryCount": config.max_retry_count,
            "Timeout": config.timeout,
            "ClassicNetwork": config.classic_network,
            "ClusterId": config.cluster.map(|id| id.to_string()).unwrap_or_default(),
            "ReserveOnFail": config.reserve_on_fail,
        },
    })
}
