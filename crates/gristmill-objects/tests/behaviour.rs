//! The behaviour suite on the stores of this room.

mod suite;

use gristmill_model::Timestamp;
use gristmill_objects::memory::MemoryStore;
use std::sync::Arc;

#[tokio::test]
async fn the_memory_store_behaves() {
    let store = MemoryStore::with_bucket(Arc::new(|| Timestamp(1_000_000)), suite::BUCKET);
    suite::every_local_store(&store).await;
}
