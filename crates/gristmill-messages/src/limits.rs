//! The bounds of the message service, each with its name (`reference/mns.md` 5 to 9).

use gristmill_model::Seconds;
use std::ops::RangeInclusive;

/// Seconds a received message may be invisible.
pub const VISIBILITY: RangeInclusive<u32> = 1..=43_200;
/// Bytes a body may have, as an attribute of queues and topics.
pub const SIZE: RangeInclusive<u32> = 1_024..=65_536;
/// Seconds a queue keeps a message.
pub const RETENTION: RangeInclusive<u32> = 60..=604_800;
/// Seconds a message may be delayed.
pub const DELAY: RangeInclusive<u32> = 0..=604_800;
/// Seconds a receiver may wait.
pub const WAIT: RangeInclusive<u32> = 0..=30;
/// Priorities; 1 is received first.
pub const PRIORITY: RangeInclusive<u32> = 1..=16;
/// Messages of one batch.
pub const BATCH: RangeInclusive<u32> = 1..=16;
/// Items of one page of a list.
pub const PAGE: RangeInclusive<u32> = 1..=1_000;
/// Characters of the name of a queue.
pub const QUEUE_NAME_MAX: usize = 256;
/// Characters of the name of a topic or subscription.
pub const TOPIC_NAME_MAX: usize = 256;
/// Characters of a message's tag.
pub const TAG_MAX: usize = 16;
/// Properties of a message.
pub const PROPERTIES_MAX: usize = 64;
/// Queues of an account.
pub const QUEUES_MAX: u64 = 10_000;
/// Messages of a queue.
pub const QUEUE_MESSAGES_MAX: u64 = 2_000_000;
/// Topics of an account.
pub const TOPICS_MAX: u64 = 10_000;
/// Subscriptions of a topic.
pub const SUBSCRIPTIONS_MAX: u64 = 100;
/// Messages that wait to be pushed to one subscription; more are dropped for it.
pub const PUSHES_MAX: u64 = 200_000;
/// Subscriptions that one look for pushes goes through.
pub const LOOK_MAX: usize = 10_000;
/// When it goes on with the others.
pub const LOOK_PAUSE: Seconds = Seconds(1);
/// How long a topic keeps a message; shown, and fixed.
pub const TOPIC_RETENTION: Seconds = Seconds(86_400);
/// How long a mark of what was published is kept. Longer than any notice is sent again.
pub const MARK_KEPT: Seconds = Seconds(30 * 86_400);
/// Orders that may wait for the owner. A sender beyond it waits.
pub const INBOX_MAX: usize = 4_096;
/// Orders that share one commit.
pub const TURN_MAX: usize = 1_024;
/// Receivers that wait at a time; one more is answered at once. Who is among them says
/// [`gristmill_model::shares`].
pub const WAITERS_MAX: usize = 8_192;
/// Rows that become visible, expire or are forgotten in one turn.
pub const SWEEP_MAX: u32 = 2_000;
