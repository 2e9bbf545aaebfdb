//! Runs many simulated regions, one per seed, on all cores. The first seed that goes wrong is shown
//! with its last events; running it alone gives the same again.

use clap::{Args, ValueEnum};
use gristmill_sim::{Failure, Plant, STEPS, Setup, Trace, run_with};
use std::{
    num::NonZeroU32,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

/// How often it is said how far it got.
const SEEDS_PER_LINE: u64 = 100;

/// Far enough from the largest number that counting on never runs over.
const SEED_MAX: u64 = 1 << 62;

/// Which simulations.
#[derive(Debug, Clone, Args)]
pub struct Sim {
    /// The first seed.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=SEED_MAX))]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value = "1000")]
    count: NonZeroU32,
    /// Messages handled before the faults stop.
    #[arg(long, default_value_t = STEPS)]
    steps: u32,
    /// Plant a bug, to see that it is found.
    #[arg(long)]
    plant: Option<Bug>,
}

/// Bugs that can be planted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bug {
    /// Every report of an end is taken for a result.
    CountTwice,
    /// The journal loses every fortieth event.
    LoseEvent,
    /// The server answers before the commit.
    AnswerEarly,
}

impl From<Bug> for Plant {
    fn from(bug: Bug) -> Self {
        match bug {
            Bug::CountTwice => Self::CountTwice,
            Bug::LoseEvent => Self::LoseEvent,
            Bug::AnswerEarly => Self::AnswerEarly,
        }
    }
}

/// What all seeds did together.
#[derive(Default)]
struct Sum {
    seeds: u64,
    total: Trace,
    failure: Option<Failure>,
}

impl Sim {
    /// Runs them; fails when one goes wrong.
    pub fn run(&self) -> ExitCode {
        let start = Instant::now();
        let sum = self.run_all();
        let Trace { events, steps, jobs, results, restarts, lost, jumps, .. } = sum.total;
        println!(
            "{} seeds in {:.1?}: {steps} steps, {events} events, {jobs} jobs, {results} results, \
             {restarts} restarts, {lost} machines lost, {jumps} jumps of the clock",
            sum.seeds,
            start.elapsed()
        );
        let Some(failure) = sum.failure else { return ExitCode::SUCCESS };
        print!("{failure}");
        println!("again: cargo xtask sim --seed {} --count 1 --steps {}", failure.seed, self.steps);
        ExitCode::FAILURE
    }

    /// Each core takes the next seed until all are done or one failed. The lowest seed that failed
    /// is kept, so that the answer does not depend on which core was faster.
    fn run_all(&self) -> Sum {
        let end = self.seed + u64::from(self.count.get());
        let (next, sum) = (AtomicU64::new(self.seed), Mutex::new(Sum::default()));
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return;
                }
                let plant = self.plant.map(Plant::from);
                let outcome = run_with(Setup { seed, steps: self.steps, plant });
                let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                if sum.take(outcome) {
                    next.store(end, Ordering::Relaxed);
                }
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
        sum.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    /// Adds one seed. Whether it failed.
    fn take(&mut self, outcome: Result<Trace, Failure>) -> bool {
        self.seeds += 1;
        match outcome {
            Ok(trace) => {
                self.total.events += trace.events;
                self.total.steps += trace.steps;
                self.total.jobs += trace.jobs;
                self.total.results += trace.results;
                self.total.restarts += trace.restarts;
                self.total.lost += trace.lost;
                self.total.jumps += trace.jumps;
                if self.seeds.is_multiple_of(SEEDS_PER_LINE) {
                    println!("{} seeds, {} events", self.seeds, self.total.events);
                }
                false
            }
            Err(failure) => {
                if self.failure.as_ref().is_none_or(|other| failure.seed < other.seed) {
                    self.failure = Some(failure);
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sim(count: u32, plant: Option<Bug>) -> Sim {
        Sim { seed: 1, count: NonZeroU32::new(count).expect("not 0"), steps: 60, plant }
    }

    #[test]
    fn every_seed_is_run_once() {
        let sum = sim(5, None).run_all();
        assert!(sum.failure.is_none(), "{:?}", sum.failure);
        assert_eq!(sum.seeds, 5);
        assert!(sum.total.events > 0);
    }

    #[test]
    fn a_planted_bug_is_found_and_ends_the_run() {
        let sum = sim(1_000, Some(Bug::LoseEvent)).run_all();
        assert!(sum.failure.is_some());
        assert!(sum.seeds < 1_000, "it went on for {} seeds", sum.seeds);
    }
}
