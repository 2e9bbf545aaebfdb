//! The line to the server: call, say what is held, listen, report; call again when it breaks.
//!
//! Ends when the server retires the agent, when a signal asks for it, or when nobody answered for
//! the orphan's patience. In each case every program is ended first.

use crate::{
    dial::{Dialled, dial},
    logs,
    shell::Shells,
    work::Place,
};
use gristmill_faults::{self as faults, Point};
use gristmill_wire::agent::{
    Beat, FromAgent, FromAgentKind, Hello, Reports, Run, Task, ToAgent, ToAgentKind, Welcome,
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::error::SendError,
};
use tracing::{debug, info, warn};

/// First and longest pause between two calls.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often the neighbours' names are looked at while nothing starts.
const NEIGHBOURS_EVERY: Duration = Duration::from_secs(2);
/// Beat until the server says another one.
const BEAT_DEFAULT: Duration = Duration::from_secs(5);
/// Runs beyond those that execute which may wait here for their turn, for each slot.
const AHEAD_PER_SLOT: u32 = 64;
/// Reports in one message.
const REPORTS_MAX: usize = 512;
/// Bytes of streams after which a message is full.
const STREAM_BYTES_MAX: usize = 1 << 20;
/// How long programs may take to die when the agent ends.
const LAST_WORDS_MAX: Duration = Duration::from_secs(20);

/// Why the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Retired,
    Signalled,
    Orphaned,
    Broken,
}

/// Keeps the line until the agent has to end, then ends its programs.
pub async fn keep(place: Arc<Place>, notices: Vec<String>) {
    let end = tokio::select! {
        end = call_for_ever(&place, notices) => end,
        () = asked_to_stop() => End::Signalled,
        () = place.broken.notified() => End::Broken,
        () = look_around(&place) => unreachable!("it never ends"),
    };
    info!(?end, "agent ends");
    place.runs.cancel_all();
    let waited = Instant::now();
    while !place.runs.is_idle() && !place.runs.ids().is_empty() && waited.elapsed() < LAST_WORDS_MAX
    {
        tokio::select! {
            () = place.runs.news.notified() => {}
            () = tokio::time::sleep(PAUSE_FIRST) => {}
        }
    }
}

/// Shows programs that run for long who came and went, and has a sandbox ready while there are none.
async fn look_around(place: &Place) {
    loop {
        place.look_ahead();
        tokio::time::sleep(NEIGHBOURS_EVERY).await;
        place.machine.neighbours.look();
    }
}

async fn asked_to_stop() {
    let mut term = signal(SignalKind::terminate()).expect("a handler can be set at the beginning");
    let mut interrupt =
        signal(SignalKind::interrupt()).expect("a handler can be set at the beginning");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn call_for_ever(place: &Arc<Place>, notices: Vec<String>) -> End {
    let patience = Duration::from_secs(u64::from(place.config.orphan_seconds_max));
    let (mut answered, mut pause) = (Instant::now(), PAUSE_FIRST);
    loop {
        match call(place, &notices).await {
            Ok(dialled) => {
                let mut line = Line::new(place.clone());
                if line.talk(dialled).await == ControlFlow::Break(()) {
                    return End::Retired;
                }
                if line.welcomed {
                    (answered, pause) = (Instant::now(), PAUSE_FIRST);
                }
            }
            Err(error) => debug!(error = format!("{error:#}"), "nobody answers"),
        }
        if answered.elapsed() > patience {
            warn!(seconds = patience.as_secs(), "no server for too long");
            return End::Orphaned;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn call(place: &Place, notices: &[String]) -> anyhow::Result<Dialled> {
    faults::at(Point::AgentHello).or_fail()?;
    dial(&place.config.server, hello(place, notices, "")).await
}

fn hello(place: &Place, notices: &[String], failure: &str) -> FromAgent {
    let config = &place.config;
    FromAgentKind::Hello(Hello {
        worker: config.worker.clone(),
        generation: config.generation,
        token: config.token.clone(),
        address: config.address.clone(),
        holds: place.runs.ids(),
        notices: notices.to_vec(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        failure: failure.to_owned(),
        ahead: config.slots.max(1).saturating_mul(AHEAD_PER_SLOT),
        batches: true,
    })
    .into()
}

/// Tells the server why this machine takes no work, until it has heard.
pub async fn complain(place: &Place, failure: &str) {
    warn!(failure, "this machine could not be set up");
    let patience = Duration::from_secs(u64::from(place.config.orphan_seconds_max));
    let (since, mut pause) = (Instant::now(), PAUSE_FIRST);
    while since.elapsed() < patience {
        if let Ok(mut dialled) = dial(&place.config.server, hello(place, &[], failure)).await {
            let retired = |heard: &ToAgent| matches!(heard.kind, Some(ToAgentKind::Retire(_)));
            while let Ok(Some(heard)) = dialled.hear.message().await {
                if retired(&heard) {
                    return;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// One connection's talk.
struct Line {
    place: Arc<Place>,
    tasks: BTreeMap<u32, Arc<Task>>,
    beat: Duration,
    welcomed: bool,
}

impl Line {
    fn new(place: Arc<Place>) -> Self {
        Self { place, tasks: BTreeMap::new(), beat: BEAT_DEFAULT, welcomed: false }
    }

    /// Talks until the connection breaks (`Continue`) or the agent is retired (`Break`).
    async fn talk(&mut self, Dialled { say, mut hear }: Dialled) -> ControlFlow<()> {
        let mut shells = Shells::new(self.place.clone(), say.clone());
        loop {
            let beat = self.beat;
            let said = tokio::select! {
                heard = hear.message() => match heard {
                    Ok(Some(ToAgent { kind: Some(ToAgentKind::Shell(said)) })) => {
                        shells.hear(said);
                        Ok(())
                    }
                    Ok(Some(ToAgent { kind: Some(kind) })) => match self.on_message(kind, &say).await {
                        Some(flow) => return flow,
                        None => Ok(()),
                    },
                    Ok(Some(ToAgent { kind: None })) => Ok(()), // a newer server's word
                    Ok(None) => return ControlFlow::Continue(()),
                    Err(status) => {
                        debug!(%status, "the line broke");
                        return ControlFlow::Continue(());
                    }
                },
                () = self.place.runs.news.notified(), if self.welcomed => self.report(&say).await,
                () = tokio::time::sleep(beat) => say.send(FromAgentKind::Beat(Beat {}).into()).await,
            };
            if said.is_err() {
                return ControlFlow::Continue(());
            }
        }
    }

    async fn report(
        &self,
        say: &tokio::sync::mpsc::Sender<FromAgent>,
    ) -> Result<(), SendError<FromAgent>> {
        loop {
            let reports = self.place.runs.take_news(REPORTS_MAX, STREAM_BYTES_MAX);
            if reports.is_empty() {
                return Ok(());
            }
            let said: FromAgent = FromAgentKind::Reports(Reports { reports }).into();
            let turn = faults::at(Point::AgentReport);
            if turn.is_fail() {
                return Err(SendError(said));
            }
            for _ in 1..turn.times() {
                say.send(said.clone()).await?;
            }
            say.send(said).await?;
        }
    }

    /// `Some`: the talk is over.
    async fn on_message(
        &mut self,
        kind: ToAgentKind,
        say: &tokio::sync::mpsc::Sender<FromAgent>,
    ) -> Option<ControlFlow<()>> {
        match kind {
            ToAgentKind::Welcome(welcome) => self.on_welcome(&welcome),
            ToAgentKind::Retire(retire) => {
                info!(reason = retire.reason, "retired");
                return Some(ControlFlow::Break(()));
            }
            ToAgentKind::Task(task) => drop(self.tasks.insert(task.number, Arc::from(task))),
            ToAgentKind::Run(run) => self.on_runs([run]),
            ToAgentKind::Runs(runs) => self.on_runs(runs.iter()),
            ToAgentKind::Cancel(cancel) => self.place.cancel(cancel.run),
            ToAgentKind::Acknowledge(done) => {
                faults::at(Point::AgentAcknowledged);
                self.place.runs.acknowledge(&done.runs);
            }
            ToAgentKind::Shell(_) => {} // heard where the shells of this line are
            ToAgentKind::ReadLog(wish) => {
                let (place, say) = (self.place.clone(), say.clone());
                tokio::spawn(async move {
                    let log = logs::read(&place.runs, &place.writes, wish).await;
                    let _ = say.send(FromAgentKind::Log(log).into()).await; // the line may be gone
                });
            }
        }
        None
    }

    fn on_runs(&self, runs: impl IntoIterator<Item = Run>) {
        for run in runs {
            match self.tasks.get(&run.task) {
                Some(task) => {
                    for _ in 0..faults::at(Point::AgentTake).times() {
                        let begun = self.place.runs.begin(task.clone(), run);
                        begun.into_iter().for_each(|begun| self.place.turns.push(begun));
                    }
                }
                None => warn!(run = run.run, "a run of a task nobody described"),
            }
        }
        self.place.work();
    }

    fn on_welcome(&mut self, welcome: &Welcome) {
        self.welcomed = true;
        self.beat = Duration::from_millis(u64::from(welcome.beat_ms.max(10)));
        self.place.set_oss_endpoint(&welcome.oss_endpoint);
        self.place.short_max.store(u64::from(welcome.takes_streams), Ordering::Relaxed);
        self.place.runs.say_all_again();
        info!(holds = self.place.runs.ids().len(), "welcome");
    }
}
