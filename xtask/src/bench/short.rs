//! Very short instances: one task of many `true`, end to end, beside two floors.
//!
//! ```text
//! round:  floor, namespaced floor, Gristmill   (the next round's floor is this one's second)
//! ```
//!
//! Gristmill's time runs from the answer to the submission until the job is Finished. Each instance
//! has its sandbox, its standard streams are objects in the store, and its state is durable; all
//! of it is checked. The ratio of a round is the mean of its two floors to Gristmill. A round whose
//! floors differ by more than [`FLOORS_APART_MAX`] is dropped from the result, not from the data.

use super::{
    Common,
    floor::{self, Floor, Kind},
    machine::Machine,
    processor,
    region::{BUCKET, Region},
    stage::Stage,
    sums::{Spread, apart},
};
use crate::house::House;
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// How far the two floors of a round may differ.
const FLOORS_APART_MAX: f64 = 0.10;
/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a job may take.
const JOB_MAX: Duration = Duration::from_secs(1_800);

/// Very short instances, beside a bare spawn loop and one with the same namespaces.
#[derive(Debug, Clone, Args)]
pub struct Short {
    /// How many instances the task has, and how often the floors start `true`.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    instances: u32,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many machines the cluster has, each running one instance at a time; also the floors'
    /// parallelism.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Machines have their directories here instead of below the region's; on a memory file system
    /// this shows what the disk's costs.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// One run of the job.
#[derive(Debug, Clone, Serialize)]
struct Job {
    seconds: f64,
    /// By program: the server, the agents, and their spawners with all sandboxes.
    processor_seconds: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Serialize)]
struct Round {
    floor_before: Floor,
    namespaces: Floor,
    job: Job,
    floor_after: Floor,
    dropped: bool,
}

/// Figures over the rounds that count.
#[derive(Debug, Serialize)]
struct Summary {
    rounds_counted: usize,
    /// Gristmill's rate as a part of the bare loop's.
    of_bare: Spread,
    /// Gristmill's rate as a part of the namespaced loop's.
    of_namespaces: Spread,
    instances_per_second: Spread,
    bare_per_second: Spread,
    namespaces_per_second: Spread,
    /// Microseconds of processor time for each instance.
    processor_us: Spread,
    bare_processor_us: Spread,
    namespaces_processor_us: Spread,
}

#[derive(Serialize)]
struct Raw<'a> {
    machine: Machine,
    instances: u32,
    slots: u32,
    scratch: Option<&'a Path>,
    summary: &'a Summary,
    rounds: &'a [Round],
}

impl Short {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let rounds = stage.play(self.rounds(&stage.programs))?;
        let summary = self.sum_up(&rounds);
        self.show(&rounds, &summary);
        let raw = Raw {
            machine: stage.machine,
            instances: self.instances,
            slots: self.slots,
            scratch: self.scratch.as_deref(),
            summary: &summary,
            rounds: &rounds,
        };
        self.common.keep(house, "short", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn rounds(&self, programs: &Path) -> Result<Vec<Round>> {
        let region = Region::start(&programs.join("gristmill"), self.scratch.as_deref()).await?;
        let cluster = region.cluster(self.slots).await?;
        let loops = |kind| floor::run(programs, kind, self.instances, self.slots);
        let mut rounds = Vec::new();
        let mut floor_before = loops(Kind::Bare)?;
        for number in 0..self.rounds {
            let namespaces = loops(Kind::Namespaces)?;
            let job = self.job(&region, &cluster, number).await?;
            let floor_after = loops(Kind::Bare)?;
            let dropped = apart(floor_before.seconds, floor_after.seconds) > FLOORS_APART_MAX;
            let round = Round { floor_before, namespaces, job, floor_after, dropped };
            println!("{}", self.line(number, &round));
            rounds.push(round);
            floor_before = floor_after;
        }
        Ok(rounds)
    }

    /// Runs the job once, and checks that everything it should leave is there.
    async fn job(&self, region: &Region, cluster: &str, number: u32) -> Result<Job> {
        let logs = format!("bench/{number}/");
        let path = format!("oss://{BUCKET}/{logs}");
        let description = json!({
            "Name": "short",
            "DAG": {"Tasks": {"true": {
                "ClusterId": cluster,
                "InstanceCount": self.instances,
                "Parameters": {
                    "Command": {"CommandLine": "/bin/true"},
                    "StdoutRedirectPath": path,
                    "StderrRedirectPath": path,
                },
            }}},
        });
        let before = processor::of_children()?;
        let id = region.client.create_job(&description).await?;
        let clock = Instant::now();
        let job = loop {
            let job = region.client.get_job(&id).await?;
            if job.has_ended() {
                break job;
            }
            ensure!(clock.elapsed() < JOB_MAX, "the job is {}: {}", job.state, job.message);
            tokio::time::sleep(LOOK).await;
        };
        let seconds = clock.elapsed().as_secs_f64();
        let mut processor_seconds = processor::of_children()?;
        processor_seconds
            .iter_mut()
            .for_each(|(name, sum)| *sum -= before.get(name).unwrap_or(&0.0));
        ensure!(job.state == "Finished", "the job is {}: {}", job.state, job.message);
        let finished = job.instance_metrics.finished;
        ensure!(finished == u64::from(self.instances), "{finished} instances are finished");
        let objects = region.objects_below(&logs).await?;
        ensure!(objects == 2 * self.instances as usize, "{objects} log objects are there");
        region.client.delete_job(&id).await?;
        Ok(Job { seconds, processor_seconds })
    }

    fn line(&self, number: u32, round: &Round) -> String {
        let rate = |seconds: f64| f64::from(self.instances) / seconds;
        format!(
            "round {}: bare {:.0}/s, namespaces {:.0}/s, gristmill {:.0}/s, bare {:.0}/s{}",
            number + 1,
            rate(round.floor_before.seconds),
            rate(round.namespaces.seconds),
            rate(round.job.seconds),
            rate(round.floor_after.seconds),
            if round.dropped { "  (dropped: its floors differ too much)" } else { "" }
        )
    }

    /// Over the rounds that count; over all, when none counts.
    fn sum_up(&self, rounds: &[Round]) -> Summary {
        let mut counted: Vec<&Round> = rounds.iter().filter(|round| !round.dropped).collect();
        let rounds_counted = counted.len();
        if counted.is_empty() {
            counted = rounds.iter().collect();
        }
        let instances = f64::from(self.instances);
        let over = |figure: &dyn Fn(&Round) -> f64| {
            Spread::of(counted.iter().map(|round| figure(round))).expect("there is a round")
        };
        let micros = |seconds: f64| seconds * 1e6 / instances;
        Summary {
            rounds_counted,
            of_bare: over(&|round| round.bare_seconds() / round.job.seconds),
            of_namespaces: over(&|round| round.namespaces.seconds / round.job.seconds),
            instances_per_second: over(&|round| instances / round.job.seconds),
            bare_per_second: over(&|round| instances / round.bare_seconds()),
            namespaces_per_second: over(&|round| instances / round.namespaces.seconds),
            processor_us: over(&|round| micros(round.job.processor_seconds.values().sum())),
            bare_processor_us: over(&|round| micros(round.floor_before.processor_seconds)),
            namespaces_processor_us: over(&|round| micros(round.namespaces.processor_seconds)),
        }
    }

    fn show(&self, rounds: &[Round], summary: &Summary) {
        let dropped = rounds.iter().filter(|round| round.dropped).count();
        println!("\n{} x true, {} slots, median (min .. max)", self.instances, self.slots);
        let row = |name: &str, rate: &Spread, cost: &Spread| {
            println!("{name:12} {rate:>32}/s {cost:>32} us of processor");
        };
        row("bare loop", &summary.bare_per_second, &summary.bare_processor_us);
        row("namespaces", &summary.namespaces_per_second, &summary.namespaces_processor_us);
        row("gristmill", &summary.instances_per_second, &summary.processor_us);
        println!("gristmill / bare loop          {}", summary.of_bare);
        println!("gristmill / namespaced loop    {}", summary.of_namespaces);
        for (name, seconds) in &rounds.last().expect("there is a round").job.processor_seconds {
            println!(
                "  {name:16} {:8.0} us of processor",
                seconds * 1e6 / f64::from(self.instances)
            );
        }
        if summary.rounds_counted == 0 {
            println!("every round was too noisy to count; the figures above are of all of them");
        } else if dropped > 0 {
            println!("{dropped} of {} rounds dropped: their floors differ too much", rounds.len());
        }
    }
}

impl Round {
    fn bare_seconds(&self) -> f64 {
        f64::midpoint(self.floor_before.seconds, self.floor_after.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        short: Short,
    }

    fn short() -> Short {
        Line::parse_from(["short", "--instances", "100"]).short
    }

    fn round(before: f64, job: f64, after: f64) -> Round {
        let floor = |seconds| Floor { seconds, processor_seconds: 0.01 };
        Round {
            floor_before: floor(before),
            namespaces: floor(2.0),
            job: Job { seconds: job, processor_seconds: [("agent".into(), 0.1)].into() },
            floor_after: floor(after),
            dropped: apart(before, after) > FLOORS_APART_MAX,
        }
    }

    #[test]
    fn a_noisy_round_does_not_count_unless_all_are() {
        let quiet = round(1.0, 4.0, 1.0);
        let noisy = round(1.0, 1.0, 1.2);
        let summary = short().sum_up(&[quiet.clone(), noisy.clone()]);
        assert_eq!((summary.rounds_counted, summary.of_bare.median), (1, 0.25));
        assert_eq!(summary.of_namespaces.median, 0.5);
        let summary = short().sum_up(std::slice::from_ref(&noisy));
        assert_eq!((summary.rounds_counted, summary.of_bare.median), (0, 1.1));
    }

    #[test]
    fn costs_are_for_each_instance() {
        let summary = short().sum_up(&[round(1.0, 4.0, 1.0)]);
        assert!((summary.processor_us.median - 1000.0).abs() < 1e-6);
        assert!((summary.bare_processor_us.median - 100.0).abs() < 1e-6);
    }
}
