//! Why an image was not imported.

use crate::refusal::Refusal;
use gristmill_runtime::package::archive::ArchiveError;
use std::{io, path::PathBuf};

/// Why an image was not imported, opened or removed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The disk or the system.
    #[error("could not {what} `{}`", printable(&path.to_string_lossy()))]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The source is none of the kinds that can be imported.
    #[error("`{origin}` cannot be imported: {why}")]
    NoImage {
        /// The source.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// A part of the source that is not what the rules say.
    #[error("`{part}` of the image: {why}")]
    Malformed {
        /// Which part.
        part: String,
        /// What is wrong with it.
        why: String,
    },
    /// The archive of the whole root, or of one layer.
    #[error("{what} cannot be unpacked")]
    Archive {
        /// Which.
        what: String,
        /// Why not.
        source: ArchiveError,
    },
    /// Something was changed on its way or on the disk.
    #[error("{what} is not what it was: its digest is {found}, not {wanted}")]
    Digest {
        /// What.
        what: String,
        /// As computed.
        found: String,
        /// As promised.
        wanted: String,
    },
    /// The registry does not give it.
    #[error("the registry did not give {what}")]
    Registry {
        /// What was asked for.
        what: String,
        /// Why not.
        source: Refusal,
    },
    /// The file that should say whom to trust.
    #[error("`{}` names no authority to trust: {why}", path.display())]
    NoAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// More files or bytes than an image may have.
    #[error("the image holds more than {max} {what}")]
    TooMuch {
        /// The bound.
        max: u64,
        /// Of what.
        what: &'static str,
    },
}

impl ImageError {
    /// A failure with this file.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn malformed(part: impl Into<String>, why: impl Into<String>) -> Self {
        let (part, why) = (printable(&part.into()), printable(&why.into()));
        Self::Malformed { part, why }
    }
}

/// Names and values in an image are its maker's choice, and a terminal may obey some characters.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
