//! What is imported, as an operator names it.

use crate::{
    Wish,
    blobs::{self, Blobs},
    compression::plain,
    error::ImageError,
    folder,
    layers::{self, Applied},
    library::Draft,
    manifest,
    progress::Progress,
};
use gristmill_runtime::package::tree::Tree;
use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Something to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    origin: Origin,
    /// Of several images in one place, this one.
    tag: Option<String>,
}

/// Where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A directory that is the root.
    Folder(PathBuf),
    /// An archive of the root.
    Archive(PathBuf),
    /// A directory in the layout of container images.
    Layout(PathBuf),
    /// The same in one archive.
    LayoutArchive(PathBuf),
    /// What `docker save` writes.
    Saved(PathBuf),
    /// A name in a registry.
    Registry(String),
}

/// One kind of place, of a path.
type Kind = fn(PathBuf) -> Origin;

/// What stands before a source that is not to be guessed.
const PREFIXES: [(&str, Kind); 5] = [
    ("dir:", Origin::Folder),
    ("tar:", Origin::Archive),
    ("oci:", Origin::Layout),
    ("oci-archive:", Origin::LayoutArchive),
    ("docker-archive:", Origin::Saved),
];
/// Stands before a name in a registry.
const REGISTRY: &str = "docker://";

impl Source {
    /// Reads what the operator wrote: a prefix and a place, or a path that is looked at, or, where there
    /// is nothing at this path, a name in a registry.
    pub fn find(text: &str) -> Result<Self, ImageError> {
        if let Some(name) = text.strip_prefix(REGISTRY) {
            return Ok(Self { origin: Origin::Registry(name.to_owned()), tag: None });
        }
        for (prefix, kind) in PREFIXES {
            if let Some(place) = text.strip_prefix(prefix) {
                let (path, tag) = path_and_tag(place);
                return Ok(Self { origin: kind(path), tag });
            }
        }
        let (path, tag) = path_and_tag(text);
        let is_path = text.starts_with(['/', '.']) || path.exists();
        if !is_path {
            return Ok(Self { origin: Origin::Registry(text.to_owned()), tag: None });
        }
        Ok(Self { origin: look(&path)?, tag })
    }

    /// Unpacks it into the draft's tree.
    pub(crate) fn unpack(
        &self,
        draft: &Draft,
        wish: &Wish,
        progress: &dyn Progress,
    ) -> Result<Applied, ImageError> {
        let root = draft.root();
        let tree = Tree::of_image(&root, wish.owner, &draft.workshop());
        let mut tree = tree.map_err(ImageError::io("open", &root))?;
        let limits = &wish.limits;
        match &self.origin {
            Origin::Folder(from) => {
                let found =
                    |path: &Path| fs::canonicalize(path).map_err(ImageError::io("find", path));
                let (from, library) = (found(from)?, found(draft.library())?);
                folder::copy(&from, &library, &mut tree, limits, progress)
            }
            Origin::Archive(path) => {
                let file = File::open(path).map_err(ImageError::io("read", path))?;
                let length = file.metadata().map_err(ImageError::io("read", path))?.len();
                progress.begin(&format!("unpacking {}", path.display()), Some(length));
                layers::unpack_root(file, &mut tree, limits, progress)
            }
            Origin::Layout(path) => {
                self.layers(&Blobs::Folder(path.clone()), false, &mut tree, wish, progress)
            }
            Origin::LayoutArchive(path) | Origin::Saved(path) => {
                let (blobs, taken) = open_archive(path, draft, wish, progress)?;
                let saved = matches!(self.origin, Origin::Saved(_)) && !blobs.has("index.json");
                self.layers(&blobs, saved, &mut tree, &wish.beside(taken), progress)
            }
            Origin::Registry(name) => {
                let (blobs, architecture) = (draft.blobs(), &wish.architecture);
                let taken = wish.registry.pull(name, architecture, limits, &blobs, progress)?;
                let blobs = Blobs::Folder(blobs);
                self.layers(&blobs, false, &mut tree, &wish.beside(taken), progress)
            }
        }
    }

    fn layers(
        &self,
        blobs: &Blobs,
        saved: bool,
        tree: &mut Tree,
        wish: &Wish,
        progress: &dyn Progress,
    ) -> Result<Applied, ImageError> {
        let (tag, architecture) = (self.tag.as_deref(), wish.architecture.as_str());
        let image = match saved {
            true => manifest::of_saved(blobs, tag, architecture)?,
            false => manifest::of_layout(blobs, tag, architecture)?,
        };
        layers::apply(&image, blobs, tree, &wish.limits, progress)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, place) = match &self.origin {
            Origin::Folder(path) => ("dir:", path.display().to_string()),
            Origin::Archive(path) => ("tar:", path.display().to_string()),
            Origin::Layout(path) => ("oci:", path.display().to_string()),
            Origin::LayoutArchive(path) => ("oci-archive:", path.display().to_string()),
            Origin::Saved(path) => ("docker-archive:", path.display().to_string()),
            Origin::Registry(name) => (REGISTRY, name.clone()),
        };
        let tag = self.tag.iter().map(|tag| format!(":{tag}")).collect::<String>();
        write!(f, "{prefix}{place}{tag}")
    }
}

/// `path:tag`, unless there is something at the path with its colons.
fn path_and_tag(text: &str) -> (PathBuf, Option<String>) {
    let whole = Path::new(text);
    match text.split_once(':') {
        Some((path, tag)) if !tag.is_empty() && !whole.exists() => {
            (PathBuf::from(path), Some(tag.to_owned()))
        }
        _ => (whole.to_owned(), None),
    }
}

/// What lies at a path.
fn look(path: &Path) -> Result<Origin, ImageError> {
    let about = fs::metadata(path).map_err(ImageError::io("find", path))?;
    if about.is_dir() {
        let is_layout = path.join("oci-layout").is_file() && path.join("index.json").is_file();
        return Ok(if is_layout {
            Origin::Layout(path.into())
        } else {
            Origin::Folder(path.into())
        });
    }
    let no_image =
        |why: &str| ImageError::NoImage { origin: path.display().to_string(), why: why.to_owned() };
    if !about.is_file() {
        return Err(no_image("neither a directory nor a file"));
    }
    let file = File::open(path).map_err(ImageError::io("read", path))?;
    let mut archive = tar::Archive::new(plain(file).map_err(ImageError::io("read", path))?);
    let mut entries = archive.entries().map_err(ImageError::io("read", path))?;
    // The descriptions of an image may stand behind its layers; a root has a directory or a file of
    // its own long before.
    for _ in 0..ENTRIES_LOOKED_AT {
        let Some(entry) = entries.next() else { break };
        let entry = entry.map_err(|_| no_image("it is no tar archive, plain, gzip or zstd"))?;
        let name = entry.path().map_err(ImageError::io("read", path))?;
        match name.to_str().unwrap_or_default().trim_start_matches("./").trim_end_matches('/') {
            "oci-layout" | "index.json" | "blobs" | "blobs/sha256" => {
                return Ok(Origin::LayoutArchive(path.into()));
            }
            "manifest.json" | "repositories" => return Ok(Origin::Saved(path.into())),
            name if name.starts_with("blobs/sha256/") => {
                return Ok(Origin::LayoutArchive(path.into()));
            }
            name if is_saved_layer(name) => return Ok(Origin::Saved(path.into())),
            "" => {}
            _ => break,
        }
    }
    Ok(Origin::Archive(path.into()))
}

const ENTRIES_LOOKED_AT: usize = 4;

/// `<64 digits>`, `<64 digits>/layer.tar` and `<64 digits>.json` come first in what `docker save` wrote.
fn is_saved_layer(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default().trim_end_matches(".json");
    first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A compressed archive cannot be read at any place, so it is unpacked first. How many bytes that took
/// is the second answer.
fn open_archive(
    path: &Path,
    draft: &Draft,
    wish: &Wish,
    progress: &dyn Progress,
) -> Result<(Blobs, u64), ImageError> {
    if !blobs::is_compressed(path)? {
        return Ok((Blobs::in_archive(path)?, 0));
    }
    progress.begin(&format!("unpacking {}", path.display()), None);
    let to = draft.archive();
    let file = File::open(path).map_err(ImageError::io("read", path))?;
    let mut content = plain(file).map_err(ImageError::io("read", path))?;
    let mut out = File::create_new(&to).map_err(ImageError::io("make", &to))?;
    let max = wish.limits.bytes_max;
    let copied = io::copy(&mut io::Read::take(&mut content, max), &mut out);
    let copied = copied.map_err(ImageError::io("unpack", path))?;
    if copied == max {
        return Err(ImageError::TooMuch { max, what: "bytes" });
    }
    Ok((Blobs::in_archive(&to)?, copied))
}
