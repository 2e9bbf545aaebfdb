//! `gristmill admin shell`: the operator's way onto any fixed cluster's machine. It is `bcs ssh` with
//! the root key.

use crate::setup::RootKey;
use clap::Args;
use gristmill_cli::environment::Environment;
use std::process::ExitCode;

/// Open a shell on a machine of a fixed cluster, or run a command there
#[derive(Args)]
pub struct Shell {
    /// The cluster's id
    cluster: String,
    /// The group's name
    group: String,
    /// The machine's id
    machine: String,
    /// With a terminal, also for a command
    #[arg(short, long)]
    terminal: bool,
    /// What to run there, behind `--`; without it, a login shell
    #[arg(last = true)]
    command: Vec<String>,
}

impl Shell {
    /// The exit status is the shell's.
    pub async fn run(self, endpoint: &str, key: RootKey) -> ExitCode {
        let mut environment = Environment::of_process();
        for (name, value) in [
            ("BCS_ENDPOINT", endpoint.to_owned()),
            ("BCS_ACCESS_KEY_ID", key.access_key_id),
            ("BCS_ACCESS_KEY_SECRET", key.access_key_secret),
        ] {
            environment.variables.insert(name.to_owned(), value);
        }
        environment.variables.remove("BCS_SECURITY_TOKEN");
        gristmill_cli::main(self.words(), environment).await
    }

    fn words(self) -> Vec<String> {
        let mut words = vec!["ssh".to_owned(), self.cluster, self.group, self.machine];
        if self.terminal {
            words.push("--terminal".to_owned());
        }
        if !self.command.is_empty() {
            words.push("--".to_owned());
            words.extend(self.command);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        shell: Shell,
    }

    #[test]
    fn the_command_stays_behind_its_dashes() {
        let line = Line::parse_from(["shell", "c", "g", "i-1", "-t", "--", "ls", "-l"]);
        assert_eq!(line.shell.words(), ["ssh", "c", "g", "i-1", "--terminal", "--", "ls", "-l"]);
        let line = Line::parse_from(["shell", "c", "g", "i-1"]);
        assert_eq!(line.shell.words(), ["ssh", "c", "g", "i-1"]);
    }
}
