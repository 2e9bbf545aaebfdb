//! Everything the README promises, in one go: checks, tests of cargo, scripts.
//!
//! One build serves all: `cargo build --workspace --all-targets` makes the programs and the tests with
//! one set of features, so neither `cargo test` nor the scripts build anything again. A failure does
//! not stop the rest, except that nothing runs when the build fails.

use crate::{checks, house::House, needs, scripts, shell, tally::Tally};
use anyhow::Result;
use std::process::{Command, ExitCode};

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Checks and tests of cargo.
    Cargo,
    /// And the scripts below `tests/`.
    All,
    /// And the checks that need more tools.
    Ci,
}

/// Runs the tests and prints the summary as the last line. Fails when anything failed or nothing
/// ran.
pub fn run(house: &House, extent: Extent) -> Result<ExitCode> {
    if extent != Extent::Cargo {
        needs::provide()?;
    }
    let mut tally = checks::always(house)?;
    if extent == Extent::Ci {
        tally += checks::with_more_tools(house)?;
    }
    let built = shell::succeeds(cargo(house).args(["build", "--workspace", "--all-targets"]))?;
    tally += Tally::of(built);
    if built {
        tally += cargo_tests(house)?;
    }
    if built && extent != Extent::Cargo {
        tally += scripts::run(house)?;
    }
    println!("\n{tally}");
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo(house: &House) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(&house.root);
    // Snapshots are compared here, never written.
    command.env("INSTA_UPDATE", "no").env("CARGO_TERM_COLOR", "never");
    command
}

/// Unit, integration and documentation tests.
fn cargo_tests(house: &House) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut command = cargo(house);
    command.args(["test", "--workspace", "--no-fail-fast"]);
    let status = shell::follow(&mut command, |line| {
        tally += Tally::of_result_line(line).unwrap_or_default();
    })?;
    if !status.success() && tally.failed == 0 {
        println!("a test program ended without a result");
        tally += Tally::FAILED;
    }
    Ok(tally)
}
