//! What one sandboxed `true` costs beside a bare one and beside one in bare namespaces: wall clock
//! and processor time of the whole tree, in interleaved rounds of serial starts.
//!
//! `cargo run --release -p gristmill-runtime --example start_cost -- [ROUNDS] [STARTS]`

#![allow(unsafe_code)] // a bare clone has no safe wrapper

use gristmill_runtime::{
    Identity, Limits, MemoryScratch, Node, NodeOptions, ProgramSpec, Root, RunEvent, SandboxSpec,
    Spawner,
};
use std::{
    error::Error,
    fs::{self, File},
    path::Path,
    process::Command,
    sync::mpsc,
    time::Instant,
};

const NOBODY: Identity = Identity { uid: 65_534, gid: 65_534 };

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let rounds = numbers.next().transpose()?.unwrap_or(10);
    let starts = numbers.next().transpose()?.unwrap_or(100);
    let top = std::env::temp_dir().join(format!("start-cost-{}", std::process::id()));
    let options = NodeOptions { directory: top.clone(), identity: NOBODY, image: None };
    let (node, report) = Node::enter(options)?;
    let spawner_pid = only_child()?;
    let spawner = node.start()?;
    println!(
        "privileged: {}, {rounds} rounds of {starts} starts, microseconds each",
        report.privileged
    );
    let memory = Limits { memory_bytes: Some(1 << 30), ..Limits::default() };
    let mut rows: [Vec<Cost>; 6] = Default::default();
    for _ in 0..rounds {
        rows[0].push(measure(starts, spawner_pid, || bare().map(|()| 0))?);
        rows[1].push(measure(starts, spawner_pid, || namespaced().map(|()| 0))?);
        rows[2]
            .push(measure(starts, spawner_pid, || in_memory(&spawner, &top, Limits::default()))?);
        rows[3].push(measure(starts, spawner_pid, || in_memory(&spawner, &top, memory.clone()))?);
        rows[4].push(measure(starts, spawner_pid, || on_disk(&spawner, &top))?);
        let kept = top.join("scratch");
        fs::create_dir(&kept)?;
        rows[5].push(measure(starts, spawner_pid, || {
            sandboxed(&spawner, &top, memory.clone(), Some("the same"))
        })?);
        spawner.let_go(&kept)?;
        while fs::read_dir(&kept)?.next().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        fs::remove_dir(&kept)?;
    }
    let names =
        ["posix_spawn", "namespaces", "sandbox", "memory limit", "layers on disk", "kept sandbox"];
    for (name, costs) in names.iter().zip(&rows) {
        let wall = median(costs.iter().map(|c| c.wall));
        let processor = median(costs.iter().map(|c| c.processor));
        let ratio = median(rows[0].iter().zip(costs).map(|(bare, c)| bare.wall / c.wall));
        println!("{name:14} wall {wall:6.0}  processor {processor:6.0}  bare / this {ratio:.2}");
    }
    rustix::mount::unmount(top.join("base"), rustix::mount::UnmountFlags::DETACH)?;
    fs::remove_dir_all(&top)?;
    Ok(())
}

struct Cost {
    wall: f64,
    processor: f64,
}

/// Runs `start` so often; each answers the processor time that its own tree reported.
fn measure(
    starts: usize,
    spawner: i32,
    mut start: impl FnMut() -> Result<u64, Box<dyn Error>>,
) -> Result<Cost, Box<dyn Error>> {
    let (clock, before) = (Instant::now(), processor_micros(spawner)?);
    let mut reported = 0;
    for _ in 0..starts {
        reported += start()?;
    }
    let wall = clock.elapsed().as_secs_f64() * 1e6;
    let processor = processor_micros(spawner)? - before + reported as f64;
    Ok(Cost { wall: wall / starts as f64, processor: processor / starts as f64 })
}

fn bare() -> Result<(), Box<dyn Error>> {
    match Command::new("/bin/true").status()?.success() {
        true => Ok(()),
        false => Err("true failed".into()),
    }
}

/// The floor: the namespaces of a sandbox and nothing else.
fn namespaced() -> Result<(), Box<dyn Error>> {
    use nix::sched::CloneFlags as C;
    let flags = C::CLONE_VM
        | C::CLONE_VFORK
        | C::CLONE_NEWPID
        | C::CLONE_NEWNS
        | C::CLONE_NEWIPC
        | C::CLONE_NEWUTS;
    let execute = || -> isize {
        let words = [c"/bin/true"];
        let environment: [&std::ffi::CStr; 0] = [];
        let _ = nix::unistd::execve(words[0], &words, &environment); // else the status tells
        127
    };
    let mut stack = vec![0; 64 << 10];
    // SAFETY: the child has a stack of its own and only executes a program; this thread waits.
    let child =
        unsafe { nix::sched::clone(Box::new(execute), &mut stack, flags, Some(libc::SIGCHLD)) }?;
    match nix::sys::wait::waitpid(child, None)? {
        nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(()),
        other => Err(format!("true ended with {other:?}").into()),
    }
}

fn in_memory(spawner: &Spawner, top: &Path, limits: Limits) -> Result<u64, Box<dyn Error>> {
    let _scratch = MemoryScratch::mount(&top.join("scratch"), 64 << 20)?;
    sandboxed(spawner, top, limits, None)
}

fn on_disk(spawner: &Spawner, top: &Path) -> Result<u64, Box<dyn Error>> {
    fs::create_dir(top.join("scratch"))?;
    let used = sandboxed(spawner, top, Limits::default(), None)?;
    fs::remove_dir_all(top.join("scratch"))?;
    Ok(used)
}

fn sandboxed(
    spawner: &Spawner,
    top: &Path,
    limits: Limits,
    lineage: Option<&str>,
) -> Result<u64, Box<dyn Error>> {
    let sandbox = SandboxSpec {
        id: "run".into(),
        root: Root::Host,
        scratch: top.join("scratch"),
        base: None,
        mounts: vec![],
        masked: vec!["/home".into()],
        host_name: "worker-0".into(),
        limits: Limits { processes_max: Some(1_000), ..limits },
        lineage: lineage.map(Into::into),
    };
    let program =
        ProgramSpec { arguments: vec!["/bin/true".into()], env: vec![], directory: "/".into() };
    let (send, events) = mpsc::channel();
    let null = || File::options().write(true).open("/dev/null");
    let listener = move |event| drop(send.send(event));
    let _run = spawner.spawn(&sandbox, &program, null()?.into(), null()?.into(), listener)?;
    let used = loop {
        match events.recv()? {
            RunEvent::Started { .. } => {}
            RunEvent::Exited(ended) => break ended.usage,
            RunEvent::Failed(failure) => return Err(failure.into()),
        }
    };
    Ok(used.user_micros + used.system_micros)
}

/// Time on a processor of this process with its children, and of the spawner itself.
fn processor_micros(spawner: i32) -> Result<f64, Box<dyn Error>> {
    use nix::sys::resource::{UsageWho, getrusage};
    let mut total = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let used = getrusage(who)?;
        for time in [used.user_time(), used.system_time()] {
            total += time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
        }
    }
    let spawner = fs::read_to_string(format!("/proc/{spawner}/schedstat"))?;
    let nanos: f64 = spawner.split(' ').next().ok_or("no time in schedstat")?.parse()?;
    Ok(total + nanos / 1e3)
}

fn only_child() -> Result<i32, Box<dyn Error>> {
    let me = std::process::id();
    let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children"))?;
    Ok(children.trim().parse()?)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
