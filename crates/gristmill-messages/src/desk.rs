//! What an order works with: the open transaction, the time of the turn, and a slip on which
//! queues are noted whose receivers should be looked at.

use crate::{error::MessagesError, handle::Render};
use gristmill_model::Timestamp;
use rusqlite::Connection;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

/// The desk of one turn.
pub(crate) struct Desk<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) now: Timestamp,
    pub(crate) render: &'a Render,
    /// Queues with messages that can be received, and queues that went.
    pub(crate) news: RefCell<BTreeSet<i64>>,
    /// Whether there are new pushes.
    pub(crate) pushes: Cell<bool>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(connection: &'a Connection, now: Timestamp, render: &'a Render) -> Self {
        Self { connection, now, render, news: RefCell::default(), pushes: Cell::new(false) }
    }

    /// Notes that the receivers of a queue should be looked at.
    pub(crate) fn note(&self, queue: i64) {
        self.news.borrow_mut().insert(queue);
    }

    /// Does all of `work` or nothing.
    pub(crate) fn whole<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, MessagesError>,
    ) -> Result<T, MessagesError> {
        self.connection.prepare_cached("SAVEPOINT work")?.execute([])?;
        let outcome = work(self);
        if outcome.is_err() {
            self.connection.prepare_cached("ROLLBACK TO work")?.execute([])?;
        }
        self.connection.prepare_cached("RELEASE work")?.execute([])?;
        outcome
    }
}
