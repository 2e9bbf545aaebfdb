//! The data files: what they are called, how they come and go.
//!
//! A file is named by a number that is never used twice: the count of openings of the store, then
//! a counter. It is written and synced before any row names it, and removed after no row and no
//! reader needs it. What a crash leaves in between is swept at the next start.
//!
//! Invariants
//! - A reader looks up a row and pins the files it will read under [`Files::gate`]; the reaper
//!   passes the gate before it removes anything. So a file is pinned before it can be removed, or
//!   its row was gone before the reader looked.
//! - [`NewFile`] removes its file when dropped, unless a commit kept it.
//!
//! Start at [`Files`].

use crate::{ObjectError, rules::io_error};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

/// Bits of the counter in a file's number; the count of openings is above them.
const COUNTER_BITS: u32 = 40;
/// Bits of the counter that choose a name within a directory: 4096 files in each.
const DIRECTORY_BITS: u32 = 12;

/// The data files of a store.
pub(super) struct Files {
    shelf: Arc<Shelf>,
    opening: u64,
    counter: AtomicU64,
    made: Mutex<HashSet<u64>>,
    reaper: mpsc::Sender<Vec<u64>>,
}

/// What the reaper shares with everybody.
struct Shelf {
    root: PathBuf,
    gate: RwLock<()>,
    pins: Mutex<HashMap<u64, Pin>>,
}

#[derive(Default)]
struct Pin {
    readers: usize,
    doomed: bool,
}

/// A file no row names yet.
pub(super) struct NewFile {
    pub number: u64,
    files: Arc<Files>,
    kept: bool,
}

/// Files that stay while this lives.
pub(super) struct Pinned {
    numbers: Vec<u64>,
    files: Arc<Files>,
}

impl Files {
    /// The files under `root`, for the `opening`th opening of the store.
    pub fn new(root: &Path, opening: u64) -> Result<Arc<Self>, ObjectError> {
        fs::create_dir_all(root).map_err(|e| io_error("make the object directory", e))?;
        root.parent().map_or(Ok(()), sync_directory)?;
        let shelf = Arc::new(Shelf {
            root: root.to_owned(),
            gate: RwLock::default(),
            pins: Mutex::default(),
        });
        let (reaper, garbage) = mpsc::channel();
        let shared = shelf.clone();
        thread::Builder::new()
            .name("object-reaper".into())
            .spawn(move || garbage.iter().for_each(|numbers: Vec<u64>| shared.reap(&numbers)))
            .map_err(|e| io_error("start the reaper of objects", e))?;
        let (counter, made) = (AtomicU64::new(0), Mutex::default());
        Ok(Arc::new(Self { shelf, opening, counter, made, reaper }))
    }

    /// A number that was never used before.
    pub fn mint(&self) -> u64 {
        self.opening << COUNTER_BITS | self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes an empty file.
    pub fn create(self: &Arc<Self>) -> Result<(NewFile, File), ObjectError> {
        let new = self.reserve()?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.shelf.path(new.number))
            .map_err(|e| io_error("make an object file", e))?;
        Ok((new, file))
    }

    /// A second name for the bytes of a file, or a copy where the file system has no more names.
    pub fn duplicate(self: &Arc<Self>, number: u64) -> Result<NewFile, ObjectError> {
        let new = self.reserve()?;
        let (from, to) = (self.shelf.path(number), self.shelf.path(new.number));
        let copy = || fs::copy(&from, &to).and_then(|_| File::open(&to)?.sync_data());
        fs::hard_link(&from, &to)
            .or_else(|_| copy())
            .map_err(|e| io_error("copy an object file", e))?;
        Ok(new)
    }

    fn reserve(self: &Arc<Self>) -> Result<NewFile, ObjectError> {
        let number = self.mint();
        let directory = number >> DIRECTORY_BITS;
        let mut made = self.made.lock().expect("nobody panics while holding it");
        if !made.contains(&directory) {
            match fs::create_dir(self.shelf.directory(directory)) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io_error("make a directory of object files", e));
                }
                _ => sync_directory(&self.shelf.root)?,
            }
            made.insert(directory);
        }
        Ok(NewFile { number, files: self.clone(), kept: false })
    }

    /// Opens a file for reading, or for writing at its end.
    pub fn open(&self, number: u64, write: bool) -> io::Result<File> {
        OpenOptions::new().read(true).write(write).open(self.shelf.path(number))
    }

    /// Makes the names of new files durable.
    pub fn sync_names(&self, numbers: impl Iterator<Item = u64>) -> Result<(), ObjectError> {
        let directories: BTreeSet<u64> = numbers.map(|number| number >> DIRECTORY_BITS).collect();
        directories.into_iter().try_for_each(|at| sync_directory(&self.shelf.directory(at)))
    }

    /// Held while a row is looked up and its files are pinned.
    pub fn gate(&self) -> RwLockReadGuard<'_, ()> {
        self.shelf.gate.read().expect("nobody panics while holding it")
    }

    /// Keeps files from being removed. Call it under the gate.
    pub fn pin(self: &Arc<Self>, numbers: Vec<u64>) -> Pinned {
        let mut pins = self.shelf.pins.lock().expect("nobody panics while holding it");
        for number in &numbers {
            pins.entry(*number).or_default().readers += 1;
        }
        Pinned { numbers, files: self.clone() }
    }

    /// Removes files that no row names any more, as soon as no reader has them.
    pub fn discard(&self, numbers: Vec<u64>) {
        if !numbers.is_empty() {
            // The reaper lives as long as the sender; without it the next start sweeps.
            let _ = self.reaper.send(numbers);
        }
    }

    /// Removes what earlier openings left behind: files that are not `needed`.
    pub fn sweep(&self, needed: &HashSet<u64>) -> io::Result<usize> {
        let mut removed = 0;
        for directory in fs::read_dir(&self.shelf.root)? {
            let directory = directory?.path();
            let earlier = number_of(&directory)
                .is_some_and(|at| at >> (COUNTER_BITS - DIRECTORY_BITS) < self.opening);
            if !earlier {
                continue;
            }
            for file in fs::read_dir(&directory)? {
                let path = file?.path();
                if number_of(&path).is_some_and(|number| !needed.contains(&number)) {
                    fs::remove_file(&path)?;
                    removed += 1;
                }
            }
            // Fails while it is not empty, which is as wanted.
            let _ = fs::remove_dir(&directory);
        }
        Ok(removed)
    }
}

impl Shelf {
    fn directory(&self, directory: u64) -> PathBuf {
        self.root.join(format!("{directory:013x}"))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory(number >> DIRECTORY_BITS).join(format!("{number:016x}"))
    }

    fn reap(&self, numbers: &[u64]) {
        // Whoever looked up a row before it went has pinned its files when this returns.
        drop(self.gate.write());
        for number in numbers {
            let mut pins = self.pins.lock().expect("nobody panics while holding it");
            match pins.get_mut(number) {
                Some(pin) => pin.doomed = true,
                None => {
                    drop(pins);
                    self.remove(*number);
                }
            }
        }
    }

    fn remove(&self, number: u64) {
        match fs::remove_file(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = number, "an object file stays until the next start");
            }
            _ => {}
        }
    }
}

impl NewFile {
    /// A row names it now.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            self.files.shelf.remove(self.number);
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.files.shelf.pins.lock().expect("nobody panics while holding it");
        let mut doomed = vec![];
        for number in &self.numbers {
            let Some(pin) = pins.get_mut(number) else { continue };
            pin.readers -= 1;
            if pin.readers == 0 && pins.remove(number).is_some_and(|pin| pin.doomed) {
                doomed.push(*number);
            }
        }
        drop(pins);
        self.files.discard(doomed);
    }
}

fn sync_directory(path: &Path) -> Result<(), ObjectError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| io_error("make the names of object files durable", e))
}

/// The number a file or directory is named by.
fn number_of(path: &Path) -> Option<u64> {
    u64::from_str_radix(path.file_name()?.to_str()?, 16).ok()
}
