//! Copies of the books: made while they are written, put back, looked through.

mod common;

use common::{JOB, batch, ended, open, task};
use gristmill_model::{Event, Timestamp};
use gristmill_store::{
    Store, StoreOptions,
    backup::{self, Belongings},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("exists").permissions().mode() & 0o777
}

#[test]
fn a_copy_of_open_books_holds_what_was_committed_and_starts_elsewhere() {
    let top = tempfile::tempdir().expect("a directory");
    let [data, copy, back] = ["data", "copy", "back"].map(|name| top.path().join(name));
    let (mut store, _) = open(&data);
    fs::write(data.join("secret"), "s").expect("written");
    let other = rusqlite::Connection::open(data.join("other.db")).expect("opened");
    other
        .execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7)")
        .expect("filled");
    let belongings =
        Belongings { databases: &["other.db", "none.db"], files: &["secret", "missing"] };
    store.commit(&batch(&[ended(1, 0)], &[])).expect("committed");
    backup::back_up(&data, &belongings, &copy).expect("copied");
    let late = Event::JobStopped { job: JOB, at: Timestamp(5) };
    store.commit(&batch(&[late], &[])).expect("the writer goes on");
    assert!(backup::back_up(&data, &belongings, &copy).is_err(), "a copy is never written over");

    assert_eq!(backup::damage(&copy, &belongings).expect("looked through"), Vec::<String>::new());
    backup::restore(&copy, &belongings, &back).expect("put back");
    assert_eq!([mode(&copy), mode(&back), mode(&back.join("gristmill.db"))], [0o700, 0o700, 0o600]);
    assert_eq!((mode(&back.join("secret")), mode(&copy.join("gristmill.db"))), (0o600, 0o600));
    let other = rusqlite::Connection::open(back.join("other.db")).expect("opened");
    let seven = other.query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0));
    assert_eq!(seven, Ok(7), "what only the log of the other database had");
    let (restored, recovered) = open(&back);
    assert_eq!(recovered.events, [ended(1, 0)], "not what came after the copy");
    let attempts = restored.readers().last_attempts_in(JOB, &task(), 0..1).expect("read");
    assert_eq!(attempts.len(), 1);
}

#[test]
fn nothing_is_put_over_a_region() {
    let top = tempfile::tempdir().expect("a directory");
    let [data, copy] = ["data", "copy"].map(|name| top.path().join(name));
    drop(open(&data));
    backup::back_up(&data, &Belongings::default(), &copy).expect("copied");
    let refused = backup::restore(&copy, &Belongings::default(), &data).expect_err("not empty");
    assert!(refused.to_string().contains("data"), "{refused}");
    let refused = backup::restore(top.path(), &Belongings::default(), &top.path().join("new"))
        .expect_err("no copy");
    assert!(refused.to_string().contains("gristmill.db"), "{refused}");
    assert!(!top.path().join("new").exists());
}

#[test]
fn half_a_copy_is_no_region() {
    let top = tempfile::tempdir().expect("a directory");
    let [data, copy, back] = ["data", "copy", "back"].map(|name| top.path().join(name));
    drop(open(&data));
    let belongings = Belongings { databases: &[], files: &["secret"] };
    backup::back_up(&data, &belongings, &copy).expect("copied");
    fs::create_dir(copy.join("secret")).expect("made: it cannot be read as a file");
    backup::restore(&copy, &belongings, &back).expect_err("cut short");
    let refused = Store::open(&back, &StoreOptions::default()).expect_err("not whole").to_string();
    assert!(refused.contains("is not whole"), "{refused}");
    fs::remove_dir(copy.join("secret")).expect("removed");
    fs::remove_dir_all(&back).expect("emptied");
    backup::restore(&copy, &belongings, &back).expect("put back");
    drop(open(&back));
}

#[test]
fn the_directory_of_a_region_at_work_is_no_copy() {
    let top = tempfile::tempdir().expect("a directory");
    let [data, back] = ["data", "back"].map(|name| top.path().join(name));
    let (mut store, _) = open(&data);
    store.commit(&batch(&[ended(1, 0)], &[])).expect("committed");
    let refused = backup::restore(&data, &Belongings::default(), &back).expect_err("no copy");
    assert!(refused.to_string().contains("gristmill.db-wal"), "{refused}");
    assert!(!back.exists());
}
