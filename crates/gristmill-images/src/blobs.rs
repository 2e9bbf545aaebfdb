//! The files of a container image, by name: in a directory, or inside one archive.
//!
//! An archive is read once for a table of what lies where; after that its parts are read as if they
//! were files.

use crate::{compression, error::ImageError};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use tar::{Archive, EntryType};

/// Files in an archive of layers; there are a few for each layer.
const PARTS_MAX: usize = 20_000;
/// Links of an archive that lead to links.
const LINKS_MAX: usize = 4;

/// Where the files are.
pub(crate) enum Blobs {
    /// Below this directory.
    Folder(PathBuf),
    /// In this archive.
    Archive { file: File, path: PathBuf, parts: BTreeMap<String, Part> },
}

/// One part of an archive.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Where it begins and how long it is.
    Bytes { from: u64, length: u64 },
    /// Another name for this one.
    Link(String),
}

impl Blobs {
    /// Lists the parts of a plain archive.
    pub fn in_archive(path: &Path) -> Result<Self, ImageError> {
        let file = File::open(path).map_err(ImageError::io("read", path))?;
        let parts = list(&file).map_err(ImageError::io("read the archive", path))?;
        Ok(Self::Archive { file, path: path.to_owned(), parts })
    }

    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.open(name).is_ok()
    }

    /// A file and its length.
    pub fn open(&self, name: &str) -> Result<(Box<dyn Read + '_>, u64), ImageError> {
        match self {
            Self::Folder(top) => {
                let path = top.join(name);
                let missing = ImageError::io("read", &path);
                // A link or a pipe in its place would be read without an end.
                let mut options = File::options();
                let opened = options.read(true).custom_flags(libc_nofollow()).open(&path);
                let about = opened.and_then(|file| Ok((file.metadata()?, file)));
                match about {
                    Ok((about, file)) if about.is_file() => Ok((Box::new(file), about.len())),
                    Ok(_) => Err(missing(io::ErrorKind::InvalidInput.into())),
                    Err(error) => Err(missing(error)),
                }
            }
            Self::Archive { file, path, parts } => {
                let missing = || ImageError::malformed(name, format!("not in {}", path.display()));
                let mut found = parts.get(name);
                for _ in 0..LINKS_MAX {
                    let Some(Part::Link(to)) = found else { break };
                    found = parts.get(to);
                }
                let Some(Part::Bytes { from, length }) = found.cloned() else {
                    return Err(missing());
                };
                Ok((Box::new(Window { file, at: from, end: from + length }), length))
            }
        }
    }

    /// A whole file, if it is no longer than `bytes_max`.
    pub fn read(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, ImageError> {
        let (content, length) = self.open(name)?;
        if length > bytes_max {
            return Err(ImageError::malformed(name, format!("longer than {bytes_max} bytes")));
        }
        let mut bytes = Vec::new();
        content.take(bytes_max).read_to_end(&mut bytes).map_err(ImageError::io("read", name))?;
        Ok(bytes)
    }
}

fn libc_nofollow() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).expect("flags of open are small")
}

/// A part of an open file.
struct Window<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let got = self.file.read_at(&mut buffer[..want], self.at)?;
        if got == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += got as u64;
        Ok(got)
    }
}

fn list(file: &File) -> io::Result<BTreeMap<String, Part>> {
    let mut parts = BTreeMap::new();
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut archive = Archive::new(BufReader::new(file));
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let Ok(name) = plain_name(&entry.path()?) else { continue };
        let part = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                Part::Bytes { from: entry.raw_file_position(), length: entry.size() }
            }
            EntryType::Symlink | EntryType::Link => {
                let Some(to) = entry.link_name()? else { continue };
                let is_beside = entry.header().entry_type() == EntryType::Symlink;
                match plain_name(&if is_beside { beside(&name, &to) } else { to.into_owned() }) {
                    Ok(to) => Part::Link(to),
                    Err(_) => continue,
                }
            }
            _ => continue,
        };
        if parts.len() >= PARTS_MAX {
            return Err(io::Error::other("it has too many parts"));
        }
        parts.insert(name, part);
    }
    Ok(parts)
}

/// Where a symbolic link of `name` leads.
fn beside(name: &str, to: &Path) -> PathBuf {
    Path::new(name).parent().unwrap_or(Path::new("")).join(to)
}

/// A name without `.` and `..`; names are only looked up in a table.
fn plain_name(path: &Path) -> Result<String, ()> {
    use std::path::Component;
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop().ok_or(())?),
            Component::Normal(name) => parts.push(name.to_str().ok_or(())?),
            Component::RootDir | Component::Prefix(_) => return Err(()),
        }
    }
    Ok(parts.join("/"))
}

/// Whether a file is a plain or compressed archive.
pub(crate) fn is_compressed(path: &Path) -> Result<bool, ImageError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(ImageError::io("read", path))?;
    file.take(8).read_to_end(&mut start).map_err(ImageError::io("read", path))?;
    Ok(compression::is_compressed(&start))
}
