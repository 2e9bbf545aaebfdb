//! Notices that wait for delivery: written with the batch that decided them, read by subject,
//! struck when delivered.
//!
//! They have a table of their own beside the outbox because there may be hundreds of thousands
//! of them, for hours: a restart does not read them, and one subject is read without the others.

use crate::{error::StoreError, journal};
use gristmill_model::Notice;
use rusqlite::{Connection, Transaction, params};

/// The number of a notice; never used twice, ascending within a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeId(pub u64);

/// A notice that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingNotice {
    /// Its number.
    pub id: NoticeId,
    /// How many of its messages were delivered.
    pub delivered: u32,
    /// What it says.
    pub notice: Notice,
}

/// How far the delivery of a notice has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeProgress {
    /// So many of its messages were delivered, not all.
    Partly {
        /// Which notice.
        id: NoticeId,
        /// How many messages.
        delivered: u32,
    },
    /// All of it was delivered, or is given up.
    Done(NoticeId),
}

pub(crate) fn queue(transaction: &Transaction<'_>, notice: &Notice) -> Result<(), rusqlite::Error> {
    let record = serde_json::to_string(notice)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction
        .prepare_cached("INSERT INTO notice (subject, format, record) VALUES (?1, ?2, ?3)")?
        .execute(params![notice.about.to_string(), journal::FORMAT, record])
        .map(drop)
}

pub(crate) fn advance(
    transaction: &Transaction<'_>,
    progress: &[NoticeProgress],
) -> rusqlite::Result<()> {
    let mut strike = transaction.prepare_cached("DELETE FROM notice WHERE id = ?1")?;
    let mut note = transaction.prepare_cached("UPDATE notice SET delivered = ?2 WHERE id = ?1")?;
    for step in progress {
        match step {
            NoticeProgress::Done(id) => strike.execute([id.0.cast_signed()])?,
            NoticeProgress::Partly { id, delivered } => {
                note.execute(params![id.0.cast_signed(), delivered])?
            }
        };
    }
    Ok(())
}

/// The subjects after `after` that have notices, in order.
pub(crate) fn subjects(
    connection: &Connection,
    after: &str,
    subjects_max: usize,
) -> rusqlite::Result<Vec<String>> {
    // Jumps from subject to subject through the index instead of reading every row.
    let mut next = connection
        .prepare_cached("SELECT subject FROM notice WHERE subject > ?1 ORDER BY subject LIMIT 1")?;
    let (mut found, mut after) = (Vec::new(), after.to_owned());
    while found.len() < subjects_max {
        let Some(subject) =
            next.query_map([&after], |row| row.get::<_, String>(0))?.next().transpose()?
        else {
            break;
        };
        after.clone_from(&subject);
        found.push(subject);
    }
    Ok(found)
}

type Row = (i64, u32, i64, String);

/// The oldest notices of a subject, as they were written.
pub(crate) fn of_subject(
    connection: &Connection,
    subject: &str,
    notices_max: usize,
) -> rusqlite::Result<Vec<Row>> {
    connection
        .prepare_cached(
            "SELECT id, delivered, format, record FROM notice
             WHERE subject = ?1 ORDER BY id LIMIT ?2",
        )?
        .query_map(params![subject, i64::try_from(notices_max).unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect()
}

pub(crate) fn read((id, delivered, format, record): Row) -> Result<WaitingNotice, StoreError> {
    let notice = journal::decode_notice(id, format, &record)?;
    Ok(WaitingNotice { id: NoticeId(id.cast_unsigned()), delivered, notice })
}

/// How many notices a subject has.
pub(crate) fn count(connection: &Connection, subject: &str) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM notice WHERE subject = ?1")?
        .query_row([subject], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}
