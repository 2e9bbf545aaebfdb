//! Following logs: programs that write the time as a line, again and again, and readers that follow them
//! through the server's live log, as `bcs log -f` does. A line is on its way from the program's write
//! to the reader's read; both ends are on this machine and take the time from the same clock.

use super::{Common, machine::Machine, processor, region::Region, stage::Stage, sums::Latency};
use crate::house::House;
use anyhow::{Context, Result, ensure};
use clap::Args;
use gristmill_cli::client::{Client, Stream};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};
use tokio::task::JoinSet;

/// How long the server may wait for new bytes.
const WAIT_SECONDS: u32 = 10;
/// Instances of one machine.
const SLOTS: u32 = 25;

/// Lines on their way from programs to their followers.
#[derive(Debug, Clone, Args)]
pub struct Follow {
    /// How many programs, each with a follower.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    instances: u32,
    /// How many lines each writes in a second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..))]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Raw {
    machine: Machine,
    instances: u32,
    rate: u32,
    seconds: u32,
    lines: Latency,
    /// By program: the server, the agents, and their spawners with all sandboxes.
    processor_seconds: BTreeMap<String, f64>,
}

impl Follow {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let (lines, processor_seconds) = stage.play(self.measure(&stage.programs))?;
        println!("{} programs, {} lines a second each: {lines}", self.instances, self.rate);
        for (name, seconds) in &processor_seconds {
            println!("  {name:16} {seconds:6.2} s of processor");
        }
        let Self { instances, rate, seconds, .. } = *self;
        let machine = stage.machine;
        let raw = Raw { machine, instances, rate, seconds, lines, processor_seconds };
        self.common.keep(house, "follow", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self, programs: &Path) -> Result<(Latency, BTreeMap<String, f64>)> {
        let slots = [("GRISTMILL_LOCAL__SLOTS", SLOTS.to_string())];
        let region = Region::start_with(&programs.join("gristmill"), None, &slots).await?;
        let cluster = region.cluster(self.instances.div_ceil(SLOTS)).await?;
        let ticker = programs.join("examples/ticker").canonicalize()?;
        let lines = self.seconds * self.rate;
        let description = json!({
            "Name": "follow",
            "DAG": {"Tasks": {"ticker": {
                "ClusterId": cluster,
                "InstanceCount": self.instances,
                "Parameters": {"Command": {
                    "CommandLine": format!("{} {lines} {}", ticker.display(), 1_000 / self.rate),
                }},
            }}},
        });
        let before = processor::of_children()?;
        let job = region.client.create_job(&description).await?;
        let mut readers = JoinSet::new();
        for instance in 0..self.instances {
            readers.spawn(read(region.client.clone(), job.clone(), instance.into()));
        }
        let mut samples = Vec::new();
        while let Some(read) = readers.join_next().await {
            let (taken, count) = read??;
            ensure!(count == lines as usize, "a follower saw {count} of {lines} lines");
            samples.extend(taken);
        }
        let mut used = processor::of_children()?;
        used.iter_mut().for_each(|(name, sum)| *sum -= before.get(name).unwrap_or(&0.0));
        Ok((Latency::of(samples).context("there is a line")?, used))
    }
}

/// Follows one program to its end: how long its lines took, and how many there were. The first second
/// does not count: not all programs are there.
async fn read(client: Client, job: String, instance: u64) -> Result<(Vec<Duration>, usize)> {
    let (mut offset, mut rest, mut samples, mut count) = (0, Vec::new(), Vec::new(), 0);
    let mut first = None;
    loop {
        let stream = Stream::Stdout;
        let chunk = client.read_log(&job, "ticker", instance, stream, offset, WAIT_SECONDS).await?;
        let now = UNIX_EPOCH.elapsed()?;
        offset = chunk.next_offset;
        rest.extend_from_slice(&chunk.bytes);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in rest.drain(..whole).collect::<Vec<_>>().split(|byte| *byte == b'\n') {
            let Ok(written) = String::from_utf8_lossy(line).parse() else { continue };
            let written = Duration::from_nanos(written);
            count += 1;
            if written > *first.get_or_insert(written) + Duration::from_secs(1) {
                samples.push(now.saturating_sub(written));
            }
        }
        if chunk.is_end {
            return Ok((samples, count));
        }
    }
}
