//! What the tests of this room share: a store in memory that counts, and fails on request.

use crate::remote::{Patience, Remote};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use gristmill_model::Timestamp;
use gristmill_objects::{
    ByteStream, GetObject, GetOptions, ListOptions, Listing, ObjectError, ObjectInfo, ObjectStore,
    PartRef, PutOptions, memory::MemoryStore,
};
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The bucket of every test.
pub const BUCKET: &str = "bkt";

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Of 100 requests so many fail with a transient error.
    pub errors_percent: u64,
    /// Of 100 bodies so many end early.
    pub short_percent: u64,
    /// Of 100 bodies so many stop in the middle and say nothing more.
    pub stall_percent: u64,
    /// Keys with this text in them are refused.
    pub denied: Option<String>,
    /// Added before every answer.
    pub delay: Duration,
    /// Bodies come in pieces of 1 KiB with this pause before each.
    pub pause_per_kib: Duration,
    /// Listings after so many are answered after ten minutes.
    pub quiet_after_lists: Option<u64>,
    /// Keys with this text in them are answered after ten minutes.
    pub stuck: Option<String>,
    /// Every stored byte is reported with a wrong CRC-64 once per so many puts.
    pub wrong_crc_every: u64,
}

/// A [`MemoryStore`] that counts and fails.
pub struct FaultyStore {
    pub inner: MemoryStore,
    pub faults: Mutex<Faults>,
    pub requests: AtomicU64,
    pub lists: AtomicU64,
    pub heads: AtomicU64,
    pub gets: AtomicU64,
    pub puts: AtomicU64,
    pub parts: AtomicU64,
    pub aborts: AtomicU64,
    dice: AtomicU64,
}

impl FaultyStore {
    pub fn new() -> Arc<Self> {
        let clock = Arc::new(|| Timestamp(1_700_000_000_000_000));
        Arc::new(Self {
            inner: MemoryStore::with_bucket(clock, BUCKET),
            faults: Mutex::default(),
            requests: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            heads: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            parts: AtomicU64::new(0),
            aborts: AtomicU64::new(0),
            dice: AtomicU64::new(7),
        })
    }

    pub fn set(&self, faults: Faults) {
        *self.faults.lock().expect("no panic while locked") = faults;
    }

    /// A patient view with short pauses.
    pub fn remote(self: &Arc<Self>) -> Remote {
        Remote::new(self.clone(), Patience::short(), 1)
    }

    /// Puts an object past all faults.
    pub async fn fill(&self, key: &str, body: impl Into<Bytes>) -> ObjectInfo {
        let body: Bytes = body.into();
        let body = stream::iter([Ok(body)]).boxed();
        self.inner.put(BUCKET, key, PutOptions::default(), body).await.expect("memory takes it")
    }

    /// The bytes of an object, past all faults.
    pub async fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let object = self.inner.get(BUCKET, key, GetOptions::default()).await.ok()?;
        let mut bytes = vec![];
        let mut body = object.body;
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk.expect("memory does not fail"));
        }
        Some(bytes)
    }

    /// All keys, past all faults.
    pub async fn keys(&self) -> Vec<String> {
        let options = ListOptions {
            prefix: String::new(),
            delimiter: None,
            after: String::new(),
            keys_max: 1_000_000,
        };
        let page = self.inner.list(BUCKET, options).await.expect("memory does not fail");
        page.objects.into_iter().map(|info| info.key).collect()
    }

    /// A number below 100, from a fixed stream.
    fn roll(&self) -> u64 {
        let mut bits = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % 100
    }

    async fn gate(&self, counter: &AtomicU64, key: &str) -> Result<Faults, ObjectError> {
        self.requests.fetch_add(1, Relaxed);
        counter.fetch_add(1, Relaxed);
        let faults = self.faults.lock().expect("no panic while locked").clone();
        if !faults.delay.is_zero() {
            tokio::time::sleep(faults.delay).await;
        }
        if faults.stuck.as_ref().is_some_and(|text| key.contains(text.as_str())) {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        if faults.denied.as_ref().is_some_and(|text| key.contains(text.as_str())) {
            let (bucket, key) = (BUCKET.to_owned(), key.to_owned());
            return Err(ObjectError::Denied { bucket, key, message: "no".to_owned() });
        }
        if self.roll() < faults.errors_percent {
            return Err(broken());
        }
        Ok(faults)
    }

    fn spoil(&self, faults: &Faults, mut info: ObjectInfo) -> ObjectInfo {
        let puts = self.puts.load(Relaxed) + self.parts.load(Relaxed);
        if faults.wrong_crc_every > 0 && puts.is_multiple_of(faults.wrong_crc_every) {
            info.crc64 = info.crc64.map(|crc| !crc);
        }
        info
    }
}

fn broken() -> ObjectError {
    ObjectError::Io { doing: "talk".to_owned(), source: io::ErrorKind::ConnectionReset.into() }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError> {
        let faults = self.gate(&self.puts, key).await?;
        Ok(self.spoil(&faults, self.inner.put(bucket, key, options, body).await?))
    }

    async fn get(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetObject, ObjectError> {
        let faults = self.gate(&self.gets, key).await?;
        let mut object = self.inner.get(bucket, key, options).await?;
        if self.roll() < faults.short_percent {
            let keep = (object.range.end - object.range.start) / 2;
            object.body = cut(object.body, keep);
        } else if self.roll() < faults.stall_percent {
            let keep = (object.range.end - object.range.start) / 2;
            object.body = cut(object.body, keep).chain(stream::pending()).boxed();
        } else if !faults.pause_per_kib.is_zero() {
            object.body = trickle(object.body, faults.pause_per_kib);
        }
        Ok(object)
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        self.gate(&self.heads, key).await?;
        self.inner.head(bucket, key).await
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        self.inner.delete(bucket, key).await
    }

    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError> {
        let faults = self.gate(&self.lists, &options.prefix).await?;
        if faults.quiet_after_lists.is_some_and(|most| self.lists.load(Relaxed) > most) {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        self.inner.list(bucket, options).await
    }

    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
    ) -> Result<String, ObjectError> {
        self.gate(&AtomicU64::new(0), key).await?;
        self.inner.create_upload(bucket, key, options).await
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
        let faults = self.gate(&self.parts, key).await?;
        let info = self.inner.put_part(bucket, key, upload, number, options, body).await?;
        Ok(self.spoil(&faults, info))
    }

    async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartRef],
    ) -> Result<ObjectInfo, ObjectError> {
        self.gate(&AtomicU64::new(0), key).await?;
        self.inner.complete_upload(bucket, key, upload, parts).await
    }

    async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<(), ObjectError> {
        self.aborts.fetch_add(1, Relaxed);
        self.inner.abort_upload(bucket, key, upload).await
    }
}

/// The first `keep` bytes of a body, then its end.
fn cut(body: ByteStream, keep: u64) -> ByteStream {
    body.scan(keep, |left, chunk| {
        let chunk = chunk.expect("memory does not fail");
        let take = (chunk.len() as u64).min(*left);
        *left -= take;
        std::future::ready((take > 0).then(|| Ok(chunk.slice(..take as usize))))
    })
    .boxed()
}

/// A body that comes slowly.
fn trickle(body: ByteStream, pause: Duration) -> ByteStream {
    let pieces = body.flat_map(|chunk| {
        let chunk = chunk.expect("memory does not fail");
        let starts = (0..chunk.len()).step_by(1024);
        stream::iter(starts.map(move |at| Ok(chunk.slice(at..chunk.len().min(at + 1024)))))
    });
    pieces
        .then(move |piece| async move {
            tokio::time::sleep(pause).await;
            piece
        })
        .boxed()
}

/// Bytes that differ everywhere, the same every time.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = length as u64 | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
