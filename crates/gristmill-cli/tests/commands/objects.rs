//! Whole command lines about the object store, and about jobs that need it.

use crate::{
    door::Door,
    stage::{Stage, bytes, created, list, ok, refusal},
};
use serde_json::json;
use std::{collections::BTreeMap, fs, io::Read};

async fn stage_with_door() -> (Stage, Door) {
    let (mut stage, door) = (Stage::new().await, Door::start().await);
    stage.variables.insert("BCS_OSS_ENDPOINT".into(), door.url.clone());
    (stage, door)
}

#[tokio::test]
async fn a_directory_goes_up_is_listed_and_comes_down_again() {
    let (stage, door) = stage_with_door().await;
    for name in ["data/a.txt", "data/sub/日志 1.txt", "data/sub/b+c%.txt"] {
        stage.write(name, name);
    }
    assert_eq!(stage.bcs("oss up data/ oss://b/in").await.status, 0);
    assert_eq!(door.keys().await, ["in/a.txt", "in/sub/b+c%.txt", "in/sub/日志 1.txt"]);
    assert_eq!(stage.bcs("oss ls oss://b/in/").await.out, "sub/\na.txt (10B)\n");
    assert_eq!(stage.bcs("oss ls oss://b/in/sub/ -n 日志").await.out, "日志 1.txt (21B)\n");
    let down = stage.bcs("oss down oss://b/in/ out/").await;
    assert_eq!(down.status, 0, "{}", down.err);
    assert_eq!(stage.file("out/sub/日志 1.txt"), "data/sub/日志 1.txt");
    assert_eq!(stage.file("out/sub/b+c%.txt"), "data/sub/b+c%.txt");
}

#[tokio::test]
async fn names_follow_the_slash_at_the_end_of_the_target() {
    let (stage, door) = stage_with_door().await;
    stage.write("f.txt", "x");
    stage.write("d/g.txt", "y");
    for line in ["up f.txt oss://b/one", "up f.txt oss://b/two/", "up f.txt", "up d oss://b/three/"]
    {
        assert_eq!(stage.bcs(&format!("oss {line}")).await.status, 0, "{line}");
    }
    assert_eq!(door.keys().await, ["bcs/f.txt", "one", "three/d/g.txt", "two/f.txt"]);
    assert_eq!(stage.bcs("oss down one").await.status, 1, "relative paths begin at osspath");
    assert_eq!(stage.bcs("oss down f.txt copy.txt").await.status, 0);
    assert_eq!(stage.file("copy.txt"), "x");
}

#[tokio::test]
async fn objects_are_shown_whole_or_in_part() {
    let (stage, door) = stage_with_door().await;
    door.put("a", "0123456789").await;
    door.put("c", "end").await;
    assert_eq!(stage.bcs("oss cat oss://b/a oss://b/c").await.out, "0123456789end");
    assert_eq!(stage.bcs("oss cat oss://b/a -r 2:5").await.out, "234");
    assert_eq!(stage.bcs("oss cat oss://b/a -r 4").await.out, "0123");
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_and_comes_back_whole() {
    let (stage, door) = stage_with_door().await;
    let size = usize::try_from(gristmill_cli::store::MULTIPART_MIN).unwrap() + 12_345;
    let written: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    fs::write(stage.folder.path().join("large"), &written).unwrap();
    let up = stage.bcs("oss up large oss://b/large").await;
    assert_eq!(up.status, 0, "{}", up.err);
    assert!(door.get("large").await.unwrap() == written, "the object differs from the file");
    assert_eq!(stage.bcs("oss down oss://b/large back").await.status, 0);
    assert!(fs::read(stage.folder.path().join("back")).unwrap() == written, "the file differs");
}

#[tokio::test]
async fn deleting_takes_everything_that_begins_with_the_path_and_nothing_else() {
    let (stage, door) = stage_with_door().await;
    for key in ["x/1", "x/2", "y"] {
        door.put(key, "").await;
    }
    assert_eq!(stage.bcs("oss rm oss://b/x/").await.status, 1, "without a yes");
    assert_eq!(door.keys().await.len(), 3);
    let ran = stage.bcs("oss del oss://b/x/ -y").await;
    assert_eq!((ran.status, ran.err.as_str()), (0, "deleted 2 objects below oss://b/x/\n"));
    assert_eq!(door.keys().await, ["y"]);
    let nothing = stage.bcs("oss rm oss://b/x/ -y").await;
    assert_eq!((nothing.status, nothing.err.as_str()), (1, "ERROR: Not found: oss://b/x/\n"));
}

#[tokio::test]
async fn copies_keep_names_below_a_prefix() {
    let (stage, door) = stage_with_door().await;
    door.put("x/a", "1").await;
    door.put("x/d/a", "2").await;
    assert_eq!(stage.bcs("oss cp oss://b/x/ oss://b/y").await.status, 0);
    assert_eq!(stage.bcs("oss copy oss://b/x/a oss://b/z/").await.status, 0);
    assert_eq!(door.keys().await, ["x/a", "x/d/a", "y/a", "y/d/a", "z/a"]);
    assert_eq!(door.get("y/d/a").await.unwrap(), b"2");
    assert_eq!(stage.bcs("oss cp oss://b/none oss://b/n").await.status, 1);
}

#[tokio::test]
async fn the_first_login_finds_the_bucket_the_service_made() {
    let (mut stage, _door) = stage_with_door().await;
    stage.service.on("GET /jobs?Marker&MaxItemCount=1", list(json!([])));
    stage.service.on("GET /available", ok(json!({})));
    fs::remove_file(stage.folder.path().join("config/cliconfig")).unwrap();
    assert_eq!(stage.bcs("oss mb gristmill").await.status, 1, "nobody is logged in");
    let line =
        format!("login cn-local testid {} --endpoint {}", crate::stage::SECRET, stage.service.url);
    let ran = stage.bcs(&line).await;
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(!stage.file("config/cliconfig").contains("osspath"), "there is no such bucket yet");
    assert_eq!(stage.bcs("oss mb gristmill").await.status, 0);
    assert_eq!(stage.bcs(&line).await.status, 0);
    stage.variables.clear();
    assert_eq!(stage.bcs("oss pwd").await.out, "oss://gristmill/bcs/\n");
}

#[tokio::test]
async fn buckets_are_made_and_missing_ones_are_named() {
    let (mut stage, _door) = stage_with_door().await;
    let missing = stage.bcs("oss ls oss://mine/").await;
    assert_eq!((missing.status, missing.err.as_str()), (1, "ERROR: there is no bucket `mine`\n"));
    assert_eq!(stage.bcs("oss mb oss://mine/").await.status, 0);
    assert_eq!(stage.bcs("oss ls oss://mine/").await.status, 0);
    assert_eq!(stage.bcs("oss mb a/b").await.status, 1);
    assert_eq!(stage.bcs("oss pwd").await.out, "oss://b/bcs/\n");
    stage.variables.insert("LANG".into(), "zh_CN.UTF-8".into());
    assert_eq!(stage.bcs("oss cat oss://b/none").await.err, "错误：没有对象 oss://b/none\n");
    assert_eq!(stage.bcs("oss cat oss://b").await.status, 1);
}

#[tokio::test]
async fn a_failed_download_leaves_the_old_file_alone() {
    let (stage, _door) = stage_with_door().await;
    stage.write("kept.txt", "old");
    assert_eq!(stage.bcs("oss down oss://b/none kept.txt").await.status, 1);
    assert_eq!(stage.file("kept.txt"), "old");
    assert_eq!(fs::read_dir(stage.folder.path()).unwrap().count(), 2, "no draft is left");
}

#[tokio::test]
async fn keys_cannot_write_outside_the_target_folder() {
    let (stage, door) = stage_with_door().await;
    door.put("x/../../escape", "!").await;
    let ran = stage.bcs("oss down oss://b/x/ out/").await;
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("would leave the target folder"), "{}", ran.err);
}

#[tokio::test]
async fn submitting_a_program_uploads_it_before_the_job_is_made() {
    let (stage, door) = stage_with_door().await;
    stage.write("app/main.py", "print(1)");
    stage.service.on("POST /jobs?", created("job-1"));
    let ran = stage.bcs("sub python+main.py -p ./app/").await;
    assert_eq!((ran.status, ran.out.as_str()), (0, "job-1\n"), "{}", ran.err);
    let key = "bcs/0f0f0f0f-aaaa-bbbb-cccc-dddddddddddd/worker.tar.gz";
    let body = stage.service.bodies().remove(0);
    let command = &body["DAG"]["Tasks"]["task"]["Parameters"]["Command"];
    assert_eq!(command["PackagePath"], format!("oss://b/{key}"));
    let archive = door.get(key).await.expect("the package is there");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let mut text = String::new();
    entry.read_to_string(&mut text).unwrap();
    assert_eq!((entry.path().unwrap().to_str(), text.as_str()), (Some("main.py"), "print(1)"));
    assert_eq!(fs::read_dir(stage.folder.path()).unwrap().count(), 2, "no archive is left here");
}

#[tokio::test]
async fn a_program_that_cannot_be_uploaded_makes_no_job() {
    let (stage, _door) = stage_with_door().await;
    stage.write(
        "config/cliconfig",
        &stage.file("config/cliconfig").replace("oss://b/", "oss://none/"),
    );
    stage.write("main.py", "");
    let ran = stage.bcs("sub python+main.py -p main.py").await;
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("there is no bucket `none`"), "{}", ran.err);
    assert!(stage.service.asked().is_empty());
}

fn instance(id: u64, state: &str, code: &str) -> serde_json::Value {
    let logs = |stream: &str| format!("oss://b/logs/{stream}.job-1.t.{id}");
    json!({"InstanceId": id, "State": state, "StdoutRedirectPath": logs("stdout"),
           "StderrRedirectPath": logs("stderr"),
           "Result": {"ExitCode": 1, "ErrorCode": code, "ErrorMessage": "exit status 1", "Detail": ""}})
}

async fn stage_with_logs() -> (Stage, Door) {
    let (stage, door) = stage_with_door().await;
    door.put("logs/stdout.job-1.t.0", "zero\n").await;
    door.put("logs/stdout.job-1.t.1", "one").await;
    door.put("logs/stderr.job-1.t.1", "trouble\n").await;
    door.put("mapped/app.log.job-1.t.1", "mapped\n").await;
    let task = json!({"TaskName": "t", "State": "Failed", "InstanceMetrics": {"FinishedCount": 1, "FailedCount": 1}});
    stage.service.on("GET /jobs/job-1/tasks?Marker&MaxItemCount=100", list(json!([task])));
    let instances = json!([instance(0, "Finished", ""), instance(1, "Failed", "NonZeroExit")]);
    stage.service.on("GET /jobs/job-1/tasks/t/instances?Marker&MaxItemCount=100", list(instances));
    stage
        .service
        .on("GET /jobs/job-1/tasks/t/instances/1", ok(instance(1, "Failed", "NonZeroExit")));
    let mapping = BTreeMap::from([("/var/app.log", "oss://b/mapped/")]);
    stage.service.on(
        "GET /jobs/job-1?description",
        ok(json!({"DAG": {"Tasks": {"t": {"LogMapping": mapping}}}})),
    );
    (stage, door)
}

#[tokio::test]
async fn logs_are_printed_with_headings_beside_the_data() {
    let (stage, _door) = stage_with_logs().await;
    insta::assert_snapshot!(stage.bcs("log job-1").await.shown());
    assert_eq!(stage.bcs("log job-1 t 1 -e").await.out, "trouble\n");
    assert_eq!(stage.bcs("log job-1 t 1 -m").await.out, "mapped\n");
}

#[tokio::test]
async fn logs_are_downloaded_under_their_names() {
    let (stage, _door) = stage_with_logs().await;
    assert_eq!(stage.bcs("log job-1 -o -d logs").await.status, 0);
    assert_eq!(stage.file("logs/stdout.job-1.t.1"), "one");
    assert!(!stage.folder.path().join("logs/stderr.job-1.t.1").exists());
}

#[tokio::test]
async fn following_falls_back_to_the_log_objects() {
    let (stage, _door) = stage_with_logs().await;
    let live = "GET /jobs/job-1/tasks/t/instances/1/log?offset=0&stream=stdout&wait=10";
    stage.service.on(live, refusal(400, "InvalidUrlPattern", "no such path"));
    let ran = stage.bcs("log job-1 t 1 -f -o").await;
    assert_eq!((ran.status, ran.out.as_str()), (0, "one"), "{}", ran.err);
}

#[tokio::test]
async fn the_end_of_a_followed_log_comes_from_its_object() {
    let (stage, door) = stage_with_logs().await;
    door.put("logs/stdout.job-1.t.1", "live and after").await;
    let live = "GET /jobs/job-1/tasks/t/instances/1/log?offset=0&stream=stdout&wait=10";
    stage.service.on(live, bytes("live", 4, true));
    stage.service.on("GET /jobs/job-1/tasks/t/instances/1", ok(instance(1, "Finished", "")));
    let ran = stage.bcs("log job-1 t 1 -f -o").await;
    assert_eq!((ran.status, ran.out.as_str()), (0, "live and after"), "{}", ran.err);
}

#[tokio::test]
async fn an_instance_is_shown_with_the_beginning_of_its_logs() {
    let (stage, door) = stage_with_logs().await;
    door.put("logs/stdout.job-1.t.1", &"x".repeat(1000)).await;
    let ran = stage.bcs("j job-1 t 1").await;
    assert!(ran.out.contains(&format!("\n{}\n", "x".repeat(101))), "{}", ran.out);
    assert!(
        ran.out.contains("trouble") && ran.out.contains("ErrorMessage: exit status 1"),
        "{}",
        ran.out
    );
}
