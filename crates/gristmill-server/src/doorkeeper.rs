//! Which keys open the object store, for the door that the front door puts in front of it.

use crate::{
    keys::{Grant, KeyRing},
    published::Published,
};
use gristmill_model::AccountId;
use std::sync::Arc;

/// What a key is worth at the object store.
pub struct Admission {
    /// What signs.
    pub secret: String,
    /// For whom it speaks.
    pub account: AccountId,
    /// `None`: everything the account owns.
    pub grants: Option<Vec<Grant>>,
}

/// Looks keys up: those of accounts, and those of tasks while they are good.
#[derive(Clone)]
pub struct Doorkeeper {
    keys: Arc<KeyRing>,
    published: Published,
}

impl Doorkeeper {
    /// A doorkeeper who knows these keys and this world.
    pub fn new(keys: Arc<KeyRing>, published: Published) -> Self {
        Self { keys, published }
    }

    /// What the key with this id is worth now.
    pub fn find(&self, id: &str) -> Option<Admission> {
        if let Some(key) = self.keys.account_key(id) {
            return Some(Admission {
                secret: key.secret.clone(),
                account: key.account,
                grants: None,
            });
        }
        let (secret, account, grants) = self.keys.task_grants(&self.published.world(), id)?;
        Some(Admission { secret, account, grants: Some(grants) })
    }
}
