//! Writes below one open directory and nowhere else.
//!
//! Each parent is opened with `openat2` beneath the top and without following any link, the last
//! name is then used relative to that descriptor. A link that the archive brought can therefore
//! never carry a later entry out, nor can one that is put there meanwhile.
//!
//! The tree of an image is filled by layers that rely on links of those before (`lib` is `usr/lib`),
//! and each may replace anything. There links on the way are followed as if the top were the root of
//! the file system, which cannot lead out either.

use super::archive::ArchiveError;
use crate::spec::Identity;
use gristmill_files::open_inside;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT,
        Uid, chownat, fchmod, fchown, futimens, linkat, mkdirat, open, openat, renameat, statat,
        symlinkat, unlinkat,
    },
    io::Errno,
};
use std::{
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Whose fault it is that an entry was not written.
#[derive(Debug)]
pub enum Error {
    /// The archive asks for something that is not done.
    Refused(&'static str),
    /// The archive cannot be read.
    Read(io::Error),
    /// The disk or the system.
    Write(io::Error),
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP => Self::Refused("a path that leads through a symbolic link"),
            Errno::NOTDIR => Self::Refused("a path that leads through a file"),
            Errno::NAMETOOLONG => Self::Refused("a name that is too long"),
            error => Self::Write(error.into()),
        }
    }
}

impl Error {
    /// The same, said of this entry.
    pub fn of(self, name: String) -> ArchiveError {
        match self {
            Self::Refused(why) => ArchiveError::Refused { name, why },
            Self::Read(source) => ArchiveError::Damaged(source),
            Self::Write(source) => ArchiveError::Write { name, source },
        }
    }
}

type Done = Result<(), Error>;

/// The directory that is filled.
pub struct Tree {
    top: OwnedFd,
    manner: Manner,
    owner: Identity,
    /// Set when the owner is the caller: then nothing needs to be given away.
    own: bool,
    buffer: Vec<u8>,
}

/// Whose tree it is.
enum Manner {
    /// One archive's: no link is followed, no directory replaced.
    Package,
    /// That of the layers of an image. `spare` is an empty directory on the same disk, where
    /// directories are taken apart that a layer removes.
    Image { spare: OwnedFd },
}

const BUFFER_BYTES: usize = 128 << 10;
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Tree {
    /// The tree of a job's package.
    pub fn of_package(top: &Path, owner: Identity) -> io::Result<Self> {
        Self::open(top, owner, Manner::Package)
    }

    /// The tree of an image; `spare` is an empty directory on the same disk.
    pub fn of_image(top: &Path, owner: Identity, spare: &Path) -> io::Result<Self> {
        let spare = open(spare, PLACE, Mode::empty())?;
        Self::open(top, owner, Manner::Image { spare })
    }

    fn open(top: &Path, owner: Identity, manner: Manner) -> io::Result<Self> {
        let top = open(top, PLACE, Mode::empty())?;
        let own = rustix::process::geteuid().as_raw() == owner.uid
            && rustix::process::getegid().as_raw() == owner.gid;
        Ok(Self { top, manner, owner, own, buffer: vec![0; BUFFER_BYTES] })
    }

    /// A directory; one that is there gets the mode.
    pub fn directory(&self, name: &[Vec<u8>], mode: u32) -> Done {
        let (parent, last) = self.parent(name)?;
        if !is_directory(parent.as_fd(), last)? {
            self.make_room(parent.as_fd(), last)?;
            mkdirat(&parent, last, Mode::from_raw_mode(0o700))?;
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&parent, last, flags, Mode::empty())?;
        self.finish(made.as_fd(), mode & self.bits_kept() | 0o700)
    }

    /// A file with the `size` bytes of `content`; it replaces a file or link of that name.
    pub fn file(
        &mut self,
        name: &[Vec<u8>],
        mode: u32,
        modified: u64,
        size: u64,
        content: &mut dyn Read,
    ) -> Done {
        let (parent, last) = self.parent(name)?;
        self.make_room(parent.as_fd(), last)?;
        let mut file = File::from(openat(&parent, last, NEW, Mode::from_raw_mode(0o600))?);
        self.copy(content, &mut file, size)?;
        self.finish(file.as_fd(), mode & 0o777 | 0o600)?;
        let seconds = i64::try_from(modified).unwrap_or(0);
        futimens(
            &file,
            &Timestamps {
                last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
            },
        )?;
        Ok(())
    }

    /// A symbolic link, kept as it is and never followed here.
    pub fn symlink(&self, name: &[Vec<u8>], to: &[u8]) -> Done {
        if to.is_empty() || to.contains(&0) {
            return Err(Error::Refused("a link to nothing"));
        }
        let (parent, last) = self.parent(name)?;
        self.make_room(parent.as_fd(), last)?;
        symlinkat(OsStr::from_bytes(to), &parent, last)?;
        if !self.own {
            let (uid, gid) = self.ids();
            chownat(&parent, last, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// A second name for a file that this archive brought.
    pub fn hard_link(&self, name: &[Vec<u8>], to: &[Vec<u8>]) -> Done {
        const NO_FILE: Error = Error::Refused("a hard link to no file of the archive");
        if to.is_empty() {
            return Err(NO_FILE);
        }
        let (from, from_last) = self.existing_parent(to)?.ok_or(NO_FILE)?;
        let first = match statat(&from, from_last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) if self.may_have_two_names(FileType::from_raw_mode(about.st_mode)) => about,
            Ok(_) | Err(Errno::NOENT) => return Err(NO_FILE),
            Err(error) => return Err(error.into()),
        };
        let (parent, last) = self.parent(name)?;
        let there = statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|it| (it.st_dev, it.st_ino) == (first.st_dev, first.st_ino)) {
            return Ok(()); // a directory on the way may have two names as well
        }
        self.make_room(parent.as_fd(), last)?;
        Ok(linkat(&from, from_last, &parent, last, AtFlags::empty())?)
    }

    /// Removes what a layer before brought under this name; nothing there is no error.
    pub fn remove(&self, name: &[Vec<u8>]) -> Done {
        match self.existing_parent(name)? {
            Some((parent, last)) => self.make_room(parent.as_fd(), last),
            None => Ok(()),
        }
    }

    /// Removes everything in a directory that a layer before brought. No parts: in the whole tree.
    pub fn empty(&self, name: &[Vec<u8>]) -> Done {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match name {
            [] => openat(&self.top, c".", flags, Mode::empty())?,
            name => {
                let Some((parent, last)) = self.existing_parent(name)? else { return Ok(()) };
                match openat(&parent, last, flags | OFlags::NOFOLLOW, Mode::empty()) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                    opened => opened?,
                }
            }
        };
        for name in names_in(directory.as_fd()).map_err(Error::Write)? {
            self.make_room(directory.as_fd(), OsStr::from_bytes(name.as_bytes()))?;
        }
        Ok(())
    }

    /// Removes what is there under this name.
    fn make_room(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Done {
        match (unlinkat(parent, name, AtFlags::empty()), &self.manner) {
            (Ok(()) | Err(Errno::NOENT), _) => Ok(()),
            (Err(Errno::ISDIR), Manner::Image { spare }) => {
                remove_at_once(parent, name, spare.as_fd()).map_err(Error::Write)
            }
            (Err(Errno::ISDIR), Manner::Package) => {
                Err(Error::Refused("a file where a directory is"))
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Links of links are ordinary in images: archivers note any second name so.
    fn may_have_two_names(&self, kind: FileType) -> bool {
        kind.is_file() || kind.is_symlink() && matches!(self.manner, Manner::Image { .. })
    }

    /// Permissions, and what keeps users of an image's `/tmp` apart. Never set-user-id.
    fn bits_kept(&self) -> u32 {
        match self.manner {
            Manner::Package => 0o777,
            Manner::Image { .. } => 0o1777,
        }
    }

    /// The directory that `name` lies in, made if it is missing, and the last part of `name`.
    fn parent<'n>(&self, name: &'n [Vec<u8>]) -> Result<(OwnedFd, &'n OsStr), Error> {
        if let Some(found) = self.existing_parent(name)? {
            return Ok(found);
        }
        for length in 1..name.len() {
            if self.existing_parent(&name[..=length])?.is_none() {
                self.directory(&name[..length], 0o755)?;
            }
        }
        self.existing_parent(name)?.ok_or(Error::Write(io::ErrorKind::NotFound.into()))
    }

    fn existing_parent<'n>(
        &self,
        name: &'n [Vec<u8>],
    ) -> Result<Option<(OwnedFd, &'n OsStr)>, Error> {
        let Some((last, parts)) = name.split_last() else {
            return Err(Error::Refused("an entry without a name"));
        };
        let path: PathBuf = match parts {
            [] => ".".into(),
            parts => parts.iter().map(|p| OsStr::from_bytes(p)).collect(),
        };
        let rules = match self.manner {
            Manner::Package => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Manner::Image { .. } => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        };
        match open_inside(&self.top, &path, PLACE, rules) {
            Ok(parent) => Ok(Some((parent, OsStr::from_bytes(last)))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn copy(&mut self, from: &mut dyn Read, to: &mut File, size: u64) -> Done {
        let mut left = size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = match from.read(&mut self.buffer[..want]) {
                Ok(0) => return Err(Error::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            };
            to.write_all(&self.buffer[..got]).map_err(Error::Write)?;
            left -= got as u64;
        }
        Ok(())
    }

    fn finish(&self, made: BorrowedFd<'_>, mode: u32) -> Done {
        if !self.own {
            let (uid, gid) = self.ids();
            fchown(made, Some(uid), Some(gid))?;
        }
        Ok(fchmod(made, Mode::from_raw_mode(mode))?)
    }

    fn ids(&self) -> (Uid, Gid) {
        (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid))
    }
}

fn is_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Error> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about) => Ok(FileType::from_raw_mode(about.st_mode).is_dir()),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes the directory `name` with everything in it, and what an earlier call that was cut short
/// left in `spare`. Nobody finds it half removed: its name is gone first. However deep it is, three descriptors are enough: each directory moves to the top
/// of `spare` before it is looked into.
pub fn remove_at_once(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    spare: BorrowedFd<'_>,
) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut waiting: Vec<String> = Vec::new();
    for left in names_in(openat(spare, c".", flags, Mode::empty())?.as_fd())? {
        waiting.push(left.to_string_lossy().into_owned());
    }
    let mut last = waiting.iter().filter_map(|name| name.parse().ok()).max().unwrap_or(0_u64);
    let mut next = || {
        last += 1;
        last.to_string()
    };
    let first = next();
    renameat(parent, name, spare, &first)?;
    waiting.push(first);
    while let Some(this) = waiting.pop() {
        let directory = openat(spare, &this, flags, Mode::empty())?;
        // Whoever made it may have left no permission to change it.
        fchmod(&directory, Mode::from_raw_mode(0o700))?;
        for name in names_in(directory.as_fd())? {
            match unlinkat(&directory, &name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    let inside = next();
                    renameat(&directory, &name, spare, &inside)?;
                    waiting.push(inside);
                }
                done => done?,
            }
        }
        unlinkat(spare, &this, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// What a directory holds.
fn names_in(directory: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if ![c".", c".."].contains(&name.as_c_str()) {
            names.push(name);
        }
    }
    Ok(names)
}
