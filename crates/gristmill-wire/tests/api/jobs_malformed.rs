//! Bodies of `POST /jobs` that are refused, each with its code and the place it names.

use crate::{CLUSTER, a_job, a_task, is_documented, read, with};
use gristmill_model::spec::Limits;
use gristmill_wire::api::{JOB_BODY_BYTES_MAX, parse_job};
use serde_json::{Value, json};

fn refusal(body: &[u8]) -> (String, String) {
    let error = parse_job(body, &Limits::default()).expect_err("the body is malformed");
    (error.code.to_string(), error.message)
}

#[test]
fn texts_that_are_not_json_objects() {
    let deep = format!(r#"{{"Name":{}1{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    for (body, code) in [
        ("", "InvalidJsonFormat"),
        ("   ", "InvalidJsonFormat"),
        ("not json", "InvalidJsonFormat"),
        ("<html></html>", "InvalidJsonFormat"),
        ("Name=demo&DAG=x", "InvalidJsonFormat"),
        (r#"{"Name":"demo""#, "InvalidJsonFormat"),
        (r#"{"Name":"demo"} {}"#, "InvalidJsonFormat"),
        (r#"{"Name":"demo",}"#, "InvalidJsonFormat"),
        (r#"{Name:"demo"}"#, "InvalidJsonFormat"),
        ("{'Name':'demo'}", "InvalidJsonFormat"),
        (r#"{"Name":"\ud800"}"#, "InvalidJsonFormat"),
        (r#"{"Priority":1e999}"#, "InvalidJsonFormat"),
        (r#"{"Priority":01}"#, "InvalidJsonFormat"),
        (r#"{"Priority":NaN}"#, "InvalidJsonFormat"),
        (r#"{"Name":"a","Name":"b"}"#, "InvalidJsonFormat"),
        (r#"{"DAG":{"Tasks":{},"Tasks":{}}}"#, "InvalidJsonFormat"),
        (r#"{"DAG":{"Tasks":{"a":{"Timeout":1,"Timeout":2}}}}"#, "InvalidJsonFormat"),
        ("\u{feff}{}", "InvalidJsonFormat"),
        ("[]", "InvalidHttpBody"),
        ("null", "InvalidHttpBody"),
        ("\"demo\"", "InvalidHttpBody"),
        ("1", "InvalidHttpBody"),
        ("true", "InvalidHttpBody"),
        // Deep where nobody looks is only skipped; `Name` itself is of the wrong type.
        (&deep, "InvalidName"),
    ] {
        let shown: String = body.chars().take(60).collect();
        assert_eq!(refusal(body.as_bytes()).0, code, "{shown}");
    }
    assert_eq!(refusal(b"{\"Name\":\"\xff\"}").0, "InvalidJsonFormat");
    assert_eq!(refusal(&vec![b' '; JOB_BODY_BYTES_MAX + 1]).0, "InvalidHttpBody");
}

#[test]
fn members_of_the_job() {
    let table = [
        ("Name", Value::Null, "MissingName", "Name"),
        ("Name", json!(7), "InvalidName", "Name must be a text"),
        ("Name", json!(""), "InvalidName", "Name length must be in [1, 64]"),
        ("Name", json!("x".repeat(65)), "InvalidName", "Name length must be in [1, 64]"),
        ("Name", json!("1st"), "InvalidName", "must not be a digit"),
        ("Name", json!("a b"), "InvalidName", "[a-zA-Z0-9_-]"),
        ("Name", json!("日志"), "InvalidName", "[a-zA-Z0-9_-]"),
        ("Name", json!("../x"), "InvalidName", "[a-zA-Z0-9_-]"),
        ("Description", json!("x".repeat(1001)), "InvalidDescription", "[0, 1000]"),
        ("Description", json!(["x"]), "InvalidDescription", "a text"),
        ("Priority", json!(-1), "InvalidPriority", "[0, 1000]"),
        ("Priority", json!(1001), "InvalidPriority", "[0, 1000]"),
        ("Priority", json!(1.5), "InvalidPriority", "a whole number"),
        ("Priority", json!("1"), "InvalidPriority", "a whole number"),
        ("Priority", json!(u64::MAX), "InvalidPriority", "a whole number"),
        ("JobFailOnInstanceFail", json!("true"), "InvalidJobFailOnInstanceFail", "true or false"),
        ("AutoRelease", json!(1), "InvalidAutoRelease", "true or false"),
        ("Type", json!("Dag"), "InvalidType", "`Dag` must be DAG"),
        ("Type", json!(1), "InvalidType", "a text"),
        ("Type", json!("App"), "MissingApp", "App is mandatory"),
        ("Notification", json!([]), "InvalidNotification", "an object"),
        ("Notification", json!({"Topic": "t"}), "InvalidNotification", "an object"),
        (
            "Notification",
            json!({"Topic": {"Events": "OnJobFailed"}}),
            "InvalidNotification",
            "array",
        ),
        (
            "Notification",
            json!({"Topic": {"Events": ["OnJobBegun"]}}),
            "InvalidNotification",
            "`OnJobBegun`",
        ),
        (
            "Notification",
            json!({"Topic": {"Events": ["OnClusterDeleted"]}}),
            "InvalidNotification",
            "`OnClusterDeleted`",
        ),
        ("DAG", Value::Null, "MissingDAG", "DAG"),
        ("DAG", json!([]), "InvalidDAG", "DAG must be an object"),
        ("DAG", json!("x"), "InvalidDAG", "DAG must be an object"),
        ("DAG.Tasks", Value::Null, "MissingTasks", "DAG.Tasks"),
        ("DAG.Tasks", json!({}), "InvalidTasks", "at least one"),
        ("DAG.Tasks", json!([a_task()]), "InvalidTasks", "an object"),
        ("DAG.Tasks", json!({"": a_task()}), "InvalidTaskName", "[1, 63]"),
        ("DAG.Tasks", json!({"1a": a_task()}), "InvalidTaskName", "`1a`"),
        ("DAG.Tasks", json!({"a/b": a_task()}), "InvalidTaskName", "`a/b`"),
        ("DAG.Tasks", json!({"x".repeat(64): a_task()}), "InvalidTaskName", "[1, 63]"),
        ("DAG.Tasks", json!({"a": null}), "InvalidTasks", "`a`"),
        ("DAG.Tasks", json!({"a": []}), "InvalidTasks", "`a`"),
        ("DAG.Tasks", json!({"a": {}}), "MissingParameters", "DAG.Tasks.a.Parameters"),
        ("DAG.Dependencies", json!([]), "InvalidDependencies", "DAG.Dependencies"),
        ("DAG.Dependencies", json!({"only": "only"}), "InvalidDependencies", "arrays of names"),
        ("DAG.Dependencies", json!({"only": [1]}), "InvalidDependencies", "arrays of names"),
        ("DAG.Dependencies", json!({"only": [null]}), "InvalidDependencies", "arrays of names"),
        ("DAG.Dependencies", json!({"other": []}), "InvalidDependencies", "`other`"),
        ("DAG.Dependencies", json!({"only": ["other"]}), "InvalidDependencies", "`other`"),
        ("DAG.Dependencies", json!({"only": ["only"]}), "BadDAG", "only -> only"),
    ];
    for (path, value, code, words) in table {
        let error = read(&with(a_job(), path, value.clone())).expect_err("malformed");
        assert_eq!(error.code.to_string(), code, "{path} = {value}");
        assert!(error.message.contains(words), "{path} = {value}: {}", error.message);
        assert!(is_documented(code), "{code}");
    }
}

#[test]
fn members_of_a_task() {
    let deep = (0..9).fold(json!(1), |value, _| json!({ "x": value }));
    let entry = |source: &str, local: &str| json!({"Source": source, "Destination": local});
    let table = [
        ("InstanceCount", json!(0), "InvalidInstanceCount"),
        ("InstanceCount", json!(-1), "InvalidInstanceCount"),
        ("InstanceCount", json!(1_000_001), "InvalidInstanceCount"),
        ("InstanceCount", json!(1.5), "InvalidInstanceCount"),
        ("InstanceCount", json!("3"), "InvalidInstanceCount"),
        ("InstanceCount", json!(1e30), "InvalidInstanceCount"),
        ("MaxRetryCount", json!(-1), "InvalidMaxRetryCount"),
        ("MaxRetryCount", json!(101), "InvalidMaxRetryCount"),
        ("MaxRetryCount", json!(true), "InvalidMaxRetryCount"),
        ("Timeout", json!(-1), "InvalidTimeout"),
        ("Timeout", json!(30 * 86_400 + 1), "InvalidTimeout"),
        ("Timeout", json!("1h"), "InvalidTimeout"),
        ("WriteSupport", json!("no"), "InvalidWriteSupport"),
        ("ClusterId", Value::Null, "InvalidClusterId"),
        ("ClusterId", json!(""), "InvalidClusterId"),
        ("ClusterId", json!("cls-1"), "InvalidClusterId"),
        ("ClusterId", json!(CLUSTER.to_uppercase()), "InvalidClusterId"),
        ("ClusterId", json!({}), "InvalidClusterId"),
        ("AutoCluster", json!("img=x"), "InvalidAutoCluster"),
        ("AutoCluster", json!({"ImageId": "ubuntu"}), "InvalidImageId"),
        ("AutoCluster", json!({"ImageId": "img-../../x"}), "InvalidImageId"),
        ("AutoCluster", json!({"ECSImageId": ["m-1"]}), "InvalidECSImageId"),
        ("AutoCluster", json!({"InstanceType": "a;b"}), "InvalidInstanceType"),
        ("AutoCluster", json!({"ResourceType": "Free"}), "InvalidResourceType"),
        ("AutoCluster", json!({"SpotStrategy": "SpotAsPriceGo"}), "InvalidSpotStrategy"),
        ("AutoCluster", json!({"SpotPriceLimit": "0.6"}), "InvalidSpotPriceLimit"),
        ("AutoCluster", json!({"UserData": {"a": null}}), "InvalidUserData"),
        ("AutoCluster", json!({"UserData": []}), "InvalidUserData"),
        ("AutoCluster", json!({"Configs": []}), "InvalidConfigs"),
        ("AutoCluster", json!({"Configs": {"Disks": 1}}), "InvalidDisks"),
        (
            "AutoCluster",
            json!({"Configs": {"Networks": {"VPC": {"CidrBlock": "x"}}}}),
            "InvalidCidrBlock",
        ),
        ("Parameters", json!("x"), "InvalidParameters"),
        ("Parameters", json!({}), "MissingCommand"),
        ("Parameters.Command", json!([]), "InvalidCommand"),
        ("Parameters.Command", json!({}), "MissingCommandLine"),
        ("Parameters.Command.CommandLine", json!(""), "InvalidCommandLine"),
        ("Parameters.Command.CommandLine", json!(" \t"), "InvalidCommandLine"),
        ("Parameters.Command.CommandLine", json!("a\0b"), "InvalidCommandLine"),
        ("Parameters.Command.CommandLine", json!("x".repeat((2 << 20) + 1)), "InvalidCommandLine"),
        ("Parameters.Command.CommandLine", json!(["a"]), "InvalidCommandLine"),
        ("Parameters.Command.PackagePath", json!("/tmp/w.tar.gz"), "InvalidPackagePath"),
        ("Parameters.Command.PackagePath", json!("oss://bucket/dir/"), "InvalidPackagePath"),
        ("Parameters.Command.PackagePath", json!("oss://B/x"), "InvalidPackagePath"),
        ("Parameters.Command.EnvVars", json!({"a": 1}), "InvalidEnvVars"),
        ("Parameters.Command.EnvVars", json!({"a=b": "c"}), "InvalidEnvVars"),
        ("Parameters.Command.EnvVars", json!({"": "c"}), "InvalidEnvVars"),
        ("Parameters.Command.EnvVars", json!({"a": "\u{0}"}), "InvalidEnvVars"),
        ("Parameters.Command.EnvVars", json!([["a", "b"]]), "InvalidEnvVars"),
        ("Parameters.Command.Docker", json!("ubuntu"), "InvalidDocker"),
        ("Parameters.Command.Docker", json!({"Image": "a b"}), "InvalidDocker"),
        ("Parameters.InputMappingConfig", json!({"Locale": "klingon"}), "InvalidLocale"),
        ("Parameters.InputMappingConfig", json!({"Locale": "UTF-16"}), "InvalidLocale"),
        ("Parameters.InputMappingConfig", json!({"Lock": "on"}), "InvalidLock"),
        ("Parameters.StdoutRedirectPath", json!("/var/log"), "InvalidStdoutRedirectPath"),
        ("Parameters.StderrRedirectPath", json!(1), "InvalidStderrRedirectPath"),
        ("InputMapping", json!([]), "InvalidInputMapping"),
        ("InputMapping", json!({"oss://bucket/in/": 1}), "InvalidInputMapping"),
        ("InputMapping", json!({"/home/in/": "oss://bucket/in/"}), "InvalidInputMapping"),
        ("InputMapping", json!({"oss://bucket/in/": "home/in"}), "InvalidInputMapping"),
        ("InputMapping", json!({"oss://bucket/in/": "/home/../etc"}), "InvalidInputMapping"),
        ("InputMapping", json!({"oss://bucket/in/": "/"}), "InvalidInputMapping"),
        ("InputMapping", json!({"oss://bucket/in/": "/proc/self"}), "InvalidInputMapping"),
        ("InputMapping", json!({"oss://bucket/in/": "E:"}), "InvalidInputMapping"),
        ("InputMapping", json!({"oss://bucket//x": "/in"}), "InvalidInputMapping"),
        (
            "InputMapping",
            json!({"oss://bucket/a/": "/in", "oss://bucket/b/": "/in/"}),
            "InvalidInputMapping",
        ),
        ("OutputMapping", json!({"/home/../out/": "oss://bucket/o/"}), "InvalidOutputMapping"),
        ("OutputMapping", json!({"/out/": "nas://host:/o/"}), "InvalidOutputMapping"),
        ("OutputMapping", json!({"/out/": null}), "InvalidOutputMapping"),
        ("LogMapping", json!({"a.log": "oss://bucket/o/"}), "InvalidLogMapping"),
        ("LogMapping", json!({"/a.log": "oss://x/"}), "InvalidLogMapping"),
        ("Mounts", json!({"Entries": [entry("oss://bucket/a/", "x")]}), "InvalidMounts"),
        ("Mounts", json!({"Entries": [entry("ftp://h/a", "/x")]}), "InvalidMounts"),
        (
            "Mounts",
            json!({"Entries": [entry("oss://bucket/a/", "/x"), entry("oss://bucket/b/", "/x")]}),
            "InvalidMounts",
        ),
        ("Mounts", json!({"Locale": "UTF-7"}), "InvalidLocale"),
        ("CredentialConfig", json!("role"), "InvalidCredentialConfig"),
        ("CredentialConfig", deep, "InvalidCredentialConfig"),
    ];
    for (path, value, code) in table {
        let task = with(a_task(), path, value.clone());
        let error = read(&with(a_job(), "DAG.Tasks", json!({ "only": task })));
        let error = error.expect_err(&format!("{path} = {value}"));
        assert_eq!(error.code.to_string(), code, "{path} = {value}: {}", error.message);
        assert!(error.message.starts_with("DAG.Tasks.only."), "{}", error.message);
        assert!(error.message.len() < 400, "{}", error.message);
        assert!(is_documented(code), "{code}");
    }
}

#[test]
fn an_input_that_is_also_an_output_is_refused_wherever_it_comes_from() {
    let output = json!({"/home/x/": "oss://bucket/out/"});
    let task = with(a_task(), "OutputMapping", output);
    let entries = json!({"Entries": [{"Source": "oss://bucket/in/", "Destination": "/home/x"}]});
    for (member, value) in
        [("InputMapping", json!({"oss://bucket/in/": "/home/x"})), ("Mounts", entries)]
    {
        let task = with(task.clone(), member, value);
        let error = read(&with(a_job(), "DAG.Tasks", json!({ "only": task })));
        assert_eq!(error.expect_err(member).code.to_string(), "InvalidOutputMapping");
    }
}

#[test]
fn the_first_fault_in_the_order_of_the_reference_is_named_whatever_the_order_of_the_body() {
    for body in [
        r#"{"Name":"1","Priority":-1,"DAG":[]}"#,
        r#"{"DAG":[],"Priority":-1,"Name":"1"}"#,
        r#"{"DAG":{"Tasks":{"a":{}}},"Name":"1"}"#,
    ] {
        assert_eq!(refusal(body.as_bytes()).0, "InvalidName", "{body}");
    }
}

#[test]
fn what_follows_a_refused_task_must_still_be_json() {
    let body = r#"{"Name":"demo","DAG":{"Tasks":{"a":{},"b":{"Parameters":}}}}"#;
    assert_eq!(refusal(body.as_bytes()).0, "InvalidJsonFormat");
}

#[test]
fn a_job_has_limits() {
    let limits = Limits { tasks_per_job_max: 2, instances_per_task_max: 10, ..Limits::default() };
    let body = |count: usize| {
        let tasks: serde_json::Map<_, _> =
            (0..count).map(|at| (format!("t{at}"), a_task())).collect();
        with(a_job(), "DAG.Tasks", tasks.into()).to_string()
    };
    assert!(parse_job(body(2).as_bytes(), &limits).is_ok());
    let error = parse_job(body(3).as_bytes(), &limits).expect_err("too many");
    assert_eq!(error.code.to_string(), "InvalidTasks");
    assert!(error.message.contains("at most 2"), "{}", error.message);

    let many = with(a_job(), "DAG.Tasks.only.InstanceCount", json!(11));
    let error = parse_job(many.to_string().as_bytes(), &limits).expect_err("too many");
    assert!(error.message.contains("[1, 10]"), "{}", error.message);

    let limits = Limits { instances_per_task_max: u32::MAX, ..Limits::default() };
    let half = with(a_task(), "InstanceCount", json!(u32::MAX / 2 + 1));
    let both = with(a_job(), "DAG.Tasks", json!({"a": half, "b": half}));
    let error = parse_job(both.to_string().as_bytes(), &limits).expect_err("too many in all");
    assert_eq!(error.code.to_string(), "InvalidInstanceCount");
}
