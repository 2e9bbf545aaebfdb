//! The loop of a simulated world: messages with a virtual time, handled one by one.
//!
//! A message is something that arrives: an input at the server, an assignment at an agent, an
//! effect at the provider. What a fault does is always to messages: delay, drop, repeat,
//! reorder between machines. Within one connection order is kept, as in the real protocol,
//! except for late copies of reports.
//!
//! Start at [`Stage::handle`].

mod agents;
mod end;
mod faults;
mod hands;
mod wishes;

use crate::{
    Failure, Plant, Setup, Trace,
    chance::Chance,
    machines::{Held, Machine, MachineId, Outcome, Provider, outcome},
    referee::Referee,
    region::Region,
    users,
};
use gristmill_core::{Cluster, Decision, Options, World, plan};
use gristmill_model::{
    Answer, ClusterId, Effect, Event, Generation, Input, JobId, Placement, Refusal, RunId,
    RunOutcome, RunReport, Seconds, Timestamp, WorkerId, WorkerState, catalogue::InstanceTypeName,
    spec::Limits,
};
use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// How long the server waits for a word of a machine.
const PATIENCE: Seconds = Seconds(30);
/// How often the hands repeat what should be and look at what is.
const SWEEP: Seconds = Seconds(10);
/// How long a machine looks for a server that wants it.
const ORPHAN_MILLIS_MAX: u64 = 120_000;
/// After the faults stopped, everything must have ended within so many messages.
const DRAIN_STEPS_MAX: u64 = 30_000;
const LAST_EVENTS_MAX: usize = 30;
const PUT_BACK_MAX: u32 = 2;

/// Something that arrives.
enum Message {
    /// An input at the server.
    Input(Input, Sender),
    /// The server tells an agent exactly what it is to hold.
    Assign(MachineId, u32, Vec<RunId>),
    /// The server has made these reports durable.
    Acknowledge(MachineId, u32, Vec<RunId>),
    /// A run on a machine goes on.
    Progress(MachineId, RunId),
    /// A machine calls.
    Call(MachineId),
    /// A machine that finds no server gives up.
    EndItself(MachineId),
    /// The provider is asked.
    Effect(Effect),
    /// The hands look around.
    Sweep,
    /// The server plans.
    Plan,
    /// A user wants something.
    Wish,
    /// Something goes wrong.
    Fault,
}

/// Who waits for the answer.
#[derive(Clone)]
enum Sender {
    Nobody,
    /// A connection of an agent.
    Agent(MachineId, u32),
    /// A user, and how often the request was sent before.
    User(u32),
    /// A liar; nothing may come of it.
    Liar,
}

struct Stage {
    chance: Chance,
    now: Timestamp,
    /// How far the server's clock is ahead of the world's, microseconds.
    skew: i64,
    queue: BTreeMap<(Timestamp, u64), Message>,
    queued: u64,
    region: Region,
    provider: Provider,
    referee: Referee,
    acknowledged: Vec<JobId>,
    /// An older world, for plans that come late.
    old_world: World,
    planning: bool,
    /// What agents say they take beyond what they execute.
    runs_ahead: u32,
    /// When each machine was last known to be connected.
    heard: BTreeMap<MachineId, Timestamp>,
    faults: bool,
    wishes: u64,
    plant: Option<Plant>,
    trace: Trace,
    last_events: VecDeque<Event>,
}

/// Runs one simulation.
pub fn run(setup: Setup) -> Result<Trace, Failure> {
    let mut stage = Stage::new(&setup);
    let ran = catch_unwind(AssertUnwindSafe(|| stage.run(setup.steps)));
    let outcome = ran.unwrap_or_else(|panic| Err(words(panic.as_ref())));
    outcome.map_err(|what| Failure {
        seed: setup.seed,
        step: stage.trace.steps,
        what,
        last_events: stage.last_events.iter().cloned().collect(),
    })?;
    Ok(stage.trace)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("panic: {}", text.unwrap_or_default())
}

/// Mixes bytes into a hash (FNV-1a).
pub fn mix(hash: u64, bytes: &[u8]) -> u64 {
    let start = if hash == 0 { 0xcbf2_9ce4_8422_2325 } else { hash };
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

impl Stage {
    fn new(setup: &Setup) -> Self {
        let mut chance = Chance::new(setup.seed);
        let options = options(&mut chance);
        let region = Region::new(options, chance.seed(), setup.plant);
        let old_world = region.world.clone();
        let runs_ahead = chance.below(5) as u32;
        let mut stage = Self {
            chance,
            now: Timestamp(1_700_000_000_000_000),
            skew: 0,
            queue: BTreeMap::new(),
            queued: 0,
            region,
            provider: Provider::default(),
            referee: Referee::new(PUT_BACK_MAX),
            acknowledged: Vec::new(),
            old_world,
            planning: false,
            runs_ahead,
            heard: BTreeMap::new(),
            faults: true,
            wishes: 0,
            plant: setup.plant,
            trace: Trace::default(),
            last_events: VecDeque::new(),
        };
        stage.after_millis(0, Message::Wish);
        stage.after_millis(1, Message::Sweep);
        stage.after_millis(2_000, Message::Fault);
        stage
    }

    fn run(&mut self, steps: u32) -> Result<(), String> {
        while self.trace.steps < u64::from(steps) {
            self.step()?;
        }
        self.faults = false;
        let bound = self.trace.steps + DRAIN_STEPS_MAX;
        while !self.is_over() {
            if self.trace.steps > bound {
                return Err(self.what_hangs());
            }
            self.step()?;
        }
        self.restart()?;
        self.trace.results = self.region.results.len() as u64;
        self.settle()?;
        self.referee.check_results(&self.region)
    }

    fn step(&mut self) -> Result<(), String> {
        self.trace.steps += 1;
        let next = self.queue.first_key_value().map(|(key, _)| key.0);
        let due = self.region.world.next_deadline().map(|due| Timestamp(due.0 - self.skew));
        match (next, due) {
            (Some(next), Some(due)) if due <= next => self.tick(due),
            (None, Some(due)) => self.tick(due),
            _ => {
                let ((at, _), message) = self.queue.pop_first().ok_or("nothing is left to do")?;
                self.now = self.now.max(at);
                self.handle(message)
            }
        }
    }

    fn tick(&mut self, due: Timestamp) -> Result<(), String> {
        self.now = self.now.max(due);
        self.input(Input::Tick, Sender::Nobody)
    }

    fn handle(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::Input(input, sender) => self.input(input, sender)?,
            Message::Assign(id, session, runs) => self.on_assign(id, session, &runs),
            Message::Acknowledge(id, session, runs) => self.on_acknowledge(id, session, &runs),
            Message::Progress(id, run) => self.on_progress(id, run),
            Message::Call(id) => self.on_call(id),
            Message::EndItself(id) => drop(self.provider.machines.remove(&id)),
            Message::Effect(effect) => self.on_effect(&effect),
            Message::Sweep => self.on_sweep()?,
            Message::Plan => self.on_plan(),
            Message::Wish => self.on_wish(),
            Message::Fault => self.on_fault()?,
        }
        Ok(())
    }

    // The server.

    /// What the server's clock shows.
    fn clock(&self) -> Timestamp {
        Timestamp(self.now.0 + self.skew)
    }

    /// Decides, commits, answers; sometimes the commit fails and the draft is dropped.
    fn input(&mut self, input: Input, sender: Sender) -> Result<(), String> {
        if let Sender::Agent(id, session) = sender
            && self.machine(id, session).is_none()
        {
            return Ok(()); // the connection broke before it was read
        }
        let (draft, decided) = self.region.draft(&input, self.clock());
        let decision = match decided {
            Ok(decision) => decision,
            Err(refusal) => return self.on_refused(&input, &refusal),
        };
        if matches!(sender, Sender::Liar) && !decision.events.is_empty() {
            return Err(format!("a lie was believed: {input:?}"));
        }
        // A server that cannot commit as it starts is started again.
        let may_fail = self.faults && input != Input::Resumed && !decision.events.is_empty();
        if may_fail && self.chance.one_in(60) {
            return self.drop_draft(input, sender, &decision);
        }
        self.region.commit(&input, draft, &decision);
        self.see(&decision)?;
        self.spread(&decision);
        self.answer(&input, sender, &decision);
        Ok(())
    }

    fn on_refused(&mut self, input: &Input, refusal: &Refusal) -> Result<(), String> {
        let by_machine = matches!(input, Input::WorkerCalled { .. } | Input::WorkerReported { .. });
        match refusal {
            _ if by_machine => Err(format!("a machine was refused: {refusal}")),
            Refusal::TokenMismatch => Err("the same token with the same body".to_owned()),
            _ => Ok(()),
        }
    }

    /// The disk is full: nothing has happened; who asked, asks again.
    fn drop_draft(
        &mut self,
        input: Input,
        sender: Sender,
        decision: &Decision,
    ) -> Result<(), String> {
        if self.plant == Some(Plant::AnswerEarly) {
            self.answer(&input, sender, decision);
            return Ok(());
        }
        match sender {
            Sender::Agent(id, _) => self.break_connection(id),
            Sender::User(sent) if sent < 5 => {
                self.after_millis(2_000, Message::Input(input, Sender::User(sent + 1)));
            }
            _ => {}
        }
        Ok(())
    }

    fn see(&mut self, decision: &Decision) -> Result<(), String> {
        for event in &decision.events {
            self.trace.events += 1;
            let text = format!("{event:?}");
            self.trace.digest = mix(self.trace.digest, text.as_bytes());
            if self.last_events.len() == LAST_EVENTS_MAX {
                self.last_events.pop_front();
            }
            self.last_events.push_back(event.clone());
            self.referee.see(event)?;
        }
        if decision.events.is_empty() {
            return Ok(());
        }
        self.referee.check_results(&self.region)?;
        self.region.world.check().map_err(|wrong| wrong.join("; "))
    }

    /// Effects go to the provider, assignments to the agents, a plan is made soon.
    fn spread(&mut self, decision: &Decision) {
        for effect in &decision.effects {
            let delay = self.delay();
            self.after_millis(delay, Message::Effect(effect.clone()));
            if self.faults && self.chance.one_in(8) {
                let late = 10 * self.delay();
                self.after_millis(late, Message::Effect(effect.clone()));
            }
        }
        for worker in World::changed_workers(&decision.events) {
            self.send_assignment(worker);
        }
        if !self.planning && !plan(&self.region.world, self.clock(), 1).is_empty() {
            self.planning = true;
            self.after_millis(1, Message::Plan);
        }
    }

    fn answer(&mut self, input: &Input, sender: Sender, decision: &Decision) {
        match (sender, &decision.answer) {
            (Sender::User(_), Answer::Job(job)) if !self.acknowledged.contains(job) => {
                self.acknowledged.push(*job);
                self.trace.jobs += 1;
            }
            (Sender::User(_), _) if self.faults && users::token_of(input).is_some() => {}
            (Sender::Agent(id, _), Answer::Unwanted) => {
                // The agent ends itself.
                self.provider.machines.remove(&id);
            }
            (Sender::Agent(id, session), _) => self.answer_agent(input, id, session),
            _ => {}
        }
        if self.faults && users::token_of(input).is_some() && self.chance.one_in(10) {
            // The answer was lost on its way: the user asks again with the same token.
            self.after_millis(500, Message::Input(input.clone(), Sender::User(5)));
        }
    }

    fn answer_agent(&mut self, input: &Input, id: MachineId, session: u32) {
        match input {
            Input::WorkerCalled { .. } => {
                if let Some(machine) = self.machine(id, session) {
                    machine.connected = true;
                }
                self.send_assignment(id.0);
            }
            Input::WorkerReported { reports, .. } => {
                let ended = reports.iter().filter_map(|report| match report {
                    RunReport::Ended { run, .. } => Some(*run),
                    RunReport::Started { .. } => None,
                });
                let runs = ended.collect();
                self.send_down(id, |session| Message::Acknowledge(id, session, runs));
            }
            _ => {}
        }
    }

    fn send_assignment(&mut self, worker: WorkerId) {
        let Some(known) = self.region.world.worker(worker) else { return };
        let id = (worker, known.generation);
        let runs: Vec<_> = known.runs.keys().copied().collect();
        if self.provider.machines.get(&id).is_some_and(|machine| machine.connected) {
            self.send_down(id, |session| Message::Assign(id, session, runs));
        }
    }

    fn on_plan(&mut self) {
        self.planning = false;
        let late = self.faults && self.chance.one_in(5);
        let world = if late { &self.old_world } else { &self.region.world };
        let budget = 1 + self.chance.below(6) as usize;
        let proposals = plan(world, self.clock(), budget);
        if !proposals.is_empty() {
            self.after_millis(1, Message::Input(Input::Place(proposals), Sender::Nobody));
        }
        // A plan that was late or too small is followed by another one.
        if !plan(&self.region.world, self.clock(), 1).is_empty() {
            self.planning = true;
            self.after_millis(20, Message::Plan);
        }
    }

    // Messages.

    /// The machine, while this is its connection.
    fn machine(&mut self, id: MachineId, session: u32) -> Option<&mut Machine> {
        self.provider.machines.get_mut(&id).filter(|machine| machine.session == session)
    }

    fn send_up(&mut self, id: MachineId, input: Input) {
        let delay = self.delay();
        let earliest = self.in_millis(delay);
        let Some(machine) = self.provider.machines.get_mut(&id) else { return };
        let at = earliest.max(Timestamp(machine.up_at.0 + 1));
        machine.up_at = at;
        let sender = Sender::Agent(id, machine.session);
        self.push(at, Message::Input(input, sender));
    }

    fn send_down(&mut self, id: MachineId, message: impl FnOnce(u32) -> Message) {
        let delay = self.delay();
        let earliest = self.in_millis(delay);
        let Some(machine) = self.provider.machines.get_mut(&id) else { return };
        let at = earliest.max(Timestamp(machine.down_at.0 + 1));
        machine.down_at = at;
        let message = message(machine.session);
        self.push(at, message);
    }

    /// A delay in milliseconds: mostly short, sometimes long.
    fn delay(&mut self) -> u64 {
        let long = self.faults && self.chance.one_in(20);
        1 + self.chance.below(if long { 5_000 } else { 100 })
    }

    fn in_millis(&self, millis: u64) -> Timestamp {
        Timestamp(self.now.0 + millis as i64 * 1_000)
    }

    fn after_millis(&mut self, millis: u64, message: Message) {
        self.push(self.in_millis(millis), message);
    }

    fn push(&mut self, at: Timestamp, message: Message) {
        self.queued += 1;
        self.queue.insert((at, self.queued), message);
    }
}

fn options(chance: &mut Chance) -> Options {
    let mut limits = Limits { infrastructure_retry_max: PUT_BACK_MAX, ..Limits::default() };
    set_limits(&mut limits, chance);
    Options {
        limits,
        default_type: Some(InstanceTypeName("type-0".to_owned())),
        slots_per_worker: chance.between(1, 3),
        worker_start_max: Seconds(60),
        finished_kept: Seconds(chance.between(1, 90)),
        finished_kept_max: chance.between(1, 20),
        ..Options::default()
    }
}

/// What an operator may change with a restart.
fn set_limits(limits: &mut Limits, chance: &mut Chance) {
    limits.machines_max = chance.between(3, 8);
    limits.auto_cluster_machines_max = chance.between(1, 4);
}
