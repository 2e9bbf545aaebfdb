//! Puts the layers of an image on top of each other in one tree.
//!
//! A layer says what it adds, what it changes and, by marks in file names, what it removes of the
//! layers below. The marks concern those below only, wherever in the archive they stand; so each layer
//! is read twice: once for its digests, its sizes and its marks, once for its files.

use crate::{
    blobs::Blobs,
    compression::plain,
    digest::{Digest, Hashing},
    error::ImageError,
    manifest::{Image, Layer},
    progress::Progress,
};
use gristmill_runtime::package::{
    archive::{ArchiveError, ArchiveLimits, Item, Kind, Unpacked, read_items},
    tree::{Error, Tree},
};
use std::io::Read;

/// How names begin that remove.
const MARK: &[u8] = b".wh.";
/// Removes everything in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other marks of the file system that once wrote them.
const FOREIGN: &[u8] = b".wh..wh.";

/// What was unpacked.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Of what was unpacked, where it has one.
    pub digest: Option<Digest>,
    /// Devices and pipes that are not part of the tree.
    pub left_out: u64,
}

/// Unpacks all layers.
pub(crate) fn apply(
    image: &Image,
    blobs: &Blobs,
    tree: &mut Tree,
    limits: &ArchiveLimits,
    progress: &dyn Progress,
) -> Result<Applied, ImageError> {
    let (mut done, mut left_out) = (Unpacked::default(), 0);
    let count = image.layers.len();
    for (number, layer) in (1..).zip(&image.layers) {
        let what = format!("layer {number} of {count}");
        let (content, length) = blobs.open(&layer.name)?;
        progress.begin(&what, Some(length));
        remove_below(layer, &what, content, tree, (done, limits), progress)?;
        let (content, _) = blobs.open(&layer.name)?;
        left_out += add(&what, content, tree, (&mut done, limits))?;
    }
    Ok(Applied { digest: Some(image.digest.clone()), left_out })
}

/// Carries out the layer's marks; compares its digests.
fn remove_below(
    layer: &Layer,
    what: &str,
    content: Box<dyn Read + '_>,
    tree: &Tree,
    (mut done, limits): (Unpacked, &ArchiveLimits),
    progress: &dyn Progress,
) -> Result<(), ImageError> {
    let mut packed = Hashing::new(content, Some(progress));
    let unpacked = {
        let plain = plain(&mut packed).map_err(damaged(what))?;
        let mut plain = Hashing::new(plain, None);
        let read = read_items(&mut plain, limits, &mut done, |item, _| {
            remove(tree, &item).map_err(|error| error.of(item.shown))
        });
        read.map_err(unpacking(what))?;
        plain.finish().map_err(damaged(what))?
    };
    let packed = packed.finish().map_err(damaged(what))?;
    if let Some(wanted) = &layer.digest {
        same(what, &packed, wanted)?;
    }
    same(what, &unpacked, &layer.plain_digest)
}

fn same(what: &str, found: &Digest, wanted: &Digest) -> Result<(), ImageError> {
    if found == wanted {
        return Ok(());
    }
    let (what, found, wanted) = (what.to_owned(), found.to_string(), wanted.to_string());
    Err(ImageError::Digest { what, found, wanted })
}

fn remove(tree: &Tree, item: &Item) -> Result<(), Error> {
    let Some((last, directory)) = item.name.split_last() else { return Ok(()) };
    match last.strip_prefix(MARK) {
        None => Ok(()),
        Some(_) if last == OPAQUE => tree.empty(directory),
        Some(_) if last.starts_with(FOREIGN) => Ok(()),
        Some(b"" | b"." | b"..") => Err(Error::Refused("a mark that removes nothing")),
        Some(gone) => {
            let mut name = directory.to_vec();
            name.push(gone.to_vec());
            tree.remove(&name)
        }
    }
}

/// Writes the layer's files. Answers what it left out.
fn add(
    what: &str,
    content: Box<dyn Read + '_>,
    tree: &mut Tree,
    (done, limits): (&mut Unpacked, &ArchiveLimits),
) -> Result<u64, ImageError> {
    let mut left_out = 0;
    let plain = plain(content).map_err(damaged(what))?;
    let read = read_items(plain, limits, done, |item, content| {
        let is_mark = item.name.last().is_some_and(|last| last.starts_with(MARK));
        if is_mark {
            return Ok(());
        }
        let written = write(tree, &item, content).map_err(|error| error.of(item.shown))?;
        left_out += u64::from(!written);
        Ok(())
    });
    read.map_err(unpacking(what))?;
    Ok(left_out)
}

/// Writes one entry, unless it is of a kind that images do without here.
fn write(tree: &mut Tree, item: &Item, content: &mut dyn Read) -> Result<bool, Error> {
    match &item.kind {
        Kind::Directory => tree.directory(&item.name, item.mode)?,
        Kind::File(size) => tree.file(&item.name, item.mode, item.modified, *size, content)?,
        Kind::Symlink(to) => tree.symlink(&item.name, to)?,
        Kind::HardLink(to) => tree.hard_link(&item.name, to)?,
        Kind::Pipe | Kind::Device => return Ok(false),
    }
    Ok(true)
}

/// Unpacks one archive that is the whole root.
pub(crate) fn unpack_root(
    archive: impl Read,
    tree: &mut Tree,
    limits: &ArchiveLimits,
    progress: &dyn Progress,
) -> Result<Applied, ImageError> {
    const WHAT: &str = "the archive";
    let (mut done, mut left_out) = (Unpacked::default(), 0);
    let mut packed = Hashing::new(archive, Some(progress));
    {
        let plain = plain(&mut packed).map_err(damaged(WHAT))?;
        let read = read_items(plain, limits, &mut done, |item, content| {
            let written = write(tree, &item, content).map_err(|error| error.of(item.shown))?;
            left_out += u64::from(!written);
            Ok(())
        });
        read.map_err(unpacking(WHAT))?;
    }
    let digest = Some(packed.finish().map_err(damaged(WHAT))?);
    Ok(Applied { digest, left_out })
}

fn damaged(what: &str) -> impl Fn(std::io::Error) -> ImageError {
    move |error| unpacking(what)(ArchiveError::Damaged(error))
}

fn unpacking(what: &str) -> impl Fn(ArchiveError) -> ImageError {
    move |source| ImageError::Archive { what: what.to_owned(), source }
}
