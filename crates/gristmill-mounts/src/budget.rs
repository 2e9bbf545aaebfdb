//! The memory of a mounter: every buffer is paid for before it is asked for.
//!
//! Two purses. Buffers that may stay (windows, read-ahead) come from the larger one and are simply
//! not made when it is empty. A read that finds it empty takes from the smaller one, waiting its
//! turn; such a buffer lives only until its read is answered, so the wait always ends
//! (`reference/mounts.md` 4.2).
//!
//! Invariants
//! - The sum of all reservations never exceeds the budget.
//! - Whoever waits for memory holds none.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The grain of reservations.
const UNIT: u64 = 4 << 10;

/// The smallest budget with which any read can be answered.
pub const BUDGET_MIN: u64 = 16 << 20;

/// A bounded amount of memory.
#[derive(Debug, Clone)]
pub struct Budget {
    staying: Arc<Semaphore>,
    passing: Arc<Semaphore>,
    bytes: u64,
    peak: Arc<AtomicU64>,
}

/// A part of a budget; dropping it gives it back.
#[derive(Debug)]
pub struct Reservation(OwnedSemaphorePermit);

impl Budget {
    /// A budget of so many bytes, at least [`BUDGET_MIN`].
    pub fn new(bytes: u64) -> Self {
        let units = (bytes.max(BUDGET_MIN) / UNIT) as usize;
        let passing = units / 4;
        Self {
            staying: Arc::new(Semaphore::new(units - passing)),
            passing: Arc::new(Semaphore::new(passing)),
            bytes: units as u64 * UNIT,
            peak: Arc::default(),
        }
    }

    /// Memory for a buffer that may stay; `None` when there is none.
    pub fn try_staying(&self, bytes: u64) -> Option<Reservation> {
        let permit = self.staying.clone().try_acquire_many_owned(units(bytes)).ok()?;
        self.note_peak();
        Some(Reservation(permit))
    }

    /// Memory for the answer to one read. Waits; the oldest first.
    pub async fn passing(&self, bytes: u64) -> Reservation {
        let permit = self.passing.clone().acquire_many_owned(units(bytes)).await;
        self.note_peak();
        Reservation(permit.expect("the semaphore is never closed"))
    }

    /// How much of it buffers that may stay can have altogether.
    pub fn staying_bytes(&self) -> u64 {
        self.bytes / 4 * 3
    }

    /// The budget.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much is reserved now.
    pub fn used(&self) -> u64 {
        let free = self.staying.available_permits() + self.passing.available_permits();
        self.bytes - free as u64 * UNIT
    }

    /// The most that was ever reserved at a time.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    fn note_peak(&self) {
        self.peak.fetch_max(self.used(), Relaxed);
    }
}

impl Reservation {
    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.0.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.0.split(surplus));
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn buffers_that_stay_never_take_what_reads_need() {
        let budget = Budget::new(BUDGET_MIN);
        let mut held = vec![];
        while let Some(part) = budget.try_staying(1 << 20) {
            held.push(part);
        }
        assert_eq!(held.len(), 12);
        let read = budget.passing(1 << 20).await;
        assert_eq!(budget.used(), 13 << 20);
        drop((held, read));
        assert_eq!((budget.used(), budget.peak()), (0, 13 << 20));
    }

    #[tokio::test]
    async fn a_reservation_can_shrink() {
        let budget = Budget::new(BUDGET_MIN);
        let mut part = budget.try_staying(1 << 20).expect("there is room");
        part.shrink_to(100);
        assert_eq!(budget.used(), 4096);
        part.shrink_to(1 << 20);
        assert_eq!(budget.used(), 4096, "it does not grow");
    }
}
