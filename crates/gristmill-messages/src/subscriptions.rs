//! Subscriptions of topics.

use crate::{
    desk::Desk,
    error::MessagesError,
    limits,
    nouns::{
        Created, Endpoint, Format, Listing, Name, Page, Strategy, SubscriptionInfo,
        SubscriptionWish,
    },
    pages::List,
    topics,
};
use gristmill_model::{AccountId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "subscription.id, topic.name, subscription.name, endpoint, queue, strategy,
    format, tag, subscription.created, subscription.modified, pushes";
const FROM: &str = "subscription JOIN topic ON topic.id = subscription.topic";

/// A subscription as a row.
pub(crate) struct SubscriptionRow {
    pub(crate) id: i64,
    pub(crate) info: SubscriptionInfo,
    /// The queue's name, when the endpoint is one.
    pub(crate) queue: Option<String>,
    /// How many pushes wait.
    pub(crate) pushes: u64,
}

impl SubscriptionRow {
    /// Whether messages with this tag are for it.
    pub(crate) fn wants(&self, tag: Option<&str>) -> bool {
        self.info.tag.is_none() || self.info.tag.as_deref() == tag
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<SubscriptionRow> {
    let (strategy, format): (String, String) = (row.get(5)?, row.get(6)?);
    let info = SubscriptionInfo {
        topic: row.get(1)?,
        name: row.get(2)?,
        endpoint: row.get(3)?,
        strategy: Strategy::parse(&strategy).unwrap_or_default(),
        format: Format::parse(&format).unwrap_or_default(),
        tag: row.get(7)?,
        created: Timestamp(row.get(8)?),
        modified: Timestamp(row.get(9)?),
    };
    let pushes = row.get::<_, i64>(10)?.cast_unsigned();
    Ok(SubscriptionRow { id: row.get(0)?, info, queue: row.get(4)?, pushes })
}

fn find(
    desk: &Desk<'_>,
    topic: i64,
    name: &Name,
) -> Result<Option<SubscriptionRow>, MessagesError> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE topic = ?1 AND subscription.name = ?2");
    let mut query = desk.connection.prepare_cached(&sql)?;
    Ok(query.query_row(params![topic, name.as_str()], read).optional()?)
}

/// All subscriptions of a topic.
pub(crate) fn all(desk: &Desk<'_>, topic: i64) -> Result<Vec<SubscriptionRow>, MessagesError> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE topic = ?1 ORDER BY subscription.id");
    let mut query = desk.connection.prepare_cached(&sql)?;
    Ok(query.query_map([topic], read)?.collect::<Result<_, _>>()?)
}

pub(crate) fn create(
    desk: &Desk<'_>,
    account: AccountId,
    topic: &Name,
    name: &Name,
    wish: &SubscriptionWish,
) -> Result<Created, MessagesError> {
    let topic = topics::get(desk, account, topic)?;
    if let Some(SubscriptionRow { info, .. }) = find(desk, topic.id, name)? {
        let same = info.endpoint == wish.endpoint.text()
            && (info.strategy, info.format) == (wish.strategy, wish.format)
            && info.tag == wish.tag;
        return match same {
            true => Ok(Created::Same),
            false => Err(MessagesError::SubscriptionExists { name: name.to_string() }),
        };
    }
    let count = "SELECT count(*) FROM subscription WHERE topic = ?1";
    let count: i64 =
        desk.connection.prepare_cached(count)?.query_row([topic.id], |row| row.get(0))?;
    if count.cast_unsigned() >= limits::SUBSCRIPTIONS_MAX {
        let what = "subscriptions of a topic";
        return Err(MessagesError::Full { what, limit: limits::SUBSCRIPTIONS_MAX });
    }
    let queue = match &wish.endpoint {
        Endpoint::Queue { name, .. } => Some(name.as_str()),
        Endpoint::Http(_) => None,
    };
    desk.connection
        .prepare_cached(
            "INSERT INTO subscription (topic, name, endpoint, queue, strategy, format, tag,
                 created, modified)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        )?
        .execute(params![
            topic.id,
            name.as_str(),
            wish.endpoint.text(),
            queue,
            wish.strategy.name(),
            wish.format.name(),
            wish.tag,
            desk.now.0
        ])?;
    Ok(Created::New)
}

pub(crate) fn get(
    desk: &Desk<'_>,
    account: AccountId,
    topic: &Name,
    name: &Name,
) -> Result<SubscriptionRow, MessagesError> {
    let topic = topics::get(desk, account, topic)?;
    find(desk, topic.id, name)?
        .ok_or_else(|| MessagesError::NoSubscription { name: name.to_string() })
}

/// Sets how often pushes are tried again: the one attribute that can be changed.
pub(crate) fn set(
    desk: &Desk<'_>,
    account: AccountId,
    topic: &Name,
    name: &Name,
    strategy: Option<Strategy>,
) -> Result<(), MessagesError> {
    let row = get(desk, account, topic, name)?;
    let strategy = strategy.unwrap_or(row.info.strategy);
    desk.connection
        .prepare_cached("UPDATE subscription SET modified = ?2, strategy = ?3 WHERE id = ?1")?
        .execute(params![row.id, desk.now.0, strategy.name()])?;
    Ok(())
}

pub(crate) fn list(
    desk: &Desk<'_>,
    account: AccountId,
    topic: &Name,
    page: &Page,
) -> Result<Listing<SubscriptionInfo>, MessagesError> {
    let topic = topics::get(desk, account, topic)?;
    let select = format!("SELECT {COLUMNS} FROM {FROM}");
    let list = List { select: &select, owner: "topic", name: "subscription.name" };
    let info = |row: &Row<'_>| read(row).map(|row| row.info);
    list.page(desk, topic.id, page, info, |subscription: &SubscriptionInfo| &subscription.name)
}

/// Deletes a subscription and what still had to be pushed to it. One that is not there is deleted
/// already; its topic must be there.
pub(crate) fn delete(
    desk: &Desk<'_>,
    account: AccountId,
    topic: &Name,
    name: &Name,
) -> Result<(), MessagesError> {
    let topic = topics::get(desk, account, topic)?;
    let Some(row) = find(desk, topic.id, name)? else { return Ok(()) };
    delete_one(desk, row.id)
}

/// Deletes all subscriptions of a topic.
pub(crate) fn delete_all(desk: &Desk<'_>, topic: i64) -> Result<(), MessagesError> {
    all(desk, topic)?.into_iter().try_for_each(|row| delete_one(desk, row.id))
}

fn delete_one(desk: &Desk<'_>, id: i64) -> Result<(), MessagesError> {
    desk.connection.prepare_cached("DELETE FROM push WHERE subscription = ?1")?.execute([id])?;
    desk.connection.prepare_cached("DELETE FROM subscription WHERE id = ?1")?.execute([id])?;
    Ok(())
}
