//! What holds between accounts: on a full host, and in a plan that cannot place everything.

use gristmill_core::{IdMint, Options, World, plan};
use gristmill_model::{
    AccountId, Answer, ClusterId, ClusterSpec, Effect, Generation, Input, JobId, JobSpec,
    Placement, RunOutcome, RunReport, Seconds, Timestamp, WorkerId,
    input::Seen,
    samples::{a_cluster, a_group, a_job, a_shape, a_task},
    spec::Limits,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A region on a host with so many places. Machines come as soon as they are asked for.
struct Host {
    world: World,
    ids: IdMint,
    now: Timestamp,
    places: usize,
    taken: BTreeSet<WorkerId>,
    /// What the world asked for and nobody did yet.
    effects: Vec<Effect>,
    /// How many instances of each account ended.
    done: BTreeMap<AccountId, u32>,
    chance: u32,
    inputs: u32,
}

/// The books are checked after every so many inputs: a check looks at everything.
const CHECK_EVERY: u32 = 32;

impl Host {
    fn new(places: usize, seed: u32) -> Self {
        let limits = Limits { machines_max: places as u32, ..Limits::default() };
        let options = Options { limits, ..Options::default() };
        Self {
            world: World::new(options),
            ids: IdMint::new([7; 32]),
            now: Timestamp(1_000_000),
            places,
            taken: BTreeSet::new(),
            effects: Vec::new(),
            done: BTreeMap::new(),
            chance: seed.max(1),
            inputs: 0,
        }
    }

    fn input(&mut self, input: Input) -> Answer {
        let decision = self.world.step(&input, self.now, &mut self.ids).expect("a legal input");
        self.inputs += 1;
        if self.inputs.is_multiple_of(CHECK_EVERY) {
            self.world.check().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
        }
        self.effects.extend(decision.effects);
        decision.answer
    }

    fn cluster(&mut self, account: AccountId, size: u32) -> ClusterId {
        let groups = [("own".parse().expect("a group name"), a_group(size))].into();
        let spec = Arc::new(ClusterSpec { groups, ..a_cluster() });
        let made = self.input(Input::CreateCluster { account, spec, token: None });
        let Answer::Cluster(cluster) = made else { panic!("{made:?}") };
        cluster
    }

    fn job(&mut self, account: AccountId, placement: &Placement, instances: u32) -> JobId {
        let tasks = [("a".parse().expect("a task name"), a_task(instances, placement))].into();
        let spec = Arc::new(JobSpec { tasks, ..a_job("job") });
        let made = self.input(Input::SubmitJob { account, spec, token: None });
        let Answer::Job(job) = made else { panic!("{made:?}") };
        job
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        self.chance.is_multiple_of(n)
    }

    /// The hands: what was asked for is done or refused.
    fn work(&mut self) {
        while !self.effects.is_empty() {
            let effect = self.effects.remove(0);
            let (worker, generation, seen) = match effect {
                Effect::EnsureWorker(wanted) => {
                    let (worker, generation) = (wanted.worker, wanted.generation);
                    if self.taken.len() < self.places || self.taken.contains(&worker) {
                        self.taken.insert(worker);
                        let (address, holds) = ("10.0.0.1".to_owned(), Vec::new());
                        let ahead = 0;
                        self.input(Input::WorkerCalled {
                            worker,
                            generation,
                            address,
                            holds,
                            ahead,
                        });
                        continue;
                    }
                    (worker, generation, Seen::NoRoom { reason: "full".to_owned() })
                }
                Effect::RemoveWorker { worker, generation } => {
                    self.taken.remove(&worker);
                    (worker, generation, Seen::Gone)
                }
                Effect::Notify(_) => continue,
            };
            self.input(Input::WorkerObserved { worker, generation, seen });
        }
    }

    /// A second passes: some runs end, what is due is done, what can be placed is.
    fn second(&mut self) {
        self.now = self.now.after(Seconds(1));
        self.input(Input::Tick);
        self.work();
        let machines = self.world.all_workers();
        let runs: Vec<_> = machines
            .flat_map(|it| it.runs.keys().map(|run| (it.id, it.generation, it.cluster, *run)))
            .collect();
        for (worker, generation, cluster, run) in runs {
            if self.one_in(3) {
                let account = self.world.any_cluster(cluster).expect("it has a run").account;
                *self.done.entry(account).or_default() += 1;
                self.end(worker, generation, run);
            }
        }
        self.work();
        self.input(Input::Place(plan(&self.world, self.now, 1_000)));
        self.work();
    }

    fn end(&mut self, worker: WorkerId, generation: Generation, run: gristmill_model::RunId) {
        let (ended, detail) = (self.now, String::new());
        let outcome = RunOutcome::Exited { code: 0 };
        let report = RunReport::Ended { run, started: Some(ended), ended, outcome, detail };
        self.input(Input::WorkerReported { worker, generation, reports: vec![report] });
    }

    fn present(&self, account: AccountId) -> u32 {
        self.world.account(account).present
    }
}

const ONE: AccountId = AccountId(1);
const TWO: AccountId = AccountId(2);

/// How a job of many instances gets its machines.
fn placement(host: &mut Host, account: AccountId, attached: bool) -> Placement {
    match attached {
        true => Placement::Attach { cluster: host.cluster(account, 0), shape: a_shape(false) },
        false => Placement::Auto(a_shape(false)),
    }
}

/// Post-condition: accounts with work have the same number of machines, give or take one.
fn machines_are_shared(host: &Host) -> Result<(), TestCaseError> {
    let (one, two) = (host.present(ONE), host.present(TWO));
    prop_assert!(one.abs_diff(two) <= 1, "{} and {} machines", one, two);
    prop_assert_eq!((one + two) as usize, host.places, "no place is left empty");
    Ok(())
}

/// Post-condition: nobody's work stands still.
fn everybody_gets_on(host: &mut Host, seconds: u32) -> Result<(), TestCaseError> {
    host.done.clear();
    (0..seconds).for_each(|_| host.second());
    let done = |account| host.done.get(&account).copied().unwrap_or(0);
    let (least, most) = (done(ONE).min(done(TWO)), done(ONE).max(done(TWO)));
    prop_assert!(least * 2 >= most, "{} and {} instances", done(ONE), done(TWO));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() })]

    #[test]
    fn who_comes_later_gets_its_share_of_a_full_host(
        places in 2usize..9,
        seed in 1u32..10_000,
        (first, second) in (any::<bool>(), any::<bool>()),
    ) {
        let places = places / 2 * 2;
        let mut host = Host::new(places, seed);
        let large = placement(&mut host, ONE, first);
        host.job(ONE, &large, 2_000);
        (0..10).for_each(|_| host.second());
        prop_assert_eq!(host.present(ONE) as usize, places);
        let small = placement(&mut host, TWO, second);
        host.job(TWO, &small, 2_000);
        (0..150).for_each(|_| host.second());
        machines_are_shared(&host)?;
        everybody_gets_on(&mut host, 60)?;
    }

    #[test]
    fn a_small_job_beside_a_large_one_ends(places in 2usize..6, seed in 1u32..10_000) {
        let mut host = Host::new(places, seed);
        host.job(ONE, &Placement::Auto(a_shape(false)), 2_000);
        (0..5).for_each(|_| host.second());
        let small = host.job(TWO, &Placement::Auto(a_shape(false)), 1);
        (0..40).for_each(|_| host.second());
        let small = host.world.any_job(small).expect("it is there");
        prop_assert!(small.state.is_final(), "{:?}", host.world.why(small.id));
        (0..150).for_each(|_| host.second());
        prop_assert_eq!(host.present(ONE) as usize, places, "its place goes back");
    }

    #[test]
    fn machines_that_users_asked_for_are_not_shared(seed in 1u32..10_000) {
        let mut host = Host::new(4, seed);
        let cluster = host.cluster(ONE, 4);
        host.job(ONE, &Placement::Fixed(cluster), 1_000);
        host.second();
        host.job(TWO, &Placement::Auto(a_shape(false)), 10);
        (0..30).for_each(|_| host.second());
        prop_assert_eq!(host.present(ONE), 4);
    }

    #[test]
    fn a_plan_that_cannot_place_all_places_as_much_for_each(
        sizes in prop::collection::vec((1u32..6, 1u32..9, 1u32..40), 1..6),
        budget in 1usize..60,
    ) {
        let mut host = Host::new(1_000, 1);
        for (number, (clusters, machines, instances)) in sizes.iter().enumerate() {
            let account = AccountId(1 + number as u64);
            for _ in 0..*clusters {
                let cluster = host.cluster(account, *machines);
                host.job(account, &Placement::Fixed(cluster), *instances);
            }
        }
        host.work();
        let placed = |budget| {
            let mut placed: BTreeMap<AccountId, usize> = BTreeMap::new();
            for proposal in plan(&host.world, host.now, budget) {
                let account = host.world.any_job(proposal.job).expect("it waits").account;
                *placed.entry(account).or_default() += proposal.instances.len() as usize;
            }
            placed
        };
        let (all, some) = (placed(usize::MAX), placed(budget));
        let total: usize = all.values().sum();
        prop_assert_eq!(some.values().sum::<usize>(), total.min(budget), "the budget is used");
        for (account, could) in &all {
            let got = some.get(account).copied().unwrap_or(0);
            prop_assert!(got >= (*could).min(budget / all.len()), "{}: {} of {}", account, got, could);
        }
    }
}
