//! Reads from a log while the program still writes it.

use crate::{
    runs::{Log, Runs},
    writes::Writes,
};
use gristmill_wire::agent::{LogBytes, ReadLog};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How often it is looked whether a run has ended, or begun to write, while a reader waits.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The bytes asked for, as many as are there; waits for the first of them if that is wished. A log that
/// is not here is over.
pub async fn read(runs: &Runs, writes: &Writes, wish: ReadLog) -> LogBytes {
    let until = Instant::now() + Duration::from_millis(wish.wait_ms.into());
    loop {
        // Watched first, so that nothing is written between the look and the wait.
        let watch = match runs.log(wish.run, wish.stream) {
            Some(Log::File { file, over: false }) if wish.wait_ms > 0 => Some(writes.watch(&file)),
            _ => None,
        };
        let answer = look(runs, wish).await;
        if !answer.bytes.is_empty() || answer.over || Instant::now() >= until {
            return answer;
        }
        match watch {
            Some(mut watch) => {
                // Its end is not written to the file.
                let _ = timeout(LOOK_AGAIN, watch.written()).await;
            }
            None => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn look(runs: &Runs, wish: ReadLog) -> LogBytes {
    let over = LogBytes { request: wish.request, bytes: Vec::new(), over: true };
    match runs.log(wish.run, wish.stream) {
        None => over,
        Some(Log::NotYet) => LogBytes { over: false, ..over },
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
