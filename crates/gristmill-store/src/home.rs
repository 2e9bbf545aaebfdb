//! The data directory: one server at a time, and nobody else may look inside.
//!
//! The lock belongs to the open file, so the kernel takes it back when the process ends, however
//! it ends. A child has the file, too, from its fork until it executes its program; so a lock that is
//! held is tried for a moment before it is somebody else's. The number written into the file is only
//! for the message to a person.

use crate::error::StoreError;
use gristmill_files::lock_patiently;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
};

/// The file with the books.
pub(crate) const DATABASE: &str = "gristmill.db";

/// In a directory as long as a copy is being put into it.
pub(crate) const UNFINISHED: &str = "restore-unfinished";

/// A data directory that belongs to this process until the value is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the directory if it is missing and takes it for this process.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        make_directory(path).map_err(|source| prepare(path, source))?;
        if path.join(UNFINISHED).exists() {
            return Err(StoreError::Unfinished { path: path.to_owned() });
        }
        let lock_path = path.join("lock");
        let mut lock = open_private(&lock_path).map_err(|source| prepare(&lock_path, source))?;
        match lock_patiently(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&mut lock);
                return Err(StoreError::InUse { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(prepare(&lock_path, source)),
        }
        // On a full disk the number cannot be written; a server must start there all the same.
        let _ = sign(&mut lock);
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The database file; made when it is missing, readable by its owner only. SQLite gives its
    /// side files the same mode.
    pub fn database(&self) -> Result<PathBuf, StoreError> {
        let path = self.path.join(DATABASE);
        open_private(&path).map_err(|source| prepare(&path, source))?;
        Ok(path)
    }
}

/// Makes the directory with mode 0700 and makes its name durable. A directory that exists keeps
/// its mode: the operator chose it.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match path.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Opens a file that only its owner may touch, also when it was made with a wider mode.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", process::id())
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(20).read_to_string(&mut text);
    match (read, text.trim()) {
        (Ok(_), number) if !number.is_empty() => format!(" (process {number})"),
        _ => String::new(),
    }
}

fn prepare(path: &Path, source: io::Error) -> StoreError {
    StoreError::Prepare { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread, time::Duration};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("exists").permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_look_inside() {
        let top = tempfile::tempdir().expect("a directory");
        let path = top.path().join("a/b");
        let home = Home::take(&path).expect("free");
        let database = home.database().expect("made");
        assert_eq!((mode(&path), mode(&database), mode(&path.join("lock"))), (0o700, 0o600, 0o600));
    }

    #[test]
    fn a_wide_open_file_is_narrowed() {
        let top = tempfile::tempdir().expect("a directory");
        let file = top.path().join("gristmill.db");
        fs::write(&file, "").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("ours");
        Home::take(top.path()).expect("free").database().expect("opened");
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn a_second_server_is_refused_until_the_first_is_gone() {
        let top = tempfile::tempdir().expect("a directory");
        let first = Home::take(top.path()).expect("free");
        let refused = Home::take(top.path()).expect_err("taken").to_string();
        assert!(refused.contains("in use by another server"), "{refused}");
        assert!(refused.contains(&format!("(process {})", process::id())), "{refused}");
        drop(first);
        assert!(Home::take(top.path()).is_ok());
    }

    #[test]
    fn who_keeps_the_lock_a_moment_longer_is_waited_for() {
        let top = tempfile::tempdir().expect("a directory");
        let first = Home::take(top.path()).expect("free");
        // As a child of the first server has it that was forked and has not executed its program.
        let inherited = first._lock.try_clone().expect("cloned");
        drop(first);
        let later = thread::spawn(move || {
            thread::sleep(Duration::from_millis(40));
            drop(inherited);
        });
        assert!(Home::take(top.path()).is_ok());
        later.join().expect("it only waits");
    }
}
