//! Writes the time, in nanoseconds since 1970, as a line to its standard output, again and again:
//! `ticker LINES EVERY_MILLIS`. `cargo xtask bench follow` measures how long such a line is on its way.

use std::{
    error::Error,
    io::{Write, stdout},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let usage = "ticker LINES EVERY_MILLIS";
    let lines: u32 = words.next().ok_or(usage)?.parse()?;
    let every = Duration::from_millis(words.next().ok_or(usage)?.parse()?);
    let started = Instant::now();
    for line in 1..=lines {
        writeln!(stdout(), "{}", UNIX_EPOCH.elapsed()?.as_nanos())?;
        thread::sleep((every * line).saturating_sub(started.elapsed()));
    }
    Ok(())
}
