//! What the process hands to a command: variables, folders, clock, chance, terminals.
//!
//! Everything a command could learn from outside by itself is here, so tests run whole commands
//! in a made-up place. [`Environment::of_process`] is the only function that asks the system.

use gristmill_model::Timestamp;
use jiff::tz::TimeZone;
use std::{
    collections::BTreeMap,
    env,
    io::IsTerminal,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Where a command runs.
#[derive(Clone)]
pub struct Environment {
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// The folder of `cliconfig` and the number caches.
    pub config_dir: PathBuf,
    /// The current directory; relative paths of options start here.
    pub directory: PathBuf,
    /// In which times are shown. Most commands show none, and finding it takes a while.
    pub zone: fn() -> TimeZone,
    /// What time it is.
    pub clock: fn() -> Timestamp,
    /// A fresh unique text: run folders in the object store, nonces, idempotency tokens.
    pub fresh_id: fn() -> String,
    /// A person may be asked.
    pub asks: bool,
    /// Standard output is a terminal.
    pub out_is_terminal: bool,
    /// Standard error is a terminal.
    pub err_is_terminal: bool,
}

impl Environment {
    /// The real one.
    pub fn of_process() -> Self {
        let variables: BTreeMap<String, String> = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            config_dir: config_dir(&variables),
            directory: env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            zone: || TimeZone::try_system().unwrap_or(TimeZone::UTC),
            clock: system_clock,
            fresh_id: || uuid::Uuid::new_v4().to_string(),
            asks: std::io::stdin().is_terminal(),
            out_is_terminal: std::io::stdout().is_terminal(),
            err_is_terminal: std::io::stderr().is_terminal(),
            variables,
        }
    }

    /// A variable, unless it is unset or empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A path as the user wrote it, made absolute; `~/` is the home folder.
    pub fn path(&self, written: &str) -> PathBuf {
        match (written.strip_prefix("~/"), self.variable("HOME")) {
            (Some(below), Some(home)) => Path::new(home).join(below),
            _ => self.directory.join(written),
        }
    }
}

/// `BCS_HOME`, else `~/.batchcompute`, the folder of the official tool.
fn config_dir(variables: &BTreeMap<String, String>) -> PathBuf {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    match (set("BCS_HOME"), set("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => Path::new(home).join(".batchcompute"),
        (None, None) => PathBuf::from(".batchcompute"),
    }
}

fn system_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A place without variables, at a fixed time, in UTC, with nobody watching.
    pub(crate) fn nowhere(folder: &Path) -> Environment {
        Environment {
            variables: BTreeMap::new(),
            config_dir: folder.join(".batchcompute"),
            directory: folder.to_owned(),
            zone: || TimeZone::UTC,
            clock: || Timestamp(1_700_000_000_000_000),
            fresh_id: || "11112222-3333-4444-5555-666677778888".to_owned(),
            asks: false,
            out_is_terminal: false,
            err_is_terminal: false,
        }
    }

    #[test]
    fn bcs_home_wins_over_the_home_folder() {
        let mut variables = BTreeMap::from([("HOME".to_owned(), "/h".to_owned())]);
        assert_eq!(config_dir(&variables), Path::new("/h/.batchcompute"));
        variables.insert("BCS_HOME".to_owned(), "/b".to_owned());
        assert_eq!(config_dir(&variables), Path::new("/b"));
    }

    #[test]
    fn a_tilde_means_the_home_folder_and_other_paths_start_here() {
        let mut here = nowhere(Path::new("/work"));
        here.variables.insert("HOME".to_owned(), "/h".to_owned());
        assert_eq!(here.path("~/a"), Path::new("/h/a"));
        assert_eq!(here.path("a/b"), Path::new("/work/a/b"));
        assert_eq!(here.path("/a"), Path::new("/a"));
    }
}
