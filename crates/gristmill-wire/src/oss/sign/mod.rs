//! Signatures V1, V2 and V4, in headers and in URLs (`reference/oss-gateway.md` 5 to 8).
//!
//! A signature never depends on how the bucket was addressed, so everything here works on a
//! [`Request`]: bucket and key apart, key and query decoded once, header values as raw bytes.
//! [`presented`] finds what a request carries; its [`Presented::verify`] checks it against the
//! secret and the time. [`sign_v1`], [`sign_v4`], [`presign_v1`], [`presign_v4`] make signatures
//! with the same canonical forms.
//!
//! Invariants
//! - Signatures are compared in constant time, and before anything else is said about a request
//!   that only the owner of the key should learn.
//! - No function here returns or prints a secret.
//!
//! Start at [`presented`].

mod form;
mod presented;
mod v1;
mod v2;
mod v4;

#[cfg(test)]
mod tests;

pub use presented::{Presented, presented};
pub use v1::{presign_v1, sign_v1};
pub use v4::{presign_v4, sign_v4};

use gristmill_model::Timestamp;

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Upper-case method.
    pub method: &'a str,
    /// The bucket; empty for the service.
    pub bucket: &'a str,
    /// The key, decoded; empty for the bucket.
    pub key: &'a str,
    /// Query parameters in their order, decoded; no value is an empty value.
    pub query: &'a [(String, String)],
    /// Headers, lower-case names, raw values.
    pub headers: &'a [(String, Vec<u8>)],
}

impl<'a> Request<'a> {
    /// The first value of a query parameter.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a header, raw.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    /// The first value of a header, if it is text.
    pub fn header_text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.header(name)?).ok().map(str::trim)
    }
}

/// The key pair that signs.
#[derive(Clone, Copy)]
pub struct KeyPair<'a> {
    /// The public half.
    pub id: &'a str,
    /// The secret half.
    pub secret: &'a str,
}

/// Why a request is not let in. The words are those the official clients' tests look for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header or the parameters are not of the form of any scheme.
    #[error("{message}")]
    Malformed {
        /// What is wrong.
        message: &'static str,
        /// The vendor's fine-grained code.
        ec: &'static str,
    },
    /// Neither `Date` nor `x-oss-date` can be read.
    #[error("OSS authentication requires a valid Date.")]
    NoDate,
    /// Clocks are more than 15 minutes apart, or it is a replay.
    #[error("The difference between the request time and the current time is too large.")]
    Skewed {
        /// When the request says it was made.
        request: Timestamp,
        /// What time it is here.
        now: Timestamp,
    },
    /// A signed URL that is over.
    #[error("Request has expired.")]
    Expired,
    /// The signature is not the one of this request and key.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check \
         your key and signing method."
    )]
    Mismatch {
        /// What we signed.
        string_to_sign: Vec<u8>,
        /// What was hashed before that (V4).
        canonical_request: Option<String>,
    },
}

impl SignatureError {
    /// The vendor's code; its status is in [`super::error::status`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "InvalidArgument",
            Self::NoDate | Self::Expired => "AccessDenied",
            Self::Skewed { .. } => "RequestTimeTooSkewed",
            Self::Mismatch { .. } => "SignatureDoesNotMatch",
        }
    }
}

/// How far the clocks of both sides may be apart.
pub const SKEW_MAX_MINUTES: i64 = 15;

fn check_skew(request: Timestamp, now: Timestamp) -> Result<(), SignatureError> {
    let apart = request.0.abs_diff(now.0);
    if apart > SKEW_MAX_MINUTES.unsigned_abs() * 60 * 1_000_000 {
        return Err(SignatureError::Skewed { request, now });
    }
    Ok(())
}

fn check_expiry(unix_seconds: &str, now: Timestamp) -> Result<(), SignatureError> {
    let seconds: i64 = unix_seconds.trim().parse().map_err(|_| MALFORMED_EXPIRES)?;
    if seconds.saturating_mul(1_000_000) < now.0 {
        return Err(SignatureError::Expired);
    }
    Ok(())
}

const MALFORMED_EXPIRES: SignatureError =
    SignatureError::Malformed { message: "Expires is not a number.", ec: "0002-00000227" };
