//! `ImageDescription` of `POST /images` (`reference/api.md` 10).

use crate::{
    api::{
        BODY_BYTES_MAX, Query,
        read::{Member, parse_body},
        shared::{description, filled, image, name},
        token::{checked_token, idempotency_token},
    },
    error::{ApiError, quote},
};
use gristmill_model::{ImageId, JobName, input::Token};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageBody {
    name: Member<String>,
    description: Member<String>,
    ecs_image_id: Member<String>,
    platform: Member<String>,
    idempotent_token: Member<String>,
}

/// An image that is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// `None`: as its id.
    pub name: Option<JobName>,
    /// Free text.
    pub description: String,
    /// `m-…`
    pub ecs_image: ImageId,
    /// `Linux` or `Windows`.
    pub platform: &'static str,
    /// From the query, else from the body.
    pub token: Option<Token>,
}

/// An image as it is to be registered, or why not.
pub fn parse_image(bytes: &[u8], query: &Query<'_>) -> Result<ImageSpec, ApiError> {
    let body: ImageBody = parse_body(bytes, BODY_BYTES_MAX)?;
    let in_body = filled(body.idempotent_token, "IdempotentToken")?;
    let token = match (idempotency_token(query, bytes)?, in_body) {
        (Some(token), _) => Some(token),
        (None, Some(text)) => Some(checked_token(&text, bytes)?),
        (None, None) => None,
    };
    let name = match body.name {
        Member::Given(text) if text.is_empty() => None,
        Member::Absent => None,
        member => Some(name(member)?),
    };
    Ok(ImageSpec {
        name,
        description: description(body.description)?,
        ecs_image: ecs_image(body.ecs_image_id)?,
        platform: platform(body.platform)?,
        token,
    })
}

fn ecs_image(member: Member<String>) -> Result<ImageId, ApiError> {
    let id = image(member, "EcsImageId")?.ok_or_else(|| ApiError::missing("EcsImageId"))?;
    match id.as_str().strip_prefix("m-") {
        Some(rest) if !rest.is_empty() => Ok(id),
        _ => {
            let reason = format!("{} must be m-…", quote(id.as_str()));
            Err(ApiError::invalid("EcsImageId", reason))
        }
    }
}

fn platform(member: Member<String>) -> Result<&'static str, ApiError> {
    let text = member.required("Platform")?;
    ["Linux", "Windows"]
        .into_iter()
        .find(|platform| *platform == text)
        .ok_or_else(|| ApiError::invalid("Platform", "must be Linux or Windows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str, query: &str) -> Result<ImageSpec, String> {
        let query = Query::parse(query).expect("legal");
        parse_image(body.as_bytes(), &query).map_err(|error| error.code.to_string())
    }

    #[test]
    fn an_image_needs_an_id_and_a_platform_and_nothing_else() {
        let least = r#"{"EcsImageId": "m-28ga7wbnb", "Platform": "Linux"}"#;
        let spec = parse(least, "").expect("legal");
        assert_eq!((spec.name, spec.token, spec.platform), (None, None, "Linux"));
        assert_eq!(spec.ecs_image.as_str(), "m-28ga7wbnb");
        let named = r#"{"Name":"a-1","Description":"d","EcsImageId":"m-1","Platform":"Windows"}"#;
        let spec = parse(named, "").expect("legal");
        assert_eq!(spec.name.expect("given").as_str(), "a-1");
    }

    #[test]
    fn the_token_of_the_query_wins_over_the_one_of_the_body() {
        let body = r#"{"EcsImageId":"m-1","Platform":"Linux","IdempotentToken":"inside"}"#;
        let text = |query| parse(body, query).expect("legal").token.expect("sent").text;
        assert_eq!(text("IdempotentToken=outside"), "outside");
        assert_eq!(text("IdempotentToken"), "inside");
        assert_eq!(text(""), "inside");
    }

    #[test]
    fn what_cannot_be_an_image_is_refused_by_the_name_of_its_member() {
        for (body, code) in [
            (r#"{"Platform":"Linux"}"#, "MissingEcsImageId"),
            (r#"{"EcsImageId":"","Platform":"Linux"}"#, "MissingEcsImageId"),
            (r#"{"EcsImageId":"img-ubuntu","Platform":"Linux"}"#, "InvalidEcsImageId"),
            (r#"{"EcsImageId":"m-","Platform":"Linux"}"#, "InvalidEcsImageId"),
            (r#"{"EcsImageId":"m-../x","Platform":"Linux"}"#, "InvalidEcsImageId"),
            (r#"{"EcsImageId":7,"Platform":"Linux"}"#, "InvalidEcsImageId"),
            (r#"{"EcsImageId":"m-1"}"#, "MissingPlatform"),
            (r#"{"EcsImageId":"m-1","Platform":"linux"}"#, "InvalidPlatform"),
            (r#"{"EcsImageId":"m-1","Platform":[]}"#, "InvalidPlatform"),
            (r#"{"Name":"1a","EcsImageId":"m-1","Platform":"Linux"}"#, "InvalidName"),
            (r#"{"Name":9,"EcsImageId":"m-1","Platform":"Linux"}"#, "InvalidName"),
            (
                r#"{"EcsImageId":"m-1","Platform":"Linux","IdempotentToken":"a b"}"#,
                "InvalidIdempotentToken",
            ),
            ("[]", "InvalidHttpBody"),
            ("{", "InvalidJsonFormat"),
        ] {
            assert_eq!(parse(body, ""), Err(code.to_owned()), "{body}");
        }
    }
}
