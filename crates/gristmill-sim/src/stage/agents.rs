//! The agents: what they do when a message of the server arrives, and what they report.

use super::*;

impl Stage {
    pub(super) fn on_call(&mut self, id: MachineId) {
        let Some(machine) = self.provider.machines.get(&id) else { return };
        if machine.mute {
            return self.after_millis(ORPHAN_MILLIS_MAX, Message::EndItself(id));
        }
        if machine.connected {
            return;
        }
        let (worker, generation) = id;
        let (holds, reports) = (machine.holds(), machine.unacknowledged());
        let address = format!("10.0.0.{}", generation.0);
        let ahead = self.runs_ahead;
        self.send_up(id, Input::WorkerCalled { worker, generation, address, holds, ahead });
        if !reports.is_empty() {
            self.send_up(id, Input::WorkerReported { worker, generation, reports });
        }
        // An answer may never come; then the agent calls again.
        self.after_millis(15_000, Message::Call(id));
    }

    pub(super) fn on_assign(&mut self, id: MachineId, session: u32, runs: &[RunId]) {
        let Some(machine) = self.machine(id, session) else { return };
        let (new, reports) = (machine.assign(runs), machine.unacknowledged());
        if !reports.is_empty() {
            // The server still wants what is over here: the report did not reach it.
            let (worker, generation) = id;
            self.send_up(id, Input::WorkerReported { worker, generation, reports });
        }
        for run in new {
            let delay = self.delay();
            self.after_millis(delay, Message::Progress(id, run));
        }
    }

    pub(super) fn on_acknowledge(&mut self, id: MachineId, session: u32, runs: &[RunId]) {
        let Some(machine) = self.machine(id, session) else { return };
        machine.held.retain(|run, held| !(runs.contains(run) && matches!(held, Held::Ended(_))));
    }

    pub(super) fn on_progress(&mut self, id: MachineId, run: RunId) {
        let at = self.clock_of(id);
        let Some(machine) = self.provider.machines.get_mut(&id) else { return };
        let report = match machine.held.get(&run) {
            Some(Held::Preparing) => {
                machine.held.insert(run, Held::Running(at));
                let delay = 5 * self.delay();
                self.after_millis(delay, Message::Progress(id, run));
                RunReport::Started { run, at }
            }
            Some(Held::Running(since)) => {
                let started = (!self.chance.one_in(9)).then_some(*since);
                let outcome = outcome(&mut self.chance, self.faults);
                let detail = String::new();
                let report = RunReport::Ended { run, started, ended: at, outcome, detail };
                machine.held.insert(run, Held::Ended(report.clone()));
                report
            }
            Some(Held::Ended(_)) | None => return,
        };
        let skipped = matches!(report, RunReport::Started { .. }) && self.chance.one_in(4);
        if !skipped {
            self.report(id, report);
        }
    }

    /// Sends a report, sometimes twice, sometimes the copy long after.
    pub(super) fn report(&mut self, id: MachineId, report: RunReport) {
        let (worker, generation) = id;
        let mut reports = vec![report];
        if self.chance.one_in(3)
            && let Some(machine) = self.provider.machines.get(&id)
        {
            // Several in one message, some of them again.
            reports = machine.unacknowledged().into_iter().chain(reports).collect();
        }
        let input = Input::WorkerReported { worker, generation, reports };
        if self.provider.machines.get(&id).is_some_and(|machine| machine.connected) {
            self.send_up(id, input.clone());
        }
        if self.faults && self.chance.one_in(5) {
            let late = 5 * self.delay();
            self.after_millis(late, Message::Input(input, Sender::Nobody));
        }
    }

    /// Some machines have a clock that is an hour off.
    pub(super) fn clock_of(&self, id: MachineId) -> Timestamp {
        match id.0.0 % 4 {
            0 => Timestamp(self.now.0 - 3_600_000_000),
            1 => Timestamp(self.now.0 + 3_600_000_000),
            _ => self.now,
        }
    }

    pub(super) fn break_connection(&mut self, id: MachineId) {
        let Some(machine) = self.provider.machines.get_mut(&id) else { return };
        machine.session += 1;
        machine.connected = false;
        let delay = self.delay();
        self.after_millis(delay, Message::Call(id));
    }
}
