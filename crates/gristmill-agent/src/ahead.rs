//! A sandbox made ahead: a machine with nothing to do has one that waits for the next run, whose start
//! then costs what a start in a used one costs.
//!
//! It is made like the sandboxes of all runs that find no package and no inputs and leave no outputs,
//! and belongs to nobody; the first run that takes it gives it its lineage. It is made anew from time
//! to time, because it shows the directories of the host that were there when it was made.
//!
//! Invariants
//! - A machine has at most one, and none is made while a run is at work or waits.
//! - No program was in it before its first run, so nothing of anybody is in it.

use crate::work::Place;
use gristmill_runtime::SandboxSpec;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tracing::debug;

/// How long a machine has had nothing to do when it makes one.
const QUIET: Duration = Duration::from_millis(20);
/// When it is made anew.
const AGE_MAX: Duration = Duration::from_secs(300);
/// Where their numbers begin: above those of runs and of programs that stay.
const NUMBERS: u64 = 3 << 62;

/// What is known of the present one.
#[derive(Default)]
pub struct Ahead {
    made: Mutex<Option<Instant>>,
    latest: AtomicU64,
}

impl Place {
    /// Makes a sandbox ahead in a moment, if there is none and still nothing to do.
    pub(crate) fn look_ahead_soon(self: &Arc<Self>) {
        if self.directories.has_open() || !self.turns.is_idle() {
            return;
        }
        let place = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(QUIET).await;
            place.look_ahead();
        });
    }

    /// Makes a sandbox ahead, if there is none or an old one, and nothing to do.
    pub(crate) fn look_ahead(&self) {
        if !self.turns.is_idle() {
            return;
        }
        let mut made = self.ahead.made.lock().expect("no holder of the lock panics");
        if self.directories.has_open() {
            if made.is_some_and(|made| made.elapsed() < AGE_MAX) {
                return;
            }
            self.directories.remove_open();
        }
        *made = Some(Instant::now());
        if let Err(error) = self.make_ahead() {
            debug!(error = format!("{error:#}"), "no sandbox ahead");
        }
    }

    fn make_ahead(&self) -> anyhow::Result<()> {
        let number = NUMBERS + self.ahead.latest.fetch_add(1, Ordering::Relaxed);
        let open = Some(SandboxSpec::OPEN);
        let mut directory = self.directories.make(number, open)?;
        let (scratch, mounts) = (directory.scratch(), vec![directory.workdir_mount()]);
        let name = format!("ahead-{}", number - NUMBERS);
        let sandbox = self.sandbox(&name, scratch, mounts, open.map(str::to_owned));
        self.spawner.prepare(&sandbox)?;
        directory.keep();
        Ok(())
    }
}
