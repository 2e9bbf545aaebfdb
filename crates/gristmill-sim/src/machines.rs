//! The outside of the simulated world: a provider and the machines it makes, with an agent on
//! each.
//!
//! The provider keeps the contract of generations: what was removed does not come back, an
//! older generation than the present one is refused. Everything else may go wrong.

use crate::chance::Chance;
use gristmill_model::{
    Cause, Effect, Generation, RunId, RunOutcome, RunReport, Timestamp, WorkerId, input::Seen,
};
use std::collections::BTreeMap;

/// How often the connection of one machine may break before its sessions could be another's.
const SESSION_BITS: u32 = 16;

/// A machine by id and generation.
pub type MachineId = (WorkerId, Generation);

/// A machine with an agent.
#[derive(Debug, Default)]
pub struct Machine {
    /// Counted up each time its connection breaks; what was under way is lost with it.
    pub session: u32,
    /// Whether the server knows a connection to it.
    pub connected: bool,
    /// It never calls.
    pub mute: bool,
    /// What it runs, and results that were not acknowledged.
    pub held: BTreeMap<RunId, Held>,
    /// When the last message to the server arrives; later ones arrive later.
    pub up_at: Timestamp,
    /// When the last message from the server arrives.
    pub down_at: Timestamp,
}

/// A run on a machine.
#[derive(Debug, Clone)]
pub enum Held {
    /// Its inputs are fetched.
    Preparing,
    /// Its program runs.
    Running(Timestamp),
    /// It is over; the report waits to be acknowledged.
    Ended(RunReport),
}

impl Machine {
    /// What the agent says when it calls.
    pub fn holds(&self) -> Vec<RunId> {
        self.held.keys().copied().collect()
    }

    /// The reports that were not acknowledged.
    pub fn unacknowledged(&self) -> Vec<RunReport> {
        let ended = self.held.values().filter_map(|held| match held {
            Held::Ended(report) => Some(report.clone()),
            Held::Preparing | Held::Running(_) => None,
        });
        ended.collect()
    }

    /// The inputs of everything that runs are gone: what the agent reports of it.
    pub fn lose_inputs(&mut self, at: Timestamp) -> Vec<RunReport> {
        let mut reports = Vec::new();
        for (run, held) in &mut self.held {
            let started = match held {
                Held::Ended(_) => continue,
                Held::Preparing => None,
                Held::Running(since) => Some(*since),
            };
            let message = "the mounter ended by itself: signal 9".to_owned();
            let outcome = RunOutcome::Infrastructure { cause: Cause::Mount, message };
            let detail = String::new();
            let report = RunReport::Ended { run: *run, started, ended: at, outcome, detail };
            *held = Held::Ended(report.clone());
            reports.push(report);
        }
        reports
    }

    /// Makes the agent hold exactly `wanted`; returns what is new to it.
    pub fn assign(&mut self, wanted: &[RunId]) -> Vec<RunId> {
        self.held.retain(|run, _| wanted.contains(run));
        let new: Vec<_> =
            wanted.iter().filter(|run| !self.held.contains_key(run)).copied().collect();
        self.held.extend(new.iter().map(|run| (*run, Held::Preparing)));
        new
    }
}

/// What makes machines.
#[derive(Default)]
pub struct Provider {
    /// The machines there are.
    pub machines: BTreeMap<MachineId, Machine>,
    removed: BTreeMap<WorkerId, Generation>,
    /// How many machines were made.
    made: u32,
}

/// What came of an effect.
pub enum Outcome {
    /// Nothing to tell.
    Nothing,
    /// A new machine boots.
    Boots(MachineId),
    /// It was refused.
    Refused(Seen),
}

impl Provider {
    /// Carries out an effect; `faults`: perhaps not.
    pub fn carry_out(&mut self, effect: &Effect, chance: &mut Chance, faults: bool) -> Outcome {
        match effect {
            Effect::RemoveWorker { worker, generation } => {
                let fence = self.removed.entry(*worker).or_insert(*generation);
                *fence = (*fence).max(*generation);
                self.drop_up_to(*worker, *generation);
                Outcome::Nothing
            }
            Effect::Notify(_) => Outcome::Nothing,
            Effect::EnsureWorker(wanted) => {
                let id = (wanted.worker, wanted.generation);
                let fenced = self.removed.get(&id.0).is_some_and(|fence| *fence >= id.1);
                let newer = (id.0, Generation(id.1.0 + 1))..(id.0, Generation(u32::MAX));
                let outdated = self.machines.range(newer).next().is_some();
                if fenced || outdated || self.machines.contains_key(&id) {
                    return Outcome::Nothing;
                }
                self.make(id, chance, faults)
            }
        }
    }

    fn make(&mut self, id: MachineId, chance: &mut Chance, faults: bool) -> Outcome {
        if faults && chance.one_in(6) {
            let reason = "no room in the simulated rack".to_owned();
            return Outcome::Refused(match chance.one_in(3) {
                true => Seen::Refused { reason },
                false => Seen::NoRoom { reason },
            });
        }
        self.drop_up_to(id.0, id.1);
        let mute = faults && chance.one_in(12);
        // What is under way to a machine that is gone does not reach the one that takes its place.
        self.made += 1;
        let session = self.made << SESSION_BITS;
        self.machines.insert(id, Machine { mute, session, ..Machine::default() });
        Outcome::Boots(id)
    }

    fn drop_up_to(&mut self, worker: WorkerId, generation: Generation) {
        self.machines.retain(|(id, of), _| *id != worker || *of > generation);
    }

    /// What the provider sees of a machine.
    pub fn observe(&self, id: MachineId) -> Seen {
        if self.machines.contains_key(&id) { Seen::There } else { Seen::Gone }
    }
}

/// How a program ends.
pub fn outcome(chance: &mut Chance, faults: bool) -> RunOutcome {
    let message = || "simulated".to_owned();
    match chance.below(if faults { 40 } else { 20 }) {
        0 | 1 => RunOutcome::Exited { code: chance.between(1, 255) as i32 },
        2 => RunOutcome::Signalled { signal: 9 },
        3 => RunOutcome::TimedOut,
        4 => RunOutcome::Unable { cause: Cause::Package, message: message() },
        20 => RunOutcome::OutOfMemory,
        21 | 22 => RunOutcome::Infrastructure { cause: Cause::Upload, message: message() },
        23 => RunOutcome::Cancelled,
        _ => RunOutcome::Exited { code: 0 },
    }
}
