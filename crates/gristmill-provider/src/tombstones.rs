//! Remembers which generations were removed, so that a late request does not bring one back.
//!
//! Bounded: the oldest are forgotten. A request that is later than that many removals is not
//! expected; should it come, the worker it makes is removed by the next look at the list.

use crate::ProviderError;
use gristmill_model::{Generation, WorkerId};
use std::collections::{BTreeMap, VecDeque};

const KEPT_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    removed: BTreeMap<WorkerId, Generation>,
    order: VecDeque<WorkerId>,
}

impl Tombstones {
    /// Notes that this generation and all before it are gone for good.
    pub(crate) fn add(&mut self, worker: WorkerId, generation: Generation) {
        match self.removed.get_mut(&worker) {
            Some(known) => *known = generation.max(*known),
            None => {
                self.removed.insert(worker, generation);
                self.order.push_back(worker);
            }
        }
        if self.order.len() > KEPT_MAX {
            let oldest = self.order.pop_front();
            oldest.and_then(|worker| self.removed.remove(&worker));
        }
    }

    /// Refuses a request for a generation that was removed.
    pub(crate) fn check(&self, worker: WorkerId, asked: Generation) -> Result<(), ProviderError> {
        match self.removed.get(&worker) {
            Some(known) if asked <= *known => Err(ProviderError::Outdated { asked, known: *known }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first_and_the_newest_generation_counts() {
        let mut tombstones = Tombstones::default();
        for number in 0..=KEPT_MAX as u128 {
            tombstones.add(WorkerId(number), Generation(2));
            tombstones.add(WorkerId(number), Generation(1));
        }
        assert!(tombstones.check(WorkerId(0), Generation(1)).is_ok());
        assert!(tombstones.check(WorkerId(1), Generation(2)).is_err());
        assert!(tombstones.check(WorkerId(1), Generation(3)).is_ok());
        assert_eq!(tombstones.removed.len(), tombstones.order.len());
    }
}
