//! Inputs where the kernel cannot mount: everything is downloaded before the program starts.
//!
//! [`download`] makes the same tree a mount would show, with the same names, the same hidden keys
//! and the same pinned versions, and says in words that it did (`reference/mounts.md` 12.3).
//!
//! Invariants
//! - Nothing is written when the listed sum does not fit on the disk.
//! - An object that changes on the way is an error, never a mixture.

use crate::{
    download::{Download, Version},
    names::Locale,
    remote::Remote,
    source::{Source, SourceError},
    table::{Ino, Kind},
    tree::{Tree, TreeLimits},
};
use futures::{TryStreamExt, stream};
use gristmill_model::Timestamp;
use gristmill_objects::ObjectError;
use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{fs::File, io::AsyncWriteExt};

/// Objects downloaded at the same time.
const DOWNLOADS_MAX: usize = 16;

/// What a small file takes on the disk besides its bytes.
const FILE_OVERHEAD_BYTES: u64 = 4_096;

/// What to download where.
#[derive(Debug, Clone)]
pub struct DownloadSpec {
    /// The inputs, numbered in order.
    pub sources: Vec<Source>,
    /// An empty directory; source 3 appears below it as on a mount.
    pub directory: PathBuf,
    /// The character set of names.
    pub locale: Locale,
    /// Who owns the files; `None` leaves them to the caller's user.
    pub owner: Option<(u32, u32)>,
}

/// What was downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadReport {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// Names that cannot be shown.
    pub hidden_names: usize,
    /// A sentence for the instance's detail.
    pub notice: String,
}

/// Why the inputs are not there.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// A source cannot be opened.
    #[error(transparent)]
    Open(SourceError),
    /// The listing broke off.
    #[error("could not list the inputs")]
    List {
        /// What the store said.
        source: Arc<ObjectError>,
    },
    /// The disk is too small.
    #[error("the inputs need {needed} bytes and the disk has {free}")]
    Space {
        /// The listed sum.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// An object cannot be read, or has changed.
    #[error("could not download `{key}`")]
    Object {
        /// Which.
        key: String,
        /// What the store said.
        source: ObjectError,
    },
    /// A local file or directory cannot be written.
    #[error("could not write `{path}`", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Downloads all sources. `now` is the time empty directories show.
pub async fn download(
    remote: Remote,
    spec: &DownloadSpec,
    now: Timestamp,
) -> Result<DownloadReport, DownloadError> {
    let sources = spec.sources.clone();
    let opened = Tree::open(remote, sources, spec.locale, TreeLimits::none(), now).await;
    let tree = opened.map_err(DownloadError::Open)?;
    let listed = tree.everything().await.map_err(|source| DownloadError::List { source })?;
    let entries: Vec<Local> = listed
        .into_iter()
        .filter_map(|(path, ino)| {
            let path = spec.directory.join(OsStr::from_bytes(&path));
            Some(Local { path, ino, kind: tree.attributes(ino)?.kind })
        })
        .collect();
    let bytes = entries.iter().map(Local::bytes).sum::<u64>();
    check_space(&spec.directory, &entries, bytes)?;
    let (directories, files): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.kind == Kind::Directory);
    for directory in &directories {
        fs::create_dir(&directory.path).map_err(|source| directory.write_error(source))?;
    }
    stream::iter(files.iter().map(Ok))
        .try_for_each_concurrent(DOWNLOADS_MAX, |file| download_file(&tree, file, spec.owner))
        .await?;
    for directory in directories.iter().rev() {
        seal(&directory.path, spec.owner).map_err(|source| directory.write_error(source))?;
    }
    let files = files.len() as u64;
    let notice = format!(
        "inputs were downloaded before the start ({files} files, {bytes} bytes) because this \
         machine cannot mount them"
    );
    Ok(DownloadReport { files, bytes, hidden_names: tree.hidden().0, notice })
}

/// A file or directory to make.
struct Local {
    path: PathBuf,
    ino: Ino,
    kind: Kind,
}

impl Local {
    fn bytes(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            Kind::Directory => 0,
        }
    }

    fn write_error(&self, source: io::Error) -> DownloadError {
        DownloadError::Write { path: self.path.clone(), source }
    }
}

fn check_space(directory: &Path, entries: &[Local], bytes: u64) -> Result<(), DownloadError> {
    let needed = bytes + entries.len() as u64 * FILE_OVERHEAD_BYTES;
    let disk = rustix::fs::statvfs(directory).map_err(|error| DownloadError::Write {
        path: directory.to_owned(),
        source: error.into(),
    })?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed > free {
        return Err(DownloadError::Space { needed, free });
    }
    Ok(())
}

async fn download_file(
    tree: &Tree,
    local: &Local,
    owner: Option<(u32, u32)>,
) -> Result<(), DownloadError> {
    let Some(Ok(pin)) = tree.pin(local.ino) else { return Ok(()) };
    let version = Version {
        bucket: tree.bucket(pin.source).into(),
        key: pin.key.as_str().into(),
        etag: pin.etag,
        size: pin.size,
    };
    let object_error = |source| DownloadError::Object { key: pin.key.clone(), source };
    let write_error = |source| local.write_error(source);
    let mut file = File::create_new(&local.path).await.map_err(write_error)?;
    let mut download = Download::new(tree.remote(), version, 0..pin.size);
    while let Some(bytes) = download.next().await.map_err(object_error)? {
        file.write_all(&bytes).await.map_err(write_error)?;
    }
    file.flush().await.map_err(write_error)?;
    if let Some(known) = tree.attributes(local.ino) {
        let modified = SystemTime::UNIX_EPOCH
            + Duration::from_micros(u64::try_from(known.modified.0).unwrap_or(0));
        file.into_std().await.set_modified(modified).map_err(write_error)?;
    }
    seal(&local.path, owner).map_err(write_error)
}

/// Readable and executable, never writable, and the program's.
fn seal(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group))?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o555))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        source::SourceKind,
        testing::{BUCKET, Faults, FaultyStore, pattern},
    };
    use gristmill_objects::ObjectStore;
    use std::{os::unix::fs::MetadataExt, sync::atomic::Ordering::Relaxed};

    fn spec(directory: &Path, sources: &[(&str, SourceKind)]) -> DownloadSpec {
        let source = |(key, kind): &(&str, SourceKind)| Source {
            bucket: BUCKET.to_owned(),
            key: (*key).to_owned(),
            kind: *kind,
        };
        DownloadSpec {
            sources: sources.iter().map(source).collect(),
            directory: directory.to_owned(),
            locale: "GBK".parse().expect("known"),
            owner: None,
        }
    }

    #[tokio::test]
    async fn the_tree_a_mount_would_show_is_downloaded_across_faults() {
        let store = FaultyStore::new();
        let large = pattern(3 << 20);
        store.fill("in/日志.txt", "log").await;
        store.fill("in/a", "hidden").await;
        store.fill("in/a/large", large.clone()).await;
        store.fill("in/empty/", "").await;
        store.fill("in/zero", "").await;
        store.fill("single", "1").await;
        for number in 0..50 {
            store.fill(&format!("in/many/{number}"), pattern(number)).await;
        }
        store.set(Faults { errors_percent: 10, short_percent: 20, ..Faults::default() });
        let directory = tempfile::tempdir().expect("a directory");
        let spec =
            spec(directory.path(), &[("in/", SourceKind::Prefix), ("single", SourceKind::Object)]);
        let report = download(store.remote(), &spec, Timestamp(1)).await.expect("patience");
        assert_eq!((report.files, report.hidden_names), (54, 1));
        assert!(report.notice.contains("54 files"), "{}", report.notice);
        let read = |path: &[u8]| fs::read(directory.path().join(OsStr::from_bytes(path)));
        assert_eq!(read(b"0/\xC8\xD5\xD6\xBE.txt").expect("there"), b"log");
        assert_eq!(read(b"0/a/large").expect("there"), large);
        assert_eq!(read(b"0/many/49").expect("there"), pattern(49));
        assert_eq!(read(b"1/object").expect("there"), b"1");
        let metadata = fs::metadata(directory.path().join("0/a/large")).expect("there");
        assert_eq!((metadata.mode() & 0o777, metadata.mtime()), (0o555, 1_700_000_000));
        assert!(fs::metadata(directory.path().join("0/empty")).expect("there").is_dir());
    }

    #[tokio::test]
    async fn an_input_that_cannot_be_opened_is_named() {
        let store = FaultyStore::new();
        let directory = tempfile::tempdir().expect("a directory");
        let spec = spec(directory.path(), &[("none", SourceKind::Object)]);
        let error = download(store.remote(), &spec, Timestamp(1)).await.expect_err("nothing there");
        assert_eq!(error.to_string(), "could not open the input oss://bkt/none");
    }

    #[tokio::test]
    async fn an_object_that_vanishes_on_the_way_is_an_error() {
        let store = FaultyStore::new();
        for number in 0..200 {
            store.fill(&format!("in/{number:03}"), pattern(1000)).await;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let spec = spec(directory.path(), &[("in/", SourceKind::Prefix)]);
        store.set(Faults { delay: Duration::from_millis(1), ..Faults::default() });
        let vanish = async {
            while store.gets.load(Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            store.inner.delete(BUCKET, "in/199").await.expect("deleted");
        };
        let (downloaded, ()) = tokio::join!(download(store.remote(), &spec, Timestamp(1)), vanish);
        let error = downloaded.expect_err("a listed object is missing");
        assert_eq!(error.to_string(), "could not download `in/199`");
    }

    #[test]
    fn what_does_not_fit_is_not_begun() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = check_space(directory.path(), &[], 1 << 62).expect_err("no such disk");
        assert!(matches!(error, DownloadError::Space { needed, .. } if needed == 1 << 62));
    }
}
