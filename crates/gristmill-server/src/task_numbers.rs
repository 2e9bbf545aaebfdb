//! Which tasks an agent was told about on its line, and under which number.
//!
//! A task is told once and then named by its number. Both ends forget: when [`KEPT_MAX`] tasks are
//! known, those without a run are dropped here and their numbers are given again, and the agent
//! puts the new task in the place of the old one. So neither end grows with the number of tasks a
//! machine has seen.

use gristmill_model::{JobId, TaskName};
use std::collections::{BTreeMap, BTreeSet};

/// A task of a job.
pub type TaskKey = (JobId, TaskName);

/// Tasks that are remembered although nothing of them runs.
const KEPT_MAX: usize = 256;

/// The numbers of one line.
#[derive(Debug, Default)]
pub struct TaskNumbers {
    told: BTreeMap<TaskKey, u32>,
    /// Numbers that were given before and are nobody's now.
    free: BTreeSet<u32>,
}

impl TaskNumbers {
    /// The number of a task that was told.
    pub fn get(&self, key: &TaskKey) -> Option<u32> {
        self.told.get(key).copied()
    }

    /// A number for a task that is told next. `running` are the tasks whose numbers must stay.
    pub fn give(&mut self, key: TaskKey, running: impl Iterator<Item = TaskKey>) -> u32 {
        if self.told.len() >= KEPT_MAX {
            let running: BTreeSet<TaskKey> = running.collect();
            let gone = self.told.extract_if(.., |key, _| !running.contains(key));
            self.free.extend(gone.map(|(_, number)| number));
        }
        let number = self.free.pop_first().unwrap_or_else(|| self.first_new());
        self.told.insert(key, number);
        number
    }

    /// Takes a number back that was not told after all.
    pub fn forget(&mut self, key: &TaskKey) {
        self.free.extend(self.told.remove(key));
    }

    /// The first that was never given: all below it are told or free.
    fn first_new(&self) -> u32 {
        u32::try_from(self.told.len() + self.free.len()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(number: u64) -> TaskKey {
        (JobId(number.into()), "only".parse().expect("legal"))
    }

    #[test]
    fn a_task_keeps_its_number_while_it_is_known() {
        let mut numbers = TaskNumbers::default();
        assert_eq!(numbers.give(task(1), std::iter::empty()), 1);
        assert_eq!(numbers.give(task(2), std::iter::empty()), 2);
        assert_eq!((numbers.get(&task(1)), numbers.get(&task(3))), (Some(1), None));
        numbers.forget(&task(1));
        assert_eq!((numbers.get(&task(1)), numbers.give(task(3), std::iter::empty())), (None, 1));
    }

    #[test]
    fn numbers_of_ended_tasks_are_given_again_and_those_of_running_ones_stay() {
        let mut numbers = TaskNumbers::default();
        for at in 0..2_000 {
            let running = || [task(7), task(300)].into_iter();
            let number = numbers.give(task(at), running());
            assert!(number as usize <= KEPT_MAX, "{number}");
            assert!(numbers.told.len() <= KEPT_MAX);
            assert_eq!(numbers.get(&task(7)), (at >= 7).then_some(8));
        }
        let distinct: BTreeSet<_> = numbers.told.values().collect();
        assert_eq!(distinct.len(), numbers.told.len());
        assert!(numbers.get(&task(300)).is_some());
    }
}
