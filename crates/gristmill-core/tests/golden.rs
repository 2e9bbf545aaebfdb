//! Checkpoints of released versions can be read. One file per release, one entity a line,
//! written once and never changed afterwards.

use gristmill_core::{Entity, IdMint, Options, World, plan};
use gristmill_model::{
    AccountId, Answer, Cause, ClusterSpec, Event, Generation, Input, InstanceNo, JobSpec, JobState,
    Placement, RunId, RunOutcome, RunReport, TaskName, Timestamp, WorkerId, WorkerState,
    input::{Seen, Token},
    samples::{a_cluster, a_group, a_job, a_shape, a_task},
};
use std::sync::Arc;

const OF_0_1_0: &str = include_str!("golden/entities-0.1.0.jsonl");
/// Not released yet: this one still changes.
const OF_0_2_0: &str = include_str!("golden/entities-0.2.0.jsonl");

/// A world with a bit of everything.
fn a_world() -> World {
    let mut stage = Stage {
        world: World::new(Options::default()),
        ids: IdMint::new([2; 32]),
        now: Timestamp(1_700_000_000_000_000),
    };
    let (account, token) = (AccountId(7), |text: &str| {
        Some(Token { text: text.to_owned(), body: "digest".to_owned() })
    });
    let groups = [("g".parse().expect("a group name"), a_group(3))].into();
    let spec = Arc::new(ClusterSpec { groups, ..a_cluster() });
    let made = stage.input(Input::CreateCluster { account, spec, token: token("c") });
    let Answer::Cluster(cluster) = made else { panic!("{made:?}") };
    let name = |name: &str| -> TaskName { name.parse().expect("a task name") };
    let mut task = a_task(6, &Placement::Fixed(cluster));
    task.retry_count_max = 2;
    let mut auto = a_task(2, &Placement::Auto(a_shape(true)));
    auto.retry_count_max = 2;
    let spec = JobSpec {
        tasks: [(name("work"), task.clone()), (name("later"), task), (name("auto"), auto)].into(),
        dependencies: [(name("work"), [name("later")].into())].into(),
        app: None,
        ..a_job("golden")
    };
    let spec = Arc::new(spec);
    stage.input(Input::SubmitJob { account, spec: Arc::clone(&spec), token: token("j") });
    let made = stage.input(Input::SubmitJob { account, spec, token: None });
    let Answer::Job(second) = made else { panic!("{made:?}") };
    let workers: Vec<_> = stage.world.all_workers().map(|it| (it.id, it.generation)).collect();
    for (index, (worker, generation)) in workers.into_iter().enumerate() {
        stage.input(if index % 3 == 2 {
            let seen = Seen::NoRoom { reason: "full".to_owned() };
            Input::WorkerObserved { worker, generation, seen }
        } else {
            let address = format!("10.0.0.{index}");
            Input::WorkerCalled { worker, generation, address, holds: Vec::new(), ahead: 0 }
        });
    }
    stage.run_some();
    stage.input(Input::StopJob { account, job: second });
    stage.world
}

struct Stage {
    world: World,
    ids: IdMint,
    now: Timestamp,
}

impl Stage {
    fn input(&mut self, input: Input) -> Answer {
        self.now.0 += 1_000;
        self.world.step(&input, self.now, &mut self.ids).expect("a legal input").answer
    }

    fn run_of_the_first_job(&self) -> (WorkerId, Generation, RunId) {
        let first = self.world.all_jobs().next().expect("a job").id;
        let mut workers = self.world.all_workers();
        let run = workers.find_map(|worker| {
            let (run, _) = worker.runs.iter().find(|(_, what)| what.job == first)?;
            Some((worker.id, worker.generation, *run))
        });
        run.expect("the first job has a run")
    }

    /// Runs that end in different ways, and some that go on.
    fn run_some(&mut self) {
        let infrastructure =
            RunOutcome::Infrastructure { cause: Cause::Mount, message: "no route".to_owned() };
        let outcomes = [
            Some(RunOutcome::Exited { code: 0 }),
            Some(RunOutcome::Exited { code: 1 }),
            Some(infrastructure),
            None,
        ];
        for outcome in outcomes {
            self.input(Input::Place(plan(&self.world, self.now, 10)));
            let (at, detail) = (self.now, String::new());
            let (worker, generation, run) = self.run_of_the_first_job();
            let reports = vec![match outcome {
                None => RunReport::Started { run, at },
                Some(outcome) => {
                    RunReport::Ended { run, started: Some(at), ended: at, outcome, detail }
                }
            }];
            self.input(Input::WorkerReported { worker, generation, reports });
        }
    }
}

fn written(world: &World) -> String {
    let lines = world.entity_keys().map(|key| {
        let entity = world.entity(&key).expect("a listed key has an entity");
        serde_json::to_string(&entity).expect("entities can be written") + "\n"
    });
    lines.collect()
}

fn read(text: &str) -> World {
    let entities = text.lines().map(|line| {
        serde_json::from_str::<Entity>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    World::restore(Options::default(), entities).expect("a sound checkpoint")
}

#[test]
fn a_checkpoint_of_0_1_0_can_be_read_and_goes_on() {
    let mut world = read(OF_0_1_0);
    let states: Vec<_> = world.all_jobs().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Running, JobState::Stopped]);
    let job = world.all_jobs().next().expect("the first job").clone();
    let mut tried = (0, 0);
    for task in job.tasks.values() {
        for (number, _) in task.instances(InstanceNo(0), None) {
            tried.0 += task.attempts(number).retries;
            tried.1 += task.attempts(number).put_back;
        }
    }
    assert_eq!(tried, (1, 1));
    let pending = world.all_workers().filter(|worker| worker.state == WorkerState::Pending);
    assert_eq!(pending.count(), 1);
    // It goes on: a machine is lost, its run is put back.
    let busy = world.all_workers().find(|worker| worker.used() > 0).expect("a busy machine");
    let (worker, generation) = (busy.id, busy.generation);
    let now = Timestamp(1_800_000_000_000_000);
    let silent = Input::WorkerSilent { worker, generation };
    let decision = world.step(&silent, now, &mut IdMint::new([4; 32])).expect("no refusal");
    assert!(decision.events.iter().any(|event| matches!(event, Event::RunEnded { .. })));
    assert_eq!(world.check(), Ok(()));
}

/// A difference here means that old checkpoints would be read as something else, or that this
/// version writes something new. In the second case add a file for this version.
#[test]
fn this_version_writes_what_0_2_0_writes() {
    let text = written(&a_world());
    assert!(text == OF_0_2_0, "this version writes:\n{text}");
}
