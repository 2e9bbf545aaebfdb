//! Bodies of requests to the API: gathered up to a bound that depends on the operation.
//!
//! A body that is too large is refused without being kept, whether its length was announced or
//! not. What the client still sends is read and dropped for a while, because a client that is cut
//! off while it sends never sees the answer.
//!
//! Invariants
//! - All bodies under way together take a bounded amount of memory, those of one account at most half of
//!   it (or one body); who finds no room waits, and is told to come again when it takes too long. Room
//!   is taken before the first byte, so no body waits while it is read.
//! - A client that dawdles gives its room back after a while.
//!
//! Start at [`Bodies::gather`].

use axum::body::{Body, HttpBody};
use futures::StreamExt;
use gristmill_model::AccountId;
use gristmill_wire::{
    api::{BODY_BYTES_MAX, JOB_BODY_BYTES_MAX},
    error::{ApiError, Code},
};
use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

/// A client may pause this long while it sends.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A body may take this long in all.
const TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// Room is given in such pieces; a body below this needs none.
const PIECE_BYTES: usize = 64 << 10;
/// The most pieces there can be.
const PIECES_MAX: u32 = 1 << 24;
/// How much of a body that is too large is read and dropped.
const DROPPED_BYTES_MAX: u64 = 256 << 20;
/// Memory set aside before the first byte has come, whatever length was announced.
const FIRST_BYTES_MAX: usize = PIECE_BYTES;

/// The largest body of an operation, before anything else is known of it.
pub fn bytes_max(method: &str, target: &str) -> usize {
    let path = target.split('?').next().unwrap_or_default();
    match (method, path.trim_end_matches('/')) {
        ("POST", "/jobs") => JOB_BODY_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

/// The bodies under way.
pub struct Bodies {
    room: Arc<Semaphore>,
    pieces: u32,
    /// What each account may take of it.
    parts: Mutex<BTreeMap<AccountId, Arc<Semaphore>>>,
    wait_max: Duration,
}

/// Room that a body takes: of all there is, and of its account's part.
type Room = [OwnedSemaphorePermit; 2];

/// A body, and the room it takes until it is dropped.
pub struct Gathered {
    bytes: Vec<u8>,
    _room: Option<Room>,
}

impl Deref for Gathered {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    /// Bodies that take at most so many bytes together, and wait at most so long for room.
    pub fn new(together_bytes_max: u64, wait_max: Duration) -> Self {
        let pieces = u32::try_from(together_bytes_max / PIECE_BYTES as u64).unwrap_or(u32::MAX);
        let pieces = pieces.min(PIECES_MAX);
        let room = Arc::new(Semaphore::new(pieces as usize));
        Self { room, pieces, parts: Mutex::default(), wait_max }
    }

    /// The whole body, if it has at most `bytes_max` bytes and comes to its end.
    pub async fn gather(
        &self,
        account: AccountId,
        body: Body,
        bytes_max: usize,
    ) -> Result<Gathered, ApiError> {
        let hint = body.size_hint();
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let most = hint.upper().map_or(bytes_max, size);
        let is_over = size(hint.lower()) > bytes_max;
        let _room = match is_over {
            true => None,
            false => match self.room(account, most.min(bytes_max)).await {
                Ok(room) => room,
                Err(refusal) => {
                    pass_over(body).await;
                    return Err(refusal);
                }
            },
        };
        let read = tokio::time::timeout(TIME_MAX, read(body, bytes_max, is_over));
        let bytes = read.await.unwrap_or_else(|_| Err(refused("took too long")))?;
        Ok(Gathered { bytes, _room })
    }

    async fn room(&self, account: AccountId, bytes: usize) -> Result<Option<Room>, ApiError> {
        let pieces = u32::try_from(bytes / PIECE_BYTES).unwrap_or(u32::MAX);
        if pieces == 0 {
            return Ok(None);
        }
        match tokio::time::timeout(self.wait_max, self.take(account, pieces)).await {
            Ok(room) => Ok(Some(room)),
            Err(_) => {
                let message = "too many large requests are under way, try again later";
                Err(ApiError::new(Code::Throttling, message))
            }
        }
    }

    /// A body that is larger than its account's part has that part alone, one that is larger than all
    /// the room has it alone. The part comes first: who waits for it holds up nobody else.
    async fn take(&self, account: AccountId, pieces: u32) -> Room {
        let most = self.part();
        let part = {
            let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            let part = parts.entry(account);
            part.or_insert_with(|| Arc::new(Semaphore::new(most as usize))).clone()
        };
        let part = part.acquire_many_owned(pieces.min(most)).await;
        let room = self.room.clone().acquire_many_owned(pieces.min(self.pieces)).await;
        [room, part].map(|permit| permit.expect("the room is never closed"))
    }

    /// How many pieces an account may take.
    fn part(&self) -> u32 {
        self.pieces.div_ceil(2)
    }
}

/// Reads and drops a body for a while, whose request is refused: its client then sees why.
pub async fn pass_over(body: Body) {
    let _ = tokio::time::timeout(SILENCE_MAX, read(body, 0, true)).await;
}

/// Reads on behind `bytes_max`, for a while, and then refuses. `is_over`: that is clear already.
async fn read(body: Body, bytes_max: usize, mut is_over: bool) -> Result<Vec<u8>, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = Vec::with_capacity(announced.min(FIRST_BYTES_MAX));
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
    const ONE: AccountId = AccountId(1);
    const TWO: AccountId = AccountId(2);

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

    async fn gather(body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
        Bodies::new(512 << 20, Duration::from_secs(30))
            .gather(ONE, body, bytes_max)
            .await
            .map(|gathered| gathered.to_vec())
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

    #[tokio::test(start_paused = true)]
    async fn a_client_that_dawdles_gives_up_its_place() {
        let drop_by_drop = stream::unfold((), |()| async {
            tokio::time::sleep(SILENCE_MAX / 2).await;
            Some((Ok::<_, io::Error>(Bytes::from("a")), ()))
        });
        assert!(code(Body::from_stream(drop_by_drop), PIECE).await.contains("took too long"));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_share_a_bounded_room_and_give_it_back() {
        let bodies = Bodies::new(4 * PIECE_BYTES as u64, Duration::from_secs(30));
        let large = || bodies.gather(ONE, pieces(3).0, 3 * PIECE);
        let first = large().await.expect("there is room");
        let refusal = large().await.err().expect("no room").to_string();
        assert!(refusal.starts_with("Throttling: too many large requests"), "{refusal}");
        assert!(bodies.gather(ONE, Body::from("small"), 3 * PIECE).await.is_ok());
        drop(first);
        assert_eq!(large().await.map(|body| body.len()).ok(), Some(3 * PIECE));
        assert_eq!(bodies.room.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_dawdles_has_half_of_the_room_at_most() {
        let bodies = Bodies::new(8 * PIECE_BYTES as u64, Duration::from_secs(30));
        let large = |account| bodies.gather(account, pieces(2).0, 2 * PIECE);
        let held = [large(ONE).await, large(ONE).await];
        assert!(held.iter().all(Result::is_ok));
        assert!(large(ONE).await.is_err(), "it has its part");
        let other = large(TWO).await;
        assert!(other.is_ok(), "there is room");
        drop(held);
        assert!(large(ONE).await.is_ok());
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
