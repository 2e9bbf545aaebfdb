//! The one writer: commits batches, takes checkpoints, clears the outbox, removes old attempts.
//!
//! Every public function is one transaction or a row of bounded ones. A function that fails with
//! `Retry::Later` has changed nothing; after `Retry::Never` the store is broken and says so until
//! the process ends, because it is not known what reached the disk.
//!
//! Start at [`Store::commit`].

use crate::{
    attempt, batch,
    error::{Retry, StoreError},
    folding::Folding,
    history::{self, HistoryRow},
    home::Home,
    journal,
    merging::Merged,
    notices::{self, NoticeProgress},
    readers::Readers,
    recovery::{self, Recovered},
    schema, segment,
    tail::{Sealed, Tail, TaskKey},
};
use gristmill_faults::{self as faults, Fault, Point};
use gristmill_model::{Effect, Event, JobId, Timestamp};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use serde::Deserialize;
use std::{fmt, path::Path, sync::Arc, time::Duration};

/// Rows taken out of the journal in one transaction after a checkpoint.
const TRIM_ROWS_MAX: i64 = 20_000;

/// Bytes the write-ahead log keeps on disk once it was folded back.
const LOG_BYTES_KEPT: i64 = 8 << 20;

/// The size of a page of the database.
const PAGE_BYTES: u64 = 4096;

/// The number of an event: 1 for the first, no gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// The number of an effect in the outbox; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(pub u64);

/// Limits of the store. Since 0.1.0.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreOptions {
    /// The largest size of the database in bytes; beyond it writes are refused as on a full disk.
    /// `None`: as large as the disk allows. The write-ahead log comes on top.
    pub size_bytes_max: Option<u64>,
    /// Connections for reading.
    pub readers_max: usize,
    /// How long to wait for another program that holds the database, in milliseconds.
    pub busy_ms_max: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { size_bytes_max: None, readers_max: 4, busy_ms_max: 5_000 }
    }
}

/// What one turn of the mill decided.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// What happened, in order.
    pub events: &'a [Event],
    /// What should be true outside.
    pub effects: &'a [Effect],
    /// Jobs that went into the history.
    pub archived: &'a [HistoryRow],
    /// When it was decided.
    pub at: Timestamp,
}

/// A batch that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The number of the last event in the books.
    pub last_seq: Seq,
    /// The numbers of the effects, in their order; notices are not among them.
    pub effect_ids: Vec<EffectId>,
}

/// What changed in the world since the last checkpoint, as the world was after `through`.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// New and changed entities: key and value.
    pub upserts: Vec<(String, Vec<u8>)>,
    /// More of them, whose values are made when they are written: all at once would take too much
    /// memory.
    pub later: Vec<(String, Later)>,
    /// Keys of entities that are gone.
    pub deletes: Vec<String>,
    /// The last event these values contain.
    pub through: Seq,
}

/// Makes the value of an entity.
#[derive(Clone)]
pub struct Later(pub Arc<dyn Fn() -> Vec<u8> + Send + Sync>);

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

/// A checkpoint that has begun: what ended before it.
#[derive(Debug)]
pub struct Begun {
    through: Seq,
    ended: Sealed,
    readers: Readers,
}

impl Begun {
    /// The last event it contains.
    pub fn through(&self) -> Seq {
        self.through
    }

    /// Brings what ended into the form of the disk: the most of a checkpoint's work.
    pub fn prepare(&self, checkpoint: Checkpoint) -> Result<Prepared, StoreError> {
        let merge = |(key, attempts): (&TaskKey, _)| {
            Ok((key.clone(), self.readers.merge((key.0, &key.1), attempts)?))
        };
        let segments = self.ended.sorted().map(merge).collect::<Result<_, StoreError>>()?;
        Ok(Prepared { segments, checkpoint })
    }
}

/// A checkpoint that only has to be written.
#[derive(Debug)]
pub struct Prepared {
    checkpoint: Checkpoint,
    segments: Vec<(TaskKey, Merged)>,
}

/// What a call of [`Store::purge`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// Attempts removed.
    pub attempts: usize,
    /// Whether there is more to do.
    pub more: bool,
}

/// The books, open for writing. There is one per data directory, owned by one thread.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    folding: Folding,
    through: Seq,
    last: Seq,
    broken: bool,
    /// What the events after the last checkpoint that began take in the journal.
    journal_bytes: u64,
    readers: Readers,
    tail: Tail,
    /// Last, so that the lock is given back after the database is closed.
    _home: Home,
}

impl Store {
    /// Takes the data directory, brings the schema up, and reads what a restart needs.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<(Self, Recovered), StoreError> {
        let home = Home::take(dir)?;
        let path = home.database()?;
        let mut connection = connect(&path, options)
            .map_err(|source| StoreError::Open { path: path.clone(), source })?;
        schema::migrate(&mut connection, &path, schema::STEPS)?;
        let recovered = recovery::read(&connection)?;
        let folding = Folding::begin(&mut connection, &path)
            .map_err(|source| StoreError::Open { path: path.clone(), source })?;
        let tail = Tail::default();
        tail.add(&recovered.events);
        tail.forget(&history::expired(&connection, &recovered.events)?);
        let busy_max = Duration::from_millis(options.busy_ms_max);
        let store = Self {
            connection,
            folding,
            through: recovered.through,
            last: Seq(recovered.next_seq.0 - 1),
            broken: false,
            journal_bytes: recovered.journal_bytes,
            readers: Readers::new(&path, options.readers_max, busy_max, tail.clone()),
            tail,
            _home: home,
        };
        Ok((store, recovered))
    }

    /// Writes a batch: journal, read tables and outbox in one transaction. When it returns `Ok`
    /// the batch survives a crash of the process and of the machine.
    pub fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, StoreError> {
        let first = self.last.0 + 1;
        let (bytes, effect_ids) = self.write("commit a batch", |transaction| {
            let bytes = append(transaction, first, batch)?;
            let effects = queue(transaction, batch.effects)?;
            faults::at(Point::StoreCommit).or_fail()?;
            Ok((bytes, effects))
        })?;
        faults::at(Point::StoreCommitted);
        self.last = Seq(self.last.0 + batch.events.len() as u64);
        self.journal_bytes += bytes;
        self.tail.add(batch.events);
        Ok(Committed { last_seq: self.last, effect_ids })
    }

    /// Makes the entities the new starting point of a restart, then cuts the journal before it.
    /// Doing it again with the same values is harmless.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let begun = self.begin_checkpoint();
        self.write_checkpoint(&begun.prepare(checkpoint.clone())?)
    }

    /// Begins a checkpoint through the last event. What it writes is prepared elsewhere, while
    /// commits go on; one that is begun and never written is part of the next.
    pub fn begin_checkpoint(&mut self) -> Begun {
        self.journal_bytes = 0;
        Begun { through: self.last, ended: self.tail.seal(), readers: self.readers.clone() }
    }

    /// Writes what was prepared. The attempts may be of events after `through`: after a restart they are in the
    /// journal and in a segment, and count once.
    pub fn write_checkpoint(&mut self, prepared: &Prepared) -> Result<(), StoreError> {
        let Prepared { checkpoint, segments } = prepared;
        let through = checkpoint.through;
        if through < self.through || through > self.last {
            let (oldest, newest) = (self.through.0, self.last.0);
            return Err(StoreError::OutOfOrder { through: through.0, oldest, newest });
        }
        let tail = self.tail.clone();
        self.write("take a checkpoint", |transaction| {
            // First of all: on a full disk what goes makes room for what comes.
            transaction
                .prepare_cached("DELETE FROM batch WHERE seq + events - 1 <= ?1")?
                .execute([through.0.cast_signed()])?;
            let kept = segments.iter().filter(|((job, _), _)| !tail.is_deleted(*job));
            for ((job, task), Merged { segments, replaced }) in kept {
                replaced.iter().try_for_each(|key| segment::delete(transaction, key))?;
                segment::insert(transaction, (*job, task), through.0, segments)?;
            }
            replace(transaction, checkpoint)?;
            Ok(faults::at(Point::CheckpointCommit).or_fail()?)
        })?;
        self.tail.written();
        self.through = through;
        self.trim()
    }

    /// Notes that effects are true outside; they are not handed out again after a restart.
    pub fn effects_done(&mut self, effects: &[EffectId]) -> Result<(), StoreError> {
        if effects.is_empty() {
            return Ok(());
        }
        self.write("clear the outbox", |transaction| {
            faults::at(Point::OutboxWrite).or_fail()?;
            let mut delete = transaction.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
            for effect in effects {
                delete.execute([effect.0.cast_signed()])?;
            }
            Ok(())
        })
    }

    /// Notes how far notices were delivered; those that are done are forgotten.
    pub fn notices_delivered(&mut self, progress: &[NoticeProgress]) -> Result<(), StoreError> {
        if progress.is_empty() {
            return Ok(());
        }
        self.write("strike notices", |transaction| {
            faults::at(Point::NoticeWrite).or_fail()?;
            Ok(notices::advance(transaction, progress)?)
        })
    }

    /// Removes about `attempts_max` attempts of deleted jobs: they go by rows of many. Call it again while there is more.
    pub fn purge(&mut self, attempts_max: usize) -> Result<Purged, StoreError> {
        self.write("remove attempts of deleted jobs", |transaction| {
            let mut attempts = 0;
            while let Some(job) = a_deleted_job(transaction)? {
                if attempts >= attempts_max {
                    return Ok(Purged { attempts, more: true });
                }
                let budget = attempts_max - attempts;
                let id = JobId(u128::from_be_bytes(job));
                let removed = segment::remove(transaction, id, budget)?;
                attempts += removed;
                if removed > 0 {
                    continue;
                }
                let removed = remove_attempts(transaction, job, budget)?;
                attempts += removed;
                if removed < budget {
                    forget_deleted_job(transaction, job)?;
                }
            }
            Ok(Purged { attempts, more: false })
        })
    }

    /// Removes up to `rows_max` jobs of the history that ended before `before` or are more than `jobs_max`,
    /// oldest first. Returns how many went; their attempts are left to [`Store::purge`].
    pub fn expire(
        &mut self,
        before: Timestamp,
        jobs_max: u64,
        rows_max: usize,
    ) -> Result<usize, StoreError> {
        let gone = self.write("shorten the history", |transaction| {
            Ok(history::expire(transaction, before, jobs_max, rows_max)?)
        })?;
        // The next checkpoint writes nothing of them: nobody would take it away again.
        self.tail.forget(&gone);
        Ok(gone.len())
    }

    /// Handles for reading, to be shared with other threads.
    pub fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// How many attempts ended since the last checkpoint began: they are in memory until the next one.
    pub fn attempts_since_checkpoint(&self) -> usize {
        self.tail.attempts()
    }

    /// What the events since the last checkpoint began take in the journal: a restart reads them all.
    pub fn journal_bytes_since_checkpoint(&self) -> u64 {
        self.journal_bytes
    }

    /// The number of the last event in the books.
    pub fn last_seq(&self) -> Seq {
        self.last
    }

    /// The last event the checkpoint contains.
    pub fn checkpointed(&self) -> Seq {
        self.through
    }

    /// Rows up to the checkpoint are of no more use; they go in bounded steps.
    fn trim(&mut self) -> Result<(), StoreError> {
        let through = self.through.0.cast_signed();
        loop {
            let removed = self.write("cut the journal", |transaction| {
                faults::at(Point::CheckpointTrim).or_fail()?;
                Ok(transaction
                    .prepare_cached(
                        "DELETE FROM journal WHERE seq <= min(?1,
                             (SELECT min(seq) FROM journal) + ?2 - 1)",
                    )?
                    .execute([through, TRIM_ROWS_MAX])?)
            })?;
            if (removed as i64) < TRIM_ROWS_MAX {
                return Ok(());
            }
        }
    }

    /// Runs `work` in one transaction: all of it is on disk when this returns `Ok`, nothing of it
    /// when it returns an error one may retry. Any other error breaks the store.
    fn write<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Undone>,
    ) -> Result<T, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        let result = transact(&mut self.connection, work).map_err(|undone| match undone {
            Undone::Sqlite(source) => StoreError::write(doing, source),
            Undone::Encode(error) => error,
        });
        if let Err(error) = &result {
            // A transaction that could not be rolled back would swallow the next batch.
            let open = !self.connection.is_autocommit();
            self.broken = open || error.retry() == Retry::Never;
        }
        self.folding.after_commit(&self.connection);
        result
    }
}

/// Why a transaction was not committed.
enum Undone {
    Sqlite(rusqlite::Error),
    Encode(StoreError),
}

impl From<rusqlite::Error> for Undone {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What a test lets fail here fails as on a full disk.
impl From<Fault> for Undone {
    fn from(fault: Fault) -> Self {
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        Self::Sqlite(rusqlite::Error::SqliteFailure(full, Some(fault.to_string())))
    }
}

/// Does all of `work` or nothing.
pub(crate) fn transact<T, E: From<rusqlite::Error>>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

pub(crate) fn connect(path: &Path, options: &StoreOptions) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(options.busy_ms_max))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        row.get::<_, String>(0).map(drop)
    })?;
    // FULL, not the usual NORMAL: an answered batch must survive power loss.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    if let Some(bytes) = options.size_bytes_max {
        let pages = i64::try_from(bytes / PAGE_BYTES).unwrap_or(i64::MAX);
        connection.pragma_update_and_check(None, "max_page_count", pages, |row| {
            row.get::<_, i64>(0).map(drop)
        })?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Writes events and moved jobs. Returns the length of the journal's new record.
fn append(transaction: &Transaction<'_>, first: u64, batch: &Batch<'_>) -> Result<u64, Undone> {
    for row in batch.archived {
        faults::at(Point::HistoryMove).or_fail()?;
        history::insert(transaction, row)?;
    }
    if batch.events.is_empty() {
        return Ok(0);
    }
    let record = batch::encode(batch.events).map_err(Undone::Encode)?;
    let bytes = record.len() as u64;
    let mut insert = transaction
        .prepare_cached("INSERT INTO batch (seq, events, at, record) VALUES (?1, ?2, ?3, ?4)")?;
    let (first, count) = (first.cast_signed(), batch.events.len() as i64);
    insert.execute(params![first, count, batch.at.0, record])?;
    for event in batch.events {
        attempt::record(transaction, event)?;
        history::forget(transaction, event)?;
    }
    Ok(bytes)
}

fn queue(transaction: &Transaction<'_>, effects: &[Effect]) -> Result<Vec<EffectId>, Undone> {
    let mut insert =
        transaction.prepare_cached("INSERT INTO outbox (format, record) VALUES (?1, ?2)")?;
    let mut ids = Vec::new();
    for effect in effects {
        if let Effect::Notify(notice) = effect {
            notices::queue(transaction, notice)?;
            continue;
        }
        let record = journal::encode_effect(effect).map_err(Undone::Encode)?;
        ids.push(EffectId(insert.insert(params![journal::FORMAT, record])?.cast_unsigned()));
    }
    Ok(ids)
}

fn replace(transaction: &Transaction<'_>, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO entity (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?;
    for (key, value) in &checkpoint.upserts {
        upsert.execute(params![key, value])?;
    }
    for (key, Later(make)) in &checkpoint.later {
        upsert.execute(params![key, make()])?;
    }
    let mut delete = transaction.prepare_cached("DELETE FROM entity WHERE key = ?1")?;
    for key in &checkpoint.deletes {
        delete.execute([key])?;
    }
    let through = checkpoint.through.0.cast_signed();
    transaction.execute("UPDATE checkpoint SET through = ?1", [through]).map(drop)
}

fn a_deleted_job(transaction: &Transaction<'_>) -> rusqlite::Result<Option<[u8; 16]>> {
    let mut query = transaction.prepare_cached("SELECT job FROM deleted_job LIMIT 1")?;
    query.query_map([], |row| row.get(0))?.next().transpose()
}

fn remove_attempts(
    transaction: &Transaction<'_>,
    job: [u8; 16],
    attempts_max: usize,
) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "DELETE FROM attempt WHERE job = ?1 AND (task, instance, run) IN
                 (SELECT task, instance, run FROM attempt WHERE job = ?1 LIMIT ?2)",
        )?
        .execute(params![job, i64::try_from(attempts_max).unwrap_or(i64::MAX)])
}

fn forget_deleted_job(transaction: &Transaction<'_>, job: [u8; 16]) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM deleted_job WHERE job = ?1")?.execute([job]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_waits_for_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, _) = Store::open(dir.path(), &StoreOptions::default()).expect("opens");
        let setting = |name| {
            let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            store.connection.pragma_query_value(None, name, value).expect("a setting")
        };
        assert_eq!(setting("journal_mode"), "wal".to_owned().into());
        assert_eq!(setting("synchronous"), 2.into(), "2 is FULL");
        assert_eq!(setting("page_size"), (PAGE_BYTES as i64).into());
    }

    #[test]
    fn after_a_failed_write_nothing_is_written_any_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut store, _) = Store::open(dir.path(), &StoreOptions::default()).expect("opens");
        store.connection.execute_batch("DROP TABLE outbox").expect("a way to fail");
        let effects = [Effect::RemoveWorker {
            worker: gristmill_model::WorkerId(1),
            generation: gristmill_model::Generation(1),
        }];
        let batch = Batch { events: &[], effects: &effects, archived: &[], at: Timestamp(1) };
        let first = store.commit(&batch).expect_err("fails");
        assert!(matches!(first, StoreError::Write { .. }), "{first}");
        let second = store.commit(&Batch { effects: &[], ..batch }).expect_err("refused");
        assert!(matches!(second, StoreError::Broken), "{second}");
        assert_eq!((first.retry(), second.retry()), (Retry::Never, Retry::Never));
    }
}
