//! One run from package to last upload.
//!
//! ```text
//! directories -> package -> inputs -> program -> logs, outputs -> report
//! ```
//!
//! What can go wrong has one type, [`Trouble`], which knows whose fault it is. Logs are uploaded
//! whatever happened; outputs also after a failed program, because a failed run's results are
//! wanted for diagnosis, but not when the run was cancelled.
//!
//! Start at [`Place::carry_out`].

use crate::{
    inputs::Inputs,
    machine::Machine,
    oss::{Opening, Stores},
    place::{RunDirectories, RunDirectory},
    resident::Pool,
    results::{self, Kept, Notes},
    runs::{Begun, Runs},
    trouble::{Trouble, chain},
};
use gristmill_faults::{self as faults, Point};
use gristmill_model::Cause;
use gristmill_mounts::remote::{Patience, Remote};
use gristmill_objects::{ObjectStore, remote::EndpointError};
use gristmill_runtime::{
    Exit, Identity, Layout, Limits, Node, NodeReport, ProgramSpec, RunEvent, RunHandle,
    SandboxMount, SandboxSpec, Spawner, Stage, StartFailure, command,
};
use gristmill_wire::agent::{AgentConfig, EndKind, RunEnd, Spans, Streams, Task};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    time::Instant,
};
use tracing::{Instrument, debug, info, info_span, warn};

/// The working directory of every program.
pub const WORKDIR: &str = "/batchcompute/workdir";
/// Search path of programs that set none.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a start waits to be reported with the end: a program shorter than this costs the
/// server one commit instead of two.
pub(crate) const START_UNSAID_MAX: Duration = Duration::from_millis(20);
/// How long a program may take to end after `SIGTERM`.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Processes and threads of one sandbox.
const PROCESSES_MAX: u64 = 4_096;
/// Open files of one process.
const FILES_MAX: u64 = 16_384;

/// This machine: what all runs share.
pub struct Place {
    /// What the agent was started with.
    pub config: AgentConfig,
    /// The runs it holds.
    pub runs: Runs,
    /// What was made before the first run.
    pub(crate) machine: Machine,
    pub(crate) spawner: Spawner,
    /// Where what programs wrote lies.
    pub(crate) layout: Layout,
    /// Who owns what programs may write.
    pub(crate) owner: Identity,
    /// Whether inputs can be mounted.
    pub(crate) fuse: bool,
    /// The program that serves mounts, to be started with `mounter`.
    pub(crate) mounter: PathBuf,
    oss_endpoint: RwLock<String>,
    stores: Stores,
    pub(crate) directories: RunDirectories,
    /// Programs that stay.
    pub(crate) residents: Pool,
    /// How many programs run at a time.
    slots: Semaphore,
    /// The longest stream that the server stores itself; 0: none.
    pub(crate) short_max: AtomicU64,
    /// Rings when this machine can run nothing any more.
    pub(crate) broken: Notify,
}

impl Place {
    /// A machine with nothing to do yet.
    pub fn new(
        config: AgentConfig,
        node: Node,
        report: &NodeReport,
        machine: Machine,
        mounter: PathBuf,
    ) -> io::Result<Self> {
        let (layout, owner, fuse) = (node.layout().clone(), node.owner(), report.fuse);
        let oss_endpoint = RwLock::new(config.machine.oss_endpoint.clone());
        let (runs, spawner) = (Runs::default(), node.start()?);
        let (stores, broken) = (Stores::default(), Notify::new());
        let letting = spawner.clone();
        let let_go = move |scratch: &Path| {
            // Without a spawner there is no sandbox either.
            let _ = letting.let_go(scratch);
        };
        let directories = RunDirectories::new(machine.top.clone(), owner, let_go);
        let slots = Semaphore::new(usize::try_from(config.slots.max(1)).unwrap_or(1));
        Ok(Self {
            config,
            runs,
            machine,
            spawner,
            layout,
            owner,
            fuse,
            mounter,
            oss_endpoint,
            stores,
            directories,
            residents: Pool::default(),
            slots,
            short_max: AtomicU64::new(0),
            broken,
        })
    }

    /// The server said where the object store is.
    pub fn set_oss_endpoint(&self, endpoint: &str) {
        endpoint.clone_into(&mut self.oss_endpoint.write().expect("no holder of the lock panics"));
    }

    /// The part of the object store that this key opens.
    pub(crate) fn open_store(
        &self,
        opening: &Opening,
    ) -> Result<Arc<dyn ObjectStore>, EndpointError> {
        self.stores.open(opening)
    }

    pub(crate) fn opening(&self, task: &Task) -> Opening {
        Opening {
            endpoint: self.oss_endpoint.read().expect("no holder of the lock panics").clone(),
            access_key_id: task.access_key_id.clone(),
            access_key_secret: task.access_key_secret.clone(),
        }
    }

    /// Carries out one run and leaves its result in [`Place::runs`].
    pub async fn carry_out(self: Arc<Self>, mut begun: Begun) {
        let run = begun.run.run;
        let taken = now();
        // In the order in which they came.
        let turn = unless_cancelled(&mut begun.cancelled, self.slots.acquire()).await;
        let Ok(_slot) = turn else {
            let cancelled = RunEnd { kind: EndKind::Cancelled.into(), ..RunEnd::default() };
            return self.runs.ended(run, cancelled, None);
        };
        let span = info_span!(
            "run",
            run,
            job = begun.task.job,
            task = begun.task.task,
            instance = begun.run.instance
        );
        let turned = now();
        let (mut end, streams) = self.execute(begun).instrument(span.clone()).await;
        end.spans = Some(self.spans(run, taken, turned, end.at));
        span.in_scope(
            || debug!(kind = ?end.kind(), number = end.number, message = end.message, "ended"),
        );
        self.runs.ended(run, end, streams);
    }

    /// Where the time went of a run that heard of its place at `turned` and whose program ended at `ended`.
    fn spans(&self, run: u64, taken: i64, turned: i64, ended: i64) -> Spans {
        let micros = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        Spans {
            waited_micros: micros(taken, turned),
            prepared_micros: micros(turned, self.runs.started_at(run)),
            kept_micros: micros(ended, now()),
        }
    }

    async fn execute(&self, begun: Begun) -> (RunEnd, Option<Streams>) {
        let (mut notes, mut streams) = (Notes::default(), None);
        let end = match self.try_execute(begun, &mut notes, &mut streams).await {
            Ok(end) => RunEnd { detail: notes.into_text(), ..end },
            Err(trouble) => {
                if trouble != Trouble::Cancelled {
                    info!(%trouble, "the run could not be carried out");
                }
                trouble.into_end(now(), notes.into_text())
            }
        };
        (end, streams)
    }

    /// `streams` is set to what the server has to store, whatever the result is.
    async fn try_execute(
        &self,
        mut begun: Begun,
        notes: &mut Notes,
        streams: &mut Option<Streams>,
    ) -> Result<RunEnd, Trouble> {
        let (task, run) = (begun.task.clone(), begun.run);
        if let Some(wish) = &task.resident {
            return self.serve_call(begun, wish, notes).await;
        }
        let words = command::split(&task.command_line).map_err(|error| Trouble::Job {
            cause: Cause::Command,
            message: format!("the command line cannot be split: {error}"),
        })?;
        self.machine.neighbours.look();
        let lineage = lineage(&task);
        let made = self.directories.make(run.run, lineage.as_deref());
        let mut directory = made.map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no directory for the run", format!("{error:#}"))
        })?;
        let opening = self.opening(&task);
        let store = self.open_store(&opening).map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no object store", chain(&error))
        })?;
        let remote = Remote::new(store, Patience::default(), run.run);
        let prepared = unless_cancelled(
            &mut begun.cancelled,
            self.prepare(&task, &directory, &opening, &remote, notes),
        )
        .await;
        let (mut inputs, mounts) = prepared??;
        let sandbox = self.sandbox(&run.run.to_string(), directory.scratch(), mounts, lineage);
        let program = ProgramSpec {
            arguments: words,
            env: environment(&task, run.instance),
            directory: WORKDIR.to_owned(),
        };
        let ended =
            self.run_program(&mut begun, &mut directory, &mut inputs, &sandbox, &program).await;
        faults::at(Point::AgentEnded);
        let cancelled = matches!(ended, Err(Trouble::Cancelled));
        let uploads = results::Uploads {
            task: &task,
            instance: run.instance,
            directory: &directory,
            sandbox: &sandbox,
            layout: &self.layout,
            remote,
            short_max: self.short_max.load(Ordering::Relaxed),
        };
        let kept = uploads.upload(cancelled, notes).await.map(|kept| match kept {
            Kept::Stored => {}
            Kept::Said(said) => *streams = Some(said),
        });
        faults::at(Point::AgentUploaded);
        if directory.is_kept() {
            self.runs.take_logs(run.run);
        }
        let intact = inputs.finish(notes).await;
        let ended = ended?;
        if kept.is_ok() && ended.kind() == EndKind::Exited && ended.number == 0 {
            intact?;
        }
        kept?;
        Ok(ended)
    }

    /// Fetches the package, mounts the inputs, makes the outputs' directories.
    async fn prepare(
        &self,
        task: &Task,
        directory: &RunDirectory,
        opening: &Opening,
        remote: &Remote,
        notes: &mut Notes,
    ) -> Result<(Inputs, Vec<SandboxMount>), Trouble> {
        if directory.is_fresh() {
            crate::package::fetch(task, directory, remote, self.owner).await?;
        }
        let has = |path: &str| self.machine.has(path);
        let shown = directory.output_mounts(&task.outputs, &task.inputs, has).map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no directory for outputs", format!("{error:#}"))
        })?;
        let inputs = Inputs::open(self, task, directory, opening, remote, notes).await?;
        let mut mounts = vec![directory.workdir_mount()];
        mounts.extend(inputs.mounts());
        // An output directory inside an input must be on top of it.
        mounts.extend(shown);
        Ok((inputs, mounts))
    }

    /// A sandbox of this machine, with the machine's own mounts below these.
    pub(crate) fn sandbox(
        &self,
        name: &str,
        scratch: PathBuf,
        mounts: Vec<SandboxMount>,
        lineage: Option<String>,
    ) -> SandboxSpec {
        let bound = |value: u64| (value > 0).then_some(value);
        SandboxSpec {
            id: format!("{}-{name}", self.config.worker),
            root: self.machine.root.clone(),
            scratch,
            base: self.machine.base(),
            mounts: self.machine.mounts.iter().cloned().chain(mounts).collect(),
            masked: self.config.masked.clone(),
            host_name: self.config.host_name.clone(),
            limits: Limits {
                memory_bytes: bound(self.config.memory_bytes),
                processes_max: Some(PROCESSES_MAX),
                cpu_millis: bound(self.config.cpu_millis.into()),
                files_max: Some(FILES_MAX),
            },
            lineage,
        }
    }

    async fn run_program(
        &self,
        begun: &mut Begun,
        directory: &mut RunDirectory,
        inputs: &mut Inputs,
        sandbox: &SandboxSpec,
        program: &ProgramSpec,
    ) -> Result<RunEnd, Trouble> {
        let run = begun.run.run;
        let [stdout, stderr] = directory.open_streams().map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no file for the program's output", error)
        })?;
        self.runs.set_logs(run, [directory.log("stdout"), directory.log("stderr")]);
        faults::at(Point::AgentStart)
            .or_fail()
            .map_err(|fault| Trouble::of_machine(Cause::Sandbox, "no program", fault))?;
        let (say, mut events) = mpsc::unbounded_channel();
        let listener = move |event| drop(say.send(event)); // nobody listens when the run is over
        let handle = self
            .spawner
            .spawn(sandbox, program, stdout.into(), stderr.into(), listener)
            .map_err(|error| {
            self.broken.notify_one();
            Trouble::of_machine(Cause::Sandbox, "no sandbox", chain(&error))
        })?;
        let timeout = Duration::from_secs(u64::from(begun.task.timeout.max(1)));
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let (announcement, mut unsaid) = (tokio::time::sleep(Duration::ZERO), false);
        tokio::pin!(announcement);
        let (mut timed_out, mut cancelled, mut lost) = (false, false, None);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(RunEvent::Started { at_micros, .. }) => {
                        faults::at(Point::AgentStarted);
                        self.runs.started(run, at_micros);
                        announcement.as_mut().reset(Instant::now() + START_UNSAID_MAX);
                        unsaid = true;
                    }
                    Some(RunEvent::Failed(_)) if cancelled => return Err(Trouble::Cancelled),
                    Some(RunEvent::Failed(failure)) => return Err(self.not_started(failure)),
                    Some(RunEvent::Exited(ended)) => {
                        if ended.kept {
                            directory.keep();
                        }
                        if ended.started_micros > 0 {
                            self.runs.started(run, ended.started_micros);
                        }
                        let lost = if cancelled { Some(Trouble::Cancelled) } else { lost };
                        return lost.map_or(Ok(end_of(ended.exit, timed_out)), Err);
                    }
                    None => return Err(Trouble::of_machine(Cause::Sandbox, "the sandbox is gone", "no word of its end")),
                },
                () = &mut announcement, if unsaid => {
                    unsaid = false;
                    self.runs.announce(run);
                }
                () = &mut deadline, if !timed_out => {
                    timed_out = true;
                    stop(&handle, Duration::ZERO);
                }
                trouble = inputs.lost(), if lost.is_none() => {
                    lost = Some(trouble);
                    stop(&handle, Duration::ZERO);
                }
                _ = begun.cancelled.wait_for(|wanted| *wanted), if !cancelled => {
                    cancelled = true;
                    stop(&handle, GRACE);
                }
            }
        }
    }
}

impl Place {
    /// A machine whose spawner is gone is of no more use; another takes its place.
    pub(crate) fn not_started(&self, failure: StartFailure) -> Trouble {
        if failure.stage == Stage::Spawner {
            self.broken.notify_one();
        }
        let is_users = failure.is_users();
        match (failure.stage, failure.message) {
            (Stage::MountPoint, message) => Trouble::Job { cause: Cause::Mount, message },
            (_, message) if is_users => Trouble::Job { cause: Cause::Command, message },
            (_, message) => Trouble::Infrastructure { cause: Cause::Sandbox, message },
        }
    }
}

pub(crate) fn stop(handle: &RunHandle, grace: Duration) {
    let asked = if grace.is_zero() { handle.kill() } else { handle.stop(grace) };
    if let Err(error) = asked {
        warn!(%error, "could not stop a program; its sandbox ends with the agent");
    }
}

/// Runs `work` until the server does not want the run any more.
pub(crate) async fn unless_cancelled<T>(
    cancelled: &mut watch::Receiver<bool>,
    work: impl Future<Output = T>,
) -> Result<T, Trouble> {
    tokio::select! {
        done = work => Ok(done),
        _ = cancelled.wait_for(|wanted| *wanted) => Err(Trouble::Cancelled),
    }
}

pub(crate) fn end_of(exit: Exit, timed_out: bool) -> RunEnd {
    let (kind, number) = match exit {
        _ if timed_out => (EndKind::TimedOut, 0),
        Exit::Code(code) => (EndKind::Exited, code),
        Exit::Signal(signal) => (EndKind::Signalled, signal),
        Exit::OutOfMemory => (EndKind::OutOfMemory, 0),
    };
    RunEnd { at: now(), kind: kind.into(), number, ..RunEnd::default() }
}

/// Which runs may follow each other in one sandbox: those of one task that mounts nothing, as what is
/// mounted is another thing for each run.
fn lineage(task: &Task) -> Option<String> {
    task.inputs.is_empty().then(|| format!("{}/{}", task.job, task.task))
}

/// What the program sees (`reference/api.md` 14.1): a base, the service's names, then what
/// cluster and task set.
fn environment(task: &Task, instance: u32) -> Vec<(String, String)> {
    let names = ["BATCH_COMPUTE_DAG_INSTANCE_ID", "BATCH_COMPUTE_INSTANCE_ID"];
    let mut env: BTreeMap<String, String> =
        names.into_iter().map(|name| (name.to_owned(), instance.to_string())).collect();
    env.extend(task.env.clone());
    machine_environment(&env)
}

/// These variables on top of those that every program of a machine has.
pub fn machine_environment(env: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let base = [("PATH", PATH), ("HOME", "/root"), ("USER", "root"), ("PWD", WORKDIR)];
    let mut all: BTreeMap<String, String> =
        base.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    all.extend(env.clone());
    all.into_iter().collect()
}

/// This machine's clock, microseconds since 1970. For display only: the server orders events.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_sets_wins_over_the_service() {
        let mut task = Task::default();
        task.env.insert("HOME".into(), "/home/me".into());
        let env: BTreeMap<_, _> = environment(&task, 3).into_iter().collect();
        assert_eq!(env["HOME"], "/home/me");
        assert_eq!(env["BATCH_COMPUTE_DAG_INSTANCE_ID"], "3");
        assert!(env["PATH"].contains("/usr/bin"));
    }

    #[test]
    fn a_program_killed_for_its_time_is_timed_out() {
        assert_eq!(end_of(Exit::Signal(9), true).kind(), EndKind::TimedOut);
        assert_eq!(end_of(Exit::Signal(9), false).kind(), EndKind::Signalled);
        assert_eq!(end_of(Exit::Code(3), false).number, 3);
    }
}
