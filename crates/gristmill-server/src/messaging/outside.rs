//! Calls to addresses that users named: one POST, an answer's status, nothing else.
//!
//! Names are resolved here and only allowed addresses are handed to the connection
//! ([`Reach`]); redirects are not followed, proxies of the environment are not used, bodies of
//! answers are not read.

use super::reach::Reach;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{collections::BTreeMap, error::Error, net::SocketAddr, sync::Arc, time::Duration};

/// How long making a connection may take.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Connections kept for one host.
const IDLE_MAX: usize = 8;

/// A client that calls only what it may.
#[derive(Clone)]
pub struct Outside {
    client: reqwest::Client,
    reach: Arc<Reach>,
}

/// Why a call did not end with a 2xx.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The address is no URL of ours.
    #[error("`{url}` is not an http or https address")]
    NoUrl {
        /// As named.
        url: String,
    },
    /// The rules do not allow it.
    #[error("calls to `{host}` are not allowed here (`outbound.allow`)")]
    Forbidden {
        /// The host.
        host: String,
    },
    /// It answered something else.
    #[error("`{host}` answered {status}")]
    Status {
        /// The host.
        host: String,
        /// What.
        status: u16,
    },
    /// It did not answer.
    #[error("`{host}` did not answer: {reason}")]
    Silent {
        /// The host.
        host: String,
        /// Why, as far as it is known.
        reason: String,
        /// Whether nobody was reached, or not in time: another call would fare no better.
        away: bool,
    },
}

impl OutsideError {
    /// Whether the whole host seems to be away.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Silent { away: true, .. })
    }
}

/// Names to allowed addresses only.
struct Guard(Arc<Reach>);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| reach.allows(&host, address.ip())).collect();
            match allowed.is_empty() {
                true => Err(Box::new(NotAllowed) as Box<dyn Error + Send + Sync>),
                false => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the name leads to no address that may be called")]
struct NotAllowed;

impl Outside {
    /// A client within these rules.
    pub fn new(reach: Reach) -> Self {
        // Another part of the process may have chosen the same provider before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let reach = Arc::new(reach);
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(Guard(reach.clone())))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WAIT_MAX)
            .pool_max_idle_per_host(IDLE_MAX)
            .build()
            .expect("a client without settings of the environment can be made");
        Self { client, reach }
    }

    /// Sends a POST; a 2xx is good.
    pub async fn post(
        &self,
        url: &str,
        headers: &BTreeMap<String, String>,
        body: String,
        timeout: Duration,
    ) -> Result<(), OutsideError> {
        let no_url = || OutsideError::NoUrl { url: url.chars().take(200).collect() };
        let target = reqwest::Url::parse(url).map_err(|_| no_url())?;
        if !matches!(target.scheme(), "http" | "https") {
            return Err(no_url());
        }
        let host = target.host_str().ok_or_else(no_url)?.to_owned();
        // Addresses written as numbers are not resolved, so they are judged here.
        let literal = host.trim_matches(['[', ']']).parse();
        if literal.is_ok_and(|address| !self.reach.allows(&host, address)) {
            return Err(OutsideError::Forbidden { host });
        }
        let mut request = self.client.post(target).timeout(timeout).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(OutsideError::Status { host, status: answer.status().as_u16() }),
            Err(error) => Err(silent(host, &error)),
        }
    }
}

fn silent(host: String, error: &reqwest::Error) -> OutsideError {
    let mut cause: Option<&dyn Error> = Some(error);
    let mut reason = String::new();
    while let Some(current) = cause {
        if current.is::<NotAllowed>() {
            return OutsideError::Forbidden { host };
        }
        // The outermost text repeats the address with its query.
        reason = current.to_string();
        cause = current.source();
    }
    OutsideError::Silent { host, reason, away: error.is_connect() || error.is_timeout() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::config::OutboundConfig;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    fn outside(allow: &[&str]) -> Outside {
        let allow = allow.iter().map(|entry| (*entry).to_owned()).collect();
        let config = OutboundConfig { allow, ..OutboundConfig::default() };
        Outside::new(Reach::of(&config).expect("legal"))
    }

    async fn post(outside: &Outside, url: &str) -> Result<(), OutsideError> {
        outside.post(url, &BTreeMap::new(), "body".into(), Duration::from_secs(10)).await
    }

    /// Answers every connection once with this.
    async fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 2048];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn private_services_are_refused_by_number_and_by_name() {
        let port = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        let strict = outside(&[]);
        for host in
            ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
        {
            let refused = post(&strict, &format!("http://{host}:{port}/")).await;
            assert!(matches!(refused, Err(OutsideError::Forbidden { .. })), "{host}: {refused:?}");
        }
        let by_name = outside(&["localhost"]);
        post(&by_name, &format!("http://localhost:{port}/")).await.expect("allowed");
        let by_number = post(&by_name, &format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(by_number, Err(OutsideError::Forbidden { .. })));
        let by_network = outside(&["127.0.0.0/8"]);
        post(&by_network, &format!("http://127.0.0.1:{port}/")).await.expect("allowed");
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let port = server("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n").await;
        let refused = post(&outside(&["127.0.0.1"]), &format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(refused, Err(OutsideError::Status { status: 302, .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn who_is_not_there_is_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let refused = post(&outside(&["127.0.0.1"]), &format!("http://127.0.0.1:{port}/")).await;
        assert!(refused.expect_err("nobody").is_away());
    }
}
