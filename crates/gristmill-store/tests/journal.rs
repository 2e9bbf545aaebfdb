//! The written form of the journal: what was written once can always be read.
//!
//! `tests/golden/journal-v1.jsonl` and `outbox-v1.jsonl` only grow. When a model type gains a
//! field with a default, run the tests once with `GRISTMILL_BLESS=1`: the new lines are added, the
//! old ones stay and must still be read. A line that can no longer be read means that format 1 is
//! broken: see `src/journal.rs`.

mod common;

use common::{batch, every_effect, every_event, every_notice, open};
use gristmill_model::{Effect, Event};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, env, fs, path::PathBuf};

fn golden(name: &str) -> (PathBuf, Vec<String>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = fs::read_to_string(&path).unwrap_or_default();
    (path, text.lines().map(str::to_owned).collect())
}

/// Checks that the golden file holds today's form of every value, and that each of its lines is
/// still read as what it meant.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, values: &[T]) {
    let (path, mut lines) = golden(name);
    for value in values {
        let line = serde_json::to_string(value).expect("values can be written");
        if !lines.contains(&line) {
            assert!(env::var_os("GRISTMILL_BLESS").is_some(), "not in {name}: {line}");
            lines.push(line);
            fs::write(&path, lines.join("\n") + "\n").expect("the golden file is written");
        }
    }
    for line in &lines {
        let value: T = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(values.contains(&value), "read as something else: {line}");
    }
}

#[test]
fn events_written_by_older_releases_can_be_read() {
    check("journal-v1.jsonl", &every_event());
}

#[test]
fn effects_written_by_older_releases_can_be_read() {
    check("outbox-v1.jsonl", &every_effect());
}

#[test]
fn notices_written_by_older_releases_can_be_read() {
    check("notices-v1.jsonl", &every_notice());
}

/// No `_` arm: a new kind of event must be named here, and then be in the list.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::JobSubmitted { .. } => "JobSubmitted",
        Event::JobStopped { .. } => "JobStopped",
        Event::JobRestarted { .. } => "JobRestarted",
        Event::JobEnded { .. } => "JobEnded",
        Event::JobDeleted { .. } => "JobDeleted",
        Event::JobArchived { .. } => "JobArchived",
        Event::JobPriorityChanged { .. } => "JobPriorityChanged",
        Event::TaskEnded { .. } => "TaskEnded",
        Event::RunPlaced { .. } => "RunPlaced",
        Event::RunsPlaced { .. } => "RunsPlaced",
        Event::RunsFinished { .. } => "RunsFinished",
        Event::RunStarted { .. } => "RunStarted",
        Event::RunEnded { .. } => "RunEnded",
        Event::ClusterCreated { .. } => "ClusterCreated",
        Event::GroupResized { .. } => "GroupResized",
        Event::GroupOpened { .. } => "GroupOpened",
        Event::GroupClosed { .. } => "GroupClosed",
        Event::ClusterChanged { .. } => "ClusterChanged",
        Event::SpotPriceSet { .. } => "SpotPriceSet",
        Event::PrepaidSet { .. } => "PrepaidSet",
        Event::QuotaSet { .. } => "QuotaSet",
        Event::WorkerNoticed { .. } => "WorkerNoticed",
        Event::NoticeWithdrawn { .. } => "NoticeWithdrawn",
        Event::ClusterDeleting { .. } => "ClusterDeleting",
        Event::ClusterGone { .. } => "ClusterGone",
        Event::WorkerWanted { .. } => "WorkerWanted",
        Event::WorkerDelayed { .. } => "WorkerDelayed",
        Event::WorkerRunning { .. } => "WorkerRunning",
        Event::WorkerDeleting { .. } => "WorkerDeleting",
        Event::WorkerGone { .. } => "WorkerGone",
        Event::TokenExpired { .. } => "TokenExpired",
    }
}

#[test]
fn the_golden_file_knows_every_kind_of_event_and_effect() {
    let kinds: BTreeSet<_> = every_event().iter().map(kind).collect();
    assert_eq!(kinds.len(), 31, "{kinds:?}");
    let effects: BTreeSet<_> = every_effect()
        .iter()
        .map(|effect| match effect {
            Effect::EnsureWorker(_) => "EnsureWorker",
            Effect::RemoveWorker { .. } => "RemoveWorker",
            Effect::Notify(_) => "Notify",
        })
        .collect();
    assert_eq!(effects.len(), 2);
}

#[test]
fn a_restart_reads_back_exactly_what_was_committed() {
    let dir = tempfile::tempdir().expect("a directory");
    // One run may end only once, so the read table keeps the first of these; the journal all.
    let (events, effects) = (every_event(), every_effect());
    let (mut store, empty) = open(dir.path());
    assert_eq!((empty.events.len(), empty.outbox.len(), empty.next_seq.0), (0, 0, 1));
    let committed = store.commit(&batch(&events, &effects)).expect("committed");
    assert_eq!(committed.last_seq.0, events.len() as u64);
    drop(store);

    let (_, recovered) = open(dir.path());
    assert_eq!(recovered.events, events);
    let (ids, read): (Vec<_>, Vec<_>) = recovered.outbox.into_iter().unzip();
    assert_eq!((ids, read), (committed.effect_ids, effects));
    assert_eq!(recovered.next_seq.0, events.len() as u64 + 1);
}
