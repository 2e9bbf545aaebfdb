//! What the operator sets for machines: prices of spot machines, machines set aside for an
//! account, quotas of an account.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bounds on what an account uses. `None`: what the region's limits say. Since 0.1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Machines of all clusters together, prepaid ones aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machines: Option<u64>,
    /// Processor cores of these machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u64>,
    /// Jobs that have not been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u64>,
    /// Instances of jobs that have not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
}

/// A price in thousandths of the currency unit, shown with three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PriceMilli(pub u32);

impl fmt::Display for PriceMilli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// Why a machine is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReclaimCause {
    /// The price passed the limit.
    Price,
    /// Machines on demand found no room.
    Capacity,
    /// Another account has fewer machines and waits: it goes when its runs have ended.
    Share,
}
