//! Files to and from the object store: streaming, in parts when large, with a bar.
//!
//! [`Store::remote`] is the store behind the configured endpoint, with our signature.
//! Memory does not grow with the size of an object: uploads are read as they are sent, in parts
//! from [`MULTIPART_MIN`] on, at most [`PARTS_AT_ONCE`] at a time; downloads are written as they
//! arrive, into a draft that takes the file's name only when it is complete.

use crate::{
    client::{Credentials, install_tls},
    oss_path::OssPath,
    progress::Bar,
    signer::OssSigner,
    words::{Tell, messages as m},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use gristmill_model::Timestamp;
use gristmill_objects::{
    ByteStream, GetOptions, ListOptions, Listing, ObjectError, ObjectInfo, ObjectStore, PartRef,
    PutOptions, remote::RemoteStore,
};
use std::{io::SeekFrom, path::Path, sync::Arc, time::Duration};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};
use tokio_util::io::ReaderStream;

/// Files of this size and more are uploaded in parts.
pub const MULTIPART_MIN: u64 = 64 << 20;
/// The size of a part, unless the file needs more than [`PARTS_MAX`] of them.
const PART_SIZE: u64 = 16 << 20;
/// How many parts an object may have.
const PARTS_MAX: u64 = 10_000;
/// How many parts are under way together.
const PARTS_AT_ONCE: usize = 4;
/// Bytes read from a file at once.
const BUFFER: usize = 256 << 10;
/// Keys per page of a listing.
const PAGE: usize = 1000;

/// How often a piece that can be sent again is tried.
const TRIES_MAX: u32 = 3;
/// The pause before the second try; the third waits twice as long.
const PAUSE: Duration = Duration::from_millis(300);

/// The object store as commands use it.
#[derive(Clone)]
pub struct Store {
    objects: RemoteStore,
}

impl Store {
    /// The store behind an endpoint, with this key.
    pub fn remote(
        url: &str,
        credentials: Credentials,
        clock: fn() -> Timestamp,
    ) -> anyhow::Result<Self> {
        install_tls();
        let signer = OssSigner::new(credentials, clock);
        Ok(Self { objects: RemoteStore::new(url, Arc::new(signer))? })
    }

    /// Makes a bucket; making one's own again is fine.
    pub async fn make_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        self.objects.create_bucket(bucket).await
    }

    /// Uploads a file.
    pub async fn upload(
        &self,
        local: &Path,
        to: &OssPath,
        content_type: Option<&str>,
        bar: &Bar,
    ) -> anyhow::Result<ObjectInfo> {
        let size = tokio::fs::metadata(local).await.tell(m::CANNOT_READ, local.display())?.len();
        let headers = content_type.map(|kind| ("content-type".to_owned(), kind.to_owned()));
        let options = PutOptions {
            headers: headers.into_iter().collect(),
            length: Some(size),
            ..PutOptions::default()
        };
        if size >= MULTIPART_MIN {
            return self.upload_parts(local, size, to, options, bar).await;
        }
        again(async || {
            let body = section(local, 0, size, bar).await.tell(m::CANNOT_READ, local.display())?;
            Ok(self.objects.put(&to.bucket, &to.key, options.clone(), body).await?)
        })
        .await
    }

    async fn upload_parts(
        &self,
        local: &Path,
        size: u64,
        to: &OssPath,
        options: PutOptions,
        bar: &Bar,
    ) -> anyhow::Result<ObjectInfo> {
        let (bucket, key) = (to.bucket.as_str(), to.key.as_str());
        let options = PutOptions { length: None, ..options };
        let upload = self.objects.create_upload(bucket, key, options).await?;
        let sent = self.send_parts(local, size, to, &upload, bar).await;
        let ended = match sent {
            Ok(parts) => {
                self.objects.complete_upload(bucket, key, &upload, &parts).await.map_err(Into::into)
            }
            Err(error) => Err(error),
        };
        if ended.is_err() {
            // Parts nobody will complete only cost space; that they stay is not the error to show.
            let _ = self.objects.abort_upload(bucket, key, &upload).await;
        }
        ended
    }

    async fn send_parts(
        &self,
        local: &Path,
        size: u64,
        to: &OssPath,
        upload: &str,
        bar: &Bar,
    ) -> anyhow::Result<Vec<PartRef>> {
        let part_size = PART_SIZE.max(size.div_ceil(PARTS_MAX));
        let send = |at: u64| async move {
            let (start, number) =
                (at * part_size, u32::try_from(at + 1).expect("at most 10,000 parts"));
            let length = part_size.min(size - start);
            again(async || {
                let read = section(local, start, length, bar).await;
                let body = read.tell(m::CANNOT_READ, local.display())?;
                let options = PutOptions { length: Some(length), ..PutOptions::default() };
                let part =
                    self.objects.put_part(&to.bucket, &to.key, upload, number, options, body);
                Ok(PartRef { number, etag: part.await?.etag })
            })
            .await
        };
        stream::iter((0..size.div_ceil(part_size)).map(send))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Downloads an object into a file, which appears complete or not at all.
    pub async fn download(&self, from: &OssPath, local: &Path, bar: &Bar) -> anyhow::Result<u64> {
        let folder = local
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut object = self.objects.get(&from.bucket, &from.key, GetOptions::default()).await?;
        tokio::fs::create_dir_all(folder).await.tell(m::CANNOT_WRITE, local.display())?;
        let draft = tempfile::Builder::new()
            .prefix(".bcs-")
            .tempfile_in(folder)
            .tell(m::CANNOT_WRITE, local.display())?;
        let mut file = File::from_std(draft.reopen().tell(m::CANNOT_WRITE, local.display())?);
        let mut bytes = 0;
        while let Some(chunk) = object.body.try_next().await.tell(m::CANNOT_READ, from)? {
            file.write_all(&chunk).await.tell(m::CANNOT_WRITE, local.display())?;
            bytes += chunk.len() as u64;
            bar.add(chunk.len() as u64);
        }
        file.flush().await.tell(m::CANNOT_WRITE, local.display())?;
        ordinary_mode(draft.path()).tell(m::CANNOT_WRITE, local.display())?;
        draft.persist(local).tell(m::CANNOT_WRITE, local.display())?;
        Ok(bytes)
    }

    /// Removes an object; removing what is not there is fine.
    pub async fn delete(&self, path: &OssPath) -> Result<(), ObjectError> {
        self.objects.delete(&path.bucket, &path.key).await
    }

    /// Copies an object, its bytes passing through here as a stream.
    pub async fn copy(&self, from: &OssPath, to: &OssPath) -> Result<(), ObjectError> {
        let object = self.objects.get(&from.bucket, &from.key, GetOptions::default()).await?;
        let headers = object.info.headers;
        let options =
            PutOptions { headers, length: Some(object.info.size), ..PutOptions::default() };
        self.objects.put(&to.bucket, &to.key, options, object.body).await.map(drop)
    }

    /// Opens an object, or a range of it, as a stream.
    pub async fn open(
        &self,
        from: &OssPath,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<ByteStream, ObjectError> {
        let options = GetOptions { range, ..GetOptions::default() };
        Ok(self.objects.get(&from.bucket, &from.key, options).await?.body)
    }

    /// What the store knows of an object; `None` when it is not there.
    pub async fn head(&self, path: &OssPath) -> Result<Option<ObjectInfo>, ObjectError> {
        match self.objects.head(&path.bucket, &path.key).await {
            Ok(info) => Ok(Some(info)),
            Err(ObjectError::NoSuchKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One page of what begins with a path, after `after`.
    pub async fn page(
        &self,
        below: &OssPath,
        delimiter: Option<&str>,
        after: &str,
    ) -> Result<Listing, ObjectError> {
        let options = ListOptions {
            prefix: below.key.clone(),
            delimiter: delimiter.map(str::to_owned),
            after: after.to_owned(),
            keys_max: PAGE,
        };
        self.objects.list(&below.bucket, options).await
    }

    /// Everything that begins with a path.
    pub async fn all(
        &self,
        below: &OssPath,
        delimiter: Option<&str>,
    ) -> Result<Listing, ObjectError> {
        let mut all = Listing::default();
        let mut after = String::new();
        loop {
            let page = self.page(below, delimiter, &after).await?;
            all.objects.extend(page.objects);
            all.common_prefixes.extend(page.common_prefixes);
            match page.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }
}

/// Sends again after trouble that may pass. `send` makes its body anew each time.
async fn again<T>(send: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut tried = 1;
    loop {
        let outcome = send().await;
        let is_passing = |error: &anyhow::Error| {
            error.downcast_ref::<ObjectError>().is_some_and(ObjectError::is_transient)
        };
        match outcome {
            Err(error) if tried < TRIES_MAX && is_passing(&error) => {
                tokio::time::sleep(PAUSE * tried).await;
                tried += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Part of a file as a body; its bytes count on the bar as they leave.
async fn section(local: &Path, start: u64, length: u64, bar: &Bar) -> std::io::Result<ByteStream> {
    let mut file = File::open(local).await?;
    file.seek(SeekFrom::Start(start)).await?;
    let bar = bar.clone();
    let bytes = ReaderStream::with_capacity(file.take(length), BUFFER);
    Ok(bytes.inspect_ok(move |chunk: &Bytes| bar.add(chunk.len() as u64)).boxed())
}

/// A temporary file is private; a downloaded one has the mode any new file has.
fn ordinary_mode(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666 & !mask.bits()))
}
