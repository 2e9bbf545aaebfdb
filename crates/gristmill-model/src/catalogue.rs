//! Instance types: a name and what a machine of that type has.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of an instance type, such as `ecs.sn1ne.xlarge`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceTypeName(pub String);

impl fmt::Display for InstanceTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a machine of this type has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceType {
    /// The name.
    pub name: InstanceTypeName,
    /// Processor cores.
    pub cpu_cores: u32,
    /// Memory in GB.
    pub memory_gb: u32,
}
