//! The way of machines to the outside, from the settings and this host's name servers.

use crate::config::NatConfig;
use gristmill_networks::Outside;
use std::{fs, net::Ipv4Addr};
use tracing::warn;

/// Where programs look for name servers.
pub const RESOLVER_FILE: &str = "/etc/resolv.conf";
/// Where systemd's resolver, which listens on loopback only, keeps the servers that it asks.
const BEHIND_LOOPBACK: &str = "/run/systemd/resolve/resolv.conf";

/// What is reached and how names are found there.
pub struct WayOut {
    /// The rules.
    pub outside: Outside,
    /// The machines' [`RESOLVER_FILE`].
    pub resolver_text: String,
}

impl WayOut {
    /// What the settings say, and where they say nothing about name servers, this host's.
    pub fn of(config: &NatConfig) -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let way = Self::with(config, &[read(RESOLVER_FILE), read(BEHIND_LOOPBACK)]);
        if way.outside.resolvers.is_empty() {
            warn!("machines find no names outside: this host asks itself; set local.nat.resolvers");
        }
        way
    }

    fn with(config: &NatConfig, hosts: &[String; 2]) -> Self {
        let found = hosts.iter().map(|text| resolvers(text)).find(|found| !found.is_empty());
        let resolvers = match config.resolvers.as_slice() {
            [] => found.unwrap_or_default(),
            set => set.to_vec(),
        };
        let mut text: String = resolvers.iter().map(|it| format!("nameserver {it}\n")).collect();
        for line in hosts[0].lines().filter(|line| is_about_names(line)) {
            text.push_str(line.trim());
            text.push('\n');
        }
        let NatConfig { transit, allow, deny, .. } = config.clone();
        Self { outside: Outside { transit, allow, deny, resolvers }, resolver_text: text }
    }
}

/// Name servers that another network can ask.
fn resolvers(text: &str) -> Vec<Ipv4Addr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next()).flatten()?;
        address.parse().ok().filter(|address: &Ipv4Addr| !address.is_loopback())
    };
    text.lines().filter_map(server).collect()
}

fn is_about_names(line: &str) -> bool {
    matches!(line.split_whitespace().next(), Some("search" | "domain" | "options"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(config: &NatConfig, own: &str, behind: &str) -> String {
        WayOut::with(config, &[own.to_owned(), behind.to_owned()]).resolver_text
    }

    #[test]
    fn machines_ask_the_hosts_name_servers_unless_others_are_set() {
        let config = NatConfig::default();
        let own = "# made\nnameserver 10.0.0.53\nnameserver fd00::1\nsearch a.example\n";
        assert_eq!(text(&config, own, ""), "nameserver 10.0.0.53\nsearch a.example\n");
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        let behind = "nameserver 192.168.1.1\n";
        assert_eq!(text(&config, stub, behind), "nameserver 192.168.1.1\noptions edns0\n");
        assert_eq!(text(&config, stub, ""), "options edns0\n");
        let config = NatConfig { resolvers: vec![Ipv4Addr::new(9, 9, 9, 9)], ..config };
        assert_eq!(text(&config, own, ""), "nameserver 9.9.9.9\nsearch a.example\n");
    }
}
