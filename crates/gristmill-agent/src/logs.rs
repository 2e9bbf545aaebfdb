//! Reads from a log while the program still writes it.

use crate::runs::Runs;
use gristmill_wire::agent::{LogBytes, ReadLog};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// The bytes asked for, as many as are there. A log that is not here is over.
pub async fn read(runs: &Runs, wish: ReadLog) -> LogBytes {
    let over = LogBytes { request: wish.request, bytes: Vec::new(), over: true };
    let Some((file, ended)) = runs.log(wish.run, wish.stream) else {
        return over;
    };
    let read =
        tokio::task::spawn_blocking(move || read_at(&file, wish.offset, wish.bytes_max)).await;
    match read {
        Ok(Ok(bytes)) => {
            // Bytes may follow the ones that fit; then the run is not over for this reader.
            let over = ended && bytes.is_empty();
            LogBytes { request: wish.request, bytes, over }
        }
        Ok(Err(_)) | Err(_) => over,
    }
}

fn read_at(path: &Path, offset: u64, bytes_max: u32) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    (&mut file).take(u64::from(bytes_max)).read_to_end(&mut bytes)?;
    // A file that is left to another run loses this name first: then the bytes may be that run's.
    if fs::metadata(path)?.ino() != file.metadata()?.ino() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(bytes)
}
