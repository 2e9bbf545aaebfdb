//! Shells of people on this machine: each in a sandbox like a program's, with the cluster's mounts,
//! for as long as the line and the person are there.
//!
//! ```text
//! server --ToShell--> [Shells] --> session --terminal or pipes--> sandbox
//!        <--FromShell---------------/
//! ```
//!
//! Invariants
//! - Output that the server has not taken is at most [`WINDOW`] ahead: the session stops reading, and
//!   the program waits as it would for a slow terminal.
//! - A session ends with its program, with the line, or when the server says so; each time everything
//!   in its sandbox ends, and what it wrote goes.
//!
//! Start at [`Shells::hear`].

mod streams;

use crate::{
    inputs::Inputs,
    results::Notes,
    trouble::chain,
    work::{PATH, Place},
};
use gristmill_runtime::{Exit, ProgramSpec, RunEvent, RunHandle, terminal::WindowSize};
use gristmill_wire::agent::{
    FromAgent, FromAgentKind,
    shell::{
        CHUNK, FromShell, FromShellKind, OpenShell, ShellEnd, ShellWindow, ToShell, ToShellKind,
        WINDOW, cost,
    },
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};
use streams::{Ends, Source};
use tokio::sync::mpsc;
use tracing::{debug, info};

/// Numbers of shells' directories, apart from those of runs.
const DIRECTORIES_FROM: u64 = 5 << 61;
/// Where a shell begins.
const HOME: &str = "/root";
/// What runs when no command was given: the best shell of the image.
const LOGIN: &str = "command -v bash >/dev/null && exec bash -l; exec sh -l";

/// The shells of one line. When it is dropped they end.
pub struct Shells {
    place: Arc<Place>,
    say: mpsc::Sender<FromAgent>,
    /// Not bounded by itself: input is bounded by its credit, and the rest is taken at once.
    open: BTreeMap<u64, mpsc::UnboundedSender<ToShellKind>>,
}

impl Shells {
    /// No shells yet.
    pub fn new(place: Arc<Place>, say: mpsc::Sender<FromAgent>) -> Self {
        Self { place, say, open: BTreeMap::new() }
    }

    /// The server says something about a session. What is said to one that is over is dropped.
    pub fn hear(&mut self, ToShell { session, kind }: ToShell) {
        self.open.retain(|_, said| !said.is_closed());
        match kind {
            Some(ToShellKind::Open(wish)) => self.start(session, wish),
            Some(kind) => {
                if let Some(said) = self.open.get(&session) {
                    let _ = said.send(kind); // it has just ended
                }
            }
            None => {} // a newer server's word
        }
    }

    fn start(&mut self, number: u64, wish: OpenShell) {
        let (said, heard) = mpsc::unbounded_channel();
        self.open.insert(number, said);
        let (place, say) = (self.place.clone(), self.say.clone());
        tokio::spawn(async move {
            let speaker = Speaker { session: number, say };
            let end = serve(&place, &speaker, &wish, heard).await.unwrap_or_else(|failure| {
                info!(session = number, failure, "a shell could not be started");
                ShellEnd { status: 255, failure }
            });
            debug!(session = number, status = end.status, "a shell ended");
            speaker.say(FromShellKind::Ended(end)).await;
        });
    }
}

/// One session's way to the server.
struct Speaker {
    session: u64,
    say: mpsc::Sender<FromAgent>,
}

impl Speaker {
    async fn say(&self, kind: FromShellKind) {
        let message = FromShell { session: self.session, kind: Some(kind) };
        let _ = self.say.send(FromAgentKind::Shell(message).into()).await; // the line may be gone
    }
}

async fn serve(
    place: &Place,
    speaker: &Speaker,
    wish: &OpenShell,
    heard: mpsc::UnboundedReceiver<ToShellKind>,
) -> Result<ShellEnd, String> {
    let number = DIRECTORIES_FROM | speaker.session;
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let (streams, ends) = streams::open(wish.window.map(size)).map_err(failed("no terminal"))?;
    let directory =
        place.directories.make(number, None).map_err(|error| format!("no directory: {error:#}"))?;
    let name = format!("shell-{}", speaker.session);
    let mut notes = Notes::default();
    let inputs = Inputs::of_machine(place, &directory, &mut notes).await?;
    let sandbox = place.sandbox(&name, directory.scratch(), inputs.mounts(), None);
    let (say, events) = mpsc::unbounded_channel();
    let listener = move |event| drop(say.send(event)); // nobody listens when the session is over
    info!(session = speaker.session, terminal = wish.window.is_some(), "a shell begins");
    let spawned = place.spawner.spawn_connected(&sandbox, &program(place, wish), streams, listener);
    let end = match spawned {
        Ok(handle) => Session::new(speaker, ends, handle).run(heard, events).await,
        Err(error) => Err(chain(&error)),
    };
    // Whether an input changed while it was read is the person's own business.
    let _ = inputs.finish(&mut notes).await;
    directory.leave_behind().await; // what the shell wrote goes only now
    end
}

fn size(window: ShellWindow) -> WindowSize {
    let bounded = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    WindowSize { columns: bounded(window.columns), rows: bounded(window.rows) }
}

fn program(place: &Place, wish: &OpenShell) -> ProgramSpec {
    let command = if wish.command.is_empty() { LOGIN } else { &wish.command };
    let base = [("PATH", PATH), ("HOME", HOME), ("USER", "root"), ("PWD", HOME)];
    let base = base.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut env: BTreeMap<String, String> = base.into();
    env.extend(place.config.machine.env.clone());
    if wish.window.is_some() && !wish.term.is_empty() {
        env.insert("TERM".into(), wish.term.clone());
    }
    ProgramSpec {
        arguments: ["sh", "-c", command].map(str::to_owned).to_vec(),
        env: env.into_iter().collect(),
        directory: HOME.to_owned(),
    }
}

/// One shell while it lives.
struct Session<'a> {
    speaker: &'a Speaker,
    ends: Ends,
    handle: RunHandle,
    /// How much output the server still takes.
    credit: u64,
    /// What the program has not taken yet, within the server's credit.
    input: VecDeque<Vec<u8>>,
    input_ended: bool,
    end: Option<Result<ShellEnd, String>>,
}

impl<'a> Session<'a> {
    fn new(speaker: &'a Speaker, ends: Ends, handle: RunHandle) -> Self {
        let input = VecDeque::new();
        Self { speaker, ends, handle, credit: WINDOW, input, input_ended: false, end: None }
    }

    async fn run(
        mut self,
        mut heard: mpsc::UnboundedReceiver<ToShellKind>,
        mut events: mpsc::UnboundedReceiver<RunEvent>,
    ) -> Result<ShellEnd, String> {
        let mut buffer = vec![0; CHUNK];
        let mut wanted = true;
        loop {
            if self.end.is_some() && self.ends.is_silent() {
                return self.end.take().expect("it is some");
            }
            tokio::select! {
                event = events.recv(), if self.end.is_none() => self.end = ended(event),
                said = heard.recv(), if wanted => {
                    wanted = self.on_word(said);
                }
                read = self.ends.read(&mut buffer), if self.credit > 0 && !self.ends.is_silent() => {
                    self.on_output(read, &buffer).await;
                }
                written = self.ends.write(self.input.front()), if !self.input.is_empty() => {
                    self.on_written(written).await;
                }
            }
            // Nobody takes what is left.
            if !wanted && self.end.is_some() {
                return self.end.take().expect("it is some");
            }
        }
    }

    /// Whether the session is still wanted.
    fn on_word(&mut self, said: Option<ToShellKind>) -> bool {
        match said {
            Some(ToShellKind::Input(bytes)) if !self.input_ended => self.input.push_back(bytes),
            Some(ToShellKind::InputEnd(_)) if !self.input_ended => {
                self.input_ended = true;
                match self.ends.end_of_input() {
                    Some(bytes) => self.input.push_back(bytes),
                    None if self.input.is_empty() => self.ends.close_input(),
                    None => {}
                }
            }
            Some(ToShellKind::Resize(window)) => self.ends.resize(size(window)),
            Some(ToShellKind::Taken(bytes)) => {
                self.credit = self.credit.saturating_add(bytes).min(WINDOW);
            }
            Some(ToShellKind::Close(_)) | None => {
                let _ = self.handle.kill(); // a spawner that is gone has ended it already
                return false;
            }
            Some(ToShellKind::Open(_) | ToShellKind::Input(_) | ToShellKind::InputEnd(_)) => {}
        }
        true
    }

    async fn on_output(&mut self, read: (Source, usize), buffer: &[u8]) {
        let (source, length) = read;
        if length == 0 {
            return self.ends.close(source);
        }
        self.credit = self.credit.saturating_sub(cost(length));
        let bytes = buffer[..length].to_vec();
        let kind = match source {
            Source::Output => FromShellKind::Output(bytes),
            Source::Errors => FromShellKind::Errors(bytes),
        };
        self.speaker.say(kind).await;
    }

    /// The program took some input, or will take none any more (`None`).
    async fn on_written(&mut self, written: Option<usize>) {
        let Some(taken) = take(&mut self.input, written) else { return };
        self.speaker.say(FromShellKind::Taken(taken)).await;
        if self.input_ended && self.input.is_empty() {
            self.ends.close_input();
        }
    }
}

/// Removes what the program took of the first message, all of it if it takes none any more (`None`). What
/// that gives back of the server's window: over all of its parts what the message cost.
fn take(input: &mut VecDeque<Vec<u8>>, written: Option<usize>) -> Option<u64> {
    let first = input.front_mut()?;
    match written {
        Some(length) if length < first.len() => {
            first.drain(..length);
            Some(length as u64)
        }
        _ => input.pop_front().map(|done| cost(done.len())),
    }
}

/// How the program ended, if it did.
fn ended(event: Option<RunEvent>) -> Option<Result<ShellEnd, String>> {
    let status = |status| Some(Ok(ShellEnd { status, failure: String::new() }));
    match event {
        Some(RunEvent::Started { .. }) => None,
        Some(RunEvent::Exited(ended)) => match ended.exit {
            Exit::Code(code) => status(code),
            Exit::Signal(signal) => status(128 + signal),
            Exit::OutOfMemory => status(128 + 9),
        },
        Some(RunEvent::Failed(failure)) => Some(Err(failure.message)),
        None => Some(Err("the sandbox is gone".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_taken_in_parts_gives_back_what_it_cost() {
        let mut input = VecDeque::from([vec![1; 1000], vec![2; 10]]);
        let parts = [Some(300), Some(600), Some(100)].map(|part| take(&mut input, part));
        assert_eq!(
            parts.map(|part| part.expect("there was input")).iter().sum::<u64>(),
            cost(1000)
        );
        assert_eq!(input, [vec![2; 10]]);
        assert_eq!(take(&mut input, Some(4)), Some(4));
        assert_eq!(take(&mut input, None), Some(cost(6)), "it takes no input any more");
        assert_eq!(take(&mut input, None), None);
    }
}
