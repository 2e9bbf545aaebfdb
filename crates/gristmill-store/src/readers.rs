//! Reading the read tables beside the writer: a few read-only connections, handed out in turn.
//!
//! SQLite's write-ahead log gives every query the state of the last commit; a reader neither waits
//! for the writer nor holds it up. Every query here is bounded by what the caller asks for, so no
//! reader stays long and the log can be folded back into the database.
//!
//! The one lock guards the list of idle connections and is never held during a query.

use crate::{
    attempt::{self, Attempt, COLUMNS, job_key},
    error::StoreError,
    history::{self, HistoryQuery},
    merging::{self, Merged},
    notices::{self, WaitingNotice},
    segment,
    tail::Tail,
};
use gristmill_model::{AccountId, InstanceNo, JobId, RunId, TaskName};
use rusqlite::{Connection, OpenFlags, params};
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Instances that lie no further apart are looked up together.
const NEAR: u32 = 64;

/// A handle on the read tables; cheap to clone, usable from any thread. Calls block for the time
/// of a query (and, when all connections are in use, until one is free): from async code call it
/// where blocking is allowed.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    busy_max: Duration,
    connections_max: usize,
    idle: Mutex<Idle>,
    returned: Condvar,
    tail: Tail,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Connection>,
    /// How many exist, idle or in use.
    open: usize,
}

impl Readers {
    pub(crate) fn new(path: &Path, connections_max: usize, busy_max: Duration, tail: Tail) -> Self {
        Self(Arc::new(Pool {
            path: path.to_owned(),
            busy_max,
            connections_max: connections_max.max(1),
            idle: Mutex::default(),
            returned: Condvar::new(),
            tail,
        }))
    }

    /// The latest ended attempt of one instance.
    pub fn last_attempt(
        &self,
        job: JobId,
        task: &TaskName,
        instance: InstanceNo,
    ) -> Result<Option<Attempt>, StoreError> {
        Ok(self.attempts(job, task, instance)?.pop())
    }

    /// All ended attempts of one instance, oldest first.
    pub fn attempts(
        &self,
        job: JobId,
        task: &TaskName,
        instance: InstanceNo,
    ) -> Result<Vec<Attempt>, StoreError> {
        let found = self.look(job, task, instance.0..instance.0.saturating_add(1))?;
        Ok(found.into_values().collect())
    }

    /// The latest ended attempt of each instance named; instances without one are left out. Costs
    /// what lies between the smallest and the largest.
    pub fn last_attempts(
        &self,
        job: JobId,
        task: &TaskName,
        instances: &[InstanceNo],
    ) -> Result<BTreeMap<InstanceNo, Attempt>, StoreError> {
        let mut wanted: Vec<InstanceNo> = instances.to_vec();
        wanted.sort_unstable();
        let mut last = BTreeMap::new();
        for near in wanted.chunk_by(|left, right| right.0 - left.0 <= NEAR) {
            let range = near[0].0..near[near.len() - 1].0.saturating_add(1);
            last.append(&mut self.last_attempts_in(job, task, range)?);
        }
        last.retain(|instance, _| wanted.binary_search(instance).is_ok());
        Ok(last)
    }

    /// The latest ended attempt of each instance in a range; instances without one are left out.
    /// The caller chooses the length of the page.
    pub fn last_attempts_in(
        &self,
        job: JobId,
        task: &TaskName,
        instances: Range<u32>,
    ) -> Result<BTreeMap<InstanceNo, Attempt>, StoreError> {
        let found = self.look(job, task, instances)?;
        Ok(found.into_iter().map(|((instance, _), attempt)| (instance, attempt)).collect())
    }

    /// The record of a job in the history of an account.
    pub fn history_job(
        &self,
        account: AccountId,
        job: JobId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.read("a job of the history", |connection| history::one(connection, account, job))
    }

    /// A page of the history.
    pub fn history(&self, query: &HistoryQuery) -> Result<Vec<(JobId, Vec<u8>)>, StoreError> {
        self.read("the history", |connection| history::page(connection, query))
    }

    /// Every attempt of a range of instances by instance and run; of a run that is told of twice
    /// the oldest record. The tail is looked at first: what leaves it meanwhile is in a segment,
    /// and so found at least once.
    fn look(
        &self,
        job: JobId,
        task: &TaskName,
        instances: Range<u32>,
    ) -> Result<BTreeMap<(InstanceNo, RunId), Attempt>, StoreError> {
        let mut recent = Vec::new();
        self.0.tail.look(job, task, &instances, &mut |attempt| recent.push(attempt));
        self.read("attempts", move |connection| {
            let mut found = BTreeMap::new();
            let mut keep = |attempt: Attempt| {
                found.entry((attempt.instance, attempt.run)).or_insert(attempt);
            };
            rows_of_0_1_0(connection, job, task, &instances, &mut keep)?;
            segment::look(connection, job, task, &instances, &mut keep)?;
            recent.into_iter().for_each(keep);
            Ok(found)
        })
    }

    /// What a checkpoint writes for attempts of a task, which are ordered by instance and run.
    pub(crate) fn merge(
        &self,
        (job, task): (JobId, &TaskName),
        attempts: Vec<Attempt>,
    ) -> Result<Merged, StoreError> {
        self.read("attempts to merge", |connection| {
            merging::merge(connection, (job, task), attempts)
        })
    }

    /// Up to `subjects_max` subjects after `after` that have notices, in order.
    pub fn noticed_subjects(
        &self,
        after: &str,
        subjects_max: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.read("the subjects of notices", |connection| {
            notices::subjects(connection, after, subjects_max)
        })
    }

    /// The oldest `notices_max` notices of a subject, oldest first.
    pub fn notices(
        &self,
        subject: &str,
        notices_max: usize,
    ) -> Result<Vec<WaitingNotice>, StoreError> {
        let rows = self.read("the notices of a subject", |connection| {
            notices::of_subject(connection, subject, notices_max)
        })?;
        rows.into_iter().map(notices::read).collect()
    }

    /// How many notices of a subject wait.
    pub fn notices_waiting(&self, subject: &str) -> Result<u64, StoreError> {
        self.read("the number of notices of a subject", |connection| {
            notices::count(connection, subject)
        })
    }

    /// Lends a connection to `query`, which sees one state of the books, however many statements it
    /// takes. A connection whose query failed is not used again.
    fn read<T>(
        &self,
        what: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let read = |source| StoreError::read(what, source);
        let mut lent = self.0.lend();
        let result = at_once(lent.get().map_err(read)?, query);
        if result.is_err() {
            lent.connection = None;
        }
        result.map_err(read)
    }
}

fn at_once<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let snapshot = connection.unchecked_transaction()?;
    let answer = query(&snapshot)?;
    snapshot.commit()?;
    Ok(answer)
}

fn rows_of_0_1_0(
    connection: &Connection,
    job: JobId,
    task: &TaskName,
    instances: &Range<u32>,
    found: &mut impl FnMut(Attempt),
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT {COLUMNS} FROM attempt
         WHERE job = ?1 AND task = ?2 AND instance >= ?3 AND instance < ?4"
    );
    let mut rows = connection.prepare_cached(&sql)?;
    let page = params![job_key(job), task.as_str(), instances.start, instances.end];
    for attempt in rows.query_map(page, attempt::from_row)? {
        found(attempt?);
    }
    Ok(())
}

/// A place in the pool on loan, with its connection when it has one. Dropping it gives both back.
struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Pool {
    /// Waits for a place. An idle connection is preferred to a new one.
    fn lend(&self) -> Lent<'_> {
        let mut idle = self.lock();
        loop {
            if let Some(connection) = idle.connections.pop() {
                return Lent { pool: self, connection: Some(connection) };
            }
            if idle.open < self.connections_max {
                idle.open += 1;
                return Lent { pool: self, connection: None };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.busy_max)?;
        Ok(connection)
    }

    /// The list is whole even when a thread died holding it: it is changed in single steps.
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// The connection, opened at its first use.
    fn get(&mut self) -> rusqlite::Result<&Connection> {
        Ok(match &mut self.connection {
            Some(connection) => connection,
            place => place.insert(self.pool.open()?),
        })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.lock();
        match self.connection.take() {
            Some(connection) => idle.connections.push(connection),
            None => idle.open -= 1,
        }
        self.pool.returned.notify_one();
    }
}
