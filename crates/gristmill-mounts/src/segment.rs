//! A range of an object on its way into memory.
//!
//! A [`Segment`] fetches its range in a task of its own; readers take what has arrived and wait
//! for what has not. Dropping it stops the fetch.
//!
//! Invariants
//! - Pieces lie in order without gaps from the kept start to what has arrived.
//! - The memory was reserved before the request and is given back as the range is forgotten.

use crate::{budget::Reservation, download::Download, remote::bad_body};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm::Crc64Xz, Digest};
use gristmill_objects::ObjectError;
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

/// A range being fetched, or fetched.
#[derive(Debug)]
pub struct Segment {
    range: Range<u64>,
    arriving: Arc<Arriving>,
    task: AbortHandle,
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Arriving {
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Debug)]
struct State {
    /// With the offset of each.
    pieces: VecDeque<(u64, Bytes)>,
    kept_from: u64,
    arrived_to: u64,
    ended: Option<Result<Whole, Arc<ObjectError>>>,
    reservation: Reservation,
}

/// What is known of a range that arrived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// CRC-64 of the range.
    pub crc: u64,
    /// CRC-64 of the object, as the store says.
    pub crc_of_store: Option<u64>,
}

/// Who may ask the store now.
#[derive(Debug)]
pub enum Turn {
    /// This one.
    Mine(OwnedSemaphorePermit),
    /// After those who wait already.
    Queue(Arc<Semaphore>),
}

impl Segment {
    /// Starts fetching. `verify` holds everything back until the CRC-64 has been checked, and
    /// fetches a second time when it is wrong.
    pub fn start(
        range: Range<u64>,
        reservation: Reservation,
        turn: Turn,
        verify: bool,
        download: impl Fn() -> Download + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            pieces: VecDeque::new(),
            kept_from: range.start,
            arrived_to: range.start,
            ended: None,
            reservation,
        };
        let arriving = Arc::new(Arriving { state: Mutex::new(state), moved: Notify::new() });
        let fetch = fetch(arriving.clone(), turn, verify, download);
        let task = tokio::spawn(fetch).abort_handle();
        Self { range, arriving, task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.arriving.state()
    }

    /// What it covers: from what is kept to its end.
    pub fn covers(&self) -> Range<u64> {
        self.state().kept_from..self.range.end
    }

    /// Where it began.
    pub fn start_offset(&self) -> u64 {
        self.range.start
    }

    /// Whether the fetch broke off.
    pub fn has_failed(&self) -> bool {
        matches!(self.state().ended, Some(Err(_)))
    }

    /// Whether requests are still under way.
    pub fn is_arriving(&self) -> bool {
        self.state().ended.is_none()
    }

    /// Its sums, once all of it has arrived.
    pub fn whole(&self) -> Option<Whole> {
        self.state().ended.as_ref()?.as_ref().ok().copied()
    }

    /// Its length.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The pieces of `wanted` if they have arrived. `wanted` must lie inside.
    pub fn take(&self, wanted: &Range<u64>) -> Option<Result<Vec<Bytes>, Arc<ObjectError>>> {
        let state = self.state();
        if state.arrived_to >= wanted.end {
            return Some(Ok(state.cut(wanted)));
        }
        match &state.ended {
            Some(Err(error)) => Some(Err(error.clone())),
            Some(Ok(_)) | None => None,
        }
    }

    /// Waits for the pieces of `wanted`.
    pub async fn wait(&self, wanted: &Range<u64>) -> Result<Vec<Bytes>, Arc<ObjectError>> {
        loop {
            let moved = self.arriving.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if let Some(taken) = self.take(wanted) {
                return taken;
            }
            moved.await;
        }
    }

    /// Forgets what lies before `offset` and gives its memory back.
    pub fn forget_before(&self, offset: u64) {
        let mut state = self.state();
        let upto = offset.min(state.arrived_to);
        while let Some((start, piece)) = state.pieces.front() {
            let end = start + piece.len() as u64;
            if end > upto {
                break;
            }
            state.kept_from = end;
            state.pieces.pop_front();
        }
        let left = self.range.end - state.kept_from;
        state.reservation.shrink_to(left);
    }
}

impl Arriving {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }

    fn end(&self, ended: Result<Whole, Arc<ObjectError>>) {
        self.state().ended = Some(ended);
        self.moved.notify_waiters();
    }
}

impl State {
    fn cut(&self, wanted: &Range<u64>) -> Vec<Bytes> {
        let first = self
            .pieces
            .partition_point(|(start, piece)| start + piece.len() as u64 <= wanted.start);
        let overlapping = self.pieces.range(first..).take_while(|(start, _)| *start < wanted.end);
        overlapping
            .map(|(start, piece)| {
                let from = wanted.start.saturating_sub(*start) as usize;
                let to = (wanted.end - start).min(piece.len() as u64) as usize;
                piece.slice(from..to)
            })
            .collect()
    }
}

/// Ends the wait of readers also when the fetch is stopped.
struct Ending(Arc<Arriving>);

impl Drop for Ending {
    fn drop(&mut self) {
        if self.0.state().ended.is_none() {
            self.0.end(Err(Arc::new(bad_body("read an object", "the fetch was stopped"))));
        }
    }
}

async fn fetch(arriving: Arc<Arriving>, turn: Turn, verify: bool, download: impl Fn() -> Download) {
    let _ending = Ending(arriving.clone());
    let _turn = match turn {
        Turn::Mine(permit) => permit,
        Turn::Queue(requests) => {
            requests.acquire_owned().await.expect("the semaphore is never closed")
        }
    };
    let outcome = if verify {
        fetch_verified(&arriving, &download).await
    } else {
        fetch_as_it_comes(&arriving, download()).await
    };
    arriving.end(outcome.map_err(Arc::new));
}

async fn fetch_as_it_comes(
    arriving: &Arriving,
    mut download: Download,
) -> Result<Whole, ObjectError> {
    let mut crc = Digest::new(Crc64Xz);
    while let Some(piece) = download.next().await? {
        crc.update(&piece);
        if !download.is_done() {
            arriving.state().push(piece);
            arriving.moved.notify_waiters();
            continue;
        }
        // Nobody gets the last piece before the sums are known.
        download.next().await?;
        let whole = Whole { crc: crc.finalize(), crc_of_store: download.crc_of_store() };
        let mut state = arriving.state();
        state.push(piece);
        state.ended = Some(Ok(whole));
        return Ok(whole);
    }
    Ok(Whole { crc: crc.finalize(), crc_of_store: download.crc_of_store() })
}

async fn fetch_verified(
    arriving: &Arriving,
    download: &impl Fn() -> Download,
) -> Result<Whole, ObjectError> {
    let (pieces, whole) = match gather(download()).await {
        Err(ObjectError::Corrupt { .. }) => gather(download()).await?,
        gathered => gathered?,
    };
    let mut state = arriving.state();
    pieces.into_iter().for_each(|piece| state.push(piece));
    Ok(whole)
}

async fn gather(mut download: Download) -> Result<(Vec<Bytes>, Whole), ObjectError> {
    let (mut crc, mut pieces) = (Digest::new(Crc64Xz), vec![]);
    while let Some(piece) = download.next().await? {
        crc.update(&piece);
        pieces.push(piece);
    }
    Ok((pieces, Whole { crc: crc.finalize(), crc_of_store: download.crc_of_store() }))
}

impl State {
    fn push(&mut self, piece: Bytes) {
        let start = self.arrived_to;
        self.arrived_to += piece.len() as u64;
        self.pieces.push_back((start, piece));
    }
}
