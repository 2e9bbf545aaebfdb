//! Disks of a machine: file systems of a fixed size, in files that grow as they are filled.
//!
//! A disk is a sparse file with ext4 in it, mounted through a loop device in this process's own
//! view of mounts. What is written into it is bounded by its size, whoever writes. There is no
//! journal: a disk lives no longer than its machine. When the process ends, however it ends, the
//! view goes, the mount with it, and the kernel lets go of the loop device and of the file.
//!
//! Needs root, loop devices, and the programs `mke2fs` and `mount`.

use crate::spec::Identity;
use rustix::mount::{UnmountFlags, unmount};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

/// A mounted disk; unmounted and removed when dropped.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount_point: PathBuf,
}

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Its file or its mount point.
    #[error("could not make `{}`", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program that makes or mounts it.
    #[error("could not start `{program}`")]
    Start {
        /// Which.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The same, later.
    #[error("`{program}` ended with {status}: {said}")]
    Ended {
        /// Which.
        program: &'static str,
        /// How.
        status: ExitStatus,
        /// The last line of what it said.
        said: String,
    },
}

impl Disk {
    /// Makes a disk of this many bytes in the new file `image` and mounts it on the directory
    /// `mount_point`. Its top directory belongs to `owner`. The process must have
    /// [entered](crate::Node::enter) its namespaces.
    pub fn make(
        image: &Path,
        mount_point: &Path,
        bytes: u64,
        owner: Identity,
    ) -> Result<Self, DiskError> {
        let making = |path: &Path| {
            let path = path.to_owned();
            move |source| DiskError::Make { path, source }
        };
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(image);
        file.and_then(|file| file.set_len(bytes)).map_err(making(image))?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o711).create(mount_point);
        made.map_err(making(mount_point))?;
        let disk = Self { image: image.to_owned(), mount_point: mount_point.to_owned() };
        run(disk.format(owner), "mke2fs")?;
        run(disk.mount(), "mount")?;
        // It takes the place of a user's file and is of no use without a journal.
        let _ = fs::remove_dir(disk.mount_point.join("lost+found"));
        Ok(disk)
    }

    fn format(&self, Identity { uid, gid }: Identity) -> Command {
        let mut command = Command::new("mke2fs");
        let extended = format!("nodiscard,lazy_itable_init=1,root_owner={uid}:{gid}");
        command.args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-E"]);
        command.arg(extended).arg(&self.image);
        command
    }

    fn mount(&self) -> Command {
        let mut command = Command::new("mount");
        // An error of the file below must not stop the machine, which is the kernel's other way.
        command.args(["-t", "ext4", "-o", "loop,nosuid,nodev,noatime,errors=remount-ro"]);
        command.arg(&self.image).arg(&self.mount_point);
        command
    }

    /// The directory it is mounted on.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It was perhaps not mounted yet, and what stays goes with the process's view of mounts.
        let _ = unmount(&self.mount_point, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.mount_point);
        let _ = fs::remove_file(&self.image);
    }
}

/// Where programs of an administrator are, whatever the caller's `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn run(mut command: Command, program: &'static str) -> Result<(), DiskError> {
    command.env_clear().env("PATH", PATH).stdin(Stdio::null());
    let output = command.output().map_err(|source| DiskError::Start { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().rev().find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    Err(DiskError::Ended { program, status: output.status, said })
}
