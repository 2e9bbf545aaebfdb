//! What only this side of the door can arrange: a full database, a writer that stands still, senders
//! that leave at a certain step.

use super::*;
use crate::{BucketAcl, collect};
use gristmill_model::{AccountId, Timestamp};
use tokio::task::JoinHandle;

/// Bytes that do not fit into the database.
const LARGE: usize = 100_000;

async fn open_with_bucket(directory: &Path) -> Arc<DiskStore> {
    let store = DiskStore::open(directory, Arc::new(|| Timestamp(1))).expect("opens");
    store.create_bucket("bucket", AccountId(1), BucketAcl::Private).await.expect("makes");
    Arc::new(store)
}

async fn append(
    store: &DiskStore,
    position: usize,
    bytes: Vec<u8>,
) -> Result<ObjectInfo, ObjectError> {
    let (options, body) = (PutOptions::default(), body_of(bytes));
    store.append("bucket", "log", position as u64, options, body).await
}

/// Keeps the writer busy until the sender is dropped.
async fn stand_still(
    store: &Arc<DiskStore>,
) -> (std::sync::mpsc::Sender<()>, JoinHandle<Result<(), ObjectError>>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let stand = move |_: &Connection| {
        began.send(()).expect("the test waits for it");
        wait.recv().expect_err("nothing is ever sent");
        Ok(Change::of(()))
    };
    let store = store.clone();
    let standing = tokio::spawn(async move { store.writer.write(stand).await });
    begun.await.expect("the writer comes to it");
    (go, standing)
}

/// Returns when so many changes wait for the writer.
async fn until_waiting(store: &DiskStore, count: usize) {
    while store.writer.waiting() < count {
        tokio::task::yield_now().await;
    }
}

/// Fails unless the object is these bytes and its sums are theirs.
async fn assert_log(store: &DiskStore, bytes: &[u8]) {
    let got = store.get("bucket", "log", GetOptions::default()).await.expect("gets");
    let info = got.info.clone();
    assert!(collect(got.body).await.expect("reads") == bytes);
    assert_eq!((info.size, info.crc64), (bytes.len() as u64, Some(Sum::of(bytes).crc64)));
}

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

#[tokio::test]
async fn an_append_has_its_turn_until_it_is_committed_although_its_sender_left() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    append(&store, 0, vec![1; LARGE]).await.expect("appends");
    let (go, standing) = stand_still(&store).await;
    let left = tokio::spawn({
        let store = store.clone();
        async move { append(&store, LARGE, vec![2; LARGE]).await }
    });
    until_waiting(&store, 1).await;
    left.abort();
    assert!(left.await.is_err_and(|error| error.is_cancelled()));
    let turn = store.append_lock("bucket", "log");
    assert!(turn.try_lock().is_err(), "its bytes are behind the object and not committed yet");
    drop(go);
    standing.await.expect("does not panic").expect("writes");
    let late = append(&store, LARGE, vec![3; LARGE]).await;
    assert!(matches!(late, Err(ObjectError::Refused { .. })), "{late:?}");
    assert_log(&store, &[vec![1; LARGE], vec![2; LARGE]].concat()).await;
}

/// The first append of an object has the ETag that a put of the same bytes has.
#[tokio::test]
async fn an_append_does_not_bring_back_the_file_of_an_object_that_was_put_anew() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    let before = append(&store, 0, vec![1; LARGE]).await.expect("appends");
    let (go, standing) = stand_still(&store).await;
    let put = tokio::spawn({
        let store = store.clone();
        let body = body_of(vec![1; LARGE]);
        async move { store.put("bucket", "log", PutOptions::default(), body).await }
    });
    until_waiting(&store, 1).await;
    let late = tokio::spawn({
        let store = store.clone();
        async move { append(&store, LARGE, vec![2; LARGE]).await }
    });
    until_waiting(&store, 2).await;
    drop(go);
    standing.await.expect("does not panic").expect("writes");
    let put = put.await.expect("does not panic").expect("puts");
    assert_eq!(put.etag, before.etag);
    let late = late.await.expect("does not panic");
    assert!(matches!(late, Err(ObjectError::Refused { .. })), "{late:?}");
    assert_log(&store, &[1; LARGE]).await;
}

#[tokio::test]
async fn headers_that_change_while_bytes_are_appended_stay_changed() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    append(&store, 0, vec![1; LARGE]).await.expect("appends");
    let (go, standing) = stand_still(&store).await;
    let headers: BTreeMap<_, _> = [("x-oss-object-acl".to_owned(), "private".to_owned())].into();
    let change = tokio::spawn({
        let (store, headers) = (store.clone(), headers.clone());
        let change = Box::new(|now: &mut BTreeMap<_, _>| *now = headers);
        async move { store.change_headers("bucket", "log", change).await }
    });
    until_waiting(&store, 1).await;
    let more = tokio::spawn({
        let store = store.clone();
        async move { append(&store, LARGE, vec![2; LARGE]).await }
    });
    until_waiting(&store, 2).await;
    drop(go);
    standing.await.expect("does not panic").expect("writes");
    change.await.expect("does not panic").expect("changes");
    assert_eq!(more.await.expect("does not panic").expect("appends").headers, headers);
    assert_log(&store, &[vec![1; LARGE], vec![2; LARGE]].concat()).await;
}
