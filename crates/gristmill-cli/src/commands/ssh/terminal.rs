//! The person's terminal: what is typed, how large its window is, and raw mode.

use gristmill_wire::api::shell::Window;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::{
    io::{self, Read},
    thread,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Pieces of input that may wait for the connection.
const TYPED_MAX: usize = 16;
/// Most bytes of one piece.
const PIECE_BYTES: usize = 8 * 1024;

/// What comes from the person.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Bytes(Vec<u8>),
    /// Nothing will follow.
    End,
    /// `~.`
    HangUp,
}

/// The terminal in raw mode, until dropped.
pub(super) struct Raw(Termios);

impl Raw {
    /// `None`: standard input is no terminal.
    pub(super) fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0); // nothing more can be done
    }
}

/// The size of the terminal's window.
pub(super) fn window() -> Option<Window> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    Some(Window { columns: size.ws_col, rows: size.ws_row }.bounded())
}

/// Each new size of the window; none when nobody looks.
pub(super) fn windows(watched: bool) -> io::Result<mpsc::Receiver<Window>> {
    let (say, sizes) = mpsc::channel(1);
    if watched {
        let mut changes = signal(SignalKind::window_change())?;
        tokio::spawn(async move {
            while changes.recv().await.is_some() {
                let Some(size) = window() else { continue };
                if say.send(size).await.is_err() {
                    break;
                }
            }
        });
    }
    Ok(sizes)
}

/// Standard input from now on. Read by a thread of its own, which the end of the process does not
/// wait for: a read from a terminal cannot be called off.
pub(super) fn typed(is_raw: bool) -> mpsc::Receiver<Typed> {
    let (say, typed) = mpsc::channel(TYPED_MAX);
    thread::spawn(move || {
        let (mut piece, mut escape) = ([0; PIECE_BYTES], Escape::default());
        loop {
            let words = match io::stdin().lock().read(&mut piece) {
                Ok(0) => vec![Typed::End],
                Ok(length) if is_raw => escape.filter(&piece[..length]),
                Ok(length) => vec![Typed::Bytes(piece[..length].to_vec())],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => vec![Typed::End],
            };
            for word in words {
                let last = word == Typed::End;
                if say.blocking_send(word).is_err() || last {
                    return;
                }
            }
        }
    });
    typed
}

/// Looks for `~.` at the beginning of a line; `~~` there is one `~`.
#[derive(Debug, Default)]
struct Escape {
    state: Seen,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Seen {
    #[default]
    LineBegin,
    Tilde,
    Other,
}

impl Escape {
    fn filter(&mut self, typed: &[u8]) -> Vec<Typed> {
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            let (kept, next): (&[u8], Seen) = match (self.state, byte) {
                (Seen::LineBegin, b'~') => (&[], Seen::Tilde),
                (Seen::Tilde, b'.') => return vec![Typed::Bytes(passed), Typed::HangUp],
                (Seen::Tilde, b'~') => (b"~", Seen::Other),
                (Seen::Tilde, b'\r' | b'\n') => (&[b'~', *byte], Seen::LineBegin),
                (Seen::Tilde, byte) => (&[b'~', *byte], Seen::Other),
                (_, b'\r' | b'\n') => (&[*byte], Seen::LineBegin),
                (_, byte) => (&[*byte], Seen::Other),
            };
            passed.extend_from_slice(kept);
            self.state = next;
        }
        vec![Typed::Bytes(passed)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_and_a_dot_hang_up_at_the_beginning_of_a_line_only() {
        let bytes = |text: &str| Typed::Bytes(text.as_bytes().to_vec());
        for (typed, wanted) in [
            ("~.", vec![bytes(""), Typed::HangUp]),
            ("ls\r~.", vec![bytes("ls\r"), Typed::HangUp]),
            ("cd ~.", vec![bytes("cd ~.")]),
            ("~~.", vec![bytes("~.")]),
            ("~/x\r", vec![bytes("~/x\r")]),
        ] {
            assert_eq!(Escape::default().filter(typed.as_bytes()), wanted, "{typed:?}");
        }
        let mut escape = Escape::default();
        assert_eq!(escape.filter(b"~"), [bytes("")]);
        assert_eq!(escape.filter(b"."), [bytes(""), Typed::HangUp], "typed one after the other");
    }
}
