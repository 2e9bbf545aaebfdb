//! Networks of clusters: addresses, names, and, as root, a wire of their own.
//!
//! As root each network is a namespace with a bridge in it. Nothing leads from there to the host:
//! a machine reaches the other machines on the bridge and the doors that the region opens on the
//! bridge's own address, the gateway ([`Networks::listen`]), and that is all. Networks of different
//! clusters may use the same addresses, because they never meet. Where the operator wants it, each has a
//! second wire, to the host, and rules about what is reached through it ([`Outside`]).
//!
//! ```text
//! namespace of a network            namespace of a machine
//!   br0  192.168.0.1  <-- doors
//!    |- v…  ======================== eth0 192.168.0.2
//!    |- v…  ======================== eth0 192.168.0.3 (another machine)
//! ```
//!
//! The namespace of a machine lives as long as its agent's processes and takes its wire along; that
//! of a network hangs on a file below `/run/gristmill` until nobody sits in it.
//!
//! Elsewhere machines share the network of the host: [`Leases`] gives each an address of the
//! loopback range, so that machines can be told apart and found by name.
//!
//! Start at [`Networks`] (the server) and [`join`] (the agent).

mod join;
mod leases;
mod namespace;
mod outside;

pub use join::{Link, Origin, join};
pub use leases::{LeaseError, Leases, Occupant};
pub use outside::{AddressRange, NotARange, Outside};

use gristmill_model::CidrBlock;
use namespace::Namespace;
use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::{Path, PathBuf},
    process::ExitStatus,
};

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A namespace or its file.
    #[error("could not {what} `{}`", path.display())]
    Namespace {
        /// What was tried.
        what: &'static str,
        /// The namespace's file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program that sets links or rules up.
    #[error("could not run `{program}`")]
    Start {
        /// Which.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The same, later.
    #[error("`{program}` ended with {status}: {said}")]
    Ended {
        /// Which.
        program: &'static str,
        /// How.
        status: ExitStatus,
        /// The last line of what it said.
        said: String,
    },
    /// There is no way to the outside through this host.
    #[error(
        "this host does not pass packets on: set net.ipv4.ip_forward to 1 (`sysctl -w net.ipv4.ip_forward=1`)"
    )]
    NoForwarding,
    /// No address is left for one more wire to the host.
    #[error("no address is left in `{transit}` for a way to the outside")]
    NoWire {
        /// Where they come from.
        transit: AddressRange,
    },
}

/// The networks of a region, as namespaces of this host.
#[derive(Debug)]
pub struct Networks {
    directory: PathBuf,
    /// The way to the outside, if they have one.
    outside: Option<Outside>,
}

/// Namespaces of all regions of this host hang here.
const RUN: &str = "/run/gristmill";

impl Networks {
    /// The networks of the region with this key: a short name, unique on this host. Fails where
    /// namespaces with bridges, or their way to the outside, cannot be made, which it tries.
    pub fn open(key: &str, outside: Option<Outside>) -> Result<Self, NetworkError> {
        let networks = Self { directory: Path::new(RUN).join(key), outside };
        let failed = |source| namespace::error("make", &networks.directory)(source);
        std::fs::create_dir_all(&networks.directory).map_err(failed)?;
        const TRIAL: &str = "trial";
        networks.close(TRIAL);
        networks.outside.as_ref().map_or(Ok(()), Outside::probe)?;
        let tried = networks.ensure(TRIAL, &CidrBlock::DEFAULT);
        networks.close(TRIAL);
        tried.map(|_| networks)
    }

    fn namespace(&self, name: &str) -> Namespace {
        Namespace::at(self.directory.join(name))
    }

    /// Makes sure that the network is there and has the gateway of this block. Whether it is new.
    pub fn ensure(&self, name: &str, block: &CidrBlock) -> Result<bool, NetworkError> {
        let namespace = self.namespace(name);
        let is_new = !namespace.is_whole();
        if is_new {
            // Perhaps half of it: whoever made it was killed. Nobody can be in it then.
            namespace.remove();
            namespace.make()?;
            namespace.ip("link set lo up\nlink add br0 type bridge\nlink set br0 up\n")?;
            namespace.forward()?;
        }
        let gateway = format!("addr replace {}/{} dev br0\n", block.gateway(), block.bits());
        namespace.ip(&gateway)?;
        match &self.outside {
            Some(outside) => outside.connect(&namespace)?,
            None => outside::disconnect(&namespace)?,
        }
        Ok(is_new)
    }

    /// The file that an agent joins a network by.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A door in a network: a socket that only its machines reach.
    pub fn listen(
        &self,
        name: &str,
        gateway: Ipv4Addr,
        port: u16,
    ) -> Result<TcpListener, NetworkError> {
        let namespace = self.namespace(name);
        let address = SocketAddrV4::new(gateway, port);
        let bound = namespace.inside(|| TcpListener::bind(address))?;
        bound.map_err(namespace::error("listen in", &self.file(name)))
    }

    /// Lets go of a network. Machines that are still in it keep their wires until they end, but not
    /// the way to the outside.
    pub fn close(&self, name: &str) {
        let namespace = self.namespace(name);
        if namespace.is_there()
            && let Err(error) = outside::disconnect(&namespace)
        {
            tracing::warn!(%error, network = name, "a way to the outside ends with its machines");
        }
        namespace.remove();
    }

    /// Every network there is.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Lets go of all networks and of the region's directory.
    pub fn close_all(&self) {
        self.names().iter().for_each(|name| self.close(name));
        outside::tidy_host();
        // The directory above is shared with other regions; it stays while one of them is there.
        let _ = std::fs::remove_dir(&self.directory);
        let _ = std::fs::remove_dir(RUN);
    }
}
