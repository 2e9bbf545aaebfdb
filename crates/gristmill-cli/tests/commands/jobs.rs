//! Whole command lines about jobs, against a service that checks every signature.

use crate::stage::{Stage, bytes, created, list, ok, refusal};
use serde_json::{Value, json};

fn counts(waiting: u64, running: u64, finished: u64, failed: u64) -> Value {
    json!({"WaitingCount": waiting, "RunningCount": running, "FinishedCount": finished,
           "FailedCount": failed, "StoppedCount": 0})
}

fn job(id: &str, name: &str, state: &str) -> Value {
    let ended = matches!(state, "Finished" | "Failed" | "Stopped");
    json!({"Id": id, "Name": name, "State": state, "Message": "",
           "CreationTime": "2024-01-02T03:00:45.000000Z",
           "StartTime": if state == "Waiting" { "" } else { "2024-01-02T03:04:05.000000Z" },
           "EndTime": if ended { "2024-01-02T04:05:06.000000Z" } else { "" },
           "TaskMetrics": counts(0, 1, 2, 0), "InstanceMetrics": counts(0, 1, 4, 0)})
}

fn task(name: &str, state: &str, metrics: Value) -> Value {
    json!({"TaskName": name, "State": state, "StartTime": "", "EndTime": "", "InstanceMetrics": metrics})
}

fn description() -> Value {
    let task = |command: &str, cluster: &str| {
        json!({"InstanceCount": 1, "Timeout": 60, "MaxRetryCount": 0, "ClusterId": cluster,
               "AutoCluster": {"ImageId": "img-ubuntu", "InstanceType": "ecs.a"},
               "Parameters": {"Command": {"CommandLine": command, "EnvVars": {"k": "v"}}}})
    };
    json!({"Name": "log-count", "Type": "DAG", "Priority": 1, "JobFailOnInstanceFail": true,
           "AutoRelease": false, "Description": "demo", "Notification": {"Topic": {}},
           "DAG": {"Tasks": {"merge": task("python merge.py", ""), "split": task("python split.py", "cls-1")},
                   "Dependencies": {"split": ["merge"]}}})
}

const JOB: &str = "job-000000005852472000007A0F00000001";

#[tokio::test]
async fn submitting_prints_the_id_and_nothing_else_to_standard_output() {
    let stage = Stage::new().await;
    stage.service.on("POST /jobs?", created(JOB));
    let ran = stage.bcs("sub python+main.py my-job -n 3 -e k:v --timeout 60").await;
    assert_eq!((ran.status, ran.out.as_str()), (0, format!("{JOB}\n").as_str()), "{}", ran.err);
    let body = stage.service.bodies().remove(0);
    assert_eq!(body["Name"], "my-job");
    let task = &body["DAG"]["Tasks"]["task"];
    assert_eq!((&task["InstanceCount"], &task["Timeout"]), (&json!(3), &json!(60)));
    assert_eq!(task["Parameters"]["Command"]["EnvVars"], json!({"k": "v"}));
    assert_eq!(
        task["Parameters"]["StdoutRedirectPath"],
        "oss://b/bcs/0f0f0f0f-aaaa-bbbb-cccc-dddddddddddd/logs/"
    );
}

#[tokio::test]
async fn a_dry_run_sends_nothing() {
    let stage = Stage::new().await;
    stage.write("job.cfg", "[DEFAULT]\ndeps=a->b;b->c\n[a]\ncmd=x\n[b]\ncmd=y\n[c]\ncmd=z\n");
    let json = stage.bcs("sub --file job.cfg --show_json -c cls-1").await;
    let printed: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(printed["DAG"]["Dependencies"], json!({"a": ["b"], "b": ["c"]}));
    assert!(json.out.starts_with("{\n    \""), "four spaces per level");
    let dag = stage.bcs("sub --file job.cfg --show_dag").await;
    assert_eq!((dag.status, dag.out.as_str()), (0, "1.a --> 2.b --> 3.c\n"));
    assert!(stage.service.asked().is_empty());
}

#[tokio::test]
async fn the_list_is_a_table_and_its_numbers_name_jobs_afterwards() {
    let stage = Stage::new().await;
    let page = json!({"Items": [job("job-1", "done", "Finished")], "NextMarker": "m1"});
    stage.service.on("GET /jobs?Marker&MaxItemCount=100", ok(page));
    stage.service.on(
        "GET /jobs?Marker=m1&MaxItemCount=100",
        list(json!([job("job-2", "日志统计", "Running")])),
    );
    let ran = stage.bcs("j").await;
    insta::assert_snapshot!(ran.shown());
    assert_eq!(
        stage.file("config/clicache_jobs.json"),
        r#"{"data":["job-2","job-1"],"title":"jobs"}"#
    );
    assert_eq!(
        stage.service.asked(),
        ["GET /jobs?Marker&MaxItemCount=100", "GET /jobs?Marker=m1&MaxItemCount=100"]
    );
    let json = stage.bcs("j --show_json -n do").await;
    let shown: Vec<Value> = serde_json::from_str(&json.out).unwrap();
    assert_eq!(shown.iter().map(|job| &job["Id"]).collect::<Vec<_>>(), ["job-1"]);
    let only = stage.bcs("job -s finished,failed -n one -t 5").await;
    assert!(only.out.contains("job-1") && !only.out.contains("job-2"), "{}", only.out);
}

#[tokio::test]
async fn a_job_is_shown_with_its_tasks_in_order() {
    let stage = Stage::new().await;
    stage.write("config/clicache_jobs.json", r#"{"data":["job-1"],"title":"jobs"}"#);
    stage.service.on("GET /jobs/job-1", ok(job("job-1", "log-count", "Running")));
    stage.service.on("GET /jobs/job-1?description", ok(description()));
    let tasks = json!([
        task("merge", "Waiting", counts(1, 0, 0, 0)),
        task("split", "Finished", counts(0, 0, 1, 0))
    ]);
    stage.service.on("GET /jobs/job-1/tasks?Marker&MaxItemCount=100", list(tasks));
    let ran = stage.bcs("j 1").await;
    insta::assert_snapshot!(ran.shown());
    assert_eq!(
        stage.file("config/clicache_tasks.json"),
        r#"{"data":["split","merge"],"title":"tasks"}"#
    );
}

#[tokio::test]
async fn a_task_and_an_instance_are_shown() {
    let stage = Stage::new().await;
    stage.service.on("GET /jobs/job-1?description", ok(description()));
    stage
        .service
        .on("GET /jobs/job-1/tasks/split", ok(task("split", "Failed", counts(0, 0, 0, 1))));
    let instance = json!({"InstanceId": 0, "State": "Failed", "Progress": 0, "RetryCount": 1,
        "StartTime": "2024-01-02T03:04:05.000000Z", "EndTime": "2024-01-02T03:04:15.000000Z",
        "StdoutRedirectPath": "", "StderrRedirectPath": "", "NodeIp": "10.0.0.1",
        "Result": {"ExitCode": 137, "ErrorCode": "NonZeroExit", "ErrorMessage": "killed", "Detail": ""}});
    stage.service.on(
        "GET /jobs/job-1/tasks/split/instances?Marker&MaxItemCount=100",
        list(json!([instance])),
    );
    stage.service.on("GET /jobs/job-1/tasks/split/instances/0", ok(instance));
    insta::assert_snapshot!("task", stage.bcs("j job-1 split").await.shown());
    insta::assert_snapshot!("instance", stage.bcs("j job-1 split 0").await.shown());
}

#[tokio::test]
async fn checking_a_failed_job_names_the_instances_that_failed() {
    let stage = Stage::new().await;
    let mut failed = job("job-1", "log-count", "Failed");
    failed["Message"] = "instance split/2 failed: NonZeroExit".into();
    stage.service.on("GET /jobs/job-1", ok(failed));
    stage.service.on("GET /jobs/job-1?description", ok(description()));
    let tasks = json!([
        task("split", "Failed", counts(0, 0, 2, 1)),
        task("merge", "Stopped", counts(0, 0, 0, 0))
    ]);
    stage.service.on("GET /jobs/job-1/tasks?Marker&MaxItemCount=100", list(tasks));
    let failure = json!({"InstanceId": 2, "State": "Failed", "StderrRedirectPath": "oss://b/logs/stderr.job-1.split.2",
        "Result": {"ExitCode": 1, "ErrorCode": "NonZeroExit", "ErrorMessage": "exit status 1", "Detail": "no such file"}});
    stage.service.on(
        "GET /jobs/job-1/tasks/split/instances?Marker&MaxItemCount=100&State=Failed",
        list(json!([failure])),
    );
    insta::assert_snapshot!(stage.bcs("ch job-1").await.shown());
}

#[tokio::test]
async fn checking_a_waiting_job_looks_at_what_it_asks_for() {
    let stage = Stage::new().await;
    stage.service.on("GET /jobs/job-1", ok(job("job-1", "log-count", "Waiting")));
    stage.service.on("GET /jobs/job-1?description", ok(description()));
    let waiting = || counts(1, 0, 0, 0);
    let tasks = json!([task("split", "Waiting", waiting()), task("merge", "Waiting", waiting())]);
    stage.service.on("GET /jobs/job-1/tasks?Marker&MaxItemCount=100", list(tasks));
    let empty = json!({"Id": "cls-1", "Groups": {"g": {"DesiredVMCount": 0, "ActualVMCount": 0}}});
    stage.service.on("GET /clusters/cls-1", ok(empty));
    let ran = stage.bcs("ch job-1").await;
    insta::assert_snapshot!(ran.shown());
}

#[tokio::test]
async fn a_refusal_is_told_with_code_and_request_id_and_a_failing_status() {
    let stage = Stage::new().await;
    stage.service.on("GET /jobs/job-9", refusal(404, "InvalidResource.NotFound", "no such job."));
    let ran = stage.bcs("ch job-9").await;
    assert_eq!(ran.status, 1);
    assert_eq!(
        ran.err,
        "ERROR: could not GET /jobs/job-9: HTTP Status: 404, Code: InvalidResource.NotFound, \
         RequestID: REQ-1, Message: no such job.\n"
    );
    assert!(ran.out.is_empty());
}

#[tokio::test]
async fn a_wrong_secret_is_refused_by_the_service() {
    let mut stage = Stage::new().await;
    stage.variables.insert("BCS_ACCESS_KEY_SECRET".into(), "another".into());
    let ran = stage.bcs("j").await;
    assert_eq!(ran.status, 1);
    assert!(
        ran.err.contains("SignatureDoesNotMatch") && !ran.err.contains("another"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn a_service_that_is_away_is_named_with_its_address() {
    let mut stage = Stage::new().await;
    stage.variables.insert("BCS_ENDPOINT".into(), "http://127.0.0.1:1".into());
    let ran = stage.bcs("sj job-1 -y").await;
    assert_eq!(ran.status, 1);
    assert!(
        ran.err.contains("POST /jobs/job-1/stop: no answer from http://127.0.0.1:1"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn jobs_are_stopped_started_deleted_and_reprioritised() {
    let stage = Stage::new().await;
    for line in [
        "POST /jobs/job-1/stop",
        "POST /jobs/job-2/stop",
        "POST /jobs/job-1/start",
        "PUT /jobs/job-1",
    ] {
        stage.service.on(line, ok(json!({})));
    }
    assert_eq!(stage.bcs("sj job-1,job-2 -y").await.status, 0);
    assert_eq!(stage.bcs("rj job-1 -y").await.status, 0);
    assert_eq!(stage.bcs("uj job-1 -p 7 -y").await.status, 0);
    assert_eq!(stage.service.bodies().last(), Some(&json!({"Priority": 7})));
    stage.service.on("POST /jobs/job-3/stop", refusal(409, "StateConflict", "Finished"));
    stage.service.on("DELETE /jobs/job-3", ok(json!({})));
    assert_eq!(stage.bcs("dj job-3 -y").await.status, 0, "an ended job is deleted all the same");
    assert_eq!(
        stage.service.asked(),
        [
            "POST /jobs/job-1/stop",
            "POST /jobs/job-2/stop",
            "POST /jobs/job-1/start",
            "PUT /jobs/job-1",
            "POST /jobs/job-3/stop",
            "DELETE /jobs/job-3"
        ]
    );
}

#[tokio::test]
async fn one_job_that_refuses_does_not_keep_the_others_from_stopping() {
    let stage = Stage::new().await;
    stage.service.on("POST /jobs/job-1/stop", refusal(409, "StateConflict", "Finished"));
    stage.service.on("POST /jobs/job-2/stop", ok(json!({})));
    let ran = stage.bcs("sj job-1,job-2 -y").await;
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("StateConflict") && ran.err.contains("job-2: done"), "{}", ran.err);
}

#[tokio::test]
async fn nothing_is_destroyed_without_a_yes_or_by_an_old_number() {
    let stage = Stage::new().await;
    stage.write("config/clicache_jobs.json", r#"{"data":["job-1"],"title":"jobs"}"#);
    for line in ["sj job-1", "dj job-1", "dj 1 -y", "uj job-1 -p 7", "dc cls-1"] {
        assert_eq!(stage.bcs(line).await.status, 1, "{line}");
    }
    assert!(stage.service.asked().is_empty());
}

#[tokio::test]
async fn watching_tells_every_change_and_ends_like_the_job() {
    let stage = Stage::new().await;
    let tasks = "GET /jobs/job-1/tasks?Marker&MaxItemCount=100";
    stage.service.on("GET /jobs/job-1?description", ok(description()));
    stage.service.on("GET /jobs/job-1", ok(job("job-1", "n", "Running")));
    stage.service.on("GET /jobs/job-1", ok(job("job-1", "n", "Failed")));
    let merge = |state| task("merge", state, counts(1, 0, 0, 0));
    let first = json!([merge("Waiting"), task("split", "Running", counts(2, 1, 0, 0))]);
    let second = json!([merge("Waiting"), task("split", "Failed", counts(0, 0, 2, 1))]);
    stage.service.on(tasks, list(first)).on(tasks, list(second));
    let ran = stage.bcs("j job-1 -w").await;
    insta::assert_snapshot!(ran.shown());
}

/// A service that is about to stop ends each stream at once: it is not asked thousands of times a second.
#[tokio::test]
async fn a_stream_that_breaks_is_opened_again_after_a_pause() {
    let stage = Stage::new().await;
    stage.service.on("GET /jobs/job-1?description", ok(description()));
    let told = |state| format!("event: job\ndata: {}\n\n", job("job-1", "n", state));
    let stream = "GET /jobs/job-1/events";
    stage.service.on(stream, bytes(&told("Waiting"), 0, false));
    stage.service.on(stream, bytes(&told("Running"), 0, false));
    stage.service.on(stream, bytes(&(told("Finished") + "event: end\ndata: {}\n\n"), 0, false));
    let begun = std::time::Instant::now();
    let ran = stage.bcs("j job-1 -w").await;
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(400), "two pauses");
    let lines: Vec<_> = ran.err.lines().filter(|line| line.starts_with("job-1 ")).collect();
    assert_eq!(lines, ["job-1 Waiting", "job-1 Running", "job-1 Finished"]);
}

#[tokio::test]
async fn a_log_is_followed_piece_by_piece_to_its_end() {
    let stage = Stage::new().await;
    let log = "GET /jobs/job-1/tasks/t/instances/0/log";
    stage.service.on(&format!("{log}?offset=0&stream=stdout&wait=10"), bytes("one\ntw", 6, false));
    stage.service.on(&format!("{log}?offset=6&stream=stdout&wait=10"), bytes("", 6, false));
    stage.service.on(&format!("{log}?offset=6&stream=stdout&wait=10"), bytes("o\n", 8, true));
    let ended = json!({"InstanceId": 0, "State": "Finished", "StdoutRedirectPath": ""});
    stage.service.on("GET /jobs/job-1/tasks/t/instances/0", ok(ended));
    let ran = stage.bcs("log job-1 t 0 -f -o").await;
    assert_eq!((ran.status, ran.out.as_str()), (0, "one\ntwo\n"), "{}", ran.err);
}

#[tokio::test]
async fn following_several_instances_marks_their_lines() {
    let stage = Stage::new().await;
    stage.service.on("GET /jobs/job-1/tasks/t", ok(task("t", "Running", counts(0, 2, 0, 0))));
    for instance in [0, 1] {
        let line = format!(
            "GET /jobs/job-1/tasks/t/instances/{instance}/log?offset=0&stream=stderr&wait=10"
        );
        stage.service.on(&line, bytes(&format!("from {instance}\nopen"), 11, true));
        let ended = json!({"InstanceId": instance, "State": "Finished"});
        stage.service.on(&format!("GET /jobs/job-1/tasks/t/instances/{instance}"), ok(ended));
    }
    let ran = stage.bcs("log job-1 t -f -e").await;
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["t/0 from 0", "t/0 open", "t/1 from 1", "t/1 open"]);
}

#[tokio::test]
async fn a_description_is_submitted_as_it_is() {
    let stage = Stage::new().await;
    stage.service.on("POST /jobs?", created(JOB));
    stage.write("job.json", &description().to_string());
    assert_eq!(stage.bcs("cj -f job.json").await.out, format!("{JOB}\n"));
    assert_eq!(stage.service.bodies(), [description()]);
    let ran = stage.bcs("cj {").await;
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("not JSON"), "{}", ran.err);
}

#[tokio::test]
async fn reads_are_tried_again_and_changes_are_not() {
    use gristmill_cli::client::{Client, Credentials, Endpoints};
    let stage = Stage::new().await;
    let endpoints = Endpoints {
        batchcompute_url: stage.service.url.clone(),
        oss_url: stage.service.url.clone(),
        region: "r".into(),
    };
    let key = Credentials {
        access_key_id: "testid".into(),
        secret: crate::stage::SECRET.into(),
        token: None,
    };
    let client = Client::new(endpoints, key)
        .with_chance(|| crate::stage::NOW, || "n".to_owned())
        .with_pause(std::time::Duration::ZERO);
    stage.service.on("GET /jobs/job-1", refusal(503, "Throttling", "later"));
    stage.service.on("GET /jobs/job-1", refusal(500, "InternalError", "later"));
    stage.service.on("GET /jobs/job-1", ok(job("job-1", "n", "Running")));
    assert_eq!(client.get_job("job-1").await.unwrap().state, "Running");
    assert_eq!(stage.service.asked().len(), 3);
    stage.service.on("POST /jobs/job-1/stop", refusal(503, "Throttling", "later"));
    assert!(client.stop_job("job-1").await.unwrap_err().is_transient());
    assert_eq!(stage.service.asked().len(), 1);
    stage.service.on("GET /jobs/job-2", refusal(503, "Throttling", "later"));
    assert_eq!(client.get_job("job-2").await.unwrap_err().code(), Some("Throttling"));
    assert_eq!(stage.service.asked().len(), 4, "patience has an end");
}
