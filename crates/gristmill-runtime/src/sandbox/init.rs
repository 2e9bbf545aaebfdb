//! The life of pid 1: it runs programs, collects everything that ends in the sandbox, and says
//! what became of them. When a program left no trace it goes on with the next one of the series, or
//! waits for another series; otherwise it ends, and the kernel kills what remains in the process
//! namespace.
//!
//! Invariants
//! - Between two programs no process but pid 1 exists in the sandbox, and no signal is pending.
//! - Pid 1 has nothing of a program open when it says that the program ended.
//! - What is said after [`Report::Quick`] is about the program behind those it speaks of.

use super::{
    AtStage, Setup, SetupError,
    outputs::{Outputs, Said},
    prepare,
    program::{self, Launch},
    traces::Traces,
};
use crate::{
    protocol::{self, Room},
    spawner::Streams,
    spec::{QuickEnd, Series, Stage, StartFailure, Usage},
    sys,
};
use rustix::{
    fs::{Mode, OFlags, open},
    net::{RecvFlags, SendFlags},
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What pid 1 tells the spawner, one packet each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The next programs of the series ended, and one more follows.
    Quick(Vec<QuickEnd>),
    /// The program was executed, at this time in microseconds since 1970, and is the last of its
    /// series. Left out when it was quick.
    Started(i64),
    /// It was not; nothing follows.
    Failed(StartFailure),
    /// It ended, and with it its series.
    Ended {
        /// Its wait status.
        status: i32,
        /// When it had started, in microseconds since 1970.
        started_micros: i64,
        /// What it and everything it started used, if `clean`.
        usage: Usage,
        /// Whether the sandbox is as it was and waits for the next series. If not, nothing follows.
        clean: bool,
    },
}

/// What the spawner tells pid 1: the next programs. Descriptors: their streams.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Next {
    /// Which.
    pub series: Series,
}

/// How long the end of a quick program waits to be reported together with others.
const UNTOLD_MAX: Duration = Duration::from_millis(20);
/// How much they may have written.
const UNTOLD_BYTES_MAX: usize = 16 << 10;

/// The body of pid 1. Its exit status means nothing; its reports do. Without a `first` series it waits
/// for one when the sandbox is made.
pub(crate) fn run(setup: &Setup<'_>, line: &OwnedFd, first: Option<(&Series, Streams)>) -> i32 {
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
    let mut carry_out = |series: &Series, streams| {
        let outcome = init.carry_out(series, streams, traces.as_ref(), &say);
        let clean = matches!(outcome, Ok(Report::Ended { clean: true, .. }));
        say(&outcome.unwrap_or_else(|error| Report::Failed(error.into())));
        clean
    };
    let mut goes_on = first.is_none_or(|(series, streams)| carry_out(series, streams));
    let mut room = Room::default();
    while goes_on {
        let heard = protocol::receive::<Next>(line.as_fd(), &mut room, RecvFlags::empty());
        let Ok(Some((next, attached))) = heard else { return 0 };
        let Some(streams) = Streams::of_attached(attached) else { return 0 };
        goes_on = carry_out(&next.series, streams);
    }
    0
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

    /// Runs the programs of a series until one of them is not quick or is the last, runs that one to
    /// its end, and looks at what it left.
    fn carry_out(
        &mut self,
        series: &Series,
        streams: Streams,
        traces: Option<&Traces>,
        say: &impl Fn(&Report),
    ) -> Result<Report, SetupError> {
        let mut untold = Untold::default();
        let outcome = self.go_through(series, streams, traces, &mut untold, say);
        untold.tell(say);
        outcome
    }

    fn go_through(
        &mut self,
        series: &Series,
        streams: Streams,
        traces: Option<&Traces>,
        untold: &mut Untold,
        say: &impl Fn(&Report),
    ) -> Result<Report, SetupError> {
        let Streams { stdin, stdout, stderr } = streams;
        let stdin = stdin.map_or_else(|| self.nothing.try_clone(), Ok);
        let place = |fd: io::Result<OwnedFd>| {
            fd.and_then(above_streams)
                .at(Stage::Process, || "cannot place the program's streams".into())
        };
        let (stdin, stdout, stderr) = (place(stdin)?, place(Ok(stdout))?, place(Ok(stderr))?);
        let mut launch = Launch::of(series)?;
        let quick = Duration::from_millis(series.quick_millis.into());
        let several = series.each.len() > 1;
        let outputs = several.then(|| Outputs::of([stdout.as_fd(), stderr.as_fd()]).ok());
        let mut outputs = outputs.flatten();
        for own in &series.each {
            launch.add_env(own)?;
            let fresh = outputs.as_ref().map(Outputs::open).transpose();
            let fresh = fresh.at(Stage::Process, || "cannot open the streams anew".into())?;
            let [output, errors] = match &fresh {
                Some([output, errors]) => [output.as_fd(), errors.as_fd()],
                None => [stdout.as_fd(), stderr.as_fd()],
            };
            let pid = start(&mut self.stack, &launch, [stdin.as_fd(), output, errors])?;
            drop(fresh);
            let started_micros = now_micros();
            let mut tree = Tree { program: pid, status: None, usage: Usage::default() };
            let is_long = tree.wait(quick, || {
                untold.tell(say);
                say(&Report::Started(started_micros));
            });
            let clean = traces.is_some_and(|traces| tree.end() && traces.none());
            let status = tree.status.unwrap_or_default();
            let goes_on = clean && !is_long && libc::WIFEXITED(status) && !untold.is_last(series);
            match outputs.as_mut().filter(|_| goes_on).and_then(Outputs::take) {
                Some(wrote) => untold.add(status, started_micros, wrote, say),
                None => {
                    return Ok(Report::Ended { status, started_micros, usage: tree.usage, clean });
                }
            }
        }
        Err(SetupError::new(Stage::Spawner, "a series needs a program"))
    }
}

/// Starts the program; returns when it was executed.
fn start(
    stack: &mut sys::Stack,
    launch: &Launch,
    streams: [BorrowedFd<'_>; 3],
) -> Result<i32, SetupError> {
    // The child shares this memory until it has executed the program.
    let mut failure = None;
    let pid = sys::fork_until_execution(stack, || {
        let Err(error) = program::execute(launch, streams);
        failure = Some(error);
        sys::BROKEN
    })
    .at(Stage::Process, || "cannot make the program's process".into())?;
    match failure {
        Some(error) => Err(error),
        None => Ok(pid),
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

/// Quick ends that were not reported so far.
#[derive(Default)]
struct Untold {
    ends: Vec<QuickEnd>,
    /// How many programs of the series were quick, with those that were reported.
    count: usize,
    since: Option<Instant>,
    bytes: usize,
}

impl Untold {
    /// Whether the program behind the quick ones is the last of its series.
    fn is_last(&self, series: &Series) -> bool {
        self.count + 1 >= series.each.len()
    }

    fn add(&mut self, status: i32, started_micros: i64, wrote: Said, say: &impl Fn(&Report)) {
        let [stdout, stderr] = wrote;
        self.count += 1;
        self.bytes += stdout.len() + stderr.len();
        let (code, ended_micros) = (libc::WEXITSTATUS(status), now_micros());
        self.ends.push(QuickEnd { code, started_micros, ended_micros, stdout, stderr });
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.bytes > UNTOLD_BYTES_MAX || since.elapsed() > UNTOLD_MAX {
            self.tell(say);
        }
    }

    fn tell(&mut self, say: &impl Fn(&Report)) {
        if !self.ends.is_empty() {
            say(&Report::Quick(std::mem::take(&mut self.ends)));
        }
        (self.since, self.bytes) = (None, 0);
    }
}

/// The processes of one program.
struct Tree {
    program: i32,
    status: Option<i32>,
    usage: Usage,
}

impl Tree {
    /// Waits until the program has ended. Calls `announce` if it is not `quick`; whether it did.
    fn wait(&mut self, quick: Duration, mut announce: impl FnMut()) -> bool {
        // Each child that the program leaves to us wakes us, so what is left to wait is counted anew.
        let (begun, mut is_quick) = (Instant::now(), true);
        while self.status.is_none() {
            let left = is_quick.then(|| quick.saturating_sub(begun.elapsed()));
            if left == Some(Duration::ZERO) {
                announce();
                is_quick = false;
                continue;
            }
            if sys::wait_for_signal(left) == Some(libc::SIGTERM) {
                sys::terminate_group(self.program);
            }
            self.collect();
        }
        !is_quick
    }

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
