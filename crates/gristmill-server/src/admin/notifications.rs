//! `GET /admin/notifications`: jobs and clusters whose notices cannot be delivered now.

use crate::{
    door::{Door, Reply},
    messaging::board::Stuck,
};
use gristmill_wire::{error::ApiError, time::WireTime};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    subject: String,
    failures: u32,
    failing_since: WireTime,
    next_attempt: WireTime,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    items: Vec<Shown>,
    /// How many there are; `Items` has the first thousand.
    total: usize,
}

/// What is stuck, why, since when, and when it is tried again.
pub async fn list(door: &Door) -> Result<Reply, ApiError> {
    let (stuck, total) = door.stuck.read();
    let items = stuck.into_iter().map(shown).collect();
    Ok(Reply::ok(&Answer { items, total }))
}

fn shown(stuck: Stuck) -> Shown {
    let Stuck { subject, failures, since, again_at, reason } = stuck;
    Shown { subject, failures, failing_since: since.into(), next_attempt: again_at.into(), reason }
}
