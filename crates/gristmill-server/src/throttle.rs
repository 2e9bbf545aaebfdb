//! How many requests an account may make: a bucket of tokens for each account and class of operation.
//!
//! A bucket fills at the configured rate up to its burst; a request takes one token, and one that finds none
//! is refused with the time until there is one. Classes do not touch each other, so an account that creates
//! too much can still look and stop. The root key is bound like any other; the operator's door is not.
//!
//! Invariant: there are no more buckets than accounts and classes.

use crate::config::{Rate, ThrottleConfig};
use gristmill_model::AccountId;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Makes something new: a job, cluster, app, image or temporary key.
    Create,
    /// Changes, stops or deletes something.
    Change,
    /// Looks.
    Read,
}

impl Class {
    /// The class of a request, before its body is read. `None`: it is not counted.
    pub fn of(method: &str, path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        match method {
            _ if path == "/admin" || path.starts_with("/admin/") => None,
            "GET" | "HEAD" => Some(Self::Read),
            "POST" if MADE_BY.contains(&path) => Some(Self::Create),
            _ => Some(Self::Change),
        }
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Read => "read",
        }
    }
}

/// The longest time that a refusal names.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Where a POST makes something.
const MADE_BY: [&str; 5] = ["/jobs", "/clusters", "/apps", "/images", "/sts/credentials"];

/// The buckets of a region.
pub struct Throttle {
    config: ThrottleConfig,
    started: Instant,
    buckets: Mutex<BTreeMap<(AccountId, Class), Bucket>>,
}

impl Throttle {
    /// All buckets are full.
    pub fn new(config: ThrottleConfig) -> Self {
        Self { config, started: Instant::now(), buckets: Mutex::default() }
    }

    /// Takes a token. `Err`: how long until there is one.
    pub fn take(&self, account: AccountId, class: Class) -> Result<(), Duration> {
        let rate = match class {
            Class::Create => self.config.create,
            Class::Change => self.config.change,
            Class::Read => self.config.read,
        };
        if rate.per_second <= 0.0 {
            return Ok(());
        }
        let now = self.started.elapsed();
        // Every bucket is whole, whoever died while holding them.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { tokens: rate.burst.max(1.0), at: now };
        buckets.entry((account, class)).or_insert(full).take(rate, now)
    }
}

/// Tokens of one account and class, as they were at a time since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst.max(1.0));
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::try_from_secs_f64((1.0 - self.tokens) / rate.per_second);
        Err(wait.unwrap_or(WAIT_MAX).min(WAIT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let rate = Rate { per_second: 2.0, burst: 3.0 };
        let mut bucket = Bucket { tokens: 3.0, at: Duration::ZERO };
        let at = Duration::from_millis;
        let steps =
            [(0, None), (0, None), (0, None), (0, Some(500)), (250, Some(250)), (500, None)];
        for (when, wait) in steps {
            assert_eq!(bucket.take(rate, at(when)).err(), wait.map(at), "at {when} ms");
        }
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, at(60_000)), Ok(()), "no more than the burst is saved");
        }
        assert_eq!(bucket.take(rate, at(60_000)), Err(at(500)));
        let rate = Rate { per_second: 1e-300, burst: 1.0 };
        let mut bucket = Bucket { tokens: 0.0, at: Duration::ZERO };
        assert_eq!(bucket.take(rate, at(1)), Err(WAIT_MAX), "a rate next to nothing");
    }

    #[test]
    fn requests_are_counted_by_what_they_do() {
        for (method, path, class) in [
            ("POST", "/jobs", Some(Class::Create)),
            ("POST", "/clusters/", Some(Class::Create)),
            ("POST", "/jobs/j/stop", Some(Class::Change)),
            ("DELETE", "/jobs/j", Some(Class::Change)),
            ("PUT", "/clusters/c", Some(Class::Change)),
            ("GET", "/jobs", Some(Class::Read)),
            ("POST", "/admin/accounts", None),
            ("GET", "/admin", None),
        ] {
            assert_eq!(Class::of(method, path), class, "{method} {path}");
        }
    }

    #[test]
    fn accounts_and_classes_have_buckets_of_their_own() {
        let create = Rate { per_second: 0.001, burst: 1.0 };
        let throttle = Throttle::new(ThrottleConfig { create, ..ThrottleConfig::default() });
        let (one, two) = (AccountId(1), AccountId(2));
        assert_eq!(throttle.take(one, Class::Create), Ok(()));
        assert!(throttle.take(one, Class::Create).is_err());
        assert_eq!(throttle.take(two, Class::Create), Ok(()));
        assert!((0..100).all(|_| throttle.take(one, Class::Read).is_ok()), "no rate, no bound");
    }
}
