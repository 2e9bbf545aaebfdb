//! What a store of ours can do beyond [`ObjectStore`]: buckets with owners, copy, append, and a
//! look at unfinished uploads. The OSS door stands on this trait.

use crate::{ByteStream, GetOptions, ObjectError, ObjectInfo, ObjectStore, PartRef, PutOptions};
use async_trait::async_trait;
use bytes::Bytes;
use gristmill_model::{AccountId, Timestamp};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Where a store reads the time. The front door makes it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Who may use a bucket without being its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BucketAcl {
    /// The owner only.
    #[default]
    Private,
    /// Anybody may read objects.
    PublicRead,
    /// Anybody may read and write objects.
    PublicReadWrite,
}

impl BucketAcl {
    /// The vendor's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::PublicRead => "public-read",
            Self::PublicReadWrite => "public-read-write",
        }
    }

    /// From the vendor's word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Private, Self::PublicRead, Self::PublicReadWrite]
            .into_iter()
            .find(|acl| acl.as_str() == text)
    }
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: AccountId,
    /// When it was made.
    pub created: Timestamp,
    /// Who else may use it.
    pub acl: BucketAcl,
}

/// What a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketStat {
    /// Bytes of all objects.
    pub bytes: u64,
    /// Objects.
    pub objects: u64,
    /// Uploads that are neither completed nor aborted.
    pub uploads: u64,
    /// Their parts.
    pub parts: u64,
}

/// A change of the headers of an object.
pub type HeadersChange = Box<dyn FnOnce(&mut BTreeMap<String, String>) + Send>;

/// An object to copy from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Refuse with [`ObjectError::Changed`] when its ETag is another one.
    pub if_match: Option<String>,
}

/// How to copy.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Headers of the copy; `None` keeps those of the source.
    pub headers: Option<BTreeMap<String, String>>,
    /// Refuse when the destination exists.
    pub forbid_overwrite: bool,
}

/// What the end of an upload adds to its beginning.
#[derive(Debug, Clone, Default)]
pub struct CompleteOptions {
    /// Headers that take the place of those of the same names.
    pub headers: BTreeMap<String, String>,
    /// Refuse when the key exists, as when the upload began so.
    pub forbid_overwrite: bool,
}

/// A part of an unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// 1 to 10000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// Upper-case MD5.
    pub etag: String,
    /// CRC-64/XZ.
    pub crc64: u64,
    /// When it was stored.
    pub last_modified: Timestamp,
}

/// A page of parts.
#[derive(Debug, Clone, Default)]
pub struct PartListing {
    /// By number.
    pub parts: Vec<PartInfo>,
    /// The number after which the next page starts; `None` when this is the last.
    pub next: Option<u32>,
}

/// Which uploads to list.
#[derive(Debug, Clone, Default)]
pub struct UploadListOptions {
    /// Only keys that start with it.
    pub prefix: String,
    /// Keys with this text after the prefix are folded into common prefixes.
    pub delimiter: Option<String>,
    /// Only uploads of keys after this one…
    pub after_key: String,
    /// …or of this very key with an id after this one. Empty: no upload of that key.
    pub after_upload: String,
    /// At most this many uploads and common prefixes together.
    pub uploads_max: usize,
}

/// An unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// The key the object will have.
    pub key: String,
    /// The id.
    pub upload: String,
    /// When it began.
    pub initiated: Timestamp,
}

/// A page of uploads.
#[derive(Debug, Clone, Default)]
pub struct UploadListing {
    /// By key, then id.
    pub uploads: Vec<UploadInfo>,
    /// In byte order.
    pub common_prefixes: Vec<String>,
    /// Key and upload id after which the next page starts; `None` when this is the last.
    pub next: Option<(String, String)>,
}

/// A small object to write whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallPut {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Headers to keep with the object, lower-case names.
    pub headers: BTreeMap<String, String>,
    /// All of it.
    pub bytes: Bytes,
}

/// A store of ours: an [`ObjectStore`] with buckets, copies and appends.
#[async_trait]
pub trait LocalStore: ObjectStore {
    /// Makes a bucket. One's own bucket again: its ACL is set. Another account's bucket:
    /// `BucketAlreadyExists`.
    async fn create_bucket(
        &self,
        bucket: &str,
        owner: AccountId,
        acl: BucketAcl,
    ) -> Result<BucketInfo, ObjectError>;

    /// What is known of a bucket.
    async fn bucket(&self, bucket: &str) -> Result<BucketInfo, ObjectError>;

    /// The buckets of an account, by name.
    async fn list_buckets(&self, owner: AccountId) -> Result<Vec<BucketInfo>, ObjectError>;

    /// Changes who may use a bucket.
    async fn set_bucket_acl(&self, bucket: &str, acl: BucketAcl) -> Result<(), ObjectError>;

    /// Removes a bucket that has neither objects nor uploads, else `BucketNotEmpty`.
    async fn delete_bucket(&self, bucket: &str) -> Result<(), ObjectError>;

    /// Counts what a bucket holds.
    async fn bucket_stat(&self, bucket: &str) -> Result<BucketStat, ObjectError>;

    /// A setting kept with the bucket word for word (`cors`, `lifecycle`, …).
    async fn bucket_setting(&self, bucket: &str, name: &str)
    -> Result<Option<String>, ObjectError>;

    /// Sets or removes such a setting.
    async fn set_bucket_setting(
        &self,
        bucket: &str,
        name: &str,
        text: Option<String>,
    ) -> Result<(), ObjectError>;

    /// Changes the headers of an object, not its bytes nor its time, in one step: changes at the same
    /// time do not undo each other.
    async fn change_headers(
        &self,
        bucket: &str,
        key: &str,
        change: HeadersChange,
    ) -> Result<ObjectInfo, ObjectError>;

    /// Copies an object within the store. The copy is atomic like a PUT.
    async fn copy(
        &self,
        source: &Source,
        bucket: &str,
        key: &str,
        options: CopyOptions,
    ) -> Result<ObjectInfo, ObjectError>;

    /// Adds bytes to the end of an appendable object, or makes one at position 0. `size` of the
    /// answer is the next position. Another position than the size: `PositionNotEqualToLength`;
    /// an object of another kind: `ObjectNotAppendable`.
    async fn append(
        &self,
        bucket: &str,
        key: &str,
        position: u64,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError>;

    /// Removes many objects at once; those that are not there count as removed.
    async fn delete_many(&self, bucket: &str, keys: &[String]) -> Result<(), ObjectError>;

    /// Writes many small objects, in this order, each as [`ObjectStore::put`] would, and all in one
    /// commit where the store has one. The inner outcomes are those of each, in the same order; an
    /// error outside means that nothing was written.
    async fn put_many(
        &self,
        puts: Vec<SmallPut>,
    ) -> Result<Vec<Result<(), ObjectError>>, ObjectError> {
        let mut outcomes = Vec::with_capacity(puts.len());
        for put in puts {
            let options = PutOptions { headers: put.headers, ..PutOptions::default() };
            let body = crate::body_of(put.bytes);
            outcomes.push(self.put(&put.bucket, &put.key, options, body).await.map(drop));
        }
        Ok(outcomes)
    }

    /// Completes an upload like [`ObjectStore::complete_upload`], with what was said only at its end.
    async fn complete_upload_with(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartRef],
        options: CompleteOptions,
    ) -> Result<ObjectInfo, ObjectError>;

    /// One page of the parts of an upload, after the part numbered `after`.
    async fn list_parts(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        after: u32,
        parts_max: usize,
    ) -> Result<PartListing, ObjectError>;

    /// One page of unfinished uploads.
    async fn list_uploads(
        &self,
        bucket: &str,
        options: UploadListOptions,
    ) -> Result<UploadListing, ObjectError>;

    /// Stores a part that is a range of an existing object.
    async fn copy_part(
        &self,
        source: &Source,
        range: Option<Range<u64>>,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
    ) -> Result<ObjectInfo, ObjectError> {
        let options = GetOptions { range, if_match: source.if_match.clone() };
        let object = self.get(&source.bucket, &source.key, options).await?;
        let length = Some(object.range.end - object.range.start);
        let options = PutOptions { length, ..PutOptions::default() };
        self.put_part(bucket, key, upload, number, options, object.body).await
    }
}
