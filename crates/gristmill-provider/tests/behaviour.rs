//! What every provider must do, run on each of them.

use gristmill_model::{ClusterId, Generation, WorkerId, event::EnsureWorker, names::GroupName};
use gristmill_provider::{
    AgentLaunch, LocalConfig, LocalProvider, MemoryProvider, Presence, Provider, ProviderError,
    Retry,
};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

const WORKERS_MAX: u32 = 3;

/// One implementation and what tests need to do behind its back.
trait Fixture {
    fn provider(&self) -> &dyn Provider;
    fn launch(&self) -> AgentLaunch;
    /// The machine dies by itself.
    async fn lose(&self, worker: WorkerId);
}

struct Memory(MemoryProvider);

impl Memory {
    fn new() -> Self {
        Self(MemoryProvider::new(WORKERS_MAX))
    }
}

impl Fixture for Memory {
    fn provider(&self) -> &dyn Provider {
        &self.0
    }

    fn launch(&self) -> AgentLaunch {
        AgentLaunch { program: "unused".into(), config_json: b"{}".to_vec() }
    }

    async fn lose(&self, worker: WorkerId) {
        self.0.lose(worker);
    }
}

struct Local {
    provider: LocalProvider,
    top: tempfile::TempDir,
}

impl Local {
    fn new() -> Self {
        let top = tempfile::tempdir().expect("a directory");
        let provider = LocalProvider::open(local_config(top.path().join("workers")));
        Self { provider: provider.expect("opened"), top }
    }

    /// The process that the provider wrote down.
    fn pid(&self, worker: WorkerId) -> rustix::process::Pid {
        pid_in(&self.provider, worker)
    }
}

fn pid_in(provider: &LocalProvider, worker: WorkerId) -> rustix::process::Pid {
    let bytes = fs::read(provider.directory(worker).join("worker.json")).expect("recorded");
    let record: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let pid = record["process"]["pid"].as_i64().expect("a number");
    rustix::process::Pid::from_raw(pid as i32).expect("not zero")
}

fn local_config(directory: PathBuf) -> LocalConfig {
    LocalConfig {
        directory,
        workers_max: WORKERS_MAX,
        stop_grace: Duration::from_millis(300),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
    }
}

/// An agent that does nothing, and does not go when asked kindly if its name says so.
fn stub_agent(top: &std::path::Path, name: &str, script: &str) -> PathBuf {
    let path = top.join(name);
    if path.exists() {
        // A shell reads its script as it goes: one that runs must not lose it.
        return path;
    }
    // Written by another process: a child that a test beside this one forks now would have the open
    // file, too, and as long as anybody can write to it the kernel executes it for nobody.
    let text = format!("#!/bin/sh\n{script}\n");
    let copy = ["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""];
    let mut writer = std::process::Command::new("sh");
    let written = writer.args(copy).arg(&path).arg(text).status().expect("a shell");
    assert!(written.success());
    path
}

const IDLE: &str = "while :; do sleep 0.05; done";
const STUBBORN: &str = "trap '' TERM; while :; do sleep 0.05; done";

impl Fixture for Local {
    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    fn launch(&self) -> AgentLaunch {
        let program = stub_agent(self.top.path(), "agent", IDLE);
        AgentLaunch { program, config_json: br#"{"token":"secret"}"#.to_vec() }
    }

    async fn lose(&self, worker: WorkerId) {
        let pid = self.pid(worker);
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).expect("killed");
        until(async || presence(self, worker).await == Presence::Gone).await;
    }
}

impl Drop for Local {
    /// A failed test must not leave agents behind.
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(self.top.path().join("workers")) else { return };
        for entry in entries.flatten() {
            let Ok(bytes) = fs::read(entry.path().join("worker.json")) else { continue };
            let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let pid = record["process"]["pid"].as_i64().unwrap_or(0) as i32;
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Waits for a state; the test runner bounds the time.
async fn until(mut state: impl AsyncFnMut() -> bool) {
    while !state().await {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn worker(number: u128) -> WorkerId {
    WorkerId(number)
}

fn request(number: u128, generation: u32) -> EnsureWorker {
    EnsureWorker {
        worker: worker(number),
        generation: Generation(generation),
        cluster: ClusterId(1),
        group: "group".parse::<GroupName>().expect("a name"),
        host_name: "w-0".into(),
        instance_type: None,
        image: None,
    }
}

async fn ensure(f: &impl Fixture, number: u128, generation: u32) -> Result<(), ProviderError> {
    f.provider().ensure(&request(number, generation), &f.launch()).await
}

async fn remove(f: &impl Fixture, number: u128, generation: u32) {
    f.provider().remove(worker(number), Generation(generation)).await.expect("removed");
}

async fn presence(f: &impl Fixture, worker: WorkerId) -> Presence {
    f.provider().observe(&[worker]).await.expect("observed")[0].presence
}

fn there(generation: u32) -> Presence {
    Presence::There(Generation(generation))
}

async fn what_was_asked_for_is_there_and_asking_twice_is_harmless(f: impl Fixture) {
    ensure(&f, 1, 1).await.expect("made");
    ensure(&f, 1, 1).await.expect("made already");
    assert_eq!(presence(&f, worker(1)).await, there(1));
    assert_eq!(f.provider().list().await.expect("listed"), [(worker(1), Generation(1))]);
    remove(&f, 1, 1).await;
    remove(&f, 1, 1).await;
    assert_eq!(presence(&f, worker(1)).await, Presence::Gone);
    assert_eq!(f.provider().list().await.expect("listed"), []);
}

async fn an_older_generation_is_refused_and_a_newer_one_replaces(f: impl Fixture) {
    ensure(&f, 1, 2).await.expect("made");
    let error = ensure(&f, 1, 1).await.expect_err("older");
    assert!(matches!(error, ProviderError::Outdated { known: Generation(2), .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(presence(&f, worker(1)).await, there(2));
    ensure(&f, 1, 3).await.expect("replaced");
    assert_eq!(presence(&f, worker(1)).await, there(3));
    remove(&f, 1, 2).await;
    assert_eq!(presence(&f, worker(1)).await, there(3));
    remove(&f, 1, 3).await;
}

async fn a_late_request_does_not_bring_back_what_was_removed(f: impl Fixture) {
    ensure(&f, 1, 1).await.expect("made");
    remove(&f, 1, 1).await;
    let error = ensure(&f, 1, 1).await.expect_err("late");
    assert!(matches!(error, ProviderError::Outdated { .. }), "{error:?}");
    remove(&f, 2, 5).await;
    assert!(ensure(&f, 2, 5).await.is_err(), "removed before it was made");
    ensure(&f, 2, 6).await.expect("made anew");
    remove(&f, 2, 6).await;
}

async fn one_that_died_is_gone_and_can_be_asked_for_again(f: impl Fixture) {
    ensure(&f, 1, 1).await.expect("made");
    f.lose(worker(1)).await;
    assert_eq!(presence(&f, worker(1)).await, Presence::Gone);
    ensure(&f, 1, 1).await.expect("made again");
    assert_eq!(presence(&f, worker(1)).await, there(1));
    f.lose(worker(1)).await;
    ensure(&f, 1, 2).await.expect("made anew");
    assert_eq!(presence(&f, worker(1)).await, there(2));
    remove(&f, 1, 2).await;
}

async fn no_more_than_the_bound_are_made(f: impl Fixture) {
    if f.provider().capabilities().workers_max != Some(WORKERS_MAX) {
        return; // this backend has no bound of its own
    }
    for number in 0..u128::from(WORKERS_MAX) {
        ensure(&f, number, 1).await.expect("there is room");
    }
    let error = ensure(&f, 9, 1).await.expect_err("full");
    assert!(matches!(error, ProviderError::NoCapacity { workers_max: WORKERS_MAX }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
    ensure(&f, 0, 2).await.expect("replacing needs no room");
    remove(&f, 1, 1).await;
    ensure(&f, 9, 1).await.expect("there is room again");
    for number in [0, 2, 9] {
        remove(&f, number, 2).await;
    }
}

async fn what_nobody_asked_for_is_gone(f: impl Fixture) {
    ensure(&f, 2, 1).await.expect("made");
    let seen = f.provider().observe(&[worker(1), worker(2), worker(3)]).await.expect("observed");
    let presences: Vec<_> = seen.iter().map(|o| (o.worker.0, o.presence)).collect();
    assert_eq!(presences, [(1, Presence::Gone), (2, there(1)), (3, Presence::Gone)]);
    remove(&f, 2, 1).await;
}

macro_rules! suite {
    ($($name:ident)*) => {
        mod memory { $(#[tokio::test] async fn $name() { super::$name(super::Memory::new()).await })* }
        mod local { $(#[tokio::test] async fn $name() { super::$name(super::Local::new()).await })* }
    };
}

suite! {
    what_was_asked_for_is_there_and_asking_twice_is_harmless
    an_older_generation_is_refused_and_a_newer_one_replaces
    a_late_request_does_not_bring_back_what_was_removed
    one_that_died_is_gone_and_can_be_asked_for_again
    no_more_than_the_bound_are_made
    what_nobody_asked_for_is_gone
}

#[tokio::test]
async fn a_silent_backend_is_unknown_not_gone() {
    let f = Memory::new();
    ensure(&f, 1, 1).await.expect("made");
    f.0.set_silent(true);
    assert_eq!(presence(&f, worker(1)).await, Presence::Unknown);
    assert!(matches!(ensure(&f, 1, 1).await, Err(ProviderError::Silent)));
    f.0.set_silent(false);
    assert_eq!(presence(&f, worker(1)).await, there(1));
}

#[tokio::test]
async fn the_token_is_in_a_private_file_and_nowhere_else() {
    let f = Local::new();
    ensure(&f, 1, 1).await.expect("made");
    let home = f.provider.directory(worker(1));
    let mode = |name: &str| fs::metadata(home.join(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("agent.json"), mode("agent.log")), (0o700, 0o600, 0o600));
    assert_eq!(fs::read(home.join("agent.json")).expect("read"), br#"{"token":"secret"}"#);
    let pid = f.pid(worker(1)).as_raw_nonzero();
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{pid}/{file}")).expect(file);
        assert!(!String::from_utf8_lossy(&text).contains("secret"), "{file}");
    }
    assert!(!format!("{:?}", f.launch()).contains("secret"));
    remove(&f, 1, 1).await;
    assert!(!home.exists());
}

#[tokio::test]
async fn a_later_server_finds_the_workers_of_an_earlier_one() {
    let f = Local::new();
    ensure(&f, 1, 4).await.expect("made");
    let pid = f.pid(worker(1));
    let later = LocalProvider::open(local_config(f.top.path().join("workers"))).expect("opened");
    let seen = later.observe(&[worker(1)]).await.expect("observed");
    assert_eq!(seen[0].presence, there(4));
    later.ensure(&request(1, 4), &f.launch()).await.expect("there already");
    assert_eq!(pid_in(&later, worker(1)), pid, "the same process goes on");
    later.remove(worker(1), Generation(4)).await.expect("removed");
    assert_eq!(presence(&f, worker(1)).await, Presence::Gone);
}

#[tokio::test]
async fn a_process_that_was_started_but_not_written_down_is_found() {
    let f = Local::new();
    ensure(&f, 1, 1).await.expect("made");
    let pid = f.pid(worker(1));
    // As if the server had died between the start and the note about it.
    let record = f.provider.directory(worker(1)).join("worker.json");
    fs::write(&record, r#"{"generation":1,"process":null}"#).expect("written");
    // The stub's own shell has to be running before its command line can be seen.
    until(async || presence(&f, worker(1)).await == there(1)).await;
    remove(&f, 1, 1).await;
    let lives = rustix::process::test_kill_process(pid);
    assert_eq!(lives, Err(rustix::io::Errno::SRCH), "it was ended all the same");
}

#[tokio::test]
async fn a_stubborn_agent_and_what_it_started_are_killed() {
    let f = Local::new();
    let marker = f.top.path().join("child");
    let script =
        format!("sleep 1000 & echo $! > {}.next\nmv {0}.next {0}\n{STUBBORN}", marker.display());
    let program = stub_agent(f.top.path(), "stubborn", &script);
    let launch = AgentLaunch { program, config_json: b"{}".to_vec() };
    f.provider.ensure(&request(1, 1), &launch).await.expect("made");
    until(async || marker.exists()).await;
    let child: i32 = fs::read_to_string(&marker).expect("read").trim().parse().expect("a number");
    remove(&f, 1, 1).await;
    let child = rustix::process::Pid::from_raw(child).expect("not zero");
    // It was killed; whoever inherited it has to collect it.
    until(async || rustix::process::test_kill_process(child).is_err() || is_zombie(child)).await;
}

fn is_zombie(pid: rustix::process::Pid) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let f = Local::new();
    let launch = AgentLaunch { program: "/nowhere/gristmill".into(), config_json: vec![] };
    let error = f.provider.ensure(&request(1, 1), &launch).await.expect_err("no such program");
    assert_eq!(error.to_string(), "could not start the agent `/nowhere/gristmill`");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(presence(&f, worker(1)).await, Presence::Gone);
}

#[tokio::test]
async fn what_programs_left_behind_is_removed_whatever_its_modes() {
    let f = Local::new();
    ensure(&f, 1, 1).await.expect("made");
    let left = f.provider.directory(worker(1)).join("runs/work/deep");
    fs::create_dir_all(&left).expect("made");
    fs::write(left.join("file"), "x").expect("written");
    for directory in [left.as_path(), left.parent().expect("it has one")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o000)).expect("set");
    }
    remove(&f, 1, 1).await;
    assert!(!f.provider.directory(worker(1)).exists());
}

/// The server that the next test kills: that test, called by itself.
async fn be_a_server(top: PathBuf) {
    let provider = LocalProvider::open(local_config(top.join("workers"))).expect("opened");
    let launch = AgentLaunch { program: top.join("agent"), config_json: b"{}".to_vec() };
    provider.ensure(&request(1, 1), &launch).await.expect("made");
    fs::write(top.join("ready"), "").expect("written");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_worker_outlives_its_server_s_violent_end() {
    if let Ok(top) = std::env::var("BE_A_SERVER_AT") {
        return be_a_server(PathBuf::from(top)).await;
    }
    let f = Local::new();
    f.launch(); // writes the stub
    let mut server = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_worker_outlives_its_server_s_violent_end"])
        .env("BE_A_SERVER_AT", f.top.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("started");
    until(async || f.top.path().join("ready").exists()).await;
    server.kill().expect("killed");
    server.wait().expect("collected");
    assert_eq!(presence(&f, worker(1)).await, there(1));
    let pid = f.pid(worker(1));
    assert_eq!(rustix::process::getsid(Some(pid)), Ok(pid), "it has a session of its own");
    remove(&f, 1, 1).await;
}
