//! `Config` of an app: for each member a default and whether a call may override it; and the same
//! members in a job, where they are plain values (`reference/api.md` 7.2 and 11.1).
//!
//! A value is checked by the same rule in both places. Numbers may come as numeric text.

use super::parameters::Scalar;
use crate::{
    api::{
        DESCRIPTION_CHARS_MAX,
        configs::{DATA_DISK_GB, DISK_KIND_DEFAULT, DISK_KINDS, SYSTEM_DISK_GB},
        mappings::check_local,
        placement::cluster_id,
        read::{Member, Object, Shape},
        shared::instance_type,
        task::TIMEOUT_DEFAULT,
    },
    error::{ApiError, quote},
};
use gristmill_model::{
    app::{AppConfig, CallConfig, Setting},
    spec::Limits,
};
use serde::Deserialize;
use std::ops::RangeInclusive;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ConfigBody {
    resource_type: Member<Object<SettingBody>>,
    instance_type: Member<Object<SettingBody>>,
    instance_count: Member<Object<SettingBody>>,
    min_disk_size: Member<Object<SettingBody>>,
    disk_type: Member<Object<SettingBody>>,
    min_data_disk_size: Member<Object<SettingBody>>,
    data_disk_type: Member<Object<SettingBody>>,
    data_disk_mount_point: Member<Object<SettingBody>>,
    max_retry_count: Member<Object<SettingBody>>,
    timeout: Member<Object<SettingBody>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SettingBody {
    description: Member<String>,
    default: Member<Scalar>,
    overwritable: Member<bool>,
}

/// `App.Config` of a job.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CallConfigBody {
    resource_type: Member<Scalar>,
    instance_type: Member<Scalar>,
    instance_count: Member<Scalar>,
    min_disk_size: Member<Scalar>,
    disk_type: Member<Scalar>,
    min_data_disk_size: Member<Scalar>,
    data_disk_type: Member<Scalar>,
    data_disk_mount_point: Member<Scalar>,
    max_retry_count: Member<Scalar>,
    timeout: Member<Scalar>,
    classic_network: Member<bool>,
    cluster_id: Member<String>,
    reserve_on_fail: Member<bool>,
}

/// The rule of a member: reads a value or refuses it.
trait Rule<T>: Fn(Scalar) -> Result<T, String> {}
impl<T, F: Fn(Scalar) -> Result<T, String>> Rule<T> for F {}

fn text(scalar: Scalar) -> Result<String, String> {
    match scalar {
        Scalar::Text(text) => Ok(text),
        Scalar::Number(_) => Err("must be a text".to_owned()),
    }
}

fn resource_kind(scalar: Scalar) -> Result<String, String> {
    match text(scalar)? {
        kind if ["OnDemand", "Spot", "PrePaid"].contains(&kind.as_str()) => Ok(kind),
        other => Err(format!("{} must be OnDemand, Spot or PrePaid", quote(&other))),
    }
}

fn machine_type(scalar: Scalar) -> Result<String, String> {
    let text = text(scalar)?;
    match instance_type(Member::Given(text.clone())) {
        Ok(_) => Ok(text),
        Err(_) => Err(format!("{} is no instance type", quote(&text))),
    }
}

fn disk_kind(scalar: Scalar) -> Result<String, String> {
    match text(scalar)? {
        kind if DISK_KINDS.contains(&kind.as_str()) => Ok(kind),
        other => Err(format!("{}: known are {}", quote(&other), DISK_KINDS.join(", "))),
    }
}

fn mount_point(scalar: Scalar) -> Result<String, String> {
    let text = text(scalar)?;
    let is_drive = text.len() == 2 && text.ends_with(':');
    if !text.is_empty() && !is_drive && check_local("DataDiskMountPoint", &text).is_err() {
        return Err(format!("{} must be an absolute path", quote(&text)));
    }
    Ok(text)
}

fn whole(range: RangeInclusive<u32>) -> impl Rule<u32> {
    move |scalar| {
        let number = match &scalar {
            Scalar::Number(number) => i64::number(number.as_f64().unwrap_or(f64::NAN)),
            Scalar::Text(text) => text.trim().parse().ok(),
        };
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            format!("must be a whole number in [{}, {}]", range.start(), range.end())
        })
    }
}

/// 0 is no disk.
fn data_disk_size(scalar: Scalar) -> Result<u32, String> {
    match whole(0..=*DATA_DISK_GB.end())(scalar)? {
        size if size == 0 || DATA_DISK_GB.contains(&size) => Ok(size),
        _ => Err(format!("must be 0 or in [{}, {}]", DATA_DISK_GB.start(), DATA_DISK_GB.end())),
    }
}

/// 0 is not given, as the Java SDK has it.
fn seconds(limits: &Limits) -> impl Rule<u32> {
    let (max, default) = (limits.timeout_max, TIMEOUT_DEFAULT.min(limits.timeout_max));
    move |scalar| whole(0..=max.0)(scalar).map(|given| if given == 0 { default.0 } else { given })
}

/// Builds either `Config` with every member: its name, its default, and its rule.
macro_rules! members {
    ($limits:ident, $read:ident, $config:ident { $($more:tt)* }) => {
        $config {
            resource_type: $read!(resource_type, "ResourceType", "OnDemand".to_owned(), resource_kind),
            instance_type: $read!(instance_type, "InstanceType", String::new(), machine_type),
            instance_count: $read!(
                instance_count,
                "InstanceCount",
                1,
                whole(1..=$limits.instances_per_task_max)
            ),
            min_disk_size: $read!(
                min_disk_size,
                "MinDiskSize",
                *SYSTEM_DISK_GB.start(),
                whole(SYSTEM_DISK_GB)
            ),
            disk_type: $read!(disk_type, "DiskType", DISK_KIND_DEFAULT.to_owned(), disk_kind),
            min_data_disk_size: $read!(min_data_disk_size, "MinDataDiskSize", 0, data_disk_size),
            data_disk_type: $read!(
                data_disk_type,
                "DataDiskType",
                DISK_KIND_DEFAULT.to_owned(),
                disk_kind
            ),
            data_disk_mount_point: $read!(
                data_disk_mount_point,
                "DataDiskMountPoint",
                String::new(),
                mount_point
            ),
            max_retry_count: $read!(
                max_retry_count,
                "MaxRetryCount",
                0,
                whole(0..=$limits.retry_count_max)
            ),
            timeout: $read!(
                timeout,
                "Timeout",
                TIMEOUT_DEFAULT.min($limits.timeout_max).0,
                seconds($limits)
            ),
            $($more)*
        }
    };
}

/// `Config` of an app, completed with the defaults.
pub(super) fn app_config(
    member: Member<Object<ConfigBody>>,
    limits: &Limits,
) -> Result<AppConfig, ApiError> {
    let Object(body) = member.optional("Config")?.unwrap_or_default();
    macro_rules! read {
        ($field:ident, $name:literal, $default:expr, $rule:expr) => {
            setting(body.$field, $name, $default, $rule).map_err(|error| error.inside("Config"))?
        };
    }
    Ok(members!(limits, read, AppConfig {}))
}

fn setting<T>(
    member: Member<Object<SettingBody>>,
    name: &'static str,
    default: T,
    rule: impl Rule<T>,
) -> Result<Setting<T>, ApiError> {
    let wanted = "an object with Default, Overwritable and Description";
    let Some(Object(body)) = member.optional_as(name, wanted)? else {
        return Ok(default.into());
    };
    let description = body.description.or_empty(name)?;
    if description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(ApiError::invalid(name, "has a Description that is too long"));
    }
    let default = given(body.default, name)?.map_or(Ok(default), |scalar| read(scalar, name, rule));
    let overwritable = body.overwritable.optional(name)?.unwrap_or(true);
    Ok(Setting { description, default: default?, overwritable })
}

/// A scalar that says something; empty text does not.
fn given(member: Member<Scalar>, name: &'static str) -> Result<Option<Scalar>, ApiError> {
    Ok(member.optional(name)?.filter(|scalar| *scalar != Scalar::Text(String::new())))
}

fn read<T>(scalar: Scalar, name: &'static str, rule: impl Rule<T>) -> Result<T, ApiError> {
    rule(scalar).map_err(|reason| ApiError::invalid(name, reason))
}

impl CallConfigBody {
    /// The app's defaults with what the job overrides.
    pub(super) fn over(self, app: &AppConfig, limits: &Limits) -> Result<CallConfig, ApiError> {
        macro_rules! resolve {
            ($field:ident, $name:literal, $default:expr, $rule:expr) => {
                overridden(self.$field, $name, &app.$field, $rule)?
            };
        }
        Ok(members!(
            limits,
            resolve,
            CallConfig {
                classic_network: self.classic_network.or_empty("ClassicNetwork")?,
                cluster: cluster_id(self.cluster_id)?,
                reserve_on_fail: self.reserve_on_fail.or_empty("ReserveOnFail")?,
            }
        ))
    }
}

fn overridden<T: Clone>(
    member: Member<Scalar>,
    name: &'static str,
    app: &Setting<T>,
    rule: impl Rule<T>,
) -> Result<T, ApiError> {
    match given(member, name)? {
        None => Ok(app.default.clone()),
        Some(_) if !app.overwritable => {
            let reason = format!("overrides {name}, which the app does not allow");
            Err(ApiError::invalid("Config", reason))
        }
        Some(scalar) => read(scalar, name, rule).map_err(|error| error.inside("Config")),
    }
}
