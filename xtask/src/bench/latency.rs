//! Many samples of one latency: percentiles.

use serde::Serialize;
use std::{fmt, time::Duration};

/// How long something took, in milliseconds, over many samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    pub samples: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// Of at least one sample; `None` of none.
    pub fn of(samples: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut samples: Vec<Duration> = samples.into_iter().collect();
        samples.sort_unstable();
        let count = samples.len();
        // The smallest sample that so many of a hundred do not exceed.
        let at = |percent: usize| {
            let place = (count * percent).div_ceil(100).saturating_sub(1);
            samples.get(place).map(|it| it.as_secs_f64() * 1e3)
        };
        Some(Self { samples: count, p50_ms: at(50)?, p99_ms: at(99)?, max_ms: at(100)? })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50_ms, p99_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.2} ms ({samples} samples)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let millis = |n: u64| Duration::from_millis(n);
        let latency = Latency::of((1..=200).rev().map(millis)).expect("there are some");
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.max_ms), (100.0, 198.0, 200.0));
        let one = Latency::of([millis(7)]).expect("there is one");
        assert_eq!((one.p50_ms, one.p99_ms), (7.0, 7.0));
        assert_eq!(Latency::of([]), None);
    }
}
