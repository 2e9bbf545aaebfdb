//! Measures Gristmill beside what it stands on: `cargo xtask bench short`, `bench read` and others;
//! without a name all of them.
//!
//! Figures of different runs are never compared, only figures of the same run: each round runs
//! the floor, then Gristmill, and the result is the median of the ratios of the rounds. Everything
//! measured goes to `docs/bench/<name>.json`; the tables of `docs/benchmarks.md` are made from that ([`report`]).
//!
//! On a machine with other work, run it as `chrt --rr 1 cargo xtask bench ...`: the floor and
//! Gristmill then both go before that work. The scheduling class is part of the raw data.

mod chain;
mod create;
mod floor;
mod follow;
mod idle;
mod line;
mod machine;
mod million;
mod null;
mod one;
mod plan;
mod processor;
mod read;
mod region;
pub mod report;
mod restart;
mod short;
mod stage;
mod sums;

use crate::{house::House, shell};
use anyhow::{Context, Result, ensure};
use clap::{Args, FromArgMatches, Subcommand};
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Which measurement.
#[derive(Debug, Clone, Subcommand)]
pub enum Bench {
    /// Very short instances, beside a bare spawn loop and one with the same namespaces.
    Short(short::Short),
    /// One `true` on an idle region, from submission to answer.
    One(one::One),
    /// A chain of dependent tasks.
    Chain(chain::Chain),
    /// Lines on their way from programs to those who follow their logs.
    Follow(follow::Follow),
    /// What a region holds and uses while nothing happens.
    Idle(idle::Idle),
    /// Instances that cost nothing, on agents that answer at once: what the server costs.
    Null(null::Null),
    /// Durable, signed job creation, and what is left of it after `kill -9`.
    Create(create::Create),
    /// A task of a million instances: its making, what it leaves, every instance asked for.
    Million(million::Million),
    /// A region with a past: restart, memory, pages and changes under load.
    Restart(restart::Restart),
    /// The planner in a world of ten thousand machines and a million instances.
    Plan(plan::Plan),
    /// Reading an object through a mount, beside the store's own HTTP and a local file.
    Read(read::Read),
    /// Writes the tables of `docs/benchmarks.md` from the raw data.
    Report,
}

/// All measurements of the page, as they are called. The report comes last.
const ALL: &[&[&str]] = &[
    &["short"],
    &["short", "--instances", "100000", "--rounds", "1", "--json", "docs/bench/short-100000.json"],
    &["one"],
    &["chain"],
    &["follow"],
    &["idle"],
    &["null"],
    &["create"],
    &["million"],
    &["restart"],
    &["plan"],
    &["read"],
    &["report"],
];

/// Measures everything, one after the other. What fails is told at the end and does not keep the
/// others from being measured.
pub fn run_all(house: &House) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for words in ALL {
        println!("\n== {} ==", words.join(" "));
        match Bench::from_words(words)?.run(house) {
            Ok(code) if code == ExitCode::SUCCESS => {}
            Ok(_) => failed.push(format!("{}: it found what must not be", words[0])),
            Err(error) => failed.push(format!("{}: {error:#}", words[0])),
        }
    }
    for failure in &failed {
        println!("failed: {failure}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What all measurements take.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Use the programs in this directory instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Write the raw data here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Bench {
    fn from_words(words: &[&str]) -> Result<Self> {
        let command = Self::augment_subcommands(clap::Command::new("bench"));
        let matches = command.try_get_matches_from([&["bench"], words].concat())?;
        Ok(Self::from_arg_matches(&matches)?)
    }

    /// Measures, prints a table and writes the raw data.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        match self {
            Self::Short(short) => short.run(house),
            Self::One(one) => one.run(house),
            Self::Chain(chain) => chain.run(house),
            Self::Follow(follow) => follow.run(house),
            Self::Idle(idle) => idle.run(house),
            Self::Null(null) => null.run(house),
            Self::Create(create) => create.run(house),
            Self::Million(million) => million.run(house),
            Self::Restart(restart) => restart.run(house),
            Self::Plan(plan) => plan.run(house),
            Self::Read(read) => read.run(house),
            Self::Report => report::run(house),
        }
    }
}

impl Common {
    /// Where the programs are; built, unless told otherwise.
    fn programs(&self, house: &House) -> Result<PathBuf> {
        if let Some(directory) = &self.programs {
            // Agents are started in other directories.
            return Ok(std::path::absolute(directory)?);
        }
        for what in [
            ["gristmill", "--bins"].as_slice(),
            &["gristmill-runtime", "--example", "spawn_floor"],
            &["gristmill-runtime", "--example", "ticker"],
            &["gristmill-agent", "--example", "null_agent"],
        ] {
            let mut build = Command::new("cargo");
            build.args(["build", "--release", "--package"]).args(what).current_dir(&house.root);
            ensure!(shell::succeeds(&mut build)?, "the programs do not build");
        }
        Ok(house.target.join("release"))
    }

    /// Keeps the raw data.
    fn keep(&self, house: &House, name: &str, data: &impl Serialize) -> Result<()> {
        let usual = || house.root.join("docs/bench").join(format!("{name}.json"));
        let file = self.json.clone().unwrap_or_else(usual);
        let directory = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)
            .with_context(|| format!("could not make {}", directory.display()))?;
        let mut text = serde_json::to_string_pretty(data)?;
        text.push('\n');
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        println!("raw data: {}", file.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_measurements_can_be_called() {
        for words in ALL {
            Bench::from_words(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        }
    }
}
