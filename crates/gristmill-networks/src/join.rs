//! The agent's side: its machine gets a namespace with one wire to the cluster's bridge.

use crate::{
    NetworkError,
    namespace::{error, ip},
};
use nix::sched::{CloneFlags, setns, unshare};
use std::{
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// A machine's wire.
#[derive(Debug, Clone)]
pub struct Link {
    /// The file of the network's namespace.
    pub network: PathBuf,
    /// What the bridge's end is called: at most 15 bytes, unique in the network.
    pub name: String,
    /// The machine's address.
    pub address: Ipv4Addr,
    /// Of its block.
    pub bits: u8,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
}

/// The namespace that the process came from.
#[derive(Debug)]
pub struct Origin(File);

const OWN: &str = "/proc/self/ns/net";

/// Puts the calling process, which has one thread, into a new namespace with this wire. What it
/// forks from now on is there as well. The way back is [`Origin::return_to`].
pub fn join(link: &Link) -> Result<Origin, NetworkError> {
    let at = |what| error(what, &link.network);
    let network = File::open(&link.network).map_err(at("enter"))?;
    let origin = Origin(open(Path::new(OWN)).map_err(at("leave for"))?);
    let joined = wire(link, &network);
    if joined.is_err() {
        origin.go().map_err(at("leave"))?;
    }
    joined.map(|()| origin)
}

fn wire(link: &Link, network: &File) -> Result<(), NetworkError> {
    let at = |what| error(what, &link.network);
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| at("make a machine's own beside")(e.into()))?;
    let machine = File::open(OWN).map_err(at("make a machine's own beside"))?;
    let Link { name, address, bits, gateway, .. } = link;
    let [a, b, c, d] = address.octets();
    // The same address has the same hardware address: neighbours need not learn a new one when
    // the machine is made anew.
    let hardware = format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    let (process, number) = (std::process::id(), machine.as_raw_fd());
    setns(network, CloneFlags::CLONE_NEWNET).map_err(|e| at("enter")(e.into()))?;
    ip(&format!(
        "link add {name} type veth peer name eth0 address {hardware} \
         netns /proc/{process}/fd/{number}\n\
         link set {name} master br0\nlink set {name} up\n"
    ))?;
    setns(&machine, CloneFlags::CLONE_NEWNET).map_err(|e| at("leave")(e.into()))?;
    ip(&format!(
        "link set lo up\naddr add {address}/{bits} dev eth0\nlink set eth0 up\n\
         route add default via {gateway}\n"
    ))
}

fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

impl Origin {
    /// Leads the calling thread, and what it starts from now on, back.
    pub fn return_to(self) -> io::Result<()> {
        self.go()
    }

    fn go(&self) -> io::Result<()> {
        Ok(setns(&self.0, CloneFlags::CLONE_NEWNET)?)
    }
}
