//! The signing end, for our own client: headers and target as the Python SDK makes them.

use super::{SignedRequest, sign, target::PYTHON};
use crate::time;
use gristmill_model::Timestamp;
use percent_encoding::percent_encode;
use std::fmt;

/// An access key of the user.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public part.
    pub access_key_id: String,
    /// The secret part.
    pub secret: String,
    /// The token of a temporary key.
    pub token: Option<String>,
}

/// The secret is never printed.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// What the caller decides about a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: &'a str,
    /// Path and query as made by [`encode_target`].
    pub target: &'a str,
    /// The region's name; information only.
    pub region: &'a str,
    /// A text that is never used again, such as a UUID.
    pub nonce: &'a str,
}

/// Path and query on the wire: keys sorted, values encoded, a bare key where the value is empty
/// (`reference/api.md` 1.5). The path is sent as it is.
pub fn encode_target(path: &str, query: &[(&str, &str)]) -> String {
    let mut query = query.to_vec();
    query.sort_unstable();
    let mut target = path.to_owned();
    for (at, (key, value)) in query.iter().enumerate() {
        let encode = |text: &str| percent_encode(text.as_bytes(), PYTHON).to_string();
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(&encode(key));
        if !value.is_empty() {
            target.push('=');
            target.push_str(&encode(value));
        }
    }
    target
}

/// Every header the API needs, `Authorization` included. `Host`, `Content-Length` and
/// `User-Agent` are left to the HTTP client; they are not signed.
pub fn signed_headers(
    credentials: &Credentials,
    request: RequestParts<'_>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("accept", "application/json".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("date", time::http_date(now)),
        ("x-acs-access-key-id", credentials.access_key_id.clone()),
        ("x-acs-region-id", request.region.to_owned()),
        ("x-acs-signature-method", "HMAC-SHA1".to_owned()),
        ("x-acs-signature-nonce", request.nonce.to_owned()),
        ("x-acs-signature-version", "1.0".to_owned()),
        ("x-acs-version", crate::api::VERSION.to_owned()),
    ];
    if let Some(token) = &credentials.token {
        headers.push(("x-acs-security-token", token.clone()));
    }
    let raw: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let signed = SignedRequest { method: request.method, target: request.target, headers: &raw };
    let authorization = sign(&signed, &credentials.access_key_id, &credentials.secret);
    headers.push(("authorization", authorization));
    headers
}
