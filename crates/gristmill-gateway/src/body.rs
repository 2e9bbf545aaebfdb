//! Bodies of requests: streamed with bounds on size and silence, or gathered when they are XML.

use crate::fault::Fault;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use gristmill_objects::{ByteStream, Sum};
use http::{HeaderMap, Method, Version, header};
use http_body_util::BodyDataStream;
use std::{error::Error, io, sync::Arc, time::Duration};

/// One PUT, part or append.
pub(crate) const OBJECT_SIZE_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// An XML request.
const XML_SIZE_MAX: usize = 4 * 1024 * 1024;
/// Bytes read of a body nobody wants, and the time that may take.
const DRAIN_SIZE_MAX: usize = 64 * 1024 * 1024;
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);
/// A sender may pause this long.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// A hyper body as a stream of ours. Nothing is read before the stream is polled.
pub(crate) fn incoming<B>(body: B) -> ByteStream
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let stream = Box::pin(BodyDataStream::new(body));
    let next = |(mut stream, received): (std::pin::Pin<Box<BodyDataStream<B>>>, u64)| async move {
        let chunk = match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
            Ok(chunk) => chunk?,
            Err(_) => return Some((Err(io::ErrorKind::TimedOut.into()), (stream, received))),
        };
        let aborted = |error: B::Error| io::Error::new(io::ErrorKind::ConnectionAborted, error);
        let chunk = chunk.map_err(aborted);
        let received = received + chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let chunk = match received > OBJECT_SIZE_MAX {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => chunk,
        };
        Some((chunk, (stream, received)))
    };
    futures::stream::unfold((stream, 0), next).boxed()
}

/// What an operation left unread of a body.
pub(crate) struct Rest(Arc<tokio::sync::Mutex<Shared>>);

struct Shared {
    body: ByteStream,
    touched: bool,
    ended: bool,
}

/// A body for an operation, and a handle on what it leaves unread.
pub(crate) fn shared(body: ByteStream) -> (ByteStream, Rest) {
    let shared = Shared { body, touched: false, ended: false };
    let shared = Arc::new(tokio::sync::Mutex::new(shared));
    let next = |shared: Arc<tokio::sync::Mutex<Shared>>| async move {
        let chunk = shared.lock().await.next().await?;
        Some((chunk, shared))
    };
    (futures::stream::unfold(shared.clone(), next).boxed(), Rest(shared))
}

impl Shared {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.touched = true;
        let chunk = self.body.next().await;
        self.ended |= !matches!(chunk, Some(Ok(_)));
        chunk
    }
}

impl Rest {
    /// Reads on, within bounds, so that a client that is still sending gets to see why it was
    /// refused. Answers whether nothing is left. A body nobody should send is not waited for, and
    /// one that was not asked for yet (`Expect`) is not asked for.
    pub async fn read(self, parts: &http::request::Parts) -> bool {
        let mut shared = self.0.lock().await;
        if shared.ended || !announces_body(&parts.headers, parts.version) {
            return true;
        }
        let bodyless = matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE);
        let not_asked_for = parts.headers.contains_key(header::EXPECT) && !shared.touched;
        let length = crate::headers::text(&parts.headers, "content-length");
        let too_long = length.is_some_and(|text| {
            text.parse().is_ok_and(|length: u64| length > DRAIN_SIZE_MAX as u64)
        });
        if bodyless || not_asked_for || too_long {
            return false;
        }
        let drain = async {
            let mut left = DRAIN_SIZE_MAX;
            while let Some(Ok(chunk)) = shared.next().await {
                left = left.checked_sub(chunk.len())?;
            }
            Some(())
        };
        matches!(tokio::time::timeout(DRAIN_WAIT_MAX, drain).await, Ok(Some(())))
    }
}

fn announces_body(headers: &HeaderMap, version: Version) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).map(|length| length.as_bytes());
    version < Version::HTTP_2
        && (headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|l| l != b"0"))
}

/// The announced length of an object body. HTTP/1 bodies have a length or are chunked.
pub(crate) fn length(headers: &HeaderMap, version: Version) -> Result<Option<u64>, Fault> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        let framed = headers.contains_key(header::TRANSFER_ENCODING) || version == Version::HTTP_2;
        let missing = || {
            Fault::new("MissingContentLength", "You must provide the Content-Length HTTP header.")
        };
        return if framed { Ok(None) } else { Err(missing()) };
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    match length {
        Some(length) if length > OBJECT_SIZE_MAX => {
            Err(Fault::new("EntityTooLarge", "Your proposed upload exceeds the maximum size."))
        }
        Some(length) => Ok(Some(length)),
        None => Err(Fault::argument("Content-Length", "")),
    }
}

/// The announced MD5.
pub(crate) fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, Fault> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let decoded = STANDARD.decode(value.as_bytes().trim_ascii()).ok();
    let md5 = decoded.and_then(|bytes| bytes.try_into().ok());
    md5.map(Some)
        .ok_or_else(|| Fault::new("InvalidDigest", "The Content-MD5 you specified is invalid."))
}

/// Gathers an XML body and checks its MD5 if one was announced.
pub(crate) async fn gather(headers: &HeaderMap, mut body: ByteStream) -> Result<Bytes, Fault> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let incomplete = |_| Fault::new("IncompleteBody", "The body ended before it was complete.");
        whole.extend_from_slice(&chunk.map_err(incomplete)?);
        if whole.len() > XML_SIZE_MAX {
            return Err(Fault::new("EntityTooLarge", "The XML of the request is too large."));
        }
    }
    match content_md5(headers)? {
        Some(md5) if md5 != Sum::of(&whole).md5 => Err(Fault::new(
            "InvalidDigest",
            "The Content-MD5 you specified did not match what we received.",
        )),
        _ => Ok(whole.freeze()),
    }
}
