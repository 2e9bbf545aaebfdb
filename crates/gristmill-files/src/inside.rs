//! Opens files inside a tree that others change meanwhile.
//!
//! `openat2` keeps a path with `..` in it inside its tree by looking whether anything on the whole
//! machine was renamed or mounted meanwhile. If so it does not know, and says `EAGAIN`: see the
//! errors of openat2(2). That says nothing about the path, so it is asked again.

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};
use std::path::Path;

/// How often a path is asked for. The kernel is unsure once in thousands of times on a busy
/// machine; a program that renames without end must not hold up whoever asks.
const TRIES: usize = 1000;

/// Opens what `path` names below `top`, under the rules of openat2(2), and with close-on-exec.
///
/// # Errors
/// What openat2(2) says; [`Errno::AGAIN`] only if it was unsure every time.
pub fn open_inside(
    top: impl AsFd,
    path: &Path,
    flags: OFlags,
    rules: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let top = top.as_fd();
    until_sure(|| openat2(top, path, flags | OFlags::CLOEXEC, Mode::empty(), rules))
}

fn until_sure<T>(mut ask: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..TRIES {
        match ask() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            outcome => return outcome,
        }
    }
    ask()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs, io, panic,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    #[test]
    fn an_unsure_answer_is_asked_for_again_but_not_for_ever() {
        let mut answers = [Err(Errno::AGAIN), Err(Errno::INTR), Ok(7)].into_iter();
        assert_eq!(until_sure(|| answers.next().expect("asked three times")), Ok(7));

        assert_eq!(until_sure(|| Err::<(), _>(Errno::NOENT)), Err(Errno::NOENT));

        let mut asked = 0;
        let unsure = until_sure(|| {
            asked += 1;
            Err::<(), _>(Errno::AGAIN)
        });
        assert_eq!((unsure, asked), (Err(Errno::AGAIN), TRIES));
    }

    /// A path with `..` is found while others rename files elsewhere. One plain `openat2` of some
    /// hundred fails in this test.
    #[test]
    fn renames_elsewhere_do_not_hide_a_file() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        fs::create_dir_all(place.path().join("tree/a/b"))?;
        fs::write(place.path().join("tree/file"), "")?;
        let tree = fs::File::open(place.path().join("tree"))?;
        let path = Path::new("a/b/../../a/../file");
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let names = ["one", "two"].map(|name| place.path().join(name));
                fs::write(&names[0], "").expect("a file");
                while !over.load(Ordering::Relaxed) {
                    fs::rename(&names[0], &names[1]).expect("renamed");
                    fs::rename(&names[1], &names[0]).expect("and back");
                }
            });
            let found = panic::catch_unwind(|| {
                for _ in 0..20_000 {
                    open_inside(&tree, path, OFlags::PATH, ResolveFlags::IN_ROOT).expect("found");
                }
            });
            over.store(true, Ordering::Relaxed);
            found.unwrap_or_else(|why| panic::resume_unwind(why));
        });
        Ok(())
    }
}
