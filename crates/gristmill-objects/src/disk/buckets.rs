//! The buckets, held in memory: every request asks for one, and this process alone writes them.
//!
//! The writer thread changes the map after each commit, in the order of the commits, so it is what
//! the database holds for everybody who was answered.

use crate::{BucketInfo, ObjectError, rules::no_bucket};
use gristmill_model::AccountId;
use std::{
    collections::BTreeMap,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// All buckets by name.
pub(super) struct Buckets(RwLock<BTreeMap<String, BucketInfo>>);

impl Buckets {
    /// The buckets the database holds at the start.
    pub fn new(buckets: Vec<BucketInfo>) -> Self {
        let by_name = buckets.into_iter().map(|info| (info.name.clone(), info));
        Self(RwLock::new(by_name.collect()))
    }

    /// A bucket that must be there.
    pub fn find(&self, bucket: &str) -> Result<BucketInfo, ObjectError> {
        self.read().get(bucket).cloned().ok_or_else(|| no_bucket(bucket))
    }

    /// The buckets of an account, by name.
    pub fn of(&self, owner: AccountId) -> Vec<BucketInfo> {
        self.read().values().filter(|info| info.owner == owner).cloned().collect()
    }

    /// A bucket was made or changed.
    pub fn put(&self, info: BucketInfo) {
        self.write().insert(info.name.clone(), info);
    }

    /// A bucket was removed.
    pub fn remove(&self, bucket: &str) {
        self.write().remove(bucket);
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, BucketInfo>> {
        self.0.read().expect("nobody panics while holding it")
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, BucketInfo>> {
        self.0.write().expect("nobody panics while holding it")
    }
}
