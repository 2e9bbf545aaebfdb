//! When a simulation is over, and what hangs when it never is.

use super::*;

impl Stage {
    pub(super) fn is_over(&self) -> bool {
        let ended = self.acknowledged.iter().all(|job| self.referee.is_over(*job));
        let world = &self.region.world;
        ended && world.all_jobs().all(|job| job.state.is_final()) && !self.referee.is_busy()
    }

    /// After the last job: no machine, no cluster and no run is left, inside or outside.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let bound = self.trace.steps + DRAIN_STEPS_MAX;
        while !self.is_empty() {
            if self.trace.steps > bound {
                let clusters: Vec<_> = self.region.world.all_clusters().map(|it| it.id).collect();
                let machines: Vec<_> = self.provider.machines.keys().collect();
                return Err(format!("never settles: {clusters:?}, {machines:?}"));
            }
            self.step()?;
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        let world = &self.region.world;
        let inside = world.all_clusters().next().is_none() && world.all_workers().next().is_none();
        inside && self.provider.machines.is_empty()
    }

    pub(super) fn what_hangs(&self) -> String {
        let lost = self.acknowledged.iter().find(|job| !self.referee.knows(**job));
        if let Some(job) = lost {
            return format!("{job} was acknowledged and does not exist");
        }
        let world = &self.region.world;
        let hangs = world.all_jobs().find(|job| !job.state.is_final());
        let Some(job) = hangs else { return "a run never ends".to_owned() };
        let why = world.why(job.id).unwrap_or_default();
        let busy = world.all_workers().filter(|worker| !worker.runs.is_empty());
        let machines: Vec<_> = busy
            .map(|worker| {
                let machine = self.provider.machines.get(&(worker.id, worker.generation));
                format!("{} runs {:?}, really {machine:?}", worker.id, worker.runs)
            })
            .collect();
        format!("{} never ends: {why}; {}", job.id, machines.join("; "))
    }
}
