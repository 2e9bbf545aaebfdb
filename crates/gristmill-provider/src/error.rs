//! What can go wrong with a backend, and whether trying again can help.

use gristmill_model::Generation;
use std::{io, path::PathBuf};

/// Whether looking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It can.
    Later,
    /// A person has to change something first.
    Never,
}

/// Why a provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// All places are taken.
    #[error("no capacity for another worker: {workers_max} run already")]
    NoCapacity {
        /// How many there can be.
        workers_max: u32,
    },
    /// The request is late: a newer generation was asked for, or this one was removed.
    #[error("generation {asked} of the worker is out of date: it had generation {known}")]
    Outdated {
        /// Of the request.
        asked: Generation,
        /// The newest this provider knows of.
        known: Generation,
    },
    /// The agent's program did not start.
    #[error("could not start the agent `{}`", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The provider's own notes.
    #[error("could not {what} `{}`", path.display())]
    State {
        /// What was tried: `write`, `remove`.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It was killed, and is still there.
    #[error("process {pid} of the worker does not end")]
    Undying {
        /// Which.
        pid: i32,
    },
    /// The backend does not answer.
    #[error("the provider does not answer")]
    Silent,
}

impl ProviderError {
    /// Whether looking again later can help. No `_` arm: a new variant must choose.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoCapacity { .. } | Self::State { .. } | Self::Undying { .. } | Self::Silent => {
                Retry::Later
            }
            Self::Start { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Retry::Never,
                _ => Retry::Later,
            },
            Self::Outdated { .. } => Retry::Never,
        }
    }
}
