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
use gristmill_runtime::{Identity, MountKind, SandboxMount, SandboxSpec};
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

/// Where a path of the sandbox lies on this machine: the directory that is the agent's own, and
/// the rest of the path, which the program may have filled with links and must be resolved with
/// care.
pub fn locate(sandbox: &SandboxSpec, local: &str) -> (PathBuf, PathBuf) {
    let holding = sandbox.mounts.iter().enumerate().filter_map(|(number, mount)| {
        let rest = local.trim_end_matches('/').strip_prefix(mount.target.trim_end_matches('/'))?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
        let top = match &mount.kind {
            MountKind::Bind { source, .. } => source.clone(),
            MountKind::Overlay { .. } => sandbox.scratch.join(format!("mount{number}.upper")),
            MountKind::Tmpfs { .. } => return None,
        };
        Some((top, PathBuf::from(rest)))
    });
    let nearest = holding.min_by_key(|(_, rest)| rest.as_os_str().len());
    nearest.unwrap_or_else(|| {
        (sandbox.scratch.join("root.upper"), PathBuf::from(local.trim_matches('/')))
    })
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

    fn sandbox(run: &RunDirectory, mounts: Vec<SandboxMount>) -> SandboxSpec {
        SandboxSpec {
            id: "7".into(),
            root: gristmill_runtime::Root::Host,
            scratch: run.scratch(),
            mounts,
            masked: vec![],
            host_name: "h".into(),
            limits: gristmill_runtime::Limits::default(),
        }
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
        let sandbox = sandbox(&run, mounts);
        let outputs = run.top.join("outputs");
        assert_eq!(locate(&sandbox, "/no/such/output/"), (outputs.join("0"), PathBuf::new()));
        assert_eq!(locate(&sandbox, "/no/such/files/b.txt"), (outputs.join("1"), "b.txt".into()));
    }

    #[test]
    fn a_file_whose_parent_exists_is_looked_for_in_the_private_layer() {
        let (_worker, run) = made();
        let mounts =
            run.output_mounts(&[mapping("/etc/x.txt", "oss://bkt/x.txt")], &[]).expect("made");
        assert!(mounts.is_empty());
        let found = locate(&sandbox(&run, mounts), "/etc/x.txt");
        assert_eq!(found, (run.scratch().join("root.upper"), "etc/x.txt".into()));
    }

    #[test]
    fn an_output_that_is_also_an_input_lies_in_its_layer() {
        let (_worker, run) = made();
        let both = [mapping("/home/data/", "oss://bkt/data/")];
        assert!(run.output_mounts(&both, &both).expect("made").is_empty());
        let overlay = MountKind::Overlay { lower: "/lower".into() };
        let sandbox =
            sandbox(&run, vec![SandboxMount { target: "/home/data/".into(), kind: overlay }]);
        assert_eq!(
            locate(&sandbox, "/home/data"),
            (run.scratch().join("mount0.upper"), PathBuf::new())
        );
        let beside = locate(&sandbox, "/home/database");
        assert_eq!(beside.0, run.scratch().join("root.upper"));
    }

    #[test]
    fn nothing_is_left_of_a_run() {
        let (worker, run) = made();
        fs::write(run.workdir().join("file"), "x").expect("written");
        drop(run);
        assert_eq!(fs::read_dir(worker.path().join("runs")).expect("there").count(), 0);
    }
}
