//! Rings when somebody writes to a file: what a reader of a live log waits for.
//!
//! One thread hears the kernel's notices for all waits of this agent, from the first wait on; a file is
//! watched while somebody waits. Without such notices (none left for this user, say) a wait is a pause.

use rustix::{
    fs::inotify::{self, CreateFlags, Reader, WatchFlags},
    io::Errno,
};
use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    thread,
    time::Duration,
};
use tokio::sync::watch;
use tracing::{debug, warn};

/// How long a wait is without notices.
const PAUSE: Duration = Duration::from_millis(20);

/// All waits of this agent.
#[derive(Clone, Default)]
pub struct Writes {
    notices: Arc<OnceLock<Option<Notices>>>,
}

#[derive(Clone)]
struct Notices {
    fd: Arc<OwnedFd>,
    /// By the kernel's number of the file.
    bells: Arc<Mutex<HashMap<i32, Bell>>>,
}

struct Bell {
    rings: watch::Sender<()>,
    waits: usize,
}

/// A file that is watched; `None`: there are no notices.
pub struct Watch(Option<Watched>);

struct Watched {
    rings: watch::Receiver<()>,
    notices: Notices,
    number: i32,
}

impl Writes {
    /// Watches a file from now on.
    pub fn watch(&self, file: &Path) -> Watch {
        let notices = self.notices.get_or_init(|| {
            let open = Notices::open();
            open.inspect_err(|error| debug!(%error, "writes to logs are looked for")).ok()
        });
        Watch(notices.as_ref().and_then(|notices| notices.watch(file).ok()))
    }
}

impl Watch {
    /// Waits for a write since the watch began, or since the last wait.
    pub async fn written(&mut self) {
        match &mut self.0 {
            // The bell goes with the last watch.
            Some(watched) => watched.rings.changed().await.expect("the bell is there"),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut bells = self.notices.bells();
        let Some(bell) = bells.get_mut(&self.number) else { return };
        bell.waits -= 1;
        if bell.waits == 0 {
            bells.remove(&self.number);
            let _ = inotify::remove_watch(&self.notices.fd, self.number); // it may be gone
        }
    }
}

impl Notices {
    fn open() -> io::Result<Self> {
        let fd = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        let notices = Self { fd, bells: Arc::default() };
        let listens = notices.clone();
        thread::Builder::new().name("writes".into()).spawn(move || listens.listen())?;
        Ok(notices)
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<i32, Bell>> {
        self.bells.lock().expect("no holder of the lock panics")
    }

    fn watch(&self, file: &Path) -> io::Result<Watched> {
        let mut bells = self.bells();
        let number = inotify::add_watch(&self.fd, file, WatchFlags::MODIFY)?;
        let silent = || Bell { rings: watch::Sender::new(()), waits: 0 };
        let bell = bells.entry(number).or_insert_with(silent);
        bell.waits += 1;
        let rings = bell.rings.subscribe();
        Ok(Watched { rings, notices: self.clone(), number })
    }

    fn listen(self) {
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.fd, &mut room);
        loop {
            match events.next() {
                Ok(event) => self.ring(event.wd()),
                Err(Errno::INTR) => {}
                Err(error) => return warn!(%error, "writes to logs are not noticed any more"),
            }
        }
    }

    fn ring(&self, number: i32) {
        if let Some(bell) = self.bells().get(&number) {
            bell.rings.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn a_write_rings_for_all_who_wait_and_nothing_else_does() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let writes = Writes::default();
        let (mut one, mut other) = (writes.watch(file.path()), writes.watch(file.path()));
        let silence = tokio::time::timeout(Duration::from_millis(30), one.written());
        assert!(silence.await.is_err());
        file.write_all(b"x").expect("written");
        tokio::join!(one.written(), other.written());
        drop((one, other));
        let notices = writes.notices.get().and_then(Option::as_ref).expect("there are notices");
        assert!(notices.bells().is_empty());
    }
}
