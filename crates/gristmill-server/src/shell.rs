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

use crate::{config::ShellConfig, sessions::Sessions};
use gristmill_core::{Worker, World};
use gristmill_model::{AccountId, ClusterId, GroupName, WorkerId, WorkerState, event::Purpose};
use gristmill_wire::error::{ApiError, Code, quote};
use std::sync::Arc;
use tokio::sync::Semaphore;

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
    free: Arc<Semaphore>,
}

impl Shells {
    /// No shells yet.
    pub fn new(sessions: Arc<Sessions>, config: ShellConfig) -> Self {
        let free = Arc::new(Semaphore::new(config.sessions_max as usize));
        Self { sessions, config, free }
    }

    /// Makes room for a shell on a machine that may be entered. It starts with
    /// [`ShellSession::start`].
    pub fn open(&self, machine: WorkerId) -> Result<ShellSession, ApiError> {
        let full = |what: String| ApiError::new(Code::QuotaExhausted, what);
        let permit = self.free.clone().try_acquire_owned().map_err(|_| {
            full(format!(
                "{} shells are open in this region, more are not allowed",
                self.config.sessions_max
            ))
        })?;
        let away = || {
            let message = format!("machine {machine} is out of reach just now");
            ApiError::new(Code::StateConflict, message)
        };
        let exchange = self.sessions.exchange(machine).ok_or_else(away)?;
        let most = self.config.sessions_per_machine_max;
        let session = exchange.enter(most as usize, self.config.idle_max.into(), permit);
        session.ok_or_else(|| {
            full(format!("{most} shells are open on machine {machine}, more are not allowed"))
        })
    }
}
