//! The protocol between server and agent: one gRPC stream in each direction, opened by the agent.
//!
//! The agent says [`Hello`] with everything it holds, the server answers [`Welcome`] or
//! [`Retire`]. From then on the server says which runs the agent should hold ([`Task`], [`Run`],
//! [`Cancel`]) and the agent reports ([`Report`]); each report is kept and repeated after a
//! reconnect until the server acknowledges it, which it does when the report is durable.
//! Repeating any message is harmless.
//!
//! The messages are protobuf, written by hand as `prost` structs: an agent outlives the server
//! that started it, so old agents must understand new servers. Tags are never used again.

mod batches;
mod convert;
mod machine;
pub mod shell;

pub use batches::FinishedLast;
pub use convert::BadReport;
pub use machine::{DataDiskConfig, MachineConfig, MachineMount, NetworkConfig};

use prost::{Enumeration, Message, Oneof, bytes::Bytes};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The gRPC path of the only method.
pub const CONNECT_PATH: &str = "/gristmill.agent.v1.Agent/Connect";

/// What an agent is started with: a JSON file that only it can read. Unknown members are ignored,
/// missing ones have defaults where one makes sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// The worker's id.
    pub worker: String,
    /// Its generation.
    pub generation: u32,
    /// Proves to the server that it was started for this worker.
    pub token: String,
    /// The server's URL.
    pub server: String,
    /// The worker's own directory: scratch space of its runs.
    pub directory: PathBuf,
    /// Host name that programs see.
    pub host_name: String,
    /// Address as shown to users.
    pub address: String,
    /// Paths of the host that programs must not see: the region's data, for one.
    #[serde(default)]
    pub masked: Vec<PathBuf>,
    /// How many runs at a time.
    #[serde(default = "one")]
    pub slots: u32,
    /// Host user that programs are when the agent is root.
    #[serde(default)]
    pub sandbox_uid: u32,
    /// Seconds without a server after which the agent ends itself.
    pub orphan_seconds_max: u32,
    /// Memory of the machine in bytes; 0 for no limit.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Thousandths of a processor; 0 for no limit.
    #[serde(default)]
    pub cpu_millis: u32,
    /// What the machine is made of.
    #[serde(default)]
    pub machine: MachineConfig,
}

fn one() -> u32 {
    1
}

/// Agent to server.
#[derive(Clone, PartialEq, Message)]
pub struct FromAgent {
    /// What it says.
    #[prost(oneof = "FromAgentKind", tags = "1, 2, 3, 4, 5, 20")]
    pub kind: Option<FromAgentKind>,
}

/// What an agent says.
#[derive(Clone, PartialEq, Oneof)]
pub enum FromAgentKind {
    /// First of all.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// What became of runs.
    #[prost(message, tag = "2")]
    Reports(Reports),
    /// Still here; sent when there was nothing else to say.
    #[prost(message, tag = "3")]
    Beat(Beat),
    /// The answer to [`ReadLog`].
    #[prost(message, tag = "4")]
    Log(LogBytes),
    /// Many runs that ended well; the short form of [`Reports`].
    #[prost(message, tag = "5")]
    Finished(Finished),
    /// What a shell says.
    #[prost(message, tag = "20")]
    Shell(shell::FromShell),
}

/// Who the agent is and what it holds.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// The worker's id, `i-…`.
    #[prost(string, tag = "1")]
    pub worker: String,
    /// Its generation.
    #[prost(uint32, tag = "2")]
    pub generation: u32,
    /// Proves that it was started for this worker and generation.
    #[prost(string, tag = "3")]
    pub token: String,
    /// Address of the machine, as shown to users.
    #[prost(string, tag = "4")]
    pub address: String,
    /// Runs it executes or holds an unacknowledged result of.
    #[prost(uint64, repeated, tag = "5")]
    pub holds: Vec<u64>,
    /// What the machine cannot enforce, for the operator.
    #[prost(string, repeated, tag = "6")]
    pub notices: Vec<String>,
    /// The agent's version.
    #[prost(string, tag = "7")]
    pub version: String,
    /// Why the machine could not be set up, for its owner; empty: it takes work.
    #[prost(string, tag = "8")]
    pub failure: String,
    /// How many runs it takes beyond those it executes at once (`AgentConfig::slots`), to start one as
    /// soon as another ends. It gets them only of tasks with short programs. 0: none.
    #[prost(uint32, tag = "9")]
    pub ahead: u32,
    /// Whether it understands [`Runs`]; without it each run comes as a [`Run`].
    #[prost(bool, tag = "10")]
    pub batches: bool,
}

/// Nothing to say.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Beat {}

/// Several reports in their order.
#[derive(Clone, PartialEq, Message)]
pub struct Reports {
    /// In the order in which they happened.
    #[prost(message, repeated, tag = "1")]
    pub reports: Vec<Report>,
}

/// Runs that ended with exit code 0 and with nothing more to say, in columns. Same meaning as a
/// [`Report`] for each; any number of runs, of any tasks.
#[derive(Clone, PartialEq, Message)]
pub struct Finished {
    /// Which runs: the first number, then the difference of each to the one before.
    #[prost(sint64, repeated, tag = "1")]
    pub runs: Vec<i64>,
    /// When each program started, microseconds since 1970, in the same manner.
    #[prost(sint64, repeated, tag = "2")]
    pub started: Vec<i64>,
    /// How long each took, microseconds.
    #[prost(uint64, repeated, tag = "3")]
    pub took: Vec<u64>,
}

/// What became of one run.
#[derive(Clone, PartialEq, Message)]
pub struct Report {
    /// Which run.
    #[prost(uint64, tag = "1")]
    pub run: u64,
    /// When the program started, microseconds since 1970; 0 when it never did.
    #[prost(int64, tag = "2")]
    pub started: i64,
    /// How it ended; absent while it runs.
    #[prost(message, optional, tag = "3")]
    pub end: Option<RunEnd>,
    /// What the program said, for the server to store where the task's streams go; absent when the
    /// agent stored it. Only with an end, and only to a server that takes it ([`Welcome::takes_streams`]).
    #[prost(message, optional, tag = "4")]
    pub streams: Option<Streams>,
}

/// All that a program said.
#[derive(Clone, PartialEq, Message)]
pub struct Streams {
    /// On its standard output.
    #[prost(bytes = "bytes", tag = "1")]
    pub stdout: Bytes,
    /// On its standard error.
    #[prost(bytes = "bytes", tag = "2")]
    pub stderr: Bytes,
}

/// How a run ended.
#[derive(Clone, PartialEq, Message)]
pub struct RunEnd {
    /// When, microseconds since 1970.
    #[prost(int64, tag = "1")]
    pub at: i64,
    /// In which way.
    #[prost(enumeration = "EndKind", tag = "2")]
    pub kind: i32,
    /// Exit code or signal number.
    #[prost(sint32, tag = "3")]
    pub number: i32,
    /// For `UNABLE` and `INFRASTRUCTURE`: which part, a code of `model::Cause`.
    #[prost(string, tag = "4")]
    pub cause: String,
    /// For a person.
    #[prost(string, tag = "5")]
    pub message: String,
    /// More words for a person.
    #[prost(string, tag = "6")]
    pub detail: String,
    /// Where the time went; absent from older agents.
    #[prost(message, optional, tag = "7")]
    pub spans: Option<Spans>,
}

/// Where the time of a run went besides its program, microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Spans {
    /// Waited on the machine for a place to run.
    #[prost(uint64, tag = "1")]
    pub waited_micros: u64,
    /// Package, inputs, sandbox: until the program started.
    #[prost(uint64, tag = "2")]
    pub prepared_micros: u64,
    /// Sent its outputs and logs home.
    #[prost(uint64, tag = "3")]
    pub kept_micros: u64,
}

/// The ways in which a run ends; see `model::RunOutcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum EndKind {
    /// By itself.
    Exited = 0,
    /// By a signal.
    Signalled = 1,
    /// Too long.
    TimedOut = 2,
    /// Too much memory.
    OutOfMemory = 3,
    /// The job's fault before or after the program.
    Unable = 4,
    /// The machine's or the store's fault.
    Infrastructure = 5,
    /// The server said so.
    Cancelled = 6,
}

/// Bytes of a log that is still being written.
#[derive(Clone, PartialEq, Message)]
pub struct LogBytes {
    /// The request it answers.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// The bytes from the asked offset on; may be empty.
    #[prost(bytes = "vec", tag = "2")]
    pub bytes: Vec<u8>,
    /// Whether the run is over or not here, so that nothing will follow.
    #[prost(bool, tag = "3")]
    pub over: bool,
}

/// Server to agent.
#[derive(Clone, PartialEq, Message)]
pub struct ToAgent {
    /// What it says.
    #[prost(oneof = "ToAgentKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 20")]
    pub kind: Option<ToAgentKind>,
}

/// What a server says.
#[derive(Clone, PartialEq, Oneof)]
pub enum ToAgentKind {
    /// The agent is wanted.
    #[prost(message, tag = "1")]
    Welcome(Welcome),
    /// The agent is not wanted: end everything and exit.
    #[prost(message, tag = "2")]
    Retire(Retire),
    /// What the runs of a task have in common; before the first of them.
    #[prost(message, tag = "3")]
    Task(Box<Task>),
    /// This run should be held.
    #[prost(message, tag = "4")]
    Run(Run),
    /// This run should not be held any more: end it if it runs, forget its result.
    #[prost(message, tag = "5")]
    Cancel(Cancel),
    /// These results are durable: forget them.
    #[prost(message, tag = "6")]
    Acknowledge(Acknowledge),
    /// Bytes of a log are wanted.
    #[prost(message, tag = "7")]
    ReadLog(ReadLog),
    /// These runs should be held. Only for agents that said `batches`.
    #[prost(message, tag = "8")]
    Runs(Runs),
    /// What a person in front of a shell says.
    #[prost(message, tag = "20")]
    Shell(shell::ToShell),
}

/// The agent is wanted.
#[derive(Clone, PartialEq, Message)]
pub struct Welcome {
    /// How often to say something, milliseconds.
    #[prost(uint32, tag = "1")]
    pub beat_ms: u32,
    /// The object store's endpoint as this agent reaches it.
    #[prost(string, tag = "2")]
    pub oss_endpoint: String,
    /// Streams of at most so many bytes each may come with the report of the end; 0: none.
    #[prost(uint32, tag = "3")]
    pub takes_streams: u32,
}

/// The agent is not wanted.
#[derive(Clone, PartialEq, Message)]
pub struct Retire {
    /// Why, for its log.
    #[prost(string, tag = "1")]
    pub reason: String,
}

/// What the runs of a task have in common.
#[derive(Clone, PartialEq, Message)]
pub struct Task {
    /// Number by which runs name it, valid in this stream.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// Job id.
    #[prost(string, tag = "2")]
    pub job: String,
    /// Task name.
    #[prost(string, tag = "3")]
    pub task: String,
    /// The command line, not split.
    #[prost(string, tag = "4")]
    pub command_line: String,
    /// `oss://…` of the package; empty for none.
    #[prost(string, tag = "5")]
    pub package: String,
    /// Environment, complete but for what depends on the instance.
    #[prost(btree_map = "string, string", tag = "6")]
    pub env: std::collections::BTreeMap<String, String>,
    /// What is seen where.
    #[prost(message, repeated, tag = "7")]
    pub inputs: Vec<Mapping>,
    /// What is uploaded where at the end.
    #[prost(message, repeated, tag = "8")]
    pub outputs: Vec<Mapping>,
    /// Which logs are uploaded into which prefix.
    #[prost(message, repeated, tag = "9")]
    pub logs: Vec<Mapping>,
    /// `oss://…/` for standard output; empty for none.
    #[prost(string, tag = "10")]
    pub stdout: String,
    /// `oss://…/` for standard error; empty for none.
    #[prost(string, tag = "11")]
    pub stderr: String,
    /// Longest run in seconds.
    #[prost(uint32, tag = "12")]
    pub timeout: u32,
    /// Character set of names.
    #[prost(string, tag = "13")]
    pub locale: String,
    /// File locks on mounts.
    #[prost(bool, tag = "14")]
    pub lock: bool,
    /// Key for the object store, good for this task's mappings only.
    #[prost(string, tag = "15")]
    pub access_key_id: String,
    /// Its secret.
    #[prost(string, tag = "16")]
    pub access_key_secret: String,
    /// Memory of the machine in bytes; 0 for no limit.
    #[prost(uint64, tag = "17")]
    pub memory_bytes: u64,
    /// Thousandths of a processor; 0 for no limit.
    #[prost(uint32, tag = "18")]
    pub cpu_millis: u32,
    /// The runs are served by a program that stays.
    #[prost(message, optional, tag = "19")]
    pub resident: Option<Resident>,
}

/// How a program that stays serves the runs of a task.
#[derive(Clone, PartialEq, Message)]
pub struct Resident {
    /// Account, app and revision: only runs with equal keys may share a program.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The names in [`Task::env`] that belong to a run and not to the program.
    #[prost(string, repeated, tag = "2")]
    pub run_env: Vec<String>,
    /// A JSON object: the values of the app's parameters.
    #[prost(string, tag = "3")]
    pub parameters: String,
    /// Seconds without a run after which the program is ended.
    #[prost(uint32, tag = "4")]
    pub idle_seconds_max: u32,
}

/// A place in the object store and a local path.
#[derive(Clone, PartialEq, Message)]
pub struct Mapping {
    /// `oss://bucket/key`.
    #[prost(string, tag = "1")]
    pub remote: String,
    /// Absolute local path.
    #[prost(string, tag = "2")]
    pub local: String,
}

/// This run should be held.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Run {
    /// Which run.
    #[prost(uint64, tag = "1")]
    pub run: u64,
    /// Of which [`Task`].
    #[prost(uint32, tag = "2")]
    pub task: u32,
    /// Which instance.
    #[prost(uint32, tag = "3")]
    pub instance: u32,
}

/// Runs with consecutive numbers of one task that should be held: the same as a [`Run`] for each.
#[derive(Clone, PartialEq, Message)]
pub struct Runs {
    /// The number of the first run.
    #[prost(uint64, tag = "1")]
    pub first: u64,
    /// Of which [`Task`].
    #[prost(uint32, tag = "2")]
    pub task: u32,
    /// Their instances, ascending, as ranges: first number and how many, one after the other.
    #[prost(uint32, repeated, tag = "3")]
    pub instances: Vec<u32>,
}

/// This run should not be held any more.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Cancel {
    /// Which run.
    #[prost(uint64, tag = "1")]
    pub run: u64,
}

/// These results are durable.
#[derive(Clone, PartialEq, Message)]
pub struct Acknowledge {
    /// Which runs.
    #[prost(uint64, repeated, tag = "1")]
    pub runs: Vec<u64>,
}

/// Bytes of a log are wanted.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ReadLog {
    /// Number of this request.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// Which run.
    #[prost(uint64, tag = "2")]
    pub run: u64,
    /// 1 standard output, 2 standard error.
    #[prost(uint32, tag = "3")]
    pub stream: u32,
    /// From where.
    #[prost(uint64, tag = "4")]
    pub offset: u64,
    /// At most so many bytes.
    #[prost(uint32, tag = "5")]
    pub bytes_max: u32,
    /// How long the answer may wait for the first of them, milliseconds. An older agent answers at once.
    #[prost(uint32, tag = "6")]
    pub wait_ms: u32,
}

impl From<FromAgentKind> for FromAgent {
    fn from(kind: FromAgentKind) -> Self {
        Self { kind: Some(kind) }
    }
}

impl From<ToAgentKind> for ToAgent {
    fn from(kind: ToAgentKind) -> Self {
        Self { kind: Some(kind) }
    }
}
