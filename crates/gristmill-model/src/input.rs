//! What goes into the mill and what it answers.
//!
//! An input is a command of a user, a report of an agent, an observation of a provider, a plan,
//! or the passing of time. Repeated and late inputs are ordinary.

use crate::{
    catalogue::InstanceTypeName,
    change::ClusterChange,
    ids::{AccountId, ClusterId, Generation, JobId, RunId, WorkerId},
    market::{PriceMilli, Quota},
    names::{GroupName, TaskName},
    ranges::RangeSet,
    spec::{ClusterSpec, JobSpec},
    state::Cause,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A client's idempotency token with a digest of the parsed body (`reference/api.md` 4.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// The text of the client.
    pub text: String,
    /// Digest of the canonical body.
    pub body: String,
}

/// One thing that reaches the mill.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// `POST /jobs`.
    SubmitJob {
        /// Who.
        account: AccountId,
        /// What.
        spec: Arc<JobSpec>,
        /// Answer as the first time when the same token was seen.
        token: Option<Token>,
    },
    /// `POST /jobs/{job}/stop`.
    StopJob {
        /// Who.
        account: AccountId,
        /// Which.
        job: JobId,
    },
    /// `POST /jobs/{job}/start`.
    StartJob {
        /// Who.
        account: AccountId,
        /// Which.
        job: JobId,
    },
    /// `DELETE /jobs/{job}`.
    DeleteJob {
        /// Who.
        account: AccountId,
        /// Which.
        job: JobId,
    },
    /// `PUT /jobs/{job}`.
    ChangePriority {
        /// Who.
        account: AccountId,
        /// Which.
        job: JobId,
        /// 0 to 1000.
        priority: u16,
    },
    /// `POST /clusters`.
    CreateCluster {
        /// Who.
        account: AccountId,
        /// What.
        spec: Arc<ClusterSpec>,
        /// As for jobs.
        token: Option<Token>,
    },
    /// `PUT /clusters/{cluster}`.
    ModifyCluster {
        /// Who.
        account: AccountId,
        /// Which.
        cluster: ClusterId,
        /// What changes.
        change: Arc<ClusterChange>,
    },
    /// `DELETE /clusters/{cluster}`.
    DeleteCluster {
        /// Who.
        account: AccountId,
        /// Which.
        cluster: ClusterId,
    },
    /// `DELETE /clusters/{cluster}/groups/{group}/instances/{machine}`: the machine goes and its
    /// group is one smaller.
    DeleteWorker {
        /// Who.
        account: AccountId,
        /// Which.
        place: WorkerPlace,
    },
    /// `POST …/instances/{machine}/recreate`: the machine goes and a new one is wanted.
    RecreateWorker {
        /// Who.
        account: AccountId,
        /// Which.
        place: WorkerPlace,
    },
    /// `DELETE /jobs/{job}` of a job that is only in the store's history. The caller has looked
    /// whose it is.
    ForgetJob {
        /// Which.
        job: JobId,
    },
    /// The operator sets the price of spot machines of a type; `None`: there is none any longer.
    SetSpotPrice {
        /// Of which type.
        instance_type: InstanceTypeName,
        /// In thousandths.
        price: Option<PriceMilli>,
    },
    /// The operator sets machines aside for an account, or takes some back.
    SetPrepaid {
        /// For whom.
        account: AccountId,
        /// Of which type.
        instance_type: InstanceTypeName,
        /// How many in all.
        machines: u32,
    },
    /// The operator bounds what an account may use.
    SetQuota {
        /// Whose.
        account: AccountId,
        /// The bounds; what is `None` is as the region's limits say.
        quota: Quota,
    },
    /// An agent called and says what it holds: everything it runs, and everything that ended
    /// and was not acknowledged (those follow as reports).
    WorkerCalled {
        /// Who.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// Where its machine is, as shown in `IpAddress`.
        address: String,
        /// Runs it executes or holds a result of.
        holds: Vec<RunId>,
        /// How many runs it takes beyond those it executes, to start one as soon as another ends.
        ahead: u32,
    },
    /// Reports of an agent, in its order.
    WorkerReported {
        /// Who.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// What.
        reports: Vec<RunReport>,
    },
    /// An agent was silent for longer than the patience with workers.
    WorkerSilent {
        /// Who.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
    },
    /// What the provider saw of a worker.
    WorkerObserved {
        /// Who.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// What.
        seen: Seen,
    },
    /// Placements proposed by `plan`; stale ones are dropped.
    Place(Vec<Proposal>),
    /// Time passed: whatever is due is done.
    Tick,
    /// The server started, perhaps with other limits: whoever waits for machines is looked at.
    /// Since 0.2.0.
    Resumed,
}

/// A machine and where its owner says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPlace {
    /// The cluster.
    pub cluster: ClusterId,
    /// The group.
    pub group: GroupName,
    /// The machine.
    pub worker: WorkerId,
}

/// A proposal: these instances on that worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The job.
    pub job: JobId,
    /// Its task.
    pub task: TaskName,
    /// Its instances.
    pub instances: RangeSet,
    /// Where they should run.
    pub worker: WorkerId,
}

/// What a provider sees of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// It was asked for and is coming or there.
    There,
    /// The provider answered that it has no such worker.
    Gone,
    /// The provider could not make it now; asking again later can help.
    NoRoom {
        /// For the user: what is missing.
        reason: String,
    },
    /// The provider cannot make it at all.
    Refused {
        /// For the user.
        reason: String,
    },
    /// It came and could not be set up: its bootstrap failed, a mount, a disk.
    Failed {
        /// For the user: what, and how it ended.
        reason: String,
    },
}

/// What an agent says of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunReport {
    /// The program started.
    Started {
        /// Which run.
        run: RunId,
        /// When, by the agent's clock.
        at: Timestamp,
    },
    /// The run is over: program ended, outputs and logs uploaded.
    Ended {
        /// Which run.
        run: RunId,
        /// When the program started, by the agent's clock; `None` when it never did.
        started: Option<Timestamp>,
        /// When it ended.
        ended: Timestamp,
        /// How.
        outcome: RunOutcome,
        /// More words for a person: discarded files, skipped outputs, the last error. At most
        /// 4 KiB.
        detail: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunOutcome {
    /// The program ended by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the program.
    Signalled {
        /// Which.
        signal: i32,
    },
    /// It ran too long and was ended.
    TimedOut,
    /// It used too much memory and was ended by the kernel.
    OutOfMemory,
    /// It could not be run, or its results could not be kept, for a reason that lies with the
    /// job: uses up a retry.
    Unable {
        /// Which part.
        cause: Cause,
        /// For a person: object, path, image or limit concerned.
        message: String,
    },
    /// It could not be run, or its results could not be kept, for a reason that lies with the
    /// machine or the store: does not use up a retry.
    Infrastructure {
        /// Which part.
        cause: Cause,
        /// For a person.
        message: String,
    },
    /// It was ended because the server said so.
    Cancelled,
}

/// What the mill says to the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done; nothing to add.
    Done,
    /// A job was made, or had been made by the same token.
    Job(JobId),
    /// A cluster was made, or had been made by the same token.
    Cluster(ClusterId),
    /// A cluster is being deleted.
    Deleting {
        /// Whether machines still have to go.
        machines_left: bool,
    },
    /// The worker is welcome and should hold exactly the runs the world says.
    Welcome,
    /// The worker is not wanted (unknown, replaced, or of an older generation): it should end.
    Unwanted,
}

/// Why the mill says no. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such thing for this account.
    #[error("{kind} `{id}` is not found")]
    NotFound {
        /// `job`, `cluster`, `group`.
        kind: &'static str,
        /// As given.
        id: String,
    },
    /// Not legal in the present state.
    #[error("{kind} `{id}` is {state}: {action} is not possible")]
    Conflict {
        /// `job`, `cluster`.
        kind: &'static str,
        /// Which.
        id: String,
        /// Its state.
        state: &'static str,
        /// What was wanted.
        action: &'static str,
    },
    /// The token was seen with another body.
    #[error("the idempotency token was used with another body")]
    TokenMismatch,
    /// A quota is used up.
    #[error("quota exhausted: {what} of an account: the limit is {limit}, {used} are in use")]
    Quota {
        /// Of what.
        what: &'static str,
        /// How much.
        limit: u64,
        /// How much is in use without what was asked for.
        used: u64,
    },
    /// A change names a group that the cluster does not have.
    #[error("Groups: the cluster has no group `{group}`")]
    UnknownGroup {
        /// The name.
        group: GroupName,
    },
    /// A member of the specification does not hold in this world, e.g. an unknown cluster.
    #[error("{member}: {reason}")]
    Invalid {
        /// The member, as in the vendor's code `Invalid{member}`.
        member: &'static str,
        /// Why.
        reason: String,
    },
}
