//! Who may call: access keys of accounts, and what is derived from the region's secret.
//!
//! Keys of accounts lie in the registry; all of them are kept here as a snapshot that is replaced
//! after each change, so that a request never waits for the disk. Everything else is derived from
//! the region's secret: nothing about it is stored and a restart changes nothing.
//!
//! Invariants
//! - A disabled account is worth nothing at once: its keys, the temporary keys they asked for, and
//!   the keys of its running tasks.
//! - A later snapshot is never replaced by an earlier one.
//!
//! Start at [`KeyRing::find`]. Temporary keys: [`crate::sts`]; keys of tasks and machines:
//! [`crate::task_keys`].

use arc_swap::ArcSwap;
use gristmill_model::{
    AccountId, Timestamp,
    policy::{Permit, Policy},
};
use gristmill_store::registry::{Registry, RegistryError};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// An access key of an account.
#[derive(Clone)]
struct AccountKey {
    secret: String,
    account: AccountId,
    is_active: bool,
    policy: Option<Arc<Policy>>,
}

/// What a key is worth now.
#[derive(Clone)]
pub struct Welcome {
    /// What signs. Never logged.
    pub secret: String,
    /// For whom it speaks.
    pub account: AccountId,
    /// What it is limited to.
    pub permit: Permit,
    /// Whether it is the root key, which may use the admin door.
    pub is_root: bool,
    /// The key of an account that stands behind it: itself, or the one that asked for it.
    pub key_id: String,
    /// Whether it ends by itself.
    pub is_temporary: bool,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        f.debug_struct("Welcome")
            .field("account", &self.account)
            .field("key", &self.key_id)
            .finish()
    }
}

/// Why a key is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// There is no such key.
    #[error("the access key id is not found")]
    Unknown,
    /// It is switched off.
    #[error("the access key is inactive")]
    Inactive,
    /// Its account is switched off.
    #[error("the account of the access key is disabled")]
    AccountDisabled,
    /// It is temporary and came without its token.
    #[error("the access key is temporary and needs its security token")]
    MissingToken,
    /// It is temporary and came with another token.
    #[error("the security token is not the one of this access key")]
    WrongToken,
    /// It was temporary.
    #[error("the security token has expired")]
    Expired,
}

/// All keys of the region.
pub struct KeyRing {
    secret: [u8; 32],
    root: (String, AccountKey),
    known: ArcSwap<Known>,
    /// Held while the registry is read, so that snapshots follow each other.
    reading: Mutex<()>,
}

/// What the registry said last.
#[derive(Default)]
struct Known {
    keys: BTreeMap<String, AccountKey>,
    disabled: BTreeSet<AccountId>,
}

impl KeyRing {
    /// Keys derived from `secret`, and the root key. Other keys come with [`Self::read`].
    pub fn new(secret: [u8; 32], root: (String, String), account: AccountId) -> Self {
        let (id, root) = root;
        let key = AccountKey { secret: root, account, is_active: true, policy: None };
        Self { secret, root: (id, key), known: ArcSwap::default(), reading: Mutex::new(()) }
    }

    /// Takes what the registry says now. Called at the start and after each change of an account
    /// or a key.
    pub fn read(&self, registry: &Registry) -> Result<(), RegistryError> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let (accounts, keys) = registry.key_ring()?;
        let there: BTreeSet<AccountId> = accounts.iter().map(|account| account.id).collect();
        let keys = keys.into_iter().filter(|key| there.contains(&key.account)).map(|key| {
            let policy = key.policy.map(Arc::new);
            let (secret, account, is_active) = (key.secret, key.account, key.is_active);
            (key.id, AccountKey { secret, account, is_active, policy })
        });
        let disabled = accounts.iter().filter(|account| !account.is_active);
        let disabled = disabled.map(|account| account.id).collect();
        self.known.store(Arc::new(Known { keys: keys.collect(), disabled }));
        Ok(())
    }

    /// The account of the root key.
    pub fn root_account(&self) -> AccountId {
        self.root.1.account
    }

    /// What the key with this id, and with this security token, is worth now.
    pub fn find(
        &self,
        id: &str,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Welcome, Unwelcome> {
        match crate::sts::is_temporary(id) {
            true => self.temporary(id, token, now),
            false => self.permanent(id),
        }
    }

    /// An access key of an account. A security token that comes with it means nothing
    /// (`reference/api.md` 2.6).
    pub fn permanent(&self, id: &str) -> Result<Welcome, Unwelcome> {
        let known = self.known.load();
        let is_root = id == self.root.0;
        let key = if is_root { Some(&self.root.1) } else { known.keys.get(id) };
        let key = key.ok_or(Unwelcome::Unknown)?;
        if !key.is_active {
            return Err(Unwelcome::Inactive);
        }
        self.check_account(key.account)?;
        Ok(Welcome {
            secret: key.secret.clone(),
            account: key.account,
            permit: Permit(key.policy.iter().cloned().collect()),
            is_root,
            key_id: id.to_owned(),
            is_temporary: false,
        })
    }

    pub(crate) fn check_account(&self, account: AccountId) -> Result<(), Unwelcome> {
        let is_disabled =
            account != self.root.1.account && self.known.load().disabled.contains(&account);
        if is_disabled { Err(Unwelcome::AccountDisabled) } else { Ok(()) }
    }

    /// A text nobody can make who does not know the region's secret.
    pub fn derive(&self, parts: &[&str]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part.as_bytes());
            mac.update(b"\0");
        }
        mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string succeeds");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_store::registry::AccessKey;

    const ROOT: AccountId = AccountId(7);

    fn ring(secret: u8) -> KeyRing {
        KeyRing::new([secret; 32], ("root".to_owned(), "hush".to_owned()), ROOT)
    }

    #[test]
    fn keys_are_worth_what_the_registry_said_last() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let ring = ring(1);
        registry.ensure_root_account(ROOT, Timestamp(0)).expect("noted");
        let account = registry.create_account("alice", Timestamp(1)).expect("made").id;
        let policy = serde_json::from_str(r#"{"Actions":["Get*"]}"#).ok();
        let key = AccessKey {
            id: "alices".to_owned(),
            account,
            secret: "secret".to_owned(),
            is_active: true,
            policy,
            note: String::new(),
            created: Timestamp(2),
        };
        registry.create_key(&key).expect("made");
        let unwelcome = |id: &str| ring.find(id, None, Timestamp(3)).err();
        assert_eq!(unwelcome("alices"), Some(Unwelcome::Unknown), "not read yet");
        ring.read(&registry).expect("read");
        let welcome = ring.find("alices", Some("a token"), Timestamp(3)).expect("active");
        assert_eq!((welcome.account, welcome.is_root), (account, false));
        assert_eq!(welcome.permit.0.len(), 1);
        registry.set_key_active("alices", false).expect("changed");
        ring.read(&registry).expect("read");
        assert_eq!(unwelcome("alices"), Some(Unwelcome::Inactive));
        registry.set_key_active("alices", true).expect("changed");
        registry.set_account_active(account, false).expect("changed");
        ring.read(&registry).expect("read");
        assert_eq!(unwelcome("alices"), Some(Unwelcome::AccountDisabled));
        assert_eq!(ring.check_account(account), Err(Unwelcome::AccountDisabled));
        registry.set_account_active(ROOT, false).expect("changed");
        ring.read(&registry).expect("read");
        let root = ring.find("root", None, Timestamp(3)).expect("always");
        assert!(root.is_root && root.permit == Permit::default());
    }
}
