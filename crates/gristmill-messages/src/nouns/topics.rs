//! Topics and their subscriptions.

use super::{Name, within};
use crate::{error::MessagesError, limits};
use gristmill_model::{Seconds, Timestamp};

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

#[cfg(test)]
mod tests {
    use super::*;

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
