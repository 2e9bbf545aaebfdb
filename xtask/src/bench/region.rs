//! A throw-away region: `gristmill serve` on free ports with a directory that is removed, driven by
//! the same client code as `bcs`.

use anyhow::{Context, Result, bail, ensure};
use gristmill_cli::{
    client::{Client, Credentials, Endpoints},
    oss_path::OssPath,
    store::Store,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The bucket every region has.
pub const BUCKET: &str = "gristmill";
/// How long a region may take to be ready, and a cluster to have its machines.
const READY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether something has become true.
const LOOK: Duration = Duration::from_millis(5);
/// The region's key; the region is reachable from this machine only, and gone in a minute.
const KEY: (&str, &str) = ("benchkeyid", "benchkeysecret");

/// A running region. Stopped and removed when dropped.
pub struct Region {
    process: Child,
    start: Start,
    directory: TempDir,
    /// Where machines have their directories, when that is not below the region's.
    _scratch: Option<TempDir>,
    /// The signed client.
    pub client: Client,
    /// Its object store.
    pub store: Store,
    /// Where the object store answers.
    pub oss: SocketAddr,
    /// Where the API answers.
    pub api: SocketAddr,
}

/// How the server is started, and started again.
struct Start {
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    ports: [SocketAddr; 3],
    settings: Vec<(String, String)>,
}

impl Start {
    fn spawn(&self) -> Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let [api, oss, mns] = &self.ports;
        Command::new(&self.program)
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen", &api.to_string(), "--oss-listen", &oss.to_string()])
            .args(["--mns-listen", &mns.to_string()])
            .env("GRISTMILL_ROOT_ACCESS_KEY_ID", KEY.0)
            .env("GRISTMILL_ROOT_ACCESS_KEY_SECRET", KEY.1)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {}", self.program.display()))
    }
}

impl Region {
    /// Starts `gristmill serve` and waits until it answers. Machines have their directories below
    /// `scratch`, if it is given.
    pub async fn start(program: &Path, scratch: Option<&Path>) -> Result<Self> {
        Self::start_with(program, scratch, &[]).await
    }

    /// The same with settings: names and values of environment variables.
    pub async fn start_with(
        program: &Path,
        scratch: Option<&Path>,
        settings: &[(&str, String)],
    ) -> Result<Self> {
        let place = |at: &Path| tempfile::Builder::new().prefix("gristmill-bench-").tempdir_in(at);
        let directory = place(&std::env::temp_dir())?;
        let scratch = scratch.map(place).transpose()?;
        if let Some(scratch) = &scratch {
            fs::create_dir(directory.path().join("data"))?;
            symlink(scratch.path(), directory.path().join("data/workers"))?;
        }
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let start = Start {
            program: program.to_owned(),
            data: directory.path().join("data"),
            log: directory.path().join("serve.log"),
            ports: free_ports()?,
            settings: settings.collect(),
        };
        let [api, oss, _] = start.ports;
        let process = start.spawn()?;
        let endpoints = Endpoints {
            batchcompute_url: format!("http://{api}"),
            oss_url: format!("http://{oss}"),
            region: "cn-local".to_owned(),
        };
        let store = Store::remote(&endpoints.oss_url, credentials(), clock)?;
        let client = Client::new(endpoints, credentials());
        let _scratch = scratch;
        let mut region = Self { process, start, directory, _scratch, client, store, oss, api };
        region.wait_until_it_answers().await?;
        Ok(region)
    }

    /// `kill -9`: the server is gone when this returns, its machines live on.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts the server again on the same data and ports; does not wait until it answers.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = self.start.spawn()?;
        Ok(())
    }

    /// Settings of the next start; the last value of a name counts.
    pub fn set(&mut self, name: &str, value: &str) {
        self.start.settings.push((name.to_owned(), value.to_owned()));
    }

    /// The user's command, set up for this region.
    pub fn bcs(&self, programs: &Path) -> Command {
        let Endpoints { batchcompute_url, oss_url, region } = self.client.endpoints();
        let mut command = Command::new(programs.join("bcs"));
        command
            .env("BCS_HOME", self.directory.path().join("client"))
            .env("BCS_ENDPOINT", batchcompute_url)
            .env("BCS_OSS_ENDPOINT", oss_url)
            .env("BCS_REGION", region)
            .env("BCS_OSSPATH", format!("oss://{BUCKET}/bcs/"))
            .env("BCS_ACCESS_KEY_ID", KEY.0)
            .env("BCS_ACCESS_KEY_SECRET", KEY.1);
        command
    }

    /// A directory of the region that goes with it.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// What its books take on the disk, bytes.
    pub fn books_bytes(&self) -> u64 {
        let size = |name: &str| {
            let file = self.directory.path().join("data").join(name);
            fs::metadata(file).map_or(0, |data| data.len())
        };
        ["gristmill.db", "gristmill.db-wal"].into_iter().map(size).sum()
    }

    /// The server's process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// A fixed cluster of so many machines, all of them there.
    pub async fn cluster(&self, machines: u32) -> Result<String> {
        let description = json!({
            "Name": "bench",
            "ImageId": "img-ubuntu",
            "Groups": {"all": {"DesiredVMCount": machines}},
        });
        let id = self.client.create_cluster(&description).await?;
        let started = Instant::now();
        loop {
            let machines_now = self.client.list_machines(&id, "all").await?;
            let running = machines_now.iter().filter(|machine| machine.state == "Running").count();
            if running == machines as usize {
                return Ok(id);
            }
            ensure!(
                started.elapsed() < READY_MAX,
                "the cluster has {running} of {machines} machines"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many objects there are below a prefix of the region's bucket.
    pub async fn objects_below(&self, prefix: &str) -> Result<usize> {
        let path = OssPath { bucket: BUCKET.to_owned(), key: prefix.to_owned() };
        Ok(self.store.all(&path, None).await?.objects.len())
    }

    /// Waits until a signed request is answered.
    pub async fn wait_until_it_answers(&mut self) -> Result<()> {
        let started = Instant::now();
        while let Err(error) = self.client.ping().await {
            if let Some(status) = self.process.try_wait()? {
                bail!("the region ended with {status}: {}", self.last_words());
            }
            ensure!(started.elapsed() < READY_MAX, "the region does not answer: {error}");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Turns of the mill that took longer than 50 ms, as the log tells them, and how long of that was
    /// for the disk, milliseconds.
    pub fn slow_turns(&self) -> Result<Vec<[u64; 2]>> {
        let log = fs::read_to_string(self.directory.path().join("serve.log"))?;
        let lines = log.lines().filter(|line| line.contains("a slow turn"));
        let number = |line: &str, name: &str| {
            line.split_once(name)?.1.split(' ').next().and_then(|word| word.parse().ok())
        };
        let turn = |line: &str| Some([number(line, " ms=")?, number(line, " disk_ms=")?]);
        Ok(lines.filter_map(turn).collect())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("serve.log")).unwrap_or_default();
        log.lines().rev().take(5).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.process.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM); // it may have ended
        }
        let _ = self.process.wait(); // nothing can be done about a region that cannot be awaited
    }
}

/// The key of a region, for signing.
pub fn credentials() -> Credentials {
    Credentials { access_key_id: KEY.0.to_owned(), secret: KEY.1.to_owned(), token: None }
}

/// The real time.
pub fn clock() -> gristmill_model::Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    gristmill_model::Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Addresses that were free a moment ago.
fn free_ports() -> Result<[SocketAddr; 3]> {
    let open = || TcpListener::bind(("127.0.0.1", 0));
    let listeners = [open()?, open()?, open()?];
    let [a, b, c] = &listeners;
    Ok([a.local_addr()?, b.local_addr()?, c.local_addr()?])
}
