//! Unpacks the archive of a job (`tar.gz`, plain `tar`) into a directory, without trusting it.
//!
//! The `tar` crate reads headers; this module decides what each entry may do, and `tree` writes
//! it below one open directory. Extension headers (long names) are read here, with a bound, since
//! the crate would read them whole into memory.
//!
//! Invariants
//! - Nothing outside the destination is made, changed or followed, whatever the names and links.
//! - Only files, directories, symbolic links and hard links among them; no set-user-id bits.
//! - Memory does not grow with the archive; what is written is bounded by [`PackageLimits`].
//!
//! After an error the destination holds a part of the archive; the caller throws it away.

mod tree;

use crate::spec::Identity;
use flate2::bufread::MultiGzDecoder;
use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
};
use tar::{Archive, Entry, EntryType, PaxExtensions};
use tree::Tree;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageLimits {
    /// Bytes of all files together, unpacked.
    pub bytes_max: u64,
    /// Files, directories and links.
    pub entries_max: u64,
    /// Bytes of one name with its directories.
    pub name_bytes_max: usize,
}

impl Default for PackageLimits {
    fn default() -> Self {
        Self { bytes_max: 16 << 30, entries_max: 1_000_000, name_bytes_max: 4_000 }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The first bytes are no archive.
    #[error("the package is neither a tar.gz nor a tar archive")]
    NotAnArchive(#[source] io::Error),
    /// It began well.
    #[error("the package is damaged or cut short")]
    Damaged(#[source] io::Error),
    /// An entry that is never unpacked.
    #[error("the package holds `{name}`, {why}")]
    Refused {
        /// The entry.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than [`PackageLimits::bytes_max`].
    #[error("the package unpacks to more than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// More than [`PackageLimits::entries_max`].
    #[error("the package holds more than {entries_max} files")]
    TooMany {
        /// The bound.
        entries_max: u64,
    },
    /// The node could not write.
    #[error("could not write `{name}` of the package")]
    Write {
        /// The entry.
        name: String,
        /// Why not.
        source: io::Error,
    },
}

impl PackageError {
    /// Whether the archive is at fault, so that trying again cannot help.
    pub fn is_users(&self) -> bool {
        match self {
            Self::NotAnArchive(_)
            | Self::Damaged(_)
            | Self::Refused { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. } => true,
            Self::Write { .. } => false,
        }
    }
}

/// A long name, or the extended attributes of one entry, may take this much.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
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
    let tree = Tree::open(destination, owner).map_err(|source| PackageError::Write {
        name: destination.display().to_string(),
        source,
    })?;
    let mut unpacking =
        Unpacking { tree, limits, done: Unpacked::default(), next: Extensions::default() };
    let mut archive = Archive::new(plain);
    let entries = archive.entries().map_err(PackageError::NotAnArchive)?.raw(true);
    let mut first = true;
    for entry in entries {
        let kind = if first { PackageError::NotAnArchive } else { PackageError::Damaged };
        unpacking.take(&mut entry.map_err(kind)?)?;
        first = false;
    }
    read_to_the_end(archive.into_inner(), limits)?;
    Ok(unpacking.done)
}

/// The end of an archive is marked before the end of the file, but the checksum of a compressed
/// one comes last: only who reads on learns that something was damaged on the way.
fn read_to_the_end(rest: impl Read, limits: &PackageLimits) -> Result<(), PackageError> {
    let PackageLimits { bytes_max, .. } = *limits;
    let mut rest = rest.take(bytes_max);
    let read = io::copy(&mut rest, &mut io::sink()).map_err(PackageError::Damaged)?;
    if read == bytes_max { Err(PackageError::TooLarge { bytes_max }) } else { Ok(()) }
}

/// What extension headers say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

struct Unpacking<'a> {
    tree: Tree,
    limits: &'a PackageLimits,
    done: Unpacked,
    next: Extensions,
}

impl Unpacking<'_> {
    fn take<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), PackageError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.next.name = Some(long_name(entry)?),
            EntryType::GNULongLink => self.next.link = Some(long_name(entry)?),
            EntryType::XHeader => self.next.read_attributes(&extension(entry)?)?,
            EntryType::XGlobalHeader => {} // comments of the archiver
            kind => {
                let about = std::mem::take(&mut self.next);
                self.write(entry, kind, about)?;
            }
        }
        Ok(())
    }

    fn write<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        kind: EntryType,
        about: Extensions,
    ) -> Result<(), PackageError> {
        let header = entry.header();
        let raw_name = about.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = shown(&raw_name);
        let refused = |why| PackageError::Refused { name: shown.clone(), why };
        let name = self.name(&raw_name).map_err(refused)?;
        let size = header.size().map_err(PackageError::Damaged)?;
        if about.size.is_some_and(|s| s != size) {
            return Err(PackageError::TooLarge { bytes_max: self.limits.bytes_max });
        }
        if about.sparse {
            return Err(refused("a sparse file, which is not supported"));
        }
        if name.is_empty() {
            return Ok(()); // the directory itself
        }
        self.count(size)?;
        let mode = header.mode().unwrap_or(0o644);
        let directory_by_name = raw_name.ends_with(b"/"); // archives of before 1988
        let link =
            || about.link.clone().or_else(|| header.link_name_bytes().map(|l| l.into_owned()));
        let outcome = match kind {
            EntryType::Regular | EntryType::Continuous if directory_by_name => {
                self.tree.directory(&name, mode)
            }
            EntryType::Directory => self.tree.directory(&name, mode),
            EntryType::Regular | EntryType::Continuous => {
                let modified = header.mtime().unwrap_or(0);
                self.tree.file(&name, mode, modified, size, entry)
            }
            EntryType::Symlink => {
                self.tree.symlink(&name, &link().ok_or_else(|| refused("a link to nothing"))?)
            }
            EntryType::Link => {
                let to = link().ok_or_else(|| refused("a link to nothing"))?;
                self.tree.hard_link(&name, &self.name(&to).map_err(refused)?)
            }
            EntryType::Fifo => return Err(refused("a named pipe")),
            EntryType::Char | EntryType::Block => return Err(refused("a device")),
            EntryType::GNUSparse => return Err(refused("a sparse file, which is not supported")),
            _ => return Err(refused("an entry of an unknown kind")),
        };
        outcome.map_err(|error| match error {
            tree::Error::Refused(why) => refused(why),
            tree::Error::Read(source) => PackageError::Damaged(source),
            tree::Error::Write(source) => PackageError::Write { name: shown.clone(), source },
        })
    }

    /// The parts of a name. Empty: the destination itself.
    fn name(&self, raw: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
        const PART_BYTES_MAX: usize = 255;
        if raw.len() > self.limits.name_bytes_max {
            return Err("a name that is too long");
        }
        if raw.starts_with(b"/") {
            return Err("an absolute path");
        }
        if raw.contains(&0) {
            return Err("a name with a NUL character");
        }
        let parts = raw.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".");
        let parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
        if parts.iter().any(|p| p == b"..") {
            return Err("a path that leads out with `..`");
        }
        if parts.iter().any(|p| p.len() > PART_BYTES_MAX) {
            return Err("a name that is too long");
        }
        Ok(parts)
    }

    fn count(&mut self, size: u64) -> Result<(), PackageError> {
        let PackageLimits { bytes_max, entries_max, .. } = *self.limits;
        self.done.entries += 1;
        self.done.bytes = self.done.bytes.saturating_add(size);
        if self.done.entries > entries_max {
            return Err(PackageError::TooMany { entries_max });
        }
        if self.done.bytes > bytes_max {
            return Err(PackageError::TooLarge { bytes_max });
        }
        Ok(())
    }
}

/// The most characters of a name that a message repeats.
const SHOWN_CHARS_MAX: usize = 200;

/// A name for people: printable, and cut when it is long, because it is the archive's maker who
/// chose it.
fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let start: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    let cut = if start.len() < name.len() { "…" } else { "" };
    format!("{}{cut}", start.replace(char::is_control, "\u{fffd}"))
}

impl Extensions {
    fn read_attributes(&mut self, attributes: &[u8]) -> Result<(), PackageError> {
        for attribute in PaxExtensions::new(attributes) {
            let attribute = attribute.map_err(PackageError::Damaged)?;
            let value = attribute.value_bytes();
            match attribute.key_bytes() {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let text = String::from_utf8_lossy(value);
                    self.size = Some(text.parse().map_err(|_| {
                        PackageError::Damaged(io::Error::other("a size that is no number"))
                    })?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn long_name<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, PackageError> {
    let mut name = extension(entry)?;
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn extension<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, PackageError> {
    let mut bytes = Vec::new();
    let size = entry.size();
    if size > EXTENSION_BYTES_MAX {
        return Err(PackageError::Damaged(io::Error::other(
            "an extension header that is too long",
        )));
    }
    entry.take(EXTENSION_BYTES_MAX).read_to_end(&mut bytes).map_err(PackageError::Damaged)?;
    if bytes.len() as u64 != size {
        return Err(PackageError::Damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
