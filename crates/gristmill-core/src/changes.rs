//! What is different between two looks at a task: for those who follow a job.
//!
//! Worlds share what did not change, so comparing two of them costs what changed. A state that was
//! entered and left between the looks is not told.

use crate::job::Task;
use gristmill_model::{InstanceState, JobState, RangeSet};
use imbl::ordmap::DiffItem;

/// Instances of a task that entered a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// The state.
    pub state: JobState,
    /// Their numbers.
    pub instances: RangeSet,
}

impl Task {
    /// The states that instances are in now and were not in `before`, in the order of a life.
    pub fn entered_since(&self, before: &Task) -> Vec<Entered> {
        let waited = all_waiting(before);
        let sets = [
            (JobState::Waiting, beyond(&all_waiting(self), &waited)),
            (JobState::Running, self.running_since(before)),
            (JobState::Finished, beyond(&self.finished, &before.finished)),
            (JobState::Failed, beyond(&self.failed, &before.failed)),
            (JobState::Stopped, beyond(&self.stopped, &before.stopped)),
        ];
        let entered = sets.into_iter().filter(|(_, instances)| !instances.is_empty());
        entered.map(|(state, instances)| Entered { state, instances }).collect()
    }

    fn running_since(&self, before: &Task) -> RangeSet {
        let changes = before.live.diff(&self.live);
        let began = changes.filter_map(|change| match change {
            DiffItem::Add(number, state) => is_running(state).then_some(*number),
            DiffItem::Update { old: (_, old), new: (number, new) } => {
                (is_running(new) && !is_running(old)).then_some(*number)
            }
            DiffItem::Remove(..) => None,
        });
        began.collect()
    }
}

/// A placed instance still waits.
fn all_waiting(task: &Task) -> RangeSet {
    let mut waiting = task.waiting.clone();
    let placed = task.live.iter().filter(|(_, state)| !is_running(state));
    waiting.extend(&placed.map(|(number, _)| *number).collect());
    waiting
}

fn is_running(state: &InstanceState) -> bool {
    matches!(state, InstanceState::Running { .. })
}

fn beyond(now: &RangeSet, before: &RangeSet) -> RangeSet {
    let mut new = now.clone();
    new.subtract(before);
    new
}
