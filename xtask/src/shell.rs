//! Running other programs: shown before they run, without standard input, and never for ever when
//! they are scripts.

use anyhow::{Context, Result};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// Shows what is about to run.
pub fn announce(command: &Command) {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    println!("\n$ {}", words.join(" "));
}

/// Runs a program with our output. Whether it ended well.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    announce(command);
    let status = command.stdin(Stdio::null()).status();
    Ok(status.with_context(|| format!("could not start {:?}", command.get_program()))?.success())
}

/// Whether a program can be started and ends well, without showing what it says.
pub fn is_there(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a program, shows its standard output line by line and hands each line to `seen`.
pub fn follow(command: &mut Command, mut seen: impl FnMut(&str)) -> Result<ExitStatus> {
    announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {:?}", command.get_program()))?;
    let mut output = BufReader::new(child.stdout.take().context("standard output is piped")?);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        seen(text.trim_end());
        line.clear();
    }
    Ok(child.wait()?)
}

/// Runs a program with its output in a file. `None`: it took longer than `time_max`, and it and
/// everything in its process group were ended.
pub fn logged(command: &mut Command, log: &Path, time_max: Duration) -> Result<Option<ExitStatus>> {
    announce(command);
    let file = File::create(log).with_context(|| format!("could not write {}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not start {:?}", command.get_program()))?;
    wait(child, time_max)
}

fn wait(mut child: Child, time_max: Duration) -> Result<Option<ExitStatus>> {
    let group = format!("-{}", child.id());
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait()));
    match end.recv_timeout(time_max) {
        Ok(status) => Ok(Some(status?)),
        Err(RecvTimeoutError::Timeout) => {
            // The group is ours: it was made for this child. A shell has `kill` built in.
            Command::new("sh").args(["-c", "kill -s KILL -- \"$0\"", &group]).status()?;
            end.recv()??;
            Ok(None)
        }
        Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the waiting thread ended early"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_its_children() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 600 & wait"]);
        let status = logged(&mut command, &log, Duration::from_millis(300)).expect("it runs");
        assert!(status.is_none());
    }

    #[test]
    fn output_is_followed_line_by_line() {
        let mut lines = Vec::new();
        let mut command = Command::new("printf");
        command.arg("one\\ntwo");
        let status = follow(&mut command, |line| lines.push(line.to_owned())).expect("it runs");
        assert!(status.success());
        assert_eq!(lines, ["one", "two"]);
    }
}
