//! What agents and providers say about machines, and what is due.
//!
//! A machine that was lost is let go and replaced by a new one with a new id; whatever the lost
//! one says later is foreign. A machine that could not be made is asked for again under its own
//! id with the next generation, after a wait that doubles.

use super::Draft;
use crate::{
    cluster::Worker,
    world::{Deadline, TokenKey},
};
use gristmill_model::{
    Answer, Event, Generation, InstanceState, RunId, WorkerId, WorkerState, input::Seen,
};
use std::{collections::BTreeSet, sync::Arc};

/// Why a machine is asked for again later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delay {
    /// There is no room for it.
    NoRoom,
    /// It came and could not be set up.
    Failed,
    /// Anything else.
    Other,
}

impl Draft<'_> {
    pub(super) fn on_worker_called(
        &mut self,
        id: WorkerId,
        generation: Generation,
        address: &str,
        (holds, ahead): (&[RunId], u32),
    ) -> Answer {
        let Some(worker) = self.wanted(id, generation) else { return Answer::Unwanted };
        let ahead = ahead.min(self.world.options.runs_ahead_max);
        let known = worker.address == address && worker.ahead == ahead;
        if worker.state != WorkerState::Running || !known {
            let (address, at) = (address.to_owned(), self.now);
            self.emit(Event::WorkerRunning { worker: id, generation, address, ahead, at });
        }
        self.put_forgotten_back(id, holds);
        // What was put back may have failed its job and with it this machine's cluster.
        match self.wanted(id, generation) {
            Some(_) => Answer::Welcome,
            None => Answer::Unwanted,
        }
    }

    /// Runs that had started and that the machine does not hold are lost. Those that had not
    /// started were perhaps never received; the server sends them again.
    fn put_forgotten_back(&mut self, id: WorkerId, holds: &[RunId]) {
        let holds: BTreeSet<_> = holds.iter().collect();
        let worker = Arc::clone(self.world.worker_of(id));
        for run in worker.runs.keys().filter(|run| !holds.contains(run)) {
            if self.has_started(id, *run) {
                let message = format!("machine {id} no longer holds the run");
                let end = self.lost(*run, id, message);
                self.end_run(id, *run, end, None);
            }
        }
    }

    fn has_started(&self, worker: WorkerId, run: RunId) -> bool {
        let Some(what) = self.current(worker, run) else { return false };
        let state = self.world.job_of(what.job).tasks[&what.task].instance(what.instance);
        matches!(state, Some(InstanceState::Running { .. }))
    }

    pub(super) fn on_worker_silent(&mut self, id: WorkerId, generation: Generation) -> Answer {
        match self.wanted(id, generation) {
            Some(worker) if worker.state != WorkerState::Pending => {
                self.lose(&worker, "lost: it was silent for too long");
            }
            _ => {}
        }
        Answer::Done
    }

    pub(super) fn on_worker_observed(
        &mut self,
        id: WorkerId,
        generation: Generation,
        seen: &Seen,
    ) -> Answer {
        let Some(worker) = self.world.workers.get(&id).cloned() else { return Answer::Unwanted };
        if worker.generation != generation {
            return Answer::Unwanted;
        }
        use WorkerState as S;
        match (worker.state, seen) {
            (S::Deleting, Seen::Gone) => self.on_released(&worker),
            (S::Running, Seen::Gone) => self.lose(&worker, "lost: the provider has it no longer"),
            (S::Starting, Seen::Gone) => {
                self.delay(&worker, "the machine went away before it called", Delay::Other);
            }
            (S::Starting, Seen::NoRoom { reason }) => {
                self.delay(&worker, reason, Delay::NoRoom);
                if !worker.is_spot && !self.make_room() {
                    self.share_places(&worker);
                }
            }
            (S::Starting, Seen::Refused { reason }) => self.delay(&worker, reason, Delay::Other),
            (S::Starting, Seen::Failed { reason }) => self.delay(&worker, reason, Delay::Failed),
            // There: as wanted, or on its way out. A refusal for a machine that called, that is
            // going or that is not asked for now says nothing new.
            (S::Pending | S::Starting | S::Running | S::Deleting, _) => {}
        }
        Answer::Done
    }

    fn on_released(&mut self, worker: &Worker) {
        self.emit(Event::WorkerGone { worker: worker.id, at: self.now });
        if let Some(first) = self.first_in_line() {
            let first = Arc::clone(self.world.worker_of(first));
            self.want_again(&first);
        }
        self.close_empty_lane(worker.cluster, &worker.group);
        self.drop_empty_cluster(worker.cluster);
    }

    /// It is asked for again later.
    fn delay(&mut self, worker: &Worker, reason: &str, why: Delay) {
        let (options, failures) = (&self.world.options, worker.failures + 1);
        let wait = match why {
            Delay::Failed => options.back_off_set_up(failures),
            Delay::NoRoom | Delay::Other => options.back_off(failures),
        };
        self.emit(Event::WorkerDelayed {
            worker: worker.id,
            generation: worker.generation,
            reason: reason.to_owned(),
            again_at: self.now.after(wait),
            failed: (why == Delay::Failed).then_some(self.now),
            not_for_room: why != Delay::NoRoom,
            not_made: why == Delay::Other,
        });
    }

    /// A machine is lost: its instances wait again, it goes, another one is wanted.
    pub(super) fn lose(&mut self, worker: &Worker, reason: &str) {
        let Worker { id, cluster, .. } = *worker;
        for run in worker.runs.keys() {
            // Ending one run may fail the job and end the others.
            if self.current(id, *run).is_some() {
                let message = format!("machine {id} ({}) was {reason}", worker.host_name);
                let end = self.lost(*run, id, message);
                self.end_run(id, *run, end, None);
            }
        }
        if self.wanted(id, worker.generation).is_some() {
            self.let_go(worker, reason);
        }
        if self.world.clusters.contains_key(&cluster) {
            self.fit_group(cluster, &worker.group);
        }
    }

    pub(super) fn on_tick(&mut self) -> Answer {
        self.archive_finished();
        while let Some((at, due)) = self.world.deadlines.get_min().cloned() {
            if at > self.now {
                break;
            }
            match due {
                Deadline::Worker(id) => self.on_worker_due(id),
                Deadline::Token(TokenKey { account, used_for, text }) => {
                    self.emit(Event::TokenExpired { account, used_for, text });
                }
            }
        }
        Answer::Done
    }

    fn on_worker_due(&mut self, id: WorkerId) {
        let worker = Arc::clone(self.world.worker_of(id));
        match (worker.state, self.yields(worker.is_spot)) {
            (WorkerState::Pending, Some(reason)) => self.put_off(id, reason),
            (WorkerState::Pending, None) => self.ask_for_the_first(&worker),
            (WorkerState::Running, _) => match worker.notice {
                Some(notice) if notice.until <= self.now => self.reclaim(&worker),
                _ => self.release_idle(&worker),
            },
            _ => self.lose(&worker, "lost: it did not call in time"),
        }
    }

    /// Asks for a machine again; when several wait for room, for the one that comes first.
    fn ask_for_the_first(&mut self, due: &Worker) {
        let first = (!due.not_for_room).then(|| self.first_in_line()).flatten();
        match first.filter(|first| *first != due.id) {
            None => self.want_again(due),
            Some(first) => {
                let first = Arc::clone(self.world.worker_of(first));
                let wait = self.world.options.back_off(due.failures);
                self.emit(Event::WorkerDelayed {
                    worker: due.id,
                    generation: due.generation,
                    reason: due.hint.clone(),
                    again_at: self.now.after(wait),
                    failed: None,
                    not_for_room: false,
                    not_made: false,
                });
                self.want_again(&first);
            }
        }
    }
}
