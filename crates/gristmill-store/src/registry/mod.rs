//! The registry: what the region knows beside its jobs and clusters.
//!
//! Accounts, keys, image records and apps do not interact with scheduling, so the mill does not
//! know them. They live in a database of their own, `registry.db`, as rows: what is asked for is
//! looked up, what is changed is one transaction.
//!
//! ```text
//! handler --spawn_blocking--> Registry --one transaction--> registry.db
//! ```
//!
//! Invariants
//! - What a function answered with `Ok` survives `kill -9` and power loss (`synchronous=FULL`).
//!   One that failed with [`Retry::Later`] or was refused has changed nothing.
//! - After a write that failed for good the connection is thrown away: the next call opens a new
//!   one and learns from the disk what is true.
//! - Whoever asks for a thing names its account; a row of another account is not found.
//! - No clock, no randomness: times and ids are arguments.
//!
//! Start at [`Registry::open`]. Each noun is a module: its rows, its functions on [`Registry`].
//! To add one: a file in `migrations/registry`, its line in `STEPS`, a module.

mod accounts;
mod apps;
mod error;
mod images;
mod keys;
mod tokens;

pub use accounts::{ACCOUNTS_MAX, Account};
pub use apps::{APPS_PER_ACCOUNT_MAX, App, AppRevision, AppScope, REVISIONS_PER_APP_MAX};
pub use error::RegistryError;
pub use images::{IMAGES_PER_ACCOUNT_MAX, Image, Import};
pub use keys::{AccessKey, KEYS_PER_ACCOUNT_MAX};
pub use tokens::TOKEN_KEPT;

use crate::{
    error::{Retry, StoreError},
    home::open_private,
    schema::{self, Step},
    store::{StoreOptions, connect, transact},
};
use error::Undone;
use rusqlite::{Connection, Transaction};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The file below the data directory.
pub const FILE: &str = "registry.db";

/// All steps of the schema. New ones are added at the end; none is ever edited.
const STEPS: &[Step] = &[
    Step { name: "tokens", sql: include_str!("../../migrations/registry/0001_tokens.sql") },
    Step { name: "images", sql: include_str!("../../migrations/registry/0002_images.sql") },
    Step { name: "apps", sql: include_str!("../../migrations/registry/0003_apps.sql") },
    Step { name: "accounts", sql: include_str!("../../migrations/registry/0004_accounts.sql") },
];

/// A handle on the registry: cheap to clone, usable from any thread. Calls block for the time of
/// a transaction: from async code call it where blocking is allowed.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// `None` after a write that failed for good, until the next call. The one lock; held for the
    /// time of a transaction.
    connection: Mutex<Option<Connection>>,
}

impl Registry {
    /// Opens or makes the registry of this data directory and brings its schema up. The directory
    /// belongs to this process already: [`Store::open`](crate::Store::open) took it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let mut connection = open(&path)?;
        schema::migrate(&mut connection, &path, STEPS)?;
        Ok(Self(Arc::new(Inner { path, connection: Mutex::new(Some(connection)) })))
    }

    /// Looks something up.
    fn read<T>(
        &self,
        what: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, RegistryError> {
        self.with(|connection| query(connection).map_err(|source| StoreError::read(what, source)))
            .map_err(RegistryError::Store)
    }

    /// Runs `work` in one transaction: all of it is on disk when this returns `Ok`, else nothing.
    fn write<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Undone>,
    ) -> Result<T, RegistryError> {
        let mut refusal = None;
        let written = self.with(|connection| match transact(connection, work) {
            Ok(value) => Ok(Some(value)),
            Err(Undone::Refused(refused)) => {
                refusal = Some(refused);
                Ok(None)
            }
            Err(Undone::Sqlite(source)) => Err(StoreError::write(doing, source)),
        })?;
        match (written, refusal) {
            (Some(value), _) => Ok(value),
            (None, Some(refused)) => Err(refused),
            (None, None) => unreachable!("what was not written was refused"),
        }
    }

    /// Lends the connection; one that is of no more use is not kept.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut place = self.0.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => open(&self.0.path)?,
        };
        let result = work(&mut connection);
        let is_broken = matches!(&result, Err(error) if error.retry() == Retry::Never);
        if !is_broken && connection.is_autocommit() {
            *place = Some(connection);
        }
        result
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    open_private(path).map_err(|source| StoreError::Prepare { path: path.to_owned(), source })?;
    connect(path, &StoreOptions::default())
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn only_the_owner_may_read_it_and_every_change_waits_for_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let setting = |name| {
            let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            registry
                .read("a setting", |connection| connection.pragma_query_value(None, name, value))
        };
        assert_eq!(setting("journal_mode").expect("read"), "wal".to_owned().into());
        assert_eq!(setting("synchronous").expect("read"), 2.into(), "2 is FULL");
        for entry in fs::read_dir(dir.path()).expect("readable") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
        }
    }

    #[test]
    fn after_a_write_that_failed_for_good_the_next_call_starts_afresh() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let broken = registry.write("fail", |transaction| {
            transaction.execute("CREATE TABLE half (x INTEGER) STRICT", [])?;
            transaction.execute("INSERT INTO nowhere VALUES (1)", [])?;
            Ok(())
        });
        let error = broken.expect_err("fails");
        assert_eq!(error.to_string(), "could not fail: the process must end");
        let count = |connection: &Connection| {
            let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'half'";
            connection.query_row(sql, [], |row| row.get::<_, i64>(0))
        };
        assert_eq!(registry.read("the tables", count).expect("a new connection"), 0);
    }

    #[test]
    fn opening_again_finds_what_was_written_and_handles_share_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let other = registry.clone();
        let write = |registry: &Registry, number: i64| {
            registry.write("note", |transaction| {
                let sql = "INSERT INTO token VALUES (?1, 'x', 't', 'd', 'm', 1)";
                transaction.execute(sql, [number])?;
                Ok(())
            })
        };
        write(&registry, 1).expect("written");
        write(&other, 2).expect("written");
        drop((registry, other));
        let again = Registry::open(dir.path()).expect("opens");
        let count = again.read("tokens", |connection| {
            connection.query_row("SELECT count(*) FROM token", [], |row| row.get::<_, i64>(0))
        });
        assert_eq!(count.expect("read"), 2);
    }
}
