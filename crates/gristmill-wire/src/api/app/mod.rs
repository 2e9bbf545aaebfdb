//! Apps and jobs made from them (`reference/api.md` 7.2 and 11).
//!
//! ```text
//! POST /apps   -> parse_app  -> AppSpec -> kept by the registry, one for each revision
//! POST /jobs   -> AppJob (parse_submission) --+
//!                             newest AppSpec -+-> expand -> JobSpec with one task
//! ```
//!
//! Parameters and settings are checked twice: what the owner describes ([`parameters`],
//! [`config`]), and what a caller gives ([`call`], which asks the same functions). `command` puts
//! values into the command line.
//!
//! Start at [`parse_app`] and [`AppJob::expand`].

mod call;
mod command;
mod config;
mod parameters;
mod views;

pub(super) use call::AppBody;
pub use call::{AppJob, Origin};
pub use views::{app_detail, app_public, call_view};

use crate::{
    api::{
        BODY_BYTES_MAX, PROGRAM_BYTES_MAX,
        read::{Member, Named, Object, Texts, parse_body},
        shared::{description, environment, image},
    },
    error::{ApiError, quote},
};
use config::ConfigBody;
use gristmill_model::{
    AppName, AppSpec,
    app::{AppImage, Parameter, ParameterValue},
    names::BadName,
    spec::Limits,
};
use parameters::ParameterBody;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The most parameters of a kind, and the most variables in `EnvVars` (`reference/api.md` 4.5).
const ENTRIES_MAX: usize = 50;

/// The longest name of a parameter or a variable of an app, and the longest value of a variable.
const KEY_CHARS_MAX: usize = 100;
const ENV_VALUE_CHARS_MAX: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AppDescriptionBody {
    name: Member<String>,
    description: Member<String>,
    command_line: Member<String>,
    docker: Member<Object<DockerBody>>,
    #[serde(rename = "VM")]
    vm: Member<Object<VmBody>>,
    input_parameters: Member<Named<Object<ParameterBody>>>,
    output_parameters: Member<Named<Object<ParameterBody>>>,
    env_vars: Member<Texts>,
    daemonize: Member<bool>,
    config: Member<Object<ConfigBody>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DockerBody {
    image: Member<String>,
    #[serde(rename = "RegistryOSSPath")]
    registry: Member<String>,
    run_mode: Member<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VmBody {
    #[serde(rename = "ECSImageId")]
    image: Member<String>,
}

/// The body of `POST /apps` and `PUT /apps/{app}` as the model wants it, or why not.
pub fn parse_app(body: &[u8], limits: &Limits) -> Result<AppSpec, ApiError> {
    let body: AppDescriptionBody = parse_body(body, BODY_BYTES_MAX)?;
    let name = app_name(&body.name.required("Name")?)?;
    let spec = AppSpec {
        name,
        description: description(body.description)?,
        command_line: command_line(body.command_line)?,
        image: app_image(body.docker, body.vm)?,
        inputs: parameters::parameters("InputParameters", body.input_parameters)?,
        outputs: parameters::parameters("OutputParameters", body.output_parameters)?,
        env: app_environment(body.env_vars)?,
        daemonize: body.daemonize.or_empty("Daemonize")?,
        config: config::app_config(body.config, limits)?,
    };
    parameters_together(&spec)?;
    Ok(spec)
}

/// `Name` of an app.
fn app_name(text: &str) -> Result<AppName, ApiError> {
    text.parse().map_err(|error: BadName| ApiError::invalid("Name", error))
}

fn command_line(member: Member<String>) -> Result<String, ApiError> {
    let name = "CommandLine";
    let text = member.required(name)?;
    if text.trim().is_empty() || text.contains('\0') {
        return Err(ApiError::invalid(name, "must name a program"));
    }
    if text.len() > PROGRAM_BYTES_MAX {
        let reason = format!("has {} bytes, the limit is {PROGRAM_BYTES_MAX}", text.len());
        return Err(ApiError::invalid(name, reason));
    }
    Ok(text)
}

/// `Docker` or `VM`; an empty one counts as absent, both are `InvalidVM`, none is `MissingVM`.
fn app_image(
    docker: Member<Object<DockerBody>>,
    vm: Member<Object<VmBody>>,
) -> Result<AppImage, ApiError> {
    let docker = docker.optional("Docker")?.map(|Object(body)| docker_image(body));
    let docker = docker.transpose()?.flatten();
    let vm = vm.optional("VM")?.map(|Object(body)| image(body.image, "ECSImageId"));
    match (docker, vm.transpose()?.flatten()) {
        (Some(docker), None) => Ok(docker),
        (None, Some(image)) => Ok(AppImage::Vm(image)),
        (Some(_), Some(_)) => Err(ApiError::invalid("VM", "and Docker exclude each other")),
        (None, None) => Err(ApiError::missing("VM")),
    }
}

fn docker_image(body: DockerBody) -> Result<Option<AppImage>, ApiError> {
    let name = "Docker";
    let image = body.image.or_empty(name)?;
    let registry = body.registry.or_empty(name)?;
    let run_mode = body.run_mode.or_empty(name)?;
    if image.is_empty() {
        return Ok(None);
    }
    let plain = !image.contains(|c: char| c.is_whitespace() || c.is_control());
    if !plain || [&image, &registry, &run_mode].into_iter().any(|text| text.len() > 1024) {
        return Err(ApiError::invalid(name, format!("has {} as its Image", quote(&image))));
    }
    Ok(Some(AppImage::Docker { image, registry, run_mode }))
}

/// `EnvVars` with the bounds that apps have.
fn app_environment(member: Member<Texts>) -> Result<Texts, ApiError> {
    let name = "EnvVars";
    let env = environment(member)?;
    if env.len() > ENTRIES_MAX {
        let reason = format!("has {} entries, the limit is {ENTRIES_MAX}", env.len());
        return Err(ApiError::invalid(name, reason));
    }
    for (key, value) in &env {
        check_key(name, key)?;
        if value.chars().count() > ENV_VALUE_CHARS_MAX {
            let reason = format!("has a value of {} that is too long", quote(key));
            return Err(ApiError::invalid(name, reason));
        }
    }
    Ok(env)
}

/// The name of a parameter or a variable: it is also an environment variable.
fn check_key(member: &'static str, key: &str) -> Result<(), ApiError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(plain) {
        return Ok(());
    }
    let reason = format!(
        "has {} as a name, which must be [1, {KEY_CHARS_MAX}] characters of [a-zA-Z0-9_-]",
        quote(key)
    );
    Err(ApiError::invalid(member, reason))
}

/// No name is an input and an output, and no local path is used twice.
fn parameters_together(spec: &AppSpec) -> Result<(), ApiError> {
    let name = "OutputParameters";
    if let Some(twice) = spec.outputs.keys().find(|key| spec.inputs.contains_key(*key)) {
        let reason = format!("has {}, which is also an input", quote(twice));
        return Err(ApiError::invalid(name, reason));
    }
    let mut seen = BTreeMap::new();
    for (key, parameter) in spec.inputs.iter().chain(&spec.outputs) {
        let path = parameter.local_path.trim_end_matches('/');
        if path.is_empty() {
            continue;
        }
        // A program that stays sees the files of call after call in one directory.
        if spec.daemonize && !parameter.local_path.ends_with('/') {
            let reason = format!("of {} must end in / in an app with Daemonize", quote(key));
            return Err(ApiError::invalid("LocalPath", reason));
        }
        if let Some(other) = seen.insert(path, key) {
            let reason = format!("of {} and {} are the same", quote(other), quote(key));
            return Err(ApiError::invalid("LocalPath", reason));
        }
    }
    Ok(())
}

/// What a parameter is worth in a command line and in the environment: its local path if it has
/// one, else its value.
fn shown(parameter: &Parameter, value: Option<&ParameterValue>) -> String {
    match parameter.local_path.as_str() {
        "" => value.map(ToString::to_string).unwrap_or_default(),
        path => path.to_owned(),
    }
}
