//! Agents on the line: one session for each worker that called.
//!
//! A session keeps the agent's runs equal to what the published world says (it is level-triggered:
//! after any change it looks at the world and sends the difference), hands reports to the mill
//! and acknowledges them when they are durable. It decides nothing.
//!
//! Invariants
//! - A report is acknowledged only after its commit.
//! - The newest session of a worker wins; an older one ends.
//!
//! Start at [`Sessions::converse`].

use crate::{
    briefing::Briefing,
    keys::KeyRing,
    measures::MEASURES,
    mill::{Mill, MillError},
    shell::Exchange,
    streams::{STREAM_BYTES_MAX, Streams},
    task_numbers::{TaskKey, TaskNumbers},
};
use futures::{Stream, StreamExt};
use gristmill_core::{RunView, World};
use gristmill_faults::{self as faults, Point};
use gristmill_model::{
    Answer, Generation, Input, RangeSet, RunId, RunReport, WorkerId, input::Seen,
};
use gristmill_wire::agent::{
    Acknowledge, Cancel, FromAgent, FromAgentKind, Hello, ReadLog, Report, Retire, Runs, ToAgent,
    ToAgentKind, Welcome,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq;
use tokio::sync::{Notify, mpsc, oneshot};
use tonic::Status;
use tracing::{debug, info, warn};

/// How long a caller may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before reports are offered again to a mill whose disk is full.
const DISK_FULL_PAUSE: Duration = Duration::from_millis(500);
/// Messages to an agent that may wait for its connection.
const OUTBOX_MAX: usize = 256;
/// Readers of live logs that may wait for one agent.
const LOG_REQUESTS_MAX: usize = 64;

/// A wish for bytes of a log that is being written.
pub struct LogRequest {
    /// Of which run.
    pub run: RunId,
    /// 1 standard output, 2 standard error.
    pub stream: u32,
    /// From where.
    pub offset: u64,
    /// How long the agent may wait for the first byte.
    pub wait: Duration,
    /// Gets the bytes and whether the run is over.
    pub reply: oneshot::Sender<(Vec<u8>, bool)>,
}

struct Line {
    generation: Generation,
    heard: Instant,
    logs: mpsc::Sender<LogRequest>,
    shells: Arc<Exchange>,
    /// Ends the session.
    ended: Arc<Notify>,
}

/// All agents on the line.
pub struct Sessions {
    mill: Mill,
    keys: Arc<KeyRing>,
    briefing: Briefing,
    streams: Streams,
    beat: Duration,
    started: Instant,
    lines: Mutex<BTreeMap<WorkerId, Line>>,
    /// Rings when an agent hangs up: its machine may be gone.
    hang_ups: Arc<Notify>,
}

type Outbox = mpsc::Sender<Result<ToAgent, Status>>;

impl Sessions {
    /// Sessions that ask their agents for a sign of life every `beat`.
    pub fn new(
        mill: Mill,
        keys: Arc<KeyRing>,
        briefing: Briefing,
        streams: Streams,
        beat: Duration,
    ) -> Self {
        let (lines, hang_ups) = (Mutex::default(), Arc::default());
        Self { mill, keys, briefing, streams, beat, started: Instant::now(), lines, hang_ups }
    }

    /// Rings when an agent hangs up: its machine may be gone.
    pub fn hang_ups(&self) -> Arc<Notify> {
        self.hang_ups.clone()
    }

    /// How long this worker has not been heard of: at most since the server started, because a
    /// server that was down cannot blame its workers.
    pub fn silence(&self, worker: WorkerId) -> Duration {
        let lines = self.lines.lock().expect("no holder of the lock panics");
        lines.get(&worker).map_or(self.started, |line| line.heard).elapsed()
    }

    /// Asks an agent for bytes of a live log, for the first of which it may wait. `None`: it is not on
    /// the line.
    pub async fn read_log(
        &self,
        worker: WorkerId,
        run: RunId,
        (stream, offset): (u32, u64),
        wait: Duration,
    ) -> Option<(Vec<u8>, bool)> {
        let logs = {
            let lines = self.lines.lock().expect("no holder of the lock panics");
            lines.get(&worker)?.logs.clone()
        };
        let (reply, answer) = oneshot::channel();
        logs.send(LogRequest { run, stream, offset, wait, reply }).await.ok()?;
        tokio::time::timeout(wait + HELLO_TIMEOUT, answer).await.ok()?.ok()
    }

    /// Where shells on this machine travel. `None`: its agent is not on the line.
    pub fn exchange(&self, worker: WorkerId) -> Option<Arc<Exchange>> {
        let lines = self.lines.lock().expect("no holder of the lock panics");
        lines.get(&worker).map(|line| line.shells.clone())
    }

    /// Serves one agent until it or the server hangs up. Returns what the agent hears.
    pub async fn converse<S>(
        self: Arc<Self>,
        mut heard: S,
    ) -> Result<mpsc::Receiver<Result<ToAgent, Status>>, Status>
    where
        S: Stream<Item = Result<FromAgent, Status>> + Send + Unpin + 'static,
    {
        let first = tokio::time::timeout(HELLO_TIMEOUT, heard.next()).await;
        let Ok(Some(Ok(FromAgent { kind: Some(FromAgentKind::Hello(hello)) }))) = first else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let (worker, generation) = self.identify(&hello)?;
        let (outbox, spoken) = mpsc::channel(OUTBOX_MAX);
        tokio::spawn(async move {
            let ended = self.serve(hello, worker, generation, heard, outbox).await;
            debug!(%worker, %generation, reason = ended, "agent hung up");
        });
        Ok(spoken)
    }

    fn identify(&self, hello: &Hello) -> Result<(WorkerId, Generation), Status> {
        let worker: WorkerId =
            hello.worker.parse().map_err(|_| Status::invalid_argument("not a worker's id"))?;
        let generation = Generation(hello.generation);
        let expected = self.keys.worker_token(worker, generation);
        if !bool::from(expected.as_bytes().ct_eq(hello.token.as_bytes())) {
            return Err(Status::permission_denied("the token is not this worker's"));
        }
        Ok((worker, generation))
    }

    async fn serve<S>(
        &self,
        hello: Hello,
        worker: WorkerId,
        generation: Generation,
        mut heard: S,
        outbox: Outbox,
    ) -> &'static str
    where
        S: Stream<Item = Result<FromAgent, Status>> + Send + Unpin,
    {
        if !hello.failure.is_empty() {
            return self.on_failure(hello.failure, (worker, generation), &outbox).await;
        }
        let holds: BTreeSet<RunId> = hello.holds.iter().copied().map(RunId).collect();
        let called = Input::WorkerCalled {
            worker,
            generation,
            address: hello.address.clone(),
            holds: holds.iter().copied().collect(),
            ahead: hello.ahead,
        };
        let turn = faults::at(Point::SessionHello);
        if turn.is_fail() {
            return "a test hung up";
        }
        for _ in 1..turn.times() {
            let _ = self.put(called.clone()).await; // the second answer counts
        }
        match self.put(called).await {
            Ok(Answer::Unwanted) => {
                let retire = Retire { reason: "this worker is not wanted any more".into() };
                let _ = outbox.send(Ok(ToAgentKind::Retire(retire).into())).await;
                return "unwanted";
            }
            Ok(_) => {}
            Err(_) => return "mill closed",
        }
        info!(%worker, %generation, address = hello.address, version = hello.version, holds = holds.len(), "agent called");
        for notice in &hello.notices {
            debug!(%worker, notice, "the agent's machine");
        }
        let (logs, mut log_requests) = mpsc::channel(LOG_REQUESTS_MAX);
        let shells = Arc::new(Exchange::new(outbox.clone()));
        let over = self.enter(worker, generation, logs, shells.clone());
        let bell = self.mill.published().bell(worker);
        let mut session = Session {
            sessions: self,
            worker,
            generation,
            outbox,
            newest: None,
            doubt: false,
            told: holds,
            batches: hello.batches,
            tasks: TaskNumbers::default(),
            pending_logs: BTreeMap::new(),
            log_requests: 0,
            shells: shells.clone(),
        };
        let ended = session.run(&mut heard, &mut log_requests, &bell, &over).await;
        shells.close();
        self.mill.published().unhook(worker, &bell);
        self.hang_ups.notify_one();
        ended.unwrap_or("agent is gone")
    }

    /// The machine came and could not be set up. It is not wanted any more then: another try is
    /// another generation.
    async fn on_failure(
        &self,
        reason: String,
        (worker, generation): (WorkerId, Generation),
        outbox: &Outbox,
    ) -> &'static str {
        info!(%worker, %generation, reason, "the machine could not be set up");
        let input = Input::WorkerObserved { worker, generation, seen: Seen::Failed { reason } };
        if self.put(input).await.is_err() {
            return "mill closed";
        }
        let retire = Retire { reason: "the machine could not be set up".into() };
        let _ = outbox.send(Ok(ToAgentKind::Retire(retire).into())).await; // it may have gone
        "not set up"
    }

    /// Offers an input until the disk has room for it.
    async fn put(&self, input: Input) -> Result<Answer, MillError> {
        loop {
            match self.mill.put(input.clone()).await {
                Err(MillError::DiskFull) => tokio::time::sleep(DISK_FULL_PAUSE).await,
                answer => return answer,
            }
        }
    }

    fn enter(
        &self,
        worker: WorkerId,
        generation: Generation,
        logs: mpsc::Sender<LogRequest>,
        shells: Arc<Exchange>,
    ) -> Arc<Notify> {
        let over = Arc::new(Notify::new());
        let (heard, ended) = (Instant::now(), over.clone());
        let line = Line { generation, heard, logs, shells, ended };
        let mut lines = self.lines.lock().expect("no holder of the lock panics");
        if let Some(older) = lines.insert(worker, line) {
            debug!(%worker, older = %older.generation, newer = %generation, "agent called again");
            older.ended.notify_one();
        }
        over
    }

    fn hear(&self, worker: WorkerId) {
        let mut lines = self.lines.lock().expect("no holder of the lock panics");
        if let Some(line) = lines.get_mut(&worker) {
            line.heard = Instant::now();
        }
    }

    /// Ends all sessions. Their agents call again.
    pub fn hang_up(&self) {
        let lines = self.lines.lock().expect("no holder of the lock panics");
        lines.values().for_each(|line| line.ended.notify_one());
    }

    /// Forgets workers that the world does not know any more. A line whose agent hung up stays in
    /// the table until then, so that silence is counted from its last word.
    pub fn forget_strangers(&self) {
        let world = self.mill.published().world();
        let mut lines = self.lines.lock().expect("no holder of the lock panics");
        lines.retain(|worker, _| world.worker(*worker).is_some());
    }
}

struct Session<'a> {
    sessions: &'a Sessions,
    worker: WorkerId,
    generation: Generation,
    outbox: Outbox,
    /// What the agent holds, as far as it was told or said.
    told: BTreeSet<RunId>,
    /// The newest run it was told of. What the world has beyond it is new to the agent.
    newest: Option<RunId>,
    /// Whether it may hold something else than it was told.
    doubt: bool,
    /// Whether it takes many runs in one message.
    batches: bool,
    /// Numbers under which the agent knows tasks in this stream.
    tasks: TaskNumbers,
    pending_logs: BTreeMap<u64, oneshot::Sender<(Vec<u8>, bool)>>,
    log_requests: u64,
    shells: Arc<Exchange>,
}

impl Session<'_> {
    async fn run<S>(
        &mut self,
        heard: &mut S,
        logs: &mut mpsc::Receiver<LogRequest>,
        bell: &Notify,
        over: &Notify,
    ) -> Option<&'static str>
    where
        S: Stream<Item = Result<FromAgent, Status>> + Send + Unpin,
    {
        let welcome = Welcome {
            beat_ms: u32::try_from(self.sessions.beat.as_millis()).unwrap_or(u32::MAX),
            oss_endpoint: self.sessions.briefing.oss_endpoint.clone(),
            takes_streams: STREAM_BYTES_MAX,
        };
        self.say(ToAgentKind::Welcome(welcome)).await?;
        self.align().await?;
        loop {
            tokio::select! {
                message = heard.next() => match message {
                    Some(Ok(FromAgent { kind: Some(kind) })) => {
                        self.sessions.hear(self.worker);
                        self.on_message(kind).await?;
                    }
                    Some(Ok(FromAgent { kind: None })) => {} // a newer agent's word
                    Some(Err(_)) | None => return Some("connection closed"),
                },
                () = bell.notified() => self.align().await?,
                Some(request) = logs.recv() => self.on_log_request(request).await?,
                () = over.notified() => return Some("the server hung up"),
            }
        }
    }

    /// `None`: the agent does not listen any more.
    async fn say(&self, kind: ToAgentKind) -> Option<()> {
        self.outbox.send(Ok(kind.into())).await.ok()
    }

    async fn on_message(&mut self, kind: FromAgentKind) -> Option<()> {
        match kind {
            FromAgentKind::Reports(reports) => self.take(reports.reports).await,
            FromAgentKind::Finished(finished) => match finished.into_reports() {
                Ok(reports) => self.pass_on(reports, Instant::now()).await,
                Err(error) => {
                    warn!(worker = %self.worker, %error, "reports dropped");
                    Some(())
                }
            },
            FromAgentKind::Log(log) => {
                if let Some(reply) = self.pending_logs.remove(&log.request) {
                    let _ = reply.send((log.bytes, log.over)); // the reader may have gone
                }
                Some(())
            }
            FromAgentKind::Shell(word) => {
                self.shells.hear(word);
                Some(())
            }
            FromAgentKind::Beat(_) | FromAgentKind::Hello(_) => Some(()),
        }
    }

    async fn take(&mut self, reports: Vec<Report>) -> Option<()> {
        let turn = faults::at(Point::SessionReports);
        turn.or_fail().ok()?;
        for _ in 1..turn.times() {
            self.on_reports(reports.clone()).await?;
        }
        self.on_reports(reports).await
    }

    async fn on_reports(&mut self, mut reports: Vec<Report>) -> Option<()> {
        MEASURES.note_reports(&reports);
        let heard = Instant::now();
        let world = self.sessions.mill.published().world();
        self.sessions.streams.keep(&world, self.worker, &mut reports).await;
        let mut understood = Vec::with_capacity(reports.len());
        let mut dropped = Vec::new();
        for report in reports {
            let (run, over) = (report.run, report.end.is_some());
            match RunReport::try_from(report) {
                Ok(report) => understood.push(report),
                Err(error) => {
                    warn!(worker = %self.worker, %error, "report dropped");
                    dropped.extend(over.then_some(run));
                }
            }
        }
        self.doubt |= !dropped.is_empty();
        self.forget(dropped).await?;
        self.pass_on(understood, heard).await
    }

    /// Hands reports to the mill; those of ends are acknowledged when they are durable.
    async fn pass_on(&mut self, reports: Vec<RunReport>, heard: Instant) -> Option<()> {
        let over = |report: &RunReport| match report {
            RunReport::Ended { run, .. } => Some(run.0),
            RunReport::Started { .. } => None,
        };
        let ended: Vec<u64> = reports.iter().filter_map(over).collect();
        let (worker, generation) = (self.worker, self.generation);
        let input = Input::WorkerReported { worker, generation, reports };
        if let Err(error) = self.sessions.put(input).await {
            debug!(worker = %self.worker, %error, "reports not taken; the agent keeps them");
            return None;
        }
        MEASURES.note_durable(heard.elapsed(), ended.len());
        self.forget(ended).await?;
        self.align().await
    }

    /// The agent need not keep these results any longer.
    async fn forget(&mut self, runs: Vec<u64>) -> Option<()> {
        for run in &runs {
            self.told.remove(&RunId(*run));
        }
        if runs.is_empty() {
            return Some(());
        }
        let turn = faults::at(Point::SessionAcknowledge);
        turn.or_fail().ok()?;
        for _ in 1..turn.times() {
            self.say(ToAgentKind::Acknowledge(Acknowledge { runs: runs.clone() })).await?;
        }
        self.say(ToAgentKind::Acknowledge(Acknowledge { runs })).await
    }

    /// The number under which the agent knows a task; it is told now if it does not. The inner
    /// `None`: the world does not know the task (any more).
    async fn number_of(&mut self, world: &World, key: &TaskKey) -> Option<Option<u32>> {
        if let Some(number) = self.tasks.get(key) {
            return Some(Some(number));
        }
        let running = world.runs_of(self.worker);
        let running = running.map(|view| (view.what.job, view.what.task.clone()));
        let number = self.tasks.give(key.clone(), running);
        let placed_on = (self.worker, self.generation);
        let Sessions { briefing, keys, .. } = self.sessions;
        let Some(task) = briefing.task(world, placed_on, key, number, keys) else {
            warn!(worker = %self.worker, job = %key.0, task = %key.1, "a run of an unknown task");
            self.tasks.forget(key);
            return Some(None);
        };
        self.say(ToAgentKind::Task(Box::new(task))).await?;
        Some(Some(number))
    }

    /// Makes the agent hold exactly what the world says. Runs are numbered in the order in which
    /// they are placed, so what is new lies behind the newest that was told.
    async fn align(&mut self) -> Option<()> {
        let world = self.sessions.mill.published().world();
        let mut batch = Batch::default();
        for view in world.runs_after(self.worker, self.newest) {
            self.newest = Some(view.run);
            if !self.told.insert(view.run) {
                continue;
            }
            if !batch.takes(&view) {
                self.send(&world, std::mem::take(&mut batch)).await?;
            }
            batch.push(&view);
        }
        self.send(&world, batch).await?;
        // Everything wanted was told, so equal numbers are equal sets.
        let wanted = world.worker(self.worker).map_or(0, |worker| worker.runs.len());
        if std::mem::take(&mut self.doubt) || self.told.len() != wanted {
            self.correct(&world).await?;
        }
        if world.worker(self.worker).is_none_or(|worker| worker.generation != self.generation) {
            self.say(ToAgentKind::Retire(Retire { reason: "the machine was released".into() }))
                .await?;
            return None;
        }
        Some(())
    }

    /// The agent holds more than it should, or was not told of something old.
    async fn correct(&mut self, world: &World) -> Option<()> {
        let wanted: BTreeSet<RunId> = world.runs_of(self.worker).map(|view| view.run).collect();
        let surplus: Vec<RunId> = self.told.difference(&wanted).copied().collect();
        for run in surplus {
            self.say(ToAgentKind::Cancel(Cancel { run: run.0 })).await?;
            self.told.remove(&run);
        }
        for view in world.runs_of(self.worker) {
            if self.told.insert(view.run) {
                let mut batch = Batch::default();
                batch.push(&view);
                self.send(world, batch).await?;
            }
        }
        Some(())
    }

    /// Tells the agent of runs of one task with consecutive numbers.
    async fn send(&mut self, world: &World, batch: Batch) -> Option<()> {
        let Some((first, key)) = batch.start else { return Some(()) };
        let Some(task) = self.number_of(world, &key).await? else { return Some(()) };
        let runs = Runs::new(first, task, &batch.instances);
        let turn = faults::at(Point::SessionAssign);
        turn.or_fail().ok()?;
        if self.batches {
            for _ in 1..turn.times() {
                self.say(ToAgentKind::Runs(runs.clone())).await?;
            }
            return self.say(ToAgentKind::Runs(runs)).await;
        }
        for run in runs.iter() {
            self.say(ToAgentKind::Run(run)).await?;
        }
        Some(())
    }

    async fn on_log_request(&mut self, request: LogRequest) -> Option<()> {
        self.log_requests += 1;
        let number = self.log_requests;
        self.pending_logs.retain(|_, reply| !reply.is_closed());
        self.pending_logs.insert(number, request.reply);
        self.say(ToAgentKind::ReadLog(ReadLog {
            request: number,
            run: request.run.0,
            stream: request.stream,
            offset: request.offset,
            bytes_max: 256 * 1024,
            wait_ms: u32::try_from(request.wait.as_millis()).unwrap_or(u32::MAX),
        }))
        .await
    }
}

/// Runs of one task with consecutive numbers and ascending instances, on their way to an agent.
#[derive(Default)]
struct Batch {
    start: Option<(RunId, TaskKey)>,
    instances: RangeSet,
}

impl Batch {
    /// Whether this run continues the batch.
    fn takes(&self, view: &RunView<'_>) -> bool {
        let Some((first, (job, task))) = &self.start else { return true };
        let next = first.0 + u64::from(self.instances.len());
        let ascends =
            self.instances.ranges().last().is_none_or(|it| it.end <= view.what.instance.0);
        (view.run.0, view.what.job) == (next, *job) && view.what.task == *task && ascends
    }

    fn push(&mut self, view: &RunView<'_>) {
        let (run, what) = (view.run, view.what);
        self.start.get_or_insert_with(|| (run, (what.job, what.task.clone())));
        self.instances.push(what.instance.0..what.instance.0 + 1);
    }
}
