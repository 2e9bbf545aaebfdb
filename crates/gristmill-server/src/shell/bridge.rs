//! A shell on a WebSocket: messages in, messages out, until one end is gone.

use super::{ShellSession, Word, exchange::ShellWriter};
use axum::extract::ws::{Message, WebSocket};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use gristmill_wire::{
    agent::shell::{OpenShell, ShellEnd, ShellWindow},
    api::shell::{Ask, ERRORS, OUTPUT, Tell, Window},
};
use std::time::Duration;
use tracing::info;

/// How long a client may take to say what it wants.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to take one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest command, in bytes.
const COMMAND_BYTES_MAX: usize = 32 * 1024;
/// The longest name of a terminal, in bytes.
const TERM_BYTES_MAX: usize = 64;

/// Serves one shell on this WebSocket until either is over.
pub async fn bridge(socket: WebSocket, session: ShellSession) {
    let (mut out, mut asks) = socket.split();
    let told = converse(&mut out, &mut asks, session).await;
    if let Some(told) = told {
        let text = serde_json::to_string(&told).expect("a word is plain");
        let _ = send(&mut out, Message::Text(text.into())).await; // the client may be gone
    }
    let _ = send(&mut out, Message::Close(None)).await;
}

/// What the client is told at the end; `None`: it has gone.
async fn converse(
    out: &mut SplitSink<WebSocket, Message>,
    asks: &mut SplitStream<WebSocket>,
    session: ShellSession,
) -> Option<Tell> {
    let writer = session.writer();
    let first = tokio::time::timeout(OPEN_TIMEOUT, asks.next()).await;
    match opening(first.ok().flatten()?.ok()?) {
        Ok(wish) => writer.start(wish).await,
        Err(why) => return Some(Tell::Failure(why)),
    }
    tokio::select! {
        end = show(out, session) => end,
        why = listen(asks, &writer) => {
            info!(reason = why, "the client of a shell is gone");
            None
        }
        idle = writer.idle() => {
            Some(Tell::Failure(format!("no byte went either way for {} s", idle.as_secs())))
        }
    }
}

/// What the first message asks for.
fn opening(message: Message) -> Result<OpenShell, String> {
    let Message::Text(text) = message else { return Err("the first message must be Open".into()) };
    let Ok(Ask::Open { command, window, term }) = serde_json::from_str(text.as_str()) else {
        return Err("the first message must be Open".into());
    };
    if command.len() > COMMAND_BYTES_MAX || command.contains('\0') {
        return Err(format!("a command has at most {COMMAND_BYTES_MAX} bytes and no NUL"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-+._".contains(c);
    if term.len() > TERM_BYTES_MAX || !term.chars().all(plain) {
        return Err("Term is no name of a terminal".into());
    }
    Ok(OpenShell { command, window: window.map(wire_window), term })
}

fn wire_window(window: Window) -> ShellWindow {
    let Window { columns, rows } = window.bounded();
    ShellWindow { columns: columns.into(), rows: rows.into() }
}

/// Passes on what the shell says; how it ended. `None`: the client has gone.
async fn show(out: &mut SplitSink<WebSocket, Message>, mut session: ShellSession) -> Option<Tell> {
    loop {
        let (stream, bytes) = match session.next().await {
            Some(Word::Output(bytes)) => (OUTPUT, bytes),
            Some(Word::Errors(bytes)) => (ERRORS, bytes),
            Some(Word::Ended(end)) => return Some(tell(end)),
            None => return Some(Tell::Failure("the machine is gone, or the way to it".into())),
        };
        let message = [&[stream], bytes.as_slice()].concat();
        send(out, Message::Binary(message.into())).await?;
    }
}

fn tell(ShellEnd { status, failure }: ShellEnd) -> Tell {
    if failure.is_empty() { Tell::Exit(status) } else { Tell::Failure(failure) }
}

/// Passes on what the client says, until it says no more.
async fn listen(asks: &mut SplitStream<WebSocket>, writer: &ShellWriter) -> &'static str {
    loop {
        match asks.next().await {
            Some(Ok(Message::Binary(bytes))) => writer.input(&bytes).await,
            Some(Ok(Message::Text(text))) => match serde_json::from_str(text.as_str()) {
                Ok(Ask::Resize(window)) => writer.resize(wire_window(window)).await,
                Ok(Ask::InputEnd) => writer.input_end().await,
                Ok(Ask::Open { .. }) | Err(_) => return "a message that has no meaning here",
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => return "closed",
            Some(Err(_)) => return "the connection broke",
        }
    }
}

async fn send(out: &mut SplitSink<WebSocket, Message>, message: Message) -> Option<()> {
    tokio::time::timeout(SEND_TIMEOUT, out.send(message)).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_says_what_is_wanted() {
        let open = |text: &str| opening(Message::Text(text.into()));
        let wish = open(r#"{"Open":{"Command":"ls","Window":{"Columns":0,"Rows":9999}}}"#);
        let window = Some(ShellWindow { columns: 1, rows: 1000 });
        let wanted = OpenShell { command: "ls".into(), window, term: String::new() };
        assert_eq!(wish, Ok(wanted));
        for bad in
            ["", "\"InputEnd\"", r#"{"Open":{"Term":"a b"}}"#, r#"{"Open":{"Command":"a\u0000"}}"#]
        {
            assert!(open(bad).is_err(), "{bad}");
        }
        assert!(opening(Message::Binary(vec![1].into())).is_err());
    }
}
