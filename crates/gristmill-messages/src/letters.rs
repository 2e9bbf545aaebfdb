//! The messages of queues: put in, received, looked at, deleted, hidden, and what time does to
//! them.
//!
//! A message can be received (state 0), is delayed (1) or is with a receiver (2). Both hidden
//! states end at `visible_at`; [`surface`] does that at the beginning of each turn. A message
//! that expired is not received any more, and [`expire`] removes it.

use crate::{
    desk::Desk,
    error::MessagesError,
    limits,
    nouns::{Letter, Name, NewLetter, Posted, Property, within},
    queues::{self, QueueRow},
    receipts::{Receipt, message_id},
};
use gristmill_model::{AccountId, Seconds, Timestamp};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

const VISIBLE: i64 = 0;
const DELAYED: i64 = 1;
const RECEIVED: i64 = 2;

/// What is echoed and never looked at.
#[derive(Serialize, Deserialize)]
struct Extras {
    group: String,
    properties: Vec<Property>,
}

/// Puts a message into a queue that was looked up.
pub(crate) fn post(
    desk: &Desk<'_>,
    queue: &QueueRow,
    letter: &NewLetter,
) -> Result<Posted, MessagesError> {
    let NewLetter { body, delay, priority, group, properties } = letter;
    let least_and_most = 0..=queue.attributes.size_max;
    let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
    within("MessageBody's length", size, &least_and_most)?;
    within("Priority", *priority, &limits::PRIORITY)?;
    let delay = match delay {
        Some(delay) => Seconds(within("DelaySeconds", *delay, &limits::DELAY)?),
        None => queue.attributes.delay,
    };
    // Counted anew: several messages of one order go into one row.
    let count = "SELECT messages FROM queue WHERE id = ?1";
    let count: i64 = desk.connection.prepare_cached(count)?.query_row([queue.id], |r| r.get(0))?;
    if count.cast_unsigned() >= limits::QUEUE_MESSAGES_MAX {
        let what = "messages of a queue";
        return Err(MessagesError::Full { what, limit: limits::QUEUE_MESSAGES_MAX });
    }
    let delayed = delay.0 > 0;
    let plain = group.is_empty() && properties.is_empty();
    let extras = (!plain).then(|| Extras { group: group.clone(), properties: properties.clone() });
    let extras = extras.map(|extras| serde_json::to_string(&extras).expect("plain data"));
    let message = desk
        .connection
        .prepare_cached(
            "INSERT INTO message (queue, state, priority, visible_at, expires_at, enqueued,
                 receipt, body, extras)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .insert(params![
            queue.id,
            if delayed { DELAYED } else { VISIBLE },
            priority,
            desk.now.after(delay).0,
            desk.now.after(delay).after(queue.attributes.retention).0,
            desk.now.0,
            i64::from(delayed),
            body,
            extras
        ])?;
    queues::count_by(desk, queue.id, 1)?;
    if !delayed {
        desk.note(queue.id);
    }
    let receipt = delayed.then(|| Receipt { queue: queue.id, message, count: 1 }.text());
    Ok(Posted { id: message_id(queue.id, message, desk.now), receipt })
}

const COLUMNS: &str = "id, enqueued, dequeued, dequeues, priority, body, extras, receipt";

fn read(queue: i64, row: &Row<'_>) -> rusqlite::Result<(i64, i64, Letter)> {
    let (id, enqueued) = (row.get(0)?, Timestamp(row.get(1)?));
    let extras: Option<String> = row.get(6)?;
    let extras = extras.and_then(|text| serde_json::from_str::<Extras>(&text).ok());
    let (group, properties) =
        extras.map(|Extras { group, properties }| (group, properties)).unwrap_or_default();
    let letter = Letter {
        id: message_id(queue, id, enqueued),
        receipt: None,
        body: row.get(5)?,
        enqueued,
        next_visible: None,
        first_dequeued: row.get::<_, Option<i64>>(2)?.map(Timestamp),
        dequeues: row.get(3)?,
        priority: row.get(4)?,
        group,
        properties,
    };
    Ok((id, row.get(7)?, letter))
}

/// The next messages that can be received, best first.
fn next(
    desk: &Desk<'_>,
    queue: i64,
    letters_max: u32,
) -> Result<Vec<(i64, i64, Letter)>, MessagesError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM message WHERE queue = ?1 AND state = 0 AND expires_at > ?2
         ORDER BY priority, id LIMIT ?3"
    );
    let mut query = desk.connection.prepare_cached(&sql)?;
    let rows = query.query_map(params![queue, desk.now.0, letters_max], |row| read(queue, row))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Looks at messages without taking them. Empty: there are none.
pub(crate) fn peek(
    desk: &Desk<'_>,
    account: AccountId,
    queue: &Name,
    letters_max: u32,
) -> Result<Vec<Letter>, MessagesError> {
    within("numOfMessages", letters_max, &limits::BATCH)?;
    let row = queues::get(desk, account, queue)?;
    Ok(next(desk, row.id, letters_max)?.into_iter().map(|(_, _, letter)| letter).collect())
}

/// Takes messages: they are invisible for a while. Empty: there are none.
pub(crate) fn receive(
    desk: &Desk<'_>,
    queue: i64,
    letters_max: u32,
) -> Result<Vec<Letter>, MessagesError> {
    let found = next(desk, queue, letters_max)?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let visibility = "SELECT visibility FROM queue WHERE id = ?1";
    let visibility: u32 =
        desk.connection.prepare_cached(visibility)?.query_row([queue], |row| row.get(0))?;
    let until = desk.now.after(Seconds(visibility));
    let mut take = desk.connection.prepare_cached(&format!(
        "UPDATE message SET state = {RECEIVED}, visible_at = ?2, receipt = receipt + 1,
             dequeues = dequeues + 1, dequeued = coalesce(dequeued, ?3) WHERE id = ?1"
    ))?;
    let mut letters = Vec::with_capacity(found.len());
    for (message, count, letter) in found {
        take.execute([message, until.0, desk.now.0])?;
        letters.push(Letter {
            receipt: Some(Receipt { queue, message, count: count + 1 }.text()),
            next_visible: Some(until),
            first_dequeued: letter.first_dequeued.or(Some(desk.now)),
            dequeues: letter.dequeues + 1,
            ..letter
        });
    }
    Ok(letters)
}

/// The message of a receipt, while the receipt is its last one and it is hidden.
fn held(desk: &Desk<'_>, queue: i64, text: &str) -> Result<Receipt, MessagesError> {
    let bad = || MessagesError::BadReceipt { receipt: text.to_owned() };
    let receipt = Receipt::parse(text).filter(|it| it.queue == queue).ok_or_else(bad)?;
    let sql = "SELECT state, receipt FROM message WHERE id = ?1 AND queue = ?2";
    let mut query = desk.connection.prepare_cached(sql)?;
    let found: Option<(i64, i64)> = query
        .query_row([receipt.message, queue], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (state, count) = found.ok_or(MessagesError::NoMessage)?;
    match state != VISIBLE && count == receipt.count {
        true => Ok(receipt),
        false => Err(bad()),
    }
}

pub(crate) fn delete(
    desk: &Desk<'_>,
    account: AccountId,
    queue: &Name,
    receipt: &str,
) -> Result<(), MessagesError> {
    let row = queues::get(desk, account, queue)?;
    let held = held(desk, row.id, receipt)?;
    remove(desk, row.id, held.message)
}

fn remove(desk: &Desk<'_>, queue: i64, message: i64) -> Result<(), MessagesError> {
    desk.connection.prepare_cached("DELETE FROM message WHERE id = ?1")?.execute([message])?;
    queues::count_by(desk, queue, -1)
}

/// Hides a received message for another while. Answers the new receipt and until when.
pub(crate) fn change_visibility(
    desk: &Desk<'_>,
    account: AccountId,
    queue: &Name,
    receipt: &str,
    seconds: u32,
) -> Result<(String, Timestamp), MessagesError> {
    within("VisibilityTimeout", seconds, &(0..=*limits::VISIBILITY.end()))?;
    let row = queues::get(desk, account, queue)?;
    let held = held(desk, row.id, receipt)?;
    let until = desk.now.after(Seconds(seconds));
    desk.connection
        .prepare_cached(
            "UPDATE message SET state = 2, visible_at = ?2, receipt = receipt + 1 WHERE id = ?1",
        )?
        .execute([held.message, until.0])?;
    let newer = Receipt { count: held.count + 1, ..held };
    Ok((newer.text(), until))
}

/// Lets hidden messages whose time has come be received.
pub(crate) fn surface(desk: &Desk<'_>) -> Result<(), MessagesError> {
    let mut update = desk.connection.prepare_cached(&format!(
        "UPDATE message SET state = {VISIBLE} WHERE id IN
             (SELECT id FROM message WHERE state > 0 AND visible_at <= ?1
              ORDER BY visible_at LIMIT ?2)
         RETURNING queue"
    ))?;
    let queues = update.query_map(params![desk.now.0, limits::SWEEP_MAX], |row| row.get(0))?;
    for queue in queues {
        desk.note(queue?);
    }
    Ok(())
}

/// Removes messages that were kept long enough.
pub(crate) fn expire(desk: &Desk<'_>) -> Result<(), MessagesError> {
    let mut query = desk
        .connection
        .prepare_cached("SELECT id, queue FROM message WHERE expires_at <= ?1 LIMIT ?2")?;
    let old: Vec<(i64, i64)> = query
        .query_map(params![desk.now.0, limits::SWEEP_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (message, queue) in old {
        remove(desk, queue, message)?;
    }
    Ok(())
}

/// When the next hidden message can be received.
pub(crate) fn next_surface(desk: &Desk<'_>) -> Result<Option<Timestamp>, MessagesError> {
    let sql = "SELECT min(visible_at) FROM message WHERE state > 0";
    let mut query = desk.connection.prepare_cached(sql)?;
    Ok(query.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp))
}
