//! A store that is somewhere else and speaks the OSS protocol over HTTP.
//!
//! Signing is injected ([`Signer`]): the schemes live in `wire`, which this room may not use. An
//! adapter is a few lines:
//!
//! ```ignore
//! impl Signer for Key {
//!     fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)> {
//!         let date = http_date(now());
//!         let authorization = sign_v1(&as_wire_request(request, &date), self.pair());
//!         vec![("Date".into(), date), ("Authorization".into(), authorization)]
//!     }
//! }
//! ```
//!
//! Retrying is the caller's: a body can be sent once only. Buckets are addressed in the path when
//! the endpoint is an address or `localhost`, else as the first label of the host.
//!
//! Invariants
//! - A body that is shorter than announced is an error at its end, never a short success.
//! - Proxies of the environment are not used: cluster traffic goes where the endpoint says.

mod answers;

use crate::{
    ByteStream, GetObject, GetOptions, ListOptions, Listing, ObjectError, ObjectInfo, ObjectStore,
    PartRef, PutOptions,
};
use answers::{failure, info_of};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Body, Client, Method, Response, StatusCode, Url};
use std::{fmt::Write, io, sync::Arc, time::Duration};

/// What a query value and a key may hold unescaped.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, and the slashes of a key.
const KEY: &AsciiSet = &PLAIN.remove(b'/');
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections that are kept for the next request.
const IDLE_MAX: usize = 64;

/// A request as it is signed: before the headers that signing adds.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// Verb.
    pub method: &'a str,
    /// Bucket; empty for the service itself.
    pub bucket: &'a str,
    /// Key; empty for the bucket itself.
    pub key: &'a str,
    /// Names and decoded values.
    pub query: &'a [(&'a str, String)],
    /// Headers that are part of signatures, lower-case names.
    pub headers: &'a [(String, String)],
}

/// Makes the headers that prove who asks: a date and an authorization, and a token where needed.
pub trait Signer: Send + Sync + 'static {
    /// The headers to add.
    fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)>;
}

/// An endpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL with a host.
    #[error("`{text}` is not the URL of an object store")]
    Url {
        /// As given.
        text: String,
    },
    /// The HTTP client cannot be made.
    #[error("could not make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A remote store. Cheap to clone.
#[derive(Clone)]
pub struct RemoteStore {
    client: Client,
    endpoint: Url,
    path_style: bool,
    signer: Arc<dyn Signer>,
}

/// A bucket of a remote store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteBucket {
    /// Its name.
    pub name: String,
    /// When it was made, as the store wrote it.
    pub created: String,
}

/// One request in the making.
struct Ask<'a> {
    method: Method,
    bucket: &'a str,
    key: &'a str,
    query: Vec<(&'a str, String)>,
    headers: Vec<(String, String)>,
    body: Option<Body>,
}

impl<'a> Ask<'a> {
    fn new(method: Method, bucket: &'a str, key: &'a str) -> Self {
        Self { method, bucket, key, query: Vec::new(), headers: Vec::new(), body: None }
    }

    fn query(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The body with the headers that belong to it.
    fn content(mut self, options: PutOptions, body: ByteStream) -> Self {
        self.headers.extend(options.headers);
        if let Some(length) = options.length {
            self = self.header("content-length", length.to_string());
        }
        if let Some(md5) = options.content_md5 {
            self = self.header("content-md5", answers::base64(&md5));
        }
        if options.forbid_overwrite {
            self = self.header("x-oss-forbid-overwrite", "true");
        }
        self.body = Some(Body::wrap_stream(body));
        self
    }
}

impl RemoteStore {
    /// A store at this URL. Connections are made when needed.
    pub fn new(endpoint: &str, signer: Arc<dyn Signer>) -> Result<Self, EndpointError> {
        let bad = || EndpointError::Url { text: endpoint.to_owned() };
        let url = Url::parse(endpoint).map_err(|_| bad())?;
        let host = url.host_str().ok_or_else(bad)?;
        let path_style = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        let client = Client::builder()
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build()
            .map_err(EndpointError::Client)?;
        Ok(Self { client, endpoint: url, path_style, signer })
    }

    /// Makes a bucket. Making one's own bucket again succeeds.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        self.send(Ask::new(Method::PUT, bucket, "")).await.map(drop)
    }

    /// The caller's buckets.
    pub async fn buckets(&self) -> Result<Vec<RemoteBucket>, ObjectError> {
        let text = self.text(Ask::new(Method::GET, "", "")).await?;
        answers::buckets(&text)
    }

    /// The URL of a request, without its query where there is none.
    fn url(&self, ask: &Ask<'_>) -> String {
        let port = self.endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = self.endpoint.host_str().unwrap_or_default();
        let scheme = self.endpoint.scheme();
        let key = utf8_percent_encode(ask.key, KEY);
        let mut url = match (self.path_style, ask.bucket) {
            (_, "") => format!("{scheme}://{host}{port}/"),
            (true, bucket) => format!("{scheme}://{host}{port}/{bucket}/{key}"),
            (false, bucket) => format!("{scheme}://{bucket}.{host}{port}/{key}"),
        };
        for (number, (name, value)) in ask.query.iter().enumerate() {
            let join = if number == 0 { '?' } else { '&' };
            let value = utf8_percent_encode(value, PLAIN);
            write!(url, "{join}{name}={value}").expect("writing to a string succeeds");
        }
        url
    }

    /// Sends a request; an answer outside 200 to 299 is an error.
    async fn send(&self, ask: Ask<'_>) -> Result<Response, ObjectError> {
        let url = self.url(&ask);
        let unsigned = Unsigned {
            method: ask.method.as_str(),
            bucket: ask.bucket,
            key: ask.key,
            query: &ask.query,
            headers: &ask.headers,
        };
        let added = self.signer.sign(&unsigned);
        let mut request = self.client.request(ask.method.clone(), &url);
        for (name, value) in ask.headers.iter().chain(&added) {
            request = request.header(name, value.as_bytes());
        }
        match ask.body {
            Some(body) => request = request.body(body),
            None if ask.method != Method::GET && ask.method != Method::HEAD => {
                request = request.header("content-length", "0");
            }
            None => {}
        }
        let doing = || format!("{} {}/{} of the object store", ask.method, ask.bucket, ask.key);
        let response = request.send().await.map_err(|error| ObjectError::Io {
            doing: doing(),
            source: io::Error::other(error.without_url()),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(failure(response, ask.bucket, ask.key).await)
    }

    async fn text(&self, ask: Ask<'_>) -> Result<Bytes, ObjectError> {
        let response = self.send(ask).await?;
        response.bytes().await.map_err(|error| ObjectError::Io {
            doing: "read an answer of the object store".into(),
            source: io::Error::other(error.without_url()),
        })
    }
}

#[async_trait]
impl ObjectStore for RemoteStore {
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError> {
        let size = options.length.unwrap_or(0);
        let response = self.send(Ask::new(Method::PUT, bucket, key).content(options, body)).await?;
        Ok(ObjectInfo { size, ..info_of(key, response.headers()) })
    }

    async fn get(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetObject, ObjectError> {
        let mut ask = Ask::new(Method::GET, bucket, key);
        if let Some(range) = &options.range {
            let last = range.end.saturating_sub(1).max(range.start);
            ask = ask.header("range", format!("bytes={}-{last}", range.start));
        }
        if let Some(etag) = &options.if_match {
            ask = ask.header("if-match", format!("\"{etag}\""));
        }
        let response = self.send(ask).await?;
        let (info, range) = answers::whole_and_range(key, &response)?;
        let wanted = options.range.map_or(0, |range| range.start);
        if response.status() == StatusCode::OK && wanted > 0 {
            let message = format!("the object has {} bytes, byte {wanted} was asked for", info.size);
            return Err(ObjectError::Refused { code: "InvalidRange".into(), message });
        }
        let body = answers::body_of(response.bytes_stream().boxed());
        Ok(GetObject { info, range, body })
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        let response = self.send(Ask::new(Method::HEAD, bucket, key)).await?;
        Ok(info_of(key, response.headers()))
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        self.send(Ask::new(Method::DELETE, bucket, key)).await.map(drop)
    }

    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError> {
        let mut ask = Ask::new(Method::GET, bucket, "")
            .query("encoding-type", "url")
            .query("max-keys", options.keys_max.clamp(1, 1_000).to_string())
            .query("prefix", options.prefix)
            .query("marker", options.after);
        if let Some(delimiter) = options.delimiter {
            ask = ask.query("delimiter", delimiter);
        }
        answers::listing(&self.text(ask).await?)
    }

    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
    ) -> Result<String, ObjectError> {
        let mut ask = Ask::new(Method::POST, bucket, key).query("uploads", "");
        ask.headers.extend(options.headers);
        answers::upload_id(&self.text(ask).await?)
    }

    async fn put_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError> {
        let size = options.length.unwrap_or(0);
        let ask = Ask::new(Method::PUT, bucket, key)
            .query("partNumber", number.to_string())
            .query("uploadId", upload)
            .content(options, body);
        let response = self.send(ask).await?;
        Ok(ObjectInfo { size, ..info_of(key, response.headers()) })
    }

    async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartRef],
    ) -> Result<ObjectInfo, ObjectError> {
        let body = answers::parts_body(parts);
        let mut ask = Ask::new(Method::POST, bucket, key)
            .query("uploadId", upload)
            .header("content-type", "application/xml")
            .header("content-length", body.len().to_string());
        ask.body = Some(Body::from(body));
        let response = self.send(ask).await?;
        Ok(info_of(key, response.headers()))
    }

    async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<(), ObjectError> {
        self.send(Ask::new(Method::DELETE, bucket, key).query("uploadId", upload)).await.map(drop)
    }
}
