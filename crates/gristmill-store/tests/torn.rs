//! Torn writes: power fails while the disk has a part of what was written to it.
//!
//! What a commit waited for is on the disk; of the next one there may be any part, its sectors in any
//! order. The books are copied as they lay before and after a commit, and whatever could be between the
//! two is opened: it must hold all of the earlier batch and all or nothing of the later one.

mod common;

use common::{batch, ended, open, wish};
use gristmill_model::Event;
use std::{
    fs,
    path::{Path, PathBuf},
};

const SECTOR: usize = 512;
const PAGE: usize = 4_096;
/// The header of the log, and that of each frame before its page.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The files of the books at one moment.
struct Copy {
    database: Vec<u8>,
    log: Vec<u8>,
}

fn copy(dir: &Path) -> Copy {
    let read = |name: &str| fs::read(dir.join(name)).expect("there");
    Copy { database: read("gristmill.db"), log: read("gristmill.db-wal") }
}

/// Books that consist of these bytes.
fn put(top: &Path, database: &[u8], log: &[u8]) -> PathBuf {
    let dir = top.join("torn");
    let _ = fs::remove_dir_all(&dir); // the first time there is none
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("gristmill.db"), database).expect("written");
    fs::write(dir.join("gristmill.db-wal"), log).expect("written");
    dir
}

/// The batch `number`: five events and an effect.
fn events(number: u64) -> Vec<Event> {
    (number * 5 + 1..=number * 5 + 5).map(|seq| ended(seq, number as u32)).collect()
}

/// Books with four batches, as they were before and after the last one was committed.
fn before_and_after(dir: &Path) -> (Copy, Copy) {
    let (mut store, _) = open(dir);
    let mut commit = |number: u64| {
        let effects = [wish(number as u32)];
        store.commit(&batch(&events(number), &effects)).expect("committed");
    };
    (0..3).for_each(&mut commit);
    let before = copy(dir);
    commit(3);
    (before, copy(dir))
}

/// How many batches are in the books, none of them in part.
fn whole_batches(dir: &Path) -> u64 {
    let (_, recovered) = open(dir);
    let count = recovered.events.len() as u64;
    assert_eq!(count % 5, 0, "a batch is there in part");
    assert_eq!(recovered.events, (0..count / 5).flat_map(events).collect::<Vec<_>>());
    assert_eq!(recovered.outbox.len() as u64, count / 5);
    count / 5
}

#[test]
fn of_a_commit_that_was_cut_off_there_is_nothing_and_all_before_it() {
    let top = tempfile::tempdir().expect("a directory");
    let (before, after) = before_and_after(&top.path().join("books"));
    assert_eq!(before.log, after.log[..before.log.len()], "the log grows at its end");
    for length in (before.log.len()..after.log.len()).step_by(SECTOR - 7) {
        let dir = put(top.path(), &after.database, &after.log[..length]);
        assert_eq!(whole_batches(&dir), 3, "{length} bytes of the log");
    }
    assert_eq!(whole_batches(&put(top.path(), &after.database, &after.log)), 4);
}

#[test]
fn a_commit_with_one_sector_missing_did_not_happen() {
    let top = tempfile::tempdir().expect("a directory");
    let (before, after) = before_and_after(&top.path().join("books"));
    for from in (before.log.len()..after.log.len()).step_by(SECTOR) {
        for filler in [0x00, 0xa5] {
            let mut log = after.log.clone();
            let end = (from + SECTOR).min(log.len());
            if log[from..end].iter().all(|byte| *byte == filler) {
                continue; // nothing would be missing
            }
            log[from..end].fill(filler);
            let dir = put(top.path(), &after.database, &log);
            assert_eq!(whole_batches(&dir), 3, "the sector at {from} is {filler:#x}");
        }
    }
}

#[test]
fn pages_that_were_torn_while_the_log_was_folded_back_are_read_from_the_log() {
    let top = tempfile::tempdir().expect("a directory");
    let (_, after) = before_and_after(&top.path().join("books"));
    let frames = after.log[LOG_HEADER..].chunks_exact(FRAME_HEADER + PAGE);
    let mut database = after.database.clone();
    for frame in frames {
        let number = u32::from_be_bytes(frame[..4].try_into().expect("four bytes")) as usize;
        let torn = (number - 1) * PAGE + PAGE / 2..number * PAGE;
        if let Some(half) = database.get_mut(torn) {
            half.fill(0xa5);
        }
    }
    assert_ne!(database, after.database, "pages of the log are pages of the database, too");
    assert_eq!(whole_batches(&put(top.path(), &database, &after.log)), 4);
}
