//! The directories of one run, and where the paths a job names lie on this machine.
//!
//! ```text
//! <worker>/runs/<run>/scratch      writable layers of the sandbox
//!                    /workdir      the unpacked package: /batchcompute/workdir
//!                    /inputs       where inputs are mounted or downloaded, if there are any
//!                    /output<n>    directories that are uploaded at the end
//!                    /stdout, /stderr
//! ```
//!
//! Only what a run needs is made, and a run that left its working directory and its streams as it
//! got them leaves them to the next: on a disk, making and removing a directory costs more than
//! anything else in a short run. What a run has touched is removed.
//!
//! A mapped output directory is a directory of its own bound to the path the job names, so what
//! is uploaded is what this run wrote. A mapped single file shares one with its neighbours when
//! its parent does not exist in the image; otherwise, like everything else a program writes, it
//! lies in the private layer of the root or of the input it was written into.

use anyhow::Context;
use gristmill_runtime::{Identity, MountKind, SandboxMount};
use gristmill_wire::agent::Mapping;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// How many directories wait for a run.
const IDLE_MAX: usize = 16;
/// Mode of the directories that belong to the sandbox.
const OWN_MODE: u32 = 0o755;
/// Mode of the files that receive standard streams: the agent's alone until a sandbox has them.
const STREAM_MODE: u32 = 0o600;
/// The files that receive standard streams.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Makes the directories of runs, from those of earlier runs where that makes no difference.
pub struct RunDirectories {
    worker: PathBuf,
    identity: Identity,
    idle: Arc<Mutex<Vec<PathBuf>>>,
}

impl RunDirectories {
    /// Below the directory of a worker, for sandboxes of this user.
    pub fn new(worker: PathBuf, identity: Identity) -> Self {
        Self { worker, identity, idle: Arc::default() }
    }

    /// The directories of a run, empty, owned by the sandbox's user.
    pub fn make(&self, run: u64) -> anyhow::Result<RunDirectory> {
        let top = self.worker.join("runs").join(run.to_string());
        remove(&top).with_context(|| format!("could not clear {}", top.display()))?;
        let idle = self.idle.lock().expect("no holder of the lock panics").pop();
        let made = RunDirectory { top, identity: self.identity, idle: self.idle.clone() };
        match idle {
            Some(idle) => fs::rename(&idle, &made.top)
                .with_context(|| format!("could not take over {}", idle.display()))?,
            None => made.fill()?,
        }
        Ok(made)
    }
}

impl Drop for RunDirectories {
    fn drop(&mut self) {
        for idle in self.idle.lock().expect("no holder of the lock panics").drain(..) {
            // It holds nothing; whoever removes the worker's directory removes it, too.
            let _ = remove(&idle);
        }
    }
}

/// The directories of one run. When dropped, left to the next run or removed.
pub struct RunDirectory {
    top: PathBuf,
    identity: Identity,
    idle: Arc<Mutex<Vec<PathBuf>>>,
}

impl RunDirectory {
    fn fill(&self) -> anyhow::Result<()> {
        // Above the sandbox's own directories everything belongs to the agent alone, but a
        // sandbox of another user has to pass through.
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.top)?;
        self.own("scratch")?;
        self.own("workdir")?;
        Ok(())
    }

    /// Makes a directory that belongs to the sandbox.
    pub fn own(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.top.join(name);
        fs::DirBuilder::new().mode(OWN_MODE).create(&path)?;
        chown(&path, Some(self.identity.uid), Some(self.identity.gid))?;
        Ok(path)
    }

    /// Writable layers of the sandbox.
    pub fn scratch(&self) -> PathBuf {
        self.top.join("scratch")
    }

    /// The working directory of the program.
    pub fn workdir(&self) -> PathBuf {
        self.top.join("workdir")
    }

    /// How the sandbox shows the working directory.
    pub fn workdir_mount(&self) -> SandboxMount {
        let kind = MountKind::Bind { source: self.workdir(), read_only: false };
        SandboxMount { target: crate::work::WORKDIR.to_owned(), kind }
    }

    /// Makes the directory where inputs appear.
    pub fn make_inputs(&self) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o711).create(self.inputs())
    }

    /// Where inputs appear.
    pub fn inputs(&self) -> PathBuf {
        self.top.join("inputs")
    }

    /// The file that receives standard output (`stdout`) or standard error (`stderr`).
    pub fn log(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    /// Opens the files that receive standard output and standard error, empty.
    pub fn open_streams(&self) -> io::Result<[fs::File; 2]> {
        let mut options = fs::File::options();
        options.append(true).create(true).mode(STREAM_MODE);
        let [stdout, stderr] = STREAMS.map(|name| options.open(self.log(name)));
        Ok([stdout?, stderr?])
    }

    /// The file a package is fetched into.
    pub fn package(&self) -> PathBuf {
        self.top.join("package")
    }

    /// Makes the directories of mapped outputs: the mounts that show them in the sandbox. An
    /// output that is also an input is written into that input's private layer.
    pub fn output_mounts(
        &self,
        outputs: &[Mapping],
        inputs: &[Mapping],
    ) -> anyhow::Result<Vec<SandboxMount>> {
        let mut mounts: Vec<SandboxMount> = Vec::new();
        for (number, output) in outputs.iter().enumerate() {
            let is_file = !is_directory(output);
            let target = if is_file { parent(&output.local) } else { output.local.as_str() };
            let is_input = inputs.iter().any(|input| same_path(&input.local, target));
            let is_shown = mounts.iter().any(|mount| same_path(&mount.target, target));
            if is_input || is_shown || is_file && Path::new(target).exists() {
                continue;
            }
            let source =
                self.own(&format!("output{number}")).context("could not make a directory")?;
            let kind = MountKind::Bind { source, read_only: false };
            mounts.push(SandboxMount { target: target.to_owned(), kind });
        }
        Ok(mounts)
    }
}

/// Whether everything below the path is meant, and not one file.
pub fn is_directory(output: &Mapping) -> bool {
    output.remote.ends_with('/') || output.local.ends_with('/')
}

impl RunDirectory {
    /// Removes everything but empty streams and the two directories of the sandbox. False: one of
    /// these is not as it was made, so that all must go.
    fn clear(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.top)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            match name.to_str() {
                Some("scratch") => {
                    for layer in fs::read_dir(&path)? {
                        fs::remove_dir_all(layer?.path())?;
                    }
                }
                Some("workdir") => {}
                Some(name) if STREAMS.contains(&name) => {
                    if !is_untouched_stream(&path)? {
                        fs::remove_file(&path)?;
                    }
                }
                _ if entry.file_type()?.is_dir() => fs::remove_dir_all(&path)?,
                _ => fs::remove_file(&path)?,
            }
        }
        Ok(self.is_untouched("workdir")? && self.is_untouched("scratch")?)
    }

    /// Whether a directory of the sandbox is as it was made: empty, with its owner and mode, and
    /// nothing attached to it.
    fn is_untouched(&self, name: &str) -> io::Result<bool> {
        let path = self.top.join(name);
        let about = fs::symlink_metadata(&path)?;
        Ok(about.is_dir()
            && about.mode() & 0o7777 == OWN_MODE
            && (about.uid(), about.gid()) == (self.identity.uid, self.identity.gid)
            && has_no_attributes(&path)
            && fs::read_dir(&path)?.next().is_none())
    }

    /// Leaves the directories to another run. False: they cannot be left, or nobody needs them.
    fn leave(&self) -> bool {
        if !self.clear().unwrap_or(false) {
            return false;
        }
        let mut idle = self.idle.lock().expect("no holder of the lock panics");
        let wanted = idle.len() < IDLE_MAX;
        if wanted {
            idle.push(self.top.clone());
        }
        wanted
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if self.leave() {
            return;
        }
        if let Err(error) = remove(&self.top) {
            tracing::warn!(%error, directory = %self.top.display(), "could not remove a run's directory");
        }
    }
}

/// Whether a file that received a stream is as it was made: empty, with its mode and one name.
fn is_untouched_stream(path: &Path) -> io::Result<bool> {
    let about = fs::symlink_metadata(path)?;
    let as_made = (about.len(), about.mode() & 0o7777, about.nlink()) == (0, STREAM_MODE, 1);
    Ok(about.is_file() && as_made && has_no_attributes(path))
}

/// Whether nothing is attached to a file: no extended attribute, no access list.
fn has_no_attributes(path: &Path) -> bool {
    // Names that do not fit are an error, and as such a no.
    let mut names = [0_u8; 64];
    rustix::fs::llistxattr(path, &mut names).is_ok_and(|bytes| bytes == 0)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn parent(local: &str) -> &str {
    match local.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn same_path(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn made() -> (tempfile::TempDir, RunDirectory) {
        let worker = tempfile::tempdir().expect("a temporary directory");
        let me =
            Identity { uid: nix::unistd::getuid().as_raw(), gid: nix::unistd::getgid().as_raw() };
        let runs = RunDirectories::new(worker.path().to_owned(), me);
        let run = runs.make(7).expect("made");
        (worker, run)
    }

    fn take_turns(first: impl FnOnce(&RunDirectory)) -> (bool, RunDirectory, tempfile::TempDir) {
        let (worker, run) = made();
        let inode = |run: &RunDirectory| fs::metadata(run.workdir()).expect("there").ino();
        let (before, runs) = (
            inode(&run),
            RunDirectories {
                worker: worker.path().to_owned(),
                identity: run.identity,
                idle: run.idle.clone(),
            },
        );
        drop(run.open_streams().expect("opened"));
        first(&run);
        // Until the second run is there nothing else takes the inode.
        let kept = fs::File::open(run.workdir()).expect("there");
        drop(run);
        let second = runs.make(8).expect("made");
        drop(kept);
        (inode(&second) == before, second, worker)
    }

    fn mapping(local: &str, remote: &str) -> Mapping {
        Mapping { local: local.into(), remote: remote.into() }
    }

    #[test]
    fn output_directories_are_bound_and_files_share_a_missing_parent() {
        let (_worker, run) = made();
        let outputs = [
            mapping("/no/such/output/", "oss://bkt/out/"),
            mapping("/no/such/files/a.txt", "oss://bkt/a.txt"),
            mapping("/no/such/files/b.txt", "oss://bkt/b.txt"),
        ];
        let mounts = run.output_mounts(&outputs, &[]).expect("made");
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.clone()).collect();
        assert_eq!(targets, ["/no/such/output/", "/no/such/files"]);
        let MountKind::Bind { source, read_only: false } = &mounts[1].kind else {
            panic!("outputs are bound for writing")
        };
        assert!(source.is_dir());
    }

    #[test]
    fn what_is_written_into_existing_places_needs_no_mount() {
        let (_worker, run) = made();
        let file = [mapping("/etc/x.txt", "oss://bkt/x.txt")];
        assert!(run.output_mounts(&file, &[]).expect("made").is_empty());
        let input_too = [mapping("/home/data/", "oss://bkt/data/")];
        assert!(run.output_mounts(&input_too, &input_too).expect("made").is_empty());
    }

    #[test]
    fn an_untouched_directory_serves_the_next_run() {
        let (same, second, worker) = take_turns(|run| {
            run.make_inputs().expect("made");
            fs::create_dir(run.scratch().join("root.upper")).expect("made");
            fs::write(run.package(), "x").expect("written");
        });
        assert!(same);
        let names = |path: PathBuf| {
            let entries = fs::read_dir(path).expect("there");
            let mut names: Vec<_> = entries.map(|entry| entry.expect("read").file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(second.top.clone()), ["scratch", "stderr", "stdout", "workdir"]);
        assert!(names(second.scratch()).is_empty());
        assert_eq!(names(worker.path().join("runs")), ["8"]);
    }

    #[test]
    fn nothing_a_run_did_reaches_the_next() {
        type Deed = fn(&RunDirectory);
        let deeds: [Deed; 4] = [
            |run| fs::write(run.workdir().join("file"), "x").expect("written"),
            |run| {
                let mode = fs::Permissions::from_mode(0o1777);
                fs::set_permissions(run.workdir(), mode).expect("changed");
            },
            |run| {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(run.workdir(), "user.note", b"x", flags).expect("attached");
            },
            |run| {
                fs::remove_dir(run.workdir())
                    .and_then(|()| fs::create_dir_all(run.workdir().join("a")))
                    .expect("made")
            },
        ];
        for (number, deed) in deeds.into_iter().enumerate() {
            let (same, second, _worker) = take_turns(deed);
            assert!(!same, "deed {number}");
            assert!(second.is_untouched("workdir").expect("there"), "deed {number}");
        }
    }

    #[test]
    fn what_a_run_said_or_did_to_its_streams_does_not_reach_the_next() {
        let (_, second, _worker) = take_turns(|run| {
            fs::write(run.log("stdout"), "words").expect("written");
            fs::set_permissions(run.log("stderr"), fs::Permissions::from_mode(0o000))
                .expect("changed");
        });
        for stream in second.open_streams().expect("opened") {
            let about = stream.metadata().expect("there");
            assert_eq!((about.len(), about.mode() & 0o7777), (0, STREAM_MODE));
        }
    }

    #[test]
    fn nothing_is_left_of_a_run() {
        let (worker, run) = made();
        fs::write(run.workdir().join("file"), "x").expect("written");
        drop(run);
        assert_eq!(fs::read_dir(worker.path().join("runs")).expect("there").count(), 0);
    }
}
