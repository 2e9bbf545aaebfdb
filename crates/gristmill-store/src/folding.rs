//! Folding the write-ahead log back into the database, beside the writer.
//!
//! SQLite would do it in the middle of a commit: some megabytes and two syncs, while everybody waits for the
//! writer. Here a thread with a connection of its own copies them (`PASSIVE`: it waits for nobody and
//! nobody waits for it). Then the writer copies what came meanwhile, a few pages, so that nothing is left and the
//! log starts from its beginning again.
//!
//! Invariants
//! - At most one fold is under way.
//! - A fold that failed costs nothing but a longer log; after further commits another is tried.

use rusqlite::{Connection, OpenFlags, hooks::Wal, wal::CheckpointMode};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tracing::debug;

/// Pages of the log after which it is folded.
const PAGES_MAX: u32 = 1_000;

/// The writer's side.
#[derive(Debug)]
pub(crate) struct Folding {
    /// Pages in the log, as the last commit left them.
    pages: Arc<AtomicU32>,
    /// How many there have to be for the next fold.
    wanted: u32,
    /// Whether the thread was asked and the writer has not done its part yet.
    asked: bool,
    done: Arc<AtomicBool>,
    /// `None` only while it is dropped: its end is the end of the thread.
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Folding {
    /// Takes the folding of this database over from the writer's connection.
    pub fn begin(connection: &mut Connection, path: &Path) -> rusqlite::Result<Self> {
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let pages = Arc::new(AtomicU32::new(0));
        let counted = pages.clone();
        connection.wal_hook(Some(move |_: &mut Wal, count| {
            counted.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let (ask, asked) = sync_channel(1);
        let done = Arc::new(AtomicBool::new(false));
        let (path, ready) = (path.to_owned(), done.clone());
        let thread = thread::Builder::new()
            .name("books".into())
            .spawn(move || fold_when_asked(&path, &asked, &ready))
            .expect("the process can start a thread at its beginning");
        let (ask, thread) = (Some(ask), Some(thread));
        Ok(Self { pages, wanted: PAGES_MAX, asked: false, done, ask, thread })
    }

    /// What the writer does after a commit: nearly always nothing.
    pub fn after_commit(&mut self, connection: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if self.asked {
            if self.done.swap(false, Ordering::Acquire) {
                self.asked = false;
                fold(connection);
                // If a reader keeps the log from starting anew it is longer next time.
                self.wanted = pages + PAGES_MAX;
            }
            return;
        }
        if pages + PAGES_MAX < self.wanted {
            self.wanted = PAGES_MAX; // it started anew
        }
        if pages >= self.wanted {
            // The thread ends only with this value.
            self.asked = self.ask.as_ref().is_some_and(|ask| ask.try_send(()).is_ok());
        }
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing to say
        }
    }
}

fn fold_when_asked(path: &Path, asked: &Receiver<()>, done: &AtomicBool) {
    let mut connection = None;
    while asked.recv().is_ok() {
        if connection.is_none() {
            connection = open(path);
        }
        connection.as_ref().map(fold);
        done.store(true, Ordering::Release);
    }
}

fn open(path: &Path) -> Option<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let opened = opened.and_then(|connection| {
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    });
    opened.inspect_err(|error| debug!(%error, "the log cannot be folded now")).ok()
}

fn fold(connection: &Connection) {
    let folded = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE);
    match folded {
        Ok((pages, folded)) => debug!(pages, folded, "folded the log"),
        Err(error) => debug!(%error, "the log cannot be folded now"),
    }
}
