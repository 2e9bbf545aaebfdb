//! Builds the file system of one sandbox in its own mount namespace, and makes it the root.
//!
//! Everything is put below one directory of the node, with descriptors rather than paths where a
//! program of the same user could have a hand in: targets are resolved inside the new root and
//! nothing of a run exists yet while this happens.

use super::{AtStage, Setup, SetupError, traces::Gathered};
use crate::{
    host::{Piece, Prepared, own_directory},
    layout,
    spec::{Identity, MountKind, Root, SandboxMount, Stage},
    sys,
};
use gristmill_files::open_inside;
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, open},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
        open_tree, unmount,
    },
    process::{chdir, fchdir, pivot_root},
};
use std::{
    cell::RefCell,
    io,
    path::{Component, Path, PathBuf},
};

type Done = Result<(), SetupError>;

/// Builds everything and enters it. Returns what programs may write, as it is before the first.
pub(super) fn build(setup: &Setup<'_>) -> Result<Gathered, SetupError> {
    let prepared = setup.prepared;
    let layers = Layers::new(setup)?;
    let mut gathered = Gathered::new();
    let root = mount_root(setup, &layers)?;
    if setup.sandbox.root == Root::Host {
        let hidden = |p: &Path| setup.sandbox.masked.iter().any(|masked| p.starts_with(masked));
        let pieces = prepared.pieces.iter().enumerate().filter(|(_, p)| !hidden(p.path()));
        for (number, piece) in pieces {
            add_piece(prepared, &layers, root.as_fd(), piece, number).at(Stage::Files, || {
                format!("cannot show `{}` of the host", piece.path().display())
            })?;
        }
        for (number, masked) in setup.sandbox.masked.iter().enumerate() {
            mask(prepared, &layers, root.as_fd(), masked, number)
                .at(Stage::Files, || format!("cannot hide `{}`", masked.display()))?;
        }
    }
    add_system(prepared, root.as_fd(), &mut gathered)?;
    for (number, mount) in setup.sandbox.mounts.iter().enumerate() {
        add_mount(prepared, &layers, root.as_fd(), mount, number, &mut gathered).map_err(
            |source| SetupError {
                stage: stage_of_mount(&source),
                what: format!("cannot mount `{}`", mount.target),
                source: Some(source),
            },
        )?;
    }
    // Only now: mount points were made in the layers.
    layers.made.take().iter().for_each(|layer| gathered.tree(layer));
    enter(root.as_fd()).at(Stage::Files, || "cannot enter the new root".into())?;
    nix::unistd::sethostname(&setup.sandbox.host_name)
        .at(Stage::Files, || format!("cannot set the host name `{}`", setup.sandbox.host_name))?;
    Ok(gathered)
}

/// The directory that holds the private layers of this run.
struct Layers {
    top: PathBuf,
    /// Where the layers of an earlier sandbox lie, which go below.
    base: Option<PathBuf>,
    identity: Identity,
    /// Those that hold what programs write.
    made: RefCell<Vec<PathBuf>>,
}

impl Layers {
    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let prepared = setup.prepared;
        let (identity, base) = (prepared.identity, setup.sandbox.base.clone());
        let made = RefCell::default();
        if layout::is_usable(prepared.layer, &setup.sandbox.scratch) {
            return Ok(Self { top: setup.sandbox.scratch.clone(), base, identity, made });
        }
        let top = prepared.layers();
        tmpfs(&[("mode", "0700"), ("size", "50%")])
            .and_then(|memory| attach(memory.as_fd(), &top))
            .at(Stage::Files, || "cannot make a writable layer in memory".into())?;
        Ok(Self { top, base, identity, made })
    }

    /// `lowers` with what an earlier sandbox wrote into the overlay of this name on top of them.
    fn above_base(&self, mut lowers: Vec<PathBuf>, name: &str) -> Vec<PathBuf> {
        let written = self.base.as_ref().map(|base| base.join(layout::upper(name)));
        if let Some(written) = written.filter(|written| written.is_dir()) {
            lowers.insert(0, written);
        }
        lowers
    }

    /// Whether what an earlier sandbox wrote lies in this directory of the host.
    fn lies_in(&self, path: &Path) -> bool {
        self.base.as_ref().is_some_and(|base| base.starts_with(path))
    }

    /// A new private directory owned by the sandbox.
    fn directory(&self, name: &str, mode: u32) -> io::Result<PathBuf> {
        let path = self.workshop(name, mode)?;
        self.made.borrow_mut().push(path.clone());
        Ok(path)
    }

    /// The same, for the kernel's own use: no program can reach it.
    fn workshop(&self, name: &str, mode: u32) -> io::Result<PathBuf> {
        let path = self.top.join(name);
        own_directory(&path, mode, self.identity)?;
        Ok(path)
    }
}

fn mount_root(setup: &Setup<'_>, layers: &Layers) -> Result<OwnedFd, SetupError> {
    let prepared = setup.prepared;
    let lowers = match &setup.sandbox.root {
        Root::Host if prepared.privileged => vec![prepared.skeleton(), "/".into()],
        Root::Host => vec![prepared.skeleton()],
        Root::Directory(path) => vec![prepared.image_skeleton(), path.clone()],
    };
    private_overlay(
        prepared,
        layers,
        &layers.above_base(lowers, layout::ROOT_NAME),
        layout::ROOT_NAME,
    )
    .and_then(|root| attach(root.as_fd(), &prepared.root()).map(|()| root))
    .at(Stage::Files, || "cannot make the root file system".into())
}

/// An overlay of `lowers` (upper ones first) with a fresh private layer on top.
fn private_overlay(
    prepared: &Prepared,
    layers: &Layers,
    lowers: &[PathBuf],
    name: &str,
) -> io::Result<OwnedFd> {
    let upper = layers.directory(&layout::upper(name), 0o755)?;
    let work = layers.workshop(&layout::work(name), 0o700)?;
    fresh_overlay(lowers, &upper, &work, prepared.privileged, prepared.volatile)
}

/// Makes an overlay that is not attached anywhere yet.
pub(crate) fn fresh_overlay(
    lowers: &[PathBuf],
    upper: &Path,
    work: &Path,
    privileged: bool,
    volatile: bool,
) -> io::Result<OwnedFd> {
    // Descriptors instead of paths: no character needs an escape, and the mount table inside the
    // sandbox does not tell where its layers lie.
    let place =
        |path: &Path| open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let lowers = lowers.iter().map(|l| place(l)).collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (place(upper)?, place(work)?);
    let stands_for = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let lower_text = lowers.iter().map(stands_for).collect::<Vec<_>>().join(":");
    fsconfig_set_string(&overlay, "lowerdir", lower_text)?;
    fsconfig_set_string(&overlay, "upperdir", stands_for(&upper))?;
    fsconfig_set_string(&overlay, "workdir", stands_for(&work))?;
    if !privileged {
        fsconfig_set_flag(&overlay, "userxattr")?;
    }
    if volatile {
        fsconfig_set_flag(&overlay, "volatile")?;
    }
    fsconfig_create(&overlay)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn add_piece(
    prepared: &Prepared,
    layers: &Layers,
    root: BorrowedFd<'_>,
    piece: &Piece,
    number: usize,
) -> io::Result<()> {
    let name = layout::piece_name(number);
    let (tree, path) = match piece {
        Piece::Overlay(path) => {
            let below_root = path.strip_prefix("/").unwrap_or(path);
            let lowers = [prepared.skeleton().join(below_root), path.clone()];
            let lowers = match layers.lies_in(path) {
                true => lowers.into(), // a layer may not lie inside another
                false => layers.above_base(lowers.into(), &name),
            };
            (private_overlay(prepared, layers, &lowers, &name)?, path)
        }
        Piece::ReadOnly(path) => (bind_tree(path, true)?, path),
        Piece::Private(path) => (bind_tree(&layers.directory(&name, 0o1777)?, false)?, path),
    };
    place(root, tree.as_fd(), path, layers.identity)
}

/// Covers `path`, if the sandbox would see it, with something empty.
fn mask(
    prepared: &Prepared,
    layers: &Layers,
    root: BorrowedFd<'_>,
    path: &Path,
    number: usize,
) -> io::Result<()> {
    let target = match find(root, path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let cover = if is_directory(target.as_fd())? {
        bind_tree(&layers.directory(&layout::mask_name(number), 0o755)?, false)?
    } else {
        bind_tree(&prepared.empty_file(), true)?
    };
    put_on(cover.as_fd(), target.as_fd())
}

/// `/dev`, `/proc` and the part of `/sys` that describes the processors.
fn add_system(prepared: &Prepared, root: BorrowedFd<'_>, gathered: &mut Gathered) -> Done {
    let identity = prepared.identity;
    let put = |name: &'static str, tree: io::Result<OwnedFd>| {
        tree.and_then(|tree| place(root, tree.as_fd(), Path::new(name), identity).map(|()| tree))
            .at(Stage::Files, || format!("cannot make `{name}`"))
    };
    put("/dev", bind_tree(&prepared.devices(), true))?;
    gathered.mount(put("/dev/pts", terminals())?.as_fd());
    gathered.mount(put("/dev/shm", tmpfs(&[("mode", "1777")]))?.as_fd());
    let proc = put("/proc", processes())?;
    // The sandbox of an ordinary user owns some settings, which the next run would find changed.
    put("/proc/sys", clone_tree(proc.as_fd(), Path::new("sys"), true))?;
    if Path::new("/sys/devices/system").exists() {
        put("/sys/devices/system", bind_tree(Path::new("/sys/devices/system"), true))?;
    }
    Ok(())
}

fn add_mount(
    prepared: &Prepared,
    layers: &Layers,
    root: BorrowedFd<'_>,
    mount: &SandboxMount,
    number: usize,
    gathered: &mut Gathered,
) -> io::Result<()> {
    let name = layout::mount_name(number);
    let tree = match &mount.kind {
        MountKind::Bind { source, read_only } => {
            if !read_only {
                gathered.tree(source);
            }
            bind_tree(source, *read_only)?
        }
        // What is in it is no trace: others write there, too.
        MountKind::Shared { source } => bind_tree(source, false)?,
        MountKind::Overlay { lower } => {
            private_overlay(prepared, layers, std::slice::from_ref(lower), &name)?
        }
        MountKind::Tmpfs { size } => {
            let tree = tmpfs(&[("mode", "1777"), ("size", &size.to_string())])?;
            gathered.mount(tree.as_fd());
            tree
        }
    };
    place(root, tree.as_fd(), Path::new(&mount.target), layers.identity)
}

/// A copy of `source` and everything mounted in it, not attached anywhere yet.
pub(crate) fn bind_tree(source: &Path, read_only: bool) -> io::Result<OwnedFd> {
    clone_tree(CWD, source, read_only)
}

fn clone_tree(above: BorrowedFd<'_>, source: &Path, read_only: bool) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(above, source, flags)?;
    let mut attributes = libc::MOUNT_ATTR_NOSUID;
    if read_only {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    sys::change_mount(tree.as_fd(), attributes, true)?;
    Ok(tree)
}

/// A fresh memory file system.
pub(crate) fn tmpfs(options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fresh("tmpfs", options, attributes)
}

/// A memory file system that may hold devices.
pub(crate) fn device_tree() -> io::Result<OwnedFd> {
    fresh("tmpfs", &[("mode", "0755")], MountAttrFlags::MOUNT_ATTR_NOSUID)
}

/// The message queues of the calling process's namespace, as files. `None`: the kernel has none.
pub(super) fn message_queues() -> io::Result<Option<OwnedFd>> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    match fresh("mqueue", &[], attributes) {
        Ok(tree) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(Some(rustix::fs::openat(&tree, c".", flags, Mode::empty())?))
        }
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn terminals() -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fresh("devpts", &[("ptmxmode", "0666"), ("mode", "0620")], attributes)
}

fn processes() -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fresh("proc", &[], attributes)
}

fn fresh(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Attaches a detached tree at a path of the caller's view.
pub(crate) fn attach(tree: BorrowedFd<'_>, at: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Which step a failed mount belongs to: what is in the way is there because the user asked for
/// that place, anything else is this machine's trouble.
fn stage_of_mount(error: &io::Error) -> Stage {
    match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Stage::MountPoint,
        _ => Stage::Files,
    }
}

/// Attaches a detached tree at `path` inside `root`, making the mount point if it is missing.
/// A file cannot be shown in the place of a directory, nor the other way round.
fn place(
    root: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    path: &Path,
    owner: Identity,
) -> io::Result<()> {
    let target = match find(root, path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_target(root, path, is_directory(tree)?, owner)?
        }
        Err(error) => return Err(error),
    };
    match (is_directory(tree)?, is_directory(target.as_fd())?) {
        (true, false) => Err(rustix::io::Errno::NOTDIR.into()),
        (false, true) => Err(rustix::io::Errno::ISDIR.into()),
        (true, true) | (false, false) => put_on(tree, target.as_fd()),
    }
}

fn put_on(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", target, "", flags)?)
}

/// Opens `path` as a program inside `root` would: links cannot lead out.
fn find(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    Ok(open_inside(root, path, OFlags::PATH, ResolveFlags::IN_ROOT)?)
}

fn is_directory(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let about = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(about.st_mode).is_dir())
}

/// Makes `path` inside `root` with all directories on the way, owned by the sandbox.
fn make_target(
    root: BorrowedFd<'_>,
    path: &Path,
    directory: bool,
    owner: Identity,
) -> io::Result<OwnedFd> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::RootDir => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path")),
        }
    }
    let Some((last, parents)) = names.split_last() else { return find(root, path) };
    let mut so_far = PathBuf::from("/");
    let mut parent = find(root, &so_far)?;
    for name in parents {
        so_far.push(name);
        parent = match find(root, &so_far) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(parent.as_fd(), name, owner)?
            }
            Err(error) => return Err(error),
        };
    }
    if directory {
        make_directory(parent.as_fd(), last, owner)
    } else {
        make_file(parent.as_fd(), last, owner)
    }
}

fn make_directory(
    parent: BorrowedFd<'_>,
    name: &std::ffi::OsStr,
    owner: Identity,
) -> io::Result<OwnedFd> {
    mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    give(made.as_fd(), owner)?;
    Ok(made)
}

fn make_file(
    parent: BorrowedFd<'_>,
    name: &std::ffi::OsStr,
    owner: Identity,
) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
    give(made.as_fd(), owner)?;
    Ok(made)
}

/// Makes `owner` the owner of a file or pipe that was made for a run. Anything else, such as
/// `/dev/null`, is shared with others and stays as it is.
pub(crate) fn give_output(fd: BorrowedFd<'_>, owner: Identity) -> io::Result<()> {
    let about = rustix::fs::fstat(fd)?;
    let kind = FileType::from_raw_mode(about.st_mode);
    let has_it = (about.st_uid, about.st_gid) == (owner.uid, owner.gid);
    if !has_it && (kind.is_file() || kind.is_fifo()) { give(fd, owner) } else { Ok(()) }
}

/// Makes `owner` the owner of an open file.
fn give(fd: BorrowedFd<'_>, owner: Identity) -> io::Result<()> {
    use rustix::fs::{AtFlags, Gid, Uid, chownat};
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    Ok(chownat(fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
}

/// Makes `root` the root of this mount namespace and lets go of everything else.
fn enter(root: BorrowedFd<'_>) -> Result<(), Errno> {
    fchdir(root)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}
