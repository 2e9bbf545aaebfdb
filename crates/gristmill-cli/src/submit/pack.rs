//! Packs a program into `worker.tar.gz`: a directory, a file, or several with commas.
//!
//! A directory's files are stored relative to it; single files, and directories in a list, under
//! their own names (`reference/bcs-cli.md` 10.6). The archive is a temporary file outside the
//! tree, so packing `./` never packs itself, and it is gone when [`Packed`] is dropped.
//!
//! Invariant: the same tree gives the same order of entries. Links to files are packed as the
//! file, links to directories are not followed. Blocking: call from a blocking thread.

use crate::words::{Complaint, messages as m};
use flate2::{Compression, write::GzEncoder};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// A finished archive.
#[derive(Debug)]
pub struct Packed {
    /// The archive; removed on drop.
    pub file: tempfile::NamedTempFile,
    /// How many files are in it.
    pub files: u64,
    /// Bytes of those files before compression.
    pub bytes: u64,
}

/// Why packing stopped.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// What the user named cannot be packed.
    #[error(transparent)]
    Input(#[from] Complaint),
    /// A file of the tree cannot be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("could not write the archive")]
    Write(#[source] io::Error),
}

impl PackError {
    /// The same in words of both languages, unless it is said by its source.
    pub fn complaint(&self) -> Option<Complaint> {
        match self {
            Self::Input(complaint) => Some(complaint.clone()),
            Self::Read { path, .. } => Some(m::CANNOT_READ.complain([("what", &path.display())])),
            Self::Write(_) => Some(m::CANNOT_WRITE.complain([("what", &"worker.tar.gz")])),
        }
    }
}

/// A name inside an archive and the file it comes from.
pub type Entry = (String, PathBuf);

/// Packs what `text` names, relative to `directory`. `seen` hears of every file added.
pub fn pack(text: &str, directory: &Path, seen: impl FnMut(&str)) -> Result<Packed, PackError> {
    archive(&entries(text, directory)?, seen)
}

/// Packs these files.
pub fn archive(entries: &[Entry], mut seen: impl FnMut(&str)) -> Result<Packed, PackError> {
    let file = tempfile::Builder::new().suffix(".tar.gz").tempfile().map_err(PackError::Write)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let mut bytes = 0;
    for (name, path) in entries {
        bytes += append(&mut archive, name, path)?;
        seen(name);
    }
    let file = archive.into_inner().and_then(GzEncoder::finish).map_err(PackError::Write)?;
    Ok(Packed { file, files: entries.len() as u64, bytes })
}

/// Names inside the archive with the files they come from, in order.
fn entries(text: &str, directory: &Path) -> Result<Vec<Entry>, PackError> {
    let written: Vec<&str> =
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for word in &written {
        let path = directory.join(word);
        let kind =
            fs::metadata(&path).map_err(|_| m::NOTHING_TO_PACK.complain([("path", word)]))?;
        if !kind.is_dir() {
            found.push((base_name(&path, word)?, path));
        } else if written.len() == 1 {
            walk(&path, "", &mut found)?;
        } else {
            let below = format!("{}/", base_name(&path, word)?);
            walk(&path, &below, &mut found)?;
        }
    }
    if found.is_empty() {
        return Err(m::NOTHING_TO_PACK.complain([("path", &text)]).into());
    }
    Ok(found)
}

fn base_name(path: &Path, word: &str) -> Result<String, Complaint> {
    let name = path.file_name().ok_or_else(|| m::NOTHING_TO_PACK.complain([("path", &word)]))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Everything in a folder, with `below` before each name.
pub(crate) fn walk(folder: &Path, below: &str, found: &mut Vec<Entry>) -> Result<(), PackError> {
    let failed = |source| PackError::Read { path: folder.to_owned(), source };
    let mut names: Vec<_> =
        fs::read_dir(folder).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let path = entry.path();
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, &format!("{name}/"), found)?;
        } else if fs::metadata(&path).is_ok_and(|target| target.is_file()) {
            found.push((name, path));
        }
    }
    Ok(())
}

fn append<W: io::Write>(
    archive: &mut tar::Builder<W>,
    name: &str,
    path: &Path,
) -> Result<u64, PackError> {
    let failed = |source| PackError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut header = tar::Header::new_gnu();
    // Owners mean nothing on another machine; the mode and the time do.
    header.set_metadata_in_mode(&metadata, tar::HeaderMode::Complete);
    header.set_uid(0);
    header.set_gid(0);
    // A file that grows while it is read must not spoil the archive.
    let mut exact = io::Read::take(&mut file, metadata.len());
    archive.append_data(&mut header, name, &mut exact).map_err(failed)?;
    Ok(metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["app/main.py", "app/lib/a.py", "app/lib/日志.txt", "tool.sh"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        std::os::unix::fs::symlink("main.py", folder.path().join("app/link.py")).unwrap();
        std::os::unix::fs::symlink("..", folder.path().join("app/up")).unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        folder
    }

    fn names(text: &str) -> String {
        let folder = tree();
        let packed = match pack(text, folder.path(), |_| ()) {
            Ok(packed) => packed,
            Err(error) => return error.to_string(),
        };
        let reader = flate2::read::GzDecoder::new(File::open(packed.file.path()).unwrap());
        let mut archive = tar::Archive::new(reader);
        let entries: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                assert!(entry.header().entry_type().is_file());
                let mut bytes = String::new();
                io::Read::read_to_string(&mut entry, &mut bytes).unwrap();
                format!("{} {bytes}", entry.path().unwrap().display())
            })
            .collect();
        assert_eq!(entries.len() as u64, packed.files);
        entries.join("\n")
    }

    #[test]
    fn a_directory_is_packed_from_its_inside() {
        insta::assert_snapshot!(names("./app/"), @r"
        lib/a.py app/lib/a.py
        lib/日志.txt app/lib/日志.txt
        link.py app/main.py
        main.py app/main.py
        ");
    }

    #[test]
    fn a_list_is_packed_under_its_names() {
        insta::assert_snapshot!(names("app, tool.sh"), @r"
        app/lib/a.py app/lib/a.py
        app/lib/日志.txt app/lib/日志.txt
        app/link.py app/main.py
        app/main.py app/main.py
        tool.sh tool.sh
        ");
        assert_eq!(names("./tool.sh"), "tool.sh tool.sh");
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert!(names("app,nothing.py").contains("`nothing.py`"));
        assert!(names("empty").contains("`empty`"));
    }

    #[test]
    fn modes_survive_and_owners_do_not() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tree();
        let tool = folder.path().join("tool.sh");
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        let packed = pack("tool.sh", folder.path(), |_| ()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(
            File::open(packed.file.path()).unwrap(),
        ));
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.header().mode().unwrap() & 0o777, 0o755);
        assert_eq!(entry.header().uid().unwrap(), 0);
    }
}
