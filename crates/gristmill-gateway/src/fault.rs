//! Everything that can be wrong with a request, as the answer it becomes.

use gristmill_objects::ObjectError;
use gristmill_wire::oss::{
    ask::BadTags,
    error::{ErrorBody, lookup},
    sign::SignatureError,
    xml::Malformed,
};
use http::HeaderName;
use std::{borrow::Cow, error::Error, io};

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The vendor's code.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: Cow<'static, str>,
    /// Fine-grained code, where the table's is not right.
    pub ec: Option<&'static str>,
    /// Children of the body.
    pub details: Vec<(&'static str, String)>,
    /// Headers of the answer.
    pub headers: Vec<(HeaderName, String)>,
}

impl Fault {
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { code, message, ec: None, details: vec![], headers: vec![] }
    }

    /// An argument that cannot be.
    pub fn argument(name: &str, value: impl ToString) -> Self {
        Self::new("InvalidArgument", format!("The argument {name} is not valid."))
            .detail("ArgumentName", name)
            .detail("ArgumentValue", value)
    }

    /// The caller may not.
    pub fn denied() -> Self {
        Self::new(
            "AccessDenied",
            "You have no right to access this object because of bucket acl or key scope.",
        )
    }

    /// The gateway does not do that.
    pub fn not_implemented(what: &str) -> Self {
        Self::new("NotImplemented", format!("This gateway does not implement {what}."))
    }

    pub fn detail(mut self, name: &'static str, value: impl ToString) -> Self {
        self.details.push((name, value.to_string()));
        self
    }

    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((HeaderName::from_static(name), value.to_string()));
        self
    }

    /// The body, for this request.
    pub fn body(&self, request_id: &str, host: &str) -> ErrorBody {
        ErrorBody {
            code: self.code.to_string(),
            message: self.message.to_string(),
            request_id: request_id.to_owned(),
            host_id: host.to_owned(),
            ec: self.ec.unwrap_or(lookup(&self.code).ec).to_owned(),
            details: self.details.clone(),
        }
    }
}

impl From<ObjectError> for Fault {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::NoSuchBucket { bucket } => {
                Self::new("NoSuchBucket", "The specified bucket does not exist.")
                    .detail("BucketName", bucket)
            }
            ObjectError::NoSuchKey { key, .. } => {
                Self::new("NoSuchKey", "The specified key does not exist.").detail("Key", key)
            }
            ObjectError::NoSuchUpload { upload } => Self::new(
                "NoSuchUpload",
                "The specified upload does not exist. The upload ID may be invalid, or the \
                 upload may have been aborted or completed.",
            )
            .detail("UploadId", upload),
            ObjectError::Changed { .. } => Self::precondition_failed("If-Match"),
            ObjectError::Denied { message, .. } => Self::new("AccessDenied", message),
            ObjectError::Refused { code, message } => Self::new(code, message),
            ObjectError::Full => {
                Self::new("InsufficientStorage", "The disk of the object store is full.")
            }
            ObjectError::Corrupt { what: "MD5", .. } => Self::new(
                "InvalidDigest",
                "The Content-MD5 you specified did not match what we received.",
            ),
            ObjectError::Corrupt { what, expected, actual, .. } => Self::new(
                "IncompleteBody",
                format!("The {what} of the body is {actual} and not {expected}."),
            ),
            ObjectError::Io { doing, source } => Self::from_io(&doing, &source),
        }
    }
}

impl Fault {
    /// A condition of the request does not hold.
    pub fn precondition_failed(condition: &str) -> Self {
        Self::new(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold.",
        )
        .detail("Condition", condition)
    }

    /// Trouble with the sender is told apart from trouble here. Only the latter is logged loudly,
    /// and its text, which may name paths, stays here.
    fn from_io(doing: &str, source: &io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::FileTooLarge => {
                Self::new("EntityTooLarge", "Your proposed upload exceeds the maximum size.")
            }
            io::ErrorKind::ConnectionAborted | io::ErrorKind::TimedOut => {
                tracing::debug!(error = %chain(source), doing, "the sender left");
                Self::new("IncompleteBody", "The body ended before it was complete.")
            }
            _ => {
                tracing::error!(error = %chain(source), doing, "the object store failed");
                Self::new("InternalError", "We encountered an internal error. Please try again.")
            }
        }
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        let mut fault = Self::new(error.code(), error.to_string());
        match error {
            SignatureError::Malformed { ec, .. } => fault.ec = Some(ec),
            SignatureError::NoDate | SignatureError::Expired => {}
            SignatureError::Skewed { request, now } => {
                let date = gristmill_wire::time::oss_date;
                fault = fault
                    .detail("MaxAllowedSkewMilliseconds", 900_000)
                    .detail("RequestTime", date(request))
                    .detail("ServerTime", date(now));
            }
            SignatureError::Mismatch { string_to_sign, canonical_request } => {
                let bytes: Vec<String> =
                    string_to_sign.iter().map(|byte| format!("{byte:02X}")).collect();
                fault = fault
                    .detail("StringToSign", String::from_utf8_lossy(&string_to_sign))
                    .detail("StringToSignBytes", bytes.join(" "));
                if let Some(canonical) = canonical_request {
                    fault = fault.detail("CanonicalRequest", canonical);
                }
            }
        }
        fault
    }
}

impl From<Malformed> for Fault {
    fn from(error: Malformed) -> Self {
        Self::new("MalformedXML", error.to_string())
    }
}

impl From<BadTags> for Fault {
    fn from(error: BadTags) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
