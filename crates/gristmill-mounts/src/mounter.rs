//! The mounter: a process of its own that serves all inputs of one instance.
//!
//! A crash, a leak or an out-of-memory kill then hits one instance, and credentials of one task
//! never share memory with another's. The agent starts it ([`crate::process::MounterProcess`]) and
//! speaks with it in lines of JSON: one line with the [`MounterSpec`] goes in, [`Line::Ready`] or
//! [`Line::Failed`] comes out, and after its standard input was closed (or SIGTERM), a
//! [`Line::Report`].
//!
//! Invariants
//! - The mount is gone when the process has ended, whatever ended it: the agent's mount namespace
//!   is the last resort.
//! - No secret is in the arguments or the environment: all comes by standard input.
//!
//! Start at [`serve`].

use crate::{
    budget::Budget,
    fuse::{Files, Mount},
    kernel,
    names::Locale,
    reader::Readers,
    remote::{Meter, Patience, Remote},
    source::Source,
    tree::{Tree, TreeLimits},
};
use gristmill_faults::{self as faults, Point};
use gristmill_model::Timestamp;
use gristmill_objects::{ObjectError, ObjectStore};
use rustix::{
    process::{Resource, Rlimit, setrlimit},
    thread::set_no_new_privs,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    future::Future,
    io::{self, BufRead, Write},
    path::PathBuf,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracing::debug;

/// How long a mount that is still in use may last after the end.
const DETACH_GRACE: Duration = Duration::from_secs(2);

/// Threads for requests.
const WORKERS: usize = 2;

/// The default of [`MounterSpec::memory_budget`].
pub const MEMORY_BUDGET_DEFAULT: u64 = 256 << 20;

/// What to mount where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MounterSpec {
    /// The inputs, numbered in order ([`Source::path_in_mount`]).
    pub sources: Vec<Source>,
    /// An existing directory.
    pub mount_point: PathBuf,
    /// The character set of names.
    pub locale: String,
    /// Whether locks are wished. They work either way (see [`crate::fuse`]).
    pub lock: bool,
    /// Who owns the files.
    pub uid: u32,
    /// The group of the files.
    pub gid: u32,
    /// Bytes for everything read ahead or kept, the table of files included.
    pub memory_budget: u64,
}

/// What the mounter says, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The inputs can be used.
    Ready {},
    /// They cannot.
    Failed(Failure),
    /// The end.
    Report(MountReport),
}

/// Why there is no mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// This machine does not let us mount: download instead.
    #[error("this machine does not let us mount: {message}")]
    CannotMount {
        /// The kernel's words.
        message: String,
    },
    /// An input cannot be opened.
    #[error("could not open the input {path}: {message}")]
    Source {
        /// Which, as `oss://bucket/key`.
        path: String,
        /// What the store said.
        message: String,
        /// Whether trying again later can help.
        transient: bool,
    },
    /// The specification is wrong.
    #[error("the mounter was asked for nonsense: {message}")]
    BadSpec {
        /// What about it.
        message: String,
    },
}

/// What happened on a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountReport {
    /// Inputs that were changed or deleted while they were in use, as `oss://bucket/key`.
    pub changed_inputs: Vec<String>,
    /// How many names cannot be shown.
    pub hidden_names: usize,
    /// The first of them.
    pub hidden_examples: Vec<String>,
    /// Bytes read from the store.
    pub bytes_read: u64,
    /// Requests to the store.
    pub requests: u64,
    /// Requests that had to be repeated.
    pub retries: u64,
    /// The most memory in use at a time, by the budget's books.
    pub memory_peak: u64,
    /// Whether files were still open at the end.
    pub busy: bool,
}

/// Reads the one line of input. The binary reads it as a type of its own that holds the
/// [`MounterSpec`] and what it needs to reach the store.
pub fn read_input<T: DeserializeOwned>() -> io::Result<T> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Serves a mount until standard input is closed or SIGTERM comes. True when all went well.
pub fn serve(spec: &MounterSpec, store: Arc<dyn ObjectStore>) -> bool {
    keep_secrets();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a process that just began can start threads");
    let served = runtime.block_on(async {
        // Listening begins before anybody knows that we are there.
        let end = asked_to_end();
        serve_until(spec, store, end, say).await
    });
    // Requests that still run are of no use to anybody.
    runtime.shutdown_background();
    served
}

/// What we hold goes into no core file, and no program we might be made to start gains rights.
fn keep_secrets() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let kept = setrlimit(Resource::Core, none).and_then(|()| set_no_new_privs(true));
    if let Err(error) = kept {
        debug!(%error, "could not turn core files off");
    }
}

/// Prints a line for the agent. When nobody listens any more there is nobody to tell.
fn say(line: &Line) {
    let text = serde_json::to_string(line).expect("plain data is always JSON");
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

async fn serve_until(
    spec: &MounterSpec,
    store: Arc<dyn ObjectStore>,
    end: impl Future<Output = ()>,
    mut say: impl FnMut(&Line),
) -> bool {
    let mut end = pin!(end);
    let started = tokio::select! {
        started = Mounted::start(spec, store) => started,
        () = &mut end => return false, // nobody waits for it any more
    };
    let mounted = match started {
        Ok(mounted) => mounted,
        Err(failure) => {
            say(&Line::Failed(failure));
            return false;
        }
    };
    faults::at(Point::MounterReady);
    say(&Line::Ready {});
    end.await;
    faults::at(Point::MounterReport);
    say(&Line::Report(mounted.stop().await));
    true
}

/// Ends when the agent closes our standard input, or we are told to go.
fn asked_to_end() -> impl Future<Output = ()> {
    let (closed, input_closed) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = closed.send(());
    });
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be handled");
    async move {
        tokio::select! {
            _ = input_closed => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// A mount with everything behind it.
pub struct Mounted {
    tree: Arc<Tree>,
    readers: Arc<Readers>,
    mount: Mount,
}

impl Mounted {
    /// Opens the sources and mounts them.
    pub async fn start(spec: &MounterSpec, store: Arc<dyn ObjectStore>) -> Result<Self, Failure> {
        let cannot_mount = |error: io::Error| Failure::CannotMount { message: error.to_string() };
        let device = kernel::open_device().map_err(cannot_mount)?;
        let locale: Locale = spec
            .locale
            .parse()
            .map_err(|error| Failure::BadSpec { message: format!("{error}") })?;
        let seed = std::process::id().into();
        let remote = Remote::new(store, Patience::default(), seed);
        let limits = TreeLimits::default();
        let opened = Tree::open(remote.clone(), spec.sources.clone(), locale, limits, now()).await;
        let tree = Arc::new(opened.map_err(|error| Failure::Source {
            path: error.path,
            transient: error.source.is_transient(),
            message: chain(&error.source),
        })?);
        let budget = Budget::new(spec.memory_budget.saturating_sub(limits.bytes_max as u64));
        let runtime = tokio::runtime::Handle::current();
        let readers = Arc::new(Readers::new(remote, budget, runtime.clone()));
        let files = Files::new(tree.clone(), readers.clone(), runtime, (spec.uid, spec.gid));
        let mount = Mount::start(files, device, &spec.mount_point).map_err(cannot_mount)?;
        Ok(Self { tree, readers, mount })
    }

    /// What has gone over to the store so far.
    pub fn meter(&self) -> &Meter {
        self.tree.remote().meter()
    }

    /// Unmounts and says what happened.
    pub async fn stop(self) -> MountReport {
        let Self { tree, readers, mount } = self;
        let stopped = tokio::task::spawn_blocking(move || mount.stop(DETACH_GRACE)).await;
        let (hidden_names, hidden_examples) = tree.hidden();
        let meter = tree.remote().meter();
        MountReport {
            changed_inputs: tree.changed(),
            hidden_names,
            hidden_examples,
            bytes_read: meter.bytes_read.load(Relaxed),
            requests: meter.requests.load(Relaxed),
            retries: meter.retries.load(Relaxed),
            memory_peak: readers.budget().peak() + tree.bytes() as u64,
            busy: !stopped.unwrap_or(false),
        }
    }
}

/// The time directories without entries show. The mounter is a process of its own, so this is its
/// front door.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn chain(error: &ObjectError) -> String {
    let mut text = error.to_string();
    let mut at = std::error::Error::source(error);
    while let Some(source) = at {
        text = format!("{text}: {source}");
        at = source.source();
    }
    text
}
