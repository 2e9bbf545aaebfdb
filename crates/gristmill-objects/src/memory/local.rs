//! What the memory store can do as a store of our own: buckets, copy, append.

use super::{MemoryStore, Object, gather};
use crate::{
    BucketAcl, BucketInfo, BucketStat, ByteStream, CompleteOptions, CopyOptions, HeadersChange,
    LocalStore, ObjectError, ObjectInfo, PartListing, PartRef, PutOptions, Source,
    UploadListOptions, UploadListing,
    rules::{
        assemble, check_key, check_position, grown_info, no_bucket, no_upload, part_page, refused,
    },
};
use async_trait::async_trait;
use gristmill_model::AccountId;
use std::ops::Bound;

#[async_trait]
impl LocalStore for MemoryStore {
    async fn create_bucket(
        &self,
        bucket: &str,
        owner: AccountId,
        acl: BucketAcl,
    ) -> Result<BucketInfo, ObjectError> {
        self.make_bucket(bucket, owner, acl)
    }

    async fn bucket(&self, bucket: &str) -> Result<BucketInfo, ObjectError> {
        self.in_bucket(bucket, |bucket| Ok(bucket.info.clone()))
    }

    async fn list_buckets(&self, owner: AccountId) -> Result<Vec<BucketInfo>, ObjectError> {
        let state = self.state();
        let infos = state.buckets.values().map(|bucket| bucket.info.clone());
        Ok(infos.filter(|info| info.owner == owner).collect())
    }

    async fn set_bucket_acl(&self, bucket: &str, acl: BucketAcl) -> Result<(), ObjectError> {
        self.in_bucket(bucket, |bucket| {
            bucket.info.acl = acl;
            Ok(())
        })
    }

    async fn delete_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        let mut state = self.state();
        let found = state.buckets.get(bucket).ok_or_else(|| no_bucket(bucket))?;
        if !found.objects.is_empty() || !found.uploads.is_empty() {
            return Err(refused("BucketNotEmpty", "the bucket has objects or unfinished uploads"));
        }
        state.buckets.remove(bucket);
        Ok(())
    }

    async fn bucket_stat(&self, bucket: &str) -> Result<BucketStat, ObjectError> {
        self.in_bucket(bucket, |bucket| {
            Ok(BucketStat {
                bytes: bucket.objects.values().map(|object| object.info.size).sum(),
                objects: bucket.objects.len() as u64,
                uploads: bucket.uploads.len() as u64,
                parts: bucket.uploads.values().map(|upload| upload.parts.len() as u64).sum(),
            })
        })
    }

    async fn bucket_setting(
        &self,
        bucket: &str,
        name: &str,
    ) -> Result<Option<String>, ObjectError> {
        self.in_bucket(bucket, |bucket| Ok(bucket.settings.get(name).cloned()))
    }

    async fn set_bucket_setting(
        &self,
        bucket: &str,
        name: &str,
        text: Option<String>,
    ) -> Result<(), ObjectError> {
        self.in_bucket(bucket, |bucket| {
            match text {
                Some(text) => bucket.settings.insert(name.to_owned(), text),
                None => bucket.settings.remove(name),
            };
            Ok(())
        })
    }

    async fn change_headers(
        &self,
        bucket: &str,
        key: &str,
        change: HeadersChange,
    ) -> Result<ObjectInfo, ObjectError> {
        self.in_bucket(bucket, |bucket| {
            let mut object = bucket.object(key)?.clone();
            change(&mut object.info.headers);
            bucket.place(object, false)
        })
    }

    async fn copy(
        &self,
        source: &Source,
        bucket: &str,
        key: &str,
        options: CopyOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        check_key(key)?;
        let mut object = self.in_bucket(&source.bucket, |bucket| {
            bucket.version(&source.key, source.if_match.as_deref()).cloned()
        })?;
        object.info.key = key.to_owned();
        object.info.last_modified = (self.clock)();
        if let Some(headers) = options.headers {
            object.info.headers = headers;
        }
        if object.info.kind != "Symlink" {
            "Normal".clone_into(&mut object.info.kind);
        }
        self.in_bucket(bucket, |bucket| bucket.place(object, options.forbid_overwrite))
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
        let owner = self.in_bucket(bucket, |bucket| Ok(bucket.info.owner))?;
        let (sum, data) = gather(key, &options, body).await?;
        let mut fresh = self.object_of(key, sum, options, data);
        "Appendable".clone_into(&mut fresh.info.kind);
        self.in_bucket_of(owner, bucket, |bucket| {
            let Some(before) = bucket.objects.get(key.as_bytes()) else {
                check_position(position, 0)?;
                return bucket.place(fresh, false);
            };
            if before.info.kind != "Appendable" {
                return Err(refused("ObjectNotAppendable", "the object is not appendable"));
            }
            check_position(position, before.info.size)?;
            let mut grown = before.clone();
            grown.info = grown_info(&before.info, &sum, &fresh.info);
            grown.data.append(&mut fresh.data);
            bucket.place(grown, false)
        })
    }

    async fn delete_many(&self, bucket: &str, keys: &[String]) -> Result<(), ObjectError> {
        self.in_bucket(bucket, |bucket| {
            for key in keys {
                bucket.objects.remove(key.as_bytes());
            }
            Ok(())
        })
    }

    async fn complete_upload_with(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartRef],
        options: CompleteOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        let last_modified = (self.clock)();
        let id = (key.as_bytes().to_vec(), upload.to_owned());
        self.in_bucket(bucket, |bucket| {
            let found = bucket.uploads.get(&id).ok_or_else(|| no_upload(upload))?;
            let whole = assemble(parts, |number| found.parts.get(&number).map(|(info, _)| info))?;
            let data = parts.iter().flat_map(|part| found.parts[&part.number].1.clone()).collect();
            let mut headers = found.options.headers.clone();
            headers.extend(options.headers);
            let info = ObjectInfo {
                key: key.to_owned(),
                size: whole.size,
                etag: whole.etag,
                last_modified,
                crc64: Some(whole.crc64),
                kind: "Multipart".to_owned(),
                headers,
            };
            let forbid = found.options.forbid_overwrite || options.forbid_overwrite;
            let info = bucket.place(Object { info, data }, forbid)?;
            bucket.uploads.remove(&id);
            Ok(info)
        })
    }

    async fn list_parts(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        after: u32,
        parts_max: usize,
    ) -> Result<PartListing, ObjectError> {
        self.in_upload(bucket, key, upload, |upload| {
            let rest = upload.parts.range((Bound::Excluded(after), Bound::Unbounded));
            let parts = rest.map(|(_, (info, _))| info.clone()).take(parts_max + 1).collect();
            Ok(part_page(parts, parts_max))
        })
    }

    async fn list_uploads(
        &self,
        bucket: &str,
        options: UploadListOptions,
    ) -> Result<UploadListing, ObjectError> {
        self.in_bucket(bucket, |bucket| Ok(bucket.list_uploads(&options)))
    }
}
