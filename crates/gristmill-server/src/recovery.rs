//! A restart: the last checkpoint, and the journal after it through the same `apply`.

use gristmill_core::{Entity, EntityKey, Options, RestoreError, World};
use gristmill_model::Effect;
use gristmill_store::{EffectId, Recovered, Store, StoreError, StoreOptions};
use std::{collections::BTreeSet, path::Path};
use tracing::info;

/// What a restart found.
pub struct Recovery {
    /// The books, open for writing.
    pub store: Store,
    /// The world as it was when the last commit returned.
    pub world: World,
    /// What the next checkpoint has to write.
    pub dirty: BTreeSet<EntityKey>,
    /// Effects that were not known to be carried out.
    pub outbox: Vec<(EffectId, Effect)>,
}

/// Why a region cannot start from what is on its disk.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The database cannot be used.
    #[error("could not open the control plane's books")]
    Open(#[from] StoreError),
    /// An entity of the checkpoint is not what this version writes.
    #[error("the checkpoint's entry `{key}` cannot be read")]
    Entity {
        /// Which.
        key: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The entities do not make a world.
    #[error("the checkpoint does not make a world")]
    Restore(#[from] RestoreError),
}

/// Opens the books below `dir` and brings the world back.
pub fn recover(dir: &Path, options: Options) -> Result<Recovery, RecoveryError> {
    let (store, Recovered { entities, events, outbox, .. }) =
        Store::open(dir, &StoreOptions::default())?;
    let entities = entities
        .into_iter()
        .map(|(key, bytes)| {
            serde_json::from_slice::<Entity>(&bytes)
                .map_err(|source| RecoveryError::Entity { key, source })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let checkpointed = entities.len();
    let mut world = World::restore(options, entities)?;
    let mut dirty = BTreeSet::new();
    for event in &events {
        dirty.extend(world.touched(event));
        world.apply(event);
    }
    info!(entities = checkpointed, events = events.len(), effects = outbox.len(), "recovered");
    Ok(Recovery { store, world, dirty, outbox })
}

/// Brings a world back from the books below `dir` and looks whether everything adds up: what is
/// wrong, nothing if nothing is. The region must not be running.
pub fn check_books(dir: &Path) -> Result<Vec<String>, RecoveryError> {
    let recovery = recover(dir, Options::default())?;
    // Options are not part of the books, so what they bound is not looked at.
    let restored: Vec<Entity> =
        recovery.world.entity_keys().filter_map(|key| recovery.world.entity(&key)).collect();
    match World::restore(Options::default(), restored) {
        Ok(_) => Ok(Vec::new()),
        Err(RestoreError::Unsound(wrong)) => Ok(wrong),
        Err(error) => Err(error.into()),
    }
}
