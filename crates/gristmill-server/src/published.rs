//! The last durable world, for everyone who reads, and a bell for each worker whose runs changed.

use arc_swap::ArcSwap;
use gristmill_core::World;
use gristmill_model::WorkerId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};
use tokio::sync::{Notify, watch};

/// A handle on the published world. Cheap to clone.
#[derive(Clone)]
pub struct Published {
    world: Arc<ArcSwap<World>>,
    bells: Arc<Mutex<BTreeMap<WorkerId, Arc<Notify>>>>,
    turns: watch::Sender<u64>,
}

impl Published {
    /// Publishes a first world.
    pub fn new(world: World) -> Self {
        let (turns, _) = watch::channel(0);
        Self { world: Arc::new(ArcSwap::from_pointee(world)), bells: Arc::default(), turns }
    }

    /// The last durable world.
    pub fn world(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// Rings after each commit that changed what this worker should hold. Each call replaces the
    /// bell of the call before: one listener a worker.
    pub fn bell(&self, worker: WorkerId) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        self.bells.lock().expect("no holder of the lock panics").insert(worker, bell.clone());
        bell
    }

    /// Takes this bell away, unless another listener replaced it.
    pub fn unhook(&self, worker: WorkerId, bell: &Arc<Notify>) {
        let mut bells = self.bells.lock().expect("no holder of the lock panics");
        if bells.get(&worker).is_some_and(|hung| Arc::ptr_eq(hung, bell)) {
            bells.remove(&worker);
        }
    }

    /// Counts commits; changes when a new world is there.
    pub fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// Replaces the world, then rings.
    pub fn publish(&self, world: World, changed: &BTreeSet<WorkerId>) {
        self.world.store(Arc::new(world));
        self.turns.send_modify(|turns| *turns += 1);
        let bells = self.bells.lock().expect("no holder of the lock panics");
        for worker in changed {
            if let Some(bell) = bells.get(worker) {
                bell.notify_one();
            }
        }
    }
}
