//! What the region offers the caller: instance types, disks, what may be used
//! (`reference/api.md` 12).

use crate::{
    door::{Call, Door, Reply},
    market,
};
use gristmill_model::InstanceType;
use gristmill_wire::api::responses::{AvailableResource, Quotas};

/// `GET /quotas`
pub fn quotas(door: &Door, call: &Call) -> Reply {
    let world = door.mill.published().world();
    let has_prepaid = world.market().prepaid_of(call.account).next().is_some();
    let account_quotas = market::quotas_of(&world, call.account);
    Reply::ok(&Quotas { account_quotas, ..Quotas::of(&door.catalogue.types, has_prepaid) })
}

/// `GET /available`
pub fn available(door: &Door, call: &Call) -> Reply {
    let world = door.mill.published().world();
    let prepaid = world.market().prepaid_of(call.account);
    let prepaid: Vec<InstanceType> =
        prepaid.filter_map(|(kind, _)| door.catalogue.find(kind).cloned()).collect();
    Reply::ok(&AvailableResource::of(&door.catalogue.types, &prepaid))
}
