//! One file becomes one object: in one piece or in parts, checked, and again when it changed
//! meanwhile.
//!
//! Start at [`send_file`].

use crate::{
    download::check_crc,
    file_body::{BodySum, LocalFile},
    remote::{Remote, timed_out},
    upload::{Sent, Uploader},
};
use crc_fast::{CrcAlgorithm::Crc64Xz, checksum_combine};
use futures::{StreamExt, TryStreamExt, stream};
use gristmill_objects::{ObjectError, ObjectInfo, PartRef, PutOptions};
use std::{future::Future, io, ops::Range, sync::atomic::Ordering::Relaxed, time::Duration};
use tracing::warn;

/// Parts of one file under way at the same time.
const PARTS_MAX: usize = 8;

/// A request whose body does not move for so long is given up and repeated. Longer than for
/// reading: the store syncs before it answers.
const UPLOAD_QUIET_MAX: Duration = Duration::from_secs(60);

/// The longest time a store may take to put parts together.
const COMPLETE_MAX: Duration = Duration::from_secs(600);

/// Why a file is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened.
    #[error("could not open the file")]
    Open {
        /// The cause.
        source: io::Error,
    },
    /// It cannot be read to its end, twice.
    #[error("the file became shorter while it was uploaded")]
    Shrank,
    /// The store did not take it.
    #[error("could not store the file")]
    Store {
        /// What the store said.
        source: ObjectError,
    },
}

impl FileError {
    /// Whether it is the store's final word about the place that was named.
    pub(crate) fn is_final(&self) -> bool {
        let Self::Store { source } = self else { return false };
        matches!(source, ObjectError::NoSuchBucket { .. } | ObjectError::Denied { .. })
    }
}

/// Uploads a file; once more if it changed on the way.
pub(crate) async fn send_file(
    to: &Uploader,
    file: &LocalFile,
    bucket: &str,
    key: &str,
) -> Result<Sent, FileError> {
    let first = send_version(to, file, bucket, key).await;
    let now = file.look().map_err(|source| FileError::Open { source })?;
    match first {
        Ok(bytes) if now == file.seen => return Ok(Sent { bytes, unsteady: false }),
        Ok(_) | Err(FileError::Shrank) => {}
        Err(error) => return Err(error),
    }
    let again = file.at(now);
    let bytes = send_version(to, &again, bucket, key).await?;
    let unsteady = again.look().map_err(|source| FileError::Open { source })? != now;
    Ok(Sent { bytes, unsteady })
}

/// Uploads an empty object that stands for a directory.
pub(crate) async fn send_marker(to: &Uploader, bucket: &str, key: &str) -> Result<Sent, FileError> {
    let _slot = to.slots.acquire().await.expect("the slots are never closed");
    let options = || PutOptions { length: Some(0), ..PutOptions::default() };
    let put = || to.remote.store().put(bucket, key, options(), stream::empty().boxed());
    let put = to.remote.ask("make a directory marker", put).await;
    put.map_err(|source| FileError::Store { source })?;
    Ok(Sent { bytes: 0, unsteady: false })
}

async fn send_version(
    to: &Uploader,
    file: &LocalFile,
    bucket: &str,
    key: &str,
) -> Result<u64, FileError> {
    let size = file.seen.size;
    if size >= to.sizes.single_max {
        send_parts(to, file, bucket, key).await?;
        return Ok(size);
    }
    let _slot = to.slots.acquire().await.expect("the slots are never closed");
    let store = to.remote.store();
    send(&to.remote, file, 0..size, |options, body| store.put(bucket, key, options, body)).await?;
    Ok(size)
}

/// Sends a range of the file until the store confirms the same bytes. Returns what it confirmed
/// and the CRC-64.
async fn send<'a, F>(
    remote: &Remote,
    file: &LocalFile,
    range: Range<u64>,
    put: impl Fn(PutOptions, gristmill_objects::ByteStream) -> F,
) -> Result<(ObjectInfo, u64), FileError>
where
    F: Future<Output = Result<ObjectInfo, ObjectError>> + 'a,
{
    let mut struggle = remote.struggle();
    let length = range.end - range.start;
    loop {
        let (body, sum) = file.body(range.clone());
        remote.meter().requests.fetch_add(1, Relaxed);
        let options = PutOptions { length: Some(length), ..PutOptions::default() };
        let outcome = unless_stuck(&sum, put(options, body)).await;
        remote.meter().bytes_written.fetch_add(sum.bytes(), Relaxed);
        let confirmed = outcome.and_then(|info| confirm(info, &sum));
        match confirmed {
            Ok(confirmed) => return Ok(confirmed),
            Err(_) if file.look().is_ok_and(|now| now.size < range.end) => {
                return Err(FileError::Shrank);
            }
            Err(error) if error.is_transient() => {
                let again = struggle.after("store a file", error).await;
                again.map_err(|source| FileError::Store { source })?;
            }
            Err(source) => return Err(FileError::Store { source }),
        }
    }
}

fn confirm(info: ObjectInfo, sum: &BodySum) -> Result<(ObjectInfo, u64), ObjectError> {
    let crc = sum.crc64();
    if let Some(stored) = info.crc64 {
        check_crc(&info.key, crc, stored)?;
    }
    Ok((info, crc))
}

async fn unless_stuck<T>(
    sum: &BodySum,
    request: impl Future<Output = Result<T, ObjectError>>,
) -> Result<T, ObjectError> {
    let stuck = async {
        let mut before = None;
        while before != Some(sum.bytes()) {
            before = Some(sum.bytes());
            tokio::time::sleep(UPLOAD_QUIET_MAX).await;
        }
    };
    tokio::select! {
        outcome = request => outcome,
        () = stuck => Err(timed_out("store a file")),
    }
}

async fn send_parts(
    to: &Uploader,
    file: &LocalFile,
    bucket: &str,
    key: &str,
) -> Result<(), FileError> {
    let remote = &to.remote;
    let store_error = |source| FileError::Store { source };
    let begin = || remote.store().create_upload(bucket, key, PutOptions::default());
    let id = remote.ask("begin an upload", begin).await.map_err(store_error)?;
    let upload =
        Unfinished { remote: remote.clone(), bucket: bucket.into(), key: key.into(), id: Some(id) };
    let part_bytes = to.sizes.part_bytes(file.seen.size);
    let count = file.seen.size.div_ceil(part_bytes);
    let mut parts: Vec<Part> = stream::iter(0..count)
        .map(|index| {
            let start = index * part_bytes;
            let range = start..(start + part_bytes).min(file.seen.size);
            send_part(to, file, &upload, index as u32 + 1, range)
        })
        .buffer_unordered(PARTS_MAX)
        .try_collect()
        .await?;
    parts.sort_by_key(|part| part.part.number);
    upload.complete(&parts).await.map_err(store_error)
}

/// A part the store has.
struct Part {
    part: PartRef,
    bytes: u64,
    crc: u64,
}

async fn send_part(
    to: &Uploader,
    file: &LocalFile,
    upload: &Unfinished,
    number: u32,
    range: Range<u64>,
) -> Result<Part, FileError> {
    let _slot = to.slots.acquire().await.expect("the slots are never closed");
    let (store, bytes) = (to.remote.store(), range.end - range.start);
    let (info, crc) = send(&to.remote, file, range, |options, body| {
        store.put_part(&upload.bucket, &upload.key, upload.id(), number, options, body)
    })
    .await?;
    Ok(Part { part: PartRef { number, etag: info.etag }, bytes, crc })
}

/// A multipart upload that is dropped unless it is completed.
struct Unfinished {
    remote: Remote,
    bucket: String,
    key: String,
    id: Option<String>,
}

impl Unfinished {
    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    async fn complete(mut self, parts: &[Part]) -> Result<(), ObjectError> {
        let refs: Vec<PartRef> = parts.iter().map(|part| part.part.clone()).collect();
        let store = self.remote.store();
        let complete = || store.complete_upload(&self.bucket, &self.key, self.id(), &refs);
        let completed = self.remote.ask_within(COMPLETE_MAX, "complete an upload", complete).await;
        let crc =
            parts.iter().fold(0, |crc, part| checksum_combine(Crc64Xz, crc, part.crc, part.bytes));
        let info = match completed {
            Ok(info) => info,
            // An earlier attempt may have got through without its answer.
            Err(ObjectError::NoSuchUpload { .. }) => {
                self.remote.head(&self.bucket, &self.key).await?
            }
            Err(error) => return Err(error),
        };
        self.id = None;
        info.crc64.map_or(Ok(()), |stored| check_crc(&self.key, crc, stored))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (remote, bucket, key) =
            (self.remote.clone(), std::mem::take(&mut self.bucket), std::mem::take(&mut self.key));
        runtime.spawn(async move {
            let abort = || remote.store().abort_upload(&bucket, &key, &id);
            match remote.ask("drop an upload", abort).await {
                Ok(()) | Err(ObjectError::NoSuchUpload { .. }) => {}
                Err(error) => warn!(%key, %error, "an unfinished upload stays in the store"),
            }
        });
    }
}
