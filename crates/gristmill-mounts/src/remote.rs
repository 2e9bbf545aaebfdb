//! Calls to the object store that do not give up at the first fault.
//!
//! [`Remote`] is the store plus the patience to ask again: transient errors are retried with
//! doubling pauses and full jitter until nothing has moved for [`Patience::give_up_after`]
//! (`reference/mounts.md` 9.2). Every request is counted in [`Meter`].
//!
//! Invariants
//! - Errors that cannot get better are returned at once.
//! - An attempt that stays quiet for [`Patience::quiet_max`] counts as a transient error.
//!
//! Start at [`Remote::ask`].

use gristmill_objects::{
    GetObject, GetOptions, ListOptions, Listing, ObjectError, ObjectInfo, ObjectStore,
};
use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;
use tracing::warn;

/// How long to bear with a faulty store. Since 0.1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The first pause; each later one is twice as long.
    pub pause_first: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// Give up when nothing has moved for so long.
    pub give_up_after: Duration,
    /// The longest silence inside one request, and the time in which a stream must move
    /// [`Patience::crawl_bytes`].
    pub quiet_max: Duration,
    /// A stream that moves less within `quiet_max` is dropped and asked for again.
    pub crawl_bytes: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pause_first: Duration::from_millis(100),
            pause_max: Duration::from_secs(10),
            give_up_after: Duration::from_secs(120),
            quiet_max: Duration::from_secs(10),
            crawl_bytes: 640 * 1024,
        }
    }
}

impl Patience {
    /// Milliseconds instead of seconds, for tests.
    pub fn short() -> Self {
        Self {
            pause_first: Duration::from_millis(1),
            pause_max: Duration::from_millis(8),
            give_up_after: Duration::from_secs(2),
            quiet_max: Duration::from_millis(500),
            crawl_bytes: 1,
        }
    }

    /// The upper bound of the pause before the attempt after `failures` failures.
    fn pause_bound(&self, failures: u32) -> Duration {
        self.pause_first.saturating_mul(1 << (failures - 1).min(16)).min(self.pause_max)
    }
}

/// What went over to the store.
#[derive(Debug, Default)]
pub struct Meter {
    /// Requests, repeated ones included.
    pub requests: AtomicU64,
    /// Requests that were repeated after a fault.
    pub retries: AtomicU64,
    /// Body bytes read from the store.
    pub bytes_read: AtomicU64,
    /// Body bytes written to the store.
    pub bytes_written: AtomicU64,
}

/// Fractions for jitter: a seeded stream, so that a test repeats itself.
#[derive(Debug)]
struct Jitter(AtomicU64);

impl Jitter {
    /// The next fraction of `bound` (SplitMix64).
    fn part_of(&self, bound: Duration) -> Duration {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut bits = self.0.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bound.mul_f64((bits >> 40) as f64 / f64::from(1 << 24))
    }
}

/// The store, asked with patience. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    patience: Patience,
    meter: Arc<Meter>,
    jitter: Arc<Jitter>,
}

impl Remote {
    /// A patient view of `store`. `seed` makes the pauses.
    pub fn new(store: Arc<dyn ObjectStore>, patience: Patience, seed: u64) -> Self {
        Self { store, patience, meter: Arc::default(), jitter: Arc::new(Jitter(seed.into())) }
    }

    /// What has gone over so far.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The patience it has.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The store itself; the caller counts.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Asks until there is an answer, an error that cannot get better, or no hope. `doing` is for
    /// the log and for time-outs.
    pub async fn ask<T, F>(&self, doing: &str, attempt: impl FnMut() -> F) -> Result<T, ObjectError>
    where
        F: Future<Output = Result<T, ObjectError>>,
    {
        self.ask_within(self.patience.quiet_max, doing, attempt).await
    }

    /// The same with another bound for each attempt.
    pub async fn ask_within<T, F>(
        &self,
        quiet_max: Duration,
        doing: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ObjectError>
    where
        F: Future<Output = Result<T, ObjectError>>,
    {
        let mut struggle = self.struggle();
        loop {
            self.meter.requests.fetch_add(1, Relaxed);
            let outcome = tokio::time::timeout(quiet_max, attempt()).await;
            match outcome.unwrap_or_else(|_| Err(timed_out(doing))) {
                Err(error) if error.is_transient() => struggle.after(doing, error).await?,
                outcome => return outcome,
            }
        }
    }

    /// A count of failures in a row with the time since something moved.
    pub fn struggle(&self) -> Struggle {
        Struggle { remote: self.clone(), failures: 0, since: Instant::now() }
    }

    /// What the store knows of an object.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        self.ask("look at an object", || self.store.head(bucket, key)).await
    }

    /// One page of keys.
    pub async fn list(&self, bucket: &str, options: &ListOptions) -> Result<Listing, ObjectError> {
        self.ask("list objects", || self.store.list(bucket, options.clone())).await
    }

    /// Opens an object once, counted and bounded in time; the caller retries.
    pub async fn get_once(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetObject, ObjectError> {
        self.meter.requests.fetch_add(1, Relaxed);
        let attempt = self.store.get(bucket, key, options);
        let outcome = tokio::time::timeout(self.patience.quiet_max, attempt).await;
        outcome.unwrap_or_else(|_| Err(timed_out("open an object")))
    }
}

/// Failures in a row.
pub struct Struggle {
    remote: Remote,
    failures: u32,
    since: Instant,
}

impl Struggle {
    /// Something moved: patience starts anew.
    pub fn moved(&mut self) {
        self.failures = 0;
        self.since = Instant::now();
    }

    /// Pauses after a transient `error`, or gives it back when patience is over.
    pub async fn after(&mut self, doing: &str, error: ObjectError) -> Result<(), ObjectError> {
        self.failures += 1;
        if self.since.elapsed() >= self.remote.patience.give_up_after {
            return Err(error);
        }
        let pause = self.remote.jitter.part_of(self.remote.patience.pause_bound(self.failures));
        warn!(doing, error = %error, failures = self.failures, "the store failed, asking again");
        self.remote.meter.retries.fetch_add(1, Relaxed);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// A request that stayed quiet too long.
pub fn timed_out(doing: &str) -> ObjectError {
    ObjectError::Io { doing: doing.to_owned(), source: io::ErrorKind::TimedOut.into() }
}

/// A body that was not what was announced.
pub fn bad_body(doing: &str, why: &str) -> ObjectError {
    let source = io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    ObjectError::Io { doing: doing.to_owned(), source }
}

/// The error a program sees (`reference/mounts.md` 9.2).
pub fn errno(error: &ObjectError) -> rustix::io::Errno {
    use rustix::io::Errno;
    match error {
        ObjectError::NoSuchKey { .. } | ObjectError::NoSuchBucket { .. } => Errno::NOENT,
        ObjectError::Changed { .. } => Errno::STALE,
        ObjectError::Denied { .. } => Errno::ACCESS,
        // An archived object that was not restored.
        ObjectError::Refused { code, .. } if code == "InvalidObjectState" => Errno::ACCESS,
        ObjectError::Refused { .. }
        | ObjectError::NoSuchUpload { .. }
        | ObjectError::Full
        | ObjectError::Corrupt { .. }
        | ObjectError::Io { .. } => Errno::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let patience = Patience::default();
        let bounds: Vec<u128> = (1..=9).map(|n| patience.pause_bound(n).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(patience.pause_bound(u32::MAX), patience.pause_max);
    }

    #[test]
    fn jitter_stays_below_its_bound_and_varies() {
        let jitter = Jitter(1.into());
        let bound = Duration::from_secs(1);
        let parts: Vec<Duration> = (0..100).map(|_| jitter.part_of(bound)).collect();
        assert!(parts.iter().all(|part| *part < bound));
        assert!(
            parts.iter().any(|part| *part < bound / 4)
                && parts.iter().any(|part| *part > bound / 2)
        );
    }
}
