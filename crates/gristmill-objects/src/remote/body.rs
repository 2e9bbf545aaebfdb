//! Bodies to and from a remote store.

use super::answer::{number, object_info};
use crate::{ByteStream, GetObject, ObjectError, rules::io_error};
use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Xz;
use futures::{StreamExt, TryStreamExt};
use reqwest::{Response, StatusCode, header};
use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A store may pause this long within a body.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// What was sent of a body so far.
#[derive(Clone)]
pub(super) struct Sent(Arc<Mutex<Counted>>);

struct Counted {
    size: u64,
    crc64: crc_fast::Digest,
    failure: Option<io::Error>,
}

/// Counts a body while it is sent.
pub(super) fn counted(body: ByteStream) -> (ByteStream, Sent) {
    let counted = Counted { size: 0, crc64: crc_fast::Digest::new(Crc64Xz), failure: None };
    let sent = Sent(Arc::new(Mutex::new(counted)));
    let count = sent.clone();
    let body = body.map(move |chunk| {
        let mut counted = count.0.lock().expect("nobody panics while holding it");
        chunk
            .inspect(|bytes| {
                counted.size += bytes.len() as u64;
                counted.crc64.update(bytes);
            })
            .map_err(|error| {
                let kind = error.kind();
                counted.failure = Some(error);
                kind.into()
            })
    });
    (body.boxed(), sent)
}

impl Sent {
    /// Size and CRC-64 of what was sent.
    pub fn sums(&self) -> (u64, u64) {
        let counted = self.0.lock().expect("nobody panics while holding it");
        (counted.size, counted.crc64.finalize())
    }

    /// Waits for the answer to a body as long as the body moves; an answer that does not come after
    /// that is given up.
    pub async fn watch<T>(
        &self,
        answer: impl Future<Output = Result<T, ObjectError>>,
    ) -> Result<T, ObjectError> {
        let mut answer = std::pin::pin!(answer);
        let mut before = self.sums().0;
        loop {
            if let Ok(outcome) = tokio::time::timeout(SILENCE_MAX, &mut answer).await {
                return outcome;
            }
            let now = self.sums().0;
            if now == before {
                return Err(io_error("send to the object store", io::ErrorKind::TimedOut.into()));
            }
            before = now;
        }
    }

    /// The body's own failure, if that is why sending failed.
    pub fn blame(&self, error: ObjectError) -> ObjectError {
        let failure = self.0.lock().expect("nobody panics while holding it").failure.take();
        failure.map_or(error, |failure| io_error("read the body to send", failure))
    }
}

/// An answer to GET as an object being read.
pub(super) fn opened(
    key: &str,
    response: Response,
    asked: Option<Range<u64>>,
) -> Result<GetObject, ObjectError> {
    let bad = |what: &str| {
        let source = io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        ObjectError::Io { doing: format!("understand the answer for `{key}`"), source }
    };
    let length = number(response.headers(), "content-length").ok_or_else(|| bad("no length"))?;
    let partial = response.status() == StatusCode::PARTIAL_CONTENT;
    let (sent, size) = match partial {
        false => (0..length, length),
        true => {
            let text = response.headers().get(header::CONTENT_RANGE);
            let parsed = text.and_then(|text| content_range(text.to_str().ok()?));
            parsed.ok_or_else(|| bad("no content range"))?
        }
    };
    let info = object_info(key, response.headers(), size);
    // A store that ignored the range sent everything: cut it here.
    let wanted = asked.map_or(0..size, |range| range.start..range.end.min(size));
    if wanted.start < sent.start || wanted.end > sent.end {
        return Err(bad("another range than was asked for"));
    }
    let body = response.bytes_stream().map_err(|error| io::Error::other(error.without_url()));
    let body = cut(body.boxed(), sent, wanted.clone());
    Ok(GetObject { info, range: wanted, body })
}

/// `bytes a-b/size`
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    Some((from.parse().ok()?..to.parse::<u64>().ok()?.checked_add(1)?, size.parse().ok()?))
}

/// The bytes `wanted` of a body that holds the bytes `sent`. A body that ends before is an error.
fn cut(body: ByteStream, sent: Range<u64>, wanted: Range<u64>) -> ByteStream {
    let step = move |(mut body, at): (ByteStream, u64)| {
        let wanted = wanted.clone();
        async move {
            let mut at = at;
            while at < wanted.end {
                let chunk: Bytes = match tokio::time::timeout(SILENCE_MAX, body.next()).await {
                    Ok(Some(Ok(chunk))) => chunk,
                    Ok(Some(Err(error))) => return Some((Err(error), (body, u64::MAX))),
                    Ok(None) => {
                        let early = io::ErrorKind::UnexpectedEof.into();
                        return Some((Err(early), (body, u64::MAX)));
                    }
                    Err(_) => {
                        return Some((Err(io::ErrorKind::TimedOut.into()), (body, u64::MAX)));
                    }
                };
                let end = at + chunk.len() as u64;
                let (from, to) = (wanted.start.clamp(at, end), wanted.end.clamp(at, end));
                let piece = chunk.slice((from - at) as usize..(to - at) as usize);
                at = end;
                if !piece.is_empty() {
                    return Some((Ok(piece), (body, at)));
                }
            }
            None
        }
    };
    futures::stream::unfold((body, sent.start), step).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect;

    fn chunks(texts: &'static [&'static str]) -> ByteStream {
        futures::stream::iter(texts.iter().map(|text| Ok(Bytes::from(*text)))).boxed()
    }

    #[tokio::test]
    async fn a_body_is_cut_to_what_was_wanted() {
        let body = cut(chunks(&["0123", "45", "6789"]), 0..10, 3..7);
        assert_eq!(collect(body).await.expect("reads"), "3456");
        let body = cut(chunks(&["3456"]), 3..7, 3..7);
        assert_eq!(collect(body).await.expect("reads"), "3456");
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_an_error() {
        let outcome = collect(cut(chunks(&["0123"]), 0..10, 0..10)).await;
        assert_eq!(outcome.expect_err("ends early").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 2-4/10"), Some((2..5, 10)));
        for bad in ["", "bytes */10", "bytes 1-2", "2-4/10", "bytes a-b/c"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
