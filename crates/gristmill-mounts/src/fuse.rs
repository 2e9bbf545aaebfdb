//! The kernel's questions, answered from a [`Tree`] and its [`Readers`].
//!
//! A question that needs no request is answered where it arrives. One that does is handed to the
//! async runtime together with its reply, so that a slow object never holds up another file.
//!
//! Invariants
//! - Read-only: whatever writes is not answered, and the mount is read-only besides.
//! - Answers are true for the life of the mount, so the kernel may keep them as long as it likes.
//! - No answer is a short read: that would look like the end of the file.
//!
//! Locks: neither kind is announced, so the kernel keeps them itself and `flock` and `fcntl` work
//! among the programs that use this mount (`reference/mounts.md` 8).
//!
//! Start at [`Mount::start`].

use crate::{
    download::Version,
    kernel,
    reader::{Pieces, Readers},
    remote::errno,
    table::{Attributes, Entry, Ino, Kind, Known},
    tree::Tree,
};
use bytes::Bytes;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, Request,
    Session, SessionACL,
};
use gristmill_model::Timestamp;
use gristmill_objects::ObjectError;
use std::{
    cell::RefCell,
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::runtime::Handle;
use tracing::warn;

/// How long the kernel may keep what it was told: for ever, in effect.
const KEEP: Duration = Duration::from_secs(365 * 86_400);

/// The largest read the kernel sends.
const READ_MAX: u32 = 1 << 20;

/// Requests the kernel keeps in the background, mostly its read-ahead.
const BACKGROUND_MAX: u16 = 64;

/// Threads that take questions. More help one stream a little and hurt many small files.
const THREADS: usize = 2;

/// How often to look whether somebody who waits is being killed.
const DYING_CHECK: Duration = Duration::from_millis(500);

/// Entries taken from the tree at a time.
const ENTRIES_AT_ONCE: usize = 256;

/// Blocks in `statfs`: a very large disk, all of it in use.
const BLOCKS: u64 = 1 << 38;

/// Every file and directory is readable and executable, never writable.
const PERMISSIONS: u16 = 0o555;

/// A tree seen through the kernel.
pub struct Mount {
    mount_point: PathBuf,
    session: BackgroundSession,
}

impl Mount {
    /// Mounts `files` at a directory through an open device.
    pub fn start(files: Files, device: OwnedFd, mount_point: &Path) -> io::Result<Self> {
        kernel::mount_at(&device, mount_point)?;
        let mount_point = mount_point.to_owned();
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.n_threads = Some(THREADS);
        config.clone_fd = true;
        let session = Session::from_fd(files, device, SessionACL::All, config)
            .and_then(Session::spawn)
            .inspect_err(|_| drop(kernel::detach(&mount_point)))?;
        kernel::raise_read_ahead(&mount_point);
        Ok(Self { mount_point, session })
    }

    /// Whether the kernel still asks.
    pub fn is_alive(&self) -> bool {
        !self.session.guard.is_finished()
    }

    /// Takes the mount away and waits until nobody uses it any more, at most `grace`. True when
    /// nobody does.
    pub fn stop(self, grace: Duration) -> bool {
        if let Err(error) = kernel::detach(&self.mount_point) {
            warn!(%error, "could not unmount");
        }
        let until = Instant::now() + grace;
        while self.is_alive() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        !self.is_alive()
    }
}

/// What the kernel is shown.
pub struct Files {
    tree: Arc<Tree>,
    readers: Arc<Readers>,
    runtime: Handle,
    uid: u32,
    gid: u32,
}

impl Files {
    /// The files of `tree`, owned by one user.
    pub fn new(
        tree: Arc<Tree>,
        readers: Arc<Readers>,
        runtime: Handle,
        (uid, gid): (u32, u32),
    ) -> Self {
        Self { tree, readers, runtime, uid, gid }
    }

    fn owner(&self) -> Owner {
        Owner { uid: self.uid, gid: self.gid }
    }
}

#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn attr(self, attributes: &Attributes) -> FileAttr {
        let (kind, size) = match attributes.kind {
            Kind::File { size } => (FileType::RegularFile, size),
            Kind::Directory => (FileType::Directory, 0),
        };
        let modified = system_time(attributes.modified);
        FileAttr {
            ino: INodeNo(attributes.ino.0),
            size,
            blocks: size.div_ceil(512),
            atime: modified,
            mtime: modified,
            ctime: modified,
            crtime: modified,
            kind,
            perm: PERMISSIONS,
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: READ_MAX,
            flags: 0,
        }
    }

    fn reply_entry(self, found: Option<Attributes>, reply: ReplyEntry) {
        // Number 0 tells the kernel to remember that there is nothing.
        let nothing =
            Attributes { ino: Ino(0), kind: Kind::Directory, modified: Timestamp::default() };
        reply.entry(&KEEP, &self.attr(&found.unwrap_or(nothing)), Generation(0));
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0))
}

fn to_errno(error: &ObjectError) -> Errno {
    Errno::from_i32(errno(error).raw_os_error())
}

/// Where a page of a directory goes; the kernel asks with and without attributes.
trait Page: Send + 'static {
    /// Adds an entry; true when there is no room.
    fn add(&mut self, owner: Owner, next: u64, name: &OsStr, attributes: &Attributes) -> bool;
    fn ok(self);
    fn error(self, errno: Errno);
}

impl Page for ReplyDirectory {
    fn add(&mut self, owner: Owner, next: u64, name: &OsStr, attributes: &Attributes) -> bool {
        let attr = owner.attr(attributes);
        Self::add(self, attr.ino, next, attr.kind, name)
    }

    fn ok(self) {
        self.ok();
    }

    fn error(self, errno: Errno) {
        self.error(errno);
    }
}

impl Page for ReplyDirectoryPlus {
    fn add(&mut self, owner: Owner, next: u64, name: &OsStr, attributes: &Attributes) -> bool {
        let attr = owner.attr(attributes);
        Self::add(self, attr.ino, next, name, &KEEP, &attr, Generation(0))
    }

    fn ok(self) {
        self.ok();
    }

    fn error(self, errno: Errno) {
        self.error(errno);
    }
}

/// Fills a page of a listed directory. Offset 0 is `.`, 1 is `..`, the entries follow.
fn fill_page(tree: &Tree, owner: Owner, directory: Ino, offset: u64, page: &mut impl Page) {
    let mut next = offset;
    while next < 2 {
        let (name, ino) = if next == 0 { (".", directory) } else { ("..", tree.parent(directory)) };
        let Some(attributes) = tree.attributes(ino) else { return };
        next += 1;
        if page.add(owner, next, OsStr::new(name), &attributes) {
            return;
        }
    }
    loop {
        let entries = tree.entries(directory, next as usize - 2, ENTRIES_AT_ONCE);
        if entries.is_empty() {
            return;
        }
        for Entry { name, attributes } in entries {
            next += 1;
            if page.add(owner, next, OsStr::from_bytes(&name), &attributes) {
                return;
            }
        }
    }
}

impl Files {
    fn read_page(&self, thread: u32, directory: Ino, offset: u64, mut page: impl Page) {
        let (tree, owner) = (self.tree.clone(), self.owner());
        if tree.is_listed(directory) {
            fill_page(&tree, owner, directory, offset, &mut page);
            return page.ok();
        }
        self.runtime.spawn(async move {
            match unless_asker_dies(thread, tree.list(directory)).await {
                Ok(()) => {
                    fill_page(&tree, owner, directory, offset, &mut page);
                    page.ok();
                }
                Err(errno) => page.error(errno),
            }
        });
    }
}

/// Sends an answer to a read.
fn reply_read(tree: &Tree, ino: Ino, answer: Result<Pieces, Arc<ObjectError>>, reply: ReplyData) {
    match answer {
        Ok(pieces) => send_pieces(&pieces.bytes, reply),
        Err(error) => {
            if let ObjectError::Changed { .. } = *error {
                tree.mark_changed(ino);
            } else {
                warn!(%error, "could not read an input");
            }
            reply.error(to_errno(&error));
        }
    }
}

fn send_pieces(pieces: &[Bytes], reply: ReplyData) {
    thread_local! {
        /// The kernel takes one piece; several are put together here.
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    match pieces {
        [] => reply.data(&[]),
        [one] => reply.data(one),
        several => SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            several.iter().for_each(|piece| scratch.extend_from_slice(piece));
            reply.data(scratch);
        }),
    }
}

/// Ends when the thread that asked is being killed.
async fn asker_dies(thread: u32) {
    loop {
        tokio::time::sleep(DYING_CHECK).await;
        if kernel::is_dying(thread) {
            return;
        }
    }
}

/// Asks the store for as long as the thread that asked us wants an answer.
async fn unless_asker_dies<T>(
    thread: u32,
    asking: impl Future<Output = Result<T, ObjectError>>,
) -> Result<T, Errno> {
    tokio::select! {
        answer = asking => answer.map_err(|error| to_errno(&error)),
        () = asker_dies(thread) => Err(Errno::EINTR),
    }
}

impl Filesystem for Files {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ASYNC_READ,
        ];
        for flag in wanted {
            // An older kernel without it only asks more often.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(READ_MAX);
        if let Err(most) = config.set_max_readahead(READ_MAX) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(BACKGROUND_MAX);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (parent, owner) = (Ino(parent.0), self.owner());
        match self.tree.lookup_known(parent, name.as_bytes()) {
            Known::Found(found) => owner.reply_entry(Some(found), reply),
            Known::Missing => owner.reply_entry(None, reply),
            Known::Unknown => {
                let (tree, name) = (self.tree.clone(), name.as_bytes().to_owned());
                let thread = request.pid();
                self.runtime.spawn(async move {
                    match unless_asker_dies(thread, tree.lookup(parent, &name)).await {
                        Ok(found) => owner.reply_entry(found, reply),
                        Err(errno) => reply.error(errno),
                    }
                });
            }
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        match self.tree.attributes(Ino(ino.0)) {
            Some(attributes) => reply.attr(&KEEP, &self.owner().attr(&attributes)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.tree.pin(Ino(ino.0)) {
            Some(Ok(pin)) => {
                let handle = self.readers.open(Version {
                    bucket: self.tree.bucket(pin.source).into(),
                    key: pin.key.into(),
                    etag: pin.etag,
                    size: pin.size,
                });
                let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                reply.opened(FileHandle(handle), flags);
            }
            Some(Err(_)) => reply.error(Errno::ESTALE),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let ino = Ino(ino.0);
        if self.tree.is_changed(ino) {
            return reply.error(Errno::ESTALE);
        }
        let Some(reader) = self.readers.get(handle.0) else { return reply.error(Errno::EBADF) };
        let prepared = reader.prepare(offset, size.into());
        if let Some(answer) = prepared.now() {
            return reply_read(&self.tree, ino, answer, reply);
        }
        if prepared.is_poor() {
            self.readers.reclaim();
        }
        let (tree, thread) = (self.tree.clone(), request.pid());
        self.runtime.spawn(async move {
            tokio::select! {
                answer = prepared.wait() => reply_read(&tree, ino, answer, reply),
                () = asker_dies(thread) => reply.error(Errno::EINTR),
            }
        });
    }

    fn release(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.readers.close(handle.0);
        reply.ok();
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // The kernel then opens directories itself, and keeps what it has read of them.
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        self.read_page(request.pid(), Ino(ino.0), offset, reply);
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.read_page(request.pid(), Ino(ino.0), offset, reply);
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, 0, 0, BLOCKS, 0, 4096, 255, 4096);
    }

    fn getxattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _size: u32,
        reply: fuser::ReplyXattr,
    ) {
        // The kernel does not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _ino: INodeNo, _size: u32, reply: fuser::ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }
}
