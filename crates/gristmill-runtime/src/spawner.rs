//! The agent's side of the spawner: asks for runs and hears what becomes of them.
//!
//! [`Spawner`] is cheap to clone and may be used from any thread. One [`Ear`] reads the notices
//! and calls the closure that came with each run; it must not block. When the spawner process
//! dies, every run that was open gets a last event.

use crate::{
    protocol::{self, Notice, Request, Room, Ticket},
    spec::{ProgramSpec, RunEvent, SandboxSpec, Series, SeriesEvent, Stage, StartFailure},
};
use rustix::net::{RecvFlags, SendFlags};
use std::{
    collections::HashMap,
    io,
    ops::ControlFlow,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Why a run could not even be asked for.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The spawner process is gone; this agent can run nothing any more.
    #[error("the process that makes sandboxes is gone")]
    Gone,
    /// The request could not be sent.
    #[error("could not ask for a sandbox")]
    Ask(#[source] io::Error),
}

type Listener = Box<dyn FnMut(SeriesEvent) + Send>;

/// Where the standard streams of a program lead.
pub struct Streams {
    /// Empty when `None`. A terminal becomes the program's controlling terminal.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

impl Streams {
    /// In the order in which they travel.
    pub(crate) fn attached(&self) -> Vec<BorrowedFd<'_>> {
        let Self { stdin, stdout, stderr } = self;
        let all = [Some(stdout), Some(stderr), stdin.as_ref()];
        all.into_iter().flatten().map(AsFd::as_fd).collect()
    }

    /// Out of a message. `None`: these are not the streams of a program.
    pub(crate) fn of_attached(mut attached: Vec<OwnedFd>) -> Option<Self> {
        let stdin = if attached.len() == 3 { attached.pop() } else { None };
        let [stdout, stderr] = <[OwnedFd; 2]>::try_from(attached).ok()?;
        Some(Self { stdin, stdout, stderr })
    }
}

/// Makes sandboxes.
#[derive(Clone)]
pub struct Spawner {
    shared: Arc<Shared>,
}

struct Shared {
    socket: OwnedFd,
    /// Never held while a listener is called or the socket is written.
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    next: Ticket,
    open: HashMap<Ticket, Listener>,
    gone: bool,
}

/// One run that was asked for. Dropping it leaves the run alone.
#[derive(Clone)]
pub struct RunHandle {
    shared: Arc<Shared>,
    ticket: Ticket,
}

/// Hears what becomes of runs, for whoever calls it: a thread of its own ([`Ear::listen`]), or a loop
/// that waits for several things ([`Ear::take`] when the descriptor can be read).
pub struct Ear {
    shared: Arc<Shared>,
    room: Room,
}

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.socket.as_raw_fd()
    }
}

impl Ear {
    /// Hears until the spawner is gone.
    pub fn listen(mut self) {
        while self.hear(RecvFlags::empty()).is_continue() {}
    }

    /// Hears what was said so far. `Break`: the spawner is gone.
    pub fn take(&mut self) -> ControlFlow<()> {
        while self.hear(RecvFlags::DONTWAIT)? {}
        ControlFlow::Continue(())
    }

    /// Hears one notice; `false`: nothing was said.
    fn hear(&mut self, flags: RecvFlags) -> ControlFlow<(), bool> {
        match protocol::receive::<Notice>(self.shared.socket.as_fd(), &mut self.room, flags) {
            Ok(Some((notice, _))) => {
                self.shared.tell(notice);
                return ControlFlow::Continue(true);
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return ControlFlow::Continue(false);
            }
            Err(error) => tracing::error!(%error, "the spawner cannot be heard any more"),
        }
        self.shared.end();
        ControlFlow::Break(())
    }
}

impl Spawner {
    pub(crate) fn new(socket: OwnedFd) -> (Self, Ear) {
        let shared = Arc::new(Shared { socket, runs: Mutex::default() });
        (Self { shared: Arc::clone(&shared) }, Ear { shared, room: Room::default() })
    }

    /// Asks for a run. Its standard output and error go to these descriptors, its standard
    /// input is empty. `listener` hears what happens, on a thread that it must not block; the
    /// last event is `Failed` or `Exited`.
    pub fn spawn(
        &self,
        sandbox: &SandboxSpec,
        program: &ProgramSpec,
        stdout: OwnedFd,
        stderr: OwnedFd,
        listener: impl FnMut(RunEvent) + Send + 'static,
    ) -> Result<RunHandle, SpawnError> {
        let streams = Streams { stdin: None, stdout, stderr };
        self.spawn_connected(sandbox, program, streams, listener)
    }

    /// [`Spawner::spawn`] with a choice of standard input.
    pub fn spawn_connected(
        &self,
        sandbox: &SandboxSpec,
        program: &ProgramSpec,
        streams: Streams,
        listener: impl FnMut(RunEvent) + Send + 'static,
    ) -> Result<RunHandle, SpawnError> {
        let mut listener = listener;
        let of_one = move |event| match event {
            SeriesEvent::Run(event) => listener(event),
            SeriesEvent::Quick(_) | SeriesEvent::Lost => {} // nothing is between one program
        };
        self.spawn_series(sandbox, &Series::of_one(program.clone()), streams, of_one)
    }

    /// [`Spawner::spawn_connected`] for several programs. As soon as one takes longer than some
    /// milliseconds, leaves a trace or writes much, the series ends with it: those behind it are not
    /// started, and the events are those of a single run. The files behind the streams of a series
    /// must be open for reading, too. Killing or stopping is meant for a program that was `Started`.
    pub fn spawn_series(
        &self,
        sandbox: &SandboxSpec,
        series: &Series,
        streams: Streams,
        listener: impl FnMut(SeriesEvent) + Send + 'static,
    ) -> Result<RunHandle, SpawnError> {
        let ticket = self.shared.open(Box::new(listener))?;
        let request =
            Request::Spawn { ticket, sandbox: Box::new(sandbox.clone()), series: series.clone() };
        let attached = streams.attached();
        let socket = self.shared.socket.as_fd();
        if let Err(error) = protocol::send(socket, &request, &attached, SendFlags::empty()) {
            // Without a listener it has heard of the failure already.
            if self.shared.runs().open.remove(&ticket).is_some() {
                return Err(SpawnError::Ask(error));
            }
        }
        Ok(RunHandle { shared: Arc::clone(&self.shared), ticket })
    }

    /// Makes a sandbox ahead, of lineage [`SandboxSpec::OPEN`]. It takes the first run that wants it with
    /// whatever lineage, and waits for that for an hour. One that cannot be made is not there when
    /// its run comes, which then tells why.
    pub fn prepare(&self, sandbox: &SandboxSpec) -> Result<(), SpawnError> {
        self.shared.ask(&Request::Prepare { sandbox: Box::new(sandbox.clone()) })
    }

    /// Ends the sandbox that was kept with this scratch directory, if there is one. Afterwards the
    /// directory may be removed, or used for another sandbox once it is empty.
    pub fn let_go(&self, scratch: &Path) -> Result<(), SpawnError> {
        self.shared.ask(&Request::LetGo { scratch: scratch.to_owned() })
    }
}

impl RunHandle {
    /// Kills the program and everything it started. Its end is reported as ever; killing what
    /// has ended is harmless.
    pub fn kill(&self) -> Result<(), SpawnError> {
        self.shared.ask(&Request::Kill { ticket: self.ticket })
    }

    /// Sends `SIGTERM` to the program's process group and kills everything after `grace`.
    pub fn stop(&self, grace: Duration) -> Result<(), SpawnError> {
        let grace_millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.shared.ask(&Request::Stop { ticket: self.ticket, grace_millis })
    }
}

impl Shared {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, listener: Listener) -> Result<Ticket, SpawnError> {
        let mut runs = self.runs();
        if runs.gone {
            return Err(SpawnError::Gone);
        }
        runs.next += 1;
        let ticket = runs.next;
        runs.open.insert(ticket, listener);
        Ok(ticket)
    }

    fn ask(&self, request: &Request) -> Result<(), SpawnError> {
        protocol::send(self.socket.as_fd(), request, &[], SendFlags::empty())
            .map_err(SpawnError::Ask)
    }

    fn tell(&self, Notice { ticket, event }: Notice) {
        let Some(mut listener) = self.runs().open.remove(&ticket) else { return };
        let last = event.is_last();
        listener(event);
        if !last {
            self.runs().open.insert(ticket, listener);
        }
    }

    /// The spawner is gone, and with it every run.
    fn end(&self) {
        let open = {
            let mut runs = self.runs();
            runs.gone = true;
            std::mem::take(&mut runs.open)
        };
        for (_, mut listener) in open {
            listener(SeriesEvent::Run(RunEvent::Failed(StartFailure {
                stage: Stage::Spawner,
                errno: None,
                message: "the process that makes sandboxes is gone".into(),
            })));
        }
    }
}
