//! Space set aside so that a full disk can be emptied again.
//!
//! Removing an object writes to the database, and on a full disk that would fail too. So a file of
//! [`SIZE`] bytes is kept; when a commit finds the disk full it is given up. From then on what makes
//! the store grow is refused until the file fits again, and what makes it shrink has room.

use crate::{ObjectError, rules::io_error};
use rustix::fs::{FallocateFlags, fallocate};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Enough for removing thousands of objects at once.
const SIZE: usize = 8 * 1024 * 1024;

/// The space set aside.
pub(super) struct Reserve {
    path: PathBuf,
    spent: AtomicBool,
    /// Held while the file is made or removed, so that `spent` says whether it is there.
    changing: Mutex<()>,
}

impl Reserve {
    /// Sets space aside in a directory, or finds that there is none.
    pub fn keep(directory: &Path) -> Self {
        let path = directory.join("reserve");
        let reserve = Self { path, spent: AtomicBool::new(false), changing: Mutex::default() };
        if let Err(error) = reserve.fill() {
            reserve.spend();
            tracing::warn!(%error, "the disk of the object store is full");
        }
        reserve
    }

    /// Gives the space up: the disk is full.
    pub fn spend(&self) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.spent.store(true, Ordering::Release);
        // Not there is as good as removed.
        let _ = fs::remove_file(&self.path);
    }

    /// Whether the space was given up.
    pub fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }

    /// Lets the store grow if there is room for that and for the reserve. Waits for the disk when
    /// it was given up.
    pub fn admit(&self) -> Result<(), ObjectError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_spent() {
            self.fill().map_err(|error| {
                let _ = fs::remove_file(&self.path);
                io_error("set space aside for the object store", error)
            })?;
            self.spent.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn fill(&self) -> io::Result<()> {
        let mut file = File::create(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, SIZE as u64) {
            // Not every file system can promise space without writing.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                file.write_all(&vec![0; SIZE])?;
            }
            outcome => outcome?,
        }
        file.sync_all()
    }
}
