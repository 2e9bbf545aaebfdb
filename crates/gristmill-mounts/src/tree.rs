//! The files of a mount, learned from the store when somebody looks.
//!
//! [`Tree::open`] asks for the first page of every source, so that a wrong name or a missing
//! right fails the mount and not the program. A recursive listing of each source goes on behind;
//! who asks for a directory meanwhile waits for a few pages of it and then lists that directory
//! alone. When a listing grows too long it stops, and directories are listed as they are used
//! (`reference/mounts.md` 3).
//!
//! Invariants
//! - What a program was told once stays true for the life of the mount (see [`crate::table`]).
//! - 10,000 objects cost ten or eleven requests, whoever asks for what.
//! - The table's lock is never held across `.await`.
//!
//! Start at [`Tree::open`], then [`Tree::lookup`].

use crate::{
    names::Locale,
    remote::{Remote, timed_out},
    source::{OBJECT_NAME, Source, SourceError, SourceKind},
    table::{Attributes, Entry, Ino, Known, ObjectGone, Pin, Recursive, Table},
};
use futures::{StreamExt, TryStreamExt, stream};
use gristmill_model::Timestamp;
use gristmill_objects::{ListOptions, Listing, ObjectError};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{sync::watch, task::AbortHandle};
use tracing::{debug, warn};

/// Keys in a page; the most the store gives.
const PAGE_KEYS: usize = 1_000;

/// The longest key.
pub(crate) const KEY_BYTES_MAX: usize = 1_023;

/// Sources opened at the same time.
const OPENING_MAX: usize = 16;

/// How far the mount looks ahead. Since 0.1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Stop listing everything when this many files and directories are known.
    pub entries_max: usize,
    /// Stop listing everything when the table takes this much memory.
    pub bytes_max: usize,
    /// Who lists a directory waits until the listing of everything has got so many pages.
    pub directory_pages_wait: u32,
    /// The same for who looks for one name.
    pub lookup_pages_wait: u32,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self {
            entries_max: 200_000,
            bytes_max: 64 << 20,
            directory_pages_wait: 12,
            lookup_pages_wait: 3,
        }
    }
}

impl TreeLimits {
    /// List everything, however long it takes.
    pub fn none() -> Self {
        Self {
            entries_max: usize::MAX,
            bytes_max: usize::MAX,
            directory_pages_wait: u32::MAX,
            lookup_pages_wait: u32::MAX,
        }
    }
}

/// How far the listing of a source has got.
#[derive(Debug, Clone, Default)]
struct Progress {
    pages: u32,
    ended: bool,
    error: Option<Arc<ObjectError>>,
}

/// A listing under way; true when the store did not answer.
type Flight = Arc<tokio::sync::Mutex<bool>>;

struct Shared {
    remote: Remote,
    sources: Vec<Source>,
    locale: Locale,
    limits: TreeLimits,
    /// Taken alone, or after a `flights` lock has been released.
    table: Mutex<Table>,
    progress: Vec<watch::Sender<Progress>>,
    /// One listing of a directory at a time. Never taken together with `table`.
    flights: Mutex<HashMap<Ino, Flight>>,
    changed: Mutex<Vec<String>>,
}

/// The files of a mount.
pub struct Tree {
    shared: Arc<Shared>,
    listings: Vec<AbortHandle>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.listings.iter().for_each(AbortHandle::abort);
    }
}

impl Tree {
    /// Opens all sources. `mounted` is the time directories without entries show.
    pub async fn open(
        remote: Remote,
        sources: Vec<Source>,
        locale: Locale,
        limits: TreeLimits,
        mounted: Timestamp,
    ) -> Result<Self, SourceError> {
        let roots = sources.iter().map(|source| (source.prefix(), source.kind)).collect();
        let progress = sources.iter().map(|_| watch::Sender::default()).collect();
        let shared = Arc::new(Shared {
            remote,
            locale,
            limits,
            table: Mutex::new(Table::new(locale, mounted, roots)),
            progress,
            flights: Mutex::default(),
            changed: Mutex::default(),
            sources,
        });
        let opened: Vec<Option<ListingLeft>> = stream::iter(0..shared.sources.len())
            .map(|source| shared.open_source(source))
            .buffered(OPENING_MAX)
            .try_collect()
            .await?;
        let left = opened.into_iter().flatten();
        let listings =
            left.map(|left| tokio::spawn(shared.clone().list_rest(left)).abort_handle()).collect();
        Ok(Self { shared, listings })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table()
    }

    /// The store behind.
    pub fn remote(&self) -> &Remote {
        &self.shared.remote
    }

    /// The bucket of a source.
    pub fn bucket(&self, source: usize) -> &str {
        &self.shared.sources[source].bucket
    }

    /// What is mounted.
    pub fn sources(&self) -> &[Source] {
        &self.shared.sources
    }

    /// The answer to a lookup, when it needs no request.
    pub fn lookup_known(&self, parent: Ino, name: &[u8]) -> Known {
        self.table().lookup(parent, name)
    }

    /// Finds a name in a directory; `None` when it is not there.
    pub async fn lookup(
        &self,
        parent: Ino,
        name: &[u8],
    ) -> Result<Option<Attributes>, ObjectError> {
        self.shared.wait_for_listing(parent, self.shared.limits.lookup_pages_wait).await;
        if let Some(answer) = self.answer(parent, name) {
            return Ok(answer);
        }
        for component in self.shared.locale.candidates(name) {
            self.shared.look_for(parent, &component).await?;
            if let Known::Found(found) = self.lookup_known(parent, name) {
                return Ok(Some(found));
            }
        }
        if !may_be_renamed(name) {
            return Ok(None);
        }
        self.list(parent).await?;
        Ok(self.answer(parent, name).flatten())
    }

    fn answer(&self, parent: Ino, name: &[u8]) -> Option<Option<Attributes>> {
        match self.lookup_known(parent, name) {
            Known::Found(found) => Some(Some(found)),
            Known::Missing => Some(None),
            Known::Unknown => None,
        }
    }

    /// Whether [`Tree::entries`] may be called without [`Tree::list`].
    pub fn is_listed(&self, directory: Ino) -> bool {
        self.table().is_complete(directory)
    }

    /// Makes everything in a directory known.
    pub async fn list(&self, directory: Ino) -> Result<(), ObjectError> {
        self.shared.list(directory).await
    }

    /// Entries of a listed directory from `offset` on.
    pub fn entries(&self, directory: Ino, offset: usize, count_max: usize) -> Vec<Entry> {
        self.table().entries(directory, offset, count_max)
    }

    /// What is known of a number.
    pub fn attributes(&self, ino: Ino) -> Option<Attributes> {
        self.table().attributes(ino)
    }

    /// The directory that holds `ino`.
    pub fn parent(&self, ino: Ino) -> Ino {
        self.table().parent(ino)
    }

    /// The version a file stands for, unless it is known to be gone.
    pub fn pin(&self, ino: Ino) -> Option<Result<Pin, ObjectGone>> {
        self.table().pin(ino)
    }

    /// The object of a file is another one now: every later read of it fails.
    pub fn mark_changed(&self, ino: Ino) {
        let (first, path) = {
            let mut table = self.table();
            let pin = table.pin(ino).and_then(Result::ok);
            (table.mark_changed(ino), pin)
        };
        if let (true, Some(pin)) = (first, path) {
            let path = format!("oss://{}/{}", self.bucket(pin.source), pin.key);
            warn!(%path, "an input was changed while it was in use");
            self.shared.changed.lock().expect("no panic while locked").push(path);
        }
    }

    /// Whether the object of a file is known to be another one now.
    pub fn is_changed(&self, ino: Ino) -> bool {
        self.table().is_changed(ino)
    }

    /// The inputs that were found changed.
    pub fn changed(&self) -> Vec<String> {
        self.shared.changed.lock().expect("no panic while locked").clone()
    }

    /// Names that cannot be shown: how many, and the first few.
    pub fn hidden(&self) -> (usize, Vec<String>) {
        self.table().hidden()
    }

    /// About how much memory the table takes.
    pub fn bytes(&self) -> usize {
        self.table().bytes()
    }

    /// Waits until everything is listed, and returns all files with their paths in the mount.
    pub async fn everything(&self) -> Result<Vec<(Vec<u8>, Ino)>, Arc<ObjectError>> {
        for progress in &self.shared.progress {
            let mut progress = progress.subscribe();
            let ended = progress.wait_for(|progress| progress.ended).await;
            if let Some(error) = ended.ok().and_then(|ended| ended.error.clone()) {
                return Err(error);
            }
        }
        Ok(self.table().files_below(crate::table::ROOT))
    }
}

/// A listing after its first page.
struct ListingLeft {
    source: usize,
    fill: Recursive,
    after: String,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while locked")
    }

    async fn open_source(&self, number: usize) -> Result<Option<ListingLeft>, SourceError> {
        let source = &self.sources[number];
        let opened = match source.kind {
            SourceKind::Prefix => self.open_prefix(number).await,
            SourceKind::Object => self.open_object(number).await.map(|()| None),
        };
        opened.map_err(|error| SourceError { path: source.to_string(), source: error })
    }

    async fn open_object(&self, number: usize) -> Result<(), ObjectError> {
        let source = &self.sources[number];
        let info = self.remote.head(&source.bucket, &source.key).await?;
        let mut table = self.table();
        let directory = table.source_root(number);
        table.put_file(directory, OBJECT_NAME, &info);
        table.complete(directory);
        drop(table);
        self.advance(number, true, None);
        Ok(())
    }

    async fn open_prefix(&self, number: usize) -> Result<Option<ListingLeft>, ObjectError> {
        let page = self.recursive_page(number, String::new()).await?;
        let fill = Recursive::new(&self.table(), number);
        Ok(self.enter(number, fill, page))
    }

    async fn recursive_page(&self, number: usize, after: String) -> Result<Listing, ObjectError> {
        let source = &self.sources[number];
        let options =
            ListOptions { prefix: source.prefix(), delimiter: None, after, keys_max: PAGE_KEYS };
        self.remote.list(&source.bucket, &options).await
    }

    /// Enters a page of a recursive listing; what is left when there is more and room for it.
    fn enter(&self, source: usize, mut fill: Recursive, page: Listing) -> Option<ListingLeft> {
        let mut table = self.table();
        fill.page(&mut table, &page.objects);
        let full = table.len() > self.limits.entries_max || table.bytes() > self.limits.bytes_max;
        let left = match page.next {
            Some(after) if !full => Some(ListingLeft { source, fill, after }),
            Some(_) => {
                debug!(source, "too many objects to list them all, going on by directory");
                None
            }
            None => {
                fill.finish(&mut table);
                None
            }
        };
        drop(table);
        self.advance(source, left.is_none(), None);
        left
    }

    fn advance(&self, source: usize, ended: bool, error: Option<Arc<ObjectError>>) {
        self.progress[source].send_modify(|progress| {
            progress.pages += 1;
            progress.ended |= ended;
            progress.error = error;
        });
    }

    async fn list_rest(self: Arc<Self>, mut left: ListingLeft) {
        let source = left.source;
        loop {
            match self.recursive_page(source, left.after).await {
                Ok(page) => match self.enter(source, left.fill, page) {
                    Some(more) => left = more,
                    None => return,
                },
                Err(error) => {
                    warn!(source, %error, "could not list everything, going on by directory");
                    return self.advance(source, true, Some(Arc::new(error)));
                }
            }
        }
    }

    /// Waits while the listing of everything may soon cover `directory`.
    async fn wait_for_listing(&self, directory: Ino, pages_max: u32) {
        let Some(source) = self.table().source_of(directory) else { return };
        let mut progress = self.progress[source].subscribe();
        let enough = |progress: &Progress| {
            progress.ended || progress.pages >= pages_max || self.table().is_complete(directory)
        };
        // The sender lives as long as `self`.
        let _ = progress.wait_for(enough).await;
    }

    async fn list(&self, directory: Ino) -> Result<(), ObjectError> {
        self.wait_for_listing(directory, self.limits.directory_pages_wait).await;
        let flight = self
            .flights
            .lock()
            .expect("no panic while locked")
            .entry(directory)
            .or_default()
            .clone();
        let mut failed = flight.lock().await;
        if self.table().is_complete(directory) {
            return Ok(());
        }
        if *failed {
            // Patience was over for all who waited; each with its own would wait one after the other.
            return Err(timed_out("list objects"));
        }
        let listed = self.list_alone(directory).await;
        *failed = listed.as_ref().is_err_and(ObjectError::is_transient);
        self.flights.lock().expect("no panic while locked").remove(&directory);
        listed
    }

    async fn list_alone(&self, directory: Ino) -> Result<(), ObjectError> {
        let Some((bucket, prefix)) = self.place(directory) else { return Ok(()) };
        let delimiter = Some("/".to_owned());
        let mut options =
            ListOptions { prefix, delimiter, after: String::new(), keys_max: PAGE_KEYS };
        loop {
            let page = self.remote.list(&bucket, &options).await?;
            let mut table = self.table();
            table.put_page(directory, &page);
            match page.next {
                Some(after) => options.after = after,
                None => {
                    table.complete(directory);
                    return Ok(());
                }
            }
        }
    }

    /// Asks the store for one name of a directory and enters what is there.
    async fn look_for(&self, parent: Ino, component: &str) -> Result<(), ObjectError> {
        let Some((bucket, prefix)) = self.place(parent) else { return Ok(()) };
        let key = format!("{prefix}{component}");
        if key.len() > KEY_BYTES_MAX {
            return Ok(());
        }
        let below = ListOptions {
            prefix: format!("{key}/"),
            delimiter: None,
            after: String::new(),
            keys_max: 1,
        };
        let (file, below) =
            tokio::join!(self.remote.head(&bucket, &key), self.remote.list(&bucket, &below));
        let below = below?;
        let mut table = self.table();
        // A directory wins over a file of the same name.
        let found = match file {
            _ if !below.objects.is_empty() => table.put_directory(parent, component),
            Ok(info) => table.put_file(parent, component, &info),
            Err(ObjectError::NoSuchKey { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(found) = found {
            table.decide(found);
        }
        Ok(())
    }

    fn place(&self, directory: Ino) -> Option<(String, String)> {
        let table = self.table();
        let source = table.source_of(directory)?;
        Some((self.sources[source].bucket.clone(), table.key(directory)?))
    }
}

/// Whether a name looks like the second of two equal names (`x~2`): only a listing tells.
fn may_be_renamed(name: &[u8]) -> bool {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && name.len() > digits + 1 && name[name.len() - digits - 1] == b'~'
}

#[cfg(test)]
mod tests;
