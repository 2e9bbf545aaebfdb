//! The behaviour suite of the object stores through the gateway and the remote store, with both
//! signatures, and who may do what.

mod common;
#[path = "../../gristmill-objects/tests/suite/mod.rs"]
mod suite;

use common::{Door, Scheme, clock};
use gristmill_model::AccountId;
use gristmill_objects::{
    BucketAcl, GetOptions, ListOptions, LocalStore, ObjectError, ObjectStore, PutOptions, body_of,
    collect, disk::DiskStore, memory::MemoryStore, remote::RemoteStore,
};
use std::sync::Arc;

#[tokio::test]
async fn a_remote_store_over_memory_behaves() {
    let door = Door::open(Arc::new(MemoryStore::new(clock()))).await;
    let client = door.client("owner", Scheme::V1);
    client.create_bucket(suite::BUCKET).await.expect("makes");
    suite::every_store(&client).await;
    drop(client);
    door.close().await;
}

#[tokio::test]
async fn a_remote_store_over_disk_behaves() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = DiskStore::open(directory.path(), clock()).expect("opens");
    let door = Door::open(Arc::new(store)).await;
    let client = door.client("owner", Scheme::V4);
    client.create_bucket(suite::BUCKET).await.expect("makes");
    suite::every_store(&client).await;
    client.delete_bucket(suite::BUCKET).await.expect("is empty now");
    drop(client);
    door.close().await;
}

/// A bucket `bkt` of account 1 with some objects.
async fn door_with_objects() -> Door {
    let store = MemoryStore::new(clock());
    store.create_bucket("bkt", AccountId(1), BucketAcl::Private).await.expect("makes");
    store.create_bucket("hers", AccountId(2), BucketAcl::Private).await.expect("makes");
    for key in ["in/a", "in/b", "out/a", "one", "secret"] {
        store.put("bkt", key, PutOptions::default(), body_of(key)).await.expect("puts");
    }
    Door::open(Arc::new(store)).await
}

async fn get(client: &RemoteStore, key: &str) -> Result<String, ObjectError> {
    let got = client.get("bkt", key, GetOptions::default()).await?;
    Ok(String::from_utf8_lossy(&collect(got.body).await.expect("reads")).into_owned())
}

async fn put(client: &RemoteStore, key: &str) -> Result<(), ObjectError> {
    let options = PutOptions { length: Some(3), ..PutOptions::default() };
    client.put("bkt", key, options, body_of("new")).await.map(drop)
}

async fn list(client: &RemoteStore, prefix: &str) -> Result<usize, ObjectError> {
    let options =
        ListOptions { prefix: prefix.into(), delimiter: None, after: String::new(), keys_max: 10 };
    Ok(client.list("bkt", options).await?.objects.len())
}

fn is_denied<T>(outcome: &Result<T, ObjectError>) -> bool {
    matches!(outcome, Err(ObjectError::Denied { message, .. }) if message.starts_with("AccessDenied"))
}

#[tokio::test]
async fn an_account_sees_only_its_own_buckets() {
    let door = door_with_objects().await;
    let other = door.client("other", Scheme::V1);
    assert!(is_denied(&get(&other, "one").await));
    assert!(is_denied(&get(&other, "nothing").await));
    assert!(is_denied(&put(&other, "one").await));
    assert!(is_denied(&list(&other, "").await));
    assert!(is_denied(&other.delete("bkt", "one").await));
    assert!(is_denied(&other.delete_bucket("bkt").await));
    let taken = other.create_bucket("bkt").await;
    assert!(
        matches!(taken, Err(ObjectError::Refused { code, .. }) if code == "BucketAlreadyExists")
    );
    let names: Vec<_> =
        other.buckets().await.expect("lists").into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(names, ["hers"]);
}

#[tokio::test]
async fn a_scoped_key_reaches_what_it_was_granted_and_nothing_else() {
    let door = door_with_objects().await;
    let scoped = door.client("scoped", Scheme::V4);
    assert_eq!(get(&scoped, "in/a").await.expect("reads"), "in/a");
    assert_eq!(get(&scoped, "one").await.expect("reads"), "one");
    assert_eq!(list(&scoped, "in/").await.expect("lists"), 2);
    put(&scoped, "out/new").await.expect("writes");
    scoped.delete("bkt", "out/a").await.expect("deletes");
    for denied in [
        is_denied(&get(&scoped, "secret").await),
        is_denied(&get(&scoped, "no-such").await),
        is_denied(&get(&scoped, "out/new").await),
        is_denied(&put(&scoped, "in/a").await),
        is_denied(&put(&scoped, "one").await),
        is_denied(&list(&scoped, "").await),
        is_denied(&list(&scoped, "out/").await),
        is_denied(&scoped.delete("bkt", "in/a").await),
        is_denied(&scoped.create_upload("bkt", "secret", PutOptions::default()).await),
        is_denied(&scoped.create_bucket("fresh").await),
        is_denied(&scoped.buckets().await),
        is_denied(&scoped.head("no-such-bucket", "key").await),
    ] {
        assert!(denied);
    }
    let copy = PutOptions {
        headers: [("x-oss-copy-source".to_owned(), "/bkt/secret".to_owned())].into(),
        length: Some(0),
        ..PutOptions::default()
    };
    let outcome = scoped.put("bkt", "out/stolen", copy, body_of("")).await;
    assert!(is_denied(&outcome), "{outcome:?}");
    let open = PutOptions {
        headers: [("x-oss-object-acl".to_owned(), "public-read".to_owned())].into(),
        length: Some(0),
        ..PutOptions::default()
    };
    let outcome = scoped.put("bkt", "out/open", open, body_of("")).await;
    assert!(is_denied(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn a_key_that_is_worth_nothing_is_refused_with_the_reason() {
    let door = door_with_objects().await;
    for (client, code) in [
        (door.client("token", Scheme::V1), "InvalidAccessKeyId"),
        (door.client_with_token("wrong-token"), "InvalidSecurityToken"),
        (door.client_with_token("old-token"), "SecurityTokenExpired"),
        (door.client("inactive", Scheme::V4), "InvalidAccessKeyId"),
        (door.client("disabled", Scheme::V1), "UserDisable"),
    ] {
        let outcome = get(&client, "one").await;
        assert!(
            matches!(&outcome, Err(ObjectError::Denied { message, .. }) if message.starts_with(code)),
            "{code}: {outcome:?}"
        );
    }
    assert_eq!(get(&door.client_with_token("right-token"), "one").await.expect("reads"), "one");
}

#[tokio::test]
async fn a_key_that_may_only_read_reads_everywhere_and_deletes_nothing() {
    let door = door_with_objects().await;
    let reader = door.client("reader", Scheme::V1);
    assert_eq!(get(&reader, "one").await.expect("reads"), "one");
    let outcome = reader.delete("bkt", "one").await;
    assert!(is_denied(&outcome), "{outcome:?}");
    let outcome = reader.put("bkt", "one", PutOptions::default(), body_of("two")).await;
    assert!(is_denied(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn an_unknown_key_is_refused() {
    let door = door_with_objects().await;
    let outcome = get(&door.client("nobody", Scheme::V1), "one").await;
    assert!(
        matches!(&outcome, Err(ObjectError::Denied { message, .. }) if message.starts_with("InvalidAccessKeyId")),
        "{outcome:?}"
    );
}
