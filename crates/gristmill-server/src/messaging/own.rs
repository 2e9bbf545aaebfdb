//! Which endpoints are this region's own message service.

use gristmill_model::AccountId;
use std::net::{IpAddr, SocketAddr};

/// Recognises endpoints of this region.
#[derive(Debug, Clone)]
pub struct OwnEndpoints {
    region: String,
    /// Where the service listens.
    listen: SocketAddr,
    /// Further ports that lead to it by host name.
    hosts: Vec<String>,
}

impl OwnEndpoints {
    /// The endpoints of a service that listens here and is known under these names.
    pub fn new(region: &str, listen: SocketAddr, hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { region: region.to_owned(), listen, hosts }
    }

    /// The account whose topics an endpoint has, when it is this region's own: the one that owns
    /// the job. `Err`: it is that of somebody else. `None`: it is another service.
    pub fn account(&self, endpoint: &str, owner: AccountId) -> Option<Result<AccountId, String>> {
        if endpoint.is_empty() {
            return Some(Ok(owner));
        }
        let rest =
            endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"))?;
        let authority = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let (host, port) = split(&authority);
        if let Some((label, rest)) = host.split_once(".mns.")
            && self.is_ours(rest)
        {
            let number = label.parse::<u64>().ok();
            return Some(match number.is_none_or(|number| number == owner.0) {
                true => Ok(owner),
                false => Err(format!("the topics of `{endpoint}` belong to another account")),
            });
        }
        let named = self.hosts.iter().any(|it| *it == authority || it == host);
        (named || self.is_here(host, port)).then_some(Ok(owner))
    }

    /// `cn-x.aliyuncs.com`, also with `-internal` and `-vpc`.
    fn is_ours(&self, rest: &str) -> bool {
        let Some(place) = rest.strip_suffix(".aliyuncs.com") else { return false };
        let place = place.strip_suffix("-vpc").unwrap_or(place);
        let place = place.strip_suffix("-internal").unwrap_or(place);
        place == self.region
    }

    fn is_here(&self, host: &str, port: Option<u16>) -> bool {
        if port != Some(self.listen.port()) {
            return false;
        }
        let host = host.trim_matches(['[', ']']);
        let here = self.listen.ip();
        match host.parse::<IpAddr>() {
            Ok(address) => address == here || (address.is_loopback() && here.is_unspecified()),
            Err(_) => host == "localhost" && (here.is_loopback() || here.is_unspecified()),
        }
    }
}

fn split(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, Some(80)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_endpoints_are_recognised_by_host_and_port() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8082));
        let own = OwnEndpoints::new("cn-local", listen, &["mns.example.com".to_owned()]);
        let us = || Some(Ok(AccountId(7)));
        for (endpoint, wanted) in [
            ("", us()),
            ("http://127.0.0.1:8082", us()),
            ("http://127.0.0.1:8082/", us()),
            ("http://localhost:8082/", us()),
            ("http://mns.example.com/", us()),
            ("https://MNS.example.com:8443", us()),
            ("http://7.mns.cn-local.aliyuncs.com/", us()),
            ("http://xxx.mns.cn-local-internal-vpc.aliyuncs.com/", us()),
            ("http://127.0.0.1:8083", None),
            ("http://127.0.0.2:8082", None),
            ("http://7.mns.cn-other.aliyuncs.com/", None),
            ("ftp://127.0.0.1:8082", None),
        ] {
            assert_eq!(own.account(endpoint, AccountId(7)), wanted, "{endpoint}");
        }
        let foreign = own.account("http://8.mns.cn-local.aliyuncs.com/", AccountId(7));
        assert!(matches!(foreign, Some(Err(_))));
    }
}
