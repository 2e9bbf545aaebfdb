//! Topics: make, change, look at, list, delete, and publishing to their subscriptions.
//!
//! Publishing to a queue of the same account is one transaction with the publication; what goes
//! to a URL, or to a queue that is not there, becomes a push.

use crate::{
    desk::Desk,
    error::MessagesError,
    letters, limits,
    nouns::{
        Created, Listing, Name, NewLetter, Notification, Page, Publication, Published, Source,
        SourcePart, TopicAttributes, TopicInfo, TopicWish, within,
    },
    pages::List,
    pushes,
    queues::{self, owner},
    receipts::message_id,
    subscriptions::{self, SubscriptionRow},
};
use gristmill_model::{AccountId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "id, name, created, modified, size_max, logging,
    (SELECT coalesce(sum(pushes), 0) FROM subscription WHERE topic = topic.id)";

/// A topic as a row.
pub(crate) struct TopicRow {
    pub(crate) id: i64,
    pub(crate) info: TopicInfo,
}

fn read(row: &Row<'_>) -> rusqlite::Result<TopicRow> {
    let info = TopicInfo {
        name: row.get(1)?,
        created: Timestamp(row.get(2)?),
        modified: Timestamp(row.get(3)?),
        attributes: TopicAttributes { size_max: row.get(4)?, logging: row.get(5)? },
        messages: row.get::<_, i64>(6)?.cast_unsigned(),
    };
    Ok(TopicRow { id: row.get(0)?, info })
}

fn find(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
) -> Result<Option<TopicRow>, MessagesError> {
    let sql = format!("SELECT {COLUMNS} FROM topic WHERE account = ?1 AND name = ?2");
    let mut query = desk.connection.prepare_cached(&sql)?;
    Ok(query.query_row(params![owner(account), name.as_str()], read).optional()?)
}

/// The topic of an account.
pub(crate) fn get(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
) -> Result<TopicRow, MessagesError> {
    find(desk, account, name)?.ok_or_else(|| MessagesError::NoTopic { name: name.to_string() })
}

pub(crate) fn create(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
    wish: &TopicWish,
) -> Result<Created, MessagesError> {
    let attributes = wish.over(TopicAttributes::default())?;
    if let Some(there) = find(desk, account, name)? {
        return match there.info.attributes == attributes {
            true => Ok(Created::Same),
            false => Err(MessagesError::TopicExists { name: name.to_string() }),
        };
    }
    let count = "SELECT count(*) FROM topic WHERE account = ?1";
    let count: i64 =
        desk.connection.prepare_cached(count)?.query_row([owner(account)], |row| row.get(0))?;
    if count.cast_unsigned() >= limits::TOPICS_MAX {
        let what = "topics of an account";
        return Err(MessagesError::Full { what, limit: limits::TOPICS_MAX });
    }
    desk.connection
        .prepare_cached(
            "INSERT INTO topic (account, name, created, modified, size_max, logging)
             VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
        )?
        .execute(params![
            owner(account),
            name.as_str(),
            desk.now.0,
            attributes.size_max,
            attributes.logging
        ])?;
    Ok(Created::New)
}

pub(crate) fn set(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
    wish: &TopicWish,
) -> Result<(), MessagesError> {
    let row = get(desk, account, name)?;
    let TopicAttributes { size_max, logging } = wish.over(row.info.attributes)?;
    desk.connection
        .prepare_cached(
            "UPDATE topic SET modified = ?2, size_max = ?3, logging = ?4 WHERE id = ?1",
        )?
        .execute(params![row.id, desk.now.0, size_max, logging])?;
    Ok(())
}

pub(crate) fn list(
    desk: &Desk<'_>,
    account: AccountId,
    page: &Page,
) -> Result<Listing<TopicInfo>, MessagesError> {
    let select = format!("SELECT {COLUMNS} FROM topic");
    let list = List { select: &select, owner: "account", name: "name" };
    let info = |row: &Row<'_>| read(row).map(|row| row.info);
    list.page(desk, owner(account), page, info, |topic: &TopicInfo| &topic.name)
}

/// Deletes a topic with its subscriptions; one that is not there is deleted already.
pub(crate) fn delete(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
) -> Result<(), MessagesError> {
    let Some(row) = find(desk, account, name)? else { return Ok(()) };
    subscriptions::delete_all(desk, row.id)?;
    desk.connection.prepare_cached("DELETE FROM topic WHERE id = ?1")?.execute([row.id])?;
    Ok(())
}

pub(crate) fn publish(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
    publications: &[Publication],
) -> Result<Vec<Published>, MessagesError> {
    let topic = get(desk, account, name)?;
    let subscribers = subscriptions::all(desk, topic.id)?;
    let publish = |publication| publish_one(desk, account, &topic, &subscribers, publication);
    publications.iter().map(publish).collect()
}

/// Publishes those that were not published before, and marks them.
pub(crate) fn publish_once(
    desk: &Desk<'_>,
    account: AccountId,
    name: &Name,
    publications: &[Publication],
    source: &Source,
) -> Result<usize, MessagesError> {
    let topic = get(desk, account, name)?;
    let subscribers = subscriptions::all(desk, topic.id)?;
    let mut mark = marked(desk, &source.subject)?;
    let mut published = 0;
    for (publication, part) in publications.iter().zip(&source.parts) {
        if mark.is_some_and(|mark| is_known(*part, mark)) {
            continue;
        }
        publish_one(desk, account, &topic, &subscribers, publication)?;
        mark = Some(*part);
        published += 1;
    }
    if let Some(mark) = mark.filter(|_| published > 0) {
        set_mark(desk, &source.subject, mark)?;
    }
    Ok(published)
}

fn is_known(part: SourcePart, mark: SourcePart) -> bool {
    (part.notice, part.part) <= (mark.notice, mark.part) && part.decided <= mark.decided
}

fn marked(desk: &Desk<'_>, subject: &str) -> Result<Option<SourcePart>, MessagesError> {
    let sql = "SELECT notice, part, decided FROM mark WHERE subject = ?1";
    let read = |row: &Row<'_>| {
        let notice = row.get::<_, i64>(0)?.cast_unsigned();
        Ok(SourcePart { notice, part: row.get(1)?, decided: Timestamp(row.get(2)?) })
    };
    Ok(desk.connection.prepare_cached(sql)?.query_row([subject], read).optional()?)
}

fn set_mark(desk: &Desk<'_>, subject: &str, mark: SourcePart) -> Result<(), MessagesError> {
    let SourcePart { notice, part, decided } = mark;
    desk.connection
        .prepare_cached(
            "INSERT OR REPLACE INTO mark (subject, notice, part, decided, noted)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![subject, notice.cast_signed(), part, decided.0, desk.now.0])?;
    Ok(())
}

/// Forgets marks of what cannot be sent again.
pub(crate) fn forget_marks(desk: &Desk<'_>) -> Result<(), MessagesError> {
    let old = desk.now.0.saturating_sub(i64::from(limits::MARK_KEPT.0) * 1_000_000);
    desk.connection
        .prepare_cached(
            "DELETE FROM mark WHERE subject IN
                 (SELECT subject FROM mark WHERE noted < ?1 LIMIT ?2)",
        )?
        .execute(params![old, limits::SWEEP_MAX])?;
    Ok(())
}

fn publish_one(
    desk: &Desk<'_>,
    account: AccountId,
    topic: &TopicRow,
    subscribers: &[SubscriptionRow],
    publication: &Publication,
) -> Result<Published, MessagesError> {
    let size = u32::try_from(publication.body.len()).unwrap_or(u32::MAX);
    within("MessageBody's length", size, &(1..=topic.info.attributes.size_max))?;
    let id = message_id(topic.id, next_number(desk)?, desk.now);
    for subscriber in subscribers.iter().filter(|it| it.wants(publication.tag.as_deref())) {
        let notification = Notification {
            owner: account,
            topic: topic.info.name.clone(),
            subscription: subscriber.info.name.clone(),
            message_id: id.clone(),
            body: publication.body.clone(),
            tag: publication.tag.clone(),
            published: desk.now,
        };
        deliver(desk, account, subscriber, &notification, publication)?;
    }
    Ok(Published { id })
}

/// Into the queue at once where that is possible, otherwise a push.
fn deliver(
    desk: &Desk<'_>,
    account: AccountId,
    subscriber: &SubscriptionRow,
    notification: &Notification,
    publication: &Publication,
) -> Result<(), MessagesError> {
    if let Some(queue) = &subscriber.queue
        && let Some(row) = queues::find(desk, account, queue)?
    {
        let letter = NewLetter {
            group: publication.group.clone(),
            properties: publication.properties.clone(),
            ..NewLetter::of((desk.render)(subscriber.info.format, notification))
        };
        if desk.whole(|desk| letters::post(desk, &row, &letter)).is_ok() {
            return Ok(());
        }
        // Full, or its messages are smaller: tried again like a queue that is not there.
    }
    pushes::add(desk, subscriber, notification)
}

/// A number for the next publication; never used twice, also after a restart.
fn next_number(desk: &Desk<'_>) -> Result<i64, MessagesError> {
    let sql = "INSERT INTO publication DEFAULT VALUES";
    let number = desk.connection.prepare_cached(sql)?.insert([])?;
    desk.connection.prepare_cached("DELETE FROM publication WHERE id = ?1")?.execute([number])?;
    Ok(number)
}
