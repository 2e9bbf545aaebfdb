//! What becomes of jobs, tasks, instances and machines. One enum each, one `next` each; the data
//! of a state lives in its variant.
//!
//! Sources: `reference/api.md` 5. Late and repeated reports are ordinary: the caller of `next`
//! drops a [`NoTransition`] with a debug line.

use crate::{
    ids::{Generation, RunId, WorkerId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An event that is not legal in a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no transition from {from} by {event}")]
pub struct NoTransition {
    /// The present state.
    pub from: &'static str,
    /// What was tried.
    pub event: &'static str,
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JobState {
    /// No instance has started since it was submitted or started again.
    Waiting,
    /// At least one instance has started.
    Running,
    /// All tasks ended well, or failures do not count.
    Finished,
    /// An instance failed for good and that fails the job.
    Failed,
    /// The user stopped it.
    Stopped,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// Its first instance started.
    InstanceStarted,
    /// All its tasks ended and that counts as success.
    Completed,
    /// One of its instances failed for good and that fails the job.
    InstanceFailed,
    /// The user stops it.
    Stop,
    /// The user starts it again.
    Start,
}

impl JobState {
    /// The state after `event`.
    pub fn next(self, event: JobEvent) -> Result<Self, NoTransition> {
        use {JobEvent as E, JobState as S};
        Ok(match (self, event) {
            (S::Waiting, E::InstanceStarted) => S::Running,
            (S::Waiting | S::Running, E::Completed) => S::Finished,
            (S::Waiting | S::Running, E::InstanceFailed) => S::Failed,
            (S::Waiting | S::Running, E::Stop) => S::Stopped,
            (S::Stopped | S::Failed, E::Start) => S::Waiting,
            (from, event) => {
                return Err(NoTransition { from: from.name(), event: event.name() });
            }
        })
    }

    /// Whether the job has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Stopped)
    }

    /// The vendor's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Finished => "Finished",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
        }
    }
}

impl JobEvent {
    fn name(self) -> &'static str {
        match self {
            Self::InstanceStarted => "first instance",
            Self::Completed => "completion",
            Self::InstanceFailed => "failed instance",
            Self::Stop => "stop",
            Self::Start => "start",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The state of a task: the same five words as a job's.
pub type TaskState = JobState;

/// The state of one instance of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    /// Nobody runs it.
    Waiting,
    /// A worker was told to run it and has not said that it started. Shown as `Waiting`.
    Placed {
        /// This execution.
        run: RunId,
        /// Who was told.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// When.
        at: Timestamp,
    },
    /// Its program runs.
    Running {
        /// This execution.
        run: RunId,
        /// Where.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// Since when.
        since: Timestamp,
    },
    /// Its program ended with 0.
    Finished,
    /// It failed and has no retry left.
    Failed,
    /// The job was stopped, or failed because of another instance.
    Stopped,
}

impl InstanceState {
    /// The vendor's word: a placed instance is still waiting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting | Self::Placed { .. } => "Waiting",
            Self::Running { .. } => "Running",
            Self::Finished => "Finished",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
        }
    }
}

/// Why a run did not end well. Each has a code that the API shows in `Result.ErrorCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The program ended with a code other than 0.
    NonZeroExit,
    /// A signal ended the program.
    Signal,
    /// It ran longer than `Timeout`.
    Timeout,
    /// It used more memory than its machine has.
    OutOfMemory,
    /// The command line names no program, or one that cannot be executed.
    Command,
    /// The package could not be fetched or unpacked.
    Package,
    /// An input could not be mounted, or changed during the run.
    Mount,
    /// An output or a log could not be uploaded.
    Upload,
    /// The image is not here.
    Image,
    /// The machine was lost too often.
    WorkerLost,
    /// The machine could not make the sandbox.
    Sandbox,
}

impl Cause {
    /// The code of `Result.ErrorCode` (`reference/api.md` 8.2; ours where the vendor's is unknown).
    pub fn code(self) -> &'static str {
        match self {
            Self::NonZeroExit => "NonZeroExit",
            Self::Signal => "Signalled",
            Self::Timeout => "Timeout",
            Self::OutOfMemory => "OutOfMemory",
            Self::Command => "CommandError",
            Self::Package => "PackageError",
            Self::Mount => "MountError",
            Self::Upload => "UploadError",
            Self::Image => "ImageError",
            Self::WorkerLost => "VMLost",
            Self::Sandbox => "SandboxError",
        }
    }
}

/// The state of a machine of a cluster (`reference/api.md` 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WorkerState {
    /// Wanted; the provider was not asked yet or had no room.
    Pending,
    /// The provider was asked; the worker has not called yet.
    Starting,
    /// The worker called and takes instances.
    Running,
    /// It is to go; it takes nothing new.
    Deleting,
}

impl WorkerState {
    /// The vendor's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Deleting => "Deleting",
        }
    }
}

/// How many of something are in each state. The five always add up to the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Waiting (and placed).
    pub waiting: u32,
    /// Running.
    pub running: u32,
    /// Finished.
    pub finished: u32,
    /// Failed.
    pub failed: u32,
    /// Stopped.
    pub stopped: u32,
}

impl Counts {
    /// The sum of all five.
    pub fn total(&self) -> u32 {
        self.waiting + self.running + self.finished + self.failed + self.stopped
    }

    /// The count of one state.
    pub fn of(&mut self, state: JobState) -> &mut u32 {
        match state {
            JobState::Waiting => &mut self.waiting,
            JobState::Running => &mut self.running,
            JobState::Finished => &mut self.finished,
            JobState::Failed => &mut self.failed,
            JobState::Stopped => &mut self.stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The legality table of `reference/api.md` 5.1, whole.
    #[test]
    fn jobs_move_only_as_the_table_says() {
        use {JobEvent as E, JobState as S};
        let legal = [
            (S::Waiting, E::InstanceStarted, S::Running),
            (S::Waiting, E::Completed, S::Finished),
            (S::Running, E::Completed, S::Finished),
            (S::Waiting, E::InstanceFailed, S::Failed),
            (S::Running, E::InstanceFailed, S::Failed),
            (S::Waiting, E::Stop, S::Stopped),
            (S::Running, E::Stop, S::Stopped),
            (S::Stopped, E::Start, S::Waiting),
            (S::Failed, E::Start, S::Waiting),
        ];
        for from in [S::Waiting, S::Running, S::Finished, S::Failed, S::Stopped] {
            for event in [E::InstanceStarted, E::Completed, E::InstanceFailed, E::Stop, E::Start] {
                let wanted = legal.iter().find(|row| (row.0, row.1) == (from, event));
                assert_eq!(from.next(event).ok(), wanted.map(|row| row.2), "{from} {event:?}");
            }
        }
    }
}
