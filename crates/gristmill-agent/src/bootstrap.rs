//! Runs the cluster's bootstrap command on this machine, before it takes work.
//!
//! The command runs in a sandbox like a program's: with the cluster's mounts and variables, the
//! machine's disks and network. What it writes outside of mounts becomes part of the machine: it
//! lies below the private layer of every program. Processes it leaves behind end with it.
//!
//! Its output goes to `bootstrap.log` in the machine's directory, which outlives the machine's
//! generation. When it does not end with 0 in time, the machine is not set up, and the end of the
//! output is part of the reason.

use crate::{
    inputs::Inputs,
    place::RunDirectories,
    results::Notes,
    trouble::chain,
    work::{Place, WORKDIR},
};
use gristmill_runtime::{Exit, ProgramSpec, RunEvent, SandboxMount, StartFailure};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tracing::info;

/// The name of its log in the machine's directory.
pub const LOG: &str = "bootstrap.log";
/// A command that says more is ended.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How much of the log's end is part of the reason.
const TAIL_BYTES: u64 = 1_000;
/// How often the length of the log is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// No bootstrap takes longer where nobody set a bound.
const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Sets the machine up. The error is for the cluster's owner.
pub async fn run(place: &Place) -> Result<(), String> {
    let machine = &place.config.machine;
    if machine.bootstrap.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    place.machine.neighbours.look();
    let runs = RunDirectories::new(place.machine.top.join("set-up"), place.owner, |_| {});
    let directory = runs.make(0, None).map_err(|error| format!("no directory: {error:#}"))?;
    let mut notes = Notes::default();
    let mut inputs = Inputs::of_machine(place, &directory, &mut notes).await?;
    let ended = execute(place, &mut inputs, directory.workdir_mount()).await;
    // Whether an input changed while it was read is the command's own business.
    let _ = inputs.finish(&mut notes).await;
    ended?;
    place.machine.settle();
    info!(seconds = started.elapsed().as_secs(), "bootstrapped");
    Ok(())
}

async fn execute(place: &Place, inputs: &mut Inputs, workdir: SandboxMount) -> Result<(), String> {
    let machine = &place.config.machine;
    let log = place.config.directory.join(LOG);
    let mut mounts = vec![workdir];
    mounts.extend(inputs.mounts());
    let scratch = place.machine.scratch().ok_or("no place for what the bootstrap writes")?;
    let mut sandbox = place.sandbox("bootstrap", scratch.to_owned(), mounts, None);
    sandbox.base = None;
    let program = ProgramSpec {
        arguments: ["/bin/sh", "-c", &machine.bootstrap].map(str::to_owned).into(),
        env: crate::work::machine_environment(&machine.env),
        directory: WORKDIR.to_owned(),
    };
    let (say, mut events) = mpsc::unbounded_channel();
    let listener = move |event| drop(say.send(event)); // nobody listens when it is over
    let (out, err) = open_log(&log).map_err(|error| format!("no log: {error}"))?;
    let handle = place
        .spawner
        .spawn(&sandbox, &program, out.into(), err.into(), listener)
        .map_err(|error| chain(&error))?;
    let limit = match machine.bootstrap_seconds_max {
        0 => TIME_MAX,
        seconds => Duration::from_secs(seconds.into()),
    };
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    let mut look = tokio::time::interval(LOOK);
    let mut ended_for: Option<String> = None;
    loop {
        let reason = tokio::select! {
            event = events.recv() => match event {
                Some(RunEvent::Started { .. }) => continue,
                Some(RunEvent::Failed(failure)) => return Err(not_started(failure)),
                Some(RunEvent::Exited(ended)) => return judge(ended.exit, ended_for, &log),
                None => return Err("its sandbox is gone".to_owned()),
            },
            () = &mut deadline, if ended_for.is_none() => {
                format!("the bootstrap command was ended after {} s", limit.as_secs())
            }
            trouble = inputs.lost(), if ended_for.is_none() => trouble.to_string(),
            _ = look.tick(), if ended_for.is_none() => {
                if length(&log) <= LOG_BYTES_MAX {
                    continue;
                }
                format!("the bootstrap command wrote more than {LOG_BYTES_MAX} bytes to its log")
            }
        };
        ended_for = Some(reason);
        let _ = handle.kill(); // it may have just ended
    }
}

fn not_started(failure: StartFailure) -> String {
    format!("the bootstrap command did not start: {failure}")
}

fn judge(exit: Exit, ended_for: Option<String>, log: &Path) -> Result<(), String> {
    let what = match (ended_for, exit) {
        (Some(reason), _) => reason,
        (None, Exit::Code(0)) => return Ok(()),
        (None, Exit::Code(code)) => format!("the bootstrap command ended with exit code {code}"),
        (None, Exit::Signal(number)) => {
            format!("the bootstrap command was ended by signal {number}")
        }
        (None, Exit::OutOfMemory) => "the bootstrap command used too much memory".to_owned(),
    };
    let tail = tail(log).unwrap_or_default();
    Err(if tail.is_empty() { what } else { format!("{what}; its log ends with: {tail}") })
}

/// Both streams in one file, in the order in which they were written.
fn open_log(path: &PathBuf) -> io::Result<(File, File)> {
    let _ = std::fs::remove_file(path); // of an earlier generation
    let file = File::options().append(true).create_new(true).mode(0o600).open(path)?;
    let other = file.try_clone()?;
    Ok((file, other))
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |about| about.len())
}

/// The last lines of a log.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().map(as_seen).filter(|line| !line.is_empty()).collect();
    // What is cut off at its beginning goes, unless it is all there is.
    if from > 0 && lines.len() > 1 {
        lines.remove(0);
    }
    Ok(lines.join("\n").trim().trim_start_matches(char::REPLACEMENT_CHARACTER).to_owned())
}

/// What a terminal shows of a line at the end: bars of progress are written over.
fn as_seen(line: &str) -> &str {
    line.rsplit('\r').map(str::trim_end).find(|part| !part.is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_ends_with_whole_lines_of_the_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join(LOG);
        std::fs::write(&log, format!("{}\nlast words\n", "x".repeat(2_000))).expect("written");
        let said = judge(Exit::Code(3), None, &log).expect_err("it failed");
        let expected =
            "the bootstrap command ended with exit code 3; its log ends with: last words";
        assert_eq!(said, expected);
        for (before, end, seen) in [("", "", "éé"), ("", "\n", "éé"), ("1 %\r2 %\r", "\r\n", "")]
        {
            let line = format!("{}{before}curl: (6) could not resolve{end}", "é".repeat(2_000));
            std::fs::write(&log, line).expect("written");
            let said = judge(Exit::Code(6), None, &log).expect_err("it failed");
            let words = format!("{seen}curl: (6) could not resolve");
            assert!(said.ends_with(&words) && !said.contains("2 %"), "{said}");
            let begins = words.chars().next().expect("some");
            assert!(said.contains(&format!("its log ends with: {begins}")), "{said}");
        }
        assert_eq!(judge(Exit::Code(0), None, &log), Ok(()));
        let ended = Some("the bootstrap command was ended after 5 s".to_owned());
        std::fs::write(&log, "").expect("written");
        let said = judge(Exit::Signal(9), ended, &log).expect_err("it was ended");
        assert_eq!(said, "the bootstrap command was ended after 5 s");
    }
}
