//! Drives real sandboxes: an agent process (`sandbox-driver`) per test, as root and as an
//! ordinary user, whoever runs the tests.
#![allow(dead_code)] // each test binary uses a part

use gristmill_runtime::{
    Ended, Exit, Identity, Limits, MountKind, ProgramSpec, QuickEnd, Root, RunEvent, SandboxMount,
    SandboxSpec, SeriesEvent, StartFailure,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

/// A test that hears nothing for so long fails rather than hangs.
const SILENCE_MAX: Duration = Duration::from_secs(100);

/// Who starts the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Root,
    User,
}

/// Who a sandbox's root is outside, for an agent of root.
pub const NOBODY: Identity = Identity { uid: 65_534, gid: 65_534 };
/// Who an ordinary user is, when root runs the tests.
const SOMEBODY: Identity = Identity { uid: 12_345, gid: 12_345 };

/// Runs a test as each kind of agent that the caller may start.
pub fn as_everyone(test: impl Fn(&mut Agent)) {
    if is_root() {
        test(&mut Agent::start(By::Root));
    }
    test(&mut Agent::start(By::User));
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An agent process and its directory.
pub struct Agent {
    pub by: By,
    pub report: Value,
    pub top: tempfile::TempDir,
    child: Child,
    orders: Option<ChildStdin>,
    said: Receiver<Value>,
    events: BTreeMap<u64, Vec<RunEvent>>,
    /// Programs of series that another one followed.
    pub quick: BTreeMap<u64, Vec<QuickEnd>>,
    /// Series whose sandbox ended in the middle.
    lost: Vec<u64>,
    /// For each run, where the paths of its plan were found.
    pub located: BTreeMap<u64, Vec<Option<PathBuf>>>,
    runs: u64,
}

/// The end of a run and what it wrote.
#[derive(Debug)]
pub struct Outcome {
    pub end: RunEvent,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    #[track_caller]
    pub fn exit(&self) -> Exit {
        match &self.end {
            RunEvent::Exited(Ended { exit, .. }) => *exit,
            other => panic!("the program did not run: {other:?}"),
        }
    }

    /// The output of a program that ended well.
    #[track_caller]
    pub fn output(&self) -> &str {
        assert_eq!(self.exit(), Exit::Code(0), "{self:?}");
        self.stdout.trim_end()
    }

    /// Whether the sandbox waits for another run.
    #[track_caller]
    pub fn kept(&self) -> bool {
        match &self.end {
            RunEvent::Exited(Ended { kept, .. }) => *kept,
            other => panic!("the program did not run: {other:?}"),
        }
    }

    #[track_caller]
    pub fn failure(&self) -> &StartFailure {
        match &self.end {
            RunEvent::Failed(failure) => failure,
            other => panic!("the program ran: {other:?}"),
        }
    }
}

/// What a test may change before a run.
pub struct Plan {
    pub sandbox: SandboxSpec,
    pub program: ProgramSpec,
    /// Memory that the agent mounts as its scratch directory.
    pub scratch_bytes: Option<u64>,
    /// Paths to find on this machine afterwards.
    pub locate: Vec<String>,
    /// Typed into a terminal that is the program's standard input.
    pub typed: Option<String>,
    /// The value of `N` for each program of a series; empty: one program.
    pub series: Vec<String>,
    /// How long programs of a series may take. Long: other work on the machine must not end a series.
    pub quick_millis: u32,
}

impl Plan {
    pub fn mount(mut self, target: &str, kind: MountKind) -> Self {
        self.sandbox.mounts.push(SandboxMount { target: target.into(), kind });
        self
    }

    /// Lets runs of the same lineage follow in the sandbox.
    pub fn lineage(mut self, lineage: &str) -> Self {
        self.sandbox.lineage = Some(lineage.into());
        self
    }

    /// The sandbox of another run, for another program.
    pub fn like(mut self, other: &SandboxSpec) -> Self {
        self.sandbox = SandboxSpec { id: self.sandbox.id, ..other.clone() };
        self
    }

    /// A series of so many programs; the variable `N` counts them from 1.
    pub fn series(mut self, count: u32) -> Self {
        self.series = (1..=count).map(|n| n.to_string()).collect();
        self
    }

    pub fn limits(mut self, limits: Limits) -> Self {
        self.sandbox.limits = limits;
        self
    }

    pub fn masked(mut self, path: &Path) -> Self {
        self.sandbox.masked.push(path.into());
        self
    }

    pub fn root(mut self, root: Root) -> Self {
        self.sandbox.root = root;
        self
    }

    pub fn env(mut self, env: &[(&str, &str)]) -> Self {
        self.program.env = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        self
    }

    pub fn directory(mut self, directory: &str) -> Self {
        self.program.directory = directory.into();
        self
    }
}

impl Agent {
    pub fn start(by: By) -> Self {
        Self::start_with_disks(by, &[])
    }

    /// With disks of these names and sizes below its top directory.
    pub fn start_with_disks(by: By, disks: &[(&str, u64)]) -> Self {
        let top = tempfile::tempdir().expect("a directory");
        let user = (is_root() && by == By::User).then_some(SOMEBODY);
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox-driver"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the driver starts");
        let mut orders = child.stdin.take().expect("piped");
        let said = listen(child.stdout.take().expect("piped"));
        let disks: Vec<_> =
            disks.iter().map(|(name, size)| (top.path().join(name), size)).collect();
        let enter = json!({
            "directory": top.path().join("node"), "identity": NOBODY, "user": user, "disks": disks,
        });
        let mut agent = {
            own(top.path(), user);
            writeln!(orders, "{enter}").expect("sent");
            let orders = Some(orders);
            let (report, events, located) = (Value::Null, BTreeMap::new(), BTreeMap::new());
            let (quick, lost) = (BTreeMap::new(), vec![]);
            Self { by, report, top, child, orders, said, events, quick, lost, located, runs: 0 }
        };
        agent.report =
            agent.said.recv_timeout(SILENCE_MAX).expect("the driver enters its namespaces");
        agent
    }

    /// Process number of the agent.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Whether a limit is enforced here, by what the agent says about it.
    pub fn enforces(&self, what: &str) -> bool {
        let notes = self.report["notes"].as_array().expect("notes");
        !notes
            .iter()
            .any(|n| n.as_str().is_some_and(|n| n.contains("no limit") && n.contains(what)))
    }

    /// A path that the agent may use, made for its user.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.top.path().join(name);
        fs::create_dir_all(&path).expect("made");
        own(&path, self.user());
        path
    }

    fn user(&self) -> Option<Identity> {
        (is_root() && self.by == By::User).then_some(SOMEBODY)
    }

    /// A file in such a directory, owned by what programs are.
    pub fn file(&self, path: &Path, content: &str) {
        fs::write(path, content).expect("written");
        own(path, self.user().or(is_root().then_some(NOBODY)));
    }

    /// A program that tries forbidden things, where the sandbox can be shown it.
    pub fn probe(&self) -> MountKind {
        let copy = self.top.path().join("probe");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_sandbox-probe"), &copy).expect("copied");
        }
        MountKind::Bind { source: copy, read_only: true }
    }

    /// The smallest run of these words.
    pub fn plan(&mut self, words: &[&str]) -> Plan {
        self.runs += 1;
        let scratch = self.directory(&format!("node/run-{}", self.runs));
        Plan {
            sandbox: SandboxSpec {
                id: format!("run-{}", self.runs),
                root: Root::Host,
                scratch,
                base: None,
                mounts: vec![],
                masked: vec![],
                host_name: "worker-0".into(),
                limits: Limits::default(),
                lineage: None,
            },
            program: ProgramSpec {
                arguments: words.iter().map(|w| (*w).into()).collect(),
                env: vec![("PATH".into(), "/usr/bin:/bin".into())],
                directory: "/".into(),
            },
            scratch_bytes: None,
            locate: vec![],
            typed: None,
            series: vec![],
            quick_millis: 20_000,
        }
    }

    /// Asks for a run; its number.
    pub fn spawn(&mut self, plan: Plan) -> u64 {
        let run = plan.sandbox.id.strip_prefix("run-").and_then(|n| n.parse().ok()).expect("ours");
        let (stdout, stderr) = (self.output(run, "out"), self.output(run, "err"));
        self.spawn_into(plan, run, &stdout, &stderr);
        run
    }

    /// Asks for a run whose whole output goes to an existing file, and waits for its end.
    #[track_caller]
    pub fn run_into(&mut self, plan: Plan, output: &Path) {
        let run = self.runs;
        self.spawn_into(plan, run, output, output);
        let end = self.event(run, |e| !matches!(e, RunEvent::Started { .. }));
        assert!(matches!(end, RunEvent::Exited(_)), "{end:?}");
    }

    fn spawn_into(&mut self, plan: Plan, run: u64, stdout: &Path, stderr: &Path) {
        if plan.scratch_bytes.is_some() {
            fs::remove_dir(&plan.sandbox.scratch).expect("it was empty");
        }
        for path in [stdout, stderr] {
            if !path.exists() {
                fs::write(path, "").expect("made");
                own(path, self.user());
            }
        }
        self.order(&json!({"Spawn": {
            "run": run, "sandbox": plan.sandbox, "program": plan.program,
            "stdout": stdout, "stderr": stderr, "scratch_bytes": plan.scratch_bytes,
            "locate": plan.locate, "typed": plan.typed,
            "quick_millis": plan.quick_millis,
            "each": plan.series.iter().map(|n| [("N", n)]).collect::<Vec<_>>(),
        }}));
    }

    pub fn order(&mut self, order: &Value) {
        let orders = self.orders.as_mut().expect("still open");
        writeln!(orders, "{order}").expect("the agent lives");
    }

    fn output(&self, run: u64, kind: &str) -> PathBuf {
        self.top.path().join(format!("{run}.{kind}"))
    }

    /// Waits for the end of a run.
    #[track_caller]
    pub fn wait(&mut self, run: u64) -> Outcome {
        let end = self.event(run, |e| !matches!(e, RunEvent::Started { .. }));
        let read = |kind| {
            String::from_utf8_lossy(&fs::read(self.output(run, kind)).expect(kind)).into_owned()
        };
        Outcome { end, stdout: read("out"), stderr: read("err") }
    }

    /// Waits until the program of a run was started.
    #[track_caller]
    pub fn wait_started(&mut self, run: u64) -> i32 {
        match self.event(run, |_| true) {
            RunEvent::Started { pid, .. } => pid,
            other => panic!("the program did not run: {other:?}"),
        }
    }

    /// Waits until the program of a run has written this.
    pub fn wait_output(&mut self, run: u64, text: &str) {
        until(|| fs::read_to_string(self.output(run, "out")).is_ok_and(|t| t.contains(text)));
    }

    #[track_caller]
    fn event(&mut self, run: u64, wanted: impl Fn(&RunEvent) -> bool) -> RunEvent {
        loop {
            if let Some(found) = self.events.get(&run).and_then(|e| e.iter().find(|e| wanted(e))) {
                return found.clone();
            }
            self.listen();
        }
    }

    fn listen(&mut self) {
        let said = self.said.recv_timeout(SILENCE_MAX).expect("the agent says what happens");
        let number = said["run"].as_u64().expect("a number");
        match serde_json::from_value(said["event"].clone()).expect("an event") {
            SeriesEvent::Run(event) => self.events.entry(number).or_default().push(event),
            SeriesEvent::Quick(ends) => self.quick.entry(number).or_default().extend(ends),
            SeriesEvent::Lost => self.lost.push(number),
        }
        let located = serde_json::from_value(said["located"].clone()).expect("paths");
        self.located.insert(number, located);
    }

    /// Waits until a program of the series has ended.
    pub fn wait_quick(&mut self, run: u64) {
        while !self.quick.contains_key(&run) {
            self.listen();
        }
    }

    /// Waits until a series is lost.
    pub fn wait_lost(&mut self, run: u64) {
        while !self.lost.contains(&run) {
            self.listen();
        }
    }

    /// Everything that was said of a run so far.
    pub fn events(&self, run: u64) -> &[RunEvent] {
        self.events.get(&run).map_or(&[], Vec::as_slice)
    }

    #[track_caller]
    pub fn run(&mut self, plan: Plan) -> Outcome {
        let run = self.spawn(plan);
        self.wait(run)
    }

    /// Runs these words in the plainest sandbox.
    #[track_caller]
    pub fn do_words(&mut self, words: &[&str]) -> Outcome {
        let plan = self.plan(words);
        self.run(plan)
    }

    /// Runs a shell script.
    #[track_caller]
    pub fn sh(&mut self, script: &str) -> Outcome {
        self.do_words(&["sh", "-c", script])
    }

    /// Ends the agent in order; everything it made must be gone then.
    pub fn finish(&mut self) {
        self.orders = None;
        self.child.wait().expect("it was ours");
    }

    /// Ends the agent without a chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().expect("it lived");
        self.child.wait().expect("it was ours");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

fn listen(output: std::process::ChildStdout) -> Receiver<Value> {
    let (send, said) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            let value = serde_json::from_str(&line).expect("the driver writes JSON");
            if send.send(value).is_err() {
                break;
            }
        }
    });
    said
}

fn own(path: &Path, user: Option<Identity>) {
    if let Some(user) = user {
        std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid)).expect("given away");
    }
}

/// Waits for a state; fails when it does not come for very long.
#[track_caller]
pub fn until(mut state: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !state() {
        assert!(started.elapsed() < SILENCE_MAX, "the state did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Processes of the whole machine whose command line holds this text and that have not ended.
pub fn processes_with(text: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("listed").flatten();
    entries
        .filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter(|e| {
            let line = fs::read(e.path().join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
            words.iter().any(|w| w == text)
        })
        .count()
}
