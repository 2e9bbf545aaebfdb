//! What goes wrong: machines, connections, the server, and liars.

use super::*;

/// How far the server's clock may be off, microseconds: less than a token is remembered.
const SKEW_MAX: i64 = 6 * 3_600_000_000;

impl Stage {
    pub(super) fn on_fault(&mut self) -> Result<(), String> {
        if !self.faults {
            return Ok(());
        }
        let ids: Vec<MachineId> = self.provider.machines.keys().copied().collect();
        let victim = self.chance.pick(&ids);
        match (self.chance.below(14), victim) {
            (0 | 1, Some(id)) => self.kill(id),
            (2 | 3, Some(id)) => self.break_connection(id),
            (4, Some(id)) => self.cut_off(id),
            (5, Some(id)) => self.forget_runs(id),
            (6, Some(id)) => self.distrust(id),
            (7 | 8, Some(id)) => self.lie(id),
            (9, _) => self.old_world = self.region.world.clone(),
            (10, _) => self.region.checkpoint(),
            (11, _) => self.restart()?,
            (12, _) => self.jump(),
            (13, Some(id)) => self.run_out_of_memory(id),
            _ => {}
        }
        let pause = 300 + 10 * self.delay();
        self.after_millis(pause, Message::Fault);
        Ok(())
    }

    /// The server's clock is set, forward or back, by seconds or by an hour.
    pub(super) fn jump(&mut self) {
        let seconds = self.chance.pick(&[1, 40, 3_600]).expect("there are three");
        let sign = if self.chance.one_in(2) { -1 } else { 1 };
        self.skew = (self.skew + sign * seconds * 1_000_000).clamp(-SKEW_MAX, SKEW_MAX);
        self.trace.jumps += 1;
    }

    /// The kernel ends the process that serves the inputs of the runs on a machine.
    pub(super) fn run_out_of_memory(&mut self, id: MachineId) {
        let at = self.clock_of(id);
        let Some(machine) = self.provider.machines.get_mut(&id) else { return };
        let ended = machine.lose_inputs(at);
        ended.into_iter().for_each(|report| self.report(id, report));
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
        let mut options = self.region.world.options().clone();
        if self.faults && self.chance.one_in(4) {
            set_limits(&mut options.limits, &mut self.chance);
        }
        self.region.restart(self.chance.seed(), options)?;
        self.input(Input::Resumed, Sender::Nobody)?;
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
