//! What a program left behind becomes objects: directories, single files, logs.
//!
//! [`Uploader::tree`] walks a directory while up to [`REQUESTS_MAX`] requests are under way. Small
//! files go in one piece, large ones in parts; every answer is checked against our own CRC-64
//! (`reference/mounts.md` 10).
//!
//! Invariants
//! - Nothing in memory is proportional to the size of a file or the number of files.
//! - An unfinished multipart upload is dropped, also when the caller goes away.
//! - A file is counted as uploaded only after the store confirmed the same bytes.
//! - When the store refuses us or is gone for good, the rest is not tried.
//!
//! Start at [`Uploader::tree`].

use crate::{
    file_body::LocalFile,
    names::Locale,
    remote::Remote,
    send::{FileError, send_file, send_marker},
    walk::{Item, open_beneath, walk},
};
use futures::{FutureExt, future::BoxFuture};
use gristmill_model::{InstanceNo, JobId, TaskName};
use gristmill_objects::ObjectError;
use rustix::{fs::OFlags, io::Errno};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    io,
    ops::ControlFlow,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

/// Requests under way at the same time.
pub const REQUESTS_MAX: usize = 32;

/// Items found ahead of what is uploaded; large files among them go first.
const AHEAD_MAX: usize = 1_024;

/// How many failures, warnings and skipped names a report spells out.
pub const EXAMPLES_MAX: usize = 20;

/// Sizes at which the way of uploading changes. Since 0.1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSizes {
    /// Files from this size on go in parts.
    pub single_max: u64,
    /// The smallest part.
    pub part_min: u64,
}

impl Default for PartSizes {
    fn default() -> Self {
        Self { single_max: 16 << 20, part_min: 8 << 20 }
    }
}

impl PartSizes {
    /// The size of the parts of a file: large enough that 9,000 are enough.
    pub fn part_bytes(&self, file_bytes: u64) -> u64 {
        file_bytes.div_ceil(9_000).next_multiple_of(1 << 20).max(self.part_min)
    }
}

/// What became of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReport {
    /// Files uploaded.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Things that are not uploaded: pipes, links that lead out, over-long names.
    pub skipped: u64,
    /// Files that could not be uploaded.
    pub failed: u64,
    /// Those of them that the store does not want: there is no such bucket, or no right to it.
    pub refused: u64,
    /// The first failures: key and reason.
    pub failures: Vec<String>,
    /// The first warnings: path and reason.
    pub warnings: Vec<String>,
}

impl UploadReport {
    /// Whether everything that should be there is there.
    pub fn is_complete(&self) -> bool {
        self.failed == 0
    }

    /// Adds what became of another upload.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.refused += other.refused;
        other.failures.into_iter().for_each(|failure| note(&mut self.failures, failure));
        other.warnings.into_iter().for_each(|warning| note(&mut self.warnings, warning));
    }

    fn warn(&mut self, path: &Path, why: &str) {
        note(&mut self.warnings, format!("{}: {why}", path.display()));
    }

    fn skip(&mut self, path: &Path, why: &str) {
        self.skipped += 1;
        self.warn(path, why);
    }

    fn fail(&mut self, key: &str, why: &FileError) {
        self.failed += 1;
        self.refused += u64::from(why.is_final());
        note(&mut self.failures, format!("{key}: {}", chain(why)));
    }
}

fn note(list: &mut Vec<String>, line: String) {
    if list.len() < EXAMPLES_MAX {
        list.push(line);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Where a tree goes.
#[derive(Debug, Clone, Default)]
pub struct Destination {
    /// The bucket.
    pub bucket: String,
    /// In front of every key: empty or with a slash at the end.
    pub prefix: String,
    /// The absolute path the program knew the directory by, so that absolute links inside it are
    /// understood.
    pub seen_as: Option<PathBuf>,
}

/// Uploads files. One per instance, so that its bounds hold for the instance.
#[derive(Clone)]
pub struct Uploader {
    pub(crate) remote: Remote,
    locale: Locale,
    pub(crate) sizes: PartSizes,
    pub(crate) slots: Arc<Semaphore>,
}

impl Uploader {
    /// An uploader for names in `locale`.
    pub fn new(remote: Remote, locale: Locale, sizes: PartSizes) -> Self {
        Self { remote, locale, sizes, slots: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    /// Uploads everything below the directory `root`.
    pub async fn tree(&self, root: OwnedFd, to: Destination) -> UploadReport {
        let root = Arc::new(root);
        let (found, items) = mpsc::channel(AHEAD_MAX);
        let (locale, walked, seen_as) = (self.locale, root.clone(), to.seen_as.clone());
        let walking = tokio::task::spawn_blocking(move || {
            walk(walked.as_fd(), seen_as.as_deref(), locale, &mut |item| {
                match found.blocking_send(item) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()), // nobody listens any more
                }
            });
        });
        let run = Run { uploader: self.clone(), root, to: Arc::new(to) };
        let mut report = run.upload(items).await;
        if let Err(error) = walking.await {
            report.failed += 1;
            note(&mut report.failures, format!("the directory could not be walked: {error}"));
        }
        report
    }

    /// Uploads the file at `path` below the directory `root`. A file that is not there is a
    /// warning.
    pub async fn file(&self, root: OwnedFd, path: &Path, bucket: &str, key: &str) -> UploadReport {
        let (root, relative) = (Arc::new(root), path.to_owned());
        let run = Run {
            uploader: self.clone(),
            root,
            to: Arc::new(Destination { bucket: bucket.to_owned(), ..Destination::default() }),
        };
        let mut report = UploadReport::default();
        run.file(relative, key.to_owned()).await.enter(&mut report);
        report
    }
}

/// An upload of one tree.
#[derive(Clone)]
struct Run {
    uploader: Uploader,
    root: Arc<OwnedFd>,
    to: Arc<Destination>,
}

/// What became of one file.
struct Outcome {
    path: PathBuf,
    key: String,
    is_marker: bool,
    result: Result<Sent, FileError>,
}

/// A file that is now an object.
pub(crate) struct Sent {
    pub(crate) bytes: u64,
    /// It changed even during the second try.
    pub(crate) unsteady: bool,
}

impl Outcome {
    fn enter(self, report: &mut UploadReport) {
        match self.result {
            Ok(_) if self.is_marker => {}
            Ok(sent) => {
                report.files += 1;
                report.bytes += sent.bytes;
                if sent.unsteady {
                    report.warn(&self.path, "the file changed while it was uploaded");
                }
            }
            Err(error) => match why_nothing_to_upload(&error) {
                Some(why) => report.skip(&self.path, why),
                None => report.fail(&self.key, &error),
            },
        }
    }

    /// Whether trying other files is pointless.
    fn is_hopeless(&self) -> bool {
        match &self.result {
            // A transient error here has outlived all patience.
            Err(FileError::Store { source }) => matches!(
                source,
                ObjectError::Io { .. }
                    | ObjectError::Full
                    | ObjectError::Denied { .. }
                    | ObjectError::NoSuchBucket { .. }
            ),
            Ok(_) | Err(_) => false,
        }
    }
}

/// Why there is no file to upload, when that is the program's doing and no fault.
fn why_nothing_to_upload(error: &FileError) -> Option<&'static str> {
    let FileError::Open { source } = error else { return None };
    match Errno::from_io_error(source) {
        Some(Errno::NOENT | Errno::NOTDIR) => Some("the file does not exist"),
        Some(Errno::XDEV) => Some("the link leads out of the directory"),
        Some(Errno::LOOP) => Some("the link leads in a circle"),
        Some(Errno::NXIO) => Some("not a regular file"), // a socket
        Some(_) => None,
        None => (source.kind() == io::ErrorKind::InvalidInput).then_some("not a regular file"),
    }
}

impl Run {
    async fn upload(&self, mut items: mpsc::Receiver<Item>) -> UploadReport {
        let (mut report, mut tasks) = (UploadReport::default(), JoinSet::new());
        let mut batch = Vec::with_capacity(AHEAD_MAX);
        let mut hopeful = true;
        while hopeful && items.recv_many(&mut batch, AHEAD_MAX).await > 0 {
            // Large files first: they make the long tails.
            batch.sort_by_key(|item| match item {
                Item::File { size, .. } => Reverse(*size),
                _ => Reverse(0),
            });
            for item in batch.drain(..) {
                while hopeful && tasks.len() >= REQUESTS_MAX {
                    hopeful = finish_one(&mut tasks, &mut report).await;
                }
                if !hopeful {
                    break;
                }
                if let Some(job) = self.start(item, &mut report) {
                    tasks.spawn(job);
                }
            }
        }
        drop(items); // the walk ends
        while hopeful && !tasks.is_empty() {
            hopeful = finish_one(&mut tasks, &mut report).await;
        }
        if !hopeful {
            note(&mut report.failures, "the store cannot be used, the rest was not tried".into());
            tasks.shutdown().await;
        }
        report
    }

    fn start(&self, item: Item, report: &mut UploadReport) -> Option<BoxFuture<'static, Outcome>> {
        let run = self.clone();
        match item {
            Item::File { path, key, .. } => {
                Some(async move { run.file(path, run.key(&key)).await }.boxed())
            }
            Item::EmptyDirectory { key } => {
                Some(async move { run.marker(run.key(&key)).await }.boxed())
            }
            Item::Skipped { path, why } => {
                report.skip(&path, &why);
                None
            }
            Item::Renamed { path, key } => {
                report.warn(&path, &format!("the name is no text, uploaded as `{key}`"));
                None
            }
        }
    }

    fn key(&self, relative: &str) -> String {
        format!("{}{relative}", self.to.prefix)
    }

    async fn file(&self, path: PathBuf, key: String) -> Outcome {
        let result = self.try_file(&path, &key).await;
        Outcome { path, key, is_marker: false, result }
    }

    async fn try_file(&self, path: &Path, key: &str) -> Result<Sent, FileError> {
        let (root, relative) = (self.root.clone(), path.to_owned());
        let opened = tokio::task::spawn_blocking(move || {
            LocalFile::new(open_beneath(root.as_fd(), &relative, OFlags::RDONLY)?)
        });
        let opened = opened.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()));
        let file = opened.map_err(|source| FileError::Open { source })?;
        send_file(&self.uploader, &file, &self.to.bucket, key).await
    }

    async fn marker(&self, key: String) -> Outcome {
        let result = send_marker(&self.uploader, &self.to.bucket, &key).await;
        Outcome { path: PathBuf::new(), key, is_marker: true, result }
    }
}

/// Waits for one upload; false when there is no point in going on.
async fn finish_one(tasks: &mut JoinSet<Outcome>, report: &mut UploadReport) -> bool {
    match tasks.join_next().await {
        Some(Ok(outcome)) => {
            let hopeless = outcome.is_hopeless();
            outcome.enter(report);
            !hopeless
        }
        Some(Err(_)) => {
            report.failed += 1;
            true
        }
        None => true,
    }
}

/// The name of a log object (`reference/api.md` 14.3): `stdout.<job>.<task>.<instance>`.
pub fn log_object_name(base: &str, job: JobId, task: &TaskName, instance: InstanceNo) -> String {
    format!("{base}.{job}.{task}.{instance}")
}

#[cfg(test)]
mod tests;
