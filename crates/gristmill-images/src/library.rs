//! Where images lie, and who holds them.
//!
//! ```text
//! <data directory>/images/.lock            held while directories are made or swept away
//!                        /<name>/          one import: `<image id>.<hexadecimal digits>`
//!                               /lock      its maker holds it alone, machines hold it together
//!                               /root/     the tree
//!                               /seal      what the tree is; written last
//! ```
//!
//! A lock belongs to an open file: the kernel takes it back when its process ends, however it ends. So
//! what nobody holds and no book names is what a crash or a removal left, and [`Library::sweep`] takes
//! it away. Machines outlive the server and hold their image all the while.

use crate::{error::ImageError, progress::Progress, seal::Seal};
use gristmill_runtime::package::tree::remove_at_once;
use rustix::{
    fd::AsFd,
    fs::{FlockOperation, Mode, OFlags, flock, open},
};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const GUARD: &str = ".lock";
/// Where swept directories are taken apart.
const SWEEPINGS: &str = ".sweepings";
const LOCK: &str = "lock";
const ROOT: &str = "root";
const SEAL: &str = "seal";
/// What a draft needs beside its tree.
const SPARES: [&str; 3] = ["spare", "blobs", "archive.tar"];

/// The images of one region.
#[derive(Debug, Clone)]
pub struct Library {
    top: PathBuf,
}

impl Library {
    /// Below this data directory. Nothing is made yet.
    pub fn of(data_dir: &Path) -> Self {
        Self { top: data_dir.join("images") }
    }

    /// Whether nothing was ever imported.
    pub fn is_unused(&self) -> bool {
        !self.top.is_dir()
    }

    /// The directory of an import.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    /// Makes the directory of a new import, held by this process.
    pub fn begin(&self, name: &str) -> Result<Draft, ImageError> {
        make(&self.top)?;
        let _guard = self.guard(FlockOperation::LockShared)?;
        let directory = self.directory(name);
        make_new(&directory)?;
        let lock = lock_file(&directory.join(LOCK), true)?;
        let held = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        held.map_err(|error| ImageError::io("lock", &directory)(error.into()))?;
        let (library, name) = (self.clone(), name.to_owned());
        let draft = Draft { directory, library, name, _lock: lock, keep: false };
        make_new(&draft.root())?;
        make_new(&draft.spare(SPARES[0]))?;
        Ok(draft)
    }

    /// What an import is, if it is complete. A name that could lead elsewhere is none.
    pub fn sealed(&self, name: &str) -> Result<Option<Seal>, ImageError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.starts_with('.') || !name.bytes().all(plain) {
            return Ok(None);
        }
        let path = self.directory(name).join(SEAL);
        match fs::read(&path) {
            Ok(text) => {
                let damaged =
                    |error: serde_json::Error| ImageError::io("read", &path)(error.into());
                serde_json::from_slice(&text).map(Some).map_err(damaged)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImageError::io("read", &path)(error)),
        }
    }

    /// Compares an import with its seal.
    pub fn check(&self, name: &str, progress: &dyn Progress) -> Result<(), ImageError> {
        let directory = self.directory(name);
        let missing = || ImageError::malformed(name, "its files are missing");
        let wanted = self.sealed(name)?.ok_or_else(missing)?;
        progress.begin("reading all files", Some(wanted.bytes));
        let found = Seal::of(&directory.join(ROOT), progress)?;
        if found == wanted {
            return Ok(());
        }
        let what = format!("image `{name}`");
        Err(ImageError::Digest { what, found: found.tree, wanted: wanted.tree })
    }

    /// Whether a machine or an import holds the directory.
    pub fn is_held(&self, name: &str) -> bool {
        matches!(self.take(name), Taken::Held)
    }

    /// Takes a directory for this process alone, if nobody holds it.
    fn take(&self, name: &str) -> Taken {
        // Without the file its maker came to an end before it could hold anything.
        let Ok(lock) = lock_file(&self.directory(name).join(LOCK), false) else {
            return Taken::Abandoned(None);
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Taken::Abandoned(Some(lock)),
            Err(_) => Taken::Held,
        }
    }

    /// Nothing is swept away as long as the value lives: what is complete now can be named.
    pub fn steady(&self) -> Result<Steady, ImageError> {
        make(&self.top)?;
        self.guard(FlockOperation::LockShared).map(Steady)
    }

    /// Removes what is not named and not held. Answers the names of what went. `named` is asked when
    /// nothing can be named any more until the end.
    pub fn sweep<E: From<ImageError>>(
        &self,
        named: impl FnOnce() -> Result<BTreeSet<String>, E>,
    ) -> Result<Vec<String>, E> {
        if self.is_unused() {
            return Ok(Vec::new());
        }
        let _guard = self.guard(FlockOperation::LockExclusive)?;
        Ok(self.sweep_all_but(&named()?)?)
    }

    fn sweep_all_but(&self, kept: &BTreeSet<String>) -> Result<Vec<String>, ImageError> {
        let mut gone = Vec::new();
        for entry in fs::read_dir(&self.top).map_err(ImageError::io("list", &self.top))? {
            let entry = entry.map_err(ImageError::io("list", &self.top))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = [GUARD, SWEEPINGS].contains(&name.as_str());
            if is_ours || kept.contains(&name) {
                continue;
            }
            // Held until it is gone: a machine that comes now finds nothing instead of half a tree.
            if let Taken::Abandoned(_lock) = self.take(&name) {
                self.remove(&name)?;
                gone.push(name);
            }
        }
        Ok(gone)
    }

    /// Removes a directory, however deep. The guard must be held alone.
    fn remove(&self, name: &str) -> Result<(), ImageError> {
        let sweepings = self.top.join(SWEEPINGS);
        make(&sweepings)?;
        let removed = || -> io::Result<()> {
            let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let parent = open(&self.top, place, Mode::empty())?;
            let spare = open(&sweepings, place, Mode::empty())?;
            remove_at_once(parent.as_fd(), OsStr::new(name), spare.as_fd())
        };
        removed().map_err(ImageError::io("remove", self.directory(name)))
    }

    fn guard(&self, how: FlockOperation) -> Result<File, ImageError> {
        let path = self.top.join(GUARD);
        let guard = lock_file(&path, true)?;
        flock(&guard, how).map_err(|error| ImageError::io("lock", &path)(error.into()))?;
        Ok(guard)
    }
}

/// See [`Library::steady`].
#[derive(Debug)]
pub struct Steady(#[expect(dead_code, reason = "holds the lock")] File);

/// Whose a directory is.
enum Taken {
    /// Somebody's.
    Held,
    /// Nobody's, and ours as long as the file is open.
    Abandoned(Option<File>),
}

/// The directory of an import under way. Removed when dropped, unless it is kept.
#[derive(Debug)]
pub struct Draft {
    directory: PathBuf,
    library: Library,
    name: String,
    _lock: File,
    keep: bool,
}

impl Draft {
    /// The tree.
    pub fn root(&self) -> PathBuf {
        self.directory.join(ROOT)
    }

    /// The directory of all images' drafts: no source.
    pub(crate) fn library(&self) -> &Path {
        &self.library.top
    }

    /// An empty directory, for taking others apart.
    pub(crate) fn workshop(&self) -> PathBuf {
        self.spare(SPARES[0])
    }

    /// Where downloaded files go.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.spare(SPARES[1])
    }

    /// Where a compressed archive of an image is unpacked.
    pub(crate) fn archive(&self) -> PathBuf {
        self.spare(SPARES[2])
    }

    fn spare(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Removes all but the tree. What lies there is ours and not deep.
    pub(crate) fn clear_spares(&self) -> Result<(), ImageError> {
        for path in SPARES.map(|name| self.spare(name)) {
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ImageError::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the tree to the disk, then what it is.
    pub(crate) fn seal(&self, progress: &dyn Progress) -> Result<Seal, ImageError> {
        progress.begin("sealing", None);
        let seal = Seal::of(&self.root(), progress)?;
        let path = self.directory.join(SEAL);
        let text = serde_json::to_vec(&seal).expect("a seal is plain data");
        self.sync().map_err(ImageError::io("write to the disk", &self.directory))?;
        fs::write(&path, text).map_err(ImageError::io("write", &path))?;
        self.sync().map_err(ImageError::io("write to the disk", &self.directory))?;
        Ok(seal)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.directory)?)?)
    }

    /// A book names it now.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now is swept away later.
            let guard = self.library.guard(FlockOperation::LockExclusive);
            let _ = guard.and_then(|_guard| self.library.remove(&self.name));
        }
    }
}

/// A tree that a machine runs from: it stays as long as this value.
#[derive(Debug)]
pub struct Hold {
    root: PathBuf,
    _lock: File,
}

impl Hold {
    /// Holds the import in this directory. An error says that it is gone.
    pub fn take(directory: &Path) -> Result<Self, ImageError> {
        let lock = lock_file(&directory.join(LOCK), false)?;
        // Who holds it alone does so for a moment: to look, to hand it over, or to remove it.
        let held = flock(&lock, FlockOperation::LockShared);
        held.map_err(|error| ImageError::io("hold", directory)(error.into()))?;
        // It may have been swept away before it was held.
        let (root, seal) = (directory.join(ROOT), directory.join(SEAL));
        fs::metadata(&seal).map_err(ImageError::io("find", &seal))?;
        Ok(Self { root, _lock: lock })
    }

    /// The tree.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn make(path: &Path) -> Result<(), ImageError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(ImageError::io("make", path))
}

fn make_new(path: &Path) -> Result<(), ImageError> {
    DirBuilder::new().mode(0o755).create(path).map_err(ImageError::io("make", path))
}

fn lock_file(path: &Path, make: bool) -> Result<File, ImageError> {
    let mut options = File::options();
    let opened = options.read(true).write(true).create(make).mode(0o600).open(path);
    opened.map_err(ImageError::io("open", path))
}
