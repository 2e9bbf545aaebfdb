//! Who is next: what waits to be done stands in a line for each account, and the lines have their turns.
//!
//! So an account whose endpoints do not answer keeps waiting itself and nobody else: of all that is done at
//! the same time it has its part at most. What nobody knows the account of has a line of its own.

use gristmill_model::AccountId;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

/// Whose line it is.
pub type Whose = Option<AccountId>;

/// The lines.
pub struct Lines<T> {
    at_once_max: usize,
    of_one_max: usize,
    waiting: BTreeMap<Whose, VecDeque<T>>,
    working: BTreeMap<Whose, usize>,
    /// Whose turn was last.
    last: Whose,
}

impl<T> Lines<T> {
    /// Empty lines: so much is done at the same time, so much of one account.
    pub fn new(at_once_max: usize, of_one_max: usize) -> Self {
        let (waiting, working) = (BTreeMap::new(), BTreeMap::new());
        Self { at_once_max, of_one_max, waiting, working, last: None }
    }

    /// Something stands in line.
    pub fn push(&mut self, whose: Whose, item: T) {
        self.waiting.entry(whose).or_default().push_back(item);
    }

    /// What is to be done now, if there is room; [`Lines::done`] says when it is.
    pub fn next(&mut self) -> Option<(Whose, T)> {
        if self.working.values().sum::<usize>() >= self.at_once_max {
            return None;
        }
        let behind = (Bound::Excluded(self.last), Bound::Unbounded);
        let up_to = (Bound::Unbounded, Bound::Included(self.last));
        let mut accounts = self.waiting.range(behind).chain(self.waiting.range(up_to));
        let has_room = |whose| self.working.get(whose).is_none_or(|it| *it < self.of_one_max);
        let whose = *accounts.find(|(whose, _)| has_room(whose))?.0;
        let line = self.waiting.get_mut(&whose)?;
        let item = line.pop_front()?;
        if line.is_empty() {
            self.waiting.remove(&whose);
        }
        *self.working.entry(whose).or_default() += 1;
        self.last = whose;
        Some((whose, item))
    }

    /// Something of this account is done.
    pub fn done(&mut self, whose: Whose) {
        if let Some(count) = self.working.get_mut(&whose) {
            *count -= 1;
            if *count == 0 {
                self.working.remove(&whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Whose = Some(AccountId(1));
    const TWO: Whose = Some(AccountId(2));

    fn all(lines: &mut Lines<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lines.next()).map(|(_, item)| item).collect()
    }

    #[test]
    fn lines_have_their_turns_and_accounts_their_part() {
        let mut lines = Lines::new(4, 2);
        (10..20).for_each(|item| lines.push(ONE, item));
        (20..22).for_each(|item| lines.push(TWO, item));
        assert_eq!(all(&mut lines), [10, 20, 11, 21], "in turn, four in all");
        lines.done(TWO);
        lines.done(TWO);
        assert!(all(&mut lines).is_empty(), "the first has its part");
        lines.push(None, 30);
        lines.push(TWO, 22);
        assert_eq!(all(&mut lines), [30, 22]);
        lines.done(ONE);
        assert_eq!(all(&mut lines), [12]);
    }

    #[test]
    fn who_is_alone_does_not_wait_for_others() {
        let mut lines = Lines::new(4, 2);
        (0..3).for_each(|item| lines.push(ONE, item));
        assert_eq!(all(&mut lines), [0, 1]);
        lines.done(ONE);
        assert_eq!(all(&mut lines), [2]);
        lines.done(ONE);
        lines.done(ONE);
        assert!(all(&mut lines).is_empty());
    }
}
