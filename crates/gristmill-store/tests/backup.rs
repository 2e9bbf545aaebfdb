//! Copies of the books: made while they are written, put back, looked through.

mod common;

use common::{JOB, batch, ended, open, task};
use gristmill_model::{Event, Timestamp};
use gristmill_store::backup;
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
    store.commit(&batch(&[ended(1, 0)], &[])).expect("committed");
    backup::back_up(&data, &["secret", "missing"], &copy).expect("copied");
    let late = Event::JobStopped { job: JOB, at: Timestamp(5) };
    store.commit(&batch(&[late], &[])).expect("the writer goes on");
    assert!(backup::back_up(&data, &[], &copy).is_err(), "a copy is never written over");

    assert_eq!(backup::damage(&copy).expect("looked through"), Vec::<String>::new());
    backup::restore(&copy, &["secret"], &back).expect("put back");
    assert_eq!([mode(&copy), mode(&back), mode(&back.join("gristmill.db"))], [0o700, 0o700, 0o600]);
    assert_eq!((mode(&back.join("secret")), mode(&copy.join("gristmill.db"))), (0o600, 0o600));
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
    backup::back_up(&data, &[], &copy).expect("copied");
    let refused = backup::restore(&copy, &[], &data).expect_err("not empty");
    assert!(refused.to_string().contains("data"), "{refused}");
    let refused = backup::restore(top.path(), &[], &top.path().join("new")).expect_err("no copy");
    assert!(refused.to_string().contains("gristmill.db"), "{refused}");
    assert!(!top.path().join("new").exists());
}
