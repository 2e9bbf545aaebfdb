//! The books: checkpoints, the outbox, the read tables, and what is refused at the door.

mod common;

use common::{JOB, WORKER, batch, ended, ended_of, every_outcome, open, task, wish};
use gristmill_model::{
    AccountId, ClusterId, Event, FinishedRun, InstanceNo, JobId, RunId, RunOutcome, TaskName,
    Timestamp, event::AfterRun,
};
use gristmill_store::{
    Batch, Checkpoint, HistoryQuery, HistoryRow, Later, Purged, Retry, Seq, Store, StoreError,
    StoreOptions,
};
use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, thread};

fn entity(key: &str, value: &str) -> (String, Vec<u8>) {
    (key.to_owned(), value.as_bytes().to_vec())
}

fn priorities(range: std::ops::RangeInclusive<u16>) -> Vec<Event> {
    let at = Timestamp(1);
    range.map(|priority| Event::JobPriorityChanged { job: JOB, priority, at }).collect()
}

#[test]
fn what_the_journal_holds_is_known_until_a_checkpoint_begins() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    assert_eq!(store.journal_bytes_since_checkpoint(), 0);
    store.commit(&batch(&priorities(1..=5), &[])).expect("committed");
    let one = store.journal_bytes_since_checkpoint();
    store.commit(&batch(&priorities(6..=7), &[])).expect("committed");
    let both = store.journal_bytes_since_checkpoint();
    assert!(0 < one && one < both, "{one} {both}");
    drop(store);

    let (mut store, _) = open(dir.path());
    assert_eq!(store.journal_bytes_since_checkpoint(), both, "a restart counts what it read");
    let through = store.last_seq();
    store.checkpoint(&Checkpoint { through, ..Checkpoint::default() }).expect("taken");
    assert_eq!(store.journal_bytes_since_checkpoint(), 0);
}

#[test]
fn a_restart_is_the_checkpoint_and_what_came_after_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    store.commit(&batch(&priorities(1..=5), &[])).expect("committed");
    let first = Checkpoint {
        upserts: vec![entity("job/a", "1"), entity("job/b", "1"), entity("job/c", "1")],
        through: Seq(3),
        ..Checkpoint::default()
    };
    store.checkpoint(&first).expect("taken");
    store.commit(&batch(&priorities(6..=7), &[])).expect("committed");
    drop(store);

    let (mut store, recovered) = open(dir.path());
    assert_eq!(recovered.entities, first.upserts);
    assert_eq!(recovered.events, priorities(4..=7));
    assert_eq!((recovered.through, recovered.next_seq), (Seq(3), Seq(8)));

    let second = Checkpoint {
        later: vec![("job/b".into(), Later(Arc::new(|| b"2".to_vec())))],
        deletes: vec!["job/a".into(), "never there".into()],
        through: Seq(7),
        ..Checkpoint::default()
    };
    store.checkpoint(&second).expect("taken");
    store.checkpoint(&second).expect("a second time is harmless");
    drop(store);

    let (mut store, recovered) = open(dir.path());
    assert_eq!(recovered.entities, vec![entity("job/b", "2"), entity("job/c", "1")]);
    assert_eq!(recovered.events, []);
    assert_eq!(recovered.next_seq, Seq(8), "numbers go on although the journal is empty");
    let committed = store.commit(&batch(&priorities(8..=8), &[])).expect("committed");
    assert_eq!(committed.last_seq, Seq(8));
}

/// Puts the journal into the form in which release 0.1.0 wrote it: a row for each event.
fn as_0_1_0_wrote(dir: &std::path::Path) {
    let events = open(dir).1.events;
    let database = rusqlite::Connection::open(dir.join("gristmill.db")).expect("opens");
    let first: Option<i64> =
        database.query_row("SELECT min(seq) FROM batch", [], |row| row.get(0)).expect("a row");
    for (seq, event) in (first.expect("there are batches")..).zip(&events) {
        let record = serde_json::to_string(event).expect("events can be written");
        let row = rusqlite::params![seq, record];
        database.execute("INSERT INTO journal VALUES (?1, 0, 1, ?2)", row).expect("written");
    }
    database.execute("DELETE FROM batch", []).expect("deleted");
}

#[test]
fn a_checkpoint_cuts_a_long_journal_in_steps() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    store.commit(&batch(&priorities(1..=7), &[])).expect("committed");
    drop(store);
    as_0_1_0_wrote(dir.path());
    let (mut store, recovered) = open(dir.path());
    assert_eq!(recovered.events, priorities(1..=7), "rows of the first release are read");
    store.commit(&batch(&priorities(8..=49_999), &[])).expect("committed");
    store.commit(&batch(&priorities(50_000..=50_010), &[])).expect("committed");
    let through = Seq(49_999);
    store.checkpoint(&Checkpoint { through, ..Checkpoint::default() }).expect("taken");
    drop(store);
    let database = rusqlite::Connection::open(dir.path().join("gristmill.db")).expect("opens");
    let rows: (i64, i64) = database
        .query_row(
            "SELECT (SELECT count(*) FROM journal), (SELECT min(seq) FROM batch)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a row");
    assert_eq!(rows, (0, 50_000));
    let (_, recovered) = open(dir.path());
    assert_eq!(recovered.events, priorities(50_000..=50_010));
}

#[test]
fn a_checkpoint_outside_the_books_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    store.commit(&batch(&priorities(1..=5), &[])).expect("committed");
    store.checkpoint(&Checkpoint { through: Seq(4), ..Checkpoint::default() }).expect("taken");
    for through in [3, 6] {
        let checkpoint = Checkpoint { through: Seq(through), ..Checkpoint::default() };
        let error = store.checkpoint(&checkpoint).expect_err("refused");
        assert!(matches!(error, StoreError::OutOfOrder { oldest: 4, newest: 5, .. }), "{error}");
    }
    assert_eq!((store.checkpointed(), store.last_seq()), (Seq(4), Seq(5)));
}

#[test]
fn effects_are_handed_out_again_until_they_are_done() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let ids = store.commit(&batch(&[], &[wish(1), wish(2), wish(3)])).expect("ok").effect_ids;
    store.effects_done(&[ids[0], ids[2]]).expect("noted");
    store.effects_done(&[ids[0]]).expect("a second time is harmless");
    drop(store);

    let (mut store, recovered) = open(dir.path());
    assert_eq!(recovered.outbox, vec![(ids[1], wish(2))]);
    store.effects_done(&[ids[1]]).expect("noted");
    drop(store);

    let (mut store, recovered) = open(dir.path());
    assert_eq!(recovered.outbox, []);
    let next = store.commit(&batch(&[], &[wish(4)])).expect("ok").effect_ids;
    assert!(next[0] > ids[2], "a number is never used twice");
}

#[test]
fn readers_see_the_last_attempt_and_all_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let readers = store.readers();
    assert_eq!(readers.last_attempt(JOB, &task(), InstanceNo(0)).expect("read"), None);
    let events: Vec<_> = [(1, 0), (2, 1), (3, 0), (4, 7), (5, 0)].map(|(r, i)| ended(r, i)).into();
    store.commit(&batch(&events, &[])).expect("committed");

    let last = readers.last_attempt(JOB, &task(), InstanceNo(0)).expect("read").expect("there");
    assert_eq!((last.run, last.instance), (RunId(5), InstanceNo(0)));
    let all = readers.attempts(JOB, &task(), InstanceNo(0)).expect("read");
    assert_eq!(all.iter().map(|one| one.run.0).collect::<Vec<_>>(), [1, 3, 5]);
    assert_eq!(all[2], last);

    let runs = |page: std::collections::BTreeMap<InstanceNo, gristmill_store::Attempt>| {
        page.into_iter().map(|(no, attempt)| (no.0, attempt.run.0)).collect::<Vec<_>>()
    };
    let page = readers.last_attempts_in(JOB, &task(), 0..7).expect("read");
    assert_eq!(runs(page), [(0, 5), (1, 2)]);
    let list = readers.last_attempts(JOB, &task(), &[7, 0, 3].map(InstanceNo)).expect("read");
    assert_eq!(runs(list), [(0, 5), (7, 4)]);

    let other: TaskName = "merge".parse().expect("legal");
    assert!(readers.last_attempts_in(JOB, &other, 0..7).expect("read").is_empty());
    assert!(readers.last_attempts_in(JobId(1), &task(), 0..7).expect("read").is_empty());
}

#[test]
fn every_outcome_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let outcomes = every_outcome();
    let events: Vec<_> = (1..)
        .zip(&outcomes)
        .map(|(number, wanted)| {
            let mut event = ended(number, number as u32);
            if let Event::RunEnded { outcome, after, started, .. } = &mut event {
                (*outcome, *after, *started) = (wanted.clone(), AfterRun::PutBack, None);
            }
            event
        })
        .collect();
    store.commit(&batch(&events, &[])).expect("committed");
    let read = store.readers().last_attempts_in(JOB, &task(), 0..100).expect("read");
    assert_eq!(read.values().map(|one| one.outcome.clone()).collect::<Vec<_>>(), outcomes);
    assert!(read.values().all(|one| one.after == AfterRun::PutBack && one.started.is_none()));
}

#[test]
fn a_run_that_ends_twice_keeps_its_first_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let mut again = ended(1, 0);
    if let Event::RunEnded { outcome, .. } = &mut again {
        *outcome = RunOutcome::TimedOut;
    }
    store.commit(&batch(&[ended(1, 0)], &[])).expect("committed");
    store.commit(&batch(&[again], &[])).expect("committed");
    let all = store.readers().attempts(JOB, &task(), InstanceNo(0)).expect("read");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].outcome, RunOutcome::Exited { code: 0 });
}

#[test]
fn long_texts_of_an_attempt_are_bounded() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let mut event = ended(1, 0);
    if let Event::RunEnded { detail, .. } = &mut event {
        *detail = "é".repeat(1 << 20);
    }
    store.commit(&batch(&[event], &[])).expect("committed");
    let attempt =
        store.readers().last_attempt(JOB, &task(), InstanceNo(0)).expect("read").expect("there");
    assert_eq!(attempt.detail, "é".repeat(gristmill_store::TEXT_BYTES_MAX / 2));
}

/// Wherever an attempt is (a row of 0.1.0, a segment, or only in the journal), it is found.
#[test]
fn attempts_are_found_before_and_after_a_checkpoint_and_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let old = "INSERT INTO attempt VALUES (?1, 'count', 7, 1, ?2, '10.0.0.7', 0, 'unable', NULL, \
        'mount', 'oss://b/k: no such object', '', NULL, 9, 'retry')";
    let database = rusqlite::Connection::open(dir.path().join("gristmill.db")).expect("opens");
    let ids = rusqlite::params![JOB.0.to_be_bytes(), WORKER.0.to_be_bytes()];
    database.execute(old, ids).expect("written");
    let finished = |first: u64| Event::RunsFinished {
        job: JOB,
        task: task(),
        worker: WORKER,
        address: "10.0.0.7".into(),
        runs: (first..first + 3_000)
            .map(|run| FinishedRun {
                run: RunId(run),
                instance: InstanceNo((run - first) as u32),
                started: Timestamp(run.cast_signed()),
                ended: Timestamp(run.cast_signed() + 5),
            })
            .collect(),
    };
    let instance_7 = |store: &Store| {
        let attempts = store.readers().attempts(JOB, &task(), InstanceNo(7)).expect("read");
        attempts.iter().map(|attempt| attempt.run.0).collect::<Vec<_>>()
    };
    let checkpoint = |store: &mut Store| {
        let through = store.last_seq();
        store.checkpoint(&Checkpoint { through, ..Checkpoint::default() }).expect("taken");
    };
    store.commit(&batch(&[finished(10), ended(5_000, 7)], &[])).expect("committed");
    assert_eq!(instance_7(&store), [1, 17, 5_000]);
    checkpoint(&mut store);
    assert_eq!((instance_7(&store), store.attempts_since_checkpoint()), (vec![1, 17, 5_000], 0));
    store.commit(&batch(&[finished(6_000)], &[])).expect("committed");
    drop(store);
    let (mut store, _) = open(dir.path());
    assert_eq!(instance_7(&store), [1, 17, 5_000, 6_007]);
    checkpoint(&mut store);
    assert_eq!(instance_7(&store), [1, 17, 5_000, 6_007]);
    let last = store.readers().last_attempts_in(JOB, &task(), 0..10_000).expect("read");
    assert_eq!(last.len(), 3_000);
    let one = &last[&InstanceNo(2_999)];
    assert_eq!((one.started, one.ended), (Some(Timestamp(8_999)), Timestamp(9_004)));
    assert_eq!((one.worker, one.address.as_str(), one.retries), (WORKER, "10.0.0.7", 0));
}

/// Jobs of the history are listed by account in both directions, go when they are deleted, and the
/// oldest go when there are too many or they are too old.
#[test]
fn the_history_is_listed_and_shortened() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let (mine, other, cluster) = (AccountId(7), AccountId(8), ClusterId(5));
    let row = |number: u32| HistoryRow {
        job: JobId(number.into()),
        account: if number == 4 { other } else { mine },
        ended: Timestamp(i64::from(number)),
        clusters: if number.is_multiple_of(2) { vec![ClusterId(6), cluster] } else { vec![] },
        record: vec![number as u8],
    };
    let archived: Vec<_> = (1..=8).map(row).collect();
    store.commit(&Batch { archived: &archived, ..batch(&[], &[]) }).expect("committed");
    let readers = store.readers();
    let page = |after: Option<u128>, reverse, cluster| {
        let after = after.map(JobId);
        let query = HistoryQuery { account: mine, after, reverse, cluster, jobs_max: 3 };
        let page = readers.history(&query).expect("read");
        page.into_iter().map(|(job, _)| job.0).collect::<Vec<_>>()
    };
    assert_eq!(page(None, false, None), [1, 2, 3]);
    assert_eq!(page(Some(3), false, None), [5, 6, 7]);
    assert_eq!(page(None, true, None), [8, 7, 6]);
    assert_eq!(page(Some(3), true, None), [2, 1]);
    assert_eq!(page(None, false, Some(cluster)), [2, 6, 8]);
    assert_eq!(readers.history_job(mine, JobId(3)).expect("read"), Some(vec![3]));
    assert_eq!(readers.history_job(mine, JobId(4)).expect("read"), None, "another's");
    let deleted = [Event::JobDeleted { job: JobId(3) }];
    store.commit(&batch(&deleted, &[])).expect("committed");
    assert_eq!(readers.history_job(mine, JobId(3)).expect("read"), None);
    assert_eq!(store.expire(Timestamp(3), 100, 10).expect("done"), 2, "those of 1 and 2");
    assert_eq!(store.expire(Timestamp(0), 3, 10).expect("done"), 2, "two too many");
    assert_eq!(page(None, false, None), [6, 7, 8]);
    assert_eq!(page(None, false, Some(cluster)), [6, 8], "and no trace of those that went");
    assert_eq!(page(Some(8), true, Some(cluster)), [6]);
}

/// A job that leaves the history before a checkpoint wrote its attempts leaves nothing, whether the
/// server starts anew in between or not.
#[test]
fn attempts_of_a_job_that_left_the_history_are_not_written_any_more() {
    for restarts in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut store, _) = open(dir.path());
        let row = |job| HistoryRow {
            job,
            account: AccountId(7),
            ended: Timestamp(9),
            clusters: vec![],
            record: vec![],
        };
        let (gone, stays) = (JobId(1), JobId(2));
        let mut events: Vec<_> = (0..3).map(|no| ended_of(gone, u64::from(no) + 1, no)).collect();
        events.push(ended_of(stays, 10, 0));
        let at = Timestamp(9);
        events.extend([gone, stays].map(|job| Event::JobArchived { job, at }));
        let archived = [row(gone), row(stays)];
        store.commit(&Batch { archived: &archived, ..batch(&events, &[]) }).expect("committed");
        assert_eq!(store.expire(Timestamp(0), 1, 10).expect("done"), 1);
        assert_eq!(store.purge(100).expect("done"), Purged { attempts: 0, more: false });
        if restarts {
            drop(store);
            store = open(dir.path()).0;
        }
        let through = store.last_seq();
        store.checkpoint(&Checkpoint { through, ..Checkpoint::default() }).expect("taken");
        let found = |job| {
            let found = store.readers().last_attempts_in(job, &task(), 0..10).expect("read");
            found.len()
        };
        assert_eq!((found(gone), found(stays)), (0, 1), "restarts: {restarts}");
    }
}

#[test]
fn attempts_of_a_deleted_job_go_in_bounded_steps() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let (gone, stays) = (JobId(1), JobId(2));
    let mut events: Vec<_> = (0..2_500).map(|no| ended_of(gone, u64::from(no) + 1, no)).collect();
    events.push(ended_of(stays, 10_000, 0));
    store.commit(&batch(&events, &[])).expect("committed");
    let through = store.last_seq();
    store.checkpoint(&Checkpoint { through, ..Checkpoint::default() }).expect("taken");
    assert_eq!(store.purge(10).expect("done"), Purged { attempts: 0, more: false });
    let deleted = [Event::JobDeleted { job: gone }, Event::JobDeleted { job: JobId(3) }];
    store.commit(&batch(&deleted, &[])).expect("committed");

    let steps: Vec<_> = (0..3).map(|_| store.purge(1_000).expect("done")).collect();
    assert_eq!(steps.iter().map(|step| step.attempts).collect::<Vec<_>>(), [1_024, 1_024, 452]);
    assert_eq!(steps.iter().map(|step| step.more).collect::<Vec<_>>(), [true, true, false]);
    let readers = store.readers();
    assert!(readers.last_attempts_in(gone, &task(), 0..100).expect("read").is_empty());
    assert_eq!(readers.last_attempts_in(stays, &task(), 0..100).expect("read").len(), 1);
}

#[test]
fn many_threads_read_while_one_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = StoreOptions { readers_max: 2, ..StoreOptions::default() };
    let (mut store, _) = Store::open(dir.path(), &options).expect("opens");
    let readers = store.readers();
    thread::scope(|scope| {
        for _ in 0..6 {
            let readers = readers.clone();
            scope.spawn(move || {
                let mut seen = 0;
                while seen < 200 {
                    let now = readers.last_attempts_in(JOB, &task(), 0..1_000).expect("read").len();
                    assert!(now >= seen && now % 10 == 0, "half a batch: {now} after {seen}");
                    seen = now;
                }
            });
        }
        for turn in 0..20 {
            let events: Vec<_> =
                (turn * 10..turn * 10 + 10).map(|no| ended(no + 1, no as u32)).collect();
            store.commit(&batch(&events, &[])).expect("committed");
        }
    });
}

#[test]
fn only_the_owner_may_read_the_database_and_its_side_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    store.commit(&batch(&[ended(1, 0)], &[])).expect("committed");
    for name in ["gristmill.db", "gristmill.db-wal", "gristmill.db-shm", "lock"] {
        let mode = fs::metadata(dir.path().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = open(dir.path());
    let error = Store::open(dir.path(), &StoreOptions::default()).expect_err("refused");
    assert!(error.to_string().contains("in use by another server"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    drop(first);
    open(dir.path());
}

#[test]
fn another_program_that_holds_the_database_only_delays() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = StoreOptions { busy_ms_max: 0, ..StoreOptions::default() };
    let (mut store, _) = Store::open(dir.path(), &options).expect("opens");
    let other = rusqlite::Connection::open(dir.path().join("gristmill.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("taken");
    let error = store.commit(&batch(&[ended(1, 0)], &[])).expect_err("held");
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Later);
    other.execute_batch("ROLLBACK").expect("let go");
    store.commit(&batch(&[ended(1, 0)], &[])).expect("committed");
}

#[test]
fn a_gap_in_the_journal_is_damage_and_not_skipped() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    for at in 1..=5 {
        store.commit(&batch(&priorities(at..=at), &[])).expect("committed");
    }
    drop(store);
    let database = rusqlite::Connection::open(dir.path().join("gristmill.db")).expect("opens");
    database.execute("DELETE FROM batch WHERE seq = 3", []).expect("deleted");
    drop(database);
    let error = Store::open(dir.path(), &StoreOptions::default()).expect_err("refused");
    assert!(error.to_string().contains("event 3 is missing"), "{error}");
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    store.commit(&batch(&priorities(1..=2), &[])).expect("committed");
    drop(store);
    as_0_1_0_wrote(dir.path());
    let database = rusqlite::Connection::open(dir.path().join("gristmill.db")).expect("opens");
    for (change, words) in [
        (
            "INSERT INTO batch VALUES (3, 1, 0, x'0901')",
            "the batch of event 3 has the unknown format 9",
        ),
        ("UPDATE batch SET record = x'0201FF'", "event 3 cannot be read"),
        ("UPDATE batch SET record = x'0201'", "event 3 cannot be read"),
        ("UPDATE journal SET format = 9 WHERE seq = 2", "event 2 has the unknown format 9"),
        ("UPDATE journal SET record = '{}' WHERE seq = 1", "event 1 cannot be read"),
    ] {
        database.execute(change, []).expect("changed");
        let error = Store::open(dir.path(), &StoreOptions::default()).expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gristmill.db");
    let text = "this is not a database, it only has the name of one\n".repeat(100);
    fs::write(&path, &text).expect("written");
    let error = Store::open(dir.path(), &StoreOptions::default()).expect_err("refused");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(fs::read_to_string(&path).expect("still there"), text);
}
