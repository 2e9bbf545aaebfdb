//! Why a run cannot be carried out, and whose fault that is.

use gristmill_model::Cause;
use gristmill_objects::ObjectError;
use gristmill_wire::agent::{EndKind, RunEnd};

/// Why a run ended before its program, or after it without its results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It cannot work for a reason that lies with the job: uses up a retry.
    #[error("{message}")]
    Job {
        /// Which part.
        cause: Cause,
        /// Names the object, path or limit concerned.
        message: String,
    },
    /// It did not work for a reason that lies with this machine or the store.
    #[error("{message}")]
    Infrastructure {
        /// Which part.
        cause: Cause,
        /// Names what is concerned.
        message: String,
    },
    /// The server does not want the run any more.
    #[error("cancelled")]
    Cancelled,
}

impl Trouble {
    /// The store said no, while doing something for `cause`.
    pub fn of_store(cause: Cause, doing: &str, error: &ObjectError) -> Self {
        let message = format!("{doing}: {}", chain(error));
        if error.is_transient() {
            Self::Infrastructure { cause, message }
        } else {
            Self::Job { cause, message }
        }
    }

    /// This machine failed.
    pub fn of_machine(cause: Cause, doing: &str, error: impl std::fmt::Display) -> Self {
        Self::Infrastructure { cause, message: format!("{doing}: {error}") }
    }

    /// As it is reported.
    pub fn into_end(self, at: i64, detail: String) -> RunEnd {
        let (kind, cause, message) = match self {
            Self::Job { cause, message } => (EndKind::Unable, cause.code(), message),
            Self::Infrastructure { cause, message } => {
                (EndKind::Infrastructure, cause.code(), message)
            }
            Self::Cancelled => (EndKind::Cancelled, "", String::new()),
        };
        let (kind, cause) = (kind.into(), cause.to_owned());
        RunEnd { at, kind, number: 0, cause, message, detail, spans: None }
    }
}

/// An error with its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
