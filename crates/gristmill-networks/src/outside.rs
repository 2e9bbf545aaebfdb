//! The way to the outside, where the operator wants one.
//!
//! A network gets a second wire, from its namespace to the host, and packets are translated twice:
//! to the wire's own address when they leave the network, so that networks may use the same
//! addresses, and to the host's when they leave the host.
//!
//! ```text
//! namespace of a network                      host
//!   br0 -> rules -> out0 100.127.0.3  =====  grist1 100.127.0.2 -> eth0 -> outside
//! ```
//!
//! Invariants
//! - Rules come before wires: no packet passes unjudged.
//! - What a machine may reach is judged in the namespace of its network. The host's own table says
//!   only that these wires lead neither to the host itself nor to each other, and that nobody calls in.
//! - A wire goes with its network's namespace; the host's table goes with the last wire.
//!
//! Start at [`Outside::connect`].

use crate::{
    NetworkError, RUN,
    namespace::{self, Namespace, ip, nft},
};
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File},
    io,
    net::Ipv4Addr,
    path::Path,
    str::FromStr,
};

/// What machines reach outside. An address is judged by the first of these that holds it: `allow`,
/// `deny`, the special networks (refused), everything else (reached).
#[derive(Debug, Clone)]
pub struct Outside {
    /// Where the addresses of the wires between networks and host come from.
    pub transit: AddressRange,
    /// What is reached although it is private or special.
    pub allow: Vec<AddressRange>,
    /// What is not reached although it is public.
    pub deny: Vec<AddressRange>,
    /// Name servers; machines reach their port 53.
    pub resolvers: Vec<Ipv4Addr>,
}

/// A range of addresses, written `10.1.0.0/16`, or `10.1.0.7` for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct AddressRange {
    first: Ipv4Addr,
    bits: u8,
}

/// A text that is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a range of addresses like 10.1.0.0/16")]
pub struct NotARange(String);

/// Networks with a special meaning, of which the host may have more than the world.
const SPECIAL: [AddressRange; 13] = [
    AddressRange::new([0, 0, 0, 0], 8),
    AddressRange::new([10, 0, 0, 0], 8),
    AddressRange::new([100, 64, 0, 0], 10),
    AddressRange::new([127, 0, 0, 0], 8),
    AddressRange::new([169, 254, 0, 0], 16),
    AddressRange::new([172, 16, 0, 0], 12),
    AddressRange::new([192, 0, 0, 0], 24),
    AddressRange::new([192, 0, 2, 0], 24),
    AddressRange::new([192, 88, 99, 0], 24),
    AddressRange::new([192, 168, 0, 0], 16),
    AddressRange::new([198, 18, 0, 0], 15),
    AddressRange::new([224, 0, 0, 0], 4),
    AddressRange::new([240, 0, 0, 0], 4),
];

/// What the host's end of each wire is called, with a number; host-wide, whatever the region.
const HOST_LINK: &str = "grist";
/// The network's end.
const LINK: &str = "out0";

/// The host's table, shared by all regions of the host. It is replaced whole.
const HOST_TABLE: &str = r#"table ip gristmill {}
delete table ip gristmill
table ip gristmill {
  chain input {
    type filter hook input priority -10; policy accept;
    iifname "grist*" drop
  }
  chain forward {
    type filter hook forward priority -10; policy accept;
    iifname "grist*" oifname "grist*" drop
    oifname "grist*" ct state != { established, related } drop
    iifname "grist*" tcp flags syn tcp option maxseg size set rt mtu
    oifname "grist*" tcp flags syn tcp option maxseg size set rt mtu
  }
  chain translate {
    type nat hook postrouting priority 100; policy accept;
    iifname "grist*" masquerade
  }
}
"#;

impl Outside {
    /// Whether this host can do it: packets are passed on, and rules can be made.
    pub(crate) fn probe(&self) -> Result<(), NetworkError> {
        let forwards = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
        if forwards.trim() != "1" {
            return Err(NetworkError::NoForwarding);
        }
        nft(HOST_TABLE)
    }

    /// Makes sure that the network has its way to the outside, by these rules.
    pub(crate) fn connect(&self, network: &Namespace) -> Result<(), NetworkError> {
        let _alone = alone_on_this_host().map_err(namespace::error("lock", Path::new(RUN)))?;
        nft(HOST_TABLE)?;
        network.inside(|| nft(&self.rules()))??;
        if network.inside(has_way_out)? {
            return Ok(());
        }
        disconnect(network)?; // perhaps half of a wire
        let (number, host, own) = self.free_wire()?;
        let link = format!("{HOST_LINK}{number}");
        let file = network.file().display();
        ip(&format!(
            "link add {link} type veth peer name {LINK} netns {file}\n\
             link set {link} addrgenmode none\naddr add {host}/31 dev {link}\nlink set {link} up\n"
        ))?;
        network.ip(&format!(
            "addr add {own}/31 dev {LINK}\nlink set {LINK} up\nroute add default via {host}\n"
        ))
    }

    /// The first number that no wire of this host has, with the addresses of its two ends.
    fn free_wire(&self) -> Result<(u32, Ipv4Addr, Ipv4Addr), NetworkError> {
        let taken: BTreeSet<String> =
            devices().map_err(namespace::error_of_host("list links of"))?;
        let wires = self.transit.size() / 2;
        let free = (1..wires).find(|number| !taken.contains(&format!("{HOST_LINK}{number}")));
        let number = free.ok_or(NetworkError::NoWire { transit: self.transit })?;
        let host = u32::from(self.transit.first) + 2 * number;
        Ok((number, host.into(), (host + 1).into()))
    }

    /// The table of a network's namespace. It is replaced whole.
    fn rules(&self) -> String {
        let mut judged = String::new();
        let mut judge = |range: &dyn fmt::Display, verdict: &str| {
            judged.push_str(&format!("    ip daddr {range} {verdict}\n"));
        };
        judge(&self.transit, "reject");
        for resolver in &self.resolvers {
            judge(resolver, "meta l4proto { tcp, udp } th dport 53 accept");
        }
        self.allow.iter().for_each(|range| judge(range, "accept"));
        self.deny.iter().for_each(|range| judge(range, "reject"));
        SPECIAL.iter().for_each(|range| judge(range, "reject"));
        format!(
            r#"table ip gristmill {{}}
delete table ip gristmill
table ip gristmill {{
  chain input {{
    type filter hook input priority 0; policy accept;
    iifname "{LINK}" ct state != {{ established, related }} drop
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    iifname "{LINK}" ct state != {{ established, related }} drop
    oifname "{LINK}" goto outside
  }}
  chain outside {{
{judged}  }}
  chain translate {{
    type nat hook postrouting priority 100; policy accept;
    oifname "{LINK}" masquerade
  }}
}}
"#
        )
    }
}

/// Takes a network's way to the outside away, if it has one.
pub(crate) fn disconnect(network: &Namespace) -> Result<(), NetworkError> {
    let cut = || match devices() {
        Ok(devices) if devices.contains(LINK) => ip(&format!("link del {LINK}\n")),
        _ => Ok(()),
    };
    network.inside(cut)?
}

/// Takes the host's table away when no wire is left, of whichever region.
pub(crate) fn tidy_host() {
    let _alone = alone_on_this_host(); // without the directory nobody else is there
    let is_wire = |name: &String| name.starts_with(HOST_LINK);
    if devices().is_ok_and(|devices| !devices.iter().any(is_wire)) {
        // Without `nft` there is no table.
        let _ = nft("table ip gristmill {}\ndelete table ip gristmill\n");
    }
}

/// Regions of one host share its table and the numbers of wires: one at a time makes or removes them.
fn alone_on_this_host() -> io::Result<File> {
    let directory = File::open(RUN)?;
    flock(&directory, FlockOperation::LockExclusive)?;
    Ok(directory)
}

/// The devices of the calling thread's namespace.
fn devices() -> io::Result<BTreeSet<String>> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    Ok(text.lines().filter_map(name).collect())
}

/// Whether the wire is whole: its last step was the default route.
fn has_way_out() -> bool {
    let routes = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    routes.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(LINK) && words.next() == Some("00000000")
    })
}

impl AddressRange {
    const fn new([a, b, c, d]: [u8; 4], bits: u8) -> Self {
        Self { first: Ipv4Addr::new(a, b, c, d), bits }
    }

    /// Where wires between networks and host lie unless the operator says otherwise: a corner of
    /// what is set aside for providers' own networks.
    pub const TRANSIT: Self = Self::new([100, 127, 0, 0], 16);

    fn size(&self) -> u32 {
        u32::try_from(1u64 << (32 - self.bits)).unwrap_or(u32::MAX)
    }
}

impl FromStr for AddressRange {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let refused = || NotARange(text.to_owned());
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| refused())?;
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32).ok_or_else(refused)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        Ok(Self { first: (u32::from(address) & mask).into(), bits })
    }
}

impl TryFrom<String> for AddressRange {
    type Error = NotARange;

    fn try_from(text: String) -> Result<Self, NotARange> {
        text.parse()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().expect("a range")
    }

    #[test]
    fn a_range_is_a_network_or_one_address() {
        for (text, shown) in
            [("10.1.2.3/16", "10.1.0.0/16"), ("8.8.8.8", "8.8.8.8/32"), ("0.0.0.0/0", "0.0.0.0/0")]
        {
            assert_eq!(range(text).to_string(), shown);
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::1", "a.example", "10.0.0.0/"] {
            assert_eq!(text.parse::<AddressRange>(), Err(NotARange(text.into())));
        }
        assert_eq!(range("10.0.0.0/30").size(), 4);
    }

    #[test]
    fn what_the_operator_allows_comes_before_what_is_special() {
        let outside = Outside {
            transit: AddressRange::TRANSIT,
            allow: vec![range("10.1.0.0/16")],
            deny: vec![range("8.8.8.8")],
            resolvers: vec![Ipv4Addr::new(10, 0, 0, 53)],
        };
        let rules = outside.rules();
        let judged: Vec<_> = rules.lines().filter(|line| line.contains("ip daddr")).collect();
        let expected = [
            "    ip daddr 100.127.0.0/16 reject",
            "    ip daddr 10.0.0.53 meta l4proto { tcp, udp } th dport 53 accept",
            "    ip daddr 10.1.0.0/16 accept",
            "    ip daddr 8.8.8.8/32 reject",
        ];
        assert_eq!(judged[..4], expected);
        assert_eq!(judged.len(), 4 + SPECIAL.len());
        assert!(judged[4..].iter().all(|line| line.ends_with(" reject")));
    }
}
