//! What the mill does in a turn: decide, apply, place, commit, publish, answer; and its housekeeping.
//!
//! Start at [`Turner::turn`].

use super::{Clock, MillError, News, ReplyTo, Request, waits::Waits};
use crate::{
    checkpoints::{Checkpoints, Snapshot},
    config::HistoryConfig,
    history,
    measures::MEASURES,
    published::Published,
};
use gristmill_core::{Decision, EntityKey, IdMint, World, plan};
use gristmill_faults::{self as faults, Point};
use gristmill_model::{Answer, Effect, Event, Input, Refusal, Timestamp};
use gristmill_store::{Batch, EffectId, HistoryRow, Prepared, Retry, Store, StoreError};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

/// How many inputs share one commit.
const BATCH_MAX: usize = 1_024;
/// How many placements one turn may make.
const PLACEMENTS_MAX: usize = 4_096;
/// How many events the journal holds before a checkpoint is taken.
const JOURNAL_EVENTS_MAX: usize = 20_000;
/// How much they may take: a restart holds them all in memory.
const JOURNAL_BYTES_MAX: u64 = 32 << 20;
/// How many entities may have changed before: writing them holds the mill up.
const DIRTY_MAX: usize = 2_000;
/// How many attempts may have ended before: they are in memory until the checkpoint is written, and
/// again while it is prepared.
const ATTEMPTS_MAX: usize = 16_384;
/// How many jobs of the history go at a time when there are too many or they are too old.
const EXPIRED_MAX: usize = 256;
/// How many rows of deleted jobs one turn removes.
const PURGE_ROWS_MAX: usize = 2_000;
/// A turn that takes longer is worth a line of the log.
const SLOW: Duration = Duration::from_millis(50);
/// A turn that takes longer is felt by everybody.
const VERY_SLOW: Duration = Duration::from_secs(1);

type Reply = (ReplyTo, Result<Answer, MillError>);

/// What one turn collected before its commit.
struct Turn {
    draft: World,
    now: Timestamp,
    events: Vec<Event>,
    effects: Vec<Effect>,
    archived: Vec<HistoryRow>,
    touched: BTreeSet<EntityKey>,
    replies: Vec<Reply>,
}

/// The owner of the world.
pub(super) struct Turner {
    pub(super) store: Store,
    pub(super) world: World,
    pub(super) ids: IdMint,
    pub(super) clock: Clock,
    pub(super) hands: mpsc::UnboundedSender<Vec<(EffectId, Effect)>>,
    pub(super) news: mpsc::UnboundedSender<News>,
    pub(super) published: Published,
    pub(super) dirty: BTreeSet<EntityKey>,
    pub(super) events_since_checkpoint: usize,
    pub(super) checkpoints: Checkpoints,
    /// How long this turn wrote.
    pub(super) at_the_disk: Duration,
    pub(super) history: HistoryConfig,
    /// Whether attempts of deleted jobs may be left.
    pub(super) purge: bool,
    /// Since when tasks could run.
    pub(super) waits: Waits,
}

impl Turner {
    /// Turns until it is told to stop, or nobody holds a handle any more.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut more_to_place = true;
        loop {
            let first = if more_to_place {
                requests.try_recv().ok()
            } else {
                match requests.blocking_recv() {
                    Some(request) => Some(request),
                    None => break,
                }
            };
            let mut batch: Vec<_> = first.into_iter().collect();
            while batch.len() < BATCH_MAX
                && let Ok(request) = requests.try_recv()
            {
                batch.push(request);
            }
            MEASURES.note_inbox(batch.len() + requests.len());
            let (clock, taken) = (Instant::now(), batch.len());
            self.at_the_disk = Duration::ZERO;
            let stop = self.sort_out(batch, &mut more_to_place);
            self.tell_if_slow(clock.elapsed(), taken);
            if let Some(stopped) = stop {
                self.checkpoint_now();
                let _ = stopped.send(());
                break;
            }
        }
        info!("mill stopped");
    }

    fn tell_if_slow(&self, took: Duration, requests: usize) {
        if took > SLOW {
            let [ms, disk_ms] = [took, self.at_the_disk].map(|it| it.as_millis() as u64);
            match took > VERY_SLOW {
                true => warn!(ms, disk_ms, requests, "a slow turn"),
                false => info!(ms, disk_ms, requests, "a slow turn"),
            }
        }
    }

    /// Separates inputs from housekeeping and turns once. Returns who asked to stop, if anyone.
    fn sort_out(
        &mut self,
        batch: Vec<Request>,
        more_to_place: &mut bool,
    ) -> Option<oneshot::Sender<()>> {
        let (mut inputs, mut done, mut stop) = (Vec::new(), Vec::new(), None);
        let (mut delivered, mut noted) = (Vec::new(), Vec::new());
        for request in batch {
            match request {
                Request::Input { input, reply } => inputs.push((input, reply)),
                Request::EffectsDone(effects) => done.extend(effects),
                Request::NoticesDelivered(progress, reply) => {
                    delivered.extend(progress);
                    noted.push(reply);
                }
                Request::Checkpoint(prepared) => self.write_checkpoint(prepared),
                Request::Stop(stopped) => stop = Some(stopped),
            }
        }
        if !done.is_empty()
            && let Err(error) = self.store.effects_done(&done)
        {
            // They stay in the outbox and are carried out again after a restart.
            warn!(%error, "could not forget effects");
        }
        let struck = self.store.notices_delivered(&delivered);
        if let Err(error) = &struck {
            warn!(%error, "could not strike notices: it is tried again");
        }
        for reply in noted {
            let _ = reply.send(struck.as_ref().map_err(|_| MillError::DiskFull).copied());
        }
        *more_to_place = self.turn(inputs);
        stop
    }

    /// One turn: decide, apply, place, commit, publish, answer. Returns whether there may be more
    /// to place at once.
    fn turn(&mut self, inputs: Vec<(Input, Option<ReplyTo>)>) -> bool {
        faults::at(Point::MillTaken);
        let begun = Instant::now();
        let mut turn = Turn {
            draft: self.world.clone(),
            now: (self.clock)(),
            events: Vec::new(),
            effects: Vec::new(),
            archived: Vec::new(),
            touched: BTreeSet::new(),
            replies: Vec::new(),
        };
        for (input, reply) in inputs {
            let answer = self.take(&mut turn, &input);
            if let Some(reply) = reply {
                turn.replies.push((reply, answer.map_err(MillError::from)));
            }
        }
        let proposals = plan(&turn.draft, turn.now, PLACEMENTS_MAX);
        let proposed: u32 = proposals.iter().map(|it| it.instances.len()).sum();
        let is_full = proposed as usize >= PLACEMENTS_MAX;
        if !proposals.is_empty()
            && let Err(refusal) = self.take(&mut turn, &Input::Place(proposals))
        {
            error!(%refusal, "a plan was refused; plans are never refused as a whole");
        }
        // What could not be written is placed again at the next turn, not at once and for ever.
        self.finish(turn, begun) && is_full
    }

    /// Decides one input and applies it to the draft.
    fn take(&mut self, turn: &mut Turn, input: &Input) -> Result<Answer, Refusal> {
        let Decision { events, effects, answer, archived, touched } =
            turn.draft.step(input, turn.now, &mut self.ids)?;
        turn.events.extend(events);
        turn.effects.extend(effects);
        turn.archived.extend(archived.iter().map(|job| history::row(job)));
        turn.touched.extend(touched);
        Ok(answer)
    }

    /// Returns whether the turn is durable.
    fn finish(&mut self, turn: Turn, begun: Instant) -> bool {
        let Turn { draft, now, events, effects, archived, touched, replies } = turn;
        if events.is_empty() && effects.is_empty() {
            answer(replies);
            return true;
        }
        faults::at(Point::MillDecided);
        let committing = Instant::now();
        let committed = match self.store.commit(&Batch {
            events: &events,
            effects: &effects,
            archived: &archived,
            at: now,
        }) {
            Ok(committed) => committed,
            Err(failure) if failure.retry() == Retry::Later => {
                warn!(error = %failure, "inputs are refused until the books can be written again");
                refuse_all(replies);
                return false;
            }
            Err(failure) => fatal(&failure),
        };
        let took = committing.elapsed();
        self.at_the_disk += took;
        MEASURES.turn_commit.note(took);
        self.world = draft;
        self.dirty.extend(touched);
        self.events_since_checkpoint += events.len();
        if !archived.is_empty() {
            self.shorten_history(now);
        }
        self.purge |= events.iter().any(|event| matches!(event, Event::JobDeleted { .. }));
        self.published.publish(self.world.clone(), &World::changed_workers(&events));
        faults::at(Point::MillPublished);
        answer(replies);
        faults::at(Point::MillAnswered);
        if !effects.is_empty() {
            self.hand_out(committed.effect_ids, effects);
        }
        MEASURES.pass.note(begun.elapsed());
        for (waited, instances) in self.waits.note(&self.world, &events) {
            MEASURES.queue.note_all(waited, instances.into());
        }
        self.keep_house();
        true
    }

    /// Effects go to the hands; of notices only the news goes out, they wait in the books.
    fn hand_out(&self, ids: Vec<EffectId>, effects: Vec<Effect>) {
        let mut subjects = BTreeSet::new();
        let effects = effects.into_iter().filter(|effect| match effect {
            Effect::Notify(notice) => {
                subjects.insert((notice.account, notice.about));
                false
            }
            Effect::EnsureWorker(_) | Effect::RemoveWorker { .. } => true,
        });
        let orders: Vec<_> = effects.zip(ids).map(|(effect, id)| (id, effect)).collect();
        // Receivers live as long as the process; without them the books keep everything.
        if !orders.is_empty() {
            let _ = self.hands.send(orders);
        }
        if !subjects.is_empty() {
            let _ = self.news.send(subjects);
        }
    }

    /// Keeps the history within its bounds: it grows only when jobs come into it.
    fn shorten_history(&mut self, now: Timestamp) {
        let age = i64::from(self.history.kept.0) * 1_000_000;
        let before = Timestamp(now.0.saturating_sub(age));
        match self.store.expire(before, self.history.jobs_max, EXPIRED_MAX) {
            Ok(gone) => self.purge |= gone > 0,
            Err(error) => warn!(%error, "could not shorten the history"),
        }
    }

    fn keep_house(&mut self) {
        let due = self.events_since_checkpoint >= JOURNAL_EVENTS_MAX
            || self.dirty.len() >= DIRTY_MAX
            || self.store.attempts_since_checkpoint() >= ATTEMPTS_MAX
            || self.store.journal_bytes_since_checkpoint() >= JOURNAL_BYTES_MAX
            || faults::at(Point::CheckpointDue).is_early();
        if due && !self.checkpoints.under_way() {
            let snapshot = self.snapshot();
            self.checkpoints.begin(snapshot);
        }
        if !self.purge {
            return;
        }
        match self.store.purge(PURGE_ROWS_MAX) {
            Ok(purged) => self.purge = purged.more,
            Err(error) => warn!(%error, "could not remove attempts of deleted jobs"),
        }
    }

    /// What changed since the last checkpoint.
    fn snapshot(&mut self) -> Snapshot {
        self.events_since_checkpoint = 0;
        let (dirty, begun) = (std::mem::take(&mut self.dirty), self.store.begin_checkpoint());
        Snapshot { world: self.world.clone(), dirty, begun }
    }

    /// Writes the checkpoint that was under way and trims the journal. A failure costs nothing but a
    /// longer journal.
    fn write_checkpoint(&mut self, prepared: Result<Prepared, StoreError>) {
        let (covered, begun) = (self.checkpoints.end(), Instant::now());
        match prepared.and_then(|prepared| self.store.write_checkpoint(&prepared)) {
            Ok(()) => {
                let took = begun.elapsed();
                self.at_the_disk += took;
                MEASURES.checkpoint.note(took);
                debug!(entities = covered.len(), ?took, "checkpoint");
            }
            Err(error) => {
                warn!(%error, "no checkpoint now: the journal grows");
                self.dirty.extend(covered);
            }
        }
    }

    /// The last one, before the mill ends: also of what one under way would have covered.
    fn checkpoint_now(&mut self) {
        let covered = self.checkpoints.end();
        self.dirty.extend(covered);
        let prepared = self.snapshot().prepare();
        self.write_checkpoint(prepared);
    }
}

fn answer(replies: Vec<Reply>) {
    for (reply, answer) in replies {
        // A caller that went away does not change what is durable.
        let _ = reply.send(answer);
    }
}

fn refuse_all(replies: Vec<Reply>) {
    for (reply, answer) in replies {
        let _ = reply.send(answer.and(Err(MillError::DiskFull)));
    }
}

/// A commit that failed leaves memory and disk apart; only a restart makes them one again.
fn fatal(failure: &StoreError) -> ! {
    error!(error = %failure, "a commit failed: the process ends, a restart recovers");
    std::process::exit(70)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_model::{JobId, JobState};
    use gristmill_store::StoreOptions;
    use std::sync::Arc;

    /// A mill on a disk of a megabyte.
    fn cramped(dir: &std::path::Path) -> Turner {
        let options = StoreOptions { size_bytes_max: Some(1 << 20), ..StoreOptions::default() };
        let (store, _) = Store::open(dir, &options).expect("opens");
        let world = World::new(gristmill_core::Options::default());
        Turner {
            store,
            ids: IdMint::new([7; 32]),
            clock: Arc::new(|| Timestamp(1)),
            hands: mpsc::unbounded_channel().0,
            news: mpsc::unbounded_channel().0,
            published: Published::new(world.clone()),
            world,
            dirty: BTreeSet::new(),
            events_since_checkpoint: 0,
            checkpoints: Checkpoints::start(|_| false),
            at_the_disk: Duration::ZERO,
            history: HistoryConfig::default(),
            purge: false,
            waits: Waits::since(Timestamp(1)),
        }
    }

    /// Else a mill with much to place would go round without a pause, and fill the log.
    #[test]
    fn a_turn_that_cannot_be_written_is_not_repeated_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut turner = cramped(dir.path());
        let mut write = || {
            let failed = Event::JobEnded {
                job: JobId(1),
                state: JobState::Failed,
                message: "x".repeat(10_000),
                at: Timestamp(1),
            };
            let turn = Turn {
                draft: turner.world.clone(),
                now: Timestamp(1),
                events: vec![failed],
                effects: Vec::new(),
                archived: Vec::new(),
                touched: BTreeSet::new(),
                replies: Vec::new(),
            };
            turner.finish(turn, Instant::now())
        };
        assert!(write(), "there is room");
        assert!((0..1_000).any(|_| !write()), "a megabyte is full");
        assert!(!write());
    }
}
