//! Looks at this machine and prepares, once, what all sandboxes share.
//!
//! A sandbox's root is an overlay: on top a private writable layer, below it the *skeleton*
//! (a small tree made here: mount points, private `/tmp` and friends, the first-level
//! directories owned by the sandbox's root), below that the host. An overlay does not show what
//! is mounted below its layers, and an ordinary user may not use `/` as a layer at all, so the
//! rest is put together from [`Piece`]s.
//!
//! Invariants
//! - The skeleton repeats only directories that everybody may read: its owner is the sandbox.
//! - Marked opaque, a skeleton directory hides what the host has there.

use crate::spec::Identity;
use rustix::{
    fs::{Mode, XattrFlags},
    io::Errno,
};
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

/// One part of a host root besides the base overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// This host directory below a private layer, at the same path. With the skeleton's
    /// directory of that path between them.
    Overlay(PathBuf),
    /// This host file or directory with all that is mounted in it, read-only, at the same path.
    ReadOnly(PathBuf),
    /// An empty private directory that everybody may write.
    Private(PathBuf),
}

impl Piece {
    /// Where it is, on the host and in the sandbox.
    pub fn path(&self) -> &Path {
        match self {
            Self::Overlay(path) | Self::ReadOnly(path) | Self::Private(path) => path,
        }
    }
}

/// Where the writable layers of sandboxes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// In the scratch directory.
    Disk,
    /// In memory: the scratch directory's file system cannot carry an overlay.
    Memory,
}

/// What all sandboxes of this node share.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The node's private directory.
    pub directory: PathBuf,
    /// Whether the mounts belong to the initial user namespace.
    pub privileged: bool,
    /// What the sandbox's root is outside.
    pub identity: Identity,
    /// The parts of a host root.
    pub pieces: Vec<Piece>,
    /// Where changes go.
    pub layer: Layer,
    /// Whether overlays may skip writing back what will be thrown away.
    pub volatile: bool,
    /// The file system (`st_dev`) of the node's directory, if a change there that follows another one
    /// at once has another time.
    pub fine_times: Option<u64>,
}

/// Names below the node's directory. All but the scratch directories of runs live on one small
/// memory file system, `base`: the layers of an overlay may not lie inside each other.
impl Prepared {
    /// Where the shared memory file system is mounted.
    pub fn base(&self) -> PathBuf {
        self.directory.join("base")
    }

    /// The lower layer that sits above the host.
    pub fn skeleton(&self) -> PathBuf {
        self.base().join("skeleton")
    }

    /// The lower layer that sits above an image.
    pub fn image_skeleton(&self) -> PathBuf {
        self.base().join("image-skeleton")
    }

    /// A tree of harmless devices.
    pub fn devices(&self) -> PathBuf {
        self.base().join("dev")
    }

    /// Where the tree of an image is shown with its owner mapped.
    pub fn image(&self) -> PathBuf {
        self.base().join("image")
    }

    /// An empty directory: each sandbox puts its root there, in its own mount namespace.
    pub fn root(&self) -> PathBuf {
        self.base().join("root")
    }

    /// An empty directory: a sandbox whose scratch directory is of no use puts its layers there, in its own
    /// mount namespace.
    pub fn layers(&self) -> PathBuf {
        self.base().join("layers")
    }

    /// An empty file, for hiding files.
    pub fn empty_file(&self) -> PathBuf {
        self.base().join("empty")
    }
}

/// Never taken over from the host: made fresh or hidden.
const OWN: [&str; 6] = ["proc", "sys", "dev", "tmp", "run", "root"];
/// Files that say who a machine is and who is around it. Where the host has them mounted, as in a
/// container, they are copied: a mount would hide what is put there for sandboxes.
const MACHINES_OWN: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DISK_TYPES: [&str; 17] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "squashfs",
    "erofs", "iso9660", "nfs", "nfs4", "cifs", "tmpfs", "ramfs",
];

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountLine {
    /// The directory inside the file system that is shown.
    pub root: String,
    /// Where.
    pub point: PathBuf,
    /// The file system's type.
    pub kind: String,
    /// Its own options.
    pub options: String,
}

/// Reads the mount table.
pub(crate) fn mount_lines(table: &str) -> Vec<MountLine> {
    table.lines().filter_map(mount_line).collect()
}

fn mount_line(line: &str) -> Option<MountLine> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(3);
    let (root, point) = (unescape(front.next()?), unescape(front.next()?));
    let mut back = back.split(' ');
    let kind = back.next()?.to_owned();
    let options = back.nth(1).unwrap_or_default().to_owned();
    Some(MountLine { root, point: PathBuf::from(point), kind, options })
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = digits
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The pieces of a host root for the initial user namespace: one overlay of `/`, and what is
/// mounted elsewhere.
pub(crate) fn pieces_privileged(mounts: &[MountLine]) -> Vec<Piece> {
    let points: BTreeSet<&Path> = mounts
        .iter()
        .filter(|m| DISK_TYPES.contains(&m.kind.as_str()) && !is_own(&m.point))
        .map(|m| m.point.as_path())
        .filter(|p| *p != Path::new("/") && !MACHINES_OWN.iter().any(|own| *p == Path::new(own)))
        .collect();
    points
        .into_iter()
        .map(|p| match p.components().count() {
            2 => Piece::Overlay(p.to_owned()),
            _ => Piece::ReadOnly(p.to_owned()),
        })
        .collect()
}

/// The pieces for an ordinary user: the kernel refuses an overlay of a tree with foreign mounts
/// in it, so each first-level directory is one piece. `entries` are the directories of `/`.
pub(crate) fn pieces_unprivileged(mounts: &[MountLine], entries: &[PathBuf]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for entry in entries {
        if mounts.iter().any(|m| m.point != *entry && m.point.starts_with(entry)) {
            pieces.push(Piece::ReadOnly(entry.clone()));
        } else {
            pieces.push(Piece::Overlay(entry.clone()));
        }
        if entry == Path::new("/var") {
            pieces.push(Piece::Private("/var/tmp".into()));
        }
    }
    pieces
}

/// Whether the sandbox makes this path itself, so that the host's is not shown.
fn is_own(path: &Path) -> bool {
    let hidden = |own: &str| path.starts_with(Path::new("/").join(own));
    OWN.iter().any(|own| hidden(own)) || hidden("var/tmp")
}

/// A name server file that lives in `/run`, which sandboxes do not see.
pub(crate) fn resolver_piece() -> Option<Piece> {
    let file = fs::canonicalize("/etc/resolv.conf").ok()?;
    is_own(&file).then_some(Piece::ReadOnly(file))
}

/// First-level directories and links of the host.
pub(crate) struct FirstLevel {
    /// Directories that everybody may read, with their modes.
    pub directories: Vec<(PathBuf, u32)>,
    /// Links, with what they point at.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// What `/` holds besides the directories that each sandbox makes itself.
pub(crate) fn first_level() -> io::Result<FirstLevel> {
    let mut level = FirstLevel { directories: Vec::new(), links: Vec::new() };
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let (path, about) = (entry.path(), entry.metadata()?);
        if is_own(&path) {
            continue;
        }
        if about.is_symlink() {
            level.links.push((path.clone(), fs::read_link(&path)?));
        } else if about.is_dir() && about.mode() & 0o005 == 0o005 {
            level.directories.push((path, about.mode() & 0o777));
        }
    }
    level.directories.sort();
    Ok(level)
}

/// Makes `path` for the caller alone.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Fills the base with everything that needs no mount.
pub(crate) fn fill_base(prepared: &Prepared, level: &FirstLevel) -> io::Result<()> {
    for path in [prepared.root(), prepared.devices(), prepared.layers(), prepared.image()] {
        fs::create_dir(path)?;
    }
    fs::write(prepared.empty_file(), b"")?;
    make_skeleton(prepared, level)?;
    make_image_skeleton(prepared)
}

fn make_skeleton(prepared: &Prepared, level: &FirstLevel) -> io::Result<()> {
    let top = prepared.skeleton();
    own_directory(&top, 0o755, prepared.identity)?;
    let make = |name: &str, mode| own_directory(&top.join(name), mode, prepared.identity);
    for (path, mode) in &level.directories {
        make(&path.to_string_lossy()[1..], *mode)?;
    }
    mount_points(&top, prepared.identity)?;
    if prepared.privileged {
        copy_machines_own(&top, prepared.identity)?;
    }
    make("var", 0o755)?;
    for (name, mode) in [("tmp", 0o1777), ("run", 0o755), ("root", 0o700), ("var/tmp", 0o1777)] {
        make(name, mode)?;
        if prepared.privileged {
            hide_below(&top.join(name))?; // a user's base overlay has no host below it
        }
    }
    if !prepared.privileged {
        for (path, target) in &level.links {
            symlink(target, top.join(path.strip_prefix("/").unwrap_or(path)))?;
        }
    }
    Ok(())
}

fn copy_machines_own(top: &Path, owner: Identity) -> io::Result<()> {
    let mounts = mount_lines(&fs::read_to_string("/proc/self/mountinfo")?);
    for own in MACHINES_OWN.map(Path::new) {
        if mounts.iter().any(|mount| mount.point == own) {
            let copy = top.join(own.strip_prefix("/").expect("it is absolute"));
            own_directory(&top.join("etc"), 0o755, owner)?;
            fs::copy(own, &copy)?;
            std::os::unix::fs::chown(&copy, Some(owner.uid), Some(owner.gid))?;
        }
    }
    Ok(())
}

fn make_image_skeleton(prepared: &Prepared) -> io::Result<()> {
    let top = prepared.image_skeleton();
    own_directory(&top, 0o755, prepared.identity)?;
    mount_points(&top, prepared.identity)?;
    let make = |name: &str, mode| own_directory(&top.join(name), mode, prepared.identity);
    make("tmp", 0o1777)?;
    make("run", 0o755)?;
    make("root", 0o700)
}

/// Directories that every sandbox mounts on, the service's working directory among them: found in
/// the skeleton, they need not be made anew in each private layer, which costs three calls to the
/// disk's file system each.
const MOUNT_POINTS: [&str; 7] = [
    "proc",
    "dev",
    "sys",
    "sys/devices",
    "sys/devices/system",
    "batchcompute",
    "batchcompute/workdir",
];

fn mount_points(top: &Path, identity: Identity) -> io::Result<()> {
    MOUNT_POINTS.iter().try_for_each(|name| own_directory(&top.join(name), 0o755, identity))
}

/// Makes a directory, if it is not there, and gives it to `identity`.
pub(crate) fn own_directory(path: &Path, mode: u32, identity: Identity) -> io::Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    std::os::unix::fs::chown(path, Some(identity.uid), Some(identity.gid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The file system of this directory, if two changes of a file there never have the same time, once it
/// was looked at in between (Linux 6.13 on most disks). Older kernels count ticks.
pub(crate) fn fine_times(directory: &Path) -> io::Result<Option<u64>> {
    let path = directory.join("times");
    let file = fs::File::create(&path)?;
    let mut times = BTreeSet::new();
    for length in 1..=FINE_TIMES_TRIALS {
        file.set_len(length)?;
        let about = file.metadata()?;
        times.insert((about.ctime(), about.ctime_nsec()));
    }
    let device = file.metadata()?.dev();
    fs::remove_file(&path)?;
    Ok((times.len() as u64 == FINE_TIMES_TRIALS).then_some(device))
}

/// Changes within some microseconds, far less than a tick.
const FINE_TIMES_TRIALS: u64 = 4;

/// Marks a directory of a layer so that nothing below it shows through.
fn hide_below(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::setxattr(path, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
}

/// Fills the mounted directory `top`: `device` makes the named device there.
pub(crate) fn fill_devices(top: &Path, device: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    DEVICES.iter().try_for_each(|name| device(name))?;
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, top.join(name))?;
    }
    fs::create_dir(top.join("pts"))?;
    fs::create_dir(top.join("shm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw - devtmpfs devtmpfs rw,size=12334460k
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 27 254:1 / /var rw - ext4 /dev/vdb rw
29 28 0:25 /a\\040b /var/lib/my\\040data ro,nosuid - ext4 /dev/vdc ro
30 27 0:26 / /home/me/remote rw - fuse.sshfs x rw
31 27 0:27 / /tmp rw - tmpfs tmpfs rw";

    fn at(path: &str) -> PathBuf {
        PathBuf::from(path)
    }

    #[test]
    fn the_mount_table_is_read_with_its_escapes() {
        let lines = mount_lines(TABLE);
        assert_eq!(lines.len(), 7);
        assert_eq!(lines[4].root, "/a b");
        assert_eq!(lines[4].point, at("/var/lib/my data"));
        assert_eq!((lines[2].kind.as_str(), lines[2].options.as_str()), ("ext4", "rw,discard"));
    }

    #[test]
    fn root_overlays_everything_and_adds_what_is_mounted_elsewhere() {
        assert_eq!(
            pieces_privileged(&mount_lines(TABLE)),
            [Piece::Overlay(at("/var")), Piece::ReadOnly(at("/var/lib/my data"))]
        );
        // As in a container.
        let table =
            "1 2 8:1 /hosts /etc/hosts rw - ext4 /dev/a rw\n3 2 8:1 /x /etc/x rw - ext4 /dev/a rw";
        assert_eq!(pieces_privileged(&mount_lines(table)), [Piece::ReadOnly(at("/etc/x"))]);
    }

    #[test]
    fn a_user_gets_one_piece_for_each_first_level_directory() {
        assert_eq!(
            pieces_unprivileged(&mount_lines(TABLE), &[at("/etc"), at("/home"), at("/var")]),
            [
                Piece::Overlay(at("/etc")),
                Piece::ReadOnly(at("/home")),
                Piece::ReadOnly(at("/var")),
                Piece::Private(at("/var/tmp")),
            ]
        );
    }
}
