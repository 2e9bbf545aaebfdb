//! The message service's signature (`reference/mns.md` 3): HMAC-SHA1 over the method, four header
//! lines, the `x-mns-` headers, and the target exactly as it was sent.

use crate::time::parse_http_date;
use base64::{Engine, engine::general_purpose::STANDARD};
use gristmill_model::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

/// A request as it is signed. Names of headers are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT`, `POST`, `DELETE`.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// All headers that matter: those below, and every `x-mns-…`.
    pub headers: BTreeMap<String, String>,
}

/// Who a request says it is from, not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Whose key it claims.
    pub access_key_id: String,
    /// The signature, as sent.
    pub signature: String,
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It has no `Authorization`.
    #[error("the Authorization header is missing")]
    Missing,
    /// Its `Authorization` has another form.
    #[error("the Authorization header is not `MNS AccessKeyId:Signature`")]
    Malformed,
    /// It has no date.
    #[error("the Date header is missing")]
    NoDate,
    /// Its date is none.
    #[error("the Date header is not a date")]
    BadDate,
    /// Its date is too far from now.
    #[error("the date of the request is too far from the server's")]
    Expired,
    /// It was signed with another secret, or is not what was signed.
    #[error("the signature of the request does not match")]
    Mismatch,
}

impl SignatureError {
    /// The vendor's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthorizationHeader",
            Self::Malformed => "InvalidAuthorizationHeader",
            Self::NoDate => "MissingDateHeader",
            Self::BadDate => "InvalidDateHeader",
            Self::Expired => "TimeExpired",
            Self::Mismatch => "SignatureDoesNotMatch",
        }
    }
}

/// Reads the `Authorization` of a request.
pub fn presented(request: &Request) -> Result<Presented, SignatureError> {
    let header = request.headers.get("authorization").ok_or(SignatureError::Missing)?;
    let claim = header.trim().strip_prefix("MNS ").and_then(|rest| rest.trim().rsplit_once(':'));
    let (id, signature) = claim.ok_or(SignatureError::Malformed)?;
    match id.is_empty() || signature.is_empty() {
        true => Err(SignatureError::Malformed),
        false => Ok(Presented { access_key_id: id.to_owned(), signature: signature.to_owned() }),
    }
}

impl Presented {
    /// Whether the request was signed with this secret, at most `skew_micros_max` from `now`.
    pub fn verify(
        &self,
        request: &Request,
        secret: &str,
        now: Timestamp,
        skew_micros_max: i64,
    ) -> Result<(), SignatureError> {
        let date = date_of(request).ok_or(SignatureError::NoDate)?;
        let date = parse_http_date(date).ok_or(SignatureError::BadDate)?;
        let expected = signature(secret, &string_to_sign(request));
        if !bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes())) {
            return Err(SignatureError::Mismatch);
        }
        match date.0.abs_diff(now.0) > skew_micros_max.unsigned_abs() {
            true => Err(SignatureError::Expired),
            false => Ok(()),
        }
    }
}

fn date_of(request: &Request) -> Option<&String> {
    request.headers.get("x-mns-date").or_else(|| request.headers.get("date"))
}

/// What is signed.
pub fn string_to_sign(request: &Request) -> String {
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    let date = date_of(request).map_or("", String::as_str);
    let mut text =
        [&request.method, header("content-md5"), header("content-type"), date].join("\n");
    text.push('\n');
    for (name, value) in request.headers.range("x-mns-".to_owned()..) {
        if !name.starts_with("x-mns-") {
            break;
        }
        text.extend([name, ":", value, "\n"]);
    }
    text + &request.target
}

/// The signature of a text.
pub fn signature(secret: &str, text: &str) -> String {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The `Authorization` of a request.
pub fn authorization(key_id: &str, secret: &str, request: &Request) -> String {
    format!("MNS {key_id}:{}", signature(secret, &string_to_sign(request)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "GMEXAMPLEKEYID01";
    const SECRET: &str = "gmExampleSecret0123456789";
    const DATE: &str = "Tue, 02 Jan 2024 03:04:05 GMT";
    const BODY: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Message \
        xmlns=\"http://mns.aliyuncs.com/doc/v1/\"><MessageBody>{&quot;Event&quot;:&quot;\
        OnJobFinished&quot;}</MessageBody><MessageTag>OnJobFinished</MessageTag></Message>";

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Request { method: method.into(), target: target.into(), headers: headers.collect() }
    }

    fn get() -> Request {
        let headers = [("date", DATE), ("x-mns-version", "2015-06-06")];
        request("GET", "/queues/q1/messages?waitseconds=10", &headers)
    }

    #[test]
    fn the_worked_examples_of_the_reference_come_out() {
        let md5 = super::super::content_md5(BODY.as_bytes());
        assert_eq!(md5, "ODBiNTZiMzQ4OWE0Y2Q0YTAzNzk2ZWY4MWMwY2QxOGU=");
        let headers = [
            ("content-md5", md5.as_str()),
            ("content-type", "text/xml;charset=UTF-8"),
            ("date", DATE),
            ("x-mns-version", "2015-06-06"),
        ];
        let publish = request("POST", "/topics/job-events/messages", &headers);
        assert_eq!(
            authorization(ID, SECRET, &publish),
            "MNS GMEXAMPLEKEYID01:l2k1p3MKxTKD8jd87dyZwYlx6sM="
        );
        assert_eq!(
            authorization(ID, SECRET, &get()),
            "MNS GMEXAMPLEKEYID01:HgkzUYPMWE11hCU+64ABHBRY/Pk="
        );
    }

    #[test]
    fn a_request_is_believed_only_when_everything_fits() {
        let mut good = get();
        good.headers.insert("authorization".into(), authorization(ID, SECRET, &good));
        let now = parse_http_date(DATE).expect("a date");
        let verify = |request: &Request, secret, now| {
            presented(request).and_then(|it| it.verify(request, secret, now, 900_000_000))
        };
        assert_eq!(verify(&good, SECRET, now), Ok(()));
        assert_eq!(verify(&good, "other", now), Err(SignatureError::Mismatch));
        let late = now.after(gristmill_model::Seconds(901));
        assert_eq!(verify(&good, SECRET, late), Err(SignatureError::Expired));
        let changed = |name: &str, value: Option<&str>| {
            let mut request = good.clone();
            match value {
                Some(value) => request.headers.insert(name.into(), value.into()),
                None => request.headers.remove(name),
            };
            verify(&request, SECRET, now)
        };
        assert_eq!(changed("authorization", None), Err(SignatureError::Missing));
        assert_eq!(changed("authorization", Some("MNS x")), Err(SignatureError::Malformed));
        assert_eq!(changed("authorization", Some("OSS a:b")), Err(SignatureError::Malformed));
        assert_eq!(changed("date", None), Err(SignatureError::NoDate));
        assert_eq!(changed("date", Some("today")), Err(SignatureError::BadDate));
        assert_eq!(changed("x-mns-marker", Some("m")), Err(SignatureError::Mismatch));
        let elsewhere = Request { target: "/queues/q2/messages".into(), ..good.clone() };
        assert_eq!(verify(&elsewhere, SECRET, now), Err(SignatureError::Mismatch));
    }

    #[test]
    fn its_own_date_header_takes_the_line_of_the_date() {
        let mut dated = get();
        dated.headers.insert("x-mns-date".into(), "Wed, 03 Jan 2024 03:04:05 GMT".into());
        let text = string_to_sign(&dated);
        assert!(
            text.starts_with("GET\n\n\nWed, 03 Jan 2024 03:04:05 GMT\nx-mns-date:Wed"),
            "{text}"
        );
    }
}
