//! The behaviour suite on the stores of this room.

mod suite;

use gristmill_model::{AccountId, Timestamp};
use gristmill_objects::{BucketAcl, LocalStore, disk::DiskStore, memory::MemoryStore};
use std::sync::Arc;

#[tokio::test]
async fn the_memory_store_behaves() {
    let store = MemoryStore::with_bucket(Arc::new(|| Timestamp(1_000_000)), suite::BUCKET);
    suite::every_local_store(&store).await;
}

#[tokio::test]
async fn the_disk_store_behaves() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store =
        DiskStore::open(directory.path(), Arc::new(|| Timestamp(1_000_000))).expect("opens");
    store.create_bucket(suite::BUCKET, AccountId(0), BucketAcl::Private).await.expect("makes");
    suite::every_local_store(&store).await;
}
