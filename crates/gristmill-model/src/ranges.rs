//! Sets of instance numbers kept as ranges, so that a million instances nobody touched cost
//! sixteen bytes.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A set of `u32` kept as sorted, disjoint, non-adjacent, non-empty half-open ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeSet(Vec<Range<u32>>);

impl RangeSet {
    /// The set of all numbers below `end`.
    pub fn below(end: u32) -> Self {
        Self(if end == 0 { Vec::new() } else { vec![Range { start: 0, end }] })
    }

    /// How many numbers are in the set.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest number in the set.
    pub fn first(&self) -> Option<u32> {
        self.0.first().map(|range| range.start)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[Range<u32>] {
        &self.0
    }

    /// The numbers from `start` on, ascending.
    pub fn iter_from(&self, start: u32) -> impl Iterator<Item = u32> + '_ {
        let skip = self.0.partition_point(|range| range.end <= start);
        self.0[skip..].iter().flat_map(move |range| range.start.max(start)..range.end)
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter_from(0)
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|range| range.end <= number);
        self.0.get(at).is_some_and(|range| range.start <= number)
    }

    /// Adds `number`. Returns whether it was new.
    pub fn insert(&mut self, number: u32) -> bool {
        assert!(number < u32::MAX, "the largest number has no half-open range");
        let at = self.0.partition_point(|range| range.end < number);
        match self.0.get_mut(at) {
            Some(range) if range.contains(&number) => return false,
            Some(range) if range.end == number => {
                range.end += 1;
                self.join(at);
            }
            Some(range) if range.start == number + 1 => range.start = number,
            _ => self.0.insert(at, Range { start: number, end: number + 1 }),
        }
        true
    }

    /// Takes `number` out. Returns whether it was there.
    pub fn remove(&mut self, number: u32) -> bool {
        let at = self.0.partition_point(|range| range.end <= number);
        let Some(range) = self.0.get_mut(at).filter(|range| range.start <= number) else {
            return false;
        };
        let Range { start, end } = range.clone();
        match (start == number, end == number + 1) {
            (true, true) => drop(self.0.remove(at)),
            (true, false) => range.start += 1,
            (false, true) => range.end -= 1,
            (false, false) => {
                range.end = number;
                self.0.insert(at + 1, Range { start: number + 1, end });
            }
        }
        true
    }

    /// Adds the numbers of a range that lies behind all that are in the set.
    pub fn push(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            last => {
                assert!(
                    last.is_none_or(|last| last.end < range.start),
                    "ranges are pushed in order"
                );
                self.0.push(range);
            }
        }
    }

    /// Whether everything in `other` is in the set.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|wanted| {
            let at = self.0.partition_point(|range| range.end <= wanted.start);
            self.0.get(at).is_some_and(|it| it.start <= wanted.start && wanted.end <= it.end)
        })
    }

    /// What is in both sets.
    pub fn common(&self, other: &Self) -> Self {
        let mut common = Self::default();
        for range in &other.0 {
            let at = self.0.partition_point(|it| it.end <= range.start);
            for it in self.0[at..].iter().take_while(|it| it.start < range.end) {
                common.push(it.start.max(range.start)..it.end.min(range.end));
            }
        }
        common
    }

    /// The smallest `count` numbers, or all if there are fewer.
    pub fn smallest(&self, count: u32) -> Self {
        let (mut some, mut left) = (Self::default(), count);
        for range in &self.0 {
            let taken = left.min(range.end - range.start);
            some.push(range.start..range.start + taken);
            left -= taken;
            if left == 0 {
                break;
            }
        }
        some
    }

    /// Takes everything out that is in `other`.
    pub fn subtract(&mut self, other: &Self) {
        for gone in &other.0 {
            let first = self.0.partition_point(|range| range.end <= gone.start);
            let last = self.0.partition_point(|range| range.start < gone.end);
            if first >= last {
                continue;
            }
            let left = self.0[first].start..gone.start;
            let right = gone.end..self.0[last - 1].end;
            let kept = [left, right].into_iter().filter(|range| range.start < range.end);
            self.0.splice(first..last, kept);
        }
    }

    /// Adds everything that is in `other`.
    pub fn extend(&mut self, other: &Self) {
        let mut all: Vec<_> = self.0.drain(..).chain(other.0.iter().cloned()).collect();
        all.sort_by_key(|range| range.start);
        for range in all {
            match self.0.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => self.0.push(range),
            }
        }
    }

    /// Joins the range at `at` with its right neighbour when they touch.
    fn join(&mut self, at: usize) {
        if self.0.get(at + 1).is_some_and(|next| next.start == self.0[at].end) {
            self.0[at].end = self.0.remove(at + 1).end;
        }
    }
}

impl FromIterator<u32> for RangeSet {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut set = Self::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn behaves_like_an_ordinary_set() {
        let mut model = BTreeSet::new();
        let mut set = RangeSet::default();
        let mut state = 0x1234_5678_u32;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (state >> 8) % 200;
            if state >> 31 == 0 {
                assert_eq!(set.insert(number), model.insert(number));
            } else {
                assert_eq!(set.remove(number), model.remove(&number));
            }
            assert_eq!(set.len() as usize, model.len());
            assert_eq!(set.contains(number), model.contains(&number));
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
        assert_eq!(
            set.iter_from(77).collect::<Vec<_>>(),
            model.range(77..).copied().collect::<Vec<_>>()
        );
        assert!(set.ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
        assert!(set.ranges().iter().all(|range| range.start < range.end));
    }

    #[test]
    fn whole_sets_are_taken_out_and_compared_like_ordinary_ones() {
        let mut state = 7_u32;
        let mut some = || {
            let mut set = BTreeSet::new();
            for _ in 0..30 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                set.insert((state >> 8) % 60);
            }
            set
        };
        for count in 0..500_u32 {
            let (left, right) = (some(), some());
            let as_ranges = |set: &BTreeSet<u32>| set.iter().copied().collect::<RangeSet>();
            let (mut ranges, other) = (as_ranges(&left), as_ranges(&right));
            assert_eq!(ranges.common(&other), as_ranges(&(&left & &right)));
            assert_eq!(ranges.contains_all(&other), right.is_subset(&left));
            assert!(ranges.contains_all(&ranges.common(&other)));
            let few: BTreeSet<u32> = left.iter().copied().take(count as usize % 40).collect();
            assert_eq!(ranges.smallest(count % 40), as_ranges(&few));
            ranges.subtract(&other);
            assert_eq!(ranges, as_ranges(&(&left - &right)));
        }
    }

    #[test]
    fn union_joins_what_touches() {
        let mut set: RangeSet = [1, 2, 7].into_iter().collect();
        set.extend(&[3, 4, 8].into_iter().collect());
        assert_eq!(set.ranges(), [Range { start: 1, end: 5 }, Range { start: 7, end: 9 }]);
    }

    #[test]
    fn a_million_cost_one_range() {
        assert_eq!(RangeSet::below(1_000_000).ranges().len(), 1);
        assert!(RangeSet::below(0).is_empty());
    }
}
