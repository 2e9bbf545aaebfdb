//! What happened ([`Event`]) and what should now be true outside ([`Effect`]).
//!
//! Events are the journal: a restart applies them again. They are complete in themselves, so
//! the store can fill its read tables from them without asking the world.

use crate::{
    catalogue::InstanceTypeName,
    change::ClusterChange,
    ids::{AccountId, ClusterId, Generation, ImageId, InstanceNo, JobId, RunId, WorkerId},
    input::{RunOutcome, Token},
    market::{PriceMilli, Quota, ReclaimCause},
    names::{GroupName, TaskName},
    notice::Notice,
    ranges::RangeSet,
    spec::{ClusterSpec, GroupSpec, JobSpec},
    state::JobState,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a cluster is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A user made it and will delete it.
    Fixed,
    /// Made for one task of one job.
    Task {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskName,
    },
}

/// What an idempotency token was sent with; tokens of different kinds do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TokenUse {
    /// `POST /jobs`.
    Job,
    /// `POST /clusters`.
    Cluster,
}

/// What becomes of an instance after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterRun {
    /// It is done.
    Finished,
    /// It waits again; one retry is used up.
    Retry,
    /// It waits again; no retry is used up, the infrastructure was at fault.
    PutBack,
    /// It failed for good.
    Failed,
    /// It stops with its job: a `JobStopped` or `JobEnded` follows in the same batch.
    Ignored,
}

/// A run that ended with exit code 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedRun {
    /// This execution.
    pub run: RunId,
    /// The instance.
    pub instance: InstanceNo,
    /// When the program started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

impl Event {
    /// A `RunsFinished` as a `RunEnded` for each of its runs; every other event gives nothing.
    pub fn finished_one_by_one(&self) -> impl Iterator<Item = Self> + '_ {
        let parts = match self {
            Self::RunsFinished { job, task, worker, address, runs } => {
                Some((job, task, worker, address, runs))
            }
            _ => None,
        };
        parts.into_iter().flat_map(|(job, task, worker, address, runs)| {
            runs.iter().map(move |one| Self::RunEnded {
                run: one.run,
                job: *job,
                task: task.clone(),
                instance: one.instance,
                worker: *worker,
                address: address.clone(),
                retries: 0,
                outcome: RunOutcome::Exited { code: 0 },
                detail: String::new(),
                started: Some(one.started),
                ended: one.ended,
                after: AfterRun::Finished,
            })
        })
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One thing that happened. `World::apply` is the only reader that changes anything by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A job exists.
    JobSubmitted {
        /// Its id.
        job: JobId,
        /// Its owner.
        account: AccountId,
        /// What was asked.
        spec: Arc<JobSpec>,
        /// The client's token, if any.
        token: Option<Token>,
        /// When.
        at: Timestamp,
    },
    /// The user stopped the job; everything not ended is stopped.
    JobStopped {
        /// Which.
        job: JobId,
        /// When.
        at: Timestamp,
    },
    /// The user started the job again; what finished keeps its result, the rest waits.
    JobRestarted {
        /// Which.
        job: JobId,
        /// When.
        at: Timestamp,
    },
    /// The job ended by itself.
    JobEnded {
        /// Which.
        job: JobId,
        /// `Finished` or `Failed`.
        state: JobState,
        /// Why it failed; empty otherwise.
        message: String,
        /// When.
        at: Timestamp,
    },
    /// The record is gone.
    JobDeleted {
        /// Which.
        job: JobId,
    },
    /// A finished job left the mill's memory; the store keeps it in its history. Since 0.2.0.
    JobArchived {
        /// Which.
        job: JobId,
        /// When.
        at: Timestamp,
    },
    /// A new priority.
    JobPriorityChanged {
        /// Which.
        job: JobId,
        /// The new value.
        priority: u16,
        /// When.
        at: Timestamp,
    },
    /// All instances of a task ended, or the task failed.
    TaskEnded {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskName,
        /// `Finished` or `Failed`.
        state: JobState,
        /// When.
        at: Timestamp,
    },
    /// A worker is to run an instance.
    RunPlaced {
        /// This execution.
        run: RunId,
        /// The job.
        job: JobId,
        /// Its task.
        task: TaskName,
        /// Its instance.
        instance: InstanceNo,
        /// Where.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// When.
        at: Timestamp,
    },
    /// A worker is to run several instances of a task. The runs have consecutive numbers from
    /// `first` on and belong to the instances in ascending order. Since 0.2.0; written instead of
    /// `RunPlaced`.
    RunsPlaced {
        /// The first of these executions.
        first: RunId,
        /// The job.
        job: JobId,
        /// Its task.
        task: TaskName,
        /// Its instances.
        instances: RangeSet,
        /// Where.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// When.
        at: Timestamp,
    },
    /// Several runs of a task on one machine are over, and all of them well: exit code 0 at the first
    /// try, with nothing more to say. Their instances are finished. Everything else is a
    /// `RunEnded` of its own. Since 0.2.0.
    RunsFinished {
        /// The job.
        job: JobId,
        /// Its task.
        task: TaskName,
        /// Where they ran.
        worker: WorkerId,
        /// The machine's address, for `NodeIp`.
        address: String,
        /// Which, by ascending run.
        runs: Vec<FinishedRun>,
    },
    /// The program of a run started.
    RunStarted {
        /// This execution.
        run: RunId,
        /// The job.
        job: JobId,
        /// Its task.
        task: TaskName,
        /// Its instance.
        instance: InstanceNo,
        /// When, by the server's clock.
        at: Timestamp,
    },
    /// A run is over.
    RunEnded {
        /// This execution.
        run: RunId,
        /// The job.
        job: JobId,
        /// Its task.
        task: TaskName,
        /// Its instance.
        instance: InstanceNo,
        /// Where it ran.
        worker: WorkerId,
        /// The machine's address, for `NodeIp`.
        address: String,
        /// Retries used up before this run.
        retries: u32,
        /// How it ended.
        outcome: RunOutcome,
        /// More words.
        detail: String,
        /// When the program started; `None` when it never did.
        started: Option<Timestamp>,
        /// When it ended.
        ended: Timestamp,
        /// What becomes of the instance.
        after: AfterRun,
    },
    /// A cluster exists.
    ClusterCreated {
        /// Its id.
        cluster: ClusterId,
        /// Its owner.
        account: AccountId,
        /// What was asked.
        spec: Arc<ClusterSpec>,
        /// What it is for.
        purpose: Purpose,
        /// The client's token, if any.
        token: Option<Token>,
        /// When.
        at: Timestamp,
    },
    /// A group has a new size.
    GroupResized {
        /// The cluster.
        cluster: ClusterId,
        /// The group.
        group: GroupName,
        /// The new `DesiredVMCount`.
        desired: u32,
        /// When.
        at: Timestamp,
    },
    /// A cluster has a further group: machines for tasks that are attached to it. Since 0.2.0.
    GroupOpened {
        /// The cluster.
        cluster: ClusterId,
        /// The group.
        group: GroupName,
        /// What its machines look like.
        spec: GroupSpec,
        /// When.
        at: Timestamp,
    },
    /// A group for attached tasks is gone; it had no machines left. Since 0.2.0.
    GroupClosed {
        /// The cluster.
        cluster: ClusterId,
        /// The group.
        group: GroupName,
        /// When.
        at: Timestamp,
    },
    /// The owner changed the cluster: sizes at once, everything else for new machines.
    ClusterChanged {
        /// Which.
        cluster: ClusterId,
        /// What changed.
        change: Arc<ClusterChange>,
        /// When.
        at: Timestamp,
    },
    /// Spot machines of a type have a new price.
    SpotPriceSet {
        /// Of which type.
        instance_type: InstanceTypeName,
        /// The price; `None`: there is none any longer.
        price: Option<PriceMilli>,
        /// When.
        at: Timestamp,
    },
    /// So many machines of a type are set aside for an account.
    PrepaidSet {
        /// For whom.
        account: AccountId,
        /// Of which type.
        instance_type: InstanceTypeName,
        /// How many in all.
        machines: u32,
        /// When.
        at: Timestamp,
    },
    /// What an account may use.
    QuotaSet {
        /// Whose.
        account: AccountId,
        /// The bounds.
        quota: Quota,
        /// When.
        at: Timestamp,
    },
    /// The cluster is being deleted; its machines go.
    ClusterDeleting {
        /// Which.
        cluster: ClusterId,
        /// When.
        at: Timestamp,
    },
    /// The cluster and its record are gone.
    ClusterGone {
        /// Which.
        cluster: ClusterId,
    },
    /// A machine should exist.
    WorkerWanted {
        /// Its id.
        worker: WorkerId,
        /// 1 for a new worker; counted up each time it is asked for anew.
        generation: Generation,
        /// The cluster.
        cluster: ClusterId,
        /// The group.
        group: GroupName,
        /// Unique in the cluster.
        host_name: String,
        /// When.
        at: Timestamp,
    },
    /// The provider has no room now, or cannot make the machine.
    WorkerDelayed {
        /// Which.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// For the user.
        reason: String,
        /// When it is asked for again.
        again_at: Timestamp,
        /// When it came and could not be set up; `None`: it did not come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<Timestamp>,
        /// Whether the reason is another one than a lack of room.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        not_for_room: bool,
        /// Whether the provider tried and could not make it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        not_made: bool,
    },
    /// A machine is told that it will be taken back; it takes nothing new.
    WorkerNoticed {
        /// Which.
        worker: WorkerId,
        /// Why.
        cause: ReclaimCause,
        /// In words.
        reason: String,
        /// When it goes; of no meaning when it goes after its runs.
        until: Timestamp,
        /// When it was told.
        at: Timestamp,
    },
    /// A spot machine that was to be taken back stays.
    NoticeWithdrawn {
        /// Which.
        worker: WorkerId,
        /// When.
        at: Timestamp,
    },
    /// The machine called and takes instances.
    WorkerRunning {
        /// Which.
        worker: WorkerId,
        /// Of which generation.
        generation: Generation,
        /// Its address.
        address: String,
        /// How many runs it takes beyond those it executes. Since 0.2.0.
        #[serde(default, skip_serializing_if = "is_zero")]
        ahead: u32,
        /// When.
        at: Timestamp,
    },
    /// The machine is to go.
    WorkerDeleting {
        /// Which.
        worker: WorkerId,
        /// Why, for the operation log.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The provider says that the machine is gone.
    WorkerGone {
        /// Which.
        worker: WorkerId,
        /// When.
        at: Timestamp,
    },
    /// An idempotency token is old enough to be forgotten.
    TokenExpired {
        /// Whose.
        account: AccountId,
        /// Of which operation.
        used_for: TokenUse,
        /// The client's text.
        text: String,
    },
}

/// What should be true outside. Repeating an effect is harmless; an older generation is refused
/// by the other end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// The provider should have this worker.
    EnsureWorker(EnsureWorker),
    /// The provider should not have this worker in this or an older generation.
    RemoveWorker {
        /// Which.
        worker: WorkerId,
        /// Of which generation and older.
        generation: Generation,
    },
    /// A topic should have been told of this.
    Notify(Box<Notice>),
}

/// The shape of a worker that should exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsureWorker {
    /// Which.
    pub worker: WorkerId,
    /// Of which generation.
    pub generation: Generation,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its group.
    pub group: GroupName,
    /// Its host name.
    pub host_name: String,
    /// Its type; `None`: the region's default.
    pub instance_type: Option<InstanceTypeName>,
    /// Its image; `None`: the region's default.
    pub image: Option<ImageId>,
}
