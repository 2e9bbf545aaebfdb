//! What the region offers: instance types, disks (`reference/api.md` 12).

use crate::door::{Door, Reply};
use gristmill_wire::api::responses::{AvailableResource, Quotas};

/// `GET /quotas`
pub fn quotas(door: &Door) -> Reply {
    Reply::ok(&Quotas::of(&door.catalogue.types))
}

/// `GET /available`
pub fn available(door: &Door) -> Reply {
    Reply::ok(&AvailableResource::of(&door.catalogue.types))
}
