//! What a run leaves: standard streams, logs, outputs, and words for a person.

use crate::{
    place::{RunDirectory, is_directory},
    trouble::Trouble,
};
use bytes::Bytes;
use gristmill_faults::{self as faults, Point};
use gristmill_files::open_inside;
use gristmill_model::{Cause, OssPath};
use gristmill_mounts::{
    names::Locale,
    overlay,
    remote::Remote,
    upload::{Destination, PartSizes, UploadReport, Uploader},
};
use gristmill_runtime::{Layout, Located, MountKind, SandboxSpec};
use gristmill_wire::agent::{Mapping, Streams, Task};
use rustix::fs::{Mode, OFlags, ResolveFlags, open};
use std::{
    fmt::Write,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// The longest text of notes, bytes.
const NOTES_BYTES_MAX: usize = 4_096;

/// Words for the instance's detail.
#[derive(Debug, Default)]
pub struct Notes(Vec<String>);

impl Notes {
    /// Adds a sentence.
    pub fn add(&mut self, sentence: impl Into<String>) {
        self.0.push(sentence.into());
    }

    /// All sentences, cut to a bound.
    pub fn into_text(self) -> String {
        let mut text = self.0.join("\n");
        text.truncate(text.floor_char_boundary(NOTES_BYTES_MAX));
        text
    }
}

/// Everything one run uploads.
pub struct Uploads<'a> {
    /// What was asked.
    pub task: &'a Task,
    /// Which instance.
    pub instance: u32,
    /// Where its files are.
    pub directory: &'a RunDirectory,
    /// What its program saw.
    pub sandbox: &'a SandboxSpec,
    /// Where what it wrote lies.
    pub layout: &'a Layout,
    /// The store.
    pub remote: Remote,
    /// The longest stream that the server stores itself.
    pub short_max: u64,
}

impl Uploads<'_> {
    /// Uploads streams and logs, and outputs unless the run was cancelled. Streams that are short are
    /// given back instead: the server stores them with the end, whatever that is. An error is the
    /// first thing that could not be kept.
    pub async fn upload(
        self,
        cancelled: bool,
        notes: &mut Notes,
    ) -> (Option<Streams>, Result<(), Trouble>) {
        let said = if cancelled { None } else { self.short_streams() };
        let kept = self.keep(said.is_some(), cancelled, notes).await;
        (said, kept)
    }

    async fn keep(self, said: bool, cancelled: bool, notes: &mut Notes) -> Result<(), Trouble> {
        faults::at(Point::AgentUpload)
            .or_fail()
            .map_err(|fault| Trouble::of_machine(Cause::Upload, "nothing is uploaded", fault))?;
        let Task { logs, outputs, .. } = self.task;
        if said && logs.is_empty() && outputs.is_empty() {
            self.note_discarded(notes);
            return Ok(());
        }
        let locale = self.task.locale.parse().unwrap_or_else(|_| utf8());
        let uploader = Uploader::new(self.remote.clone(), locale, PartSizes::default());
        let mut report = UploadReport::default();
        if !said {
            let (out, err) = tokio::join!(
                self.stream(&uploader, "stdout", &self.task.stdout),
                self.stream(&uploader, "stderr", &self.task.stderr),
            );
            report.add(out);
            report.add(err);
        }
        for log in logs {
            report.add(self.log(&uploader, &log.local, &log.remote).await);
        }
        if !cancelled {
            for output in outputs {
                report.add(self.output(&uploader, output).await);
            }
        }
        self.note_discarded(notes);
        self.sum_up(report, notes)
    }

    /// What the program said, if the server stores that: it is short, and nobody can add to it.
    fn short_streams(&self) -> Option<Streams> {
        let read = |name: &str, wanted: &str| match wanted {
            "" => Some(Bytes::new()),
            _ => read_short(&self.directory.log(name), self.short_max),
        };
        Some(Streams {
            stdout: read("stdout", &self.task.stdout)?,
            stderr: read("stderr", &self.task.stderr)?,
        })
    }

    /// What the program changed in its inputs is thrown away; a person may want to know
    /// (`reference/mounts.md` 1, rule 6).
    fn note_discarded(&self, notes: &mut Notes) {
        for mount in &self.sandbox.mounts {
            let kept = self.task.outputs.iter().any(|output| output.local == mount.target);
            if kept || !matches!(mount.kind, MountKind::Overlay { .. }) {
                continue;
            }
            let Some(found) = self.layout.locate(self.sandbox, &mount.target) else { continue };
            let Ok(upper) = directory(&found.directory) else { continue };
            let changes = overlay::changes(upper.as_fd());
            if changes.files > 0 {
                let first = changes.examples.iter().map(|path| path.display().to_string());
                let first = first.take(3).collect::<Vec<_>>().join(", ");
                let target = &mount.target;
                notes.add(format!("{} changes in {target} were discarded: {first}", changes.files));
            }
        }
    }

    fn sum_up(&self, report: UploadReport, notes: &mut Notes) -> Result<(), Trouble> {
        for warning in &report.warnings {
            notes.add(warning.clone());
        }
        if report.is_complete() { Ok(()) } else { Err(not_uploaded(&report)) }
    }

    async fn stream(&self, uploader: &Uploader, name: &str, prefix: &str) -> UploadReport {
        if prefix.is_empty() {
            return UploadReport::default();
        }
        let local = self.directory.log(name);
        let parent = local.parent().unwrap_or(Path::new("/"));
        self.log_file(uploader, (parent, Path::new(name)), prefix, name).await
    }

    async fn log(&self, uploader: &Uploader, local: &str, prefix: &str) -> UploadReport {
        let base = local.trim_end_matches('/').rsplit('/').next().unwrap_or(local);
        match self.layout.locate(self.sandbox, local) {
            Some(Located { directory, rest }) => {
                self.log_file(uploader, (&directory, &rest), prefix, base).await
            }
            None => unseen(local),
        }
    }

    /// `<directory><base name>.<job>.<task>.<instance>` (`reference/api.md` 14.3).
    async fn log_file(
        &self,
        uploader: &Uploader,
        (top, rest): (&Path, &Path),
        prefix: &str,
        base: &str,
    ) -> UploadReport {
        let Task { job, task, .. } = self.task;
        let name = format!("{base}.{job}.{task}.{}", self.instance);
        match prefix.parse::<OssPath>() {
            Ok(prefix) => one(uploader, (top, rest), &prefix.into_prefix().join(&name)).await,
            Err(error) => failed(format!("{prefix}: {error}")),
        }
    }

    async fn output(&self, uploader: &Uploader, output: &Mapping) -> UploadReport {
        let destination: OssPath = match output.remote.parse() {
            Ok(destination) => destination,
            Err(error) => return failed(format!("{}: {error}", output.remote)),
        };
        let Some(Located { directory: top, rest }) =
            self.layout.locate(self.sandbox, &output.local)
        else {
            return unseen(&output.local);
        };
        if !is_directory(output) {
            return one(uploader, (&top, &rest), &destination).await;
        }
        let to = Destination {
            bucket: destination.bucket().to_owned(),
            prefix: destination.into_prefix().key().to_owned(),
            seen_as: Some(PathBuf::from(&output.local)),
        };
        match directory(&top).and_then(|top| below(top, &rest)) {
            Ok(root) => uploader.tree(root, to).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => UploadReport {
                warnings: vec![format!("{}: the program made no such directory", output.local)],
                ..UploadReport::default()
            },
            Err(error) => failed(format!("{}: {error}", output.local)),
        }
    }
}

/// The store's final word about a path of the job is the job's fault; silence is not.
fn not_uploaded(report: &UploadReport) -> Trouble {
    let mut message = format!("{} files could not be uploaded", report.failed);
    for failure in &report.failures {
        write!(message, "; {failure}").expect("writing to a string succeeds");
    }
    let cause = Cause::Upload;
    if report.refused > 0 {
        Trouble::Job { cause, message }
    } else {
        Trouble::Infrastructure { cause, message }
    }
}

/// All of a file of at most so many bytes.
fn read_short(path: &Path, bytes_max: u64) -> Option<Bytes> {
    let about = std::fs::symlink_metadata(path).ok()?;
    match about.len() {
        _ if bytes_max == 0 || !about.is_file() => None,
        0 => Some(Bytes::new()),
        length if length > bytes_max => None,
        _ => std::fs::read(path).ok().map(Bytes::from),
    }
}

/// One file below a directory of the agent's own.
async fn one(uploader: &Uploader, (top, rest): (&Path, &Path), to: &OssPath) -> UploadReport {
    match directory(top) {
        Ok(root) => uploader.file(root, rest, to.bucket(), to.key()).await,
        Err(error) => failed(format!("{}: {error}", top.display())),
    }
}

/// A directory the program made; links on the way may not lead out.
fn below(top: OwnedFd, rest: &Path) -> io::Result<OwnedFd> {
    if rest.as_os_str().is_empty() {
        return Ok(top);
    }
    Ok(open_inside(top, rest, OFlags::DIRECTORY, ResolveFlags::IN_ROOT)?)
}

fn utf8() -> Locale {
    "UTF-8".parse().expect("UTF-8 is a known character set")
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// A place whose content nobody outside the sandbox sees, such as `/proc` or memory.
fn unseen(local: &str) -> UploadReport {
    failed(format!("{local}: what is written there cannot be kept on this machine"))
}

fn failed(failure: String) -> UploadReport {
    UploadReport { failed: 1, failures: vec![failure], ..UploadReport::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_a_failed_upload_is_does_not_depend_on_names() {
        let failure = "out/access denied.txt: could not store the file: could not talk".to_owned();
        let silent = UploadReport { failed: 1, failures: vec![failure], ..UploadReport::default() };
        let trouble = not_uploaded(&silent);
        assert!(matches!(trouble, Trouble::Infrastructure { cause: Cause::Upload, .. }));
        let expected = "1 files could not be uploaded; out/access denied.txt: could not store the \
                        file: could not talk";
        assert_eq!(trouble.to_string(), expected);
        let refused = UploadReport { refused: 1, ..silent };
        assert!(matches!(not_uploaded(&refused), Trouble::Job { cause: Cause::Upload, .. }));
    }
}
