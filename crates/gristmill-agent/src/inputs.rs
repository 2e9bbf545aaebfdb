//! The inputs of a run as files: mounted where the kernel can, downloaded where it cannot.

use crate::{
    oss::Opening,
    place::RunDirectory,
    results::Notes,
    trouble::{Trouble, chain},
    work::Place,
};
use gristmill_model::{Cause, OssPath, Timestamp};
use gristmill_mounts::{
    Source, SourceKind,
    fallback::{self, DownloadError, DownloadSpec},
    names::Locale,
    remote::Remote,
};
use gristmill_runtime::{MountKind, SandboxMount};
use gristmill_wire::agent::{Mapping, Task};
use std::path::PathBuf;

/// What a run's program sees of the object store, while it runs.
pub struct Inputs {
    sources: Vec<(Source, String)>,
    top: PathBuf,
}

impl Inputs {
    /// Mounts or downloads everything the task names.
    pub async fn open(
        place: &Place,
        task: &Task,
        directory: &RunDirectory,
        _opening: &Opening,
        remote: &Remote,
        notes: &mut Notes,
    ) -> Result<Self, Trouble> {
        let sources = task.inputs.iter().map(source).collect::<Result<Vec<_>, _>>()?;
        let inputs = Self { sources, top: directory.inputs() };
        if !inputs.sources.is_empty() {
            inputs.download(place, task, remote, notes).await?;
        }
        Ok(inputs)
    }

    async fn download(&self, place: &Place, task: &Task, remote: &Remote, notes: &mut Notes) -> Result<(), Trouble> {
        let spec = DownloadSpec {
            sources: self.sources.iter().map(|(source, _)| source.clone()).collect(),
            directory: self.top.clone(),
            locale: locale(task)?,
            owner: Some((place.owner.uid, place.owner.gid)),
        };
        let now = Timestamp(crate::work::now());
        match fallback::download(remote.clone(), &spec, now).await {
            Ok(report) => notes.add(report.notice),
            Err(error) => return Err(not_downloaded(&error)),
        }
        Ok(())
    }

    /// How the sandbox shows them: changes stay in the sandbox and are thrown away.
    pub fn mounts(&self) -> Vec<SandboxMount> {
        let shown = self.sources.iter().enumerate().map(|(number, (source, target))| {
            let path = self.top.join(source.path_in_mount(number));
            let kind = match source.kind {
                SourceKind::Prefix => MountKind::Overlay { lower: path },
                SourceKind::Object => MountKind::Bind { source: path, read_only: true },
            };
            SandboxMount { target: target.clone(), kind }
        });
        shown.collect()
    }

    /// Unmounts. An error says that an input changed while the program read it.
    pub async fn finish(self, _notes: &mut Notes) -> Result<(), Trouble> {
        Ok(())
    }
}

/// A mapping as a source, and where the program sees it.
fn source(input: &Mapping) -> Result<(Source, String), Trouble> {
    let path: OssPath = input.remote.parse().map_err(|error| Trouble::Job {
        cause: Cause::Mount,
        message: format!("the input `{}` {error}", input.remote),
    })?;
    Ok((Source::from(&path), input.local.clone()))
}

fn locale(task: &Task) -> Result<Locale, Trouble> {
    task.locale.parse().map_err(|error| Trouble::Job {
        cause: Cause::Mount,
        message: format!("{error}"),
    })
}

fn not_downloaded(error: &DownloadError) -> Trouble {
    match error {
        DownloadError::Object { source, key } => {
            Trouble::of_store(Cause::Mount, &format!("could not read the input `{key}`"), source)
        }
        DownloadError::List { source } => {
            Trouble::of_store(Cause::Mount, "could not list the inputs", source)
        }
        DownloadError::Open(error) => Trouble::Job { cause: Cause::Mount, message: chain(error) },
        DownloadError::Space { .. } | DownloadError::Write { .. } => {
            Trouble::Infrastructure { cause: Cause::Mount, message: chain(error) }
        }
    }
}
