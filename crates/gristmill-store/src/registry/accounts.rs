//! Accounts: who owns jobs, clusters, buckets, images and apps.
//!
//! Invariants
//! - An id is never used twice.
//! - The account of the root key is always there and always active.

use super::{
    Registry,
    error::{RegistryError, Undone},
};
use gristmill_model::{AccountId, Timestamp};
use rusqlite::{OptionalExtension, Row, Transaction, params};

/// The most accounts of a region.
pub const ACCOUNTS_MAX: u64 = 10_000;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Shown as `OwnerId`.
    pub id: AccountId,
    /// For people; unique.
    pub name: String,
    /// Whether its keys are worth anything.
    pub is_active: bool,
    /// When it was made.
    pub created: Timestamp,
}

const ACCOUNT: &str = "id, name, state, created";

impl Registry {
    /// Makes sure that the account of the root key is there.
    pub fn ensure_root_account(&self, id: AccountId, now: Timestamp) -> Result<(), RegistryError> {
        let plain = "root".to_owned();
        let numbered = format!("root-{id}");
        self.write("note the root account", |transaction| {
            for name in [plain, numbered] {
                transaction.execute(
                    "INSERT OR IGNORE INTO account VALUES (?1, ?2, 'Active', ?3)",
                    params![id.0.cast_signed(), name, now.0],
                )?;
            }
            let sql = "UPDATE account SET state = 'Active' WHERE id = ?1";
            transaction.execute(sql, [id.0.cast_signed()])?;
            Ok(())
        })
    }

    /// Makes an account.
    pub fn create_account(&self, name: &str, now: Timestamp) -> Result<Account, RegistryError> {
        self.write("make an account", |transaction| {
            let sql = "SELECT count(*), count(*) FILTER (WHERE name = ?1) FROM account";
            let (all, same): (i64, i64) =
                transaction.query_row(sql, [name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if same > 0 {
                return Err(RegistryError::Taken { kind: "account", name: name.to_owned() }.into());
            }
            if all.unsigned_abs() >= ACCOUNTS_MAX {
                let what = "there are too many accounts".to_owned();
                return Err(RegistryError::Quota { what, max: ACCOUNTS_MAX }.into());
            }
            transaction.execute(
                "INSERT INTO account (name, state, created) VALUES (?1, 'Active', ?2)",
                params![name, now.0],
            )?;
            let id = AccountId(transaction.last_insert_rowid().cast_unsigned());
            Ok(Account { id, name: name.to_owned(), is_active: true, created: now })
        })
    }

    /// An account by its number or its name.
    pub fn account(&self, named: &str) -> Result<Account, RegistryError> {
        let number: i64 = named.parse().unwrap_or(-1);
        let sql = format!(
            "SELECT {ACCOUNT} FROM account WHERE id = ?1 OR name = ?2 ORDER BY id = ?1 DESC LIMIT 1"
        );
        let found = self.read("an account", |connection| {
            connection.prepare_cached(&sql)?.query_row(params![number, named], account).optional()
        })?;
        found.ok_or_else(|| no_account(named))
    }

    /// All accounts, oldest first.
    pub fn accounts(&self) -> Result<Vec<Account>, RegistryError> {
        let sql = format!("SELECT {ACCOUNT} FROM account ORDER BY id");
        self.read("the accounts", |connection| {
            connection.prepare_cached(&sql)?.query_map([], account)?.collect()
        })
    }

    /// Lets an account be used, or not.
    pub fn set_account_active(&self, id: AccountId, is_active: bool) -> Result<(), RegistryError> {
        let state = if is_active { "Active" } else { "Disabled" };
        self.write("change the state of an account", |transaction| {
            let sql = "UPDATE account SET state = ?2 WHERE id = ?1";
            match transaction.execute(sql, params![id.0.cast_signed(), state])? {
                0 => Err(no_account(&id.to_string()).into()),
                _ => Ok(()),
            }
        })
    }

    /// Removes a disabled account with its keys, images and apps.
    pub fn delete_account(&self, id: AccountId) -> Result<(), RegistryError> {
        self.write("delete an account", |transaction| {
            match is_disabled(transaction, id)? {
                Some(true) => {}
                Some(false) => {
                    let what = format!("account `{id}` is not disabled");
                    return Err(RegistryError::Conflict { what }.into());
                }
                None => return Err(no_account(&id.to_string()).into()),
            }
            for sql in [
                "DELETE FROM access_key WHERE account = ?1",
                "DELETE FROM image WHERE account = ?1",
                "DELETE FROM import WHERE account = ?1",
                "DELETE FROM app WHERE account = ?1",
                "DELETE FROM account WHERE id = ?1",
            ] {
                transaction.execute(sql, [id.0.cast_signed()])?;
            }
            Ok(())
        })
    }
}

fn is_disabled(transaction: &Transaction<'_>, id: AccountId) -> Result<Option<bool>, Undone> {
    let sql = "SELECT state <> 'Active' FROM account WHERE id = ?1";
    Ok(transaction.query_row(sql, [id.0.cast_signed()], |row| row.get(0)).optional()?)
}

fn no_account(named: &str) -> RegistryError {
    RegistryError::NotFound { kind: "account", id: named.to_owned() }
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: AccountId(row.get::<_, i64>(0)?.cast_unsigned()),
        name: row.get(1)?,
        is_active: row.get::<_, String>(2)? == "Active",
        created: Timestamp(row.get(3)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: AccountId = AccountId(1_000_000_001);

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        registry.ensure_root_account(ROOT, Timestamp(1)).expect("noted");
        (dir, registry)
    }

    #[test]
    fn the_root_account_is_there_once_however_often_the_region_starts() {
        let (_dir, registry) = registry();
        registry.ensure_root_account(ROOT, Timestamp(2)).expect("as before");
        registry.ensure_root_account(AccountId(7), Timestamp(3)).expect("another number");
        let all = registry.accounts().expect("read");
        let shown: Vec<_> = all.iter().map(|a| (a.id.0, a.name.as_str(), a.created.0)).collect();
        assert_eq!(shown, [(7, "root-7", 3), (ROOT.0, "root", 1)]);
    }

    #[test]
    fn accounts_have_numbers_of_their_own_for_ever() {
        let (_dir, registry) = registry();
        let first = registry.create_account("alice", Timestamp(5)).expect("made");
        assert_eq!((first.id, first.is_active), (AccountId(ROOT.0 + 1), true));
        let taken = registry.create_account("alice", Timestamp(6)).expect_err("taken");
        assert_eq!(taken.to_string(), "account `alice` exists already");
        for named in ["alice", "1000000002"] {
            assert_eq!(registry.account(named).expect("found"), first, "{named}");
        }
        let in_use = registry.delete_account(first.id).expect_err("active");
        assert_eq!(in_use.to_string(), "account `1000000002` is not disabled");
        registry.set_account_active(first.id, false).expect("disabled");
        assert!(!registry.account("alice").expect("found").is_active);
        registry.delete_account(first.id).expect("gone");
        let gone = "account `1000000002` is not found";
        assert_eq!(registry.delete_account(first.id).expect_err("gone").to_string(), gone);
        let enable = registry.set_account_active(first.id, true);
        assert_eq!(enable.expect_err("gone").to_string(), gone);
        let second = registry.create_account("alice", Timestamp(7)).expect("made");
        assert_eq!(second.id, AccountId(ROOT.0 + 2), "the number of the first is not used again");
    }
}
