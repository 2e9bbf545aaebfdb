//! Bodies on their way to and from the disk.
//!
//! [`stage`] takes a body in: small ones stay in memory, larger ones go to a new file in blocks,
//! digested and written on a blocking thread while the next block arrives. [`stream`] gives a range
//! out, reading one block ahead. Both hold two blocks at most, whatever the size of the object.

use super::{
    files::{Files, NewFile, Pinned},
    rows::Piece,
};
use crate::{ByteStream, Digest, ObjectError, PutOptions, Sum, rules::io_error};
use bytes::Bytes;
use futures::StreamExt;
use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::FileExt,
    sync::Arc,
};
use tokio::task::{JoinHandle, spawn_blocking};

/// Objects up to this size live in the database.
pub(super) const INLINE_MAX: usize = 16 * 1024;
/// Bytes written at once.
const WRITE_BLOCK: usize = 1024 * 1024;
/// Bytes read at once.
const READ_BLOCK: u64 = 256 * 1024;

/// A whole body, not yet part of the store.
pub(super) enum Staged {
    /// At most [`INLINE_MAX`] bytes.
    Memory(Vec<u8>),
    /// In a synced file.
    File(NewFile),
}

/// A file being filled.
struct Filling {
    new: NewFile,
    file: File,
    digest: Digest,
}

impl Filling {
    fn write(mut self, block: &[u8]) -> Result<Self, ObjectError> {
        self.digest.update(block);
        self.file.write_all(block).map_err(|e| io_error("write an object file", e))?;
        Ok(self)
    }

    fn finish(self) -> Result<(Sum, Staged), ObjectError> {
        self.file.sync_data().map_err(|e| io_error("sync an object file", e))?;
        Ok((self.digest.finish(), Staged::File(self.new)))
    }
}

/// Takes a body in and checks it against what was announced. Bodies of up to `memory_max` bytes
/// stay in memory.
pub(super) async fn stage(
    files: &Arc<Files>,
    key: &str,
    options: &PutOptions,
    body: ByteStream,
    memory_max: usize,
) -> Result<(Sum, Staged), ObjectError> {
    let (sum, staged) = gather(files, key, body, memory_max).await?;
    sum.check(key, options)?;
    Ok((sum, staged))
}

async fn gather(
    files: &Arc<Files>,
    key: &str,
    mut body: ByteStream,
    memory_max: usize,
) -> Result<(Sum, Staged), ObjectError> {
    let mut block = Vec::new();
    let mut filling: Option<JoinHandle<Result<Filling, ObjectError>>> = None;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|e| io_error(format!("receive `{key}`"), e))?;
        block.extend_from_slice(&chunk);
        let limit = if filling.is_some() { WRITE_BLOCK } else { WRITE_BLOCK.max(memory_max) };
        if block.len() >= limit {
            let full = std::mem::replace(&mut block, Vec::with_capacity(WRITE_BLOCK));
            filling = Some(fill(files, filling, full).await?);
        }
    }
    if filling.is_none() && block.len() <= memory_max {
        return Ok((Sum::of(&block), Staged::Memory(block)));
    }
    let filling = joined(fill(files, filling, block).await?).await?;
    blocking(move || filling.finish()).await
}

/// Starts writing a block after the one before it was written.
async fn fill(
    files: &Arc<Files>,
    before: Option<JoinHandle<Result<Filling, ObjectError>>>,
    block: Vec<u8>,
) -> Result<JoinHandle<Result<Filling, ObjectError>>, ObjectError> {
    let before = match before {
        Some(handle) => Some(joined(handle).await?),
        None => None,
    };
    let files = files.clone();
    Ok(spawn_blocking(move || {
        let filling = match before {
            Some(filling) => filling,
            None => {
                let (new, file) = files.create()?;
                Filling { new, file, digest: Digest::default() }
            }
        };
        filling.write(&block)
    }))
}

/// Staged bytes as a new file behind the bytes `before`.
pub(super) fn join(
    files: &Arc<Files>,
    before: &[u8],
    staged: &Staged,
) -> Result<NewFile, ObjectError> {
    let (new, mut file) = files.create()?;
    file.write_all(before).map_err(|e| io_error("write an object file", e))?;
    pour(files, staged, &mut file)?;
    Ok(new)
}

/// Staged bytes at the end of the piece of a file. What is in the file behind the piece belongs to
/// nobody: an append that was not committed.
/// Returns how many they were.
pub(super) fn extend(files: &Files, piece: Piece, staged: &Staged) -> Result<u64, ObjectError> {
    let doing = |e| io_error("append to an object file", e);
    let mut file = files.open(piece.file, true).map_err(doing)?;
    file.seek(SeekFrom::Start(piece.length)).map_err(doing)?;
    pour(files, staged, &mut file)
}

fn pour(files: &Files, staged: &Staged, file: &mut File) -> Result<u64, ObjectError> {
    let mut write = || {
        let length = match staged {
            Staged::Memory(bytes) => io::copy(&mut &bytes[..], file)?,
            Staged::File(new) => io::copy(&mut files.open(new.number, false)?, file)?,
        };
        file.sync_data()?;
        Ok(length)
    };
    write().map_err(|e| io_error("write an object file", e))
}

/// Runs what may wait for the disk away from the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    joined(spawn_blocking(work)).await
}

async fn joined<T>(handle: JoinHandle<Result<T, ObjectError>>) -> Result<T, ObjectError> {
    handle.await.map_err(|e| io_error("wait for the disk", io::Error::other(e)))?
}

/// The pieces that hold a range, each with the range inside it.
pub(super) fn cut(pieces: &[Piece], range: &Range<u64>) -> Vec<(u64, Range<u64>)> {
    let (mut at, mut found) = (0, vec![]);
    for piece in pieces {
        let end = at + piece.length;
        let (from, to) = (range.start.clamp(at, end), range.end.clamp(at, end));
        if from < to {
            found.push((piece.file, from - at..to - at));
        }
        at = end;
    }
    found
}

/// Reads ranges of pinned files one after the other.
pub(super) fn stream(files: Arc<Files>, pinned: Pinned, cut: Vec<(u64, Range<u64>)>) -> ByteStream {
    let reading = Reading { files, _pinned: pinned, rest: cut.into_iter().collect(), open: None };
    let next = |reading: Reading| spawn_blocking(move || reading.next());
    futures::stream::unfold(Some(next(reading)), move |pending| async move {
        match pending?.await {
            Ok((reading, Some(Ok(block)))) => Some((Ok(block), Some(next(reading)))),
            Ok((_, Some(Err(error)))) => Some((Err(error), None)),
            Ok((_, None)) => None,
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    })
    .boxed()
}

struct Reading {
    files: Arc<Files>,
    _pinned: Pinned,
    rest: std::collections::VecDeque<(u64, Range<u64>)>,
    open: Option<(u64, File)>,
}

impl Reading {
    fn next(mut self) -> (Self, Option<io::Result<Bytes>>) {
        let block = self.read().transpose();
        (self, block)
    }

    fn read(&mut self) -> io::Result<Option<Bytes>> {
        let Some((number, range)) = self.rest.front_mut() else { return Ok(None) };
        let file = match &self.open {
            Some((open, file)) if open == number => file,
            _ => &self.open.insert((*number, self.files.open(*number, false)?)).1,
        };
        let length = (range.end - range.start).min(READ_BLOCK);
        let mut block = vec![0; length as usize];
        file.read_exact_at(&mut block, range.start)?;
        range.start += length;
        if range.is_empty() {
            self.rest.pop_front();
        }
        Ok(Some(block.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_the_files_that_hold_it() {
        let piece = |file, length| Piece { file, length };
        let pieces = [piece(1, 10), piece(2, 0), piece(3, 5)];
        assert_eq!(cut(&pieces, &(0..15)), [(1, 0..10), (3, 0..5)]);
        assert_eq!(cut(&pieces, &(9..11)), [(1, 9..10), (3, 0..1)]);
        assert_eq!(cut(&pieces, &(10..11)), [(3, 0..1)]);
        assert!(cut(&pieces, &(4..4)).is_empty());
    }
}
