//! Sums over rounds: medians with their range.

use serde::Serialize;
use std::{fmt, time::Duration};

/// The middle of several figures, with the smallest and the largest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one figure; `None` of none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let half = figures.len() / 2;
        let median = match figures.len() % 2 {
            1 => figures[half],
            _ => f64::midpoint(figures[half - 1], figures[half]),
        };
        Some(Self { median, min, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Three digits that mean something, whatever the size.
        let digits = if self.median.abs() >= 100.0 {
            0
        } else if self.median.abs() >= 10.0 {
            1
        } else {
            3
        };
        let Self { median, min, max } = self;
        write!(f, "{median:.digits$} ({min:.digits$} .. {max:.digits$})")
    }
}

/// Latencies: the middle, the 99th of a hundred, the longest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// Of at least one duration; `None` of none.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<f64> = times.into_iter().map(|it| it.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
        let max_ms = *times.last()?;
        Some(Self { count: times.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50_ms, p99_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, longest {max_ms:.1} ms ({count})")
    }
}

/// How far two figures are apart, as a part of the smaller.
pub fn apart(a: f64, b: f64) -> f64 {
    (a - b).abs() / a.min(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0]).expect("not empty");
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([7.0]).expect("not empty").median, 7.0);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn of_a_hundred_and_one_latencies_one_lies_beyond_the_99th() {
        let latency = Latency::of((0..=100).map(Duration::from_millis)).expect("not empty");
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.max_ms), (50.0, 99.0, 100.0));
        assert_eq!(Latency::of([]), None);
    }

    #[test]
    fn figures_show_three_digits() {
        assert_eq!(Spread::of([0.1234]).expect("one").to_string(), "0.123 (0.123 .. 0.123)");
        assert_eq!(Spread::of([1234.5]).expect("one").to_string(), "1234 (1234 .. 1234)");
    }

    #[test]
    fn apart_does_not_care_which_is_first() {
        assert!((apart(1.0, 1.1) - 0.1).abs() < 1e-9);
        assert!((apart(1.1, 1.0) - 0.1).abs() < 1e-9);
    }
}
