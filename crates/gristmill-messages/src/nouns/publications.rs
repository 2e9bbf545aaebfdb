//! What is published, and on its way to subscriptions.

use super::{Endpoint, Format, Property, Strategy};
use gristmill_model::{AccountId, Timestamp};

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
