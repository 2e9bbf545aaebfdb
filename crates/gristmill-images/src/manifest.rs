//! The descriptions inside a container image: an index, manifests, configurations; and the older list
//! that `docker save` writes.
//!
//! All of them are chosen by the maker of the image. What we follow has a digest that is compared;
//! what has none (a layer of an older `docker save`) is compared with the configuration.

use crate::{blobs::Blobs, digest::Digest, error::ImageError};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The longest description.
pub(crate) const DESCRIPTION_BYTES_MAX: u64 = 4 << 20;
/// Indexes inside indexes.
const DEPTH_MAX: usize = 3;
/// Layers of one image.
const LAYERS_MAX: usize = 500;
/// Annotation with an image's tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// An image of one kind of processor.
#[derive(Debug)]
pub(crate) struct Image {
    /// Of its manifest, or of its configuration where there is no manifest.
    pub digest: Digest,
    /// From the lowest to the highest.
    pub layers: Vec<Layer>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// The file with it.
    pub name: String,
    /// Of the file.
    pub digest: Option<Digest>,
    /// Of what it unpacks to.
    pub plain_digest: Digest,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
}

/// An index has `manifests`, a manifest `config` and `layers`.
#[derive(Debug, Deserialize)]
pub(crate) struct Description {
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    #[serde(default)]
    pub config: Option<Descriptor>,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The file of a blob.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a description.
pub(crate) fn parse<T: DeserializeOwned>(part: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::malformed(part, error.to_string()))
}

/// The image of a layout with an index, for these processors: the one of this tag, or the only one.
pub(crate) fn of_layout(
    blobs: &Blobs,
    tag: Option<&str>,
    architecture: &str,
) -> Result<Image, ImageError> {
    const INDEX: &str = "index.json";
    let index: Description = parse(INDEX, &blobs.read(INDEX, DESCRIPTION_BYTES_MAX)?)?;
    let named = |one: &&Descriptor| tag.is_none_or(|tag| is_tagged(one, tag));
    let candidates: Vec<Descriptor> = index.manifests.iter().filter(named).cloned().collect();
    let mut chosen = choose(INDEX, &candidates, architecture)?;
    for _ in 0..DEPTH_MAX {
        let name = blob_name(&chosen.digest);
        let bytes = checked(blobs, &name, &chosen.digest)?;
        let description: Description = parse(&name, &bytes)?;
        match &description.config {
            Some(config) => {
                return of_manifest(blobs, &chosen.digest, config, &description, architecture);
            }
            None => chosen = choose(&name, &description.manifests, architecture)?,
        }
    }
    Err(ImageError::malformed(INDEX, "indexes lie in indexes too deeply"))
}

/// `docker save` notes `repository:tag`, others the tag alone.
fn is_tagged(one: &Descriptor, tag: &str) -> bool {
    let noted = one.annotations.get(TAG).map(String::as_str);
    let full = one.annotations.get("io.containerd.image.name").map(String::as_str);
    noted == Some(tag) || full == Some(tag)
}

/// The one that fits these processors, or the only one that says nothing.
pub(crate) fn choose(
    part: &str,
    from: &[Descriptor],
    architecture: &str,
) -> Result<Descriptor, ImageError> {
    let fits = |one: &&Descriptor| match &one.platform {
        Some(platform) => platform.os == "linux" && platform.architecture == architecture,
        None => true,
    };
    let mut fitting = from.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) if from.is_empty() => Err(ImageError::malformed(part, "no image of this name")),
        (None, _) => Err(ImageError::malformed(part, format!("no image for linux/{architecture}"))),
        (Some(_), Some(_)) => {
            let why = "several images; name one by its tag, behind a colon";
            Err(ImageError::malformed(part, why))
        }
    }
}

fn checked(blobs: &Blobs, name: &str, wanted: &Digest) -> Result<Vec<u8>, ImageError> {
    let bytes = blobs.read(name, DESCRIPTION_BYTES_MAX)?;
    match Digest::of(&bytes) {
        found if found == *wanted => Ok(bytes),
        found => Err(ImageError::Digest {
            what: format!("`{name}`"),
            found: found.to_string(),
            wanted: wanted.to_string(),
        }),
    }
}

fn of_manifest(
    blobs: &Blobs,
    digest: &Digest,
    config: &Descriptor,
    description: &Description,
    architecture: &str,
) -> Result<Image, ImageError> {
    let name = blob_name(&config.digest);
    let bytes = checked(blobs, &name, &config.digest)?;
    let plain = configuration(&name, &bytes, architecture)?;
    if plain.len() != description.layers.len() {
        let why = "it does not list the layers of the manifest";
        return Err(ImageError::malformed(name, why));
    }
    let layers = description.layers.iter().zip(plain).map(|(layer, plain_digest)| {
        let name = blob_name(&layer.digest);
        if !is_file_system(&layer.media_type) {
            let why = format!("a layer of type `{}`, not of files", layer.media_type);
            return Err(ImageError::malformed(name, why));
        }
        Ok(Layer { name, digest: Some(layer.digest.clone()), plain_digest })
    });
    Ok(Image { digest: digest.clone(), layers: layers.collect::<Result<_, _>>()? })
}

/// Layers of programs in other formats, of charts and signatures are not files of a root.
fn is_file_system(media_type: &str) -> bool {
    [".image.layer.v1.tar", ".image.layer.nondistributable.v1.tar", ".image.rootfs.diff.tar"]
        .iter()
        .any(|kind| media_type.contains(kind) && !media_type.contains("encrypted"))
}

/// Digests of the layers, after the look whether programs of the image run here.
fn configuration(name: &str, bytes: &[u8], architecture: &str) -> Result<Vec<Digest>, ImageError> {
    let about: Configuration = parse(name, bytes)?;
    if about.rootfs.diff_ids.len() > LAYERS_MAX {
        return Err(ImageError::malformed(name, format!("more than {LAYERS_MAX} layers")));
    }
    if about.os != "linux" || about.architecture != architecture {
        let (os, its) = (&about.os, &about.architecture);
        let why = format!("it is for {os}/{its}; this host runs linux/{architecture}");
        return Err(ImageError::malformed(name, why));
    }
    Ok(about.rootfs.diff_ids)
}

/// The image in what an older `docker save` wrote.
pub(crate) fn of_saved(
    blobs: &Blobs,
    tag: Option<&str>,
    architecture: &str,
) -> Result<Image, ImageError> {
    const LIST: &str = "manifest.json";
    let saved: Vec<Saved> = parse(LIST, &blobs.read(LIST, DESCRIPTION_BYTES_MAX)?)?;
    let named = |one: &&Saved| {
        let tags = one.repo_tags.as_deref().unwrap_or_default();
        tag.is_none_or(|tag| tags.iter().any(|it| it == tag || it.ends_with(&format!(":{tag}"))))
    };
    let mut fitting = saved.iter().filter(named);
    let one = match (fitting.next(), fitting.next()) {
        (Some(one), None) => one,
        (None, _) => return Err(ImageError::malformed(LIST, "no image of this name")),
        (Some(_), Some(_)) => {
            let why = "several images; name one by its tag, behind a colon";
            return Err(ImageError::malformed(LIST, why));
        }
    };
    let bytes = blobs.read(&one.config, DESCRIPTION_BYTES_MAX)?;
    let plain = configuration(&one.config, &bytes, architecture)?;
    if plain.len() != one.layers.len() {
        return Err(ImageError::malformed(&one.config, "it does not list the layers of the image"));
    }
    let layers = one.layers.iter().zip(plain);
    let layers =
        layers.map(|(name, plain_digest)| Layer { name: name.clone(), digest: None, plain_digest });
    Ok(Image { digest: Digest::of(&bytes), layers: layers.collect() })
}
