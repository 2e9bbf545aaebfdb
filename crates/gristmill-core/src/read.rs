//! What the server asks a published world. Nothing here changes anything.
//!
//! Things of another account are answered like things that do not exist.

use crate::{
    cluster::{Assigned, Cluster, Group, Worker},
    indexes::JobList,
    job::{Job, Task},
    options::Options,
    world::{Account, World},
};
use gristmill_model::{
    AccountId, ClusterId, Effect, Event, GroupName, InstanceNo, InstanceState, JobId, JobSpec,
    JobState, RunId, TaskName, WorkerId, WorkerState,
};
use std::{collections::BTreeSet, sync::Arc};

/// Which jobs of an account are wanted, and from where on.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobQuery {
    /// Only jobs after this one, in the order of the listing.
    pub after: Option<JobId>,
    /// The newest first.
    pub reverse: bool,
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs with a task on this cluster.
    pub cluster: Option<ClusterId>,
}

/// A run as its machine needs it.
#[derive(Debug, Clone, Copy)]
pub struct RunView<'a> {
    /// The run.
    pub run: RunId,
    /// What it executes.
    pub what: &'a Assigned,
    /// The specification of its job.
    pub spec: &'a Arc<JobSpec>,
    /// The job's owner.
    pub account: AccountId,
    /// Retries used up before.
    pub retries: u32,
}

impl World {
    /// How the mill is set up.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A job of an account.
    pub fn job(&self, account: AccountId, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).filter(|job| job.account == account).map(Arc::as_ref)
    }

    /// A job of an account, to keep.
    pub fn shared_job(&self, account: AccountId, id: JobId) -> Option<Arc<Job>> {
        self.jobs.get(&id).filter(|job| job.account == account).cloned()
    }

    /// A job, whoever owns it.
    pub fn any_job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(Arc::as_ref)
    }

    /// All jobs, oldest first.
    pub fn all_jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.jobs.values().map(Arc::as_ref)
    }

    /// The jobs of an account in the order of their ids, which is that of their creation.
    pub fn jobs_of<'a>(
        &'a self,
        account: AccountId,
        query: &JobQuery,
    ) -> Box<dyn Iterator<Item = &'a Job> + 'a> {
        use std::ops::Bound::{Excluded, Included};
        let JobQuery { after, reverse, state, cluster } = *query;
        // The shortest list that has all of them.
        let list = match (cluster, state) {
            (Some(cluster), _) => JobList::OnCluster(cluster),
            (None, Some(state)) => JobList::InState(account, state),
            (None, None) => JobList::Of(account),
        };
        let (first, last) = ((list, JobId(0)), (list, JobId(u128::MAX)));
        let range = match (after, reverse) {
            (None, _) => (Included(first), Included(last)),
            (Some(JobId(u128::MAX)), false) | (Some(JobId(0)), true) => {
                return Box::new(std::iter::empty());
            }
            (Some(job), false) => (Excluded((list, job)), Included(last)),
            (Some(job), true) => (Included(first), Excluded((list, job))),
        };
        let wanted = move |job: &&Job| {
            job.account == account && state.is_none_or(|state| job.state == state)
        };
        let jobs = self.job_lists.range(range);
        let jobs: Box<dyn Iterator<Item = &(JobList, JobId)>> =
            if reverse { Box::new(jobs.rev()) } else { Box::new(jobs) };
        Box::new(jobs.map(|(_, id)| self.job_of(*id).as_ref()).filter(wanted))
    }

    /// The state of one instance.
    pub fn instance(
        &self,
        job: JobId,
        task: &TaskName,
        number: InstanceNo,
    ) -> Option<InstanceState> {
        self.task(job, task)?.instance(number)
    }

    /// How often an instance was tried again, as `RetryCount` shows it.
    pub fn retry_count(&self, job: JobId, task: &TaskName, number: InstanceNo) -> Option<u32> {
        Some(self.task(job, task)?.attempts(number).retries)
    }

    fn task(&self, job: JobId, task: &TaskName) -> Option<&Task> {
        self.jobs.get(&job)?.tasks.get(task).map(Arc::as_ref)
    }

    /// A cluster of an account, also while it is being deleted.
    pub fn cluster(&self, account: AccountId, id: ClusterId) -> Option<&Cluster> {
        self.clusters.get(&id).filter(|it| it.account == account).map(Arc::as_ref)
    }

    /// A cluster, whoever owns it.
    pub fn any_cluster(&self, id: ClusterId) -> Option<&Cluster> {
        self.clusters.get(&id).map(Arc::as_ref)
    }

    /// All clusters, by id.
    pub fn all_clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.values().map(Arc::as_ref)
    }

    /// The clusters of an account after `after`, by id.
    pub fn clusters_of(
        &self,
        account: AccountId,
        after: Option<ClusterId>,
    ) -> impl Iterator<Item = &Cluster> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let start = after.map_or(Included((account, ClusterId(0))), |it| Excluded((account, it)));
        self.account_clusters
            .range((start, Unbounded))
            .take_while(move |(owner, _)| *owner == account)
            .map(|(_, id)| self.cluster_of(*id).as_ref())
    }

    /// A group of a cluster and its machines by id; `None` when the cluster has no such group.
    pub fn group(
        &self,
        account: AccountId,
        cluster: ClusterId,
        group: &GroupName,
    ) -> Option<(&Group, impl Iterator<Item = &Worker>)> {
        let group = self.cluster(account, cluster)?.groups.get(group)?;
        Some((group, group.workers.iter().map(|id| self.worker_of(*id).as_ref())))
    }

    /// A machine.
    pub fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id).map(Arc::as_ref)
    }

    /// All machines, by id.
    pub fn all_workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values().map(Arc::as_ref)
    }

    /// What a machine is to run: exactly this. The oldest run first.
    pub fn runs_of(&self, worker: WorkerId) -> impl Iterator<Item = RunView<'_>> {
        self.runs_after(worker, None)
    }

    /// What of that has a number above `last`.
    pub fn runs_after(
        &self,
        worker: WorkerId,
        last: Option<RunId>,
    ) -> impl Iterator<Item = RunView<'_>> {
        let from = RunId(last.map_or(0, |last| last.0 + 1));
        let runs = self.workers.get(&worker).into_iter();
        let runs = runs.flat_map(move |worker| worker.runs.range(from..));
        runs.map(|(run, what)| {
            let job = self.job_of(what.job);
            let retries = job.tasks[&what.task].attempts(what.instance).retries;
            RunView { run: *run, what, spec: &job.spec, account: job.account, retries }
        })
    }

    /// What an account uses.
    pub fn account(&self, account: AccountId) -> Account {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    /// All effects that should hold now, for a restart: hands repeat them, which is harmless.
    /// Machines that wait to be asked for again are not among them; `Tick` asks.
    pub fn standing_effects(&self) -> Vec<Effect> {
        let effect = |worker: &Arc<Worker>| match worker.state {
            WorkerState::Pending => None,
            WorkerState::Starting | WorkerState::Running => Some(self.ensure_effect(worker)),
            WorkerState::Deleting => {
                let Worker { id, generation, .. } = **worker;
                Some(Effect::RemoveWorker { worker: id, generation })
            }
        };
        self.workers.values().filter_map(effect).collect()
    }

    /// The machines whose agents have to hear something new after these events.
    pub fn changed_workers(events: &[Event]) -> BTreeSet<WorkerId> {
        let worker = |event: &Event| match event {
            Event::RunPlaced { worker, .. }
            | Event::RunsPlaced { worker, .. }
            | Event::RunsFinished { worker, .. }
            | Event::RunEnded { worker, .. }
            | Event::WorkerRunning { worker, .. }
            | Event::WorkerDeleting { worker, .. }
            | Event::WorkerGone { worker, .. } => Some(*worker),
            _ => None,
        };
        events.iter().filter_map(worker).collect()
    }
}
