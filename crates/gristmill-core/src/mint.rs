//! Makes ids. The only place in the core where chance enters, and it is an argument: the caller
//! owns the mint and its seed.
//!
//! Invariants
//! - One stream per kind of id: a job more or less does not change the ids of the machines.
//! - Job ids only grow, so a listing by id is a listing by creation, also when many jobs are
//!   made in the same microsecond and when the clock goes backwards.

use gristmill_model::{ClusterId, JobId, Timestamp, WorkerId};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// A source of ids.
#[derive(Debug, Clone)]
pub struct IdMint {
    jobs: ChaCha8Rng,
    clusters: ChaCha8Rng,
    workers: ChaCha8Rng,
}

impl IdMint {
    /// A mint whose ids follow from `seed` alone. Give it a fresh random seed at every start of
    /// the process, or ids repeat.
    pub fn new(seed: [u8; 32]) -> Self {
        let stream = |number| {
            let mut stream = ChaCha8Rng::from_seed(seed);
            stream.set_stream(number);
            stream
        };
        Self { jobs: stream(1), clusters: stream(2), workers: stream(3) }
    }

    /// The id of a job made at `now`; greater than `newest`, the greatest id there is.
    pub(crate) fn job(&mut self, now: Timestamp, newest: Option<JobId>) -> JobId {
        let clock = u64::try_from(now.0).unwrap_or(0);
        let after = newest.map_or(0, |JobId(id)| (id >> 64) as u64 + 1);
        JobId(u128::from(clock.max(after)) << 64 | u128::from(self.jobs.next_u64()))
    }

    /// The id of a cluster.
    pub(crate) fn cluster(&mut self) -> ClusterId {
        ClusterId(wide(&mut self.clusters) % ClusterId::LIMIT)
    }

    /// The id of a machine.
    pub(crate) fn worker(&mut self) -> WorkerId {
        WorkerId(wide(&mut self.workers) % WorkerId::LIMIT)
    }
}

fn wide(stream: &mut ChaCha8Rng) -> u128 {
    u128::from(stream.next_u64()) << 64 | u128::from(stream.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_ids_and_kinds_do_not_disturb_each_other() {
        let (mut one, mut two) = (IdMint::new([7; 32]), IdMint::new([7; 32]));
        let _ = two.job(Timestamp(5), None);
        assert_eq!(one.worker(), two.worker());
        assert_eq!(one.cluster(), two.cluster());
        assert_ne!(one.worker(), IdMint::new([8; 32]).worker());
    }

    #[test]
    fn job_ids_grow_when_the_clock_stands_or_goes_back() {
        let mut mint = IdMint::new([1; 32]);
        let mut newest = None;
        for now in [10, 10, 10, 3, 11, i64::MIN] {
            let id = mint.job(Timestamp(now), newest);
            assert!(newest.is_none_or(|before| before < id));
            newest = Some(id);
        }
    }
}
