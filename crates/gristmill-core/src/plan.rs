//! Proposes which waiting instances run on which machines.
//!
//! [`plan`] reads a snapshot and returns proposals; it changes nothing. The snapshot may be old
//! when the plan arrives, so `decide` checks each proposal again and drops the stale ones.
//!
//! Invariants
//! - No machine is promised more than it has room for; no instance is promised twice.
//! - Within a cluster: higher priority first, then the older job, then the task's name, then the
//!   instance's number. The emptiest machine first, so that work spreads.
//! - The same snapshot gives the same plan: ordered maps, ties broken by id.
//! - The cost is that of what can be placed. Jobs that have nothing to place, machines that are
//!   full and clusters where nobody waits are not looked at.

use crate::world::World;
use gristmill_model::{ClusterId, InstanceNo, Timestamp, WorkerId, input::Proposal};
use std::{cmp::Reverse, collections::BinaryHeap, iter::Peekable};

/// Proposes at most `budget` placements.
///
/// The time is not looked at yet: it is an argument so that rules about waiting time can come
/// without touching the callers.
pub fn plan(world: &World, _now: Timestamp, budget: usize) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    for cluster in &world.matchable {
        if proposals.len() >= budget {
            break;
        }
        plan_cluster(world, *cluster, budget, &mut proposals);
    }
    proposals
}

fn plan_cluster(world: &World, cluster: ClusterId, budget: usize, proposals: &mut Vec<Proposal>) {
    let mut room = Room::of(world, cluster);
    for turn in &world.queues[&cluster] {
        for number in world.jobs[&turn.job].tasks[&turn.task].waiting.iter() {
            if proposals.len() >= budget {
                return;
            }
            let Some(worker) = room.take() else { return };
            let (job, task, instance) = (turn.job, turn.task.clone(), InstanceNo(number));
            proposals.push(Proposal { job, task, instance, worker });
        }
    }
}

/// The machines with room, emptiest first, as they fill up. Machines are taken from the
/// world's index one by one, so a plan of ten placements does not look at ten thousand.
struct Room<I: Iterator<Item = (u32, WorkerId)>> {
    untouched: Peekable<I>,
    touched: BinaryHeap<Reverse<(u32, WorkerId)>>,
    slots: u32,
}

impl Room<std::iter::Empty<(u32, WorkerId)>> {
    fn of(world: &World, cluster: ClusterId) -> Room<impl Iterator<Item = (u32, WorkerId)> + '_> {
        Room {
            untouched: world.free[&cluster].iter().copied().peekable(),
            touched: BinaryHeap::new(),
            slots: world.options.slots_per_worker,
        }
    }
}

impl<I: Iterator<Item = (u32, WorkerId)>> Room<I> {
    fn take(&mut self) -> Option<WorkerId> {
        let touched = self.touched.peek().map(|Reverse(next)| *next);
        let (used, worker) = match (self.untouched.peek().copied(), touched) {
            (Some(untouched), Some(touched)) if touched < untouched => self.pop_touched()?,
            (Some(_), _) => self.untouched.next()?,
            (None, _) => self.pop_touched()?,
        };
        if used + 1 < self.slots {
            self.touched.push(Reverse((used + 1, worker)));
        }
        Some(worker)
    }

    fn pop_touched(&mut self) -> Option<(u32, WorkerId)> {
        self.touched.pop().map(|Reverse(next)| next)
    }
}
