//! Open files: reads in, ranges of objects out.
//!
//! [`Reader::prepare`] asks the [`Pattern`] what a read means, starts the segments that are
//! missing, and returns a [`Prepared`] read: its bytes are there, or it can be waited for. Nothing
//! here blocks (`reference/mounts.md` 4).
//!
//! Invariants
//! - A read is answered whole, or with an error; never short.
//! - Memory is reserved before it is used; a read that finds none waits, read-ahead does without.
//! - Read-ahead leaves a quarter of the requests to those who wait.
//!
//! Start at [`Reader::prepare`].

use crate::{
    budget::{Budget, Reservation},
    download::{Download, Version, check_crc},
    pattern::{Pattern, Plan, REQUEST_BYTES_MAX, SMALL_MAX, WINDOW_MAX},
    remote::{Remote, bad_body},
    segment::{Segment, Turn},
};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm::Crc64Xz, checksum_combine};
use gristmill_objects::ObjectError;
use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::Semaphore, time::Instant};

/// Requests of a mounter under way at the same time.
const REQUESTS_MAX: usize = 64;

/// Requests that read-ahead leaves free.
const REQUESTS_FOR_READS: usize = REQUESTS_MAX / 4;

/// Segments of one open file that arrive at the same time.
const SEGMENTS_ARRIVING_MAX: usize = 16;

/// Who has not read for so long gives back memory when others need it.
const IDLE: Duration = Duration::from_secs(1);

/// All open files of a mount.
pub struct Readers {
    context: Arc<Context>,
    /// Taken before a reader's own lock.
    open: Mutex<HashMap<u64, Arc<Reader>>>,
    opened: AtomicU64,
}

struct Context {
    remote: Remote,
    budget: Budget,
    requests: Arc<Semaphore>,
    streams: AtomicU64,
    runtime: Handle,
}

impl Readers {
    /// No file open yet. Requests run on `runtime`.
    pub fn new(remote: Remote, budget: Budget, runtime: Handle) -> Self {
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        let context = Context { remote, budget, requests, streams: AtomicU64::new(0), runtime };
        Self { context: Arc::new(context), open: Mutex::default(), opened: AtomicU64::new(0) }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Arc<Reader>>> {
        self.open.lock().expect("no panic while locked")
    }

    /// Opens a file and returns its handle. Nothing is asked until the first read.
    pub fn open(&self, version: Version) -> u64 {
        let handle = self.opened.fetch_add(1, Relaxed) + 1;
        self.table().insert(handle, Arc::new(Reader::new(self.context.clone(), version)));
        handle
    }

    /// An open file.
    pub fn get(&self, handle: u64) -> Option<Arc<Reader>> {
        self.table().get(&handle).cloned()
    }

    /// Closes a file; its requests stop.
    pub fn close(&self, handle: u64) {
        self.table().remove(&handle);
    }

    /// The memory of the mount.
    pub fn budget(&self) -> &Budget {
        &self.context.budget
    }

    /// Takes memory back from files nobody reads at present.
    pub fn reclaim(&self) {
        let readers: Vec<Arc<Reader>> = self.table().values().cloned().collect();
        readers.iter().for_each(|reader| reader.forget_if_idle());
    }
}

/// One open file.
pub struct Reader {
    context: Arc<Context>,
    version: Version,
    state: Mutex<ReaderState>,
}

struct ReaderState {
    pattern: Pattern,
    /// By offset; they do not overlap.
    segments: Vec<Arc<Segment>>,
    is_stream: bool,
    delivered: u64,
    check: WholeCheck,
    last_read: Instant,
    /// Where reads that are not answered yet begin; nothing behind them is forgotten.
    waiting: Vec<u64>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.state().is_stream {
            self.context.streams.fetch_sub(1, Relaxed);
        }
    }
}

/// The answer to a read.
#[derive(Debug, Default)]
pub struct Pieces {
    /// In order, without gaps.
    pub bytes: Vec<Bytes>,
    /// Held until the answer is sent.
    _reservation: Option<Reservation>,
}

/// A read whose segments are under way.
pub struct Prepared {
    reader: Arc<Reader>,
    asked: Range<u64>,
    /// `None`: there was no memory to keep anything.
    parts: Option<Vec<(Arc<Segment>, Range<u64>)>>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let mut state = self.reader.state();
        if let Some(at) = state.waiting.iter().position(|start| *start == self.asked.start) {
            state.waiting.swap_remove(at);
        }
    }
}

impl Reader {
    fn new(context: Arc<Context>, version: Version) -> Self {
        let state = ReaderState {
            pattern: Pattern::new(version.size),
            segments: vec![],
            is_stream: false,
            delivered: 0,
            check: WholeCheck::default(),
            last_read: Instant::now(),
            waiting: vec![],
        };
        Self { context, version, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().expect("no panic while locked")
    }

    /// Starts what a read of `size` bytes at `offset` needs, and what the next ones may need.
    pub fn prepare(self: &Arc<Self>, offset: u64, size: u64) -> Prepared {
        let end = offset.saturating_add(size).min(self.version.size);
        let asked = offset.min(end)..end;
        self.state().waiting.push(asked.start);
        let parts = if asked.is_empty() { Some(vec![]) } else { self.start(&asked) };
        Prepared { reader: self.clone(), asked, parts }
    }

    fn start(&self, asked: &Range<u64>) -> Option<Vec<(Arc<Segment>, Range<u64>)>> {
        let _runtime = self.context.runtime.enter();
        let mut state = self.state();
        let state = &mut *state;
        state.last_read = Instant::now();
        let plan = state.pattern.on_read(asked.clone(), self.window_max());
        self.count_stream(state);
        state.check.advance(&state.segments);
        state.forget(&plan);
        for missing in state.missing(&plan.need) {
            let wanted = state.with_ahead(&missing, &plan);
            let segment =
                self.segment_in_queue(wanted).or_else(|| self.segment_in_queue(missing))?;
            state.insert(segment);
        }
        self.read_ahead(state, &plan);
        let parts = state.parts(asked);
        state.delivered += asked.end - asked.start;
        if self.version.size <= SMALL_MAX && state.delivered >= self.version.size {
            state.segments.clear(); // the kernel has it all
        }
        Some(parts)
    }

    fn window_max(&self) -> u64 {
        let streams = self.context.streams.load(Relaxed).max(1);
        WINDOW_MAX.min(self.context.budget.staying_bytes() / streams)
    }

    fn count_stream(&self, state: &mut ReaderState) {
        let is_stream = state.pattern.is_sequential();
        match (state.is_stream, is_stream) {
            (false, true) => drop(self.context.streams.fetch_add(1, Relaxed)),
            (true, false) => drop(self.context.streams.fetch_sub(1, Relaxed)),
            (false, false) | (true, true) => {}
        }
        state.is_stream = is_stream;
    }

    /// A segment somebody waits for, if there is memory for it.
    fn segment_in_queue(&self, range: Range<u64>) -> Option<Segment> {
        let memory = self.context.budget.try_staying(range.end - range.start)?;
        Some(self.segment(range, memory, Turn::Queue(self.context.requests.clone())))
    }

    fn read_ahead(&self, state: &mut ReaderState, plan: &Plan) {
        let mut from = state.covered_to(plan.need.end);
        let missing = plan.ahead_to.saturating_sub(from);
        if missing < plan.ahead_grain && plan.ahead_to < self.version.size {
            return;
        }
        while from < plan.ahead_to && state.arriving() < SEGMENTS_ARRIVING_MAX {
            let end = plan.ahead_to.min(from + REQUEST_BYTES_MAX).min(state.next_start(from));
            let requests = &self.context.requests;
            if requests.available_permits() <= REQUESTS_FOR_READS {
                return;
            }
            let Ok(permit) = requests.clone().try_acquire_owned() else { return };
            let Some(memory) = self.context.budget.try_staying(end - from) else { return };
            state.insert(self.segment(from..end, memory, Turn::Mine(permit)));
            from = state.covered_to(end);
        }
    }

    fn segment(&self, range: Range<u64>, memory: Reservation, turn: Turn) -> Segment {
        let (remote, version) = (self.context.remote.clone(), self.version.clone());
        let verify = self.version.size <= SMALL_MAX && range == (0..self.version.size);
        let fetched = range.clone();
        let download = move || Download::new(&remote, version.clone(), fetched.clone());
        Segment::start(range, memory, turn, verify, download)
    }

    /// Reads without keeping anything, when there is no memory for more.
    async fn read_passing(&self, asked: Range<u64>) -> Result<Pieces, Arc<ObjectError>> {
        let _turn = self.context.requests.acquire().await.expect("the semaphore is never closed");
        let memory = self.context.budget.passing(asked.end - asked.start).await;
        let mut download = Download::new(&self.context.remote, self.version.clone(), asked);
        let mut bytes = vec![];
        while let Some(piece) = download.next().await.map_err(Arc::new)? {
            bytes.push(piece);
        }
        Ok(Pieces { bytes, _reservation: Some(memory) })
    }

    /// After the last byte: were they all the right ones?
    fn check_whole(&self) -> Result<(), Arc<ObjectError>> {
        let mut state = self.state();
        let state = &mut *state;
        state.check.advance(&state.segments);
        match (state.check.next == self.version.size, state.check.of_store) {
            (true, Some(expected)) => {
                check_crc(&self.version.key, expected, state.check.crc).map_err(Arc::new)
            }
            _ => Ok(()),
        }
    }

    fn forget_if_idle(&self) {
        let mut state = self.state();
        if state.last_read.elapsed() >= IDLE {
            state.segments.retain(|segment| segment.is_arriving());
        }
    }
}

impl Prepared {
    /// Whether there was no memory to keep anything; others may have some to give back.
    pub fn is_poor(&self) -> bool {
        self.parts.is_none()
    }

    /// The answer, if it is there.
    pub fn now(&self) -> Option<Result<Pieces, Arc<ObjectError>>> {
        let mut bytes = vec![];
        for (segment, wanted) in self.parts.as_ref()? {
            match segment.take(wanted)? {
                Ok(pieces) => bytes.extend(pieces),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(self.checked(bytes))
    }

    /// Waits for the answer.
    pub async fn wait(self) -> Result<Pieces, Arc<ObjectError>> {
        let Some(parts) = &self.parts else {
            return self.reader.read_passing(self.asked.clone()).await;
        };
        let mut bytes = vec![];
        for (segment, wanted) in parts {
            bytes.extend(segment.wait(wanted).await?);
        }
        self.checked(bytes)
    }

    fn checked(&self, bytes: Vec<Bytes>) -> Result<Pieces, Arc<ObjectError>> {
        // A short answer would look like the end of the file.
        let length: usize = bytes.iter().map(Bytes::len).sum();
        if length as u64 != self.asked.end - self.asked.start {
            let why = "the answer is not as long as the question";
            return Err(Arc::new(bad_body("read an object", why)));
        }
        if self.asked.end == self.reader.version.size {
            self.reader.check_whole()?;
        }
        Ok(Pieces { bytes, _reservation: None })
    }
}

impl ReaderState {
    fn forget(&mut self, plan: &Plan) {
        self.segments.retain(|segment| !segment.has_failed());
        if plan.seek {
            self.segments.retain(|segment| overlaps(&segment.covers(), &plan.need));
            return;
        }
        let keep_from = self.waiting.iter().fold(plan.keep_from, |least, start| least.min(*start));
        for segment in &self.segments {
            if segment.start_offset() < keep_from {
                segment.forget_before(keep_from);
            }
        }
        self.segments.retain(|segment| !segment.covers().is_empty());
    }

    /// The parts of `need` that no segment covers.
    fn missing(&self, need: &Range<u64>) -> Vec<Range<u64>> {
        let (mut missing, mut from) = (vec![], need.start);
        for segment in &self.segments {
            let covers = segment.covers();
            if covers.end <= from || covers.start >= need.end {
                continue;
            }
            if covers.start > from {
                missing.push(from..covers.start);
            }
            from = covers.end;
        }
        if from < need.end {
            missing.push(from..need.end);
        }
        missing
    }

    /// A missing range together with the read-ahead that follows it, as one request.
    fn with_ahead(&self, missing: &Range<u64>, plan: &Plan) -> Range<u64> {
        if missing.end < plan.need.end {
            return missing.clone();
        }
        let end = plan.ahead_to.min(missing.start + REQUEST_BYTES_MAX);
        missing.start..end.min(self.next_start(missing.start)).max(missing.end)
    }

    fn covered_to(&self, mut from: u64) -> u64 {
        for segment in &self.segments {
            let covers = segment.covers();
            if covers.start <= from && from < covers.end {
                from = covers.end;
            }
        }
        from
    }

    fn next_start(&self, from: u64) -> u64 {
        let starts = self.segments.iter().map(|segment| segment.covers().start);
        starts.filter(|start| *start > from).min().unwrap_or(u64::MAX)
    }

    fn arriving(&self) -> usize {
        self.segments.iter().filter(|segment| segment.is_arriving()).count()
    }

    fn insert(&mut self, segment: Segment) {
        let at =
            self.segments.partition_point(|other| other.covers().start < segment.covers().start);
        self.segments.insert(at, Arc::new(segment));
    }

    fn parts(&self, asked: &Range<u64>) -> Vec<(Arc<Segment>, Range<u64>)> {
        let parts = self.segments.iter().filter_map(|segment| {
            let covers = segment.covers();
            let wanted = covers.start.max(asked.start)..covers.end.min(asked.end);
            (!wanted.is_empty()).then(|| (segment.clone(), wanted))
        });
        parts.collect()
    }
}

fn overlaps(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The CRC-64 of an object that is read in one pass, put together from its segments.
#[derive(Debug, Default)]
struct WholeCheck {
    next: u64,
    crc: u64,
    of_store: Option<u64>,
}

impl WholeCheck {
    fn advance(&mut self, segments: &[Arc<Segment>]) {
        for segment in segments {
            if segment.start_offset() == self.next
                && let Some(whole) = segment.whole()
            {
                self.crc = checksum_combine(Crc64Xz, self.crc, whole.crc, segment.length());
                self.next += segment.length();
                self.of_store = whole.crc_of_store;
            }
        }
    }
}

#[cfg(test)]
mod tests;
