//! What an agent of this region is started with.

use crate::{briefing::Briefing, catalogue::Catalogue, config::RegionConfig};
use gristmill_model::event::EnsureWorker;
use gristmill_provider::AgentLaunch;
use gristmill_wire::agent::{AgentConfig, MachineConfig};
use std::{net::Ipv4Addr, path::PathBuf};

/// Makes agents' configurations.
pub struct Launch {
    /// The program: this one.
    pub program: PathBuf,
    /// The server's URL as agents reach it.
    pub server: String,
    /// How the region is set up.
    pub config: RegionConfig,
    /// What machines of each type have.
    pub catalogue: Catalogue,
    /// Processors of this host.
    pub processors: u32,
    /// Whether the server is root, so that sandboxes get users of their own.
    pub privileged: bool,
    /// Paths that programs must not see.
    pub masked: Vec<PathBuf>,
    /// What is the same for all tasks of the region.
    pub briefing: Briefing,
}

/// Users of sandboxes come from a range of this size; machines made long after each other may
/// share one.
const SANDBOX_USERS: u128 = 100_000_000;

impl Launch {
    /// The program and the configuration of one worker's agent, for a machine of this make.
    pub fn agent(
        &self,
        request: &EnsureWorker,
        token: String,
        address: Ipv4Addr,
        machine: MachineConfig,
    ) -> AgentLaunch {
        let EnsureWorker { worker, generation, host_name, instance_type, .. } = request;
        let name = instance_type.as_ref().unwrap_or(&self.catalogue.default);
        let shape = self.catalogue.find(name);
        let memory_gb = shape.map_or(0, |shape| shape.memory_gb);
        // A bound that is not below what the host has would cost every start and bind nothing.
        let cores = shape.map_or(0, |shape| shape.cpu_cores);
        let cpu_millis = if cores < self.processors { cores * 1_000 } else { 0 };
        let spread = u32::try_from(worker.0 % SANDBOX_USERS).expect("below 100,000,000");
        let limited = self.config.local.limit_usage;
        let config = AgentConfig {
            worker: worker.to_string(),
            generation: generation.0,
            token,
            server: self.server.clone(),
            directory: self.config.data_dir.join("workers").join(worker.to_string()),
            host_name: host_name.clone(),
            address: address.to_string(),
            masked: self.masked.clone(),
            slots: self.config.local.slots,
            sandbox_uid: if self.privileged {
                self.config.local.sandbox_uid_first + spread
            } else {
                0
            },
            orphan_seconds_max: self.config.patience.worker_orphan_max.0,
            memory_bytes: if limited { u64::from(memory_gb) << 30 } else { 0 },
            cpu_millis: if limited { cpu_millis } else { 0 },
            machine,
        };
        let config_json = serde_json::to_vec(&config).expect("a configuration is plain data");
        AgentLaunch { program: self.program.clone(), config_json }
    }
}
