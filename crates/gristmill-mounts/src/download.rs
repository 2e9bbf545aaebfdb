//! The bytes of one version of an object, in order, across faults.
//!
//! [`Download::next`] opens the object with its pinned ETag, checks what comes back, and when the
//! connection breaks, stalls or ends early, asks again for what is missing.
//!
//! Invariants
//! - All bytes belong to the pinned version; another version is [`ObjectError::Changed`].
//! - Exactly the bytes of the range are handed out, or an error.
//! - A range that is the whole object is checked against the store's CRC-64.
//!
//! Start at [`Download::next`]; [`to_file`] is for who wants all of it on disk.

use crate::remote::{Remote, Struggle, bad_body, timed_out};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm::Crc64Xz, Digest};
use futures::StreamExt;
use gristmill_objects::{ByteStream, GetObject, GetOptions, ObjectError, ObjectInfo};
use std::{io, ops::Range, path::Path, sync::Arc, time::Duration};
use tokio::{fs::File, io::AsyncWriteExt, time::Instant};

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The bucket.
    pub bucket: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// The ETag.
    pub etag: Arc<str>,
    /// Bytes.
    pub size: u64,
}

impl Version {
    /// The version that the store knows.
    pub fn of(bucket: &str, info: &ObjectInfo) -> Self {
        let (key, etag) = (info.key.as_str().into(), info.etag.as_str().into());
        Self { bucket: bucket.into(), key, etag, size: info.size }
    }
}

/// A range of an object being read.
pub struct Download {
    remote: Remote,
    version: Version,
    at: u64,
    end: u64,
    body: Option<ByteStream>,
    struggle: Struggle,
    /// Of the bytes handed out, while they are all bytes from the first one on.
    crc: Option<Digest>,
    crc_of_store: Option<u64>,
    pace: Pace,
}

/// How fast a body comes, counting only the time somebody waits for it.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Takes a wait in; true when the body crawls.
    fn crawls(&mut self, waited: Duration, bytes: u64, quiet_max: Duration, crawl: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < quiet_max {
            return false;
        }
        let crawls = self.bytes < crawl;
        *self = Self::default();
        crawls
    }
}

impl Download {
    /// A download of `range`, which must lie inside the object. Nothing is asked yet.
    pub fn new(remote: &Remote, version: Version, range: Range<u64>) -> Self {
        let whole = range == (0..version.size);
        Self {
            at: range.start,
            end: range.end,
            body: None,
            struggle: remote.struggle(),
            crc: whole.then(|| Digest::new(Crc64Xz)),
            crc_of_store: None,
            pace: Pace::default(),
            remote: remote.clone(),
            version,
        }
    }

    /// The CRC-64 of the whole object as the store gave it, once something has arrived.
    pub fn crc_of_store(&self) -> Option<u64> {
        self.crc_of_store
    }

    /// Whether all bytes have been handed out; the sums are checked by one more `next`.
    pub fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// The next bytes; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        while self.at < self.end {
            match self.attempt().await {
                Ok(bytes) => {
                    self.struggle.moved();
                    return Ok(Some(bytes));
                }
                Err(error) if error.is_transient() => {
                    self.body = None;
                    self.struggle.after("read an object", error).await?;
                }
                Err(error) => return Err(self.as_change(error)),
            }
        }
        self.check_crc()?;
        Ok(None)
    }

    async fn attempt(&mut self) -> Result<Bytes, ObjectError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.open().await?,
        };
        let (since, patience) = (Instant::now(), *self.remote.patience());
        let chunk = tokio::time::timeout(patience.quiet_max, body.next()).await;
        let chunk = chunk.map_err(|_| timed_out("read an object"))?;
        let chunk = chunk.ok_or_else(|| bad_body("read an object", "the body ended early"))?;
        let doing = || "read an object".to_owned();
        let chunk = chunk.map_err(|source| ObjectError::Io { doing: doing(), source })?;
        let length = chunk.len() as u64;
        if length > self.end - self.at {
            return Err(bad_body("read an object", "the body is longer than announced"));
        }
        self.at += length;
        self.remote.meter().bytes_read.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
        if let Some(crc) = &mut self.crc {
            crc.update(&chunk);
        }
        // A crawling body is dropped; what is missing is asked for on another connection.
        if !self.pace.crawls(since.elapsed(), length, patience.quiet_max, patience.crawl_bytes) {
            self.body = Some(body);
        }
        Ok(chunk)
    }

    async fn open(&mut self) -> Result<ByteStream, ObjectError> {
        let Version { bucket, key, etag, size } = &self.version;
        let range = self.at..self.end;
        let options =
            GetOptions { range: Some(range.clone()), if_match: Some(etag.as_ref().to_owned()) };
        let GetObject { info, range: got, body } =
            self.remote.get_once(bucket, key, options).await?;
        // A store that ignores the condition must not get a mixture past us.
        if info.etag != etag.as_ref() || info.size != *size {
            return Err(ObjectError::Changed { bucket: bucket.to_string(), key: key.to_string() });
        }
        if got != range {
            return Err(bad_body("read an object", "another range came than was asked for"));
        }
        self.crc_of_store = info.crc64;
        Ok(body)
    }

    /// A pinned object that is gone has changed.
    fn as_change(&self, error: ObjectError) -> ObjectError {
        match error {
            ObjectError::NoSuchKey { bucket, key } => ObjectError::Changed { bucket, key },
            ObjectError::NoSuchBucket { bucket } => {
                ObjectError::Changed { bucket, key: self.version.key.to_string() }
            }
            error => error,
        }
    }

    fn check_crc(&self) -> Result<(), ObjectError> {
        let (Some(crc), Some(expected)) = (&self.crc, self.crc_of_store) else { return Ok(()) };
        check_crc(&self.version.key, expected, crc.finalize())
    }
}

/// Downloads an object into a file of this name, if `check` agrees to what it is. An object that is
/// replaced meanwhile is downloaded a second time.
pub async fn to_file(
    remote: &Remote,
    (bucket, key): (&str, &str),
    file: &Path,
    check: impl Fn(&ObjectInfo) -> Result<(), ObjectError>,
) -> Result<(), ObjectError> {
    let once = || async {
        let info = remote.head(bucket, key).await?;
        check(&info)?;
        version_to_file(remote, Version::of(bucket, &info), file).await
    };
    match once().await {
        Err(ObjectError::Changed { .. }) => once().await,
        done => done,
    }
}

async fn version_to_file(
    remote: &Remote,
    version: Version,
    file: &Path,
) -> Result<(), ObjectError> {
    let no_room =
        |source: io::Error| ObjectError::Io { doing: "write an object to disk".to_owned(), source };
    let mut target = File::create(file).await.map_err(no_room)?;
    let whole = 0..version.size;
    let mut download = Download::new(remote, version, whole);
    while let Some(bytes) = download.next().await? {
        target.write_all(&bytes).await.map_err(no_room)?;
    }
    target.flush().await.map_err(no_room)
}

/// Whether two CRC-64s are the same.
pub fn check_crc(key: &str, expected: u64, actual: u64) -> Result<(), ObjectError> {
    if expected == actual {
        return Ok(());
    }
    Err(ObjectError::Corrupt {
        what: "CRC-64",
        key: key.to_owned(),
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BUCKET, Faults, FaultyStore, pattern};
    use std::fs;

    async fn fetch(store: &Arc<FaultyStore>, key: &str) -> Result<Vec<u8>, ObjectError> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        to_file(&store.remote(), (BUCKET, key), &file, |_| Ok(())).await?;
        Ok(fs::read(file).expect("written"))
    }

    #[tokio::test]
    async fn a_body_may_take_longer_than_it_may_be_quiet() {
        let store = FaultyStore::new();
        let (bytes, pause) = (pattern(20_000), Duration::from_millis(30));
        store.fill("slow", bytes.clone()).await;
        store.set(Faults { pause_per_kib: pause, ..Faults::default() });
        assert!(pause * 20 > store.remote().patience().quiet_max);
        assert_eq!(fetch(&store, "slow").await.expect("patience"), bytes);
        store.set(Faults { short_percent: 50, stall_percent: 10, ..Faults::default() });
        assert_eq!(fetch(&store, "slow").await.expect("patience"), bytes);
    }

    #[tokio::test]
    async fn what_is_not_agreed_to_is_not_asked_for() {
        let store = FaultyStore::new();
        store.fill("large", pattern(1_000)).await;
        let refuse = |info: &ObjectInfo| {
            Err(ObjectError::Refused { code: "Large".into(), message: info.size.to_string() })
        };
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        let refused = to_file(&store.remote(), (BUCKET, "large"), &file, refuse).await;
        assert_eq!(refused.expect_err("too large").to_string(), "Large: 1000");
        assert!(!file.exists());
        assert_eq!(store.gets.load(std::sync::atomic::Ordering::Relaxed), 0);
        let missing = fetch(&store, "none").await.expect_err("nothing there");
        assert!(matches!(missing, ObjectError::NoSuchKey { .. }), "{missing}");
    }
}
