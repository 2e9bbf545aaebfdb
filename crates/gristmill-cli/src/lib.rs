//! The user's command `bcs` as a library: grammar, settings, the signed client, and the commands.
//!
//! ```text
//! words ─> grammar ─> commands ─┬─> client (signed API)
//!   settings, number caches ────┤
//!   words in two languages ─────┴─> store (objects) ─> output: data to stdout, words to stderr
//! ```
//! The grammar, the settings file and the number caches are the official tool's
//! (`reference/bcs-cli.md`); what it prints is not copied letter by letter, what it sends is.
//!
//! Start at [`main`] for the command, at [`client::Client`], [`submit::describe`] and
//! [`watch::Watch`] to drive the service from other code.

pub mod caches;
pub mod client;
mod commands;
pub mod dag;
pub mod environment;
pub mod grammar;
mod ini_text;
pub mod moment;
pub mod oss_path;
pub mod output;
pub mod progress;
pub mod project;
pub mod qsub;
mod session;
pub mod settings;
pub mod signer;
pub mod store;
pub mod submit;
pub mod table;
pub mod watch;
pub mod words;

use environment::Environment;
use output::Output;
use std::process::ExitCode;

/// Runs `bcs` in this process: arguments without the program's name.
pub async fn main(args: Vec<String>, env: Environment) -> ExitCode {
    let output = Output::of_process(&env);
    ExitCode::from(run(args, env, output).await)
}

/// Runs `bcs` with other streams, and returns the exit status: 0 only on success.
pub async fn run(args: Vec<String>, env: Environment, output: Output) -> u8 {
    commands::run(args, env, output).await
}
