//! Bodies of `POST /jobs` as the clients send them, and what they mean.

use crate::{CLUSTER, a_job, a_task, read, with};
use gristmill_model::{JobSpec, Placement, Seconds, TaskSpec, spec::Docker};
use gristmill_wire::api::job_description;
use serde_json::{Value, json};

fn only(spec: &JobSpec) -> &TaskSpec {
    spec.tasks.values().next().expect("a job has a task")
}

fn read_task(task: Value) -> TaskSpec {
    let spec = read(&with(a_job(), "DAG.Tasks", json!({ "only": task }))).expect("legal");
    only(&spec).clone()
}

#[test]
fn members_that_java_leaves_out_have_its_defaults() {
    let spec = read(&a_job()).expect("legal");
    assert_eq!((spec.priority, spec.fail_on_instance_fail, spec.auto_release), (0, true, false));
    assert_eq!(spec.description, "");
    assert!(spec.dependencies.is_empty() && spec.notification.is_none());
    let task = only(&spec);
    assert_eq!((task.instance_count, task.retry_count_max), (1, 0));
    assert_eq!(task.timeout, Seconds(86_400));
    assert_eq!(task.placement, Placement::Fixed(CLUSTER.parse().expect("legal")));
    assert_eq!((task.locale.as_str(), task.lock), ("GBK", false));
    assert_eq!((task.write_support, &task.mounts), (false, &None));
    assert_eq!((&task.stdout, &task.stderr, &task.program.package), (&None, &None, &None));
    assert!(task.inputs.is_empty() && task.outputs.is_empty() && task.logs.is_empty());
}

#[test]
fn members_that_say_nothing_mean_the_same_as_none() {
    let loud = json!({
        "Name": "demo", "Type": "DAG", "Description": "", "Priority": 0, "App": null,
        "JobFailOnInstanceFail": true, "AutoRelease": false,
        "Notification": {"Topic": {"Name": "", "Endpoint": "", "Events": [], "UserData": "",
            "UserTemplate": ""}},
        "DAG": {"Dependencies": {"only": []}, "Tasks": {"only": {
            "TaskName": "only", "ClusterId": CLUSTER, "AutoCluster": {}, "InstanceCount": 1,
            "MaxRetryCount": 0, "Timeout": 0, "InputMapping": {}, "OutputMapping": {},
            "LogMapping": {}, "WriteSupport": false, "CredentialConfig": {},
            "Mounts": {"Entries": [], "NAS": {}, "OSS": {}, "Locale": "GBK", "CacheSupport": true},
            "Parameters": {
                "Command": {"CommandLine": "true", "PackagePath": "", "EnvVars": {},
                    "Docker": {"Image": "", "RunMode": ""}},
                "InputMappingConfig": {"Locale": "", "Lock": false},
                "StdoutRedirectPath": "", "StderrRedirectPath": ""}}}},
        "UnknownMember": [{"deep": null}]});
    assert_eq!(read(&loud), read(&a_job()));
    let nulls = r#"{"Name":"demo","Description":null,"Priority":null,"Type":null,"Notification":null,
        "DAG":{"Dependencies":null,"Tasks":{"only":{"ClusterId":"cls-hr2rbl6qt5gki7392b8001",
        "AutoCluster":null,"InputMapping":null,"Mounts":null,"Timeout":null,
        "Parameters":{"Command":{"CommandLine":"true","EnvVars":null,"Docker":null},
        "InputMappingConfig":null,"StdoutRedirectPath":null}}}}}"#;
    assert_eq!(read(&serde_json::from_str(nulls).expect("JSON")), read(&a_job()));
}

/// The job that the official command line sends for the guide's log-count example.
#[test]
fn the_guides_log_count_is_read() {
    let task = |command: &str, count: u32| {
        json!({
            "ClusterId": "", "InstanceCount": count, "MaxRetryCount": 0, "Timeout": 86400,
            "InputMapping": {}, "WriteSupport": true, "LogMapping": {},
            "AutoCluster": {"ImageId": "img-ubuntu", "InstanceType": "ecs.sn1ne.large",
                "ECSImageId": "", "ResourceType": "OnDemand", "UserData": {}, "ReserveOnFail": false,
                "DependencyIsvService": "",
                "Configs": {"Networks": {"Classic": {}, "VPC": {"CidrBlock": "192.168.0.0/16"}}}},
            "Mounts": {"NAS": {}, "CacheSupport": true, "Entries": [{"WriteSupport": true,
                "Source": "oss://your-bucket/log-count/", "Destination": "/home/input"}]},
            "OutputMapping": {"/home/output": "oss://your-bucket/log-count/"},
            "Parameters": {
                "Command": {"CommandLine": command, "EnvVars": {},
                    "PackagePath": "oss://your-bucket/bcscmd/u/worker.tar.gz", "Docker": {"Image": ""}},
                "InputMappingConfig": {"Locale": "GBK", "Lock": false},
                "StdoutRedirectPath": "oss://your-bucket/bcscmd/u/logs/",
                "StderrRedirectPath": "oss://your-bucket/bcscmd/u/logs/"}})
    };
    let body = json!({
        "Name": "log-count", "Type": "DAG", "Priority": 1, "JobFailOnInstanceFail": true,
        "AutoRelease": false, "Description": "demo", "Notification": {"Topic": {}},
        "DAG": {
            "Tasks": {"split": task("python split.py", 1), "count": task("python count.py", 3),
                "merge": task("python merge.py", 1)},
            "Dependencies": {"split": ["count"], "count": ["merge"]}}});
    let spec = read(&body).expect("legal");
    let names: Vec<_> = spec.tasks.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["count", "merge", "split"]);
    let edges = r#"{"count": {"merge"}, "split": {"count"}}"#;
    assert_eq!(format!("{:?}", spec.dependencies), edges);
    let count = &spec.tasks[&"count".parse().expect("legal")];
    assert_eq!((count.instance_count, count.timeout), (3, Seconds(86_400)));
    let Placement::Auto(shape) = &count.placement else { panic!("{:?}", count.placement) };
    assert_eq!(shape.image.as_ref().map(|image| image.as_str()), Some("img-ubuntu"));
    assert_eq!(count.outputs[0].destination.to_string(), "oss://your-bucket/log-count/");
    assert!(count.mounts.as_ref().expect("given").entries[0].write_support);
}

#[test]
fn an_app_body_without_a_type_is_an_app() {
    let error = read(&json!({"Name": "demo", "App": {"AppName": ":copy"}})).expect_err("App");
    assert_eq!(error.code.to_string(), "InvalidType");
    let error = read(&json!({"Name": "demo"})).expect_err("neither");
    assert_eq!(error.code.to_string(), "MissingDAG");
}

#[test]
fn the_locale_is_kept_as_sent_and_docker_with_its_mode() {
    let task = with(a_task(), "Parameters.InputMappingConfig", json!({"Locale": "zh_CN.UTF-8"}));
    assert_eq!(read_task(task).locale, "zh_CN.UTF-8");
    let task = with(a_task(), "Parameters.Command.Docker", json!({"Image": "a:1", "RunMode": "x"}));
    let docker = Docker { image: "a:1".into(), run_mode: "x".into() };
    assert_eq!(read_task(task).program.docker, Some(docker));
}

#[test]
fn secrets_of_mounts_never_come_back() {
    let oss = json!({"OSS": {"AccessKeyId": "LTAI1", "AccessKeySecret": "s3cret-1",
        "SecurityToken": "s3cret-2", "AccessSecurityToken": "s3cret-3"}});
    let configs = json!({"Mounts": oss, "Disks": {"SystemDisk": {"Size": 40}}});
    let task = with(with(a_task(), "Mounts", oss), "ClusterId", json!(""));
    let task = with(task, "AutoCluster", json!({"InstanceType": "ecs.x", "Configs": configs}));
    let spec = read(&with(a_job(), "DAG.Tasks", json!({ "only": task }))).expect("legal");
    let everything = format!("{spec:?} {}", job_description(&spec, 0));
    assert!(everything.contains("LTAI1") && !everything.contains("s3cret"), "{everything}");
}

#[test]
fn a_credential_config_comes_back_unchanged() {
    let config = json!({"ServiceRole": "r", "Chain": [{"Role": "x", "UserId": 7}]});
    let task = with(a_task(), "CredentialConfig", config.clone());
    let spec = read(&with(a_job(), "DAG.Tasks", json!({ "only": task }))).expect("legal");
    let echo = job_description(&spec, 0);
    assert_eq!(echo["DAG"]["Tasks"]["only"]["CredentialConfig"], config);
}

/// What the Java tests compare after a create (`reference/api.md` 17, point 10).
#[test]
fn the_java_tests_find_what_they_sent() {
    let disks = json!({"SystemDisk": {"Type": "ephemeral", "Size": 40},
        "DataDisk": {"Type": "ephemeral", "Size": 5, "MountPoint": "/home/disk1"}});
    let auto = json!({"ImageId": "img-ubuntu", "InstanceType": "ecs.s3.large",
        "ReserveOnFail": true, "Configs": {"Disks": disks}});
    let topic = json!({"Topic": {"Name": "n", "Endpoint": "e",
        "Events": ["OnJobFailed", "OnJobWaiting"]}});
    let body = json!({"Name": "demo", "Type": "DAG", "Priority": 1,
        "JobFailOnInstanceFail": false, "AutoRelease": true, "Notification": topic,
        "DAG": {"Tasks": {"t": {"AutoCluster": auto, "TaskName": "t",
            "Parameters": {"Command": {"CommandLine": "echo 123"},
                "StdoutRedirectPath": "oss://your-bucket/out"}}}}});
    let echo = job_description(&read(&body).expect("legal"), 10);
    assert_eq!(echo["Priority"], 10);
    assert_eq!(
        (&echo["JobFailOnInstanceFail"], &echo["AutoRelease"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(echo["Notification"]["Topic"]["Events"], json!(["OnJobFailed", "OnJobWaiting"]));
    let task = &echo["DAG"]["Tasks"]["t"];
    assert_eq!(task["AutoCluster"]["Configs"]["Disks"], disks);
    assert_eq!(task["AutoCluster"]["ReserveOnFail"], true);
    assert_eq!(task["ClusterId"], "");
    assert_eq!(task["Parameters"]["StdoutRedirectPath"], "oss://your-bucket/out");
}

/// `reference/api.md` 7.5: complete with defaults.
#[test]
fn a_description_is_complete() {
    let spec = read(&a_job()).expect("legal");
    let mounts = json!({"Entries": [], "Locale": "GBK", "Lock": false, "CacheSupport": true,
        "CacheBlockSize": 262144, "CacheTotalSize": 536870912,
        "NAS": {"AccessGroup": [], "FileSystem": []}, "OSS": {}, "RefreshStrategy": "",
        "RefreshTopicName": "", "RefreshTimeOut": 0, "NasMetaCache": false});
    let wanted = json!({
        "Name": "demo", "Description": "", "Priority": 1, "Type": "DAG",
        "JobFailOnInstanceFail": true, "AutoRelease": false,
        "Notification": {"Topic": {"Name": "", "Endpoint": "", "Events": [], "UserData": "",
            "UserTemplate": ""}},
        "DAG": {"Dependencies": {}, "Tasks": {"only": {
            "ClusterId": CLUSTER, "InstanceCount": 1, "MaxRetryCount": 0, "Timeout": 86400,
            "WriteSupport": false, "InputMapping": {}, "OutputMapping": {}, "LogMapping": {},
            "Mounts": mounts,
            "Parameters": {
                "Command": {"CommandLine": "true", "PackagePath": "", "EnvVars": {},
                    "Docker": {"Image": ""}},
                "InputMappingConfig": {"Locale": "GBK", "Lock": false},
                "StdoutRedirectPath": "", "StderrRedirectPath": ""}}}}});
    assert_eq!(job_description(&spec, 1), wanted);
}
