//! Unpacks the archive of a job (`tar.gz`, plain `tar`) into a directory, without trusting it.
//!
//! [`archive`] reads headers; this module decides what each entry may do, and [`tree`] writes
//! it below one open directory. Images are unpacked with the same two, by rules of their own.
//!
//! Invariants
//! - Nothing outside the destination is made, changed or followed, whatever the names and links.
//! - Only files, directories, symbolic links and hard links among them; no set-user-id bits.
//! - Memory does not grow with the archive; what is written is bounded by [`PackageLimits`].
//!
//! After an error the destination holds a part of the archive; the caller throws it away.

pub mod archive;
pub mod tree;

pub use archive::{ArchiveError as PackageError, ArchiveLimits as PackageLimits, Unpacked};

use crate::spec::Identity;
use archive::{Item, Kind, read_items};
use flate2::bufread::MultiGzDecoder;
use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
};
use tree::Tree;

impl Default for PackageLimits {
    fn default() -> Self {
        Self { bytes_max: 16 << 30, entries_max: 1_000_000, name_bytes_max: 4_000 }
    }
}

const BUFFER_BYTES: usize = 128 << 10;

/// Unpacks `archive` into the existing directory `destination`. Everything belongs to `owner`
/// afterwards, and its owner may read and write it.
pub fn unpack(
    archive: impl Read,
    destination: &Path,
    owner: Identity,
    limits: &PackageLimits,
) -> Result<Unpacked, PackageError> {
    let mut archive = BufReader::with_capacity(BUFFER_BYTES, archive);
    let start = archive.fill_buf().map_err(PackageError::NotAnArchive)?;
    if start.is_empty() {
        return Err(PackageError::NotAnArchive(io::ErrorKind::UnexpectedEof.into()));
    }
    let plain: Box<dyn Read + '_> = match start.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(MultiGzDecoder::new(archive)),
        false => Box::new(archive),
    };
    let mut tree = Tree::of_package(destination, owner).map_err(|source| PackageError::Write {
        name: destination.display().to_string(),
        source,
    })?;
    let mut done = Unpacked::default();
    read_items(plain, limits, &mut done, |item, content| {
        write(&mut tree, &item, content).map_err(|error| error.of(item.shown))
    })?;
    Ok(done)
}

fn write(tree: &mut Tree, item: &Item, content: &mut dyn Read) -> Result<(), tree::Error> {
    match &item.kind {
        Kind::Directory => tree.directory(&item.name, item.mode),
        Kind::File(size) => tree.file(&item.name, item.mode, item.modified, *size, content),
        Kind::Symlink(to) => tree.symlink(&item.name, to),
        Kind::HardLink(to) => tree.hard_link(&item.name, to),
        Kind::Pipe => Err(tree::Error::Refused("a named pipe")),
        Kind::Device => Err(tree::Error::Refused("a device")),
    }
}

#[cfg(test)]
mod tests;
