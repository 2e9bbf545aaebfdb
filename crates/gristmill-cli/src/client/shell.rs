//! A shell on a machine, a Gristmill extension: a WebSocket at
//! `GET /clusters/{cluster}/groups/{group}/instances/{machine}/shell`.
//!
//! The request is signed like every other; what travels then stands in `gristmill_wire::api::shell`.

use super::{ANSWER_TIMEOUT, Call, Client, ClientError, refusal};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, WebSocketConfig},
};

/// The key of a WebSocket's handshake: any 16 bytes, since nothing is cached on the way.
const KEY: &str = "Z3Jpc3RtaWxsLXNoZWxsIQ==";

/// The connection of one shell.
pub type ShellSocket = WebSocketStream<reqwest::Upgraded>;

impl Client {
    /// Opens the connection; the caller says `Open` on it.
    pub async fn open_shell(
        &self,
        cluster: &str,
        group: &str,
        machine: &str,
    ) -> Result<ShellSocket, ClientError> {
        let segments = ["clusters", cluster, "groups", group, "instances", machine, "shell"];
        let call = Call::to("GET", &segments);
        let lost = |source| self.unreachable(&call, source);
        // The service's side of HTTP/2 has no upgrades.
        let http = super::http_client(&self.endpoints.batchcompute_url, true);
        let request = self.signed(&http, &call).timeout(ANSWER_TIMEOUT);
        let request = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ]
        .into_iter()
        .fold(request, |request, (name, value)| request.header(name, value));
        let response = request.send().await.map_err(lost)?;
        if response.status() != reqwest::StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(&call, response).await);
        }
        let upgraded = response.upgrade().await.map_err(lost)?;
        let config = WebSocketConfig::default();
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
    }
}
