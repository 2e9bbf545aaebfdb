//! Workers as processes of this machine.
//!
//! A worker is `gristmill agent --config FILE`, in a session of its own, so that it lives on when
//! the server ends, however it ends. Its directory below the data directory holds what a later
//! server needs to know ([`Record`]), the configuration, the log, and the agent's own files.
//!
//! Invariants
//! - The token stands in a file of mode 0600 and nowhere else: not on the command line, not in
//!   the environment.
//! - One request at a time changes a worker; requests for different workers do not wait for each
//!   other.
//! - A record is written before its process starts, so no process is ever unknown.

use crate::{
    AgentLaunch, Capabilities, Observed, Presence, Provider, ProviderError,
    process::{self, Process},
    record::{Home, Record, state},
    tombstones::Tombstones,
};
use async_trait::async_trait;
use gristmill_faults::{self as faults, Point};
use gristmill_model::{Generation, WorkerId, event::EnsureWorker};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::{info, warn};

/// A longer log of an agent is put aside when it is looked at next. As much is kept of what was put aside.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// How workers live on this machine. Since 0.1.0.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Each worker has a directory in here.
    pub directory: PathBuf,
    /// How many workers there may be at once.
    pub workers_max: u32,
    /// How long an agent may take to end by itself before it is killed.
    pub stop_grace: Duration,
    /// The whole environment of an agent.
    pub env: Vec<(String, String)>,
}

/// Makes workers as processes of this machine.
#[derive(Debug)]
pub struct LocalProvider {
    config: LocalConfig,
    /// Never held across an await or while a worker's lock is taken.
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    removed: Tombstones,
    /// One lock per worker that is being changed, or was and may be again.
    locks: BTreeMap<WorkerId, Arc<tokio::sync::Mutex<()>>>,
    /// Places that are taken by requests under way.
    starting: u32,
}

impl LocalProvider {
    /// A provider on this directory; it knows the workers that an earlier one made there.
    pub fn open(config: LocalConfig) -> Result<Self, ProviderError> {
        Home(config.directory.clone()).make()?;
        // Agents run in directories of their own, so their paths must be whole.
        let directory =
            fs::canonicalize(&config.directory).map_err(state("find", &config.directory))?;
        let config = LocalConfig { directory, ..config };
        Ok(Self { config, shared: Mutex::default() })
    }

    /// The directory of a worker: configuration, log, and the agent's own files.
    pub fn directory(&self, worker: WorkerId) -> PathBuf {
        self.config.directory.join(worker.to_string())
    }

    fn home(&self, worker: WorkerId) -> Home {
        Home(self.directory(worker))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_of(&self, worker: WorkerId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.shared().locks.entry(worker).or_default())
    }

    /// The process of a recorded worker, if it runs.
    fn running(&self, home: &Home, record: &Record) -> Result<Option<Process>, ProviderError> {
        let config = home.config();
        let look = || -> io::Result<Option<Process>> {
            match &record.process {
                Some(process) if process.lives()? => Ok(Some(process.clone())),
                Some(_) => Ok(None),
                None => process::find(&[b"agent", b"--config", config.as_os_str().as_bytes()]),
            }
        };
        look().map_err(state("look for the process of", &config))
    }

    fn presence(&self, worker: WorkerId) -> Presence {
        let home = self.home(worker);
        let seen = home.read().and_then(|record| match record {
            Some(record) => Ok(self.running(&home, &record)?.map(|_| record.generation)),
            None => Ok(None),
        });
        match seen {
            Ok(Some(generation)) => Presence::There(generation),
            Ok(None) => Presence::Gone,
            Err(error) => {
                warn!(%worker, ?error, "cannot tell whether the worker is there");
                Presence::Unknown
            }
        }
    }

    /// Takes one of the places, until the guard is dropped.
    fn take_place(&self) -> Result<Place<'_>, ProviderError> {
        let taken = self.names()?.iter().filter(|w| self.presence(**w) != Presence::Gone).count();
        let mut shared = self.shared();
        let workers_max = self.config.workers_max;
        if taken + shared.starting as usize >= workers_max as usize {
            return Err(ProviderError::NoCapacity { workers_max });
        }
        shared.starting += 1;
        Ok(Place(self))
    }

    /// Every worker that has a directory.
    fn names(&self) -> Result<Vec<WorkerId>, ProviderError> {
        let list = || -> io::Result<Vec<WorkerId>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.config.directory)? {
                names.extend(entry?.file_name().to_str().and_then(|n| n.parse::<WorkerId>().ok()));
            }
            names.sort();
            Ok(names)
        };
        list().map_err(state("list", &self.config.directory))
    }

    /// Keeps the agent's log from filling the disk. Not while something else is done to the worker.
    async fn bound_log(&self, worker: WorkerId) {
        let home = self.home(worker);
        if !home.has_long_log(LOG_BYTES_MAX) {
            return;
        }
        let lock = self.lock_of(worker);
        let Ok(_one_at_a_time) = lock.try_lock() else { return };
        if let Err(error) = off_the_loop(move || home.turn_log(LOG_BYTES_MAX)).await {
            warn!(%worker, ?error, "the log of a worker grows");
        }
    }

    /// Ends a worker's process, if there is one.
    async fn end(&self, home: &Home, record: &Record) -> Result<(), ProviderError> {
        let process = match &record.process {
            Some(process) => Some(process.clone()),
            None => self.running(home, record)?,
        };
        let Some(process) = process else { return Ok(()) };
        let ended = process.end(self.config.stop_grace).await;
        match ended.map_err(state("end the process of", &home.0))? {
            true => Ok(()),
            false => Err(ProviderError::Undying { pid: process.pid }),
        }
    }
}

/// A place for a worker that is being started.
struct Place<'a>(&'a LocalProvider);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.shared().starting -= 1;
    }
}

#[async_trait]
impl Provider for LocalProvider {
    async fn ensure(
        &self,
        request: &EnsureWorker,
        launch: &AgentLaunch,
    ) -> Result<(), ProviderError> {
        let (worker, asked) = (request.worker, request.generation);
        let lock = self.lock_of(worker);
        let _one_at_a_time = lock.lock().await;
        self.shared().removed.check(worker, asked)?;
        let home = self.home(worker);
        if let Some(record) = home.read()? {
            if record.generation > asked {
                return Err(ProviderError::Outdated { asked, known: record.generation });
            }
            if record.generation == asked && self.running(&home, &record)?.is_some() {
                return Ok(());
            }
            self.end(&home, &record).await?;
        }
        let _place = self.take_place()?;
        let (env, launch) = (self.config.env.clone(), launch.clone());
        let pid = off_the_loop(move || start(&home, &env, asked, &launch)).await?;
        info!(%worker, generation = %asked, pid, "started a worker");
        Ok(())
    }

    async fn remove(&self, worker: WorkerId, generation: Generation) -> Result<(), ProviderError> {
        let lock = self.lock_of(worker);
        let one_at_a_time = lock.lock().await;
        self.shared().removed.add(worker, generation);
        let home = self.home(worker);
        if let Some(record) = home.read()? {
            if record.generation > generation {
                return Ok(());
            }
            self.end(&home, &record).await?;
            info!(%worker, generation = %record.generation, "removed a worker");
        }
        fail(Point::ProviderEnded, &home)?;
        off_the_loop(move || home.remove()).await?;
        drop(one_at_a_time);
        drop(lock);
        self.shared().locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Ok(())
    }

    async fn observe(&self, workers: &[WorkerId]) -> Result<Vec<Observed>, ProviderError> {
        for worker in workers {
            self.bound_log(*worker).await;
        }
        let look =
            |worker: &WorkerId| Observed { worker: *worker, presence: self.presence(*worker) };
        Ok(workers.iter().map(look).collect())
    }

    async fn list(&self) -> Result<Vec<(WorkerId, Generation)>, ProviderError> {
        let mut there = Vec::new();
        for worker in self.names()? {
            if let Presence::There(generation) = self.presence(worker) {
                there.push((worker, generation));
            }
        }
        Ok(there)
    }

    async fn bootstrap_log(
        &self,
        worker: WorkerId,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ProviderError> {
        let file = self.home(worker).bootstrap_log();
        off_the_loop(move || read_from(&file, offset, bytes_max).map_err(state("read", &file)))
            .await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { remembers: true, workers_max: Some(self.config.workers_max) }
    }
}

/// Runs what waits for the disk where it holds up nobody.
async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ProviderError::Silent), // the runtime is shutting down
        },
    }
}

fn start(
    home: &Home,
    env: &[(String, String)],
    generation: Generation,
    launch: &AgentLaunch,
) -> Result<i32, ProviderError> {
    home.make()?;
    home.clear()?;
    home.write_config(&launch.config_json)?;
    home.write(&Record { generation, process: None })?;
    fail(Point::ProviderRecorded, home)?;
    let pid = spawn(home, env, launch)?;
    fail(Point::ProviderSpawned, home)?;
    let process = Process::of(pid).map_err(state("look for the process of", &home.config()))?;
    home.write(&Record { generation, process })?;
    Ok(pid)
}

fn fail(point: Point, home: &Home) -> Result<(), ProviderError> {
    let failed = faults::at(point).or_fail().map_err(std::io::Error::from);
    failed.map_err(state("go on with", &home.0))
}

fn read_from(file: &Path, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut file = match fs::File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    if offset >= file.metadata()?.len() {
        return Ok(Vec::new()); // an offset can be larger than any place in a file
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn spawn(
    home: &Home,
    env: &[(String, String)],
    launch: &AgentLaunch,
) -> Result<i32, ProviderError> {
    let log = home.log()?;
    let second = log.try_clone().map_err(state("open", &home.0))?;
    let mut command = std::process::Command::new(&launch.program);
    command
        .args([OsStr::new("agent"), OsStr::new("--config"), home.config().as_os_str()])
        .env_clear()
        .envs(env.iter().map(|(key, value)| (key, value)))
        .current_dir(&home.0)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(second);
    process::in_own_session(&mut command);
    let start = |source| ProviderError::Start { program: launch.program.clone(), source };
    let child = command.spawn().map_err(start)?;
    Ok(i32::try_from(child.id()).expect("the kernel's process numbers fit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_end_of_a_log_there_is_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("log");
        let read = |offset| read_from(&file, offset, 3).expect("read");
        assert_eq!(read(0), b"", "nothing was said yet");
        fs::write(&file, "hello").expect("written");
        for (offset, found) in [(0, "hel"), (3, "lo"), (5, ""), (1 << 62, ""), (u64::MAX, "")] {
            assert_eq!(read(offset), found.as_bytes(), "{offset}");
        }
    }
}
