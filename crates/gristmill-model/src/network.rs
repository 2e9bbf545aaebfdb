//! Address blocks of clusters (guide, chapter on cluster networks; `reference/api.md` 13.2).

use crate::{ClusterId, spec::Configs};
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// Where a cluster lies: the records that the service keeps of it (guide, chapter on cluster networks:
/// without a `VpcId` the service makes a VPC, and in each VPC a switch for the cluster).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// `vpc-…`: the one that was named, or one made up of the cluster's id, which others may name.
    pub id: String,
    /// `vsw-…`: the cluster's own part of it.
    pub switch: String,
    /// The addresses of that part.
    pub block: CidrBlock,
}

impl Vpc {
    /// That of a cluster.
    pub fn of(cluster: ClusterId, configs: &Configs) -> Self {
        let vpc = configs.networks.as_ref().and_then(|networks| networks.get("VPC"));
        let text = |name: &str| vpc.and_then(|vpc| vpc.get(name)).and_then(|it| it.as_str());
        let cluster = cluster.to_string();
        let own = cluster.trim_start_matches("cls-");
        // A block of an earlier version that would be refused now is not in force.
        let block = text("CidrBlock").and_then(|block| block.parse().ok());
        Self {
            id: text("VpcId")
                .filter(|id| !id.is_empty())
                .map_or_else(|| format!("vpc-{own}"), str::to_owned),
            switch: format!("vsw-{own}"),
            block: block.unwrap_or(CidrBlock::DEFAULT),
        }
    }
}

/// A block of private addresses that a cluster may use: it lies inside one of the guide's three
/// ranges and is no smaller than /24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CidrBlock {
    first: Ipv4Addr,
    bits: u8,
}

/// The ranges in which a block may lie.
const RANGES: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(10, 0, 0, 0), 12),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];
/// The smallest block.
const BITS_MAX: u8 = 24;

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not of the form.
    #[error("must be a.b.c.d/n")]
    Form,
    /// Its address is not the first of a block of that size.
    #[error("must begin with the first address of the block")]
    HostBits,
    /// Not where the guide allows it.
    #[error(
        "must lie in 10.0.0.0/12, 172.16.0.0/12 or 192.168.0.0/16 and have at most 24 network bits"
    )]
    Range,
}

impl CidrBlock {
    /// The block of a cluster that names none, as the official client sends it.
    pub const DEFAULT: Self = Self { first: Ipv4Addr::new(192, 168, 0, 0), bits: 16 };

    /// How many bits all its addresses have in common.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The first address for machines is the cluster's gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        self.nth(1)
    }

    /// The addresses for machines: without that of the block, the gateway, and the broadcast.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let block = *self;
        let size = 1u32 << (32 - block.bits);
        (2..size - 1).map(move |number| block.nth(number))
    }

    fn nth(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + number)
    }
}

fn is_inside(address: Ipv4Addr, (first, bits): (Ipv4Addr, u8)) -> bool {
    let mask = u32::MAX << (32 - bits);
    u32::from(address) & mask == u32::from(first)
}

impl FromStr for CidrBlock {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = text.split_once('/').ok_or(CidrError::Form)?;
        let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let first: Ipv4Addr = address.parse().map_err(|_| CidrError::Form)?;
        let bits: u8 = bits.parse().map_err(|_| CidrError::Form)?;
        if !is_number || bits > 32 {
            return Err(CidrError::Form);
        }
        let range = RANGES.into_iter().find(|range| is_inside(first, *range));
        let allowed = range.is_some_and(|(_, least)| (least..=BITS_MAX).contains(&bits));
        if !allowed {
            return Err(CidrError::Range);
        }
        if !is_inside(first, (first, bits)) {
            return Err(CidrError::HostBits);
        }
        Ok(Self { first, bits })
    }
}

impl fmt::Display for CidrBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl TryFrom<String> for CidrBlock {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<CidrBlock> for String {
    fn from(block: CidrBlock) -> Self {
        block.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_without_a_vpc_has_one_made_up() {
        let cluster = ClusterId(7);
        let of = |vpc: serde_json::Value| {
            let networks = Some(serde_json::json!({ "VPC": vpc }));
            Vpc::of(cluster, &Configs { networks, ..Configs::default() })
        };
        let made_up = Vpc::of(cluster, &Configs::default());
        assert_eq!(made_up.id, "vpc-0000000000000000000007");
        assert_eq!(made_up.switch, "vsw-0000000000000000000007");
        assert_eq!(made_up.block, CidrBlock::DEFAULT);
        let named = of(serde_json::json!({"CidrBlock": "10.1.0.0/24", "VpcId": "vpc-xxyyzz"}));
        assert_eq!(
            (named.id.as_str(), named.block.to_string().as_str()),
            ("vpc-xxyyzz", "10.1.0.0/24")
        );
        assert_eq!(named.switch, made_up.switch);
    }

    #[test]
    fn blocks_lie_in_the_ranges_of_the_guide() {
        use CidrError::{Form, HostBits, Range};
        let cases = [
            ("192.168.0.0/16", None),
            ("192.168.7.0/24", None),
            ("10.0.0.0/12", None),
            ("10.15.255.0/24", None),
            ("172.16.0.0/12", None),
            ("172.31.0.0/20", None),
            ("192.168.0.0/15", Some(Range)),
            ("192.168.0.0/25", Some(Range)),
            ("10.0.0.0/8", Some(Range)),
            ("10.16.0.0/16", Some(Range)),
            ("172.32.0.0/16", Some(Range)),
            ("100.64.0.0/16", Some(Range)),
            ("192.168.1.0/16", Some(HostBits)),
            ("192.168.0.0", Some(Form)),
            ("192.168.0.0/", Some(Form)),
            ("192.168.0.0/+16", Some(Form)),
            ("192.168.0/16", Some(Form)),
            ("192.168.0.0/33", Some(Form)),
            ("::/16", Some(Form)),
        ];
        for (text, wrong) in cases {
            assert_eq!(text.parse::<CidrBlock>().err(), wrong, "{text}");
        }
        assert_eq!("192.168.0.0/16".parse(), Ok(CidrBlock::DEFAULT));
    }

    #[test]
    fn machines_get_what_is_left_beside_gateway_and_broadcast() {
        let block: CidrBlock = "10.1.2.0/24".parse().expect("legal");
        let all: Vec<_> = block.addresses().collect();
        assert_eq!(block.gateway(), Ipv4Addr::new(10, 1, 2, 1));
        assert_eq!(all.len(), 253);
        assert_eq!(all.first(), Some(&Ipv4Addr::new(10, 1, 2, 2)));
        assert_eq!(all.last(), Some(&Ipv4Addr::new(10, 1, 2, 254)));
    }
}
