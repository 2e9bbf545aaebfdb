//! `gristmill admin notifications`.

use super::Door;
use clap::Args;

const COLUMNS: [&str; 5] = ["Subject", "Failures", "FailingSince", "NextAttempt", "Reason"];

/// List jobs and clusters whose notifications cannot be delivered now
#[derive(Args)]
pub struct Notifications {}

impl Notifications {
    pub async fn run(self, door: &Door) -> anyhow::Result<()> {
        door.show(&door.get(&["notifications"]).await?, &COLUMNS);
        Ok(())
    }
}
