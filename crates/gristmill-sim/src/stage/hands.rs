//! The hands of the server: effects, looking around, patience.

use super::*;

impl Stage {
    pub(super) fn on_effect(&mut self, effect: &Effect) {
        if self.faults && self.chance.one_in(10) {
            return; // the provider did not answer; the sweep asks again
        }
        match self.provider.carry_out(effect, &mut self.chance, self.faults) {
            Outcome::Nothing => {}
            Outcome::Boots(id) => {
                let delay = 10 * self.delay();
                self.after_millis(delay, Message::Call(id));
            }
            Outcome::Refused(seen) => {
                let Effect::EnsureWorker(wanted) = effect else { return };
                let (worker, generation) = (wanted.worker, wanted.generation);
                let input = Input::WorkerObserved { worker, generation, seen };
                let delay = self.delay();
                self.after_millis(delay, Message::Input(input, Sender::Nobody));
            }
        }
    }

    pub(super) fn on_sweep(&mut self) -> Result<(), String> {
        if !self.faults {
            self.tidy_up()?;
        }
        for effect in self.region.world.standing_effects() {
            self.after_millis(1, Message::Effect(effect));
        }
        let workers: Vec<_> =
            self.region.world.all_workers().map(|worker| (worker.id, worker.generation)).collect();
        for id in workers {
            if self.faults && self.chance.one_in(4) {
                continue; // unknown: the provider did not answer
            }
            let (worker, generation) = id;
            let seen = self.provider.observe(id);
            let input = Input::WorkerObserved { worker, generation, seen };
            let delay = self.delay();
            self.after_millis(delay, Message::Input(input, Sender::Nobody));
        }
        self.watch_silence();
        self.after_millis(u64::from(SWEEP.0) * 1_000, Message::Sweep);
        Ok(())
    }

    /// The server's patience with machines that run: looked at again and again, so that a
    /// dropped draft does not lose it.
    pub(super) fn watch_silence(&mut self) {
        let running = self.region.world.all_workers();
        let running = running.filter(|worker| worker.state == WorkerState::Running);
        let running: Vec<MachineId> = running.map(|it| (it.id, it.generation)).collect();
        self.heard.retain(|id, _| running.contains(id));
        for id in running {
            let connected = self.provider.machines.get(&id).is_some_and(|it| it.connected);
            let heard = self.heard.entry(id).or_insert(self.now);
            if connected {
                *heard = self.now;
            } else if heard.after(PATIENCE) <= self.now {
                self.distrust(id);
            }
        }
    }
}
