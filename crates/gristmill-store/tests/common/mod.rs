//! Builders shared by the tests of the store: the smallest valid things, and one of every kind.
#![allow(dead_code, reason = "each test file uses its part")]

use gristmill_model::{
    AccountId, Cause, ClusterChange, ClusterId, ClusterSpec, Effect, Event, FinishedRun,
    Generation, GroupChange, InstanceNo, JobId, JobSpec, JobState, PriceMilli, Quota, ReclaimCause,
    RunId, RunOutcome, TaskName, Timestamp, WorkerId,
    catalogue::InstanceTypeName,
    change::NewMounts,
    event::{AfterRun, EnsureWorker, Purpose, TokenUse},
    input::Token,
    notice::{Facts, InstanceFacts, JobFacts, Notice, ResultFacts, Subject},
    spec::Resource,
};
use gristmill_store::{Batch, Recovered, Store, StoreOptions};
use serde_json::json;
use std::{path::Path, sync::Arc};

pub const JOB: JobId = JobId(0x0006_0000_0000_0000_0000_0000_0000_0001);
pub const WORKER: WorkerId = WorkerId(36);

pub fn task() -> TaskName {
    "count".parse().expect("a legal name")
}

pub fn open(dir: &Path) -> (Store, Recovered) {
    Store::open(dir, &StoreOptions::default()).expect("the store opens")
}

pub fn batch<'a>(events: &'a [Event], effects: &'a [Effect]) -> Batch<'a> {
    Batch { events, effects, archived: &[], at: Timestamp(1_000_000) }
}

pub fn ended(run: u64, instance: u32) -> Event {
    ended_of(JOB, run, instance)
}

pub fn ended_of(job: JobId, run: u64, instance: u32) -> Event {
    Event::RunEnded {
        run: RunId(run),
        job,
        task: task(),
        instance: InstanceNo(instance),
        worker: WORKER,
        address: "10.0.0.7".into(),
        retries: 1,
        outcome: RunOutcome::Exited { code: 0 },
        detail: String::new(),
        started: Some(Timestamp(5)),
        ended: Timestamp(9),
        after: AfterRun::Finished,
    }
}

pub fn wish(generation: u32) -> Effect {
    Effect::RemoveWorker { worker: WORKER, generation: Generation(generation) }
}

/// Every way a run can end.
pub fn every_outcome() -> Vec<RunOutcome> {
    let message = || "oss://bkt/in: no such object".to_owned();
    vec![
        RunOutcome::Exited { code: 137 },
        RunOutcome::Signalled { signal: 9 },
        RunOutcome::TimedOut,
        RunOutcome::OutOfMemory,
        RunOutcome::Unable { cause: Cause::Mount, message: message() },
        RunOutcome::Infrastructure { cause: Cause::Upload, message: message() },
        RunOutcome::Cancelled,
    ]
}

/// A job with every member filled in.
pub fn full_job() -> JobSpec {
    let mounts = json!({
        "entries": [{"source": "nas://a/b", "destination": "/mnt", "write_support": true}],
        "locale": "GBK", "lock": true, "cache": true, "cache_block_size": 65536,
        "cache_total_size": 1048576, "extra": {"CachePolicy": "x"},
    });
    let configs = json!({
        "system_disk": {"size_gb": 40, "kind": "cloud_efficiency"},
        "data_disk": {"disk": {"size_gb": 40, "kind": "cloud_efficiency"}, "mount_point": "/d"},
        "networks": {"VPC": {"CidrBlock": "192.168.0.0/16"}},
        "mounts": mounts,
    });
    let shape = json!({
        "image": "img-ubuntu", "ecs_image": "m-28ga7wbnb", "instance_type": "ecs.sn1ne.xlarge",
        "resource": {"Spot": {"price_limit_milli": 120}}, "configs": configs,
        "user_data": {"k": "v"}, "reserve_on_fail": true, "dependency_isv_service": "isv",
    });
    let on = |placement: serde_json::Value| {
        json!({
            "program": {
                "command_line": "python main.py", "package": "oss://bkt/worker.tar.gz",
                "env": {"A": "1"}, "docker": {"image": "busybox", "run_mode": "Default"},
            },
            "instance_count": 3, "retry_count_max": 2, "timeout": 600, "placement": placement,
            "inputs": [{"source": "oss://bkt/in/", "local": "/home/in/"}],
            "outputs": [{"local": "/home/out/", "destination": "oss://bkt/out/"}],
            "logs": [{"local": "/home/log/", "destination": "oss://bkt/log/"}],
            "write_support": true, "mounts": mounts, "locale": "GBK", "lock": true,
            "stdout": "oss://bkt/stdout", "stderr": "oss://bkt/stderr/",
            "credential_config": {"ServiceRole": "x"},
        })
    };
    let cluster = ClusterId(7).to_string();
    let spec = json!({
        "name": "log-count", "description": "计数", "priority": 1000,
        "fail_on_instance_fail": true, "auto_release": true,
        "notification": {
            "topic": "t", "endpoint": "e", "events": ["OnJobFailed", "OnJobFinished"],
            "user_data": "u", "user_template": "x",
        },
        "tasks": {
            "split": on(json!({"Auto": shape})),
            "count": on(json!({"Fixed": cluster})),
            "merge": on(json!({"Attach": {"cluster": cluster, "shape": shape}})),
        },
        "dependencies": {"count": ["merge"], "split": ["count"]},
    });
    serde_json::from_value(spec).expect("the shape of the model")
}

/// A job with nothing that can be left out.
pub fn bare_job() -> JobSpec {
    let spec = json!({
        "name": "bare", "description": "", "priority": 0, "fail_on_instance_fail": false,
        "auto_release": false, "notification": null,
        "tasks": {"only": {
            "program": {"command_line": "true", "package": null, "env": {}, "docker": null},
            "instance_count": 1, "retry_count_max": 0, "timeout": 60,
            "placement": {"Auto": {
                "image": null, "ecs_image": null, "instance_type": null, "resource": "OnDemand",
                "configs": {
                    "system_disk": null, "data_disk": null, "networks": null, "mounts": null,
                },
                "user_data": {}, "reserve_on_fail": false, "dependency_isv_service": "",
            }},
            "inputs": [], "outputs": [], "logs": [], "write_support": false, "mounts": null,
            "locale": "", "lock": false, "stdout": null, "stderr": null,
            "credential_config": null,
        }},
        "dependencies": {},
    });
    serde_json::from_value(spec).expect("the shape of the model")
}

fn cluster_spec() -> ClusterSpec {
    let spec = json!({
        "name": "cls", "description": "", "image": null, "instance_type": "ecs.sn1ne.large",
        "groups": {"g": {
            "desired": 2, "instance_type": null, "image": "img-ubuntu", "resource": "PrePaid",
            "host_name_prefix": "node", "mode": "manual",
        }},
        "user_data": {}, "env": {"B": "2"}, "bootstrap": "true",
        "configs": {"system_disk": null, "data_disk": null, "networks": null, "mounts": null},
        "notification": null, "extra": {"ScheduleType": "Poll"},
    });
    serde_json::from_value(spec).expect("the shape of the model")
}

/// Every kind of event, with every kind of value below it at least once.
pub fn every_event() -> Vec<Event> {
    let mut events = job_events();
    events.extend(run_events());
    events.extend(cluster_events());
    events.extend(worker_events());
    events.extend(market_events());
    events.extend([TokenUse::Job, TokenUse::Cluster].map(|used_for| Event::TokenExpired {
        account: AccountId(1),
        used_for,
        text: "t-1".into(),
    }));
    events
}

fn job_events() -> Vec<Event> {
    let (job, task, at) = (JOB, task(), Timestamp(1_500_000_000_123_456));
    let token = Some(Token { text: "t-1".into(), body: "d41d8cd9".into() });
    vec![
        Event::JobSubmitted { job, account: AccountId(1), spec: Arc::new(full_job()), token, at },
        Event::JobSubmitted {
            job,
            account: AccountId(1),
            spec: Arc::new(bare_job()),
            token: None,
            at,
        },
        Event::JobStopped { job, at },
        Event::JobRestarted { job, at },
        Event::JobEnded { job, state: JobState::Failed, message: "count/1 failed".into(), at },
        Event::JobEnded { job, state: JobState::Finished, message: String::new(), at },
        Event::JobDeleted { job },
        Event::JobArchived { job, at },
        Event::JobPriorityChanged { job, priority: 500, at },
        Event::TaskEnded { job, task, state: JobState::Finished, at },
    ]
}

fn run_events() -> Vec<Event> {
    let (run, job, task, instance, worker) = (RunId(3), JOB, task(), InstanceNo(2), WORKER);
    let at = Timestamp(1_500_000_000_123_456);
    let mut events = vec![
        Event::RunPlaced {
            run,
            job,
            task: task.clone(),
            instance,
            worker,
            generation: Generation(1),
            at,
        },
        Event::RunStarted { run, job, task: task.clone(), instance, at },
        Event::RunsPlaced {
            first: RunId(4),
            job,
            task: task.clone(),
            instances: [3, 4, 7].into_iter().collect(),
            worker,
            generation: Generation(1),
            at,
        },
        Event::RunsFinished {
            job,
            task: task.clone(),
            worker,
            address: "10.0.0.7".into(),
            runs: [4, 6]
                .map(|run| FinishedRun {
                    run: RunId(run),
                    instance: InstanceNo(run as u32 - 1),
                    started: at,
                    ended: Timestamp(at.0 + 1_500),
                })
                .into(),
        },
    ];
    let fates = [
        AfterRun::Finished,
        AfterRun::Retry,
        AfterRun::PutBack,
        AfterRun::Failed,
        AfterRun::Ignored,
    ];
    for (outcome, after) in every_outcome().into_iter().zip(fates.into_iter().cycle()) {
        events.push(Event::RunEnded {
            run,
            job,
            task: task.clone(),
            instance,
            worker,
            address: "10.0.0.7".into(),
            retries: 1,
            started: (after != AfterRun::PutBack).then_some(at),
            outcome,
            detail: "3 files were not uploaded".into(),
            ended: at,
            after,
        });
    }
    events
}

fn cluster_events() -> Vec<Event> {
    let (cluster, at) = (ClusterId(7), Timestamp(1_500_000_000_123_456));
    let made = |purpose, token| Event::ClusterCreated {
        cluster,
        account: AccountId(1),
        spec: Arc::new(cluster_spec()),
        purpose,
        token,
        at,
    };
    let group = || "g".parse().expect("a legal name");
    vec![
        made(Purpose::Fixed, Some(Token { text: "t".into(), body: "b".into() })),
        made(Purpose::Task { job: JOB, task: task() }, None),
        Event::GroupResized { cluster, group: group(), desired: 3, at },
        Event::GroupOpened {
            cluster,
            group: group(),
            spec: cluster_spec().groups[&group()].clone(),
            at,
        },
        Event::GroupClosed { cluster, group: group(), at },
        Event::ClusterChanged { cluster, change: Arc::new(cluster_change()), at },
        Event::ClusterDeleting { cluster, at },
        Event::ClusterGone { cluster },
    ]
}

fn cluster_change() -> ClusterChange {
    let texts = || Some([("k".to_owned(), "v".to_owned())].into());
    let group = GroupChange {
        desired: Some(2),
        instance_type: Some(InstanceTypeName("ecs.sn1.large".into())),
        image: Some("m-2".parse().expect("legal")),
        spot: Some(Resource::Spot { price_limit_milli: Some(600) }),
    };
    ClusterChange {
        groups: [("g".parse().expect("a legal name"), group)].into(),
        image: Some("img-ubuntu".parse().expect("legal")),
        user_data: texts(),
        env: texts(),
        mounts: Some(NewMounts::Nothing),
    }
}

fn market_events() -> Vec<Event> {
    let (account, at) = (AccountId(7), Timestamp(1_500_000_000_123_456));
    let kind = || InstanceTypeName("ecs.sn1.large".into());
    let quota = Quota { machines: Some(5), cores: Some(9), ..Quota::default() };
    vec![
        Event::SpotPriceSet { instance_type: kind(), price: Some(PriceMilli(600)), at },
        Event::PrepaidSet { account, instance_type: kind(), machines: 3, at },
        Event::QuotaSet { account, quota, at },
    ]
}

fn delayed(reason: &str, not_for_room: bool, not_made: bool) -> Event {
    Event::WorkerDelayed {
        worker: WORKER,
        generation: Generation(2),
        reason: reason.into(),
        again_at: Timestamp(1_500_000_000_123_456),
        failed: None,
        not_for_room,
        not_made,
    }
}

fn noticed(cause: ReclaimCause) -> Event {
    let (reason, at) = ("the price".into(), Timestamp(1_500_000_000_123_456));
    Event::WorkerNoticed { worker: WORKER, cause, reason, until: at, at }
}

fn worker_events() -> Vec<Event> {
    let (worker, generation) = (WORKER, Generation(2));
    let (cluster, at) = (ClusterId(7), Timestamp(1_500_000_000_123_456));
    let group = "g".parse().expect("a legal name");
    vec![
        Event::WorkerWanted { worker, generation, cluster, group, host_name: "n0".into(), at },
        delayed("no room", false, false),
        delayed("no provider offers it", true, false),
        delayed("the agent did not start", true, true),
        noticed(ReclaimCause::Price),
        noticed(ReclaimCause::Capacity),
        noticed(ReclaimCause::Share),
        Event::NoticeWithdrawn { worker, at },
        Event::WorkerRunning { worker, generation, address: "10.0.0.7".into(), ahead: 0, at },
        Event::WorkerRunning { worker, generation, address: "10.0.0.7".into(), ahead: 8, at },
        Event::WorkerDeleting { worker, reason: "idle".into(), at },
        Event::WorkerGone { worker, at },
    ]
}

/// Every kind of effect.
pub fn every_effect() -> Vec<Effect> {
    let shape = |image: Option<&str>, instance_type: Option<&str>| {
        Effect::EnsureWorker(EnsureWorker {
            worker: WORKER,
            generation: Generation(1),
            cluster: ClusterId(7),
            group: "g".parse().expect("a legal name"),
            host_name: "n0".into(),
            instance_type: instance_type.map(|name| InstanceTypeName(name.into())),
            image: image.map(|id| id.parse().expect("a legal id")),
        })
    };
    vec![shape(Some("img-ubuntu"), Some("ecs.sn1ne.large")), shape(None, None), wish(4)]
}

/// Every kind of notice.
pub fn every_notice() -> Vec<Notice> {
    let at = Timestamp(1_500_000_000_123_456);
    let notice = |about, facts| Notice {
        account: AccountId(1),
        about,
        topic: "events".into(),
        endpoint: "http://127.0.0.1:8082".into(),
        at,
        facts,
    };
    let job = || JobFacts {
        name: "j".parse().expect("a legal name"),
        state: JobState::Failed,
        created: at,
        started: Some(at),
        ended: Some(at),
        message: "why".into(),
    };
    let (cluster, job_id) = (Subject::Cluster(ClusterId(7)), Subject::Job(JOB));
    let name = "c".parse().expect("a legal name");
    let machine = Facts::Machine {
        worker: WORKER,
        group: "g".parse().expect("a legal name"),
        active: true,
        address: "10.0.0.7".into(),
        created: at,
    };
    let instances = InstanceFacts {
        task: task(),
        first: InstanceNo(3),
        count: 1,
        state: JobState::Failed,
        started: Some(at),
        ended: Some(at),
        retries: 2,
        stdout: Some("oss://bkt/out/".parse().expect("a legal path")),
        stderr: None,
        result: ResultFacts {
            exit_code: 137,
            error_code: "NonZeroExit".into(),
            error_message: "exit code 137".into(),
            detail: "more".into(),
        },
    };
    let state = JobState::Running;
    vec![
        notice(cluster, Facts::ClusterDeleted { name, created: at }),
        notice(cluster, machine),
        notice(job_id, Facts::Job(job())),
        notice(job_id, Facts::Priority { job: job(), from: 1, to: 2 }),
        notice(job_id, Facts::Task { task: task(), state, started: Some(at), ended: None }),
        notice(job_id, Facts::Instances(instances)),
    ]
}
