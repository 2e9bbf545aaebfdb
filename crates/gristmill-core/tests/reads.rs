//! What the server reads from a world: listings, pages, counts, effects.

use gristmill_core::{EntityKey, IdMint, JobQuery, Options, World, plan};
use gristmill_model::{
    AccountId, Answer, ClusterId, ClusterSpec, Counts, Effect, Event, Input, InstanceNo, JobId,
    JobSpec, JobState, Placement, RunOutcome, RunReport, TaskName, Timestamp, WorkerId,
    input::Seen,
    samples::{a_cluster, a_group, a_job, a_shape, a_task},
};
use std::{collections::BTreeSet, sync::Arc};

const ONE: AccountId = AccountId(1);
const TWO: AccountId = AccountId(2);

struct Stage {
    world: World,
    ids: IdMint,
    now: Timestamp,
    events: Vec<Event>,
}

impl Stage {
    fn new(slots_per_worker: u32) -> Self {
        let options = Options { slots_per_worker, ..Options::default() };
        let (world, ids) = (World::new(options), IdMint::new([6; 32]));
        Self { world, ids, now: Timestamp(1), events: Vec::new() }
    }

    fn input(&mut self, input: Input) -> Answer {
        let decision = self.world.step(&input, self.now, &mut self.ids).expect("a legal input");
        self.events = decision.events;
        decision.answer
    }

    fn cluster(&mut self, account: AccountId, machines: u32) -> ClusterId {
        let groups = [("g".parse().expect("a group name"), a_group(machines))].into();
        let spec = Arc::new(ClusterSpec { groups, ..a_cluster() });
        match self.input(Input::CreateCluster { account, spec, token: None }) {
            Answer::Cluster(cluster) => cluster,
            answer => panic!("{answer:?}"),
        }
    }

    fn job(&mut self, account: AccountId, instance_count: u32, placement: &Placement) -> JobId {
        let tasks = [(the_task(), a_task(instance_count, placement))].into();
        let spec = Arc::new(JobSpec { tasks, ..a_job("job") });
        match self.input(Input::SubmitJob { account, spec, token: None }) {
            Answer::Job(job) => job,
            answer => panic!("{answer:?}"),
        }
    }

    fn call_all(&mut self) {
        let workers: Vec<_> = self.world.all_workers().map(|it| (it.id, it.generation)).collect();
        for (worker, generation) in workers {
            let (address, holds) = (String::new(), Vec::new());
            self.input(Input::WorkerCalled { worker, generation, address, holds, ahead: 0 });
        }
    }

    fn place(&mut self) {
        self.input(Input::Place(plan(&self.world, self.now, 1_000)));
    }

    /// A report of the instance's current run.
    fn report(&mut self, job: JobId, number: u32, code: Option<i32>) {
        let runs = |worker: &gristmill_core::Worker| {
            let mut runs = worker.runs.iter();
            let here = runs.find(|(_, what)| (what.job, what.instance.0) == (job, number))?;
            Some((worker.id, worker.generation, *here.0))
        };
        let run = self.world.all_workers().find_map(runs);
        let (worker, generation, run) = run.expect("the instance has a run");
        let (at, detail) = (self.now, String::new());
        let reports = vec![match code {
            None => RunReport::Started { run, at },
            Some(code) => {
                let outcome = RunOutcome::Exited { code };
                RunReport::Ended { run, started: Some(at), ended: at, outcome, detail }
            }
        }];
        self.input(Input::WorkerReported { worker, generation, reports });
    }

    fn listed(&self, query: JobQuery) -> Vec<JobId> {
        self.world.jobs_of(ONE, &query).map(|job| job.id).collect()
    }
}

fn the_task() -> TaskName {
    "t".parse().expect("a task name")
}

#[test]
fn jobs_are_listed_in_both_directions_from_a_marker_and_only_to_their_owner() {
    let mut stage = Stage::new(1);
    let auto = Placement::Auto(a_shape(false));
    let mut jobs = Vec::new();
    for _ in 0..5 {
        stage.job(TWO, 1, &auto);
        jobs.push(stage.job(ONE, 1, &auto));
    }
    assert_eq!(stage.listed(JobQuery::default()), jobs);
    let after = Some(jobs[1]);
    assert_eq!(stage.listed(JobQuery { after, ..JobQuery::default() }), jobs[2..]);
    let back: Vec<_> = stage.listed(JobQuery { reverse: true, ..JobQuery::default() });
    assert_eq!(back, jobs.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(stage.listed(JobQuery { after, reverse: true, ..JobQuery::default() }), jobs[..1]);
    // A marker need not exist any longer.
    stage.input(Input::StopJob { account: ONE, job: jobs[1] });
    stage.input(Input::DeleteJob { account: ONE, job: jobs[1] });
    assert_eq!(stage.listed(JobQuery { after, ..JobQuery::default() }), jobs[2..]);
    for edge in [JobId(0), JobId(u128::MAX)] {
        for reverse in [false, true] {
            let all = (edge.0 == 0) != reverse;
            let query = JobQuery { after: Some(edge), reverse, ..JobQuery::default() };
            assert_eq!(stage.listed(query).len(), if all { 4 } else { 0 });
        }
    }
}

#[test]
fn jobs_are_filtered_by_state_and_cluster() {
    let mut stage = Stage::new(1);
    let cluster = stage.cluster(ONE, 1);
    let fixed = stage.job(ONE, 1, &Placement::Fixed(cluster));
    let auto = stage.job(ONE, 1, &Placement::Auto(a_shape(false)));
    stage.input(Input::StopJob { account: ONE, job: fixed });
    let state = |state| JobQuery { state: Some(state), ..JobQuery::default() };
    assert_eq!(stage.listed(state(JobState::Stopped)), [fixed]);
    assert_eq!(stage.listed(state(JobState::Waiting)), [auto]);
    assert_eq!(stage.listed(state(JobState::Failed)), []);
    let on = |cluster| JobQuery { cluster: Some(cluster), ..JobQuery::default() };
    assert_eq!(stage.listed(on(cluster)), [fixed]);
    let own = stage.world.any_job(auto).expect("the job").cluster_of(&the_task());
    assert_eq!(stage.listed(on(own.expect("an automatic cluster"))), [auto]);
}

#[test]
fn instances_are_paged_by_number_and_state() {
    let mut stage = Stage::new(4);
    let cluster = stage.cluster(ONE, 1);
    let job = stage.job(ONE, 1_000_000, &Placement::Fixed(cluster));
    stage.call_all();
    stage.place();
    stage.report(job, 1, Some(0));
    stage.report(job, 2, None);
    let task = &stage.world.any_job(job).expect("the job").tasks[&the_task()];
    let page = |from, only| -> Vec<u32> {
        task.instances(InstanceNo(from), only).take(4).map(|(number, _)| number.0).collect()
    };
    assert_eq!(page(0, None), [0, 1, 2, 3]);
    assert_eq!(page(999_998, None), [999_998, 999_999]);
    assert_eq!(page(1_000_000, None), [0; 0]);
    // Placed instances (0, 3) wait, like those that nobody has.
    assert_eq!(page(0, Some(JobState::Waiting)), [0, 3, 4, 5]);
    assert_eq!(page(2, Some(JobState::Waiting)), [3, 4, 5, 6]);
    assert_eq!(page(0, Some(JobState::Running)), [2]);
    assert_eq!(page(3, Some(JobState::Running)), [0; 0]);
    assert_eq!(page(0, Some(JobState::Finished)), [1]);
    assert_eq!(page(0, Some(JobState::Stopped)), [0; 0]);
    let counts = Counts { waiting: 999_998, running: 1, finished: 1, ..Counts::default() };
    assert_eq!(task.counts, counts);
    assert_eq!(stage.world.any_job(job).expect("the job").instance_counts, counts);
    assert_eq!(stage.world.instance(job, &the_task(), InstanceNo(1_000_000)), None);
    assert_eq!(stage.world.retry_count(job, &the_task(), InstanceNo(1)), Some(0));
}

#[test]
fn a_machine_is_told_exactly_what_the_world_assigns() {
    let mut stage = Stage::new(2);
    let cluster = stage.cluster(ONE, 1);
    let job = stage.job(ONE, 3, &Placement::Fixed(cluster));
    stage.call_all();
    let worker = stage.world.all_workers().next().expect("a machine").id;
    stage.place();
    let numbers = |world: &World| -> Vec<u32> {
        world.runs_of(worker).map(|view| view.what.instance.0).collect()
    };
    assert_eq!(numbers(&stage.world), [0, 1]);
    assert_eq!(World::changed_workers(&stage.events), BTreeSet::from([worker]));
    stage.report(job, 0, Some(0));
    assert_eq!(numbers(&stage.world), [1]);
    stage.input(Input::StopJob { account: ONE, job });
    assert_eq!(numbers(&stage.world), [0; 0]);
    assert_eq!(World::changed_workers(&stage.events), BTreeSet::from([worker]));
    assert_eq!(stage.world.runs_of(WorkerId(0)).count(), 0);
}

#[test]
fn a_restart_repeats_what_should_be_and_only_that() {
    let mut stage = Stage::new(1);
    let stays = stage.cluster(ONE, 3);
    let goes = stage.cluster(ONE, 1);
    stage.input(Input::DeleteCluster { account: ONE, cluster: goes });
    let delayed = stage.world.all_workers().find(|worker| worker.cluster == stays);
    let (worker, generation) = delayed.map(|it| (it.id, it.generation)).expect("a machine");
    let seen = Seen::NoRoom { reason: "full".to_owned() };
    stage.input(Input::WorkerObserved { worker, generation, seen });
    let effects = stage.world.standing_effects();
    let ensured: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::EnsureWorker(wanted) => Some((wanted.cluster, wanted.worker != worker)),
            Effect::RemoveWorker { .. } | Effect::Notify(_) => None,
        })
        .collect();
    assert_eq!(ensured, [(stays, true), (stays, true)]);
    assert_eq!(effects.len(), 3, "and the machine that goes is removed");
    assert!(stage.world.next_deadline().is_some(), "the delayed one is asked for by a tick");
}

#[test]
fn groups_and_clusters_are_shown_to_their_owner_only() {
    let mut stage = Stage::new(1);
    let (mine, theirs) = (stage.cluster(ONE, 2), stage.cluster(TWO, 1));
    let ids = |account, after| -> Vec<_> {
        stage.world.clusters_of(account, after).map(|cluster| cluster.id).collect()
    };
    assert_eq!((ids(ONE, None), ids(TWO, None)), (vec![mine], vec![theirs]));
    assert_eq!(ids(ONE, Some(mine)), []);
    let group = "g".parse().expect("a group name");
    let (sizes, machines) = stage.world.group(ONE, mine, &group).expect("the group");
    assert_eq!((sizes.desired, sizes.metrics.starting, machines.count()), (2, 2, 2));
    assert!(stage.world.group(ONE, theirs, &group).is_none());
    assert!(stage.world.group(ONE, mine, &"x".parse().expect("a group name")).is_none());
    assert!(stage.world.cluster(TWO, mine).is_none());
    assert_eq!(stage.world.account(ONE).machines, 2);
}

/// A job of thousands of tasks that each wait for thousands would be told in gigabytes.
#[test]
fn of_many_tasks_that_one_waits_for_some_are_named_and_the_others_counted() {
    let mut stage = Stage::new(1);
    let cluster = Placement::Fixed(stage.cluster(ONE, 1));
    let name = |kind: char, number: usize| -> TaskName {
        format!("{kind}{number:03}").parse().expect("a task name")
    };
    let task = |name: TaskName| (name, a_task(1, &cluster));
    let first = (0..100).map(|number| name('a', number));
    let last: BTreeSet<TaskName> = (0..100).map(|number| name('b', number)).collect();
    let tasks = first.clone().chain(last.iter().cloned()).map(task).collect();
    let dependencies = first.map(|name| (name, last.clone())).collect();
    let spec = Arc::new(JobSpec { tasks, dependencies, ..a_job("job") });
    let made = stage.input(Input::SubmitJob { account: ONE, spec, token: None });
    let Answer::Job(job) = made else { panic!("{made:?}") };
    let obstacles = stage.world.obstacles(job, 150);
    assert_eq!(obstacles.len(), 150);
    let said: Vec<String> = obstacles.iter().map(|(_, it)| it.to_string()).collect();
    assert!(said[0].contains("1 machine starting"), "{}", said[0]);
    assert_eq!(obstacles[149].0, name('b', 49));
    assert!(said[149].starts_with("waits for `a000`, `a001`, "), "{}", said[149]);
    assert!(said[149].ends_with("`a019` and 80 other tasks"), "{}", said[149]);
    let facts = obstacles[149].1.facts();
    assert_eq!(facts[1], ("Others", "80".to_owned()));
}

#[test]
fn a_checkpoint_writes_the_cluster_whose_log_tells_of_a_machine_that_was_not_set_up() {
    let mut stage = Stage::new(1);
    let cluster = stage.cluster(ONE, 1);
    let (worker, generation) =
        stage.world.all_workers().map(|it| (it.id, it.generation)).next().expect("a machine");
    for (seen, logged) in [
        (Seen::NoRoom { reason: "full".to_owned() }, false),
        (Seen::Failed { reason: "no such image".to_owned() }, true),
    ] {
        let mut world = stage.world.clone();
        let input = Input::WorkerObserved { worker, generation, seen };
        let decision = world.step(&input, stage.now, &mut stage.ids).expect("a legal input");
        let lines = |world: &World| world.any_cluster(cluster).expect("is there").log.len();
        assert_eq!(lines(&world) > lines(&stage.world), logged);
        assert_eq!(decision.touched.contains(&EntityKey::Cluster(cluster)), logged);
    }
}
