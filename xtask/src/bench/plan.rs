//! The planner in a large world: ten thousand machines, a million instances, a hundred queues, machines lost
//! at 1 % an hour. Virtual time, real core, one thread.
//!
//! Placements a second count the passes of the planner and what the mill does with their proposals
//! (decide, apply, indexes); hashing the trace and letting programs end do not belong to placing.

use super::{Common, machine::Machine, sums::Spread};
use crate::{house::House, shell};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::process::{Command, ExitCode};

/// The planner in a world of many machines and instances, in virtual time.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// How many clusters, each with a queue of its own.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    queues: u32,
    /// How many machines, over all clusters.
    #[arg(long, default_value_t = 10_000)]
    machines: u32,
    /// How many instances wait at the start.
    #[arg(long, default_value_t = 1_000_000)]
    instances: u32,
    /// How many placements a pass may make.
    #[arg(long, default_value_t = 1_024)]
    budget: u32,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    common: Common,
}

/// What the example prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Round {
    done: bool,
    placed: u64,
    passes: u64,
    planning_s: f64,
    placing_s: f64,
    others_s: f64,
    pass_p50_us: f64,
    pass_p99_us: f64,
    pass_max_us: f64,
    idle_pass_us: f64,
    virtual_s: u64,
    events: u64,
    digest: String,
}

impl Plan {
    /// Measures, prints and keeps the raw data.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let program = build(house)?;
        let machine = Machine::look(house);
        let rounds: Vec<Round> =
            (0..self.rounds).map(|_| self.round(&program)).collect::<Result<_>>()?;
        ensure!(rounds.iter().all(|round| round.done), "not every job finished");
        let same = rounds.iter().all(|round| round.digest == rounds[0].digest);
        ensure!(same, "the same seed gave different traces");
        let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
        let rows = [
            (
                "placements a second, planned and applied",
                of(|it| rate(it, it.planning_s + it.placing_s)),
            ),
            ("placements a second, planned only", of(|it| rate(it, it.planning_s))),
            ("a pass, p50, microseconds", of(|it| it.pass_p50_us)),
            ("a pass, p99, microseconds", of(|it| it.pass_p99_us)),
            ("a pass, longest, microseconds", of(|it| it.pass_max_us)),
            ("a pass with nothing to do, microseconds", of(|it| it.idle_pass_us)),
        ];
        for (name, spread) in &rows {
            println!("{name}: {}", spread.context("there are rounds")?);
        }
        let results: serde_json::Map<_, _> =
            rows.iter().map(|(name, spread)| ((*name).to_owned(), json!(spread))).collect();
        let setup = json!({ "queues": self.queues, "machines": self.machines, "slots": 8,
            "instances": self.instances, "budget": self.budget, "lost_per_mille_an_hour": 10 });
        let data =
            json!({ "machine": machine, "setup": setup, "results": results, "rounds": rounds });
        self.common.keep(house, "plan", &data)?;
        Ok(ExitCode::SUCCESS)
    }

    fn round(&self, program: &std::path::Path) -> Result<Round> {
        let numbers = [1, self.queues, self.machines / self.queues, 8, self.instances, self.budget];
        let words = numbers.map(|number| number.to_string());
        let output = Command::new(program).arg("flat").args(words).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&said).with_context(|| format!("the world said {said:?}"))
    }
}

fn rate(round: &Round, seconds: f64) -> f64 {
    round.placed as f64 / seconds
}

/// The example, optimised, whatever this program was built as.
pub fn build(house: &House) -> Result<std::path::PathBuf> {
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--package", "gristmill-sim", "--example", "large"]);
    ensure!(shell::succeeds(build.current_dir(&house.root))?, "the large world does not build");
    Ok(house.target.join("release/examples/large"))
}
