//! The live log of an instance, a Gristmill extension:
//! `GET /jobs/{job}/tasks/{task}/instances/{n}/log?stream=…&offset=…&wait=…`.
//!
//! The answer is raw bytes; `x-gristmill-next-offset` says where to go on and `x-gristmill-eof`
//! whether that is the end. A server waits up to `wait` seconds for new bytes. Other services
//! answer 400 or 404; the caller then reads the log objects instead.

use super::{Call, Client, ClientError};
use bytes::Bytes;

/// Which of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As the endpoint and the log objects name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The bytes from the offset asked for; empty when none came in time.
    pub bytes: Bytes,
    /// Where the next piece begins.
    pub next_offset: u64,
    /// Nothing more will come.
    pub is_end: bool,
}

impl Client {
    /// The bytes of a log from `offset` on, waiting up to `wait_seconds` for the first of them.
    pub async fn read_log(
        &self,
        job: &str,
        task: &str,
        instance: u64,
        stream: Stream,
        offset: u64,
        wait_seconds: u32,
    ) -> Result<LogChunk, ClientError> {
        let call =
            Call::get(&["jobs", job, "tasks", task, "instances", &instance.to_string(), "log"])
                .query("stream", stream.name())
                .query("offset", &offset.to_string())
                .query("wait", &wait_seconds.to_string());
        self.chunk(&call, offset).await
    }

    /// What a machine's bootstrap command has said, from `offset` on, a Gristmill extension:
    /// `GET /clusters/{cluster}/groups/{group}/instances/{machine}/bootstrap-log?offset=…`.
    pub async fn read_bootstrap_log(
        &self,
        cluster: &str,
        group: &str,
        machine: &str,
        offset: u64,
    ) -> Result<LogChunk, ClientError> {
        let place = ["clusters", cluster, "groups", group, "instances", machine, "bootstrap-log"];
        self.chunk(&Call::get(&place).query("offset", &offset.to_string()), offset).await
    }

    async fn chunk(&self, call: &Call, offset: u64) -> Result<LogChunk, ClientError> {
        let response = self.open(call).await?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let next = header("x-gristmill-next-offset").and_then(|text| text.parse().ok());
        let is_end = header("x-gristmill-eof").as_deref() == Some("true");
        let bytes = response.bytes().await.map_err(|source| self.unreachable(call, source))?;
        let next_offset = next.unwrap_or(offset + bytes.len() as u64);
        Ok(LogChunk { bytes, next_offset, is_end })
    }
}
