//! Proposes which waiting instances run on which machines.
//!
//! [`plan`] reads a snapshot and returns proposals; it changes nothing. The snapshot may be old
//! when the plan arrives, so `decide` checks each proposal again and drops the stale ones.
//!
//! Invariants
//! - No machine is promised more than it has room for; no instance is promised twice.
//! - An attached task gets machines of its lane first, then the cluster's own if they look alike.
//! - Within a cluster: higher priority first, then the older job, then the task's name, then the
//!   instance's number. The emptiest machine first, so that work spreads; what a machine gets of
//!   a task in one pass are neighbours, so that they travel as one.
//! - A machine gets more than it can execute at once only of tasks whose programs are short.
//! - The same snapshot gives the same plan: ordered maps, ties broken by id.
//! - The cost is that of what can be placed. Jobs that have nothing to place, machines that are
//!   full and clusters where nobody waits are not looked at.

use crate::{
    lanes::Pool,
    world::{Turn, World},
};
use gristmill_model::{ClusterId, RangeSet, Timestamp, WorkerId, input::Proposal};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    iter::Peekable,
};

/// Proposes at most `budget` placements: a proposal is as many as it has instances.
///
/// The time is not looked at yet: it is an argument so that rules about waiting time can come
/// without touching the callers.
pub fn plan(world: &World, _now: Timestamp, budget: usize) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    let mut left = u32::try_from(budget).unwrap_or(u32::MAX);
    for cluster in &world.matchable {
        if left == 0 {
            break;
        }
        plan_cluster(world, *cluster, &mut left, &mut proposals);
    }
    proposals
}

fn plan_cluster(world: &World, cluster: ClusterId, left: &mut u32, proposals: &mut Vec<Proposal>) {
    let mut own = Room::of(world, &Pool::own(cluster));
    let mut lines = lines(world, cluster);
    while *left > 0
        && let Some((number, turn)) = first_turn(&mut lines)
    {
        let line = &mut lines[number];
        let task = &world.jobs[&turn.job].tasks[&turn.task];
        let (wanted, pace) = (task.waiting.len(), task.pace);
        let mut shares: BTreeMap<WorkerId, u32> = BTreeMap::new();
        let mut given = 0;
        while given < wanted.min(*left) {
            let lane = line.lane.as_mut().and_then(|lane| lane.take(pace));
            let taken = lane.or_else(|| if line.shares_own { own.take(pace) } else { None });
            let Some(worker) = taken else { break };
            *shares.entry(worker).or_default() += 1;
            given += 1;
        }
        *left -= given;
        deal(turn, &task.waiting, shares, proposals);
        // What comes later in the queue does not pass what is left of this task.
        if given < wanted {
            lines.swap_remove(number);
        }
    }
}

/// The tasks that wait for one pool of machines, and the machines only they may have.
struct Line<'a> {
    turns: Peekable<Turns<'a>>,
    lane: Option<Room<'a>>,
    shares_own: bool,
}

type Turns<'a> = imbl::ordset::Iter<'a, Turn, imbl::shared_ptr::DefaultSharedPtr>;
type Free<'a> = imbl::ordset::Iter<'a, (u32, WorkerId), imbl::shared_ptr::DefaultSharedPtr>;

fn lines(world: &World, cluster: ClusterId) -> Vec<Line<'_>> {
    let queues = world.queues.range(Pool::own(cluster)..);
    let queues = queues.take_while(|(pool, _)| pool.cluster == cluster);
    queues
        .map(|(pool, turns)| Line {
            turns: turns.iter().peekable(),
            lane: pool.lane.is_some().then(|| Room::of(world, pool)),
            shares_own: world.shares_own(pool),
        })
        .collect()
}

/// The task that comes first, and the line it comes from.
fn first_turn<'a>(lines: &mut [Line<'a>]) -> Option<(usize, &'a Turn)> {
    let heads = lines.iter_mut().enumerate();
    let heads = heads.filter_map(|(number, line)| Some((*line.turns.peek()?, number)));
    let (turn, number) = heads.min()?;
    lines[number].turns.next();
    Some((number, turn))
}

/// Gives each machine its share of the smallest numbers that wait, in one piece where it can be.
fn deal(
    turn: &Turn,
    waiting: &RangeSet,
    shares: BTreeMap<WorkerId, u32>,
    proposals: &mut Vec<Proposal>,
) {
    let mut ranges = waiting.ranges().iter().cloned();
    let mut range = 0..0;
    for (worker, mut share) in shares {
        let mut instances = RangeSet::default();
        while share > 0 {
            if range.is_empty() {
                range = ranges.next().expect("no more is dealt than waits");
            }
            let end = range.end.min(range.start.saturating_add(share));
            share -= end - range.start;
            instances.push(range.start..end);
            range.start = end;
        }
        proposals.push(Proposal { job: turn.job, task: turn.task.clone(), instances, worker });
    }
}

/// The machines with room, emptiest first, as they fill up. Machines are taken from the
/// world's index one by one, so a plan of ten placements does not look at ten thousand.
struct Room<'a> {
    world: &'a World,
    untouched: Option<Peekable<Free<'a>>>,
    touched: BinaryHeap<Reverse<(u32, WorkerId)>>,
}

impl<'a> Room<'a> {
    fn of(world: &'a World, pool: &Pool) -> Self {
        let untouched = world.free.get(pool).map(|free| free.iter().peekable());
        Self { world, untouched, touched: BinaryHeap::new() }
    }

    /// A place for a run of a task with this pace. A machine that is full for the task may have
    /// room for one with shorter programs, so it stays.
    fn take(&mut self, pace: Option<u32>) -> Option<WorkerId> {
        let touched = self.touched.peek().map(|Reverse(next)| *next);
        let untouched = self.untouched.as_mut().and_then(|rest| rest.peek().copied().copied());
        let (used, worker) = match (untouched, touched) {
            (Some(untouched), Some(touched)) => untouched.min(touched),
            (untouched, touched) => untouched.or(touched)?,
        };
        let ahead = self.world.workers[&worker].ahead;
        if used >= self.world.options.room_for(pace, ahead) {
            return None;
        }
        if untouched == Some((used, worker)) {
            self.untouched.as_mut().and_then(Iterator::next);
        } else {
            self.touched.pop();
        }
        if used + 1 < self.world.options.slots_per_worker + ahead {
            self.touched.push(Reverse((used + 1, worker)));
        }
        Some(worker)
    }
}
