//! Whose turn it is: runs that wait for a slot of this machine, in the order in which they came.
//!
//! A slot takes one run, or several of one task that wait together: those may follow each other in one
//! sandbox without a word in between (`gristmill_runtime::Series`). Others that wait get their share
//! of the slots, and what a slot did not start comes back to the head of the queue.
//!
//! Invariants
//! - At most so many turns are out as there are slots.
//! - While a slot is free nobody waits, once [`Turns::claim`] was asked after the last change.

use crate::{runs::Begun, work::now};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

/// The most runs of one turn.
const SERIES_MAX: usize = 64;

/// The queue and the slots.
pub struct Turns {
    slots: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Begun>,
    busy: usize,
}

/// What a slot carries out: a run, and those that may follow it in its sandbox.
pub struct Turn {
    /// The run that all that happens is about.
    pub begun: Begun,
    /// Those behind it; each becomes `begun` when the one before it has ended.
    pub next: VecDeque<Begun>,
    /// When it got its turn, microseconds since 1970.
    pub since: i64,
    /// Whether nobody knows how far it came.
    pub is_lost: bool,
}

/// A slot. Free again when it is dropped, or when it found nobody waiting.
pub struct Slot {
    turns: Arc<Turns>,
    is_busy: bool,
}

impl Turns {
    /// With so many slots.
    pub fn new(slots: u32) -> Self {
        let slots = usize::try_from(slots.max(1)).unwrap_or(1);
        Self { slots, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    /// Lets a run wait.
    pub fn push(&self, begun: Begun) {
        self.state().waiting.push_back(begun);
    }

    /// These were not started: they are the next.
    pub fn give_back(&self, runs: impl IntoIterator<Item = Begun, IntoIter: DoubleEndedIterator>) {
        let mut state = self.state();
        runs.into_iter().rev().for_each(|begun| state.waiting.push_front(begun));
    }

    /// Takes out a run that waits.
    pub fn remove(&self, run: u64) -> Option<Begun> {
        let mut state = self.state();
        let place = state.waiting.iter().position(|begun| begun.run.run == run)?;
        state.waiting.remove(place)
    }

    /// Whether nobody waits and no slot works.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.busy == 0 && state.waiting.is_empty()
    }

    /// A slot, if one is free and somebody waits.
    pub fn claim(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.state();
        if state.busy >= self.slots || state.waiting.is_empty() {
            return None;
        }
        state.busy += 1;
        Some(Slot { turns: self.clone(), is_busy: true })
    }
}

impl Slot {
    /// What to carry out next: one run, or several if that is wanted. `None`: nobody waits, and the
    /// slot is free.
    pub fn next(&mut self, several: bool) -> Option<Turn> {
        let mut state = self.turns.state();
        let most = if several { SERIES_MAX } else { 1 };
        let share = state.waiting.len().div_ceil(self.turns.slots).min(most);
        let Some(begun) = state.waiting.pop_front() else {
            state.busy -= 1;
            self.is_busy = false;
            return None;
        };
        let mut next = VecDeque::new();
        while next.len() + 1 < share && state.waiting.front().is_some_and(|it| begun.leads(it)) {
            next.extend(state.waiting.pop_front());
        }
        Some(Turn { begun, next, since: now(), is_lost: false })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_busy {
            self.turns.state().busy -= 1;
        }
    }
}

impl Turn {
    /// The runs of the turn in their order.
    pub fn runs(&self) -> impl Iterator<Item = &Begun> {
        std::iter::once(&self.begun).chain(&self.next)
    }

    /// The run ended at this time, and the next one is under way.
    pub fn advance(&mut self, ended: i64) {
        if let Some(next) = self.next.pop_front() {
            (self.begun, self.since) = (next, ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::Runs;
    use gristmill_wire::agent::{Mapping, Run, Task};

    fn turns(slots: u32, tasks: &[(&Arc<Task>, u64)]) -> Arc<Turns> {
        let (turns, runs) = (Arc::new(Turns::new(slots)), Runs::default());
        for (task, run) in tasks {
            let run = Run { run: *run, task: 1, instance: 0 };
            turns.push(runs.begin((*task).clone(), run).expect("new"));
        }
        turns
    }

    fn numbers(turn: &Turn) -> Vec<u64> {
        turn.runs().map(|begun| begun.run.run).collect()
    }

    #[test]
    fn runs_of_one_task_are_one_turn_and_are_shared_out_among_the_slots() {
        let (a, b) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let turns = turns(2, &[(&a, 1), (&a, 2), (&a, 3), (&a, 4), (&b, 5), (&b, 6)]);
        let (mut one, mut other) = (turns.claim().expect("free"), turns.claim().expect("free"));
        assert!(turns.claim().is_none(), "two slots");
        assert_eq!(numbers(&one.next(true).expect("waits")), [1, 2, 3]);
        assert_eq!(numbers(&other.next(true).expect("waits")), [4], "then another task comes");
        assert_eq!(numbers(&other.next(true).expect("waits")), [5]);
        assert_eq!(numbers(&other.next(true).expect("waits")), [6]);
        assert!(one.next(true).is_none() && other.next(true).is_none());
        assert!(turns.claim().is_none(), "nobody waits");
    }

    #[test]
    fn what_needs_more_than_a_sandbox_goes_alone() {
        let mappings = vec![Mapping::default()];
        let task = Arc::new(Task { inputs: mappings, ..Task::default() });
        let turns = turns(1, &[(&task, 1), (&task, 2)]);
        assert_eq!(numbers(&turns.claim().expect("free").next(true).expect("waits")), [1]);
    }

    #[test]
    fn what_was_not_started_is_next() {
        let task = Arc::new(Task::default());
        let turns = turns(1, &[(&task, 1), (&task, 2), (&task, 3)]);
        let mut slot = turns.claim().expect("free");
        let mut turn = slot.next(true).expect("waits");
        turn.advance(5);
        assert_eq!(numbers(&turn), [2, 3]);
        turns.give_back(std::mem::take(&mut turn.next));
        assert_eq!(turns.remove(3).map(|begun| begun.run.run), Some(3));
        assert!(slot.next(true).is_none());
    }

    #[test]
    fn a_slot_that_is_dropped_is_free() {
        let task = Arc::new(Task::default());
        let turns = turns(1, &[(&task, 1)]);
        drop(turns.claim());
        assert!(turns.claim().is_some());
    }
}
