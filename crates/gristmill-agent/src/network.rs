//! The machine's network, and its neighbours' names.
//!
//! The agent itself stays on the host's network, where the server is; only sandboxes are in the
//! machine's.

use crate::trouble::chain;
use gristmill_networks::{Link, Origin, join};
use gristmill_runtime::SharedFiles;
use gristmill_wire::agent::AgentConfig;
use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};
use tracing::debug;

/// Goes into the machine's network, if it has one. The error is for the cluster's owner.
pub fn enter(config: &AgentConfig) -> Result<Option<Origin>, String> {
    let Some(network) = &config.machine.network else { return Ok(None) };
    let address =
        |text: &str| text.parse::<Ipv4Addr>().map_err(|_| format!("`{text}` is no address"));
    let link = Link {
        network: network.file.clone(),
        name: network.link.clone(),
        address: address(&config.address)?,
        bits: network.bits,
        gateway: address(&network.gateway)?,
    };
    let joined = join(&link).map(Some);
    joined.map_err(|error| format!("the machine could not join its network: {}", chain(&error)))
}

/// Goes back to the host's.
pub fn leave(origin: Option<Origin>) -> Result<(), String> {
    let Some(origin) = origin else { return Ok(()) };
    origin
        .return_to()
        .map_err(|error| format!("the agent could not leave its machine's network: {error}"))
}

const HOSTS: &str = "/etc/hosts";

/// The names that programs of this machine find, kept as the server writes them.
pub struct Neighbours {
    source: PathBuf,
    files: SharedFiles,
    /// What stands before the neighbours.
    own: String,
    /// Length and time of what is shown.
    shown: Mutex<Option<(u64, SystemTime)>>,
}

impl Neighbours {
    /// Those in this file of the host; none, if it is empty.
    pub fn new(source: &Path, files: &SharedFiles) -> Self {
        let own = fs::read_to_string(HOSTS).unwrap_or_else(|_| "127.0.0.1\tlocalhost\n".to_owned());
        let (source, files) = (source.to_owned(), files.clone());
        Self { source, files, own, shown: Mutex::default() }
    }

    /// Shows what is new. Costs one look at the file when nothing is.
    pub fn look(&self) {
        if self.source.as_os_str().is_empty() {
            return;
        }
        let stamp = fs::metadata(&self.source).and_then(|it| Ok((it.len(), it.modified()?))).ok();
        let mut shown = self.shown.lock().expect("no holder of the lock panics");
        if stamp.is_none() || *shown == stamp {
            return;
        }
        let text = fs::read_to_string(&self.source)
            .map(|names| format!("{}\n{names}", self.own.trim_end()))
            .and_then(|text| self.files.put(Path::new(HOSTS), text.as_bytes()));
        match text {
            Ok(()) => *shown = stamp,
            Err(error) => debug!(%error, "the names of neighbours are looked at again"),
        }
    }
}
