//! Parameters of an app: what they take, what they are by default.
//!
//! Java writes every default as text, and Python refuses to read an app whose default is not of
//! the parameter's type. So numeric text is stored as a number (`reference/api.md` 11.1).

use super::{ENTRIES_MAX, check_key};
use crate::{
    api::{
        DESCRIPTION_CHARS_MAX,
        mappings::check_local,
        read::{Member, Named, Object, Shape},
        shared::filled,
    },
    error::{ApiError, quote},
};
use gristmill_model::app::{Parameter, ParameterKind, ParameterValue};
use serde::Deserialize;
use serde_json::Number;
use std::collections::BTreeMap;

/// The longest value of a parameter, in bytes.
pub(super) const VALUE_BYTES_MAX: usize = 32 << 10;
/// The longest `LocalPath`.
const LOCAL_PATH_CHARS_MAX: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ParameterBody {
    description: Member<String>,
    r#type: Member<String>,
    default: Member<Scalar>,
    local_path: Member<String>,
}

/// A text or a number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Text(String),
    Number(Number),
}

impl Shape for Scalar {
    const WANTED: &'static str = "a text or a number";
    fn text(text: &str) -> Option<Self> {
        Some(Self::Text(text.to_owned()))
    }
    fn integer(number: i64) -> Option<Self> {
        Some(Self::Number(number.into()))
    }
    fn number(number: f64) -> Option<Self> {
        Number::from_f64(number).map(Self::Number)
    }
}

/// The parameters of one member of an app.
pub(super) fn parameters(
    member: &'static str,
    body: Member<Named<Object<ParameterBody>>>,
) -> Result<BTreeMap<String, Parameter>, ApiError> {
    let Named(entries) = body.optional(member)?.unwrap_or_default();
    if entries.len() > ENTRIES_MAX {
        let reason = format!("has {} entries, the limit is {ENTRIES_MAX}", entries.len());
        return Err(ApiError::invalid(member, reason));
    }
    let mut parameters = BTreeMap::new();
    for (name, body) in entries {
        check_key(member, &name)?;
        let Some(Object(body)) = body.optional(member)? else {
            return Err(ApiError::invalid(member, format!("has nothing at {}", quote(&name))));
        };
        let parameter = parameter(body).map_err(|error| error.inside(&name).inside(member))?;
        if parameters.insert(name.clone(), parameter).is_some() {
            return Err(ApiError::invalid(member, format!("has {} twice", quote(&name))));
        }
    }
    Ok(parameters)
}

fn parameter(body: ParameterBody) -> Result<Parameter, ApiError> {
    let description = body.description.or_empty("Description")?;
    if description.chars().count() > DESCRIPTION_CHARS_MAX {
        let reason = format!("length must be in [0, {DESCRIPTION_CHARS_MAX}]");
        return Err(ApiError::invalid("Description", reason));
    }
    let kind = match filled(body.r#type, "Type")?.as_deref() {
        None | Some("String") => ParameterKind::String,
        Some("Number") => ParameterKind::Number,
        Some(other) => {
            let reason = format!("{} must be String or Number", quote(other));
            return Err(ApiError::invalid("Type", reason));
        }
    };
    let local_path = body.local_path.or_empty("LocalPath")?;
    if !local_path.is_empty() {
        if local_path.len() > LOCAL_PATH_CHARS_MAX || kind == ParameterKind::Number {
            let reason = "is for parameters of type String and has at most 1000 characters";
            return Err(ApiError::invalid("LocalPath", reason));
        }
        check_local("LocalPath", &local_path)?;
    }
    let default = body.default.optional("Default")?;
    Ok(Parameter { description, kind, default: default_of(kind, default)?, local_path })
}

/// Empty text is no number, and no number is a default: then every call has to give one.
fn default_of(
    kind: ParameterKind,
    default: Option<Scalar>,
) -> Result<Option<ParameterValue>, ApiError> {
    match default {
        Some(Scalar::Text(text)) if text.is_empty() && kind == ParameterKind::Number => Ok(None),
        Some(scalar) => {
            value(kind, scalar).map(Some).map_err(|reason| ApiError::invalid("Default", reason))
        }
        None => Ok(None),
    }
}

/// A value of this kind, or what is wrong with it. Numeric text is a number.
pub(super) fn value(kind: ParameterKind, scalar: Scalar) -> Result<ParameterValue, String> {
    match (kind, scalar) {
        (ParameterKind::String, Scalar::Text(text)) if text.contains('\0') => {
            Err("must not hold a NUL".to_owned())
        }
        (ParameterKind::String, Scalar::Text(text)) if text.len() > VALUE_BYTES_MAX => {
            Err(format!("has {} bytes, the limit is {VALUE_BYTES_MAX}", text.len()))
        }
        (ParameterKind::String, Scalar::Text(text)) => Ok(ParameterValue::Text(text)),
        (ParameterKind::Number, Scalar::Number(number)) => Ok(ParameterValue::Number(number)),
        (ParameterKind::Number, Scalar::Text(text)) => match text.trim().parse::<Number>() {
            Ok(number) => Ok(ParameterValue::Number(number)),
            Err(_) => Err(format!("{} is not a number", quote(&text))),
        },
        (ParameterKind::String, Scalar::Number(_)) => Err("must be a text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Parameter, String> {
        let body = serde_json::from_str(text).expect("JSON");
        parameter(body).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_have_the_type_of_their_parameter() {
        let text = |text: &str| Some(ParameterValue::Text(text.into()));
        let number = |number: i64| Some(ParameterValue::Number(number.into()));
        let half = Some(ParameterValue::Number(Number::from_f64(0.5).expect("finite")));
        for (body, wanted) in [
            ("{}", None),
            (r#"{"Default":null}"#, None),
            (r#"{"Default":""}"#, text("")),
            (r#"{"Type":"String","Default":"7"}"#, text("7")),
            (r#"{"Type":"Number","Default":7}"#, number(7)),
            (r#"{"Type":"Number","Default":"7"}"#, number(7)),
            (r#"{"Type":"Number","Default":" -7 "}"#, number(-7)),
            (r#"{"Type":"Number","Default":"0.5"}"#, half.clone()),
            (r#"{"Type":"Number","Default":0.5}"#, half),
            (r#"{"Type":"Number","Default":""}"#, None),
            (r#"{"Type":"Number","Default":"0"}"#, number(0)),
        ] {
            assert_eq!(read(body).map(|it| it.default), Ok(wanted), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, wanted) in [
            (r#"{"Type":"Boolean"}"#, "InvalidType"),
            (r#"{"Type":7}"#, "InvalidType"),
            (r#"{"Default":7}"#, "InvalidDefault"),
            (r#"{"Default":true}"#, "InvalidDefault"),
            (r#"{"Default":{}}"#, "InvalidDefault"),
            (r#"{"Default":"a\u0000b"}"#, "InvalidDefault"),
            (r#"{"Type":"Number","Default":"x"}"#, "InvalidDefault"),
            (r#"{"Type":"Number","Default":"1 2"}"#, "InvalidDefault"),
            (r#"{"Type":"Number","LocalPath":"/home/x"}"#, "InvalidLocalPath"),
            (r#"{"LocalPath":"home/x"}"#, "InvalidLocalPath"),
            (r#"{"LocalPath":"/proc/x"}"#, "InvalidLocalPath"),
            (r#"{"LocalPath":"/a/../b"}"#, "InvalidLocalPath"),
            (r#"{"Description":1}"#, "InvalidDescription"),
        ] {
            let refusal = read(body).expect_err(body);
            assert!(refusal.starts_with(&format!("{wanted}: ")), "{body}: {refusal}");
        }
    }
}
