//! The digest of a whole tree: names, kinds, permissions, contents and links, in the order of names.
//!
//! It is computed when an image is complete and again when somebody wants to know whether the image is
//! still what it was. Times and owners are not part of it: nothing that runs depends on them.

use crate::{digest::Digest, error::ImageError, progress::Progress};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Dir, FileType, Mode, OFlags, open, openat, readlinkat, statat},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Directories inside each other.
const DEPTH_MAX: usize = 256;
const BUFFER_BYTES: usize = 128 << 10;

/// What a tree is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Seal {
    /// `sha256:…` of everything in it.
    pub tree: String,
    /// Files, directories and links.
    pub files: u64,
    /// Bytes of all files; one with several names counts for each.
    pub bytes: u64,
}

struct Sealing<'p> {
    state: Sha256,
    files: u64,
    bytes: u64,
    path: PathBuf,
    progress: &'p dyn Progress,
}

impl Seal {
    /// Looks at everything below `top`.
    pub(crate) fn of(top: &Path, progress: &dyn Progress) -> Result<Self, ImageError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open(top, flags, Mode::empty()).map_err(io::Error::from);
        let opened = opened.map_err(ImageError::io("read", top))?;
        let path = top.to_owned();
        let mut sealing = Sealing { state: Sha256::new(), files: 0, bytes: 0, path, progress };
        sealing.directory(opened, 0)?;
        let Sealing { state, files, bytes, .. } = sealing;
        Ok(Self { tree: Digest::finish(state).to_string(), files, bytes })
    }
}

impl Sealing<'_> {
    fn directory(&mut self, directory: OwnedFd, depth: usize) -> Result<(), ImageError> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("directories lie in each other too deeply"));
        }
        let mut names = self.names(&directory)?;
        names.sort_unstable();
        for name in names {
            self.path.push(name.to_string_lossy().as_ref());
            self.entry(&directory, &name, depth)?;
            self.path.pop();
        }
        self.state.update(b"/");
        Ok(())
    }

    fn names(&self, directory: &OwnedFd) -> Result<Vec<CString>, ImageError> {
        let mut names = Vec::new();
        let list = Dir::read_from(directory).map_err(|error| self.failed(error))?;
        for entry in list {
            let entry = entry.map_err(|error| self.failed(error))?;
            if ![c".", c".."].contains(&entry.file_name()) {
                names.push(entry.file_name().to_owned());
            }
        }
        Ok(names)
    }

    fn entry(&mut self, parent: &OwnedFd, name: &CString, depth: usize) -> Result<(), ImageError> {
        let about = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let about = about.map_err(|error| self.failed(error))?;
        let kind = FileType::from_raw_mode(about.st_mode);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.files += 1;
        self.part(name.as_bytes());
        self.state.update(about.st_mode.to_le_bytes());
        if kind.is_dir() {
            let inside = openat(parent, name, flags | OFlags::DIRECTORY, Mode::empty());
            let inside = inside.map_err(|error| self.failed(error))?;
            self.directory(inside, depth + 1)
        } else if kind.is_symlink() {
            let to = readlinkat(parent, name, Vec::new()).map_err(|error| self.failed(error))?;
            self.part(to.as_bytes());
            Ok(())
        } else if kind.is_file() {
            let file = openat(parent, name, flags, Mode::empty());
            let file = file.map_err(|error| self.failed(error))?;
            self.content(File::from(file), about.st_size.unsigned_abs())
        } else {
            Err(self.wrong("neither a file nor a directory nor a link"))
        }
    }

    fn content(&mut self, mut file: File, size: u64) -> Result<(), ImageError> {
        self.state.update(size.to_le_bytes());
        self.bytes += size;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let got = file.read(&mut buffer).map_err(ImageError::io("read", &self.path))?;
            if got == 0 {
                return Ok(());
            }
            self.state.update(&buffer[..got]);
            self.progress.advance(got as u64);
        }
    }

    /// Length first, so that no two lists of parts are the same bytes.
    fn part(&mut self, bytes: &[u8]) {
        self.state.update((bytes.len() as u64).to_le_bytes());
        self.state.update(bytes);
    }

    fn failed(&self, error: Errno) -> ImageError {
        ImageError::io("read", &self.path)(error.into())
    }

    fn wrong(&self, why: &str) -> ImageError {
        ImageError::malformed(self.path.display().to_string(), why)
    }
}
