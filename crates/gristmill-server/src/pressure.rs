//! Whether there is memory for more: past a bound, what would make the server grow is refused.
//!
//! Looked at is what the process really takes (private pages, `/proc/self/status`), at most every
//! [`LOOK_AGAIN`]. What is deleted does not always come back to the system by itself, so before anybody is
//! refused the allocator is asked to give back what it holds.
//!
//! The bound is configured, or three quarters of what the control group or the machine has.

use std::{
    fs,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// For so long a look is good.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Watches the memory of this process.
pub struct Pressure {
    bytes_max: u64,
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Pressure {
    /// With this bound; 0: three quarters of what there is.
    pub fn new(bytes_max: u64) -> Self {
        let bytes_max = match bytes_max {
            0 => there_is() / 4 * 3,
            set => set,
        };
        Self { bytes_max, seen: Mutex::default() }
    }

    /// `Err`: how many bytes are taken and how many may be, when there is no room for more.
    pub fn check(&self) -> Result<(), (u64, u64)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen.filter(|(at, _)| at.elapsed() < LOOK_AGAIN);
        let bytes = match fresh {
            Some((_, bytes)) => bytes,
            None => self.look(),
        };
        if fresh.is_none() {
            *seen = Some((Instant::now(), bytes));
        }
        if bytes > self.bytes_max { Err((bytes, self.bytes_max)) } else { Ok(()) }
    }

    fn look(&self) -> u64 {
        let bytes = taken();
        if bytes <= self.bytes_max {
            return bytes;
        }
        give_back();
        taken()
    }
}

/// Private bytes of this process; 0 where the kernel does not say.
fn taken() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    bytes_of(&status, "RssAnon:").unwrap_or(0)
}

/// A line of the form `Name:  12 kB`.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What this process could have at most: of the control groups' bounds and the machine's memory the
/// smallest.
fn there_is() -> u64 {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = group_files(&group)
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    groups.chain(bytes_of(&machine, "MemTotal:")).min().unwrap_or(u64::MAX)
}

/// Files with bounds of the groups that a process is in.
fn group_files(table: &str) -> Vec<String> {
    let file = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            names if names.split(',').any(|name| name == "memory") => {
                Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"))
            }
            _ => None,
        }
    };
    table.lines().filter_map(file).collect()
}

/// Asks the allocator for what it holds and does not use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)] // the standard library has no way to ask
fn give_back() {
    // SAFETY: the function takes a number and may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_private_and_bounded() {
        let text = "MemTotal:       1024 kB\nMemFree: 1 kB\n";
        assert_eq!(bytes_of(text, "MemTotal:"), Some(1 << 20));
        assert_eq!(bytes_of(text, "RssAnon:"), None);
        assert_eq!(
            group_files("5:cpu,memory:/a\n3:pids:/b\n0::/c d\n"),
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/c d/memory.max"]
        );
        assert!(taken() > 0 && there_is() > 0);
        assert!(Pressure::new(0).check().is_ok());
        let (taken, bound) = Pressure::new(1).check().expect_err("nothing fits into a byte");
        assert!(taken > bound && bound == 1);
    }
}
