//! Scratch directories in memory.
//!
//! On a busy disk the few directories that a sandbox needs take longer than everything else of its
//! start together: each waits for the journal. In memory they cost next to nothing, and what a
//! program left can still be read by the agent, in whose view of mounts the memory is.

use crate::sandbox;
use rustix::mount::{UnmountFlags, unmount};
use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// A scratch directory in memory; gone with everything in it when dropped. What programs write
/// into it counts as the memory of their sandbox.
#[derive(Debug)]
pub struct MemoryScratch {
    path: PathBuf,
}

impl MemoryScratch {
    /// Mounts memory of at most this many bytes on the new directory `path`. The process must
    /// have [entered](crate::Node::enter) its namespaces.
    pub fn mount(path: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir(path)?;
        let mounted = sandbox::tmpfs(&[("mode", "0711"), ("size", &bytes_max.to_string())])
            .and_then(|memory| sandbox::attach(memory.as_fd(), path));
        match mounted {
            Ok(()) => Ok(Self { path: path.to_owned() }),
            Err(error) => {
                let _ = fs::remove_dir(path); // the mount's error is the one that matters
                Err(error)
            }
        }
    }

    /// The directory, for [`SandboxSpec::scratch`](crate::SandboxSpec).
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for MemoryScratch {
    fn drop(&mut self) {
        let unmounted = unmount(&self.path, UnmountFlags::DETACH).map_err(io::Error::from);
        if let Err(error) = unmounted.and_then(|()| fs::remove_dir(&self.path)) {
            tracing::warn!(%error, path = %self.path.display(), "could not let go of memory");
        }
    }
}
