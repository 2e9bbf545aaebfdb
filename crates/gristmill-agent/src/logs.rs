//! Reads from a log while the program still writes it.

use crate::{
    runs::{Log, Runs},
    writes::{Watch, Writes},
};
use gristmill_wire::agent::{LogBytes, ReadLog};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// As many bytes are read without leaving the thread.
const FEW: u64 = 4096;
/// How often it is looked although nothing was noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The bytes asked for, as many as are there; waits for the first of them if that is wished. A log that
/// is not here is over.
pub async fn read(runs: &Runs, writes: &Writes, wish: ReadLog) -> LogBytes {
    read_looking(runs, writes, wish, LOOK_AGAIN).await
}

async fn read_looking(
    runs: &Runs,
    writes: &Writes,
    wish: ReadLog,
    look_again: Duration,
) -> LogBytes {
    let until = Instant::now() + Duration::from_millis(wish.wait_ms.into());
    let mut watched: Option<(PathBuf, Watch)> = None;
    loop {
        // Listened first, so that nothing happens between the look and the wait.
        let moves = runs.log_moves(wish.run);
        watched = match runs.log(wish.run, wish.stream) {
            Some(Log::File { file, over: false }) if wish.wait_ms > 0 => match watched {
                Some((of, watch)) if of == file => Some((of, watch)),
                _ => Some((file.clone(), writes.watch(&file))),
            },
            _ => None,
        };
        let answer = look(runs, wish).await;
        if !answer.bytes.is_empty() || answer.over || Instant::now() >= until {
            return answer;
        }
        tokio::select! {
            () = moved(moves) => {}
            () = written(&mut watched) => {}
            () = sleep_until(until.min(Instant::now() + look_again)) => {}
        }
    }
}

/// Waits until the log is elsewhere or complete.
async fn moved(moves: Option<watch::Receiver<()>>) {
    match moves {
        // Closed: the run is forgotten.
        Some(mut moves) => drop(moves.changed().await),
        None => std::future::pending().await,
    }
}

async fn written(watched: &mut Option<(PathBuf, Watch)>) {
    match watched {
        Some((_, watch)) => watch.written().await,
        None => std::future::pending().await,
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
            let Ok(bytes) = read_file(file, wish).await else { return over };
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

/// The bytes that are there. Few are read at once: they were written a moment ago, and another thread
/// would cost more than they do.
async fn read_file(file: PathBuf, wish: ReadLog) -> io::Result<Vec<u8>> {
    let ReadLog { offset, bytes_max, .. } = wish;
    match std::fs::metadata(&file)?.len().saturating_sub(offset) {
        0 => Ok(Vec::new()),
        1..=FEW => read_at(&file, offset, bytes_max),
        _ => tokio::task::spawn_blocking(move || read_at(&file, offset, bytes_max))
            .await
            .map_err(io::Error::other)?,
    }
}

fn read_at(path: &Path, offset: u64, bytes_max: u32) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(u64::from(bytes_max)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_wire::agent::{Run, RunEnd, Task};
    use std::{io::Write, sync::Arc};

    /// How long a reader waits whom nobody tells anything; he never looks by himself.
    const WAIT: Duration = Duration::from_secs(100);

    fn wish(offset: u64) -> ReadLog {
        ReadLog {
            request: 7,
            run: 1,
            stream: 1,
            offset,
            bytes_max: 100,
            wait_ms: WAIT.as_millis() as u32,
        }
    }

    /// What a reader gets who waits before this happens.
    async fn read_before(runs: &Runs, offset: u64, happens: impl FnOnce()) -> LogBytes {
        let (writes, begun) = (Writes::default(), Instant::now());
        let later = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            happens();
        };
        let told = read_looking(runs, &writes, wish(offset), 2 * WAIT);
        let (read, ()) = tokio::join!(told, later);
        assert!(begun.elapsed() < WAIT, "nobody told the reader");
        read
    }

    #[tokio::test]
    async fn a_reader_is_told_of_the_file_of_each_write_and_of_the_end() {
        let files = [(); 2].map(|()| tempfile::NamedTempFile::new().expect("a file"));
        let paths = files.each_ref().map(|file| file.path().to_owned());
        let write =
            |text: &str| (&mut files[0].as_file()).write_all(text.as_bytes()).expect("written");
        let runs = Runs::default();
        runs.begin(Arc::new(Task::default()), Run { run: 1, task: 1, instance: 0 });
        write("one");
        let first = read_before(&runs, 0, || runs.set_logs(1, paths)).await;
        assert_eq!((&first.bytes[..], first.over), (&b"one"[..], false));
        let second = read_before(&runs, 3, || write("two")).await;
        assert_eq!((&second.bytes[..], second.over), (&b"two"[..], false));
        let many = read_before(&runs, 6, || write(&"x".repeat(5_000))).await;
        assert_eq!((many.bytes.len(), many.over), (100, false), "as many as are asked for");
        let end = read_before(&runs, 5_006, || runs.ended(1, RunEnd::default(), None)).await;
        assert_eq!((end.bytes.len(), end.over), (0, true));
    }

    #[tokio::test]
    async fn a_run_that_is_forgotten_has_no_log() {
        let runs = Runs::default();
        runs.begin(Arc::new(Task::default()), Run { run: 1, task: 1, instance: 0 });
        runs.cancel(1);
        let end = read_before(&runs, 0, || runs.ended(1, RunEnd::default(), None)).await;
        assert_eq!((end.request, end.over), (7, true));
    }
}
