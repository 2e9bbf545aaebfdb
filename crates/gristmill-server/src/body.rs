//! Bodies of requests to the API: gathered up to a bound that depends on the operation.
//!
//! A body that is too large is refused without being kept, whether its length was announced or
//! not. What the client still sends is read and dropped for a while, because a client that is cut
//! off while it sends never sees the answer.
//!
//! Start at [`gather`].

use axum::body::{Body, HttpBody};
use futures::StreamExt;
use gristmill_wire::{
    api::{BODY_BYTES_MAX, JOB_BODY_BYTES_MAX},
    error::{ApiError, Code},
};
use std::time::Duration;
use tracing::debug;

/// A client may pause this long while it sends.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How much of a body that is too large is read and dropped.
const DROPPED_BYTES_MAX: u64 = 256 << 20;
/// Memory set aside before the first byte has come, whatever length was announced.
const FIRST_BYTES_MAX: usize = 64 << 10;

/// The largest body of an operation, before anything else is known of it.
pub fn bytes_max(method: &str, target: &str) -> usize {
    let path = target.split('?').next().unwrap_or_default();
    match (method, path.trim_end_matches('/')) {
        ("POST", "/jobs") => JOB_BODY_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

/// The whole body, if it has at most `bytes_max` bytes and comes to its end.
pub async fn gather(body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = Vec::with_capacity(announced.min(FIRST_BYTES_MAX));
    let mut is_over = announced > bytes_max;
    let (mut stream, mut received) = (body.into_data_stream(), 0_u64);
    while let Some(piece) = next(&mut stream).await? {
        received += piece.len() as u64;
        is_over |= whole.len() + piece.len() > bytes_max;
        if !is_over {
            whole.extend_from_slice(&piece);
            continue;
        }
        whole = Vec::new();
        if received > DROPPED_BYTES_MAX {
            break;
        }
    }
    if is_over { Err(refused(&format!("is over {bytes_max} bytes"))) } else { Ok(whole) }
}

async fn next(stream: &mut axum::body::BodyDataStream) -> Result<Option<bytes::Bytes>, ApiError> {
    match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => {
            debug!(%error, "a body ended early");
            Err(refused("is incomplete"))
        }
        Err(_) => Err(refused(&format!("did not go on for {} s", SILENCE_MAX.as_secs()))),
    }
}

fn refused(why: &str) -> ApiError {
    ApiError::new(Code::InvalidHttpBody, format!("the body {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::stream;
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    const PIECE: usize = 64 << 10;

    /// A body of pieces that counts how many of them were read.
    fn pieces(count: u64) -> (Body, Arc<AtomicU64>) {
        let read = Arc::new(AtomicU64::new(0));
        let counted = read.clone();
        let pieces = stream::iter(0..count).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(&[b' '; PIECE]))
        });
        (Body::from_stream(pieces), read)
    }

    async fn code(body: Body, bytes_max: usize) -> String {
        gather(body, bytes_max).await.expect_err("refused").to_string()
    }

    #[tokio::test]
    async fn a_body_up_to_the_bound_is_whole() {
        let (body, _) = pieces(4);
        assert_eq!(gather(body, 4 * PIECE).await.map(|whole| whole.len()), Ok(4 * PIECE));
        assert_eq!(gather(Body::empty(), 0).await, Ok(Vec::new()));
        assert_eq!(gather(Body::from("abc"), 3).await, Ok(b"abc".to_vec()));
    }

    #[tokio::test]
    async fn a_longer_one_is_read_on_for_a_while_so_that_the_client_sees_the_answer() {
        let (body, read) = pieces(100);
        assert_eq!(
            code(body, 4 * PIECE - 1).await,
            "InvalidHttpBody: the body is over 262143 bytes"
        );
        assert_eq!(read.load(Ordering::Relaxed), 100);
        assert!(code(Body::from("abcd"), 3).await.contains("over 3 bytes"));
    }

    #[tokio::test]
    async fn one_without_end_is_cut_off() {
        let (body, read) = pieces(u64::MAX);
        assert!(code(body, PIECE).await.contains("is over"));
        let dropped = DROPPED_BYTES_MAX / PIECE as u64;
        assert_eq!(read.load(Ordering::Relaxed), dropped + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_falls_silent_or_goes_away_is_refused() {
        let silent = stream::pending::<io::Result<Bytes>>();
        assert!(code(Body::from_stream(silent), 10).await.contains("did not go on for 60 s"));
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let gone = stream::iter([Ok(Bytes::from("a")), Err(reset)]);
        assert!(code(Body::from_stream(gone), 10).await.contains("is incomplete"));
    }

    #[test]
    fn only_the_description_of_a_job_may_be_large() {
        for (method, target, large) in [
            ("POST", "/jobs", true),
            ("POST", "/jobs/?IdempotentToken=a", true),
            ("PUT", "/jobs", false),
            ("POST", "/jobs/j/stop", false),
            ("POST", "/clusters", false),
            ("POST", "", false),
        ] {
            let max = if large { JOB_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
            assert_eq!(bytes_max(method, target), max, "{method} {target}");
        }
    }
}
