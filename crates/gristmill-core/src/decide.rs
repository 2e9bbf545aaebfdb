//! The rules: what an input means in a world.
//!
//! [`World::step`] is the mill: it decides and applies, one event at a time, so that each rule
//! looks at a world in which everything before has happened. [`decide`] does the same on a
//! draft and leaves the world alone. Both give the same decision.
//!
//! ```text
//! input -> rule -> event -> apply -> next rule ... -> events, effects, answer
//! ```
//!
//! Invariants
//! - A refusal comes before the first event: nothing has changed then.
//! - Repeated, late, foreign and older reports give no events.
//! - Every run that is placed ends exactly once (`RunEnded`, or in a `RunsFinished`), before its
//!   machine, task or job ends. Whoever reads the journal never has to guess.
//! - Nothing is decided from anything but the world, the input, the time and the mint.
//!
//! The rules by subject: `jobs`, `runs`, `ahead` (runs that wait on machines); `clusters`
//! (commands), `fill`, `auto`, `attached`, `prepaid` and `fit` (how many machines), `single` (one
//! machine), `workers` (what is seen of machines), `market` (prices, quotas), `share` (accounts on
//! a full host).

mod ahead;
mod attached;
mod auto;
mod clusters;
mod fill;
mod fit;
mod jobs;
mod market;
mod prepaid;
mod runs;
mod share;
mod single;
mod workers;

use crate::{entity::EntityKey, job::Job, mint::IdMint, notices::notices, world::World};
use gristmill_model::{AccountId, Answer, Effect, Event, Input, Refusal, Timestamp, WorkerId};
use std::{collections::BTreeSet, sync::Arc};

/// What follows from an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What should now be true outside.
    pub effects: Vec<Effect>,
    /// For the one who asked.
    pub answer: Answer,
    /// Jobs that left the world for the history, as they were.
    pub archived: Vec<Arc<Job>>,
    /// What a checkpoint has to write anew because of the events.
    pub touched: BTreeSet<EntityKey>,
}

/// Looks at the world and says what happens next. Reads nothing else, changes nothing.
pub fn decide(
    world: &World,
    input: &Input,
    now: Timestamp,
    ids: &mut IdMint,
) -> Result<Decision, Refusal> {
    world.clone().step(input, now, ids)
}

impl World {
    /// Decides and applies in one go: the same decision as [`decide`], and the world has
    /// already gone through `apply` for each of its events. A refusal leaves the world as it is.
    pub fn step(
        &mut self,
        input: &Input,
        now: Timestamp,
        ids: &mut IdMint,
    ) -> Result<Decision, Refusal> {
        let mut draft = Draft {
            world: self,
            now,
            ids,
            events: Vec::new(),
            effects: Vec::new(),
            archived: Vec::new(),
            touched: BTreeSet::new(),
            accounts: BTreeSet::new(),
            dealt: BTreeSet::new(),
            eased: BTreeSet::new(),
        };
        let answer = draft.on_input(input)?;
        draft.let_leavers_go();
        draft.fill_accounts();
        let Draft { events, effects, archived, touched, .. } = draft;
        Ok(Decision { events, effects, answer, archived, touched })
    }
}

/// A decision in the making.
struct Draft<'a> {
    world: &'a mut World,
    now: Timestamp,
    ids: &'a mut IdMint,
    events: Vec<Event>,
    effects: Vec<Effect>,
    archived: Vec<Arc<Job>>,
    touched: BTreeSet<EntityKey>,
    /// Accounts whose automatic clusters and lanes have to be looked at.
    accounts: BTreeSet<AccountId>,
    /// Accounts whose prepaid machines have to be dealt anew.
    dealt: BTreeSet<AccountId>,
    /// Machines of which a run ended and that may have been waiting for that.
    eased: BTreeSet<WorkerId>,
}

impl Draft<'_> {
    fn emit(&mut self, event: Event) {
        self.touched.extend(self.world.touched(&event));
        let notices = notices(self.world, &event, self.now).into_iter();
        self.effects.extend(notices.map(|notice| Effect::Notify(Box::new(notice))));
        if let Event::JobArchived { job, .. } = &event {
            self.archived.push(Arc::clone(self.world.job_of(*job)));
        }
        self.world.apply(&event);
        self.mark(&event);
        self.events.push(event);
    }

    fn on_input(&mut self, input: &Input) -> Result<Answer, Refusal> {
        match input {
            Input::SubmitJob { account, spec, token } => self.submit_job(*account, spec, token),
            Input::StopJob { account, job } => self.stop_job(*account, *job),
            Input::StartJob { account, job } => self.start_job(*account, *job),
            Input::DeleteJob { account, job } => self.delete_job(*account, *job),
            Input::ForgetJob { job } => Ok(self.forget_job(*job)),
            Input::ChangePriority { account, job, priority } => {
                self.change_priority(*account, *job, *priority)
            }
            Input::CreateCluster { account, spec, token } => {
                self.create_cluster(*account, spec, token)
            }
            Input::ModifyCluster { account, cluster, change } => {
                self.modify_cluster(*account, *cluster, change)
            }
            Input::DeleteCluster { account, cluster } => self.delete_cluster(*account, *cluster),
            Input::DeleteWorker { account, place } => self.delete_worker(*account, place),
            Input::RecreateWorker { account, place } => self.recreate_worker(*account, place),
            Input::SetSpotPrice { instance_type, price } => {
                Ok(self.set_spot_price(instance_type, *price))
            }
            Input::SetPrepaid { account, instance_type, machines } => {
                Ok(self.set_prepaid(*account, instance_type, *machines))
            }
            Input::SetQuota { account, quota } => Ok(self.set_quota(*account, *quota)),
            Input::WorkerCalled { worker, generation, address, holds, ahead } => {
                Ok(self.on_worker_called(*worker, *generation, address, (holds, *ahead)))
            }
            Input::WorkerReported { worker, generation, reports } => {
                Ok(self.on_reports(*worker, *generation, reports))
            }
            Input::WorkerSilent { worker, generation } => {
                Ok(self.on_worker_silent(*worker, *generation))
            }
            Input::WorkerObserved { worker, generation, seen } => {
                Ok(self.on_worker_observed(*worker, *generation, seen))
            }
            Input::Place(proposals) => Ok(self.place(proposals)),
            Input::Tick => Ok(self.on_tick()),
            Input::Resumed => Ok(self.on_resumed()),
        }
    }
}
