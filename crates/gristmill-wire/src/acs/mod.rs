//! The signature of the BatchCompute API: `Authorization: acs <id>:<signature>`.
//!
//! A request is seven parts joined by line feeds and a MAC over them with HMAC-SHA1
//! (`reference/api.md` 2.2). The verb and the headers are the same for all clients; the resource
//! line has several spellings, which `target` lists. [`verify`] accepts the first that fits: each
//! is a MAC over the same request, so this does not weaken the scheme.
//!
//! Invariants
//! - The signature is judged before the token and the date, so only the owner of the secret
//!   learns what else is wrong.
//! - Signatures and tokens are compared in constant time.
//! - Where a header is there twice, the first one counts, for the signature and for the check.
//! - The body is not covered; only TLS protects it (2.4). A nonce is not required (2.5).
//!
//! Start at [`verify`]; [`signed_headers`] is the other end, for our own client.

mod client;
mod target;
#[cfg(test)]
mod tests;

pub use client::{Credentials, RequestParts, encode_target, signed_headers};

use crate::{
    error::{ApiError, Code, quote},
    time,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gristmill_model::{Seconds, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// How far `Date` may be from our clock (`reference/api.md` 2.5).
pub const SKEW: Seconds = Seconds(15 * 60);

const TOKEN_HEADER: &str = "x-acs-security-token";

/// What a signature is made over: the parts of a request as they were received.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: &'a str,
    /// Path and query, raw, as on the request line.
    pub target: &'a str,
    /// All headers, in any order and any case.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> SignedRequest<'a> {
    /// The value of the first header of this name, trimmed.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_ascii())
    }

    /// The same, as text. `None` also when it is not UTF-8.
    fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.header(name)?).ok()
    }
}

/// Why a request is not taken as the one of its access key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// `Authorization` is missing or cannot be read.
    #[error("the signature cannot be read: {reason}")]
    Incomplete {
        /// What is missing.
        reason: &'static str,
    },
    /// The id is not known here. Found by the caller, who looks the secret up.
    #[error("the access key {} is not found", quote(.id))]
    UnknownAccessKey {
        /// The id as sent.
        id: String,
    },
    /// The MAC differs for every spelling of the resource line.
    #[error("the signature does not match; the server's string to sign is:\n{string_to_sign}")]
    DoesNotMatch {
        /// Ours, with the request target as the last line; the security token is masked.
        string_to_sign: String,
    },
    /// The key is temporary and came with another token or none.
    #[error("x-acs-security-token is not the token of this access key")]
    TokenMismatch,
    /// Neither `Date` nor `x-acs-date`.
    #[error("a header Date or x-acs-date is mandatory")]
    MissingDate,
    /// The date is not one, or outside the window.
    #[error("the date {} is not within {skew} of the server's clock, {now}", quote(.date))]
    Expired {
        /// As sent.
        date: String,
        /// Our clock, as an HTTP date.
        now: String,
        /// The window to either side.
        skew: Seconds,
    },
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Incomplete { .. } => Code::IncompleteSignature,
            AuthError::UnknownAccessKey { .. } => Code::UnknownAccessKey,
            AuthError::DoesNotMatch { .. } => Code::SignatureDoesNotMatch,
            AuthError::TokenMismatch => Code::SecurityTokenMismatch,
            AuthError::MissingDate => Code::MissingDate,
            AuthError::Expired { .. } => Code::TimestampExpired,
        };
        Self::new(code, error.to_string())
    }
}

/// The id of the access key that the request claims.
pub fn access_key_id<'a>(request: &SignedRequest<'a>) -> Result<&'a str, AuthError> {
    Ok(authorization(request)?.0)
}

/// Whether the request was signed with `secret`, carries the token that belongs to the key (if
/// it has one), and was made within `skew` of `now`.
pub fn verify(
    request: &SignedRequest<'_>,
    secret: &str,
    expected_token: Option<&str>,
    now: Timestamp,
    skew: Seconds,
) -> Result<(), AuthError> {
    let (_, signature) = authorization(request)?;
    check_method(request)?;
    check_signature(request, secret, signature)?;
    check_token(request, expected_token)?;
    check_date(request, now, skew)
}

/// The value of `Authorization` for a request whose other headers are complete. The resource
/// line is the target as it is sent, which is the Python SDK's spelling.
pub fn sign(request: &SignedRequest<'_>, access_key_id: &str, secret: &str) -> String {
    let mac = mac(secret, &head(request)).chain_update(request.target);
    format!("acs {access_key_id}:{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// Id and signature of `acs <id>:<signature>`.
fn authorization<'a>(request: &SignedRequest<'a>) -> Result<(&'a str, &'a str), AuthError> {
    let incomplete = |reason| AuthError::Incomplete { reason };
    request.header("Authorization").ok_or(incomplete("a header Authorization is mandatory"))?;
    let text = request.text("Authorization").ok_or(incomplete("Authorization is not text"))?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("acs") {
        return Err(incomplete("Authorization must start with `acs`"));
    }
    match rest.trim().split_once(':') {
        Some((id, signature)) if !id.is_empty() && !signature.is_empty() => Ok((id, signature)),
        _ => Err(incomplete("Authorization must be `acs <AccessKeyId>:<Signature>`")),
    }
}

/// Only HMAC-SHA1 version 1.0; a missing header means that.
fn check_method(request: &SignedRequest<'_>) -> Result<(), AuthError> {
    let other = |name, only: &str| request.header(name).is_some_and(|v| v != only.as_bytes());
    if other("x-acs-signature-method", "HMAC-SHA1") {
        return Err(AuthError::Incomplete { reason: "x-acs-signature-method must be HMAC-SHA1" });
    }
    if other("x-acs-signature-version", "1.0") {
        return Err(AuthError::Incomplete { reason: "x-acs-signature-version must be 1.0" });
    }
    Ok(())
}

fn check_signature(
    request: &SignedRequest<'_>,
    secret: &str,
    signature: &str,
) -> Result<(), AuthError> {
    let head = mac(secret, &head(request));
    let fits = |resource: &[u8]| {
        let ours = head.clone().chain_update(resource).finalize().into_bytes();
        bool::from(STANDARD.encode(ours).as_bytes().ct_eq(signature.as_bytes()))
    };
    if target::spellings(request.target).any(|resource| fits(&resource)) {
        return Ok(());
    }
    Err(AuthError::DoesNotMatch { string_to_sign: shown_string_to_sign(request) })
}

/// A key with a token needs an equal token; a key without one ignores the header (2.6).
fn check_token(request: &SignedRequest<'_>, expected: Option<&str>) -> Result<(), AuthError> {
    let Some(expected) = expected else { return Ok(()) };
    let given = request.header(TOKEN_HEADER).unwrap_or_default();
    if bool::from(given.ct_eq(expected.as_bytes())) {
        return Ok(());
    }
    Err(AuthError::TokenMismatch)
}

fn check_date(request: &SignedRequest<'_>, now: Timestamp, skew: Seconds) -> Result<(), AuthError> {
    let date = request
        .header("Date")
        .or_else(|| request.header("x-acs-date"))
        .ok_or(AuthError::MissingDate)?;
    let date = String::from_utf8_lossy(date);
    let at = time::parse_http_date(&date).or_else(|| time::parse_iso_date(&date));
    if at.is_some_and(|at| at <= now.after(skew) && now <= at.after(skew)) {
        return Ok(());
    }
    Err(AuthError::Expired { date: date.into_owned(), now: time::http_date(now), skew })
}

fn mac(secret: &str, head: &[u8]) -> Hmac<Sha1> {
    Hmac::<Sha1>::new_from_slice(secret.as_bytes())
        .expect("HMAC takes keys of every length")
        .chain_update(head)
}

/// Parts 1 to 6 of the string to sign, each with its line feed; the resource follows.
fn head(request: &SignedRequest<'_>) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let mut line = |parts: [&[u8]; 3]| {
        parts.iter().for_each(|part| head.extend_from_slice(part));
        head.push(b'\n');
    };
    line([request.method.as_bytes(), b"", b""]);
    for name in ["Accept", "Content-MD5", "Content-Type", "Date"] {
        line([request.header(name).unwrap_or_default(), b"", b""]);
    }
    for (name, value) in canonical_headers(request) {
        line([name.as_bytes(), b":", value]);
    }
    head
}

/// All headers that start with `x-acs-`, known or not, by lower-case name.
fn canonical_headers<'a>(request: &SignedRequest<'a>) -> Vec<(String, &'a [u8])> {
    let mut signed: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_ascii()))
        .filter(|(name, _)| name.starts_with("x-acs-"))
        .collect();
    signed.sort_by(|a, b| a.0.cmp(&b.0));
    signed
}

/// The string to sign for a person: the first spelling, the security token masked, because an
/// error message may end in a log.
fn shown_string_to_sign(request: &SignedRequest<'_>) -> String {
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| match name.eq_ignore_ascii_case(TOKEN_HEADER) {
            true => (*name, b"***".as_slice()),
            false => (*name, *value),
        })
        .collect();
    let mut text = head(&SignedRequest { headers: &headers, ..*request });
    text.extend_from_slice(request.target.as_bytes());
    String::from_utf8_lossy(&text).into_owned()
}
