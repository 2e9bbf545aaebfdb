//! The ports of a region, bound before anything starts so that a taken port is a clear error.

use crate::{
    config::RegionConfig,
    front::{self, ByHost},
    region::RegionError,
    seats::DoorPorts,
    ssh::{self, SshDoor},
};
use std::{io, net::SocketAddr};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

/// Bound ports.
pub struct Listeners {
    api: TcpListener,
    oss: TcpListener,
    mns: TcpListener,
    front: Vec<TcpListener>,
    front_tls: Vec<TcpListener>,
    tls: Option<TlsAcceptor>,
    ssh: Option<TcpListener>,
}

async fn bind(address: SocketAddr, what: &'static str) -> Result<TcpListener, RegionError> {
    let failed = |source: io::Error| RegionError::Listen { address, what, source };
    TcpListener::bind(address).await.map_err(failed)
}

impl Listeners {
    /// Binds everything the configuration names.
    pub async fn bind(config: &RegionConfig) -> Result<Self, RegionError> {
        let (mut front, mut front_tls) = (Vec::new(), Vec::new());
        for address in &config.front_listen {
            front.push(bind(*address, "the front listener").await?);
        }
        for address in &config.front_tls_listen {
            front_tls.push(bind(*address, "the front listener with TLS").await?);
        }
        let ssh = match config.ssh_listen {
            Some(address) => Some(bind(address, "the SSH door").await?),
            None => None,
        };
        let tls = if front_tls.is_empty() { None } else { Some(certificate(&config.region)?) };
        Ok(Self {
            api: bind(config.listen, "the BatchCompute API").await?,
            oss: bind(config.oss_listen, "the object store").await?,
            mns: bind(config.mns_listen, "the message service").await?,
            front,
            front_tls,
            tls,
            ssh,
        })
    }

    /// Where the API listens; differs from the configuration when that said port 0.
    pub fn api_address(&self) -> SocketAddr {
        self.api.local_addr().expect("a bound socket has an address")
    }

    /// Where the object store listens.
    pub fn oss_address(&self) -> SocketAddr {
        self.oss.local_addr().expect("a bound socket has an address")
    }

    /// Where the message service listens.
    pub fn mns_address(&self) -> SocketAddr {
        self.mns.local_addr().expect("a bound socket has an address")
    }

    /// The same ports inside networks of clusters.
    pub fn doors(&self) -> DoorPorts {
        let port = |listener: &TcpListener| {
            listener.local_addr().expect("a bound socket has an address").port()
        };
        let plain = self.front.iter().map(|listener| (port(listener), None));
        let tls = self.front_tls.iter().map(|listener| (port(listener), self.tls.clone()));
        DoorPorts {
            api: port(&self.api),
            oss: port(&self.oss),
            mns: port(&self.mns),
            fronts: plain.chain(tls).collect(),
        }
    }

    /// Serves all of them until `stopping` changes.
    pub fn serve(
        self,
        tasks: &mut JoinSet<()>,
        services: &ByHost,
        ssh: SshDoor,
        stopping: &watch::Receiver<bool>,
    ) {
        if let Some(listener) = self.ssh {
            tasks.spawn(ssh::serve(listener, ssh, stopping.clone()));
        }
        let all = services.clone().into_service();
        let plain = [(self.api, services.batchcompute.clone()), (self.oss, services.oss.clone())];
        let front = self.front.into_iter().map(|listener| (listener, all.clone()));
        for (listener, service) in plain.into_iter().chain(front) {
            tasks.spawn(front::serve(listener, service, None, stopping.clone()));
        }
        let (mns, service) = (self.mns, services.mns.clone());
        tasks.spawn(front::serve_as_is(mns, service, stopping.clone()));
        for listener in self.front_tls {
            tasks.spawn(front::serve(listener, all.clone(), self.tls.clone(), stopping.clone()));
        }
    }
}

/// For the vendor's host names of this region.
fn certificate(region: &str) -> Result<TlsAcceptor, RegionError> {
    let names = vec![
        format!("batchcompute.{region}.aliyuncs.com"),
        format!("batchcompute-vpc.{region}.aliyuncs.com"),
        format!("oss-{region}.aliyuncs.com"),
        format!("*.oss-{region}.aliyuncs.com"),
        format!("*.mns.{region}.aliyuncs.com"),
        "localhost".to_owned(),
    ];
    front::self_made_certificate(names).map_err(RegionError::Certificate)
}
