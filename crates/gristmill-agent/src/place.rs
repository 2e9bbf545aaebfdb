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
//! Only what a run needs is made. A run whose sandbox was kept leaves all of it to the next run of
//! its lineage, as the sandbox found no trace in it: the unpacked package, the empty outputs, and the
//! layers. In every other case it is removed.
//!
//! A mapped output directory is a directory of its own bound to the path the job names, so what
//! is uploaded is what this run wrote. A mapped single file shares one with its neighbours when
//! its parent does not exist in the image; otherwise, like everything else a program writes, it
//! lies in the private layer of the root or of the input it was written into.

use anyhow::Context;
use gristmill_files::remove_tree;
use gristmill_mounts::kernel;
use gristmill_runtime::{Identity, MountKind, SandboxMount, SandboxSpec};
use gristmill_wire::agent::Mapping;
use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// How many directories wait for a run, each with a sandbox.
const KEPT_MAX: usize = 8;
/// Mode of the directories that belong to the sandbox.
const OWN_MODE: u32 = 0o755;
/// Mode of the files that receive standard streams: the agent's alone until a sandbox has them.
const STREAM_MODE: u32 = 0o600;
/// The files that receive standard streams.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Makes the directories of runs, or takes those that wait.
pub struct RunDirectories {
    worker: PathBuf,
    identity: Identity,
    kept: Arc<Kept>,
}

/// Directories with a sandbox that waits for a run, the oldest first.
#[derive(Default)]
struct Kept {
    directories: Mutex<VecDeque<(String, PathBuf)>>,
    /// Ends the sandbox in a scratch directory; absent in tests.
    let_go: Option<LetGo>,
}

type LetGo = Box<dyn Fn(&Path) + Send + Sync>;

impl RunDirectories {
    /// Below the directory of a worker, for sandboxes of this user. `let_go` ends the sandbox that
    /// waits in a scratch directory.
    pub fn new(
        worker: PathBuf,
        identity: Identity,
        let_go: impl Fn(&Path) + Send + Sync + 'static,
    ) -> Self {
        let kept = Kept { let_go: Some(Box::new(let_go)), ..Kept::default() };
        Self { worker, identity, kept: Arc::new(kept) }
    }

    /// The directories of a run, owned by the sandbox's user: those of an earlier run of its lineage,
    /// or new ones.
    pub fn make(&self, run: u64, lineage: Option<&str>) -> anyhow::Result<RunDirectory> {
        let waiting = lineage.and_then(|lineage| self.kept.take(lineage));
        self.fill(run, lineage, waiting)
    }

    /// The same for a run that needs nothing in them beforehand: those made ahead will do.
    pub fn make_plain(&self, run: u64, lineage: &str) -> anyhow::Result<RunDirectory> {
        let ahead = || self.kept.take(SandboxSpec::OPEN);
        let waiting = self.kept.take(lineage).or_else(ahead);
        self.fill(run, Some(lineage), waiting)
    }

    /// Whether directories made ahead wait: of lineage [`SandboxSpec::OPEN`].
    pub fn has_open(&self) -> bool {
        self.kept.directories().iter().any(|(lineage, _)| lineage == SandboxSpec::OPEN)
    }

    /// Removes directories made ahead, and ends their sandbox.
    pub fn remove_open(&self) {
        if let Some(top) = self.kept.take(SandboxSpec::OPEN) {
            self.kept.remove(&top);
        }
    }

    fn fill(
        &self,
        run: u64,
        lineage: Option<&str>,
        waiting: Option<PathBuf>,
    ) -> anyhow::Result<RunDirectory> {
        let is_fresh = waiting.is_none();
        let made = RunDirectory {
            top: waiting.unwrap_or_else(|| self.worker.join("runs").join(run.to_string())),
            identity: self.identity,
            lineage: lineage.map(str::to_owned),
            is_fresh,
            is_kept: false,
            kept: self.kept.clone(),
        };
        if is_fresh {
            let top = &made.top;
            remove_tree(top).with_context(|| format!("could not clear {}", top.display()))?;
            made.fill()?;
        }
        Ok(made)
    }
}

impl Kept {
    fn directories(&self) -> MutexGuard<'_, VecDeque<(String, PathBuf)>> {
        self.directories.lock().expect("no holder of the lock panics")
    }

    /// The latest of this lineage: its sandbox waits longest.
    fn take(&self, lineage: &str) -> Option<PathBuf> {
        let mut waiting = self.directories();
        let found = waiting.iter().rposition(|(of, _)| of == lineage)?;
        waiting.remove(found).map(|(_, top)| top)
    }

    /// Lets a directory wait. The oldest has to go when there are too many.
    fn put(&self, lineage: String, top: PathBuf) -> Option<PathBuf> {
        let mut waiting = self.directories();
        waiting.push_back((lineage, top));
        if waiting.len() > KEPT_MAX { waiting.pop_front().map(|(_, oldest)| oldest) } else { None }
    }

    fn remove(&self, top: &Path) {
        if let Some(let_go) = &self.let_go {
            let_go(&top.join(SCRATCH));
        }
        // Nobody can empty the mount of a mounter that did not end well.
        let _ = kernel::detach(&top.join(INPUTS)); // most runs have none
        if let Err(error) = remove_tree(top) {
            tracing::warn!(%error, directory = %top.display(), "could not remove a run's directory");
        }
    }
}

/// A directory that nobody needs any more: removed when this is dropped.
pub struct Leavings {
    top: PathBuf,
    kept: Arc<Kept>,
}

impl Drop for Leavings {
    fn drop(&mut self) {
        self.kept.remove(&self.top);
    }
}

const SCRATCH: &str = "scratch";
const INPUTS: &str = "inputs";

/// The directories of one run. When left or dropped, they wait for the next run of their lineage or are
/// removed.
pub struct RunDirectory {
    top: PathBuf,
    identity: Identity,
    lineage: Option<String>,
    is_fresh: bool,
    is_kept: bool,
    kept: Arc<Kept>,
}

impl RunDirectory {
    fn fill(&self) -> anyhow::Result<()> {
        // Above the sandbox's own directories everything belongs to the agent alone, but a
        // sandbox of another user has to pass through.
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.top)?;
        self.own(SCRATCH)?;
        self.own("workdir")?;
        Ok(())
    }

    /// Whether nothing of an earlier run is in it: package and outputs are not there yet.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Whether it is left to another run.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The sandbox found no trace of its program and waits for another run.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Makes a directory that belongs to the sandbox.
    pub fn own(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.top.join(name);
        if self.is_fresh {
            fs::DirBuilder::new().mode(OWN_MODE).create(&path)?;
            chown(&path, Some(self.identity.uid), Some(self.identity.gid))?;
        }
        Ok(path)
    }

    /// Writable layers of the sandbox.
    pub fn scratch(&self) -> PathBuf {
        self.top.join(SCRATCH)
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
        self.top.join(INPUTS)
    }

    /// The file that receives standard output (`stdout`) or standard error (`stderr`).
    pub fn log(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    /// Opens the files that receive standard output and standard error, empty.
    pub fn open_streams(&self) -> io::Result<[fs::File; 2]> {
        let mut options = fs::File::options();
        options.read(true).append(true).create(true).mode(STREAM_MODE);
        let [stdout, stderr] = STREAMS.map(|name| options.open(self.log(name)));
        Ok([stdout?, stderr?])
    }

    /// The file a package is fetched into.
    pub fn package(&self) -> PathBuf {
        self.top.join("package")
    }

    /// Makes the directories of mapped outputs: the mounts that show them in the sandbox. An
    /// output that is also an input is written into that input's private layer. `has` tells whether
    /// there is something at a path of the root.
    pub fn output_mounts(
        &self,
        outputs: &[Mapping],
        inputs: &[Mapping],
        has: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Vec<SandboxMount>> {
        let mut mounts: Vec<SandboxMount> = Vec::new();
        for (number, output) in outputs.iter().enumerate() {
            let is_file = !is_directory(output);
            let target = if is_file { parent(&output.local) } else { output.local.as_str() };
            let is_input = inputs.iter().any(|input| same_path(&input.local, target));
            let is_shown = mounts.iter().any(|mount| same_path(&mount.target, target));
            if is_input || is_shown || is_file && has(target) {
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
    /// Makes the streams empty for the next run.
    fn clear_streams(&self) -> io::Result<()> {
        for name in STREAMS {
            let path = self.log(name);
            if path.exists() && !is_untouched_stream(&path)? {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

impl RunDirectory {
    /// Another run may have them from now on, if their sandbox waits for one. What is to be removed
    /// instead need not be gone before the run is reported.
    pub fn leave(mut self) -> Option<Leavings> {
        self.give_up()
    }

    /// The same, and returns when what is to be removed is gone. What a program wrote may be much, so
    /// another thread removes it: the first one has to answer the server meanwhile.
    pub async fn leave_behind(self) {
        let Some(leavings) = self.leave() else { return };
        let swept = tokio::task::spawn_blocking(move || drop(leavings));
        swept.await.expect("a panic ends the process");
    }

    fn give_up(&mut self) -> Option<Leavings> {
        if self.top.as_os_str().is_empty() {
            return None; // it was left before
        }
        let lineage = self.lineage.take().filter(|_| self.is_kept && self.clear_streams().is_ok());
        let top = std::mem::take(&mut self.top);
        let surplus = match lineage {
            Some(lineage) => self.kept.put(lineage, top),
            None => Some(top),
        };
        surplus.map(|top| Leavings { top, kept: self.kept.clone() })
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        drop(self.give_up());
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

    fn directories() -> (tempfile::TempDir, RunDirectories) {
        let worker = tempfile::tempdir().expect("a temporary directory");
        let me =
            Identity { uid: nix::unistd::getuid().as_raw(), gid: nix::unistd::getgid().as_raw() };
        let runs = RunDirectories::new(worker.path().to_owned(), me, |_| {});
        (worker, runs)
    }

    fn made() -> (tempfile::TempDir, RunDirectory) {
        let (worker, runs) = directories();
        let run = runs.make(7, None).expect("made");
        (worker, run)
    }

    /// Two runs of one lineage, one after the other.
    fn take_turns(first: impl FnOnce(&mut RunDirectory)) -> (RunDirectory, tempfile::TempDir) {
        let (worker, runs) = directories();
        let mut run = runs.make(7, Some("task")).expect("made");
        drop(run.open_streams().expect("opened"));
        first(&mut run);
        drop(run);
        (runs.make(8, Some("task")).expect("made"), worker)
    }

    fn on_host(path: &str) -> bool {
        Path::new(path).exists()
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
        let mounts = run.output_mounts(&outputs, &[], on_host).expect("made");
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
        assert!(run.output_mounts(&file, &[], on_host).expect("made").is_empty());
        let input_too = [mapping("/home/data/", "oss://bkt/data/")];
        assert!(run.output_mounts(&input_too, &input_too, on_host).expect("made").is_empty());
    }

    #[test]
    fn a_directory_with_a_sandbox_that_waits_serves_the_next_run() {
        let (second, worker) = take_turns(|run| {
            fs::write(run.workdir().join("package"), "x").expect("written");
            let outputs = [mapping("/no/such/output/", "oss://bkt/out/")];
            run.output_mounts(&outputs, &[], on_host).expect("made");
            run.keep();
        });
        assert!(!second.is_fresh());
        assert!(second.workdir().join("package").exists());
        let outputs = [mapping("/no/such/output/", "oss://bkt/out/")];
        let again = second.output_mounts(&outputs, &[], on_host);
        assert_eq!(again.expect("still there").len(), 1);
        assert_eq!(fs::read_dir(worker.path().join("runs")).expect("there").count(), 1);
    }

    #[test]
    fn a_directory_made_ahead_serves_the_first_that_needs_nothing_in_it() {
        let (_worker, runs) = directories();
        runs.make(1, Some(SandboxSpec::OPEN)).expect("made").keep();
        assert!(runs.has_open());
        assert!(runs.make(2, Some("task")).expect("made").is_fresh());
        assert!(!runs.make_plain(3, "task").expect("made").is_fresh());
        assert!(!runs.has_open() && runs.make_plain(4, "task").expect("made").is_fresh());
        runs.make(5, Some(SandboxSpec::OPEN)).expect("made").keep();
        runs.remove_open();
        assert!(!runs.has_open());
    }

    #[test]
    fn a_directory_without_one_serves_nobody() {
        let (second, _worker) = take_turns(|run| {
            fs::write(run.workdir().join("trace"), "x").expect("written");
        });
        assert!(second.is_fresh());
        assert_eq!(fs::read_dir(second.workdir()).expect("there").count(), 0);
    }

    #[test]
    fn other_tasks_get_other_directories_and_the_oldest_that_waits_goes() {
        let (worker, runs) = directories();
        let tasks = u64::try_from(KEPT_MAX).expect("small") + 1;
        for run in 1..=tasks {
            let mut made = runs.make(run, Some(&run.to_string())).expect("made");
            assert!(made.is_fresh());
            made.keep();
        }
        let waiting = fs::read_dir(worker.path().join("runs")).expect("there").count();
        assert_eq!(waiting, KEPT_MAX);
        assert!(runs.make(100, Some("1")).expect("made").is_fresh());
        assert!(!runs.make(101, Some("2")).expect("made").is_fresh());
    }

    #[test]
    fn what_a_run_said_or_did_to_its_streams_does_not_reach_the_next() {
        let (second, _worker) = take_turns(|run| {
            fs::write(run.log("stdout"), "words").expect("written");
            fs::set_permissions(run.log("stderr"), fs::Permissions::from_mode(0o000))
                .expect("changed");
            run.keep();
        });
        assert!(!second.is_fresh());
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
