//! The floor: `true`, started and awaited by a loop that does nothing else; and writes that reach the disk.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::File,
    io::Write,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// How long the disk is asked.
const SYNCS: Duration = Duration::from_millis(300);

/// Which loop.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `posix_spawn` and wait.
    Bare,
    /// The same in new pid, mount, ipc and uts namespaces.
    Namespaces,
}

/// What a loop took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Floor {
    /// On the wall.
    pub seconds: f64,
    /// On the processors, the programs included.
    pub processor_seconds: f64,
}

/// Runs one loop of `count` starts, `parallel` at a time.
pub fn run(programs: &Path, kind: Kind, count: u32, parallel: u32) -> Result<Floor> {
    let kind = match kind {
        Kind::Bare => "bare",
        Kind::Namespaces => "namespaces",
    };
    let program = programs.join("examples/spawn_floor");
    let output = Command::new(&program)
        .args([kind, &count.to_string(), &parallel.to_string()])
        .output()
        .with_context(|| format!("could not start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the floor `{kind}` failed: {}", said.trim());
    serde_json::from_slice(&output.stdout).context("the floor said something else")
}

/// What a start and a write cost where nothing else is done.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Pair {
    /// A start of `true` in a serial loop, milliseconds.
    pub start_ms: f64,
    /// An append of a few bytes with `fdatasync`, milliseconds.
    pub sync_ms: f64,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start_ms, sync_ms } = self;
        write!(f, "a bare start {start_ms:.2} ms, a synced append {sync_ms:.2} ms")
    }
}

/// Both, the writes in this directory.
pub fn pair(programs: &Path, directory: &Path, starts: u32) -> Result<Pair> {
    let seconds = run(programs, Kind::Bare, starts, 1)?.seconds;
    Ok(Pair {
        start_ms: seconds * 1e3 / f64::from(starts),
        sync_ms: 1e3 / synced_appends(directory, SYNCS)?,
    })
}

/// Appends of 400 bytes with `fdatasync`, a second.
pub fn synced_appends(directory: &Path, long: Duration) -> Result<f64> {
    let mut file = File::create(directory.join("floor"))?;
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < long {
        file.write_all(&[7; 400])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}
