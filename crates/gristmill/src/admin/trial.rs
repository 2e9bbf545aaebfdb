//! Starts a program in an image, as a machine would, to see that it can.
//!
//! Becoming a place for sandboxes takes a process of its own with one thread: this program again.

use crate::setup;
use anyhow::{Context, bail, ensure};
use clap::Args;
use gristmill_runtime::{
    Exit, Identity, Limits, Node, NodeOptions, ProgramSpec, RunEvent, SandboxSpec,
};
use std::{
    fs::DirBuilder,
    io::{self, PipeReader, Read},
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// What every image must do: start a shell, and let programs write. If it has the service that sets up
/// machines of a cloud, that must be whole (guide, 3.4 of the chapter on images).
const SCRIPT: &str = "\
: > /tmp/trial && : > /trial || exit 1
if command -v cloud-init >/dev/null 2>&1; then cloud-init -h >/dev/null || exit 1; fi
[ $# -eq 0 ] || exec \"$@\"
";
/// Whom programs are outside of the sandbox when root tries an image: nobody.
const NOBODY: Identity = Identity { uid: 65_534, gid: 65_534 };
/// How long is waited for what a program said before it ended.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Try an image. Started by `gristmill admin image check`.
#[derive(Args)]
pub struct Trial {
    /// The tree of the image.
    #[arg(long)]
    tree: PathBuf,
    /// An empty directory.
    #[arg(long)]
    directory: PathBuf,
    /// How long programs may take, in seconds.
    #[arg(long)]
    timeout: u32,
    /// What to run in it.
    #[arg(last = true)]
    command: Vec<String>,
}

/// Tries the tree in a process of its own, for so many seconds at most. What the program says goes to
/// standard error; the error is why it did not end well.
pub fn run_in(tree: &Path, timeout: u32, command: &[String]) -> anyhow::Result<()> {
    let directory = tempfile::tempdir().context("could not make a directory")?;
    let mut child = Command::new(setup::this_program());
    child.arg("trial").arg("--tree").arg(tree).arg("--directory").arg(directory.path());
    child.args(["--timeout", &timeout.to_string()]);
    child.arg("--").args(command).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = child.output().context("could not start a process for the trial")?;
    let why = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        output.status.success(),
        "{}",
        if why.is_empty() { "the trial broke off" } else { &why }
    );
    Ok(())
}

impl Trial {
    /// Says on standard output why it did not end well.
    pub fn run(self) -> ExitCode {
        match self.try_program() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                println!("{why:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn try_program(self) -> anyhow::Result<()> {
        let directory = self.directory.join("node");
        let options = NodeOptions { directory, identity: NOBODY, image: Some(self.tree) };
        let (node, _) = Node::enter(options)?;
        let scratch = self.directory.join("scratch");
        let owner = node.owner();
        DirBuilder::new().mode(0o755).create(&scratch).context("could not make a directory")?;
        chown(&scratch, Some(owner.uid), Some(owner.gid)).context("could not give it away")?;
        let sandbox = SandboxSpec {
            id: format!("trial-{}", std::process::id()),
            root: node.root().clone(),
            scratch,
            base: None,
            mounts: Vec::new(),
            masked: Vec::new(),
            host_name: "trial".to_owned(),
            limits: Limits::default(),
            lineage: None,
        };
        let shell = ["/bin/sh", "-c", SCRIPT, "sh"].map(str::to_owned);
        let program = ProgramSpec {
            arguments: shell.into_iter().chain(self.command).collect(),
            env: [("PATH", PATH), ("HOME", "/root"), ("USER", "root")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            directory: "/".to_owned(),
        };
        let spawner = node.start().context("could not listen to the sandbox")?;
        let (say, hear) = mpsc::channel();
        let listener = move |event| drop(say.send(event)); // nobody listens when it is over
        let (said, program_says) = io::pipe().context("could not make a pipe")?;
        let errors = program_says.try_clone().context("could not double a pipe")?;
        let told = repeat(said);
        let handle =
            spawner.spawn(&sandbox, &program, program_says.into(), errors.into(), listener)?;
        let verdict = judge(&hear, Duration::from_secs(self.timeout.into()));
        // Most often it has ended, and then nobody hears that.
        let _ = handle.kill();
        // What it left behind cannot keep the pipe open for long, and the check not at all.
        let _ = told.recv_timeout(LAST_WORDS_MAX);
        verdict
    }
}

/// Tells whoever started the check what the program says, until it says no more. A program of a stranger
/// gets no hold of a terminal: it could read what is typed there, and steer it.
fn repeat(mut said: PipeReader) -> mpsc::Receiver<()> {
    let (done, over) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(got @ 1..) = said.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..got]);
            eprint!("{}", text.replace(steers, "\u{fffd}"));
        }
        let _ = done.send(()); // perhaps nobody waits any more
    });
    over
}

fn steers(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\t')
}

fn judge(events: &mpsc::Receiver<RunEvent>, time_max: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match events.recv_timeout(time_max.saturating_sub(begun.elapsed())) {
            Ok(RunEvent::Started { .. }) => {}
            Ok(RunEvent::Failed(failure)) => bail!("no program starts in it: {failure}"),
            Ok(RunEvent::Exited(ended)) => match ended.exit {
                Exit::Code(0) => return Ok(()),
                Exit::Code(code) => bail!("the program in it ended with exit code {code}"),
                Exit::Signal(number) => bail!("the program in it was ended by signal {number}"),
                Exit::OutOfMemory => bail!("the program in it used too much memory"),
            },
            Err(RecvTimeoutError::Timeout) => {
                bail!("the program in it did not end within {} seconds", time_max.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => {
                bail!("nothing was heard of the program in it")
            }
        }
    }
}
