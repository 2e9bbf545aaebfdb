//! Clusters: bodies in, and the answer of `GET /clusters/{cluster}`.

use crate::{CLUSTER, is_documented, specs, with};
use gristmill_model::{
    AccountId, ClusterChange, Timestamp, WorkerState,
    change::NewMounts,
    spec::{Limits, Resource},
};
use gristmill_wire::api::{
    cluster::{ClusterParts, cluster_body},
    parse_cluster, parse_modify_cluster,
    responses::{Cluster, ClusterMetrics},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The smallest valid cluster.
fn a_cluster() -> Value {
    json!({"Name": "pool", "ImageId": "img-ubuntu", "Groups": {"group1": {"DesiredVMCount": 2}}})
}

fn parts(spec: &gristmill_model::ClusterSpec) -> Cluster {
    cluster_body(ClusterParts {
        id: CLUSTER.parse().expect("legal"),
        account: AccountId(1_234_567_890),
        spec,
        state: "Active",
        created: Timestamp(1_478_013_902_837_728),
        desired: &BTreeMap::new(),
        actual: &[("group1".parse().expect("legal"), 1)].into(),
        metrics: [WorkerState::Running, WorkerState::Pending].into_iter().collect(),
        operation_logs: &["[2016-11-01T15:25:02.837728Z][group1] active".to_owned()],
    })
}

#[test]
fn malformed_clusters_have_their_codes() {
    let group = |group: Value| json!({ "group1": group });
    let table = [
        ("Name", Value::Null, "MissingName"),
        ("Name", json!("9lives"), "InvalidName"),
        ("Description", json!("x".repeat(1001)), "InvalidDescription"),
        ("ImageId", Value::Null, "MissingImageId"),
        ("ImageId", json!("ubuntu"), "InvalidImageId"),
        ("InstanceType", json!(4), "InvalidInstanceType"),
        ("Groups", Value::Null, "MissingGroups"),
        ("Groups", json!({}), "MissingGroups"),
        ("Groups", json!([]), "InvalidGroups"),
        ("Groups", group(json!([])), "InvalidGroups.group1"),
        ("Groups", json!({"a b": {"DesiredVMCount": 1}}), "InvalidGroups"),
        ("Groups", group(json!({})), "MissingDesiredVMCount"),
        ("Groups", group(json!({"DesiredVMCount": -1})), "InvalidDesiredVMCount"),
        ("Groups", group(json!({"DesiredVMCount": 65_537})), "InvalidDesiredVMCount"),
        ("Groups", group(json!({"DesiredVMCount": "2"})), "InvalidDesiredVMCount"),
        (
            "Groups",
            group(json!({"DesiredVMCount": 1, "SpotPriceLimit": 0.5})),
            "InvalidSpotPriceLimit",
        ),
        (
            "Groups",
            group(json!({"DesiredVMCount": 1, "HostnamePrefix": "a.b"})),
            "InvalidHostnamePrefix",
        ),
        ("UserData", json!({"a": {}}), "InvalidUserData"),
        ("EnvVars", json!({"a=": "b"}), "InvalidEnvVars"),
        ("Bootstrap", json!("a\0b"), "InvalidBootstrap"),
        ("ScheduleType", json!("Pull"), "InvalidScheduleType"),
        ("PasswordInherit", json!("no"), "InvalidPasswordInherit"),
        ("Configs", json!({"Disks": {"SystemDisk": {"Size": 1}}}), "InvalidSystemDisk"),
        ("Notification", json!({"Topic": {"Events": ["OnJobFailed"]}}), "InvalidNotification"),
    ];
    for (path, value, code) in table {
        let body = with(a_cluster(), path, value.clone()).to_string();
        let error = parse_cluster(body.as_bytes(), &Limits::default());
        let error = error.expect_err(&format!("{path} = {value}"));
        assert_eq!(error.code.to_string(), code, "{path} = {value}: {}", error.message);
        assert!(is_documented(code), "{code}");
    }
}

#[test]
fn no_image_is_needed_when_every_group_has_one() {
    let groups = json!({"group1": {"DesiredVMCount": 0, "ImageId": "m-1"}});
    let body = with(with(a_cluster(), "ImageId", Value::Null), "Groups", groups).to_string();
    assert!(parse_cluster(body.as_bytes(), &Limits::default()).is_ok());
}

#[test]
fn changes_that_say_nothing_change_nothing() {
    for body in [
        "{}",
        r#"{"Groups":{}}"#,
        r#"{"Groups":{"group":{}}}"#,
        r#"{"Groups":{"group":null},"EnvVars":null,"ImageId":"","Configs":{}}"#,
        r#"{"Configs":{"Mounts":{}}}"#,
        r#"{"Groups":{"group":{"InstanceType":"","SpotStrategy":"","SpotPriceLimit":0.0}}}"#,
        r#"{"InputMapping":{"oss://bucket/a/":"/a"},"Name":"1","Description":7,"Bootstrap":"x"}"#,
    ] {
        let change = parse_modify_cluster(body.as_bytes(), &Limits::default());
        assert_eq!(change, Ok(ClusterChange::default()), "{body}");
    }
}

#[test]
fn a_change_names_what_it_changes() {
    let body = br#"{"Groups":{"a":{"DesiredVMCount":0},"b":{"DesiredVMCount":4,"InstanceType":"x",
        "ImageId":"m-1"},"c":{"SpotStrategy":"SpotWithPriceLimit","SpotPriceLimit":0.6}},
        "ImageId":"img-centos","UserData":{"k":"v"},"EnvVars":{},"Configs":{"Mounts":{"Entries":[
        {"Source":"oss://bucket/a/","Destination":"/home/a","WriteSupport":false}]}}}"#;
    let change = parse_modify_cluster(body, &Limits::default()).expect("legal");
    let text = serde_json::to_value(&change).expect("plain");
    let wanted = json!({
        "groups": {
            "a": {"desired": 0},
            "b": {"desired": 4, "instance_type": "x", "image": "m-1"},
            "c": {"spot": {"Spot": {"price_limit_milli": 600}}},
        },
        "image": "img-centos", "user_data": {"k": "v"}, "env": {},
        "mounts": {"These": {"entries": [{"source": "oss://bucket/a/", "destination": "/home/a",
            "write_support": false}], "locale": "GBK", "lock": false, "cache": true,
            "cache_block_size": 262_144, "cache_total_size": 536_870_912, "extra": {}}},
    });
    assert_eq!(text, wanted);
}

#[test]
fn what_spot_machines_may_cost_is_changed_by_either_member() {
    let spot = |group: &str| {
        let body = format!(r#"{{"Groups":{{"g":{group}}}}}"#);
        let change = parse_modify_cluster(body.as_bytes(), &Limits::default());
        change.map(|change| change.groups.into_values().next().and_then(|group| group.spot))
    };
    for (group, limit) in [
        (r#"{"SpotPriceLimit":0.1}"#, Some(100)),
        (r#"{"SpotStrategy":"SpotWithPriceLimit","SpotPriceLimit":1.234}"#, Some(1_234)),
        (r#"{"SpotStrategy":"SpotAsPriceGo"}"#, None),
        (r#"{"SpotStrategy":"SpotAsPriceGo","SpotPriceLimit":0}"#, None),
    ] {
        assert_eq!(spot(group), Ok(Some(Resource::Spot { price_limit_milli: limit })), "{group}");
    }
    for (group, code) in [
        (r#"{"SpotStrategy":"SpotWithPriceLimit"}"#, "InvalidSpotPriceLimit"),
        (r#"{"SpotPriceLimit":0.1234}"#, "InvalidSpotPriceLimit"),
        (r#"{"SpotPriceLimit":"0.1"}"#, "InvalidSpotPriceLimit"),
        (r#"{"SpotStrategy":"SpotAsPriceGo","SpotPriceLimit":1}"#, "InvalidSpotPriceLimit"),
        (r#"{"SpotStrategy":"Cheap"}"#, "InvalidSpotStrategy"),
    ] {
        assert_eq!(spot(group).expect_err(group).code.to_string(), code, "{group}");
    }
}

#[test]
fn mounts_can_be_taken_away() {
    let body = br#"{"Configs":{"Mounts":{"Entries":[]}}}"#;
    let change = parse_modify_cluster(body, &Limits::default()).expect("legal");
    assert_eq!(change.mounts, Some(NewMounts::Nothing));
}

#[test]
fn malformed_changes_have_their_codes() {
    for (body, code) in [
        (r#"{"Groups":[]}"#, "InvalidGroups"),
        (r#"{"Groups":{"g":1}}"#, "InvalidGroups.g"),
        (r#"{"Groups":{"g":{"DesiredVMCount":-1}}}"#, "InvalidDesiredVMCount"),
        (r#"{"Groups":{"g":{"DesiredVMCount":1.5}}}"#, "InvalidDesiredVMCount"),
        (r#"{"Groups":{"g":{"DesiredVMCount":65537}}}"#, "InvalidDesiredVMCount"),
        (r#"{"Groups":{"g":{"InstanceType":7}}}"#, "InvalidInstanceType"),
        (r#"{"Groups":{"g":{"ImageId":"ubuntu"}}}"#, "InvalidImageId"),
        (r#"{"ImageId":"ubuntu"}"#, "InvalidImageId"),
        (r#"{"UserData":[]}"#, "InvalidUserData"),
        (r#"{"EnvVars":{"a=":"b"}}"#, "InvalidEnvVars"),
        (r#"{"Configs":[]}"#, "InvalidConfigs"),
        (r#"{"Configs":{"Mounts":[]}}"#, "InvalidMounts"),
        (r#"{"Configs":{"Mounts":{"Entries":[{}]}}}"#, "InvalidMounts"),
        ("[]", "InvalidHttpBody"),
    ] {
        let error = parse_modify_cluster(body.as_bytes(), &Limits::default());
        assert_eq!(error.expect_err(body).code.to_string(), code, "{body}");
    }
}

#[test]
fn the_size_of_a_prepaid_group_is_nothing_that_can_be_asked_for() {
    for group in
        [r#"{"ResourceType":"PrePaid"}"#, r#"{"ResourceType":"PrePaid","DesiredVMCount":5}"#]
    {
        let body = format!(r#"{{"Name":"pool","ImageId":"img-ubuntu","Groups":{{"g":{group}}}}}"#);
        let spec = parse_cluster(body.as_bytes(), &Limits::default()).expect("legal");
        assert!(spec.groups.values().all(|group| group.desired == 0), "{group}");
    }
}

/// Every member of appendix A, with the types it has there.
#[test]
fn the_answer_has_every_member_of_the_reference() {
    let spec = parse_cluster(a_cluster().to_string().as_bytes(), &Limits::default());
    let body = serde_json::to_value(parts(&spec.expect("legal"))).expect("plain");
    let wanted = json!({
        "Id": CLUSTER, "Name": "pool", "OwnerId": 1_234_567_890, "Description": "",
        "CreationTime": "2016-11-01T15:25:02.837728Z", "State": "Active", "ErrorCode": "",
        "ImageId": "img-ubuntu", "InstanceType": "", "UserData": {}, "EnvVars": {},
        "InputMapping": {}, "InputMappingConfig": {"Locale": "GBK", "Lock": false},
        "WriteSupport": false, "Bootstrap": "", "ScheduleType": "", "SecurityGroup": "",
        "SecurityGroups": [], "PasswordInherit": false, "DependencyIsvService": "",
        "Notification": {"Topic": {"Name": "", "Endpoint": "", "Events": [], "UserData": "",
            "UserTemplate": ""}},
        "Configs": {"Disks": {}, "Networks": {"Classic": {}, "VPC": {"CidrBlock": "192.168.0.0/16",
            "VpcId": CLUSTER.replace("cls", "vpc"), "VSwitchId": CLUSTER.replace("cls", "vsw")}}, "Mounts": {"Entries": [],
            "Locale": "GBK", "Lock": false, "CacheSupport": true, "CacheBlockSize": 262_144,
            "CacheTotalSize": 536_870_912, "NAS": {"AccessGroup": [], "FileSystem": []},
            "OSS": {}, "RefreshStrategy": "", "RefreshTopicName": "", "RefreshTimeOut": 0,
            "NasMetaCache": false}},
        "Groups": {"group1": {"DesiredVMCount": 2, "ActualVMCount": 1, "InstanceType": "",
            "ResourceType": "OnDemand", "SpotStrategy": "", "SpotPriceLimit": 0.0, "ImageId": "",
            "HostnamePrefix": "", "Mode": "", "Disks": {}}},
        "Metrics": {"StartingCount": 0, "RunningCount": 1, "StoppingCount": 0, "StoppedCount": 0},
        "OperationLogs": ["[2016-11-01T15:25:02.837728Z][group1] active"]});
    assert_eq!(body, wanted);
}

#[test]
fn pending_machines_are_in_no_count() {
    use WorkerState::{Deleting, Pending, Running, Starting};
    let metrics: ClusterMetrics =
        [Pending, Starting, Running, Running, Deleting].into_iter().collect();
    let counts = (metrics.starting_count, metrics.running_count, metrics.stopping_count);
    assert_eq!((counts, metrics.stopped_count), ((1, 2, 1), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..Default::default() })]

    /// What `GET` shows can be sent to `POST`: a cluster can be made again from its description,
    /// in the same VPC, also where that was made up.
    #[test]
    fn an_answer_reads_back_as_the_cluster_it_describes(spec in specs::cluster()) {
        let mut answer = parts(&spec);
        for (name, group) in &spec.groups {
            // Groups show the type they get from the cluster.
            let group_answer = answer.groups.get_mut(name.as_str()).expect("every group is shown");
            if group.instance_type.is_none() {
                group_answer.instance_type.clear();
            }
        }
        let body = serde_json::to_vec(&answer).expect("plain");
        let mut read = parse_cluster(&body, &Limits::default()).expect("what is shown is legal");
        let networks = std::mem::replace(&mut read.configs.networks, spec.configs.networks.clone());
        let vpc = &networks.expect("every cluster lies in one")["VPC"]["VpcId"];
        prop_assert_eq!(vpc, &answer.configs["Networks"]["VPC"]["VpcId"]);
        prop_assert_eq!(read, spec);
    }
}
