//! A local file as the body of a request, read again for every attempt.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm::Crc64Xz, Digest};
use futures::{StreamExt, stream};
use gristmill_objects::ByteStream;
use rustix::{
    fs::{FileType, fstat},
    io::pread,
};
use std::{
    io,
    ops::Range,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Bytes read from a file at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// A file up to this size is read where we are instead of on a helper thread.
const INLINE_BYTES_MAX: u64 = 64 << 10;

/// A regular file that was opened for uploading.
#[derive(Debug, Clone)]
pub struct LocalFile {
    file: Arc<OwnedFd>,
    /// How it was when it was opened.
    pub seen: Seen,
}

/// What tells two states of a file apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Bytes.
    pub size: u64,
    modified: (i64, i64),
}

impl LocalFile {
    /// Takes an open file; refuses what is not a regular one.
    pub fn new(file: OwnedFd) -> io::Result<Self> {
        let seen = look(&file)?;
        Ok(Self { file: Arc::new(file), seen })
    }

    /// The same file in the state of `seen`.
    pub fn at(&self, seen: Seen) -> Self {
        Self { file: self.file.clone(), seen }
    }

    /// How it is now.
    pub fn look(&self) -> io::Result<Seen> {
        look(&self.file)
    }

    /// A range of it as a stream, and what can be said of the stream afterwards.
    pub fn body(&self, range: Range<u64>) -> (ByteStream, Arc<BodySum>) {
        let sum = Arc::new(BodySum::default());
        let state = (self.file.clone(), range, sum.clone());
        let body = stream::try_unfold(state, |(file, left, sum)| async move {
            if left.is_empty() {
                return Ok(None);
            }
            let chunk = read(&file, &left).await?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            sum.take(&chunk);
            let left = left.start + chunk.len() as u64..left.end;
            Ok(Some((chunk, (file, left, sum))))
        });
        (body.boxed(), sum)
    }
}

fn look(file: &OwnedFd) -> io::Result<Seen> {
    let stat = fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let modified = (stat.st_mtime as i64, stat.st_mtime_nsec as i64);
    Ok(Seen { size: stat.st_size as u64, modified })
}

async fn read(file: &Arc<OwnedFd>, left: &Range<u64>) -> io::Result<Bytes> {
    let length = (left.end - left.start).min(CHUNK_BYTES);
    let (file, start) = (file.clone(), left.start);
    let read = move || {
        let mut buffer = vec![0; length as usize];
        let got = pread(&*file, &mut buffer[..], start)?;
        buffer.truncate(got);
        Ok(buffer.into())
    };
    if length <= INLINE_BYTES_MAX {
        return read();
    }
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

/// What went out in a body.
#[derive(Debug, Default)]
pub struct BodySum {
    bytes: AtomicU64,
    crc: Mutex<Option<Digest>>,
}

impl BodySum {
    fn take(&self, chunk: &[u8]) {
        let mut crc = self.crc.lock().expect("no panic while locked");
        crc.get_or_insert_with(|| Digest::new(Crc64Xz)).update(chunk);
        self.bytes.fetch_add(chunk.len() as u64, Relaxed);
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// CRC-64 of the bytes so far.
    pub fn crc64(&self) -> u64 {
        let crc = self.crc.lock().expect("no panic while locked");
        crc.as_ref().map_or(0, Digest::finalize)
    }
}
