//! What the disks of machines on this host may take together: files that hold them are sparse, so more
//! can be promised than there is. The operator's bound says how much.
//!
//! Machines come in the order in which they were first wanted; one whose disks do not fit waits for room
//! like one for which there is no place.

use gristmill_core::{Worker, World};
use gristmill_model::{WorkerState, event::EnsureWorker, spec::Configs};
use tracing::warn;

const GIB: u64 = 1 << 30;

/// Why there is no room for the disks of this machine, for its owner, who is told nothing of what others
/// have. `bytes_max` 0: there is no bound.
pub fn no_room(world: &World, request: &EnsureWorker, bytes_max: u64) -> Option<String> {
    let own = world.any_cluster(request.cluster).map_or(0, |it| promised(&it.spec.configs));
    if bytes_max == 0 || own == 0 {
        return None;
    }
    let this = world.worker(request.worker)?;
    let others = world
        .all_workers()
        .filter(|other| is_before(other, this))
        .map(|other| world.any_cluster(other.cluster).map_or(0, |it| promised(&it.spec.configs)));
    refusal(own, others.sum(), bytes_max)
}

/// Bytes of the disks that each machine of such a cluster has.
fn promised(configs: &Configs) -> u64 {
    let system = configs.system_disk.as_ref().map_or(0, |disk| disk.size_gb);
    let data = configs.data_disk.as_ref().map_or(0, |data| data.disk.size_gb);
    (u64::from(system) + u64::from(data)) * GIB
}

/// Whether the other has its disks already, or has the first claim on what is left.
fn is_before(other: &Worker, this: &Worker) -> bool {
    match other.state {
        WorkerState::Pending => false,
        WorkerState::Starting => (other.created, other.id) < (this.created, this.id),
        WorkerState::Running | WorkerState::Deleting => other.id != this.id,
    }
}

fn refusal(own: u64, others: u64, bytes_max: u64) -> Option<String> {
    if own + others <= bytes_max {
        return None;
    }
    let [own_gb, others_gb, bound_gb] = [own, others, bytes_max].map(|bytes| bytes / GIB);
    warn!(own_gb, others_gb, bound_gb, "disks that do not fit (`local.disks_bytes_max`)");
    Some(match own > bytes_max {
        true => format!("the machine's disks of {own_gb} GB are larger than the host allows"),
        false => format!("no room on the host for the machine's disks of {own_gb} GB"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_exactly_fits_and_of_others_nothing_is_told() {
        assert_eq!(refusal(40 * GIB, 60 * GIB, 100 * GIB), None);
        let said = refusal(41 * GIB, 60 * GIB, 100 * GIB).expect("too much");
        assert_eq!(said, "no room on the host for the machine's disks of 41 GB");
        let said = refusal(101 * GIB, 0, 100 * GIB).expect("it never fits");
        assert_eq!(said, "the machine's disks of 101 GB are larger than the host allows");
    }
}
