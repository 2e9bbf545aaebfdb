//! A whole region in memory, from a seed: the real core, with users, machines, agents and a
//! provider that die, lie, answer late and answer twice, and a server that is killed.
//!
//! ```text
//! seed -> chance -> messages with a virtual time -> core -> events -> referee
//! ```
//!
//! After each step `World::check` and the [`referee`]'s own books must agree with what happened.
//! At the end the faults are switched off; then every acknowledged job must reach an end.
//!
//! Invariants
//! - The same seed gives the same trace on every machine: one source of chance, ordered maps,
//!   no clock. [`Trace::digest`] tells whether two traces are equal.
//! - The core is never changed for a test. Bugs are planted around it ([`Plant`]), and a test
//!   shows that each is found.
//!
//! Start at [`run`]; `stage` holds the loop.

mod chance;
mod large;
mod machines;
mod referee;
mod region;
mod stage;
mod users;

pub use large::{Large, LargeSetup};

use gristmill_model::Event;
use std::fmt;

/// A bug planted around the core, to see that the checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// The server takes every report of an end for a result without asking the mill whether the
    /// run is current: a report given twice counts twice.
    CountTwice,
    /// The journal loses every fortieth event: a restart comes back to another world.
    LoseEvent,
    /// The server answers before the commit: a job is acknowledged and then lost.
    AnswerEarly,
}

/// One simulation.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// All chance follows from it.
    pub seed: u64,
    /// How many messages are handled before the faults stop.
    pub steps: u32,
    /// The planted bug, if any.
    pub plant: Option<Plant>,
}

/// What a simulation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trace {
    /// A hash of all events in order.
    pub digest: u64,
    /// How many events there were.
    pub events: u64,
    /// How many messages were handled.
    pub steps: u64,
    /// How many jobs were acknowledged.
    pub jobs: u64,
    /// How many instances finished.
    pub results: u64,
    /// How often the server was restarted.
    pub restarts: u64,
    /// How many machines were lost.
    pub lost: u64,
    /// How often the server's clock was set.
    pub jumps: u64,
}

/// A simulation that went wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed to repeat it with.
    pub seed: u64,
    /// At which step.
    pub step: u64,
    /// What does not fit.
    pub what: String,
    /// The last events before it, oldest first.
    pub last_events: Vec<Event>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} step {}: {}", self.seed, self.step, self.what)?;
        self.last_events.iter().try_for_each(|event| writeln!(f, "  {event:?}"))
    }
}

impl std::error::Error for Failure {}

/// How many messages [`run_many`] handles before the faults stop.
pub const STEPS: u32 = 4_000;

/// Runs one simulation without a planted bug.
pub fn run(seed: u64, steps: u32) -> Result<Trace, Failure> {
    run_with(Setup { seed, steps, plant: None })
}

/// Runs one simulation. A panic of the core is a failure like any other.
pub fn run_with(setup: Setup) -> Result<Trace, Failure> {
    stage::run(setup)
}

/// Runs `count` seeds from `first_seed` on, until one fails. The sum of what they did; the
/// digest is that of all digests.
pub fn run_many(first_seed: u64, count: u64) -> Result<Trace, Failure> {
    let mut sum = Trace::default();
    for seed in first_seed..first_seed + count {
        let trace = run(seed, STEPS)?;
        sum.digest = stage::mix(sum.digest, &trace.digest.to_le_bytes());
        sum.events += trace.events;
        sum.steps += trace.steps;
        sum.jobs += trace.jobs;
        sum.results += trace.results;
        sum.restarts += trace.restarts;
        sum.lost += trace.lost;
        sum.jumps += trace.jumps;
    }
    Ok(sum)
}
