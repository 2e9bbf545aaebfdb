//! Where machines sit: their network, their address, the names of their neighbours.
//!
//! A cluster has a network of its own, that of the VPC made up for it, or shares that of the VPC it
//! names with the other clusters of its account that name it. Networks are made when their first machine is asked for and let
//! go when the last one is gone; the region's services open their doors in each.

use crate::{
    config::LocalConfig,
    front::{self, ByHost},
    way_out::WayOut,
};
use gristmill_core::{Cluster, World};
use gristmill_model::{CidrBlock, event::EnsureWorker, network::Vpc};
use gristmill_networks::{LeaseError, Leases, NetworkError, Networks, Occupant, Outside};
use gristmill_wire::agent::NetworkConfig;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::{sync::watch, task::AbortHandle};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// A machine's place.
pub struct Seat {
    /// Its address.
    pub address: Ipv4Addr,
    /// How it joins its network; `None`: it shares the host's.
    pub network: Option<NetworkConfig>,
    /// The file with its neighbours' names.
    pub hosts: PathBuf,
    /// How it finds names outside; `None`: as the host does.
    pub resolver_text: Option<String>,
}

/// Why a machine has no place.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// No address.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// No network.
    #[error("no network for the cluster: {0}")]
    Network(#[from] NetworkError),
}

/// Why a region has no places for machines.
#[derive(Debug, thiserror::Error)]
pub enum SeatsError {
    /// The books.
    #[error("could not read who has which address")]
    Leases(#[from] LeaseError),
    /// The operator wants a way to the outside, and this host has none.
    #[error("local.nat is enabled, but networks of clusters cannot have a way to the outside")]
    WayOut(#[source] NetworkError),
}

/// All places of a region.
pub struct Seats {
    leases: Leases,
    networks: Option<Networks>,
    /// Held while networks are made and let go: two machines of a new one come at the same time, and
    /// one comes while the last one of before goes.
    making: Mutex<()>,
    doors: Doors,
    resolver_text: Option<String>,
    ports: DoorPorts,
}

/// On which ports the region's services listen in each network.
pub struct DoorPorts {
    /// The API.
    pub api: u16,
    /// The object store.
    pub oss: u16,
    /// The message service.
    pub mns: u16,
    /// All of them, told apart by `Host`; some with TLS.
    pub fronts: Vec<(u16, Option<TlsAcceptor>)>,
}

/// The region's doors in networks.
#[derive(Default)]
struct Doors {
    services: OnceLock<(ByHost, watch::Receiver<bool>)>,
    open: Mutex<BTreeMap<(String, Ipv4Addr), Vec<AbortHandle>>>,
}

/// What machines on the host's own network are told apart by.
const SHARED: &str = "host";

/// The network of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Unique in the region.
    pub network: String,
    /// Where its machines' addresses lie.
    pub block: CidrBlock,
}

impl Wish {
    /// What a cluster's specification says.
    pub fn of(cluster: &Cluster) -> Self {
        let Vpc { id, block, .. } = Vpc::of(cluster.id, &cluster.spec.configs);
        let digest = Sha256::digest(id.as_bytes());
        let short: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        Self { network: format!("vpc-{}-{short}", cluster.account), block }
    }
}

impl Seats {
    /// The places of a region.
    pub fn open(
        data_dir: &Path,
        config: &LocalConfig,
        privileged: bool,
        ports: DoorPorts,
    ) -> Result<Self, SeatsError> {
        let leases = Leases::open(data_dir.join("networks"))?;
        let way_out = config.nat.enabled.then(|| WayOut::of(&config.nat));
        let (outside, resolver_text) = way_out.map(|way| (way.outside, way.resolver_text)).unzip();
        let networks = match (config.networks, privileged) {
            (false, _) => {
                info!("machines share this host's network: networks are switched off");
                None
            }
            (true, false) => {
                info!(
                    "machines share this host's network, with addresses of the loopback range: only root can make others"
                );
                None
            }
            (true, true) => open_networks(&key_of(data_dir), outside)?,
        };
        let (doors, making) = (Doors::default(), Mutex::default());
        let resolver_text = resolver_text.filter(|_| networks.is_some());
        Ok(Self { leases, networks, making, doors, resolver_text, ports })
    }

    /// Whether machines have networks of their own.
    pub fn are_apart(&self) -> bool {
        self.networks.is_some()
    }

    /// What is behind the doors, and when they close. Opens those of machines that lived on.
    /// Blocks.
    pub fn serve(&self, services: ByHost, stopping: watch::Receiver<bool>, world: &World) {
        let _ = self.doors.services.set((services, stopping)); // said once
        self.recover(world);
    }

    /// A place for a machine, the same for the same machine. Blocks.
    pub fn take(&self, request: &EnsureWorker, cluster: &Cluster) -> Result<Seat, SeatError> {
        let wish = Wish::of(cluster);
        let occupant = Occupant {
            worker: request.worker.to_string(),
            cluster: cluster.id.to_string(),
            host_name: request.host_name.clone(),
        };
        let Some(networks) = &self.networks else {
            let address = self.leases.take(SHARED, loopback(), &occupant)?;
            let hosts = self.leases.hosts(SHARED, &occupant.cluster);
            return Ok(Seat { address, network: None, hosts, resolver_text: None });
        };
        let _alone = self.alone();
        let address = self.leases.take(&wish.network, wish.block.addresses(), &occupant)?;
        self.make(networks, &wish)?;
        let tail = occupant.worker.len().saturating_sub(LINK_CHARS);
        let link = format!("v{}{}", &occupant.worker[tail..], request.generation.0 % 1_000);
        let network = NetworkConfig {
            file: networks.file(&wish.network),
            link,
            bits: wish.block.bits(),
            gateway: wish.block.gateway().to_string(),
        };
        let hosts = self.leases.hosts(&wish.network, &occupant.cluster);
        let resolver_text = self.resolver_text.clone();
        Ok(Seat { address, network: Some(network), hosts, resolver_text })
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, networks: &Networks, wish: &Wish) -> Result<(), NetworkError> {
        if networks.ensure(&wish.network, &wish.block)? {
            // Doors of one that was there before lead nowhere.
            self.doors.close(&wish.network);
        }
        self.doors.open(networks, wish, &self.ports)
    }

    /// Makes the networks and opens the doors of machines that lived on without a server, and
    /// frees what nobody uses. Blocks.
    fn recover(&self, world: &World) {
        self.free(world);
        let Some(networks) = &self.networks else { return };
        let _alone = self.alone();
        let mut wanted = BTreeMap::new();
        for cluster in world.all_workers().filter_map(|worker| world.any_cluster(worker.cluster)) {
            let wish = Wish::of(cluster);
            wanted.insert(wish.network.clone(), wish);
        }
        for name in networks.names().into_iter().filter(|name| !wanted.contains_key(name)) {
            networks.close(&name);
        }
        let there: Vec<_> = networks.names();
        for wish in wanted.values().filter(|wish| there.contains(&wish.network)) {
            if let Err(error) = self.make(networks, wish) {
                warn!(network = wish.network, %error, "a network's machines do not reach the region");
            }
        }
    }

    /// Frees the places of machines that the world does not know any more. Blocks.
    pub fn free(&self, world: &World) {
        let is_wanted =
            |worker: &str| worker.parse().is_ok_and(|worker| world.worker(worker).is_some());
        let _alone = self.alone();
        for name in self.leases.keep(is_wanted) {
            self.doors.close(&name);
            if let Some(networks) = &self.networks {
                networks.close(&name);
            }
        }
    }

    /// Lets go of all networks: their machines have ended.
    pub fn close(&self) {
        let Some(networks) = &self.networks else { return };
        networks.names().iter().for_each(|name| self.doors.close(name));
        networks.close_all();
    }
}

/// Networks, if this host can make them. Without them machines share the host's, unless they were to
/// reach no more than the operator allows.
fn open_networks(key: &str, outside: Option<Outside>) -> Result<Option<Networks>, SeatsError> {
    let has_way_out = outside.is_some();
    match Networks::open(key, outside) {
        Ok(networks) => Ok(Some(networks)),
        Err(error) if has_way_out => Err(SeatsError::WayOut(error)),
        Err(error) => {
            warn!(%error, "machines share this host's network: it cannot make others");
            Ok(None)
        }
    }
}

/// How much of a machine's id is in the name of its wire, which has at most 15 bytes.
const LINK_CHARS: usize = 11;

impl Doors {
    fn open(
        &self,
        networks: &Networks,
        wish: &Wish,
        ports: &DoorPorts,
    ) -> Result<(), NetworkError> {
        let Some((services, stopping)) = self.services.get() else { return Ok(()) };
        let gateway = wish.block.gateway();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (wish.network.clone(), gateway);
        if open.contains_key(&key) {
            return Ok(());
        }
        let all = services.clone().into_service();
        let mut doors = vec![
            (ports.api, services.batchcompute.clone(), None),
            (ports.oss, services.oss.clone(), None),
        ];
        doors.extend(ports.fronts.iter().map(|(port, tls)| (*port, all.clone(), tls.clone())));
        let mut handles = Vec::new();
        for (port, service, tls) in doors {
            if let Some(listener) = listen(networks, wish, port)? {
                let serving = front::serve(listener, service, tls, stopping.clone());
                handles.push(tokio::spawn(serving).abort_handle());
            }
        }
        if let Some(listener) = listen(networks, wish, ports.mns)? {
            let serving = front::serve_as_is(listener, services.mns.clone(), stopping.clone());
            handles.push(tokio::spawn(serving).abort_handle());
        }
        open.insert(key, handles);
        Ok(())
    }

    fn close(&self, network: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(name, _), handles| {
            let stays = name != network;
            if !stays {
                handles.iter().for_each(AbortHandle::abort);
            }
            stays
        });
    }
}

/// A door of a network, ready to be served. `None`: it stays closed, which the log says.
fn listen(
    networks: &Networks,
    wish: &Wish,
    port: u16,
) -> Result<Option<tokio::net::TcpListener>, NetworkError> {
    let listener = networks.listen(&wish.network, wish.block.gateway(), port)?;
    let bound =
        listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    Ok(bound.inspect_err(|error| warn!(%error, port, "a door of the region stays closed")).ok())
}

/// Addresses for machines that share the host's network. All of 127/8 is this host.
fn loopback() -> impl Iterator<Item = Ipv4Addr> {
    const FIRST: u32 = 0x7f4d_0002; // 127.77.0.2
    const COUNT: u32 = 0xfff0;
    (FIRST..FIRST + COUNT).map(Ipv4Addr::from)
}

/// A short name of a region, unique on this host: by where its data lies.
fn key_of(data_dir: &Path) -> String {
    let path = std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
