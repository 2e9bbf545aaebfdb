//! What only this side of the door can arrange: a full database, a writer that stands still, senders
//! that leave at a certain step.

use super::*;
use crate::{BucketAcl, LocalStore, collect};
use gristmill_model::{AccountId, Timestamp};

async fn set_pages_max(store: &DiskStore, pages: &str) {
    let set = format!("PRAGMA max_page_count = {pages}");
    let change = move |conn: &Connection| {
        conn.query_row(&set, [], |row| row.get::<_, i64>(0))
            .map(Change::of)
            .map_err(|error| rows::sql_error("limit the database", error))
    };
    store.writer.write(change).await.expect("limits");
}

#[tokio::test]
async fn a_full_disk_fails_writes_and_nothing_else() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = DiskStore::open(directory.path(), Arc::new(|| Timestamp(1))).expect("opens");
    store.create_bucket("bucket", AccountId(1), BucketAcl::Private).await.expect("makes");
    let put = |key: String| {
        let body = body_of(vec![1; 10_000]);
        let store = &store;
        async move { store.put("bucket", &key, PutOptions::default(), body).await }
    };
    put("first".into()).await.expect("puts");
    set_pages_max(&store, "40").await;
    let outcomes = futures::future::join_all((0..50).map(|n| put(format!("key-{n}")))).await;
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(ObjectError::Full))));
    let got = store.get("bucket", "first", GetOptions::default()).await.expect("reads go on");
    assert_eq!(collect(got.body).await.expect("reads"), vec![1; 10_000]);
    for (n, outcome) in outcomes.iter().enumerate() {
        let there = store.head("bucket", &format!("key-{n}")).await.is_ok();
        assert_eq!(there, outcome.is_ok(), "key-{n} is what its put was told");
    }
    let mut more = 0;
    while put(format!("more-{more}")).await.is_ok() {
        more += 1;
    }
    assert!(!directory.path().join("reserve").exists(), "the reserve is given up");
    store.delete("bucket", "first").await.expect("removing goes on");
    set_pages_max(&store, "1000000").await;
    put("after".into()).await.expect("puts again");
    assert!(directory.path().join("reserve").exists(), "the reserve is back");
}

#[tokio::test]
async fn a_read_has_its_slot_until_it_ends_although_whoever_asked_left() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = DiskStore::open(directory.path(), Arc::new(|| Timestamp(1))).expect("opens");
    let store = Arc::new(store);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let reading = tokio::spawn({
        let store = store.clone();
        async move {
            let slow = move |_: &Connection| {
                began.send(()).expect("the test waits for it");
                Ok(wait.recv().is_err())
            };
            store.read(slow).await
        }
    });
    begun.await.expect("the read begins");
    reading.abort();
    assert!(reading.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(store.readers.slots.available_permits(), READERS_MAX - 1);
    drop(go);
    let all = store.readers.slots.acquire_many(READERS_MAX as u32).await;
    drop(all.expect("is never closed"));
}
