//! Who has which address, and the names by which machines of a cluster find each other.
//!
//! A lease is a file, made before anybody hears of the address: `NETWORK/ADDRESS`, holding the
//! occupant. It stays while its machine is wanted, so a machine that is made anew keeps its
//! address. Names of a cluster stand in `NETWORK/hosts/CLUSTER`, in the form of `/etc/hosts`;
//! the file is replaced whole.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupant {
    /// The machine's id.
    pub worker: String,
    /// Its cluster's id.
    pub cluster: String,
    /// Its host name.
    pub host_name: String,
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// All are taken.
    #[error("the cluster's network has no free address")]
    Full,
    /// The books.
    #[error("could not {what} `{}`", path.display())]
    Books {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

type Networks = BTreeMap<String, BTreeMap<Ipv4Addr, Occupant>>;

/// The leases of a region.
#[derive(Debug)]
pub struct Leases {
    directory: PathBuf,
    /// What the files say. Held while they are written.
    networks: Mutex<Networks>,
}

const HOSTS: &str = "hosts";

impl Leases {
    /// Reads the leases below this directory; one that cannot be read is given up.
    pub fn open(directory: PathBuf) -> Result<Self, LeaseError> {
        fs::create_dir_all(&directory).map_err(books("make", &directory))?;
        let mut networks = Networks::new();
        for (name, path) in entries(&directory)? {
            let leases = networks.entry(name).or_default();
            for (address, lease) in entries(&path)? {
                let Ok(address) = address.parse::<Ipv4Addr>() else { continue };
                let text = fs::read(&lease).map_err(books("read", &lease))?;
                if let Ok(occupant) = serde_json::from_slice(&text) {
                    leases.insert(address, occupant);
                }
            }
        }
        Ok(Self { directory, networks: Mutex::new(networks) })
    }

    fn networks(&self) -> MutexGuard<'_, Networks> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a machine: the one it has, or the first of these that is free.
    pub fn take(
        &self,
        network: &str,
        mut addresses: impl Iterator<Item = Ipv4Addr>,
        occupant: &Occupant,
    ) -> Result<Ipv4Addr, LeaseError> {
        let mut networks = self.networks();
        let leases = networks.entry(network.to_owned()).or_default();
        if let Some((address, _)) = leases.iter().find(|(_, known)| known.worker == occupant.worker)
        {
            return Ok(*address);
        }
        let free = addresses.find(|address| !leases.contains_key(address));
        let address = free.ok_or(LeaseError::Full)?;
        let directory = self.directory.join(network);
        fs::create_dir_all(directory.join(HOSTS)).map_err(books("make", &directory))?;
        let text = serde_json::to_vec(occupant).expect("an occupant is plain data");
        replace(&directory.join(address.to_string()), &text)?;
        leases.insert(address, occupant.clone());
        self.write_hosts(network, leases, &occupant.cluster)?;
        Ok(address)
    }

    /// The file with the names of a cluster.
    pub fn hosts(&self, network: &str, cluster: &str) -> PathBuf {
        self.directory.join(network).join(HOSTS).join(cluster)
    }

    fn write_hosts(
        &self,
        network: &str,
        leases: &BTreeMap<Ipv4Addr, Occupant>,
        cluster: &str,
    ) -> Result<(), LeaseError> {
        let of_cluster = leases.iter().filter(|(_, occupant)| occupant.cluster == cluster);
        let text: String =
            of_cluster.map(|(address, at)| format!("{address}\t{}\n", at.host_name)).collect();
        let file = self.hosts(network, cluster);
        if text.is_empty() {
            let _ = fs::remove_file(&file); // nobody reads it any more
            return Ok(());
        }
        replace(&file, text.as_bytes())
    }

    /// Frees the addresses of machines that are not wanted any more, and answers which networks
    /// nobody is left in.
    pub fn keep(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut networks = self.networks();
        let mut emptied = Vec::new();
        for (name, leases) in networks.iter_mut() {
            let gone: Vec<_> = leases
                .iter()
                .filter(|(_, occupant)| !is_wanted(&occupant.worker))
                .map(|(address, occupant)| (*address, occupant.cluster.clone()))
                .collect();
            for (address, cluster) in gone {
                leases.remove(&address);
                let file = self.directory.join(name).join(address.to_string());
                let freed = fs::remove_file(&file).map_err(books("remove", &file));
                if let Err(error) = freed.and_then(|()| self.write_hosts(name, leases, &cluster)) {
                    tracing::warn!(%error, "a lease is freed once more at the next start");
                }
            }
            if leases.is_empty() {
                emptied.push(name.clone());
            }
        }
        for name in &emptied {
            networks.remove(name);
            let _ = fs::remove_dir_all(self.directory.join(name)); // found empty at the next start
        }
        emptied
    }
}

fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, LeaseError> {
    let read = || -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry.path()));
            }
        }
        Ok(found)
    };
    read().map_err(books("list", directory))
}

/// Replaces a file whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), LeaseError> {
    let next = path.with_extension("next");
    let write = || {
        fs::write(&next, bytes)?;
        fs::rename(&next, path)
    };
    write().map_err(books("write", path))
}

fn books(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LeaseError + use<> {
    let path = path.to_owned();
    move |source| LeaseError::Books { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupant(worker: &str, cluster: &str) -> Occupant {
        let text = |text: &str| text.to_owned();
        Occupant {
            worker: text(worker),
            cluster: text(cluster),
            host_name: format!("host-{worker}"),
        }
    }

    fn addresses() -> impl Iterator<Item = Ipv4Addr> {
        (2..4).map(|last| Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn a_machine_keeps_its_address_and_names_are_those_of_its_cluster() {
        let directory = tempfile::tempdir().expect("a directory");
        let leases = Leases::open(directory.path().into()).expect("opened");
        let take = |leases: &Leases, worker, cluster| {
            leases.take("net", addresses(), &occupant(worker, cluster))
        };
        let first = take(&leases, "a", "c1").expect("free");
        assert_eq!(take(&leases, "b", "c2").expect("free"), Ipv4Addr::new(10, 0, 0, 3));
        assert!(matches!(take(&leases, "c", "c1"), Err(LeaseError::Full)));
        let hosts = |cluster| fs::read_to_string(leases.hosts("net", cluster)).expect("there");
        assert_eq!(hosts("c1"), "10.0.0.2\thost-a\n");
        assert_eq!(hosts("c2"), "10.0.0.3\thost-b\n");

        let again = Leases::open(directory.path().into()).expect("opened");
        assert_eq!(take(&again, "a", "c1").expect("its own"), first);
        assert_eq!(again.keep(|worker| worker == "a"), Vec::<String>::new());
        assert_eq!(take(&again, "c", "c1").expect("freed"), Ipv4Addr::new(10, 0, 0, 3));
        let hosts = fs::read_to_string(again.hosts("net", "c1")).expect("there");
        assert_eq!(hosts, "10.0.0.2\thost-a\n10.0.0.3\thost-c\n");
        assert_eq!(again.keep(|_| false), ["net"]);
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);
    }
}
