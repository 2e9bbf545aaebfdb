//! Builders of images, honest and hostile, for tests; the tests by subject are beside.

mod layers;
mod library;
mod sources;

use super::*;
use crate::{
    blobs::Blobs,
    digest::Digest,
    manifest::{blob_name, of_layout, of_saved},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink as link},
    path::{Path, PathBuf},
};
use tar::{EntryType, Header};

/// A data directory, with something outside of it that nobody may touch.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::tempdir().expect("a directory");
        fs::create_dir(top.path().join("outside")).expect("made");
        fs::write(top.path().join("outside/secret"), "secret").expect("written");
        Self { top }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn library(&self) -> Library {
        Library::of(&self.path("data"))
    }

    /// Imports a source; the tree is at the path in the answer.
    fn import(&self, source: &str) -> Result<(PathBuf, Imported), ImageError> {
        let name =
            format!("m-{}", fs::read_dir(self.path("data/images")).map_or(0, Iterator::count));
        let draft = self.library().begin(&name)?;
        let imported = import(&Source::find(source)?, &draft, &Wish::default(), &Silent)?;
        let root = draft.root();
        draft.keep();
        Ok((root, imported))
    }

    /// Writes a layout with these layers and gives its source.
    fn layout(&self, layers: &[Vec<u8>]) -> String {
        let top = self.path("layout");
        write_layout(&top, layers);
        format!("oci:{}", top.display())
    }

    fn assert_untouched(&self, what: &str) {
        let outside = fs::read_dir(self.path("outside")).expect("listed");
        let names: Vec<_> = outside.map(|entry| entry.expect("listed").file_name()).collect();
        assert_eq!(names, ["secret"], "{what}");
        assert_eq!(fs::read(self.path("outside/secret")).expect("read"), b"secret", "{what}");
    }
}

fn entry(kind: EntryType, name: &str, mode: u32, to: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + to.len()].copy_from_slice(to.as_bytes());
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(EntryType::Regular, name, 0o644, "", content.as_bytes())
}

fn directory(name: &str) -> Vec<u8> {
    entry(EntryType::Directory, name, 0o755, "", b"")
}

fn symlink(name: &str, to: &str) -> Vec<u8> {
    entry(EntryType::Symlink, name, 0o777, to, b"")
}

fn hard_link(name: &str, to: &str) -> Vec<u8> {
    entry(EntryType::Link, name, 0o644, to, b"")
}

/// Headers with their content.
type Entries = Vec<Vec<u8>>;

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("in memory");
    gzip.finish().expect("in memory")
}

fn put(top: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    fs::write(top.join(blob_name(&digest)), bytes).expect("written");
    digest
}

/// A layout of one image for this host; every second layer is compressed.
fn write_layout(top: &Path, layers: &[Vec<u8>]) {
    fs::create_dir_all(top.join("blobs/sha256")).expect("made");
    let (mut about, mut plain) = (Vec::new(), Vec::new());
    for (number, layer) in layers.iter().enumerate() {
        plain.push(Digest::of(layer));
        let packed = if number % 2 == 1 { gzip(layer) } else { layer.clone() };
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        let digest = put(top, &packed);
        about.push(json!({"mediaType": media_type, "digest": digest, "size": packed.len()}));
    }
    let config = configuration(&plain, host_architecture());
    let config = put(top, config.to_string().as_bytes());
    let manifest = json!({"config": {"digest": config}, "layers": about}).to_string();
    let manifest = put(top, manifest.as_bytes());
    let index = json!({"manifests": [{"digest": manifest}]});
    fs::write(top.join("index.json"), index.to_string()).expect("written");
    fs::write(top.join("oci-layout"), "{}").expect("written");
}

fn configuration(plain: &[Digest], architecture: &str) -> Value {
    json!({"architecture": architecture, "os": "linux", "rootfs": {"diff_ids": plain}})
}

/// Everything in a tree, with what links say and files hold.
fn listing(root: &Path) -> Vec<String> {
    fn look(top: &Path, at: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(at).expect("listed") {
            let path = entry.expect("listed").path();
            let name = path.strip_prefix(top).expect("inside").display().to_string();
            let about = fs::symlink_metadata(&path).expect("there");
            if about.is_dir() {
                found.push(format!("{name}/"));
                look(top, &path, found);
            } else if about.is_symlink() {
                found.push(format!("{name} -> {}", fs::read_link(&path).expect("read").display()));
            } else {
                found.push(format!("{name} = {}", fs::read_to_string(&path).expect("read")));
            }
        }
    }
    let mut found = Vec::new();
    look(root, root, &mut found);
    found.sort();
    found
}

fn whole(error: &ImageError) -> String {
    let mut text = error.to_string();
    let mut at: &dyn std::error::Error = error;
    while let Some(source) = at.source() {
        text.push_str(&format!(": {source}"));
        at = source;
    }
    text
}

/// The parts as one archive, in an order in which nobody would read them.
fn pack(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<_> = parts
        .iter()
        .map(|(name, bytes)| entry(EntryType::Regular, name, 0o644, "", bytes))
        .collect();
    archive(&entries)
}

/// A layout as one archive.
fn packed_layout(top: &Path) -> Vec<u8> {
    let blobs = fs::read_dir(top.join("blobs/sha256")).expect("listed");
    let blobs = blobs.map(|blob| blob.expect("listed").path());
    let rest = ["index.json", "oci-layout"].map(|name| top.join(name));
    let parts: Vec<(String, Vec<u8>)> = blobs
        .chain(rest)
        .map(|path| {
            let name = path.strip_prefix(top).expect("inside").display().to_string();
            (name, fs::read(&path).expect("read"))
        })
        .collect();
    let parts: Vec<_> = parts.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    pack(&parts)
}
