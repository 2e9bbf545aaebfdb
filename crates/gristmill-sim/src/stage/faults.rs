//! What goes wrong: machines, connections, the server, and liars.

use super::*;

impl Stage {
    pub(super) fn on_fault(&mut self) -> Result<(), String> {
        if !self.faults {
            return Ok(());
        }
        let ids: Vec<MachineId> = self.provider.machines.keys().copied().collect();
        let victim = self.chance.pick(&ids);
        match (self.chance.below(12), victim) {
            (0 | 1, Some(id)) => self.kill(id),
            (2 | 3, Some(id)) => self.break_connection(id),
            (4, Some(id)) => self.cut_off(id),
            (5, Some(id)) => self.forget_runs(id),
            (6, Some(id)) => self.distrust(id),
            (7 | 8, Some(id)) => self.lie(id),
            (9, _) => self.old_world = self.region.world.clone(),
            (10, _) => self.region.checkpoint(),
            (11, _) => self.restart()?,
            _ => {}
        }
        let pause = 300 + 10 * self.delay();
        self.after_millis(pause, Message::Fault);
        Ok(())
    }

    /// The machine dies. The server notices by its silence or by the provider's word.
    pub(super) fn kill(&mut self, id: MachineId) {
        self.provider.machines.remove(&id);
        self.trace.lost += 1;
    }

    /// The network to the machine is gone for longer than the server's patience; its programs
    /// run on.
    pub(super) fn cut_off(&mut self, id: MachineId) {
        let Some(machine) = self.provider.machines.get_mut(&id) else { return };
        machine.session += 1;
        machine.connected = false;
        let away = u64::from(PATIENCE.0) * 1_000 + 200 * self.delay();
        self.after_millis(away, Message::Call(id));
    }

    /// The agent is started anew and knows nothing.
    pub(super) fn forget_runs(&mut self, id: MachineId) {
        if let Some(machine) = self.provider.machines.get_mut(&id) {
            machine.held.clear();
        }
        self.break_connection(id);
    }

    /// The server takes a machine that is well for silent.
    pub(super) fn distrust(&mut self, (worker, generation): MachineId) {
        let silent = Input::WorkerSilent { worker, generation };
        self.after_millis(0, Message::Input(silent, Sender::Nobody));
    }

    /// Reports of runs that this machine does not have, and of generations that are not.
    pub(super) fn lie(&mut self, (worker, generation): MachineId) {
        let run = RunId(self.chance.below(2_000));
        let theirs = |worker: &gristmill_core::Worker| worker.runs.contains_key(&run);
        if self.region.world.worker(worker).is_some_and(theirs) {
            return;
        }
        let (started, ended, detail) = (None, self.now, String::new());
        let outcome = RunOutcome::Exited { code: 0 };
        let ended = RunReport::Ended { run, started, ended, outcome, detail };
        let reports = vec![RunReport::Started { run, at: self.now }, ended];
        let generation = match self.chance.below(3) {
            0 => Generation(generation.0 + 1),
            1 => Generation(generation.0.saturating_sub(1)),
            _ => generation,
        };
        let lie = Input::WorkerReported { worker, generation, reports };
        self.after_millis(0, Message::Input(lie, Sender::Liar));
    }

    /// The server is killed and started again. What was under way to it is lost.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        self.trace.restarts += 1;
        self.region.restart(self.chance.seed())?;
        self.old_world = self.region.world.clone();
        self.planning = false;
        self.heard.clear();
        let ids: Vec<_> = self.provider.machines.keys().copied().collect();
        ids.into_iter().for_each(|id| self.break_connection(id));
        for effect in self.region.world.standing_effects() {
            self.after_millis(1, Message::Effect(effect));
        }
        self.planning = true;
        self.after_millis(1, Message::Plan);
        Ok(())
    }
}
