//! Copies of the books: made while a server works on them, put back into an empty directory, looked through.
//!
//! A copy is made by SQLite from one snapshot of each database (`VACUUM INTO`), so it holds exactly what was
//! committed at one moment, and the server is not held up. Objects are not part of it: they are files
//! of their own.
//!
//! Invariants
//! - The books are copied first and databases that they feed after them. A notice that was delivered in
//!   between is then in both copies, where its mark tells the second delivery; the other way round it
//!   would be in neither. What happened in between happens again from the copy, and is told again.
//! - A copy has its final name only when all of it is on the disk.
//! - A directory into which a copy is put has a mark until all of it is on the disk: no server starts there.

use crate::{
    error::StoreError,
    home::{DATABASE, UNFINISHED, open_private},
    registry,
};
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long to wait for a database that is held.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// What belongs to a region beside the books, by names in its data directory. What is missing is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Belongings<'a> {
    /// Databases of SQLite that the books feed.
    pub databases: &'a [&'a str],
    /// Small files that are made once.
    pub files: &'a [&'a str],
}

impl<'a> Belongings<'a> {
    /// All databases, in the order in which they are copied.
    fn all_databases(&self) -> impl Iterator<Item = &'a str> {
        [DATABASE, registry::FILE].into_iter().chain(self.databases.iter().copied())
    }
}

/// Copies the books of `data_dir` and what belongs to them into the new directory `to`.
pub fn back_up(data_dir: &Path, belongings: &Belongings<'_>, to: &Path) -> Result<(), StoreError> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if to.exists() {
        return Err(prepare(to, io::ErrorKind::AlreadyExists.into()));
    }
    make_directory(&partial)?;
    for name in belongings.all_databases() {
        let (from, copy) = (data_dir.join(name), partial.join(name));
        if !from.exists() && name != DATABASE {
            continue;
        }
        open_private(&copy).map_err(|source| prepare(&copy, source))?;
        let connection = open(&from)?;
        let text =
            copy.to_str().ok_or_else(|| prepare(&copy, io::ErrorKind::InvalidInput.into()))?;
        connection
            .execute("VACUUM INTO ?1", [text])
            .map_err(|source| StoreError::write("copy a database", source))?;
        drop(connection);
    }
    copy_files(data_dir, belongings.files.iter().copied(), &partial)?;
    sync(&partial)?;
    fs::rename(&partial, to).map_err(|source| prepare(to, source))?;
    let parent = to.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    parent.map_or(Ok(()), |parent| sync_one(&parent))
}

/// Puts a copy into `data_dir`, which must not exist or be empty.
pub fn restore(
    from: &Path,
    belongings: &Belongings<'_>,
    data_dir: &Path,
) -> Result<(), StoreError> {
    let books = from.join(DATABASE);
    if !books.is_file() {
        return Err(prepare(&books, io::ErrorKind::NotFound.into()));
    }
    if fs::read_dir(data_dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(prepare(data_dir, io::ErrorKind::DirectoryNotEmpty.into()));
    }
    for name in belongings.all_databases() {
        let log = from.join(format!("{name}-wal"));
        if fs::metadata(&log).is_ok_and(|about| about.len() > 0) {
            return Err(StoreError::NoCopy { path: log });
        }
    }
    if !data_dir.is_dir() {
        make_directory(data_dir)?;
    }
    let mark = data_dir.join(UNFINISHED);
    open_private(&mark).map_err(|source| prepare(&mark, source))?;
    sync(data_dir)?;
    let files = belongings.files.iter().copied();
    copy_files(from, belongings.all_databases().chain(files), data_dir)?;
    sync(data_dir)?;
    fs::remove_file(&mark).map_err(|source| prepare(&mark, source))?;
    sync_one(data_dir)
}

/// Looks through the databases of a directory: what SQLite finds wrong with their files, nothing if
/// nothing is.
pub fn damage(data_dir: &Path, belongings: &Belongings<'_>) -> Result<Vec<String>, StoreError> {
    let mut wrong = Vec::new();
    for name in belongings.all_databases() {
        let path = data_dir.join(name);
        if !path.exists() && name != DATABASE {
            continue;
        }
        let read = |source| StoreError::read("the whole database", source);
        let connection = open(&path)?;
        let mut check = connection.prepare("PRAGMA integrity_check").map_err(read)?;
        let lines = check.query_map([], |row| row.get::<_, String>(0)).map_err(read)?;
        for line in lines {
            let line = line.map_err(read)?;
            if line != "ok" {
                wrong.push(format!("{name}: {line}"));
            }
        }
    }
    Ok(wrong)
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    // Not read-only: a reader of a database in use needs its shared memory.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    opened
        .and_then(|connection| connection.busy_timeout(BUSY_MAX).map(|()| connection))
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

fn copy_files<'a>(
    from: &Path,
    names: impl Iterator<Item = &'a str>,
    to: &Path,
) -> Result<(), StoreError> {
    for name in names {
        let (source, target) = (from.join(name), to.join(name));
        if !source.exists() {
            continue;
        }
        let copy = || {
            let mut out = open_private(&target)?;
            io::copy(&mut File::open(&source)?, &mut out).map(drop)
        };
        copy().map_err(|error| prepare(&target, error))?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(|source| prepare(path, source))
}

/// Brings a directory and the files in it to the disk.
fn sync(directory: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(directory).map_err(|source| prepare(directory, source))?;
    for entry in entries {
        sync_one(&entry.map_err(|source| prepare(directory, source))?.path())?;
    }
    sync_one(directory)
}

fn sync_one(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| prepare(path, source))
}

fn prepare(path: &Path, source: io::Error) -> StoreError {
    StoreError::Prepare { path: path.to_owned(), source }
}
