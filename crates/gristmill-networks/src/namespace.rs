//! Network namespaces that hang on a file, and work inside them.
//!
//! A thread belongs to a namespace, so what has to happen inside one happens on a thread of its
//! own, which ends with it; programs it starts are inside as well.

use crate::NetworkError;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

/// A namespace, there or not.
pub(crate) struct Namespace {
    file: PathBuf,
}

/// nsfs, as `statfs` calls it.
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// Where programs of an administrator are, whatever the caller's `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn error(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> NetworkError + use<> {
    let path = path.to_owned();
    move |source| NetworkError::Namespace { what, path, source }
}

/// The same about the host's own namespace.
pub(crate) fn error_of_host(what: &'static str) -> impl FnOnce(io::Error) -> NetworkError {
    error(what, Path::new("/proc/1/ns/net"))
}

impl Namespace {
    pub(crate) fn at(file: PathBuf) -> Self {
        Self { file }
    }

    /// What it hangs on.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether a namespace hangs on the file, and not just a file is there.
    pub(crate) fn is_there(&self) -> bool {
        rustix::fs::statfs(&self.file).is_ok_and(|about| about.f_type == NSFS_MAGIC)
    }

    /// Whether it is there with its bridge, and passes packets on.
    pub(crate) fn is_whole(&self) -> bool {
        let look = || {
            let forwards = fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?;
            let devices = fs::read_to_string("/proc/thread-self/net/dev")?;
            let bridge = devices.lines().any(|line| line.trim_start().starts_with("br0:"));
            io::Result::Ok(bridge && forwards.trim() == "1")
        };
        self.is_there() && matches!(self.inside(look), Ok(Ok(true)))
    }

    /// Makes it.
    pub(crate) fn make(&self) -> Result<(), NetworkError> {
        let make = || {
            File::create(&self.file)?;
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(mount_bind("/proc/thread-self/ns/net", &self.file)?)
        };
        on_a_thread(make).map_err(error("make", &self.file))
    }

    /// Does something inside.
    pub(crate) fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NetworkError> {
        let enter = || {
            setns(File::open(&self.file)?, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        };
        on_a_thread(enter).map_err(error("enter", &self.file))
    }

    /// Carries out commands of `ip`, one a line.
    pub(crate) fn ip(&self, commands: &str) -> Result<(), NetworkError> {
        self.inside(|| ip(commands))?
    }

    /// Lets it pass packets on between blocks of one bridge. Nothing else is connected to it.
    pub(crate) fn forward(&self) -> Result<(), NetworkError> {
        let wrote = self.inside(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
        wrote.map_err(error("set up", &self.file))
    }

    /// Takes it off its file, and the file away.
    pub(crate) fn remove(&self) {
        let _ = unmount(&self.file, UnmountFlags::DETACH); // perhaps nothing hangs there
        if let Err(error) = fs::remove_file(&self.file)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %self.file.display(), "a network's file stays");
        }
    }
}

/// Runs `work` on a thread that ends afterwards, whatever became of its namespaces.
fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("network".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Carries out commands of `ip`, one a line, in the caller's namespace.
pub(crate) fn ip(commands: &str) -> Result<(), NetworkError> {
    feed("ip", &["-batch", "-"], commands)
}

/// Puts packet filter rules in force in the caller's namespace, all or none.
pub(crate) fn nft(rules: &str) -> Result<(), NetworkError> {
    feed("nft", &["-f", "-"], rules)
}

/// Runs a program of an administrator with this on its standard input.
fn feed(program: &'static str, arguments: &[&str], text: &str) -> Result<(), NetworkError> {
    let start = |source| NetworkError::Start { program, source };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut input) = child.stdin.take() {
        // One that ended early says why on its standard error.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    Err(NetworkError::Ended { program, status: output.status, said })
}
