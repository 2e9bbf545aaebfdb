//! A task of a million instances: what making it costs, what is left when all have run, and whether
//! every one of them can still be asked for.
//!
//! The agents answer at once (`null_agent`). Everything is counted over the empty server whose
//! machines are there: resident memory, the books and their write-ahead log.

use super::{
    Common,
    line::Line,
    machine::Machine,
    null, processor,
    region::Region,
    stage::{Rounds, Stage},
    sums::{Latency, Spread},
};
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
const LOOK: Duration = Duration::from_millis(50);
/// How long all instances may take.
const JOB_MAX: Duration = Duration::from_secs(600);
/// How many such tasks are made one after the other to measure the making.
const MADE: usize = 21;
/// Instances of a page of the list.
const PAGE: usize = 100;

/// A task of a million instances: its making, what it leaves, every instance asked for.
#[derive(Debug, Clone, Args)]
pub struct Million {
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

/// What the server takes.
#[derive(Debug, Clone, Copy, Serialize)]
struct Size {
    memory_mib: f64,
    books_mib: f64,
}

#[derive(Debug, Clone, Serialize)]
struct Round {
    create: Latency,
    /// For each task made, over all of them.
    made_mib: f64,
    run_seconds: f64,
    empty: Size,
    after: Size,
    /// Memory and disk together over the empty server, when all have run.
    left_mib: f64,
    memory_peak_mib: f64,
    /// The same after a restart.
    left_after_restart_mib: f64,
    /// Pages of a hundred, each instance of each looked at.
    pages: Latency,
    answered: u32,
}

#[derive(Serialize)]
struct Raw {
    machine: Machine,
    instances: u32,
    create_p50_ms: Spread,
    left_mib: Spread,
    rounds: Rounds<Round>,
}

impl Million {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let rounds = stage.rounds(self.rounds, async |it| self.round(it).await, show)?;
        let raw = Raw {
            machine: stage.machine,
            instances: self.instances,
            create_p50_ms: rounds.over(|it| it.create.p50_ms),
            left_mib: rounds.over(|it| it.left_mib),
            rounds,
        };
        println!("create, p50 ms  {}", raw.create_p50_ms);
        println!("left, MiB       {}", raw.left_mib);
        self.common.keep(house, "million", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn round(&self, programs: &Path) -> Result<Round> {
        let settings = null::settings(programs, self.agents, self.slots);
        let mut region = Region::start_with(&programs.join("gristmill"), None, &settings).await?;
        let mut line = Line::open(region.api).await?;
        let (create, made_mib) = self.make(&region, &mut line).await?;
        let cluster = region.cluster(self.agents).await?;
        let empty = size(&region)?;
        let clock = Instant::now();
        let job = line.create_job(&self.description(&cluster)).await?;
        wait_until_finished(&mut line, &job).await?;
        let run_seconds = clock.elapsed().as_secs_f64();
        let after = size(&region)?;
        let memory_peak_mib = processor::memory_peak_mib(region.process_id())?;
        let mut times = Vec::new();
        let answered = look_at_all(&mut line, &job, self.instances, &mut times).await?;
        region.kill()?;
        region.start_again()?;
        region.wait_until_it_answers().await?;
        let again = size(&region)?;
        let mut line = Line::open(region.api).await?;
        look_at_all(&mut line, &job, self.instances, &mut Vec::new()).await?;
        Ok(Round {
            create,
            made_mib,
            run_seconds,
            empty,
            after,
            left_mib: after.over(empty),
            memory_peak_mib,
            left_after_restart_mib: again.over(empty),
            pages: Latency::of(times).context("there are pages")?,
            answered,
        })
    }

    /// Makes such tasks where no machine takes them, and deletes them again.
    async fn make(&self, region: &Region, line: &mut Line) -> Result<(Latency, f64)> {
        let cluster = region.cluster(0).await?;
        let description = self.description(&cluster);
        let (before, mut times, mut jobs) = (size(region)?, Vec::new(), Vec::new());
        for _ in 0..MADE {
            let clock = Instant::now();
            jobs.push(line.create_job(&description).await?);
            times.push(clock.elapsed());
        }
        let made_mib = size(region)?.over(before) / MADE as f64;
        for job in jobs {
            for (method, target) in
                [("POST", format!("/jobs/{job}/stop")), ("DELETE", format!("/jobs/{job}"))]
            {
                let status = line.ask(method, &target, b"").await?.status;
                ensure!(status < 300, "{method} {target}: {status}");
            }
        }
        Ok((Latency::of(times).context("tasks were made")?, made_mib))
    }

    fn description(&self, cluster: &str) -> Vec<u8> {
        let description = json!({
            "Name": "million",
            "DAG": {"Tasks": {"all": {
                "ClusterId": cluster,
                "InstanceCount": self.instances,
                "Parameters": {"Command": {"CommandLine": "true"}},
            }}},
        });
        description.to_string().into_bytes()
    }
}

impl Size {
    fn over(self, empty: Self) -> f64 {
        self.memory_mib - empty.memory_mib + self.books_mib - empty.books_mib
    }
}

fn size(region: &Region) -> Result<Size> {
    Ok(Size {
        memory_mib: processor::memory_mib(region.process_id())?,
        books_mib: region.books_bytes() as f64 / f64::from(1 << 20),
    })
}

/// Waits until a job is Finished.
pub async fn wait_until_finished(line: &mut Line, job: &str) -> Result<()> {
    let clock = Instant::now();
    loop {
        let seen = line.get(&format!("/jobs/{job}")).await?;
        match seen["State"].as_str() {
            Some("Finished") => return Ok(()),
            Some("Failed" | "Stopped") => anyhow::bail!("the job ended: {seen}"),
            _ => ensure!(clock.elapsed() < JOB_MAX, "the job takes too long: {seen}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks for every instance, page by page, and looks at each: state, exit code, times, tries, machine.
pub async fn look_at_all(
    line: &mut Line,
    job: &str,
    instances: u32,
    times: &mut Vec<Duration>,
) -> Result<u32> {
    let (mut marker, mut seen) = (String::new(), 0);
    loop {
        let target = format!("/jobs/{job}/tasks/all/instances?Marker={marker}&MaxItemCount={PAGE}");
        let (page, took) = line.timed_get(&target).await?;
        times.push(took);
        for instance in page["Items"].as_array().context("a page has items")? {
            ensure!(is_whole(instance, seen), "instance {seen} is not all there: {instance}");
            seen += 1;
        }
        match page["NextMarker"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut marker),
            _ => break,
        }
    }
    ensure!(seen == instances, "{seen} of {instances} instances are listed");
    Ok(seen)
}

fn is_whole(instance: &Value, number: u32) -> bool {
    instance["InstanceId"] == number
        && instance["State"] == "Finished"
        && instance["Result"]["ExitCode"] == 0
        && instance["RetryCount"] == 0
        && instance["StartTime"].as_str().is_some_and(|time| !time.is_empty())
        && instance["EndTime"].as_str().is_some_and(|time| !time.is_empty())
        && instance["NodeIp"].as_str().is_some_and(|address| !address.is_empty())
}

fn show(round: &Round) {
    println!("create: {}, {:.3} MiB each", round.create, round.made_mib);
    println!(
        "all run in {:.1} s; memory {:.1} -> {:.1} MiB (peak {:.1}), books {:.1} -> {:.1} MiB",
        round.run_seconds,
        round.empty.memory_mib,
        round.after.memory_mib,
        round.memory_peak_mib,
        round.empty.books_mib,
        round.after.books_mib
    );
    println!(
        "left {:.1} MiB, after a restart {:.1} MiB; {} answered, page: {}",
        round.left_mib, round.left_after_restart_mib, round.answered, round.pages
    );
}
