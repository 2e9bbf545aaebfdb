//! `bcs`, the user's command: everything is in `gristmill-cli`.

use gristmill_cli::environment::Environment;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args = std::env::args().skip(1).collect();
    gristmill_cli::main(args, Environment::of_process()).await
}
