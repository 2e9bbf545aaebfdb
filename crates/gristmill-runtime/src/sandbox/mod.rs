//! What happens inside a new sandbox, from the first instruction of its pid 1 to the program.
//!
//! [`prepare`] makes the room: limits, files ([`files`]), giving up privileges ([`confine`]). Then
//! pid 1 ([`init`]) runs one program after the other in it ([`program`]), as long as none of them
//! leaves a trace ([`traces`]); what they write is taken out of two files ([`outputs`]).
//!
//! Order matters
//! - Control groups first, while the host's files are in sight; files next, while privileges
//!   last; then the user namespace, so that nothing inside owns the mounts.
//! - Pid 1 itself is confined and undumpable: the program shares its user id.

mod confine;
mod files;
mod init;
mod outputs;
mod program;
mod seccomp;
mod traces;

pub(crate) use confine::{map_to_root, try_user_namespace};
pub(crate) use files::{attach, bind_tree, device_tree, fresh_overlay, give_output, tmpfs};
pub(crate) use init::{Next, Report, run};
pub(crate) use seccomp::Filter;

use crate::{
    cgroup::RunGroup,
    host::Prepared,
    spec::{SandboxSpec, Stage, StartFailure},
    sys,
};
use nix::sys::signal::SigSet;
use rustix::process::set_parent_process_death_signal;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};
use traces::Traces;

/// Everything pid 1 needs to make the sandbox, all in its copy of the spawner's memory.
pub(crate) struct Setup<'a> {
    pub prepared: &'a Prepared,
    pub filter: &'a Filter,
    pub group: &'a RunGroup,
    pub sandbox: &'a SandboxSpec,
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

/// A failure is for a person to read.
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

/// Makes the sandbox around the calling process, its pid 1. `None`: it cannot serve a second run.
fn prepare(setup: &Setup<'_>, line: BorrowedFd<'_>) -> Result<Option<Traces>, SetupError> {
    let process = |what: &'static str| move || what.to_owned();
    let kill = Some(rustix::process::Signal::KILL);
    set_parent_process_death_signal(kill)
        .at(Stage::Process, process("cannot tie the sandbox to its agent"))?;
    SigSet::all().thread_set_mask().at(Stage::Process, process("cannot hold back signals"))?;
    // Ignoring is inherited; what is held back is not lost by this.
    sys::default_signals();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    setup.group.enter().at(Stage::Limits, process("cannot enter the control group"))?;
    let gathered = files::build(setup)?;
    let queues = files::message_queues();
    confine::give_up(setup)?;
    // Changing identity cleared the tie; the spawner may have died in between.
    set_parent_process_death_signal(kill)
        .at(Stage::Process, process("cannot tie the sandbox to its agent"))?;
    if spawner_is_gone(line) {
        return Err(SetupError::new(Stage::Process, "the agent is gone"));
    }
    Ok(setup.sandbox.lineage.as_ref().and_then(|_| {
        let fine_times = setup.prepared.fine_times;
        Traces::begin(gathered, queues.ok()?, fine_times)
    }))
}

fn spawner_is_gone(line: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::from_borrowed_fd(line.as_fd(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
}
