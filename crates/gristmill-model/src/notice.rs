//! What a topic is told of: one [`Notice`] for each message that a user subscribed to
//! (`reference/api.md` 13.6 and 15).
//!
//! A notice is complete in itself: it stands in the outbox until it was delivered, and by then
//! the job or cluster may be gone. Instances that do the same at the same time (all of a task
//! wait, all are stopped) share one notice, which is as many messages as it has instances.
//!
//! Start at [`Facts`].

use crate::{
    ids::{AccountId, ClusterId, InstanceNo, JobId, WorkerId},
    names::{GroupName, JobName, OssPath, TaskName},
    spec::Notification,
    state::JobState,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many instances one notice speaks for at most. After a crash up to so many messages of
/// one notice may be sent again.
pub const NOTICE_INSTANCES_MAX: u32 = 100;

/// One thing to announce, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whose job or cluster it is.
    pub account: AccountId,
    /// What it is about: notices of one subject are delivered in their order.
    pub about: Subject,
    /// The topic's name.
    pub topic: String,
    /// The message service of the topic; empty: the embedded one.
    pub endpoint: String,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub facts: Facts,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A job, with its tasks and instances.
    Job(JobId),
    /// A cluster, with its machines.
    Cluster(ClusterId),
}

/// What happened, as much of it as the message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Facts {
    /// A cluster and its record are gone.
    ClusterDeleted {
        /// Its name.
        name: JobName,
        /// When it was made.
        created: Timestamp,
    },
    /// A machine was asked for, or takes instances.
    Machine {
        /// Which.
        worker: WorkerId,
        /// In which group.
        group: GroupName,
        /// Whether it takes instances; it was only asked for otherwise.
        active: bool,
        /// Its address; empty until it called.
        address: String,
        /// When it was first wanted.
        created: Timestamp,
    },
    /// A job is in another state.
    Job(JobFacts),
    /// A job has another priority.
    Priority {
        /// The job.
        job: JobFacts,
        /// The priority before.
        from: u16,
        /// The priority now.
        to: u16,
    },
    /// A task is in another state.
    Task {
        /// Its name.
        task: TaskName,
        /// The state.
        state: JobState,
        /// When its first instance started.
        started: Option<Timestamp>,
        /// When it ended.
        ended: Option<Timestamp>,
    },
    /// Instances are in another state.
    Instances(InstanceFacts),
}

/// A job as a message shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// Its name.
    pub name: JobName,
    /// Its state.
    pub state: JobState,
    /// When it was submitted.
    pub created: Timestamp,
    /// When its first instance started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it failed.
    pub message: String,
}

/// One instance, or several with consecutive numbers of which the same is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceFacts {
    /// The task.
    pub task: TaskName,
    /// The first number.
    pub first: InstanceNo,
    /// How many; at least 1, at most [`NOTICE_INSTANCES_MAX`].
    pub count: u32,
    /// Their state.
    pub state: JobState,
    /// When the run started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Retries used up.
    pub retries: u32,
    /// Below which standard output is kept.
    pub stdout: Option<OssPath>,
    /// Below which standard error is kept.
    pub stderr: Option<OssPath>,
    /// How the run ended; empty while it did not.
    pub result: ResultFacts,
}

/// How a run ended, as a message shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResultFacts {
    /// The exit code; 0 when there is none.
    pub exit_code: i32,
    /// The cause of a failure.
    pub error_code: String,
    /// The same in words.
    pub error_message: String,
    /// More words.
    pub detail: String,
}

impl Notice {
    /// How many messages it is.
    pub fn messages(&self) -> u32 {
        match &self.facts {
            Facts::Instances(instances) => instances.count,
            _ => 1,
        }
    }
}

impl Notification {
    /// Whether anything is announced: a topic and at least one event are named. Without an
    /// endpoint the topic is one of the embedded service (`reference/mns.md` 13).
    pub fn is_active(&self) -> bool {
        !self.topic.is_empty() && !self.events.is_empty()
    }
}

impl Facts {
    /// The vendor's name of the event.
    pub fn event(&self) -> &'static str {
        match self {
            Self::ClusterDeleted { .. } => "OnClusterDeleted",
            Self::Machine { active: false, .. } => "OnInstanceCreated",
            Self::Machine { active: true, .. } => "OnInstanceActive",
            Self::Priority { .. } => "OnPriorityChange",
            Self::Job(job) => job_event(job.state),
            Self::Task { state, .. } => task_event(*state),
            Self::Instances(instances) => instance_event(instances.state),
        }
    }
}

/// The event of a job that comes into this state.
pub fn job_event(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "OnJobWaiting",
        JobState::Running => "OnJobRunning",
        JobState::Stopped => "OnJobStopped",
        JobState::Finished => "OnJobFinished",
        JobState::Failed => "OnJobFailed",
    }
}

/// The event of a task that comes into this state.
pub fn task_event(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "OnTaskWaiting",
        JobState::Running => "OnTaskRunning",
        JobState::Stopped => "OnTaskStopped",
        JobState::Finished => "OnTaskFinished",
        JobState::Failed => "OnTaskFailed",
    }
}

/// The event of an instance that comes into this state.
pub fn instance_event(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "OnInstanceWaiting",
        JobState::Running => "OnInstanceRunning",
        JobState::Stopped => "OnInstanceStopped",
        JobState::Finished => "OnInstanceFinished",
        JobState::Failed => "OnInstanceFailed",
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(job) => job.fmt(f),
            Self::Cluster(cluster) => cluster.fmt(f),
        }
    }
}
