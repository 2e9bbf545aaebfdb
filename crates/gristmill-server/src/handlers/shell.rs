//! `GET /clusters/{cluster}/groups/{group}/instances/{machine}/shell`, ours: a shell on a machine, as
//! a WebSocket. `gristmill_wire::api::shell` says what travels on it.

use crate::{
    door::{Call, Door, Reply},
    shell::{Address, Visitor, bridge, may_enter},
};
use gristmill_wire::{api::shell::MESSAGE_BYTES_MAX, error::ApiError};
use tracing::info;

/// Checks everything that can be refused, then changes the protocol.
pub fn open(door: &Door, call: &mut Call, address: Address<'_>) -> Result<Reply, ApiError> {
    let visitor =
        if call.caller.is_root { Visitor::Operator } else { Visitor::Account(call.account) };
    let machine = may_enter(&door.mill.published().world(), visitor, address)?;
    let upgrade = call
        .upgrade
        .take()
        .ok_or_else(|| ApiError::invalid("Upgrade", "must ask for a WebSocket"))?;
    let session = door.shells.open(call.account, machine)?;
    info!(%machine, account = %call.account, "a shell is asked for");
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(Reply::Upgraded(upgrade.on_upgrade(|socket| bridge(socket, session))))
}
