//! The nouns of the message service: what is asked for, what is kept, what is answered.
//!
//! A *letter* is a message in a queue, a *publication* one at a topic; a *push* is a publication
//! on its way to one subscription. Names are checked when they are made ([`Name::parse`]), values
//! when an order is carried out.

mod publications;
mod queues;
mod topics;

pub use publications::{Notification, Publication, Published, Push, PushId, Source, SourcePart};
pub use queues::{
    Letter, NewLetter, Posted, Property, PropertyScope, QueueAttributes, QueueCounts, QueueInfo,
    QueueWish,
};
pub use topics::{
    Endpoint, Format, Strategy, SubscriptionInfo, SubscriptionWish, TopicAttributes, TopicInfo,
    TopicWish,
};

use crate::{error::MessagesError, limits};
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
}
