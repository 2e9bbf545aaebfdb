//! Finding the files of a directory that a program we do not trust has left behind.
//!
//! The tree may be a trap: links to files of the host, endless links, pipes that block whoever
//! opens them. Everything is opened below the root's descriptor, with the kernel refusing to
//! leave it, and checked after opening (`reference/mounts.md` 10).
//!
//! Invariants
//! - Nothing outside the root is ever opened, whatever is renamed meanwhile.
//! - Opening never blocks; only regular files are handed out.
//! - Memory grows with the directories waiting to be read, not with the files.
//! - Two files never get one key.
//!
//! Start at [`walk`].

use crate::{
    names::{KeyComponent, Locale, Origin},
    tree::KEY_BYTES_MAX,
};
use gristmill_files::open_inside;
use rustix::{
    fs::{AtFlags, Dir, FileType, OFlags, ResolveFlags, Stat, fstat, readlinkat, statat},
    io::Errno,
};
use std::{
    collections::HashSet,
    ffi::{CStr, OsStr},
    io,
    ops::ControlFlow,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// The most entries reached through links to directories. A tree of links can be made to look
/// endless with a handful of files.
const LINKED_ENTRIES_MAX: u64 = 1_000_000;

/// Something in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A regular file to upload.
    File {
        /// Where to open it, below the root.
        path: PathBuf,
        /// Its key below the destination.
        key: String,
        /// Bytes, when it was seen.
        size: u64,
    },
    /// A directory without entries.
    EmptyDirectory {
        /// Its key, with the slash at the end.
        key: String,
    },
    /// Something that is not uploaded.
    Skipped {
        /// What.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file that is uploaded under another name than it has.
    Renamed {
        /// What.
        path: PathBuf,
        /// Its key.
        key: String,
    },
}

/// Opens something below `root`; links may not lead out of it.
pub fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    // Neither a pipe nor a terminal may hold us up; a mere look takes no such flags.
    let calm = OFlags::NONBLOCK | OFlags::NOCTTY;
    let calm = if flags.contains(OFlags::PATH) { OFlags::empty() } else { calm };
    let rules = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(open_inside(root, path, flags | calm, rules)?)
}

/// Walks a tree and hands every item to `sink` until it breaks. `seen_as` is the absolute path the
/// program knew the root by; absolute links below it count as links inside the tree.
pub fn walk(
    root: BorrowedFd<'_>,
    seen_as: Option<&Path>,
    locale: Locale,
    sink: &mut dyn FnMut(Item) -> ControlFlow<()>,
) {
    let mut walker = Walker { root, seen_as, locale, sink, linked_entries: 0, todo: vec![] };
    walker.todo.push(Pending::default());
    while let Some(next) = walker.todo.pop() {
        if walker.directory(next).is_break() {
            return;
        }
    }
}

/// A directory to read.
#[derive(Default)]
struct Pending {
    path: PathBuf,
    key: String,
    /// Whether a link led here or above.
    linked: bool,
    above: Option<Arc<Ancestor>>,
}

/// A directory on the way from the root, to notice circles.
struct Ancestor {
    id: (u64, u64),
    above: Option<Arc<Ancestor>>,
}

impl Pending {
    fn is_below(&self, id: (u64, u64)) -> bool {
        let mut at = self.above.as_ref();
        while let Some(ancestor) = at {
            if ancestor.id == id {
                return true;
            }
            at = ancestor.above.as_ref();
        }
        false
    }
}

struct Walker<'a> {
    root: BorrowedFd<'a>,
    seen_as: Option<&'a Path>,
    locale: Locale,
    sink: &'a mut dyn FnMut(Item) -> ControlFlow<()>,
    linked_entries: u64,
    todo: Vec<Pending>,
}

/// One name in a directory.
struct Named<'a> {
    name: &'a CStr,
    path: PathBuf,
    key: String,
}

impl Walker<'_> {
    fn directory(&mut self, mut at: Pending) -> ControlFlow<()> {
        match self.open_directory(&mut at) {
            Ok((opened, entries)) => self.entries(&at, &opened, entries),
            Err(error) => self.skip(at.path, error.to_string()),
        }
    }

    fn open_directory(&self, at: &mut Pending) -> io::Result<(OwnedFd, Dir)> {
        let path = if at.path.as_os_str().is_empty() { Path::new(".") } else { &at.path };
        let opened = open_beneath(self.root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let id = identity(&fstat(&opened)?);
        at.above = Some(Arc::new(Ancestor { id, above: at.above.take() }));
        let entries = Dir::read_from(&opened)?;
        Ok((opened, entries))
    }

    fn entries(&mut self, at: &Pending, opened: &OwnedFd, entries: Dir) -> ControlFlow<()> {
        let mut taken = HashSet::new();
        let mut is_empty = true;
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.skip(at.path.clone(), error.to_string()),
            };
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            is_empty = false;
            self.linked_entries += u64::from(at.linked);
            if self.linked_entries > LINKED_ENTRIES_MAX {
                return self.skip(at.path.clone(), "too many entries behind links".to_owned());
            }
            self.entry(at, opened, entry.file_name(), &mut taken)?;
        }
        if is_empty && !at.key.is_empty() {
            return (self.sink)(Item::EmptyDirectory { key: at.key.clone() });
        }
        ControlFlow::Continue(())
    }

    fn entry(
        &mut self,
        at: &Pending,
        opened: &OwnedFd,
        name: &CStr,
        taken: &mut HashSet<String>,
    ) -> ControlFlow<()> {
        let path = at.path.join(OsStr::from_bytes(name.to_bytes()));
        let (component, renamed) = free_component(self.locale, opened, name, taken);
        let key = format!("{}{component}", at.key);
        if key.len() > KEY_BYTES_MAX {
            return self.skip(path, "the name is too long for the store".to_owned());
        }
        if renamed {
            (self.sink)(Item::Renamed { path: path.clone(), key: key.clone() })?;
        }
        let named = Named { name, path, key };
        match statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.named(at, opened, named, &stat),
            Err(error) => self.skip(named.path, error.to_string()),
        }
    }

    fn named(
        &mut self,
        at: &Pending,
        opened: &OwnedFd,
        named: Named<'_>,
        stat: &Stat,
    ) -> ControlFlow<()> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => (self.sink)(Item::File {
                path: named.path,
                key: named.key,
                size: stat.st_size as u64,
            }),
            FileType::Directory => {
                self.push(at, named.path, named.key, at.linked);
                ControlFlow::Continue(())
            }
            FileType::Symlink => self.link(at, opened, named),
            // How an overlay remembers that a name of the layer below was deleted.
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                self.skip(named.path, "deleted here; an object of that name stays".to_owned())
            }
            other => self.skip(named.path, format!("not a file: {}", describe(other))),
        }
    }

    fn push(&mut self, at: &Pending, path: PathBuf, key: String, linked: bool) {
        let key = format!("{key}/");
        self.todo.push(Pending { path, key, linked, above: at.above.clone() });
    }

    fn link(&mut self, at: &Pending, opened: &OwnedFd, named: Named<'_>) -> ControlFlow<()> {
        let path = self.inside(opened, &named).unwrap_or_else(|| named.path.clone());
        let found = open_beneath(self.root, &path, OFlags::PATH);
        let stat = found.and_then(|found| Ok(fstat(&found)?));
        let stat = match stat {
            Ok(stat) => stat,
            Err(error) => return self.skip(named.path, why_not_followed(&error)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                (self.sink)(Item::File { path, key: named.key, size: stat.st_size as u64 })
            }
            FileType::Directory if at.is_below(identity(&stat)) => {
                self.skip(named.path, "the link leads to a directory above itself".to_owned())
            }
            FileType::Directory => {
                self.push(at, path, named.key, true);
                ControlFlow::Continue(())
            }
            other => self.skip(named.path, format!("the link leads to {}", describe(other))),
        }
    }

    /// Where below the root an absolute link leads, if it leads below the path the program knew
    /// the root by.
    fn inside(&self, opened: &OwnedFd, named: &Named<'_>) -> Option<PathBuf> {
        let target = readlinkat(opened, named.name, Vec::new()).ok()?;
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        let rest = target.strip_prefix(self.seen_as?).ok()?;
        Some(if rest.as_os_str().is_empty() { PathBuf::from(".") } else { rest.to_owned() })
    }

    fn skip(&mut self, path: PathBuf, why: String) -> ControlFlow<()> {
        (self.sink)(Item::Skipped { path, why })
    }
}

/// A component for `name` that no other name of the directory has, and whether it is worth a
/// warning.
fn free_component(
    locale: Locale,
    directory: &OwnedFd,
    name: &CStr,
    taken: &mut HashSet<String>,
) -> (String, bool) {
    let KeyComponent { text, origin } = locale.key_component(name.to_bytes());
    if origin == Origin::Utf8 {
        return (text, false);
    }
    let is_taken = |text: &String| {
        taken.contains(text)
            || statat(directory.as_fd(), text.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    };
    let numbered = (2_u32..).map(|number| format!("{text}~{number}"));
    let free = std::iter::once(text.clone()).chain(numbered).find(|text| !is_taken(text));
    let free = free.expect("a directory has fewer names than numbers");
    taken.insert(free.clone());
    let renamed = origin == Origin::Escaped || free != text;
    (free, renamed)
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn why_not_followed(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::XDEV) => "the link leads out of the directory".to_owned(),
        Some(Errno::NOENT) => "the link leads nowhere".to_owned(),
        Some(Errno::LOOP) => "the link leads in a circle".to_owned(),
        _ => format!("the link cannot be followed: {error}"),
    }
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}
