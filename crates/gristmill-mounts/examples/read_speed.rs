//! How fast a mount reads from a store in memory, beside the store alone:
//! `unshare -m cargo run --release -p gristmill-mounts --example read_speed`.
//!
//! Store, mount and reader share one process, so the figures are for comparing two builds of the
//! mount with each other, in the same minute. Only ratios mean anything.

use bytes::Bytes;
use futures::{StreamExt, stream};
use gristmill_model::Timestamp;
use gristmill_mounts::{
    Source, SourceKind,
    mounter::{MEMORY_BUDGET_DEFAULT, Mounted, MounterSpec},
};
use gristmill_objects::{GetOptions, ObjectStore, PutOptions, memory::MemoryStore};
use nix::sys::resource::{UsageWho, getrusage};
use std::{
    fs::File, io::Read, os::unix::fs::FileExt, path::Path, sync::Arc, thread, time::Instant,
};

const MIB: usize = 1 << 20;
const LARGE: usize = 1 << 30;
const SMALL_COUNT: usize = 5_000;
const RANDOM_COUNT: u64 = 2_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let store = Arc::new(MemoryStore::with_bucket(Arc::new(|| Timestamp(1_000_000)), "bkt"));
    runtime.block_on(fill(&store));
    let place = tempfile::tempdir().expect("a directory");
    for round in 0..3 {
        println!("round {round}");
        report("store alone, 1 GiB", LARGE, || runtime.block_on(drain(&store)));
        let spec = MounterSpec {
            sources: vec![Source {
                bucket: "bkt".to_owned(),
                key: String::new(),
                kind: SourceKind::Prefix,
            }],
            mount_point: place.path().to_owned(),
            locale: "UTF-8".to_owned(),
            lock: false,
            uid: 0,
            gid: 0,
            memory_budget: MEMORY_BUDGET_DEFAULT,
        };
        let mounted = runtime.block_on(Mounted::start(&spec, store.clone())).expect("mounted");
        let large = place.path().join("0/large");
        let fetched =
            || mounted.meter().bytes_read.load(std::sync::atomic::Ordering::Relaxed) >> 20;
        report("mount, 1 GiB", LARGE, || sequential(&large));
        println!("  {} MiB fetched", fetched());
        report("mount, 1 GiB again", LARGE, || sequential(&large));
        println!("  {} MiB fetched", fetched());
        report("5,000 x 16 KiB", SMALL_COUNT * (16 << 10), || small(place.path(), 1));
        report("5,000 x 16 KiB, 16 threads", SMALL_COUNT * (16 << 10), || small(place.path(), 16));
        println!("  {} MiB fetched", fetched());
        report("random 4 KiB reads", RANDOM_COUNT as usize * 4096, || {
            random(&place.path().join("0/random"))
        });
        println!("  {} MiB fetched", fetched());
        let report = runtime.block_on(mounted.stop());
        println!("  {report:?}");
    }
}

async fn fill(store: &MemoryStore) {
    let chunk: Bytes = (0..MIB).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<u8>>().into();
    let body = stream::iter(vec![chunk.clone(); LARGE / MIB]).map(Ok).boxed();
    store.put("bkt", "large", PutOptions::default(), body).await.expect("memory takes it");
    let body = stream::iter(vec![chunk.clone(); LARGE / MIB]).map(Ok).boxed();
    store.put("bkt", "random", PutOptions::default(), body).await.expect("memory takes it");
    for number in 0..SMALL_COUNT {
        let body = stream::iter([Ok(chunk.slice(..16 << 10))]).boxed();
        let key = format!("small/{number}");
        store.put("bkt", &key, PutOptions::default(), body).await.expect("memory takes it");
    }
}

async fn drain(store: &MemoryStore) {
    let mut body =
        store.get("bkt", "large", GetOptions::default()).await.expect("it is there").body;
    let mut sink = vec![0; MIB];
    while let Some(chunk) = body.next().await {
        let chunk = chunk.expect("memory does not fail");
        sink[..chunk.len()].copy_from_slice(&chunk); // a reader gets a copy too
    }
}

fn sequential(path: &Path) {
    let mut file = File::open(path).expect("opens");
    let mut buffer = vec![0; MIB];
    while file.read(&mut buffer).expect("readable") > 0 {}
}

fn random(path: &Path) {
    let file = File::open(path).expect("opens");
    let mut state = 5_u64;
    for _ in 0..RANDOM_COUNT {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let offset = (state >> 20) % (LARGE as u64 / 4096) * 4096;
        file.read_exact_at(&mut [0; 4096], offset).expect("readable");
    }
}

fn small(place: &Path, threads: usize) {
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for number in (thread..SMALL_COUNT).step_by(threads) {
                    let path = place.join(format!("0/small/{number}"));
                    assert_eq!(std::fs::read(path).expect("readable").len(), 16 << 10);
                }
            });
        }
    });
}

fn report(what: &str, bytes: usize, work: impl FnOnce()) {
    let (since, before) = (Instant::now(), cpu_seconds());
    work();
    let seconds = since.elapsed().as_secs_f64();
    let rate = bytes as f64 / 1e6 / seconds;
    let cpu = cpu_seconds() - before;
    println!("  {what:28} {rate:8.0} MB/s  {seconds:6.2} s  {cpu:6.2} CPU s");
}

fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("it is us");
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
