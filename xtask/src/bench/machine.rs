//! What the figures were measured on. Part of every raw data file.

use crate::house::House;
use serde::Serialize;
use std::{fs, process::Command, thread};

/// A machine, and the state it was in.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    processors: usize,
    model: String,
    memory_mib: u64,
    kernel: String,
    /// Runnable processes over the last minute, when the measurement began: other people's work.
    load_before: String,
    /// How the measurement was scheduled: `other` beside everybody else's work, or before it.
    scheduling: &'static str,
    privileged: bool,
    /// The commit of the tree that was measured, and whether there were changes beside it.
    commit: String,
}

impl Machine {
    /// This one, now.
    pub fn look(house: &House) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            processors: thread::available_parallelism().map_or(1, usize::from),
            model: field(&read("/proc/cpuinfo"), "model name"),
            memory_mib: kib(&field(&read("/proc/meminfo"), "MemTotal")) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            scheduling: scheduling(&read("/proc/self/stat")),
            privileged: rustix::process::geteuid().is_root(),
            commit: commit(house),
        }
    }
}

/// The value of a line `name : value`.
pub fn field(text: &str, name: &str) -> String {
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.unwrap_or_default().trim().to_owned()
}

/// The number in `1234 kB`.
pub fn kib(value: &str) -> u64 {
    value.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The scheduling class in the 41st field of a process's `stat`.
fn scheduling(stat: &str) -> &'static str {
    // The second field may hold spaces; the rest begins after its bracket.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    match rest.split_whitespace().nth(41 - 3) {
        Some("1" | "2") => "real time",
        Some("0") => "other",
        _ => "unusual",
    }
}

fn commit(house: &House) -> String {
    let say = |words: &[&str]| {
        let output = Command::new("git").args(words).current_dir(&house.root).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    say(&["describe", "--always", "--dirty"]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_sizes_are_read() {
        let text = "MemTotal:       24576 kB\nmodel name\t: A B\n";
        assert_eq!(kib(&field(text, "MemTotal")), 24_576);
        assert_eq!(field(text, "model name"), "A B");
        assert_eq!(field(text, "nothing"), "");
    }

    #[test]
    fn the_class_is_found_behind_a_name_with_spaces() {
        let fields: Vec<String> =
            (3..=52).map(|n| if n == 41 { "2".into() } else { n.to_string() }).collect();
        assert_eq!(scheduling(&format!("1 (a (b) c) {}", fields.join(" "))), "real time");
    }
}
