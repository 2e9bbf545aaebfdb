//! Listeners: plain ports of the services, and front listeners that tell the services apart by
//! `Host` for clients that insist on ports 80 and 443.
//!
//! Every connection is served with HTTP/1.1 or HTTP/2 as the client likes. Header names go out
//! in title case because hand-written scripts compare them that way.

use axum::{Router, body::Body};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use std::{convert::Infallible, future::Future, io, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_rustls::{TlsAcceptor, rustls};
use tracing::{debug, warn};

/// Connections that one listener holds open at a time.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a client may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after a failed `accept`, e.g. when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A service of this region, as a function from request to response.
pub type Service = Arc<
    dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync,
>;

/// Makes a service of an axum router.
pub fn of_router(router: Router) -> Service {
    Arc::new(move |request| {
        let router = router.clone();
        Box::pin(async move {
            use tower::ServiceExt;
            match router.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(impossible) => match impossible {},
            }
        })
    })
}

/// Makes a service of an async function.
pub fn of_function<F, A, B>(function: F) -> Service
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Arc::new(move |request| {
        let answer = function(request);
        Box::pin(async move { answer.await.map(Body::new) })
    })
}

/// The three services behind one front listener.
#[derive(Clone)]
pub struct ByHost {
    /// `batchcompute[-vpc].*` and everything else.
    pub batchcompute: Service,
    /// `oss-*` and `*.oss-*`.
    pub oss: Service,
    /// `*.mns.*`.
    pub mns: Service,
}

impl ByHost {
    /// One service that looks at the host of each request, which in absolute form stands in the
    /// target.
    pub fn into_service(self) -> Service {
        Arc::new(move |request| {
            let host = host_of(&request).unwrap_or_default().to_ascii_lowercase();
            let service = match room(&host) {
                Room::Oss => &self.oss,
                Room::Mns => &self.mns,
                Room::BatchCompute => &self.batchcompute,
            };
            service(request)
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Room {
    BatchCompute,
    Oss,
    Mns,
}

fn room(host: &str) -> Room {
    if host.starts_with("oss-") || host.contains(".oss-") {
        Room::Oss
    } else if host.contains(".mns.") {
        Room::Mns
    } else {
        Room::BatchCompute
    }
}

fn host_of<B>(request: &Request<B>) -> Option<&str> {
    let in_target = request.uri().authority().map(|authority| authority.as_str());
    let header = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    in_target.or(header)
}

/// Accepts connections until `stop` changes, then lets open requests finish.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) {
    accept_all(listener, service, tls, Casing::Title, stop).await;
}

/// The same without TLS and with header names as they are: the official client of the message
/// service compares one of them in lower case.
pub async fn serve_as_is(listener: TcpListener, service: Service, stop: watch::Receiver<bool>) {
    accept_all(listener, service, None, Casing::AsIs, stop).await;
}

/// How names of headers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Casing {
    Title,
    AsIs,
}

async fn accept_all(
    listener: TcpListener,
    service: Service,
    tls: Option<TlsAcceptor>,
    casing: Casing,
    mut stop: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = connections.clone().acquire_owned().await.expect("never closed");
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => break,
        };
        let connection =
            Connection { permit, service: service.clone(), casing, stop: stop.clone() };
        tokio::spawn(connection.accept(stream, tls.clone()));
    }
}

/// Returns when the region stops, or is gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

struct Connection {
    permit: OwnedSemaphorePermit,
    service: Service,
    casing: Casing,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn accept(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let _ = stream.set_nodelay(true); // an old kernel may refuse; it is only slower then
        match tls {
            None => self.speak(TokioIo::new(stream)).await,
            Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.speak(TokioIo::new(stream)).await,
                Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
                Err(_) => debug!("TLS handshake took too long"),
            },
        }
    }

    async fn speak<I>(mut self, io: I)
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let service = self.service.clone();
        let answer = hyper::service::service_fn(move |request| {
            let response = service(request);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .title_case_headers(self.casing == Casing::Title)
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(20)));
        let connection = builder.serve_connection_with_upgrades(io, answer);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut self.stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended badly");
        }
        drop(self.permit);
    }
}

/// Makes a TLS acceptor with a certificate of our own making for these names. Clients that check
/// certificates need the operator's; the official command does not check.
pub fn self_made_certificate(names: Vec<String>) -> io::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(io::Error::other)?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lead_to_their_rooms() {
        for (host, wanted) in [
            ("batchcompute.cn-local.aliyuncs.com", Room::BatchCompute),
            ("batchcompute-vpc.cn-local.aliyuncs.com:443", Room::BatchCompute),
            ("oss-cn-local.aliyuncs.com", Room::Oss),
            ("bucket.oss-cn-local-internal.aliyuncs.com", Room::Oss),
            ("1234.mns.cn-local.aliyuncs.com", Room::Mns),
            ("localhost", Room::BatchCompute),
            ("", Room::BatchCompute),
        ] {
            assert_eq!(room(host), wanted, "{host}");
        }
    }

    #[test]
    fn the_target_says_the_host_in_absolute_form() {
        let request = Request::builder()
            .uri("http://bkt.oss-cn-local.aliyuncs.com/key")
            .header("Host", "127.0.0.1:8080")
            .body(())
            .expect("legal");
        assert_eq!(host_of(&request), Some("bkt.oss-cn-local.aliyuncs.com"));
    }
}
