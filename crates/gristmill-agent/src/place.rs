//! The directories of one run, and where the paths a job names lie on this machine.
//!
//! ```text
//! <worker>/runs/<run>/scratch      writable layers of the sandbox
//!                    /workdir      the unpacked package: /batchcompute/workdir
//!                    /inputs       where inputs are mounted or downloaded
//!                    /outputs/<n>  directories that are uploaded at the end
//!                    /logs         stdout, stderr
//! ```
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
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
};

/// The directories of one run. Removed when dropped.
pub struct RunDirectory {
    top: PathBuf,
    identity: Identity,
}

impl RunDirectory {
    /// Makes the directories, empty, owned by the sandbox's user.
    pub fn make(worker: &Path, run: u64, identity: Identity) -> anyhow::Result<Self> {
        let top = worker.join("runs").join(run.to_string());
        remove(&top).with_context(|| format!("could not clear {}", top.display()))?;
        let made = Self { top, identity };
        // Above the sandbox's own directories everything belongs to the agent alone, but a
        // sandbox of another user has to pass through.
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&made.top)?;
        for name in ["inputs", "outputs", "logs"] {
            fs::DirBuilder::new().mode(0o711).create(made.top.join(name))?;
        }
        made.own("scratch")?;
        made.own("workdir")?;
        Ok(made)
    }

    fn own(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.top.join(name);
        fs::DirBuilder::new().mode(0o755).create(&path)?;
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

    /// Where inputs appear.
    pub fn inputs(&self) -> PathBuf {
        self.top.join("inputs")
    }

    /// The file that receives standard output (`stdout`) or standard error (`stderr`).
    pub fn log(&self, name: &str) -> PathBuf {
        self.top.join("logs").join(name)
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
                self.own(&format!("outputs/{number}")).context("could not make a directory")?;
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

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.top) {
            tracing::warn!(%error, directory = %self.top.display(), "could not remove a run's directory");
        }
    }
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

    fn made() -> (tempfile::TempDir, RunDirectory) {
        let worker = tempfile::tempdir().expect("a temporary directory");
        let me =
            Identity { uid: nix::unistd::getuid().as_raw(), gid: nix::unistd::getgid().as_raw() };
        let run = RunDirectory::make(worker.path(), 7, me).expect("made");
        (worker, run)
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
    fn nothing_is_left_of_a_run() {
        let (worker, run) = made();
        fs::write(run.workdir().join("file"), "x").expect("written");
        drop(run);
        assert_eq!(fs::read_dir(worker.path().join("runs")).expect("there").count(), 0);
    }
}
