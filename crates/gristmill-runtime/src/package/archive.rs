//! Reads a tar archive entry by entry, without trusting it.
//!
//! The `tar` crate reads headers. Extension headers (long names) are read here, with a bound, since
//! the crate would read them whole into memory. What an entry may do is the visitor's business.
//!
//! Invariants
//! - Names of entries and of hard links are relative and never lead up.
//! - Memory does not grow with the archive; what it holds is counted against [`ArchiveLimits`].

use std::io::{self, Read};
use tar::{Archive, Entry, EntryType, PaxExtensions};

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of all files together, unpacked.
    pub bytes_max: u64,
    /// Files, directories and links.
    pub entries_max: u64,
    /// Bytes of one name with its directories.
    pub name_bytes_max: usize,
}

/// What was read of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

/// A path as its parts, from the top of what is unpacked.
pub type Parts = Vec<Vec<u8>>;

/// One entry of an archive.
#[derive(Debug)]
pub struct Item {
    /// Where it goes.
    pub name: Parts,
    /// The same for people.
    pub shown: String,
    /// What it is.
    pub kind: Kind,
    /// Its permissions, special bits included.
    pub mode: u32,
    /// When it was changed, in seconds since 1970.
    pub modified: u64,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file of so many bytes.
    File(u64),
    /// A symbolic link and what it says, however bad.
    Symlink(Vec<u8>),
    /// A second name for this file.
    HardLink(Parts),
    /// A named pipe.
    Pipe,
    /// A device.
    Device,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The first bytes are no archive.
    #[error("the archive is neither a tar.gz nor a tar archive")]
    NotAnArchive(#[source] io::Error),
    /// It began well.
    #[error("the archive is damaged or cut short")]
    Damaged(#[source] io::Error),
    /// An entry that is never unpacked.
    #[error("the archive holds `{name}`, {why}")]
    Refused {
        /// The entry.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than [`ArchiveLimits::bytes_max`].
    #[error("the archive unpacks to more than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// More than [`ArchiveLimits::entries_max`].
    #[error("the archive holds more than {entries_max} files")]
    TooMany {
        /// The bound.
        entries_max: u64,
    },
    /// The node could not write.
    #[error("could not write `{name}` of the archive")]
    Write {
        /// The entry.
        name: String,
        /// Why not.
        source: io::Error,
    },
}

impl ArchiveError {
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

/// Shows each entry of the plain `archive` with its content to `visit`, then reads on to the end.
/// `done` grows by what was seen and may not pass `limits`.
pub fn read_items(
    archive: impl Read,
    limits: &ArchiveLimits,
    done: &mut Unpacked,
    mut visit: impl FnMut(Item, &mut dyn Read) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let next = Extensions::default();
    let mut reading = Reading { limits, done, beside: Unpacked::default(), next };
    let mut archive = Archive::new(archive);
    let entries = archive.entries().map_err(ArchiveError::NotAnArchive)?.raw(true);
    let mut first = true;
    for entry in entries {
        let kind = if first { ArchiveError::NotAnArchive } else { ArchiveError::Damaged };
        let mut entry = entry.map_err(kind)?;
        if let Some(item) = reading.take(&mut entry)? {
            visit(item, &mut entry)?;
        }
        first = false;
    }
    read_to_the_end(archive.into_inner(), limits)
}

/// The end of an archive is marked before the end of the file, but the checksum of a compressed
/// one comes last: only who reads on learns that something was damaged on the way.
fn read_to_the_end(rest: impl Read, limits: &ArchiveLimits) -> Result<(), ArchiveError> {
    let ArchiveLimits { bytes_max, .. } = *limits;
    let mut rest = rest.take(bytes_max);
    let read = io::copy(&mut rest, &mut io::sink()).map_err(ArchiveError::Damaged)?;
    if read == bytes_max { Err(ArchiveError::TooLarge { bytes_max }) } else { Ok(()) }
}

/// What extension headers say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

struct Reading<'a> {
    limits: &'a ArchiveLimits,
    done: &'a mut Unpacked,
    /// What is read and is no file: extension headers, and entries for the top itself.
    beside: Unpacked,
    next: Extensions,
}

/// Extension headers of one file.
const EXTENSIONS_MAX: u64 = 4;

impl Reading<'_> {
    /// The entry, if it is not an extension of the next.
    fn take<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<Option<Item>, ArchiveError> {
        let kind = entry.header().entry_type();
        if is_extension(kind) {
            self.count_beside(entry.size())?;
        }
        match kind {
            EntryType::GNULongName => self.next.name = Some(long_name(entry)?),
            EntryType::GNULongLink => self.next.link = Some(long_name(entry)?),
            EntryType::XHeader => self.next.read_attributes(&extension(entry)?)?,
            EntryType::XGlobalHeader => {} // comments of the archiver
            kind => {
                let about = std::mem::take(&mut self.next);
                return self.item(entry, kind, about);
            }
        }
        Ok(None)
    }

    fn item<R: Read>(
        &mut self,
        entry: &Entry<'_, R>,
        kind: EntryType,
        about: Extensions,
    ) -> Result<Option<Item>, ArchiveError> {
        let header = entry.header();
        let raw_name = about.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = shown(&raw_name);
        let refused = |why| ArchiveError::Refused { name: shown.clone(), why };
        let name = self.name(&raw_name).map_err(refused)?;
        let size = header.size().map_err(ArchiveError::Damaged)?;
        if about.size.is_some_and(|s| s != size) {
            return Err(ArchiveError::TooLarge { bytes_max: self.limits.bytes_max });
        }
        if about.sparse {
            return Err(refused("a sparse file, which is not supported"));
        }
        if name.is_empty() {
            self.count_beside(size)?;
            return Ok(None); // the directory itself
        }
        self.count(size)?;
        let directory_by_name = raw_name.ends_with(b"/"); // archives of before 1988
        let link = about.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let link = || link.ok_or_else(|| refused("a link to nothing"));
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous if directory_by_name => Kind::Directory,
            EntryType::Directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File(size),
            EntryType::Symlink => Kind::Symlink(link()?),
            EntryType::Link => Kind::HardLink(self.name(&link()?).map_err(refused)?),
            EntryType::Fifo => Kind::Pipe,
            EntryType::Char | EntryType::Block => Kind::Device,
            EntryType::GNUSparse => return Err(refused("a sparse file, which is not supported")),
            _ => return Err(refused("an entry of an unknown kind")),
        };
        let (mode, modified) = (header.mode().unwrap_or(0o644), header.mtime().unwrap_or(0));
        Ok(Some(Item { name, shown, kind, mode, modified }))
    }

    /// The parts of a name. Empty: the destination itself.
    fn name(&self, raw: &[u8]) -> Result<Parts, &'static str> {
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
        let parts: Parts = parts.map(<[u8]>::to_vec).collect();
        if parts.iter().any(|p| p == b"..") {
            return Err("a path that leads out with `..`");
        }
        if parts.iter().any(|p| p.len() > PART_BYTES_MAX) {
            return Err("a name that is too long");
        }
        Ok(parts)
    }

    fn count(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.done.grow(size);
        within(self.done, self.limits, 1)
    }

    fn count_beside(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.beside.grow(size);
        within(&self.beside, self.limits, EXTENSIONS_MAX)
    }
}

impl Unpacked {
    fn grow(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Whether the limits are kept, with so many entries for each file.
fn within(read: &Unpacked, limits: &ArchiveLimits, each: u64) -> Result<(), ArchiveError> {
    let ArchiveLimits { bytes_max, entries_max, .. } = *limits;
    if read.entries > entries_max.saturating_mul(each) {
        return Err(ArchiveError::TooMany { entries_max });
    }
    if read.bytes > bytes_max {
        return Err(ArchiveError::TooLarge { bytes_max });
    }
    Ok(())
}

fn is_extension(kind: EntryType) -> bool {
    use EntryType as K;
    matches!(kind, K::GNULongName | K::GNULongLink | K::XHeader | K::XGlobalHeader)
}

/// The most characters of a name that a message repeats.
const SHOWN_CHARS_MAX: usize = 200;

/// A name for people: printable, and cut when it is long, because it is the archive's maker who
/// chose it.
pub fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let start: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    let cut = if start.len() < name.len() { "…" } else { "" };
    format!("{}{cut}", start.replace(char::is_control, "\u{fffd}"))
}

impl Extensions {
    fn read_attributes(&mut self, attributes: &[u8]) -> Result<(), ArchiveError> {
        for attribute in PaxExtensions::new(attributes) {
            let attribute = attribute.map_err(ArchiveError::Damaged)?;
            let value = attribute.value_bytes();
            match attribute.key_bytes() {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let text = String::from_utf8_lossy(value);
                    self.size = Some(text.parse().map_err(|_| {
                        ArchiveError::Damaged(io::Error::other("a size that is no number"))
                    })?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn long_name<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
    let mut name = extension(entry)?;
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn extension<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    let size = entry.size();
    if size > EXTENSION_BYTES_MAX {
        return Err(ArchiveError::Damaged(io::Error::other(
            "an extension header that is too long",
        )));
    }
    entry.take(EXTENSION_BYTES_MAX).read_to_end(&mut bytes).map_err(ArchiveError::Damaged)?;
    if bytes.len() as u64 != size {
        return Err(ArchiveError::Damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}
