//! How a region is set up. One struct per concern, defaults that work on one machine.

use crate::messaging::config::{NotificationConfig, OutboundConfig};
use gristmill_model::{Seconds, catalogue::InstanceTypeName, spec::Limits};
use gristmill_networks::AddressRange;
use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// A region. Since 0.1.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegionConfig {
    /// All state of the region lives below it.
    pub data_dir: PathBuf,
    /// The region's id.
    pub region: String,
    /// The BatchCompute API, health, metrics.
    pub listen: SocketAddr,
    /// The object store.
    pub oss_listen: SocketAddr,
    /// The message service.
    pub mns_listen: SocketAddr,
    /// All services on one port, told apart by `Host`.
    pub front_listen: Vec<SocketAddr>,
    /// The same with TLS.
    pub front_tls_listen: Vec<SocketAddr>,
    /// Shells on machines for SSH clients; off without an address.
    pub ssh_listen: Option<SocketAddr>,
    /// Host names under which buckets are addressed, beside those of the vendor's form.
    pub oss_hosts: Vec<String>,
    /// A catalogue of instance types that replaces the built-in one.
    pub instance_types: Option<PathBuf>,
    /// The number shown as `OwnerId` of the root account.
    pub root_account: u64,
    /// Bounds on what a user may ask for.
    pub limits: Limits,
    /// When the region gives up waiting.
    pub patience: PatienceConfig,
    /// Callers that wait for the end of a job.
    pub sync: SyncConfig,
    /// Programs of apps that stay on their machine.
    pub daemons: DaemonsConfig,
    /// Machines on this host.
    pub local: LocalConfig,
    /// Machines on the spot market.
    pub spot: SpotConfig,
    /// Machines for tasks that are attached to a cluster.
    pub attached: AttachedConfig,
    /// Shells on machines.
    pub shell: ShellConfig,
    /// How notices are delivered.
    pub notifications: NotificationConfig,
    /// Which addresses are called for users.
    pub outbound: OutboundConfig,
    /// What becomes of finished jobs.
    pub history: HistoryConfig,
    /// How many requests an account may make.
    pub throttle: ThrottleConfig,
    /// When the server takes no more.
    pub overload: OverloadConfig,
}

/// How many requests each account may make, by what they do; more are answered with `Throttling`.
/// Since 0.2.0.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleConfig {
    /// Requests that make a job, cluster, app, image or temporary key.
    pub create: Rate,
    /// Requests that change, stop or delete something.
    pub change: Rate,
    /// Requests that look.
    pub read: Rate,
}

/// So many in the long run, and so many at once. Since 0.2.0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Requests a second; 0: no bound.
    pub per_second: f64,
    /// Requests at once, after a pause; at least 1.
    pub burst: f64,
}

/// When the server takes no more, so that it goes on with what it has taken. Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverloadConfig {
    /// Memory of the server, bytes; past it nothing new is made. 0: three quarters of what its control
    /// group or the machine has.
    pub memory_bytes_max: u64,
    /// What the bodies of requests under way may take together, bytes; less where memory is short.
    pub bodies_bytes_max: u64,
    /// How long a request waits for room among the bodies, and for the mill's inbox.
    pub wait_max: Seconds,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        Self { memory_bytes_max: 0, bodies_bytes_max: 512 << 20, wait_max: Seconds(30) }
    }
}

/// What becomes of finished jobs: after a while they leave the server's memory and stay in the books,
/// listed and shown like all others, until they are deleted, too old or too many. Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryConfig {
    /// How long a finished job stays in memory.
    pub live: Seconds,
    /// How many finished jobs stay in memory at most.
    pub live_max: u32,
    /// How long a finished job is kept in the books.
    pub kept: Seconds,
    /// How many finished jobs are kept in the books at most; the oldest go first.
    pub jobs_max: u64,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            live: Seconds(600),
            live_max: 1_000,
            kept: Seconds(10 * 365 * 24 * 3_600),
            jobs_max: 1_000_000,
        }
    }
}

impl Default for RegionConfig {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            data_dir: "gristmill-data".into(),
            region: "cn-local".into(),
            listen: loopback(8080),
            oss_listen: loopback(8081),
            mns_listen: loopback(8082),
            front_listen: Vec::new(),
            front_tls_listen: Vec::new(),
            ssh_listen: None,
            oss_hosts: Vec::new(),
            instance_types: None,
            root_account: 1_000_000_001,
            limits: Limits::default(),
            patience: PatienceConfig::default(),
            sync: SyncConfig::default(),
            daemons: DaemonsConfig::default(),
            local: LocalConfig::default(),
            spot: SpotConfig::default(),
            attached: AttachedConfig::default(),
            shell: ShellConfig::default(),
            notifications: NotificationConfig::default(),
            outbound: OutboundConfig::default(),
            history: HistoryConfig::default(),
            throttle: ThrottleConfig::default(),
            overload: OverloadConfig::default(),
        }
    }
}

/// When the region gives up waiting. Since 0.1.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatienceConfig {
    /// A running worker that is silent for longer is lost; its instances wait again.
    pub worker_silence_max: Seconds,
    /// A worker that was asked for and has not called after this is lost.
    pub worker_start_max: Seconds,
    /// How long the bootstrap command of a cluster may run on a machine, on top of that.
    /// Since 0.2.0.
    pub bootstrap_max: Seconds,
    /// A worker that finds no server for longer ends itself with everything it runs.
    pub worker_orphan_max: Seconds,
    /// How often a worker says that it is still there.
    pub worker_beat: Seconds,
    /// How often the provider is asked what is there.
    pub observe_every: Seconds,
    /// How far a client's clock may be off.
    pub clock_skew_max: Seconds,
}

impl Default for PatienceConfig {
    fn default() -> Self {
        Self {
            worker_silence_max: Seconds(90),
            worker_start_max: Seconds(120),
            bootstrap_max: Seconds(1_800),
            worker_orphan_max: Seconds(24 * 3600),
            worker_beat: Seconds(10),
            observe_every: Seconds(5),
            clock_skew_max: Seconds(900),
        }
    }
}

/// Callers that wait for the end of a job (`POST /jobs?sync`). Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncConfig {
    /// The longest a caller waits; the job goes on.
    pub wait_max: Seconds,
    /// The most callers that wait at a time; one more is told to come again.
    pub waiting_max: u32,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self { wait_max: Seconds(600), waiting_max: 256 }
    }
}

/// Programs of apps with `Daemonize`, which stay on their machine. Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DaemonsConfig {
    /// A program that served nothing for longer is ended.
    pub idle_max: Seconds,
}

impl Default for DaemonsConfig {
    fn default() -> Self {
        Self { idle_max: Seconds(300) }
    }
}

/// Machines on the spot market. Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpotConfig {
    /// How long a machine still runs after it was told that it will be reclaimed.
    pub notice: Seconds,
    /// Prices that are set at each start, `[[spot.price]]`. Prices of other types stay as the
    /// operator set them.
    pub price: Vec<SpotPrice>,
}

/// The price of spot machines of a type. Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpotPrice {
    /// Which type.
    #[serde(rename = "type")]
    pub instance_type: InstanceTypeName,
    /// In currency units; three decimals count.
    pub price: f64,
}

impl Default for SpotConfig {
    fn default() -> Self {
        Self { notice: Seconds(10), price: Vec::new() }
    }
}

/// Machines that a cluster has for tasks attached to it. Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttachedConfig {
    /// How long such a machine is kept with nothing to do.
    pub idle: Seconds,
}

impl Default for AttachedConfig {
    fn default() -> Self {
        Self { idle: Seconds(60) }
    }
}

/// Machines on this host: each is a process with sandboxes. Since 0.1.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalConfig {
    /// The most machines on this host at a time. 0: twice the processors, at least 4.
    pub workers_max: u32,
    /// How many instances a machine runs at a time.
    pub slots: u32,
    /// Started as `PROGRAM agent --config FILE` for each machine instead of this program: for
    /// measurements and tests. Since 0.2.0.
    pub agent: Option<PathBuf>,
    /// First host user of sandboxes when the server is root; each machine takes one.
    pub sandbox_uid_first: u32,
    /// Whether clusters have networks of their own when the server is root. Since 0.2.0.
    pub networks: bool,
    /// The way of these networks to the outside. Since 0.2.0.
    pub nat: NatConfig,
    /// Whether a program's memory and processors are limited to what its machine's type says.
    pub limit_usage: bool,
    /// Bytes that the disks of all machines may have together; 0: no bound, and a full disk of the
    /// host is what ends it. Since 0.2.0.
    pub disks_bytes_max: u64,
    /// Whether machines and their programs live on when the server is asked to stop; the next start
    /// takes them over. Since 0.2.0.
    pub keep_on_stop: bool,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            workers_max: 0,
            slots: 1,
            agent: None,
            sandbox_uid_first: 1_870_000_000,
            networks: true,
            nat: NatConfig::default(),
            limit_usage: true,
            disks_bytes_max: 0,
            keep_on_stop: false,
        }
    }
}

impl LocalConfig {
    /// The bound on machines, with the automatic value resolved for this many processors.
    pub fn workers_max(&self, processors: u32) -> u32 {
        if self.workers_max == 0 { (2 * processors).max(4) } else { self.workers_max }
    }
}

/// The way of clusters' networks to the outside, by translation of addresses. The host's own ports
/// are never reached. Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Networks (`10.1.0.0/16`) and addresses that are reached although they are private or special.
    pub allow: Vec<AddressRange>,
    /// Those that are not reached although they are public.
    pub deny: Vec<AddressRange>,
    /// Name servers of machines; none: the host's.
    pub resolvers: Vec<Ipv4Addr>,
    /// Where the addresses of the wires between networks and host lie; nothing else on this host
    /// may use them.
    pub transit: AddressRange,
}

impl Default for NatConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            allow: Vec::new(),
            deny: Vec::new(),
            resolvers: Vec::new(),
            transit: AddressRange::TRANSIT,
        }
    }
}

/// Shells on machines. Since 0.2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShellConfig {
    /// A shell ends when no byte went either way for longer.
    pub idle_max: Seconds,
    /// The most shells of the region at a time.
    pub sessions_max: u32,
    /// The most shells on one machine at a time.
    pub sessions_per_machine_max: u32,
}

impl Default for ShellConfig {
    fn default() -> Self {
        Self { idle_max: Seconds(1800), sessions_max: 64, sessions_per_machine_max: 8 }
    }
}
