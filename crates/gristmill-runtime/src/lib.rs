//! Runs one program in a sandbox of its own.
//!
//! The agent calls [`Node::enter`] first thing, while it is still single-threaded. That puts the
//! agent into a private mount namespace (and, for an ordinary user, into a user namespace), looks
//! at what this machine can enforce, and forks the *spawner*: a small single-threaded process
//! that makes the sandboxes. Requests and file descriptors go to it over a socket; what happens
//! to the runs comes back the same way.
//!
//! ```text
//! agent --socket--> spawner --clone--> init (pid 1 of the sandbox) --fork--> program
//!       <-events--          <-line---                                 <-wait-
//! ```
//!
//! Making a sandbox costs several times what starting a program costs, so one that a program left
//! without a trace waits for the next run of its *lineage* ([`SandboxSpec::lineage`]). Words between
//! processes cost more than looking for traces, so such a sandbox takes several programs at a time
//! ([`Series`]) and goes on by itself while they are quick.
//!
//! Invariants
//! - A run ends with exactly one [`RunEvent::Failed`] or [`RunEvent::Exited`], and by then no
//!   process of its tree is left: pid 1 of the sandbox has found itself alone, or has ended, and
//!   the kernel kills what remains in the pid namespace.
//! - Runs of different lineages never share a sandbox, and nothing a run left reaches the next. One that
//!   is made ahead ([`Spawner::prepare`]) gets its lineage from the first run that takes it.
//! - The death of the agent or of the spawner kills every run.
//! - The program never holds a capability of the namespaces that own its mounts: the user
//!   namespace it lives in is made last.
//! - Deliberately absent: a network namespace (programs share the host's network, its abstract
//!   sockets included), formats of images (a root is a directory), buckets and jobs.
//!
//! What an ordinary user's agent cannot do: leave the user's supplementary groups behind, so
//! programs keep what those groups may read; hide from programs files of the same user that are
//! not masked; limit memory and processors where no control group is delegated.
//!
//! Start at [`Node::enter`] and [`Spawner::spawn`]; what is set up inside stands in `sandbox`.
//! [`command`] splits command lines, [`package`] unpacks the archives of jobs.

mod cell;
mod cgroup;
pub mod command;
mod disk;
mod host;
mod image;
mod layout;
mod memory;
mod node;
pub mod package;
mod protocol;
mod sandbox;
mod shared;
mod spawner;
pub mod spec;
mod supervisor;
mod sys;
pub mod terminal;

pub use disk::{Disk, DiskError};
pub use layout::{Layout, Located};
pub use memory::MemoryScratch;
pub use node::{Node, NodeError, NodeOptions, NodeReport};
pub use shared::SharedFiles;
pub use spawner::{Ear, RunHandle, SpawnError, Spawner, Streams};
pub use spec::{
    Ended, Exit, Identity, Limits, MountKind, ProgramSpec, QuickEnd, Root, RunEvent, SandboxMount,
    SandboxSpec, Series, SeriesEvent, Stage, StartFailure, Usage,
};
