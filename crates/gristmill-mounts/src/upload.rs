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
mod tests {
    use super::*;
    use crate::testing::{BUCKET, Faults, FaultyStore, pattern};
    use rustix::fs::{Mode, open};
    use std::{
        ffi::OsStr,
        fs,
        os::unix::{ffi::OsStrExt, fs::symlink},
        sync::atomic::Ordering::Relaxed,
        time::Duration,
    };

    const SMALL_PARTS: PartSizes = PartSizes { single_max: 3 << 20, part_min: 1 << 20 };

    fn directory(path: &Path) -> OwnedFd {
        open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("it is there")
    }

    fn uploader(store: &Arc<FaultyStore>) -> Uploader {
        Uploader::new(store.remote(), "GBK".parse().expect("known"), SMALL_PARTS)
    }

    fn to(prefix: &str) -> Destination {
        Destination { bucket: BUCKET.to_owned(), prefix: prefix.to_owned(), seen_as: None }
    }

    async fn upload(store: &Arc<FaultyStore>, path: &Path) -> UploadReport {
        uploader(store).tree(directory(path), to("out/")).await
    }

    #[tokio::test]
    async fn a_tree_becomes_objects_across_faults() {
        let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
        let large = pattern((5 << 20) + 17);
        fs::create_dir_all(local.path().join("a/b")).expect("made");
        fs::create_dir(local.path().join("empty")).expect("made");
        fs::write(local.path().join("a/b/large"), &large).expect("written");
        fs::write(local.path().join("zero"), "").expect("written");
        for number in 0..300 {
            fs::write(local.path().join(format!("a/{number}")), pattern(number)).expect("written");
        }
        store.set(Faults { errors_percent: 5, wrong_crc_every: 50, ..Faults::default() });
        let report = upload(&store, local.path()).await;
        assert_eq!((report.files, report.failed, report.skipped), (302, 0, 0), "{report:?}");
        assert!(report.is_complete());
        assert_eq!(store.bytes("out/a/b/large").await, Some(large));
        assert_eq!(store.bytes("out/zero").await, Some(vec![]));
        assert_eq!(store.bytes("out/empty/").await, Some(vec![]));
        assert_eq!(store.bytes("out/a/299").await, Some(pattern(299)));
        assert_eq!(store.keys().await.len(), 303, "nothing else was written");
        assert!(store.parts.load(Relaxed) >= 6);
    }

    #[tokio::test]
    async fn a_hostile_tree_gives_away_nothing_of_the_host() {
        let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
        let host = tempfile::tempdir().expect("a directory");
        fs::write(host.path().join("secret"), "secret").expect("written");
        let at = |name: &str| local.path().join(name);
        fs::create_dir(at("sub")).expect("made");
        fs::write(at("sub/file"), "inside").expect("written");
        symlink(host.path().join("secret"), at("absolute")).expect("linked");
        symlink("/etc/shadow", at("shadow")).expect("linked");
        symlink(host.path(), at("directory")).expect("linked");
        symlink("../../../../../../../etc/passwd", at("sub/climb")).expect("linked");
        symlink("/proc/self/root/etc/passwd", at("magic")).expect("linked");
        symlink("circle", at("circle")).expect("linked");
        symlink(".", at("here")).expect("linked");
        symlink("nothing", at("dangling")).expect("linked");
        symlink("../sub", at("sub/up")).expect("linked");
        symlink("sub/file", at("good")).expect("linked");
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .expect("made");
        symlink("pipe", at("to-pipe")).expect("linked");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");
        let report = tokio::time::timeout(Duration::from_secs(60), upload(&store, local.path()))
            .await
            .expect("nothing blocks");
        assert_eq!(store.keys().await, ["out/good", "out/sub/file"]);
        assert_eq!((report.files, report.failed), (2, 0), "{report:?}");
        assert_eq!(report.skipped, 12, "{report:?}");
        assert_eq!(report.warnings.len(), 12);
    }

    #[tokio::test]
    async fn links_inside_the_tree_are_followed() {
        let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
        let at = |name: &str| local.path().join(name);
        fs::create_dir(at("v1")).expect("made");
        fs::write(at("v1/data"), "d").expect("written");
        symlink("v1", at("current")).expect("linked");
        symlink("/home/out/v1/data", at("by-path")).expect("linked");
        symlink("/home/outer", at("other")).expect("linked");
        let to = Destination { seen_as: Some("/home/out".into()), ..to("") };
        let report = uploader(&store).tree(directory(local.path()), to).await;
        assert_eq!(store.keys().await, ["by-path", "current/data", "v1/data"]);
        assert_eq!(report.skipped, 1, "{report:?}");
    }

    #[tokio::test]
    async fn names_in_gbk_become_utf8_and_are_kept_apart() {
        let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
        let write = |name: &[u8], text: &str| {
            fs::write(local.path().join(OsStr::from_bytes(name)), text).expect("written");
        };
        write(&[0xC8, 0xD5], "gbk");
        write("日".as_bytes(), "utf8");
        write(&[0xCE, 0xC4], "only gbk");
        write(b"bad\xFF", "neither");
        let report = upload(&store, local.path()).await;
        assert_eq!(store.keys().await, ["out/bad%FF", "out/文", "out/日", "out/日~2"]);
        assert_eq!(store.bytes("out/日").await, Some(b"utf8".to_vec()));
        assert_eq!((report.files, report.warnings.len()), (4, 2), "{report:?}");
    }

    #[tokio::test]
    async fn a_single_file_that_is_not_there_is_a_warning() {
        let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
        fs::write(local.path().join("result"), "42").expect("written");
        let uploader = uploader(&store);
        let mut report =
            uploader.file(directory(local.path()), Path::new("result"), BUCKET, "r/one").await;
        report
            .add(uploader.file(directory(local.path()), Path::new("none"), BUCKET, "r/two").await);
        symlink("/etc/shadow", local.path().join("shadow")).expect("linked");
        fs::create_dir(local.path().join("directory")).expect("made");
        for name in ["shadow", "directory"] {
            report
                .add(uploader.file(directory(local.path()), Path::new(name), BUCKET, "r/x").await);
        }
        assert_eq!((report.files, report.bytes, report.failed, report.skipped), (1, 2, 0, 3));
        let expected = [
            "none: the file does not exist",
            "shadow: the link leads out of the directory",
            "directory: not a regular file",
        ];
        assert_eq!(report.warnings, expected);
        assert_eq!(store.keys().await, ["r/one"]);
    }

    #[tokio::test]
    async fn a_refusal_stops_the_upload_and_is_named() {
        let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
        for number in 0..200 {
            fs::write(local.path().join(format!("{number}")), "x").expect("written");
        }
        store.set(Faults { denied: Some("out/".to_owned()), ..Faults::default() });
        let report = upload(&store, local.path()).await;
        assert!(report.failed > 0 && report.files == 0, "{report:?}");
        assert!(report.failures[0].contains("access to `bkt/out/"), "{report:?}");
        assert!(store.puts.load(Relaxed) < 200, "the rest was not tried");
    }

    #[tokio::test]
    async fn an_upload_that_fails_or_is_dropped_leaves_no_parts() {
        let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
        fs::write(local.path().join("large"), pattern(8 << 20)).expect("written");
        store.set(Faults { delay: Duration::from_millis(20), ..Faults::default() });
        let uploader = uploader(&store);
        let uploading = uploader.tree(directory(local.path()), to("out/"));
        let dropped = tokio::select! {
            _ = uploading => false,
            () = async { while store.parts.load(Relaxed) == 0 { tokio::task::yield_now().await } } => true,
        };
        assert!(dropped, "the upload was under way");
        while store.aborts.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.keys().await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_file_that_grows_meanwhile_is_uploaded_again() {
        let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
        let path = local.path().join("log");
        fs::write(&path, "one").expect("written");
        let file = LocalFile::new(
            open_beneath(directory(local.path()).as_fd(), Path::new("log"), OFlags::RDONLY)
                .expect("opens"),
        );
        let file = file.expect("regular");
        fs::write(&path, "one two").expect("written");
        let sent = send_file(&uploader(&store), &file, BUCKET, "log").await.expect("stored");
        assert!(!sent.unsteady);
        assert_eq!(store.bytes("log").await, Some(b"one two".to_vec()));
        fs::write(&path, "1").expect("written");
        let sent = send_file(&uploader(&store), &file, BUCKET, "log").await.expect("stored");
        assert_eq!((sent.bytes, store.bytes("log").await), (1, Some(b"1".to_vec())));
    }

    #[test]
    fn parts_are_large_enough_that_nine_thousand_do() {
        let sizes = PartSizes::default();
        assert_eq!(sizes.part_bytes(16 << 20), 8 << 20);
        assert_eq!(sizes.part_bytes(1 << 40), 117 << 20);
        assert!((1_u64 << 42).div_ceil(sizes.part_bytes(1 << 42)) <= 9_000);
    }

    #[test]
    fn log_objects_are_named_by_job_task_and_instance() {
        let job: JobId = "job-000000005BE3E8AA0000000100000012".parse().expect("legal");
        let task: TaskName = "split".parse().expect("legal");
        let name = log_object_name("stdout", job, &task, InstanceNo(0));
        assert_eq!(name, format!("stdout.{job}.split.0"));
    }
}
