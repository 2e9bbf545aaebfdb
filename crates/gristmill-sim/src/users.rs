//! What users of the simulated world ask for.

use crate::chance::Chance;
use gristmill_core::World;
use gristmill_model::{
    AccountId, ClusterChange, ClusterId, ClusterSpec, GroupChange, GroupName, Input, JobId,
    JobSpec, Placement, PriceMilli, Quota, TaskName, TaskSpec, WorkerId,
    catalogue::InstanceTypeName,
    input::{Token, WorkerPlace},
    samples::{a_cluster, a_group, a_job, a_shape, a_task},
    spec::{AutoCluster, Resource},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const ACCOUNTS: u64 = 2;
const JOBS_MAX: usize = 8;
const CLUSTERS_MAX: usize = 2;

/// Something a random user asks for.
pub fn wish(world: &World, chance: &mut Chance, token: u64) -> Option<Input> {
    let account = AccountId(1 + chance.below(ACCOUNTS));
    let jobs: Vec<JobId> = world.all_jobs().map(|job| job.id).collect();
    let clusters: Vec<ClusterId> = world.clusters_of(account, None).map(|it| it.id).collect();
    match chance.below(18) {
        0..=4 if jobs.len() < JOBS_MAX => Some(submission(account, &clusters, chance, token)),
        5 | 6 if clusters.len() < CLUSTERS_MAX => Some(creation(account, chance, token)),
        7 => Some(Input::StopJob { account, job: chance.pick(&jobs)? }),
        8 | 9 => Some(Input::StartJob { account, job: chance.pick(&jobs)? }),
        10 => Some(Input::DeleteJob { account, job: chance.pick(&jobs)? }),
        11 => {
            let (job, priority) = (chance.pick(&jobs)?, chance.below(4) as u16);
            Some(Input::ChangePriority { account, job, priority })
        }
        12 => {
            let cluster = chance.pick(&clusters)?;
            let change = Arc::new(change(chance));
            Some(Input::ModifyCluster { account, cluster, change })
        }
        14 => machine(world, account, chance).map(|place| match chance.one_in(2) {
            true => Input::DeleteWorker { account, place },
            false => Input::RecreateWorker { account, place },
        }),
        15 | 16 => {
            let price = (!chance.one_in(3)).then(|| PriceMilli(chance.between(1, 9)));
            Some(Input::SetSpotPrice { instance_type: kind(chance), price })
        }
        17 => Some(match chance.one_in(2) {
            true => {
                let machines = (!chance.one_in(3)).then(|| 1 + chance.below(6));
                let quota = Quota { machines, ..Quota::default() };
                Input::SetQuota { account, quota }
            }
            false => {
                let machines = chance.between(0, 4);
                Input::SetPrepaid { account, instance_type: kind(chance), machines }
            }
        }),
        13 if chance.one_in(3) => {
            Some(Input::DeleteCluster { account, cluster: chance.pick(&clusters)? })
        }
        _ => None,
    }
}

/// The token of an input that can be sent again.
pub fn token_of(input: &Input) -> Option<&Token> {
    match input {
        Input::SubmitJob { token, .. } | Input::CreateCluster { token, .. } => token.as_ref(),
        _ => None,
    }
}

/// The group every simulated cluster has.
pub fn group() -> GroupName {
    "group".parse().expect("a legal name")
}

/// The types there are; the first is the region's default.
pub fn kinds() -> [InstanceTypeName; 3] {
    ["type-0", "type-1", "type-2"].map(|name| InstanceTypeName(name.to_owned()))
}

fn kind(chance: &mut Chance) -> InstanceTypeName {
    chance.pick(&kinds()).expect("there are types")
}

fn resource(chance: &mut Chance) -> Resource {
    match chance.below(6) {
        0 => Resource::PrePaid,
        1 => Resource::Spot { price_limit_milli: Some(chance.between(1, 9)) },
        2 => Resource::Spot { price_limit_milli: None },
        _ => Resource::OnDemand,
    }
}

fn change(chance: &mut Chance) -> ClusterChange {
    let kind = chance.one_in(3).then(|| kind(chance));
    let group_change = GroupChange {
        desired: Some(chance.between(0, 3)),
        instance_type: kind,
        spot: chance.one_in(9).then_some(Resource::Spot { price_limit_milli: Some(5) }),
        ..GroupChange::default()
    };
    ClusterChange {
        groups: [(group(), group_change)].into(),
        env: chance.one_in(4).then(BTreeMap::new),
        ..ClusterChange::default()
    }
}

fn machine(world: &World, account: AccountId, chance: &mut Chance) -> Option<WorkerPlace> {
    let clusters = world.clusters_of(account, None);
    let groups = clusters.flat_map(|it| it.groups.iter().map(|(name, group)| (it.id, name, group)));
    let places = groups.flat_map(|(cluster, group, members)| {
        let place =
            move |worker: &WorkerId| WorkerPlace { cluster, group: group.clone(), worker: *worker };
        members.workers.iter().map(place)
    });
    let places: Vec<WorkerPlace> = places.collect();
    let at = chance.below(places.len().max(1) as u64) as usize;
    places.into_iter().nth(at)
}

fn token(number: u64) -> Option<Token> {
    Some(Token { text: format!("t{number}"), body: format!("body {number}") })
}

fn submission(
    account: AccountId,
    clusters: &[ClusterId],
    chance: &mut Chance,
    number: u64,
) -> Input {
    let mut spec = JobSpec {
        priority: chance.below(4) as u16,
        fail_on_instance_fail: !chance.one_in(3),
        auto_release: chance.one_in(6),
        ..a_job("job")
    };
    let names: Vec<TaskName> = (0..chance.between(1, 4))
        .map(|number| format!("t{number}").parse().expect("a legal name"))
        .collect();
    for (at, name) in names.iter().enumerate() {
        spec.tasks.insert(name.clone(), task(clusters, chance));
        let before = names[..at].iter().filter(|_| chance.one_in(2));
        for predecessor in before.collect::<Vec<_>>() {
            let successors: &mut BTreeSet<_> =
                spec.dependencies.entry(predecessor.clone()).or_default();
            successors.insert(name.clone());
        }
    }
    Input::SubmitJob { account, spec: Arc::new(spec), token: token(number) }
}

fn task(clusters: &[ClusterId], chance: &mut Chance) -> TaskSpec {
    let placement = match chance.pick(clusters) {
        Some(cluster) if chance.one_in(3) => Placement::Fixed(cluster),
        Some(cluster) if chance.one_in(2) => {
            let shape = AutoCluster { resource: resource(chance), ..a_shape(false) };
            let instance_type = chance.pick(&kinds());
            Placement::Attach { cluster, shape: AutoCluster { instance_type, ..shape } }
        }
        _ => {
            Placement::Auto(AutoCluster { resource: resource(chance), ..a_shape(chance.one_in(4)) })
        }
    };
    let (instances, retry_count_max) = (chance.between(1, 5), chance.between(0, 2));
    TaskSpec { retry_count_max, ..a_task(instances, &placement) }
}

fn creation(account: AccountId, chance: &mut Chance, number: u64) -> Input {
    let mut spec = cluster_of(chance.between(0, 3));
    for group in spec.groups.values_mut() {
        group.resource = resource(chance);
    }
    let spec = Arc::new(spec);
    Input::CreateCluster { account, spec, token: token(number) }
}

/// A cluster of so many machines.
pub fn cluster_of(desired: u32) -> ClusterSpec {
    let name = "cluster".parse().expect("a legal name");
    ClusterSpec { name, groups: [(group(), a_group(desired))].into(), ..a_cluster() }
}
