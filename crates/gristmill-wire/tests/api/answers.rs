//! The sample bodies of `reference/api.md` appendix A, built from our structs.

use gristmill_model::{
    AccountId, Cause, Counts, InstanceNo, InstanceType, Timestamp, WorkerState,
    catalogue::InstanceTypeName,
};
use gristmill_wire::api::{
    List,
    responses::{
        AvailableResource, ClusterInstance, Created, Image, Instance, InstanceResult, Job, Quotas,
        Task,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const CREATED: Timestamp = Timestamp(1_478_013_902_837_728);
const STARTED: Timestamp = Timestamp(1_478_013_962_000_000);
const CREATED_TEXT: &str = "2016-11-01T15:25:02.837728Z";
const JOB: &str = "job-0000000058524720000077E900007257";
const COUNTS: Counts = Counts { waiting: 1, running: 2, finished: 0, failed: 0, stopped: 0 };

/// The body looks as wanted, and our own client reads it back as it was.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(body: &T, wanted: Value) {
    assert_eq!(serde_json::to_value(body).expect("plain"), wanted);
    assert_eq!(&serde_json::from_value::<T>(wanted).expect("ours"), body);
}

fn metrics(counts: [u32; 5]) -> Value {
    let [waiting, running, finished, failed, stopped] = counts;
    json!({"WaitingCount": waiting, "RunningCount": running, "FinishedCount": finished,
        "FailedCount": failed, "StoppedCount": stopped})
}

#[test]
fn a_job() {
    let mut job = Job::new(JOB.parse().expect("legal"), AccountId(1_234_567_890), "demo", "");
    job.priority = 1;
    job.state = "Running".into();
    job.creation_time = CREATED.into();
    job.start_time = STARTED.into();
    job.task_metrics = Counts { running: 1, ..Counts::default() }.into();
    job.instance_metrics = COUNTS.into();
    check(
        &job,
        json!({"Id": JOB, "Name": "demo", "OwnerId": 1_234_567_890, "Owner": "1234567890",
            "Type": "DAG", "Description": "", "Priority": 1, "State": "Running", "Message": "",
            "CreationTime": CREATED_TEXT, "StartTime": "2016-11-01T15:26:02.000000Z",
            "EndTime": "", "TaskMetrics": metrics([0, 1, 0, 0, 0]),
            "InstanceMetrics": metrics([1, 2, 0, 0, 0])}),
    );
}

#[test]
fn a_task() {
    let mut task = Task::new(&"Map".parse().expect("legal"));
    task.state = "Running".into();
    task.start_time = CREATED.into();
    task.instance_metrics = COUNTS.into();
    check(
        &task,
        json!({"TaskName": "Map", "State": "Running", "StartTime": CREATED_TEXT, "EndTime": "",
            "InstanceMetrics": metrics([1, 2, 0, 0, 0])}),
    );
}

#[test]
fn an_instance_that_failed() {
    let mut instance = Instance::new(InstanceNo(0));
    instance.state = "Failed".into();
    instance.start_time = CREATED.into();
    instance.end_time = CREATED.into();
    instance.stdout_redirect_path = format!("oss://b/logs/stdout.{JOB}.Map.0");
    instance.stderr_redirect_path = format!("oss://b/logs/stderr.{JOB}.Map.0");
    instance.node_ip = "10.45.168.26".into();
    instance.result = InstanceResult::failed(Cause::NonZeroExit, 2, "exit code 2", "");
    check(
        &instance,
        json!({"InstanceId": 0, "State": "Failed", "StartTime": CREATED_TEXT,
            "EndTime": CREATED_TEXT, "RetryCount": 0, "Progress": 0,
            "StdoutRedirectPath": format!("oss://b/logs/stdout.{JOB}.Map.0"),
            "StderrRedirectPath": format!("oss://b/logs/stderr.{JOB}.Map.0"),
            "NodeIp": "10.45.168.26",
            "Result": {"ExitCode": 2, "ErrorCode": "NonZeroExit", "ErrorMessage": "exit code 2",
                "Detail": ""},
            "Error": {"Code": "", "Message": ""}, "Outputs": {}}),
    );
}

#[test]
fn an_instance_that_waits_has_every_member() {
    check(
        &Instance::new(InstanceNo(7)),
        json!({"InstanceId": 7, "State": "Waiting", "StartTime": "", "EndTime": "",
            "RetryCount": 0, "Progress": 0, "StdoutRedirectPath": "", "StderrRedirectPath": "",
            "NodeIp": "",
            "Result": {"ExitCode": 0, "ErrorCode": "", "ErrorMessage": "", "Detail": ""},
            "Error": {"Code": "", "Message": ""}, "Outputs": {}}),
    );
}

#[test]
fn a_machine() {
    let id = "i-wz9c51g2s6zsrtnqi4fa".parse().expect("legal");
    let mut machine = ClusterInstance::new(id, WorkerState::Running, "pool-group1-0");
    machine.ip_address = "10.45.168.26".into();
    machine.creation_time = CREATED.into();
    check(
        &machine,
        json!({"Id": "i-wz9c51g2s6zsrtnqi4fa", "State": "Running", "IpAddress": "10.45.168.26",
            "HostName": "pool-group1-0", "EcsInstanceId": "i-wz9c51g2s6zsrtnqi4fa", "Hint": "",
            "ErrorCode": 0, "ErrorMessage": "", "CreationTime": CREATED_TEXT,
            "InstancePassword": ""}),
    );
}

#[test]
fn an_image() {
    let image = Image {
        id: "img-6ki7te6grlhbv42kn8a000".into(),
        name: "mine".into(),
        r#type: "Self".into(),
        ecs_image_id: "m-wz9abc".into(),
        owner_id: 1_234_567_890,
        platform: "Linux".into(),
        creation_time: CREATED.into(),
        ..Image::default()
    };
    check(
        &image,
        json!({"Id": "img-6ki7te6grlhbv42kn8a000", "Name": "mine", "Type": "Self",
            "Description": "", "EcsImageId": "m-wz9abc", "OwnerId": 1_234_567_890,
            "Platform": "Linux", "CreationTime": CREATED_TEXT}),
    );
}

#[test]
fn quotas_and_available_resources() {
    let name = InstanceTypeName("ecs.sn1.medium".into());
    let types = [InstanceType { name, cpu_cores: 2, memory_gb: 4 }];
    let desc = json!([{"InstanceType": "ecs.sn1.medium", "CpuCore": 2, "MemorySize": 4,
        "Network": {"Classic": false, "Vpc": true}}]);
    let (kinds, disks) =
        (json!(["OnDemand", "Spot", "PrePaid"]), json!(["cloud_efficiency", "cloud_ssd"]));
    check(
        &Quotas::of(&types, true),
        json!({"AvailableClusterResourceType": kinds,
            "AvailableClusterInstanceType": ["ecs.sn1.medium"],
            "AvailableSpotInstanceType": ["ecs.sn1.medium"],
            "AvailableClusterInstanceSystemDiskType": disks,
            "AvailableClusterInstanceDataDiskType": disks, "AccountQuotas": []}),
    );
    check(
        &AvailableResource::of(&types, &types),
        json!({"AvailableClusterInstanceType": desc, "AvailableSpotInstanceType": desc,
            "AvailablePrepaidInstanceType": desc, "AvailableResourceType": kinds,
            "AvailableSystemDiskType": disks, "AvailableDataDiskType": disks}),
    );
}

#[test]
fn creates_and_lists() {
    let created: Created = JOB.parse::<gristmill_model::JobId>().expect("legal").into();
    check(&created, json!({ "Id": JOB }));
    let page = List::page(vec![created], Some("job-1"));
    let body = serde_json::to_value(&page).expect("plain");
    assert_eq!(body["Items"], json!([{ "Id": JOB }]));
    assert!(body["NextMarker"].as_str().is_some_and(|marker| !marker.is_empty()));
}

#[test]
fn our_client_reads_what_a_foreign_server_leaves_out() {
    let job: Job = serde_json::from_value(json!({"Id": JOB, "State": "Waiting", "StartTime": ""}))
        .expect("lenient");
    assert_eq!((job.id.as_str(), job.end_time.0, job.priority), (JOB, None, 0));
}
