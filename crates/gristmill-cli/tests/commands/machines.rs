//! Whole command lines about own images, single machines, and changes of clusters.

use crate::stage::{Stage, created, list, ok, refusal};
use serde_json::json;

fn image(id: &str, kind: &str) -> serde_json::Value {
    json!({"Id": id, "Name": "mine", "Type": kind, "Platform": "Linux", "EcsImageId": "m-1",
           "Description": "with tools", "OwnerId": 1, "CreationTime": "2024-01-02T03:00:45.000000Z"})
}

#[tokio::test]
async fn an_image_is_registered_shown_and_deleted() {
    let stage = Stage::new().await;
    stage.service.on("POST /images?", created("img-1"));
    let made = stage.bcs("ci mine m-1 -p linux -d tools").await;
    assert_eq!((made.status, made.out.as_str()), (0, "img-1\n"), "{}", made.err);
    let wanted =
        json!({"Name": "mine", "EcsImageId": "m-1", "Platform": "Linux", "Description": "tools"});
    assert_eq!(stage.service.bodies(), [wanted]);
    stage.service.on("GET /images/img-1", ok(image("img-1", "Self")));
    insta::assert_snapshot!(stage.bcs("i img-1").await.shown());
    stage.service.on("DELETE /images/img-1", ok(json!({})));
    assert_eq!(stage.bcs("di img-1 -y").await.status, 0);
    assert_eq!(stage.service.asked().last().map(String::as_str), Some("DELETE /images/img-1"));
}

#[tokio::test]
async fn an_image_that_cannot_be_is_not_sent() {
    let stage = Stage::new().await;
    for line in ["ci mine img-1", "ci mine m-1 -p beos", "di 1 -y"] {
        assert_eq!(stage.bcs(line).await.status, 1, "{line}");
    }
    assert_eq!(stage.bcs("ci mine m-1 --show_json").await.status, 0);
    assert!(stage.service.asked().is_empty());
}

#[tokio::test]
async fn single_machines_are_replaced_and_removed() {
    let stage = Stage::new().await;
    let machine = json!({"Id": "i-1", "HostName": "h0", "IpAddress": "10.0.0.2", "State": "Running",
                         "CreationTime": "2024-01-02T03:00:45.000000Z"});
    let place = "/clusters/cls-1/groups/group/instances";
    stage.service.on(&format!("GET {place}?Marker&MaxItemCount=100"), list(json!([machine])));
    assert_eq!(stage.bcs("c cls-1 group").await.status, 0);
    stage.service.on(&format!("POST {place}/i-1/recreate"), created(""));
    assert_eq!(stage.bcs("rci cls-1 group i-1 -y").await.status, 0);
    stage.service.on(&format!("DELETE {place}/i-1"), ok(json!({})));
    assert_eq!(stage.bcs("dci cls-1 group 1 -y").await.status, 1, "a number destroys nothing");
    assert_eq!(stage.bcs("dci cls-1 group i-1 -y").await.status, 0);
    let asked = stage.service.asked();
    let wanted = [format!("POST {place}/i-1/recreate"), format!("DELETE {place}/i-1")];
    assert_eq!(asked[1..], wanted);
}

#[tokio::test]
async fn a_cluster_is_changed_whole() {
    let stage = Stage::new().await;
    stage.service.on("PUT /clusters/cls-1", ok(json!({})));
    let line = "uc cls-1 workers -n 2 -t ecs.a -i img-2 -u k:v -e a:b -m oss://b/d/:/d/ -y";
    assert_eq!(stage.bcs(line).await.status, 0);
    let body = stage.service.bodies().remove(0);
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
}

#[tokio::test]
async fn a_shell_that_is_refused_says_why_and_nothing_else() {
    let stage = Stage::new().await;
    let path = "GET /clusters/cls-1/groups/group/instances/i-1/shell";
    let why = "machines of automatic clusters cannot be entered";
    stage.service.on(path, refusal(403, "Forbidden", why));
    let ran = stage.bcs("ssh cls-1 group i-1 -- ls -l").await;
    assert_eq!(ran.status, 1);
    insta::assert_snapshot!(ran.shown());
}
