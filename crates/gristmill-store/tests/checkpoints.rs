//! Checkpoints that are prepared while commits go on, and the log that is folded beside the writer.

mod common;

use common::{JOB, batch, ended, ended_of, open, task};
use gristmill_model::{Event, InstanceNo, JobId, Timestamp};
use gristmill_store::{Checkpoint, Prepared, Store};
use std::{fs, thread, time::Duration};

/// How large the write-ahead log may be when it is folded all the time.
const LOG_BYTES_MAX: u64 = 12 << 20;

fn runs_of(store: &Store, job: JobId, instance: u32) -> Vec<u64> {
    let attempts = store.readers().attempts(job, &task(), InstanceNo(instance)).expect("read");
    attempts.iter().map(|attempt| attempt.run.0).collect()
}

fn prepare(store: &mut Store) -> Prepared {
    let begun = store.begin_checkpoint();
    let through = begun.through();
    begun.prepare(Checkpoint { through, ..Checkpoint::default() }).expect("prepared")
}

#[test]
fn commits_go_on_while_a_checkpoint_is_prepared() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    store.commit(&batch(&[ended(1, 7)], &[])).expect("committed");
    let prepared = prepare(&mut store);
    store.commit(&batch(&[ended(2, 7)], &[])).expect("committed");
    assert_eq!((runs_of(&store, JOB, 7), store.attempts_since_checkpoint()), (vec![1, 2], 1));
    store.write_checkpoint(&prepared).expect("written");
    assert_eq!((runs_of(&store, JOB, 7), store.attempts_since_checkpoint()), (vec![1, 2], 1));
    drop(store);
    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.events, [ended(2, 7)]);
    assert_eq!(runs_of(&store, JOB, 7), [1, 2]);
}

#[test]
fn a_checkpoint_that_is_never_written_is_part_of_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    store.commit(&batch(&[ended(1, 7)], &[])).expect("committed");
    drop(prepare(&mut store));
    store.commit(&batch(&[ended(2, 7)], &[])).expect("committed");
    let prepared = prepare(&mut store);
    store.write_checkpoint(&prepared).expect("written");
    drop(store);
    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.events, []);
    assert_eq!(runs_of(&store, JOB, 7), [1, 2]);
}

#[test]
fn of_a_job_that_is_deleted_meanwhile_nothing_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let (gone, stays) = (JobId(1), JobId(2));
    let both = [ended_of(gone, 1, 7), ended_of(stays, 2, 7)];
    store.commit(&batch(&both, &[])).expect("committed");
    let prepared = prepare(&mut store);
    let deleted = [Event::JobDeleted { job: gone }];
    store.commit(&batch(&deleted, &[])).expect("committed");
    store.purge(100).expect("done");
    store.write_checkpoint(&prepared).expect("written");
    assert_eq!((runs_of(&store, gone, 7).len(), runs_of(&store, stays, 7)), (0, vec![2]));

    // The same for one that was begun before and never written.
    store.commit(&batch(&[ended_of(stays, 3, 8)], &[])).expect("committed");
    drop(prepare(&mut store));
    let deleted = [Event::JobDeleted { job: stays }];
    store.commit(&batch(&deleted, &[])).expect("committed");
    store.purge(100).expect("done");
    let prepared = prepare(&mut store);
    store.write_checkpoint(&prepared).expect("written");
    assert!(runs_of(&store, stays, 8).is_empty());
}

#[test]
fn the_log_stays_small_while_commits_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let log = dir.path().join("gristmill.db-wal");
    for round in 0..60_u64 {
        // Some 300 KB that are no attempts.
        let change = |priority| Event::JobPriorityChanged { job: JOB, priority, at: Timestamp(1) };
        let events: Vec<_> = (0..3_000).map(change).collect();
        store.commit(&batch(&events, &[])).expect("committed");
        if round % 5 == 0 {
            let prepared = prepare(&mut store);
            store.write_checkpoint(&prepared).expect("written");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let bytes = fs::metadata(&log).expect("there is a log").len();
    assert!(bytes < LOG_BYTES_MAX, "the log has {bytes} bytes");
}
