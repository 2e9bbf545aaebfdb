//! Whole command lines about settings, resources, clusters, help and languages.

use crate::stage::{Stage, created, list, ok, refusal};
use serde_json::json;

#[tokio::test]
async fn login_checks_the_key_before_it_is_remembered() {
    let stage = Stage::new().await;
    stage
        .service
        .on("GET /jobs?Marker&MaxItemCount=1", refusal(404, "InvalidAccessKeyId.NotFound", "who?"));
    stage.service.on("GET /jobs?Marker&MaxItemCount=1", list(json!([])));
    let available = json!({"AvailableClusterInstanceType": [{"InstanceType": "ecs.a", "CpuCore": 2, "MemorySize": 4}],
                           "AvailableSpotInstanceType": []});
    stage.service.on("GET /available", ok(available));
    let line = format!("login cn-new testid {}", crate::stage::SECRET);
    let before = stage.file("config/cliconfig");
    let refused = stage.bcs(&line).await;
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("InvalidAccessKeyId.NotFound"), "{}", refused.err);
    assert_eq!(stage.file("config/cliconfig"), before, "nothing is remembered of a wrong key");

    let ran = stage.bcs(&line).await;
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(ran.err.ends_with("login success\n"), "{}", ran.err);
    let after = stage.file("config/cliconfig");
    assert!(
        after.contains("region = cn-new") && after.contains("defaultimage = img-ubuntu"),
        "{after}"
    );
    assert_eq!(
        stage.file("config/clicache_ecs_instancetypes.json"),
        r#"{"ecs.a":{"cpu":2,"memory":4.0,"name":"ecs.a"}}"#
    );
}

#[tokio::test]
async fn nobody_is_asked_for_a_key_where_nobody_is() {
    let stage = Stage::new().await;
    let ran = stage.bcs("login cn-new").await;
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("access key"), "{}", ran.err);
}

#[tokio::test]
async fn settings_are_changed_removed_and_shown_masked() {
    let stage = Stage::new().await;
    assert_eq!(stage.bcs("set -i img-mine -l zh --vpc_cidr_block 10.0.0.0/16").await.status, 0);
    assert_eq!(stage.bcs("set -l en -i None -s false").await.status, 0);
    let shown = stage.bcs("config").await.out.replace(&stage.service.url, "URL");
    insta::assert_snapshot!(shown);
    assert_eq!(stage.bcs("set -s true").await.status, 0);
    assert!(!stage.file("config/cliconfig").contains("ssl"));
    assert_eq!(stage.bcs("set -l fr").await.status, 1);
    assert_eq!(stage.bcs("set -o mybucket").await.status, 1);
    assert_eq!(stage.bcs("logout").await.status, 0);
    assert_eq!(stage.file("config/cliconfig").trim(), "[common]");
    let lost = stage.bcs("j").await;
    assert!(lost.err.contains("bcs login"), "{}", lost.err);
}

#[tokio::test]
async fn resources_are_listed() {
    let stage = Stage::new().await;
    let quotas = json!({"AvailableClusterResourceType": ["OnDemand", "Spot"],
        "AvailableClusterInstanceType": ["ecs.big", "ecs.small", "ecs.odd"], "AvailableSpotInstanceType": ["ecs.small"],
        "AvailableClusterInstanceSystemDiskType": ["cloud"], "AvailableClusterInstanceDataDiskType": ["cloud_ssd"]});
    stage.service.on("GET /quotas", ok(quotas));
    let kind = |name: &str, cpu: u64, memory: u64| json!({"InstanceType": name, "CpuCore": cpu, "MemorySize": memory});
    let available =
        json!({"AvailableClusterInstanceType": [kind("ecs.big", 16, 64), kind("ecs.small", 1, 2)]});
    stage.service.on("GET /available", ok(available));
    insta::assert_snapshot!("instance_types", stage.bcs("it").await.shown());
    insta::assert_snapshot!("disk_types", stage.bcs("d").await.shown());
    assert!(stage.bcs("r").await.out.contains("| Spot"));
    assert!(stage.bcs("e").await.out.contains("OnPriorityChange"));
    assert_eq!(stage.bcs("e").await.status, 0);
}

#[tokio::test]
async fn a_default_type_must_be_one_the_account_may_use() {
    let stage = Stage::new().await;
    let quotas =
        json!({"AvailableClusterInstanceType": ["ecs.a"], "AvailableSpotInstanceType": ["ecs.b"]});
    stage.service.on("GET /quotas", ok(quotas));
    assert_eq!(stage.bcs("set -t ecs.b").await.status, 0);
    let refused = stage.bcs("set -t ecs.c").await;
    assert!(refused.status == 1 && refused.err.contains("`ecs.c`"), "{}", refused.err);
    assert!(stage.file("config/cliconfig").contains("defaulttype = ecs.b"));
    assert_eq!(stage.bcs("set -t None").await.status, 0);
    assert!(!stage.file("config/cliconfig").contains("defaulttype"));
}

#[tokio::test]
async fn clusters_are_made_shown_changed_and_deleted() {
    let stage = Stage::new().await;
    stage.service.on("POST /clusters?", created("cls-1"));
    let ran = stage
        .bcs("cc my -n 2 -t ecs.a -i img-ubuntu --resource_type Spot --spot_price_limit 0.1")
        .await;
    assert_eq!(ran.out, "cls-1\n", "{}", ran.err);
    let body = stage.service.bodies().remove(0);
    assert_eq!(
        body["Groups"]["group"],
        json!({"DesiredVMCount": 2, "InstanceType": "ecs.a", "ResourceType": "Spot",
               "SpotStrategy": "SpotWithPriceLimit", "SpotPriceLimit": 0.1})
    );
    let cluster = json!({"Id": "cls-1", "Name": "my", "State": "Active", "ImageId": "img-ubuntu",
        "CreationTime": "2024-01-02T03:04:05.000000Z", "OperationLogs": ["[t] made"],
        "Groups": {"group": {"DesiredVMCount": 2, "ActualVMCount": 1, "InstanceType": "ecs.a", "ResourceType": "Spot"}}});
    stage.service.on("GET /clusters?Marker&MaxItemCount=100", list(json!([cluster])));
    stage.service.on("GET /clusters/cls-1", ok(cluster));
    insta::assert_snapshot!("cluster_list", stage.bcs("c").await.shown());
    insta::assert_snapshot!("cluster", stage.bcs("c 1 -l").await.shown());
    stage.service.on("PUT /clusters/cls-1", ok(json!({})));
    assert_eq!(stage.bcs("uc cls-1 -n 0 -y").await.status, 0);
    assert_eq!(stage.service.bodies(), [json!({"Groups": {"group": {"DesiredVMCount": 0}}})]);
    stage.service.on("DELETE /clusters/cls-1", ok(json!({})));
    assert_eq!(stage.bcs("dc cls-1 -y").await.status, 0);
}

#[tokio::test]
async fn help_is_data_and_a_success_in_both_languages() {
    let mut stage = Stage::new().await;
    let english = stage.bcs("sub -h").await;
    assert_eq!((english.status, english.err.as_str()), (0, ""));
    assert!(
        english.out.contains("Usage: bcs submit") && english.out.contains("--read_mount"),
        "{}",
        english.out
    );
    stage.variables.insert("LANG".into(), "zh_CN.UTF-8".into());
    insta::assert_snapshot!("help_zh", stage.bcs("log --help").await.shown());
    let unknown = stage.bcs("frobnicate").await;
    assert_eq!(unknown.status, 2);
    assert!(unknown.err.contains("没有命令 frobnicate"), "{}", unknown.err);
    let missing = stage.bcs("ch").await;
    assert!(missing.err.contains("缺少 <job>"), "{}", missing.err);
}

#[tokio::test]
async fn no_command_shows_the_help() {
    let stage = Stage::new().await;
    let ran = stage.run(Vec::new()).await;
    insta::assert_snapshot!("help_en", ran.shown());
    assert!(stage.bcs("--version").await.out.starts_with("bcs "));
}

#[tokio::test]
async fn a_wrong_word_is_exit_status_two() {
    let stage = Stage::new().await;
    let ran = stage.bcs("sub x --nodse 3").await;
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("--nodse"), "{}", ran.err);
}

#[tokio::test]
async fn completion_scripts_know_the_commands() {
    let stage = Stage::new().await;
    for shell in ["bash", "zsh", "fish"] {
        let ran = stage.bcs(&format!("completion {shell}")).await;
        assert!(ran.status == 0 && ran.out.contains("read_mount"), "{shell}");
    }
    assert_eq!(stage.bcs("completion tcsh").await.status, 1);
}

#[tokio::test]
async fn a_broken_settings_file_is_named() {
    let stage = Stage::new().await;
    stage.write("config/cliconfig", "[common\nregion");
    let ran = stage.bcs("j").await;
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("cliconfig"), "{}", ran.err);
}
