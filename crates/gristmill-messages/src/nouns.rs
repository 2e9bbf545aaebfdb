//! The nouns of the message service: what is asked for, what is kept, what is answered.
//!
//! A *letter* is a message in a queue, a *publication* one at a topic; a *push* is a publication
//! on its way to one subscription. Names are checked when they are made ([`Name::parse`]), values
//! when an order is carried out.

use crate::{error::MessagesError, limits};
use gristmill_model::{AccountId, Seconds, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::RangeInclusive};

/// The name of a queue, a topic or a subscription: letters, digits and hyphens, the first not a
/// hyphen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A queue.
    Queue,
    /// A topic.
    Topic,
    /// A subscription.
    Subscription,
}

impl Name {
    /// A legal name. `Err(true)`: it is too long or empty; `Err(false)`: it has other characters.
    pub fn parse(kind: NameKind, text: &str) -> Result<Self, bool> {
        let longest = match kind {
            NameKind::Queue => limits::QUEUE_NAME_MAX,
            NameKind::Topic | NameKind::Subscription => limits::TOPIC_NAME_MAX,
        };
        if text.is_empty() || text.len() > longest {
            return Err(true);
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
        match text.chars().all(legal) && !text.starts_with('-') {
            true => Ok(Self(text.to_owned())),
            false => Err(false),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a create made something, or found the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there, with the same attributes.
    Same,
}

/// What a queue does with its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueAttributes {
    /// How long a received message is invisible.
    pub visibility: Seconds,
    /// The largest body in bytes.
    pub size_max: u32,
    /// How long a message is kept.
    pub retention: Seconds,
    /// How long a message is delayed that does not say so itself.
    pub delay: Seconds,
    /// How long a receiver waits that does not say so itself.
    pub polling_wait: Seconds,
    /// Kept and echoed.
    pub logging: bool,
}

impl Default for QueueAttributes {
    fn default() -> Self {
        Self {
            visibility: Seconds(30),
            size_max: *limits::SIZE.end(),
            retention: Seconds(345_600),
            delay: Seconds(0),
            polling_wait: Seconds(0),
            logging: false,
        }
    }
}

/// Attributes of a queue as asked for; what is `None` is the default, or stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueWish {
    /// `VisibilityTimeout`.
    pub visibility: Option<u32>,
    /// `MaximumMessageSize`.
    pub size_max: Option<u32>,
    /// `MessageRetentionPeriod`.
    pub retention: Option<u32>,
    /// `DelaySeconds`.
    pub delay: Option<u32>,
    /// `PollingWaitSeconds`.
    pub polling_wait: Option<u32>,
    /// `LoggingEnabled`.
    pub logging: Option<bool>,
}

impl QueueWish {
    /// The attributes after the wish, if they are in range.
    pub(crate) fn over(&self, now: QueueAttributes) -> Result<QueueAttributes, MessagesError> {
        let seconds = |member, wish: Option<u32>, range, now: Seconds| {
            Ok::<_, MessagesError>(match wish {
                Some(value) => Seconds(within(member, value, range)?),
                None => now,
            })
        };
        Ok(QueueAttributes {
            visibility: seconds(
                "VisibilityTimeout",
                self.visibility,
                &limits::VISIBILITY,
                now.visibility,
            )?,
            size_max: match self.size_max {
                Some(value) => within("MaximumMessageSize", value, &limits::SIZE)?,
                None => now.size_max,
            },
            retention: seconds(
                "MessageRetentionPeriod",
                self.retention,
                &limits::RETENTION,
                now.retention,
            )?,
            delay: seconds("DelaySeconds", self.delay, &limits::DELAY, now.delay)?,
            polling_wait: seconds(
                "PollingWaitSeconds",
                self.polling_wait,
                &limits::WAIT,
                now.polling_wait,
            )?,
            logging: self.logging.unwrap_or(now.logging),
        })
    }
}

/// A value, if it is in range.
pub(crate) fn within(
    member: &'static str,
    value: u32,
    range: &RangeInclusive<u32>,
) -> Result<u32, MessagesError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (u64::from(*range.start()), u64::from(*range.end()));
    Err(MessagesError::OutOfRange { member, value: value.into(), least, most })
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When its attributes were set last.
    pub modified: Timestamp,
    /// Its attributes.
    pub attributes: QueueAttributes,
    /// Its messages.
    pub counts: QueueCounts,
}

/// How many messages a queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounts {
    /// That can be received.
    pub active: u64,
    /// That were received and are invisible.
    pub inactive: u64,
    /// That are delayed.
    pub delayed: u64,
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Only names that start so.
    pub prefix: String,
    /// Only names after this one.
    pub after: String,
    /// So many, within [`limits::PAGE`].
    pub items_max: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { prefix: String::new(), after: String::new(), items_max: *limits::PAGE.end() }
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// What was found, by name.
    pub items: Vec<T>,
    /// Where the next part starts, when there is one.
    pub next: Option<String>,
}

/// A message to be put into a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLetter {
    /// The text, as sent.
    pub body: String,
    /// How long it is delayed; `None`: as the queue says.
    pub delay: Option<u32>,
    /// 1 to 16; 1 is received first.
    pub priority: u32,
    /// `MessageGroupId`, echoed.
    pub group: String,
    /// Echoed.
    pub properties: Vec<Property>,
}

impl NewLetter {
    /// The usual priority.
    pub const PRIORITY: u32 = 8;

    /// A message that says no more than its text.
    pub fn of(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            delay: None,
            priority: Self::PRIORITY,
            group: String::new(),
            properties: Vec::new(),
        }
    }
}

/// A property of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Whose it is.
    pub scope: PropertyScope,
    /// Its name.
    pub name: String,
    /// Its value as text; binary ones in base64.
    pub value: String,
    /// Its type: `STRING`, `NUMBER`, `BOOLEAN`, `BINARY`.
    pub kind: String,
}

/// Whose property it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropertyScope {
    /// The user's.
    User,
    /// The service's.
    System,
}

/// A message that was put into a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Its id.
    pub id: String,
    /// For delayed messages: with it the message can be deleted before it is visible.
    pub receipt: Option<String>,
}

/// A message as it is received or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its id.
    pub id: String,
    /// What it is deleted with; `None` when it was only looked at.
    pub receipt: Option<String>,
    /// The text, as sent.
    pub body: String,
    /// When it came.
    pub enqueued: Timestamp,
    /// When it is visible again; `None` when it was only looked at.
    pub next_visible: Option<Timestamp>,
    /// When it was received for the first time.
    pub first_dequeued: Option<Timestamp>,
    /// How often it was received.
    pub dequeues: u32,
    /// Its priority.
    pub priority: u32,
    /// As sent.
    pub group: String,
    /// As sent.
    pub properties: Vec<Property>,
}

/// What a topic does with its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicAttributes {
    /// The largest body in bytes.
    pub size_max: u32,
    /// Kept and echoed.
    pub logging: bool,
}

impl Default for TopicAttributes {
    fn default() -> Self {
        Self { size_max: *limits::SIZE.end(), logging: false }
    }
}

/// Attributes of a topic as asked for; what is `None` is the default, or stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicWish {
    /// `MaximumMessageSize`.
    pub size_max: Option<u32>,
    /// `LoggingEnabled`.
    pub logging: Option<bool>,
}

impl TopicWish {
    pub(crate) fn over(&self, now: TopicAttributes) -> Result<TopicAttributes, MessagesError> {
        let size_max = match self.size_max {
            Some(value) => within("MaximumMessageSize", value, &limits::SIZE)?,
            None => now.size_max,
        };
        Ok(TopicAttributes { size_max, logging: self.logging.unwrap_or(now.logging) })
    }
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When its attributes were set last.
    pub modified: Timestamp,
    /// Its attributes.
    pub attributes: TopicAttributes,
    /// Messages that still have to be pushed to a subscription, each counted once for each.
    pub messages: u64,
}

/// Where a subscription's messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A queue of the same account.
    Queue {
        /// The whole endpoint, as sent.
        text: String,
        /// The queue's name.
        name: Name,
    },
    /// A URL.
    Http(String),
}

impl Endpoint {
    /// As sent.
    pub fn text(&self) -> &str {
        match self {
            Self::Queue { text, .. } | Self::Http(text) => text,
        }
    }
}

/// How often a push is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Three times, 10 to 20 seconds apart.
    #[default]
    Backoff,
    /// For a day, in pauses of 1, 2, 4 and so on up to 512 seconds.
    ExponentialDecay,
}

impl Strategy {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backoff => "BACKOFF_RETRY",
            Self::ExponentialDecay => "EXPONENTIAL_DECAY_RETRY",
        }
    }

    /// The strategy of a name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Backoff, Self::ExponentialDecay].into_iter().find(|it| it.name() == text)
    }

    /// The pause after so many failed attempts, at least 1; `None`: it is given up. `chance` is
    /// anything from 0 to 1000.
    pub fn pause(self, failed: u32, chance: u32) -> Option<Seconds> {
        match self {
            Self::Backoff => (failed <= 3).then(|| Seconds(10 + chance.min(1_000) / 100)),
            Self::ExponentialDecay => {
                let pause = 1u32 << (failed.max(1) - 1).min(9);
                (failed <= 176).then_some(Seconds(pause))
            }
        }
    }
}

/// What a pushed message looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A document with text and circumstances.
    #[default]
    Xml,
    /// The same as JSON.
    Json,
    /// The text as published.
    Simplified,
}

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xml => "XML",
            Self::Json => "JSON",
            Self::Simplified => "SIMPLIFIED",
        }
    }

    /// The format of a name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Xml, Self::Json, Self::Simplified].into_iter().find(|it| it.name() == text)
    }
}

/// A subscription as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionWish {
    /// Where the messages go.
    pub endpoint: Endpoint,
    /// How often a push is tried again.
    pub strategy: Strategy,
    /// What it looks like.
    pub format: Format,
    /// Only messages with this tag.
    pub tag: Option<String>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// Its topic.
    pub topic: String,
    /// Its name.
    pub name: String,
    /// As sent.
    pub endpoint: String,
    /// How often a push is tried again.
    pub strategy: Strategy,
    /// What it looks like.
    pub format: Format,
    /// Only messages with this tag.
    pub tag: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When its attributes were set last.
    pub modified: Timestamp,
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The text, as sent.
    pub body: String,
    /// For filters.
    pub tag: Option<String>,
    /// Echoed to queues.
    pub group: String,
    /// Echoed to queues.
    pub properties: Vec<Property>,
}

impl Publication {
    /// A message that says no more than its text.
    pub fn of(body: impl Into<String>) -> Self {
        Self { body: body.into(), tag: None, group: String::new(), properties: Vec::new() }
    }
}

/// A message that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub id: String,
}

/// Where the control plane's publications come from: what was published before is not published
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What they are about; ascending within it.
    pub subject: String,
    /// For each publication where it stands.
    pub parts: Vec<SourcePart>,
}

/// Where a publication stands in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourcePart {
    /// The number of the notice.
    pub notice: u64,
    /// Which of its messages, from 0.
    pub part: u32,
    /// When the notice was decided. Numbers of a region that was restored from a backup start
    /// again; time does not.
    pub decided: Timestamp,
}

/// The number of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PushId(pub i64);

/// A push that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Its number.
    pub id: PushId,
    /// The number of its subscription.
    pub subscription: i64,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// How often it is tried again.
    pub strategy: Strategy,
    /// What it looks like.
    pub format: Format,
    /// How often it failed.
    pub attempts: u32,
    /// What it says.
    pub notification: Notification,
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The account of the topic, and of the subscription.
    pub owner: AccountId,
    /// The topic's name.
    pub topic: String,
    /// The subscription's name.
    pub subscription: String,
    /// The message's id.
    pub message_id: String,
    /// The text, as published.
    pub body: String,
    /// Its tag.
    pub tag: Option<String>,
    /// When it was published.
    pub published: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_alphabet_and_length() {
        for (text, wanted) in [
            ("q", Ok(())),
            ("Q1-a", Ok(())),
            ("9", Ok(())),
            ("", Err(true)),
            ("-a", Err(false)),
            ("a_b", Err(false)),
            ("a/b", Err(false)),
            ("队列", Err(false)),
        ] {
            assert_eq!(Name::parse(NameKind::Queue, text).map(drop), wanted, "{text}");
        }
        assert!(Name::parse(NameKind::Topic, &"t".repeat(256)).is_ok());
        assert_eq!(Name::parse(NameKind::Topic, &"t".repeat(257)), Err(true));
    }

    #[test]
    fn the_strategies_are_those_of_the_reference() {
        let pauses = |strategy: Strategy| -> Vec<u32> {
            (1..).map_while(|failed| strategy.pause(failed, 500)).map(|pause| pause.0).collect()
        };
        assert_eq!(pauses(Strategy::Backoff), [15, 15, 15]);
        let decay = pauses(Strategy::ExponentialDecay);
        assert_eq!(decay.len(), 176);
        assert_eq!(&decay[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512]);
        assert_eq!(decay.iter().filter(|pause| **pause == 512).count(), 167);
        let most = Strategy::Backoff.pause(1, u32::MAX).map(|pause| pause.0);
        assert_eq!(
            (Strategy::Backoff.pause(1, 0).map(|pause| pause.0), most),
            (Some(10), Some(20))
        );
    }
}
