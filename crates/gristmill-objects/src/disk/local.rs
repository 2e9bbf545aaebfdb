//! What the disk store can do as a store of our own: buckets, copy, append.
//!
//! Appends to one object take turns. An appended object is one file that grows in place: bytes
//! behind the length its row names belong to nobody, so an append that is not committed, or whose
//! process dies, changes nothing, and readers of the shorter version are not disturbed.

use super::{
    APPEND_LOCKS, DiskStore,
    body::{self, INLINE_MAX, Staged, blocking},
    content_of,
    files::Pinned,
    rows::{self, Content, Object, Piece},
    uploads,
    writer::Change,
};
use crate::{
    BucketAcl, BucketInfo, BucketStat, ByteStream, CompleteOptions, CopyOptions, HeadersChange,
    LocalStore, ObjectError, ObjectInfo, PartInfo, PartListing, PartRef, PutOptions, SmallPut,
    Source, Sum, UploadListOptions, UploadListing,
    rules::{assemble, check_key, check_position, exists, grown_info, part_page, refused},
};
use async_trait::async_trait;
use gristmill_model::AccountId;
use rusqlite::Connection;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};
use tokio::sync::OwnedMutexGuard;

/// The bytes of an object after an append.
enum Grown {
    /// All of them are staged.
    Staged(Staged),
    /// The object's own file became longer.
    InPlace(Content),
}

/// What an append has of its object for itself until it is committed or refused. It goes through
/// all steps by value, so that it is kept also when whoever appends leaves in the middle: bytes that
/// are still being written must not come between those of the next one.
struct Turn {
    _alone: OwnedMutexGuard<()>,
    _file: Option<Pinned>,
}

impl DiskStore {
    pub(super) async fn delete_all(
        &self,
        bucket: &str,
        keys: Vec<String>,
    ) -> Result<(), ObjectError> {
        let bucket = bucket.to_owned();
        self.shrink(move |conn| {
            let bucket = rows::bucket_id(conn, &bucket)?;
            let mut garbage = vec![];
            for key in &keys {
                garbage.extend(rows::delete_object(conn, bucket, key)?);
            }
            Ok(garbage)
        })
        .await
    }

    /// Commits a change that only removes and answers the files nobody needs any more. On a full
    /// disk the first attempt makes room for the second.
    pub(super) async fn shrink(
        &self,
        work: impl Fn(&Connection) -> Result<Vec<u64>, ObjectError> + Clone + Send + 'static,
    ) -> Result<(), ObjectError> {
        let attempt = || {
            let work = work.clone();
            self.writer.write(move |conn| Ok(Change { garbage: work(conn)?, ..Change::of(()) }))
        };
        match attempt().await {
            Err(ObjectError::Full) => attempt().await,
            outcome => outcome,
        }
    }

    /// Looks up an object with its inline bytes and holds its files.
    async fn pinned(&self, source: &Source) -> Result<(Object, Vec<u8>, Pinned), ObjectError> {
        let (source, files) = (source.clone(), self.files.clone());
        self.read(move |conn| {
            let _gate = files.gate();
            let view = conn
                .unchecked_transaction()
                .map_err(|error| rows::sql_error("look up an object", error))?;
            let object =
                rows::version(&view, &source.bucket, &source.key, source.if_match.as_deref())?;
            let bytes = match object.content {
                Content::Inline(id) => rows::inline(&view, id)?,
                Content::Files(_) => vec![],
            };
            let pinned = files.pin(object.content.files());
            Ok((object, bytes, pinned))
        })
        .await
    }

    pub(super) fn append_lock(&self, bucket: &str, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut hasher = DefaultHasher::new();
        (bucket, key).hash(&mut hasher);
        self.appends[hasher.finish() as usize % APPEND_LOCKS].clone()
    }

    /// Puts staged bytes behind those of `before`.
    async fn grow(
        &self,
        before: &Object,
        bytes: Vec<u8>,
        staged: Staged,
        turn: Turn,
    ) -> Result<(Grown, Turn), ObjectError> {
        let (files, content, size) = (self.files.clone(), before.content.clone(), before.info.size);
        blocking(move || {
            let grown = match (content, staged) {
                (Content::Files(pieces), staged) if pieces.is_empty() => Grown::Staged(staged),
                (Content::Files(pieces), staged) => {
                    let piece = pieces[0];
                    let length = body::extend(&files, piece, &staged)?;
                    let piece = Piece { length: piece.length + length, ..piece };
                    Grown::InPlace(Content::Files(vec![piece]))
                }
                (Content::Inline(_), Staged::Memory(more))
                    if size as usize + more.len() <= INLINE_MAX =>
                {
                    Grown::Staged(Staged::Memory([bytes, more].concat()))
                }
                (Content::Inline(_), staged) => {
                    Grown::Staged(Staged::File(body::join(&files, &bytes, &staged)?))
                }
            };
            Ok((grown, turn))
        })
        .await
    }

    /// Commits an append if the object is still the one that was extended. The same ETag is not
    /// enough: the same bytes may have been put into another file.
    async fn commit_grown(
        &self,
        (bucket, owner): (&str, AccountId),
        before: Option<Object>,
        (piece, fresh): (Sum, ObjectInfo),
        (grown, turn): (Grown, Turn),
    ) -> Result<ObjectInfo, ObjectError> {
        let bucket = bucket.to_owned();
        self.writer
            .write(move |conn| {
                let bucket = rows::bucket_id_of(conn, &bucket, owner)?;
                let now = rows::object(conn, bucket, &fresh.key)?;
                if now.as_ref().map(version) != before.as_ref().map(version) {
                    let message = "the object was replaced while bytes were appended";
                    return Err(refused("PositionNotEqualToLength", message));
                }
                // Its headers may be others by now.
                let info = now.map(|now| grown_info(&now.info, &piece, &fresh)).unwrap_or(fresh);
                let (content, keep) = match grown {
                    Grown::Staged(staged) => content_of(conn, info.size, staged)?,
                    Grown::InPlace(content) => (content, vec![]),
                };
                let garbage = rows::put_object(conn, bucket, &info, &content)?;
                let change = Change { keep, garbage, ..Change::of(info) };
                Ok(change.then(move || drop(turn)))
            })
            .await
    }
}

/// What tells an object from any other that had its key.
fn version(object: &Object) -> (&str, &Content) {
    (&object.info.etag, &object.content)
}

#[async_trait]
impl LocalStore for DiskStore {
    async fn create_bucket(
        &self,
        bucket: &str,
        owner: AccountId,
        acl: BucketAcl,
    ) -> Result<BucketInfo, ObjectError> {
        let fresh = BucketInfo { name: bucket.to_owned(), owner, created: (self.clock)(), acl };
        let buckets = self.buckets.clone();
        self.writer
            .write(move |conn| {
                let info = match rows::bucket(conn, &fresh.name) {
                    Ok(there) if there.owner != owner => {
                        let message = format!("bucket `{}` is taken", fresh.name);
                        return Err(refused("BucketAlreadyExists", message));
                    }
                    Ok(there) => BucketInfo { acl, ..there },
                    Err(ObjectError::NoSuchBucket { .. }) => fresh,
                    Err(error) => return Err(error),
                };
                rows::put_bucket(conn, &info)?;
                Ok(Change::of(info.clone()).then(move || buckets.put(info)))
            })
            .await
    }

    async fn bucket(&self, bucket: &str) -> Result<BucketInfo, ObjectError> {
        self.buckets.find(bucket)
    }

    async fn list_buckets(&self, owner: AccountId) -> Result<Vec<BucketInfo>, ObjectError> {
        Ok(self.buckets.of(owner))
    }

    async fn set_bucket_acl(&self, bucket: &str, acl: BucketAcl) -> Result<(), ObjectError> {
        let (bucket, buckets) = (bucket.to_owned(), self.buckets.clone());
        self.writer
            .write(move |conn| {
                let info = BucketInfo { acl, ..rows::bucket(conn, &bucket)? };
                rows::put_bucket(conn, &info)?;
                Ok(Change::of(()).then(move || buckets.put(info)))
            })
            .await
    }

    async fn delete_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        let (bucket, buckets) = (bucket.to_owned(), self.buckets.clone());
        self.writer
            .write(move |conn| {
                let id = rows::bucket_id(conn, &bucket)?;
                if !rows::is_empty(conn, id)? {
                    let message = "the bucket has objects or unfinished uploads";
                    return Err(refused("BucketNotEmpty", message));
                }
                rows::delete_bucket(conn, id)?;
                Ok(Change::of(()).then(move || buckets.remove(&bucket)))
            })
            .await
    }

    async fn bucket_stat(&self, bucket: &str) -> Result<BucketStat, ObjectError> {
        let bucket = bucket.to_owned();
        self.read(move |conn| rows::stat(conn, rows::bucket_id(conn, &bucket)?)).await
    }

    async fn bucket_setting(
        &self,
        bucket: &str,
        name: &str,
    ) -> Result<Option<String>, ObjectError> {
        let (bucket, name) = (bucket.to_owned(), name.to_owned());
        self.read(move |conn| rows::setting(conn, rows::bucket_id(conn, &bucket)?, &name)).await
    }

    async fn set_bucket_setting(
        &self,
        bucket: &str,
        name: &str,
        text: Option<String>,
    ) -> Result<(), ObjectError> {
        let (bucket, name) = (bucket.to_owned(), name.to_owned());
        self.writer
            .write(move |conn| {
                let bucket = rows::bucket_id(conn, &bucket)?;
                rows::put_setting(conn, bucket, &name, text.as_deref())?;
                Ok(Change::of(()))
            })
            .await
    }

    async fn change_headers(
        &self,
        bucket: &str,
        key: &str,
        change: HeadersChange,
    ) -> Result<ObjectInfo, ObjectError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.writer
            .write(move |conn| {
                let mut info = rows::version(conn, &bucket, &key, None)?.info;
                change(&mut info.headers);
                rows::put_headers(conn, rows::bucket_id(conn, &bucket)?, &info)?;
                Ok(Change::of(info))
            })
            .await
    }

    async fn copy(
        &self,
        source: &Source,
        bucket: &str,
        key: &str,
        options: CopyOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        check_key(key)?;
        self.admit().await?;
        let (object, bytes, pinned) = self.pinned(source).await?;
        let mut info =
            ObjectInfo { key: key.to_owned(), last_modified: (self.clock)(), ..object.info };
        if info.kind != "Symlink" {
            info.kind = "Normal".into();
        }
        if let Some(headers) = options.headers {
            info.headers = headers;
        }
        let files = self.files.clone();
        let pieces = match object.content {
            Content::Inline(_) => vec![],
            Content::Files(pieces) => pieces,
        };
        // The names are made while the source is pinned; the commit then needs nothing of it.
        let twins = blocking(move || {
            let twin = |piece: &Piece| Ok((files.duplicate(piece.file)?, piece.length));
            let twins = pieces.iter().map(twin).collect::<Result<Vec<_>, ObjectError>>();
            drop(pinned);
            twins
        })
        .await?;
        let (bucket, forbid) = (bucket.to_owned(), options.forbid_overwrite);
        self.writer
            .write(move |conn| {
                let bucket = rows::bucket_id(conn, &bucket)?;
                if forbid && rows::object(conn, bucket, &info.key)?.is_some() {
                    return Err(exists(&info.key));
                }
                let content = match bytes.is_empty() {
                    true => Content::Files(
                        twins
                            .iter()
                            .map(|(new, length)| Piece { file: new.number, length: *length })
                            .collect(),
                    ),
                    false => rows::put_inline(conn, &bytes)?,
                };
                let garbage = rows::put_object(conn, bucket, &info, &content)?;
                let keep = twins.into_iter().map(|(new, _)| new).collect();
                Ok(Change { keep, garbage, ..Change::of(info) })
            })
            .await
    }

    async fn append(
        &self,
        bucket: &str,
        key: &str,
        position: u64,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError> {
        check_key(key)?;
        let owner = self.check_bucket(bucket).await?;
        // The body arrives before the lock is taken: a slow sender stops nobody.
        let (sum, staged) = body::stage(&self.files, key, &options, body, INLINE_MAX).await?;
        let mut fresh = self.info_of(key, &sum, options.headers);
        fresh.kind = "Appendable".into();
        let alone = self.append_lock(bucket, key).lock_owned().await;
        let source = Source { bucket: bucket.to_owned(), key: key.to_owned(), if_match: None };
        let (before, bytes, file) = match self.pinned(&source).await {
            Ok(found) => found,
            Err(ObjectError::NoSuchKey { .. }) => {
                check_position(position, 0)?;
                let grown = (Grown::Staged(staged), Turn { _alone: alone, _file: None });
                return self.commit_grown((bucket, owner), None, (sum, fresh), grown).await;
            }
            Err(error) => return Err(error),
        };
        let turn = Turn { _alone: alone, _file: Some(file) };
        if before.info.kind != "Appendable" {
            return Err(refused("ObjectNotAppendable", "the object is not appendable"));
        }
        check_position(position, before.info.size)?;
        let grown = self.grow(&before, bytes, staged, turn).await?;
        self.commit_grown((bucket, owner), Some(before), (sum, fresh), grown).await
    }

    async fn delete_many(&self, bucket: &str, keys: &[String]) -> Result<(), ObjectError> {
        self.delete_all(bucket, keys.to_vec()).await
    }

    async fn put_many(
        &self,
        puts: Vec<SmallPut>,
    ) -> Result<Vec<Result<(), ObjectError>>, ObjectError> {
        self.admit().await?;
        let staged: Vec<_> = puts
            .into_iter()
            .map(|put| {
                let info = self.info_of(&put.key, &Sum::of(&put.bytes), put.headers);
                (put.bucket, info, put.bytes)
            })
            .collect();
        self.writer
            .write(move |conn| {
                let (mut outcomes, mut garbage) = (Vec::with_capacity(staged.len()), vec![]);
                for (bucket, info, bytes) in staged {
                    let one = rows::put_small(conn, &bucket, &info, &bytes);
                    match one {
                        // The database may have undone the whole batch.
                        Err(error) if error.is_transient() => return Err(error),
                        one => outcomes.push(one.map(|unneeded| garbage.extend(unneeded))),
                    }
                }
                Ok(Change { garbage, ..Change::of(outcomes) })
            })
            .await
    }

    async fn complete_upload_with(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartRef],
        options: CompleteOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        let (bucket, key, id) = (bucket.to_owned(), key.to_owned(), upload.to_owned());
        let (named, last_modified) = (parts.to_vec(), (self.clock)());
        self.writer
            .write(move |conn| {
                let bucket = rows::bucket_id(conn, &bucket)?;
                let upload = uploads::upload(conn, bucket, &key, &id)?;
                let forbid = upload.forbid_overwrite || options.forbid_overwrite;
                if forbid && rows::object(conn, bucket, &key)?.is_some() {
                    return Err(exists(&key));
                }
                let there: HashMap<u32, PartInfo> = uploads::parts(conn, &id, 0, usize::MAX >> 1)?
                    .into_iter()
                    .map(|part| (part.number, part))
                    .collect();
                let whole = assemble(&named, |number| there.get(&number))?;
                let mut contents = uploads::take_upload(conn, bucket, &key, &id)?;
                let mut pieces = vec![];
                for part in &named {
                    if let Some(Content::Files(files)) = contents.remove(&part.number) {
                        pieces.extend(files);
                    }
                }
                let mut headers = upload.headers;
                headers.extend(options.headers);
                let info = ObjectInfo {
                    key,
                    size: whole.size,
                    etag: whole.etag,
                    last_modified,
                    crc64: Some(whole.crc64),
                    kind: "Multipart".into(),
                    headers,
                };
                let mut garbage = rows::put_object(conn, bucket, &info, &Content::Files(pieces))?;
                garbage.extend(contents.values().flat_map(Content::files));
                Ok(Change { garbage, ..Change::of(info) })
            })
            .await
    }

    async fn list_parts(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        after: u32,
        parts_max: usize,
    ) -> Result<PartListing, ObjectError> {
        let (bucket, key, id) = (bucket.to_owned(), key.to_owned(), upload.to_owned());
        self.read(move |conn| {
            uploads::upload(conn, rows::bucket_id(conn, &bucket)?, &key, &id)?;
            let parts = uploads::parts(conn, &id, after, parts_max.saturating_add(1))?;
            Ok(part_page(parts, parts_max))
        })
        .await
    }

    async fn list_uploads(
        &self,
        bucket: &str,
        options: UploadListOptions,
    ) -> Result<UploadListing, ObjectError> {
        let bucket = bucket.to_owned();
        self.read(move |conn| uploads::uploads(conn, rows::bucket_id(conn, &bucket)?, &options))
            .await
    }
}
