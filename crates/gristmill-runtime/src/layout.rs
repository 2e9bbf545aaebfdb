//! Where what a program writes lies on this machine, while it runs and after.
//!
//! A sandbox is put together from layers; each that can be written is a directory below its
//! scratch directory, named here and nowhere else. [`Layout::locate`] answers which of them holds
//! a path of the sandbox. It goes by the names alone: links inside the sandbox are the program's
//! to make, so whoever follows the rest of a path must not follow them out.

use crate::{
    host::{Layer, Piece},
    spec::{MountKind, Root, SandboxSpec},
};
use std::path::{Path, PathBuf};

/// How this node puts sandboxes together.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) layer: Layer,
}

/// A place on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// A directory that the agent or this node made. Its own path holds no link of a program.
    pub directory: PathBuf,
    /// The way from there, which the program may have filled with links.
    pub rest: PathBuf,
}

/// Never on disk: made fresh in every sandbox.
const FRESH: [&str; 3] = ["/dev", "/proc", "/sys"];

impl Layout {
    /// Where what the sandbox has at this absolute path lies, as far as it was written there.
    /// `None`: it cannot be seen from outside or cannot be written inside.
    pub fn locate(&self, sandbox: &SandboxSpec, path: &str) -> Option<Located> {
        let path = Path::new(path);
        let inside = |directory: PathBuf, top: &Path| {
            let rest = path.strip_prefix(top).ok()?.to_owned();
            Some(Located { directory, rest })
        };
        // What was mounted last covers what was there before.
        for (number, mount) in sandbox.mounts.iter().enumerate().rev() {
            let target = Path::new(&mount.target);
            if path.starts_with(target) {
                return match &mount.kind {
                    MountKind::Bind { source, .. } | MountKind::Shared { source } => {
                        inside(source.clone(), target)
                    }
                    MountKind::Overlay { .. } => {
                        inside(self.layer(sandbox, &upper(&mount_name(number)))?, target)
                    }
                    MountKind::Tmpfs { .. } => None,
                };
            }
        }
        if FRESH.iter().any(|fresh| path.starts_with(fresh)) {
            return None;
        }
        if sandbox.root == Root::Host {
            if let Some((number, top)) = covering(&sandbox.masked, path) {
                let directory = self.layer(sandbox, &mask_name(number))?;
                // A masked path that the host does not have hides nothing.
                if directory.exists() {
                    return inside(directory, top);
                }
            }
            let paths: Vec<&Path> = self.pieces.iter().map(Piece::path).collect();
            if let Some((number, top)) = covering(&paths, path) {
                return match &self.pieces[number] {
                    Piece::Overlay(_) => {
                        inside(self.layer(sandbox, &upper(&piece_name(number)))?, top)
                    }
                    Piece::Private(_) => inside(self.layer(sandbox, &piece_name(number))?, top),
                    Piece::ReadOnly(_) => None,
                };
            }
        }
        inside(self.layer(sandbox, &upper(ROOT_NAME))?, Path::new("/"))
    }

    fn layer(&self, sandbox: &SandboxSpec, name: &str) -> Option<PathBuf> {
        is_usable(self.layer, &sandbox.scratch).then(|| sandbox.scratch.join(name))
    }
}

/// Whether the layers of a sandbox can lie in its scratch directory. If not, they lie in memory
/// that nobody else sees.
pub(crate) fn is_usable(layer: Layer, scratch: &Path) -> bool {
    match layer {
        Layer::Disk => true,
        Layer::Memory => {
            rustix::fs::statfs(scratch).is_ok_and(|about| about.f_type == libc::TMPFS_MAGIC)
        }
    }
}

/// The last of these that `path` lies in.
fn covering<'p>(tops: &'p [impl AsRef<Path>], path: &Path) -> Option<(usize, &'p Path)> {
    let tops = tops.iter().map(AsRef::as_ref).enumerate();
    tops.rev().find(|(_, top)| path.starts_with(top))
}

/// The overlay that is the root.
pub(crate) const ROOT_NAME: &str = "root";

pub(crate) fn piece_name(number: usize) -> String {
    format!("piece{number}")
}

pub(crate) fn mask_name(number: usize) -> String {
    format!("mask{number}")
}

pub(crate) fn mount_name(number: usize) -> String {
    format!("mount{number}")
}

/// What is written into an overlay.
pub(crate) fn upper(name: &str) -> String {
    format!("{name}.upper")
}

/// Where an overlay prepares what is written.
pub(crate) fn work(name: &str) -> String {
    format!("{name}.work")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Limits, SandboxMount};

    fn mount(target: &str, kind: MountKind) -> SandboxMount {
        SandboxMount { target: target.into(), kind }
    }

    fn sandbox(scratch: &Path) -> SandboxSpec {
        let bind = |source: &str| MountKind::Bind { source: source.into(), read_only: false };
        SandboxSpec {
            id: "run".into(),
            root: Root::Host,
            scratch: scratch.into(),
            base: None,
            mounts: vec![
                mount("/in", MountKind::Overlay { lower: "/lower".into() }),
                mount("/in/out", bind("/outputs/0")),
                mount("/covered/deep", bind("/never")),
                mount("/covered", bind("/cover")),
                mount("/memory", MountKind::Tmpfs { size: 1 }),
            ],
            masked: vec!["/home/me".into(), "/not/there".into()],
            host_name: "h".into(),
            limits: Limits::default(),
            lineage: None,
        }
    }

    #[test]
    fn every_path_is_found_in_the_layer_that_holds_it() {
        let scratch = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(scratch.path().join("mask0")).expect("made");
        let sandbox = sandbox(scratch.path());
        let pieces = vec![
            Piece::Overlay("/home".into()),
            Piece::ReadOnly("/mnt".into()),
            Piece::Overlay("/var".into()),
            Piece::Private("/var/tmp".into()),
        ];
        let layout = Layout { pieces, layer: Layer::Disk };
        let found = |path: &str| {
            layout.locate(&sandbox, path).map(|located| {
                let top = located.directory.strip_prefix(scratch.path());
                let top = top.unwrap_or(&located.directory).display().to_string();
                (top, located.rest.display().to_string())
            })
        };
        let table = [
            ("/x/y", Some(("root.upper", "x/y"))),
            ("/in/a", Some(("mount0.upper", "a"))),
            ("/in", Some(("mount0.upper", ""))),
            ("/inside", Some(("root.upper", "inside"))),
            ("/in/out/a", Some(("/outputs/0", "a"))),
            ("/covered/deep/a", Some(("/cover", "deep/a"))),
            ("/memory/a", None),
            ("/home/me/a", Some(("mask0", "a"))),
            ("/home/you/a", Some(("piece0.upper", "you/a"))),
            ("/not/there/a", Some(("root.upper", "not/there/a"))),
            ("/mnt/a", None),
            ("/var/log/a", Some(("piece2.upper", "log/a"))),
            ("/var/tmp/a", Some(("piece3", "a"))),
            ("/dev/shm/a", None),
        ];
        for (path, expected) in table {
            let expected = expected.map(|(top, rest)| (top.to_owned(), rest.to_owned()));
            assert_eq!(found(path), expected, "{path}");
        }
        let in_memory = Layout { layer: Layer::Memory, ..layout };
        assert_eq!(in_memory.locate(&sandbox, "/x"), None);
        assert!(in_memory.locate(&sandbox, "/in/out/a").is_some());
    }
}
