//! Queues: make, change, look at, list, delete.

use crate::{
    desk::Desk,
    error::MessagesError,
    limits,
    nouns::{Created, Listing, Name, Page, QueueAttributes, QueueCounts, QueueInfo, QueueWish},
    pages::List,
};
use gristmill_model::{AccountId, Seconds, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "id, name, created, modified, visibility, size_max, retention, delay,
    polling_wait, logging, messages";

/// A queue as a row.
pub(crate) struct QueueRow {
    pub(crate) id: i64,
    pub(crate) attributes: QueueAttributes,
    pub(crate) messages: u64,
    name: String,
    created: Timestamp,
    modified: Timestamp,
}

fn read(row: &Row<'_>) -> rusqlite::Result<QueueRow> {
    let seconds = |at| row.get(at).map(Seconds);
    Ok(QueueRow {
        id: row.get(0)?,
        name: row.get(1)?,
        created: Timestamp(row.get(2)?),
        modified: Timestamp(row.get(3)?),
        attributes: QueueAttributes {
            visibility: seconds(4)?,
            size_max: row.get(5)?,
            retention: seconds(6)?,
            delay: seconds(7)?,
            polling_wait: seconds(8)?,
            logging: row.get(9)?,
        },
        messages: row.get::<_, i64>(10)?.cast_unsigned(),
    })
}

/// An account as a column.
pub(crate) fn owner(account: AccountId) -> i64 {
    account.0.cast_signed()
}

/// The queue of an account, if there is one.
pub(crate) fn find(
    desk: &Desk<'_>,
    account: AccountId,
    name: &str,
) -> Result<Option<QueueRow>, MessagesError> {
    let sql = format!("SELECT {COLUMNS} FROM queue WHERE account = ?1 AND name = ?2");
    let mut query = desk.connection.prepare_cached(&sql)?;
    Ok(query.query_row(params![owner(account), name], read).optional()?)
}

/// The queue of an account.
pub(crate) fn get(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
) -> Result<QueueRow, MessagesError> {
    find(desk, account, name.as_str())?
        .ok_or_else(|| MessagesError::NoQueue { name: name.to_string() })
}

pub(crate) fn create(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
    wish: &QueueWish,
) -> Result<Created, MessagesError> {
    let attributes = wish.over(QueueAttributes::default())?;
    if let Some(there) = find(desk, account, name.as_str())? {
        return match there.attributes == attributes {
            true => Ok(Created::Same),
            false => Err(MessagesError::QueueExists { name: name.to_string() }),
        };
    }
    let count = "SELECT count(*) FROM queue WHERE account = ?1";
    let count: i64 =
        desk.connection.prepare_cached(count)?.query_row([owner(account)], |row| row.get(0))?;
    if count.cast_unsigned() >= limits::QUEUES_MAX {
        let what = "queues of an account";
        return Err(MessagesError::Full { what, limit: limits::QUEUES_MAX });
    }
    let QueueAttributes { visibility, size_max, retention, delay, polling_wait, logging } =
        attributes;
    desk.connection
        .prepare_cached(
            "INSERT INTO queue (account, name, created, modified, visibility, size_max, retention,
                 delay, polling_wait, logging)
             VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            owner(account),
            name.as_str(),
            desk.now.0,
            visibility.0,
            size_max,
            retention.0,
            delay.0,
            polling_wait.0,
            logging
        ])?;
    Ok(Created::New)
}

pub(crate) fn set(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
    wish: &QueueWish,
) -> Result<(), MessagesError> {
    let row = get(desk, account, name)?;
    let QueueAttributes { visibility, size_max, retention, delay, polling_wait, logging } =
        wish.over(row.attributes)?;
    desk.connection
        .prepare_cached(
            "UPDATE queue SET modified = ?2, visibility = ?3, size_max = ?4, retention = ?5,
                 delay = ?6, polling_wait = ?7, logging = ?8 WHERE id = ?1",
        )?
        .execute(params![
            row.id,
            desk.now.0,
            visibility.0,
            size_max,
            retention.0,
            delay.0,
            polling_wait.0,
            logging
        ])?;
    Ok(())
}

pub(crate) fn info(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
) -> Result<QueueInfo, MessagesError> {
    let row = get(desk, account, name)?;
    counted(desk, row)
}

fn counted(desk: &Desk<'_>, row: QueueRow) -> Result<QueueInfo, MessagesError> {
    let hidden = "SELECT count(*) FROM message WHERE queue = ?1 AND state = ?2";
    let mut hidden = desk.connection.prepare_cached(hidden)?;
    let mut count = |state: i64| {
        hidden.query_row([row.id, state], |found| found.get::<_, i64>(0)).map(i64::cast_unsigned)
    };
    let (delayed, inactive) = (count(1)?, count(2)?);
    let active = row.messages.saturating_sub(delayed + inactive);
    let counts = QueueCounts { active, inactive, delayed };
    let QueueRow { name, created, modified, attributes, .. } = row;
    Ok(QueueInfo { name, created, modified, attributes, counts })
}

pub(crate) fn list(
    desk: &Desk<'_>,
    account: AccountId,
    page: &Page,
) -> Result<Listing<QueueInfo>, MessagesError> {
    let select = format!("SELECT {COLUMNS} FROM queue");
    let list = List { select: &select, owner: "account", name: "name" };
    let Listing { items, next } =
        list.page(desk, owner(account), page, read, |queue: &QueueRow| &queue.name)?;
    let items = items.into_iter().map(|row| counted(desk, row)).collect::<Result<_, _>>()?;
    Ok(Listing { items, next })
}

/// Deletes a queue with its messages; one that is not there is deleted already.
pub(crate) fn delete(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
) -> Result<(), MessagesError> {
    let Some(row) = find(desk, account, name.as_str())? else { return Ok(()) };
    desk.connection.prepare_cached("DELETE FROM message WHERE queue = ?1")?.execute([row.id])?;
    desk.connection.prepare_cached("DELETE FROM queue WHERE id = ?1")?.execute([row.id])?;
    desk.note(row.id);
    Ok(())
}

/// Whether a queue is still there.
pub(crate) fn exists(desk: &Desk<'_>, id: i64) -> Result<bool, MessagesError> {
    let mut query = desk.connection.prepare_cached("SELECT 1 FROM queue WHERE id = ?1")?;
    Ok(query.exists([id])?)
}

/// Keeps the number of messages of a queue.
pub(crate) fn count_by(desk: &Desk<'_>, id: i64, change: i64) -> Result<(), MessagesError> {
    desk.connection
        .prepare_cached("UPDATE queue SET messages = messages + ?2 WHERE id = ?1")?
        .execute([id, change])?;
    Ok(())
}
