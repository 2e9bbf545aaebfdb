//! Shells on machines: from a door, through the line of the machine's agent, to a sandbox there.
//!
//! ```text
//! WebSocket or SSH --input--> [ShellSession] --line--> agent
//!                  <--next---                <--line--
//! ```
//!
//! No port is open on a machine: the session travels on the line that the agent opened.
//!
//! Invariants
//! - Only machines of fixed clusters that run have shells, and only for their owner and the operator
//!   (guide, chapter 访问实例); [`may_enter`] decides.
//! - Both directions are bounded by credit ([`shell::WINDOW`]); an agent that does not keep to it loses
//!   the session.
//! - A session ends with its machine's line, after [`ShellConfig::idle_max`] without a byte, and when
//!   whoever holds it lets go; each time the agent is told.
//!
//! Start at [`Shells::open`].

mod bridge;
mod exchange;

pub use bridge::bridge;
pub use exchange::{Exchange, ShellSession, ShellWriter, Word};

use crate::{config::ShellConfig, places::Places, sessions::Sessions};
use gristmill_core::{Worker, World};
use gristmill_model::{AccountId, ClusterId, GroupName, WorkerId, WorkerState, event::Purpose};
use gristmill_wire::error::{ApiError, Code, quote};
use std::sync::Arc;

/// Which machine somebody wants to enter.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The cluster's id.
    pub cluster: &'a str,
    /// The group's name.
    pub group: &'a str,
    /// The machine's id.
    pub machine: &'a str,
}

impl<'a> Address<'a> {
    /// Whether this is the path of a shell.
    pub fn of(method: &str, path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", ["clusters", cluster, "groups", group, "instances", machine, "shell"]) => {
                Some(Self { cluster, group, machine })
            }
            _ => None,
        }
    }
}

/// Who wants to enter a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visitor {
    /// An account, which may enter its own machines.
    Account(AccountId),
    /// Whoever runs the region.
    Operator,
}

/// The machine, if this visitor may enter it now. What is not theirs is not found.
pub fn may_enter(
    world: &World,
    visitor: Visitor,
    address: Address<'_>,
) -> Result<WorkerId, ApiError> {
    let id: Option<ClusterId> = address.cluster.parse().ok();
    let cluster = id.and_then(|id| match visitor {
        Visitor::Account(account) => world.cluster(account, id),
        Visitor::Operator => world.any_cluster(id),
    });
    let cluster = cluster.ok_or_else(|| not_found("cluster", address.cluster))?;
    let name: Option<GroupName> = address.group.parse().ok();
    let group = name.and_then(|name| cluster.groups.get(&name));
    let group = group.ok_or_else(|| not_found("group", address.group))?;
    let id: Option<WorkerId> = address.machine.parse().ok();
    let machine = id.filter(|id| group.workers.contains(id)).and_then(|id| world.worker(id));
    let machine = machine.ok_or_else(|| not_found("machine", address.machine))?;
    is_open(&cluster.purpose, machine)?;
    Ok(machine.id)
}

fn not_found(kind: &str, id: &str) -> ApiError {
    ApiError::new(Code::ResourceNotFound, format!("{kind} {} is not found", quote(id)))
}

/// Whether anybody may enter this machine now.
pub fn is_open(purpose: &Purpose, machine: &Worker) -> Result<(), ApiError> {
    if *purpose != Purpose::Fixed {
        let message = "machines of automatic clusters cannot be entered";
        return Err(ApiError::new(Code::Forbidden, message));
    }
    if machine.state != WorkerState::Running {
        let message = format!(
            "machine {} is {}; only a running one can be entered",
            machine.id,
            machine.state.name()
        );
        return Err(ApiError::new(Code::StateConflict, message));
    }
    Ok(())
}

/// All shells of a region.
#[derive(Clone)]
pub struct Shells {
    sessions: Arc<Sessions>,
    config: ShellConfig,
    places: Places,
}

impl Shells {
    /// No shells yet.
    pub fn new(sessions: Arc<Sessions>, config: ShellConfig) -> Self {
        let places = Places::new(config.sessions_max as usize);
        Self { sessions, config, places }
    }

    /// Makes room for a shell of an account on a machine that may be entered. It starts with
    /// [`ShellSession::start`].
    pub fn open(&self, account: AccountId, machine: WorkerId) -> Result<ShellSession, ApiError> {
        let full = |what: String| ApiError::new(Code::QuotaExhausted, what);
        let place = self.places.take(account);
        let place = place.ok_or_else(|| {
            full("too many shells are open in this region, try again later".to_owned())
        })?;
        let away = || {
            let message = format!("machine {machine} is out of reach just now");
            ApiError::new(Code::StateConflict, message)
        };
        let exchange = self.sessions.exchange(machine).ok_or_else(away)?;
        let most = self.config.sessions_per_machine_max;
        let session = exchange.enter(most as usize, self.config.idle_max.into(), place);
        session.ok_or_else(|| {
            full(format!("{most} shells are open on machine {machine}, more are not allowed"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        briefing::Briefing,
        config::HistoryConfig,
        keys::KeyRing,
        mill::{Clock, Mill},
        recovery::recover,
        streams::Streams,
    };
    use gristmill_core::{IdMint, Options};
    use gristmill_model::{Seconds, Timestamp};
    use gristmill_objects::memory::MemoryStore;
    use std::{iter, path::Path, time::Duration};
    use tokio::sync::mpsc;

    const ONE: AccountId = AccountId(1);
    const TWO: AccountId = AccountId(2);

    /// Shells of a region without machines.
    fn shells(dir: &Path) -> Shells {
        let recovered = recover(dir, Options::default()).expect("opens");
        let clock: Clock = Arc::new(|| Timestamp(1));
        let (ids, history) = (IdMint::new([7; 32]), HistoryConfig::default());
        let (hands, news) = (mpsc::unbounded_channel().0, mpsc::unbounded_channel().0);
        let mill = Mill::start((recovered, history), ids, clock.clone(), hands, news);
        let briefing = Briefing {
            region: "cn-local".to_owned(),
            oss_endpoint: String::new(),
            oss_host: String::new(),
            daemon_idle_max: Seconds(1),
            oss_port_apart: None,
        };
        let keys = KeyRing::new([1; 32], ("root".to_owned(), "hush".to_owned()), ONE);
        let streams = Streams::new(Arc::new(MemoryStore::new(clock)));
        let beat = Duration::from_secs(1);
        let sessions = Sessions::new(mill, Arc::new(keys), briefing, streams, beat);
        Shells::new(Arc::new(sessions), ShellConfig::default())
    }

    #[test]
    fn an_account_does_not_have_all_shells() {
        let dir = tempfile::tempdir().expect("a directory");
        let shells = shells(dir.path());
        let held: Vec<_> = iter::from_fn(|| shells.places.take(ONE)).collect();
        let said = |account| {
            let refusal = shells.open(account, WorkerId(1)).err().expect("there is no machine");
            refusal.message
        };
        assert!(said(ONE).starts_with("too many shells are open"), "{}", said(ONE));
        assert!(said(TWO).ends_with("is out of reach just now"), "{}", said(TWO));
        drop(held);
        assert!(said(ONE).ends_with("is out of reach just now"), "{}", said(ONE));
    }
}
