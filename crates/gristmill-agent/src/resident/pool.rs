//! Resident programs that wait for a call.
//!
//! Invariants
//! - At most [`IDLE_MAX`] wait; the one that has waited longest makes room.
//! - One that has waited for as long as it may is ended.
//! - A process that died while it waited is nobody's loss: it is not given out.

use super::{Kind, process::Process};
use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The most processes of a machine that wait at a time.
const IDLE_MAX: usize = 8;
/// Numbers of processes, above those of all runs.
const FIRST_NUMBER: u64 = 1 << 63;

/// Who waits. Cheap to share.
#[derive(Default)]
pub struct Pool(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Longest waiting first.
    idle: Mutex<Waiting>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    processes: Vec<Idle>,
    /// Whether somebody looks after those that have waited for too long.
    swept: bool,
}

struct Idle {
    kind: Kind,
    process: Process,
    until: Instant,
}

impl Pool {
    /// A number for a new process, used once.
    pub fn number(&self) -> u64 {
        FIRST_NUMBER + self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A process of this kind that waits and lives.
    pub fn take(&self, kind: &Kind) -> Option<Process> {
        loop {
            let mut process = {
                let mut idle = self.0.waiting();
                let at = idle.processes.iter().rposition(|it| it.kind == *kind)?;
                idle.processes.remove(at).process
            };
            if process.is_alive() {
                return Some(process);
            }
            process.retire();
        }
    }

    /// Lets a process wait for its next call.
    pub fn give_back(&self, kind: Kind, process: Process, idle_max: Duration) {
        let (surplus, sweep) = {
            let mut idle = self.0.waiting();
            idle.processes.push(Idle { kind, process, until: Instant::now() + idle_max });
            let surplus = (idle.processes.len() > IDLE_MAX).then(|| idle.processes.remove(0));
            (surplus, !std::mem::replace(&mut idle.swept, true))
        };
        if let Some(surplus) = surplus {
            surplus.process.retire();
        }
        if sweep {
            tokio::spawn(self.0.clone().sweep());
        }
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.idle.lock().expect("no holder of the lock panics")
    }

    /// Ends those that have waited for too long, until nobody waits.
    async fn sweep(self: Arc<Self>) {
        loop {
            let next = {
                let mut idle = self.waiting();
                let now = Instant::now();
                for over in idle.processes.extract_if(.., |it| it.until <= now) {
                    tracing::info!("a resident program was idle for too long");
                    over.process.retire();
                }
                let next = idle.processes.iter().map(|it| it.until).min();
                idle.swept = next.is_some();
                next
            };
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => return,
            }
        }
    }
}
