//! A store at the other end of an HTTP connection that speaks the OSS protocol: the gateway of a
//! region, or the hosted store itself.
//!
//! Requests are signed by a [`Signer`] that the caller brings, because signatures live in another
//! room. An adapter is a few lines:
//!
//! ```ignore
//! struct V1 { id: String, secret: String, clock: Clock }
//!
//! impl Signer for V1 {
//!     fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)> {
//!         let date = http_date((self.clock)());
//!         // As `wire::oss::sign::Request`, with the `date` header among the headers.
//!         let signed = as_wire_request(request, &date);
//!         let key = KeyPair { id: &self.id, secret: &self.secret };
//!         vec![("date".into(), date), ("authorization".into(), sign_v1(&signed, key))]
//!     }
//! }
//! ```
//!
//! Invariants
//! - What was sent is checked: the store's CRC-64 must be the one of our bytes.
//! - A body that ends early is an error, never a short object.
//! - Nothing is tried twice here; [`ObjectError::is_transient`] tells the caller what may be.
//! - Proxies of the environment are not used.
//!
//! Start at [`RemoteStore`].

mod answer;
mod body;
mod request;

use crate::{
    ByteStream, GetObject, GetOptions, ListOptions, Listing, ObjectError, ObjectInfo, ObjectStore,
    PartRef, PutOptions, body_of,
    rules::{check_key, refused},
};
use answer::{Node, listing, object_info};
use async_trait::async_trait;
use bytes::Bytes;
use request::{Endpoint, Outgoing};
use reqwest::{Method, StatusCode};
use std::{ops::Range, sync::Arc, time::Duration};

pub use request::{EndpointError, Signer, Unsigned};

/// Keys of one listing request.
const KEYS_MAX: usize = 1000;
/// A request without a large body may take this long.
const SMALL_REQUEST_MAX: Duration = Duration::from_secs(120);

/// A store behind an OSS endpoint. Cheap to clone.
#[derive(Clone)]
pub struct RemoteStore {
    client: reqwest::Client,
    endpoint: Arc<Endpoint>,
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

impl RemoteStore {
    /// A store at `endpoint`, e.g. `http://127.0.0.1:8081`. Buckets are in the path if its host is
    /// an address or `localhost`, else in front of the host. Nothing is sent yet.
    pub fn new(endpoint: &str, signer: Arc<dyn Signer>) -> Result<Self, EndpointError> {
        let endpoint = Arc::new(Endpoint::parse(endpoint)?);
        // reqwest wants a TLS provider even for plain HTTP. Another one may be there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder();
        if endpoint.is_plain() {
            // A minimal machine has no certificates; without TLS none are needed.
            client = client.tls_certs_only([]);
        }
        let client = client
            .no_proxy()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            .connect_timeout(Duration::from_secs(10))
            // Shorter than a gateway keeps a silent connection.
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(64)
            .build()
            .map_err(EndpointError::Client)?;
        Ok(Self { client, endpoint, signer })
    }

    /// The same store for another key, on the same connections.
    #[must_use]
    pub fn signing_with(&self, signer: Arc<dyn Signer>) -> Self {
        Self { signer, ..self.clone() }
    }

    /// Makes a bucket; one's own bucket again is fine.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        self.small(Outgoing::new(Method::PUT, bucket, "").length(0)).await.map(drop)
    }

    /// Removes an empty bucket.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        self.small(Outgoing::new(Method::DELETE, bucket, "")).await.map(drop)
    }

    /// The buckets of the account, by name.
    pub async fn buckets(&self) -> Result<Vec<RemoteBucket>, ObjectError> {
        let (mut found, mut marker) = (vec![], String::new());
        loop {
            let request = Outgoing::new(Method::GET, "", "")
                .param("marker", &marker)
                .param("max-keys", KEYS_MAX);
            let root = self.small_xml(request).await?;
            let buckets = root.child("Buckets").map_or(&[][..], |all| &all.children);
            found.extend(buckets.iter().map(|bucket| RemoteBucket {
                name: bucket.text_of("Name").to_owned(),
                created: bucket.text_of("CreationDate").to_owned(),
            }));
            marker = root.text_of("NextMarker").to_owned();
            if root.text_of("IsTruncated") != "true" || marker.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Sends what has a small body or none and gathers the answer.
    async fn small(&self, request: Outgoing<'_>) -> Result<Bytes, ObjectError> {
        let (bucket, key) = (request.bucket, request.key);
        let doing = request.doing();
        let exchange = async {
            let response = self.send(request).await?;
            let response = answer::check(response, bucket, key).await?;
            response.bytes().await.map_err(|error| request::failed(&doing, error))
        };
        match tokio::time::timeout(SMALL_REQUEST_MAX, exchange).await {
            Ok(outcome) => outcome,
            Err(late) => {
                Err(ObjectError::Io { doing: doing.clone(), source: std::io::Error::other(late) })
            }
        }
    }

    async fn small_xml(&self, request: Outgoing<'_>) -> Result<Node, ObjectError> {
        let doing = request.doing();
        let body = self.small(request).await?;
        Node::parse(&body).map_err(|source| ObjectError::Io { doing, source })
    }

    async fn send(&self, request: Outgoing<'_>) -> Result<reqwest::Response, ObjectError> {
        let doing = request.doing();
        let built = request.build(&self.endpoint, &*self.signer)?;
        self.client.execute(built).await.map_err(|error| request::failed(&doing, error))
    }

    /// Sends a body and checks that what arrived is what was sent.
    async fn send_body(
        &self,
        request: Outgoing<'_>,
        options: &PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError> {
        let (bucket, key) = (request.bucket, request.key);
        let (body, sent) = body::counted(body);
        let mut request = request.body(reqwest::Body::wrap_stream(body));
        if let Some(length) = options.length {
            request = request.length(length);
        }
        if let Some(md5) = options.content_md5 {
            request = request.content_md5(md5);
        }
        let response = sent.watch(self.send(request)).await.map_err(|error| sent.blame(error))?;
        let response = answer::check(response, bucket, key).await?;
        let (size, crc64) = sent.sums();
        let mut info = object_info(key, response.headers(), size);
        if let Some(theirs) = info.crc64
            && theirs != crc64
        {
            let (expected, actual) = (crc64.to_string(), theirs.to_string());
            return Err(ObjectError::Corrupt {
                what: "CRC-64",
                key: key.to_owned(),
                expected,
                actual,
            });
        }
        info.headers = options.headers.clone();
        Ok(info)
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
        check_key(key)?;
        let request = Outgoing::new(Method::PUT, bucket, key).put_headers(&options);
        self.send_body(request, &options, body).await
    }

    async fn get(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetObject, ObjectError> {
        check_key(key)?;
        if let Some(range) = &options.range
            && range.start >= range.end
        {
            return self.empty_range(bucket, key, range, options.if_match.as_deref()).await;
        }
        let mut request = Outgoing::new(Method::GET, bucket, key);
        if let Some(Range { start, end }) = &options.range {
            let last = if *end < u64::MAX { (end - 1).to_string() } else { String::new() };
            request = request
                .header("range", format!("bytes={start}-{last}"))
                .header("x-oss-range-behavior", "standard");
        }
        if let Some(etag) = &options.if_match {
            request = request.header("if-match", format!("\"{etag}\""));
        }
        let response = self.send(request).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE
            && let Some(range) = &options.range
        {
            return self.empty_range(bucket, key, range, options.if_match.as_deref()).await;
        }
        let response = answer::check(response, bucket, key).await?;
        body::opened(key, response, options.range)
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        check_key(key)?;
        let request = Outgoing::new(Method::HEAD, bucket, key);
        let exchange = async {
            let response = self.send(request).await?;
            answer::check(response, bucket, key).await
        };
        let late = |late| ObjectError::Io {
            doing: format!("head `{bucket}/{key}`"),
            source: std::io::Error::other(late),
        };
        let response = tokio::time::timeout(SMALL_REQUEST_MAX, exchange).await.map_err(late)??;
        let size = answer::number(response.headers(), "content-length").unwrap_or_default();
        Ok(object_info(key, response.headers(), size))
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        check_key(key)?;
        self.small(Outgoing::new(Method::DELETE, bucket, key)).await.map(drop)
    }

    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError> {
        if options.keys_max == 0 {
            return Ok(Listing::default());
        }
        let request = Outgoing::new(Method::GET, bucket, "")
            .param("prefix", &options.prefix)
            .param("marker", &options.after)
            .param("delimiter", options.delimiter.as_deref().unwrap_or_default())
            .param("max-keys", options.keys_max.min(KEYS_MAX))
            .param("encoding-type", "url");
        Ok(listing(&self.small_xml(request).await?))
    }

    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
    ) -> Result<String, ObjectError> {
        check_key(key)?;
        let request = Outgoing::new(Method::POST, bucket, key)
            .param("uploads", "")
            .put_headers(&options)
            .length(0);
        let root = self.small_xml(request).await?;
        Ok(root.text_of("UploadId").to_owned())
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
        let request = Outgoing::new(Method::PUT, bucket, key)
            .param("partNumber", number)
            .param("uploadId", upload);
        self.send_body(request, &options, body).await
    }

    async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartRef],
    ) -> Result<ObjectInfo, ObjectError> {
        let body = answer::complete_body(parts);
        let request = Outgoing::new(Method::POST, bucket, key)
            .param("uploadId", upload)
            .length(body.len() as u64)
            .body(body.into());
        self.small(request).await?;
        // The answer says neither size nor time.
        self.head(bucket, key).await
    }

    async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<(), ObjectError> {
        let request = Outgoing::new(Method::DELETE, bucket, key).param("uploadId", upload);
        self.small(request).await.map(drop)
    }
}

impl RemoteStore {
    /// A range without bytes: HTTP cannot ask for it, so the object is looked at instead.
    async fn empty_range(
        &self,
        bucket: &str,
        key: &str,
        range: &Range<u64>,
        if_match: Option<&str>,
    ) -> Result<GetObject, ObjectError> {
        let info = self.head(bucket, key).await?;
        if if_match.is_some_and(|etag| !crate::rules::same_etag(etag, &info.etag)) {
            return Err(crate::rules::changed(bucket, key));
        }
        if range.start > info.size {
            let message = format!("bytes {}..{} of {}", range.start, range.end, info.size);
            return Err(refused("InvalidRange", message));
        }
        Ok(GetObject { info, range: range.start..range.start, body: body_of("") })
    }
}
