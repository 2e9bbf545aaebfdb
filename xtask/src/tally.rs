//! How many passed, failed, and were left out; over all runners.
//!
//! Two forms are understood: the result line of Rust's test programs and the last line of a
//! script, which has the same form as our own summary.

use std::{fmt, ops::AddAssign};

/// Counts of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Left out.
    pub skipped: u64,
}

impl Tally {
    /// One that passed.
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    /// One that failed.
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    /// One that was left out.
    pub const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// One check.
    pub fn of(passed: bool) -> Self {
        if passed { Self::PASSED } else { Self::FAILED }
    }

    /// Nothing failed, and something passed.
    pub fn is_good(self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub fn of_result_line(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        Self::read(counts.split("; "), "ignored")
    }

    /// Reads `3 passed, 0 failed, 1 skipped`.
    pub fn of_summary(line: &str) -> Option<Self> {
        Self::read(line.trim().split(", "), "skipped")
    }

    fn read<'a>(mut counts: impl Iterator<Item = &'a str>, left_out: &str) -> Option<Self> {
        let mut count = |word| counts.next()?.strip_suffix(word)?.strip_suffix(' ')?.parse().ok();
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count(left_out)? })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_of_test_programs_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 9 filtered \
                    out; finished in 0.00s";
        let wanted = Tally { passed: 12, failed: 3, skipped: 1 };
        assert_eq!(Tally::of_result_line(line), Some(wanted));
        assert_eq!(Tally::of_result_line("running 12 tests"), None);
        assert_eq!(Tally::of_result_line("test result: "), None);
    }

    #[test]
    fn a_summary_reads_back_what_it_shows() {
        let tally = Tally { passed: 10, failed: 0, skipped: 2 };
        assert_eq!(Tally::of_summary(&tally.to_string()), Some(tally));
        for line in
            ["", "10 passed", "x passed, 0 failed, 0 skipped", "-1 passed, 0 failed, 0 skipped"]
        {
            assert_eq!(Tally::of_summary(line), None, "{line}");
        }
    }

    #[test]
    fn nothing_run_is_not_good() {
        assert!(!Tally::default().is_good());
        assert!(!Tally::SKIPPED.is_good());
        assert!(Tally::PASSED.is_good());
        assert!(!Tally { passed: 5, failed: 1, skipped: 0 }.is_good());
    }
}
