//! Idempotency: the token of a request, with a digest of what its body says
//! (`reference/api.md` 4.4).
//!
//! Two bodies are the same when their parsed JSON is: the order of members, white space, escapes
//! and the spelling of a number (`1`, `1.0`) do not matter. The digest is SHA-256 of a canonical
//! text: members sorted by name, no white space. While it is made, a part longer than a digest is
//! replaced by `#` and its own digest, so a body of 100,000 tasks is never held twice; canonical
//! JSON never has a `#` outside a text, so different bodies cannot meet.

use crate::{
    api::{query::Query, read::not_json},
    error::ApiError,
};
use gristmill_model::input::Token;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt};

/// The longest token.
pub const TOKEN_LENGTH_MAX: usize = 64;

/// The token of a create request, if the client sent one.
pub fn idempotency_token(query: &Query<'_>, body: &[u8]) -> Result<Option<Token>, ApiError> {
    query.get("IdempotentToken").map(|text| checked_token(text, body)).transpose()
}

/// A token, wherever it stood.
pub(super) fn checked_token(text: &str, body: &[u8]) -> Result<Token, ApiError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if text.len() > TOKEN_LENGTH_MAX || !text.bytes().all(plain) {
        let reason = format!("must be [1, {TOKEN_LENGTH_MAX}] characters of [a-zA-Z0-9_-]");
        return Err(ApiError::invalid("IdempotentToken", reason));
    }
    Ok(Token { text: text.to_owned(), body: body_digest(body)? })
}

/// SHA-256 in hex of what the body says; equal for bodies that parse to the same JSON.
pub fn body_digest(body: &[u8]) -> Result<String, ApiError> {
    let canonical: Canonical = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    Ok(hex(&Sha256::digest(canonical.0)))
}

/// Canonical text of one value, or its stand-in.
struct Canonical(Vec<u8>);

/// A part of this many bytes or more is replaced by its digest.
const STAND_IN_BYTES: usize = 64;

impl Canonical {
    fn new(text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        match text.len() < STAND_IN_BYTES {
            true => Self(text),
            false => Self(format!("#{}", hex(&Sha256::digest(&text))).into_bytes()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

impl<'de> Deserialize<'de> for Canonical {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CanonicalVisitor)
    }
}

struct CanonicalVisitor;

impl<'de> Visitor<'de> for CanonicalVisitor {
    type Value = Canonical;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Canonical, E> {
        Ok(Canonical::new("null"))
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Canonical, E> {
        Ok(Canonical::new(truth.to_string()))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Canonical, E> {
        Ok(Canonical::new(number.to_string()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Canonical, E> {
        Ok(Canonical::new(number.to_string()))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Canonical, E> {
        let whole = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
        Ok(Canonical::new(match whole {
            true => (number as i64).to_string(),
            false => format!("{number:e}"),
        }))
    }
    fn visit_str<E>(self, text: &str) -> Result<Canonical, E> {
        Ok(Canonical::new(quoted(text)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Canonical, A::Error> {
        let mut text = vec![b'['];
        while let Some(item) = array.next_element::<Canonical>()? {
            text.extend(item.0);
            text.push(b',');
        }
        Ok(Canonical::new(text))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Canonical, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Canonical>()? {
            members.insert(name, value.0);
        }
        let mut text = vec![b'{'];
        for (name, value) in members {
            text.extend(quoted(&name));
            text.push(b':');
            text.extend(value);
            text.push(b',');
        }
        Ok(Canonical::new(text))
    }
}

fn quoted(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).expect("every text is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use proptest::prelude::*;
    use serde_json::Value;

    fn digest(body: &str) -> String {
        body_digest(body.as_bytes()).expect("JSON")
    }

    #[test]
    fn the_same_json_has_the_same_digest() {
        let long = "x".repeat(200);
        let one = format!(r#"{{"a":1,"b":{{"c":[1,2.5],"d":"é"}},"long":"{long}"}}"#);
        let two = format!(
            "{{ \"long\" : \"{long}\",\n \"b\":{{\"d\":\"\\u00e9\",\"c\":[1.0,25e-1]}},\"a\":1e0 }}"
        );
        assert_eq!(digest(&one), digest(&two));
        assert_eq!(digest("{}").len(), 64);
    }

    #[test]
    fn another_json_has_another_digest() {
        let bodies = [
            "{}",
            "[]",
            "0",
            "\"0\"",
            "null",
            "false",
            "[0]",
            "[[0]]",
            "[0,0]",
            "{\"a\":0}",
            "{\"a\":[0]}",
            "{\"a\":{}}",
            "{\"a\":null}",
            "{\"b\":0}",
            "\"#\"",
            "[1,2]",
            "[2,1]",
        ];
        let digests: std::collections::BTreeSet<_> = bodies.iter().map(|b| digest(b)).collect();
        assert_eq!(digests.len(), bodies.len());
        let long =
            |last: &str| digest(&format!("[{}\"{last}\"]", "\"aaaaaaaaaaaaaaaa\",".repeat(99)));
        assert_ne!(long("a"), long("b"));
    }

    #[test]
    fn a_token_is_checked_and_carries_the_digest() {
        let read = |raw: &str, body: &str| {
            idempotency_token(&Query::parse(raw).expect("legal"), body.as_bytes())
        };
        assert_eq!(read("IdempotentToken", "not read"), Ok(None));
        let token = read("IdempotentToken=tok_1-a&sync", "{}").expect("legal").expect("given");
        assert_eq!((token.text.as_str(), token.body), ("tok_1-a", digest("{}")));
        for bad in ["a.b", "a%20b", "é", &"x".repeat(65)] {
            let code = read(&format!("IdempotentToken={bad}"), "{}").map_err(|error| error.code);
            assert_eq!(code, Err(Code::Invalid("IdempotentToken".into())), "{bad}");
        }
        let code = read("IdempotentToken=a", "{").map_err(|error| error.code);
        assert_eq!(code, Err(Code::InvalidJsonFormat));
    }

    #[test]
    fn the_depth_is_bounded() {
        let nested =
            |depth| body_digest(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
        assert!(nested(crate::api::JSON_DEPTH_MAX).is_ok());
        let code = nested(crate::api::JSON_DEPTH_MAX + 1).map_err(|error| error.code);
        assert_eq!(code, Err(Code::InvalidJsonFormat));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_bytes_are_digested_or_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let parsed = serde_json::from_slice::<Value>(&body).is_ok();
            prop_assert_eq!(body_digest(&body).is_ok(), parsed);
        }
    }
}
