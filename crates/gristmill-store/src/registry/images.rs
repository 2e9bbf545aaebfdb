//! Images: what accounts registered and what the operator imported.
//!
//! An account registers `img-...` for an operating system image `m-...` (`reference/api.md` 10).
//! Whether somebody imported that `m-...` is another question: the machine asks it when it starts
//! and fails with a clear message. [`Registry::import_for`] answers it for both kinds of id.
//!
//! Invariants
//! - An account sees and deletes its own records only, and uses imports for itself or for all.
//! - `img-...` ids sort by creation, so a page goes on behind its last id.

use super::{Registry, error::RegistryError, tokens::Token};
use gristmill_model::{AccountId, ImageId, Timestamp, input};
use rusqlite::{OptionalExtension, Row, params, types::Type};

/// The most images an account may register.
pub const IMAGES_PER_ACCOUNT_MAX: u64 = 1_000;

/// An image that an account registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `img-...`
    pub id: ImageId,
    /// Whose.
    pub account: AccountId,
    /// As the account calls it.
    pub name: String,
    /// Free text.
    pub description: String,
    /// `m-...`, imported or not.
    pub ecs_image: ImageId,
    /// `Linux` or `Windows`.
    pub platform: String,
    /// When it was registered.
    pub created: Timestamp,
}

/// A root file system that the operator imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// `m-...`
    pub id: ImageId,
    /// For whom; `None`: for every account.
    pub account: Option<AccountId>,
    /// `Linux` or `Windows`.
    pub platform: String,
    /// Its directory, among those of the region's images.
    pub root: String,
    /// Of what was imported; empty when it has none, such as a directory.
    pub digest: String,
    /// Size on disk.
    pub bytes: u64,
    /// What it was imported from, for a person.
    pub origin: String,
    /// When.
    pub imported: Timestamp,
    /// When it was last checked.
    pub checked: Option<Timestamp>,
    /// What the check found; empty: nothing.
    pub fault: String,
}

const IMAGE: &str = "id, account, name, description, ecs_image, platform, created";
const IMPORT: &str = "id, account, platform, root, digest, bytes, origin, imported, checked, fault";

impl Registry {
    /// Registers an image; the same token gives the id of the first time.
    pub fn create_image(
        &self,
        image: &Image,
        token: Option<&input::Token>,
    ) -> Result<ImageId, RegistryError> {
        let account = image.account;
        let token = Token { sent: token, account, kind: "image", at: image.created };
        let made = self.write("register an image", |transaction| {
            token.once(transaction, || {
                let count: i64 = transaction
                    .prepare_cached("SELECT count(*) FROM image WHERE account = ?1")?
                    .query_row([account.0.cast_signed()], |row| row.get(0))?;
                if count.unsigned_abs() >= IMAGES_PER_ACCOUNT_MAX {
                    let what = format!("account {} registers too many images", account.0);
                    return Err(RegistryError::Quota { what, max: IMAGES_PER_ACCOUNT_MAX }.into());
                }
                transaction
                    .prepare_cached("INSERT INTO image VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                    .execute(params![
                        image.id.as_str(),
                        account.0.cast_signed(),
                        image.name,
                        image.description,
                        image.ecs_image.as_str(),
                        image.platform,
                        image.created.0,
                    ])?;
                Ok(image.id.to_string())
            })
        })?;
        Ok(made.parse().expect("only ids of images are noted"))
    }

    /// An image of this account.
    pub fn image(&self, account: AccountId, id: &ImageId) -> Result<Image, RegistryError> {
        let found = self.read("an image", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {IMAGE} FROM image WHERE id = ?1 AND account = ?2"
                ))?
                .query_row(params![id.as_str(), account.0.cast_signed()], image)
                .optional()
        })?;
        found.ok_or_else(|| no_image(id))
    }

    /// Whether this account registered the image.
    pub fn has_image(&self, account: AccountId, id: &ImageId) -> Result<bool, RegistryError> {
        match self.image(account, id) {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The images of this account behind `after`, in the order of their creation.
    pub fn images(
        &self,
        account: AccountId,
        after: Option<&ImageId>,
        images_max: usize,
    ) -> Result<Vec<Image>, RegistryError> {
        let after = after.map_or("", ImageId::as_str);
        self.read("the images of an account", |connection| {
            let sql = format!(
                "SELECT {IMAGE} FROM image WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
            );
            let max = i64::try_from(images_max).unwrap_or(i64::MAX);
            connection
                .prepare_cached(&sql)?
                .query_map(params![account.0.cast_signed(), after, max], image)?
                .collect()
        })
    }

    /// Forgets an image of this account. What runs from it runs on.
    pub fn delete_image(&self, account: AccountId, id: &ImageId) -> Result<(), RegistryError> {
        self.write("delete an image", |transaction| {
            let gone = transaction.execute(
                "DELETE FROM image WHERE id = ?1 AND account = ?2",
                params![id.as_str(), account.0.cast_signed()],
            )?;
            if gone == 0 { Err(no_image(id).into()) } else { Ok(()) }
        })
    }

    /// Notes an import. One of the same id is an error, unless it is to be replaced.
    pub fn put_import(&self, import: &Import, replace: bool) -> Result<(), RegistryError> {
        self.write("note an import", |transaction| {
            let sql = "SELECT EXISTS (SELECT 1 FROM import WHERE id = ?1)";
            let exists: bool =
                transaction.query_row(sql, [import.id.as_str()], |row| row.get(0))?;
            if exists && !replace {
                let (kind, name) = ("imported image", import.id.to_string());
                return Err(RegistryError::Taken { kind, name }.into());
            }
            transaction.execute(
                "INSERT OR REPLACE INTO import VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    import.id.as_str(),
                    import.account.map(|account| account.0.cast_signed()),
                    import.platform,
                    import.root,
                    import.digest,
                    import.bytes.cast_signed(),
                    import.origin,
                    import.imported.0,
                    import.checked.map(|at| at.0),
                    import.fault,
                ],
            )?;
            Ok(())
        })
    }

    /// The import with this `m-...` id, whoever it is for. For the operator.
    pub fn import(&self, id: &ImageId) -> Result<Import, RegistryError> {
        let sql = format!("SELECT {IMPORT} FROM import WHERE id = ?1");
        let found = self.read("an import", |connection| {
            connection.prepare_cached(&sql)?.query_row([id.as_str()], import).optional()
        })?;
        found.ok_or_else(|| no_import(id))
    }

    /// All imports, by id. For the operator.
    pub fn imports(&self) -> Result<Vec<Import>, RegistryError> {
        let sql = format!("SELECT {IMPORT} FROM import ORDER BY id");
        self.read("the imports", |connection| {
            connection.prepare_cached(&sql)?.query_map([], import)?.collect()
        })
    }

    /// The import that this account gets for `id`: an `m-...`, or an `img-...` of its own. `None`:
    /// nobody imported it, or not for this account.
    pub fn import_for(
        &self,
        account: AccountId,
        id: &ImageId,
    ) -> Result<Option<Import>, RegistryError> {
        let sql = format!(
            "SELECT {IMPORT} FROM import
             WHERE (account IS NULL OR account = ?1)
               AND id = coalesce((SELECT ecs_image FROM image WHERE id = ?2 AND account = ?1), ?2)"
        );
        self.read("an import", |connection| {
            connection
                .prepare_cached(&sql)?
                .query_row(params![account.0.cast_signed(), id.as_str()], import)
                .optional()
        })
    }

    /// Notes what a check of an import found; an empty `fault`: nothing.
    pub fn note_import_checked(
        &self,
        id: &ImageId,
        at: Timestamp,
        fault: &str,
    ) -> Result<(), RegistryError> {
        self.write("note a check", |transaction| {
            let sql = "UPDATE import SET checked = ?2, fault = ?3 WHERE id = ?1";
            match transaction.execute(sql, params![id.as_str(), at.0, fault])? {
                0 => Err(no_import(id).into()),
                _ => Ok(()),
            }
        })
    }

    /// Forgets an import. Its files are the caller's.
    pub fn delete_import(&self, id: &ImageId) -> Result<(), RegistryError> {
        self.write("forget an import", |transaction| {
            match transaction.execute("DELETE FROM import WHERE id = ?1", [id.as_str()])? {
                0 => Err(no_import(id).into()),
                _ => Ok(()),
            }
        })
    }
}

fn no_image(id: &ImageId) -> RegistryError {
    RegistryError::NotFound { kind: "image", id: id.to_string() }
}

fn no_import(id: &ImageId) -> RegistryError {
    RegistryError::NotFound { kind: "imported image", id: id.to_string() }
}

fn account(row: &Row<'_>, at: usize) -> rusqlite::Result<AccountId> {
    Ok(AccountId(row.get::<_, i64>(at)?.cast_unsigned()))
}

fn id(row: &Row<'_>, at: usize) -> rusqlite::Result<ImageId> {
    row.get::<_, String>(at)?
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))
}

fn image(row: &Row<'_>) -> rusqlite::Result<Image> {
    Ok(Image {
        id: id(row, 0)?,
        account: account(row, 1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        ecs_image: id(row, 4)?,
        platform: row.get(5)?,
        created: Timestamp(row.get(6)?),
    })
}

fn import(row: &Row<'_>) -> rusqlite::Result<Import> {
    let account: Option<i64> = row.get(1)?;
    let checked: Option<i64> = row.get(8)?;
    Ok(Import {
        id: id(row, 0)?,
        account: account.map(|number| AccountId(number.cast_unsigned())),
        platform: row.get(2)?,
        root: row.get(3)?,
        digest: row.get(4)?,
        bytes: row.get::<_, i64>(5)?.cast_unsigned(),
        origin: row.get(6)?,
        imported: Timestamp(row.get(7)?),
        checked: checked.map(Timestamp),
        fault: row.get(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        (dir, registry)
    }

    fn named(id: &str) -> ImageId {
        id.parse().expect("legal")
    }

    fn an_image(id: u128, account: u64) -> Image {
        Image {
            id: named(&format!("img-{id}")),
            account: AccountId(account),
            name: format!("image{id}"),
            description: String::new(),
            ecs_image: named("m-1"),
            platform: "Linux".to_owned(),
            created: Timestamp(7),
        }
    }

    fn an_import(id: &str, account: Option<u64>) -> Import {
        Import {
            id: named(id),
            account: account.map(AccountId),
            platform: "Linux".to_owned(),
            root: format!("images/{id}"),
            digest: String::new(),
            bytes: 5,
            origin: "a directory".to_owned(),
            imported: Timestamp(1),
            checked: None,
            fault: String::new(),
        }
    }

    #[test]
    fn an_account_has_only_its_own_images_page_by_page() {
        let (_dir, registry) = registry();
        for (id, account) in [(1, 1), (2, 2), (3, 1), (4, 1)] {
            registry.create_image(&an_image(id, account), None).expect("made");
        }
        let page = |after: Option<&str>, max| -> Vec<String> {
            let after = after.map(named);
            let found = registry.images(AccountId(1), after.as_ref(), max).expect("read");
            found.into_iter().map(|image| image.id.to_string()).collect()
        };
        assert_eq!(page(None, 2), ["img-1", "img-3"]);
        assert_eq!(page(Some("img-3"), 2), ["img-4"]);
        assert_eq!(registry.image(AccountId(2), &named("img-2")).expect("its own"), an_image(2, 2));
        let foreign = registry.image(AccountId(1), &named("img-2")).expect_err("foreign");
        let missing = registry.image(AccountId(1), &named("img-9")).expect_err("missing");
        let same = |error: &RegistryError, id| {
            assert_eq!(error.to_string(), format!("image `img-{id}` is not found"));
        };
        same(&foreign, 2);
        same(&missing, 9);
        same(&registry.delete_image(AccountId(1), &named("img-2")).expect_err("foreign"), 2);
        registry.delete_image(AccountId(2), &named("img-2")).expect("its own");
        same(&registry.delete_image(AccountId(2), &named("img-2")).expect_err("gone"), 2);
    }

    #[test]
    fn a_token_makes_one_image() {
        let (_dir, registry) = registry();
        let token = input::Token { text: "t".to_owned(), body: "d".to_owned() };
        let first = registry.create_image(&an_image(1, 1), Some(&token)).expect("made");
        let again = registry.create_image(&an_image(2, 1), Some(&token)).expect("as before");
        assert_eq!((first, again), (named("img-1"), named("img-1")));
        assert!(registry.image(AccountId(1), &named("img-2")).is_err());
    }

    #[test]
    fn an_account_gets_the_imports_meant_for_it() {
        let (_dir, registry) = registry();
        registry.create_image(&an_image(1, 1), None).expect("made");
        registry.create_image(&an_image(2, 2), None).expect("made");
        let nobody = registry.import_for(AccountId(1), &named("m-1")).expect("read");
        assert_eq!(nobody, None, "registered and not imported");
        registry.put_import(&an_import("m-1", Some(1)), false).expect("noted");
        registry.put_import(&an_import("m-2", None), false).expect("noted");
        let root = |account, id: &str| {
            let found = registry.import_for(AccountId(account), &named(id)).expect("read");
            found.map(|import| import.root)
        };
        for (account, id, wanted) in [
            (1, "m-1", Some("images/m-1")),
            (1, "img-1", Some("images/m-1")),
            (2, "m-1", None),
            (2, "img-1", None),
            (2, "img-2", None),
            (2, "m-2", Some("images/m-2")),
            (2, "m-3", None),
        ] {
            assert_eq!(root(account, id).as_deref(), wanted, "{account} {id}");
        }
    }

    #[test]
    fn an_import_is_replaced_checked_and_forgotten() {
        let (_dir, registry) = registry();
        registry.put_import(&an_import("m-1", Some(1)), false).expect("noted");
        registry.note_import_checked(&named("m-1"), Timestamp(9), "no /bin/sh").expect("noted");
        let checked = registry.import(&named("m-1")).expect("there");
        assert_eq!((checked.checked, checked.fault.as_str()), (Some(Timestamp(9)), "no /bin/sh"));
        let taken = registry.put_import(&an_import("m-1", None), false).expect_err("there");
        assert_eq!(taken.to_string(), "imported image `m-1` exists already");
        registry.put_import(&an_import("m-1", None), true).expect("replaced");
        assert_eq!(registry.imports().expect("read"), [an_import("m-1", None)]);
        registry.delete_import(&named("m-1")).expect("forgotten");
        let gone = "imported image `m-1` is not found";
        assert_eq!(registry.delete_import(&named("m-1")).expect_err("gone").to_string(), gone);
        let check = registry.note_import_checked(&named("m-1"), Timestamp(9), "");
        assert_eq!(check.expect_err("gone").to_string(), gone);
    }
}
