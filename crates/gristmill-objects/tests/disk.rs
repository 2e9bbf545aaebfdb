//! What is special about the disk store: it survives, cleans up, and stays fast with many keys.

use futures::StreamExt;
use gristmill_model::{AccountId, Timestamp};
use gristmill_objects::{disk::DiskStore, *};
use std::{
    fs::Permissions,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

const BUCKET: &str = "bucket";
/// Bytes that do not fit into the database.
const LARGE: usize = 100_000;

fn open(directory: &Path) -> DiskStore {
    DiskStore::open(directory, Arc::new(|| Timestamp(1))).expect("opens")
}

async fn open_with_bucket(directory: &Path) -> DiskStore {
    let store = open(directory);
    store.create_bucket(BUCKET, AccountId(1), BucketAcl::Private).await.expect("makes");
    store
}

async fn put(store: &DiskStore, key: &str, bytes: Vec<u8>) -> Result<ObjectInfo, ObjectError> {
    store.put(BUCKET, key, PutOptions::default(), body_of(bytes)).await
}

async fn read(store: &DiskStore, key: &str) -> Vec<u8> {
    let got = store.get(BUCKET, key, GetOptions::default()).await.expect("gets");
    collect(got.body).await.expect("reads").to_vec()
}

fn data_files(directory: &Path) -> usize {
    let below = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    below(&directory.join("data")).flat_map(|entry| below(&entry.path())).count()
}

/// Waits until the reaper or the sweeper is done: exactly `count` data files are left.
fn wait_for_data_files(directory: &Path, count: usize) {
    for _ in 0..2_000 {
        if data_files(directory) == count {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{} data files instead of {count}", data_files(directory));
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    put(&store, "small", vec![1; 10]).await.expect("puts");
    let before = put(&store, "large", vec![2; LARGE]).await.expect("puts");
    let upload = store.create_upload(BUCKET, "k", PutOptions::default()).await.expect("begins");
    let options = PutOptions::default();
    store.put_part(BUCKET, "k", &upload, 1, options, body_of("part")).await.expect("puts");
    drop(store);
    let store = open(directory.path());
    assert_eq!(read(&store, "small").await, vec![1; 10]);
    assert_eq!(read(&store, "large").await, vec![2; LARGE]);
    assert_eq!(store.head(BUCKET, "large").await.expect("heads"), before);
    let parts = store.list_parts(BUCKET, "k", &upload, 0, 10).await.expect("lists").parts;
    assert_eq!(parts.len(), 1);
}

#[tokio::test]
async fn only_its_owner_looks_into_a_store() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let place = directory.path().join("objects");
    let mode = || std::fs::metadata(&place).expect("is there").permissions().mode() & 0o777;
    drop(open(&place));
    assert_eq!(mode(), 0o700);
    std::fs::set_permissions(&place, Permissions::from_mode(0o755)).expect("ours");
    drop(open(&place));
    assert_eq!(mode(), 0o700, "also of one that was made with a wider mode");
}

#[tokio::test]
async fn a_store_is_opened_once() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let _store = open(directory.path());
    let second = DiskStore::open(directory.path(), Arc::new(|| Timestamp(1)));
    let error = second.err().expect("the second opening is refused").to_string();
    assert!(error.contains("lock"), "{error}");
}

#[test]
fn a_lock_that_is_let_go_in_a_moment_is_waited_for() {
    let directory = tempfile::tempdir().expect("makes a directory");
    // As a child of an earlier process has it that was forked and has not executed its program.
    let inherited = std::fs::File::create(directory.path().join("lock")).expect("makes a file");
    inherited.lock().expect("nobody has it");
    let later = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(40));
        drop(inherited);
    });
    open(directory.path());
    later.join().expect("it only waits");
}

#[tokio::test]
async fn replaced_and_deleted_bytes_leave_the_disk() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    for n in 0..5 {
        put(&store, "same", vec![n; LARGE]).await.expect("puts");
    }
    wait_for_data_files(directory.path(), 1);
    let mut reader = store.get(BUCKET, "same", GetOptions::default()).await.expect("gets").body;
    store.delete(BUCKET, "same").await.expect("deletes");
    reader.next().await.expect("has bytes").expect("reads");
    drop(reader);
    wait_for_data_files(directory.path(), 0);
}

#[tokio::test]
async fn an_upload_whose_sender_leaves_leaves_nothing() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = Arc::new(open_with_bucket(directory.path()).await);
    let sent = futures::stream::iter([Ok(vec![0; 3_000_000].into())]);
    let body = sent.chain(futures::stream::pending()).boxed();
    let task = tokio::spawn({
        let store = store.clone();
        async move { store.put(BUCKET, "key", PutOptions::default(), body).await }
    });
    while data_files(directory.path()) == 0 {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()));
    wait_for_data_files(directory.path(), 0);
    assert!(matches!(store.head(BUCKET, "key").await, Err(ObjectError::NoSuchKey { .. })));
}

#[tokio::test]
async fn files_a_crash_left_behind_are_swept() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    put(&store, "kept", vec![7; LARGE]).await.expect("puts");
    drop(store);
    let home = std::fs::read_dir(directory.path().join("data")).expect("lists").flatten().next();
    let orphan = home.expect("has a directory").path().join("0000010000000fff");
    std::fs::write(&orphan, "bytes no row names").expect("writes");
    let store = open(directory.path());
    wait_for_data_files(directory.path(), 1);
    assert!(!orphan.exists());
    assert_eq!(read(&store, "kept").await, vec![7; LARGE]);
}

#[tokio::test]
async fn puts_to_one_key_from_many_sides_end_with_one_whole_object() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    let puts = (0..40u8).map(|n| put(&store, "same", vec![n; 30_000 + usize::from(n)]));
    for outcome in futures::future::join_all(puts).await {
        outcome.expect("puts");
    }
    let bytes = read(&store, "same").await;
    assert_eq!(bytes, vec![bytes[0]; 30_000 + usize::from(bytes[0])]);
    wait_for_data_files(directory.path(), 1);
}

#[tokio::test]
async fn appends_from_many_sides_lose_nothing() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    let append_until_done = async |n: u8| {
        loop {
            let position = store.head(BUCKET, "log").await.map_or(0, |info| info.size);
            let (options, body) = (PutOptions::default(), body_of(vec![n; 9_000]));
            match store.append(BUCKET, "log", position, options, body).await {
                Ok(_) => return,
                Err(ObjectError::Refused { code, .. }) => {
                    assert_eq!(code, "PositionNotEqualToLength");
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    futures::future::join_all((0..12).map(append_until_done)).await;
    let bytes = read(&store, "log").await;
    let info = store.head(BUCKET, "log").await.expect("heads");
    assert_eq!(info.crc64, Some(Sum::of(&bytes).crc64));
    let mut pieces: Vec<u8> = bytes.chunks(9_000).map(|piece| piece[0]).collect();
    assert!(bytes.chunks(9_000).all(|piece| piece.iter().all(|byte| *byte == piece[0])));
    pieces.sort();
    assert_eq!(pieces, (0..12).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_hundred_thousand_keys_are_listed_by_seeking() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = open_with_bucket(directory.path()).await;
    let keys: Vec<String> = (0..100_000).map(|n| format!("dir-{}/{n:06}", n % 4)).collect();
    for some in keys.chunks(5_000) {
        let puts = some.iter().map(|key| put(&store, key, vec![]));
        assert!(futures::future::join_all(puts).await.iter().all(Result::is_ok));
    }
    let options = ListOptions {
        prefix: String::new(),
        delimiter: Some("/".into()),
        after: String::new(),
        keys_max: 1000,
    };
    let top = store.list(BUCKET, options.clone()).await.expect("lists");
    assert_eq!(top.common_prefixes, ["dir-0/", "dir-1/", "dir-2/", "dir-3/"]);
    assert!(top.next.is_none() && top.objects.is_empty());
    let (mut found, mut after) = (vec![], Some(String::new()));
    while let Some(from) = after {
        let options = ListOptions { delimiter: None, after: from, ..options.clone() };
        let page = store.list(BUCKET, options).await.expect("lists");
        found.extend(page.objects.into_iter().map(|object| object.key));
        after = page.next;
    }
    let mut sorted = keys;
    sorted.sort();
    assert!(found == sorted, "{} keys listed", found.len());
}

/// The process that [`what_was_answered_survives_a_kill`] kills: that test, called by itself.
async fn put_for_ever(directory: &Path) {
    let store = open_with_bucket(directory).await;
    for n in 0.. {
        let size = if n % 2 == 0 { 100 } else { LARGE };
        let keys: Vec<String> = (0..8).map(|k| format!("key-{k}")).collect();
        let puts = keys.iter().map(|key| put(&store, key, vec![n as u8; size]));
        assert!(futures::future::join_all(puts).await.iter().all(Result::is_ok));
        println!("\nacknowledged {n}");
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    if let Ok(directory) = std::env::var("GRISTMILL_TEST_DIRECTORY") {
        return put_for_ever(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().expect("makes a directory");
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().expect("is a file"))
            .args(["--exact", "what_was_answered_survives_a_kill", "--nocapture"])
            .env("GRISTMILL_TEST_DIRECTORY", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let numbers = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let last = numbers.take(20 + round).last().expect("acknowledges");
        child.kill().expect("is killed");
        child.wait().expect("ends");
        let store = open(directory.path());
        for k in 0..8 {
            let bytes = read(&store, &format!("key-{k}")).await;
            let (n, size) = (bytes[0], bytes.len());
            assert!(bytes.iter().all(|byte| *byte == n), "half an object");
            assert!(size == if n % 2 == 0 { 100 } else { LARGE }, "{n} has {size} bytes");
            assert!(n.wrapping_sub(last as u8) < 100, "{n} is older than {last}");
        }
    }
}
