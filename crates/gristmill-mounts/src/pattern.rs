//! What a program's reads of one open file say about the next ones.
//!
//! [`Pattern::on_read`] takes a read and answers which bytes it needs, how far to read ahead, and
//! what may be forgotten. It does no I/O and knows no memory: the caller says how wide the window
//! may be (`reference/mounts.md` 4.1).
//!
//! ```text
//! small        the whole object at once
//! probe        aligned blocks around what was asked
//!   | a read in order
//! sequential   a window ahead that doubles with each window consumed
//!   | a seek out of the window
//! probe        everything forgotten
//! ```
//!
//! Invariants
//! - What is needed always covers what was asked, inside the file.
//! - Random reads of 4 KiB fetch at most 16 times what they ask for.

use std::ops::Range;

/// Objects up to this size are fetched whole.
pub const SMALL_MAX: u64 = 1 << 20;

/// The grain of what is fetched around a probing read.
pub const PROBE_BYTES: u64 = 64 << 10;

/// How far the second read may be off and still open the window; at most its own length.
const SLACK_BYTES: u64 = 128 << 10;

/// How far ahead a read may jump without closing the window.
const AHEAD_BYTES: u64 = 1 << 20;

/// How far back a read may lie without closing the window; so much is also kept behind. The
/// kernel has two readaheads of 1 MiB under way, and they reach us in any order.
const BEHIND_BYTES: u64 = (2 << 20) + SLACK_BYTES;

/// The first window. The odd part: the kernel's readahead asks 128 KiB beyond a read of 1 MiB,
/// and without it the second request would stall the first.
const WINDOW_FIRST: u64 = (1 << 20) + (128 << 10);

/// The widest window.
pub const WINDOW_MAX: u64 = 64 << 20;

/// The largest range asked for in one request.
pub const REQUEST_BYTES_MAX: u64 = 8 << 20;

/// The reads of one open file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    size: u64,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Small,
    Fresh,
    Probe { end: u64 },
    Sequential { cursor: u64, window: u64, consumed_from: u64 },
}

/// What to do for a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Fetch these bytes now, unless they are there.
    pub need: Range<u64>,
    /// Have everything up to here under way; equal to the end of `need` when nothing is to be
    /// read ahead.
    pub ahead_to: u64,
    /// Ask for what is ahead only when at least so much is missing, or the file ends.
    pub ahead_grain: u64,
    /// Forget everything before.
    pub keep_from: u64,
    /// Forget everything that is not needed now.
    pub seek: bool,
}

impl Pattern {
    /// No read yet, of a file of `size` bytes.
    pub fn new(size: u64) -> Self {
        let state = if size <= SMALL_MAX { State::Small } else { State::Fresh };
        Self { size, state }
    }

    /// Whether a window is open.
    pub fn is_sequential(&self) -> bool {
        matches!(self.state, State::Sequential { .. })
    }

    /// Takes a read of `asked` (not empty, inside the file). The window may be `window_max` wide.
    pub fn on_read(&mut self, asked: Range<u64>, window_max: u64) -> Plan {
        let seek = match &self.state {
            State::Small | State::Fresh => false,
            State::Probe { end } => {
                // Two small reads that happen to be close are no stream yet.
                let slack = (asked.end - asked.start).min(SLACK_BYTES);
                if is_between(asked.start, *end, slack, slack) {
                    self.state = State::Sequential {
                        cursor: *end,
                        window: WINDOW_FIRST,
                        consumed_from: *end,
                    };
                }
                !self.is_sequential()
            }
            State::Sequential { cursor, .. } => {
                !is_between(asked.start, *cursor, BEHIND_BYTES, AHEAD_BYTES)
            }
        };
        if seek {
            self.state = State::Fresh;
        }
        match &mut self.state {
            State::Small => self.plan(0..self.size, 0, false),
            State::Sequential { cursor, window, consumed_from } => {
                *cursor = asked.end.max(*cursor);
                if *cursor - *consumed_from >= *window {
                    *window = (*window * 2).min(WINDOW_MAX);
                    *consumed_from = *cursor;
                }
                let (cursor, window) = (*cursor, (*window).min(window_max));
                let behind = BEHIND_BYTES.min(window_max);
                let plan = self.plan(asked, cursor.saturating_sub(behind), false);
                Plan {
                    ahead_to: (cursor + window).min(self.size).max(plan.need.end),
                    ahead_grain: (window / 2).clamp(PROBE_BYTES, REQUEST_BYTES_MAX),
                    ..plan
                }
            }
            State::Fresh | State::Probe { .. } => {
                self.state = State::Probe { end: asked.end };
                self.plan(asked, 0, seek)
            }
        }
    }

    fn plan(&self, asked: Range<u64>, keep_from: u64, seek: bool) -> Plan {
        let start = asked.start / PROBE_BYTES * PROBE_BYTES;
        let end = asked.end.next_multiple_of(PROBE_BYTES).min(self.size);
        Plan { need: start..end, ahead_to: end, ahead_grain: 0, keep_from, seek }
    }
}

fn is_between(start: u64, cursor: u64, behind: u64, ahead: u64) -> bool {
    (cursor.saturating_sub(behind)..=cursor.saturating_add(ahead)).contains(&start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KB: u64 = 1 << 10;
    const MB: u64 = 1 << 20;
    const GB: u64 = 1 << 30;

    /// Reads in order; what each plans as (need, ahead_to), in KiB.
    fn plans(size: u64, window_max: u64, reads: &[Range<u64>]) -> Vec<(Range<u64>, u64)> {
        let mut pattern = Pattern::new(size);
        let plan = |read: &Range<u64>| pattern.on_read(read.start * KB..read.end * KB, window_max);
        let plans = reads.iter().map(plan);
        plans.map(|plan| (plan.need.start / KB..plan.need.end / KB, plan.ahead_to / KB)).collect()
    }

    #[test]
    fn a_small_object_is_needed_whole() {
        assert_eq!(plans(MB, GB, &[4..8, 500..504]), [(0..1024, 1024), (0..1024, 1024)]);
    }

    #[test]
    fn a_first_read_and_a_seek_fetch_aligned_blocks_only() {
        let got = plans(GB, GB, &[4..8, 5000..5004, 60..70, 90_000..91_024]);
        let expected = [(0..64, 64), (4992..5056, 5056), (0..128, 128), (89_984..91_072, 91_072)];
        assert_eq!(got, expected);
    }

    #[test]
    fn the_second_read_in_order_opens_a_window_that_doubles() {
        let reads: Vec<Range<u64>> = (0..40).map(|n| n * 128..(n + 1) * 128).collect();
        let ahead: Vec<u64> =
            plans(GB, GB, &reads).iter().map(|(need, to)| to - need.end).collect();
        assert_eq!(ahead[0], 0);
        assert_eq!(ahead[1], 1152);
        assert_eq!(ahead[9], 2304, "after the first window was read");
        assert!(ahead[30] >= 4608, "{ahead:?}");
    }

    #[test]
    fn the_window_keeps_to_its_bounds() {
        let reads: Vec<Range<u64>> = (0..2000).map(|n| n * 128..(n + 1) * 128).collect();
        let ahead = |max| plans(GB, max, &reads).iter().map(|(need, to)| to - need.end).max();
        assert_eq!(ahead(GB), Some(WINDOW_MAX / KB));
        assert_eq!(ahead(3 * MB), Some(3 * 1024));
        let near_end = plans(2 * MB, GB, &[0..128, 128..256, 256..384]);
        assert_eq!(near_end[2].1, 1536);
        assert_eq!(plans(2 * MB, GB, &[1792..1920, 1920..2048])[1], (1920..2048, 2048));
    }

    #[test]
    fn reads_a_little_out_of_order_leave_the_window_open() {
        let mut pattern = Pattern::new(GB);
        for start in [0, 128, 1024, 256, 2048, 1152, 900] {
            pattern.on_read(start * KB..(start + 128) * KB, GB);
        }
        assert!(pattern.is_sequential());
        let plan = pattern.on_read(4000 * KB..4004 * KB, GB);
        assert!(plan.seek && !pattern.is_sequential());
        assert_eq!(plan.need, 3968 * KB..4032 * KB);
    }

    #[test]
    fn two_readaheads_are_kept_behind() {
        let mut pattern = Pattern::new(GB);
        let plans: Vec<Plan> = (0..4).map(|n| pattern.on_read(n * MB..(n + 1) * MB, GB)).collect();
        let kept: Vec<u64> = plans.iter().map(|plan| plan.keep_from / KB).collect();
        assert_eq!(kept, [0, 0, 896, 1920]);
        let mut poor = Pattern::new(GB);
        let keep_from = (0..4).map(|n| poor.on_read(n * MB..(n + 1) * MB, 512 * KB).keep_from);
        assert_eq!(keep_from.last(), Some(4 * MB - 512 * KB), "less when memory is short");
    }

    #[test]
    fn every_plan_covers_what_was_asked_inside_the_file() {
        let size = 10 * MB + 12_345;
        let mut pattern = Pattern::new(size);
        let mut state = 9_u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let start = (state >> 20) % size;
            let end = (start + (state % 300_000) + 1).min(size);
            let plan = pattern.on_read(start..end, 4 * MB);
            assert!(plan.need.start <= start && plan.need.end >= end && plan.need.end <= size);
            assert!(plan.ahead_to >= plan.need.end && plan.ahead_to <= size);
        }
    }
}
