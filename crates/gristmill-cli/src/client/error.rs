//! What can go wrong between the command and the service: what was tried, and what came back.
//!
//! Secrets never enter: a request is named by method and path, an answer by the vendor's code,
//! message and request id.

use crate::words::{Language, messages as m};
use std::{fmt, time::Duration};

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer.
    #[error("could not {doing}: no answer from {url}")]
    Unreachable {
        /// What was being tried.
        doing: Doing,
        /// Of which service.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The service said no.
    #[error(
        "could not {doing}: HTTP Status: {status}, Code: {code}, RequestID: {request_id}, Message: {message}."
    )]
    Refused {
        /// What was being tried.
        doing: Doing,
        /// The HTTP status.
        status: u16,
        /// The vendor's code.
        code: String,
        /// The service's words.
        message: String,
        /// To quote to the operator.
        request_id: String,
        /// When the service wants to be asked again; zero when it does not say.
        retry_after: Duration,
    },
    /// An answer that is not one of this protocol.
    #[error("could not {doing}: the answer is not understood")]
    Garbled {
        /// What was being tried.
        doing: Doing,
        /// The cause.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// The vendor's code, if the service answered with one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unreachable { .. } | Self::Garbled { .. } => None,
        }
    }

    /// Whether the very same call may succeed later. No `_` arm: a new variant must choose.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => {
                source.is_connect() || source.is_timeout() || source.is_request()
            }
            Self::Refused { status, code, .. } => *status >= 500 || code.starts_with("Throttling"),
            Self::Garbled { .. } => false,
        }
    }

    /// How long the service wants to be left alone before the call is repeated.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable { .. } | Self::Garbled { .. } => Duration::ZERO,
        }
    }

    /// The error in the user's language; the service's own words stay as they are.
    pub fn say(&self, language: Language) -> String {
        match self {
            Self::Unreachable { doing, url, .. } => {
                m::UNREACHABLE.fill(language, &[("doing", &doing.to_string()), ("url", url)])
            }
            Self::Refused { doing, status, code, message, request_id, .. } => m::REFUSED.fill(
                language,
                &[
                    ("doing", &doing.to_string()),
                    ("status", &status.to_string()),
                    ("code", code),
                    ("message", message.trim_end_matches('.')),
                    ("id", request_id),
                ],
            ),
            Self::Garbled { doing, .. } => {
                m::GARBLED.fill(language, &[("doing", &doing.to_string())])
            }
        }
    }
}

/// A request without its query, host and secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doing {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: &'static str,
    /// The path.
    pub path: String,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}
