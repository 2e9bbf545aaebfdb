//! `bcs`, the user's command: everything is in `gristmill-cli`.

use gristmill_cli::environment::Environment;
use std::process::ExitCode;

// Nothing here computes: threads of a runtime would only make the command start later.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // A word that is not UTF-8 names nothing that exists; it must not end the program by a panic.
    let args =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    gristmill_cli::main(args, Environment::of_process()).await
}
