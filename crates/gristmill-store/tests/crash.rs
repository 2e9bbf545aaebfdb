//! `kill -9` at any moment: what was acknowledged is there, and nothing is half there.
//!
//! The test starts itself again as a child that commits as fast as it can and says on standard
//! output what was acknowledged. The parent kills it after some acknowledgements, in the middle of
//! whatever it does then, opens the books and starts the next child on them.

mod common;

use common::{JOB, batch, ended, open, task, wish};
use gristmill_model::{Event, InstanceNo};
use gristmill_store::{Checkpoint, Store};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

const CHILD: &str = "GRISTMILL_TEST_CRASH_DIR";
const NAME: &str = "what_was_acknowledged_survives_kill_9_and_nothing_is_half_there";
const ROUNDS: u64 = 25;

/// Batch `number` (from 1) has this many events, so that the last number tells whether the last
/// batch is whole.
fn size(number: u64) -> u64 {
    number % 7 + 1
}

/// The batch that ends with event `last`, if one does.
fn batch_ending_with(last: u64) -> Option<u64> {
    let (mut number, mut seq) = (0, 0);
    while seq < last {
        number += 1;
        seq += size(number);
    }
    (seq == last).then_some(number)
}

/// Each event of batch `number` is an attempt of instance `number`; its run is its own number.
fn events(number: u64, after: u64) -> Vec<Event> {
    (after + 1..=after + size(number)).map(|seq| ended(seq, number as u32)).collect()
}

fn commit_until_killed(dir: &Path) {
    let (mut store, _) = open(dir);
    let mut last = store.last_seq().0;
    let first = batch_ending_with(last).expect("whole batches") + 1;
    let mut out = std::io::stdout();
    for number in first..first + 100_000 {
        let effects = [wish(number as u32)];
        let done = store.commit(&batch(&events(number, last), &effects)).expect("committed");
        last = done.last_seq.0;
        writeln!(out, "acknowledged {last}").expect("the parent listens");
        if number % 5 == 0 {
            checkpoint(&mut store, last);
        }
    }
}

fn checkpoint(store: &mut Store, last: u64) {
    let upserts = vec![("last".to_owned(), last.to_string().into_bytes())];
    let checkpoint = Checkpoint { upserts, through: store.last_seq(), ..Checkpoint::default() };
    store.checkpoint(&checkpoint).expect("taken");
}

/// Runs a child until it has acknowledged `count` batches, kills it, and returns the last number
/// it acknowledged.
fn kill_after(count: u64, dir: &Path) -> u64 {
    let mut child = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut numbers = lines.map_while(Result::ok).filter_map(|line| {
        line.strip_prefix("acknowledged ").map(|number| number.parse().expect("a whole line"))
    });
    let mut last: u64 = numbers.nth(count as usize).expect("the child commits");
    child.kill().expect("it runs");
    last = numbers.last().unwrap_or(last);
    assert!(!child.wait().expect("it ends").success(), "the child was killed");
    last
}

fn check(dir: &Path, acknowledged: u64) {
    let (store, recovered) = open(dir);
    let last = store.last_seq().0;
    assert!(last >= acknowledged, "{last} is on disk, {acknowledged} was acknowledged");
    let number = batch_ending_with(last).expect("the last batch is whole");

    let through = recovered
        .entities
        .first()
        .map_or("0".to_owned(), |(_, value)| String::from_utf8(value.clone()).expect("digits"));
    assert_eq!(through, recovered.through.0.to_string(), "the checkpoint is whole");
    assert_eq!(recovered.through.0 + recovered.events.len() as u64, last);

    let readers = store.readers();
    let in_table = |number: u64| {
        readers.attempts(JOB, &task(), InstanceNo(number as u32)).expect("read").len() as u64
    };
    assert_eq!((in_table(number), in_table(number + 1)), (size(number), 0));
    let pages = readers.last_attempts_in(JOB, &task(), 0..u32::MAX).expect("read");
    assert_eq!(pages.len() as u64, number);
    let wishes: Vec<_> = recovered.outbox.into_iter().map(|(_, effect)| effect).collect();
    assert_eq!(wishes, (1..=number as u32).map(wish).collect::<Vec<_>>());
}

#[test]
fn what_was_acknowledged_survives_kill_9_and_nothing_is_half_there() {
    if let Some(dir) = env::var_os(CHILD) {
        return commit_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().expect("a directory");
    for round in 0..ROUNDS {
        let acknowledged = kill_after(round * 7 % 23, dir.path());
        check(dir.path(), acknowledged);
    }
}
