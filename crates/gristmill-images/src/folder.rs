//! Copies a directory as the root of an image.
//!
//! What is mounted inside it is not part of it, and neither is the region's own data.

use crate::{error::ImageError, layers::Applied, progress::Progress};
use gristmill_runtime::package::{
    archive::{ArchiveError, ArchiveLimits, Parts, shown},
    tree::Tree,
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, Metadata},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

/// A copy under way.
struct Copying<'a> {
    from: &'a Path,
    /// Never copied.
    without: &'a Path,
    device: u64,
    tree: &'a mut Tree,
    limits: &'a ArchiveLimits,
    progress: &'a dyn Progress,
    /// Files with several names, by device and number.
    names: BTreeMap<(u64, u64), Parts>,
    /// Directories to look into.
    waiting: Vec<Parts>,
    bytes: u64,
    entries: u64,
    left_out: u64,
}

/// Copies everything in `from`, but not what is in `without`.
pub(crate) fn copy(
    from: &Path,
    without: &Path,
    tree: &mut Tree,
    limits: &ArchiveLimits,
    progress: &dyn Progress,
) -> Result<Applied, ImageError> {
    if from == without {
        let why = "the images of the region lie there".to_owned();
        return Err(ImageError::NoImage { origin: shown_path(from), why });
    }
    let about = fs::metadata(from).map_err(ImageError::io("read", from))?;
    progress.begin(&format!("copying {}", from.display()), None);
    let mut copying = Copying {
        from,
        without,
        device: about.dev(),
        tree,
        limits,
        progress,
        names: BTreeMap::new(),
        waiting: vec![Vec::new()],
        bytes: 0,
        entries: 0,
        left_out: 0,
    };
    while let Some(directory) = copying.waiting.pop() {
        copying.directory(&directory)?;
    }
    Ok(Applied { digest: None, left_out: copying.left_out })
}

impl Copying<'_> {
    fn directory(&mut self, name: &Parts) -> Result<(), ImageError> {
        let path = self.path(name);
        for entry in fs::read_dir(&path).map_err(ImageError::io("list", &path))? {
            let entry = entry.map_err(ImageError::io("list", &path))?;
            let about = entry.metadata().map_err(ImageError::io("look at", entry.path()))?;
            if entry.path() == self.without || about.dev() != self.device && about.is_dir() {
                continue;
            }
            let mut inside = name.clone();
            inside.push(entry.file_name().into_vec());
            self.entry(inside, &about)?;
        }
        Ok(())
    }

    fn entry(&mut self, name: Parts, about: &Metadata) -> Result<(), ImageError> {
        let path = self.path(&name);
        let mode = about.mode();
        let has_names = about.nlink() > 1 && !about.is_dir();
        let number = (about.dev(), about.ino());
        if let Some(first) = self.names.get(&number).filter(|_| has_names) {
            let linked = self.tree.hard_link(&name, first);
            return linked.map_err(|error| cannot(error.of(shown_path(&path))));
        }
        self.count(if about.is_file() { about.len() } else { 0 })?;
        let written = if about.is_dir() {
            self.waiting.push(name.clone());
            self.tree.directory(&name, mode)
        } else if about.is_symlink() {
            let to = fs::read_link(&path).map_err(ImageError::io("read", &path))?;
            self.tree.symlink(&name, to.as_os_str().as_bytes())
        } else if about.is_file() {
            let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits());
            let nofollow = nofollow.expect("flags of open are small");
            let opened = File::options().read(true).custom_flags(nofollow).open(&path);
            let mut content = opened.map_err(ImageError::io("read", &path))?;
            let modified = u64::try_from(about.mtime()).unwrap_or(0);
            self.tree.file(&name, mode, modified, about.len(), &mut content)
        } else {
            self.left_out += 1;
            return Ok(());
        };
        written.map_err(|error| cannot(error.of(shown_path(&path))))?;
        if has_names {
            self.names.insert(number, name);
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.entries += 1;
        self.bytes += bytes;
        self.progress.advance(bytes);
        if self.entries > self.limits.entries_max {
            return Err(ImageError::TooMuch { max: self.limits.entries_max, what: "files" });
        }
        if self.bytes > self.limits.bytes_max {
            return Err(ImageError::TooMuch { max: self.limits.bytes_max, what: "bytes" });
        }
        Ok(())
    }

    fn path(&self, name: &Parts) -> PathBuf {
        let mut path = self.from.to_owned();
        path.extend(name.iter().map(|part| OsStr::from_bytes(part)));
        path
    }
}

fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}

fn cannot(source: ArchiveError) -> ImageError {
    ImageError::Archive { what: "the directory".to_owned(), source }
}
