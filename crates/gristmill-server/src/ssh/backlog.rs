//! What a client has sent on one connection and its programs have not taken.
//!
//! It is counted, not bounded: what a client was allowed to send has to be taken in. Whoever allows it
//! asks [`Backlog::is_full`] first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// From here on a client is too far ahead.
const BYTES_MAX: usize = 1 << 20;
/// What a message costs beside its bytes.
const MESSAGE_BYTES: usize = 64;

/// How much waits.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    less: Notify,
}

/// A message that waits, until this is dropped.
#[derive(Debug)]
pub struct Held {
    bytes: usize,
    backlog: Arc<Backlog>,
}

impl Backlog {
    /// Counts a message of so many bytes.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        let bytes = bytes + MESSAGE_BYTES;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Held { bytes, backlog: self.clone() }
    }

    /// Whether the client is too far ahead.
    pub fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= BYTES_MAX
    }

    /// Waits until a message was taken, but not for longer than this; not at all if there is room.
    pub async fn rest_if_full(&self, pause: Duration) {
        if self.is_full() {
            let _ = tokio::time::timeout(pause, self.less.notified()).await; // either will do
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.backlog.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.backlog.less.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const PAUSE: Duration = Duration::from_secs(50);

    async fn rest_of(backlog: &Backlog) -> Duration {
        let begun = Instant::now();
        backlog.rest_if_full(PAUSE).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_full_lets_others_rest_until_something_is_taken_or_time_is_up() {
        let backlog = Arc::<Backlog>::default();
        let first = backlog.hold(BYTES_MAX / 2);
        assert!(!backlog.is_full());
        assert_eq!(rest_of(&backlog).await, Duration::ZERO);
        let second = backlog.hold(BYTES_MAX / 2);
        assert!(backlog.is_full());
        assert_eq!(rest_of(&backlog).await, PAUSE);
        let (rest, ()) = tokio::join!(rest_of(&backlog), async { drop(first) });
        assert_eq!(rest, Duration::ZERO);
        assert!(!backlog.is_full());
        drop(second);
        assert_eq!(backlog.bytes.load(Ordering::Relaxed), 0);
    }
}
