//! The one writer of the metadata database: a thread that drains a queue, puts everything that
//! waits into one transaction, and answers after the commit. While one commit waits for the disk
//! the next batch gathers, so many small PUTs share one sync.
//!
//! Invariants
//! - Nobody is told "done" before the commit is durable.
//! - New files are named durably before the rows that name them.
//! - A change that fails leaves nothing of itself in the batch (a savepoint around each).

use super::{
    files::{Files, NewFile},
    reserve::Reserve,
    rows::sql_error,
};
use crate::{ObjectError, rules::io_error};
use gristmill_faults::{self as faults, Point};
use rusqlite::Connection;
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::sync::{mpsc, oneshot};

/// Changes that may wait for the writer.
const QUEUE_MAX: usize = 1024;
/// Changes in one transaction.
const BATCH_MAX: usize = 512;

/// The result of a change, to be told once it is durable.
pub(super) struct Change<T> {
    /// The answer.
    pub value: T,
    /// Files that rows name now.
    pub keep: Vec<NewFile>,
    /// Files that no row names any more.
    pub garbage: Vec<u64>,
    /// Run by the writer after the commit, in the order of the commits.
    pub after: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Change<T> {
    /// A change that touches no files.
    pub fn of(value: T) -> Self {
        Self { value, keep: vec![], garbage: vec![], after: None }
    }

    /// The same, with something to do after the commit.
    pub fn then(self, after: impl FnOnce() + Send + 'static) -> Self {
        Self { after: Some(Box::new(after)), ..self }
    }
}

/// The queue in front of the writer thread.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

/// A change with its types forgotten.
trait Job: Send {
    /// Carries it out; `false` when it was refused and must be undone.
    fn run(&mut self, conn: &Connection) -> bool;
    /// Whether it failed for want of space.
    fn found_disk_full(&self) -> bool;
    /// The new files of it.
    fn new_files(&self) -> Vec<u64>;
    /// Tells the outcome; `failure` when the commit failed.
    fn finish(self: Box<Self>, failure: Option<&Failure>, files: &Files);
}

/// Why a whole batch failed. Copied into the answer of each change.
enum Failure {
    Full,
    Io(String),
}

struct Pending<T, F> {
    work: Option<F>,
    outcome: Option<Result<Change<T>, ObjectError>>,
    answer: oneshot::Sender<Result<T, ObjectError>>,
}

impl Writer {
    /// Starts the thread. `guard` is dropped when it ends.
    pub fn start(
        conn: Connection,
        files: Arc<Files>,
        reserve: Arc<Reserve>,
        guard: impl Send + 'static,
    ) -> Result<Self, ObjectError> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("object-writer".into())
            .spawn(move || {
                write_all(&conn, &files, &reserve, jobs);
                drop((conn, guard));
            })
            .map_err(|e| io_error("start the writer of object metadata", e))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Carries out a change; durable when this returns `Ok`.
    pub async fn write<T, F>(&self, work: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<Change<T>, ObjectError> + Send + 'static,
    {
        let (answer, told) = oneshot::channel();
        let job = Box::new(Pending { work: Some(work), outcome: None, answer });
        let gone =
            || io_error("reach the writer of object metadata", io::ErrorKind::BrokenPipe.into());
        let queue = self.queue.as_ref().expect("the queue is there until the writer is dropped");
        queue.send(job).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }

    /// How many changes wait for the thread.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| QUEUE_MAX - queue.capacity())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<Change<T>, ObjectError> + Send,
{
    fn run(&mut self, conn: &Connection) -> bool {
        let work = self.work.take().expect("a job runs once");
        self.outcome.insert(work(conn)).is_ok()
    }

    fn found_disk_full(&self) -> bool {
        matches!(self.outcome, Some(Err(ObjectError::Full)))
    }

    fn new_files(&self) -> Vec<u64> {
        let keep = self.outcome.iter().flatten().flat_map(|change| &change.keep);
        keep.map(|file| file.number).collect()
    }

    fn finish(self: Box<Self>, failure: Option<&Failure>, files: &Files) {
        let outcome = match (self.outcome, failure) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(change)), None) => {
                change.keep.into_iter().for_each(NewFile::keep);
                files.discard(change.garbage);
                if let Some(after) = change.after {
                    after();
                }
                Ok(change.value)
            }
            (outcome, Some(failure)) => {
                // A commit that failed half-way may still be found after a crash, and its rows
                // must then find their files. What turns out to be unneeded is swept at a start.
                let keep = outcome.into_iter().flatten().flat_map(|change| change.keep);
                keep.for_each(NewFile::keep);
                Err(failure.error())
            }
            (None, None) => unreachable!("a batch is committed after all of it ran"),
        };
        // Whoever asked may have left; the change stands all the same.
        let _ = self.answer.send(outcome);
    }
}

impl Failure {
    fn of(error: &ObjectError) -> Self {
        match error {
            ObjectError::Full => Self::Full,
            ObjectError::Io { doing, source } => Self::Io(format!("{doing}: {source}")),
            other => Self::Io(other.to_string()),
        }
    }

    fn error(&self) -> ObjectError {
        match self {
            Self::Full => ObjectError::Full,
            Self::Io(text) => io_error("commit object metadata", io::Error::other(text.clone())),
        }
    }
}

fn write_all(
    conn: &Connection,
    files: &Files,
    reserve: &Reserve,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        let failure = commit(conn, files, &mut batch).err();
        if let Some(error) = &failure {
            tracing::error!(%error, changes = batch.len(), "object metadata was not written");
            // Nothing to roll back is as good as rolled back.
            let _ = conn.execute_batch("ROLLBACK");
        }
        let full = batch.iter().any(|job| job.found_disk_full());
        let failure = failure.as_ref().map(|error| match full {
            // The database undid the batch because of it; what else failed is a consequence.
            true => Failure::Full,
            false => Failure::of(error),
        });
        if full || matches!(failure, Some(Failure::Full)) {
            make_room(conn, reserve);
        }
        batch.into_iter().for_each(|job| job.finish(failure.as_ref(), files));
    }
}

/// Gives the reserve up and the space of the log back, so that removing things is possible.
fn make_room(conn: &Connection, reserve: &Reserve) {
    reserve.spend();
    let truncate = || conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    if let Err(error) = truncate() {
        tracing::warn!(%error, "the log of the object metadata keeps its size");
    }
}

fn commit(conn: &Connection, files: &Files, batch: &mut [Box<dyn Job>]) -> Result<(), ObjectError> {
    let sql = |text| {
        conn.prepare_cached(text)
            .and_then(|mut statement| statement.execute([]))
            .map_err(|error| sql_error("commit object metadata", error))
    };
    sql("BEGIN IMMEDIATE")?;
    for job in batch.iter_mut() {
        sql("SAVEPOINT change")?;
        if !job.run(conn) {
            // Fails when the database already undid everything, as it may on a full disk.
            sql("ROLLBACK TO change")?;
        }
        sql("RELEASE change")?;
    }
    files.sync_names(batch.iter().flat_map(|job| job.new_files()))?;
    faults::at(Point::ObjectsCommit).or_fail().map_err(|_| ObjectError::Full)?;
    sql("COMMIT")?;
    faults::at(Point::ObjectsCommitted);
    Ok(())
}
