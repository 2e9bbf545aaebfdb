//! Turns the agent into a node: namespaces, what the machine can do, and the spawner process.
//!
//! Started by root, the agent keeps its user and gets a private mount namespace; sandboxes then
//! run as [`NodeOptions::identity`]. Started by an ordinary user, it first becomes root of a user
//! namespace in which only that user exists; sandboxes run as that user.

use crate::{
    cgroup::Driver,
    host::{self, Layer, Piece, Prepared},
    image,
    layout::Layout,
    sandbox::{self, Filter},
    shared::SharedFiles,
    spawner::{Ear, Spawner},
    spec::{Identity, Root},
    supervisor::Supervisor,
    sys,
};
use nix::sched::{CloneFlags, unshare};
use rustix::{
    mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
};
use std::{
    fs::{self, OpenOptions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    thread,
};

/// What a node needs to know.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// A directory of this agent alone; made when missing. Sandboxes never see it. Scratch
    /// directories of sandboxes best lie in it, on the same file system.
    pub directory: PathBuf,
    /// Who a sandbox's root is outside, when the agent was started by root. Ignored otherwise.
    /// User 0 here gives programs the host root's rights over files.
    pub identity: Identity,
    /// The tree of an image that is the root of sandboxes, of one owner; `None`: this machine's root.
    pub image: Option<PathBuf>,
}

/// A node that is ready to start its spawner's event thread.
#[derive(Debug)]
pub struct Node {
    socket: OwnedFd,
    owner: Identity,
    layout: Layout,
    files: SharedFiles,
    root: Root,
}

/// What this machine can do, and what it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Whether the agent was started by root.
    pub privileged: bool,
    /// Whether `/dev/fuse` can be used.
    pub fuse: bool,
    /// Whether the file system of the node's directory can hold scratch directories. If not, what
    /// programs write outside their mounts lies in memory where nobody else can see it, unless
    /// the scratch directory is a [`MemoryScratch`](crate::MemoryScratch).
    pub scratch_on_disk: bool,
    /// Sentences for the log: what is not enforced or works differently here, and why.
    pub notes: Vec<String>,
}

/// Why this process cannot become a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// `enter` must come before anything that starts threads.
    #[error("the agent has {0} threads already; namespaces need a process with one")]
    Threads(usize),
    /// Nothing of this can be done without private mounts.
    #[error("cannot make a private mount namespace")]
    MountNamespace(#[source] io::Error),
    /// Every sandbox needs one, and so does the agent of an ordinary user.
    #[error(
        "cannot make a user namespace: the kernel or a security policy forbids it (look at \
         user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns)"
    )]
    UserNamespace(#[source] io::Error),
    /// A part of the preparation.
    #[error("cannot {what}")]
    Prepare {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The kernel cannot put a writable layer over the host's files.
    #[error("overlays do not work here, neither on disk nor in memory")]
    Overlay(#[source] io::Error),
}

/// Between an ordinary process (0) and one that is always ended first (1000).
const OOM_SCORE_OF_RUNS: &str = "200";

impl Node {
    /// Enters namespaces, finds out what works, and forks the spawner. Call it first thing, while
    /// the process has one thread. The process has a private view of mounts afterwards.
    pub fn enter(options: NodeOptions) -> Result<(Self, NodeReport), NodeError> {
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads != 1 {
            return Err(NodeError::Threads(threads));
        }
        let privileged = rustix::process::geteuid().is_root();
        let owner = enter_namespaces(privileged, options.identity)?;
        let mut notes = Vec::new();
        let prepared = prepare(&options.directory, privileged, owner, &mut notes)?;
        try_sandbox_user(privileged, owner)?;
        let driver = detect_groups(&mut notes);
        let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        if let Err(error) = &fuse {
            notes
                .push(format!("mounts are downloaded before a program starts: /dev/fuse: {error}"));
        }
        let root = match &options.image {
            Some(tree) => Root::Directory(image::show(&prepared, tree, &mut notes)),
            None => Root::Host,
        };
        let scratch_on_disk = prepared.layer == Layer::Disk;
        let report = NodeReport { privileged, fuse: fuse.is_ok(), scratch_on_disk, notes };
        let layout = Layout { pieces: prepared.pieces.clone(), layer: prepared.layer };
        let files = SharedFiles::of(&prepared);
        let socket = fork_spawner(prepared, driver)?;
        Ok((Self { socket, owner, layout, files, root }, report))
    }

    /// Who owns what programs may write, in this process's view: give scratch files, unpacked
    /// packages and mounted objects to this user and group.
    pub fn owner(&self) -> Identity {
        self.owner
    }

    /// How sandboxes are put together here: where to find what programs wrote.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The root of sandboxes.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Where files are put that all sandboxes see.
    pub fn files(&self) -> &SharedFiles {
        &self.files
    }

    /// Starts a thread that hears what becomes of runs.
    pub fn start(self) -> io::Result<Spawner> {
        let (spawner, ear) = self.connect();
        thread::Builder::new().name("run-events".into()).spawn(move || ear.listen())?;
        Ok(spawner)
    }

    /// The same for a caller that hears by itself.
    pub fn connect(self) -> (Spawner, Ear) {
        Spawner::new(self.socket)
    }
}

fn preparing(what: &'static str) -> impl FnOnce(io::Error) -> NodeError {
    move |source| NodeError::Prepare { what, source }
}

/// Private mounts; for an ordinary user in a user namespace. Answers who sandboxes will be.
fn enter_namespaces(privileged: bool, identity: Identity) -> Result<Identity, NodeError> {
    let owner = if privileged {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| NodeError::MountNamespace(e.into()))?;
        identity
    } else {
        let me = Identity {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
            .map_err(|e| NodeError::UserNamespace(e.into()))?;
        sandbox::map_to_root(me).map_err(NodeError::UserNamespace)?;
        Identity { uid: 0, gid: 0 }
    };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|e| NodeError::MountNamespace(e.into()))?;
    Ok(owner)
}

/// Finds out before the first run whether sandboxes can have user namespaces.
fn try_sandbox_user(privileged: bool, owner: Identity) -> Result<(), NodeError> {
    let refused = |errno| NodeError::UserNamespace(io::Error::from_raw_os_error(errno));
    let child = sys::clone_child(0, || {
        let tried = sandbox::try_user_namespace(owner, privileged);
        tried.map_or_else(|e| e.raw_os_error().unwrap_or(libc::EIO), |()| 0)
    });
    let child = child.map_err(preparing("fork"))?;
    match sys::collect(child.pid, true).map_err(preparing("collect a process"))? {
        Some((0, _)) => Ok(()),
        Some((status, _)) if libc::WIFEXITED(status) => Err(refused(libc::WEXITSTATUS(status))),
        _ => Err(refused(libc::EIO)),
    }
}

/// Makes everything that sandboxes share, and tries out the overlay.
fn prepare(
    directory: &Path,
    privileged: bool,
    identity: Identity,
    notes: &mut Vec<String>,
) -> Result<Prepared, NodeError> {
    host::private_directory(directory).map_err(preparing("make the node's directory"))?;
    let directory = fs::canonicalize(directory).map_err(preparing("find the node's directory"))?;
    let level = host::first_level().map_err(preparing("list the root directory"))?;
    let pieces =
        host_pieces(privileged, &level, notes).map_err(preparing("read the mount table"))?;
    let (layer, volatile) = (Layer::Disk, true);
    let fine_times =
        host::fine_times(&directory).map_err(preparing("write into the node's directory"))?;
    let mut prepared =
        Prepared { directory, privileged, identity, pieces, layer, volatile, fine_times };
    mount_base(&prepared, &level).map_err(preparing("fill the node's directory"))?;
    fill_devices(&prepared).map_err(preparing("make a tree of devices"))?;
    choose_layer(&mut prepared, notes)?;
    Ok(prepared)
}

fn host_pieces(
    privileged: bool,
    level: &host::FirstLevel,
    notes: &mut Vec<String>,
) -> io::Result<Vec<Piece>> {
    let mounts = host::mount_lines(&fs::read_to_string("/proc/self/mountinfo")?);
    let mut pieces = if privileged {
        host::pieces_privileged(&mounts)
    } else {
        // An empty directory is in the skeleton already.
        let filled = |path: &Path| fs::read_dir(path).is_ok_and(|mut d| d.next().is_some());
        let entries: Vec<PathBuf> =
            level.directories.iter().map(|(p, _)| p.clone()).filter(|p| filled(p)).collect();
        host::pieces_unprivileged(&mounts, &entries)
    };
    for piece in &pieces {
        if let Piece::ReadOnly(path) = piece {
            let path = path.display();
            notes.push(format!("`{path}` is read-only in sandboxes: it is not of one piece"));
        }
    }
    pieces.extend(host::resolver_piece());
    Ok(pieces)
}

/// Mounts the memory file system that all sandboxes share, and fills it.
fn mount_base(prepared: &Prepared, level: &host::FirstLevel) -> io::Result<()> {
    fs::create_dir_all(prepared.base())?;
    sandbox::attach(sandbox::device_tree()?.as_fd(), &prepared.base())?;
    host::fill_base(prepared, level)
}

/// Makes the devices anew, as root, or shows the host's.
fn fill_devices(prepared: &Prepared) -> io::Result<()> {
    let top = prepared.devices();
    host::fill_devices(&top, |name| {
        let (host, at) = (Path::new("/dev").join(name), top.join(name));
        if prepared.privileged && make_device(&host, &at).is_ok() {
            return Ok(());
        }
        fs::write(&at, b"")?;
        sandbox::attach(sandbox::bind_tree(&host, false)?.as_fd(), &at)
    })
}

fn make_device(like: &Path, at: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, at, FileType::CharacterDevice, mode, fs::metadata(like)?.rdev())?;
    fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o666))
}

/// Finds the best kind of private layer that the kernel takes, by mounting one.
fn choose_layer(prepared: &mut Prepared, notes: &mut Vec<String>) -> Result<(), NodeError> {
    let mut first_error = None;
    for (layer, volatile) in
        [(Layer::Disk, true), (Layer::Disk, false), (Layer::Memory, true), (Layer::Memory, false)]
    {
        match try_layer(prepared, layer, volatile) {
            Ok(()) => {
                (prepared.layer, prepared.volatile) = (layer, volatile);
                if let (Layer::Memory, Some(error)) = (layer, first_error) {
                    let at = prepared.directory.display();
                    notes.push(format!(
                        "what programs write outside their mounts is kept in memory: `{at}` cannot \
                         carry an overlay: {error}"
                    ));
                }
                return Ok(());
            }
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    Err(NodeError::Overlay(first_error.unwrap_or_else(|| io::Error::other("not tried"))))
}

fn try_layer(prepared: &Prepared, layer: Layer, volatile: bool) -> io::Result<()> {
    let trial = prepared.directory.join("trial");
    let _ = fs::remove_dir_all(&trial); // left by an agent that was killed here
    fs::create_dir(&trial)?;
    if layer == Layer::Memory {
        sandbox::attach(sandbox::tmpfs(&[("mode", "0700")])?.as_fd(), &trial)?;
    }
    let outcome = try_overlay(prepared, &trial, volatile);
    if layer == Layer::Memory {
        unmount(&trial, UnmountFlags::DETACH)?;
    }
    fs::remove_dir_all(&trial)?;
    outcome
}

fn try_overlay(prepared: &Prepared, trial: &Path, volatile: bool) -> io::Result<()> {
    let (upper, work) = (trial.join("upper"), trial.join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let lowers = match prepared.privileged {
        true => vec![prepared.skeleton(), "/".into()],
        false => vec![prepared.skeleton()],
    };
    sandbox::fresh_overlay(&lowers, &upper, &work, prepared.privileged, volatile).map(drop)
}

fn detect_groups(notes: &mut Vec<String>) -> Driver {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let (driver, said) = Driver::detect(&own, &host::mount_lines(&table), std::process::id());
    notes.extend(said);
    driver
}

/// Forks the spawner and keeps the agent's end of the socket.
fn fork_spawner(prepared: Prepared, driver: Driver) -> Result<OwnedFd, NodeError> {
    let filter = Filter::build();
    let (here, there) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| preparing("make a socket for the spawner")(e.into()))?;
    sys::clone_child(0, move || {
        sys::exit_now(match become_spawner(there, prepared, filter, driver) {
            Ok(supervisor) => {
                supervisor.serve();
                0
            }
            Err(_) => sys::BROKEN, // the agent sees the closed socket
        })
    })
    .map_err(preparing("fork the spawner"))?;
    Ok(here)
}

/// The first steps of the spawner process.
fn become_spawner(
    socket: OwnedFd,
    prepared: Prepared,
    filter: Filter,
    driver: Driver,
) -> io::Result<Supervisor> {
    let kept = rustix::io::fcntl_dupfd_cloexec(&socket, 3)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&kept);
    sys::close_all_but(vec![number]);
    std::mem::forget(socket); // closed above, like the agent's end
    sys::ignore_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP]);
    rustix::thread::set_name(c"spawner")?;
    // Where memory runs out, programs go before the agent. Without the file there is no such order.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_OF_RUNS);
    // Programs must not share keys with the agent. Without keys in the kernel there is no need.
    let _ = sys::fresh_session_keyring();
    Supervisor::new(kept, prepared, filter, driver)
}
