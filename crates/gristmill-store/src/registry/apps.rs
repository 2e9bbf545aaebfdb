//! Apps: names of accounts, each with the revisions its owner described (`reference/api.md` 11).
//!
//! The first revision is 0; a change adds one, and no number is given twice, also when the newest
//! was deleted. An app without revisions is no app. Published apps keep their owner; their names are
//! unique among the published.
//!
//! Invariants
//! - Every app has at least one revision.
//! - An account sees and changes its own apps; it sees and calls published ones of others.

use super::{Registry, error::RegistryError, error::Undone, tokens::Token};
use gristmill_model::{AccountId, AppName, AppSpec, Timestamp, input};
use rusqlite::{OptionalExtension, Row, Transaction, params, types::Type};

/// The most apps an account may have.
pub const APPS_PER_ACCOUNT_MAX: u64 = 1_000;

/// The most revisions an app may have at a time.
pub const REVISIONS_PER_APP_MAX: u64 = 1_000;

/// An app with its newest revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Whose.
    pub owner: AccountId,
    /// When it was made.
    pub created: Timestamp,
    /// Whether everybody may call it.
    pub public: bool,
    /// The newest revision's number.
    pub revision: u32,
    /// The newest revision.
    pub spec: AppSpec,
}

/// Which apps are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppScope {
    /// Those of this account.
    Private(AccountId),
    /// Published ones, of whatever account.
    Public,
}

/// Number and time of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppRevision {
    /// From 0.
    pub revision: u32,
    /// When it was described.
    pub updated: Timestamp,
}

/// Apps with their newest revisions; a condition and an order follow.
const NEWEST: &str = "SELECT app.account, created, public, app_revision.revision, spec
    FROM app JOIN app_revision USING (account, name)
    WHERE app_revision.revision = (SELECT max(revision) FROM app_revision AS other
        WHERE other.account = app.account AND other.name = app.name)";

impl Registry {
    /// Makes an app with revision 0; the same token gives the name of the first time.
    pub fn create_app(
        &self,
        account: AccountId,
        spec: &AppSpec,
        at: Timestamp,
        token: Option<&input::Token>,
    ) -> Result<String, RegistryError> {
        let token = Token { sent: token, account, kind: "app", at };
        self.write("make an app", |transaction| {
            token.once(transaction, || {
                let sql = "SELECT count(*) FROM app WHERE account = ?1";
                let what = || format!("account {} has too many apps", account.0);
                within(transaction, sql, params![number(account)], APPS_PER_ACCOUNT_MAX, what)?;
                let made = transaction
                    .prepare_cached("INSERT OR IGNORE INTO app VALUES (?1, ?2, 0, ?3, 1)")?
                    .execute(params![number(account), spec.name.as_str(), at.0])?;
                if made == 0 {
                    let name = spec.name.to_string();
                    return Err(RegistryError::Taken { kind: "app", name }.into());
                }
                add_revision(transaction, account, 0, spec, at)?;
                Ok(spec.name.to_string())
            })
        })
    }

    /// Adds a revision to the app of this name. Answers with its number.
    pub fn modify_app(
        &self,
        account: AccountId,
        spec: &AppSpec,
        at: Timestamp,
    ) -> Result<u32, RegistryError> {
        self.write("change an app", |transaction| {
            let next = transaction
                .prepare_cached(
                    "UPDATE app SET revision = revision + 1 WHERE account = ?1 AND name = ?2
                     RETURNING revision - 1",
                )?
                .query_row(params![number(account), spec.name.as_str()], |row| row.get(0))
                .optional()?;
            let next = next.ok_or_else(|| no_app(&spec.name))?;
            let sql = "SELECT count(*) FROM app_revision WHERE account = ?1 AND name = ?2";
            let what = || format!("app {} has too many revisions", spec.name);
            let of = params![number(account), spec.name.as_str()];
            within(transaction, sql, of, REVISIONS_PER_APP_MAX, what)?;
            add_revision(transaction, account, next, spec, at)?;
            Ok(next)
        })
    }

    /// The app of this name in this scope, with its newest revision.
    pub fn app(&self, scope: AppScope, name: &AppName) -> Result<App, RegistryError> {
        let found = self.read("an app", |connection| {
            let (condition, account) = condition(scope);
            connection
                .prepare_cached(&format!("{NEWEST} {condition} AND app.name = ?2"))?
                .query_row(params![account, name.as_str()], app)
                .optional()
        })?;
        found.ok_or_else(|| no_app(name))
    }

    /// The apps of a scope behind `after`, by name.
    pub fn apps(
        &self,
        scope: AppScope,
        after: Option<&AppName>,
        apps_max: usize,
    ) -> Result<Vec<App>, RegistryError> {
        let after = after.map_or("", AppName::as_str);
        self.read("apps", |connection| {
            let (condition, account) = condition(scope);
            let sql = format!("{NEWEST} {condition} AND app.name > ?2 ORDER BY app.name LIMIT ?3");
            let max = i64::try_from(apps_max).unwrap_or(i64::MAX);
            connection.prepare_cached(&sql)?.query_map(params![account, after, max], app)?.collect()
        })
    }

    /// One revision of an app of this account; `None`: the newest.
    pub fn app_revision(
        &self,
        account: AccountId,
        name: &AppName,
        revision: Option<u32>,
    ) -> Result<AppSpec, RegistryError> {
        let Some(revision) = revision else {
            return self.app(AppScope::Private(account), name).map(|app| app.spec);
        };
        let found = self.read("a revision of an app", |connection| {
            connection
                .prepare_cached(
                    "SELECT spec FROM app_revision
                     WHERE account = ?1 AND name = ?2 AND revision = ?3",
                )?
                .query_row(params![number(account), name.as_str(), revision], |row| spec(row, 0))
                .optional()
        })?;
        found.ok_or_else(|| no_revision(name, revision))
    }

    /// The revisions of an app of this account, ascending.
    pub fn app_revisions(
        &self,
        account: AccountId,
        name: &AppName,
    ) -> Result<Vec<AppRevision>, RegistryError> {
        let found: Vec<AppRevision> = self.read("the revisions of an app", |connection| {
            connection
                .prepare_cached(
                    "SELECT revision, updated FROM app_revision
                     WHERE account = ?1 AND name = ?2 ORDER BY revision",
                )?
                .query_map(params![number(account), name.as_str()], |row| {
                    Ok(AppRevision { revision: row.get(0)?, updated: Timestamp(row.get(1)?) })
                })?
                .collect()
        })?;
        if found.is_empty() { Err(no_app(name)) } else { Ok(found) }
    }

    /// Deletes an app of this account, or one revision of it; the last takes the app with it. An
    /// app that is not there is deleted already; a revision that is not there is not found.
    pub fn delete_app(
        &self,
        account: AccountId,
        name: &AppName,
        revision: Option<u32>,
    ) -> Result<(), RegistryError> {
        let of = params![number(account), name.as_str()];
        self.write("delete an app", |transaction| {
            if let Some(revision) = revision {
                let sql = "SELECT count(*) FROM app WHERE account = ?1 AND name = ?2";
                let is_there = transaction.query_row(sql, of, |row| row.get::<_, i64>(0))? > 0;
                let gone = transaction.execute(
                    "DELETE FROM app_revision WHERE account = ?1 AND name = ?2 AND revision = ?3",
                    params![number(account), name.as_str(), revision],
                )?;
                if is_there && gone == 0 {
                    return Err(no_revision(name, revision).into());
                }
            } else {
                let sql = "DELETE FROM app_revision WHERE account = ?1 AND name = ?2";
                transaction.execute(sql, of)?;
            }
            transaction.execute(
                "DELETE FROM app WHERE account = ?1 AND name = ?2 AND NOT EXISTS
                     (SELECT * FROM app_revision WHERE account = ?1 AND name = ?2)",
                of,
            )?;
            Ok(())
        })
    }

    /// Lets everybody see and call an app, or its account alone again. For the operator.
    pub fn publish_app(
        &self,
        account: AccountId,
        name: &AppName,
        public: bool,
    ) -> Result<(), RegistryError> {
        let (name_text, account) = (name.as_str(), number(account));
        self.write("publish an app", |transaction| {
            let sql = "SELECT count(*) FROM app WHERE public = 1 AND name = ?2 AND account <> ?1";
            let others: i64 =
                transaction.query_row(sql, params![account, name_text], |row| row.get(0))?;
            if public && others > 0 {
                let name = format!(":{name}");
                return Err(RegistryError::Taken { kind: "app", name }.into());
            }
            let sql = "UPDATE app SET public = ?3 WHERE account = ?1 AND name = ?2";
            match transaction.execute(sql, params![account, name_text, public])? {
                0 => Err(no_app(name).into()),
                _ => Ok(()),
            }
        })
    }
}

/// What selects the apps of a scope. Both use the account's place, so that the others keep theirs.
fn condition(scope: AppScope) -> (&'static str, i64) {
    match scope {
        AppScope::Private(account) => ("AND app.account = ?1", number(account)),
        AppScope::Public => ("AND app.public = 1 AND ?1 = 0", 0),
    }
}

fn within(
    transaction: &Transaction<'_>,
    count: &str,
    of: &[&dyn rusqlite::ToSql],
    max: u64,
    what: impl FnOnce() -> String,
) -> Result<(), Undone> {
    let count: i64 = transaction.prepare_cached(count)?.query_row(of, |row| row.get(0))?;
    match count.unsigned_abs() < max {
        true => Ok(()),
        false => Err(RegistryError::Quota { what: what(), max }.into()),
    }
}

fn add_revision(
    transaction: &Transaction<'_>,
    account: AccountId,
    revision: u32,
    spec: &AppSpec,
    at: Timestamp,
) -> Result<(), Undone> {
    let text = serde_json::to_string(spec).expect("an app is made of plain data");
    transaction
        .prepare_cached("INSERT INTO app_revision VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![number(account), spec.name.as_str(), revision, at.0, text])?;
    Ok(())
}

fn number(account: AccountId) -> i64 {
    account.0.cast_signed()
}

fn no_app(name: &AppName) -> RegistryError {
    RegistryError::NotFound { kind: "app", id: name.to_string() }
}

fn no_revision(name: &AppName, revision: u32) -> RegistryError {
    RegistryError::NotFound { kind: "revision", id: format!("{name} {revision}") }
}

fn app(row: &Row<'_>) -> rusqlite::Result<App> {
    Ok(App {
        owner: AccountId(row.get::<_, i64>(0)?.cast_unsigned()),
        created: Timestamp(row.get(1)?),
        public: row.get(2)?,
        revision: row.get(3)?,
        spec: spec(row, 4)?,
    })
}

fn spec(row: &Row<'_>, at: usize) -> rusqlite::Result<AppSpec> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALICE: AccountId = AccountId(1);
    const BOB: AccountId = AccountId(2);

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        (dir, registry)
    }

    fn named(name: &str) -> AppName {
        name.parse().expect("legal")
    }

    fn an_app(name: &str, command_line: &str) -> AppSpec {
        let text =
            |default: &str| json!({"description": "", "default": default, "overwritable": true});
        let number =
            |default: u32| json!({"description": "", "default": default, "overwritable": false});
        let spec = json!({
            "name": name, "description": "", "command_line": command_line,
            "image": {"Vm": "img-ubuntu"}, "outputs": {}, "env": {}, "daemonize": false,
            "inputs": {"n": {"description": "", "kind": "Number", "default": 1.5, "local_path": ""}},
            "config": {
                "resource_type": text("OnDemand"), "instance_type": text(""),
                "instance_count": number(1), "min_disk_size": number(40),
                "disk_type": text("cloud_efficiency"), "min_data_disk_size": number(0),
                "data_disk_type": text("cloud_efficiency"), "data_disk_mount_point": text(""),
                "max_retry_count": number(0), "timeout": number(60),
            },
        });
        serde_json::from_value(spec).expect("the shape of the model")
    }

    fn make(registry: &Registry, account: AccountId, name: &str) {
        registry.create_app(account, &an_app(name, "zero"), Timestamp(5), None).expect("made");
    }

    fn said<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn a_change_adds_a_revision_and_the_newest_counts() {
        let (_dir, registry) = registry();
        make(&registry, ALICE, "copy");
        for (number, line) in [(1, "one"), (2, "two")] {
            let changed = registry.modify_app(ALICE, &an_app("copy", line), Timestamp(number + 5));
            assert_eq!(changed.expect("changed").to_string(), number.to_string());
        }
        let app = registry.app(AppScope::Private(ALICE), &named("copy")).expect("there");
        assert_eq!((app.revision, app.created, app.spec), (2, Timestamp(5), an_app("copy", "two")));
        let revisions = registry.app_revisions(ALICE, &named("copy")).expect("there");
        let shown: Vec<_> = revisions.iter().map(|it| (it.revision, it.updated.0)).collect();
        assert_eq!(shown, [(0, 5), (1, 6), (2, 7)]);
        let old = registry.app_revision(ALICE, &named("copy"), Some(0)).expect("there");
        assert_eq!(old.command_line, "zero");
        let newest = registry.app_revision(ALICE, &named("copy"), None).expect("there");
        assert_eq!(newest.command_line, "two");
        assert_eq!(
            said(registry.app_revision(ALICE, &named("copy"), Some(3))),
            "revision `copy 3` is not found"
        );
    }

    #[test]
    fn names_are_unique_within_an_account_and_tokens_answer_once() {
        let (_dir, registry) = registry();
        make(&registry, ALICE, "copy");
        make(&registry, BOB, "copy");
        let again = registry.create_app(ALICE, &an_app("copy", "x"), Timestamp(6), None);
        assert_eq!(said(again), "app `copy` exists already");
        let token = input::Token { text: "t".into(), body: "b".into() };
        for _ in 0..2 {
            let made = registry.create_app(ALICE, &an_app("b", "x"), Timestamp(6), Some(&token));
            assert_eq!(made.expect("made"), "b");
        }
        assert_eq!(
            said(registry.modify_app(ALICE, &an_app("c", "x"), Timestamp(7))),
            "app `c` is not found"
        );
    }

    #[test]
    fn a_deleted_revision_does_not_come_again_and_the_last_takes_the_app_with_it() {
        let (_dir, registry) = registry();
        make(&registry, ALICE, "copy");
        registry.modify_app(ALICE, &an_app("copy", "one"), Timestamp(6)).expect("changed");
        registry.delete_app(ALICE, &named("copy"), Some(1)).expect("deleted");
        assert_eq!(
            said(registry.delete_app(ALICE, &named("copy"), Some(1))),
            "revision `copy 1` is not found"
        );
        let changed = registry.modify_app(ALICE, &an_app("copy", "two"), Timestamp(7));
        assert_eq!(changed.expect("changed"), 2);
        registry.delete_app(ALICE, &named("copy"), Some(0)).expect("deleted");
        registry.delete_app(ALICE, &named("copy"), Some(2)).expect("deleted");
        assert_eq!(said(registry.app_revisions(ALICE, &named("copy"))), "app `copy` is not found");
        make(&registry, ALICE, "copy");
    }

    #[test]
    fn deleting_what_is_not_there_succeeds_and_touches_nobody_elses() {
        let (_dir, registry) = registry();
        make(&registry, ALICE, "copy");
        registry.delete_app(BOB, &named("copy"), None).expect("nothing to do");
        registry.delete_app(BOB, &named("copy"), Some(0)).expect("nothing to do");
        assert!(registry.app(AppScope::Private(ALICE), &named("copy")).is_ok());
        registry.delete_app(ALICE, &named("copy"), None).expect("deleted");
        registry.delete_app(ALICE, &named("copy"), None).expect("deleted already");
        let gone = registry.app(AppScope::Private(ALICE), &named("copy"));
        assert_eq!(said(gone), "app `copy` is not found");
    }

    #[test]
    fn published_apps_are_for_all_and_their_names_are_unique() {
        let (_dir, registry) = registry();
        make(&registry, ALICE, "copy");
        make(&registry, BOB, "copy");
        let public = |name| registry.app(AppScope::Public, &named(name)).map(|app| app.owner);
        assert_eq!(said(public("copy")), "app `copy` is not found");
        registry.publish_app(ALICE, &named("copy"), true).expect("published");
        registry.publish_app(ALICE, &named("copy"), true).expect("again");
        assert_eq!(public("copy").expect("there"), ALICE);
        let taken = registry.publish_app(BOB, &named("copy"), true);
        assert_eq!(said(taken), "app `:copy` exists already");
        registry.publish_app(ALICE, &named("copy"), false).expect("withdrawn");
        registry.publish_app(BOB, &named("copy"), true).expect("published");
        assert_eq!(public("copy").expect("there"), BOB);
        let missing = registry.publish_app(BOB, &named("other"), true);
        assert_eq!(said(missing), "app `other` is not found");
    }

    #[test]
    fn apps_are_listed_by_name_page_by_page() {
        let (_dir, registry) = registry();
        for name in ["b", "a", "d", "c"] {
            make(&registry, ALICE, name);
        }
        make(&registry, BOB, "e");
        registry.publish_app(BOB, &named("e"), true).expect("published");
        let page = |scope, after: Option<&str>, max| -> String {
            let after = after.map(named);
            let apps = registry.apps(scope, after.as_ref(), max).expect("read");
            apps.iter().map(|app| app.spec.name.as_str()).collect()
        };
        assert_eq!(page(AppScope::Private(ALICE), None, 3), "abc");
        assert_eq!(page(AppScope::Private(ALICE), Some("c"), 3), "d");
        assert_eq!(page(AppScope::Private(BOB), None, 3), "e");
        assert_eq!(page(AppScope::Public, None, 3), "e");
    }
}
