//! Where a task runs: the table of `reference/api.md` 7.1.2, and `AutoCluster` (13.7).

use crate::{
    api::{
        configs::{ConfigsBody, configs},
        read::{Member, Object, Texts},
        shared::{filled, image, instance_type, resource, texts},
    },
    error::{ApiError, quote},
};
use gristmill_model::{
    ClusterId, Placement,
    spec::{AutoCluster, Configs, Resource},
};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AutoClusterBody {
    cluster_id: Member<String>,
    image_id: Member<String>,
    #[serde(rename = "ECSImageId")]
    ecs_image_id: Member<String>,
    instance_type: Member<String>,
    resource_type: Member<String>,
    spot_strategy: Member<String>,
    spot_price_limit: Member<f64>,
    configs: Member<Object<ConfigsBody>>,
    user_data: Member<Texts>,
    reserve_on_fail: Member<bool>,
    dependency_isv_service: Member<String>,
}

/// `ClusterId` and `AutoCluster` of a task. A fixed cluster wins; an `AutoCluster` whose members
/// all say nothing is not given.
pub(super) fn placement(
    cluster: Member<String>,
    auto: Member<Object<AutoClusterBody>>,
) -> Result<Placement, ApiError> {
    let name = "AutoCluster";
    let fixed = cluster_id(cluster)?;
    let auto = auto.optional(name)?.map(|Object(body)| auto_cluster(body));
    let (attached, shape) =
        auto.transpose().map_err(|e| e.inside(name))?.unwrap_or((None, empty_shape()));
    match (fixed, attached) {
        (Some(cluster), _) => Ok(Placement::Fixed(cluster)),
        (None, Some(cluster)) => Ok(Placement::Attach { cluster, shape }),
        (None, None) if shape != empty_shape() => Ok(Placement::Auto(shape)),
        (None, None) => Err(ApiError::invalid(
            "ClusterId",
            "or an AutoCluster with an image or a type is needed",
        )),
    }
}

/// An id of a cluster; empty is not given.
pub(super) fn cluster_id(member: Member<String>) -> Result<Option<ClusterId>, ApiError> {
    let Some(text) = filled(member, "ClusterId")? else { return Ok(None) };
    let wrong = |_| ApiError::invalid("ClusterId", format!("{} is not an id", quote(&text)));
    text.parse().map(Some).map_err(wrong)
}

fn auto_cluster(body: AutoClusterBody) -> Result<(Option<ClusterId>, AutoCluster), ApiError> {
    let shape = AutoCluster {
        image: image(body.image_id, "ImageId")?,
        ecs_image: image(body.ecs_image_id, "ECSImageId")?,
        instance_type: instance_type(body.instance_type)?,
        resource: resource(body.resource_type, body.spot_strategy, body.spot_price_limit)?,
        configs: configs(body.configs).map_err(|error| error.inside("Configs"))?,
        user_data: texts(body.user_data, "UserData")?,
        reserve_on_fail: body.reserve_on_fail.or_empty("ReserveOnFail")?,
        dependency_isv_service: body.dependency_isv_service.or_empty("DependencyIsvService")?,
    };
    Ok((cluster_id(body.cluster_id)?, shape))
}

/// An automatic cluster of which nothing was said.
pub(super) fn empty_shape() -> AutoCluster {
    AutoCluster {
        image: None,
        ecs_image: None,
        instance_type: None,
        resource: Resource::default(),
        configs: Configs::default(),
        user_data: Texts::new(),
        reserve_on_fail: false,
        dependency_isv_service: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "cls-hr2rbl6qt5gki7392b8001";

    fn read(cluster: &str, auto: &str) -> Result<Placement, String> {
        let cluster = serde_json::from_str(cluster).expect("JSON");
        let auto = serde_json::from_str(auto).expect("JSON");
        placement(cluster, auto).map_err(|error| error.code.to_string())
    }

    /// The table of `reference/api.md` 7.1.2, whole.
    #[test]
    fn the_two_members_decide_together() {
        let id: ClusterId = ID.parse().expect("legal");
        let quoted = format!("\"{ID}\"");
        let typed = || AutoCluster {
            instance_type: Some(gristmill_model::catalogue::InstanceTypeName("ecs.x".into())),
            ..empty_shape()
        };
        let typed_text = r#"{"InstanceType":"ecs.x","ResourceType":"OnDemand","UserData":{}}"#;
        let attach = format!(r#"{{"InstanceType":"ecs.x","ClusterId":"{ID}"}}"#);
        let hollow = r#"{"ImageId":"","ECSImageId":"","UserData":{},"DependencyIsvService":""}"#;
        for (cluster, auto, wanted) in [
            (quoted.as_str(), "null", Ok(Placement::Fixed(id))),
            (&quoted, "{}", Ok(Placement::Fixed(id))),
            (&quoted, hollow, Ok(Placement::Fixed(id))),
            (&quoted, typed_text, Ok(Placement::Fixed(id))),
            ("\"\"", typed_text, Ok(Placement::Auto(typed()))),
            ("null", typed_text, Ok(Placement::Auto(typed()))),
            ("\"\"", &attach, Ok(Placement::Attach { cluster: id, shape: typed() })),
            ("\"\"", "null", Err("InvalidClusterId")),
            ("\"\"", "{}", Err("InvalidClusterId")),
            ("null", hollow, Err("InvalidClusterId")),
            ("\"cls-1\"", "null", Err("InvalidClusterId")),
            ("7", "null", Err("InvalidClusterId")),
            ("null", "[]", Err("InvalidAutoCluster")),
            ("null", r#"{"ImageId":"ubuntu"}"#, Err("InvalidImageId")),
            ("null", r#"{"ECSImageId":7}"#, Err("InvalidECSImageId")),
            ("null", r#"{"InstanceType":"a b"}"#, Err("InvalidInstanceType")),
            ("null", r#"{"ReserveOnFail":"no"}"#, Err("InvalidReserveOnFail")),
            ("null", r#"{"UserData":{"a":1}}"#, Err("InvalidUserData")),
        ] {
            assert_eq!(read(cluster, auto), wanted.map_err(str::to_owned), "{cluster} {auto}");
        }
    }
}
