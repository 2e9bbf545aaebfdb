//! Which addresses the region may call for its users.
//!
//! Users name endpoints; without a rule they could make the server call services that only it can
//! reach. Public addresses are allowed unless the operator says otherwise; loopback, private,
//! link-local and other special addresses are not, unless the operator lists them. Addresses are
//! judged where the connection is made, after names were resolved, so a name cannot be allowed
//! with one address and called at another.

use super::config::OutboundConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The rules, read from the configuration.
#[derive(Debug, Clone)]
pub struct Reach {
    public: bool,
    networks: Vec<(IpAddr, u8)>,
    hosts: Vec<String>,
}

impl Reach {
    /// The rules of a configuration. `Err`: the entry that is neither a network nor a name.
    pub fn of(config: &OutboundConfig) -> Result<Self, String> {
        let (mut networks, mut hosts) = (Vec::new(), Vec::new());
        for entry in &config.allow {
            match network(entry) {
                Some(network) => networks.push(network),
                None if is_host(entry) => hosts.push(entry.to_ascii_lowercase()),
                None => return Err(entry.clone()),
            }
        }
        Ok(Self { public: config.public, networks, hosts })
    }

    /// Whether this address may be called for this host name.
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let listed = self.networks.iter().any(|network| holds(*network, address));
        listed || self.names(host) || (self.public && is_public(address))
    }

    fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.hosts.iter().any(|entry| match entry.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
            None => host == *entry,
        })
    }
}

fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    name.split('.').all(label) && name.chars().any(|c| c.is_ascii_alphabetic())
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse().ok()?)),
        None => (text.parse().ok()?, None),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some((address, bits))
}

fn holds((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

/// Special networks of version 4 beside those the standard library names.
const SPECIAL_V4: [(Ipv4Addr, u8); 7] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),  // shared by providers
    (Ipv4Addr::new(192, 0, 0, 0), 24),   // protocol assignments
    (Ipv4Addr::new(192, 88, 99, 0), 24), // relays
    (Ipv4Addr::new(198, 18, 0, 0), 15),  // measurements
    (Ipv4Addr::new(224, 0, 0, 0), 4),    // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),    // reserved and broadcast
];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            let special =
                SPECIAL_V4.iter().any(|(net, bits)| holds((IpAddr::V4(*net), *bits), address));
            !(special
                || it.is_private()
                || it.is_loopback()
                || it.is_link_local()
                || it.is_documentation())
        }
        IpAddr::V6(it) => is_public_v6(it),
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only what is given out as global unicast, without the parts that carry version 4 inside.
    let global = segments[0] & 0xe000 == 0x2000;
    let tunnel = segments[0] == 0x2002 || (segments[0] == 0x2001 && segments[1] < 0x0200);
    let documentation = segments[0] == 0x2001 && segments[1] == 0x0db8;
    global && !tunnel && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(public: bool, allow: &[&str]) -> Reach {
        let allow = allow.iter().map(|entry| (*entry).to_owned()).collect();
        Reach::of(&OutboundConfig { public, allow, ..OutboundConfig::default() }).expect("legal")
    }

    #[test]
    fn private_services_are_not_called_by_default() {
        let reach = reach(true, &[]);
        for (address, wanted) in [
            ("8.8.8.8", true),
            ("2606:4700::1", true),
            ("127.0.0.1", false),
            ("127.1.2.3", false),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::", false),
            ("2001::1", false),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(reach.allows("h", address), wanted, "{address}");
        }
    }

    #[test]
    fn the_operator_lists_what_is_called_beside() {
        let reach = reach(false, &["10.1.0.0/16", "::1", "hooks.example.com", "*.inner.example"]);
        let allows = |host: &str, address: &str| reach.allows(host, address.parse().expect("one"));
        assert!(allows("h", "10.1.2.3") && !allows("h", "10.2.2.3"));
        assert!(allows("h", "::1") && !allows("h", "8.8.8.8"));
        assert!(allows("Hooks.Example.com.", "127.0.0.1"));
        assert!(allows("a.inner.example", "127.0.0.1"));
        assert!(!allows("inner.example", "127.0.0.1") && !allows("xinner.example", "127.0.0.1"));
        let wrong =
            OutboundConfig { allow: vec!["10.0.0.0/33".into()], ..OutboundConfig::default() };
        assert_eq!(Reach::of(&wrong).map(drop), Err("10.0.0.0/33".into()));
    }
}
