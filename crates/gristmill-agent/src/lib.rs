//! One node: mounts, runs, uploads, reports.
//!
//! An agent is a process of its own that a provider started. It calls the server and keeps one
//! stream open ([`line`]); the server says which runs it should hold ([`runs`]); each run is a
//! task of its own from package to last upload ([`work`]). The agent outlives the server: while
//! nobody answers it goes on with what it has, keeps every result, and calls again.
//!
//! The line, the runs with little to do beside their program, and the news of sandboxes share the first thread, so
//! that what they tell each other wakes nobody; runs that move files have threads of their own
//! ([`work::Threads`]).
//!
//! Invariants
//! - A result is kept until the server says that it is durable.
//! - The agent holds no state on disk: when it dies, its programs die with it, and the server
//!   puts their instances back.
//! - It touches its own directory, its sandboxes, and the places in the object store that a
//!   task's key opens; nothing else.
//!
//! Start at [`main`].

mod ahead;
mod bootstrap;
mod dial;
mod inputs;
mod line;
mod logs;
mod machine;
mod network;
mod oss;
mod package;
mod place;
mod program;
mod resident;
mod results;
mod runs;
mod shell;
mod trouble;
mod turns;
mod work;
mod writes;

use gristmill_images::Hold;
use gristmill_runtime::{Ear, Identity, Node, NodeOptions};
use gristmill_wire::agent::AgentConfig;
use machine::Machine;
use std::{path::Path, process::ExitCode, sync::Arc};
use tokio::io::{Interest, unix::AsyncFd};
use tracing::{error, info};

pub use dial::{Dialled, dial};
pub use inputs::mounter;
pub use oss::{Opening, remote_store};

/// The exit status of a process that panicked.
const PANICKED: i32 = 70;

/// Runs an agent until it is retired, told to stop, or orphaned. Must be called while the
/// process has one thread: namespaces are entered first.
pub fn main(config_file: &Path, mounter: &Path) -> ExitCode {
    match start(config_file, mounter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A panic in any thread ends the process: nobody could say which results it still keeps. The server
/// puts them back. After the fork of the spawner, whose sandboxes have their own ways to end.
fn end_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::exit(PANICKED);
    }));
}

fn start(config_file: &Path, mounter: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    let text = std::fs::read(config_file)
        .with_context(|| format!("could not read {}", config_file.display()))?;
    let config: AgentConfig = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not an agent's configuration", config_file.display()))?;
    let identity = Identity { uid: config.sandbox_uid, gid: config.sandbox_uid };
    let directory = config.directory.join("node");
    // Sandboxes are made by a process that is forked now: they are born into this network.
    let network = network::enter(&config);
    let held = held(&config);
    let image = held.as_ref().ok().and_then(Option::as_ref).map(|hold| hold.root().to_owned());
    let (node, machine) = Node::enter(NodeOptions { directory, identity, image })
        .context("could not prepare this machine for sandboxes")?;
    end_on_panic();
    let network = network.and_then(network::leave);
    for note in &machine.notes {
        info!(note, "this machine");
    }
    let carriers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("could not start the threads that carry files")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the async runtime")?;
    let threads =
        work::Threads { first: runtime.handle().clone(), carriers: carriers.handle().clone() };
    let made = Machine::make(&config, &node, machine.privileged)
        .context("could not make this machine's disks and files")?;
    let mut notes = machine.notes.clone();
    notes.extend(made.notes.iter().inspect(|note| info!(note, "this machine")).cloned());
    let (place, ear) = work::Place::new(config, node, &machine, made, mounter.to_owned(), threads);
    runtime.block_on(async {
        tokio::spawn(listen(watched(ear).context("could not listen to the sandboxes")?));
        let set_up = match network.and_then(|()| held.as_ref().map(drop).map_err(String::clone)) {
            Ok(()) => bootstrap::run(&place).await,
            Err(reason) => Err(reason),
        };
        match set_up {
            Ok(()) => line::keep(Arc::new(place), notes).await,
            Err(failure) => line::complain(&place, &failure).await,
        }
        Ok(())
    })
}

#[expect(deprecated, reason = "its replacement is unsafe, and an `Ear` keeps its descriptor")]
fn watched(ear: Ear) -> std::io::Result<AsyncFd<Ear>> {
    AsyncFd::with_interest(ear, Interest::READABLE)
}

/// Hears what becomes of programs, until their spawner is gone.
async fn listen(mut ear: AsyncFd<Ear>) {
    while let Ok(mut readable) = ear.readable_mut().await {
        if readable.get_inner_mut().take().is_break() {
            return;
        }
        readable.clear_ready();
    }
}

/// Holds the machine's image, if it has one, for as long as the value lives. The error is for the
/// cluster's owner.
fn held(config: &AgentConfig) -> Result<Option<Hold>, String> {
    let Some(directory) = &config.machine.image else { return Ok(None) };
    let held = Hold::take(directory).map(Some);
    held.map_err(|error| format!("the machine's image is gone: {}", trouble::chain(&error)))
}
