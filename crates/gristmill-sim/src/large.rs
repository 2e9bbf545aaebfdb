//! Large worlds: ten thousand machines, a million instances, in virtual time.
//!
//! The real core plans and places; programs take times from a seed, machines are lost at a given rate and
//! come back. Nothing lies here ([`crate::run`] does that): this is for measuring, and for showing that
//! the same seed gives the same trace on every machine. The caller drives it step by step and may time
//! each; this crate reads no clock.
//!
//! Start at [`Large::new`], then [`Large::submit`], then [`Large::plan`], [`Large::place`] and
//! [`Large::advance`] in turn until [`Large::is_done`].

use crate::{chance::Chance, stage::mix, users};
use gristmill_core::{IdMint, Options, World, plan};
use gristmill_model::{
    AccountId, Answer, ClusterId, ClusterSpec, Effect, Event, Generation, Input, JobId, JobSpec,
    JobState, Placement, RunId, RunOutcome, RunReport, TaskName, TaskSpec, Timestamp, WorkerId,
    WorkerState,
    input::{Proposal, Seen},
    samples::{a_job, a_task},
    spec::Limits,
};
use std::{collections::BTreeMap, sync::Arc};

const SECOND: i64 = 1_000_000;
/// How long a machine takes to come.
const COMING_SECONDS: i64 = 5;
/// How long programs take.
const PROGRAM_SECONDS: (u32, u32) = (10, 600);
const ACCOUNT: AccountId = AccountId(1);

/// What the world is made of.
#[derive(Debug, Clone, Copy)]
pub struct LargeSetup {
    /// All chance follows from it.
    pub seed: u64,
    /// Clusters, each with a queue of its own.
    pub clusters: u32,
    /// Machines of each.
    pub machines: u32,
    /// Instances a machine executes at once.
    pub slots: u32,
    /// How many of a thousand machines are lost in an hour.
    pub lost_per_mille: u64,
}

/// What is due at some time.
enum Due {
    Ends(RunId),
    Comes(Generation),
    IsLost(Generation),
}

/// A large world between two steps.
pub struct Large {
    world: World,
    ids: IdMint,
    chance: Chance,
    now: Timestamp,
    due: BTreeMap<(Timestamp, WorkerId), Vec<Due>>,
    clusters: Vec<ClusterId>,
    jobs: Vec<JobId>,
    lost_per_mille: u64,
    /// What happened and is neither in the calendar nor in the digest yet: these are the simulation's own
    /// affair, no part of placing.
    untold: Vec<Event>,
    digest: u64,
    events: u64,
}

impl Large {
    /// A world in which all machines run and nobody has asked for anything.
    pub fn new(setup: LargeSetup) -> Self {
        let mut chance = Chance::new(setup.seed);
        let machines = setup.clusters * setup.machines;
        let limits = Limits { machines_max: machines, ..Limits::default() };
        let options = Options { limits, slots_per_worker: setup.slots, ..Options::default() };
        let mut large = Self {
            world: World::new(options),
            ids: IdMint::new(chance.seed()),
            chance,
            now: Timestamp(SECOND),
            due: BTreeMap::new(),
            clusters: Vec::new(),
            jobs: Vec::new(),
            lost_per_mille: setup.lost_per_mille,
            untold: Vec::new(),
            digest: 0,
            events: 0,
        };
        for _ in 0..setup.clusters {
            let spec = Arc::new(users::cluster_of(setup.machines));
            large.make_cluster(spec);
        }
        while large.world.all_workers().any(|worker| worker.state != WorkerState::Running) {
            assert!(large.advance(), "machines that were asked for come");
        }
        large
    }

    fn make_cluster(&mut self, spec: Arc<ClusterSpec>) {
        match self.input(&Input::CreateCluster { account: ACCOUNT, spec, token: None }) {
            Answer::Cluster(cluster) => self.clusters.push(cluster),
            other => unreachable!("making a cluster answers with one, not {other:?}"),
        }
    }

    /// One job of one task for each cluster, of so many instances.
    pub fn submit_to_each(&mut self, instances: u32) {
        for cluster in self.clusters.clone() {
            let task = task(cluster, instances);
            self.submit([("only".parse().expect("a legal name"), task)].into(), &[]);
        }
    }

    /// A job with a random graph: each task waits for up to three earlier ones.
    pub fn submit_graph(&mut self, tasks: u32, instances: u32) {
        let names: Vec<TaskName> =
            (0..tasks).map(|n| format!("t{n:04}").parse().expect("a legal name")).collect();
        let mut specs = BTreeMap::new();
        let mut arrows = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let cluster = self.chance.pick(&self.clusters).expect("there are clusters");
            specs.insert(name.clone(), task(cluster, instances));
            for _ in 0..self.chance.below(4) {
                arrows.extend(self.chance.pick(&names[..at]).map(|before| (before, name.clone())));
            }
        }
        self.submit(specs, &arrows);
    }

    /// A job of these tasks; an arrow leads from a task to one that waits for it.
    pub fn submit(&mut self, tasks: BTreeMap<TaskName, TaskSpec>, arrows: &[(TaskName, TaskName)]) {
        let mut spec = JobSpec { tasks, ..a_job("job") };
        for (before, after) in arrows {
            spec.dependencies.entry(before.clone()).or_default().insert(after.clone());
        }
        let input = Input::SubmitJob { account: ACCOUNT, spec: Arc::new(spec), token: None };
        match self.input(&input) {
            Answer::Job(job) => self.jobs.push(job),
            other => unreachable!("submitting a job answers with one, not {other:?}"),
        }
    }

    /// One pass of the planner.
    pub fn plan(&self, budget: usize) -> Vec<Proposal> {
        plan(&self.world, self.now, budget)
    }

    /// Places what was proposed.
    pub fn place(&mut self, proposals: Vec<Proposal>) {
        self.input(&Input::Place(proposals));
    }

    /// Goes to the next second in which something happens, and lets it happen. `false`: nothing will.
    pub fn advance(&mut self) -> bool {
        for event in std::mem::take(&mut self.untold) {
            self.note(&event);
            self.events += 1;
            self.digest = mix(self.digest, format!("{event:?}").as_bytes());
        }
        let Some(((next, _), _)) = self.due.first_key_value() else { return false };
        let end = Timestamp((next.0 / SECOND + 1) * SECOND);
        self.now = end;
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 < end) {
            let ((_, worker), due) = entry.remove_entry();
            self.happen(worker, due);
        }
        if self.world.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.input(&Input::Tick);
        }
        true
    }

    fn happen(&mut self, worker: WorkerId, due: Vec<Due>) {
        let Some(generation) = self.world.worker(worker).map(|it| it.generation) else { return };
        let mut reports = Vec::new();
        for due in due {
            match due {
                Due::Ends(run) => reports.push(success(run, self.now)),
                Due::Comes(coming) if coming == generation => self.come(worker, generation),
                Due::IsLost(lost) if lost == generation => {
                    let seen = Seen::Gone;
                    self.input(&Input::WorkerObserved { worker, generation, seen });
                }
                // An older life of the machine.
                Due::Comes(_) | Due::IsLost(_) => {}
            }
        }
        if !reports.is_empty() {
            self.input(&Input::WorkerReported { worker, generation, reports });
        }
    }

    fn come(&mut self, worker: WorkerId, generation: Generation) {
        let (address, holds) = (String::new(), Vec::new());
        self.input(&Input::WorkerCalled { worker, generation, address, holds, ahead: 0 });
        if self.chance.below(1_000) < self.lost_per_mille {
            let second = self.chance.below(3_600) as i64 + 1;
            self.remind(worker, second, Due::IsLost(generation));
        }
    }

    fn remind(&mut self, worker: WorkerId, seconds: i64, due: Due) {
        let at = Timestamp(self.now.0 + seconds * SECOND);
        self.due.entry((at, worker)).or_default().push(due);
    }

    fn input(&mut self, input: &Input) -> Answer {
        let decided = self.world.step(input, self.now, &mut self.ids);
        let decision = decided.expect("nobody asks for what is refused here");
        self.untold.extend(decision.events);
        for effect in decision.effects {
            match effect {
                Effect::EnsureWorker(wanted) => {
                    self.remind(wanted.worker, COMING_SECONDS, Due::Comes(wanted.generation));
                }
                Effect::RemoveWorker { worker, generation } => {
                    self.remind(worker, 1, Due::IsLost(generation));
                }
                _ => {}
            }
        }
        decision.answer
    }

    fn note(&mut self, event: &Event) {
        if let Event::RunsPlaced { first, instances, worker, .. } = event {
            for number in 0..u64::from(instances.len()) {
                let seconds = self.chance.between(PROGRAM_SECONDS.0, PROGRAM_SECONDS.1);
                self.remind(*worker, seconds.into(), Due::Ends(RunId(first.0 + number)));
            }
        }
    }

    /// How many instances wait to be placed, and how many are at machines.
    pub fn counts(&self) -> (u64, u64) {
        let live = self.world.all_workers().map(|worker| u64::from(worker.used())).sum();
        let jobs = self.jobs.iter().filter_map(|job| self.world.any_job(*job));
        let open = jobs.map(|job| job.instance_counts);
        let open: u64 = open.map(|it| u64::from(it.waiting) + u64::from(it.running)).sum();
        (open - live, live)
    }

    /// Whether every job has finished.
    pub fn is_done(&self) -> bool {
        let mut jobs = self.jobs.iter().filter_map(|job| self.world.any_job(*job));
        jobs.all(|job| job.state == JobState::Finished)
    }

    /// A hash of all events before the last [`Large::advance`] in order, and how many there were.
    pub fn trace(&self) -> (u64, u64) {
        (self.digest, self.events)
    }

    /// The virtual time since the start, in seconds.
    pub fn seconds(&self) -> i64 {
        self.now.0 / SECOND
    }

    /// Whether all that must hold holds.
    pub fn check(&self) -> Result<(), String> {
        self.world.check().map_err(|what| format!("{what:?}"))
    }
}

fn task(cluster: ClusterId, instances: u32) -> TaskSpec {
    a_task(instances, &Placement::Fixed(cluster))
}

fn success(run: RunId, now: Timestamp) -> RunReport {
    let outcome = RunOutcome::Exited { code: 0 };
    RunReport::Ended { run, started: Some(now), ended: now, outcome, detail: String::new() }
}
