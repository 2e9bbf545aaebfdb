//! Checkpoints are prepared beside the mill: bringing a world's changes and ended attempts into the form of
//! the disk takes longer than anybody should wait for the mill, writing them does not.
//!
//! ```text
//! mill --snapshot--> thread --what to write--> mill's inbox --> one transaction
//! ```
//!
//! Invariants
//! - At most one is under way.
//! - What it covers is known until it is written: if that fails, or the mill stops before, the next
//!   checkpoint covers it too.

use gristmill_core::{Entity, EntityKey, World};
use gristmill_faults::{self as faults, Point};
use gristmill_store::{Begun, Checkpoint, Later, Prepared, StoreError};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

/// How much is brought into its form beforehand. What is more is large descriptions, which share
/// their memory with the world until they are written.
const READY_BYTES_MAX: usize = 8 << 20;

/// The world as it was when a checkpoint began, and what of it has to be written.
pub struct Snapshot {
    /// The world.
    pub world: World,
    /// What changed since the last checkpoint.
    pub dirty: BTreeSet<EntityKey>,
    /// What ended since then.
    pub begun: Begun,
}

impl Snapshot {
    /// Brings it into the form of the disk.
    pub fn prepare(&self) -> Result<Prepared, StoreError> {
        faults::at(Point::CheckpointPrepare);
        let through = self.begun.through();
        let (mut checkpoint, mut bytes) = (Checkpoint { through, ..Checkpoint::default() }, 0);
        for key in &self.dirty {
            let name = key.to_string();
            match self.world.entity(key) {
                Some(entity) if bytes < READY_BYTES_MAX => {
                    let value = as_json(&entity);
                    bytes += value.len();
                    checkpoint.upserts.push((name, value));
                }
                Some(entity) => {
                    checkpoint.later.push((name, Later(Arc::new(move || as_json(&entity)))));
                }
                None => checkpoint.deletes.push(name),
            }
        }
        self.begun.prepare(checkpoint)
    }
}

fn as_json(entity: &Entity) -> Vec<u8> {
    serde_json::to_vec(entity).expect("an entity is made of plain data")
}

/// The mill's side.
pub struct Checkpoints {
    thread: SyncSender<Snapshot>,
    /// What the one under way covers.
    covered: Option<BTreeSet<EntityKey>>,
}

impl Checkpoints {
    /// Starts the thread. `ready` takes what is prepared; it answers whether somebody still listens.
    pub fn start(ready: impl Fn(Result<Prepared, StoreError>) -> bool + Send + 'static) -> Self {
        let (thread, snapshots) = sync_channel::<Snapshot>(1);
        thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || {
                while let Ok(snapshot) = snapshots.recv() {
                    if !ready(snapshot.prepare()) {
                        break;
                    }
                }
            })
            .expect("the process can start a thread at its beginning");
        Self { thread, covered: None }
    }

    /// Whether one is under way.
    pub fn under_way(&self) -> bool {
        self.covered.is_some()
    }

    /// Begins one.
    pub fn begin(&mut self, snapshot: Snapshot) {
        self.covered = Some(snapshot.dirty.clone());
        // The thread ends only after the mill.
        let _ = self.thread.send(snapshot);
    }

    /// Ends the one under way: what it covered.
    pub fn end(&mut self) -> BTreeSet<EntityKey> {
        self.covered.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_core::Options;
    use gristmill_store::{Store, StoreOptions};
    use std::sync::mpsc::channel;

    #[test]
    fn what_one_covers_is_known_until_it_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut store, _) = Store::open(dir.path(), &StoreOptions::default()).expect("opens");
        let (send, prepared) = channel();
        let mut checkpoints = Checkpoints::start(move |prepared| send.send(prepared).is_ok());
        assert!(!checkpoints.under_way());
        let dirty = BTreeSet::from([EntityKey::Region, EntityKey::Market]);
        let world = World::new(Options::default());
        let begun = store.begin_checkpoint();
        checkpoints.begin(Snapshot { world, dirty: dirty.clone(), begun });
        assert!(checkpoints.under_way());
        let prepared = prepared.recv().expect("the thread answers").expect("prepared");
        store.write_checkpoint(&prepared).expect("written");
        assert_eq!(checkpoints.end(), dirty);
        assert!(!checkpoints.under_way());
        drop(store);
        let (_, recovered) = Store::open(dir.path(), &StoreOptions::default()).expect("opens");
        let keys: Vec<_> = recovered.entities.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["region"], "there is no market");
    }
}
