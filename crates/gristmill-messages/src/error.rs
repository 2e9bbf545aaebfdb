//! Why an order was refused, or failed.

/// Whether trying again later can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It can.
    Later,
    /// It cannot.
    Never,
}

/// Why an order was refused, or failed. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessagesError {
    /// The account has no such queue.
    #[error("queue `{name}` does not exist")]
    NoQueue {
        /// As asked for.
        name: String,
    },
    /// The account has no such topic.
    #[error("topic `{name}` does not exist")]
    NoTopic {
        /// As asked for.
        name: String,
    },
    /// The topic has no such subscription.
    #[error("subscription `{name}` does not exist")]
    NoSubscription {
        /// As asked for.
        name: String,
    },
    /// There is no message: the queue is empty, or the message of a receipt is gone.
    #[error("message does not exist")]
    NoMessage,
    /// There is a queue of this name with other attributes.
    #[error("queue `{name}` exists with other attributes")]
    QueueExists {
        /// Which.
        name: String,
    },
    /// There is a topic of this name with other attributes.
    #[error("topic `{name}` exists with other attributes")]
    TopicExists {
        /// Which.
        name: String,
    },
    /// There is a subscription of this name with other attributes.
    #[error("subscription `{name}` exists with other attributes")]
    SubscriptionExists {
        /// Which.
        name: String,
    },
    /// The receipt is not one, or not the last one of its message.
    #[error("the receipt handle `{receipt}` is not valid any longer")]
    BadReceipt {
        /// As given.
        receipt: String,
    },
    /// A value is outside of its range.
    #[error("{member} {value} is not in [{least}, {most}]")]
    OutOfRange {
        /// The vendor's name of the member.
        member: &'static str,
        /// As given.
        value: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A quota is used up.
    #[error("{what} are limited to {limit}")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// The disk is full.
    #[error("the disk of the message service is full")]
    DiskFull,
    /// The database failed; the cause is in the log.
    #[error("the message service cannot read or write its books: {reason}")]
    Books {
        /// What SQLite says.
        reason: String,
    },
    /// The service is shutting down.
    #[error("the message service is shutting down")]
    Closed,
}

impl MessagesError {
    /// Whether trying again later can help. No `_` arm: a new variant must choose.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoQueue { .. }
            | Self::NoTopic { .. }
            | Self::NoSubscription { .. }
            | Self::NoMessage
            | Self::Full { .. }
            | Self::DiskFull
            | Self::Books { .. }
            | Self::Closed => Retry::Later,
            Self::QueueExists { .. }
            | Self::TopicExists { .. }
            | Self::SubscriptionExists { .. }
            | Self::BadReceipt { .. }
            | Self::OutOfRange { .. } => Retry::Never,
        }
    }
}

impl From<rusqlite::Error> for MessagesError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Books { reason: error.to_string() },
        }
    }
}
