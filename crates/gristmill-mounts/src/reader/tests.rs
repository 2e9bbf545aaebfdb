//! Open files read across faults, changes and a small budget.

use super::*;
use crate::{
    budget::BUDGET_MIN,
    testing::{BUCKET, Faults, FaultyStore, pattern},
};
use gristmill_objects::ObjectStore;
use std::sync::atomic::AtomicBool;

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;

fn readers(store: &Arc<FaultyStore>, budget: u64) -> Readers {
    Readers::new(store.remote(), Budget::new(budget), Handle::current())
}

async fn open(readers: &Readers, store: &Arc<FaultyStore>, key: &str, body: &[u8]) -> Arc<Reader> {
    let info = store.fill(key, body.to_vec()).await;
    let version = Version {
        bucket: BUCKET.into(),
        key: key.into(),
        etag: info.etag.as_str().into(),
        size: info.size,
    };
    readers.get(readers.open(version)).expect("just opened")
}

async fn read(reader: &Arc<Reader>, offset: u64, size: u64) -> Result<Vec<u8>, Arc<ObjectError>> {
    let prepared = reader.prepare(offset, size);
    let pieces = match prepared.now() {
        Some(pieces) => pieces?,
        None => prepared.wait().await?,
    };
    Ok(pieces.bytes.concat())
}

async fn read_all(reader: &Arc<Reader>, body: &[u8], step: u64) {
    for offset in (0..body.len() as u64).step_by(step as usize) {
        let got = read(reader, offset, step).await.expect("readable");
        let end = (offset + step).min(body.len() as u64);
        assert!(got == body[offset as usize..end as usize], "at {offset}");
    }
}

#[tokio::test]
async fn a_small_object_is_one_request_however_it_is_read() {
    let (store, body) = (FaultyStore::new(), pattern(900_000));
    let readers = readers(&store, 256 * MB);
    let reader = open(&readers, &store, "small", &body).await;
    read_all(&reader, &body, 128 * KB).await;
    assert_eq!(store.gets.load(Relaxed), 1);
    assert_eq!(readers.budget().used(), 0, "nothing is kept");
    assert_eq!(read(&reader, 900_000, 10).await.expect("beyond the end"), b"");
    let empty = open(&readers, &store, "empty", b"").await;
    assert_eq!(read(&empty, 0, 4096).await.expect("empty"), b"");
    assert_eq!(store.gets.load(Relaxed), 1);
}

#[tokio::test]
async fn a_large_object_is_read_in_large_requests() {
    let (store, body) = (FaultyStore::new(), pattern(64 << 20));
    let readers = readers(&store, 256 * MB);
    let reader = open(&readers, &store, "large", &body).await;
    read_all(&reader, &body, 128 * KB).await;
    let gets = store.gets.load(Relaxed);
    assert!(gets <= 16, "{gets} requests for 64 MiB");
    let bytes = readers.context.remote.meter().bytes_read.load(Relaxed);
    assert_eq!(bytes, 64 << 20, "nothing is fetched twice");
    assert!(readers.budget().peak() <= 256 * MB);
}

#[tokio::test]
async fn random_reads_fetch_at_most_sixteen_times_what_they_ask() {
    let (store, body) = (FaultyStore::new(), pattern(100 << 20));
    let readers = readers(&store, 256 * MB);
    let reader = open(&readers, &store, "large", &body).await;
    let mut state = 1_u64;
    for _ in 0..500 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        let offset = (state >> 12) % ((100 << 20) / 4096) * 4096;
        let got = read(&reader, offset, 4096).await.expect("readable");
        assert!(got == body[offset as usize..offset as usize + 4096], "at {offset}");
    }
    let bytes = readers.context.remote.meter().bytes_read.load(Relaxed);
    assert!(bytes <= 16 * 500 * 4096, "{bytes} bytes");
}

#[tokio::test]
async fn faults_and_short_bodies_are_not_seen_by_the_program() {
    let (store, body) = (FaultyStore::new(), pattern((20 << 20) + 77));
    store.set(Faults { errors_percent: 10, short_percent: 30, ..Faults::default() });
    let readers = readers(&store, 64 * MB);
    let reader = open(&readers, &store, "large", &body).await;
    read_all(&reader, &body, 128 * KB).await;
    assert!(readers.context.remote.meter().retries.load(Relaxed) > 0);
}

#[tokio::test]
async fn a_body_that_stalls_is_asked_for_again() {
    let (store, body) = (FaultyStore::new(), pattern(3 << 20));
    store.set(Faults { stall_percent: 40, ..Faults::default() });
    let readers = readers(&store, 64 * MB);
    let reader = open(&readers, &store, "large", &body).await;
    read_all(&reader, &body, 128 * KB).await;
    assert!(readers.context.remote.meter().retries.load(Relaxed) > 0);
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_never_mixed() {
    let (store, body) = (FaultyStore::new(), pattern(32 << 20));
    let readers = readers(&store, 256 * MB);
    let reader = open(&readers, &store, "large", &body).await;
    assert!(read(&reader, 0, 64 * KB).await.expect("readable") == body[..64 << 10]);
    store.fill("large", pattern((32 << 20) - 1)).await;
    for offset in [16 * MB, 0, 31 * MB] {
        let error = read(&reader, offset, 4096).await;
        match error {
            Err(error) => assert!(matches!(*error, ObjectError::Changed { .. }), "{error}"),
            Ok(got) => assert!(got == body[offset as usize..offset as usize + 4096]),
        }
    }
    store.inner.delete(BUCKET, "large").await.expect("deleted");
    let error = read(&reader, 24 * MB, 4096).await.expect_err("gone");
    assert!(matches!(*error, ObjectError::Changed { .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_is_an_error_at_once() {
    let (store, body) = (FaultyStore::new(), pattern(5 << 20));
    let readers = readers(&store, 64 * MB);
    let reader = open(&readers, &store, "secret", &body).await;
    store.set(Faults { denied: Some("secret".to_owned()), ..Faults::default() });
    let error = read(&reader, 0, 4096).await.expect_err("denied");
    assert!(matches!(*error, ObjectError::Denied { .. }), "{error}");
    assert_eq!(store.gets.load(Relaxed), 1);
    store.set(Faults::default());
    read_all(&reader, &body, MB).await;
}

#[tokio::test]
async fn sixty_four_readers_keep_to_the_budget() {
    let (store, body) = (FaultyStore::new(), Arc::new(pattern(6 << 20)));
    let readers = Arc::new(readers(&store, 32 * MB));
    let over = Arc::new(AtomicBool::new(false));
    let tasks = (0..64).map(|number| {
        let (store, readers, body, over) =
            (store.clone(), readers.clone(), body.clone(), over.clone());
        tokio::spawn(async move {
            let reader = open(&readers, &store, &format!("f-{number}"), &body).await;
            for offset in (0..6 * MB).step_by(128 << 10) {
                let got = read(&reader, offset, 128 * KB).await.expect("readable");
                assert!(got == body[offset as usize..(offset + 128 * KB) as usize]);
                over.fetch_or(readers.budget().used() > 32 * MB, Relaxed);
                tokio::task::yield_now().await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no reader failed");
    }
    assert!(!over.load(Relaxed) && readers.budget().peak() <= 32 * MB);
}

#[tokio::test]
async fn files_held_open_do_not_starve_a_read() {
    let (store, body) = (FaultyStore::new(), pattern(2 << 20));
    let readers = readers(&store, BUDGET_MIN);
    let mut idle = vec![];
    for number in 0..300 {
        let reader = open(&readers, &store, &format!("f-{number}"), &body).await;
        read(&reader, 0, 4096).await.expect("readable");
        idle.push(reader);
    }
    assert!(readers.budget().used() <= BUDGET_MIN);
    let last = open(&readers, &store, "last", &body).await;
    read_all(&last, &body, MB).await;
}

#[tokio::test]
async fn wrong_bytes_of_a_large_object_are_noticed_at_its_end() {
    let (store, body) = (FaultyStore::new(), pattern(5 << 20));
    let readers = readers(&store, 64 * MB);
    let reader = open(&readers, &store, "large", &body).await;
    read_all(&reader, &body, 128 * KB).await;
    let mut state = reader.state();
    assert_eq!((state.check.next, state.check.of_store), (5 * MB, Some(state.check.crc)));
    state.check.crc ^= 1;
    drop(state);
    let error = reader.check_whole().expect_err("the sums differ");
    assert!(matches!(*error, ObjectError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn later_reads_do_not_take_the_bytes_of_one_that_waits() {
    let (store, body) = (FaultyStore::new(), pattern(16 << 20));
    let readers = readers(&store, 256 * MB);
    let reader = open(&readers, &store, "large", &body).await;
    read(&reader, 0, 128 * KB).await.expect("readable");
    let waiting = reader.prepare(128 * KB, 128 * KB);
    for offset in (1..40).map(|step| 128 * KB + step * 128 * KB) {
        read(&reader, offset, 128 * KB).await.expect("readable");
    }
    let pieces = waiting.wait().await.expect("still there");
    assert!(pieces.bytes.concat() == body[128 << 10..256 << 10]);
}

#[tokio::test]
async fn closing_a_file_stops_its_requests_and_frees_its_memory() {
    let (store, body) = (FaultyStore::new(), pattern(64 << 20));
    let readers = readers(&store, 256 * MB);
    let reader = open(&readers, &store, "large", &body).await;
    for offset in 0..10 {
        read(&reader, offset * MB, MB).await.expect("readable");
    }
    assert!(readers.budget().used() > 0);
    drop(reader);
    readers.close(1);
    while readers.budget().used() > 0 {
        tokio::task::yield_now().await;
    }
}
