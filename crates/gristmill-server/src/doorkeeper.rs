//! Which keys open the object store and the message service, for the doors that the front door
//! puts in front of them.

pub use crate::keys::Unwelcome;
use crate::{keys::KeyRing, mill::Clock, published::Published};
use gristmill_model::{
    AccountId,
    policy::{Grant, Permit},
};
use std::sync::Arc;

/// What a key is worth.
pub struct Admission {
    /// What signs.
    pub secret: String,
    /// For whom it speaks.
    pub account: AccountId,
    /// In the object store; `None`: everything the account owns.
    pub grants: Option<Vec<Grant>>,
    /// Which operations it may call: ask with the service and the operation's name.
    pub permit: Permit,
}

/// Looks keys up: those of accounts, temporary ones, and those of tasks while they are good.
#[derive(Clone)]
pub struct Doorkeeper {
    keys: Arc<KeyRing>,
    published: Published,
    clock: Clock,
}

impl Doorkeeper {
    /// A doorkeeper who knows these keys and this world.
    pub fn new(keys: Arc<KeyRing>, published: Published, clock: Clock) -> Self {
        Self { keys, published, clock }
    }

    /// What a key of an account is worth now. `token`: the security token of the request. Keys of
    /// tasks and machines are not found: they are for the object store only.
    pub fn find(&self, id: &str, token: Option<&str>) -> Result<Admission, Unwelcome> {
        let welcome = self.keys.find(id, token, (self.clock)())?;
        let grants = welcome.permit.reach().grants();
        let (secret, account, permit) = (welcome.secret, welcome.account, welcome.permit);
        Ok(Admission { secret, account, grants, permit })
    }

    /// The same at the object store, which tasks and machines may use too.
    pub fn find_for_objects(&self, id: &str, token: Option<&str>) -> Result<Admission, Unwelcome> {
        if !KeyRing::is_derived(id) {
            return self.find(id, token);
        }
        let (secret, account, grants) = self.keys.task_grants(&self.published.world(), id)?;
        Ok(Admission { secret, account, grants: Some(grants), permit: Permit::default() })
    }
}
