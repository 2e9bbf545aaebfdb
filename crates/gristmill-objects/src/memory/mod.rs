//! A store in memory: the reference for what every store must do, and the store of other rooms'
//! tests.
//!
//! One lock around everything. It is never held while a body streams: bytes are gathered first and
//! put in place at once, so nobody sees half an object. Readers hold the bytes they opened.

mod local;

use crate::{
    BucketAcl, BucketInfo, ByteStream, Clock, CompleteOptions, Digest, GetObject, GetOptions,
    ListOptions, Listing, LocalStore, ObjectError, ObjectInfo, ObjectStore, PartInfo, PartRef,
    PutOptions, Sum, UploadInfo, UploadListOptions, UploadListing,
    fold::{Fold, See},
    rules::{
        changed, check_key, check_part_number, clip, exists, io_error, kind_of, no_bucket, no_key,
        no_upload, refused, same_etag,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use gristmill_model::AccountId;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard},
};

/// Objects in memory.
pub struct MemoryStore {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    uploads_made: u64,
}

struct Bucket {
    info: BucketInfo,
    settings: BTreeMap<String, String>,
    objects: BTreeMap<Vec<u8>, Object>,
    uploads: BTreeMap<(Vec<u8>, String), Upload>,
}

#[derive(Clone)]
struct Object {
    info: ObjectInfo,
    data: Vec<Bytes>,
}

struct Upload {
    info: UploadInfo,
    options: PutOptions,
    parts: BTreeMap<u32, (PartInfo, Vec<Bytes>)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// A store with one bucket of account 0, for tests.
    pub fn with_bucket(clock: Clock, bucket: &str) -> Self {
        let store = Self::new(clock);
        store.make_bucket(bucket, AccountId::default(), BucketAcl::Private).expect("it is new");
        store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the state")
    }

    /// Looks at or changes a bucket.
    fn in_bucket<T>(
        &self,
        bucket: &str,
        action: impl FnOnce(&mut Bucket) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        let mut state = self.state();
        action(state.buckets.get_mut(bucket).ok_or_else(|| no_bucket(bucket))?)
    }

    /// The same, if it is still this account's: another one may have made a bucket of the same name
    /// while a body arrived.
    fn in_bucket_of<T>(
        &self,
        owner: AccountId,
        name: &str,
        action: impl FnOnce(&mut Bucket) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        self.in_bucket(name, |bucket| match bucket.info.owner == owner {
            true => action(bucket),
            false => Err(no_bucket(name)),
        })
    }

    fn in_upload<T>(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        action: impl FnOnce(&mut Upload) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        let id = (key.as_bytes().to_vec(), upload.to_owned());
        self.in_bucket(bucket, |bucket| {
            action(bucket.uploads.get_mut(&id).ok_or_else(|| no_upload(upload))?)
        })
    }

    fn make_bucket(
        &self,
        bucket: &str,
        owner: AccountId,
        acl: BucketAcl,
    ) -> Result<BucketInfo, ObjectError> {
        let created = (self.clock)();
        let mut state = self.state();
        let made = state.buckets.entry(bucket.to_owned()).or_insert_with(|| Bucket {
            info: BucketInfo { name: bucket.to_owned(), owner, created, acl },
            settings: BTreeMap::new(),
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
        });
        if made.info.owner != owner {
            return Err(refused("BucketAlreadyExists", format!("bucket `{bucket}` is taken")));
        }
        made.info.acl = acl;
        Ok(made.info.clone())
    }

    fn object_of(&self, key: &str, sum: Sum, options: PutOptions, data: Vec<Bytes>) -> Object {
        let info = ObjectInfo {
            key: key.to_owned(),
            size: sum.length,
            etag: sum.etag(),
            last_modified: (self.clock)(),
            crc64: Some(sum.crc64),
            kind: kind_of(&options.headers).to_owned(),
            headers: options.headers,
        };
        Object { info, data }
    }
}

impl Bucket {
    fn object(&self, key: &str) -> Result<&Object, ObjectError> {
        self.objects.get(key.as_bytes()).ok_or_else(|| no_key(&self.info.name, key))
    }

    /// The object, if it is the version that is meant.
    fn version(&self, key: &str, if_match: Option<&str>) -> Result<&Object, ObjectError> {
        let object = self.object(key)?;
        match if_match {
            Some(etag) if !same_etag(etag, &object.info.etag) => Err(changed(&self.info.name, key)),
            _ => Ok(object),
        }
    }

    fn place(&mut self, object: Object, forbid: bool) -> Result<ObjectInfo, ObjectError> {
        let info = object.info.clone();
        if forbid && self.objects.contains_key(info.key.as_bytes()) {
            return Err(exists(&info.key));
        }
        self.objects.insert(info.key.clone().into_bytes(), object);
        Ok(info)
    }

    fn list(&self, options: &ListOptions) -> Listing {
        let mut fold = Fold::new(&options.prefix, options.delimiter.as_deref(), options.keys_max);
        let mut from = fold.seek(&options.after);
        let mut objects = vec![];
        'page: loop {
            let rest = self.objects.range((Bound::Included(from.clone()), Bound::Unbounded));
            for (_, object) in
                rest.take_while(|(key, _)| key.starts_with(options.prefix.as_bytes()))
            {
                match fold.see(&object.info.key) {
                    See::Take => {
                        objects.push(ObjectInfo { headers: BTreeMap::new(), ..object.info.clone() })
                    }
                    See::Seek(to) => {
                        from = to;
                        continue 'page;
                    }
                    See::Full => break 'page,
                }
            }
            break;
        }
        Listing { objects, common_prefixes: fold.common_prefixes, next: fold.next }
    }

    fn list_uploads(&self, options: &UploadListOptions) -> UploadListing {
        let resumes = |key: &str, id: &str| {
            !options.after_upload.is_empty()
                && key == options.after_key
                && id > options.after_upload.as_str()
        };
        let mut fold =
            Fold::new(&options.prefix, options.delimiter.as_deref(), options.uploads_max);
        let mut from = fold.seek(&options.after_key);
        let mut listing = UploadListing::default();
        let mut last = String::new();
        for ((key, id), upload) in &self.uploads {
            let skip = key < &from && !resumes(&upload.info.key, id);
            if skip || !upload.info.key.starts_with(&options.prefix) {
                continue;
            }
            match fold.see(&upload.info.key) {
                See::Take => {
                    last.clone_from(id);
                    listing.uploads.push(upload.info.clone());
                }
                See::Seek(to) => {
                    last.clear();
                    from = to;
                }
                See::Full => break,
            }
        }
        listing.next = fold.next.map(|key| (key, last));
        listing.common_prefixes = fold.common_prefixes;
        listing
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError> {
        check_key(key)?;
        let owner = self.in_bucket(bucket, |bucket| Ok(bucket.info.owner))?;
        let (sum, data) = gather(key, &options, body).await?;
        let forbid = options.forbid_overwrite;
        let object = self.object_of(key, sum, options, data);
        self.in_bucket_of(owner, bucket, |bucket| bucket.place(object, forbid))
    }

    async fn get(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetObject, ObjectError> {
        let object = self.in_bucket(bucket, |bucket| {
            bucket.version(key, options.if_match.as_deref()).cloned()
        })?;
        let range = clip(options.range, object.info.size)?;
        let chunks = slices(&object.data, range.start, range.end).into_iter().map(Ok);
        let body = futures::stream::iter(chunks).boxed();
        Ok(GetObject { info: object.info, range, body })
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        self.in_bucket(bucket, |bucket| Ok(bucket.object(key)?.info.clone()))
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        self.delete_many(bucket, &[key.to_owned()]).await
    }

    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError> {
        self.in_bucket(bucket, |bucket| Ok(bucket.list(&options)))
    }

    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
    ) -> Result<String, ObjectError> {
        check_key(key)?;
        let initiated = (self.clock)();
        let mut state = self.state();
        state.uploads_made += 1;
        let upload = format!("{:032X}", state.uploads_made);
        let bucket = state.buckets.get_mut(bucket).ok_or_else(|| no_bucket(bucket))?;
        let info = UploadInfo { key: key.to_owned(), upload: upload.clone(), initiated };
        let made = Upload { info, options, parts: BTreeMap::new() };
        bucket.uploads.insert((key.as_bytes().to_vec(), upload.clone()), made);
        Ok(upload)
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
        check_part_number(number)?;
        self.in_upload(bucket, key, upload, |_| Ok(()))?;
        let (sum, data) = gather(key, &options, body).await?;
        let info = self.object_of(key, sum, PutOptions::default(), vec![]).info;
        let part = PartInfo {
            number,
            size: sum.length,
            etag: sum.etag(),
            crc64: sum.crc64,
            last_modified: info.last_modified,
        };
        self.in_upload(bucket, key, upload, |upload| {
            upload.parts.insert(number, (part, data));
            Ok(info)
        })
    }

    async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartRef],
    ) -> Result<ObjectInfo, ObjectError> {
        self.complete_upload_with(bucket, key, upload, parts, CompleteOptions::default()).await
    }

    async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<(), ObjectError> {
        let id = (key.as_bytes().to_vec(), upload.to_owned());
        self.in_bucket(bucket, |bucket| {
            bucket.uploads.remove(&id).map(drop).ok_or_else(|| no_upload(upload))
        })
    }
}

async fn gather(
    key: &str,
    options: &PutOptions,
    mut body: ByteStream,
) -> Result<(Sum, Vec<Bytes>), ObjectError> {
    let (mut digest, mut data) = (Digest::default(), vec![]);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| io_error(format!("receive `{key}`"), error))?;
        digest.update(&chunk);
        data.push(chunk);
    }
    let sum = digest.finish();
    sum.check(key, options)?;
    Ok((sum, data))
}

fn slices(data: &[Bytes], start: u64, end: u64) -> Vec<Bytes> {
    let (mut at, mut cut) = (0, vec![]);
    for chunk in data {
        let length = chunk.len() as u64;
        let (from, to) = (start.clamp(at, at + length), end.clamp(at, at + length));
        if from < to {
            cut.push(chunk.slice((from - at) as usize..(to - at) as usize));
        }
        at += length;
    }
    cut
}
