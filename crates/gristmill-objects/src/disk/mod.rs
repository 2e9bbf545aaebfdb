//! The store on a local directory: metadata in SQLite, bytes of larger objects in files.
//!
//! ```text
//! DIR/lock          held while the store is open
//! DIR/reserve       space to empty a full disk with
//! DIR/objects.db    buckets, objects, uploads, and the bytes of small objects
//! DIR/data/*/*      one file per larger object or part, named by a number used once
//! ```
//!
//! A PUT writes and syncs its file, then one thread commits the row together with whatever else
//! waits (group commit), then the file of the earlier version goes. Listing is an index scan in byte
//! order. Completing an upload moves rows, not bytes: an object may consist of many files.
//!
//! Invariants
//! - A row names only files that are complete and durable.
//! - A reader's bytes belong to one version; its files stay until it is done ([`files`]).
//! - Reads never wait for writes: they have connections of their own.
//! - A full disk fails writes with [`ObjectError::Full`] and nothing else.
//!
//! Start at [`DiskStore`]; [`writer`] is the commit, [`files`] the life of a file.

mod body;
mod buckets;
mod files;
mod local;
mod reserve;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod uploads;
mod writer;

use crate::{
    ByteStream, Clock, CompleteOptions, GetObject, GetOptions, ListOptions, Listing, LocalStore,
    ObjectError, ObjectInfo, ObjectStore, PartInfo, PartRef, PutOptions, Sum, UploadInfo, body_of,
    rules::{check_key, check_part_number, clip, exists, io_error, kind_of},
};
use async_trait::async_trait;
use body::{INLINE_MAX, Staged, blocking};
use buckets::Buckets;
use files::{Files, NewFile};
use gristmill_files::lock_patiently;
use gristmill_model::AccountId;
use reserve::Reserve;
use rows::{Content, Piece};
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};
use tokio::sync::Semaphore;
use writer::{Change, Writer};

/// Appends to different objects rarely share one of these locks.
const APPEND_LOCKS: usize = 64;

/// Look-ups and listings at once. More would only wait for the disk, with a cache each.
const READERS_MAX: usize = 32;

/// Objects in a local directory.
pub struct DiskStore {
    clock: Clock,
    files: Arc<Files>,
    readers: Arc<Readers>,
    writer: Writer,
    reserve: Arc<Reserve>,
    buckets: Arc<Buckets>,
    appends: Vec<Arc<tokio::sync::Mutex<()>>>,
}

/// Connections for reading, and how many may read at once.
struct Readers {
    database: PathBuf,
    idle: Mutex<Vec<Connection>>,
    slots: Arc<Semaphore>,
}

impl DiskStore {
    /// Opens or makes the store in `directory`. Waits for the disk; fails when another process has
    /// it open. Files that a crash left behind are removed in the background.
    pub fn open(directory: &Path, clock: Clock) -> Result<Self, ObjectError> {
        make_private(directory).map_err(|e| io_error("make the object directory", e))?;
        let lock = lock(directory)?;
        let database = directory.join("objects.db");
        let (conn, opening) = schema::open_writer(&database)?;
        let buckets = Arc::new(Buckets::new(rows::buckets(&conn)?));
        let files = Files::new(&directory.join("data"), opening)?;
        let readers = Arc::new(Readers::new(database));
        sweep_in_background(files.clone(), readers.clone())?;
        let reserve = Arc::new(Reserve::keep(directory));
        let writer = Writer::start(conn, files.clone(), reserve.clone(), lock)?;
        let appends = (0..APPEND_LOCKS).map(|_| Arc::default()).collect();
        Ok(Self { clock, files, readers, writer, reserve, buckets, appends })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let readers = self.readers.clone();
        let slot = readers.slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        blocking(move || {
            // Whoever asked may leave before the disk is done.
            let _slot = slot;
            readers.with(work)
        })
        .await
    }

    /// Lets the store grow, unless the disk is full.
    async fn admit(&self) -> Result<(), ObjectError> {
        if !self.reserve.is_spent() {
            return Ok(());
        }
        let reserve = self.reserve.clone();
        blocking(move || reserve.admit()).await
    }

    /// Refuses early what the commit would refuse after the body arrived. Answers whose the bucket
    /// is, for the commit to look whether it still is.
    async fn check_bucket(&self, bucket: &str) -> Result<AccountId, ObjectError> {
        self.admit().await?;
        Ok(self.buckets.find(bucket)?.owner)
    }

    /// Commits an object whose bytes are staged.
    async fn commit(
        &self,
        (bucket, owner): (&str, AccountId),
        info: ObjectInfo,
        staged: Staged,
        forbid_overwrite: bool,
    ) -> Result<ObjectInfo, ObjectError> {
        let bucket = bucket.to_owned();
        self.writer
            .write(move |conn| {
                let bucket = rows::bucket_id_of(conn, &bucket, owner)?;
                if forbid_overwrite && rows::object(conn, bucket, &info.key)?.is_some() {
                    return Err(exists(&info.key));
                }
                let (content, keep) = content_of(conn, info.size, staged)?;
                let garbage = rows::put_object(conn, bucket, &info, &content)?;
                Ok(Change { keep, garbage, ..Change::of(info) })
            })
            .await
    }

    fn info_of(&self, key: &str, sum: &Sum, headers: BTreeMap<String, String>) -> ObjectInfo {
        ObjectInfo {
            key: key.to_owned(),
            size: sum.length,
            etag: sum.etag(),
            last_modified: (self.clock)(),
            crc64: Some(sum.crc64),
            kind: kind_of(&headers).to_owned(),
            headers,
        }
    }
}

impl Readers {
    fn new(database: PathBuf) -> Self {
        Self { database, idle: Mutex::default(), slots: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        let idle = self.idle.lock().expect("nobody panics while holding it").pop();
        let conn = match idle {
            Some(conn) => conn,
            None => schema::open_reader(&self.database)?,
        };
        let outcome = work(&conn);
        self.idle.lock().expect("nobody panics while holding it").push(conn);
        outcome
    }
}

/// Writes staged bytes down as the content of a row.
fn content_of(
    conn: &Connection,
    length: u64,
    staged: Staged,
) -> Result<(Content, Vec<NewFile>), ObjectError> {
    match staged {
        Staged::Memory(bytes) if bytes.is_empty() => Ok((Content::Files(vec![]), vec![])),
        Staged::Memory(bytes) => Ok((rows::put_inline(conn, &bytes)?, vec![])),
        Staged::File(new) => {
            let piece = Piece { file: new.number, length };
            Ok((Content::Files(vec![piece]), vec![new]))
        }
    }
}

/// Nobody but the owner may look into the directory: small objects lie in the database.
fn make_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

fn lock(directory: &Path) -> Result<File, ObjectError> {
    let open = || {
        let file = File::create(directory.join("lock"))?;
        lock_patiently(&file)?;
        io::Result::Ok(file)
    };
    open().map_err(|e| io_error(format!("lock the object store in {}", directory.display()), e))
}

fn sweep_in_background(files: Arc<Files>, readers: Arc<Readers>) -> Result<(), ObjectError> {
    let sweep = move || {
        let outcome = readers
            .with(rows::files)
            .and_then(|needed| files.sweep(&needed).map_err(|e| io_error("sweep", e)));
        match outcome {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed object files a crash left behind"),
            Err(error) => tracing::warn!(%error, "could not look for files a crash left behind"),
        }
    };
    let thread = thread::Builder::new().name("object-sweeper".into());
    thread.spawn(sweep).map(drop).map_err(|e| io_error("start the sweeper of objects", e))
}

#[async_trait]
impl ObjectStore for DiskStore {
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
        body: ByteStream,
    ) -> Result<ObjectInfo, ObjectError> {
        check_key(key)?;
        let owner = self.check_bucket(bucket).await?;
        let (sum, staged) = body::stage(&self.files, key, &options, body, INLINE_MAX).await?;
        let forbid = options.forbid_overwrite;
        let info = self.info_of(key, &sum, options.headers);
        self.commit((bucket, owner), info, staged, forbid).await
    }

    async fn get(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetObject, ObjectError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let files = self.files.clone();
        self.read(move |conn| {
            let gate = files.gate();
            // One transaction, so that the row and its inline bytes belong together.
            let view = conn
                .unchecked_transaction()
                .map_err(|error| rows::sql_error("look up an object", error))?;
            let object = rows::version(&view, &bucket, &key, options.if_match.as_deref())?;
            let range = clip(options.range, object.info.size)?;
            let body = match &object.content {
                Content::Inline(id) => {
                    let bytes = bytes::Bytes::from(rows::inline(&view, *id)?);
                    body_of(bytes.slice(range.start as usize..range.end as usize))
                }
                Content::Files(pieces) => {
                    let cut = body::cut(pieces, &range);
                    let pinned = files.pin(cut.iter().map(|(number, _)| *number).collect());
                    drop(gate);
                    body::stream(files.clone(), pinned, cut)
                }
            };
            Ok(GetObject { info: object.info, range, body })
        })
        .await
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.read(move |conn| Ok(rows::version(conn, &bucket, &key, None)?.info)).await
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        self.delete_all(bucket, vec![key.to_owned()]).await
    }

    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError> {
        let bucket = bucket.to_owned();
        self.read(move |conn| rows::list(conn, rows::bucket_id(conn, &bucket)?, &options)).await
    }

    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        options: PutOptions,
    ) -> Result<String, ObjectError> {
        check_key(key)?;
        self.admit().await?;
        let (bucket, initiated) = (bucket.to_owned(), (self.clock)());
        let id = format!("{:016X}{:016X}", self.files.mint(), initiated.0);
        let info = UploadInfo { key: key.to_owned(), upload: id.clone(), initiated };
        let (headers, forbid_overwrite) = (options.headers, options.forbid_overwrite);
        self.writer
            .write(move |conn| {
                let upload = uploads::Upload { headers, forbid_overwrite };
                uploads::put_upload(conn, rows::bucket_id(conn, &bucket)?, &info, &upload)?;
                Ok(Change::of(id))
            })
            .await
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
        self.admit().await?;
        let (bucket, name) = (bucket.to_owned(), key.to_owned());
        let upload = upload.to_owned();
        let find = move |conn: &Connection| {
            uploads::upload(conn, rows::bucket_id(conn, &bucket)?, &name, &upload)?;
            Ok(upload.clone())
        };
        self.read(find.clone()).await?;
        // Parts are files, so that the object can be made of them as they are.
        let (sum, staged) = body::stage(&self.files, key, &options, body, 0).await?;
        let info = self.info_of(key, &sum, BTreeMap::new());
        let part = PartInfo {
            number,
            size: sum.length,
            etag: sum.etag(),
            crc64: sum.crc64,
            last_modified: info.last_modified,
        };
        self.writer
            .write(move |conn| {
                let upload = find(conn)?;
                let (content, keep) = content_of(conn, sum.length, staged)?;
                let garbage = uploads::put_part(conn, &upload, &part, &content)?;
                Ok(Change { keep, garbage, ..Change::of(info) })
            })
            .await
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
        let (bucket, key, id) = (bucket.to_owned(), key.to_owned(), upload.to_owned());
        self.shrink(move |conn| {
            let bucket = rows::bucket_id(conn, &bucket)?;
            uploads::upload(conn, bucket, &key, &id)?;
            let contents = uploads::take_upload(conn, bucket, &key, &id)?;
            Ok(contents.values().flat_map(Content::files).collect())
        })
        .await
    }
}
