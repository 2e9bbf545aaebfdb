//! Watches for what does not happen: workers that fall silent, and deadlines of the core that
//! pass (machines that never call among them). It only tells the mill; the core decides.

use crate::{
    config::PatienceConfig,
    front::stopped,
    mill::{Clock, Mill},
    sessions::Sessions,
};
use gristmill_model::{Input, WorkerState};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tracing::warn;

/// How often silence is measured.
const ROUND: Duration = Duration::from_secs(1);

/// Measures silence until `stop` changes.
pub async fn watch_workers(
    mill: Mill,
    sessions: Arc<Sessions>,
    config: PatienceConfig,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = stopped(&mut stop) => return,
        }
        sessions.forget_strangers();
        for input in overdue(&mill, &sessions, &config) {
            if let Err(error) = mill.put(input).await {
                warn!(%error, "could not report a silent worker; it is tried again");
            }
        }
    }
}

fn overdue(mill: &Mill, sessions: &Sessions, config: &PatienceConfig) -> Vec<Input> {
    let patience: Duration = config.worker_silence_max.into();
    let world = mill.published().world();
    let silent = world.all_workers().filter(|worker| {
        worker.state == WorkerState::Running && sessions.silence(worker.id) > patience
    });
    silent.map(|it| Input::WorkerSilent { worker: it.id, generation: it.generation }).collect()
}

/// Sends a tick whenever a deadline of the world passes, until `stop` changes.
pub async fn tick(mill: Mill, clock: Clock, mut stop: watch::Receiver<bool>) {
    let mut turns = mill.published().turns();
    loop {
        let wait = until_deadline(&mill, &clock);
        tokio::select! {
            () = sleep_or_for_ever(wait) => {
                if let Err(error) = mill.put(Input::Tick).await {
                    warn!(%error, "a tick was not taken");
                    tokio::time::sleep(ROUND).await;
                }
            }
            changed = turns.changed() => if changed.is_err() { return },
            () = stopped(&mut stop) => return,
        }
    }
}

fn until_deadline(mill: &Mill, clock: &Clock) -> Option<Duration> {
    let deadline = mill.published().world().next_deadline()?;
    let micros = deadline.0.saturating_sub(clock().0);
    // A clock that jumps back must not make the wait endless; a millisecond keeps a passed
    // deadline from spinning while the tick is on its way.
    Some(
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
            .clamp(Duration::from_millis(1), Duration::from_secs(60)),
    )
}

async fn sleep_or_for_ever(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
