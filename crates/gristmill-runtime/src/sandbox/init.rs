//! The life of pid 1: it runs a program, collects everything that ends in the sandbox, and says
//! what became of it. When the program left no trace it waits for the next one; otherwise it ends,
//! and the kernel kills what remains in the process namespace.
//!
//! Invariants
//! - Between two programs no process but pid 1 exists in the sandbox, and no signal is pending.
//! - Pid 1 has nothing of a program open when it says that the program ended.

use super::{
    AtStage, Setup, SetupError, prepare,
    program::{self, Launch},
    traces::Traces,
};
use crate::{
    protocol::{self, Room},
    spawner::Streams,
    spec::{ProgramSpec, Stage, StartFailure, Usage},
    sys,
};
use rustix::{
    fs::{Mode, OFlags, open},
    net::{RecvFlags, SendFlags},
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What pid 1 tells the spawner, one packet each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program was executed, at this time in microseconds since 1970. Left out when it ended
    /// within [`UNSAID`].
    Started(i64),
    /// It was not; nothing follows.
    Failed(StartFailure),
    /// It ended.
    Ended {
        /// Its wait status.
        status: i32,
        /// When it had started, in microseconds since 1970.
        started_micros: i64,
        /// What it and everything it started used, if `clean`.
        usage: Usage,
        /// Whether the sandbox is as it was and waits for the next program. If not, nothing follows.
        clean: bool,
    },
}

/// What the spawner tells pid 1: the next program. Descriptors: its streams.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Next {
    /// Which.
    pub program: ProgramSpec,
}

/// How long a start waits to be reported with the end.
const UNSAID: Duration = Duration::from_millis(8);

/// The body of pid 1. Its exit status means nothing; its reports do.
pub(crate) fn run(setup: &Setup<'_>, line: &OwnedFd, first: &ProgramSpec, streams: Streams) -> i32 {
    let say = |report: &Report| {
        // Nobody is left to hear about a failure.
        let _ = protocol::send(line.as_fd(), report, &[], SendFlags::empty());
    };
    let started = prepare(setup, line.as_fd()).and_then(|traces| Ok((Init::new()?, traces)));
    let (mut init, traces) = match started {
        Ok(ready) => ready,
        Err(error) => {
            say(&Report::Failed(error.into()));
            return 0;
        }
    };
    let mut room = Room::default();
    let mut streams = streams;
    let mut next: Option<Next> = None;
    loop {
        let program = next.as_ref().map_or(first, |next| &next.program);
        let outcome = init.carry_out(program, streams, traces.as_ref(), &say);
        let clean = matches!(outcome, Ok(Report::Ended { clean: true, .. }));
        say(&outcome.unwrap_or_else(|error| Report::Failed(error.into())));
        if !clean {
            return 0;
        }
        let heard = protocol::receive(line.as_fd(), &mut room, RecvFlags::empty());
        let Ok(Some((heard, attached))) = heard else { return 0 };
        let Some(attached) = Streams::of_attached(attached) else { return 0 };
        (next, streams) = (Some(heard), attached);
    }
}

struct Init {
    /// Every program's standard input.
    nothing: OwnedFd,
    /// What a new process stands on until it has executed its program.
    stack: sys::Stack,
}

impl Init {
    fn new() -> Result<Self, SetupError> {
        let nothing = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .at(Stage::Files, || "cannot open `/dev/null`".into())?;
        let nothing = above_streams(nothing)
            .at(Stage::Process, || "cannot place the program's standard input".into())?;
        Ok(Self { nothing, stack: sys::Stack::default() })
    }

    /// Runs one program to its end and looks at what it left.
    fn carry_out(
        &mut self,
        program: &ProgramSpec,
        streams: Streams,
        traces: Option<&Traces>,
        say: &impl Fn(&Report),
    ) -> Result<Report, SetupError> {
        let pid = self.start(program, streams)?;
        let started_micros = now_micros();
        let mut tree = Tree { program: pid, status: None, usage: Usage::default() };
        let mut patience = Some(UNSAID);
        while tree.status.is_none() {
            match sys::wait_for_signal(patience) {
                Some(libc::SIGTERM) => sys::terminate_group(pid),
                Some(_) => {}
                None => {
                    say(&Report::Started(started_micros));
                    patience = None;
                }
            }
            tree.collect();
        }
        let clean = traces.is_some_and(|traces| tree.end() && traces.none());
        let status = tree.status.unwrap_or_default();
        Ok(Report::Ended { status, started_micros, usage: tree.usage, clean })
    }

    /// Starts the program; returns when it was executed.
    fn start(&mut self, program: &ProgramSpec, streams: Streams) -> Result<i32, SetupError> {
        let place = |fd: OwnedFd| {
            above_streams(fd).at(Stage::Process, || "cannot place the program's streams".into())
        };
        let (stdout, stderr) = (place(streams.stdout)?, place(streams.stderr)?);
        let stdin = streams.stdin.map(place).transpose()?;
        let launch = Launch {
            program,
            texts: program::Texts::of(program)?,
            streams: [
                stdin.as_ref().unwrap_or(&self.nothing).as_fd(),
                stdout.as_fd(),
                stderr.as_fd(),
            ],
        };
        // The child shares this memory until it has executed the program.
        let mut failure = None;
        let pid = sys::fork_until_execution(&mut self.stack, || {
            let Err(error) = program::execute(&launch);
            failure = Some(error);
            sys::BROKEN
        })
        .at(Stage::Process, || "cannot make the program's process".into())?;
        match failure {
            Some(error) => Err(error),
            None => Ok(pid),
        }
    }
}

/// So that none of the three streams is overwritten before it is copied.
fn above_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    match fd.as_raw_fd() {
        0..=2 => Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?),
        _ => Ok(fd),
    }
}

/// The processes of one program.
struct Tree {
    program: i32,
    status: Option<i32>,
    usage: Usage,
}

impl Tree {
    /// Collects what has ended so far.
    fn collect(&mut self) {
        while let Ok(Some(ended)) = sys::collect_next(false) {
            self.count(ended);
        }
    }

    fn count(&mut self, (pid, status, usage): (i32, i32, Usage)) {
        self.usage.add(&usage);
        if pid == self.program {
            self.status = Some(status);
        }
    }

    /// Ends what the program left running. Whether nobody is left, and no signal pends that one of
    /// them sent.
    fn end(&mut self) -> bool {
        // Each process of this namespace has a chain of living parents up to pid 1: without children
        // it is alone.
        let mut killed = false;
        loop {
            match sys::collect_next(killed) {
                Ok(Some(ended)) => self.count(ended),
                Ok(None) => {
                    // Nobody escapes by starting a process: one that is killed starts none.
                    sys::kill_all_others();
                    killed = true;
                }
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        while sys::wait_for_signal(Some(Duration::ZERO)).is_some() {}
        true
    }
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
