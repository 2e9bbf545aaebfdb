//! What happens inside a new sandbox, from the first instruction of its pid 1 to the program.
//!
//! [`run`] is the body of pid 1: limits, files ([`files`]), giving up privileges ([`confine`]),
//! then the program ([`program`]) as its child. It reports through a pipe, reaps what is
//! orphaned and ends with the program.
//!
//! Order matters
//! - Control groups first, while the host's files are in sight; files next, while privileges
//!   last; then the user namespace, so that nothing inside owns the mounts.
//! - Pid 1 itself is confined and undumpable: the program shares its user id.

mod confine;
mod files;
mod program;
mod seccomp;

pub(crate) use confine::{map_to_root, try_user_namespace};
pub(crate) use files::{attach, bind_tree, device_tree, fresh_overlay, tmpfs};
pub(crate) use seccomp::Filter;

use crate::{
    cgroup::RunGroup,
    host::Prepared,
    spec::{ProgramSpec, SandboxSpec, Stage, StartFailure},
    sys,
};
use nix::sys::signal::{SigSet, Signal};
use rustix::process::set_parent_process_death_signal;
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// What pid 1 tells the spawner, one packet each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program was executed.
    Started,
    /// It was not; nothing follows.
    Failed(StartFailure),
    /// It ended with this wait status; nothing follows.
    Ended(i32),
}

/// Everything pid 1 needs, all in its copy of the spawner's memory.
pub(crate) struct Setup<'a> {
    pub prepared: &'a Prepared,
    pub filter: &'a Filter,
    pub group: &'a RunGroup,
    pub sandbox: &'a SandboxSpec,
    pub program: &'a ProgramSpec,
    pub stdin: Option<BorrowedFd<'a>>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    pub reports: BorrowedFd<'a>,
}

/// A step that failed, before it becomes a [`StartFailure`].
#[derive(Debug)]
pub(crate) struct SetupError {
    stage: Stage,
    what: String,
    source: Option<io::Error>,
}

impl SetupError {
    pub(crate) fn new(stage: Stage, what: impl Into<String>) -> Self {
        Self { stage, what: what.into(), source: None }
    }
}

impl From<SetupError> for StartFailure {
    fn from(error: SetupError) -> Self {
        let errno = error.source.as_ref().and_then(io::Error::raw_os_error);
        let mut message = match error.source {
            Some(source) => format!("{}: {source}", error.what),
            None => error.what,
        };
        if message.len() > MESSAGE_CHARS_MAX {
            message = message.chars().take(MESSAGE_CHARS_MAX / 4).collect();
        }
        Self { stage: error.stage, errno, message }
    }
}

/// A report must fit one packet of a pipe (4096 bytes), escapes included.
const MESSAGE_CHARS_MAX: usize = 1600;

/// Names the step that an error comes from.
pub(crate) trait AtStage<T> {
    fn at(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T, SetupError>;
}

impl<T, E: Into<io::Error>> AtStage<T> for Result<T, E> {
    fn at(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T, SetupError> {
        self.map_err(|e| SetupError { stage, what: what(), source: Some(e.into()) })
    }
}

/// The body of pid 1. Its exit status means nothing; its reports do.
pub(crate) fn run(setup: &Setup<'_>) -> i32 {
    match prepare(setup).and_then(|()| start(setup)) {
        Ok(program) => {
            report(setup.reports, &Report::Started);
            let status = reap_until_ended(program);
            report(setup.reports, &Report::Ended(status));
        }
        Err(error) => report(setup.reports, &Report::Failed(error.into())),
    }
    0
}

fn prepare(setup: &Setup<'_>) -> Result<(), SetupError> {
    let process = |what: &'static str| move || what.to_owned();
    let kill = Some(rustix::process::Signal::KILL);
    set_parent_process_death_signal(kill)
        .at(Stage::Process, process("cannot tie the sandbox to its agent"))?;
    SigSet::all().thread_set_mask().at(Stage::Process, process("cannot hold back signals"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    setup.group.enter().at(Stage::Limits, process("cannot enter the control group"))?;
    for output in [setup.stdout, setup.stderr] {
        // So that a program may open `/dev/stderr` anew. It cannot be given away: then it may not.
        let _ = files::give_output(output, setup.prepared.identity);
    }
    files::build(setup)?;
    confine::give_up(setup)?;
    // Changing identity cleared the tie; the spawner may have died in between.
    set_parent_process_death_signal(kill)
        .at(Stage::Process, process("cannot tie the sandbox to its agent"))?;
    if reader_is_gone(setup.reports) {
        return Err(SetupError::new(Stage::Process, "the agent is gone"));
    }
    Ok(())
}

/// Starts the program as pid 2; returns when it was executed. When it was not, the child has
/// reported why, and its status is all that is left to say.
fn start(setup: &Setup<'_>) -> Result<i32, SetupError> {
    sys::fork_until_execution(|| {
        let Err(error) = program::execute(setup);
        report(setup.reports, &Report::Failed(error.into()));
        sys::BROKEN
    })
    .at(Stage::Process, || "cannot make the program's process".into())
}

/// Collects everything that ends in the sandbox, passes `SIGTERM` on to the program's group, and
/// returns the program's wait status.
fn reap_until_ended(program: i32) -> i32 {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.add(Signal::SIGTERM);
    loop {
        if let Some(status) = reap(program) {
            return status;
        }
        if signals.wait() == Ok(Signal::SIGTERM) {
            let group = nix::unistd::Pid::from_raw(program);
            let _ = nix::sys::signal::killpg(group, Signal::SIGTERM); // it may have just ended
        }
    }
}

/// Collects what has ended so far; the program's status if it is among it.
fn reap(program: i32) -> Option<i32> {
    let mut ended = None;
    while let Some((pid, status)) = sys::collect_any() {
        if pid == program {
            ended = Some(status);
        }
    }
    ended
}

fn report(pipe: BorrowedFd<'_>, report: &Report) {
    if let Ok(bytes) = serde_json::to_vec(report) {
        let _ = rustix::io::write(pipe, &bytes); // nobody is left to hear about a failure
    }
}

fn reader_is_gone(pipe: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::from_borrowed_fd(pipe, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::ERR)
}

/// The pipe between pid 1 and the spawner: one read is one report.
pub(crate) fn report_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT)?;
    rustix::fs::fcntl_setfl(read.as_fd(), rustix::fs::OFlags::NONBLOCK)?;
    Ok((read, write))
}
