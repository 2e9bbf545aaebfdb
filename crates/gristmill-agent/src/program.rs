//! The programs of a turn, from the first start to the end that counts.
//!
//! While programs are quick they follow each other in the sandbox without a word from here, and each
//! end is a result at once. The first one that is not, or the last, is the turn's run from then on: it
//! can be read from while it writes, cancelled, and killed for its time; those behind it go back.

use crate::{
    inputs::Inputs,
    place::RunDirectory,
    trouble::{Trouble, chain},
    turns::Turn,
    work::{Place, now, own_environment},
};
use gristmill_faults::{self as faults, Point};
use gristmill_model::Cause;
use gristmill_runtime::{
    Exit, ProgramSpec, QuickEnd, RunEvent, RunHandle, SandboxSpec, Series, SeriesEvent, Stage,
    StartFailure,
};
use gristmill_wire::agent::{EndKind, RunEnd, Streams, Task};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, Sleep, sleep},
};
use tracing::warn;

/// How long a start waits to be reported with the end: a program shorter than this costs the
/// server one commit instead of two.
pub(crate) const START_UNSAID_MAX: Duration = Duration::from_millis(20);
/// How long a program may take to end after `SIGTERM`.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What was decided about the run while its program ran.
#[derive(Default)]
struct Fate {
    timed_out: bool,
    cancelled: bool,
    lost: Option<Trouble>,
    /// Whether the start is to be announced.
    unsaid: bool,
}

impl Place {
    /// Lets the programs of a turn run. Those that were quick have ended when this returns; the result
    /// is that of the run which is the turn's by then.
    pub(crate) async fn run_programs(
        self: &Arc<Self>,
        turn: &mut Turn,
        directory: &mut RunDirectory,
        inputs: &mut Inputs,
        sandbox: &SandboxSpec,
        program: ProgramSpec,
    ) -> Result<RunEnd, Trouble> {
        let (handle, mut events) = self.start_programs(turn, directory, sandbox, program)?;
        let timeout = Duration::from_secs(u64::from(turn.begun.task.timeout.max(1)));
        let (deadline, announcement) = (sleep(timeout), sleep(Duration::ZERO));
        tokio::pin!(deadline, announcement);
        let mut fate = Fate::default();
        loop {
            // A quick program is over before it could be stopped.
            let alone = turn.next.is_empty();
            let mut cancelled = turn.begun.cancelled.clone();
            let event = tokio::select! {
                event = events.recv() => event,
                () = &mut announcement, if fate.unsaid => {
                    fate.unsaid = false;
                    self.runs.announce(turn.begun.run.run);
                    continue;
                }
                () = &mut deadline, if alone && !fate.timed_out => {
                    fate.timed_out = true;
                    stop(&handle, Duration::ZERO);
                    continue;
                }
                trouble = inputs.lost(), if fate.lost.is_none() => {
                    fate.lost = Some(trouble);
                    stop(&handle, Duration::ZERO);
                    continue;
                }
                _ = cancelled.wait_for(|wanted| *wanted), if alone && !fate.cancelled => {
                    fate.cancelled = true;
                    stop(&handle, GRACE);
                    continue;
                }
            };
            let Some(event) = event else {
                let why = "no word of its end";
                return Err(Trouble::of_machine(Cause::Sandbox, "the sandbox is gone", why));
            };
            if let SeriesEvent::Quick(_) = event {
                deadline.as_mut().reset(Instant::now() + timeout);
            }
            let announce = announcement.as_mut();
            if let Some(end) = self.on_event(event, turn, directory, &mut fate, announce) {
                return end;
            }
        }
    }

    fn start_programs(
        &self,
        turn: &Turn,
        directory: &RunDirectory,
        sandbox: &SandboxSpec,
        program: ProgramSpec,
    ) -> Result<(RunHandle, UnboundedReceiver<SeriesEvent>), Trouble> {
        let [stdout, stderr] = directory.open_streams().map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no file for the program's output", error)
        })?;
        if turn.next.is_empty() {
            self.show_logs(turn, directory);
        }
        faults::at(Point::AgentStart)
            .or_fail()
            .map_err(|fault| Trouble::of_machine(Cause::Sandbox, "no program", fault))?;
        let own = |task: &Task, instance| own_environment(task, instance);
        let each = turn.runs().map(|begun| own(&begun.task, begun.run.instance)).collect();
        let (say, events) = unbounded_channel();
        let listener = move |event| drop(say.send(event)); // nobody listens when the run is over
        let (stdout, stderr) = (stdout.into(), stderr.into());
        let streams = gristmill_runtime::Streams { stdin: None, stdout, stderr };
        let series = Series { program, each, quick_millis: Series::QUICK_MILLIS };
        let spawned = self.spawner.spawn_series(sandbox, &series, streams, listener);
        let handle = spawned.map_err(|error| {
            self.broken.notify_one();
            Trouble::of_machine(Cause::Sandbox, "no sandbox", chain(&error))
        })?;
        Ok((handle, events))
    }

    /// `Some`: the end of the turn's run.
    fn on_event(
        self: &Arc<Self>,
        event: SeriesEvent,
        turn: &mut Turn,
        directory: &mut RunDirectory,
        fate: &mut Fate,
        announcement: Pin<&mut Sleep>,
    ) -> Option<Result<RunEnd, Trouble>> {
        match event {
            SeriesEvent::Quick(ends) => {
                ends.into_iter().for_each(|end| self.on_quick(turn, end));
                if turn.next.is_empty() {
                    self.show_logs(turn, directory);
                }
                None
            }
            SeriesEvent::Lost => {
                turn.is_lost = true;
                let why = "it ended in the middle of a series";
                Some(Err(Trouble::of_machine(Cause::Sandbox, "the sandbox is gone", why)))
            }
            SeriesEvent::Run(RunEvent::Started { at_micros, .. }) => {
                faults::at(Point::AgentStarted);
                self.give_back(std::mem::take(&mut turn.next));
                self.show_logs(turn, directory);
                self.runs.started(turn.begun.run.run, at_micros);
                announcement.reset(Instant::now() + START_UNSAID_MAX);
                fate.unsaid = true;
                None
            }
            SeriesEvent::Run(RunEvent::Failed(_)) if fate.cancelled => {
                Some(Err(Trouble::Cancelled))
            }
            SeriesEvent::Run(RunEvent::Failed(failure)) => Some(Err(self.not_started(failure))),
            SeriesEvent::Run(RunEvent::Exited(ended)) => {
                if ended.kept {
                    directory.keep();
                }
                if ended.started_micros > 0 {
                    self.runs.started(turn.begun.run.run, ended.started_micros);
                }
                let lost = fate.cancelled.then_some(Trouble::Cancelled).or(fate.lost.take());
                Some(lost.map_or(Ok(end_of(ended.exit, fate.timed_out)), Err))
            }
        }
    }

    /// The turn's run ended, and the next one is under way.
    fn on_quick(&self, turn: &mut Turn, end: QuickEnd) {
        let (run, task) = (turn.begun.run.run, &turn.begun.task);
        let wanted = |destination: &str, said: Vec<u8>| match destination {
            "" => Default::default(),
            _ => said.into(),
        };
        let (stdout, stderr) = (wanted(&task.stdout, end.stdout), wanted(&task.stderr, end.stderr));
        faults::at(Point::AgentEnded);
        self.runs.started(run, end.started_micros);
        let at = end.ended_micros;
        let spans = Some(self.spans(turn, at));
        let ended = RunEnd { at, spans, ..end_of(Exit::Code(end.code), false) };
        self.runs.ended(run, ended, Some(Streams { stdout, stderr }));
        turn.advance(at);
    }

    /// What the turn's run writes can be read from now on.
    fn show_logs(&self, turn: &Turn, directory: &RunDirectory) {
        let logs = [directory.log("stdout"), directory.log("stderr")];
        self.runs.set_logs(turn.begun.run.run, logs);
    }

    /// A machine whose spawner is gone is of no more use; another takes its place.
    pub(crate) fn not_started(&self, failure: StartFailure) -> Trouble {
        if failure.stage == Stage::Spawner {
            self.broken.notify_one();
        }
        let is_users = failure.is_users();
        match (failure.stage, failure.message) {
            (Stage::MountPoint, message) => Trouble::Job { cause: Cause::Mount, message },
            (_, message) if is_users => Trouble::Job { cause: Cause::Command, message },
            (_, message) => Trouble::Infrastructure { cause: Cause::Sandbox, message },
        }
    }
}

pub(crate) fn stop(handle: &RunHandle, grace: Duration) {
    let asked = if grace.is_zero() { handle.kill() } else { handle.stop(grace) };
    if let Err(error) = asked {
        warn!(%error, "could not stop a program; its sandbox ends with the agent");
    }
}

pub(crate) fn end_of(exit: Exit, timed_out: bool) -> RunEnd {
    let (kind, number) = match exit {
        _ if timed_out => (EndKind::TimedOut, 0),
        Exit::Code(code) => (EndKind::Exited, code),
        Exit::Signal(signal) => (EndKind::Signalled, signal),
        Exit::OutOfMemory => (EndKind::OutOfMemory, 0),
    };
    RunEnd { at: now(), kind: kind.into(), number, ..RunEnd::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_killed_for_its_time_is_timed_out() {
        assert_eq!(end_of(Exit::Signal(9), true).kind(), EndKind::TimedOut);
        assert_eq!(end_of(Exit::Signal(9), false).kind(), EndKind::Signalled);
        assert_eq!(end_of(Exit::Code(3), false).number, 3);
    }
}
