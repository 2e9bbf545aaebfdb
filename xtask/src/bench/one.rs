//! One `true` on an idle region with a free machine: from the submission until it is known to be done,
//! by the command (`bcs sub --watch`: start of the client, submission, run, answer) and by the API
//! alone (one connection, events of the job).

use super::{Common, floor, machine::Machine, region::Region, stage::Stage, sums::Latency};
use crate::house::House;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gristmill_cli::client::JobEvent;
use serde::Serialize;
use serde_json::json;
use std::{
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// Between two samples, so that the region is idle.
const REST: Duration = Duration::from_millis(30);

/// How often the floor starts `true`.
const FLOOR_STARTS: u32 = 200;

/// One `true` on an idle region.
#[derive(Debug, Clone, Args)]
pub struct One {
    /// How often.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Raw {
    machine: Machine,
    floors: floor::Pair,
    /// `bcs --version`: a process start and nothing else.
    client: Latency,
    /// `bcs sub --watch`, from the start of the process to its end.
    command: Latency,
    /// From the request to create the job to the event of its end.
    api: Latency,
}

impl One {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let (floors, [client, command, api]) = stage.play(self.measure(&stage.programs))?;
        let machine = stage.machine;
        let raw = Raw { machine, floors, client, command, api };
        println!("{floors}");
        println!("bcs --version        {client}");
        println!("bcs sub --watch      {command}");
        println!("API: create, events  {api}");
        self.common.keep(house, "one", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self, programs: &Path) -> Result<(floor::Pair, [Latency; 3])> {
        let region = Region::start(&programs.join("gristmill"), None).await?;
        let cluster = region.cluster(1).await?;
        let floors = floor::pair(programs, &region.directory(), FLOOR_STARTS)?;
        let (mut client, mut command, mut api) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.samples {
            client.push(timed(region.bcs(programs).arg("--version"))?);
            std::thread::sleep(REST);
            let words = ["sub", "true", "one", "--watch", "--cluster", &cluster];
            command.push(timed(region.bcs(programs).args(words))?);
            tokio::time::sleep(REST).await;
            api.push(by_api(&region, &cluster).await?);
            tokio::time::sleep(REST).await;
        }
        let sum = |samples| Latency::of(samples).context("there is a sample");
        Ok((floors, [sum(client)?, sum(command)?, sum(api)?]))
    }
}

fn timed(command: &mut Command) -> Result<Duration> {
    let clock = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("could not start `bcs`")?;
    let took = clock.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`bcs` ended with {}: {}", output.status, said.trim());
    Ok(took)
}

async fn by_api(region: &Region, cluster: &str) -> Result<Duration> {
    let description = json!({
        "Name": "one",
        "DAG": {"Tasks": {"true": {
            "ClusterId": cluster,
            "InstanceCount": 1,
            "Parameters": {"Command": {"CommandLine": "true"}},
        }}},
    });
    let clock = Instant::now();
    let id = region.client.create_job(&description).await?;
    let mut events = region.client.follow_job(&id).await?;
    let mut last = None;
    while let Some(event) = events.next().await {
        match event {
            JobEvent::Task(_) => {}
            JobEvent::Job(job) => last = Some(job),
            JobEvent::End => {
                let took = clock.elapsed();
                let state = last.map(|job| job.state).unwrap_or_default();
                ensure!(state == "Finished", "the job is {state}");
                region.client.delete_job(&id).await?;
                return Ok(took);
            }
        }
    }
    bail!("the events of {id} broke off")
}
