//! The two ends of a shell's streams: a terminal, or three pipes.

use gristmill_runtime::{
    Streams,
    terminal::{self, Terminal, WindowSize},
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};
use tokio::io::unix::AsyncFd;

/// Where bytes of a shell come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output, or a terminal.
    Output,
    /// Standard error.
    Errors,
}

/// What a terminal takes as the end of its input.
const END_OF_TEXT: u8 = 4;

/// The agent's ends.
pub struct Ends {
    terminal: bool,
    /// `None`: closed. A terminal is in `output` alone.
    input: Option<AsyncFd<OwnedFd>>,
    output: Option<AsyncFd<OwnedFd>>,
    errors: Option<AsyncFd<OwnedFd>>,
}

/// Streams for a program and our ends of them: with a terminal, or with pipes.
pub fn open(window: Option<WindowSize>) -> io::Result<(Streams, Ends)> {
    match window {
        Some(window) => with_terminal(window),
        None => with_pipes(),
    }
}

fn with_terminal(window: WindowSize) -> io::Result<(Streams, Ends)> {
    let Terminal { agent, program } = Terminal::open(window)?;
    let streams = Streams {
        stdin: Some(program.try_clone()?),
        stdout: program.try_clone()?,
        stderr: program,
    };
    let output = Some(watched(agent)?);
    Ok((streams, Ends { terminal: true, input: None, output, errors: None }))
}

fn with_pipes() -> io::Result<(Streams, Ends)> {
    let (stdin, input) = pipe_with(PipeFlags::CLOEXEC)?;
    let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (errors, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let ours = |end: OwnedFd| {
        rustix::io::ioctl_fionbio(&end, true)?;
        Ok::<_, io::Error>(Some(watched(end)?))
    };
    let ends =
        Ends { terminal: false, input: ours(input)?, output: ours(output)?, errors: ours(errors)? };
    Ok((Streams { stdin: Some(stdin), stdout, stderr }, ends))
}

#[expect(deprecated, reason = "its replacement is unsafe, and `OwnedFd` keeps its descriptor")]
fn watched(end: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(end)
}

impl Ends {
    /// Whether nothing can come any more.
    pub fn is_silent(&self) -> bool {
        self.output.is_none() && self.errors.is_none()
    }

    /// The next bytes from one of the sources; none: that source is over.
    pub async fn read(&self, buffer: &mut [u8]) -> (Source, usize) {
        let ready = async |end: &Option<AsyncFd<OwnedFd>>| match end {
            Some(end) => end.readable().await.map(drop),
            None => std::future::pending().await,
        };
        loop {
            let source = tokio::select! {
                _ = ready(&self.output) => Source::Output,
                _ = ready(&self.errors) => Source::Errors,
            };
            let end = match source {
                Source::Output => &self.output,
                Source::Errors => &self.errors,
            };
            let Some(end) = end else { continue };
            let Ok(mut guard) = end.readable().await else { return (source, 0) };
            let read = guard.try_io(|end| Ok(rustix::io::read(end.as_fd(), &mut *buffer)?));
            match read {
                Ok(Ok(length)) => return (source, length),
                // A terminal whose programs have all ended says `EIO`.
                Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => return (source, 0),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Writes what the program takes of these bytes. `None`: it takes no input any more.
    pub async fn write(&self, bytes: Option<&Vec<u8>>) -> Option<usize> {
        let end = if self.terminal { self.output.as_ref() } else { self.input.as_ref() };
        let (end, bytes) = (end?, bytes?);
        loop {
            let mut guard = end.writable().await.ok()?;
            match guard.try_io(|end| Ok(rustix::io::write(end.as_fd(), bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => return written.ok(),
                Err(_) => {}
            }
        }
    }

    /// This source is over.
    pub fn close(&mut self, source: Source) {
        match source {
            Source::Output => self.output = None,
            Source::Errors => self.errors = None,
        }
    }

    /// What to write when no input follows; `None`: the input is to be closed.
    pub fn end_of_input(&self) -> Option<Vec<u8>> {
        self.terminal.then(|| vec![END_OF_TEXT])
    }

    /// The program's input ends here.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// The window of a terminal has another size.
    pub fn resize(&self, window: WindowSize) {
        if let (true, Some(terminal)) = (self.terminal, &self.output) {
            let _ = terminal::resize(terminal.get_ref(), window); // it may have just ended
        }
    }
}
