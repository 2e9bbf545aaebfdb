//! What the local provider remembers of a worker on disk: `worker.json` in its directory.
//!
//! Written before the process is started and again when its number is known. A server that dies
//! between the two finds the process by its command line, which names the worker's own
//! configuration file.

use crate::{ProviderError, process::Process};
use gristmill_files::remove_tree;
use gristmill_model::Generation;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const RECORD: &str = "worker.json";
const CONFIG: &str = "agent.json";
const LOG: &str = "agent.log";
/// The end of what stood in it before it was emptied last.
const LOG_BEFORE: &str = "agent.log.1";
/// What the agent kept of the bootstrap command of the generation before.
const BOOTSTRAP_LOG: &str = "bootstrap.log";

/// The note about one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The generation that was asked for last.
    pub generation: Generation,
    /// Its process, once it is known.
    pub process: Option<Process>,
}

/// The directory of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Home(pub PathBuf);

impl Home {
    /// The agent's configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join(CONFIG)
    }

    /// What the agent kept of the bootstrap command.
    pub(crate) fn bootstrap_log(&self) -> PathBuf {
        self.0.join(BOOTSTRAP_LOG)
    }

    /// Makes the directory for this user alone.
    pub(crate) fn make(&self) -> Result<(), ProviderError> {
        use std::os::unix::fs::DirBuilderExt;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(state("make", &self.0))
    }

    /// `None`: there is no such worker.
    pub(crate) fn read(&self) -> Result<Option<Record>, ProviderError> {
        let path = self.0.join(RECORD);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|e| state("read", &path)(e.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(state("read", &path)(error)),
        }
    }

    /// Durable when it returns.
    pub(crate) fn write(&self, record: &Record) -> Result<(), ProviderError> {
        let bytes = serde_json::to_vec(record).expect("a record is plain data");
        self.replace(RECORD, &bytes)
    }

    /// The configuration holds a token, so nobody else may read it.
    pub(crate) fn write_config(&self, bytes: &[u8]) -> Result<(), ProviderError> {
        self.replace(CONFIG, bytes)
    }

    /// Where the agent's words go.
    pub(crate) fn log(&self) -> Result<File, ProviderError> {
        let path = self.0.join(LOG);
        let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        open.map_err(state("open", &path))
    }

    /// Whether the agent's words are more than so many bytes.
    pub(crate) fn has_long_log(&self, bytes_max: u64) -> bool {
        fs::symlink_metadata(self.0.join(LOG)).is_ok_and(|log| log.len() > bytes_max)
    }

    /// Puts the last `bytes_max` bytes of the agent's words aside, in place of those put aside before, and
    /// empties the log. The agent goes on writing into the same file; what it writes meanwhile may be lost.
    pub(crate) fn turn_log(&self, bytes_max: u64) -> Result<(), ProviderError> {
        let path = self.0.join(LOG);
        let turn = || {
            let mut log = OpenOptions::new().read(true).write(true).open(&path)?;
            log.seek(SeekFrom::Start(log.metadata()?.len().saturating_sub(bytes_max)))?;
            let mut before = OpenOptions::new();
            before.create(true).truncate(true).write(true).mode(0o600);
            io::copy(&mut (&log).take(bytes_max), &mut before.open(self.0.join(LOG_BEFORE))?)?;
            log.set_len(0)
        };
        turn().map_err(state("empty", &path))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), ProviderError> {
        let (path, next) = (self.0.join(name), self.0.join(format!("{name}.next")));
        let write = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&next)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&next, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(state("write", &path))
    }

    /// Removes what an earlier generation left, but not its logs.
    pub(crate) fn clear(&self) -> Result<(), ProviderError> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(state("list", &self.0))?,
        };
        for entry in entries {
            let entry = entry.map_err(state("list", &self.0))?;
            if [LOG, LOG_BEFORE, BOOTSTRAP_LOG].iter().any(|log| entry.file_name() == *log) {
                continue;
            }
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => Self(path).remove()?,
                _ => fs::remove_file(&path).map_err(state("remove", &path))?,
            }
        }
        Ok(())
    }

    /// Removes the directory and everything in it, whatever the modes of what programs left.
    pub(crate) fn remove(&self) -> Result<(), ProviderError> {
        remove_tree(&self.0).map_err(state("remove", &self.0))
    }
}

pub(crate) fn state(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProviderError {
    let path = path.to_owned();
    move |source| ProviderError::State { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_put_aside_and_its_writer_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let home = Home(directory.path().to_owned());
        let mut writer = home.log().expect("opened");
        writer.write_all(b"old words, ").expect("written");
        assert!(!home.has_long_log(11), "as long as it may be");
        writer.write_all(b"new words").expect("written");
        assert!(home.has_long_log(11));
        home.turn_log(11).expect("turned");
        writer.write_all(b"newest").expect("written");
        let read = |name| fs::read_to_string(home.0.join(name)).expect("there");
        assert_eq!((read(LOG).as_str(), read(LOG_BEFORE).as_str()), ("newest", ", new words"));
        home.clear().expect("cleared");
        assert_eq!((read(LOG).as_str(), read(LOG_BEFORE).as_str()), ("newest", ", new words"));
    }
}
