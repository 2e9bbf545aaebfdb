//! Proposes which waiting instances run on which machines.
//!
//! [`plan`] reads a snapshot and returns proposals; it changes nothing. The snapshot may be old
//! when the plan arrives, so `decide` checks each proposal again and drops the stale ones.
//!
//! Invariants
//! - No machine is promised more than it has room for; no instance is promised twice.
//! - A plan that may not place everything places as much for each account: who has less to place
//!   leaves the rest to the others.
//! - An attached task gets machines of its lane first, then the cluster's own if they look alike.
//! - Within a cluster: higher priority first, then the older job, then the task's name, then the
//!   instance's number. The emptiest machine first, so that work spreads; what a machine gets of
//!   a task in one pass are neighbours, so that they travel as one.
//! - A machine gets more than it can execute at once only of tasks whose programs are short.
//! - The same snapshot gives the same plan: ordered maps, ties broken by id.
//! - The cost is that of what can be placed. Jobs that have nothing to place, machines that are
//!   full and clusters where nobody waits are not looked at.
//!
//! Start at [`plan`]; [`Site`] is one cluster.

use crate::{
    job::Task,
    lanes::Pool,
    world::{Turn, World},
};
use gristmill_model::{AccountId, ClusterId, RangeSet, Timestamp, WorkerId, input::Proposal};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    iter::{Cloned, Peekable},
    ops::Range,
    slice,
};

/// Proposes at most `budget` placements: a proposal is as many as it has instances.
///
/// The time is not looked at yet: it is an argument so that rules about waiting time can come
/// without touching the callers.
pub fn plan(world: &World, _now: Timestamp, budget: usize) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    let mut left = u32::try_from(budget).unwrap_or(u32::MAX);
    let mut accounts = sites_by_account(world);
    while left > 0 && !accounts.is_empty() {
        let mut waiting = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
        accounts.retain_mut(|sites| {
            let share = left.div_ceil(waiting);
            let unused = plan_account(sites, share, &mut proposals);
            left -= share - unused;
            waiting -= 1;
            !sites.is_empty()
        });
    }
    proposals
}

/// The clusters with something to place, by owner.
fn sites_by_account(world: &World) -> Vec<Vec<Site<'_>>> {
    let mut sites: BTreeMap<AccountId, Vec<Site>> = BTreeMap::new();
    for id in &world.matchable {
        let account = world.clusters[id].account;
        sites.entry(account).or_default().push(Site::of(world, *id));
    }
    sites.into_values().collect()
}

/// Places at most `share` instances of an account. Clusters that are done with leave `sites`.
/// Returns what is left of the share.
fn plan_account(sites: &mut Vec<Site>, share: u32, proposals: &mut Vec<Proposal>) -> u32 {
    let mut left = share;
    sites.retain_mut(|site| left == 0 || !site.plan(&mut left, proposals));
    left
}

/// A cluster as it fills up.
struct Site<'a> {
    own: Room<'a>,
    lines: Vec<Line<'a>>,
}

/// The tasks that wait for one pool of machines, and the machines only they may have.
struct Line<'a> {
    world: &'a World,
    turns: Turns<'a>,
    /// What is left of the task whose turn it is.
    head: Option<Hand<'a>>,
    lane: Option<Room<'a>>,
    shares_own: bool,
}

type Turns<'a> = imbl::ordset::Iter<'a, Turn, imbl::shared_ptr::DefaultSharedPtr>;
type Free<'a> = imbl::ordset::Iter<'a, (u32, WorkerId), imbl::shared_ptr::DefaultSharedPtr>;

impl<'a> Site<'a> {
    fn of(world: &'a World, cluster: ClusterId) -> Self {
        let queues = world.queues.range(Pool::own(cluster)..);
        let queues = queues.take_while(|(pool, _)| pool.cluster == cluster);
        let lines = queues.map(|(pool, turns)| Line {
            world,
            turns: turns.iter(),
            head: None,
            lane: pool.lane.is_some().then(|| Room::of(world, pool)),
            shares_own: world.shares_own(pool),
        });
        Self { own: Room::of(world, &Pool::own(cluster)), lines: lines.collect() }
    }

    /// Places as long as something of `left` is left. Whether it came to an end before.
    fn plan(&mut self, left: &mut u32, proposals: &mut Vec<Proposal>) -> bool {
        while *left > 0 {
            let heads = self.lines.iter_mut().enumerate();
            let heads = heads.filter_map(|(number, line)| Some((line.head()?.turn, number)));
            let Some((_, number)) = heads.min() else { return true };
            if !self.lines[number].place(&mut self.own, left, proposals) {
                // What comes later in the queue does not pass what is left of this task.
                self.lines.swap_remove(number);
            }
        }
        false
    }
}

impl<'a> Line<'a> {
    /// The task whose turn it is.
    fn head(&mut self) -> Option<&Hand<'a>> {
        if self.head.as_ref().is_none_or(Hand::is_empty) {
            self.head = self.turns.next().map(|turn| Hand::of(self.world, turn));
        }
        self.head.as_ref()
    }

    /// Places what it can of the head. Whether all of it, or as much as is left, found a place.
    fn place(&mut self, own: &mut Room<'a>, left: &mut u32, proposals: &mut Vec<Proposal>) -> bool {
        let Self { head: Some(hand), lane, shares_own, .. } = self else { return false };
        let wanted = hand.left.min(*left);
        let pace = hand.task.pace;
        let mut shares: BTreeMap<WorkerId, u32> = BTreeMap::new();
        let mut given = 0;
        while given < wanted {
            let own = || if *shares_own { own.take(pace) } else { None };
            let Some(worker) = lane.as_mut().and_then(|lane| lane.take(pace)).or_else(own) else {
                break;
            };
            *shares.entry(worker).or_default() += 1;
            given += 1;
        }
        *left -= given;
        hand.deal(shares, proposals);
        given == wanted
    }
}

/// A task's waiting instances, dealt from the smallest number on.
struct Hand<'a> {
    turn: &'a Turn,
    task: &'a Task,
    left: u32,
    ranges: Cloned<slice::Iter<'a, Range<u32>>>,
    range: Range<u32>,
}

impl<'a> Hand<'a> {
    fn of(world: &'a World, turn: &'a Turn) -> Self {
        let task = &world.jobs[&turn.job].tasks[&turn.task];
        let ranges = task.waiting.ranges().iter().cloned();
        Self { turn, task, left: task.waiting.len(), ranges, range: 0..0 }
    }

    fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Gives each machine its share, in one piece where it can be.
    fn deal(&mut self, shares: BTreeMap<WorkerId, u32>, proposals: &mut Vec<Proposal>) {
        for (worker, mut share) in shares {
            self.left -= share;
            let mut instances = RangeSet::default();
            while share > 0 {
                if self.range.is_empty() {
                    self.range = self.ranges.next().expect("no more is dealt than waits");
                }
                let Range { start, end } = self.range.clone();
                let end = end.min(start.saturating_add(share));
                share -= end - start;
                instances.push(start..end);
                self.range.start = end;
            }
            let Turn { job, task, .. } = self.turn;
            proposals.push(Proposal { job: *job, task: task.clone(), instances, worker });
        }
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
