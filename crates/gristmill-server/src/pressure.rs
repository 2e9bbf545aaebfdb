//! Whether there is memory for more: past a bound, what would make the server grow is refused.
//!
//! Looked at is what the process really takes (private pages, `/proc/self/status`), at most every
//! [`LOOK_AGAIN`]. What is deleted does not always come back to the system by itself, so before anybody is
//! refused the allocator is asked to give back what it holds.
//!
//! The bound is configured, or three quarters of what the control groups (its own and those around it)
//! or the machine has.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::warn;

/// For so long a look is good.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long the allocator is left alone after it was asked: it goes through all it has, and everybody
/// who wants to know waits.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What a body under way takes at most, with what is read out of it and written down, in lengths of
/// the body: measured with descriptions of 500 tasks, and rounded up.
const TIMES_A_BODY: u64 = 8;

/// Watches the memory of this process.
pub struct Pressure {
    bytes_max: u64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When was looked, and what was taken then.
    look: Option<(Instant, u64)>,
    /// When the allocator was asked.
    asked: Option<Instant>,
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

    /// What bodies of requests under way may take together: what is configured, and no more than fits
    /// beside the bound with all that is made of them on their way into the books.
    pub fn bodies_bytes_max(&self, configured: u64) -> u64 {
        configured.min(self.bytes_max / 3 / TIMES_A_BODY)
    }

    /// Whether there is no room for more. How much is taken is said in the log: the accounts share it, and
    /// none is told of the others.
    pub fn is_high(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen.look.filter(|(at, _)| at.elapsed() < LOOK_AGAIN);
        let bytes = match fresh {
            Some((_, bytes)) => bytes,
            None => self.look(&mut seen),
        };
        bytes > self.bytes_max
    }

    fn look(&self, seen: &mut Seen) -> u64 {
        let mut bytes = taken();
        if bytes > self.bytes_max && seen.asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
            give_back();
            bytes = taken();
            seen.asked = Some(Instant::now());
            if bytes > self.bytes_max {
                let [taken_mib, bound_mib] = [bytes, self.bytes_max].map(|bytes| bytes >> 20);
                warn!(
                    taken_mib,
                    bound_mib, "no memory for more: what would make the server grow is refused"
                );
            }
        }
        seen.look = Some((Instant::now(), bytes));
        bytes
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

/// Files with bounds of the groups that a process is in, and of the groups around these: the bound of
/// any of them holds for all below it.
fn group_files(table: &str) -> Vec<PathBuf> {
    let place = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.to_owned());
        match controllers {
            "" => Some(("/sys/fs/cgroup", path, "memory.max")),
            names if names.split(',').any(|name| name == "memory") => {
                Some(("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    };
    let files = |(top, path, file): (&str, String, &str)| {
        let below = Path::new(&path).ancestors().map(|group| group.strip_prefix("/"));
        below.filter_map(Result::ok).map(|group| Path::new(top).join(group).join(file)).collect()
    };
    table.lines().filter_map(place).flat_map(|place| -> Vec<_> { files(place) }).collect()
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
        let files = [
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/b/c d/memory.max",
            "/sys/fs/cgroup/b/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        let found = group_files("5:cpu,memory:/a\n3:pids:/b\n0::/b/c d\n");
        assert_eq!(found, files.map(PathBuf::from));
        assert!(taken() > 0 && there_is() > 0);
        assert!(!Pressure::new(0).is_high());
        let pressure = Pressure::new(2_400);
        assert_eq!([50, 500].map(|bytes| pressure.bodies_bytes_max(bytes)), [50, 100]);
        assert!(Pressure::new(1).is_high(), "nothing fits into a byte");
    }

    #[test]
    fn the_allocator_is_not_asked_again_and_again() {
        let (pressure, mut seen) = (Pressure::new(1), Seen::default());
        pressure.look(&mut seen);
        let first = seen.asked.expect("there is too little");
        pressure.look(&mut seen);
        assert_eq!(seen.asked, Some(first));
    }
}
