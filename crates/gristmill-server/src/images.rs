//! What machines start from: the imports in the registry, and their trees below the data directory.
//!
//! The registry says which directory is an image; the directory is complete before the registry
//! names it (see `gristmill_images`). Removing an image is the other way round: first the registry
//! forgets it, then its directory is swept away, as soon as no machine runs from it.

use crate::catalogue::{SYSTEM_IMAGES, is_system_image};
use gristmill_images::{ImageError, Library};
use gristmill_model::{AccountId, ImageId};
use gristmill_store::registry::{Import, Registry, RegistryError};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use tracing::{info, warn};

/// Why a machine has no root, for its owner.
#[derive(Debug, thiserror::Error)]
pub enum NoRoot {
    /// Nobody offers machines of this kind.
    #[error("no provider of this region offers Windows (`{0}`)")]
    Windows(ImageId),
    /// The account's record is gone.
    #[error("image `{0}` is not registered any more")]
    Unregistered(ImageId),
    /// The operator did not import it for this account.
    #[error(
        "image `{0}` was not imported; the operator imports it with `gristmill admin image import`"
    )]
    NotImported(ImageId),
    /// The directory is not what the registry says.
    #[error("the files of image `{0}` are missing; the operator has to import it again")]
    Missing(ImageId),
    /// The registry did not answer.
    #[error("the registry of images does not answer")]
    Registry(#[from] RegistryError),
}

/// Images for machines.
pub struct Images {
    registry: Registry,
    library: Library,
}

impl Images {
    /// Those of the region in this data directory.
    pub fn new(registry: Registry, data_dir: &Path) -> Self {
        Self { registry, library: Library::of(data_dir) }
    }

    /// The trees.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The directory of the image that a machine of this account starts from; `None`: this host's own
    /// root.
    pub fn root_of(
        &self,
        account: AccountId,
        image: Option<&ImageId>,
    ) -> Result<Option<PathBuf>, NoRoot> {
        let Some(image) = image else { return Ok(None) };
        if is_system_image(image) {
            return self.system(account, image);
        }
        let import = self.registered(account, image)?;
        let import = self.registry.import_for(account, &import)?;
        let import = import.ok_or_else(|| NoRoot::NotImported(image.clone()))?;
        self.directory(&import).map(Some)
    }

    /// The region's own are the host's root, unless the operator imported another for everybody.
    fn system(&self, account: AccountId, image: &ImageId) -> Result<Option<PathBuf>, NoRoot> {
        if is_windows(image) {
            return Err(NoRoot::Windows(image.clone()));
        }
        let import = self.registry.import_for(account, &without_network(image))?;
        import.map(|import| self.directory(&import)).transpose()
    }

    /// The `m-…` behind an `img-…` of the account.
    fn registered(&self, account: AccountId, image: &ImageId) -> Result<ImageId, NoRoot> {
        if image.as_str().starts_with("m-") {
            return Ok(image.clone());
        }
        match self.registry.image(account, image) {
            Ok(record) if record.platform == "Windows" => Err(NoRoot::Windows(image.clone())),
            Ok(record) => Ok(record.ecs_image),
            Err(RegistryError::NotFound { .. }) => Err(NoRoot::Unregistered(image.clone())),
            Err(failed) => Err(failed.into()),
        }
    }

    fn directory(&self, import: &Import) -> Result<PathBuf, NoRoot> {
        match self.library.sealed(&import.root) {
            Ok(Some(_)) => Ok(self.library.directory(&import.root)),
            Ok(None) | Err(_) => Err(NoRoot::Missing(import.id.clone())),
        }
    }

    /// Removes directories that no import names and no machine holds.
    pub fn sweep(&self) {
        let named = || -> Result<BTreeSet<String>, Unswept> {
            Ok(self.registry.imports()?.into_iter().map(|import| import.root).collect())
        };
        match self.library.sweep(named) {
            Ok(gone) => gone.iter().for_each(|name| info!(name, "an image's files are removed")),
            Err(error) => {
                let causes = crate::registrar::causes(&error);
                warn!(%error, causes, "images that nobody needs stay on the disk for now");
            }
        }
    }
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
enum Unswept {
    #[error("the registry of images does not answer")]
    Registry(#[from] RegistryError),
    #[error("the files of images cannot be removed")]
    Files(#[from] ImageError),
}

/// Whether it is one of the region's Windows images.
fn is_windows(image: &ImageId) -> bool {
    SYSTEM_IMAGES.contains(&(image.as_str(), "Windows"))
}

/// A system image for one kind of network is the same image here.
pub fn without_network(image: &ImageId) -> ImageId {
    let base = image.as_str().strip_suffix("-vpc").and_then(|base| base.parse().ok());
    base.filter(is_system_image).unwrap_or_else(|| image.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_images::{Silent, Source, Wish};
    use gristmill_model::Timestamp;
    use gristmill_store::registry::Image;

    const ME: AccountId = AccountId(7);

    fn named(id: &str) -> ImageId {
        id.parse().expect("legal")
    }

    fn region() -> (tempfile::TempDir, Images) {
        let dir = tempfile::tempdir().expect("a directory");
        let images = Images::new(Registry::open(dir.path()).expect("opens"), dir.path());
        for (id, ecs_image, platform) in
            [("img-1", "m-1", "Linux"), ("img-2", "m-2", "Linux"), ("img-3", "m-1", "Windows")]
        {
            let (ecs_image, platform) = (named(ecs_image), platform.to_owned());
            let (name, description) = (id.to_owned(), String::new());
            let image = Image {
                id: named(id),
                account: ME,
                name,
                description,
                ecs_image,
                platform,
                created: Timestamp(1),
            };
            images.registry.create_image(&image, None).expect("made");
        }
        (dir, images)
    }

    /// Imports an empty tree.
    fn import(dir: &Path, images: &Images, id: &str, account: Option<AccountId>) -> String {
        let name = format!("{id}.{}", images.registry.imports().expect("read").len());
        let source = dir.join("source");
        std::fs::create_dir_all(&source).expect("made");
        let draft = images.library.begin(&name).expect("begun");
        let source = Source::find(&format!("dir:{}", source.display())).expect("found");
        gristmill_images::import(&source, &draft, &Wish::default(), &Silent).expect("imported");
        let import = Import {
            id: named(id),
            account,
            platform: "Linux".to_owned(),
            root: name.clone(),
            digest: String::new(),
            bytes: 0,
            origin: String::new(),
            imported: Timestamp(1),
            checked: None,
            fault: String::new(),
        };
        images.registry.put_import(&import, true).expect("noted");
        draft.keep();
        name
    }

    #[test]
    fn a_machine_starts_from_what_was_imported_for_its_account() {
        let (dir, images) = region();
        let own = import(dir.path(), &images, "m-1", Some(ME));
        let ours = import(dir.path(), &images, "img-ubuntu", None);
        let root = |account, id: &str| match images.root_of(account, Some(&named(id))) {
            Ok(Some(root)) => root.file_name().expect("named").to_string_lossy().into_owned(),
            Ok(None) => "the host".to_owned(),
            Err(why) => why.to_string(),
        };
        let not_imported = |id: &str| NoRoot::NotImported(named(id)).to_string();
        assert_eq!(root(ME, "m-1"), own);
        assert_eq!(root(ME, "img-1"), own);
        assert_eq!(root(ME, "img-2"), not_imported("img-2"));
        assert_eq!(root(AccountId(8), "m-1"), not_imported("m-1"));
        assert_eq!(root(AccountId(8), "img-1"), "image `img-1` is not registered any more");
        assert_eq!(root(ME, "img-ubuntu-vpc"), ours);
        assert_eq!(root(ME, "img-centos"), "the host");
        for windows in ["img-3", "img-windows-vpc"] {
            let wanted = format!("no provider of this region offers Windows (`{windows}`)");
            assert_eq!(root(ME, windows), wanted);
        }
        assert!(images.root_of(ME, None).expect("the host").is_none());
    }

    #[test]
    fn files_go_when_nobody_names_them_and_nobody_holds_them() {
        let (dir, images) = region();
        let name = import(dir.path(), &images, "m-1", None);
        let left = images.library.begin("m-9.left").expect("begun");
        images.sweep();
        assert!(images.library.sealed(&name).expect("read").is_some());
        assert!(left.root().is_dir(), "an import under way stays");
        let machine = gristmill_images::Hold::take(&images.library.directory(&name)).expect("held");
        images.registry.delete_import(&named("m-1")).expect("forgotten");
        images.sweep();
        assert!(machine.root().is_dir(), "a machine runs from it");
        drop(machine);
        images.sweep();
        assert!(!images.library.directory(&name).exists());
    }

    #[test]
    fn a_tree_that_is_gone_is_said_to_be() {
        let (dir, images) = region();
        let name = import(dir.path(), &images, "m-1", None);
        std::fs::remove_dir_all(images.library.directory(&name)).expect("removed");
        let why = images.root_of(ME, Some(&named("m-1"))).expect_err("gone").to_string();
        assert_eq!(why, NoRoot::Missing(named("m-1")).to_string());
    }
}
