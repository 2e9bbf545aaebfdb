//! A region at rest: what a server and the agent of one machine hold and use while nothing happens, after
//! a job has run.
//!
//! Memory is the proportional set: pages that processes share count in equal parts in each. That of an
//! agent is shown for its own process, and for all it consists of: its spawner, and sandboxes that wait.

use super::{Common, machine::Machine, processor, region::Region, stage::Stage};
use crate::house::House;
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::{path::Path, process::ExitCode, time::Duration};

/// Sandboxes that wait for the next run of their task are let go after ten seconds.
const SETTLE: Duration = Duration::from_secs(15);

/// A region at rest.
#[derive(Debug, Clone, Args)]
pub struct Idle {
    /// For how long, seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

/// One process, or several.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Use {
    /// Proportional set, MiB.
    memory_mib: f64,
    /// What no other process has, MiB.
    private_mib: f64,
    /// Resident set, MiB: shared pages count in full.
    resident_mib: f64,
    /// Percent of one processor.
    processor_percent: f64,
}

#[derive(Serialize)]
struct Raw {
    machine: Machine,
    seconds: u32,
    server: Use,
    /// The agent's process.
    agent: Use,
    /// With its spawner and whatever waits below it.
    agent_whole: Use,
}

impl Idle {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let [server, agent, agent_whole] = stage.play(self.measure(&stage.programs))?;
        for (name, used) in [("server", server), ("agent", agent), ("agent and below", agent_whole)]
        {
            let Use { memory_mib, private_mib, resident_mib, processor_percent } = used;
            println!(
                "{name:16} {memory_mib:6.1} MiB in proportion ({private_mib:.1} private, {resident_mib:.1} \
                 resident), {processor_percent:.3} % of a processor"
            );
        }
        let machine = stage.machine;
        let raw = Raw { machine, seconds: self.seconds, server, agent, agent_whole };
        self.common.keep(house, "idle", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self, programs: &Path) -> Result<[Use; 3]> {
        let region = Region::start(&programs.join("gristmill"), None).await?;
        let cluster = region.cluster(1).await?;
        run_something(&region, &cluster).await?;
        tokio::time::sleep(SETTLE).await;
        let server = region.process_id();
        let agents = processor::named("gristmill agent")?;
        ensure!(agents.len() == 1, "there are {} agents", agents.len());
        let whole = processor::with_descendants(agents[0])?;
        let ticks = |pids: &[u32]| -> Result<f64> {
            pids.iter().try_fold(0.0, |sum, pid| Ok(sum + processor::precise_seconds(*pid)?))
        };
        let groups = [vec![server], agents.clone(), whole];
        let before = groups.iter().map(|pids| ticks(pids)).collect::<Result<Vec<_>>>()?;
        tokio::time::sleep(Duration::from_secs(self.seconds.into())).await;
        let mut uses = [Use::default(); 3];
        for ((used, pids), before) in uses.iter_mut().zip(&groups).zip(before) {
            for pid in pids {
                let memory = processor::memory(*pid)?;
                used.memory_mib += memory.proportional_mib;
                used.private_mib += memory.private_mib;
                used.resident_mib += memory.resident_mib;
            }
            used.processor_percent = (ticks(pids)? - before) * 100.0 / f64::from(self.seconds);
        }
        Ok(uses)
    }
}

async fn run_something(region: &Region, cluster: &str) -> Result<()> {
    let description = json!({
        "Name": "before",
        "DAG": {"Tasks": {"true": {
            "ClusterId": cluster,
            "InstanceCount": 100,
            "Parameters": {"Command": {"CommandLine": "true"}},
        }}},
    });
    let id = region.client.create_job(&description).await?;
    while !region.client.get_job(&id).await?.has_ended() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
