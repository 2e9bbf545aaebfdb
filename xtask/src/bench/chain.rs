//! A chain: a job of many tasks of one `true` each, every one of which waits for the one before. The time
//! of a hop is that of the job divided by their number.

use super::{Common, floor, machine::Machine, region::Region, stage::Stage, sums::Spread};
use crate::house::House;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a job may take.
const JOB_MAX: Duration = Duration::from_secs(600);

/// Dependent tasks of one instance each.
#[derive(Debug, Clone, Args)]
pub struct Chain {
    /// How many tasks.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..))]
    tasks: u32,
    /// How often.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Raw {
    machine: Machine,
    tasks: u32,
    /// A hop, in milliseconds.
    hop_ms: Spread,
    /// A start of `true` in a serial loop of the same round, in milliseconds.
    bare_ms: Spread,
    /// A synced append of the same round, in milliseconds.
    sync_ms: Spread,
    rounds: Vec<Round>,
}

#[derive(Debug, Clone, Serialize)]
struct Round {
    floors: floor::Pair,
    /// A hop of its job, in milliseconds.
    hop_ms: f64,
}

impl Chain {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let rounds = stage.play(self.rounds(&stage.programs))?;
        let over = |figure: &dyn Fn(&Round) -> f64| {
            Spread::of(rounds.iter().map(figure)).context("there is a round")
        };
        let bare_ms = over(&|it| it.floors.start_ms)?;
        let sync_ms = over(&|it| it.floors.sync_ms)?;
        let hop_ms = over(&|it| it.hop_ms)?;
        println!("a bare start, serial  {bare_ms} ms");
        println!("a synced append       {sync_ms} ms");
        println!("a hop of the chain    {hop_ms} ms");
        let machine = stage.machine;
        let raw = Raw { machine, tasks: self.tasks, hop_ms, bare_ms, sync_ms, rounds };
        self.common.keep(house, "chain", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn rounds(&self, programs: &Path) -> Result<Vec<Round>> {
        let region = Region::start(&programs.join("gristmill"), None).await?;
        let cluster = region.cluster(1).await?;
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            let floors = floor::pair(programs, &region.directory(), self.tasks)?;
            let seconds = self.job(&region, &cluster).await?;
            rounds.push(Round { floors, hop_ms: seconds * 1e3 / f64::from(self.tasks) });
        }
        Ok(rounds)
    }

    async fn job(&self, region: &Region, cluster: &str) -> Result<f64> {
        let id = region.client.create_job(&description(self.tasks, cluster)).await?;
        let clock = Instant::now();
        loop {
            let job = region.client.get_job(&id).await?;
            if job.has_ended() {
                ensure!(job.state == "Finished", "the job is {}: {}", job.state, job.message);
                break;
            }
            ensure!(clock.elapsed() < JOB_MAX, "the job is {}: {}", job.state, job.message);
            tokio::time::sleep(LOOK).await;
        }
        let seconds = clock.elapsed().as_secs_f64();
        region.client.delete_job(&id).await?;
        Ok(seconds)
    }
}

fn description(tasks: u32, cluster: &str) -> Value {
    let name = |number: u32| format!("t{number}");
    let task = json!({
        "ClusterId": cluster,
        "InstanceCount": 1,
        "Parameters": {"Command": {"CommandLine": "/bin/true"}},
    });
    let all: serde_json::Map<_, _> = (0..tasks).map(|n| (name(n), task.clone())).collect();
    let after: serde_json::Map<_, _> =
        (1..tasks).map(|n| (name(n - 1), json!([name(n)]))).collect();
    json!({"Name": "chain", "DAG": {"Tasks": all, "Dependencies": after}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_but_the_first_follows_one() {
        let dag = &description(3, "cls-1")["DAG"];
        assert_eq!(dag["Tasks"].as_object().map(serde_json::Map::len), Some(3));
        assert_eq!(dag["Dependencies"], json!({"t0": ["t1"], "t1": ["t2"]}));
    }
}
