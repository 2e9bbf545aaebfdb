//! Apps and jobs made from them: bodies in, specifications, refusals and whole answers out
//! (`reference/api.md` 7.2, 7.5, 11 and appendix A).

use crate::{CLUSTER, with};
use gristmill_model::{
    AccountId, AppSpec, JobSpec, Placement, Timestamp,
    app::{AppImage, ParameterValue},
    spec::{AutoCluster, Limits},
};
use gristmill_wire::api::{
    BadRequest, Submission,
    app::{Origin, app_detail, app_public, parse_app},
    job_description, parse_submission,
};
use serde_json::{Value, json};

const CREATED: Timestamp = Timestamp(1_478_013_902_837_728);

/// The smallest valid app.
fn an_app() -> Value {
    json!({"Name": "copy", "CommandLine": "cp -r ${src} ${dst}", "VM": {"ECSImageId": "img-ubuntu"}})
}

/// An app with every kind of parameter.
fn full_app() -> Value {
    let mut app = an_app();
    app["CommandLine"] = json!("cp -n ${n} ${src} ${dst} ${note} ${HOME}");
    app["InputParameters"] = json!({
        "src": {"Description": "what", "Type": "String", "LocalPath": "/home/input/"},
        "n": {"Type": "Number", "Default": "1"},
        "note": {"Default": ""},
    });
    app["OutputParameters"] = json!({
        "dst": {"LocalPath": "/home/output/"},
        "report": {"LocalPath": "/home/report/r.txt"},
    });
    app["EnvVars"] = json!({"env1": "abcd", "n": "hidden"});
    app
}

fn a_call() -> Value {
    json!({"Name": "demo", "Type": "App", "App": {"AppName": "copy",
        "Inputs": {"src": "oss://bkt/in"}, "Outputs": {"dst": "oss://bkt/out/"}}})
}

fn app(body: &Value) -> Result<AppSpec, BadRequest> {
    parse_app(body.to_string().as_bytes(), &Limits::default())
}

fn submit(app_body: &Value, call: &Value) -> Result<JobSpec, BadRequest> {
    let spec = app(app_body).expect("a legal app");
    let limits = Limits::default();
    let origin = Origin { owner: AccountId(7), revision: 3 };
    match parse_submission(call.to_string().as_bytes(), &limits)? {
        Submission::App(job) => job.expand(&spec, origin, &limits),
        Submission::Dag(_) => panic!("a call of an app"),
    }
}

fn setting(default: impl Into<Value>) -> Value {
    json!({"Description": "", "Default": default.into(), "Overwritable": true})
}

/// `Config` with every default of the reference.
fn default_config() -> Value {
    json!({
        "ResourceType": setting("OnDemand"), "InstanceType": setting(""),
        "InstanceCount": setting(1), "MinDiskSize": setting(40),
        "DiskType": setting("cloud_efficiency"), "MinDataDiskSize": setting(0),
        "DataDiskType": setting("cloud_efficiency"), "DataDiskMountPoint": setting(""),
        "MaxRetryCount": setting(0), "Timeout": setting(86400),
    })
}

#[test]
fn the_detail_of_an_app_is_what_was_sent_with_every_default() {
    let parameter = |kind: &str, default: Value, local: &str, description: &str| json!({"Description": description, "Type": kind, "Default": default, "LocalPath": local});
    assert_eq!(
        app_detail(&app(&full_app()).expect("legal")),
        json!({
            "Name": "copy", "Description": "",
            "CommandLine": "cp -n ${n} ${src} ${dst} ${note} ${HOME}",
            "VM": {"ECSImageId": "img-ubuntu"},
            "InputParameters": {
                "src": parameter("String", Value::Null, "/home/input/", "what"),
                "n": parameter("Number", json!(1), "", ""),
                "note": parameter("String", json!(""), "", ""),
            },
            "OutputParameters": {
                "dst": parameter("String", Value::Null, "/home/output/", ""),
                "report": parameter("String", Value::Null, "/home/report/r.txt", ""),
            },
            "EnvVars": {"env1": "abcd", "n": "hidden"}, "Daemonize": false,
            "Config": default_config(),
        })
    );
}

#[test]
fn a_detail_sent_back_is_the_same_app() {
    let docker = with(
        with(full_app(), "VM", Value::Null),
        "Docker",
        json!({"Image": "localhost:5000/copy", "RegistryOSSPath": "oss://b/dockers/", "RunMode": "x"}),
    );
    for body in [an_app(), full_app(), docker, with(an_app(), "Daemonize", json!(true))] {
        let spec = app(&body).expect("legal");
        assert_eq!(app(&app_detail(&spec)).as_ref(), Ok(&spec));
        let kept = serde_json::to_string(&spec).expect("plain");
        assert_eq!(serde_json::from_str::<AppSpec>(&kept).expect("ours"), spec);
    }
}

#[test]
fn the_public_view_hides_how_it_is_done() {
    let view = app_public(&app(&full_app()).expect("legal"), CREATED);
    let parameter =
        |kind: &str, default: Value| json!({"Description": "", "Type": kind, "Default": default});
    assert_eq!(
        view,
        json!({
            "Name": "copy", "Description": "", "CreationTime": "2016-11-01T15:25:02.837728Z",
            "InputParameters": {
                "src": {"Description": "what", "Type": "String", "Default": null},
                "n": parameter("Number", json!(1)), "note": parameter("String", json!("")),
            },
            "OutputParameters": {
                "dst": parameter("String", Value::Null), "report": parameter("String", Value::Null),
            },
            "Config": default_config(),
        })
    );
}

/// Every rule of `reference/api.md` 11.1 with its code.
#[test]
fn an_app_that_breaks_a_rule_is_refused_with_its_code() {
    let many: serde_json::Map<_, _> = (0..51).map(|at| (format!("p{at}"), json!({}))).collect();
    let texts: serde_json::Map<_, _> = (0..51).map(|at| (format!("v{at}"), json!(""))).collect();
    let docker = json!({"Image": "localhost:5000/x"});
    for (path, value, wanted) in [
        ("Name", Value::Null, "MissingName"),
        ("Name", json!(""), "InvalidName"),
        ("Name", json!("1a"), "InvalidName"),
        ("Name", json!("a:b"), "InvalidName"),
        ("Name", json!("x".repeat(65)), "InvalidName"),
        ("Name", json!(7), "InvalidName"),
        ("Description", json!("x".repeat(1001)), "InvalidDescription"),
        ("CommandLine", Value::Null, "MissingCommandLine"),
        ("CommandLine", json!(" "), "InvalidCommandLine"),
        ("CommandLine", json!([]), "InvalidCommandLine"),
        ("VM", Value::Null, "MissingVM"),
        ("VM", json!({}), "MissingVM"),
        ("VM", json!({"ECSImageId": ""}), "MissingVM"),
        ("VM", json!({"ECSImageId": "ubuntu"}), "InvalidECSImageId"),
        ("VM", json!("img-ubuntu"), "InvalidVM"),
        ("Docker", docker.clone(), "InvalidVM"),
        ("Docker", json!(7), "InvalidDocker"),
        ("Docker", json!({"Image": "a b"}), "InvalidDocker"),
        ("InputParameters", json!([]), "InvalidInputParameters"),
        ("InputParameters", many.clone().into(), "InvalidInputParameters"),
        ("InputParameters", json!({"a b": {}}), "InvalidInputParameters"),
        ("InputParameters", json!({"": {}}), "InvalidInputParameters"),
        ("InputParameters", json!({"a": 7}), "InvalidInputParameters"),
        ("InputParameters", json!({"a": {"Type": "Text"}}), "InvalidType"),
        ("InputParameters", json!({"a": {"Default": 7}}), "InvalidDefault"),
        ("OutputParameters", many.into(), "InvalidOutputParameters"),
        ("OutputParameters", json!({"src": {}}), "InvalidOutputParameters"),
        ("OutputParameters", json!({"b": {"LocalPath": "/home/input"}}), "InvalidLocalPath"),
        ("OutputParameters", json!({"b": {"LocalPath": "x"}}), "InvalidLocalPath"),
        ("EnvVars", json!({"a": 7}), "InvalidEnvVars"),
        ("EnvVars", json!({"a b": ""}), "InvalidEnvVars"),
        ("EnvVars", json!({"x".repeat(101): ""}), "InvalidEnvVars"),
        ("EnvVars", json!({"a": "x".repeat(1001)}), "InvalidEnvVars"),
        ("EnvVars", texts.into(), "InvalidEnvVars"),
        ("Daemonize", json!("yes"), "InvalidDaemonize"),
        ("Daemonize", json!(true), "InvalidLocalPath"),
        ("Config", json!([]), "InvalidConfig"),
        ("Config", json!({"InstanceCount": 7}), "InvalidInstanceCount"),
        ("Config", json!({"InstanceCount": {"Default": 0}}), "InvalidInstanceCount"),
        ("Config", json!({"InstanceCount": {"Default": "x"}}), "InvalidInstanceCount"),
        ("Config", json!({"InstanceCount": {"Overwritable": "no"}}), "InvalidInstanceCount"),
        ("Config", json!({"ResourceType": {"Default": "Free"}}), "InvalidResourceType"),
        ("Config", json!({"InstanceType": {"Default": "a b"}}), "InvalidInstanceType"),
        ("Config", json!({"MinDiskSize": {"Default": 39}}), "InvalidMinDiskSize"),
        ("Config", json!({"DiskType": {"Default": "floppy"}}), "InvalidDiskType"),
        ("Config", json!({"MinDataDiskSize": {"Default": 4}}), "InvalidMinDataDiskSize"),
        ("Config", json!({"DataDiskType": {"Default": 7}}), "InvalidDataDiskType"),
        ("Config", json!({"DataDiskMountPoint": {"Default": "d"}}), "InvalidDataDiskMountPoint"),
        ("Config", json!({"MaxRetryCount": {"Default": 101}}), "InvalidMaxRetryCount"),
        ("Config", json!({"Timeout": {"Default": -1}}), "InvalidTimeout"),
        ("Config", json!({"Timeout": {"Description": 7}}), "InvalidTimeout"),
    ] {
        let body = with(full_app(), path, value);
        let refusal = app(&body).expect_err(wanted);
        assert_eq!(refusal.code.to_string(), wanted, "{path}: {refusal}");
        assert!(wanted.starts_with("Missing") || crate::is_documented(wanted), "{wanted}");
        assert_eq!(refusal.status(), 400);
    }
}

#[test]
fn settings_of_every_spelling_are_read() {
    let body = with(
        an_app(),
        "Config",
        json!({
            "ResourceType": {"Default": "Spot", "Overwritable": false, "Description": "cheap"},
            "InstanceCount": {"Default": "3"}, "MinDiskSize": {}, "Timeout": {"Default": 0},
            "InstanceType": {"Default": "ecs.c5.large"}, "DataDiskMountPoint": {"Default": "/data"},
            "MinDataDiskSize": {"Default": 5.0}, "MaxRetryCount": null, "Other": 7,
        }),
    );
    let config = app(&body).expect("legal").config;
    assert_eq!(config.resource_type.default, "Spot");
    assert!(!config.resource_type.overwritable);
    assert_eq!(config.resource_type.description, "cheap");
    assert_eq!((config.instance_count.default, config.min_disk_size.default), (3, 40));
    assert_eq!((config.timeout.default, config.min_data_disk_size.default), (86400, 5));
    assert_eq!(config.instance_type.default, "ecs.c5.large");
}

#[test]
fn an_empty_docker_beside_a_vm_is_not_there() {
    let spec = app(&with(an_app(), "Docker", json!({"Image": ""}))).expect("legal");
    assert!(matches!(spec.image, AppImage::Vm(_)));
    let body =
        with(with(an_app(), "VM", json!({})), "Docker", json!({"Image": "x@localhost:5000"}));
    assert!(matches!(app(&body).expect("legal").image, AppImage::Docker { .. }));
}

#[test]
fn a_call_becomes_a_job_with_one_task() {
    let job = submit(&full_app(), &a_call()).expect("legal");
    let (name, task) = job.tasks.first_key_value().expect("one");
    assert_eq!((job.tasks.len(), name.as_str(), job.name.as_str()), (1, "task", "demo"));
    assert!(job.fail_on_instance_fail && !job.auto_release);
    assert_eq!(task.program.command_line, "cp -n '1' '/home/input/' '/home/output/' '' ${HOME}");
    let env: Vec<_> = task.program.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let wanted = [
        "dst=/home/output/",
        "env1=abcd",
        "n=1",
        "note=",
        "report=/home/report/r.txt",
        "src=/home/input/",
    ];
    assert_eq!(env, wanted);
    let inputs: Vec<_> =
        task.inputs.iter().map(|it| format!("{} {}", it.source, it.local)).collect();
    assert_eq!(inputs, ["oss://bkt/in/ /home/input/"], "a directory is mapped from a directory");
    let outputs: Vec<_> =
        task.outputs.iter().map(|it| format!("{} {}", it.local, it.destination)).collect();
    assert_eq!(outputs, ["/home/output/ oss://bkt/out/"], "an output nobody wants goes nowhere");
    let Placement::Auto(AutoCluster { ecs_image, instance_type, configs, .. }) = &task.placement
    else {
        panic!("a cluster of its own")
    };
    assert_eq!(ecs_image.as_ref().map(ToString::to_string).as_deref(), Some("img-ubuntu"));
    assert_eq!((instance_type, &configs.data_disk), (&None, &None));
    let call = job.app.expect("kept");
    assert_eq!((call.owner, call.revision, call.daemonize), (AccountId(7), 3, false));
    assert_eq!(call.inputs["n"], ParameterValue::Number(1.into()));
}

#[test]
fn every_member_of_the_config_takes_effect() {
    let config = json!({
        "ResourceType": "Spot", "InstanceType": "ecs.sn2.medium", "InstanceCount": 4,
        "MinDiskSize": 50, "DiskType": "cloud_ssd", "MinDataDiskSize": 10,
        "DataDiskType": "cloud_ssd", "DataDiskMountPoint": "/data", "MaxRetryCount": 2,
        "Timeout": 60, "ClassicNetwork": true, "ReserveOnFail": true,
    });
    let call = with(a_call(), "App.Config", config.clone());
    let job = submit(&full_app(), &call).expect("legal");
    let task = &job.tasks.first_key_value().expect("one").1;
    assert_eq!((task.instance_count, task.retry_count_max, task.timeout.0), (4, 2, 60));
    let Placement::Auto(shape) = &task.placement else { panic!("a cluster of its own") };
    assert!(shape.reserve_on_fail);
    assert_eq!(shape.instance_type.as_ref().expect("given").to_string(), "ecs.sn2.medium");
    let system = shape.configs.system_disk.as_ref().expect("given");
    assert_eq!((system.size_gb, system.kind.as_str()), (50, "cloud_ssd"));
    let data = shape.configs.data_disk.as_ref().expect("given");
    assert_eq!((data.disk.size_gb, data.mount_point.as_str()), (10, "/data"));
    assert_eq!(format!("{:?}", shape.resource), "Spot { price_limit_milli: None }");
    let echo = job_description(&job, 0);
    assert_eq!(with(echo["App"]["Config"].clone(), "ClusterId", Value::Null), config);

    let on_cluster =
        submit(&full_app(), &with(a_call(), "App.Config", json!({"ClusterId": CLUSTER})));
    let job = on_cluster.expect("legal");
    let placement = &job.tasks.first_key_value().expect("one").1.placement;
    assert_eq!(placement, &Placement::Fixed(CLUSTER.parse().expect("legal")));
}

#[test]
fn the_description_of_a_call_is_whole() {
    let call = with(a_call(), "App.Logging", json!({"StdoutPath": "oss://bkt/log/"}));
    let job = submit(&full_app(), &with(call, "Description", json!("words"))).expect("legal");
    assert_eq!(
        job_description(&job, 5),
        json!({
            "Name": "demo", "Description": "words", "Priority": 5, "Type": "App",
            "JobFailOnInstanceFail": true, "AutoRelease": false,
            "Notification": {"Topic": {"Name": "", "Endpoint": "", "Events": [], "UserData": "",
                "UserTemplate": ""}},
            "App": {
                "AppName": "copy",
                "Inputs": {"src": "oss://bkt/in", "n": 1, "note": ""},
                "Outputs": {"dst": "oss://bkt/out/"},
                "Logging": {"StdoutPath": "oss://bkt/log/", "StderrPath": ""},
                "Config": {
                    "ResourceType": "OnDemand", "InstanceType": "", "InstanceCount": 1,
                    "MinDiskSize": 40, "DiskType": "cloud_efficiency", "MinDataDiskSize": 0,
                    "DataDiskType": "cloud_efficiency", "DataDiskMountPoint": "",
                    "MaxRetryCount": 0, "Timeout": 86400, "ClassicNetwork": false,
                    "ClusterId": "", "ReserveOnFail": false,
                },
            },
            "DAG": {"Tasks": {}, "Dependencies": {}},
        })
    );
}

#[test]
fn a_call_that_breaks_a_rule_is_refused_with_its_code() {
    let fixed = json!({"InstanceCount": {"Default": 2, "Overwritable": false}});
    let strict = with(full_app(), "Config", fixed);
    for (path, value, wanted) in [
        ("Name", Value::Null, "MissingName"),
        ("Name", json!("x".repeat(101)), "InvalidName"),
        ("Type", json!("Other"), "InvalidType"),
        ("App", Value::Null, "MissingApp"),
        ("App", json!([]), "InvalidApp"),
        ("Priority", json!(1001), "InvalidPriority"),
        ("App.AppName", Value::Null, "MissingAppName"),
        ("App.AppName", json!("a/b"), "InvalidAppName"),
        ("App.AppName", json!(""), "InvalidAppName"),
        ("App.Inputs", json!({}), "InvalidInputs"),
        ("App.Inputs", Value::Null, "InvalidInputs"),
        ("App.Inputs", json!({"src": null}), "InvalidInputs"),
        ("App.Inputs", json!([]), "InvalidInputs"),
        ("App.Inputs.src", json!(7), "InvalidInputs"),
        ("App.Inputs.src", json!("bkt/in/"), "InvalidInputs"),
        ("App.Inputs.n", json!("x"), "InvalidInputs"),
        ("App.Inputs.n", json!({}), "InvalidInputs"),
        ("App.Inputs.other", json!("x"), "InvalidInputs"),
        ("App.Outputs.dst", json!("/home/x"), "InvalidOutputs"),
        ("App.Outputs.other", json!("oss://bkt/x"), "InvalidOutputs"),
        ("App.Logging", json!({"StdoutPath": "logs/"}), "InvalidStdoutPath"),
        ("App.Config", json!({"InstanceCount": 3}), "InvalidConfig"),
        ("App.Config", json!({"MinDataDiskSize": 5}), "InvalidConfig"),
        ("App.Config", json!({"MaxRetryCount": "x"}), "InvalidMaxRetryCount"),
        ("App.Config", json!({"ClusterId": "cls-1"}), "InvalidClusterId"),
        ("App.Config", json!({"ReserveOnFail": 1}), "InvalidReserveOnFail"),
    ] {
        let refusal = submit(&strict, &with(a_call(), path, value)).expect_err(wanted);
        assert_eq!(refusal.code.to_string(), wanted, "{path}: {refusal}");
        assert!(wanted.starts_with("Missing") || crate::is_documented(wanted), "{wanted}");
    }
    let long = with(a_call(), "Name", json!("x".repeat(100)));
    assert!(submit(&strict, &long).is_ok(), "calls of apps may have long names");
}

#[test]
fn numbers_may_be_given_as_text_and_empty_settings_are_not_given() {
    let call = with(a_call(), "App.Inputs.n", json!("2.5"));
    let call = with(call, "App.Config", json!({"InstanceType": "", "InstanceCount": "2"}));
    let job = submit(&full_app(), &call).expect("legal");
    let kept = job.app.as_ref().expect("kept");
    assert_eq!(kept.inputs["n"].to_string(), "2.5");
    assert_eq!(kept.config.instance_count, 2);
}

#[test]
fn the_kind_of_a_job_is_said_or_seen() {
    let limits = Limits::default();
    let is_app = |body: Value| {
        let read = parse_submission(body.to_string().as_bytes(), &limits);
        read.map(|read| matches!(read, Submission::App(_))).map_err(|error| error.code.to_string())
    };
    assert_eq!(is_app(with(a_call(), "Type", Value::Null)), Ok(true));
    assert_eq!(is_app(crate::a_job()), Ok(false));
    assert_eq!(is_app(with(crate::a_job(), "Type", json!("App"))), Err("MissingApp".into()));
    assert_eq!(is_app(with(a_call(), "Type", json!("DAG"))), Err("MissingDAG".into()));
}
