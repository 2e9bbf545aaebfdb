//! Clusters: `ClusterDescription` to `ClusterSpec`, changes of a cluster, and the answer of
//! `GET /clusters/{cluster}` (`reference/api.md` 9).

use crate::{
    api::{
        BODY_BYTES_MAX, ITEMS_PER_MEMBER_MAX,
        configs::{ConfigsBody, MountsBody, configs, mounts},
        describe::{ConfigsView, DisksView, NotificationView, Price, tree},
        read::{Member, Object, Shape, Texts, parse_body, skip_object},
        responses::{Cluster, ClusterMetrics, Group, InputMappingConfig},
        shared::{
            CLUSTER_EVENTS, NotificationBody, description, environment, filled, image,
            instance_type, name, notification, resource, spot_change, texts,
        },
    },
    error::{ApiError, Code, quote},
};
use gristmill_model::{
    AccountId, ClusterChange, ClusterId, ClusterSpec, GroupChange, GroupName, GroupSpec, Timestamp,
    change::NewMounts,
    network::Vpc,
    spec::{Limits, Resource},
};
use serde::{Deserialize, de::MapAccess};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ClusterBody {
    name: Member<String>,
    description: Member<String>,
    image_id: Member<String>,
    instance_type: Member<String>,
    groups: Member<Groups>,
    user_data: Member<Texts>,
    env_vars: Member<Texts>,
    bootstrap: Member<String>,
    schedule_type: Member<String>,
    configs: Member<Object<ConfigsBody>>,
    notification: Member<Object<NotificationBody>>,
    password_inherit: Member<bool>,
    dependency_isv_service: Member<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GroupBody {
    #[serde(rename = "DesiredVMCount")]
    desired_vm_count: Member<i64>,
    instance_type: Member<String>,
    resource_type: Member<String>,
    spot_strategy: Member<String>,
    spot_price_limit: Member<f64>,
    hostname_prefix: Member<String>,
    image_id: Member<String>,
    mode: Member<String>,
}

/// `Groups` as sent: names of the user and what stood there.
#[derive(Debug, Default)]
struct Groups(Vec<(String, Member<Object<GroupBody>>)>);

impl Shape for Groups {
    const WANTED: &'static str = "an object of at most 10000 groups";
    fn object<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut groups = Vec::new();
        while let Some(group) = map.next_entry()? {
            if groups.len() == ITEMS_PER_MEMBER_MAX {
                return skip_object(map).map(|()| None);
            }
            groups.push(group);
        }
        Ok(Some(Self(groups)))
    }
}

/// A cluster as the model wants it, or why not.
pub fn parse_cluster(body: &[u8], limits: &Limits) -> Result<ClusterSpec, ApiError> {
    let body: ClusterBody = parse_body(body, BODY_BYTES_MAX)?;
    let (schedule, password, isv) =
        (body.schedule_type, body.password_inherit, body.dependency_isv_service);
    let spec = ClusterSpec {
        name: name(body.name)?,
        description: description(body.description)?,
        image: image(body.image_id, "ImageId")?,
        instance_type: instance_type(body.instance_type)?,
        groups: groups(body.groups.required("Groups")?, limits)?,
        user_data: texts(body.user_data, "UserData")?,
        env: environment(body.env_vars)?,
        bootstrap: bootstrap(body.bootstrap)?,
        configs: configs(body.configs).map_err(|error| error.inside("Configs"))?,
        notification: notification(body.notification, &CLUSTER_EVENTS)?,
        extra: extra(schedule, password, isv)?,
    };
    if spec.image.is_none() && spec.groups.values().any(|group| group.image.is_none()) {
        return Err(ApiError::missing("ImageId"));
    }
    Ok(spec)
}

fn bootstrap(member: Member<String>) -> Result<String, ApiError> {
    let text = member.or_empty("Bootstrap")?;
    match text.contains('\0') {
        false => Ok(text),
        true => Err(ApiError::invalid("Bootstrap", "must not hold a NUL")),
    }
}

fn groups(
    Groups(groups): Groups,
    limits: &Limits,
) -> Result<BTreeMap<GroupName, GroupSpec>, ApiError> {
    if groups.is_empty() {
        return Err(ApiError::new(Code::Missing("Groups".into()), "Groups must not be empty"));
    }
    let mut specs = BTreeMap::new();
    for (text, body) in groups {
        let (name, body) = group(&text, body)?;
        let inside = |error: ApiError| error.inside(format_args!("Groups.{text}"));
        let spec = group_spec(body, limits).map_err(inside)?;
        if specs.insert(name, spec).is_some() {
            return Err(invalid_group(&text, "is there twice"));
        }
    }
    Ok(specs)
}

/// The checked name and the members of one group.
fn group(text: &str, body: Member<Object<GroupBody>>) -> Result<(GroupName, GroupBody), ApiError> {
    let name = text.parse().map_err(|error| invalid_group(text, error))?;
    match body.optional("Groups") {
        Ok(Some(Object(body))) => Ok((name, body)),
        Ok(None) | Err(_) => Err(invalid_group(text, "must be an object")),
    }
}

/// `InvalidGroups.{group}`; a name that is not legal stays out of the code.
fn invalid_group(text: &str, reason: impl std::fmt::Display) -> ApiError {
    match text.parse::<GroupName>() {
        Ok(name) => ApiError::invalid(format!("Groups.{name}"), reason),
        Err(_) => ApiError::invalid("Groups", format!("has {}: {reason}", quote(text))),
    }
}

fn group_spec(body: GroupBody, limits: &Limits) -> Result<GroupSpec, ApiError> {
    let resource = resource(body.resource_type, body.spot_strategy, body.spot_price_limit)?;
    let desired = desired(body.desired_vm_count, limits)?;
    Ok(GroupSpec {
        desired: match resource {
            // The guide: set to 0 by itself.
            Resource::PrePaid => 0,
            _ => desired.ok_or_else(|| ApiError::missing("DesiredVMCount"))?,
        },
        instance_type: instance_type(body.instance_type)?,
        image: image(body.image_id, "ImageId")?,
        resource,
        host_name_prefix: host_name_prefix(body.hostname_prefix)?,
        mode: body.mode.or_empty("Mode")?,
    })
}

fn desired(member: Member<i64>, limits: &Limits) -> Result<Option<u32>, ApiError> {
    if member == Member::Absent {
        return Ok(None);
    }
    member.within("DesiredVMCount", 0..=limits.group_size_max, 0).map(Some)
}

/// What may stand in front of a number in a host name.
fn host_name_prefix(member: Member<String>) -> Result<String, ApiError> {
    let name = "HostnamePrefix";
    let text = member.or_empty(name)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if text.len() > 48 || !text.bytes().all(plain) || text.starts_with('-') {
        let reason = "must be at most 48 of [a-zA-Z0-9-] without a hyphen in front";
        return Err(ApiError::invalid(name, reason));
    }
    Ok(text)
}

const SCHEDULE_TYPES: [&str; 3] = ["Poll", "Push", "LowLatency"];

/// Members that are only stored and echoed, where they differ from their default.
fn extra(
    schedule: Member<String>,
    password: Member<bool>,
    isv: Member<String>,
) -> Result<BTreeMap<String, Value>, ApiError> {
    let schedule = filled(schedule, "ScheduleType")?;
    if schedule.as_ref().is_some_and(|kind| !SCHEDULE_TYPES.contains(&kind.as_str())) {
        return Err(ApiError::invalid("ScheduleType", "must be Poll, Push or LowLatency"));
    }
    let password = password.or_empty("PasswordInherit")?;
    let isv = filled(isv, "DependencyIsvService")?;
    let members = [
        ("ScheduleType", schedule.map(Value::from)),
        ("PasswordInherit", password.then_some(Value::Bool(true))),
        ("DependencyIsvService", isv.map(Value::from)),
    ];
    Ok(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ModifyBody {
    groups: Member<Groups>,
    image_id: Member<String>,
    user_data: Member<Texts>,
    env_vars: Member<Texts>,
    configs: Member<Object<ModifyConfigs>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ModifyConfigs {
    mounts: Member<Object<MountsBody>>,
}

/// A change of a cluster (`reference/api.md` 9.4). `Groups` may be absent or empty, and a group
/// may be `{}`: nothing changes then. `UserData` and `EnvVars` replace what was there whole, so
/// `{}` empties them; an empty `ImageId` and mounts without members say nothing. Every other
/// member of a cluster is accepted and means nothing here: the Java client sends whole
/// descriptions. Whether the groups exist is for the mill to say.
pub fn parse_modify_cluster(body: &[u8], limits: &Limits) -> Result<ClusterChange, ApiError> {
    let body: ModifyBody = parse_body(body, BODY_BYTES_MAX)?;
    let mut change = ClusterChange {
        image: image(body.image_id, "ImageId")?,
        user_data: given(body.user_data, |member| texts(member, "UserData"))?,
        env: given(body.env_vars, environment)?,
        mounts: new_mounts(body.configs).map_err(|error| error.inside("Configs"))?,
        ..ClusterChange::default()
    };
    for (text, body) in body.groups.or_empty("Groups")?.0 {
        if matches!(body, Member::Absent) {
            continue;
        }
        let (name, body) = group(&text, body)?;
        let inside = |error: ApiError| error.inside(format_args!("Groups.{text}"));
        let group = group_change(body, limits).map_err(inside)?;
        if group != GroupChange::default() {
            change.groups.insert(name, group);
        }
    }
    Ok(change)
}

/// What is read of a member, if it is there.
fn given<T, R>(
    member: Member<T>,
    read: impl FnOnce(Member<T>) -> Result<R, ApiError>,
) -> Result<Option<R>, ApiError> {
    match member {
        Member::Absent => Ok(None),
        member => read(member).map(Some),
    }
}

fn new_mounts(configs: Member<Object<ModifyConfigs>>) -> Result<Option<NewMounts>, ApiError> {
    let Object(ModifyConfigs { mounts }) = configs.or_empty("Configs")?;
    match &mounts {
        Member::Absent => return Ok(None),
        Member::Given(Object(body)) if *body == MountsBody::default() => return Ok(None),
        _ => {}
    }
    Ok(Some(self::mounts(mounts)?.map_or(NewMounts::Nothing, NewMounts::These)))
}

fn group_change(body: GroupBody, limits: &Limits) -> Result<GroupChange, ApiError> {
    Ok(GroupChange {
        desired: desired(body.desired_vm_count, limits)?,
        instance_type: instance_type(body.instance_type)?,
        image: image(body.image_id, "ImageId")?,
        spot: spot_change(body.spot_strategy, body.spot_price_limit)?,
    })
}

/// What the books know of a cluster beyond its specification.
#[derive(Debug, Clone, Copy)]
pub struct ClusterParts<'a> {
    /// Its id.
    pub id: ClusterId,
    /// Its owner.
    pub account: AccountId,
    /// As asked for.
    pub spec: &'a ClusterSpec,
    /// `Active` or `Deleting`.
    pub state: &'a str,
    /// When it was made.
    pub created: Timestamp,
    /// The present sizes of groups, where they differ from the specification.
    pub desired: &'a BTreeMap<GroupName, u32>,
    /// Running machines per group.
    pub actual: &'a BTreeMap<GroupName, u32>,
    /// Machines per state.
    pub metrics: ClusterMetrics,
    /// Newest last.
    pub operation_logs: &'a [String],
}

/// The body of `GET /clusters/{cluster}`.
pub fn cluster_body(parts: ClusterParts<'_>) -> Cluster {
    let spec = parts.spec;
    let groups = spec.groups.iter().map(|(name, group)| {
        let desired = parts.desired.get(name).copied().unwrap_or(group.desired);
        let actual = parts.actual.get(name).copied().unwrap_or(0);
        (name.to_string(), group_body(spec, group, desired, actual))
    });
    let echoed =
        |name: &str| spec.extra.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Cluster {
        id: parts.id.to_string(),
        name: spec.name.to_string(),
        owner_id: parts.account.0,
        description: spec.description.clone(),
        creation_time: parts.created.into(),
        state: parts.state.to_owned(),
        error_code: String::new(),
        image_id: text(spec.image.as_ref()),
        instance_type: text(spec.instance_type.as_ref()),
        user_data: spec.user_data.clone(),
        env_vars: spec.env.clone(),
        input_mapping: BTreeMap::new(),
        input_mapping_config: InputMappingConfig::default(),
        write_support: false,
        bootstrap: spec.bootstrap.clone(),
        schedule_type: echoed("ScheduleType"),
        security_group: String::new(),
        security_groups: Vec::new(),
        notification: tree(&NotificationView::of(spec.notification.as_ref())),
        configs: placed_configs(parts.id, spec),
        groups: groups.collect(),
        metrics: parts.metrics,
        operation_logs: parts.operation_logs.to_vec(),
        password_inherit: spec.extra.contains_key("PasswordInherit"),
        dependency_isv_service: echoed("DependencyIsvService"),
    }
}

/// `Configs` with the records of the network that the cluster lies in. `VSwitchId` is an addition; the
/// clients drop what they do not know.
fn placed_configs(id: ClusterId, spec: &ClusterSpec) -> Value {
    let mut configs = tree(&ConfigsView::of(&spec.configs));
    let Vpc { id, switch, block } = Vpc::of(id, &spec.configs);
    let records = [("CidrBlock", block.to_string()), ("VpcId", id), ("VSwitchId", switch)];
    for (name, record) in records {
        configs["Networks"]["VPC"][name] = record.into();
    }
    configs
}

/// What is there as text, or the empty text.
fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn group_body(spec: &ClusterSpec, group: &GroupSpec, desired: u32, actual: u32) -> Group {
    let Price { resource_type, spot_strategy, spot_price_limit } = Price::of(&group.resource);
    let kind = group.instance_type.as_ref().or(spec.instance_type.as_ref());
    Group {
        desired_vm_count: desired,
        actual_vm_count: actual,
        instance_type: text(kind),
        resource_type: resource_type.to_owned(),
        spot_strategy: spot_strategy.to_owned(),
        spot_price_limit,
        image_id: text(group.image.as_ref()),
        hostname_prefix: group.host_name_prefix.clone(),
        mode: group.mode.clone(),
        disks: tree(&DisksView::of(&spec.configs)),
    }
}
