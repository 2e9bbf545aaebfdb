//! How many machines a group has: the one place where machines are wanted or sent away.
//!
//! Everything else changes how many are desired, or of what shape, and calls [`fit_group`].
//!
//! [`fit_group`]: Draft::fit_group

use super::Draft;
use crate::cluster::Worker;
use gristmill_model::{
    ClusterId, Effect, Event, Generation, GroupName, WorkerId, WorkerState, event::EnsureWorker,
};
use std::{cmp::Reverse, sync::Arc};

impl Draft<'_> {
    pub(super) fn fit_cluster(&mut self, id: ClusterId) {
        let groups: Vec<_> = self.world.cluster_of(id).groups.keys().cloned().collect();
        for group in groups {
            self.fit_group(id, &group);
        }
    }

    /// Wants machines, or sends some away, until a group has as many as desired.
    pub(super) fn fit_group(&mut self, id: ClusterId, name: &GroupName) {
        if self.world.cluster_of(id).deleting {
            return;
        }
        self.narrow(id, name);
        let cluster = self.world.cluster_of(id);
        let group = &cluster.groups[name];
        let (alive, desired) = (group.alive(), group.desired);
        if alive < desired && self.world.group_overpriced(cluster, name).is_none() {
            for _ in alive..desired {
                self.want_new(id, name);
            }
        }
        for worker in self.most_dispensable(id, name, alive.saturating_sub(desired)) {
            self.send_away(worker, "the group was made smaller");
        }
        self.close_empty_lane(id, name);
    }

    /// The machines whose loss hurts least: not there yet, then idle, then with few runs; the
    /// youngest first.
    fn most_dispensable(&self, id: ClusterId, name: &GroupName, count: u32) -> Vec<WorkerId> {
        if count == 0 {
            return Vec::new();
        }
        let group = &self.world.cluster_of(id).groups[name];
        let mut ranked: Vec<_> = group
            .workers
            .iter()
            .map(|id| self.world.worker_of(*id))
            .filter(|worker| worker.state != WorkerState::Deleting)
            .map(|worker| (worker.state, worker.used(), Reverse(worker.created), worker.id))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().take(count as usize).map(|(.., id)| id).collect()
    }

    fn want_new(&mut self, cluster: ClusterId, group: &GroupName) {
        let mut worker = self.ids.worker();
        while self.world.workers.contains_key(&worker) {
            worker = self.ids.worker();
        }
        let host_name = self.world.next_host_name(cluster, group);
        let generation = Generation(1);
        let (group, at) = (group.clone(), self.now);
        let known = &self.world.cluster_of(cluster).groups[&group];
        let wait = known.wait_until(&self.world.options, self.now);
        self.emit(Event::WorkerWanted { worker, generation, cluster, group, host_name, at });
        let is_spot = self.world.worker_of(worker).is_spot;
        let yields = self.yields(is_spot);
        match (wait, yields) {
            (Some(again_at), _) => {
                let reason = "machines of the group were lost as soon as they ran".to_owned();
                self.emit(Event::WorkerDelayed {
                    worker,
                    generation,
                    reason,
                    again_at,
                    failed: None,
                    not_for_room: true,
                    not_made: false,
                });
            }
            (None, Some(reason)) => self.put_off(worker, reason),
            (None, None) if self.others_come_first(worker) => self.queue_up(worker),
            (None, None) => self.ensure(worker),
        }
    }

    /// A spot machine waits until those on demand have room.
    pub(super) fn put_off(&mut self, worker: WorkerId, reason: &str) {
        let generation = self.world.worker_of(worker).generation;
        self.emit(Event::WorkerDelayed {
            worker,
            generation,
            reason: reason.to_owned(),
            again_at: self.now.after(self.world.options.ask_again_max),
            failed: None,
            not_for_room: true,
            not_made: false,
        });
    }

    /// Asks again for a machine that could not be made.
    pub(super) fn want_again(&mut self, worker: &Worker) {
        let Worker { id, cluster, .. } = *worker;
        let generation = Generation(worker.generation.0 + 1);
        let (group, host_name) = (worker.group.clone(), worker.host_name.clone());
        let at = self.now;
        self.emit(Event::WorkerWanted { worker: id, generation, cluster, group, host_name, at });
        self.ensure(id);
    }

    fn ensure(&mut self, worker: WorkerId) {
        let effect = self.world.ensure_effect(self.world.worker_of(worker));
        self.effects.push(effect);
    }

    /// Puts the runs of a machine back and lets it go.
    pub(super) fn send_away(&mut self, id: WorkerId, reason: &str) {
        let worker = Arc::clone(self.world.worker_of(id));
        if worker.state == WorkerState::Deleting {
            return;
        }
        for run in worker.runs.keys() {
            let end = self.cut_short(*run, id, reason);
            self.end_run(id, *run, end, None);
        }
        self.let_go(&worker, reason);
    }

    /// The machine is to go. Its runs were ended before.
    pub(super) fn let_go(&mut self, worker: &Worker, reason: &str) {
        let Worker { id, generation, .. } = *worker;
        self.emit(Event::WorkerDeleting { worker: id, reason: reason.to_owned(), at: self.now });
        self.effects.push(Effect::RemoveWorker { worker: id, generation });
    }
}

impl crate::World {
    /// What should exist of a machine.
    pub(crate) fn ensure_effect(&self, worker: &Worker) -> Effect {
        let cluster = self.cluster_of(worker.cluster);
        let shape = worker.made_as.as_deref().cloned();
        let shape = shape.unwrap_or_else(|| cluster.shape_of(&worker.group));
        Effect::EnsureWorker(EnsureWorker {
            worker: worker.id,
            generation: worker.generation,
            cluster: worker.cluster,
            group: worker.group.clone(),
            host_name: worker.host_name.clone(),
            instance_type: shape.instance_type,
            image: shape.image,
        })
    }
}
