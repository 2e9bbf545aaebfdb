//! Opens the stream to the server.

use gristmill_wire::agent::{CONNECT_PATH, FromAgent, ToAgent};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

/// How long the server may take to answer a call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the connection is probed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How many messages may wait for the connection.
const OUTBOX_MAX: usize = 64;

/// The largest message of the server. A task is one message: its description is at most 64 MiB of
/// JSON, of which writable mounts are told twice, and the cluster's environment comes on top. With
/// the library's 4 MiB a task with many mappings would break the line whenever it is told.
const MESSAGE_BYTES_MAX: usize = 192 << 20;

/// An open stream in both directions.
pub struct Dialled {
    /// What the agent says.
    pub say: mpsc::Sender<FromAgent>,
    /// What the server says.
    pub hear: Streaming<ToAgent>,
}

/// Calls the server; `first` is said at once.
pub async fn dial(server: &str, first: FromAgent) -> anyhow::Result<Dialled> {
    let channel = Endpoint::from_shared(server.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(CONNECT_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect()
        .await?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    grpc.ready().await?;
    let (say, said) = mpsc::channel(OUTBOX_MAX);
    say.send(first).await?;
    let codec: ProstCodec<FromAgent, ToAgent> = ProstCodec::default();
    let request = tonic::Request::new(ReceiverStream::new(said));
    let path = http::uri::PathAndQuery::from_static(CONNECT_PATH);
    let response = grpc.streaming(request, path, codec).await?;
    Ok(Dialled { say, hear: response.into_inner() })
}
