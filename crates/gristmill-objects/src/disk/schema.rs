//! The metadata database: how it is opened and what is in it.
//!
//! WAL with `synchronous=FULL`: an answered commit survives power loss. The schema has a version
//! from the first day (`user_version`); a store written by a newer program is refused.

use super::rows::sql_error;
use crate::ObjectError;
use rusqlite::{Connection, OpenFlags};
use std::{io, path::Path};

/// What this program writes.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE buckets (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL,
        created INTEGER NOT NULL, acl TEXT NOT NULL);
    CREATE TABLE settings (
        bucket INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (bucket, name)) WITHOUT ROWID;
    -- `content` comes last: a listing never reads as far.
    CREATE TABLE objects (
        bucket INTEGER NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
        modified INTEGER NOT NULL, crc64 INTEGER, kind TEXT NOT NULL, headers TEXT NOT NULL,
        content BLOB NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
    -- Bytes of small objects, apart from the rows that listings scan.
    CREATE TABLE inline (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE uploads (
        bucket INTEGER NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, initiated INTEGER NOT NULL,
        headers TEXT NOT NULL, forbid_overwrite INTEGER NOT NULL,
        PRIMARY KEY (bucket, key, id)) WITHOUT ROWID;
    CREATE TABLE parts (
        upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
        modified INTEGER NOT NULL, crc64 INTEGER NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (upload, number)) WITHOUT ROWID;
    -- How often the store was opened: names of files begin with it and so are never used twice.
    CREATE TABLE openings (count INTEGER NOT NULL);
    INSERT INTO openings VALUES (0);
    PRAGMA user_version = 1;
";

/// Opens the database for its one writer, making or checking the tables, and counts the opening.
pub(super) fn open_writer(path: &Path) -> Result<(Connection, u64), ObjectError> {
    let doing = |error| sql_error("open the object metadata", error);
    let conn = Connection::open(path).map_err(doing)?;
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000;
         PRAGMA wal_autocheckpoint = 8000; PRAGMA cache_size = -16000;",
    )
    .map_err(doing)?;
    conn.set_prepared_statement_cache_capacity(64);
    let version: i64 =
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(doing)?;
    match version {
        0 => {
            let make = format!("BEGIN IMMEDIATE; {TABLES} COMMIT;");
            conn.execute_batch(&make).map_err(doing)?;
        }
        VERSION => {}
        other => {
            let message = format!("the store has version {other}, this program knows {VERSION}");
            let source = io::Error::new(io::ErrorKind::InvalidData, message);
            return Err(ObjectError::Io { doing: "open the object metadata".into(), source });
        }
    }
    let opening: i64 = conn
        .query_row("UPDATE openings SET count = count + 1 RETURNING count", [], |row| row.get(0))
        .map_err(doing)?;
    Ok((conn, opening as u64))
}

/// Opens the database for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, ObjectError> {
    let doing = |error| sql_error("open the object metadata for reading", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(doing)?;
    conn.execute_batch("PRAGMA busy_timeout = 10000; PRAGMA cache_size = -4000;").map_err(doing)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}
