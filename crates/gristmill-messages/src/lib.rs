//! The message service's room: queues with their messages, topics with their subscriptions, and
//! what is still to be pushed, in a database of their own (`reference/mns.md`).
//!
//! ```text
//! Messages (async handle) ──orders──▶ owner thread ──one transaction a turn──▶ SQLite
//!        ▲                              │ waiters: receivers of empty queues
//!        └──────────answers─────────────┘
//! ```
//!
//! The owner takes all orders that wait, carries each out in a savepoint of one transaction,
//! commits, and only then answers. Receivers that found a queue empty wait at the owner until a
//! message comes, their time is up, or the queue goes: nobody polls.
//!
//! Invariants
//! - What was answered survives `kill -9` and power loss (write-ahead log, `synchronous=FULL`).
//! - An order that is refused has changed nothing; others of its turn are not touched.
//! - A queue or topic belongs to an account; no order reaches that of another.
//! - A receipt is good until its message is visible again, and no longer.
//! - The clock is an argument; chance stays outside. No sockets: the server pushes what
//!   [`Messages::due_pushes`] names, and says how it went.
//! - Everything is bounded, see [`limits`].
//!
//! Start at [`Messages`]; `owner` turns, `desk` is what an order works with.

mod desk;
mod error;
mod handle;
mod letters;
pub mod limits;
mod nouns;
mod owner;
mod pages;
mod pushes;
mod queues;
mod receipts;
mod schema;
mod subscriptions;
mod topics;

pub use error::{MessagesError, Retry};
pub use handle::{Clock, Messages, Render};
pub use nouns::{
    Created, Endpoint, Format, Letter, Listing, Name, NameKind, NewLetter, Notification, Page,
    Posted, Property, PropertyScope, Publication, Published, Push, PushId, QueueAttributes,
    QueueCounts, QueueInfo, QueueWish, Source, SourcePart, Strategy, SubscriptionInfo,
    SubscriptionWish, TopicAttributes, TopicInfo, TopicWish,
};
pub use pushes::{Due, Room};
pub use schema::OpenError;
