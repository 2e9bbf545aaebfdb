//! Processor time and memory of a tree of processes, from `/proc`.
//!
//! A process that ended and was collected is counted by whoever collected it. This process makes
//! itself the collector of orphans, so that agents, which outlive whoever started them, stay in
//! the tree. What the kernel does in threads of its own, such as taking down namespaces, is in
//! nobody's books.

use super::machine::{field, kib};
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::{collections::BTreeMap, fs};

/// The unit of times in `/proc`: a hundredth of a second, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    parent: i32,
    name: String,
    /// On the processor, itself and everything it collected.
    ticks: u64,
}

/// Keeps orphans of our children in our tree.
pub fn adopt_orphans() -> Result<()> {
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me))
        .context("could not become the collector of orphans")
}

/// Processor seconds of everything below this process but not itself, by program name; our own
/// program by what it does, too.
pub fn of_children() -> Result<BTreeMap<String, f64>> {
    let all = table()?;
    let me = i32::try_from(std::process::id())?;
    let mut sums = BTreeMap::new();
    for (pid, process) in &all {
        if *pid != me && is_below(&all, *pid, me) {
            *sums.entry(role(*pid, &process.name)).or_insert(0.0) +=
                process.ticks as f64 / TICKS_PER_SECOND;
        }
    }
    Ok(sums)
}

/// `gristmill serve`, `gristmill agent`; another program's name alone.
fn role(pid: i32, name: &str) -> String {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    match line.split('\0').nth(1).filter(|word| name == "gristmill" && !word.is_empty()) {
        Some(word) => format!("{name} {word}"),
        None => name.to_owned(),
    }
}

/// The most memory a process ever had in use, MiB.
pub fn memory_peak_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(kib(&field(&status, "VmHWM")) as f64 / 1024.0)
}

/// The memory a process has in use now, MiB.
pub fn memory_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(kib(&field(&status, "VmRSS")) as f64 / 1024.0)
}

/// What a process holds, MiB.
pub struct Memory {
    /// Pages that several processes share count in equal parts.
    pub proportional_mib: f64,
    /// Pages of its own.
    pub private_mib: f64,
    /// All its pages.
    pub resident_mib: f64,
}

/// What a process holds now.
pub fn memory(pid: u32) -> Result<Memory> {
    let sums = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let mib = |name: &str| kib(&field(&sums, name)) as f64 / 1024.0;
    Ok(Memory {
        proportional_mib: mib("Pss"),
        private_mib: mib("Private_Clean") + mib("Private_Dirty"),
        resident_mib: mib("Rss"),
    })
}

/// Processes below this one with this name and role.
pub fn named(wanted: &str) -> Result<Vec<u32>> {
    let all = table()?;
    let me = i32::try_from(std::process::id())?;
    let found = all
        .iter()
        .filter(|(pid, process)| is_below(&all, **pid, me) && role(**pid, &process.name) == wanted);
    Ok(found.map(|(pid, _)| pid.unsigned_abs()).collect())
}

/// A process and everything below it.
pub fn with_descendants(pid: u32) -> Result<Vec<u32>> {
    let all = table()?;
    let top = i32::try_from(pid)?;
    let below = all.keys().filter(|pid| is_below(&all, **pid, top));
    Ok(std::iter::once(pid).chain(below.map(|pid| pid.unsigned_abs())).collect())
}

/// Processor seconds of one process that lives, to the microsecond, over all its threads.
pub fn precise_seconds(pid: u32) -> Result<f64> {
    let mut nanos = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanos += stat.split(' ').next().and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(nanos / 1e9)
}

/// Processor seconds of one process and what it collected.
pub fn of_process(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let process = parse(&stat).context("a process without fields")?;
    Ok(process.ticks as f64 / TICKS_PER_SECOND)
}

/// `kill -9`.
pub fn kill(pid: u32) -> Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).context("a process has an id")?;
    kill_process(pid, Signal::KILL).context("could not kill the server")
}

fn table() -> Result<BTreeMap<i32, Process>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        all.extend(parse(&stat).map(|process| (pid, process)));
    }
    Ok(all)
}

fn parse(stat: &str) -> Option<Process> {
    let (before, rest) = stat.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    // Fields 14 to 17: user and system time, then the same of collected children.
    let ticks = (14..=17).map(number).sum::<Option<u64>>()?;
    Some(Process { parent: fields.get(1)?.parse().ok()?, name: name.to_owned(), ticks })
}

fn is_below(all: &BTreeMap<i32, Process>, mut pid: i32, top: i32) -> bool {
    // A table read while processes come and go could hold a circle.
    for _ in 0..all.len() {
        match all.get(&pid) {
            Some(process) if process.parent == top => return true,
            Some(process) => pid = process.parent,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let process =
            parse("7 (a) b) S 3 7 7 0 -1 4194304 1 2 3 4 10 20 30 40 20 0").expect("legal");
        assert_eq!(process, Process { parent: 3, name: "a) b".into(), ticks: 100 });
    }

    #[test]
    fn a_child_is_in_the_tree_while_it_lives() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let seen = of_children().map(|sums| sums.contains_key("sleep"));
        let memory = memory_peak_mib(child.id()).map(|mib| mib > 0.0);
        child.kill().expect("it lives");
        child.wait().expect("it ended");
        assert!(seen.expect("/proc can be read"));
        assert!(memory.expect("/proc can be read"));
    }
}
