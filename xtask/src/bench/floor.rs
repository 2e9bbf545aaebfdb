//! The floor: `true`, started and awaited by a loop that does nothing else.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{path::Path, process::Command};

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
