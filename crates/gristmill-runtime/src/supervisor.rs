//! The spawner process: one thread, one loop, no async.
//!
//! It takes requests from the agent, makes sandboxes ([`Cell`]) or lets waiting ones take another
//! run, hears the reports of their pid 1, waits for its end, and sends notices. When the agent is
//! gone (its end of the socket closes) it kills every sandbox, cleans up and ends.
//!
//! Invariants
//! - A run gets its last notice when its pid 1 was collected, or when pid 1 found itself alone in a
//!   sandbox without a trace of it.
//! - Nothing here waits for a program or for the agent: what cannot be sent now is queued.

use crate::{
    cell::{Cell, First},
    cgroup::{Driver, RunGroup},
    host::Prepared,
    protocol::{self, Notice, Request, Room, Ticket},
    sandbox::{self, AtStage, Filter, Setup, SetupError},
    spawner::Streams,
    spec::{Root, RunEvent, SandboxSpec, Series, SeriesEvent, Stage},
    sys,
};
use gristmill_faults::{self as faults, Point};
use rustix::{
    event::{Timespec, epoll},
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// What the spawner process works with.
pub(crate) struct Supervisor {
    socket: OwnedFd,
    epoll: OwnedFd,
    prepared: Prepared,
    filter: Filter,
    driver: Driver,
    cells: HashMap<CellNumber, Cell>,
    /// The number of the latest sandbox.
    latest: CellNumber,
    outgoing: VecDeque<Notice>,
    /// Groups that were still busy when their run ended.
    leftover: Vec<RunGroup>,
    room: Room,
}

/// Names a sandbox here; never used twice, and never 0.
type CellNumber = u64;

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
        let (cells, outgoing, leftover, room) = Default::default();
        let latest = 0;
        Ok(Self {
            socket,
            epoll,
            prepared,
            filter,
            driver,
            cells,
            latest,
            outgoing,
            leftover,
            room,
        })
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
            self.end_overdue();
            if !agent_lives || !self.send_notices() {
                break;
            }
        }
        self.end();
    }

    /// Reads what the agent asks. Whether it is still there.
    fn take_requests(&mut self) -> bool {
        loop {
            match protocol::receive(self.socket.as_fd(), &mut self.room, RecvFlags::DONTWAIT) {
                Ok(Some((request, attached))) => self.on_request(request, attached),
                Ok(None) => return false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false, // the two halves no longer understand each other
            }
        }
    }

    fn on_request(&mut self, request: Request, attached: Vec<OwnedFd>) {
        match request {
            Request::Spawn { ticket, sandbox, series } => {
                if let Err(error) = self.spawn(ticket, &sandbox, &series, attached) {
                    self.tell(ticket, SeriesEvent::Run(RunEvent::Failed(error.into())));
                }
            }
            Request::Prepare { sandbox } => {
                let _ = self.make(&sandbox, None); // its run will tell
            }
            Request::Kill { ticket } => {
                if let Some(cell) = self.cell_of(ticket) {
                    cell.kill();
                }
            }
            Request::Stop { ticket, grace_millis } => {
                if let Some(cell) = self.cell_of(ticket) {
                    cell.stop(Duration::from_millis(grace_millis));
                }
            }
            Request::LetGo { scratch } => self.let_go(&scratch),
        }
    }

    /// The sandbox that a run is in.
    fn cell_of(&mut self, ticket: Ticket) -> Option<&mut Cell> {
        self.cells.values_mut().find(|cell| cell.ticket() == Some(ticket))
    }

    fn spawn(
        &mut self,
        ticket: Ticket,
        sandbox: &SandboxSpec,
        series: &Series,
        attached: Vec<OwnedFd>,
    ) -> Result<(), SetupError> {
        let streams = Streams::of_attached(attached)
            .ok_or_else(|| SetupError::new(Stage::Spawner, "a run needs its streams"))?;
        for output in [&streams.stdout, &streams.stderr] {
            // So that a program may open `/dev/stderr` anew. It cannot be given away: then it may not.
            let _ = sandbox::give_output(output.as_fd(), self.prepared.identity);
        }
        let first = First { ticket, series, streams };
        let waiting = self.cells.values_mut().find(|cell| cell.fits(sandbox));
        if waiting.is_some_and(|cell| cell.take(sandbox, &first).is_ok()) {
            return Ok(());
        }
        self.let_go(&sandbox.scratch);
        self.make(sandbox, Some(first))
    }

    fn make(&mut self, sandbox: &SandboxSpec, first: Option<First<'_>>) -> Result<(), SetupError> {
        check(sandbox, &self.prepared)?;
        faults::at(Point::SpawnerMake)
            .or_fail()
            .map_err(|fault| SetupError::new(Stage::Process, fault.to_string()))?;
        let mut group = self
            .driver
            .create(&sandbox.id, &sandbox.limits)
            .at(Stage::Limits, || "cannot make the control group".into())?;
        let (prepared, filter) = (&self.prepared, &self.filter);
        let setup = Setup { prepared, filter, group: &group, sandbox };
        let mut cell = match Cell::make(&setup, first) {
            Ok(made) => made.bound_by(group),
            Err(error) => {
                group.remove(); // nobody is in it
                return Err(error);
            }
        };
        let number = self.latest + 1;
        if let Err(error) = self.watch(&cell, number) {
            cell.end_now();
            self.clear_away(cell);
            return Err(error);
        }
        self.latest = number;
        self.cells.insert(number, cell);
        faults::at(Point::SpawnerMade);
        Ok(())
    }

    fn watch(&self, cell: &Cell, number: CellNumber) -> Result<(), SetupError> {
        let watch = |fd: &OwnedFd, token| {
            let data = epoll::EventData::new_u64(token);
            epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
        };
        watch(&cell.line, number * 2)
            .and_then(|()| watch(&cell.child.pidfd, number * 2 + 1))
            .at(Stage::Process, || "cannot watch the sandbox".into())
    }

    /// Reads what pid 1 of a sandbox reports.
    fn hear(&mut self, number: CellNumber) {
        let Some(cell) = self.cells.get_mut(&number) else { return };
        let ticket = cell.ticket();
        let (news, open) = cell.hear(&mut self.room);
        if !open {
            let _ = epoll::delete(&self.epoll, &cell.line); // its end alone is of interest now
        }
        if let Some(ticket) = ticket {
            news.into_iter().for_each(|event| self.tell(ticket, event));
        }
    }

    /// Pid 1 ended: everything in the sandbox is gone.
    fn collect(&mut self, number: CellNumber) {
        self.hear(number);
        let Some(cell) = self.cells.get(&number) else { return };
        let Ok(Some((status, usage))) = sys::collect(cell.child.pid, false) else { return };
        let Some(mut cell) = self.cells.remove(&number) else { return };
        let (ticket, event) = (cell.ticket(), cell.collected(status, &usage));
        self.clear_away(cell);
        if let (Some(ticket), Some(event)) = (ticket, event) {
            self.tell(ticket, event);
        }
    }

    /// Ends the sandbox that waits in this directory, if there is one, and empties it.
    fn let_go(&mut self, scratch: &Path) {
        let found = self.cells.iter().find(|(_, cell)| cell.waits_in(scratch));
        let Some(mut cell) = found.map(|(n, _)| *n).and_then(|n| self.cells.remove(&n)) else {
            return;
        };
        cell.end_now();
        self.clear_away(cell);
    }

    fn clear_away(&mut self, cell: Cell) {
        let mut group = cell.into_rest();
        self.leftover.retain_mut(|group| !group.remove());
        if !group.remove() {
            self.leftover.push(group);
        }
    }

    fn tell(&mut self, ticket: Ticket, event: SeriesEvent) {
        if matches!(event, SeriesEvent::Run(RunEvent::Exited(_))) {
            faults::at(Point::SpawnerEnded);
        }
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
        let first = self.cells.values().filter_map(Cell::due).min()?;
        let left = first.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }

    fn end_overdue(&mut self) {
        let now = Instant::now();
        for cell in self.cells.values_mut().filter(|c| c.due().is_some_and(|due| due <= now)) {
            cell.on_due();
        }
    }

    /// The agent is gone, or this process can do nothing more.
    fn end(mut self) {
        for cell in self.cells.values_mut() {
            cell.kill();
        }
        for (_, mut cell) in std::mem::take(&mut self.cells) {
            cell.end_now();
            self.leftover.push(cell.into_rest());
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
