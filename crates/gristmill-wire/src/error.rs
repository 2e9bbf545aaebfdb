//! What we say when we say no: the vendor's codes, their status, and the body they travel in.
//!
//! [`Code`] is the whole table; `Code::row` is the one place where a code meets its text and its
//! status. Two families carry a parameter: [`Code::Missing`] and [`Code::Invalid`].
//!
//! Invariants
//! - Every refusal of the mill has a code: the match in `From<Refusal>` has no `_` arm.
//! - A body is always a JSON object with all four members (`reference/api.md` 3.1).
//! - Messages quote what the client sent only through [`quote`], which bounds the length.
//!
//! The page for users is `docs/errors/README.md`; a test holds it to this table.

use gristmill_model::Refusal;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, time::Duration};

/// A code of the vendor (`reference/api.md` 2.7 and 3.2), or one of ours where the vendor's table
/// has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// The body is not JSON.
    InvalidJsonFormat,
    /// Dependencies form a cycle.
    BadDag,
    /// No such path.
    InvalidUrlPattern,
    /// The verb is not allowed on the path. 400, not 405.
    MethodNotAllowed,
    /// A mandatory member is absent: `Missing` and the name of the member.
    Missing(Cow<'static, str>),
    /// A member is there but unacceptable: `Invalid` and the name of the member.
    Invalid(Cow<'static, str>),
    /// The token was seen with another body.
    IdempotentTokenMismatch,
    /// The body is JSON but not an object, or it is too large.
    InvalidHttpBody,
    /// The query cannot be decoded.
    InvalidQueryString,
    /// An API version we do not speak.
    UnknownVersion,
    /// The name is taken.
    AlreadyExisting,
    /// A quota is used up.
    QuotaExhausted,
    /// A valid user, but not allowed on this resource.
    Forbidden,
    /// No such thing.
    ResourceNotFound,
    /// The action is not legal in the present state.
    StateConflict,
    /// The signature is not ours.
    SignatureDoesNotMatch,
    /// `Authorization` is missing or cannot be read.
    IncompleteSignature,
    /// No such access key.
    UnknownAccessKey,
    /// The security token is not the one of the access key. Ours.
    SecurityTokenMismatch,
    /// The temporary key is too old. Ours.
    SecurityTokenExpired,
    /// The access key or its account is switched off. Ours.
    InactiveAccessKey,
    /// The date is too far from our clock.
    TimestampExpired,
    /// Neither `Date` nor `x-acs-date` is there.
    MissingDate,
    /// Our fault.
    InternalError,
    /// Not offered yet. Ours.
    NotImplemented,
    /// Too many requests; later is better.
    Throttling,
    /// We cannot write now, for example because the disk is full. Ours.
    ServiceUnavailable,
}

impl Code {
    /// Every code once, the two families with a stand-in for the member.
    pub const ALL: [Self; 27] = [
        Self::InvalidJsonFormat,
        Self::BadDag,
        Self::InvalidUrlPattern,
        Self::MethodNotAllowed,
        Self::Missing(Cow::Borrowed("{Member}")),
        Self::Invalid(Cow::Borrowed("{Member}")),
        Self::IdempotentTokenMismatch,
        Self::InvalidHttpBody,
        Self::InvalidQueryString,
        Self::UnknownVersion,
        Self::AlreadyExisting,
        Self::QuotaExhausted,
        Self::Forbidden,
        Self::ResourceNotFound,
        Self::StateConflict,
        Self::SignatureDoesNotMatch,
        Self::IncompleteSignature,
        Self::UnknownAccessKey,
        Self::SecurityTokenMismatch,
        Self::SecurityTokenExpired,
        Self::InactiveAccessKey,
        Self::TimestampExpired,
        Self::MissingDate,
        Self::InternalError,
        Self::NotImplemented,
        Self::Throttling,
        Self::ServiceUnavailable,
    ];

    /// The table: status, text, and the member that ends the text.
    fn row(&self) -> (u16, &'static str, &str) {
        match self {
            Self::InvalidJsonFormat => (400, "InvalidJsonFormat", ""),
            Self::BadDag => (400, "BadDAG", ""),
            Self::InvalidUrlPattern => (400, "InvalidUrlPattern", ""),
            Self::MethodNotAllowed => (400, "MethodNotAllowed", ""),
            Self::Missing(member) => (400, "Missing", member),
            Self::Invalid(member) => (400, "Invalid", member),
            Self::IdempotentTokenMismatch => (400, "IdempotentTokenMismatch", ""),
            Self::InvalidHttpBody => (400, "InvalidHttpBody", ""),
            Self::InvalidQueryString => (403, "InvalidQueryString", ""),
            Self::UnknownVersion => (403, "InvalidVersion.NotFound", ""),
            Self::AlreadyExisting => (403, "InvalidResource.AlreadyExisting", ""),
            Self::QuotaExhausted => (403, "QuotaExhausted", ""),
            Self::Forbidden => (403, "Forbidden", ""),
            Self::ResourceNotFound => (404, "InvalidResource.NotFound", ""),
            Self::StateConflict => (409, "StateConflict", ""),
            Self::SignatureDoesNotMatch => (400, "SignatureDoesNotMatch", ""),
            Self::IncompleteSignature => (400, "IncompleteSignature", ""),
            Self::UnknownAccessKey => (404, "InvalidAccessKeyId.NotFound", ""),
            Self::SecurityTokenMismatch => (400, "InvalidSecurityToken.Mismatch", ""),
            Self::SecurityTokenExpired => (400, "InvalidSecurityToken.Expired", ""),
            Self::InactiveAccessKey => (403, "InvalidAccessKeyId.Inactive", ""),
            Self::TimestampExpired => (400, "InvalidTimeStamp.Expired", ""),
            Self::MissingDate => (400, "MissingDate", ""),
            Self::InternalError => (500, "InternalError", ""),
            Self::NotImplemented => (501, "NotImplemented", ""),
            Self::Throttling => (503, "Throttling", ""),
            Self::ServiceUnavailable => (503, "ServiceUnavailable", ""),
        }
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> u16 {
        self.row().0
    }

    /// Whether the same request can succeed later without any change by the client.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::InternalError | Self::Throttling | Self::ServiceUnavailable)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, text, member) = self.row();
        write!(f, "{text}{member}")
    }
}

/// A refusal on its way to the client: the code and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// What clients branch on; it also decides the status.
    pub code: Code,
    /// What a person reads.
    pub message: String,
    /// When to come again, if that is known.
    retry_after: Option<Duration>,
}

impl ApiError {
    /// A refusal with this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// The same refusal, with the time after which the request can succeed.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Whole seconds after which to come again, at least 1; only for refusals of the moment.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let is_busy = matches!(self.code, Code::Throttling | Code::ServiceUnavailable);
        let wait = self.retry_after.unwrap_or_default();
        is_busy.then(|| wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).map(|it| it.max(1))
    }

    /// `Missing{member}`.
    pub fn missing(member: &'static str) -> Self {
        Self::new(Code::Missing(member.into()), format!("{member} is mandatory"))
    }

    /// `Invalid{member}`; the message is the member followed by `reason`.
    pub fn invalid(member: impl Into<Cow<'static, str>>, reason: impl fmt::Display) -> Self {
        let member = member.into();
        let message = format!("{member} {reason}");
        Self::new(Code::Invalid(member), message)
    }

    /// The same refusal, one level further out: `place` goes in front of the message, which
    /// starts with the name of a member.
    #[must_use]
    pub fn inside(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}.{}", self.message);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// The body of the answer.
    pub fn body(&self, request_id: &str, host_id: &str) -> ErrorBody {
        ErrorBody {
            code: self.code.to_string(),
            message: self.message.clone(),
            request_id: request_id.to_owned(),
            host_id: host_id.to_owned(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let code = match refusal {
            Refusal::NotFound { .. } => Code::ResourceNotFound,
            Refusal::Conflict { .. } => Code::StateConflict,
            Refusal::TokenMismatch => Code::IdempotentTokenMismatch,
            Refusal::Quota { .. } => Code::QuotaExhausted,
            Refusal::UnknownGroup { group } => Code::Invalid(format!("Groups.{group}").into()),
            Refusal::Invalid { member, .. } => Code::Invalid(member.into()),
        };
        Self::new(code, message)
    }
}

/// The body of every answer outside 200 to 299 (`reference/api.md` 3.1).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ErrorBody {
    /// What clients branch on.
    pub code: String,
    /// What a person reads.
    pub message: String,
    /// The same as the header `x-acs-request-id`.
    pub request_id: String,
    /// The host the request came to.
    pub host_id: String,
}

/// The most characters of a client's text that a message repeats.
const QUOTE_CHARS_MAX: usize = 80;

/// What the client sent, between backticks, cut when it is long, without control characters.
pub fn quote(text: &str) -> String {
    let shown: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    let shown = shown.replace(char::is_control, "\u{fffd}");
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("`{shown}{cut}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_its_own_text_and_an_error_status() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(Code::to_string).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }

    #[test]
    fn the_page_for_users_has_a_row_for_every_code() {
        let page = include_str!("../../../docs/errors/README.md");
        for code in Code::ALL {
            let row = format!("| {} | `{code}` |", code.status());
            assert!(page.contains(&row), "docs/errors/README.md lacks: {row}");
        }
    }

    #[test]
    fn each_refusal_of_the_mill_has_the_vendors_code() {
        let not_found = Refusal::NotFound { kind: "job", id: "job-1".into() };
        let conflict = Refusal::Conflict {
            kind: "job",
            id: "job-1".into(),
            state: "Running",
            action: "delete",
        };
        let quota = Refusal::Quota { what: "jobs", limit: 1, used: 1 };
        let invalid = Refusal::Invalid { member: "ClusterId", reason: "unknown".into() };
        for (refusal, status, code) in [
            (not_found, 404, "InvalidResource.NotFound"),
            (conflict, 409, "StateConflict"),
            (Refusal::TokenMismatch, 400, "IdempotentTokenMismatch"),
            (quota, 403, "QuotaExhausted"),
            (invalid, 400, "InvalidClusterId"),
        ] {
            let error = ApiError::from(refusal.clone());
            assert_eq!((error.status(), error.code.to_string().as_str()), (status, code));
            assert_eq!(error.message, refusal.to_string());
        }
    }

    #[test]
    fn who_is_refused_for_the_moment_hears_when_to_come_again() {
        let of = |code, wait| ApiError::new(code, "x").retry_after(wait).retry_after_seconds();
        assert_eq!(of(Code::Throttling, Duration::from_millis(1_200)), Some(2));
        assert_eq!(of(Code::Throttling, Duration::ZERO), Some(1));
        assert_eq!(of(Code::Forbidden, Duration::from_secs(9)), None);
        assert_eq!(ApiError::new(Code::ServiceUnavailable, "x").retry_after_seconds(), Some(1));
    }

    #[test]
    fn the_body_has_all_four_members() {
        let error = ApiError::invalid("Name", "is too long").inside("DAG");
        let body = serde_json::to_string(&error.body("9A0C", "localhost")).expect("plain");
        assert_eq!(
            body,
            r#"{"Code":"InvalidName","Message":"DAG.Name is too long","RequestId":"9A0C","HostId":"localhost"}"#
        );
    }

    #[test]
    fn quotes_are_bounded_and_printable() {
        assert_eq!(quote("a\nb"), "`a\u{fffd}b`");
        assert_eq!(quote(&"日".repeat(1000)).chars().count(), QUOTE_CHARS_MAX + 3);
    }
}
