//! `bcs ssh <cluster> <group> <machine> [-- command]`: a shell on a machine of a fixed cluster, through
//! the service.
//!
//! With a terminal in front (or `-t`) it gets a terminal, which is put into raw mode until the end;
//! otherwise input, output and errors are pipes, and the exit status is the command's. `~.` at the
//! beginning of a line hangs up, as in other tools of this kind.

mod terminal;

use super::{End, Outcome, required};
use crate::{caches::Kind, client::ShellSocket, session::Session, words::messages as m};
use anyhow::bail;
use clap::ArgMatches;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use gristmill_wire::api::shell::{Ask, ERRORS, OUTPUT, Tell, Window};
use std::io::Write;
use terminal::{Raw, Typed, window, windows};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

/// `bcs ssh`.
pub(super) async fn ssh(words: &ArgMatches, session: &mut Session) -> Outcome {
    let cluster = session.caches.resolve(Kind::Clusters, required(words, "cluster"))?;
    let group = session.caches.resolve(Kind::Groups, required(words, "group"))?;
    let machine = session.caches.resolve(Kind::Machines, required(words, "machine"))?;
    let command: Vec<&str> =
        words.get_many::<String>("command").into_iter().flatten().map(String::as_str).collect();
    let wants_terminal = words.get_flag("terminal") || command.is_empty() && session.env.asks;
    let socket = session.client()?.open_shell(&cluster, &group, &machine).await?;
    let window = wants_terminal.then(|| window().unwrap_or(Window { columns: 80, rows: 24 }));
    let term = session.env.variable("TERM").unwrap_or("dumb").to_owned();
    let raw = if window.is_some() { Raw::begin() } else { None };
    let is_raw = raw.is_some();
    let open = Ask::Open { command: command.join(" "), window, term };
    let told = converse(socket, open, is_raw, session).await;
    drop(raw);
    match told? {
        Tell::Exit(status) => Ok(End::Status(u8::try_from(status).unwrap_or(255))),
        Tell::Failure(why) => Err(m::SHELL_ENDED.complain([("why", &why)]).into()),
    }
}

/// Until the shell has ended.
async fn converse(
    socket: ShellSocket,
    open: Ask,
    is_raw: bool,
    session: &mut Session,
) -> anyhow::Result<Tell> {
    let (mut say, mut hear) = socket.split();
    say.send(text(&open)).await?;
    let typed = terminal::typed(is_raw);
    tokio::select! {
        told = show(&mut hear, session) => told,
        gone = speak(&mut say, typed, is_raw) => gone,
    }
}

/// Shows what the shell says; how it ended.
async fn show(hear: &mut SplitStream<ShellSocket>, session: &mut Session) -> anyhow::Result<Tell> {
    let mut errors = std::io::stderr();
    loop {
        match hear.next().await {
            Some(Ok(Message::Binary(bytes))) => match bytes.split_first() {
                Some((&OUTPUT, bytes)) => session.out.raw(bytes)?,
                Some((&ERRORS, bytes)) => errors.write_all(bytes)?,
                _ => {} // a newer service's stream
            },
            Some(Ok(Message::Text(told))) => return Ok(serde_json::from_str(told.as_str())?),
            Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed)) | None => {
                bail!(m::SHELL_LOST.complain([]))
            }
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(_)) => {}
        }
    }
}

/// Passes on what is typed and how large the window is. Returns only to hang up.
async fn speak(
    say: &mut SplitSink<ShellSocket, Message>,
    mut typed: mpsc::Receiver<Typed>,
    is_raw: bool,
) -> anyhow::Result<Tell> {
    let mut windows = windows(is_raw)?;
    loop {
        let message = tokio::select! {
            Some(typed) = typed.recv() => match typed {
                Typed::Bytes(bytes) => Message::Binary(bytes.into()),
                Typed::End => text(&Ask::InputEnd),
                Typed::HangUp => bail!(m::SHELL_HUNG_UP.complain([])),
            },
            Some(window) = windows.recv() => text(&Ask::Resize(window)),
            else => std::future::pending().await, // all was said
        };
        say.send(message).await?;
    }
}

fn text(ask: &Ask) -> Message {
    Message::Text(serde_json::to_string(ask).expect("a word is plain").into())
}
