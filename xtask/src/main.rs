//! The house's commands: `cargo xtask <command>`.
//!
//! `test` is the one command of the README and of `.ci/run`: it checks and runs everything the
//! README promises and prints one summary line as its last. `ci` adds what needs more than a
//! toolchain (licences, spelling). The others are tools for a person.
//!
//! Start at [`Task::run`].

mod bench;
mod checks;
mod demo;
mod house;
mod needs;
mod scripts;
mod shell;
mod sim;
mod states;
mod tally;
mod test;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Commands for working on Gristmill.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks the code and runs every test; the last line is the summary.
    Test {
        /// Only checks and tests of cargo, not the scripts below `tests/`.
        #[arg(long)]
        fast: bool,
    },
    /// As `test`, and licences and spelling.
    Ci,
    /// Checks what the house rules say and no compiler does.
    Tidy,
    /// Builds `gristmill` and runs its demo; further arguments go to the demo.
    Demo {
        /// Arguments of `gristmill demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures Gristmill beside what it stands on, as ratios; without a name everything.
    Bench {
        /// What is measured.
        #[command(subcommand)]
        what: Option<bench::Bench>,
    },
    /// Runs simulated regions, one per seed.
    Sim(sim::Sim),
    /// Prints the states of a job and what leads from one to the next.
    States,
}

impl Task {
    fn run(self) -> Result<ExitCode> {
        let house = house::House::look()?;
        match self {
            Self::Test { fast: false } => test::run(&house, test::Extent::All),
            Self::Test { fast: true } => test::run(&house, test::Extent::Cargo),
            Self::Ci => test::run(&house, test::Extent::Ci),
            Self::Tidy => tidy::run(&house),
            Self::Demo { arguments } => demo::run(&house, &arguments),
            Self::Bench { what: Some(bench) } => bench.run(&house),
            Self::Bench { what: None } => bench::run_all(&house),
            Self::Sim(sim) => Ok(sim.run()),
            Self::States => {
                print!("{}", states::job_states());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn main() -> Result<ExitCode> {
    Arguments::parse().task.run()
}
