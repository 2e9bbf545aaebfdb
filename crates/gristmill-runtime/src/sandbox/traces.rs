//! What a program may leave behind in a sandbox, and whether it did.
//!
//! A sandbox serves another run of the same lineage only when the one before left nothing: no
//! process (pid 1 sees to that), no file, no object of interprocess communication, and nothing
//! done to pid 1 itself, which a program of the same user may slow down or bound though it cannot
//! look into it. [`Traces::begin`] notes how everything is before the first program starts;
//! [`Traces::none`] answers whether it is still so.
//!
//! Invariants
//! - Only descriptors from before the first program are used: no path is looked up again.
//! - What cannot be judged counts as a trace: then the sandbox is thrown away, as ever.
//! - Files are judged by their change time, which no program can set. Where a kernel only counts
//!   ticks (before Linux 6.13), a file that was made just before the first program is not judged
//!   at all; directories are, by what is in them.

use crate::sys;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{CWD, Mode, OFlags, RawDir, SeekFrom, Stat, fstat, openat, seek},
    io::Errno,
};
use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Files and directories that one sandbox may have from the beginning and still be judged. More,
/// and looking at them would cost more than a new sandbox.
const WATCHED_MAX: usize = 64;
/// A file younger than this may change within the same tick of the clock.
const SETTLED_AFTER: Duration = Duration::from_millis(50);

/// How everything was before the first program.
pub(super) struct Traces {
    watched: Vec<Watched>,
    init: sys::Standing,
    /// The message queues of this sandbox as files; absent where the kernel has none.
    queues: Option<OwnedFd>,
}

/// A file or directory that programs may write.
struct Watched {
    fd: OwnedFd,
    about: Stat,
    /// Whether its change time alone tells.
    by_time: bool,
    attributes_length: usize,
    /// Names in a directory, as the kernel lists them.
    names: Option<Vec<u8>>,
}

/// What to judge, gathered while the sandbox is built.
pub(super) struct Gathered {
    watched: Vec<Watched>,
    /// Why this sandbox can never be judged.
    too_much: bool,
}

impl Gathered {
    pub fn new() -> Self {
        Self { watched: Vec::new(), too_much: false }
    }

    /// Takes in a directory with everything below it, as it is now.
    pub fn tree(&mut self, top: &Path) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(CWD, top, flags, Mode::empty());
        self.all_below(opened.map_err(io::Error::from));
    }

    /// Takes in the root of a mount that is not part of another tree.
    pub fn mount(&mut self, tree: BorrowedFd<'_>) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.all_below(openat(tree, c".", flags, Mode::empty()).map_err(io::Error::from));
    }

    fn all_below(&mut self, opened: io::Result<OwnedFd>) {
        let mut open = vec![opened];
        while let Some(next) = open.pop() {
            if self.too_much || self.watched.len() >= WATCHED_MAX {
                self.too_much = true;
                return;
            }
            match next.and_then(Watched::now) {
                Ok((watched, below)) => {
                    open.extend(below);
                    self.watched.push(watched);
                }
                Err(_) => self.too_much = true,
            }
        }
    }
}

impl Traces {
    /// Notes how everything is now, as pid 1 will see it. `fine_times`: the file system on which each
    /// change that follows a look has another time. `None`: this sandbox cannot be judged.
    pub fn begin(
        gathered: Gathered,
        queues: Option<OwnedFd>,
        fine_times: Option<u64>,
    ) -> Option<Self> {
        let Gathered { mut watched, too_much } = gathered;
        for one in &mut watched {
            // Owners are counted anew since pid 1 entered its user namespace.
            one.about = fstat(&one.fd).ok()?;
            one.by_time = Some(one.about.st_dev) == fine_times;
        }
        let settled = fine_times.is_some() || watched.iter().all(Watched::is_settled);
        if too_much || !settled {
            return None;
        }
        Some(Self { watched, init: sys::Standing::of_self().ok()?, queues })
    }

    /// Whether nothing was left behind.
    pub fn none(&self) -> bool {
        self.watched.iter().all(|watched| watched.is_untouched().unwrap_or(false))
            && sys::Standing::of_self().is_ok_and(|now| now == self.init)
            && sys::no_ipc_objects()
            && self.queues.as_ref().is_none_or(|queues| {
                entries(queues.as_fd()).is_ok_and(|found| found.names.is_empty())
            })
    }
}

impl Watched {
    /// How it is now, and what is in it.
    fn now(fd: OwnedFd) -> io::Result<(Self, Vec<io::Result<OwnedFd>>)> {
        let about = fstat(&fd)?;
        let attributes_length = attributes_length(fd.as_fd())?;
        let mut below = Vec::new();
        let names = if is_directory(&about) {
            let found = entries(fd.as_fd())?;
            for (name, is_special) in found.each() {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                // Devices and links have nothing inside that a program could change.
                if !is_special {
                    below.push(openat(&fd, name, flags, Mode::empty()).map_err(io::Error::from));
                }
            }
            Some(found.names)
        } else {
            None
        };
        Ok((Self { fd, about, by_time: false, attributes_length, names }, below))
    }

    fn is_untouched(&self) -> io::Result<bool> {
        let (now, then) = (fstat(&self.fd)?, &self.about);
        let same = (now.st_mode, now.st_uid, now.st_gid, now.st_nlink, now.st_size)
            == (then.st_mode, then.st_uid, then.st_gid, then.st_nlink, then.st_size)
            && (now.st_ctime, now.st_ctime_nsec, now.st_mtime, now.st_mtime_nsec)
                == (then.st_ctime, then.st_ctime_nsec, then.st_mtime, then.st_mtime_nsec);
        if !same || self.by_time {
            return Ok(same);
        }
        Ok(attributes_length(self.fd.as_fd())? == self.attributes_length
            && match &self.names {
                Some(names) => entries(self.fd.as_fd())?.names == *names,
                None => true,
            })
    }

    fn is_settled(&self) -> bool {
        // What had nothing in it and has nothing in it now was not changed.
        if self.names.is_some() || self.about.st_size == 0 {
            return true;
        }
        let (seconds, nanos) = (self.about.st_ctime as u64, self.about.st_ctime_nsec as u32);
        let changed = UNIX_EPOCH + Duration::new(seconds, nanos);
        SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED_AFTER)
    }
}

/// Names in a directory, one after the other, each with its kind before and a zero byte behind.
struct Entries {
    names: Vec<u8>,
}

impl Entries {
    /// Each name, and whether it is neither a file nor a directory.
    fn each(&self) -> impl Iterator<Item = (&CStr, bool)> {
        self.names.split_inclusive(|byte| *byte == 0).filter_map(|entry| {
            let (kind, name) = entry.split_first()?;
            Some((CStr::from_bytes_with_nul(name).ok()?, *kind == SPECIAL))
        })
    }
}

/// Kinds of entries. Not zero: that ends a name.
const PLAIN: u8 = 1;
const SPECIAL: u8 = 2;

fn entries(directory: BorrowedFd<'_>) -> io::Result<Entries> {
    seek(directory, SeekFrom::Start(0))?;
    let mut space = [MaybeUninit::uninit(); 2048];
    let mut listed = RawDir::new(directory, &mut space);
    let mut names = Vec::new();
    while let Some(entry) = listed.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = entry.file_type();
        names.push(if kind.is_file() || kind.is_dir() { PLAIN } else { SPECIAL });
        names.extend_from_slice(name.to_bytes_with_nul());
    }
    Ok(Entries { names })
}

fn is_directory(about: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(about.st_mode).is_dir()
}

/// Length of the list of extended attributes, access lists among them. The change time tells when
/// a value changed.
fn attributes_length(fd: BorrowedFd<'_>) -> io::Result<usize> {
    // Names that do not fit are an error: what has so many cannot be judged.
    let mut names = [0_u8; 512];
    match rustix::fs::flistxattr(fd, &mut names) {
        Err(Errno::OPNOTSUPP) => Ok(0),
        length => Ok(length?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    fn gathered(top: &Path) -> Vec<Watched> {
        let mut gathered = Gathered::new();
        gathered.tree(top);
        assert!(!gathered.too_much);
        gathered.watched
    }

    #[test]
    fn whatever_is_done_to_a_tree_is_a_trace() {
        let deeds: [fn(&Path); 9] = [
            |top| fs::write(top.join("new"), "").expect("written"),
            |top| fs::write(top.join("file"), "other").expect("written"),
            |top| fs::remove_file(top.join("below/file")).expect("removed"),
            |top| fs::create_dir(top.join("below/new")).expect("made"),
            |top| symlink("/x", top.join("below/link")).expect("linked"),
            |top| fs::hard_link(top.join("file"), top.join("below/link")).expect("linked"),
            |top| {
                let mode = fs::Permissions::from_mode(0o1777);
                fs::set_permissions(top.join("below"), mode).expect("changed");
            },
            |top| {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(top, "user.note", b"x", flags).expect("attached");
            },
            |top| fs::rename(top.join("file"), top.join("elif")).expect("renamed"),
        ];
        for (number, deed) in deeds.into_iter().enumerate() {
            let top = tempfile::tempdir().expect("a directory");
            fs::create_dir(top.path().join("below")).expect("made");
            fs::write(top.path().join("file"), "words").expect("written");
            fs::write(top.path().join("below/file"), "words").expect("written");
            let watched = gathered(top.path());
            assert_eq!(watched.len(), 4);
            let untouched = || watched.iter().all(|w| w.is_untouched().unwrap_or(false));
            fs::read(top.path().join("file")).expect("read");
            assert!(untouched(), "reading is no trace");
            deed(top.path());
            assert!(!untouched(), "deed {number}");
        }
    }

    #[test]
    fn a_fresh_file_is_not_judged_and_too_many_are_not_either() {
        let top = tempfile::tempdir().expect("a directory");
        let judged = |top: &Path| {
            let mut gathered = Gathered::new();
            gathered.tree(top);
            Traces::begin(gathered, None, None).is_some()
        };
        assert!(judged(top.path()), "an empty directory");
        fs::write(top.path().join("fresh"), "words").expect("written");
        assert!(!judged(top.path()));
        fs::remove_file(top.path().join("fresh")).expect("removed");
        (0..=WATCHED_MAX)
            .for_each(|n| fs::create_dir(top.path().join(n.to_string())).expect("made"));
        assert!(!judged(top.path()));
        assert!(!judged(Path::new("/no/such/place")));
    }
}
