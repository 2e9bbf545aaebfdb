//! Access keys of accounts.
//!
//! A key is looked up for every request, so the server keeps all of them in memory
//! ([`Registry::key_ring`]) and reads them again after each change. The secret is kept as it is: a
//! signature is verified with it. Nothing here prints it.

use super::{Registry, accounts::Account, error::RegistryError};
use gristmill_model::{AccountId, Timestamp, policy::Policy};
use rusqlite::{OptionalExtension, Row, params, types::Type};
use std::fmt;

/// The most keys of an account.
pub const KEYS_PER_ACCOUNT_MAX: u64 = 100;

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The public part.
    pub id: String,
    /// Whose.
    pub account: AccountId,
    /// What signs.
    pub secret: String,
    /// Whether it is worth anything.
    pub is_active: bool,
    /// What it is limited to; `None`: everything its account may do.
    pub policy: Option<Policy>,
    /// For people.
    pub note: String,
    /// When it was made.
    pub created: Timestamp,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        f.debug_struct("AccessKey").field("id", &self.id).field("account", &self.account).finish()
    }
}

const KEY: &str = "id, account, secret, state, policy, note, created";

impl Registry {
    /// Makes a key of an account that exists.
    pub fn create_key(&self, key: &AccessKey) -> Result<(), RegistryError> {
        let account = key.account.0.cast_signed();
        let policy = key
            .policy
            .as_ref()
            .map(|policy| serde_json::to_string(policy).expect("a policy has only texts as names"));
        let state = if key.is_active { "Active" } else { "Inactive" };
        self.write("make a key", |transaction| {
            let sql = "SELECT (SELECT count(*) FROM access_key WHERE account = ?1)
                       FROM account WHERE id = ?1";
            let count: Option<i64> =
                transaction.query_row(sql, [account], |row| row.get(0)).optional()?;
            let Some(count) = count else {
                let id = key.account.to_string();
                return Err(RegistryError::NotFound { kind: "account", id }.into());
            };
            if count.unsigned_abs() >= KEYS_PER_ACCOUNT_MAX {
                let what = format!("account {} has too many keys", key.account);
                return Err(RegistryError::Quota { what, max: KEYS_PER_ACCOUNT_MAX }.into());
            }
            transaction.execute(
                "INSERT INTO access_key VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![key.id, account, key.secret, state, policy, key.note, key.created.0],
            )?;
            Ok(())
        })
    }

    /// The keys of one account, or of all, by account and id.
    pub fn keys(&self, account: Option<AccountId>) -> Result<Vec<AccessKey>, RegistryError> {
        let sql = format!(
            "SELECT {KEY} FROM access_key WHERE ?1 IS NULL OR account = ?1 ORDER BY account, id"
        );
        let account = account.map(|account| account.0.cast_signed());
        self.read("the keys", |connection| {
            connection.prepare_cached(&sql)?.query_map([account], key)?.collect()
        })
    }

    /// All accounts and all keys as they are at one moment.
    pub fn key_ring(&self) -> Result<(Vec<Account>, Vec<AccessKey>), RegistryError> {
        // A key of an account that was made between the two reads is refused, not let in.
        Ok((self.accounts()?, self.keys(None)?))
    }

    /// Lets a key be used, or not.
    pub fn set_key_active(&self, id: &str, is_active: bool) -> Result<(), RegistryError> {
        let state = if is_active { "Active" } else { "Inactive" };
        self.write("change the state of a key", |transaction| {
            let sql = "UPDATE access_key SET state = ?2 WHERE id = ?1";
            match transaction.execute(sql, [id, state])? {
                0 => Err(no_key(id).into()),
                _ => Ok(()),
            }
        })
    }

    /// Removes a key.
    pub fn delete_key(&self, id: &str) -> Result<(), RegistryError> {
        self.write("delete a key", |transaction| {
            match transaction.execute("DELETE FROM access_key WHERE id = ?1", [id])? {
                0 => Err(no_key(id).into()),
                _ => Ok(()),
            }
        })
    }
}

fn no_key(id: &str) -> RegistryError {
    RegistryError::NotFound { kind: "access key", id: id.to_owned() }
}

fn key(row: &Row<'_>) -> rusqlite::Result<AccessKey> {
    let policy: Option<String> = row.get(4)?;
    let broken = |error| rusqlite::Error::FromSqlConversionFailure(4, Type::Text, Box::new(error));
    Ok(AccessKey {
        id: row.get(0)?,
        account: AccountId(row.get::<_, i64>(1)?.cast_unsigned()),
        secret: row.get(2)?,
        is_active: row.get::<_, String>(3)? == "Active",
        policy: policy.map(|text| serde_json::from_str(&text).map_err(broken)).transpose()?,
        note: row.get(5)?,
        created: Timestamp(row.get(6)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_key(id: &str, account: u64) -> AccessKey {
        AccessKey {
            id: id.to_owned(),
            account: AccountId(account),
            secret: "hush".to_owned(),
            is_active: true,
            policy: None,
            note: String::new(),
            created: Timestamp(3),
        }
    }

    #[test]
    fn keys_belong_to_accounts_that_exist() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let missing = registry.create_key(&a_key("k", 1)).expect_err("no account");
        assert_eq!(missing.to_string(), "account `1` is not found");
        let account = registry.create_account("alice", Timestamp(1)).expect("made").id;
        let text = r#"{"Actions":["Get*"],"Places":["oss://bucket/"]}"#;
        let limited =
            AccessKey { policy: serde_json::from_str(text).ok(), ..a_key("b", account.0) };
        registry.create_key(&a_key("a", account.0)).expect("made");
        registry.create_key(&limited).expect("made");
        let all = [a_key("a", account.0), limited];
        assert_eq!(registry.keys(Some(account)).expect("read"), all);
        assert_eq!(registry.keys(None).expect("read"), all);
        assert_eq!(registry.keys(Some(AccountId(99))).expect("read"), []);
    }

    #[test]
    fn a_key_is_switched_off_and_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let account = registry.create_account("alice", Timestamp(1)).expect("made").id;
        registry.create_key(&a_key("a", account.0)).expect("made");
        registry.set_key_active("a", false).expect("changed");
        assert!(!registry.keys(None).expect("read")[0].is_active);
        registry.delete_key("a").expect("gone");
        let gone = "access key `a` is not found";
        assert_eq!(registry.delete_key("a").expect_err("gone").to_string(), gone);
        assert_eq!(registry.set_key_active("a", true).expect_err("gone").to_string(), gone);
        registry.create_key(&a_key("b", account.0)).expect("made");
        registry.set_account_active(account, false).expect("disabled");
        registry.delete_account(account).expect("gone with its keys");
        assert_eq!(registry.key_ring().expect("read"), (vec![], vec![]));
    }

    #[test]
    fn an_account_has_so_many_keys_and_a_key_does_not_show_its_secret() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let account = registry.create_account("alice", Timestamp(1)).expect("made").id;
        for number in 0..KEYS_PER_ACCOUNT_MAX {
            registry.create_key(&a_key(&format!("k{number}"), account.0)).expect("made");
        }
        let over = registry.create_key(&a_key("one-more", account.0)).expect_err("too many");
        assert_eq!(over.to_string(), "account 1 has too many keys: 100 are allowed");
        let shown = format!("{:?}", a_key("a", 1));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
