//! Whether the books add up. Tests and the simulator ask after each step, `restore` once.
//!
//! Everything that is kept twice is computed again here and compared; everything that must not
//! be is looked for. Slow on purpose: it trusts nothing that it could recompute.
//!
//! Start at [`World::check`].

use crate::{
    cluster::{Cluster, Metrics, Worker},
    job::{Job, Task},
    market::Purse,
    world::{Account, Deadline, World},
};
use gristmill_model::{
    AccountId, Counts, InstanceNo, InstanceState, JobState, Placement, RangeSet, RunId, WorkerState,
};
use imbl::OrdSet;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl World {
    /// Whether everything adds up; otherwise what does not.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.check_books().err().unwrap_or_default();
        let slots = self.options.slots_per_worker;
        let overfull = self.workers.values().filter(|it| it.used() > slots + it.ahead);
        wrong.extend(overfull.map(|it| format!("{} has {} runs of {slots}", it.id, it.used())));
        if wrong.is_empty() {
            self.check_wants(&mut wrong);
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Whether the books agree with each other, whatever the options say now: a restart may have
    /// brought smaller ones.
    pub(crate) fn check_books(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        for job in self.jobs.values() {
            check_job(job, &mut wrong);
            self.check_live(job, &mut wrong);
        }
        for worker in self.workers.values() {
            self.check_worker(worker, &mut wrong);
        }
        for cluster in self.clusters.values() {
            self.check_cluster(cluster, &mut wrong);
        }
        self.check_indexes(&mut wrong);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Nobody waits for machines that the account may have; no lane keeps others waiting for
    /// machines that have not come and that it does not need.
    fn check_wants(&self, wrong: &mut Vec<String>) {
        let starved = self.starved.keys().map(|(account, _)| *account);
        let owners: BTreeSet<_> =
            self.lanes.keys().map(|(account, _)| *account).chain(starved).collect();
        for account in owners {
            for purse in [Purse::PrePaid, Purse::Quota] {
                if let Some((want, left)) = self.first_want(account, purse) {
                    wrong.push(format!("{want:?} waits and may have {left} machines"));
                }
            }
            for (pool, lane) in self.lanes_of(account) {
                let own =
                    self.clusters.get(&pool.cluster).into_iter().flat_map(|it| it.own_groups());
                // When these call, fail or go, it is looked at again.
                let starting: u32 = own.map(|(_, group)| group.metrics.starting).sum();
                let surplus = self.lane_surplus(pool, lane);
                if surplus > 0 && starting == 0 {
                    wrong.push(format!("{pool:?} keeps {surplus} machines it does not need"));
                }
            }
        }
    }

    /// Each live instance is in the book of its machine.
    fn check_live(&self, job: &Job, wrong: &mut Vec<String>) {
        for (name, task) in &job.tasks {
            for (number, state) in &task.live {
                let Some((run, worker)) = run_of(state) else {
                    wrong.push(format!("{} {name}/{number} is live as {}", job.id, state.name()));
                    continue;
                };
                let known = self.workers.get(&worker).and_then(|worker| worker.runs.get(&run));
                let same = known.is_some_and(|what| {
                    (what.job, &what.task, what.instance) == (job.id, name, InstanceNo(*number))
                });
                if !same {
                    let id = job.id;
                    wrong.push(format!("{id} {name}/{number}: {worker} does not know run {run}"));
                }
                if run >= self.next_run {
                    wrong.push(format!("run {run} was given out, yet is the next"));
                }
            }
        }
    }

    fn check_worker(&self, worker: &Arc<Worker>, wrong: &mut Vec<String>) {
        let id = worker.id;
        if worker.state != WorkerState::Running && !worker.runs.is_empty() {
            wrong.push(format!("{id} is {} and has runs", worker.state.name()));
        }
        if (worker.state == WorkerState::Pending) != worker.again_at.is_some() {
            wrong.push(format!("{id} is {} with {:?}", worker.state.name(), worker.again_at));
        }
        let may_go = worker.is_spot || worker.is_leaving();
        if worker.notice.is_some() && (worker.state != WorkerState::Running || !may_go) {
            wrong.push(format!("{id} is {} and has a notice", worker.state.name()));
        }
        let group = self.clusters.get(&worker.cluster).and_then(|it| it.groups.get(&worker.group));
        if group.is_none_or(|group| !group.workers.contains(&id)) {
            wrong.push(format!("{id} is in no group"));
        }
        if worker.lane.as_ref() != group.and_then(|group| group.lane.as_ref()) {
            wrong.push(format!("{id} is not of its group's lane"));
        }
        let rests = worker.lane.is_some() && worker.state == WorkerState::Running;
        if worker.idle_since.is_some() != (rests && worker.runs.is_empty()) {
            let used = worker.used();
            wrong.push(format!("{id} has {used} runs and is idle since {:?}", worker.idle_since));
        }
        for (run, what) in &worker.runs {
            let state = self.instance(what.job, &what.task, what.instance);
            if state.as_ref().and_then(run_of) != Some((*run, id)) {
                wrong.push(format!("{id} has run {run}, its job says {state:?}"));
            }
        }
    }

    fn check_cluster(&self, cluster: &Cluster, wrong: &mut Vec<String>) {
        let id = cluster.id;
        let mut hosts = std::collections::BTreeSet::new();
        for (name, group) in &cluster.groups {
            let mut metrics = Metrics::default();
            for worker in group.workers.iter().filter_map(|id| self.workers.get(id)) {
                *metrics.of(worker.state) += 1;
                if !hosts.insert(&worker.host_name) {
                    wrong.push(format!("{id} has two machines named {}", worker.host_name));
                }
            }
            if metrics != group.metrics {
                wrong.push(format!("{id}/{name}: {:?} is really {metrics:?}", group.metrics));
            }
            if group.lane.is_some()
                && !cluster.deleting
                && group.desired == 0
                && group.workers.is_empty()
            {
                wrong.push(format!("{id}/{name} has no task and no machine, and is still there"));
            }
            let dear = self.group_overpriced(cluster, name).is_some();
            let fits = group.alive() == group.desired || dear && group.alive() < group.desired;
            if !cluster.deleting && !fits {
                let (alive, desired) = (group.alive(), group.desired);
                wrong.push(format!("{id}/{name} has {alive} machines of {desired}"));
            }
            if cluster.deleting && group.alive() > 0 {
                wrong.push(format!("{id}/{name} is being deleted with machines that stay"));
            }
        }
        if cluster.deleting && hosts.is_empty() {
            wrong.push(format!("{id} is being deleted, has no machines, and is still there"));
        }
    }

    /// The indexes are what one gets by building them again.
    fn check_indexes(&self, wrong: &mut Vec<String>) {
        let mut accounts: BTreeMap<AccountId, Account> = BTreeMap::new();
        let mut fresh = Self::new((*self.options).clone());
        for job in self.jobs.values() {
            let account = accounts.entry(job.account).or_default();
            account.jobs += 1;
            account.instances += job.open_instances();
            fresh.list_job(job, true);
            fresh.jobs.insert(job.id, Arc::clone(job));
            fresh.note_finished(job, true);
            for name in job.tasks.keys() {
                fresh.index_task(job.id, name);
            }
        }
        for cluster in self.clusters.values() {
            fresh.account_clusters.insert((cluster.account, cluster.id));
            fresh.clusters.insert(cluster.id, Arc::clone(cluster));
            fresh.note_lanes(cluster);
            accounts.entry(cluster.account).or_default().take(cluster.usage(&self.options));
        }
        for worker in self.workers.values() {
            let account = self.clusters.get(&worker.cluster).map_or(AccountId(0), |it| it.account);
            accounts.entry(account).or_default().present += u32::from(worker.is_present());
            fresh.add_worker(Worker::clone(worker));
        }
        for (key, record) in &self.tokens {
            let due = record.at.after(self.options.token_kept);
            fresh.deadlines.insert((due, Deadline::Token(key.clone())));
        }
        accounts.retain(|_, account| *account != Account::default());
        let same = [
            ("accounts", accounts.into_iter().collect::<imbl::OrdMap<_, _>>() == self.accounts),
            ("lists of jobs", fresh.job_lists == self.job_lists),
            ("clusters of accounts", fresh.account_clusters == self.account_clusters),
            ("queues", fresh.queues == self.queues),
            ("free places", fresh.free == self.free),
            ("lanes", fresh.lanes == self.lanes),
            ("wanted machines", fresh.starved == self.starved),
            ("finished jobs", fresh.finished == self.finished),
            ("spot machines", fresh.spot == self.spot),
            ("machines that leave", fresh.leaving == self.leaving),
            ("machines without room", fresh.crowded == self.crowded),
            ("deadlines", fresh.deadlines == self.deadlines),
            ("matches", self.all_matches() == self.matchable),
        ];
        let bad = same.into_iter().filter(|(_, same)| !same);
        wrong.extend(bad.map(|(what, _)| format!("the index of {what} is wrong")));
    }

    fn all_matches(&self) -> OrdSet<gristmill_model::ClusterId> {
        let waits = self.queues.keys().map(|pool| pool.cluster);
        waits.filter(|cluster| self.matches(*cluster)).collect()
    }
}

fn run_of(state: &InstanceState) -> Option<(RunId, gristmill_model::WorkerId)> {
    match state {
        InstanceState::Placed { run, worker, .. } | InstanceState::Running { run, worker, .. } => {
            Some((*run, *worker))
        }
        _ => None,
    }
}

fn check_job(job: &Job, wrong: &mut Vec<String>) {
    let id = job.id;
    let (mut tasks, mut instances) = (Counts::default(), [0u64; 5]);
    for (name, task) in &job.tasks {
        *tasks.of(task.state) += 1;
        let Counts { waiting, running, finished, failed, stopped } = task.counts;
        for (sum, count) in instances.iter_mut().zip([waiting, running, finished, failed, stopped])
        {
            *sum += u64::from(count);
        }
        check_task(job, name.as_str(), task, &job.spec.tasks[name], wrong);
        if job.state.is_final() && !task.state.is_final() {
            wrong.push(format!("{id} is {}, its task `{name}` is {}", job.state, task.state));
        }
    }
    let Counts { waiting, running, finished, failed, stopped } = job.instance_counts;
    if instances != [waiting, running, finished, failed, stopped].map(u64::from) {
        wrong.push(format!("{id}: {:?} is really {instances:?}", job.instance_counts));
    }
    if tasks != job.task_counts {
        wrong.push(format!("{id}: {:?} is really {tasks:?}", job.task_counts));
    }
    if job.state.is_final() != job.ended.is_some() {
        wrong.push(format!("{id} is {} and ended {:?}", job.state, job.ended));
    }
    if !job.state.is_final() && tasks.waiting + tasks.running == 0 {
        wrong.push(format!("{id} is {} and has nothing left to do", job.state));
    }
    if (job.state == JobState::Failed) == job.message.is_empty() {
        wrong.push(format!("{id} is {} with message `{}`", job.state, job.message));
    }
    for (name, count) in crate::apply::blocked_by(job) {
        let kept = job.tasks[&name].blocked_by;
        if kept != count {
            wrong.push(format!("{id}: `{name}` waits for {count}, the book says {kept}"));
        }
    }
}

fn check_task(
    job: &Job,
    name: &str,
    task: &Task,
    spec: &gristmill_model::TaskSpec,
    wrong: &mut Vec<String>,
) {
    let mut say = |what: String| wrong.push(format!("{} `{name}`: {what}", job.id));
    let counted = task.counted();
    if counted != task.counts {
        say(format!("{:?} is really {counted:?}", task.counts));
    }
    let mut all = RangeSet::default();
    for set in [&task.waiting, &task.finished, &task.failed, &task.stopped] {
        all.extend(set);
    }
    all.extend(&task.live.keys().copied().collect());
    if all != RangeSet::below(spec.instance_count) || counted.total() != spec.instance_count {
        say(format!("{} instances in disjoint sets of {}", counted.total(), all.len()));
    }
    if task.state.is_final() {
        if counted.waiting + counted.running > 0 || task.is_live() {
            say(format!("is {} with {counted:?}", task.state));
        }
        if task.auto_cluster.is_some() || task.machines_short > 0 {
            say("is over and has machines".to_owned());
        }
    }
    if task.state.is_final() != task.ended.is_some() {
        say(format!("is {} and ended {:?}", task.state, task.ended));
    }
    if task.blocked_by > 0 && task.is_live() {
        say("runs although it has to wait".to_owned());
    }
    if task.auto_cluster.is_some() && !matches!(spec.placement, Placement::Auto(_)) {
        say("has an automatic cluster it did not ask for".to_owned());
    }
    for (number, tried) in &task.attempts {
        if tried.retries > spec.retry_count_max {
            say(format!("instance {number} was tried again {} times", tried.retries));
        }
    }
}
