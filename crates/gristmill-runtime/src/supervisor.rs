//! The spawner process: one thread, one loop, no async.
//!
//! It takes requests from the agent, makes the pid 1 of each sandbox, hears its reports, waits
//! for its end, and sends notices. When the agent is gone (its end of the socket closes) it kills
//! every run, cleans up and ends.
//!
//! Invariants
//! - A run leaves the table when its pid 1 was collected, and then gets its last notice.
//! - Nothing here waits for a program or for the agent: what cannot be sent now is queued.

use crate::{
    cgroup::{Driver, RunGroup},
    host::Prepared,
    protocol::{self, Notice, Request, Ticket},
    sandbox::{self, AtStage, Filter, Report, Setup, SetupError},
    spec::{Ended, Exit, ProgramSpec, Root, RunEvent, SandboxSpec, Stage, StartFailure, Usage},
    sys,
};
use rustix::{
    event::{Timespec, epoll},
    io::Errno,
    net::{RecvFlags, SendFlags},
    process::{Signal, pidfd_send_signal},
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

/// What the spawner process works with.
pub(crate) struct Supervisor {
    socket: OwnedFd,
    epoll: OwnedFd,
    prepared: Prepared,
    filter: Filter,
    driver: Driver,
    runs: HashMap<Ticket, Run>,
    outgoing: VecDeque<Notice>,
    /// Groups that were still busy when their run ended.
    leftover: Vec<RunGroup>,
}

struct Run {
    child: sys::Child,
    reports: OwnedFd,
    group: RunGroup,
    /// What pid 1 said last, besides that it started.
    last: Option<Report>,
    /// When its tree is killed, if it does not end before.
    deadline: Option<Instant>,
    /// Whether we killed it.
    killed: bool,
}

const SOCKET: u64 = 0;
const READABLE: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);
const EVENTS_AT_ONCE: usize = 64;
/// How long the end waits for groups to become free.
const LEFTOVER_WAIT_MAX: Duration = Duration::from_secs(2);

impl Supervisor {
    pub(crate) fn new(
        socket: OwnedFd,
        prepared: Prepared,
        filter: Filter,
        driver: Driver,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(SOCKET);
        epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
        let (runs, outgoing, leftover) = Default::default();
        Ok(Self { socket, epoll, prepared, filter, driver, runs, outgoing, leftover })
    }

    /// Serves until the agent is gone.
    pub(crate) fn serve(mut self) {
        let mut space = [const { MaybeUninit::uninit() }; EVENTS_AT_ONCE];
        loop {
            let timeout = self.time_to_deadline();
            let ready: Vec<(u64, bool)> =
                match epoll::wait(&self.epoll, &mut space, timeout.as_ref()) {
                    Ok((ready, _)) => ready
                        .iter()
                        .map(|e| (e.data.u64(), { e.flags }.intersects(READABLE)))
                        .collect(),
                    Err(Errno::INTR) => continue,
                    Err(_) => break,
                };
            let mut agent_lives = true;
            for (token, readable) in ready {
                match token {
                    SOCKET if readable => agent_lives &= self.take_requests(),
                    SOCKET => {}
                    _ if token % 2 == 0 => self.hear(token / 2),
                    _ => self.collect(token / 2),
                }
            }
            self.kill_overdue();
            if !agent_lives || !self.send_notices() {
                break;
            }
        }
        self.end();
    }

    /// Reads what the agent asks. Whether it is still there.
    fn take_requests(&mut self) -> bool {
        loop {
            match protocol::receive(self.socket.as_fd(), RecvFlags::DONTWAIT) {
                Ok(Some((request, attached))) => self.on_request(request, attached),
                Ok(None) => return false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false, // the two halves no longer understand each other
            }
        }
    }

    fn on_request(&mut self, request: Request, attached: Vec<OwnedFd>) {
        match request {
            Request::Spawn { ticket, sandbox, program } => {
                match self.spawn(ticket, &sandbox, &program, attached) {
                    Ok(run) => drop(self.runs.insert(ticket, run)),
                    Err(error) => self.tell(ticket, RunEvent::Failed(error.into())),
                }
            }
            Request::Kill { ticket } => {
                if let Some(run) = self.runs.get_mut(&ticket) {
                    run.kill();
                }
            }
            Request::Stop { ticket, grace_millis } => {
                if let Some(run) = self.runs.get_mut(&ticket) {
                    run.stop(Duration::from_millis(grace_millis));
                }
            }
        }
    }

    fn spawn(
        &mut self,
        ticket: Ticket,
        sandbox: &SandboxSpec,
        program: &ProgramSpec,
        mut attached: Vec<OwnedFd>,
    ) -> Result<Run, SetupError> {
        let stdin = if attached.len() == 3 { attached.pop() } else { None };
        let [stdout, stderr] = <[OwnedFd; 2]>::try_from(attached)
            .map_err(|_| SetupError::new(Stage::Spawner, "a run needs two descriptors"))?;
        check(sandbox, &self.prepared)?;
        let group = self
            .driver
            .create(&sandbox.id, &sandbox.limits)
            .at(Stage::Limits, || "cannot make the control group".into())?;
        let (reports, writer) =
            sandbox::report_pipe().at(Stage::Process, || "cannot make a pipe".into())?;
        let setup = Setup {
            prepared: &self.prepared,
            filter: &self.filter,
            group: &group,
            sandbox,
            program,
            stdin: stdin.as_ref().map(AsFd::as_fd),
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            reports: writer.as_fd(),
        };
        let mut run = Self::clone_init(&setup, reports)?;
        run.group = group;
        let watch = |fd: &OwnedFd, token| {
            let data = epoll::EventData::new_u64(token);
            epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
        };
        watch(&run.reports, ticket * 2)
            .and_then(|()| watch(&run.child.pidfd, ticket * 2 + 1))
            .inspect_err(|_| run.end_now())
            .at(Stage::Process, || "cannot watch the sandbox".into())?;
        Ok(run)
    }

    fn clone_init(setup: &Setup<'_>, reports: OwnedFd) -> Result<Run, SetupError> {
        let namespaces =
            libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        let streams = [Some(setup.stdout), Some(setup.stderr), setup.stdin, Some(setup.reports)];
        let keep: Vec<_> = streams.into_iter().flatten().map(|fd| fd.as_raw_fd()).collect();
        let child = sys::clone_child(namespaces, || {
            sys::close_all_but(keep);
            sys::exit_now(sandbox::run(setup))
        })
        .at(Stage::Process, || "cannot make a process in namespaces of its own".into())?;
        Ok(Run {
            child,
            reports,
            group: RunGroup::default(),
            last: None,
            deadline: None,
            killed: false,
        })
    }

    /// Reads what pid 1 of a run reports.
    fn hear(&mut self, ticket: Ticket) {
        let Some(run) = self.runs.get_mut(&ticket) else { return };
        let pid = run.child.pid;
        let open = loop {
            match run.next_report() {
                Ok(Some(Report::Started)) if run.last.is_none() => {
                    self.outgoing.push_back(Notice { ticket, event: RunEvent::Started { pid } });
                }
                Ok(Some(report)) => {
                    run.last.get_or_insert(report);
                }
                Ok(None) => break false,
                Err(error) => break error == Errno::AGAIN,
            }
        };
        if !open {
            let _ = epoll::delete(&self.epoll, &run.reports); // its end alone is of interest now
        }
    }

    /// Pid 1 ended: everything in the sandbox is gone.
    fn collect(&mut self, ticket: Ticket) {
        self.hear(ticket);
        let Some(run) = self.runs.get(&ticket) else { return };
        let Ok(Some((status, usage))) = sys::collect(run.child.pid, false) else { return };
        let Some(mut run) = self.runs.remove(&ticket) else { return };
        let event = run.outcome(status, usage);
        self.tell(ticket, event);
        self.leftover.retain_mut(|group| !group.remove());
        if !run.group.remove() {
            self.leftover.push(run.group);
        }
    }

    fn tell(&mut self, ticket: Ticket, event: RunEvent) {
        self.outgoing.push_back(Notice { ticket, event });
    }

    /// Sends as many notices as the socket takes. Whether the agent is still there.
    fn send_notices(&mut self) -> bool {
        let mut blocked = false;
        while let Some(notice) = self.outgoing.front() {
            match protocol::send(self.socket.as_fd(), notice, &[], SendFlags::DONTWAIT) {
                Ok(()) => drop(self.outgoing.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    blocked = true;
                    break;
                }
                Err(_) => return false,
            }
        }
        let also = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(SOCKET);
        epoll::modify(&self.epoll, &self.socket, data, epoll::EventFlags::IN | also).is_ok()
    }

    fn time_to_deadline(&self) -> Option<Timespec> {
        let first = self.runs.values().filter_map(|r| r.deadline).min()?;
        let left = first.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for run in self.runs.values_mut().filter(|r| r.deadline.is_some_and(|d| d <= now)) {
            run.deadline = None;
            run.kill();
        }
    }

    /// The agent is gone, or this process can do nothing more.
    fn end(mut self) {
        for run in self.runs.values_mut() {
            run.kill();
        }
        for (_, mut run) in self.runs.drain() {
            run.end_now();
            self.leftover.push(run.group);
        }
        let started = Instant::now();
        self.leftover.retain_mut(|group| !group.remove());
        while !self.leftover.is_empty() && started.elapsed() < LEFTOVER_WAIT_MAX {
            std::thread::sleep(Duration::from_millis(1));
            self.leftover.retain_mut(|group| !group.remove());
        }
        self.driver.remove();
    }
}

impl Run {
    /// One packet of the pipe. `None`: pid 1 has closed it.
    fn next_report(&self) -> Result<Option<Report>, Errno> {
        let mut packet = [0; 4096];
        match rustix::io::read(&self.reports, &mut packet)? {
            0 => Ok(None),
            length => Ok(Some(serde_json::from_slice(&packet[..length]).unwrap_or_else(|_| {
                Report::Failed(StartFailure {
                    stage: Stage::Process,
                    errno: None,
                    message: "the sandbox sent a report that cannot be read".into(),
                })
            }))),
        }
    }

    fn kill(&mut self) {
        self.killed = true;
        self.signal(Signal::KILL);
    }

    /// Pid 1 passes the signal on to the program.
    fn stop(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        self.deadline.get_or_insert(Instant::now() + grace);
    }

    fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.child.pidfd, signal); // it may have just ended
    }

    /// Kills and collects, waiting for it.
    fn end_now(&mut self) {
        self.kill();
        let _ = sys::collect(self.child.pid, true); // nobody asks for the outcome
    }

    fn outcome(&mut self, init_status: i32, usage: Usage) -> RunEvent {
        let status = match self.last.take() {
            Some(Report::Failed(failure)) => return RunEvent::Failed(failure),
            Some(Report::Ended(status)) => status,
            Some(Report::Started) | None if self.ended_by_bounds(init_status) => init_status,
            // A program cannot reach pid 1: somebody outside did, or the machine is in trouble.
            Some(Report::Started) | None => {
                let what = "pid 1 of the sandbox was ended from outside";
                return RunEvent::Failed(SetupError::new(Stage::Process, what).into());
            }
        };
        let exit = if libc::WIFEXITED(status) {
            Exit::Code(libc::WEXITSTATUS(status))
        } else if libc::WTERMSIG(status) == libc::SIGKILL && self.group.ran_out_of_memory() {
            Exit::OutOfMemory
        } else {
            Exit::Signal(libc::WTERMSIG(status))
        };
        RunEvent::Exited(Ended { exit, usage })
    }

    /// Whether pid 1 was killed by us or for its memory.
    fn ended_by_bounds(&self, init_status: i32) -> bool {
        libc::WIFSIGNALED(init_status) && (self.killed || self.group.ran_out_of_memory())
    }
}

/// What is wrong with a request, before anything is made.
fn check(sandbox: &SandboxSpec, prepared: &Prepared) -> Result<(), SetupError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if sandbox.id.is_empty() || !sandbox.id.chars().all(plain) || sandbox.id.starts_with('.') {
        return Err(SetupError::new(Stage::Spawner, format!("`{}` names no sandbox", sandbox.id)));
    }
    let hidden = sandbox.masked.iter().chain([&prepared.directory]);
    if sandbox.root == Root::Host && !hidden.into_iter().any(|m| sandbox.scratch.starts_with(m)) {
        let shown = sandbox.scratch.display();
        let what = format!("`{shown}` must lie in the node's directory or in a masked one");
        return Err(SetupError::new(Stage::Spawner, what));
    }
    Ok(())
}
