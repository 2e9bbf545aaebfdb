//! Reads from a log while the program still writes it.

use crate::runs::{Log, Runs};
use gristmill_wire::agent::{LogBytes, ReadLog};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// The bytes asked for, as many as are there. A log that is not here is over.
pub async fn read(runs: &Runs, wish: ReadLog) -> LogBytes {
    let over = LogBytes { request: wish.request, bytes: Vec::new(), over: true };
    match runs.log(wish.run, wish.stream) {
        None => over,
        Some(Log::Said(said)) => {
            let start = usize::try_from(wish.offset).unwrap_or(usize::MAX).min(said.len());
            let rest = &said[start..];
            let bytes = rest[..rest.len().min(wish.bytes_max as usize)].to_vec();
            // Bytes may follow the ones that fit; then the run is not over for this reader.
            let over = bytes.is_empty();
            LogBytes { request: wish.request, bytes, over }
        }
        Some(Log::File { file, over: ended }) => {
            let read =
                tokio::task::spawn_blocking(move || read_at(&file, wish.offset, wish.bytes_max));
            let Ok(Ok(bytes)) = read.await else { return over };
            // A file that serves another run by now was taken from this one first.
            if !matches!(runs.log(wish.run, wish.stream), Some(Log::File { .. })) {
                let bytes = Vec::new();
                return LogBytes { request: wish.request, bytes, over: false };
            }
            let over = ended && bytes.is_empty();
            LogBytes { request: wish.request, bytes, over }
        }
    }
}

fn read_at(path: &Path, offset: u64, bytes_max: u32) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(u64::from(bytes_max)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
