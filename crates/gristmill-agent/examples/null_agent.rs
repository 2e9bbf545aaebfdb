//! An agent that answers at once: what a run costs the server when nothing is run.
//!
//! Started like `gristmill agent --config FILE` (set `local.agent` to this program). Every run it is
//! told of has ended with exit code 0 the moment it is heard. Used by `cargo xtask bench null`,
//! `chain` and `million`.

use anyhow::{Context, Result};
use gristmill_agent::{Dialled, dial};
use gristmill_wire::agent::{
    AgentConfig, Beat, Finished, FinishedLast, FromAgentKind, Hello, ToAgent, ToAgentKind,
};
use std::time::{Duration, UNIX_EPOCH};

/// How many runs it takes beyond its slots.
const AHEAD: u32 = 256;
/// How often it looks for a server.
const PAUSE: Duration = Duration::from_millis(200);

fn main() -> Result<()> {
    let file = std::env::args().skip_while(|word| word != "--config").nth(1);
    let text = std::fs::read(file.context("--config FILE is missing")?)?;
    let config: AgentConfig = serde_json::from_slice(&text)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut tries = 0;
    loop {
        match runtime.block_on(talk(&config)) {
            Ok(true) => return Ok(()),
            Ok(false) => tries = 0,
            Err(error) if tries > 100 => return Err(error),
            Err(_) => tries += 1,
        }
        std::thread::sleep(PAUSE);
    }
}

/// Talks until the line breaks (`false`) or the agent is retired (`true`).
async fn talk(config: &AgentConfig) -> Result<bool> {
    let hello = Hello {
        worker: config.worker.clone(),
        generation: config.generation,
        token: config.token.clone(),
        address: config.address.clone(),
        ahead: AHEAD,
        batches: true,
        ..Hello::default()
    };
    let Dialled { say, mut hear } =
        dial(&config.server, FromAgentKind::Hello(hello).into()).await?;
    let mut beat = Duration::from_secs(10);
    loop {
        let message = match tokio::time::timeout(beat, hear.message()).await {
            Err(_) => {
                say.send(FromAgentKind::Beat(Beat {}).into()).await?;
                continue;
            }
            Ok(Ok(Some(ToAgent { kind }))) => kind,
            Ok(_) => return Ok(false),
        };
        let (mut finished, mut last) = (Finished::default(), FinishedLast::default());
        let now = i64::try_from(UNIX_EPOCH.elapsed()?.as_micros())?;
        match message {
            Some(ToAgentKind::Welcome(it)) => beat = Duration::from_millis(it.beat_ms.into()),
            Some(ToAgentKind::Retire(_)) => return Ok(true),
            Some(ToAgentKind::Run(run)) => finished.push(&mut last, run.run, now, now),
            Some(ToAgentKind::Runs(runs)) => {
                runs.iter().for_each(|run| finished.push(&mut last, run.run, now, now));
            }
            _ => {}
        }
        if !finished.runs.is_empty() {
            say.send(FromAgentKind::Finished(finished).into()).await?;
        }
    }
}
