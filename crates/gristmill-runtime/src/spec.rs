//! What a sandbox and a program are to be, and what became of them.
//!
//! These shapes cross the socket between the agent and its spawner, two halves of one build, so
//! they need no compatibility between versions.

use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// One sandbox: what the program sees and how much it may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Names the control group and shows up in logs: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// Where its files come from.
    pub root: Root,
    /// An existing, empty directory that belongs to this sandbox alone, or the one of a sandbox
    /// that was kept. Holds its writable layers; the caller removes it after the run.
    pub scratch: PathBuf,
    /// The scratch directory of a sandbox that ended: what it wrote lies below this one's writable
    /// layers, read-only. One that wrote nothing costs nothing.
    #[serde(default)]
    pub base: Option<PathBuf>,
    /// What is mounted over the root, in this order.
    pub mounts: Vec<SandboxMount>,
    /// Host paths that the sandbox sees empty: the data directory, homes. Paths that do not
    /// exist are skipped.
    pub masked: Vec<PathBuf>,
    /// Its host name.
    pub host_name: String,
    /// What it may use.
    pub limits: Limits,
    /// Runs of one lineage may follow each other in one sandbox, if all else here but `id` is equal
    /// and the run before left nothing behind; see [`Ended::kept`]. `None`: never.
    pub lineage: Option<String>,
}

/// Where the files of a sandbox come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// The root file system of this machine, below a private writable layer.
    Host,
    /// This directory, below a private writable layer.
    Directory(PathBuf),
}

/// One mount inside a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxMount {
    /// Absolute path in the sandbox; made when it is missing. Links on the way are followed
    /// inside the sandbox's root, never out of it.
    pub target: String,
    /// What is there.
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the agent's view, with everything mounted below it.
    Bind {
        /// Which.
        source: PathBuf,
        /// Whether the program may change it.
        read_only: bool,
    },
    /// A directory of the machine that programs may change and other sandboxes see.
    Shared {
        /// Which.
        source: PathBuf,
    },
    /// A directory whose changes stay in the sandbox and are thrown away.
    Overlay {
        /// The directory below.
        lower: PathBuf,
    },
    /// Memory.
    Tmpfs {
        /// Its bound in bytes.
        size: u64,
    },
}

/// What a sandbox may use. `None`: as much as the agent may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all its processes together, with page cache, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads at one time.
    pub processes_max: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Open files of each process.
    pub files_max: Option<u64>,
}

/// A user and a group as the agent sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The program of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// Name or path, then its arguments. A name without `/` is looked up in the `PATH` of `env`,
    /// inside the sandbox.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory in the sandbox.
    pub directory: String,
}

/// Programs that follow each other in one sandbox without a word in between, as long as each is quick
/// and leaves nothing behind. They are the same but for a part of their environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// What they have in common.
    pub program: ProgramSpec,
    /// What each has in its environment beside that; at least one.
    pub each: Vec<Vec<(String, String)>>,
    /// How long a program may take for another one to follow it, in milliseconds; also how long the
    /// start of one waits to be told together with its end.
    pub quick_millis: u32,
}

impl SandboxSpec {
    /// The lineage of a sandbox that was made ahead: the first run decides.
    pub const OPEN: &str = "";
}

impl Series {
    /// How long a quick program takes, if nobody says otherwise.
    pub const QUICK_MILLIS: u32 = 8;

    /// One program.
    pub fn of_one(program: ProgramSpec) -> Self {
        Self { program, each: vec![Vec::new()], quick_millis: Self::QUICK_MILLIS }
    }
}

/// What happens to a series, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeriesEvent {
    /// So many programs ended, quickly and without a trace, and another one follows: what is said from
    /// now on is about that one.
    Quick(Vec<QuickEnd>),
    /// The first program that is not quick, or the last of the series.
    Run(RunEvent),
    /// The sandbox ended in the middle of the series, and nobody knows in which program. The last word.
    Lost,
}

impl SeriesEvent {
    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        match self {
            Self::Quick(_) | Self::Run(RunEvent::Started { .. }) => false,
            Self::Lost | Self::Run(RunEvent::Failed(_) | RunEvent::Exited(_)) => true,
        }
    }
}

/// What happens to a run, in order. `Failed` and `Exited` are the last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEvent {
    /// The program runs. Left out when it ended at once.
    Started {
        /// Pid 1 of the sandbox, as the agent sees it.
        pid: i32,
        /// When, in microseconds since 1970.
        at_micros: i64,
    },
    /// The program was never started, or its sandbox was ended from outside, so that nobody knows
    /// how it would have ended.
    Failed(StartFailure),
    /// The program ended and nothing of its tree is left.
    Exited(Ended),
}

/// How far the start of a program came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Talking to the spawner.
    Spawner,
    /// Making the process and its namespaces.
    Process,
    /// Setting limits.
    Limits,
    /// Building the file system.
    Files,
    /// Showing a mount where it was asked for: a file is in the way, or a directory.
    MountPoint,
    /// Giving up privileges.
    Confinement,
    /// Entering the working directory.
    Directory,
    /// Executing the program.
    Program,
}

/// Why a program was not started, or was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// Where it stopped.
    pub stage: Stage,
    /// The system's error number, if it was the system that refused.
    pub errno: Option<i32>,
    /// What was tried and why it failed, for a person.
    pub message: String,
}

impl StartFailure {
    /// Whether what the user asked for cannot work here, so that trying again cannot help.
    pub fn is_users(&self) -> bool {
        match self.stage {
            Stage::MountPoint | Stage::Directory | Stage::Program => true,
            Stage::Spawner | Stage::Process | Stage::Limits | Stage::Files | Stage::Confinement => {
                false
            }
        }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl std::error::Error for StartFailure {}

/// The end of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// What the whole tree used.
    pub usage: Usage,
    /// When the program started, in microseconds since 1970.
    pub started_micros: i64,
    /// Whether the sandbox was kept for the next run of its lineage: the program left no trace in
    /// it. Its scratch directory and the sources of its mounts must stay as they are until a run
    /// with the same sandbox or [`Spawner::let_go`](crate::Spawner::let_go).
    pub kept: bool,
}

/// The end of a program of a series that another one follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuickEnd {
    /// Its exit status.
    pub code: i32,
    /// When it started, in microseconds since 1970.
    pub started_micros: i64,
    /// When it ended.
    pub ended_micros: i64,
    /// All that it wrote to its standard output; the file is empty again.
    pub stdout: Vec<u8>,
    /// The same of its standard error.
    pub stderr: Vec<u8>,
}

impl QuickEnd {
    /// The most that it may have written to each stream, in bytes.
    pub const SAID_BYTES_MAX: u64 = 16 << 10;
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By the system, because the sandbox used all its memory.
    OutOfMemory,
}

/// What a tree of processes used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in the programs, in microseconds.
    pub user_micros: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_micros: u64,
    /// The largest resident memory of one process, in bytes.
    pub resident_bytes_max: u64,
}

impl Usage {
    /// Counts another process in.
    pub(crate) fn add(&mut self, other: &Self) {
        self.user_micros += other.user_micros;
        self.system_micros += other.system_micros;
        self.resident_bytes_max = self.resident_bytes_max.max(other.resident_bytes_max);
    }
}
