//! Shells on machines: messages in both directions, each about one session.
//!
//! Bounded both ways by credit: who sends bytes may be ahead of what the other end has taken by at
//! most [`WINDOW`], counted by [`cost`], so that one busy shell neither fills memory nor delays what
//! else travels on the line. A session ends with the line.

use prost::{Message, Oneof};

/// How far a sender may be ahead of its reader.
pub const WINDOW: u64 = 256 * 1024;
/// Most bytes of one message.
pub const CHUNK: usize = 16 * 1024;

/// What a message of so many bytes takes from the window: also an empty one takes room.
pub fn cost(bytes: usize) -> u64 {
    64 + bytes as u64
}

/// About one session, server to agent.
#[derive(Clone, PartialEq, Message)]
pub struct ToShell {
    /// Which session; the server numbers them.
    #[prost(uint64, tag = "1")]
    pub session: u64,
    /// What it says.
    #[prost(oneof = "ToShellKind", tags = "2, 3, 4, 5, 6, 7")]
    pub kind: Option<ToShellKind>,
}

/// What a server says to a shell.
#[derive(Clone, PartialEq, Oneof)]
pub enum ToShellKind {
    /// Start it.
    #[prost(message, tag = "2")]
    Open(OpenShell),
    /// Input.
    #[prost(bytes, tag = "3")]
    Input(Vec<u8>),
    /// No input will follow.
    #[prost(bool, tag = "4")]
    InputEnd(bool),
    /// The window has this size now.
    #[prost(message, tag = "5")]
    Resize(ShellWindow),
    /// So much output was taken.
    #[prost(uint64, tag = "6")]
    Taken(u64),
    /// The person has gone: end it.
    #[prost(bool, tag = "7")]
    Close(bool),
}

/// Start a shell.
#[derive(Clone, PartialEq, Message)]
pub struct OpenShell {
    /// What the shell runs; empty: a login shell.
    #[prost(string, tag = "1")]
    pub command: String,
    /// With a terminal of this size; absent: with pipes.
    #[prost(message, optional, tag = "2")]
    pub window: Option<ShellWindow>,
    /// `TERM`.
    #[prost(string, tag = "3")]
    pub term: String,
}

/// Size of a terminal's window in characters.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ShellWindow {
    /// Characters in a line.
    #[prost(uint32, tag = "1")]
    pub columns: u32,
    /// Lines.
    #[prost(uint32, tag = "2")]
    pub rows: u32,
}

/// About one session, agent to server.
#[derive(Clone, PartialEq, Message)]
pub struct FromShell {
    /// Which session.
    #[prost(uint64, tag = "1")]
    pub session: u64,
    /// What it says.
    #[prost(oneof = "FromShellKind", tags = "2, 3, 4, 5")]
    pub kind: Option<FromShellKind>,
}

/// What a shell says.
#[derive(Clone, PartialEq, Oneof)]
pub enum FromShellKind {
    /// Standard output, or all that a terminal shows.
    #[prost(bytes, tag = "2")]
    Output(Vec<u8>),
    /// Standard error.
    #[prost(bytes, tag = "3")]
    Errors(Vec<u8>),
    /// So much input was taken.
    #[prost(uint64, tag = "4")]
    Taken(u64),
    /// It is over; nothing follows.
    #[prost(message, tag = "5")]
    Ended(ShellEnd),
}

/// How a shell ended.
#[derive(Clone, PartialEq, Message)]
pub struct ShellEnd {
    /// Exit status as a shell shows it: 128 and the number of a signal.
    #[prost(int32, tag = "1")]
    pub status: i32,
    /// Why it never started, for a person; empty when it did.
    #[prost(string, tag = "2")]
    pub failure: String,
}
