//! One resident program in its sandbox, and the conversation with it.

use super::{
    answer::{Answer, Splitter},
    slots::Slots,
};
use crate::{
    place::RunDirectory,
    program::{GRACE, START_UNSAID_MAX, stop},
    runs::Begun,
    trouble::Trouble,
    work::{Place, now},
};
use gristmill_model::Cause;
use gristmill_runtime::{
    Exit, ProgramSpec, RunEvent, RunHandle, SandboxSpec, Spawner, StartFailure, Streams,
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::{fs::File, io, io::Write, os::fd::OwnedFd, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    sync::mpsc,
    time::Instant,
};

/// Bytes of output taken at a time.
const PIECE_BYTES: usize = 16 << 10;

/// A program that stays. Dropping it leaves it alone; see [`Process::retire`].
pub struct Process {
    sandbox: SandboxSpec,
    handle: RunHandle,
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    events: mpsc::UnboundedReceiver<RunEvent>,
    slots: Slots,
    /// Whether it was started; the first call waits for that.
    started: bool,
    /// Whether it has answered a call before the present one.
    served: bool,
    /// Whether it has read all it was given: else the next call would not come through.
    in_step: bool,
    /// Removed when the process has ended.
    directory: RunDirectory,
}

/// What became of a call.
#[derive(Debug)]
pub enum Outcome {
    /// The program said how it went.
    Answered(Answer),
    /// The program ended.
    Ended {
        /// How.
        exit: Exit,
        /// Whether it had read nothing of the call.
        unread: bool,
    },
    /// It never ran, or its sandbox was ended from outside.
    Failed(StartFailure),
    /// It took too long and was killed.
    TimedOut,
    /// The server does not want the run any more; it was killed.
    Cancelled,
}

/// The two files that receive what the program prints during a call.
struct Logs {
    files: [File; 2],
    fault: Option<io::Error>,
}

impl Logs {
    fn write(&mut self, stream: usize, bytes: &[u8]) {
        if let Err(error) = self.files[stream].write_all(bytes) {
            self.fault.get_or_insert(error);
        }
    }
}

fn pipes() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

impl Process {
    /// Starts the program with pipes as its standard streams.
    pub fn start(
        spawner: &Spawner,
        sandbox: SandboxSpec,
        program: &ProgramSpec,
        slots: Slots,
        directory: RunDirectory,
    ) -> io::Result<Self> {
        let ((stdin, to), (from, stdout), (errors, stderr)) = (pipes()?, pipes()?, pipes()?);
        let (say, events) = mpsc::unbounded_channel();
        let listener = move |event| drop(say.send(event)); // nobody listens to one that is dropped
        let streams = Streams { stdin: Some(stdin), stdout, stderr };
        let handle = spawner
            .spawn_connected(&sandbox, program, streams, listener)
            .map_err(io::Error::other)?;
        Ok(Self {
            sandbox,
            handle,
            stdin: pipe::Sender::from_owned_fd(to)?,
            stdout: pipe::Receiver::from_owned_fd(from)?,
            stderr: pipe::Receiver::from_owned_fd(errors)?,
            events,
            slots,
            started: false,
            served: false,
            in_step: true,
            directory,
        })
    }

    /// What the program sees.
    pub fn sandbox(&self) -> &SandboxSpec {
        &self.sandbox
    }

    /// Whether it answered a call before the last one.
    pub fn has_served(&self) -> bool {
        self.served
    }

    /// Whether it can be given another call.
    pub fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// Whether it has not ended while it waited. What it printed meanwhile belongs to no call.
    pub fn is_alive(&mut self) -> bool {
        let mut piece = [0; PIECE_BYTES];
        while matches!(self.stdout.try_read(&mut piece), Ok(1..)) {}
        while matches!(self.stderr.try_read(&mut piece), Ok(1..)) {}
        loop {
            match self.events.try_recv() {
                Ok(RunEvent::Started { .. }) => self.started = true,
                Ok(RunEvent::Failed(_) | RunEvent::Exited(_)) => return false,
                Err(error) => return error == mpsc::error::TryRecvError::Empty,
            }
        }
    }

    /// Moves the files of a call to where the program sees them.
    pub async fn fill_slots(&self, fetched: PathBuf) -> Result<(), Trouble> {
        let slots = self.slots.clone();
        in_slots(&self.slots, move || slots.fill(&fetched)).await
    }

    /// Moves the files of a call to another process.
    pub async fn hand_slots_to(&self, other: &Self) -> Result<(), Trouble> {
        let (slots, others) = (self.slots.clone(), other.slots.clone());
        in_slots(&self.slots, move || slots.hand_over(&others)).await
    }

    /// Removes the files of a call.
    pub async fn clear_slots(&self) -> Result<(), Trouble> {
        let slots = self.slots.clone();
        in_slots(&self.slots, move || slots.clear()).await
    }

    /// Gives the program a call and hears it until it has answered or ended.
    pub async fn serve(
        &mut self,
        place: &Place,
        begun: &mut Begun,
        directory: &RunDirectory,
        line: &[u8],
    ) -> Result<Outcome, Trouble> {
        let no_file = |error| Trouble::of_machine(Cause::Sandbox, "no file for output", error);
        let mut logs = Logs { files: directory.open_streams().map_err(no_file)?, fault: None };
        let run = begun.run.run;
        place.runs.set_logs(run, [directory.log("stdout"), directory.log("stderr")]);
        let outcome = self.talk(place, begun, &mut logs, line).await;
        self.take_errors(&mut logs);
        self.served |= matches!(outcome, Outcome::Answered(_));
        match logs.fault {
            None => Ok(outcome),
            Some(error) => Err(no_file(error)),
        }
    }

    async fn talk(
        &mut self,
        place: &Place,
        begun: &mut Begun,
        logs: &mut Logs,
        line: &[u8],
    ) -> Outcome {
        let mut splitter = Splitter::new(begun.run.run);
        let outcome = self.converse(place, begun, logs, (&mut splitter, line)).await;
        let left = rustix::io::ioctl_fionread(&self.stdin).unwrap_or(u64::MAX);
        self.in_step &= left == 0;
        match outcome {
            Outcome::Ended { exit, .. } => {
                let last = last_words(&self.stdout, &mut splitter, logs);
                let unread = usize::try_from(left).is_ok_and(|left| left == line.len());
                last.map_or(Outcome::Ended { exit, unread }, Outcome::Answered)
            }
            other => other,
        }
    }

    /// The conversation itself, up to the first thing that ends it.
    async fn converse(
        &mut self,
        place: &Place,
        begun: &mut Begun,
        logs: &mut Logs,
        (splitter, line): (&mut Splitter, &[u8]),
    ) -> Outcome {
        let run = begun.run.run;
        let Self { handle, stdin, stdout, stderr, events, started, in_step, .. } = self;
        let sending = stdin.write_all(line);
        tokio::pin!(sending);
        let timeout = Duration::from_secs(u64::from(begun.task.timeout.max(1)));
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let announcement = tokio::time::sleep(START_UNSAID_MAX);
        tokio::pin!(announcement);
        let (mut out, mut err) = ([0; PIECE_BYTES], [0; PIECE_BYTES]);
        let (mut sent, mut said, mut out_open, mut err_open) = (false, false, true, true);
        if *started {
            place.runs.started(run, now());
        }
        loop {
            tokio::select! {
                // A program that closed its input answers or ends all the same.
                _ = &mut sending, if !sent => sent = true,
                read = stdout.read(&mut out), if out_open => match read {
                    Ok(length @ 1..) => {
                        if let Some(answer) = splitter.feed(&out[..length], |b| logs.write(0, b)) {
                            *in_step = sent;
                            return Outcome::Answered(answer);
                        }
                    }
                    Ok(_) | Err(_) => out_open = false,
                },
                read = stderr.read(&mut err), if err_open => match read {
                    Ok(length @ 1..) => logs.write(1, &err[..length]),
                    Ok(_) | Err(_) => err_open = false,
                },
                event = events.recv() => match event {
                    Some(RunEvent::Started { .. }) => {
                        *started = true;
                        place.runs.started(run, now());
                        announcement.as_mut().reset(Instant::now() + START_UNSAID_MAX);
                    }
                    Some(RunEvent::Failed(failure)) => return Outcome::Failed(failure),
                    Some(RunEvent::Exited(ended)) => {
                        return Outcome::Ended { exit: ended.exit, unread: false };
                    }
                    None => return Outcome::Failed(StartFailure {
                        stage: gristmill_runtime::Stage::Process,
                        errno: None,
                        message: "the sandbox is gone without a word".to_owned(),
                    }),
                },
                () = &mut announcement, if *started && !said => {
                    said = true;
                    place.runs.announce(run);
                }
                () = &mut deadline => {
                    stop(handle, Duration::ZERO);
                    return Outcome::TimedOut;
                }
                _ = begun.cancelled.wait_for(|wanted| *wanted) => {
                    stop(handle, Duration::ZERO);
                    return Outcome::Cancelled;
                }
            }
        }
    }

    /// What the program had written to its standard error when the call was over.
    fn take_errors(&mut self, logs: &mut Logs) {
        // Asked of the kernel: the runtime would not try before it has heard that there is something.
        let mut piece = [0; PIECE_BYTES];
        while let Ok(length @ 1..) = rustix::io::read(&self.stderr, &mut piece) {
            logs.write(1, &piece[..length]);
        }
    }

    /// Ends the program: no further call comes, then a signal, then death. Its directory goes
    /// when it has ended.
    pub fn retire(self) {
        let Self { handle, stdin, mut events, directory, .. } = self;
        drop(stdin);
        stop(&handle, GRACE);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if !matches!(event, RunEvent::Started { .. }) {
                    break;
                }
            }
            directory.leave_behind().await;
        });
    }
}

/// What a program that has ended had still printed; it may have answered with its last breath.
fn last_words(stdout: &pipe::Receiver, splitter: &mut Splitter, logs: &mut Logs) -> Option<Answer> {
    let mut piece = [0; PIECE_BYTES];
    while let Ok(length @ 1..) = stdout.try_read(&mut piece) {
        let answer = splitter.feed(&piece[..length], |bytes| logs.write(0, bytes));
        if answer.is_some() {
            return answer;
        }
    }
    let rest = splitter.rest();
    logs.write(0, &rest);
    None
}

/// Works on the files of slots where blocking is allowed, if there are any.
async fn in_slots(
    slots: &Slots,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), Trouble> {
    if slots.are_none() {
        return Ok(());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("work on files does not panic")
        .map_err(|error| Trouble::of_machine(Cause::Mount, "files of the call", error))
}
