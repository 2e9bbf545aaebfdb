//! The SSH door: shells on machines for ordinary SSH clients (guide, chapter 访问实例).
//!
//! The user name is the machine's id (`ssh -p PORT i-…@host`), the password is the machine's
//! `InstancePassword`. What a login opens is the same shell as everywhere ([`crate::shell`]): with a
//! terminal or with pipes, a command or a login shell, its exit status at the end. The only file
//! that knows `russh`.
//!
//! One task of `russh` carries both ways of a connection, so it never waits for a program to take its
//! input: that program may be waiting until its output has gone. Input waits in a [`Backlog`], and a
//! client that is too far ahead gets a small window instead.
//!
//! Invariants
//! - A wrong password, an unknown machine and one that cannot be entered look the same and take
//!   [`REJECTION_TIME`]; after [`ATTEMPTS_MAX`] of them the connection ends.
//! - The host key is derived from the region's secret: it stays the same, and nothing is stored.
//! - Deliberately absent: forwarding of ports, agents and X11, subsystems (`sftp`), other methods.

mod backlog;

use crate::{
    front::stopped,
    keys::KeyRing,
    mill::Mill,
    shell::{ShellSession, ShellWriter, Shells, Word, is_open},
};
use backlog::{Backlog, Held};
use gristmill_model::{AccountId, WorkerId};
use gristmill_wire::{
    agent::shell::{OpenShell, ShellWindow},
    api::shell::Window,
};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, MethodKind,
    MethodSet, Pty, SshId,
    keys::{PrivateKey, ssh_key::private::Ed25519Keypair},
    server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, run_stream},
};
use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use subtle::ConstantTimeEq;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
};
use tracing::{debug, info, warn};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// How long a wrong login takes, whatever was wrong.
const REJECTION_TIME: Duration = Duration::from_secs(2);
/// Wrong logins of one connection.
const ATTEMPTS_MAX: usize = 3;
/// How long a client may take to log in.
const LOGIN_TIME_MAX: Duration = Duration::from_secs(60);
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a client may send before it hears that there is room for more.
const CLIENT_WINDOW: u32 = 1 << 20;
/// The same for one that is too far ahead. `russh` makes a window larger when something came, and only
/// then: with none at all the client would never send again.
const CLIENT_WINDOW_AHEAD: u32 = 2;
/// How long the connection of a client that is too far ahead rests after each of its messages.
const AHEAD_PAUSE: Duration = Duration::from_millis(50);
/// The standard error of a session, as SSH numbers it.
const STDERR: u32 = 1;
/// Exit status when there is none: as OpenSSH has it.
const NO_STATUS: u32 = 255;

/// What the door works with.
#[derive(Clone)]
pub struct SshDoor {
    /// Knows the machines.
    pub mill: Mill,
    /// Knows their passwords.
    pub keys: Arc<KeyRing>,
    /// Opens shells.
    pub shells: Shells,
}

/// Serves until the region stops.
pub async fn serve(listener: TcpListener, door: SshDoor, mut stop: watch::Receiver<bool>) {
    let config = Arc::new(config(&door.keys));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = connections.clone().acquire_owned().await.expect("never closed");
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "could not accept an SSH connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => break,
        };
        let (config, door, stop) = (config.clone(), door.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(config, door, stream, peer, stop).await {
                debug!(%peer, %error, "an SSH connection ended badly");
            }
            drop(permit);
        });
    }
}

fn config(keys: &KeyRing) -> Config {
    let host_key = PrivateKey::from(Ed25519Keypair::from_seed(&keys.ssh_host_seed()));
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Gristmill")),
        methods: MethodSet::from(&[MethodKind::Password][..]),
        auth_rejection_time: REJECTION_TIME,
        // Every client asks first what is possible.
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: ATTEMPTS_MAX,
        keys: vec![host_key],
        // Idle shells end by their own rule; this is for connections whose client has vanished.
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(60)),
        window_size: CLIENT_WINDOW,
        nodelay: true,
        ..Config::default()
    }
}

async fn connection(
    config: Arc<Config>,
    door: SshDoor,
    stream: TcpStream,
    peer: SocketAddr,
    mut stop: watch::Receiver<bool>,
) -> Result<(), russh::Error> {
    let is_in = Arc::new(AtomicBool::new(false));
    let guest = Guest { door, peer, machine: None, is_in: is_in.clone(), backlog: Arc::default() };
    let greeting = tokio::time::timeout(LOGIN_TIME_MAX, run_stream(config, stream, guest));
    let Ok(running) = greeting.await else { return Ok(()) };
    let running = running?;
    let handle = running.handle();
    tokio::pin!(running);
    let late = tokio::time::sleep(LOGIN_TIME_MAX);
    tokio::pin!(late);
    let mut waits = true;
    let why = loop {
        tokio::select! {
            ended = &mut running => return ended,
            () = &mut late, if waits => {
                waits = false;
                if !is_in.load(Ordering::Relaxed) {
                    break "too slow";
                }
            }
            () = stopped(&mut stop) => break "the region stops",
        }
    };
    handle.disconnect(Disconnect::ByApplication, why.into(), "en".into()).await?;
    running.await
}

/// One connection.
struct Guest {
    door: SshDoor,
    peer: SocketAddr,
    /// The machine it logged in to.
    machine: Option<WorkerId>,
    is_in: Arc<AtomicBool>,
    /// What its programs have not taken.
    backlog: Arc<Backlog>,
}

impl SshDoor {
    /// The machine, if the password is its own and it can be entered now.
    fn admit(&self, user: &str, password: &str) -> Option<WorkerId> {
        let id: Option<WorkerId> = user.parse().ok();
        // Also what is no id takes the time of a comparison.
        let expected = self.keys.machine_password(id.unwrap_or(WorkerId(0)));
        let is_right = bool::from(expected.as_bytes().ct_eq(password.as_bytes()));
        id.filter(|id| is_right && self.is_open(*id))
    }

    fn is_open(&self, id: WorkerId) -> bool {
        self.owner(id).is_some()
    }

    /// Whose machine it is, if it can be entered now.
    fn owner(&self, id: WorkerId) -> Option<AccountId> {
        let world = self.mill.published().world();
        let machine = world.worker(id)?;
        let cluster = world.any_cluster(machine.cluster)?;
        // A disabled account is refused here as everywhere.
        self.keys.check_account(cluster.account).ok()?;
        is_open(&cluster.purpose, machine).ok()?;
        Some(cluster.account)
    }

    fn open(&self, machine: WorkerId) -> Result<ShellSession, String> {
        let owner = self.owner(machine);
        let owner = owner.ok_or_else(|| format!("machine {machine} cannot be entered any more"))?;
        self.shells.open(owner, machine).map_err(|error| error.message)
    }
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        let Some(machine) = self.door.admit(user, password) else {
            info!(peer = %self.peer, "an SSH login was refused");
            return Ok(Auth::reject());
        };
        info!(peer = %self.peer, %machine, "an SSH login");
        self.machine = Some(machine);
        self.is_in.store(true, Ordering::Relaxed);
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(machine) = self.machine {
            reply.accept().await;
            let (door, backlog) = (self.door.clone(), self.backlog.clone());
            tokio::spawn(async move { serve_channel(&door, machine, channel, &backlog).await });
        }
        Ok(()) // a dropped reply refuses
    }

    fn adjust_window(&mut self, _channel: ChannelId, _current: u32) -> u32 {
        if self.backlog.is_full() { CLIENT_WINDOW_AHEAD } else { CLIENT_WINDOW }
    }

    async fn data(
        &mut self,
        _channel: ChannelId,
        _data: &[u8],
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.backlog.rest_if_full(AHEAD_PAUSE).await;
        Ok(())
    }

    async fn window_change_request(
        &mut self,
        _channel: ChannelId,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.backlog.rest_if_full(AHEAD_PAUSE).await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }
}

/// One session of a connection: what is asked for, then the shell until its end.
async fn serve_channel(
    door: &SshDoor,
    machine: WorkerId,
    channel: Channel<Msg>,
    backlog: &Arc<Backlog>,
) {
    let (mut read, write) = channel.split();
    let Some(wish) = wish(&mut read).await else { return };
    let status = match door.open(machine) {
        Ok(shell) => converse(&mut read, &write, shell, wish, backlog).await,
        Err(why) => complain(&write, &why).await,
    };
    let Some(status) = status else { return };
    // The client may be gone by now.
    let _ = write.exit_status(status).await;
    let _ = write.eof().await;
    let _ = write.close().await;
}

/// What the client asks for. `None`: it has gone.
async fn wish(read: &mut ChannelReadHalf) -> Option<OpenShell> {
    let (mut window, mut name) = (None, String::new());
    let command = loop {
        match read.wait().await? {
            ChannelMsg::RequestPty { term, col_width, row_height, .. } => {
                window = Some(size(col_width, row_height));
                name = term.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
            }
            ChannelMsg::WindowChange { col_width, row_height, .. } => {
                window = window.map(|_| size(col_width, row_height));
            }
            ChannelMsg::Exec { command, .. } => {
                break String::from_utf8_lossy(&command).into_owned();
            }
            ChannelMsg::RequestShell { .. } => break String::new(),
            ChannelMsg::Close => return None,
            _ => {}
        }
    };
    Some(OpenShell { command: command.replace('\0', ""), window, term: name })
}

fn size(columns: u32, rows: u32) -> ShellWindow {
    let bounded = |value| u16::try_from(value).unwrap_or(u16::MAX);
    let Window { columns, rows } =
        Window { columns: bounded(columns), rows: bounded(rows) }.bounded();
    ShellWindow { columns: columns.into(), rows: rows.into() }
}

/// The exit status. `None`: the client has gone.
async fn converse(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    shell: ShellSession,
    wish: OpenShell,
    backlog: &Arc<Backlog>,
) -> Option<u32> {
    let writer = shell.writer();
    writer.start(wish).await;
    // Bounded by the backlog and the client's window.
    let (queue, queued) = mpsc::unbounded_channel();
    tokio::select! {
        status = show(write, shell) => status,
        () = gather(read, &queue, backlog) => None,
        () = pass_on(queued, &writer) => None,
        idle = writer.idle() => {
            complain(write, &format!("no byte went either way for {} s", idle.as_secs())).await
        }
    }
}

/// Passes on what the shell says, as fast as the client takes it.
async fn show(write: &ChannelWriteHalf<Msg>, mut shell: ShellSession) -> Option<u32> {
    loop {
        let passed_on = match shell.next().await {
            Some(Word::Output(bytes)) => write.data_bytes(bytes).await,
            Some(Word::Errors(bytes)) => write.extended_data_bytes(STDERR, bytes).await,
            Some(Word::Ended(end)) if end.failure.is_empty() => {
                return Some(u32::try_from(end.status).unwrap_or(NO_STATUS));
            }
            Some(Word::Ended(end)) => return complain(write, &end.failure).await,
            None => return complain(write, "the machine is gone, or the way to it").await,
        };
        passed_on.ok()?;
    }
}

/// Takes in at once what the client says, until it has gone.
async fn gather(
    read: &mut ChannelReadHalf,
    queue: &mpsc::UnboundedSender<(ChannelMsg, Held)>,
    backlog: &Arc<Backlog>,
) {
    let mut is_over = false;
    while let Some(message) = read.wait().await {
        let bytes = match &message {
            ChannelMsg::Data { data } if !is_over => data.len(),
            ChannelMsg::Eof if !is_over => {
                is_over = true;
                0
            }
            ChannelMsg::WindowChange { .. } => 0,
            ChannelMsg::Close => return,
            _ => continue,
        };
        // Whoever takes them lives as long as this.
        let _ = queue.send((message, backlog.hold(bytes)));
    }
}

/// Passes on what the client said, as fast as the program takes it.
async fn pass_on(mut queued: mpsc::UnboundedReceiver<(ChannelMsg, Held)>, writer: &ShellWriter) {
    while let Some((message, _held)) = queued.recv().await {
        match message {
            ChannelMsg::Data { data } => writer.input(&data).await,
            ChannelMsg::Eof => writer.input_end().await,
            ChannelMsg::WindowChange { col_width, row_height, .. } => {
                writer.resize(size(col_width, row_height)).await;
            }
            _ => {}
        }
    }
}

/// Says why there is no shell (any more); the exit status that goes with it.
async fn complain(write: &ChannelWriteHalf<Msg>, why: &str) -> Option<u32> {
    write.extended_data_bytes(STDERR, format!("{why}\r\n").into_bytes()).await.ok()?;
    Some(NO_STATUS)
}
