//! The knobs of the mill. Everything here has a default that works on one machine.

use gristmill_model::{Seconds, catalogue::InstanceTypeName, spec::Limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the mill is set up. Not part of the journal: a restart may bring other options, which
/// hold for what happens from then on. Since 0.1.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Quotas and bounds.
    pub limits: Limits,
    /// How many runs a machine holds at once, those included that wait on it to start.
    pub slots_per_worker: u32,
    /// How many runs a machine may hold beyond these, if it says that it can. It gets them only of
    /// tasks whose programs are short: see `look_ahead_ms`.
    pub runs_ahead_max: u32,
    /// How long what a machine holds beyond its slots may take, as far as the task's past says.
    /// An instance waits at most about so long on one machine while another one is free.
    pub look_ahead_ms: u32,
    /// A machine that was asked for and has not called for longer is given up and replaced.
    pub worker_start_max: Seconds,
    /// How much longer the first call may take where the cluster has a bootstrap command, which
    /// is run before it.
    pub bootstrap_max: Seconds,
    /// A machine that is lost sooner after its first call did not settle. When several in a row
    /// do not, replacements of the group wait as if they could not be made: an agent that
    /// crashes as it starts does not keep the provider busy.
    pub worker_settle: Seconds,
    /// How long the mill waits before it asks again for a machine that could not be made; each
    /// further failure doubles it.
    pub ask_again_first: Seconds,
    /// The longest such wait.
    pub ask_again_max: Seconds,
    /// The longest such wait after machines that came and could not be set up: each try runs
    /// the owner's bootstrap command.
    pub set_up_again_max: Seconds,
    /// How long a finished job stays in memory before it moves into the history.
    pub finished_kept: Seconds,
    /// How many finished jobs stay in memory at most.
    pub finished_kept_max: u32,
    /// The type of machines that name none.
    pub default_type: Option<InstanceTypeName>,
    /// Cores of each type, for the quota of cores; a type that is not there has one.
    pub cores: BTreeMap<InstanceTypeName, u32>,
    /// How long a spot machine still runs after it was told that it will be taken back.
    pub spot_notice: Seconds,
    /// How long a machine that was made for attached tasks is kept with nothing to do: the next task
    /// may need it.
    pub attached_idle: Seconds,
    /// How long idempotency tokens are kept (`reference/api.md` 4.4: at least 24 hours).
    pub token_kept: Seconds,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            slots_per_worker: 1,
            runs_ahead_max: 256,
            look_ahead_ms: 100,
            worker_start_max: Seconds(600),
            bootstrap_max: Seconds(1_800),
            worker_settle: Seconds(2),
            ask_again_first: Seconds(1),
            ask_again_max: Seconds(60),
            set_up_again_max: Seconds(300),
            finished_kept: Seconds(600),
            finished_kept_max: 1_000,
            default_type: None,
            cores: BTreeMap::new(),
            attached_idle: Seconds(60),
            spot_notice: Seconds(10),
            token_kept: Seconds(86_400),
        }
    }
}

impl Options {
    /// How many runs of a task a machine may hold: its slots, and beyond them what is done within
    /// `look_ahead_ms` at the task's pace.
    pub fn room_for(&self, pace: Option<u32>, ahead: u32) -> u32 {
        let slots = self.slots_per_worker;
        let Some(pace) = pace else { return slots };
        let soon =
            u64::from(self.look_ahead_ms) * 1_000 * u64::from(slots) / u64::from(pace.max(1));
        slots + ahead.min(u32::try_from(soon).unwrap_or(u32::MAX))
    }

    /// The cores of a machine of this type, or of the default one.
    pub fn cores_of(&self, kind: Option<&InstanceTypeName>) -> u64 {
        let kind = kind.or(self.default_type.as_ref());
        kind.and_then(|kind| self.cores.get(kind)).map_or(1, |cores| u64::from(*cores))
    }

    /// The wait before asking again after `failures` failures in a row.
    pub fn back_off(&self, failures: u32) -> Seconds {
        self.doubled(failures, self.ask_again_max)
    }

    /// The wait before a machine is asked for again that could not be set up.
    pub fn back_off_set_up(&self, failures: u32) -> Seconds {
        self.doubled(failures, self.set_up_again_max)
    }

    fn doubled(&self, failures: u32, max: Seconds) -> Seconds {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        Seconds(self.ask_again_first.0.saturating_mul(doubled).min(max.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_programs_wait_on_a_machine() {
        let options = Options { slots_per_worker: 2, ..Options::default() };
        let room = |pace| options.room_for(pace, 64);
        assert_eq!([None, Some(60_000_000), Some(10_000), Some(0)].map(room), [2, 2, 22, 66]);
        assert_eq!(options.room_for(Some(0), 0), 2, "a machine that cannot wait gets no more");
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_bound() {
        let options = Options::default();
        let waits: Vec<_> = [0, 1, 2, 3, 6, 7, 40].map(|n| options.back_off(n).0).into();
        assert_eq!(waits, [1, 1, 2, 4, 32, 60, 60]);
    }
}
