//! Processes that are told apart for good: by number, start time and boot.
//!
//! A process number is used again after a while; together with the time the process started, in
//! ticks since boot, it names one process only.

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group,
        waitpid,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    time::{Duration, Instant},
};

/// One process of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started, in ticks since boot.
    pub start_ticks: u64,
    /// Which boot.
    pub boot: String,
}

/// How often a dying process is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long what a killed agent ran may take to follow it.
const FOLLOWERS_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long the kernel may take to end a killed process.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);

impl Process {
    /// The process that has this number now. `None`: there is none.
    pub(crate) fn of(pid: i32) -> io::Result<Option<Self>> {
        let Some(stat) = stat(pid)? else { return Ok(None) };
        Ok(Some(Self { pid, start_ticks: stat.start_ticks, boot: boot()? }))
    }

    /// Whether it still runs. One that ended and waits to be collected does not.
    pub(crate) fn lives(&self) -> io::Result<bool> {
        let Some(stat) = stat(self.pid)?.filter(|s| s.start_ticks == self.start_ticks) else {
            return Ok(false);
        };
        if stat.ended {
            self.collect();
            return Ok(false);
        }
        Ok(boot()? == self.boot)
    }

    /// Ends the process and its group: politely, after `grace` by force. `Ok(false)`: it would
    /// not go.
    pub(crate) async fn end(&self, grace: Duration) -> io::Result<bool> {
        if !self.lives()? {
            // Its followers end by themselves. They are not killed: after a long time the number
            // of the group may be a stranger's.
            self.group_ends(FOLLOWERS_WAIT_MAX).await?;
            return Ok(true);
        }
        self.signal(Signal::TERM);
        if !self.wait(grace).await? {
            self.signal(Signal::KILL);
            if !self.wait(KILL_WAIT_MAX).await? {
                return Ok(false);
            }
        }
        if self.group_ends(FOLLOWERS_WAIT_MAX).await? {
            return Ok(true);
        }
        if let Some(group) =
            Pid::from_raw(self.pid).filter(|_| self.group_is_ours().unwrap_or(false))
        {
            let _ = kill_process_group(group, Signal::KILL); // it may have just ended
        }
        self.group_ends(KILL_WAIT_MAX).await
    }

    /// Waits for the rest of the group. An agent's helpers see its end and clean up first.
    async fn group_ends(&self, patience: Duration) -> io::Result<bool> {
        let Some(group) = Pid::from_raw(self.pid) else { return Ok(true) };
        let started = Instant::now();
        while self.group_is_ours()? && group_lives(group)? {
            if started.elapsed() >= patience {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }

    /// A group outlives its leader, and while it does its number is not given to a new process.
    fn group_is_ours(&self) -> io::Result<bool> {
        let other = stat(self.pid)?.is_some_and(|s| s.start_ticks != self.start_ticks);
        Ok(!other && boot()? == self.boot)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, signal); // it may have just ended
        }
    }

    async fn wait(&self, patience: Duration) -> io::Result<bool> {
        let started = Instant::now();
        while self.lives()? {
            if started.elapsed() >= patience {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }

    /// Takes note of the end, if it is a child of ours.
    fn collect(&self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG); // init collects those of others
        }
    }
}

/// A running process of this user that was started with these words next to each other.
pub(crate) fn find(words: &[&[u8]]) -> io::Result<Option<Process>> {
    for pid in numbers()? {
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let line: Vec<&[u8]> = line.split(|b| *b == 0).collect();
        if line.windows(words.len()).any(|w| w == words) {
            let found = Process::of(pid)?;
            if let Some(process) = found.filter(|p| p.lives().unwrap_or(false)) {
                return Ok(Some(process));
            }
        }
    }
    Ok(None)
}

/// Makes the program of `command` the leader of a session of its own: no signal of the server's
/// terminal or group reaches it.
#[allow(unsafe_code)] // the standard library has no safe way to start a session
pub(crate) fn in_own_session(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and execution only one system call is made; it neither allocates nor
    // takes a lock.
    unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
}

/// Whether a member of the group still runs. Those that ended and wait to be collected, which
/// may take their new parent a while, do not count.
fn group_lives(group: Pid) -> io::Result<bool> {
    if test_kill_process_group(group) == Err(Errno::SRCH) {
        return Ok(false);
    }
    for pid in numbers()? {
        if stat(pid)?.is_some_and(|s| s.group == group.as_raw_nonzero().get() && !s.ended) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The numbers of all processes.
fn numbers() -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc")? {
        numbers.extend(entry?.file_name().to_str().and_then(|n| n.parse::<i32>().ok()));
    }
    Ok(numbers)
}

struct Stat {
    ended: bool,
    group: i32,
    start_ticks: u64,
}

fn stat(pid: i32) -> io::Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(line) => parse_stat(&line)
            .map(Some)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat cannot be read"))),
        // The file is there, the process ended while it was read.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The program's name stands in brackets and may hold anything, brackets included.
fn parse_stat(line: &str) -> Option<Stat> {
    // proc(5) counts from 1; the state is field 3.
    const GROUP: usize = 5 - 3;
    const START_TIME: usize = 22 - 3;
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ended = matches!(*fields.first()?, "Z" | "X");
    let group = fields.get(GROUP)?.parse().ok()?;
    Some(Stat { ended, group, start_ticks: fields.get(START_TIME)?.parse().ok()? })
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let me = i32::try_from(std::process::id()).expect("a process number");
        let process = Process::of(me).expect("read").expect("it is me");
        assert!(process.lives().expect("read"));
        let before = Process { start_ticks: process.start_ticks - 1, ..process.clone() };
        assert!(!before.lives().expect("read"));
        let other_boot = Process { boot: "another".into(), ..process };
        assert!(!other_boot.lives().expect("read"));
        assert_eq!(Process::of(i32::MAX).expect("read"), None);
    }

    #[test]
    fn names_with_brackets_and_blanks_do_not_confuse() {
        let line = "7 (a) R (b c) S 1 7 7 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 4242 1 1";
        let stat = parse_stat(line).expect("it is well formed");
        assert_eq!((stat.ended, stat.group, stat.start_ticks), (false, 7, 4242));
        assert!(parse_stat("7 (a) Z 1").is_none());
    }
}
