//! Removes what programs left, however they left it: nested without end, without a right to change it,
//! or while somebody still writes into it.
//!
//! The way of the standard library goes one call deeper, and opens one more directory, with each level;
//! a program can make more levels than any process can open. Here what lies deeper than [`DEPTH_MAX`]
//! moves to the top and has its turn there.
//!
//! Invariants
//! - Names are looked up in open directories, and no link is followed.
//! - Stack and descriptors are bounded, whatever the tree.
//!
//! Start at [`remove_tree`].

use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, fchmod, fstat, openat, renameat, unlinkat},
    io::Errno,
};
use std::{ffi::CStr, fs, io, path::Path};

/// Levels below the top that are looked into where they are.
const DEPTH_MAX: usize = 32;

/// How often it is begun again because somebody put something there meanwhile.
const TRIES: usize = 100;

/// What a directory lets its owner do, so that it can be emptied.
const OPEN: u32 = 0o700;

/// Removes a directory and everything in it. One that is not there is no error.
pub fn remove_tree(top: &Path) -> io::Result<()> {
    for _ in 1..TRIES {
        match remove_once(top) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            outcome => return outcome,
        }
    }
    remove_once(top)
}

fn remove_once(path: &Path) -> io::Result<()> {
    let top = match open_to_change(CWD, path) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut emptying = Emptying { top, moved: 0 };
    loop {
        let moved = emptying.moved;
        emptying.empty(emptying.top.try_clone()?, 0)?;
        if emptying.moved == moved {
            return fs::remove_dir(path);
        }
    }
}

struct Emptying {
    top: OwnedFd,
    /// How many directories were moved there.
    moved: u64,
}

impl Emptying {
    fn empty(&mut self, directory: OwnedFd, depth: usize) -> io::Result<()> {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match unlinkat(&directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => self.inner(directory.as_fd(), name, depth + 1)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn inner(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<()> {
        let directory = open_to_change(parent, name)?;
        if depth > DEPTH_MAX {
            return self.move_up(parent, name);
        }
        self.empty(directory, depth)?;
        Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }

    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        loop {
            self.moved += 1;
            match renameat(parent, name, &self.top, format!("moved-{}", self.moved)) {
                // Somebody gave something this name.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }
}

/// Opens a directory, with a mode in which its owner can list and change it.
fn open_to_change(
    parent: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let place = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::from_raw_mode(OPEN))?;
            openat(parent, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    if fstat(&opened)?.st_mode & OPEN != OPEN {
        fchmod(&opened, Mode::from_raw_mode(OPEN))?;
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::fs::{PermissionsExt, symlink},
        path::PathBuf,
        thread,
        time::Duration,
    };

    fn scene() -> (tempfile::TempDir, PathBuf) {
        // In memory, where that is to be had: many directories take a disk its time.
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let place = place.expect("a directory");
        let tree = place.path().join("tree");
        fs::create_dir(&tree).expect("made");
        (place, tree)
    }

    /// Makes directories inside each other.
    fn nest(top: &Path, levels: usize) {
        let mut at = open_to_change(CWD, top).expect("it is there");
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, c"d", Mode::from_raw_mode(0o700)).expect("made");
            at = open_to_change(at.as_fd(), c"d").expect("just made");
        }
        rustix::fs::openat(&at, c"file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU)
            .expect("made");
    }

    #[test]
    fn a_tree_with_more_levels_than_a_process_can_open_is_removed() {
        let (place, tree) = scene();
        fs::write(tree.join("moved-1"), "in the way").expect("written");
        fs::create_dir_all(tree.join("moved-2/full")).expect("made");
        nest(&tree, 15_000);
        remove_tree(&tree).expect("removed");
        assert_eq!(fs::read_dir(place.path()).expect("there").count(), 0);
        remove_tree(&tree).expect("nothing is there");
    }

    #[test]
    fn links_and_modes_do_not_matter() {
        let (place, tree) = scene();
        fs::create_dir(place.path().join("precious")).expect("made");
        fs::write(place.path().join("precious/file"), "x").expect("written");
        symlink("../precious", tree.join("link")).expect("made");
        for mode in [0o000, 0o500, 0o300] {
            let closed = tree.join(format!("{mode:o}"));
            fs::create_dir_all(closed.join("below")).expect("made");
            symlink("/", closed.join("link")).expect("made");
            fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).expect("set");
        }
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists() && place.path().join("precious/file").exists());
    }

    #[test]
    fn who_still_writes_there_is_outrun() {
        let (_place, tree) = scene();
        let busy = open_to_change(CWD, &tree).expect("it is there");
        let writer = thread::spawn(move || {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            let make = |n: u32| openat(&busy, format!("{n}"), flags, Mode::RWXU);
            let pause = |_: &_| thread::sleep(Duration::from_millis(1));
            (0..).map(make).take_while(Result::is_ok).inspect(pause).count()
        });
        while fs::read_dir(&tree).is_ok_and(|found| found.count() < 10) {
            thread::yield_now();
        }
        remove_tree(&tree).expect("removed");
        assert!(writer.join().expect("no panic") >= 10);
        assert!(!tree.exists());
    }
}
