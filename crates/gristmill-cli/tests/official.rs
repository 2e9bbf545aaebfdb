//! What `bcs sub` sends is what the official tool sends.
//!
//! `tests/official/*.json` are the outputs of the official tool, version 1.7.7, for the words in
//! the tests below, with the random folder replaced by `run-folder`. The first five are examples
//! of the user guide.

use gristmill_cli::{
    grammar::SUBMIT,
    submit::{Defaults, Options, Written, describe, job_cfg::JobCfg},
};
use serde_json::Value;

const LOG_COUNT: &[u8] = include_bytes!("official/log_count.cfg");
const LAYERS: &[u8] = include_bytes!("official/layers.cfg");

fn options(words: &[(&str, &str)], file: Option<&[u8]>) -> Options {
    let written =
        words.iter().fold(Written::default(), |written, (name, text)| written.with(name, text));
    let known: Vec<&str> = SUBMIT.iter().map(|option| option.long).collect();
    let defaults = Defaults {
        osspath: "oss://your-bucket/bcs/".into(),
        run_folder: "run-folder".into(),
        image: Some("img-ubuntu".into()),
        instance_type: Some("ecs.sn1.large".into()),
        vpc_cidr_block: Some("192.168.0.0/16".into()),
    };
    Options { written, job_cfg: file.map(|bytes| JobCfg::parse(bytes, &known).unwrap()), defaults }
}

#[track_caller]
fn check(official: &str, words: &[(&str, &str)], file: Option<&[u8]>) {
    let expected: Value = serde_json::from_str(official).unwrap();
    let plan = describe(&options(words, file)).unwrap();
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    assert_eq!(pretty(&plan.description), pretty(&expected));
}

/// Guide: "Docker 作业示例", the log-count job.
#[test]
fn the_log_count_job_of_the_guide() {
    let words = [
        ("read_mount", "oss://your-bucket/log-count/:/home/input"),
        ("write_mount", "oss://your-bucket/log-count/:/home/output"),
        ("docker", "localhost:5000/myubuntu@oss://your-bucket/dockers/"),
    ];
    check(include_str!("official/log_count.json"), &words, Some(LOG_COUNT));
}

/// Guide: "提交作业", a program of one file.
#[test]
fn a_program_of_one_file() {
    let words = [("cmd", "python test.py"), ("pack", "./test.py")];
    check(include_str!("official/pack_a_file.json"), &words, None);
}

/// Guide: "磁盘".
#[test]
fn disks() {
    let disk = "system:cloud_efficiency:40,data:cloud_efficiency:500:/home/my-data-disk";
    check(include_str!("official/disks.json"), &[("cmd", "echo 123"), ("disk", disk)], None);
}

/// Guide: "挂载OSS".
#[test]
fn a_mounted_directory() {
    let words =
        [("cmd", "python main.py"), ("read_mount", "oss://mybucket/mydir/:/home/admin/mydir/")];
    check(include_str!("official/read_mount.json"), &words, None);
}

/// Guide: "环境变量".
#[test]
fn variables() {
    let words = [("cmd", "python main.py"), ("env", "k1:v1,k2:v2")];
    check(include_str!("official/environment.json"), &words, None);
}

#[test]
fn many_options_together() {
    let words = [
        ("cmd", "python main.py"),
        ("job_name", "my-name"),
        ("env", "k1:v1,k2:v2"),
        ("nodes", "3"),
        ("type", "300"),
        ("priority", "9"),
        ("force", "true"),
        ("lock", "true"),
        ("locale", "UTF-8"),
        ("auto_release", "true"),
        ("reserve_on_fail", "true"),
        ("no_cache_support", "true"),
        ("nas_access_group", "a,b"),
        ("nas_file_system", "c"),
        ("user_data", "x:y"),
        ("resource_type", "Spot"),
        ("spot_price_limit", "0.5"),
        ("notification_endpoint", "e"),
        ("notification_topic", "t"),
        ("notification_events", "OnJobFailed,OnTaskFinished"),
        ("description", "desc"),
        ("log_mapping", "/a/b:oss://x/y/"),
    ];
    check(include_str!("official/many_options.json"), &words, None);
}

#[test]
fn a_fixed_cluster() {
    let words = [("cmd", "echo"), ("cluster", "cls-xxx"), ("pack", "log-count,test.py")];
    check(include_str!("official/fixed_cluster.json"), &words, None);
}

#[test]
fn a_wished_cluster_and_every_kind_of_mount() {
    let mounts = "nas://h:/p:/l,/home/x:oss://b/k:false,oss://b/k2:/loc:true,smb://a/b:::E:::true,oss://b/d/:E";
    let words = [
        ("cmd", "echo"),
        ("cluster", "img=img-x:type=ecs.a"),
        ("vpc_cidr_block", "10.0.0.0/16"),
        ("vpc_id", "vpc-1"),
        ("mount", mounts),
    ];
    check(include_str!("official/wished_cluster.json"), &words, None);
}

#[test]
fn layers_of_options_and_shared_packages() {
    let words = [("env", "c:5,d:6"), ("read_mount", "oss://b/r/:/r")];
    check(include_str!("official/layers.json"), &words, Some(LAYERS));
    let plan = describe(&options(&words, Some(LAYERS))).unwrap();
    let packages: Vec<String> = plan
        .packages
        .iter()
        .map(|package| format!("{} -> {}", package.text, package.object))
        .collect();
    assert_eq!(
        packages,
        [
            "./log-count/ -> oss://your-bucket/bcs/run-folder/worker.tar.gz",
            "./test.py -> oss://your-bucket/bcs/run-folder/worker_two.tar.gz",
        ]
    );
}

#[track_caller]
fn refused(words: &[(&str, &str)], file: Option<&[u8]>, names: &str) {
    let complaint = describe(&options(words, file)).unwrap_err().to_string();
    assert!(complaint.contains(names), "{complaint}");
}

#[test]
fn mistakes_are_named() {
    let run = ("cmd", "echo");
    refused(&[], None, "cmd");
    refused(&[run, ("nodes", "many")], None, "nodes must be a whole number from 1");
    refused(&[run, ("nodes", "0")], None, "`0`");
    refused(&[run, ("timeout", "-5")], None, "`-5`");
    refused(&[run, ("priority", "1001")], None, "priority");
    refused(&[run, ("retry", "x")], None, "retry");
    refused(&[run, ("notification_events", "OnJobFailed,OnLunch")], None, "OnLunch");
    refused(&[run, ("log_mapping", "/a:oss://b/file")], None, "oss://b/file");
    refused(&[run, ("vpc_cidr_block", "0"), ("vpc_id", "vpc-1")], None, "vpc_cidr_block");
    refused(&[run, ("resource_type", "Spot"), ("spot_price_limit", "cheap")], None, "cheap");
    refused(&[], Some(b"[DEFAULT]\ndeps=a->c\n[a]\ncmd=x\n[b]\ncmd=y"), "`c`");
    refused(&[], Some(b"[a]\ncmd=x\nlock=maybe"), "maybe");
    refused(&[], Some(b"[a]\nnodes=2"), "cmd");
}

#[test]
fn a_retry_count_is_ours_to_ask_for() {
    let plan = describe(&options(&[("cmd", "echo"), ("retry", "2")], None)).unwrap();
    assert_eq!(plan.description["DAG"]["Tasks"]["task"]["MaxRetryCount"], 2);
}
