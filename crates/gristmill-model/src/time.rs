//! Time as the model knows it: a point in microseconds and a length in seconds. Nobody here
//! asks what time it is; the front door does and hands it on.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in time: microseconds since 1970-01-01T00:00:00Z. The wire shows six fraction digits
/// (`reference/api.md` 4.1), so this is exact.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The point `length` later; saturates at the end of time.
    pub fn after(self, length: Seconds) -> Self {
        Self(self.0.saturating_add(i64::from(length.0).saturating_mul(1_000_000)))
    }

    /// Milliseconds from `earlier` to here; 0 when the clock went backwards.
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0) / 1_000).unwrap_or(0)
    }
}

/// A length of time in whole seconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(pub u32);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

impl From<Seconds> for std::time::Duration {
    fn from(length: Seconds) -> Self {
        std::time::Duration::from_secs(u64::from(length.0))
    }
}
