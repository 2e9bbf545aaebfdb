//! One turn from package to last upload.
//!
//! ```text
//! turn -> directories -> package -> inputs -> program -> logs, outputs -> report
//! ```
//!
//! What can go wrong has one type, [`Trouble`], which knows whose fault it is. Logs are uploaded
//! whatever happened; outputs also after a failed program, because a failed run's results are
//! wanted for diagnosis, but not when the run was cancelled.
//!
//! Runs of one task that need nothing before their program and keep nothing after it but its streams
//! share a turn and all of this: see [`Turn`](crate::turns::Turn).
//!
//! Start at [`Place::work`].

use crate::{
    ahead::Ahead,
    inputs::Inputs,
    machine::Machine,
    oss::{Opening, Stores},
    place::{Leavings, RunDirectories, RunDirectory},
    resident::Pool,
    results::{self, Notes},
    runs::{Begun, Runs},
    trouble::{Trouble, chain},
    turns::{Turn, Turns},
    writes::Writes,
};
use gristmill_faults::{self as faults, Point};
use gristmill_model::Cause;
use gristmill_mounts::remote::{Patience, Remote};
use gristmill_objects::{ObjectStore, remote::EndpointError};
use gristmill_runtime::{
    Ear, Identity, Layout, Limits, Node, NodeReport, ProgramSpec, QuickEnd, SandboxMount,
    SandboxSpec, Spawner, command,
};
use gristmill_wire::agent::{AgentConfig, EndKind, RunEnd, Spans, Streams, Task};
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};
use tracing::{Instrument, debug, info, info_span};

/// The working directory of every program.
pub const WORKDIR: &str = "/batchcompute/workdir";
/// Search path of programs that set none.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Processes and threads of one sandbox.
const PROCESSES_MAX: u64 = 4_096;
/// Open files of one process.
const FILES_MAX: u64 = 16_384;

/// Where the agent's work is done.
pub struct Threads {
    /// The agent's first thread: the line, and runs with little to do beside their programs. What they
    /// tell each other wakes nobody, so nothing here may take long.
    pub first: Handle,
    /// Threads for runs that move bytes.
    pub carriers: Handle,
}

/// This machine: what all runs share.
pub struct Place {
    /// What the agent was started with.
    pub config: AgentConfig,
    /// The runs it holds.
    pub runs: Runs,
    /// Who waits for what they write.
    pub(crate) writes: Writes,
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
    /// The sandbox that waits for the next run.
    pub(crate) ahead: Ahead,
    /// Programs that stay.
    pub(crate) residents: Pool,
    /// Who waits for a slot.
    pub(crate) turns: Arc<Turns>,
    threads: Threads,
    /// The longest stream that the server stores itself; 0: none.
    pub(crate) short_max: AtomicU64,
    /// Rings when this machine can run nothing any more.
    pub(crate) broken: Notify,
}

impl Place {
    /// A machine with nothing to do yet, and what hears of its programs.
    pub fn new(
        config: AgentConfig,
        node: Node,
        report: &NodeReport,
        machine: Machine,
        mounter: PathBuf,
        threads: Threads,
    ) -> (Self, Ear) {
        let (layout, owner, fuse) = (node.layout().clone(), node.owner(), report.fuse);
        let oss_endpoint = RwLock::new(config.machine.oss_endpoint.clone());
        let (runs, (spawner, ear)) = (Runs::default(), node.connect());
        let (stores, broken) = (Stores::default(), Notify::new());
        let letting = spawner.clone();
        let let_go = move |scratch: &Path| {
            // Without a spawner there is no sandbox either.
            let _ = letting.let_go(scratch);
        };
        let directories = RunDirectories::new(machine.top.clone(), owner, let_go);
        let turns = Arc::new(Turns::new(config.slots));
        let place = Self {
            config,
            runs,
            writes: Writes::default(),
            machine,
            spawner,
            layout,
            owner,
            fuse,
            mounter,
            oss_endpoint,
            stores,
            directories,
            ahead: Ahead::default(),
            residents: Pool::default(),
            turns,
            threads,
            short_max: AtomicU64::new(0),
            broken,
        };
        (place, ear)
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

    /// Lets free slots work, as long as somebody waits.
    pub fn work(self: &Arc<Self>) {
        while let Some(mut slot) = self.turns.claim() {
            let place = self.clone();
            self.threads.first.spawn(async move {
                while let Some(turn) = slot.next(place.takes_short_streams()) {
                    if turn.begun.is_light() {
                        place.carry_out(turn).await;
                        continue;
                    }
                    let carrier = place.clone();
                    let carried = async move { carrier.carry_out(turn).await };
                    let carried = place.threads.carriers.spawn(carried);
                    carried.await.expect("a panic ends the process");
                }
                place.look_ahead_soon();
            });
        }
    }

    /// Whether what programs of a series say can go to the server.
    fn takes_short_streams(&self) -> bool {
        self.short_max.load(Ordering::Relaxed) >= QuickEnd::SAID_BYTES_MAX
    }

    /// The server does not want this run.
    pub fn cancel(&self, run: u64) {
        self.runs.cancel(run);
        if self.turns.remove(run).is_some() {
            self.runs.ended(run, cancelled(), None);
        }
    }

    /// Carries out a turn and leaves the results in [`Place::runs`].
    async fn carry_out(self: &Arc<Self>, mut turn: Turn) {
        let Begun { task, run, cancelled: wanted_no_more, .. } = &turn.begun;
        if *wanted_no_more.borrow() {
            self.runs.ended(run.run, cancelled(), None);
            return self.give_back(turn.next);
        }
        let (job, task, instance) = (&task.job, &task.task, run.instance);
        let span = info_span!("run", run = run.run, job, task, instance);
        let (mut end, left) = self.execute(&mut turn).instrument(span.clone()).await;
        end.spans = Some(self.spans(&turn, end.at));
        let Turn { mut begun, next, is_lost, .. } = turn;
        if is_lost {
            begun.alone = true;
            let next = next.into_iter().map(|begun| Begun { alone: true, ..begun });
            return self.give_back(std::iter::once(begun).chain(next).collect());
        }
        self.give_back(next);
        span.in_scope(
            || debug!(kind = ?end.kind(), number = end.number, message = end.message, "ended"),
        );
        self.runs.ended(begun.run.run, end, left.streams);
        if let Some(leavings) = left.leavings {
            // The report goes before them, and they may be many.
            let swept = tokio::task::spawn_blocking(move || drop(leavings));
            swept.await.expect("a panic ends the process");
        }
    }

    /// Where the time went of the turn's run, whose program ended at `ended`.
    pub(crate) fn spans(&self, turn: &Turn, ended: i64) -> Spans {
        let micros = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        Spans {
            waited_micros: micros(turn.begun.taken, turn.since),
            prepared_micros: micros(turn.since, self.runs.started_at(turn.begun.run.run)),
            kept_micros: micros(ended, now()),
        }
    }

    /// These were not started.
    pub(crate) fn give_back(self: &Arc<Self>, runs: VecDeque<Begun>) {
        if !runs.is_empty() {
            self.turns.give_back(runs);
            self.work();
        }
    }

    async fn execute(self: &Arc<Self>, turn: &mut Turn) -> (RunEnd, Left) {
        let (mut notes, mut left) = (Notes::default(), Left::default());
        let end = match self.try_execute(turn, &mut notes, &mut left).await {
            Ok(end) => RunEnd { detail: notes.into_text(), ..end },
            Err(trouble) => {
                if trouble != Trouble::Cancelled {
                    info!(%trouble, "the run could not be carried out");
                }
                trouble.into_end(now(), notes.into_text())
            }
        };
        (end, left)
    }

    async fn try_execute(
        self: &Arc<Self>,
        turn: &mut Turn,
        notes: &mut Notes,
        left: &mut Left,
    ) -> Result<RunEnd, Trouble> {
        let (task, first) = (turn.begun.task.clone(), turn.begun.run.run);
        if let Some(wish) = &task.resident {
            return self.serve_call(&mut turn.begun, wish, notes).await;
        }
        let words = command::split(&task.command_line).map_err(|error| Trouble::Job {
            cause: Cause::Command,
            message: format!("the command line cannot be split: {error}"),
        })?;
        self.machine.neighbours.look();
        let lineage = lineage(&task);
        let made = match &lineage {
            Some(lineage) if task.package.is_empty() && task.outputs.is_empty() => {
                self.directories.make_plain(first, lineage)
            }
            lineage => self.directories.make(first, lineage.as_deref()),
        };
        let mut directory = made.map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no directory for the run", format!("{error:#}"))
        })?;
        let opening = self.opening(&task);
        let store = self.open_store(&opening).map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no object store", chain(&error))
        })?;
        let remote = Remote::new(store, Patience::default(), first);
        let prepared = unless_cancelled(
            &mut turn.begun.cancelled,
            self.prepare(&task, &directory, &opening, &remote, notes),
        )
        .await;
        let (mut inputs, mounts) = match prepared.and_then(|prepared| prepared) {
            Ok(prepared) => prepared,
            Err(trouble) => {
                left.leavings = directory.leave();
                return Err(trouble);
            }
        };
        let sandbox = self.sandbox(&first.to_string(), directory.scratch(), mounts, lineage);
        let program = ProgramSpec {
            arguments: words,
            env: machine_environment(&task.env),
            directory: WORKDIR.to_owned(),
        };
        let ended = self.run_programs(turn, &mut directory, &mut inputs, &sandbox, program).await;
        faults::at(Point::AgentEnded);
        if turn.is_lost {
            return ended;
        }
        let run = turn.begun.run;
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
        let (said, kept) = uploads.upload(cancelled, notes).await;
        left.streams = said;
        faults::at(Point::AgentUploaded);
        if directory.is_kept() {
            self.runs.take_logs(run.run);
        }
        let intact = inputs.finish(notes).await;
        left.leavings = directory.leave();
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
}

/// What a run leaves beside its end, whatever that is.
#[derive(Default)]
struct Left {
    /// What the server has to store.
    streams: Option<Streams>,
    /// What is to be removed.
    leavings: Option<Leavings>,
}

/// The end of a run that the server does not want.
fn cancelled() -> RunEnd {
    RunEnd { kind: EndKind::Cancelled.into(), ..RunEnd::default() }
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

/// Which runs may follow each other in one sandbox: those of one job that find the same package there,
/// leave the same outputs and mount nothing, as what is mounted is another thing for each run.
fn lineage(task: &Task) -> Option<String> {
    let Task { job, package, inputs, outputs, .. } = task;
    let outputs: Vec<&str> = outputs.iter().map(|output| output.local.as_str()).collect();
    inputs.is_empty().then(|| format!("{job} {package:?} {outputs:?}"))
}

/// What one run's program sees beside what the task's programs have in common (`reference/api.md`
/// 14.1). What cluster and task set wins.
pub(crate) fn own_environment(task: &Task, instance: u32) -> Vec<(String, String)> {
    let names = ["BATCH_COMPUTE_DAG_INSTANCE_ID", "BATCH_COMPUTE_INSTANCE_ID"];
    let free = names.into_iter().filter(|name| !task.env.contains_key(*name));
    free.map(|name| (name.to_owned(), instance.to_string())).collect()
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
    use gristmill_wire::agent::Mapping;

    #[test]
    fn tasks_of_one_job_with_equal_files_share_sandboxes() {
        let task = |job: &str, package: &str, output: &str| Task {
            job: job.into(),
            package: package.into(),
            outputs: vec![Mapping { remote: "oss://bkt/".into(), local: output.into() }],
            ..Task::default()
        };
        let one = lineage(&task("job-1", "oss://bkt/a", "/out/"));
        assert_eq!(
            lineage(&Task { task: "two".into(), ..task("job-1", "oss://bkt/a", "/out/") }),
            one
        );
        for other in [
            task("job-2", "oss://bkt/a", "/out/"),
            task("job-1", "oss://bkt/b", "/out/"),
            task("job-1", "oss://bkt/a", "/other/"),
        ] {
            assert_ne!(lineage(&other), one);
        }
        let inputs = vec![Mapping::default()];
        assert_eq!(lineage(&Task { inputs, ..Task::default() }), None);
    }

    #[test]
    fn what_a_task_sets_wins_over_the_service() {
        let mut task = Task::default();
        task.env.insert("HOME".into(), "/home/me".into());
        task.env.insert("BATCH_COMPUTE_INSTANCE_ID".into(), "mine".into());
        let env: BTreeMap<_, _> = machine_environment(&task.env).into_iter().collect();
        assert_eq!(env["HOME"], "/home/me");
        assert!(env["PATH"].contains("/usr/bin"));
        let own = own_environment(&task, 3);
        assert_eq!(own, [("BATCH_COMPUTE_DAG_INSTANCE_ID".to_owned(), "3".to_owned())]);
    }
}
