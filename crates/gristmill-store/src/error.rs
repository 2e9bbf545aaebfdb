//! What can go wrong on the disk, and whether the server may go on afterwards.
//!
//! The one distinction that matters: after [`Retry::Later`] nothing has changed and the store
//! works on; after [`Retry::Never`] memory and disk may disagree, so the process must end and
//! learn from the disk what is true.

use rusqlite::ErrorCode;
use std::{io, path::PathBuf};

/// Whether trying again later can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing has changed on disk and the store works on. Refuse the caller for now.
    Later,
    /// A store that was being opened stays closed until a person looked at it. An open store is
    /// of no more use: the process must end; a restart finds everything that was acknowledged.
    Never,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory, the lock or the database file could not be made or opened.
    #[error("could not prepare `{path}`")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A copy was being put into this directory, and that was cut short.
    #[error("the copy in `{path}` is not whole: empty the directory and put it back once more")]
    Unfinished {
        /// Which directory.
        path: PathBuf,
    },
    /// Somebody works, or worked, on what should be a copy.
    #[error(
        "`{path}` holds changes that are not in its database: a region's own directory is no copy, \
         make one with a backup"
    )]
    NoCopy {
        /// The log with the changes.
        path: PathBuf,
    },
    /// Another server works in this directory.
    #[error("data directory `{path}` is in use by another server{holder}")]
    InUse {
        /// Which directory.
        path: PathBuf,
        /// ` (process 123)` when it is known, otherwise empty.
        holder: String,
    },
    /// SQLite could not open the file.
    #[error("could not open the database `{path}`")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is a database of another program.
    #[error("`{path}` is not a Gristmill database")]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// A newer release wrote this database.
    #[error(
        "the database has schema {found}, this release knows up to {known}: \
         start the newer release again, or restore a backup made before it"
    )]
    Newer {
        /// The schema of the file.
        found: u32,
        /// The newest schema of this program.
        known: u32,
    },
    /// A migration that was applied is not the one of this program.
    #[error("schema step {number} of the database is not the one of this release")]
    Altered {
        /// Which step.
        number: u32,
    },
    /// A migration failed; the schema is as before.
    #[error("could not bring the database to schema {number}")]
    Migrate {
        /// To which.
        number: u32,
        /// Why.
        source: rusqlite::Error,
    },
    /// No space left, on the disk or within the limit of the operator. The transaction was rolled
    /// back and reads go on.
    #[error("no space left for the database while trying to {doing}")]
    Full {
        /// What was tried.
        doing: &'static str,
    },
    /// Another program holds the database and did not let go in time.
    #[error("another program holds the database: could not {doing}")]
    Busy {
        /// What was tried.
        doing: &'static str,
    },
    /// The database does not hold together.
    #[error("the database is damaged: {what}")]
    Corrupt {
        /// What was found.
        what: String,
        /// The message of SQLite or of the decoder, if there was one.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A write failed and it is not known what reached the disk.
    #[error("could not {doing}: the process must end")]
    Write {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// An earlier write failed for good; nothing is written any more.
    #[error("an earlier write failed: the process must end")]
    Broken,
    /// A record could not be put into its written form.
    #[error("could not encode {what}")]
    Encode {
        /// An event or an effect.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A checkpoint names an event that is not in the books.
    #[error("a checkpoint through event {through} is not between {oldest} and {newest}")]
    OutOfOrder {
        /// What was asked.
        through: u64,
        /// The present checkpoint.
        oldest: u64,
        /// The last event.
        newest: u64,
    },
    /// A read failed; nothing has changed.
    #[error("could not read {what}")]
    Read {
        /// What was wanted.
        what: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether trying again later can help. No `_` arm: a new variant must choose.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full { .. } | Self::Busy { .. } | Self::Read { .. } => Retry::Later,
            Self::Prepare { .. }
            | Self::Unfinished { .. }
            | Self::NoCopy { .. }
            | Self::InUse { .. }
            | Self::Open { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Altered { .. }
            | Self::Migrate { .. }
            | Self::Corrupt { .. }
            | Self::Write { .. }
            | Self::Broken
            | Self::Encode { .. }
            | Self::OutOfOrder { .. } => Retry::Never,
        }
    }

    /// A failed write. Only "no space" and "held by another" leave a known state: SQLite reports
    /// the first from writing the log, before the commit record is whole, and the second from
    /// taking the write lock.
    pub(crate) fn write(doing: &'static str, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { doing },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { doing },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::corrupt(format!("could not {doing}"), source)
            }
            _ => Self::Write { doing, source },
        }
    }

    /// A failed read.
    pub(crate) fn read(what: &'static str, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::corrupt(format!("could not read {what}"), source)
            }
            _ => Self::Read { what, source },
        }
    }

    /// Damage with a cause.
    pub(crate) fn corrupt(
        what: String,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Corrupt { what, source: Some(source.into()) }
    }
}
