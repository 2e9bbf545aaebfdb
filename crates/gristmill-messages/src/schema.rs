//! Opens the database and brings it to the schema of this program: numbered steps, forward only.

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

/// `GRMM`: marks the file as ours.
const APPLICATION_ID: i32 = 0x4752_4d4d;

/// All steps. New ones are added at the end; none is ever edited.
const STEPS: &[&str] = &[include_str!("../migrations/0001_messages.sql")];

/// Bytes the write-ahead log keeps on disk once it was folded back.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// How long to wait for another program that holds the database.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file.
    #[error("could not open the messages in {path}")]
    Open {
        /// Which file.
        path: String,
        /// Why not.
        source: rusqlite::Error,
    },
    /// It cannot be kept from others.
    #[error("could not make {path} readable by its owner only")]
    Private {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// It belongs to another program.
    #[error("{path} is not a database of messages")]
    Foreign {
        /// Which file.
        path: String,
    },
    /// It was written by a newer release.
    #[error("the messages have schema {found}, this release knows up to {known}")]
    Newer {
        /// Its schema.
        found: usize,
        /// Ours.
        known: usize,
    },
}

/// Opens the database, makes it if it is not there, and brings it up.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    let shown = path.display().to_string();
    let failed = |source| OpenError::Open { path: shown.clone(), source };
    make_private(path).map_err(|source| OpenError::Private { path: shown.clone(), source })?;
    let mut connection = connect(path).map_err(failed)?;
    let id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    let found: usize = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
        .map_err(failed)? as usize;
    if id != APPLICATION_ID && (id != 0 || !is_empty(&connection).map_err(failed)?) {
        return Err(OpenError::Foreign { path: shown });
    }
    if found > STEPS.len() {
        return Err(OpenError::Newer { found, known: STEPS.len() });
    }
    bring_up(&mut connection, found).map_err(failed)?;
    Ok(connection)
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let tables = "SELECT count(*) FROM sqlite_schema";
    connection.query_row(tables, [], |row| row.get::<_, i64>(0)).map(|count| count == 0)
}

/// Only the owner may read the messages. SQLite gives its side files the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        row.get::<_, String>(0).map(drop)
    })?;
    // FULL, not the usual NORMAL: an answered order must survive power loss.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn bring_up(connection: &mut Connection, from: usize) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for step in &STEPS[from..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    let version = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_and_a_newer_database_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        let theirs = Connection::open(&path).expect("opens");
        theirs.execute_batch("CREATE TABLE theirs (x)").expect("made");
        drop(theirs);
        assert!(matches!(open(&path), Err(OpenError::Foreign { .. })));

        let path = dir.path().join("b.db");
        drop(open(&path).expect("new"));
        let ours = open(&path).expect("again");
        ours.pragma_update(None, "user_version", 99).expect("set");
        drop(ours);
        assert!(matches!(open(&path), Err(OpenError::Newer { found: 99, .. })));
    }

    #[test]
    fn only_their_owner_reads_the_messages() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("m.db");
        fs::write(&path, "").expect("made");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("ours");
        for path in [path, dir.path().join("new.db")] {
            let _open = open(&path).expect("opens");
            for side in ["", "-wal", "-shm"] {
                let file = format!("{}{side}", path.display());
                let mode = fs::metadata(&file).expect("is there").permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{file}");
            }
        }
    }

    #[test]
    fn every_commit_waits_for_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let connection = open(&dir.path().join("m.db")).expect("opens");
        let level: i64 = connection
            .pragma_query_value(None, "synchronous", |row| row.get(0))
            .expect("a setting");
        assert_eq!(level, 2, "2 is FULL");
    }
}
