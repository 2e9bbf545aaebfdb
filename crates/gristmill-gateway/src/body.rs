//! Bodies of requests: streamed with bounds on size and silence, or gathered when they are XML.

use crate::fault::Fault;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use gristmill_objects::{ByteStream, Sum};
use http::{HeaderMap, Version, header};
use http_body_util::BodyDataStream;
use std::{error::Error, io, time::Duration};

/// One PUT, part or append.
pub(crate) const OBJECT_SIZE_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// An XML request.
const XML_SIZE_MAX: usize = 4 * 1024 * 1024;
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
