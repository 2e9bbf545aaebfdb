//! A bare agent for tests and for trying things by hand: reads one JSON request per line from its
//! standard input and writes one JSON event per line to its standard output.
//!
//! The first line says what to become (`Enter`), the others what to do (`Order`). It ends when its
//! input and all runs have ended.

use gristmill_runtime::{
    Disk, Identity, MemoryScratch, Node, NodeOptions, ProgramSpec, RunHandle, SandboxSpec, Series,
    SeriesEvent, Streams,
    terminal::{Terminal, WindowSize},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    error::Error,
    fs::File,
    io::{Write, stdin, stdout},
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

#[derive(Deserialize)]
struct Enter {
    directory: PathBuf,
    identity: Identity,
    /// Become this user first, as an ordinary user's agent.
    user: Option<Identity>,
    /// Disks to mount: directory and bytes.
    #[serde(default)]
    disks: Vec<(PathBuf, u64)>,
}

#[derive(Deserialize)]
enum Order {
    Spawn {
        run: u64,
        sandbox: Box<SandboxSpec>,
        program: Box<ProgramSpec>,
        /// The variables of each program of a series; empty: one program.
        #[serde(default)]
        each: Vec<Vec<(String, String)>>,
        #[serde(default)]
        quick_millis: u32,
        stdout: PathBuf,
        stderr: PathBuf,
        /// Memory to mount on the scratch directory, which does not exist yet.
        scratch_bytes: Option<u64>,
        /// Paths of the sandbox to find on this machine.
        locate: Vec<String>,
        /// Text to type into a terminal that is its standard input.
        typed: Option<String>,
    },
    Prepare {
        sandbox: Box<SandboxSpec>,
    },
    Kill {
        run: u64,
    },
    Stop {
        run: u64,
        grace_millis: u64,
    },
    LetGo {
        scratch: PathBuf,
    },
}

#[derive(Serialize)]
struct Said {
    run: u64,
    event: SeriesEvent,
    located: Vec<Option<PathBuf>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut lines = stdin().lines();
    let enter: Enter = serde_json::from_str(&lines.next().ok_or("nothing to become")??)?;
    if let Some(user) = enter.user {
        become_user(user)?;
    }
    let options = NodeOptions { directory: enter.directory, identity: enter.identity, image: None };
    let (node, report) = Node::enter(options)?;
    let make = |(path, bytes): &(PathBuf, u64)| {
        Disk::make(&path.with_extension("img"), path, *bytes, node.owner())
    };
    let _disks = enter.disks.iter().map(make).collect::<Result<Vec<_>, _>>()?;
    writeln!(
        stdout(),
        "{}",
        serde_json::json!({
            "privileged": report.privileged, "fuse": report.fuse, "notes": report.notes,
            "owner": node.owner(),
        })
    )?;
    let layout = node.layout().clone();
    let spawner = node.start()?;
    let (ended, wait) = mpsc::channel();
    let mut handles: BTreeMap<u64, RunHandle> = BTreeMap::new();
    let mut terminals = Vec::new();
    for line in lines {
        match serde_json::from_str(&line?)? {
            Order::Spawn {
                run,
                sandbox,
                program,
                each,
                quick_millis,
                stdout,
                stderr,
                scratch_bytes,
                locate,
                typed,
            } => {
                let mount = |bytes| MemoryScratch::mount(&sandbox.scratch, bytes);
                let mut scratch = scratch_bytes.map(mount).transpose()?;
                let series = if each.is_empty() {
                    Series::of_one(*program)
                } else {
                    Series { program: *program, each, quick_millis }
                };
                let (out, err) = (output(&stdout, &series)?, output(&stderr, &series)?);
                let ended = ended.clone();
                let (layout, looked_at) = (layout.clone(), sandbox.clone());
                let listener = move |event: SeriesEvent| {
                    if event.is_last() {
                        drop(scratch.take());
                    }
                    let place = |path: &String| layout.locate(&looked_at, path);
                    let located = locate.iter().map(place);
                    let located = located.map(|l| l.map(|l| l.directory.join(l.rest))).collect();
                    say(Said { run, event, located }, &ended);
                };
                let terminal = typed.map(typed_into_a_terminal).transpose()?;
                let (agent, stdin) = terminal.map(|both| (both.agent, both.program)).unzip();
                terminals.extend(agent);
                let streams = Streams { stdin, stdout: out.into(), stderr: err.into() };
                let handle = spawner.spawn_series(&sandbox, &series, streams, listener)?;
                handles.insert(run, handle);
            }
            Order::Prepare { sandbox } => spawner.prepare(&sandbox)?,
            Order::LetGo { scratch } => spawner.let_go(&scratch)?,
            Order::Kill { run } => handles[&run].kill()?,
            Order::Stop { run, grace_millis } => {
                handles[&run].stop(Duration::from_millis(grace_millis))?;
            }
        }
    }
    for _ in 0..handles.len() {
        wait.recv()?;
    }
    Ok(())
}

/// Programs of a series share a file, which is read between them.
fn output(path: &Path, series: &Series) -> std::io::Result<File> {
    match series.each.len() {
        1 => File::create(path),
        _ => File::options().read(true).append(true).create(true).open(path),
    }
}

fn typed_into_a_terminal(text: String) -> std::io::Result<Terminal> {
    let terminal = Terminal::open(WindowSize { columns: 91, rows: 17 })?;
    rustix::io::write(&terminal.agent, text.as_bytes())?;
    Ok(terminal)
}

fn say(said: Said, ended: &mpsc::Sender<()>) {
    let last = said.event.is_last();
    if let Ok(text) = serde_json::to_string(&said) {
        let _ = writeln!(stdout().lock(), "{text}"); // the reader may be gone
    }
    if last {
        let _ = ended.send(());
    }
}

fn become_user(user: Identity) -> nix::Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // As a program started by that user would be: its files in /proc are its own.
    nix::sys::prctl::set_dumpable(true)
}
