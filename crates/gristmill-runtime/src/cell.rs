//! One sandbox as the spawner process holds it: its pid 1, the line to it, its control group, and
//! the run that is in it, if any.

use crate::{
    cgroup::RunGroup,
    protocol::{self, Room, Ticket},
    sandbox::{self, AtStage, Next, Report, Setup, SetupError},
    spawner::Streams,
    spec::{Ended, Exit, RunEvent, SandboxSpec, Series, SeriesEvent, Stage, Usage},
    sys,
};
use rustix::{
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair},
    process::{Signal, pidfd_send_signal},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// How long a sandbox waits for another run.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(10);

/// How long one that was made ahead waits for its first.
const AHEAD_MAX: Duration = Duration::from_secs(3_600);

/// What a sandbox is to run first.
pub(crate) struct First<'a> {
    pub ticket: Ticket,
    pub series: &'a Series,
    pub streams: Streams,
}

/// A sandbox.
pub(crate) struct Cell {
    pub child: sys::Child,
    pub line: OwnedFd,
    spec: SandboxSpec,
    group: RunGroup,
    /// What earlier runs in it used.
    counted: Usage,
    /// When it is thrown away, if no run comes; `Some` while there is none.
    idle_until: Option<Instant>,
    /// Whether its time is over: it takes no run any more.
    is_dying: bool,
    run: Run,
}

/// What happens in a sandbox at the moment.
struct Run {
    ticket: Ticket,
    /// How many of its programs have not ended so far.
    left: usize,
    /// What pid 1 said last, besides that it started.
    last: Option<Report>,
    started: bool,
    /// When its tree is killed, if it does not end before.
    deadline: Option<Instant>,
    /// Whether we killed it.
    killed: bool,
    /// Whether we sent a signal, which may arrive when the program has ended.
    signalled: bool,
}

impl Run {
    fn new(ticket: Ticket, left: usize) -> Self {
        let (last, deadline) = (None, None);
        Self { ticket, left, last, started: false, deadline, killed: false, signalled: false }
    }
}

impl Cell {
    /// Makes a sandbox and lets its pid 1 run programs as soon as it is made, or wait for some.
    pub(crate) fn make(setup: &Setup<'_>, first: Option<First<'_>>) -> Result<Self, SetupError> {
        let (line, far) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .at(Stage::Process, || "cannot make a line to the sandbox".into())?;
        let namespaces =
            libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        let attached = first.as_ref().map(|first| first.streams.attached()).unwrap_or_default();
        let keep = attached.iter().chain([&far.as_fd()]).map(AsRawFd::as_raw_fd).collect();
        let run = match &first {
            Some(First { ticket, series, .. }) => Run::new(*ticket, series.each.len()),
            None => Run::new(0, 0),
        };
        let idle_until = first.is_none().then(|| Instant::now() + AHEAD_MAX);
        let first = first.map(|First { series, streams, .. }| (series, streams));
        let child = sys::clone_child(namespaces, move || {
            sys::close_all_but(keep);
            sys::exit_now(sandbox::run(setup, &far, first))
        })
        .at(Stage::Process, || "cannot make a process in namespaces of its own".into())?;
        Ok(Self {
            child,
            line,
            spec: setup.sandbox.clone(),
            group: RunGroup::default(),
            counted: Usage::default(),
            idle_until,
            is_dying: false,
            run,
        })
    }

    /// Gives it the control group that pid 1 entered.
    pub(crate) fn bound_by(self, group: RunGroup) -> Self {
        Self { group, ..self }
    }

    /// Whether it waits and may take a run that wants this sandbox.
    pub(crate) fn fits(&self, wanted: &SandboxSpec) -> bool {
        let SandboxSpec { id: _, root, scratch, base, mounts, masked, host_name, limits, lineage } =
            wanted;
        let has = &self.spec;
        self.is_idle()
            && !self.is_dying
            && lineage.is_some()
            && (*lineage == has.lineage || has.lineage.as_deref() == Some(SandboxSpec::OPEN))
            && (scratch, base, host_name, limits, root, mounts, masked)
                == (
                    &has.scratch,
                    &has.base,
                    &has.host_name,
                    &has.limits,
                    &has.root,
                    &has.mounts,
                    &has.masked,
                )
    }

    /// Whether it waits and has its layers in this directory.
    pub(crate) fn waits_in(&self, scratch: &Path) -> bool {
        self.is_idle() && self.spec.scratch == scratch
    }

    fn is_idle(&self) -> bool {
        self.idle_until.is_some()
    }

    /// Lets it run other programs.
    pub(crate) fn take(
        &mut self,
        wanted: &SandboxSpec,
        First { ticket, series, streams }: &First<'_>,
    ) -> io::Result<()> {
        let next = Next { series: (*series).clone() };
        protocol::send(self.line.as_fd(), &next, &streams.attached(), SendFlags::DONTWAIT)?;
        (self.run, self.idle_until) = (Run::new(*ticket, series.each.len()), None);
        self.spec.lineage.clone_from(&wanted.lineage);
        Ok(())
    }

    /// The run in it.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        (!self.is_idle()).then_some(self.run.ticket)
    }

    /// Reads what pid 1 reports: what the agent should hear, and whether more can follow.
    pub(crate) fn hear(&mut self, room: &mut Room) -> (Vec<SeriesEvent>, bool) {
        let mut news = Vec::new();
        loop {
            match protocol::receive(self.line.as_fd(), room, RecvFlags::DONTWAIT) {
                Ok(Some((report, _))) => news.extend(self.on_report(report)),
                Ok(None) => return (news, false),
                Err(error) => return (news, error.kind() == io::ErrorKind::WouldBlock),
            }
        }
    }

    fn on_report(&mut self, report: Report) -> Option<SeriesEvent> {
        if self.run.last.is_some() || self.is_idle() {
            return None;
        }
        match report {
            Report::Quick(ends) => {
                self.run.left = self.run.left.saturating_sub(ends.len());
                Some(SeriesEvent::Quick(ends))
            }
            Report::Started(at_micros) if !self.run.started => {
                self.run.started = true;
                let started = RunEvent::Started { pid: self.child.pid, at_micros };
                Some(SeriesEvent::Run(started))
            }
            Report::Started(_) => None,
            Report::Ended { status, started_micros, usage, clean } if self.may_stay(clean) => {
                self.counted.add(&usage);
                self.idle_until = Some(Instant::now() + IDLE_MAX);
                let exit = self.exit(status);
                let ended = Ended { exit, usage, started_micros, kept: true };
                Some(SeriesEvent::Run(RunEvent::Exited(ended)))
            }
            Report::Ended { clean, .. } => {
                if clean {
                    self.send(Signal::KILL); // it waits for a run that does not come
                }
                self.run.last = Some(report);
                None
            }
            Report::Failed(_) => {
                self.run.last = Some(report);
                None
            }
        }
    }

    /// Whether the sandbox may wait for another run. A signal of ours could hit that one.
    fn may_stay(&self, clean: bool) -> bool {
        clean && !self.run.killed && !self.run.signalled && !self.group.ran_out_of_memory()
    }

    /// Pid 1 ended, and with it everything in the sandbox: the last word on the run, if there was one.
    pub(crate) fn collected(&mut self, init_status: i32, total: &Usage) -> Option<SeriesEvent> {
        if self.is_idle() {
            return None;
        }
        if self.run.last.is_none() && !self.run.started && self.run.left > 1 {
            return Some(SeriesEvent::Lost);
        }
        Some(SeriesEvent::Run(self.last_word(init_status, total)))
    }

    fn last_word(&mut self, init_status: i32, total: &Usage) -> RunEvent {
        let usage = Usage {
            user_micros: total.user_micros.saturating_sub(self.counted.user_micros),
            system_micros: total.system_micros.saturating_sub(self.counted.system_micros),
            resident_bytes_max: total.resident_bytes_max,
        };
        let (status, started_micros) = match self.run.last.take() {
            Some(Report::Failed(failure)) => return RunEvent::Failed(failure),
            Some(Report::Ended { status, started_micros, .. }) => (status, started_micros),
            None if self.ended_by_bounds(init_status) => (init_status, 0),
            // A program cannot reach pid 1: somebody outside did, or the machine is in trouble.
            Some(Report::Started(_) | Report::Quick(_)) | None => {
                let what = "pid 1 of the sandbox was ended from outside";
                return RunEvent::Failed(SetupError::new(Stage::Process, what).into());
            }
        };
        let exit = self.exit(status);
        RunEvent::Exited(Ended { exit, usage, started_micros, kept: false })
    }

    fn exit(&self, status: i32) -> Exit {
        if libc::WIFEXITED(status) {
            Exit::Code(libc::WEXITSTATUS(status))
        } else if libc::WTERMSIG(status) == libc::SIGKILL && self.group.ran_out_of_memory() {
            Exit::OutOfMemory
        } else {
            Exit::Signal(libc::WTERMSIG(status))
        }
    }

    /// Whether pid 1 was killed by us or for its memory.
    fn ended_by_bounds(&self, init_status: i32) -> bool {
        libc::WIFSIGNALED(init_status) && (self.run.killed || self.group.ran_out_of_memory())
    }

    /// Kills everything in it.
    pub(crate) fn kill(&mut self) {
        self.run.killed = true;
        self.send(Signal::KILL);
    }

    /// Pid 1 passes the signal on to the program.
    pub(crate) fn stop(&mut self, grace: Duration) {
        self.run.signalled = true;
        self.send(Signal::TERM);
        self.run.deadline.get_or_insert(Instant::now() + grace);
    }

    fn send(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.child.pidfd, signal); // it may have just ended
    }

    /// Kills and collects, waiting for it.
    pub(crate) fn end_now(&mut self) {
        self.kill();
        let _ = sys::collect(self.child.pid, true); // nobody asks for the outcome
    }

    /// When something has to be done to it.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.is_dying { None } else { self.idle_until.or(self.run.deadline) }
    }

    /// Its time is over: kills it.
    pub(crate) fn on_due(&mut self) {
        self.run.deadline = None;
        self.is_dying = true;
        self.kill();
    }

    /// Its control group, and what is left in its scratch directory if nothing was written there.
    pub(crate) fn into_rest(self) -> RunGroup {
        if self.is_idle() {
            // Layers that nobody wrote into. What cannot be removed makes the next sandbox fail.
            let _ = empty(&self.spec.scratch);
        }
        self.group
    }
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        std::fs::remove_dir_all(entry?.path())?;
    }
    Ok(())
}
