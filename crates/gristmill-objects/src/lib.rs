//! Bytes by bucket and key: one trait, [`ObjectStore`], and its implementations on disk, in
//! memory, and on a remote store that speaks the OSS protocol.
//!
//! The namespace is flat: `a`, `a/b`, `a/` and `//x` are four unrelated keys. A PUT is atomic and
//! durable when it returns. Bodies stream in both directions: memory does not grow with the size
//! of an object.
//!
//! [`ObjectStore`] is what every store can do. [`LocalStore`] adds what the OSS door needs of a store
//! that is ours: buckets with owners, copy, append, and listings of uploads.
//!
//! Start at [`ObjectStore`].

mod digest;
pub mod disk;
mod fold;
mod local;
pub mod memory;
pub mod remote;
mod rules;

pub use digest::{Digest, Sum};
pub use local::{
    BucketAcl, BucketInfo, BucketStat, Clock, CompleteOptions, CopyOptions, HeadersChange,
    LocalStore, PartInfo, PartListing, SmallPut, Source, UploadInfo, UploadListOptions,
    UploadListing,
};
pub use rules::PART_SIZE_MIN;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use gristmill_model::Timestamp;
use std::{collections::BTreeMap, io, ops::Range};

/// A body in pieces.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// What the store knows of an object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Without quotes; upper-case MD5 for simple puts, `…-N` for N parts.
    pub etag: String,
    /// When it was last written.
    pub last_modified: Timestamp,
    /// CRC-64/XZ of the whole, where the store knows it.
    pub crc64: Option<u64>,
    /// `Normal`, `Appendable`, `Multipart` or `Symlink`.
    pub kind: String,
    /// `Content-Type` and the other stored headers, lower-case names. User metadata is here as
    /// `x-oss-meta-…`. Listings leave this empty.
    pub headers: BTreeMap<String, String>,
}

/// What to write besides the bytes.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Headers to keep with the object, lower-case names.
    pub headers: BTreeMap<String, String>,
    /// Expected MD5 of the body (`Content-MD5`, decoded).
    pub content_md5: Option<[u8; 16]>,
    /// Refuse when the key exists (`x-oss-forbid-overwrite`).
    pub forbid_overwrite: bool,
    /// Expected length, when the sender said it.
    pub length: Option<u64>,
}

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// Byte range inside the object; the end is cut to its size. A start beyond the size is
    /// refused with `InvalidRange`; a start at the size gives no bytes.
    pub range: Option<Range<u64>>,
    /// Refuse with [`ObjectError::Changed`] when the ETag is another one.
    pub if_match: Option<String>,
}

/// An object being read.
pub struct GetObject {
    /// What it is.
    pub info: ObjectInfo,
    /// Which bytes follow.
    pub range: Range<u64>,
    /// The bytes.
    pub body: ByteStream,
}

/// What to list.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Only keys that start with it.
    pub prefix: String,
    /// Keys with this text after the prefix are folded into common prefixes.
    pub delimiter: Option<String>,
    /// Only keys (and common prefixes) after this one, in byte order.
    pub after: String,
    /// At most this many keys and common prefixes together.
    pub keys_max: usize,
}

/// A page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Objects, in byte order of their keys.
    pub objects: Vec<ObjectInfo>,
    /// Common prefixes, in byte order.
    pub common_prefixes: Vec<String>,
    /// `after` of the next page; `None` when this is the last.
    pub next: Option<String>,
}

/// A part of a multipart upload, as its sender names it at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRef {
    /// 1 to 10000.
    pub number: u32,
    /// The ETag the store answered for it.
    pub etag: String,
}

/// What went wrong, and doing what.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No such bucket.
    #[error("bucket `{bucket}` does not exist")]
    NoSuchBucket {
        /// Which.
        bucket: String,
    },
    /// No such object.
    #[error("object `{key}` does not exist in bucket `{bucket}`")]
    NoSuchKey {
        /// Where.
        bucket: String,
        /// Which.
        key: String,
    },
    /// No such multipart upload.
    #[error("upload `{upload}` does not exist")]
    NoSuchUpload {
        /// Which.
        upload: String,
    },
    /// The object is no longer the one that was meant.
    #[error("object `{key}` in bucket `{bucket}` has changed")]
    Changed {
        /// Where.
        bucket: String,
        /// Which.
        key: String,
    },
    /// The store refuses this caller.
    #[error("access to `{bucket}/{key}` is denied: {message}")]
    Denied {
        /// Where.
        bucket: String,
        /// Which.
        key: String,
        /// The store's words.
        message: String,
    },
    /// The request cannot be right; trying again does not help. `code` is the vendor's.
    #[error("{code}: {message}")]
    Refused {
        /// The vendor's code, e.g. `InvalidPart`, `EntityTooSmall`, `FileAlreadyExists`.
        code: String,
        /// Why.
        message: String,
    },
    /// The disk is full or a quota is used up.
    #[error("no space left in the object store")]
    Full,
    /// The bytes that arrived are not the bytes that were sent.
    #[error("{what} of `{key}` does not match: expected {expected}, got {actual}")]
    Corrupt {
        /// `MD5`, `CRC-64`, `length`.
        what: &'static str,
        /// Of which object.
        key: String,
        /// As announced.
        expected: String,
        /// As computed.
        actual: String,
    },
    /// Disk or network trouble; trying again can help.
    #[error("could not {doing}")]
    Io {
        /// What was being tried.
        doing: String,
        /// The cause.
        source: io::Error,
    },
}

impl ObjectError {
    /// Whether trying again later can help. No `_` arm: a new variant must choose.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full | Self::Corrupt { .. } | Self::Io { .. } => true,
            Self::NoSuchBucket { .. }
            | Self::NoSuchKey { .. }
            | Self::NoSuchUpload { .. }
            | Self::Changed { .. }
            | Self::Denied { .. }
            | Self::Refused { .. } => false,
        }
    }
}

/// Objects by bucket and key. Callers of one store share it; every method may be called from many
/// tasks at once.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Writes a whole object. Nobody sees half of it; it survives power loss when this returns.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError>;

    /// Opens an object for reading. The bytes all belong to one version of it.
    async fn get(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetObject, ObjectError>;

    /// What the store knows of an object.
    async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError>;

    /// Removes an object. Removing what is not there succeeds.
    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError>;

    /// One page of keys.
    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError>;

    /// Begins a multipart upload and returns its id.
    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
    ) -> Result<String, ObjectError>;

    /// Stores one part; returns its ETag. A part sent again replaces the earlier one.
    async fn put_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError>;

    /// Makes the object from the parts, in ascending order of their numbers.
    async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartRef],
    ) -> Result<ObjectInfo, ObjectError>;

    /// Drops an upload and its parts.
    async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<(), ObjectError>;
}

/// A body of bytes that are already in memory.
pub fn body_of(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    Box::pin(futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes))))
}

/// Reads a body whole. Only for bodies that are known to be small.
pub async fn collect(mut body: ByteStream) -> io::Result<Bytes> {
    let mut whole = bytes::BytesMut::new();
    while let Some(chunk) = body.next().await {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole.freeze())
}
