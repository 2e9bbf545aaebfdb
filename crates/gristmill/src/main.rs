//! The front door: arguments, configuration, the real clock, wiring. No rule lives here.
//!
//! `gristmill serve` runs a region, `gristmill demo` a throw-away one; `agent` and `mounter` are
//! started by Gristmill itself. The process is single-threaded until a command says otherwise:
//! an agent enters its namespaces first.

mod admin;
mod demo;
mod log;
mod mns_door;
mod oss_door;
mod serve;
mod setup;

use clap::{FromArgMatches, Parser, Subcommand};
use gristmill_cli::words::Language;
use gristmill_faults::Point;
use std::{path::PathBuf, process::ExitCode};

/// Batch computing on your own machines.
///
/// Runs jobs made of tasks made of instances, with an object store, a message service and a
/// database built in. Speaks the BatchCompute protocol, so that its SDKs and the `bcs` command
/// work against it unmodified.
#[derive(Parser)]
#[command(name = "gristmill", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a region: control plane, object store, local machines.
    Serve(Box<serve::Serve>),
    /// Run the guide's log-count job in a throw-away region, start to result.
    Demo(demo::Demo),
    /// Operate a running region.
    Admin(Box<admin::Admin>),
    /// Print a completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// One machine. Started by a provider, never by hand.
    #[command(hide = true)]
    Agent {
        /// The worker's configuration.
        #[arg(long)]
        config: PathBuf,
    },
    /// The inputs of one instance as files. Started by an agent.
    #[command(hide = true)]
    Mounter,
    /// Fail points of this build: name, process, and what each can be asked to do. For tests.
    #[command(hide = true)]
    Faults,
    /// A program in an image. Started by `admin image check`.
    #[command(hide = true)]
    Trial(admin::Trial),
}

fn main() -> ExitCode {
    let language = Language::choose(None, &std::env::vars().collect());
    let command = <Arguments as clap::CommandFactory>::command()
        .mut_subcommand("admin", |admin| admin::translated(admin, language));
    let arguments =
        Arguments::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    setup::install_crypto();
    match arguments.command {
        Command::Serve(serve) => report(serve.run()),
        Command::Admin(admin) => report(admin.run()),
        Command::Demo(demo) => report(demo.run()),
        Command::Completion { shell } => {
            let mut command = <Arguments as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut command, "gristmill", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Agent { config } => {
            log::start("info");
            gristmill_agent::main(&config, &setup::this_program())
        }
        Command::Faults => {
            faults();
            ExitCode::SUCCESS
        }
        Command::Trial(trial) => trial.run(),
        Command::Mounter => {
            log::start("warn");
            gristmill_agent::mounter()
        }
    }
}

fn faults() {
    for point in Point::ALL.iter().filter(|_| gristmill_faults::BUILT_IN) {
        let deeds: Vec<_> = point.deeds().iter().map(|deed| deed.name()).collect();
        println!("{} {} {}", point.name(), point.process(), deeds.join(","));
    }
}

fn report(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("gristmill: {error:#}");
        ExitCode::FAILURE
    })
}
