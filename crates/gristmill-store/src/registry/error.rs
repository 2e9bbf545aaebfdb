//! Why the registry did not do what was asked.

use crate::error::{Retry, StoreError};

/// Nothing has changed, unless the store's own error says that it is not known.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such thing, or it belongs to another account.
    #[error("{kind} `{id}` is not found")]
    NotFound {
        /// What kind of thing: `account`, `image`.
        kind: &'static str,
        /// As asked.
        id: String,
    },
    /// The name is taken.
    #[error("{kind} `{name}` exists already")]
    Taken {
        /// What kind of thing.
        kind: &'static str,
        /// As asked.
        name: String,
    },
    /// The thing is not in a state for this.
    #[error("{what}")]
    Conflict {
        /// A sentence that names the thing and its state.
        what: String,
    },
    /// There may be no more of these.
    #[error("{what}: {max} are allowed")]
    Quota {
        /// A phrase that names the account and the kind.
        what: String,
        /// How many there may be.
        max: u64,
    },
    /// The idempotency token was used with another body.
    #[error("the token was used before with another body")]
    TokenMismatch,
}

impl RegistryError {
    /// Whether trying again later can help. No `_` arm: a new variant must choose.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Store(error) => error.retry(),
            Self::Quota { .. } | Self::Conflict { .. } => Retry::Later,
            Self::NotFound { .. } | Self::Taken { .. } | Self::TokenMismatch => Retry::Never,
        }
    }
}

/// Why a transaction was not committed.
pub(super) enum Undone {
    Sqlite(rusqlite::Error),
    Refused(RegistryError),
}

impl From<rusqlite::Error> for Undone {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<RegistryError> for Undone {
    fn from(error: RegistryError) -> Self {
        Self::Refused(error)
    }
}
