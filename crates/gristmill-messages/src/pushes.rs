//! Published messages on their way to subscriptions: which are due, and how a push went.
//!
//! The server carries pushes out; each is a row here until it was taken or is given up. Rows are
//! handed out by subscription, so that one whose endpoint does not answer holds nobody else up; as
//! many as there is room for, of an account no more than its part, and the subscriptions in turn.

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
use std::collections::{BTreeMap, BTreeSet};
use tracing::warn;

/// What somebody who carries pushes out can take now.
#[derive(Debug, Clone)]
pub struct Room {
    /// Subscriptions that are left alone.
    pub busy: BTreeSet<i64>,
    /// How many pushes each account has under way.
    pub under_way: BTreeMap<AccountId, usize>,
    /// So many of one account at a time.
    pub account_max: usize,
    /// So many of one subscription.
    pub each_max: usize,
    /// So many in all.
    pub all_max: usize,
    /// The look begins behind this subscription and goes round: [`Due::last`] of the one before.
    pub after: i64,
}

/// Pushes that are due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// They.
    pub pushes: Vec<Push>,
    /// When to look again; `None`: when something is published or carried out.
    pub next: Option<Timestamp>,
    /// The subscription behind which the next look begins.
    pub last: i64,
}

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

/// What is due and fits into the room, by subscription; see [`Room`].
pub(crate) fn due(desk: &Desk<'_>, room: Room) -> Result<Due, MessagesError> {
    let mut look = Look { room, found: Due::default(), looked_at: 0, is_passed: false };
    let after = look.room.after;
    look.found.last = after;
    if look.at(desk, after, i64::MAX)? && look.at(desk, 0, after)? {
        // Of an account that has its part already the others are next, not the same again.
        let taken = look.found.pushes.last().filter(|_| look.is_passed);
        look.found.last = taken.map_or(after, |push| push.subscription);
    }
    Ok(look.found)
}

/// A look at subscriptions with pushes.
struct Look {
    room: Room,
    found: Due,
    looked_at: usize,
    /// Whether something is due of an account that has its part already.
    is_passed: bool,
}

impl Look {
    /// Those behind `after` up to `last`. Whether there was room for all of them.
    fn at(&mut self, desk: &Desk<'_>, after: i64, last: i64) -> Result<bool, MessagesError> {
        let mut query = desk.connection.prepare_cached(
            "SELECT subscription.id, topic.account,
                 (SELECT min(due_at) FROM push WHERE push.subscription = subscription.id)
             FROM subscription JOIN topic ON topic.id = subscription.topic
             WHERE pushes > 0 AND subscription.id > ?1 AND subscription.id <= ?2
             ORDER BY subscription.id",
        )?;
        let mut rows = query.query([after, last])?;
        while let Some(row) = rows.next()? {
            let (subscription, first): (i64, Option<i64>) = (row.get(0)?, row.get(2)?);
            let account = AccountId(row.get::<_, i64>(1)?.cast_unsigned());
            if self.found.pushes.len() >= self.room.all_max {
                self.found.next = Some(desk.now);
                return Ok(false);
            }
            if self.looked_at >= limits::LOOK_MAX {
                let soon = desk.now.after(limits::LOOK_PAUSE);
                self.found.next = self.found.next.into_iter().chain([soon]).min();
                return Ok(false);
            }
            self.looked_at += 1;
            self.found.last = subscription;
            if let Some(first) = first {
                self.take(desk, (subscription, account), Timestamp(first))?;
            }
        }
        Ok(true)
    }

    /// Takes what is due of one subscription, whose first push is due then.
    fn take(
        &mut self,
        desk: &Desk<'_>,
        (subscription, account): (i64, AccountId),
        first: Timestamp,
    ) -> Result<(), MessagesError> {
        let Room { busy, under_way, account_max, each_max, all_max, .. } = &mut self.room;
        let of_account = under_way.entry(account).or_default();
        let left =
            (*all_max - self.found.pushes.len()).min(account_max.saturating_sub(*of_account));
        if busy.contains(&subscription) {
            return Ok(()); // whoever ends something looks again
        }
        if left == 0 {
            self.is_passed |= first <= desk.now;
            return Ok(());
        }
        if first > desk.now {
            self.found.next = self.found.next.into_iter().chain([first]).min();
            return Ok(());
        }
        let due = due_of(desk, subscription, (*each_max).min(left))?;
        *of_account += due.len();
        self.found.pushes.extend(due);
        Ok(())
    }
}

fn due_of(
    desk: &Desk<'_>,
    subscription: i64,
    pushes_max: usize,
) -> Result<Vec<Push>, MessagesError> {
    let mut query = desk.connection.prepare_cached(
        "SELECT push.id, subscription.id, endpoint, queue, strategy, format, attempts,
             topic.account, topic.name, subscription.name, message, body, push.tag, published
         FROM push JOIN subscription ON subscription.id = push.subscription
             JOIN topic ON topic.id = subscription.topic
         WHERE push.subscription = ?1 AND due_at <= ?2 ORDER BY due_at, push.id LIMIT ?3",
    )?;
    let rows = query.query_map(params![subscription, desk.now.0, pushes_max as i64], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
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
