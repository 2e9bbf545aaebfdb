//! The inputs of a run as files: mounted where the kernel can, downloaded where it cannot.

use crate::{
    oss::{Opening, remote_store},
    place::RunDirectory,
    results::Notes,
    trouble::{Trouble, chain},
    work::Place,
};
use gristmill_faults::{self as faults, Point};
use gristmill_model::{Cause, OssPath, Timestamp};
use gristmill_mounts::{
    Source, SourceKind,
    fallback::{self, DownloadError, DownloadSpec},
    kernel,
    mounter::{Failure, MEMORY_BUDGET_DEFAULT, MounterSpec},
    names::Locale,
    process::{MounterError, MounterProcess},
    remote::{Patience, Remote},
};
use gristmill_runtime::{MountKind, SandboxMount};
use gristmill_wire::agent::{Mapping, Task};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, process::ExitCode, time::Duration};
use tokio::process::Command;

/// How long the inputs may take to be there.
const READY_MAX: Duration = Duration::from_secs(150);

/// What a mounter is told, on its standard input: it holds a secret.
#[derive(Serialize, Deserialize)]
struct MounterInput {
    spec: MounterSpec,
    opening: Opening,
}

/// The hidden command `mounter`: serves the inputs of one instance until its agent hangs up.
pub fn mounter() -> ExitCode {
    crate::end_on_panic();
    let told: MounterInput = match gristmill_mounts::mounter::read_input() {
        Ok(told) => told,
        Err(error) => {
            tracing::error!(%error, "a mounter is started by an agent, which tells it what to do");
            return ExitCode::FAILURE;
        }
    };
    let store = match remote_store(&told.opening) {
        Ok(store) => store,
        Err(error) => {
            tracing::error!(%error, "no object store");
            return ExitCode::FAILURE;
        }
    };
    if gristmill_mounts::mounter::serve(&told.spec, store) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What a run's program sees of the object store, while it runs.
pub struct Inputs {
    sources: Vec<(Source, String)>,
    top: PathBuf,
    /// The process behind the mounts, where there are any.
    mounter: Option<MounterProcess>,
}

impl Inputs {
    /// Mounts or downloads everything the task names.
    pub async fn open(
        place: &Place,
        task: &Task,
        directory: &RunDirectory,
        opening: &Opening,
        remote: &Remote,
        notes: &mut Notes,
    ) -> Result<Self, Trouble> {
        let sources = task.inputs.iter().map(source).collect::<Result<Vec<_>, _>>()?;
        let mut inputs = Self { sources, top: directory.inputs(), mounter: None };
        if inputs.sources.is_empty() {
            return Ok(inputs);
        }
        directory.make_inputs().map_err(|error| {
            Trouble::of_machine(Cause::Mount, "no directory for the inputs", error)
        })?;
        faults::at(Point::AgentMount)
            .or_fail()
            .map_err(|fault| Trouble::of_machine(Cause::Mount, "no inputs", fault))?;
        if place.fuse {
            match inputs.mount(place, task, opening).await {
                Ok(mounter) => {
                    inputs.mounter = Some(mounter);
                    return Ok(inputs);
                }
                Err(error) if error.wants_download() => notes.add(error.to_string()),
                Err(error) => return Err(not_mounted(&error)),
            }
        }
        inputs.download(place, task, remote, notes).await?;
        Ok(inputs)
    }

    /// Mounts what every machine of the cluster has mounted, for what is no run: the bootstrap
    /// command, a shell. The error is for the cluster's owner.
    pub async fn of_machine(
        place: &Place,
        directory: &RunDirectory,
        notes: &mut Notes,
    ) -> Result<Self, String> {
        let task = task_of_machine(place);
        let opening = place.opening(&task);
        let store = place.open_store(&opening).map_err(|error| chain(&error))?;
        let remote = Remote::new(store, Patience::default(), 0);
        let opened = Self::open(place, &task, directory, &opening, &remote, notes).await;
        opened.map_err(|trouble| format!("the cluster's mounts: {trouble}"))
    }

    async fn mount(
        &self,
        place: &Place,
        task: &Task,
        opening: &Opening,
    ) -> Result<MounterProcess, MounterError> {
        let spec = MounterSpec {
            sources: self.sources.iter().map(|(source, _)| source.clone()).collect(),
            mount_point: self.top.clone(),
            locale: task.locale.clone(),
            lock: task.lock,
            uid: place.owner.uid,
            gid: place.owner.gid,
            memory_budget: MEMORY_BUDGET_DEFAULT,
        };
        let mut command = Command::new(&place.mounter);
        command.arg("mounter").env_clear().envs(faults::environment());
        let told = MounterInput { spec, opening: opening.clone() };
        MounterProcess::start(command, &told, READY_MAX).await
    }

    /// Returns when the inputs are gone, which they never should be while a program runs.
    pub async fn lost(&mut self) -> Trouble {
        match &mut self.mounter {
            Some(mounter) => {
                let error = mounter.died().await;
                if let Err(error) = kernel::detach(&self.top) {
                    tracing::debug!(%error, "a dead mount was gone already");
                }
                Trouble::of_machine(Cause::Mount, "the inputs are gone", error)
            }
            None => std::future::pending().await,
        }
    }

    async fn download(
        &self,
        place: &Place,
        task: &Task,
        remote: &Remote,
        notes: &mut Notes,
    ) -> Result<(), Trouble> {
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
    pub async fn finish(self, notes: &mut Notes) -> Result<(), Trouble> {
        let Some(mounter) = self.mounter else { return Ok(()) };
        let report = match mounter.finish().await {
            Ok(report) => report,
            // The program is over and its results are kept: a mount that ends badly is no loss.
            Err(error) => {
                tracing::warn!(error = chain(&error), "a mounter did not end well");
                return Ok(());
            }
        };
        if report.hidden_names > 0 {
            let examples = report.hidden_examples.join(", ");
            notes
                .add(format!("{} names cannot be shown as files: {examples}", report.hidden_names));
        }
        let Some(first) = report.changed_inputs.first() else { return Ok(()) };
        for changed in &report.changed_inputs {
            notes.add(format!("input changed during run: {changed}"));
        }
        let message = format!("input changed during run: {first}");
        Err(Trouble::Job { cause: Cause::Mount, message })
    }
}

/// The cluster's mounts, as if a task had them as inputs.
fn task_of_machine(place: &Place) -> Task {
    let machine = &place.config.machine;
    Task {
        inputs: machine.mounts.iter().map(Mapping::from).collect(),
        locale: machine.locale.clone(),
        lock: machine.lock,
        access_key_id: machine.access_key_id.clone(),
        access_key_secret: machine.access_key_secret.clone(),
        env: machine.env.clone(),
        ..Task::default()
    }
}

/// Downloads the inputs of a run that has no mounts of its own into [`RunDirectory::inputs`].
pub async fn fetch(
    place: &Place,
    task: &Task,
    directory: &RunDirectory,
    remote: &Remote,
) -> Result<(), Trouble> {
    let sources = task.inputs.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    if sources.is_empty() {
        return Ok(());
    }
    directory
        .make_inputs()
        .map_err(|error| Trouble::of_machine(Cause::Mount, "no directory for the inputs", error))?;
    let inputs = Inputs { sources, top: directory.inputs(), mounter: None };
    // That they are downloaded is the rule here and needs no words.
    inputs.download(place, task, remote, &mut Notes::default()).await
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
    task.locale
        .parse()
        .map_err(|error| Trouble::Job { cause: Cause::Mount, message: format!("{error}") })
}

fn not_mounted(error: &MounterError) -> Trouble {
    let message = chain(error);
    match error {
        MounterError::Failed(
            Failure::Source { transient: false, .. } | Failure::BadSpec { .. },
        ) => Trouble::Job { cause: Cause::Mount, message },
        _ => Trouble::Infrastructure { cause: Cause::Mount, message },
    }
}

fn not_downloaded(error: &DownloadError) -> Trouble {
    match error {
        DownloadError::Object { source, key } => {
            Trouble::of_store(Cause::Mount, &format!("could not read the input `{key}`"), source)
        }
        DownloadError::List { source } => {
            Trouble::of_store(Cause::Mount, "could not list the inputs", source)
        }
        DownloadError::Open(error) => {
            Trouble::of_store(Cause::Mount, &error.to_string(), &error.source)
        }
        DownloadError::Space { .. } | DownloadError::Write { .. } => {
            Trouble::Infrastructure { cause: Cause::Mount, message: chain(error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_mounts::SourceError;
    use gristmill_objects::ObjectError;
    use std::io;

    #[test]
    fn a_store_that_does_not_answer_is_not_the_jobs_fault() {
        let silent = ObjectError::Io {
            doing: "list objects".into(),
            source: io::ErrorKind::TimedOut.into(),
        };
        let missing = ObjectError::NoSuchKey { bucket: "bkt".into(), key: "in".into() };
        for (source, of_job, why) in [
            (silent, false, "could not list objects: timed out"),
            (missing, true, "object `in` does not exist in bucket `bkt`"),
        ] {
            let error = DownloadError::Open(SourceError { path: "oss://bkt/in".into(), source });
            let trouble = not_downloaded(&error);
            let expected = format!("could not open the input oss://bkt/in: {why}");
            assert_eq!(trouble.to_string(), expected);
            assert_eq!(matches!(trouble, Trouble::Job { .. }), of_job, "{expected}");
        }
    }
}
