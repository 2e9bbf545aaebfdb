//! Published messages on their way to subscriptions: which are due, and how a push went.
//!
//! The server carries pushes out; each is a row here until it was taken or is given up. Rows are
//! handed out by subscription, so that one whose endpoint does not answer holds nobody else up.

use crate::{
    desk::Desk,
    error::MessagesError,
    letters, limits,
    nouns::{Endpoint, Format, Name, NameKind, NewLetter, Notification, Push, PushId, Strategy},
    queues,
    subscriptions::SubscriptionRow,
};
use gristmill_model::{AccountId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::BTreeSet;
use tracing::warn;

/// Adds a push, due now. One too many for its subscription is dropped.
pub(crate) fn add(
    desk: &Desk<'_>,
    subscriber: &SubscriptionRow,
    notification: &Notification,
) -> Result<(), MessagesError> {
    if subscriber.pushes >= limits::PUSHES_MAX {
        let (topic, name) = (&subscriber.info.topic, &subscriber.info.name);
        warn!(topic, subscription = name, "too many messages wait; one is dropped");
        return Ok(());
    }
    // To a queue that is not there now, the first attempt has failed already.
    let failed = u32::from(subscriber.queue.is_some());
    let due = match failed {
        0 => desk.now,
        _ => desk.now.after(subscriber.info.strategy.pause(1, 0).unwrap_or_default()),
    };
    desk.connection
        .prepare_cached(
            "INSERT INTO push (subscription, message, body, tag, published, attempts, due_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            subscriber.id,
            notification.message_id,
            notification.body,
            notification.tag,
            notification.published.0,
            failed,
            due.0
        ])?;
    desk.pushes.set(true);
    count_by(desk, subscriber.id, 1)
}

fn count_by(desk: &Desk<'_>, subscription: i64, change: i64) -> Result<(), MessagesError> {
    desk.connection
        .prepare_cached("UPDATE subscription SET pushes = pushes + ?2 WHERE id = ?1")?
        .execute([subscription, change])?;
    Ok(())
}

/// What is due, up to `each_max` for each subscription that is not among the `busy`; and when the
/// next one is due that is not.
pub(crate) fn due(
    desk: &Desk<'_>,
    busy: &BTreeSet<i64>,
    each_max: u32,
) -> Result<(Vec<Push>, Option<Timestamp>), MessagesError> {
    let mut pushes = Vec::new();
    let mut next = None;
    for subscription in with_pushes(desk)? {
        if busy.contains(&subscription) {
            continue;
        }
        let (due, later) = due_of(desk, subscription, each_max)?;
        next = [next, later].into_iter().flatten().min();
        pushes.extend(due);
    }
    Ok((pushes, next))
}

fn with_pushes(desk: &Desk<'_>) -> Result<Vec<i64>, MessagesError> {
    let mut query =
        desk.connection.prepare_cached("SELECT id FROM subscription WHERE pushes > 0")?;
    Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn due_of(
    desk: &Desk<'_>,
    subscription: i64,
    each_max: u32,
) -> Result<(Vec<Push>, Option<Timestamp>), MessagesError> {
    let mut query = desk.connection.prepare_cached(
        "SELECT push.id, subscription.id, endpoint, queue, strategy, format, attempts,
             topic.account, topic.name, subscription.name, message, body, push.tag, published
         FROM push JOIN subscription ON subscription.id = push.subscription
             JOIN topic ON topic.id = subscription.topic
         WHERE push.subscription = ?1 AND due_at <= ?2 ORDER BY due_at, push.id LIMIT ?3",
    )?;
    let rows = query.query_map(params![subscription, desk.now.0, each_max], read)?;
    let due = rows.collect::<Result<_, _>>()?;
    let later = "SELECT min(due_at) FROM push WHERE subscription = ?1 AND due_at > ?2";
    let later: Option<i64> = desk
        .connection
        .prepare_cached(later)?
        .query_row([subscription, desk.now.0], |row| row.get(0))?;
    Ok((due, later.map(Timestamp)))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Push> {
    let (text, queue): (String, Option<String>) = (row.get(2)?, row.get(3)?);
    let name = queue.and_then(|name| Name::parse(NameKind::Queue, &name).ok());
    let endpoint = match name {
        Some(name) => Endpoint::Queue { text, name },
        None => Endpoint::Http(text),
    };
    let (strategy, format): (String, String) = (row.get(4)?, row.get(5)?);
    Ok(Push {
        id: PushId(row.get(0)?),
        subscription: row.get(1)?,
        endpoint,
        strategy: Strategy::parse(&strategy).unwrap_or_default(),
        format: Format::parse(&format).unwrap_or_default(),
        attempts: row.get(6)?,
        notification: Notification {
            owner: AccountId(row.get::<_, i64>(7)?.cast_unsigned()),
            topic: row.get(8)?,
            subscription: row.get(9)?,
            message_id: row.get(10)?,
            body: row.get(11)?,
            tag: row.get(12)?,
            published: Timestamp(row.get(13)?),
        },
    })
}

/// The push was taken, or is given up.
pub(crate) fn done(desk: &Desk<'_>, id: PushId) -> Result<(), MessagesError> {
    let mut delete =
        desk.connection.prepare_cached("DELETE FROM push WHERE id = ?1 RETURNING subscription")?;
    let subscription: Option<i64> = delete.query_row([id.0], |row| row.get(0)).optional()?;
    match subscription {
        Some(subscription) => count_by(desk, subscription, -1),
        None => Ok(()),
    }
}

/// The push failed and is tried again at `due`.
pub(crate) fn again(desk: &Desk<'_>, id: PushId, due: Timestamp) -> Result<(), MessagesError> {
    desk.connection
        .prepare_cached("UPDATE push SET attempts = attempts + 1, due_at = ?2 WHERE id = ?1")?
        .execute([id.0, due.0])?;
    Ok(())
}

/// Puts a push into the queue it is for.
pub(crate) fn into_queue(desk: &Desk<'_>, push: &Push, queue: &Name) -> Result<(), MessagesError> {
    let row = queues::get(desk, push.notification.owner, queue)?;
    let letter = NewLetter::of((desk.render)(push.format, &push.notification));
    letters::post(desk, &row, &letter)?;
    done(desk, push.id)
}
