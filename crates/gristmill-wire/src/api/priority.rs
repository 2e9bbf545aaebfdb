//! The body of `PUT /jobs/{job}` (`reference/api.md` 7.9).

use crate::{
    api::{
        BODY_BYTES_MAX,
        read::{Member, Shape, parse_body},
    },
    error::ApiError,
};
use serde::Deserialize;

/// The highest priority of a job.
pub const PRIORITY_MAX: u16 = 1000;

/// A number, or a number as text, which is how the Java SDK may send it.
#[derive(Debug)]
struct Number(i64);

impl Shape for Number {
    const WANTED: &'static str = "a whole number";
    fn text(text: &str) -> Option<Self> {
        text.trim().parse().ok().map(Self)
    }
    fn integer(number: i64) -> Option<Self> {
        Some(Self(number))
    }
    fn number(number: f64) -> Option<Self> {
        <i64 as Shape>::number(number).map(Self)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PriorityBody {
    priority: Member<Number>,
}

/// The new priority: 0 to [`PRIORITY_MAX`].
pub fn parse_priority(body: &[u8]) -> Result<u16, ApiError> {
    let body: PriorityBody = parse_body(body, BODY_BYTES_MAX)?;
    check_priority(body.priority.required("Priority")?.0)
}

/// A priority within its range.
pub(super) fn check_priority(number: i64) -> Result<u16, ApiError> {
    u16::try_from(number).ok().filter(|number| *number <= PRIORITY_MAX).ok_or_else(|| {
        let reason = format_args!("must be a whole number in [0, {PRIORITY_MAX}]").to_string();
        ApiError::invalid("Priority", reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_numeric_texts_are_taken() {
        for (body, wanted) in [
            (r#"{"Priority": 10}"#, Ok(10)),
            (r#"{"Priority": "10"}"#, Ok(10)),
            (r#"{"Priority": 0, "Other": 1}"#, Ok(0)),
            (r#"{"Priority": 1000.0}"#, Ok(1000)),
            (r#"{"Priority": 1001}"#, Err("InvalidPriority")),
            (r#"{"Priority": -1}"#, Err("InvalidPriority")),
            (r#"{"Priority": "high"}"#, Err("InvalidPriority")),
            (r#"{"Priority": 1.5}"#, Err("InvalidPriority")),
            (r#"{"Priority": []}"#, Err("InvalidPriority")),
            (r#"{"Priority": null}"#, Err("MissingPriority")),
            ("{}", Err("MissingPriority")),
            ("10", Err("InvalidHttpBody")),
            ("", Err("InvalidJsonFormat")),
        ] {
            let read = parse_priority(body.as_bytes()).map_err(|error| error.code.to_string());
            assert_eq!(read, wanted.map_err(str::to_owned), "{body}");
        }
    }
}
