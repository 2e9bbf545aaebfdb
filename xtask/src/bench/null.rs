//! Instances that cost nothing: one task on agents that answer at once, through real sockets and a real
//! journal. What is left is what the server costs.
//!
//! Each agent is a process of its own (`null_agent`). The time runs from the answer to the
//! submission until the job is Finished; processor time and memory are those of the server's
//! process alone.

use super::{
    Common,
    machine::Machine,
    processor,
    region::Region,
    stage::{Rounds, Stage},
    sums::Spread,
};
use crate::house::House;
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a job may take.
const JOB_MAX: Duration = Duration::from_secs(900);

/// Instances that cost nothing, on agents that answer at once.
#[derive(Debug, Clone, Args)]
pub struct Null {
    /// How many instances the task has.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    instances: u32,
    /// How often it is measured, each time in a new region.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many agents.
    #[arg(long, default_value_t = 32)]
    agents: u32,
    /// How many slots each has.
    #[arg(long, default_value_t = 8)]
    slots: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Serialize)]
struct Round {
    seconds: f64,
    /// Processor seconds of the server.
    server_seconds: f64,
    /// The most memory the server ever had, MiB.
    memory_peak_mib: f64,
    /// The same before the job.
    memory_before_mib: f64,
    /// What the books take on the disk at the end, MiB.
    books_mib: f64,
}

#[derive(Serialize)]
struct Raw {
    machine: Machine,
    instances: u32,
    agents: u32,
    slots: u32,
    per_second: Spread,
    server_us: Spread,
    rounds: Rounds<Round>,
}

impl Null {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let show = |round: &Round| println!("{}", self.line(round));
        let rounds = stage.rounds(self.rounds, async |it| self.round(it).await, show)?;
        let count = f64::from(self.instances);
        let raw = Raw {
            machine: stage.machine,
            instances: self.instances,
            agents: self.agents,
            slots: self.slots,
            per_second: rounds.over(|it| count / it.seconds),
            server_us: rounds.over(|it| it.server_seconds * 1e6 / count),
            rounds,
        };
        println!("instances a second  {}", raw.per_second);
        println!("server, us each     {}", raw.server_us);
        self.common.keep(house, "null", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn round(&self, programs: &Path) -> Result<Round> {
        let settings = settings(programs, self.agents, self.slots);
        let region = Region::start_with(&programs.join("gristmill"), None, &settings).await?;
        let cluster = region.cluster(self.agents).await?;
        let server = region.process_id();
        let memory_before_mib = processor::memory_peak_mib(server)?;
        let before = processor::of_process(server)?;
        let description = description(&cluster, self.instances);
        let id = region.client.create_job(&description).await?;
        let clock = Instant::now();
        loop {
            let job = region.client.get_job(&id).await?;
            if job.has_ended() {
                ensure!(job.state == "Finished", "the job is {}: {}", job.state, job.message);
                let finished = job.instance_metrics.finished;
                ensure!(finished == u64::from(self.instances), "{finished} are finished");
                break;
            }
            ensure!(clock.elapsed() < JOB_MAX, "the job is {}: {}", job.state, job.message);
            tokio::time::sleep(LOOK).await;
        }
        Ok(Round {
            seconds: clock.elapsed().as_secs_f64(),
            server_seconds: processor::of_process(server)? - before,
            memory_peak_mib: processor::memory_peak_mib(server)?,
            memory_before_mib,
            books_mib: region.books_bytes() as f64 / f64::from(1 << 20),
        })
    }

    fn line(&self, round: &Round) -> String {
        let count = f64::from(self.instances);
        format!(
            "{:.0}/s, server {:.2} us each, memory {:.0} -> {:.0} MiB, books {:.1} MiB",
            count / round.seconds,
            round.server_seconds * 1e6 / count,
            round.memory_before_mib,
            round.memory_peak_mib,
            round.books_mib
        )
    }
}

/// The settings of a region with agents that answer at once.
pub fn settings(programs: &Path, agents: u32, slots: u32) -> Vec<(&'static str, String)> {
    let agent = programs.join("examples/null_agent");
    vec![
        ("GRISTMILL_LOCAL__AGENT", agent.display().to_string()),
        ("GRISTMILL_LOCAL__SLOTS", slots.to_string()),
        ("GRISTMILL_LOCAL__WORKERS_MAX", agents.to_string()),
        ("GRISTMILL_LIMITS__INSTANCES_PER_TASK_MAX", "2000000".to_owned()),
    ]
}

fn description(cluster: &str, instances: u32) -> serde_json::Value {
    json!({
        "Name": "null",
        "DAG": {"Tasks": {"null": {
            "ClusterId": cluster,
            "InstanceCount": instances,
            "Parameters": {"Command": {"CommandLine": "true"}},
        }}},
    })
}
