//! One task of a job: `TaskDescription` to `TaskSpec` (`reference/api.md` 7.1.2, 7.1.3).

use crate::{
    api::{
        PROGRAM_BYTES_MAX,
        configs::{MountsBody, mounts},
        kept::Kept,
        locale::LOCALE_DEFAULT,
        mappings::{check_together, inputs, oss_path, outputs},
        placement::{AutoClusterBody, placement},
        read::{Member, Object, Texts},
        shared::{environment, filled, locale},
    },
    error::{ApiError, quote},
};
use gristmill_model::{
    OssPath, Seconds, TaskSpec,
    spec::{Docker, Limits, Program},
};
use serde::Deserialize;
use serde_json::Value;

/// The time a run may take when the client does not say (`reference/api.md` 7.1.2).
pub const TIMEOUT_DEFAULT: Seconds = Seconds(86_400);

/// The longest name of a container image.
const DOCKER_IMAGE_BYTES_MAX: usize = 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TaskBody {
    parameters: Member<Object<ParametersBody>>,
    instance_count: Member<i64>,
    max_retry_count: Member<i64>,
    timeout: Member<i64>,
    cluster_id: Member<String>,
    auto_cluster: Member<Object<AutoClusterBody>>,
    input_mapping: Member<Texts>,
    output_mapping: Member<Texts>,
    log_mapping: Member<Texts>,
    write_support: Member<bool>,
    mounts: Member<Object<MountsBody>>,
    credential_config: Member<Kept>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ParametersBody {
    command: Member<Object<CommandBody>>,
    input_mapping_config: Member<Object<InputMappingConfigBody>>,
    stdout_redirect_path: Member<String>,
    stderr_redirect_path: Member<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CommandBody {
    command_line: Member<String>,
    package_path: Member<String>,
    env_vars: Member<Texts>,
    docker: Member<Object<DockerBody>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DockerBody {
    image: Member<String>,
    run_mode: Member<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InputMappingConfigBody {
    locale: Member<String>,
    lock: Member<bool>,
}

impl TaskBody {
    /// The checked task.
    pub(super) fn check(self, limits: &Limits) -> Result<TaskSpec, ApiError> {
        let Object(parameters) = self.parameters.required("Parameters")?;
        let parameters = parameters.check().map_err(|error| error.inside("Parameters"))?;
        let inputs = inputs(self.input_mapping.or_empty("InputMapping")?)?;
        let outputs = |name, member: Member<Texts>| outputs(name, member.or_empty(name)?);
        let logs = outputs("LogMapping", self.log_mapping)?;
        let outputs = outputs("OutputMapping", self.output_mapping)?;
        let mounts = mounts(self.mounts)?;
        check_together(&inputs, mounts.as_ref(), &outputs)?;
        let (count_max, retry_max) = (limits.instances_per_task_max, limits.retry_count_max);
        Ok(TaskSpec {
            program: parameters.program,
            instance_count: self.instance_count.within("InstanceCount", 1..=count_max, 1)?,
            retry_count_max: self.max_retry_count.within("MaxRetryCount", 0..=retry_max, 0)?,
            timeout: timeout(self.timeout, limits.timeout_max)?,
            placement: placement(self.cluster_id, self.auto_cluster)?,
            inputs,
            outputs,
            logs,
            write_support: self.write_support.or_empty("WriteSupport")?,
            mounts,
            locale: parameters.locale,
            lock: parameters.lock,
            stdout: parameters.stdout,
            stderr: parameters.stderr,
            credential_config: credential_config(self.credential_config)?,
        })
    }
}

struct Parameters {
    program: Program,
    locale: String,
    lock: bool,
    stdout: Option<OssPath>,
    stderr: Option<OssPath>,
}

impl ParametersBody {
    fn check(self) -> Result<Parameters, ApiError> {
        let Object(command) = self.command.required("Command")?;
        let names = self.input_mapping_config.optional("InputMappingConfig")?;
        let (locale, lock) = match names {
            None => (LOCALE_DEFAULT.to_owned(), false),
            Some(Object(names)) => names.check().map_err(|e| e.inside("InputMappingConfig"))?,
        };
        Ok(Parameters {
            program: command.check().map_err(|error| error.inside("Command"))?,
            locale,
            lock,
            stdout: redirect(self.stdout_redirect_path, "StdoutRedirectPath")?,
            stderr: redirect(self.stderr_redirect_path, "StderrRedirectPath")?,
        })
    }
}

impl InputMappingConfigBody {
    fn check(self) -> Result<(String, bool), ApiError> {
        Ok((locale(self.locale)?, self.lock.or_empty("Lock")?))
    }
}

impl CommandBody {
    fn check(self) -> Result<Program, ApiError> {
        let command_line = self.command_line.required("CommandLine")?;
        if command_line.trim().is_empty() || command_line.contains('\0') {
            return Err(ApiError::invalid("CommandLine", "must name a program"));
        }
        if command_line.len() > PROGRAM_BYTES_MAX {
            let reason =
                format!("has {} bytes, the limit is {PROGRAM_BYTES_MAX}", command_line.len());
            return Err(ApiError::invalid("CommandLine", reason));
        }
        Ok(Program {
            command_line,
            package: package(self.package_path)?,
            env: environment(self.env_vars)?,
            docker: docker(self.docker)?,
        })
    }
}

/// `PackagePath`: one object.
fn package(member: Member<String>) -> Result<Option<OssPath>, ApiError> {
    let name = "PackagePath";
    let Some(text) = filled(member, name)? else { return Ok(None) };
    let path = oss_path(name, &text)?;
    if path.is_prefix() {
        let reason = format!("{} must name one object", quote(&text));
        return Err(ApiError::invalid(name, reason));
    }
    Ok(Some(path))
}

/// `Docker`; an empty image is none.
fn docker(member: Member<Object<DockerBody>>) -> Result<Option<Docker>, ApiError> {
    let name = "Docker";
    let Some(Object(body)) = member.optional(name)? else { return Ok(None) };
    let run_mode = body.run_mode.or_empty(name)?;
    let Some(image) = filled(body.image, name)? else { return Ok(None) };
    let plain = !image.contains(|c: char| c.is_whitespace() || c.is_control());
    if !plain || image.len() > DOCKER_IMAGE_BYTES_MAX {
        let reason = format!("has {} as its Image", quote(&image));
        return Err(ApiError::invalid(name, reason));
    }
    Ok(Some(Docker { image, run_mode }))
}

fn redirect(member: Member<String>, name: &'static str) -> Result<Option<OssPath>, ApiError> {
    filled(member, name)?.map(|text| oss_path(name, &text)).transpose()
}

/// Seconds; 0 is not given, as the Java SDK has it.
fn timeout(member: Member<i64>, max: Seconds) -> Result<Seconds, ApiError> {
    Ok(match member.within("Timeout", 0..=max.0, 0)? {
        0 => TIMEOUT_DEFAULT.min(max),
        seconds => Seconds(seconds),
    })
}

/// Stored and echoed.
fn credential_config(member: Member<Kept>) -> Result<Option<Value>, ApiError> {
    let Kept(map) = member.or_empty("CredentialConfig")?;
    Ok((!map.is_empty()).then_some(Value::Object(map)))
}
