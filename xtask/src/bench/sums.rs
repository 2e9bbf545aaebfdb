//! Sums over rounds: medians with their range.

use serde::Serialize;
use std::fmt;

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
