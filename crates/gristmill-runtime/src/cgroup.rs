//! Limits on memory, processes and processors by control groups.
//!
//! [`Driver::detect`] makes one directory for this agent below the caller's own group, so that
//! limits around the agent stay in force; each run gets a directory below that, per hierarchy in
//! version 1, a single one in version 2. What cannot be enforced is said once, in sentences, and
//! is no error.
//!
//! The number of processes is limited by the user namespace (see `sandbox::confine`), which holds
//! also where no control group can be made. Version 1 has no group for it here: moving a process
//! into a group of that version waits for all processors, once for each hierarchy.

use crate::{host::MountLine, spec::Limits};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// How limits are set on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// One hierarchy per controller: this agent's directory in each that works.
    V1 { memory: Option<PathBuf>, cpu: Option<PathBuf> },
    /// One hierarchy: this agent's directory, and which controllers work in it.
    V2 { directory: PathBuf, controllers: Vec<&'static str> },
    /// No control group can be made.
    None,
}

const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Length of the period over which processor time is shared out.
const CPU_PERIOD_MICROS: u64 = 100_000;
const NAME_PREFIX: &str = "gristmill-";

/// The control groups of one run.
#[derive(Debug, Default)]
pub(crate) struct RunGroup {
    directories: Vec<PathBuf>,
    /// The file that counts kills for lack of memory.
    memory_events: Option<File>,
}

impl Driver {
    /// Finds out what works, by doing it. `own` is `/proc/self/cgroup`. The sentences say what
    /// cannot be enforced and why.
    pub(crate) fn detect(own: &str, mounts: &[MountLine], pid: u32) -> (Self, Vec<String>) {
        let name = format!("{NAME_PREFIX}{pid}");
        let mut said = Vec::new();
        let mut v1 = |controller: &str| {
            let own = v1_directory(own, mounts, controller)?;
            usable(&own, &name).map_err(|e| said.push(sentence(controller, &own, &e))).ok()
        };
        let (memory, cpu) = (v1("memory"), v1("cpu"));
        if memory.is_some() || cpu.is_some() {
            return (Self::V1 { memory, cpu }, said);
        }
        match v2_directory(own, mounts).map(|own| enable_v2(&own, &name)) {
            Some(Ok((directory, controllers))) => {
                let missing = CONTROLLERS.iter().filter(|c| !controllers.contains(c));
                said.extend(missing.map(|c| {
                    format!(
                        "no limit on {}: the controller is not delegated to this agent",
                        words(c)
                    )
                }));
                (Self::V2 { directory, controllers }, said)
            }
            Some(Err(reason)) => {
                said.push(format!("no limits on memory and processors: {reason}"));
                (Self::None, said)
            }
            None => {
                if said.is_empty() {
                    said.push(
                        "no limits on memory and processors: no control groups are mounted".into(),
                    );
                }
                (Self::None, said)
            }
        }
    }

    /// Makes the groups of one run and sets its limits.
    pub(crate) fn create(&self, id: &str, limits: &Limits) -> io::Result<RunGroup> {
        let mut group = RunGroup::default();
        match self.fill(&mut group, id, limits) {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    fn fill(&self, group: &mut RunGroup, id: &str, limits: &Limits) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::V1 { memory, cpu } => {
                if let (Some(parent), Some(bytes)) = (memory, limits.memory_bytes) {
                    let at = group.add(parent, id)?;
                    write(&at, "memory.limit_in_bytes", bytes)?;
                    let _ = write(&at, "memory.memsw.limit_in_bytes", bytes); // only with swap accounting
                    group.memory_events = File::open(at.join("memory.oom_control")).ok();
                }
                if let (Some(parent), Some(millis)) = (cpu, limits.cpu_millis) {
                    let at = group.add(parent, id)?;
                    write(&at, "cpu.cfs_period_us", CPU_PERIOD_MICROS)?;
                    write(&at, "cpu.cfs_quota_us", quota_micros(millis))?;
                }
                Ok(())
            }
            Self::V2 { directory, controllers } => {
                let at = group.add(directory, id)?;
                let has = |name| controllers.contains(&name);
                if let Some(bytes) = limits.memory_bytes.filter(|_| has("memory")) {
                    write(&at, "memory.max", bytes)?;
                    let _ = write(&at, "memory.swap.max", 0); // only with swap accounting
                    group.memory_events = File::open(at.join("memory.events")).ok();
                }
                if let Some(most) = limits.processes_max.filter(|_| has("pids")) {
                    write(&at, "pids.max", most.saturating_add(1))?;
                }
                if let Some(millis) = limits.cpu_millis.filter(|_| has("cpu")) {
                    let text = format!("{} {CPU_PERIOD_MICROS}", quota_micros(millis));
                    fs::write(at.join("cpu.max"), text)?;
                }
                Ok(())
            }
        }
    }

    /// Removes this agent's own directories; those of runs must be gone.
    pub(crate) fn remove(&self) {
        let directories: Vec<&PathBuf> = match self {
            Self::V1 { memory, cpu } => [memory, cpu].into_iter().flatten().collect(),
            Self::V2 { directory, .. } => vec![directory],
            Self::None => vec![],
        };
        for directory in directories {
            let _ = fs::remove_dir(directory); // the next agent sweeps what stays
        }
    }
}

impl RunGroup {
    fn add(&mut self, parent: &Path, id: &str) -> io::Result<PathBuf> {
        let at = parent.join(id);
        fs::create_dir_all(&at)?;
        self.directories.push(at.clone());
        Ok(at)
    }

    /// Moves the calling process, which has one thread, in.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.directories.iter().try_for_each(|at| enter(at))
    }

    /// Whether a process was killed because the memory limit was reached.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let Some(file) = &self.memory_events else { return false };
        let mut counts = [0; 512];
        let length = file.read_at(&mut counts, 0).unwrap_or_default();
        let counts = String::from_utf8_lossy(&counts[..length]);
        counts.lines().filter_map(|l| l.strip_prefix("oom_kill ")).any(|n| n.trim() != "0")
    }

    /// Removes the directories. Whether all are gone; a group whose last process has only just
    /// ended may stay busy for a moment.
    pub(crate) fn remove(&mut self) -> bool {
        self.directories.retain(|at| match fs::remove_dir(at) {
            Ok(()) => false,
            Err(error) => error.kind() != ErrorKind::NotFound,
        });
        self.directories.is_empty()
    }
}

/// Moves the calling thread in. Version 1 has a file for threads: a thread that moves itself does
/// not stop all starts and ends of processes on the machine and wait for that, as `cgroup.procs`
/// does (11 ms, unless another process moved a moment before).
fn enter(at: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(at.join("tasks")) {
        Ok(mut threads) => threads.write_all(b"0"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::write(at.join("cgroup.procs"), "0")
        }
        Err(error) => Err(error),
    }
}

fn quota_micros(cpu_millis: u64) -> u64 {
    const QUOTA_MICROS_MIN: u64 = 1_000; // the kernel refuses less
    (CPU_PERIOD_MICROS * cpu_millis / 1_000).max(QUOTA_MICROS_MIN)
}

fn write(at: &Path, file: &str, value: u64) -> io::Result<()> {
    fs::write(at.join(file), value.to_string())
}

fn words(controller: &str) -> &str {
    match controller {
        "pids" => "processes by control group",
        "cpu" => "processors",
        other => other,
    }
}

fn sentence(controller: &str, own: &Path, error: &io::Error) -> String {
    format!(
        "no limit on {}: cannot make a control group in `{}`: {error}",
        words(controller),
        own.display()
    )
}

/// The caller's own directory in the version 1 hierarchy of `controller`.
fn v1_directory(own: &str, mounts: &[MountLine], controller: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let named = parts.next()?.split(',').any(|c| c == controller);
        parts.next().filter(|_| named)
    })?;
    let mount = mounts
        .iter()
        .find(|m| m.kind == "cgroup" && m.options.split(',').any(|o| o == controller))?;
    Some(below(mount, path))
}

fn v2_directory(own: &str, mounts: &[MountLine]) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(below(mounts.iter().find(|m| m.kind == "cgroup2")?, path))
}

/// Where a group path is seen, when the mount shows the hierarchy from its `root` on.
fn below(mount: &MountLine, path: &str) -> PathBuf {
    let inside = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or("/");
    mount.point.join(inside.trim_start_matches('/'))
}

/// Makes this agent's directory, after removing those of dead agents.
fn usable(own: &Path, name: &str) -> io::Result<PathBuf> {
    sweep(own);
    let at = own.join(name);
    fs::create_dir_all(&at)?;
    Ok(at)
}

/// Removes the empty groups of agents whose process is gone.
fn sweep(own: &Path) {
    let Ok(entries) = fs::read_dir(own) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(NAME_PREFIX).map(|rest| rest.trim_end_matches("-agent"));
        let dead = |pid: &str| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
        if pid.is_some_and(dead) {
            for run in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(run.path()); // files of a group cannot be removed: refused
            }
            let _ = fs::remove_dir(entry.path()); // busy: something still runs in it
        }
    }
}

/// Turns the controllers on below the caller's own group. A group may not hold processes and
/// share out resources at once, so this process may have to move into a leaf of its own.
fn enable_v2(own: &Path, name: &str) -> Result<(PathBuf, Vec<&'static str>), String> {
    let at = usable(own, name)
        .map_err(|e| format!("cannot make a control group in `{}`: {e}", own.display()))?;
    let listed = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    let mut controllers = CONTROLLERS.to_vec();
    controllers.retain(|c| listed.split_whitespace().any(|l| l == *c));
    let wanted = controllers.iter().map(|c| format!("+{c}")).collect::<Vec<_>>().join(" ");
    let share_out = |directory: &Path| fs::write(directory.join("cgroup.subtree_control"), &wanted);
    let outcome = if controllers.is_empty() {
        Err(format!("`{}` has no controller for them", own.display()))
    } else {
        share_out(own)
            .or_else(|_| {
                let leaf = own.join(format!("{name}-agent"));
                fs::create_dir_all(&leaf)?;
                fs::write(leaf.join("cgroup.procs"), "0")?;
                share_out(own).inspect_err(|_| {
                    let _ = fs::write(own.join("cgroup.procs"), "0");
                    let _ = fs::remove_dir(&leaf);
                })
            })
            .and_then(|()| share_out(&at))
            .map_err(|e| format!("cannot share out resources of `{}`: {e}", own.display()))
    };
    match outcome {
        Ok(()) => Ok((at, controllers)),
        Err(reason) => {
            let _ = fs::remove_dir(&at);
            Err(reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mount_lines;

    const HYBRID_MOUNTS: &str = "\
32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 /outer /cg/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw";
    const HYBRID_OWN: &str = "4:memory:/outer/mine\n1:cpu,cpuacct:/\n0::/a/b";

    #[test]
    fn own_groups_are_found_in_both_versions() {
        let mounts = mount_lines(HYBRID_MOUNTS);
        let v1 = |c| v1_directory(HYBRID_OWN, &mounts, c);
        assert_eq!(v1("memory"), Some("/cg/memory/mine".into()));
        assert_eq!(v1("cpu"), Some("/cg/cpu/".into()));
        assert_eq!(v1("pids"), None);
        assert_eq!(v2_directory(HYBRID_OWN, &mounts), Some("/cg/unified/a/b".into()));
    }

    #[test]
    fn a_version_2_group_gets_its_limits_as_the_kernel_writes_them() {
        let top = tempfile::tempdir().expect("a directory");
        let driver = Driver::V2 { directory: top.path().into(), controllers: CONTROLLERS.to_vec() };
        let limits = Limits {
            memory_bytes: Some(1 << 26),
            processes_max: Some(20),
            cpu_millis: Some(1_500),
            files_max: None,
        };
        driver.create("run-1", &limits).expect("ordinary files take the place of the kernel's");
        let read = |name| fs::read_to_string(top.path().join("run-1").join(name)).expect(name);
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("pids.max"), "21");
        assert_eq!(read("cpu.max"), "150000 100000");
    }

    #[test]
    fn without_groups_a_sentence_says_what_is_not_enforced() {
        let (driver, said) = Driver::detect("", &[], 1);
        assert_eq!(driver, Driver::None);
        assert_eq!(said, ["no limits on memory and processors: no control groups are mounted"]);
    }
}
