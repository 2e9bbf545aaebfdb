//! Where words and data go: data to standard output, words to standard error.
//!
//! A pipe behind `bcs` therefore reads only data. Colours appear on terminals only, and never
//! when `NO_COLOR` is set. A line goes out in one write: whoever reads it wakes once, and lines of
//! several processes do not mix. Tests use [`Output::captured`] and read both sides back.

use crate::environment::Environment;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

/// The two streams of one command.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Colours are welcome in the data.
    pub colour: bool,
    /// Data goes to a terminal: live tables may redraw themselves.
    pub live: bool,
    /// Words go to a terminal: progress bars may draw themselves.
    pub bars: bool,
}

impl Output {
    /// The streams of this process.
    pub fn of_process(environment: &Environment) -> Self {
        let plain = environment.variable("NO_COLOR").is_some();
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            colour: environment.out_is_terminal && !plain,
            live: environment.out_is_terminal && environment.err_is_terminal,
            bars: environment.err_is_terminal,
        }
    }

    /// Streams that remember; returns what was written to each.
    pub fn captured() -> (Self, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let output = Self {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            colour: false,
            live: false,
            bars: false,
        };
        (output, out, err)
    }

    /// A line of data.
    pub fn data(&mut self, line: &str) -> io::Result<()> {
        self.out.write_all(format!("{line}\n").as_bytes())
    }

    /// Bytes of data, as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    /// A line for the person. A closed standard error is nobody's problem.
    pub fn words(&mut self, line: &str) {
        let _ = self.err.write_all(format!("{line}\n").as_bytes());
    }

    /// A question, without a line end.
    pub fn ask(&mut self, question: &str) {
        let _ = write!(self.err, "{question}");
        let _ = self.err.flush();
    }
}

/// What was written to one side of a captured [`Output`].
#[derive(Debug, Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Everything so far, as text.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().expect("no writer panics while holding it");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics while holding it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
