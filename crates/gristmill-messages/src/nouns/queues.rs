//! Queues and the messages in them.

use super::within;
use crate::{error::MessagesError, limits};
use gristmill_model::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};

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
