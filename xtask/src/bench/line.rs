//! One connection to the API that signs, sends and reads with as little of its own as possible, so that
//! what is measured is the server. One request at a time; answers must say their length.

use super::region::{clock, credentials};
use anyhow::{Context, Result, bail, ensure};
use gristmill_cli::client::Credentials;
use gristmill_wire::acs::{RequestParts, signed_headers};
use serde_json::Value;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The most bytes of headers an answer may have.
const HEADERS_MAX: usize = 16 << 10;

/// An open connection.
pub struct Line {
    stream: TcpStream,
    credentials: Credentials,
    host: String,
    buffer: Vec<u8>,
    asked: u64,
}

/// What the server said.
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Line {
    /// Connects.
    pub async fn open(api: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(api).await?;
        stream.set_nodelay(true)?;
        let (credentials, host) = (credentials(), api.to_string());
        Ok(Self { stream, credentials, host, buffer: Vec::new(), asked: 0 })
    }

    /// Sends a signed request and reads the answer. `target`: path and query, encoded.
    pub async fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> Result<Answer> {
        self.asked += 1;
        let nonce = format!("bench-{}", self.asked);
        let parts = RequestParts { method, target, region: "cn-local", nonce: &nonce };
        let headers = signed_headers(&self.credentials, parts, clock());
        let (host, length) = (&self.host, body.len());
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        self.read().await
    }

    /// A GET whose answer is JSON.
    pub async fn get(&mut self, target: &str) -> Result<Value> {
        Ok(self.timed_get(target).await?.0)
    }

    /// The same, and how long the answer took, the reading of its JSON aside.
    pub async fn timed_get(&mut self, target: &str) -> Result<(Value, Duration)> {
        let clock = Instant::now();
        let Answer { status, body } = self.ask("GET", target, b"").await?;
        let took = clock.elapsed();
        ensure!(status == 200, "{target}: {status}: {}", String::from_utf8_lossy(&body));
        let value =
            serde_json::from_slice(&body).with_context(|| format!("{target} is not JSON"))?;
        Ok((value, took))
    }

    /// Submits a job: its id.
    pub async fn create_job(&mut self, description: &[u8]) -> Result<String> {
        let Answer { status, body } = self.ask("POST", "/jobs", description).await?;
        ensure!(status == 201, "not created: {status}: {}", String::from_utf8_lossy(&body));
        let made: Value = serde_json::from_slice(&body)?;
        Ok(made["Id"].as_str().context("a created job has an id")?.to_owned())
    }

    async fn read(&mut self) -> Result<Answer> {
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server hung up");
            }
            let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                ensure!(self.buffer.len() < HEADERS_MAX, "an answer without an end of headers");
                continue;
            };
            let (status, length) = head(&self.buffer[..end])?;
            let whole = end + 4 + length;
            while self.buffer.len() < whole {
                ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "an answer cut short");
            }
            return Ok(Answer { status, body: self.buffer[end + 4..whole].to_vec() });
        }
    }
}

/// Status and length of the body.
fn head(bytes: &[u8]) -> Result<(u16, usize)> {
    let text = std::str::from_utf8(bytes).context("headers are text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let status = status.context("an answer has a status")?.parse()?;
    // 204: there is no body, and nothing says so.
    let length = if status == 204 { Some(0) } else { length };
    Ok((status, length.context("an answer says its length")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_length_are_read_in_any_case() {
        let text = b"HTTP/1.1 201 Created\r\nServer: Gristmill\r\ncontent-LENGTH: 42";
        assert_eq!(head(text).expect("legal"), (201, 42));
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\nServer: Gristmill").expect("legal"), (204, 0));
        assert!(head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked").is_err());
    }
}
