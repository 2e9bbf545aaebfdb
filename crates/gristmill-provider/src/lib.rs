//! Makes workers exist: machines of a cluster, each a process of `gristmill agent` somewhere.
//!
//! Callers say what should be there ([`Provider::ensure`], [`Provider::remove`]), then look again
//! ([`Provider::observe`]). Every request carries a generation; what is older than what a
//! provider has, or has removed, is refused.
//!
//! Invariants
//! - At most one generation of a worker exists at a time.
//! - Repeating a request changes nothing.
//! - `Gone` is an answer, `Unknown` is the lack of one.
//!
//! Start at [`Provider`]; [`LocalProvider`] is the default one, [`MemoryProvider`] is for tests.

mod error;
mod local;
mod memory;
mod process;
mod record;
mod tombstones;

pub use error::{ProviderError, Retry};
pub use local::{LocalConfig, LocalProvider};
pub use memory::MemoryProvider;

use async_trait::async_trait;
use gristmill_model::{Generation, WorkerId, event::EnsureWorker};
use std::{fmt, path::PathBuf};

/// Makes machines exist.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Asks for a worker of this generation and shape. Asking twice is harmless; an older
    /// generation is refused, a newer one takes the place of the older. A worker that ended by
    /// itself is started again.
    async fn ensure(
        &self,
        request: &EnsureWorker,
        launch: &AgentLaunch,
    ) -> Result<(), ProviderError>;

    /// Asks for the worker not to be there in this or an older generation. When it answers, the
    /// worker and everything it ran are gone. A newer generation is left alone.
    async fn remove(&self, worker: WorkerId, generation: Generation) -> Result<(), ProviderError>;

    /// What is there now, one answer for each worker, in their order.
    async fn observe(&self, workers: &[WorkerId]) -> Result<Vec<Observed>, ProviderError>;

    /// Every worker this provider has, whoever asked for it.
    async fn list(&self) -> Result<Vec<(WorkerId, Generation)>, ProviderError>;

    /// Bytes of what a machine's bootstrap command said, from an offset on; none, when it said no more, or
    /// there is no such machine.
    async fn bootstrap_log(
        &self,
        worker: WorkerId,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ProviderError>;

    /// What this backend can do; the shared test suite asks before it tests.
    fn capabilities(&self) -> Capabilities;
}

/// How an agent is started.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentLaunch {
    /// The executable; it is called as `PROGRAM agent --config FILE`.
    pub program: PathBuf,
    /// What the file holds. It carries the worker's token, so it is never shown.
    pub config_json: Vec<u8>,
}

impl fmt::Debug for AgentLaunch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentLaunch").field("program", &self.program).finish_non_exhaustive()
    }
}

/// What was seen of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Which.
    pub worker: WorkerId,
    /// What.
    pub presence: Presence,
}

/// Whether a worker is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It exists in this generation. Whether it works is for its agent to say.
    There(Generation),
    /// The backend answered that it has no such worker.
    Gone,
    /// The backend did not answer.
    Unknown,
}

/// What a backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether a new provider on the same state knows the workers of the old one.
    pub remembers: bool,
    /// How many workers there can be at once; `None`: the backend decides each time.
    pub workers_max: Option<u32>,
}
