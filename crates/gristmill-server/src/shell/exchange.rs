//! The shells on one agent's line, and one of them as its door holds it.

use crate::places::Place;
use gristmill_wire::agent::{
    ToAgent, ToAgentKind,
    shell::{
        CHUNK, FromShell, FromShellKind, OpenShell, ShellEnd, ShellWindow, ToShell, ToShellKind,
        WINDOW, cost,
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;

/// Messages that an agent which keeps to its credit may be ahead: the smallest cost 64.
const WORDS_MAX: usize = (WINDOW / 64) as usize + 16;

type Outbox = mpsc::Sender<Result<ToAgent, Status>>;

/// The shells on one agent's line.
pub struct Exchange {
    open: Mutex<Open>,
}

struct Open {
    next: u64,
    shells: BTreeMap<u64, mpsc::Sender<FromShellKind>>,
    /// `None` when the line is gone: it must not be held open from here.
    outbox: Option<Outbox>,
}

impl Exchange {
    /// No shells on this line yet.
    pub fn new(outbox: Outbox) -> Self {
        let (next, shells, outbox) = (0, BTreeMap::new(), Some(outbox));
        Self { open: Mutex::new(Open { next, shells, outbox }) }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of the lock panics")
    }

    /// The agent says something about a session.
    pub fn hear(&self, FromShell { session, kind }: FromShell) {
        let mut open = self.open();
        let (Some(door), Some(kind)) = (open.shells.get(&session), kind) else { return };
        if door.try_send(kind).is_err() {
            // The door has let go, or the agent sends more than it may.
            open.shells.remove(&session);
        }
    }

    /// The line is gone, and every shell with it.
    pub fn close(&self) {
        let mut open = self.open();
        open.outbox = None;
        open.shells.clear();
    }

    /// Makes room for a shell. `None`: there are too many, or the line has just gone.
    pub fn enter(
        self: &Arc<Self>,
        shells_max: usize,
        idle_max: Duration,
        place: Place,
    ) -> Option<ShellSession> {
        let mut open = self.open();
        if open.outbox.is_none() || open.shells.len() >= shells_max {
            return None;
        }
        open.next += 1;
        let session = open.next;
        let (door, heard) = mpsc::channel(WORDS_MAX);
        open.shells.insert(session, door);
        let link = Arc::new(Link {
            exchange: self.clone(),
            session,
            credit: Semaphore::new(WINDOW as usize),
            used: Mutex::new(Instant::now()),
            idle_max,
            _place: place,
        });
        Some(ShellSession { writer: ShellWriter { link }, heard, untaken: 0 })
    }
}

/// What both ways of a session share. Dropping it ends the shell.
struct Link {
    exchange: Arc<Exchange>,
    session: u64,
    /// How much input the agent still takes.
    credit: Semaphore,
    /// When a byte went either way last.
    used: Mutex<Instant>,
    idle_max: Duration,
    _place: Place,
}

impl Link {
    fn message(&self, kind: ToShellKind) -> ToAgent {
        ToAgentKind::Shell(ToShell { session: self.session, kind: Some(kind) }).into()
    }

    async fn say(&self, kind: ToShellKind) {
        let outbox = self.exchange.open().outbox.clone();
        if let Some(outbox) = outbox {
            let _ = outbox.send(Ok(self.message(kind))).await; // shows in what is heard
        }
    }

    fn touch(&self) {
        *self.used.lock().expect("no holder of the lock panics") = Instant::now();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let outbox = {
            let mut open = self.exchange.open();
            open.shells.remove(&self.session);
            open.outbox.clone()
        };
        let Some(outbox) = outbox else { return };
        let close = self.message(ToShellKind::Close(true));
        if let Err(mpsc::error::TrySendError::Full(close)) = outbox.try_send(Ok(close)) {
            tokio::spawn(async move { outbox.send(close).await });
        }
    }
}

/// What comes out of a shell.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// Standard output, or all that a terminal shows.
    Output(Vec<u8>),
    /// Standard error.
    Errors(Vec<u8>),
    /// It is over.
    Ended(ShellEnd),
}

/// A shell as its door holds it. When it and its writers are dropped, the shell ends.
pub struct ShellSession {
    writer: ShellWriter,
    heard: mpsc::Receiver<FromShellKind>,
    /// What the door has got and the agent was not told about.
    untaken: u64,
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct ShellWriter {
    link: Arc<Link>,
}

impl ShellSession {
    /// The way in, to be used beside [`ShellSession::next`].
    pub fn writer(&self) -> ShellWriter {
        self.writer.clone()
    }

    /// What comes next. Asking again says that what came before was passed on. `None`: the machine
    /// is gone, or the line to it.
    pub async fn next(&mut self) -> Option<Word> {
        let link = &self.writer.link;
        if self.untaken > 0 {
            link.say(ToShellKind::Taken(std::mem::take(&mut self.untaken))).await;
        }
        loop {
            match self.heard.recv().await? {
                FromShellKind::Output(bytes) => {
                    link.touch();
                    self.untaken = cost(bytes.len());
                    return Some(Word::Output(bytes));
                }
                FromShellKind::Errors(bytes) => {
                    link.touch();
                    self.untaken = cost(bytes.len());
                    return Some(Word::Errors(bytes));
                }
                FromShellKind::Ended(end) => return Some(Word::Ended(end)),
                FromShellKind::Taken(bytes) => {
                    let room = WINDOW as usize - link.credit.available_permits();
                    link.credit.add_permits(usize::try_from(bytes).unwrap_or(0).min(room));
                }
            }
        }
    }
}

impl ShellWriter {
    /// Starts the shell.
    pub async fn start(&self, wish: OpenShell) {
        self.link.say(ToShellKind::Open(wish)).await;
    }

    /// Passes input on, waiting until the program takes it.
    pub async fn input(&self, bytes: &[u8]) {
        self.link.touch();
        for chunk in bytes.chunks(CHUNK) {
            let cost = u32::try_from(cost(chunk.len())).expect("a chunk is small");
            let taken = self.link.credit.acquire_many(cost).await.expect("never closed");
            taken.forget();
            self.link.say(ToShellKind::Input(chunk.to_vec())).await;
        }
    }

    /// No input will follow.
    pub async fn input_end(&self) {
        self.link.say(ToShellKind::InputEnd(true)).await;
    }

    /// The window has another size.
    pub async fn resize(&self, window: ShellWindow) {
        self.link.say(ToShellKind::Resize(window)).await;
    }

    /// Returns when no byte went either way for too long; how long that was.
    pub async fn idle(&self) -> Duration {
        loop {
            let used = *self.link.used.lock().expect("no holder of the lock panics");
            let left = self.link.idle_max.saturating_sub(used.elapsed());
            if left.is_zero() {
                return self.link.idle_max;
            }
            tokio::time::sleep(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::Places;
    use gristmill_model::AccountId;

    struct Stage {
        exchange: Arc<Exchange>,
        agent: mpsc::Receiver<Result<ToAgent, Status>>,
        places: Places,
    }

    impl Stage {
        fn new() -> Self {
            let (outbox, agent) = mpsc::channel(64);
            Self { exchange: Arc::new(Exchange::new(outbox)), agent, places: Places::new(2) }
        }

        fn enter(&self, idle_max: Duration) -> Option<ShellSession> {
            let place = self.places.take(AccountId(1))?;
            self.exchange.enter(1, idle_max, place)
        }

        fn says(&self, kind: FromShellKind) {
            self.exchange.hear(FromShell { session: 1, kind: Some(kind) });
        }

        async fn heard(&mut self) -> ToShellKind {
            let message = self.agent.recv().await.expect("the line is open").expect("a message");
            match message.kind {
                Some(ToAgentKind::Shell(ToShell { kind: Some(kind), .. })) => kind,
                other => panic!("not about a shell: {other:?}"),
            }
        }
    }

    const LONG: Duration = Duration::from_secs(1000);

    #[tokio::test]
    async fn what_was_passed_on_is_credited_when_more_is_asked_for() {
        let mut stage = Stage::new();
        let mut shell = stage.enter(LONG).expect("room");
        stage.says(FromShellKind::Output(b"abc".to_vec()));
        stage.says(FromShellKind::Ended(ShellEnd::default()));
        assert_eq!(shell.next().await, Some(Word::Output(b"abc".to_vec())));
        assert!(stage.agent.try_recv().is_err(), "nothing is taken yet");
        assert_eq!(shell.next().await, Some(Word::Ended(ShellEnd::default())));
        assert_eq!(stage.heard().await, ToShellKind::Taken(cost(3)));
    }

    #[tokio::test]
    async fn input_waits_for_the_agent_s_credit() {
        let mut stage = Stage::new();
        let mut shell = stage.enter(LONG).expect("room");
        let writer = shell.writer();
        let much = vec![b'x'; WINDOW as usize];
        let writing = tokio::spawn(async move { writer.input(&much).await });
        let (mut taken, mut arrived) = (0, 0);
        while arrived < WINDOW as usize {
            let ToShellKind::Input(bytes) = stage.heard().await else { panic!("no input") };
            (taken, arrived) = (taken + cost(bytes.len()), arrived + bytes.len());
            if taken + cost(CHUNK) > WINDOW {
                assert!(!writing.is_finished(), "the window is used up");
                stage.says(FromShellKind::Taken(std::mem::take(&mut taken)));
                stage.says(FromShellKind::Output(vec![]));
                shell.next().await.expect("the empty output");
            }
        }
        writing.await.expect("all was written");
    }

    #[tokio::test]
    async fn a_dropped_session_ends_the_shell_and_makes_room() {
        let mut stage = Stage::new();
        let shell = stage.enter(LONG).expect("room");
        assert!(stage.enter(LONG).is_none(), "one shell is allowed here");
        drop(shell);
        assert_eq!(stage.heard().await, ToShellKind::Close(true));
        let free: Vec<_> = std::iter::from_fn(|| stage.places.take(AccountId(1))).collect();
        assert_eq!(free.len(), 2);
        drop(free);
        assert!(stage.enter(LONG).is_some());
    }

    #[tokio::test]
    async fn sessions_end_with_the_line() {
        let stage = Stage::new();
        let mut shell = stage.enter(LONG).expect("room");
        stage.exchange.close();
        assert_eq!(shell.next().await, None);
        drop(shell);
        assert!(stage.enter(LONG).is_none(), "nobody would hear it");
    }

    #[tokio::test]
    async fn an_agent_that_sends_more_than_it_may_loses_the_session() {
        let mut stage = Stage::new();
        let mut shell = stage.enter(LONG).expect("room");
        stage.agent.close(); // nobody reads what was taken
        for _ in 0..=WORDS_MAX {
            stage.says(FromShellKind::Output(vec![]));
        }
        let mut heard = 0;
        while shell.next().await.is_some() {
            heard += 1;
        }
        assert_eq!(heard, WORDS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_session_is_idle() {
        let stage = Stage::new();
        let shell = stage.enter(Duration::ZERO).expect("room");
        assert_eq!(shell.writer().idle().await, Duration::ZERO);
    }
}
