//! No space left: writes are refused with a clear error, reads go on, nothing is lost, and the
//! store works on as soon as there is space again.
//!
//! Tested twice: with the limit of the operator (everywhere), and on a file system that is really
//! full (where a private mount namespace is possible; the test starts itself again in one).

mod common;

use common::{JOB, batch, ended, open, task};
use gristmill_model::{Event, InstanceNo, RunId};
use gristmill_store::{Checkpoint, Retry, Store, StoreError, StoreOptions};
use std::{env, fs, path::Path, process::Command};

const CHILD: &str = "GRISTMILL_TEST_FULL_DIR";

fn attempts(after: u64) -> Vec<Event> {
    (after + 1..=after + 20).map(|run| ended(run, run as u32)).collect()
}

/// Commits until there is no space; returns how many events were acknowledged.
fn fill(store: &mut Store) -> u64 {
    let mut last = store.last_seq().0;
    for _ in 0..100_000 {
        match store.commit(&batch(&attempts(last), &[])) {
            Ok(committed) => last = committed.last_seq.0,
            Err(error) => {
                assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
                assert_eq!(error.retry(), Retry::Later);
                assert_eq!(store.last_seq().0, last);
                return last;
            }
        }
    }
    panic!("the disk never became full");
}

/// The last acknowledged run is there, the refused one is not.
fn reads_go_on(store: &Store, last: u64) {
    let at = |run: u64| {
        let instance = InstanceNo(run as u32);
        store.readers().last_attempt(JOB, &task(), instance).expect("reads go on")
    };
    assert_eq!(at(last).expect("acknowledged").run, RunId(last));
    assert_eq!(at(last + 1), None);
}

#[test]
fn at_the_limit_writes_are_refused_and_work_again_after_a_checkpoint() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = StoreOptions { size_bytes_max: Some(1 << 20), ..StoreOptions::default() };
    let (mut store, _) = Store::open(dir.path(), &options).expect("opens");
    let last = fill(&mut store);
    assert!(last > 100, "{last}");
    reads_go_on(&store, last);
    assert_eq!(fill(&mut store), last, "refused again, still the same");

    let through = store.last_seq();
    store.checkpoint(&Checkpoint { through, ..Checkpoint::default() }).expect("frees the journal");
    let more = store.commit(&batch(&attempts(last), &[])).expect("there is space again");
    assert_eq!(more.last_seq.0, last + 20);
    drop(store);

    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.events, attempts(last));
    reads_go_on(&store, last + 20);
}

#[test]
fn on_a_full_disk_writes_are_refused_and_work_again_with_space() {
    if let Some(dir) = env::var_os(CHILD) {
        return fill_a_real_disk(Path::new(&dir));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let script = r#"mount -t tmpfs -o size=3m,mode=700 none "$0" || exit 77
        exec "$1" --exact on_a_full_disk_writes_are_refused_and_work_again_with_space --nocapture"#;
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(dir.path())
        .arg(env::current_exe().expect("this test"))
        .env(CHILD, dir.path())
        .output();
    let Ok(child) = child else {
        return eprintln!("left out: no `unshare` here; the limit is tested above");
    };
    let words = String::from_utf8_lossy(&child.stdout).into_owned();
    let began = words.contains("running 1 test");
    if !began {
        return eprintln!("left out: no private mount here; the limit is tested above");
    }
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(words.contains("the real disk was full"), "{words}{errors}");
    assert!(child.status.success(), "{words}{errors}");
}

fn fill_a_real_disk(dir: &Path) {
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).expect("there is space");
    let (mut store, _) = open(dir);
    let last = fill(&mut store);
    assert!(fs::write(dir.join("more"), vec![1; 1 << 20]).is_err(), "the disk is full");
    fs::remove_file(dir.join("more")).expect("removed");
    reads_go_on(&store, last);
    assert_eq!(fill(&mut store), last, "refused again, still the same");
    drop(store);
    let (mut store, _) = open(dir);
    reads_go_on(&store, last);
    assert_eq!(fill(&mut store), last, "a restart on the full disk loses nothing");
    println!("the real disk was full after {last} events");

    fs::remove_file(ballast).expect("removed");
    let more = store.commit(&batch(&attempts(last), &[])).expect("there is space again");
    drop(store);
    let (store, recovered) = open(dir);
    assert_eq!(recovered.events.len() as u64, last + 20);
    reads_go_on(&store, more.last_seq.0);
}
