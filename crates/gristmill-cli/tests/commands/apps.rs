//! Whole command lines about apps, against a service that checks every signature.

use crate::stage::{Stage, created, list, named, ok, refusal};
use serde_json::{Value, json};

fn setting(default: Value, overwritable: bool) -> Value {
    json!({"Description": "", "Default": default, "Overwritable": overwritable})
}

fn app(name: &str) -> Value {
    json!({"Name": name, "Description": "grinds grain", "CreationTime": "2024-01-02T03:00:45.000000Z",
        "InputParameters": {
            "n": {"Description": "how often", "Type": "Number", "Default": 1},
            "src": {"Description": "", "Type": "String", "Default": null}},
        "OutputParameters": {"dst": {"Description": "", "Type": "String", "Default": null}},
        "Config": {"InstanceCount": setting(json!(1), true), "InstanceType": setting(json!(""), false)}})
}

fn detail(name: &str) -> Value {
    let mut detail = app(name);
    detail["CommandLine"] = json!("grind ${src} ${dst}");
    detail["VM"] = json!({"ECSImageId": "img-ubuntu"});
    detail["Daemonize"] = json!(true);
    detail["EnvVars"] = json!({"mode": "coarse"});
    detail["InputParameters"]["src"]["LocalPath"] = json!("/home/in/");
    detail
}

#[tokio::test]
async fn apps_of_both_scopes_are_one_list_and_its_numbers_name_them() {
    let stage = Stage::new().await;
    let (public, private) = (list(json!([app("mill")])), list(json!([app("grind")])));
    stage.service.on("GET /apps?Marker&MaxItemCount=100&Scope=Public", public);
    stage.service.on("GET /apps?Marker&MaxItemCount=100&Scope=Private", private);
    stage.service.on("GET /apps/grind?Scope=Private", ok(app("grind")));
    let revisions = json!([{"Revision": 0, "UpdateTime": "2024-01-02T03:00:45.000000Z"}]);
    stage.service.on("GET /apps/grind?Revisions=True", ok(revisions));
    stage.service.on("GET /apps/mill?Scope=Public", ok(app("mill")));
    insta::assert_snapshot!("app_list", stage.bcs("a").await.shown());
    insta::assert_snapshot!("app", stage.bcs("a 2").await.shown());
    let shown = stage.bcs("a 1").await;
    assert!(
        shown.out.starts_with("Name: mill\n") && !shown.out.contains("Revision"),
        "{}",
        shown.out
    );
}

#[tokio::test]
async fn a_revision_is_shown_whole() {
    let stage = Stage::new().await;
    stage.service.on("GET /apps/grind?Detail=True&Qualifier=0", ok(detail("grind")));
    insta::assert_snapshot!("app_revision", stage.bcs("a grind 0").await.shown());
    let raw = stage.bcs("a grind 0 --show_json").await;
    assert_eq!(serde_json::from_str::<Value>(&raw.out).expect("JSON"), detail("grind"));
}

#[tokio::test]
async fn an_app_is_described_by_options() {
    let stage = Stage::new().await;
    stage.service.on("POST /apps?", named("grind"));
    let ran = stage
        .bcs(
            "ca grind cp+${src}+${dst} -i img-centos -t ecs.a:false:small -n 2 --timeout 60:true -e k:v,l:w \
             --inputs src:String:/home/in/,n:Number::times:3 --outputs dst::/home/out/ --daemonize --description words",
        )
        .await;
    assert_eq!((ran.status, ran.out.as_str()), (0, "grind\n"), "{}", ran.err);
    let parameter = |kind: &str, path: &str, words: &str| json!({"Type": kind, "LocalPath": path, "Description": words});
    let mut number = parameter("Number", "", "times");
    number["Default"] = json!(3);
    assert_eq!(
        stage.service.bodies().remove(0),
        json!({
            "Name": "grind", "CommandLine": "cp ${src} ${dst}", "Description": "words", "Daemonize": true,
            "VM": {"ECSImageId": "img-centos"}, "EnvVars": {"k": "v", "l": "w"},
            "InputParameters": {"src": parameter("String", "/home/in/", ""), "n": number},
            "OutputParameters": {"dst": parameter("String", "/home/out/", "")},
            "Config": {
                "InstanceType": {"Default": "ecs.a", "Overwritable": false, "Description": "small"},
                "InstanceCount": {"Default": 2}, "Timeout": {"Default": 60, "Overwritable": true},
            },
        })
    );
    for (words, wanted) in [
        ("ca x true -n many", "nodes must be a whole number"),
        ("ca x true --inputs n:Number:::many", "must be a number"),
    ] {
        let refused = stage.bcs(words).await;
        assert!(refused.status == 1 && refused.err.contains(wanted), "{}", refused.err);
    }
}

#[tokio::test]
async fn a_change_is_the_newest_revision_with_what_the_options_say() {
    let stage = Stage::new().await;
    stage.service.on("GET /apps/grind?Detail=True&Qualifier", ok(detail("grind")));
    stage.service.on("PUT /apps/grind", ok(json!({})));
    let ran = stage.bcs("ua grind grind+finer --docker grind@oss://b/registry/ -y").await;
    assert_eq!(ran.status, 0, "{}", ran.err);
    let mut wanted = detail("grind");
    wanted["CommandLine"] = json!("grind finer");
    wanted.as_object_mut().expect("an object").remove("VM");
    wanted["Docker"] =
        json!({"Image": "localhost:5000/grind", "RegistryOSSPath": "oss://b/registry/"});
    assert_eq!(stage.service.bodies().pop().expect("sent"), wanted);
    let unsure = stage.bcs("ua grind").await;
    assert_ne!(unsure.status, 0, "without a person only -y is a yes");
}

#[tokio::test]
async fn apps_and_revisions_are_deleted() {
    let stage = Stage::new().await;
    for asked in ["a?Qualifier", "b?Qualifier", "c?Qualifier=3"] {
        stage.service.on(&format!("DELETE /apps/{asked}"), ok(json!({})));
    }
    assert_eq!(stage.bcs("da a,b -y").await.status, 0);
    assert_eq!(stage.bcs("da c 3 -y").await.status, 0);
    let asked: Vec<_> =
        stage.service.asked().into_iter().filter(|line| line.starts_with("DELETE")).collect();
    assert_eq!(
        asked,
        ["DELETE /apps/a?Qualifier", "DELETE /apps/b?Qualifier", "DELETE /apps/c?Qualifier=3"]
    );
}

#[tokio::test]
async fn a_job_of_an_app_has_its_parameters_and_settings() {
    let stage = Stage::new().await;
    stage.service.on("GET /apps/grind?Scope=Private", ok(app("grind")));
    stage.service.on("POST /jobs?", created("job-1"));
    let ran = stage
        .bcs("asub grind my-job --input_n 3 --output_dst=oss://b/out/ -n 2 -t ecs.a --config ClassicNetwork=false,ReserveOnFail:true")
        .await;
    assert_eq!((ran.status, ran.out.as_str()), (0, "job-1\n"), "{}", ran.err);
    let logs = "oss://b/bcs/0f0f0f0f-aaaa-bbbb-cccc-dddddddddddd/logs/";
    assert_eq!(
        stage.service.bodies().pop().expect("sent"),
        json!({
            "Name": "my-job", "Type": "App", "Description": "BatchCompute cli job",
            "App": {
                "AppName": "grind", "Inputs": {"n": "3"}, "Outputs": {"dst": "oss://b/out/"},
                "Logging": {"StdoutPath": logs, "StderrPath": logs},
                "Config": {"InstanceCount": 2, "InstanceType": "ecs.a", "ClassicNetwork": false, "ReserveOnFail": true},
            },
        })
    );
    let unknown = stage.bcs("asub grind --input_flour x").await;
    assert!(unknown.status == 1 && unknown.err.contains("it has: n, src"), "{}", unknown.err);
}

#[tokio::test]
async fn an_app_that_is_not_ones_own_is_looked_for_among_the_public_ones() {
    let stage = Stage::new().await;
    let missing = || refusal(404, "InvalidResource.NotFound", "not found");
    stage.service.on("GET /apps/mill?Scope=Private", missing());
    stage.service.on("GET /apps/mill?Scope=Public", ok(app("mill")));
    stage.service.on("GET /apps/gone?Scope=Private", missing());
    stage.service.on("GET /apps/gone?Scope=Public", missing());
    let dry = stage.bcs("asub mill --show_json").await;
    let body: Value = serde_json::from_str(&dry.out).expect("JSON");
    assert_eq!(body["App"]["AppName"], ":mill");
    let gone = stage.bcs("asub gone").await;
    assert!(gone.status == 1 && gone.err.contains("NotFound App named gone"), "{}", gone.err);
}

#[tokio::test]
async fn the_task_of_a_call_shows_what_was_asked() {
    let stage = Stage::new().await;
    let app = json!({"AppName": ":mill", "Inputs": {"n": 3}, "Outputs": {"dst": "oss://b/out/"},
        "Logging": {"StdoutPath": "oss://b/log/", "StderrPath": ""},
        "Config": {"InstanceCount": 2, "ClusterId": "", "ClassicNetwork": false}});
    let described = json!({"Name": "call", "Type": "App", "App": app, "DAG": {"Tasks": {}, "Dependencies": {}}});
    let task = json!({"TaskName": "task", "State": "Finished", "StartTime": "", "EndTime": "", "InstanceMetrics": {}});
    stage.service.on("GET /jobs/job-1?description", ok(described));
    stage
        .service
        .on("GET /jobs/job-1/tasks/task/instances?Marker&MaxItemCount=100", list(json!([])));
    stage.service.on("GET /jobs/job-1/tasks/task", ok(task));
    insta::assert_snapshot!("task_of_a_call", stage.bcs("j job-1 task").await.shown());
}
