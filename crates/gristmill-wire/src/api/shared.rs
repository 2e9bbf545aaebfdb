//! Members that several bodies have: texts, images, prices, notifications
//! (`reference/api.md` 13.5, 13.6).

use crate::{
    api::{
        DESCRIPTION_CHARS_MAX, PROGRAM_BYTES_MAX, locale,
        read::{Member, Object, Texts},
    },
    error::{ApiError, quote},
};
use gristmill_model::{
    ImageId, JobName,
    catalogue::InstanceTypeName,
    names::BadName,
    spec::{Notification, Resource},
};
use serde::Deserialize;

/// The longest name of a job of type DAG, a cluster or an image.
const NAME_CHARS_MAX: usize = 64;

/// `Name` of a job made from an app, which may be longer (`reference/api.md` 4.5).
pub(super) fn app_job_name(member: Member<String>) -> Result<JobName, ApiError> {
    let text = member.required("Name")?;
    text.parse().map_err(|error: BadName| ApiError::invalid("Name", error))
}

/// `Name` of a job or a cluster.
pub(super) fn name(member: Member<String>) -> Result<JobName, ApiError> {
    let text = member.required("Name")?;
    let too_long = BadName::Length { min: 1, max: NAME_CHARS_MAX };
    match text.parse() {
        Ok(_) if text.len() > NAME_CHARS_MAX => Err(too_long),
        Err(BadName::Length { .. }) => Err(too_long),
        verdict => verdict,
    }
    .map_err(|error| ApiError::invalid("Name", error))
}

/// `Description`.
pub(super) fn description(member: Member<String>) -> Result<String, ApiError> {
    let text = member.or_empty("Description")?;
    if text.chars().count() > DESCRIPTION_CHARS_MAX {
        let reason = format!("length must be in [0, {DESCRIPTION_CHARS_MAX}]");
        return Err(ApiError::invalid("Description", reason));
    }
    Ok(text)
}

/// A text that is not there when it is empty.
pub(super) fn filled(
    member: Member<String>,
    name: &'static str,
) -> Result<Option<String>, ApiError> {
    Ok(member.optional(name)?.filter(|text| !text.is_empty()))
}

/// `EnvVars`: what an environment can hold.
pub(super) fn environment(member: Member<Texts>) -> Result<Texts, ApiError> {
    let texts = texts(member, "EnvVars")?;
    if let Some(key) = texts.keys().find(|key| key.is_empty() || key.contains('=')) {
        let reason = format!("has {} as a name", quote(key));
        return Err(ApiError::invalid("EnvVars", reason));
    }
    let bytes: usize = texts.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    if bytes > PROGRAM_BYTES_MAX {
        let reason = format!("has {bytes} bytes, the limit is {PROGRAM_BYTES_MAX}");
        return Err(ApiError::invalid("EnvVars", reason));
    }
    Ok(texts)
}

/// An object of texts without NUL.
pub(super) fn texts(member: Member<Texts>, name: &'static str) -> Result<Texts, ApiError> {
    let texts = member.or_empty(name)?;
    match texts.iter().find(|(key, value)| key.contains('\0') || value.contains('\0')) {
        None => Ok(texts),
        Some((key, _)) => Err(ApiError::invalid(name, format!("has a NUL at {}", quote(key)))),
    }
}

/// `Locale`, kept as sent.
pub(super) fn locale(member: Member<String>) -> Result<String, ApiError> {
    let text = filled(member, "Locale")?.unwrap_or_else(|| locale::LOCALE_DEFAULT.to_owned());
    match locale::charset(&text) {
        Some(_) => Ok(text),
        None => {
            let reason = format!("{} is not a character set of file names", quote(&text));
            Err(ApiError::invalid("Locale", reason))
        }
    }
}

/// `ImageId` and its relatives; empty is not given.
pub(super) fn image(
    member: Member<String>,
    name: &'static str,
) -> Result<Option<ImageId>, ApiError> {
    let Some(text) = filled(member, name)? else { return Ok(None) };
    let wrong = |_| ApiError::invalid(name, format!("{} must be img-… or m-…", quote(&text)));
    text.parse().map(Some).map_err(wrong)
}

/// `InstanceType`; empty is not given. Whether the type exists is for the region to say.
pub(super) fn instance_type(member: Member<String>) -> Result<Option<InstanceTypeName>, ApiError> {
    let name = "InstanceType";
    let Some(text) = filled(member, name)? else { return Ok(None) };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if text.len() > 64 || !text.bytes().all(plain) {
        let reason = format!("{} must be [1, 64] characters of [a-zA-Z0-9._-]", quote(&text));
        return Err(ApiError::invalid(name, reason));
    }
    Ok(Some(InstanceTypeName(text)))
}

/// `ResourceType`, `SpotStrategy`, `SpotPriceLimit`.
pub(super) fn resource(
    kind: Member<String>,
    strategy: Member<String>,
    limit: Member<f64>,
) -> Result<Resource, ApiError> {
    let kind = filled(kind, "ResourceType")?;
    let strategy = filled(strategy, "SpotStrategy")?;
    let limit = price_milli(limit)?;
    match (kind.as_deref().unwrap_or("OnDemand"), strategy.as_deref(), limit) {
        ("OnDemand", None, 0) => Ok(Resource::OnDemand),
        ("PrePaid", None, 0) => Ok(Resource::PrePaid),
        ("Spot", None | Some("SpotAsPriceGo"), 0) => Ok(Resource::Spot { price_limit_milli: None }),
        ("Spot", Some("SpotWithPriceLimit"), 1..) => {
            Ok(Resource::Spot { price_limit_milli: Some(limit) })
        }
        ("Spot", Some("SpotWithPriceLimit"), 0) => {
            Err(ApiError::invalid("SpotPriceLimit", "must be above 0 for SpotWithPriceLimit"))
        }
        ("Spot", None | Some("SpotAsPriceGo"), _) => {
            Err(ApiError::invalid("SpotPriceLimit", "is only for SpotWithPriceLimit"))
        }
        ("Spot", Some(other), _) => {
            let reason = format!("{} must be SpotWithPriceLimit or SpotAsPriceGo", quote(other));
            Err(ApiError::invalid("SpotStrategy", reason))
        }
        ("OnDemand" | "PrePaid", Some(_), _) => {
            Err(ApiError::invalid("SpotStrategy", "is only for the ResourceType Spot"))
        }
        ("OnDemand" | "PrePaid", None, _) => {
            Err(ApiError::invalid("SpotPriceLimit", "is only for the ResourceType Spot"))
        }
        (other, ..) => {
            let reason = format!("{} must be OnDemand, Spot or PrePaid", quote(other));
            Err(ApiError::invalid("ResourceType", reason))
        }
    }
}

/// `SpotStrategy` and `SpotPriceLimit` of a change. The official clients send one of them, both
/// or neither; a limit by itself asks for `SpotWithPriceLimit`.
pub(super) fn spot_change(
    strategy: Member<String>,
    limit: Member<f64>,
) -> Result<Option<Resource>, ApiError> {
    let strategy = filled(strategy, "SpotStrategy")?;
    let limit = limit.optional("SpotPriceLimit")?.filter(|limit| *limit != 0.0);
    let strategy = match (strategy, limit) {
        (None, None) => return Ok(None),
        (None, Some(_)) => "SpotWithPriceLimit".to_owned(),
        (Some(strategy), _) => strategy,
    };
    let limit = limit.map_or(Member::Absent, Member::Given);
    resource(Member::Given("Spot".to_owned()), Member::Given(strategy), limit).map(Some)
}

/// A price in thousandths. At most three decimals.
fn price_milli(limit: Member<f64>) -> Result<u32, ApiError> {
    let name = "SpotPriceLimit";
    let milli = limit.optional(name)?.unwrap_or(0.0) * 1000.0;
    if !(0.0..=f64::from(u32::MAX)).contains(&milli) {
        return Err(ApiError::invalid(name, "must be 0 or a price"));
    }
    // 0.6 * 1000 is not exactly 600; a fourth decimal is at least 0.1 away.
    if (milli - milli.round()).abs() > 0.01 {
        return Err(ApiError::invalid(name, "must have at most three decimals"));
    }
    Ok(milli.round() as u32)
}

/// Events that a job can notify of: of itself, its tasks, instances and priority.
pub const JOB_EVENTS: [&str; 16] = [
    "OnJobWaiting",
    "OnJobRunning",
    "OnJobStopped",
    "OnJobFinished",
    "OnJobFailed",
    "OnTaskWaiting",
    "OnTaskRunning",
    "OnTaskStopped",
    "OnTaskFinished",
    "OnTaskFailed",
    "OnInstanceWaiting",
    "OnInstanceRunning",
    "OnInstanceStopped",
    "OnInstanceFinished",
    "OnInstanceFailed",
    "OnPriorityChange",
];

/// Events of clusters and their machines.
pub(super) const CLUSTER_EVENTS: [&str; 3] =
    ["OnClusterDeleted", "OnInstanceCreated", "OnInstanceActive"];

/// `Notification`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NotificationBody {
    topic: Member<Object<TopicBody>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TopicBody {
    name: Member<String>,
    endpoint: Member<String>,
    events: Member<Vec<String>>,
    user_data: Member<String>,
    user_template: Member<String>,
}

/// A notification, unless all its members are empty. `known` are the events it may name.
pub(super) fn notification(
    member: Member<Object<NotificationBody>>,
    known: &[&str],
) -> Result<Option<Notification>, ApiError> {
    let name = "Notification";
    let Some(Object(body)) = member.optional(name)? else { return Ok(None) };
    let Some(Object(topic)) = body.topic.optional(name)? else { return Ok(None) };
    let events = topic.events.optional_as(name, "an object whose Events are an array of texts")?;
    let events = events.unwrap_or_default();
    if let Some(event) = events.iter().find(|event| !known.contains(&event.as_str())) {
        let reason = format!("has {}, which is not an event of this kind", quote(event));
        return Err(ApiError::invalid(name, reason));
    }
    let notification = Notification {
        topic: topic.name.or_empty(name)?,
        endpoint: topic.endpoint.or_empty(name)?,
        events: events.into_iter().collect(),
        user_data: topic.user_data.or_empty(name)?,
        user_template: topic.user_template.or_empty(name)?,
    };
    let Notification { topic, endpoint, events, user_data, user_template } = &notification;
    let empty = events.is_empty()
        && [topic, endpoint, user_data, user_template].into_iter().all(String::is_empty);
    Ok((!empty).then_some(notification))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Member<String> {
        Member::Given(text.to_owned())
    }

    #[test]
    fn the_spot_members_go_together() {
        let spot = |limit| Ok(Resource::Spot { price_limit_milli: limit });
        for (kind, strategy, limit, wanted) in [
            ("", "", 0.0, Ok(Resource::OnDemand)),
            ("OnDemand", "", 0.0, Ok(Resource::OnDemand)),
            ("PrePaid", "", 0.0, Ok(Resource::PrePaid)),
            ("Spot", "", 0.0, spot(None)),
            ("Spot", "SpotAsPriceGo", 0.0, spot(None)),
            ("Spot", "SpotWithPriceLimit", 0.6, spot(Some(600))),
            ("Spot", "SpotWithPriceLimit", 1.234, spot(Some(1234))),
            ("Spot", "SpotWithPriceLimit", 1.2345, Err("InvalidSpotPriceLimit")),
            ("Spot", "SpotWithPriceLimit", 0.0, Err("InvalidSpotPriceLimit")),
            ("Spot", "SpotWithPriceLimit", -1.0, Err("InvalidSpotPriceLimit")),
            ("Spot", "SpotWithPriceLimit", 1e300, Err("InvalidSpotPriceLimit")),
            ("Spot", "SpotAsPriceGo", 0.5, Err("InvalidSpotPriceLimit")),
            ("Spot", "Cheap", 0.0, Err("InvalidSpotStrategy")),
            ("OnDemand", "SpotAsPriceGo", 0.0, Err("InvalidSpotStrategy")),
            ("OnDemand", "", 0.5, Err("InvalidSpotPriceLimit")),
            ("Free", "", 0.0, Err("InvalidResourceType")),
        ] {
            let read = resource(text(kind), text(strategy), Member::Given(limit));
            let read = read.map_err(|error| error.code.to_string());
            assert_eq!(read, wanted.map_err(str::to_owned), "{kind} {strategy} {limit}");
        }
    }

    #[test]
    fn an_environment_has_a_size() {
        let of = |bytes: usize| {
            let texts = [("NAME".to_owned(), "x".repeat(bytes - "NAME=\0".len()))];
            environment(Member::Given(texts.into())).map_err(|error| error.to_string())
        };
        assert!(of(PROGRAM_BYTES_MAX).is_ok());
        let wanted = "InvalidEnvVars: EnvVars has 2097153 bytes, the limit is 2097152";
        assert_eq!(of(PROGRAM_BYTES_MAX + 1), Err(wanted.to_owned()));
    }

    #[test]
    fn names_and_descriptions_have_a_length() {
        assert!(name(text(&"x".repeat(64))).is_ok());
        assert!(name(text(&"x".repeat(65))).is_err());
        assert!(name(text(&"x".repeat(101))).is_err());
        assert!(description(text(&"日".repeat(1000))).is_ok());
        assert!(description(text(&"x".repeat(1001))).is_err());
    }
}
