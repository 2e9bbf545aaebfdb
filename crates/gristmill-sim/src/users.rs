//! What users of the simulated world ask for.

use crate::chance::Chance;
use gristmill_core::World;
use gristmill_model::{
    AccountId, ClusterId, ClusterSpec, GroupName, GroupSpec, Input, JobId, JobSpec, Placement,
    Seconds, TaskName, TaskSpec,
    input::Token,
    spec::{AutoCluster, Configs, Program, Resource},
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
    match chance.below(14) {
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
            let desired = [(group(), chance.between(0, 3))].into();
            Some(Input::ResizeCluster { account, cluster: chance.pick(&clusters)?, desired })
        }
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
        name: "job".parse().expect("a legal name"),
        description: String::new(),
        priority: chance.below(4) as u16,
        fail_on_instance_fail: !chance.one_in(3),
        auto_release: chance.one_in(6),
        notification: None,
        tasks: BTreeMap::new(),
        dependencies: BTreeMap::new(),
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
        Some(cluster) if !chance.one_in(3) => Placement::Fixed(cluster),
        _ => Placement::Auto(shape(chance.one_in(4))),
    };
    TaskSpec {
        program: Program {
            command_line: "true".to_owned(),
            package: None,
            env: BTreeMap::new(),
            docker: None,
        },
        instance_count: chance.between(1, 5),
        retry_count_max: chance.between(0, 2),
        timeout: Seconds(60),
        placement,
        inputs: Vec::new(),
        outputs: Vec::new(),
        logs: Vec::new(),
        write_support: false,
        mounts: None,
        locale: "GBK".to_owned(),
        lock: false,
        stdout: None,
        stderr: None,
        credential_config: None,
    }
}

fn shape(reserve_on_fail: bool) -> AutoCluster {
    AutoCluster {
        image: None,
        ecs_image: None,
        instance_type: None,
        resource: Resource::OnDemand,
        configs: Configs::default(),
        user_data: BTreeMap::new(),
        reserve_on_fail,
        dependency_isv_service: String::new(),
    }
}

fn creation(account: AccountId, chance: &mut Chance, number: u64) -> Input {
    let machines = GroupSpec {
        desired: chance.between(0, 3),
        instance_type: None,
        image: None,
        resource: Resource::OnDemand,
        host_name_prefix: String::new(),
        mode: String::new(),
    };
    let spec = ClusterSpec {
        name: "cluster".parse().expect("a legal name"),
        description: String::new(),
        image: None,
        instance_type: None,
        groups: [(group(), machines)].into(),
        user_data: BTreeMap::new(),
        env: BTreeMap::new(),
        bootstrap: String::new(),
        configs: Configs::default(),
        notification: None,
        extra: BTreeMap::new(),
    };
    Input::CreateCluster { account, spec: Arc::new(spec), token: token(number) }
}
