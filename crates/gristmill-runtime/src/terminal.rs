//! A terminal for a program that a person sits in front of.
//!
//! It is made in the agent's own view: inside the sandbox `/dev/tty` works, while the name of the
//! terminal (`tty`) is not to be found in the sandbox's `/dev/pts`.

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// The size of a terminal's window in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A terminal: the agent's end, and the end for the program.
pub struct Terminal {
    /// What the person types goes in here, what the program says comes out; does not block.
    pub agent: OwnedFd,
    /// Input, output and errors of the program.
    pub program: OwnedFd,
}

impl Terminal {
    /// A new terminal of this size.
    pub fn open(size: WindowSize) -> io::Result<Self> {
        let agent = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&agent)?;
        unlockpt(&agent)?;
        let name = ptsname(&agent, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let program = open(name.as_c_str(), flags, Mode::empty())?;
        rustix::fs::fcntl_setfl(&agent, OFlags::RDWR | OFlags::NONBLOCK)?;
        resize(&agent, size)?;
        Ok(Self { agent, program })
    }
}

/// The window has another size now; programs are told by a signal.
pub fn resize(agent: impl AsFd, size: WindowSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(agent, size)?)
}
