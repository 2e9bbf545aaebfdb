//! What a machine is made of, made once before it takes work: disks, shared files, and what its
//! bootstrap command left.
//!
//! What cannot be made here as it was asked for is made plainer and said in a note: a disk without
//! a bound of its own is better than no machine.

use crate::network::Neighbours;
use gristmill_files::{open_inside, remove_tree};
use gristmill_runtime::{Disk, Identity, MemoryScratch, MountKind, Node, Root, SandboxMount};
use gristmill_wire::agent::{AgentConfig, MachineConfig};
use rustix::fs::{Mode, OFlags, ResolveFlags, open};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The size of a system disk for which nobody named one.
const SYSTEM_DISK_BYTES: u64 = 40 << 30;
/// What a bootstrap command may write where it can only be kept in memory.
const BASE_MEMORY_BYTES: u64 = 4 << 30;

/// A machine that is ready to be set up by its bootstrap command.
pub struct Machine {
    /// Below which the directories of runs lie.
    pub top: PathBuf,
    /// What is below everything else: this host's root, or an image.
    pub root: Root,
    /// What every sandbox sees besides its own mounts.
    pub mounts: Vec<SandboxMount>,
    /// What the bootstrap command wrote, once it ended well: below every sandbox's layers.
    base: OnceLock<PathBuf>,
    /// The names programs find.
    pub neighbours: Neighbours,
    /// What is not as it was asked for.
    pub notes: Vec<String>,
    directory: PathBuf,
    _disks: Vec<Disk>,
    _memory: Option<MemoryScratch>,
    scratch: Option<PathBuf>,
}

impl Machine {
    /// Makes the disks and shows the files. The process must have entered its namespaces.
    pub fn make(config: &AgentConfig, node: &Node, privileged: bool) -> io::Result<Self> {
        let (wanted, owner, files) = (&config.machine, node.owner(), node.files());
        show_names(node)?;
        for (path, text) in &wanted.files {
            files.put(Path::new(path), text.as_bytes())?;
        }
        let mut machine = Self {
            top: config.directory.clone(),
            root: node.root().clone(),
            mounts: Vec::new(),
            base: OnceLock::new(),
            neighbours: Neighbours::new(&wanted.hosts, files),
            notes: Vec::new(),
            directory: config.directory.clone(),
            _disks: Vec::new(),
            _memory: None,
            scratch: None,
        };
        machine.make_system_disk(wanted, privileged);
        machine.make_data_disk(wanted, owner, privileged)?;
        if !wanted.bootstrap.is_empty() {
            machine.make_scratch(owner, privileged)?;
        }
        Ok(machine)
    }

    /// What programs write is bounded where the cluster says so; and what a bootstrap command
    /// writes must lie on a file system of its own, apart from the host's, to be seen by others.
    fn make_system_disk(&mut self, wanted: &MachineConfig, privileged: bool) {
        let bytes = match wanted.system_disk_bytes {
            0 if wanted.bootstrap.is_empty() => return,
            0 => SYSTEM_DISK_BYTES,
            bytes => bytes,
        };
        // Below its top directory each run's directories are given away.
        let agent = Identity { uid: 0, gid: 0 };
        match self.make_disk("system", bytes, agent, privileged) {
            Ok(path) => self.top = path,
            Err(reason) => self.notes.push(format!(
                "what programs write is not bounded by the system disk's size: {reason}"
            )),
        }
    }

    fn make_data_disk(
        &mut self,
        wanted: &MachineConfig,
        owner: Identity,
        privileged: bool,
    ) -> io::Result<()> {
        let Some(data) = &wanted.data_disk else { return Ok(()) };
        let source = match self.make_disk("data", data.bytes, owner, privileged) {
            Ok(path) => path,
            Err(reason) => {
                self.notes.push(format!(
                    "the data disk is a directory without a bound of its own: {reason}"
                ));
                own_directory(self.top.join("data"), owner)?
            }
        };
        let kind = MountKind::Shared { source };
        self.mounts.push(SandboxMount { target: data.mount_point.clone(), kind });
        Ok(())
    }

    fn make_disk(
        &mut self,
        name: &str,
        bytes: u64,
        owner: Identity,
        privileged: bool,
    ) -> Result<PathBuf, String> {
        if !privileged {
            return Err("only root can mount disks".to_owned());
        }
        let image = self.directory.join(format!("{name}.img"));
        let at = self.directory.join(format!("{name}-disk"));
        let disk = Disk::make(&image, &at, bytes, owner).map_err(|e| crate::trouble::chain(&e))?;
        let path = disk.path().to_owned();
        self._disks.push(disk);
        Ok(path)
    }

    /// The layers of the bootstrap command. On the host's root they may not lie on the file system
    /// of that root; where there is no disk there is memory.
    fn make_scratch(&mut self, owner: Identity, privileged: bool) -> io::Result<()> {
        let path = self.top.join("bootstrap");
        if privileged && self._disks.is_empty() {
            let memory = MemoryScratch::mount(&path, BASE_MEMORY_BYTES)?;
            chown(memory.path(), Some(owner.uid), Some(owner.gid))?;
            self._memory = Some(memory);
            self.notes.push("what the bootstrap command writes is kept in memory".to_owned());
            self.scratch = Some(path);
        } else {
            self.scratch = Some(own_directory(path, owner)?);
        }
        Ok(())
    }

    /// Whether programs find something at this path before they make it themselves.
    pub fn has(&self, path: &str) -> bool {
        match &self.root {
            Root::Host => Path::new(path).exists(),
            Root::Directory(tree) => is_inside(tree, path),
        }
    }

    /// Where the bootstrap command writes.
    pub fn scratch(&self) -> Option<&Path> {
        self.scratch.as_deref()
    }

    /// The bootstrap command ended well: programs see what it wrote.
    pub fn settle(&self) {
        if let Some(scratch) = self.scratch.clone() {
            let _ = self.base.set(scratch); // said once
        }
    }

    /// What lies below the layers of every sandbox.
    pub fn base(&self) -> Option<PathBuf> {
        self.base.get().cloned()
    }
}

/// An image knows neither this host's name servers nor its names.
fn show_names(node: &Node) -> io::Result<()> {
    if *node.root() == Root::Host {
        return Ok(());
    }
    for path in ["/etc/resolv.conf", "/etc/hosts"] {
        // A host without the file has nothing to show.
        if let Ok(text) = fs::read(path) {
            node.files().put_on_images(Path::new(path), &text)?;
        }
    }
    Ok(())
}

/// Whether there is something at this path of the tree, with links followed inside it.
fn is_inside(tree: &Path, path: &str) -> bool {
    let place = OFlags::PATH | OFlags::CLOEXEC;
    let opened = open(tree, place | OFlags::DIRECTORY, Mode::empty());
    let path = Path::new(path);
    opened.is_ok_and(|tree| open_inside(tree, path, place, ResolveFlags::IN_ROOT).is_ok())
}

/// An empty directory of the sandbox's user.
fn own_directory(path: PathBuf, owner: Identity) -> io::Result<PathBuf> {
    remove_tree(&path)?;
    DirBuilder::new().mode(0o755).create(&path)?;
    chown(&path, Some(owner.uid), Some(owner.gid))?;
    Ok(path)
}
