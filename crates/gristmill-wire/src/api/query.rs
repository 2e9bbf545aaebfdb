//! The query of a request, decoded (`reference/api.md` 1.5).
//!
//! A bare key, a key with an empty value and an absent key all mean "not given"; only
//! [`Query::has`] tells a bare key from an absent one, for `?description` and `?sync`.

use crate::error::{ApiError, Code, quote};
use percent_encoding::percent_decode;
use std::borrow::Cow;

/// Keys and values in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads what follows the question mark. A broken escape or bytes that are not UTF-8 are
    /// `InvalidQueryString`.
    pub fn parse(raw: &'a str) -> Result<Self, ApiError> {
        raw.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| Ok((decode(key)?, decode(value)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the key is there, with a value or bare.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(given, _)| given == key)
    }

    /// The value, unless it is absent or empty. The first counts.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(given, _)| given == key)?;
        Some(value.as_ref()).filter(|value| !value.is_empty())
    }

    /// Whether the value is `true` in any case.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// `%XX`, and `+` as a space, which is how one of the Java cores writes it.
fn decode(text: &str) -> Result<Cow<'_, str>, ApiError> {
    let wrong = || {
        let message = format!("the query cannot be decoded at {}", quote(text));
        ApiError::new(Code::InvalidQueryString, message)
    };
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let escape =
        |tail: &str| tail.len() >= 2 && tail.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !text.split('%').skip(1).all(escape) {
        return Err(wrong());
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8().map_err(|_| wrong())?;
    Ok(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_empty_and_absent_keys_are_not_given() {
        for raw in ["Marker&MaxItemCount=50", "Marker=&MaxItemCount=50", "MaxItemCount=50"] {
            let query = Query::parse(raw).expect("legal");
            assert_eq!((query.get("Marker"), query.get("MaxItemCount")), (None, Some("50")));
        }
        let query = Query::parse("description").expect("legal");
        assert!(query.has("description") && !query.has("sync"));
    }

    #[test]
    fn both_spellings_of_a_space_are_read() {
        let query = Query::parse("Marker=a%20b%2Fc%2Bd&State=x+y").expect("legal");
        assert_eq!((query.get("Marker"), query.get("State")), (Some("a b/c+d"), Some("x y")));
    }

    #[test]
    fn truth_comes_in_any_case() {
        let query = Query::parse("A=True&B=true&C=False&D=1&E").expect("legal");
        let truths = ["A", "B", "C", "D", "E", "F"].map(|key| query.is_true(key));
        assert_eq!(truths, [true, true, false, false, false, false]);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for raw in ["a=%", "a=%2", "a=%zz", "%ff=1", "a=%C3", "b&a=%+1"] {
            let code = Query::parse(raw).map_err(|error| error.code);
            assert_eq!(code, Err(Code::InvalidQueryString), "{raw}");
        }
    }
}
