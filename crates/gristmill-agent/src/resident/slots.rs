//! The directories of a resident program at the local paths of its app: filled with the files of a
//! call, cleared after it.
//!
//! The program may be anywhere in them and may do to them what it likes meanwhile: nothing here
//! follows a link that it made, and what cannot be cleared ends the process.

use crate::place::RunDirectory;
use gristmill_files::remove_tree;
use gristmill_runtime::{MountKind, SandboxMount};
use std::{fs, io, path::PathBuf};

/// The directories behind the mounts, in the order of the mappings.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    inputs: Vec<PathBuf>,
    outputs: Vec<PathBuf>,
}

impl Slots {
    /// Makes an empty directory for each local path, and the mounts that show them.
    pub fn make(
        directory: &RunDirectory,
        inputs: &[String],
        outputs: &[String],
    ) -> io::Result<(Self, Vec<SandboxMount>)> {
        let (mut slots, mut mounts) = (Self::default(), Vec::new());
        let kinds = [("in", inputs, &mut slots.inputs), ("out", outputs, &mut slots.outputs)];
        for (prefix, paths, made) in kinds {
            for (number, target) in paths.iter().enumerate() {
                let source = directory.own(&format!("{prefix}{number}"))?;
                let kind = MountKind::Bind { source: source.clone(), read_only: false };
                mounts.push(SandboxMount { target: target.clone(), kind });
                made.push(source);
            }
        }
        Ok((slots, mounts))
    }

    /// Moves what was fetched for a call (`<top>/<number>/…`) to where the program sees it.
    pub fn fill(&self, top: &std::path::Path) -> io::Result<()> {
        for (number, slot) in self.inputs.iter().enumerate() {
            move_all(&top.join(number.to_string()), slot)?;
        }
        Ok(())
    }

    /// Moves the files of a call to the slots of another process.
    pub fn hand_over(&self, to: &Self) -> io::Result<()> {
        self.inputs.iter().zip(&to.inputs).try_for_each(|(from, to)| move_all(from, to))
    }

    /// Removes what is in them.
    pub fn clear(&self) -> io::Result<()> {
        for slot in self.inputs.iter().chain(&self.outputs) {
            for entry in fs::read_dir(slot)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => remove_tree(&entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(())
    }

    /// Whether there is nothing to fill or to clear.
    pub fn are_none(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }
}

fn move_all(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::RunDirectories;
    use gristmill_runtime::Identity;

    #[test]
    fn slots_are_filled_handed_over_and_cleared() {
        let worker = tempfile::tempdir().expect("a directory");
        let me =
            Identity { uid: nix::unistd::getuid().as_raw(), gid: nix::unistd::getgid().as_raw() };
        let directories = RunDirectories::new(worker.path().to_owned(), me, |_| {});
        let directory = directories.make(1, None).expect("made");
        let other = directories.make(2, None).expect("made");
        let paths = |text: &str| vec![text.to_owned()];
        let make = |directory: &RunDirectory| {
            Slots::make(directory, &paths("/home/in/"), &paths("/home/out/")).expect("made")
        };
        let ((slots, mounts), (others, _)) = (make(&directory), make(&other));
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(targets, ["/home/in/", "/home/out/"]);
        assert!(!slots.are_none() && Slots::default().are_none());

        let top = worker.path().join("fetched");
        fs::create_dir_all(top.join("0/deep")).expect("made");
        fs::write(top.join("0/deep/file"), "x").expect("written");
        slots.fill(&top).expect("filled");
        assert_eq!(fs::read(slots.inputs[0].join("deep/file")).expect("there"), b"x");
        slots.hand_over(&others).expect("handed over");
        assert_eq!(fs::read(others.inputs[0].join("deep/file")).expect("there"), b"x");

        let precious = worker.path().join("precious");
        fs::create_dir(&precious).expect("made");
        fs::write(precious.join("file"), "x").expect("written");
        std::os::unix::fs::symlink(&precious, others.outputs[0].join("link")).expect("made");
        others.clear().expect("cleared");
        assert_eq!(fs::read_dir(&others.inputs[0]).expect("there").count(), 0);
        assert_eq!(fs::read_dir(&others.outputs[0]).expect("there").count(), 0);
        assert!(precious.join("file").exists(), "links are not followed");
    }
}
