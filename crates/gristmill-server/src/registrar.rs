//! The registry as the handlers use it: off the async threads, with the vendor's codes.

use gristmill_store::{
    Retry,
    registry::{Registry, RegistryError},
};
use gristmill_wire::error::{ApiError, Code, quote};
use std::{error::Error, iter};
use tracing::error;

/// Asks the registry. Cheap to clone.
#[derive(Clone)]
pub struct Registrar(Registry);

impl Registrar {
    /// Asks this registry.
    pub fn new(registry: Registry) -> Self {
        Self(registry)
    }

    /// Does `work` where blocking is allowed. What it changed is durable when this returns.
    pub async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let registry = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&registry)).await;
        done.expect("work on the registry does not panic").map_err(refusal)
    }
}

/// The answer for a client. The one table of the registry's errors.
pub fn refusal(refused: RegistryError) -> ApiError {
    match refused {
        RegistryError::NotFound { kind, id } => {
            ApiError::new(Code::ResourceNotFound, format!("{kind} {} is not found", quote(&id)))
        }
        RegistryError::Taken { kind, name } => {
            ApiError::new(Code::AlreadyExisting, format!("{kind} {} exists already", quote(&name)))
        }
        RegistryError::Conflict { what } => ApiError::new(Code::StateConflict, what),
        RegistryError::Quota { .. } => ApiError::new(Code::QuotaExhausted, refused.to_string()),
        RegistryError::TokenMismatch => {
            ApiError::new(Code::IdempotentTokenMismatch, refused.to_string())
        }
        RegistryError::Store(failed) => {
            let causes = causes(&failed);
            error!(error = %failed, causes, "the registry failed");
            match failed.retry() {
                Retry::Later => ApiError::new(Code::ServiceUnavailable, failed.to_string()),
                Retry::Never => ApiError::new(
                    Code::InternalError,
                    "the registry could not be written; what was asked may have been done",
                ),
            }
        }
    }
}

/// What lies behind an error, for the log.
pub fn causes(error: &dyn Error) -> String {
    let causes = iter::successors(error.source(), |error| (**error).source());
    causes.map(|cause| format!(": {cause}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_code() {
        let conflict = RegistryError::Conflict { what: "account 7 has jobs".to_owned() };
        let quota = RegistryError::Quota { what: "keys of account 7".to_owned(), max: 3 };
        for (refused, wanted) in [
            (
                RegistryError::NotFound { kind: "image", id: "m-1".to_owned() },
                "InvalidResource.NotFound: image `m-1` is not found",
            ),
            (
                RegistryError::Taken { kind: "app", name: "a".to_owned() },
                "InvalidResource.AlreadyExisting: app `a` exists already",
            ),
            (conflict, "StateConflict: account 7 has jobs"),
            (quota, "QuotaExhausted: keys of account 7: 3 are allowed"),
            (
                RegistryError::TokenMismatch,
                "IdempotentTokenMismatch: the token was used before with another body",
            ),
        ] {
            assert_eq!(refusal(refused).to_string(), wanted);
        }
    }
}
