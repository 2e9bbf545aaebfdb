//! What travels on the WebSocket of a shell on a machine:
//! `GET /clusters/{cluster}/groups/{group}/instances/{machine}/shell`, ours.
//!
//! ```text
//! person -> [Ask::Open], then binary messages (input) and further [Ask]s
//! shell  -> binary messages, the first byte says of which stream; at the end one [Tell]
//! ```
//!
//! A command travels in a message and not in the target, because targets are logged.

use serde::{Deserialize, Serialize};

/// First byte of a binary message with standard output, or with all that a terminal shows.
pub const OUTPUT: u8 = 1;
/// First byte of a binary message with standard error.
pub const ERRORS: u8 = 2;
/// The largest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The largest side of a window, in characters.
pub const WINDOW_MAX: u16 = 1000;

/// What a person asks for, as a text message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Start the shell; the first message.
    #[serde(rename_all = "PascalCase")]
    Open {
        /// What the shell runs; empty: a login shell.
        #[serde(default)]
        command: String,
        /// A terminal of this size; without it, pipes.
        #[serde(default)]
        window: Option<Window>,
        /// `TERM`.
        #[serde(default)]
        term: String,
    },
    /// The window has another size.
    Resize(Window),
    /// No input will follow.
    InputEnd,
}

/// Size of a terminal's window in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Window {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl Window {
    /// At least one character, at most [`WINDOW_MAX`] each way.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { columns: self.columns.clamp(1, WINDOW_MAX), rows: self.rows.clamp(1, WINDOW_MAX) }
    }
}

/// What is told at the end, as a text message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tell {
    /// The exit status of the shell or its command; 128 and more after a signal.
    Exit(i32),
    /// Why there is no status.
    Failure(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_plain_json() {
        let window = Window { columns: 80, rows: 24 };
        let open = Ask::Open { command: "ls".into(), window: Some(window), term: "xterm".into() };
        let text = r#"{"Open":{"Command":"ls","Window":{"Columns":80,"Rows":24},"Term":"xterm"}}"#;
        assert_eq!(serde_json::to_string(&open).expect("plain"), text);
        let words = [r#"{"Open":{}}"#, r#"{"Resize":{"Columns":1,"Rows":2}}"#, r#""InputEnd""#];
        for word in words {
            serde_json::from_str::<Ask>(word).expect(word);
        }
        assert_eq!(serde_json::to_string(&Tell::Exit(3)).expect("plain"), r#"{"Exit":3}"#);
    }
}
