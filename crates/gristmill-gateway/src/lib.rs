//! The OSS-compatible door: HTTP in front of a [`LocalStore`], so that unmodified clients of the
//! hosted object store work (`reference/oss-gateway.md`, tier T1 and the cheap part of T2).
//!
//! A request is addressed ([`address`]: bucket from host or path, key decoded once), its signature
//! is verified ([`caller`]), then it goes to the operation ([`route`]). The body is not touched
//! before the caller is known, so `Expect: 100-continue` is answered only to those who may write.
//!
//! Invariants
//! - Bodies stream in both directions; only XML requests are gathered, up to a limit.
//! - An account sees only its own buckets; a scoped key only what it was granted ([`Scope`]).
//! - No secret and no signature is logged.
//! - The clock is an argument. How many connections there are is the server's business.
//!
//! Start at [`Gateway`]; the door of the message service is [`mns::MnsDoor`].

mod address;
mod attributes;
mod body;
mod bucket;
mod caller;
mod conditions;
mod copy;
mod fault;
mod headers;
mod listing;
pub mod mns;
mod multipart;
mod object;
mod reply;
mod route;

pub use caller::{AccessKeys, Key, Scope, Unwelcome};

use bytes::Bytes;
use gristmill_objects::{Clock, LocalStore};
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use std::{
    convert::Infallible,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

/// The body of an answer.
pub type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;

/// A connection may be silent between requests, or take for a request's head, this long.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(120);
/// Request line and headers of one request.
const HEAD_SIZE_MAX: usize = 64 * 1024;

/// How a gateway presents itself.
#[derive(Clone)]
pub struct Settings {
    /// The region: `cn-local`. V4 signatures name it; buckets are in `oss-<region>`.
    pub region: String,
    /// Further regions V4 signatures may name.
    pub regions_accepted: Vec<String>,
    /// Host names of this endpoint besides `oss-<region>.aliyuncs.com` and the internal one.
    /// `<bucket>.<name>` is then the bucket, any unknown host means path style.
    pub endpoint_names: Vec<String>,
    /// What time it is.
    pub clock: Clock,
}

/// The door. Cheap to clone; every connection has one.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    store: Arc<dyn LocalStore>,
    keys: Arc<dyn AccessKeys>,
    regions: Vec<String>,
    endpoints: address::Endpoints,
    settings: Settings,
    requests: AtomicU64,
}

impl Gateway {
    /// A door in front of `store` for the holders of `keys`.
    pub fn new(store: Arc<dyn LocalStore>, keys: Arc<dyn AccessKeys>, settings: Settings) -> Self {
        let endpoints = address::Endpoints::new(&settings.region, &settings.endpoint_names);
        let mut regions = settings.regions_accepted.clone();
        regions.push(settings.region.clone());
        let requests = AtomicU64::new(0);
        Self(Arc::new(Inner { store, keys, regions, endpoints, settings, requests }))
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub async fn handle<B>(&self, request: http::Request<B>) -> http::Response<ReplyBody>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        route::answer(&self.0, request.map(body::incoming)).await
    }

    /// Serves one connection until it ends, on any stream. Reads HTTP/1.1 and HTTP/2; header names
    /// are written in title case for old clients.
    pub async fn serve_connection<S>(
        &self,
        stream: S,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = connection_builder();
        builder.serve_connection(TokioIo::new(stream), service(self.clone())).await
    }
}

/// The gateway as a hyper service, for listeners that share a port.
pub fn service<B>(
    gateway: Gateway,
) -> impl hyper::service::Service<
    http::Request<B>,
    Response = http::Response<ReplyBody>,
    Error = Infallible,
    Future: Send,
> + Clone
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let answer = move |request| {
        let gateway = gateway.clone();
        async move { Ok(gateway.handle(request).await) }
    };
    SharedService(Arc::new(hyper::service::service_fn(answer)))
}

/// `service_fn` borrows its closure; connections need their own.
struct SharedService<S>(Arc<S>);

impl<S> Clone for SharedService<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R, S: hyper::service::Service<R>> hyper::service::Service<R> for SharedService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> Self::Future {
        self.0.call(request)
    }
}

/// How connections of old and new clients are read.
pub fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_buf_size(HEAD_SIZE_MAX.max(256 * 1024));
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_SIZE_MAX as u32);
    builder
}

/// Serves a listener until `shutdown`, then lets requests in flight end.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        // Without it small answers wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        let builder = connection_builder();
        let connection = builder.serve_connection(TokioIo::new(stream), service(gateway.clone()));
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

impl Inner {
    /// A new request id: 24 upper-case hexadecimal digits, unique while the clock moves.
    fn request_id(&self) -> String {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) as u32;
        format!("{:016X}{count:08X}", (self.settings.clock)().0)
    }
}
