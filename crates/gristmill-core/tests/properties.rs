//! What holds for any inputs whatever: the books add up; a draft decides like a step; replay
//! and restore give an equal world; what is said again changes nothing.

use gristmill_core::{Cluster, Entity, IdMint, Options, World, decide, plan};
use gristmill_model::{
    AccountId, Cause, ClusterChange, ClusterId, ClusterSpec, Event, Generation, GroupChange,
    GroupSpec, Input, JobId, JobSpec, Placement, PriceMilli, Quota, RunId, RunOutcome, RunReport,
    Seconds, TaskName, Timestamp, WorkerId, WorkerState,
    catalogue::InstanceTypeName,
    event::Purpose,
    input::{Proposal, Seen, Token, WorkerPlace},
    samples::{a_cluster, a_group, a_job, a_shape, a_task},
    spec::{AutoCluster, Limits, Resource},
};
use proptest::prelude::*;
use std::sync::Arc;

/// One random input: what, and three numbers that choose among what there is.
type Step = (u8, u32, u32, u32);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0u8..27, 0u32..1_000, 0u32..1_000, 0u32..1_000), 1..160)
}

fn options() -> Options {
    let limits = Limits {
        machines_max: 5,
        auto_cluster_machines_max: 3,
        infrastructure_retry_max: 2,
        jobs_max: 6,
        ..Limits::default()
    };
    let default_type = Some(InstanceTypeName("t".to_owned()));
    Options {
        limits,
        default_type,
        slots_per_worker: 2,
        worker_start_max: Seconds(30),
        finished_kept: Seconds(5),
        finished_kept_max: 2,
        ..Options::default()
    }
}

fn pick<T: Copy>(items: impl Iterator<Item = T>, number: u32) -> Option<T> {
    let items: Vec<T> = items.collect();
    items.get(number as usize % items.len().max(1)).copied()
}

fn some_job(world: &World, number: u32) -> Option<JobId> {
    pick(world.all_jobs().map(|job| job.id), number)
}

fn some_cluster(world: &World, number: u32) -> Option<ClusterId> {
    pick(world.all_clusters().map(|cluster| cluster.id), number)
}

fn some_worker(world: &World, number: u32) -> Option<(WorkerId, Generation)> {
    pick(world.all_workers().map(|worker| (worker.id, worker.generation)), number)
}

fn some_run(world: &World, number: u32) -> Option<(RunId, WorkerId, Generation)> {
    let runs = world
        .all_workers()
        .flat_map(|worker| worker.runs.keys().map(|run| (*run, worker.id, worker.generation)));
    pick(runs, number)
}

/// The input a step means in a world; `None` when there is nothing to choose from.
fn input(world: &World, (what, a, b, c): Step, now: Timestamp) -> Option<Input> {
    let account = AccountId(1 + u64::from(c % 11 == 0));
    Some(match what {
        0..=2 => submission(world, account, (a, b, c)),
        3 => creation(account, a, b),
        4 => Input::StopJob { account, job: some_job(world, a)? },
        5 => Input::StartJob { account, job: some_job(world, a)? },
        6 => Input::DeleteJob { account, job: some_job(world, a)? },
        7 => {
            let (job, priority) = (some_job(world, a)?, (b % 5) as u16);
            Input::ChangePriority { account, job, priority }
        }
        8 => {
            let cluster = some_cluster(world, a)?;
            let groups = world.any_cluster(cluster)?.groups.iter();
            // Sometimes of a lane as well, which is refused.
            let groups = groups.filter(|(_, group)| group.lane.is_none() || b.is_multiple_of(9));
            let groups = groups.map(|(name, _)| (name.clone(), group_change(b, c))).collect();
            let change = Arc::new(ClusterChange { groups, ..ClusterChange::default() });
            Input::ModifyCluster { account, cluster, change }
        }
        9 if b.is_multiple_of(3) => {
            Input::DeleteCluster { account, cluster: some_cluster(world, a)? }
        }
        9..=12 => call(world, (a, b, c))?,
        13..=15 => Input::Place(plan(world, now, 1 + (a % 4) as usize)),
        16 => Input::Place(vec![wild_proposal(world, (a, b, c))?]),
        17..=20 => report(world, (a, b, c), now)?,
        21 => {
            let (worker, generation) = some_worker(world, a)?;
            Input::WorkerSilent { worker, generation }
        }
        22 => observation(world, (a, b))?,
        23 => {
            let (worker, _) = some_worker(world, a)?;
            let known = world.worker(worker)?;
            let (cluster, group) = (known.cluster, known.group.clone());
            let place = WorkerPlace { cluster, group, worker };
            match b % 2 {
                0 => Input::DeleteWorker { account, place },
                _ => Input::RecreateWorker { account, place },
            }
        }
        24 => {
            let instance_type = a_kind(a);
            match b % 4 {
                0 => Input::SetQuota {
                    account,
                    quota: Quota { machines: Some(u64::from(c % 6)), ..Quota::default() },
                },
                1 => {
                    let machines = c % 7;
                    Input::SetPrepaid { account, instance_type, machines }
                }
                _ => {
                    let price = (c % 3 > 0).then_some(PriceMilli(c % 9));
                    Input::SetSpotPrice { instance_type, price }
                }
            }
        }
        25 => Input::Resumed,
        _ => Input::Tick,
    })
}

fn group_change(b: u32, c: u32) -> GroupChange {
    let instance_type = Some(a_kind(c));
    match c % 3 {
        0 => GroupChange { instance_type, ..GroupChange::default() },
        1 => GroupChange { instance_type, ..GroupChange::size(b % 4) },
        _ => GroupChange::size(b % 4),
    }
}

fn a_kind(number: u32) -> InstanceTypeName {
    InstanceTypeName(["t", "u"][number as usize % 2].to_owned())
}

fn token(number: u32) -> Option<Token> {
    Some(Token { text: format!("t{number}"), body: format!("{}", number % 100) })
}

fn submission(world: &World, account: AccountId, (a, b, c): (u32, u32, u32)) -> Input {
    let placement = match some_cluster(world, a).filter(|_| !b.is_multiple_of(3)) {
        Some(cluster) if b.is_multiple_of(2) => Placement::Fixed(cluster),
        Some(cluster) => {
            let instance_type = (c % 4 > 1).then(|| a_kind(c));
            let shape = AutoCluster { resource: resource(a), instance_type, ..a_shape(false) };
            Placement::Attach { cluster, shape }
        }
        None => {
            Placement::Auto(AutoCluster { resource: resource(a), ..a_shape(c.is_multiple_of(2)) })
        }
    };
    let name = |name: &str| -> TaskName { name.parse().expect("a task name") };
    let mut first = a_task(1 + a % 4, &placement);
    first.retry_count_max = b % 3;
    let second = a_task(1 + b % 2, &placement);
    let spec = JobSpec {
        priority: (c % 3) as u16,
        fail_on_instance_fail: !a.is_multiple_of(4),
        auto_release: b.is_multiple_of(5),
        tasks: [(name("a"), first), (name("b"), second.clone()), (name("c"), second)].into(),
        dependencies: [(name("a"), [name("b")].into())].into(),
        app: None,
        ..a_job("job")
    };
    // Some tokens come again, some with another body.
    Input::SubmitJob { account, spec: Arc::new(spec), token: token((a * 7 + b) % 150) }
}

fn resource(number: u32) -> Resource {
    match number % 5 {
        0 => Resource::PrePaid,
        1 => Resource::Spot { price_limit_milli: Some(4) },
        2 => Resource::Spot { price_limit_milli: None },
        _ => Resource::OnDemand,
    }
}

fn creation(account: AccountId, a: u32, b: u32) -> Input {
    let made = GroupSpec { resource: resource(b), ..a_group(a % 3) };
    let groups = ["x", "y"].map(|name| (name.parse().expect("a group name"), made.clone()));
    let spec = ClusterSpec { groups: groups.into(), ..a_cluster() };
    Input::CreateCluster { account, spec: Arc::new(spec), token: token(b % 150) }
}

fn call(world: &World, (a, b, c): (u32, u32, u32)) -> Option<Input> {
    let (worker, generation) = some_worker(world, a)?;
    let mut holds: Vec<_> = world.runs_of(worker).map(|view| view.run).collect();
    if b.is_multiple_of(6) {
        holds.pop();
    }
    let generation = if c.is_multiple_of(9) { Generation(c) } else { generation };
    let address = format!("10.0.0.{}", c % 2);
    Some(Input::WorkerCalled { worker, generation, address, holds, ahead: a % 4 })
}

/// Something no plan would propose.
fn wild_proposal(world: &World, (a, b, c): (u32, u32, u32)) -> Option<Proposal> {
    let job = some_job(world, a)?;
    let task = ["a", "b", "c", "d"][b as usize % 4].parse().expect("a task name");
    let (worker, _) = some_worker(world, c)?;
    let instances = [a % 5, b % 7].into_iter().collect();
    Some(Proposal { job, task, instances, worker })
}

fn report(world: &World, (a, b, c): (u32, u32, u32), now: Timestamp) -> Option<Input> {
    let (run, worker, generation) = some_run(world, a)?;
    let run = if c.is_multiple_of(13) { RunId(u64::from(c)) } else { run };
    let message = || "words".to_owned();
    let outcome = match b % 12 {
        0..=2 => None,
        3 => Some(RunOutcome::Exited { code: 3 }),
        4 => Some(RunOutcome::Infrastructure { cause: Cause::Mount, message: message() }),
        5 => Some(RunOutcome::Unable { cause: Cause::Package, message: message() }),
        6 => Some(RunOutcome::Cancelled),
        7 => Some(RunOutcome::OutOfMemory),
        _ => Some(RunOutcome::Exited { code: 0 }),
    };
    let started = c.is_multiple_of(2).then_some(Timestamp(now.0 - i64::from(c) * 1_000_000));
    let ended = Timestamp(now.0 + i64::from(a) * 1_000_000);
    let report = match outcome {
        None => RunReport::Started { run, at: now },
        Some(outcome) => RunReport::Ended { run, started, ended, outcome, detail: message() },
    };
    Some(Input::WorkerReported { worker, generation, reports: vec![report] })
}

fn observation(world: &World, (a, b): (u32, u32)) -> Option<Input> {
    let (worker, generation) = some_worker(world, a)?;
    let reason = "words".to_owned();
    let seen = match b % 6 {
        0 => Seen::There,
        1 => Seen::NoRoom { reason },
        2 => Seen::Refused { reason },
        3 => Seen::Failed { reason },
        _ => Seen::Gone,
    };
    Some(Input::WorkerObserved { worker, generation, seen })
}

/// The word that a machine is gone says one thing when it should be there and another when it
/// is going; all other inputs say the same thing when they are said again. A look at who waits may
/// find something when it is repeated: own machines that were wanted at the first one.
fn may_be_said_again(world: &World, input: &Input) -> bool {
    match input {
        Input::WorkerObserved { worker, seen: Seen::Gone, .. } => {
            world.worker(*worker).is_none_or(|worker| worker.state != WorkerState::Deleting)
        }
        Input::Resumed => false,
        _ => true,
    }
}

fn restored(world: &World) -> World {
    let entities = world.entity_keys().map(|key| {
        let text = serde_json::to_string(&world.entity(&key)).expect("entities can be written");
        serde_json::from_str::<Option<Entity>>(&text).expect("and read").expect("and exist")
    });
    World::restore(world.options().clone(), entities).expect("a sound checkpoint")
}

/// Post-condition: nobody has more machines than may be, unless it was so before.
fn growth_stays_within_the_quota(before: &World, world: &World) -> Result<(), TestCaseError> {
    for account in [AccountId(1), AccountId(2)] {
        let (had, has) = (before.account(account), world.account(account));
        let may = world.allowance(account);
        prop_assert!(has.machines <= had.machines || u64::from(has.machines) <= may.machines);
        prop_assert!(has.cores <= had.cores || has.cores <= may.cores);
    }
    Ok(())
}

/// Post-condition: time alone takes no machine for attached tasks that has a run.
fn machines_go_only_without_runs(
    before: &World,
    input: &Input,
    events: &[Event],
) -> Result<(), TestCaseError> {
    for event in events {
        let Event::WorkerDeleting { worker, reason, .. } = event else { continue };
        if reason == "it had nothing to do" {
            let known = before.worker(*worker).expect("it was there");
            prop_assert!(known.runs.is_empty() && known.lane.is_some());
            prop_assert!(matches!(input, Input::Tick));
        }
    }
    Ok(())
}

/// Post-condition: attached tasks leave the groups that users described as they are.
fn groups_of_users_follow_users_alone(
    input: &Input,
    before: &World,
    world: &World,
) -> Result<(), TestCaseError> {
    let by_hand = matches!(input, Input::ModifyCluster { .. } | Input::DeleteWorker { .. });
    let sizes = |world: &World, cluster: ClusterId| -> Option<Vec<u32>> {
        let groups = world.any_cluster(cluster)?.groups.values();
        Some(groups.filter(|group| group.lane.is_none()).map(|group| group.desired).collect())
    };
    // Prepaid machines are dealt by the operator, automatic clusters follow their task.
    let is_fixed = |cluster: &&Cluster| {
        let prepaid = |group: &GroupSpec| group.resource == Resource::PrePaid;
        cluster.purpose == Purpose::Fixed && !cluster.spec.groups.values().any(prepaid)
    };
    for cluster in before.all_clusters().filter(is_fixed).filter(|_| !by_hand) {
        let (old, new) = (sizes(before, cluster.id), sizes(world, cluster.id));
        prop_assert!(new.is_none() || old == new, "{:?} became {:?}", old, new);
    }
    Ok(())
}

/// Post-condition: when everything ended and time passed, no machine for attached tasks is left.
fn lanes_return_to_nothing(mut world: World, mut now: Timestamp, ids: &mut IdMint) {
    let jobs: Vec<_> = world.all_jobs().map(|job| (job.id, job.account)).collect();
    for (job, account) in jobs {
        let _ = world.step(&Input::StopJob { account, job }, now, ids); // it may have ended
    }
    for _ in 0..4 {
        let workers: Vec<_> = world.all_workers().map(|it| (it.id, it.generation)).collect();
        for (worker, generation) in workers {
            let going = world.worker(worker).map(|it| it.state) == Some(WorkerState::Deleting);
            let address = "10.0.0.1".to_owned();
            let _ = world.step(
                &match going {
                    true => Input::WorkerObserved { worker, generation, seen: Seen::Gone },
                    false => {
                        let holds = Vec::new();
                        Input::WorkerCalled { worker, generation, address, holds, ahead: 0 }
                    }
                },
                now,
                ids,
            );
        }
        now = now.after(Seconds(100));
        world.step(&Input::Tick, now, ids).expect("time passes");
    }
    let lanes = world.all_clusters().flat_map(|it| it.groups.values());
    assert_eq!(lanes.filter(|group| group.lane.is_some()).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_comes_the_books_add_up(steps in steps()) {
        let mut world = World::new(options());
        let mut replayed = world.clone();
        // A checkpoint that is kept by touched keys alone.
        let mut checkpoint = std::collections::BTreeMap::new();
        let mut ids = IdMint::new([9; 32]);
        let mut now = Timestamp(1_000_000);
        for key in world.entity_keys() {
            checkpoint.insert(key.to_string(), world.entity(&key));
        }
        for step in steps {
            now = now.after(Seconds(step.3 % 3));
            let Some(input) = input(&world, step, now) else { continue };
            let before = world.clone();
            let drafted = decide(&world, &input, now, &mut ids.clone());
            let decided = world.step(&input, now, &mut ids);
            prop_assert_eq!(&drafted, &decided);
            let Ok(decision) = decided else {
                prop_assert!(world == before, "a refusal changes nothing");
                continue;
            };
            prop_assert_eq!(world.check(), Ok(()));
            growth_stays_within_the_quota(&before, &world)?;
            machines_go_only_without_runs(&before, &input, &decision.events)?;
            groups_of_users_follow_users_alone(&input, &before, &world)?;
            decision.events.iter().for_each(|event| replayed.apply(event));
            prop_assert!(world == replayed, "a replay gives an equal world");
            for key in &decision.touched {
                match world.entity(key) {
                    Some(entity) => checkpoint.insert(key.to_string(), Some(entity)),
                    None => checkpoint.remove(&key.to_string()),
                };
            }
            if may_be_said_again(&world, &input) {
                let again = world.clone().step(&input, now, &mut ids.clone());
                let silent = again.as_ref().map_or(true, |again| again.events.is_empty());
                prop_assert!(silent, "{:?} again: {:?}", input, again);
            }
        }
        prop_assert!(restored(&world) == world, "a restore gives an equal world");
        lanes_return_to_nothing(world.clone(), now, &mut ids);
        let entities = checkpoint.into_values().flatten();
        let kept = World::restore(world.options().clone(), entities).expect("a sound checkpoint");
        prop_assert!(kept == world, "touched keys are enough to keep a checkpoint");
    }

    #[test]
    fn a_plan_fits_the_world_it_was_made_from(steps in steps(), budget in 0usize..12) {
        let mut world = World::new(options());
        let mut ids = IdMint::new([5; 32]);
        let mut now = Timestamp(1_000_000);
        for step in steps {
            now = now.after(Seconds(1));
            if let Some(input) = input(&world, step, now) {
                let _ = world.step(&input, now, &mut ids);
            }
        }
        let proposals = plan(&world, now, budget);
        let proposed: u32 = proposals.iter().map(|it| it.instances.len()).sum();
        prop_assert!(proposed as usize <= budget);
        let decision = world.step(&Input::Place(proposals.clone()), now, &mut ids).expect("placed");
        // Other events: lanes give back machines that are not needed now, and others get them.
        let placed = decision.events.iter().filter_map(|event| match event {
            Event::RunsPlaced { instances, .. } => Some(instances),
            _ => None,
        });
        let wanted: Vec<_> = proposals.iter().map(|proposal| &proposal.instances).collect();
        prop_assert_eq!(placed.collect::<Vec<_>>(), wanted, "each proposal holds whole");
        if (proposed as usize) < budget {
            prop_assert_eq!(plan(&world, now, budget), vec![], "a plan under budget leaves nothing");
        }
    }
}
