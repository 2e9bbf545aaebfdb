//! The loop around the core: one thread owns the world.
//!
//! It takes a batch from a bounded inbox, reads the clock once, steps a draft of the world through
//! every input, places what can be placed, commits everything in one transaction,
//! and only then publishes the new world, answers the callers, hands effects to the hands and
//! wakes the agents' sessions.
//!
//! Invariants
//! - Nobody sees a world that is not durable: publishing comes after the commit.
//! - A full disk drops the draft: the inputs are refused, the old world stays, reads go on. Any
//!   other failed commit ends the process; a restart is the last checkpoint and the journal.
//! - The mill decides nothing itself; all rules are in the core.
//! - What takes long is done beside it: `checkpoints` brings the world into the form of the disk.
//!
//! Start at [`Mill`], the handle; what a turn does is in `turner`.

mod turner;
mod waits;

use crate::{
    checkpoints::Checkpoints, config::HistoryConfig, published::Published, recovery::Recovery,
};
use gristmill_core::IdMint;
use gristmill_model::{AccountId, Answer, Effect, Input, Refusal, Timestamp, notice::Subject};
use gristmill_store::{EffectId, NoticeProgress, Prepared, StoreError};
use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};
use tokio::sync::{mpsc, oneshot};
use turner::Turner;
use waits::Waits;

/// How many inputs may wait for the mill. A sender beyond it waits.
const INBOX_MAX: usize = 4_096;

/// Reads the time. The front door makes it, the mill reads it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Whose jobs and clusters have notices.
pub type News = BTreeSet<(AccountId, Subject)>;

/// Why an input had no effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MillError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk of the control plane is full. Nothing changed.
    #[error("the control plane's disk is full: nothing was changed")]
    DiskFull,
    /// More waits for the mill than it gets done. Nothing changed.
    #[error("the server is busy with what came before: nothing was changed, try again later")]
    Busy,
    /// The region is shutting down.
    #[error("the region is shutting down")]
    Closed,
}

enum Request {
    Input { input: Input, reply: Option<ReplyTo> },
    EffectsDone(Vec<EffectId>),
    NoticesDelivered(Vec<NoticeProgress>, oneshot::Sender<Result<(), MillError>>),
    Checkpoint(Result<Prepared, StoreError>),
    Stop(oneshot::Sender<()>),
}

/// A handle on the mill. Cheap to clone.
#[derive(Clone)]
pub struct Mill {
    inbox: mpsc::Sender<Request>,
    published: Published,
}

impl Mill {
    /// Starts the mill's thread on a recovered world.
    ///
    /// `hands` receives the effects of each commit, `news` the subjects of its notices, which
    /// wait in the books.
    pub fn start(
        (recovered, history): (Recovery, HistoryConfig),
        ids: IdMint,
        clock: Clock,
        hands: mpsc::UnboundedSender<Vec<(EffectId, Effect)>>,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        let Recovery { store, world, dirty, .. } = recovered;
        let (inbox, requests) = mpsc::channel(INBOX_MAX);
        let published = Published::new(world.clone());
        let checkpoints = {
            // Not a sender of its own: when all handles are gone the mill ends.
            let inbox = inbox.downgrade();
            Checkpoints::start(move |prepared| {
                let inbox = inbox.upgrade();
                inbox.is_some_and(|it| it.blocking_send(Request::Checkpoint(prepared)).is_ok())
            })
        };
        let waits = Waits::since(clock());
        let turner = Turner {
            store,
            world,
            ids,
            clock,
            hands,
            news,
            published: published.clone(),
            dirty,
            events_since_checkpoint: 0,
            checkpoints,
            at_the_disk: Duration::ZERO,
            history,
            purge: true,
            waits,
        };
        thread::Builder::new()
            .name("mill".into())
            .spawn(move || turner.run(requests))
            .expect("the process can start a thread at its beginning");
        Self { inbox, published }
    }

    /// The last durable world, and changes to it.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Puts one input through the mill. What it answers is durable.
    pub async fn put(&self, input: Input) -> Result<Answer, MillError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Input { input, reply: Some(reply) };
        self.inbox.send(request).await.map_err(|_| MillError::Closed)?;
        answer.await.map_err(|_| MillError::Closed)?
    }

    /// The same for somebody who can come again: gives up when there is no room in the inbox for so
    /// long. What is in the inbox is answered.
    pub async fn offer(&self, input: Input, wait_max: Duration) -> Result<Answer, MillError> {
        let room = match tokio::time::timeout(wait_max, self.inbox.reserve()).await {
            Ok(room) => room.map_err(|_| MillError::Closed)?,
            Err(_) => return Err(MillError::Busy),
        };
        let (reply, answer) = oneshot::channel();
        room.send(Request::Input { input, reply: Some(reply) });
        answer.await.map_err(|_| MillError::Closed)?
    }

    /// Says that effects are carried out, so that the outbox forgets them.
    pub async fn effects_done(&self, effects: Vec<EffectId>) {
        // A closed mill has its outbox on disk; the effects are carried out again.
        let _ = self.inbox.send(Request::EffectsDone(effects)).await;
    }

    /// Says how far notices were delivered. Durable when it returns; while the disk is full nothing
    /// is noted. Noting it twice is harmless.
    pub async fn notices_delivered(&self, progress: Vec<NoticeProgress>) -> Result<(), MillError> {
        let (reply, noted) = oneshot::channel();
        let request = Request::NoticesDelivered(progress, reply);
        self.inbox.send(request).await.map_err(|_| MillError::Closed)?;
        noted.await.map_err(|_| MillError::Closed)?
    }

    /// Answers what is in flight, takes a checkpoint and ends the thread.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.inbox.send(Request::Stop(reply)).await.is_ok() {
            let _ = stopped.await;
        }
    }
}

type ReplyTo = oneshot::Sender<Result<Answer, MillError>>;

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_core::World;

    /// A mill that takes nothing out of an inbox with room for one.
    fn stuck() -> (Mill, mpsc::Receiver<Request>) {
        let (inbox, requests) = mpsc::channel(1);
        (
            Mill {
                inbox,
                published: Published::new(World::new(gristmill_core::Options::default())),
            },
            requests,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn who_can_come_again_does_not_wait_for_ever() {
        let (mill, mut requests) = stuck();
        let wait = Duration::from_secs(5);
        let first = tokio::spawn({
            let mill = mill.clone();
            async move { mill.offer(Input::Tick, wait).await }
        });
        tokio::task::yield_now().await;
        assert!(matches!(mill.offer(Input::Tick, wait).await, Err(MillError::Busy)));
        let Some(Request::Input { reply: Some(reply), .. }) = requests.recv().await else {
            panic!("the first is in the inbox")
        };
        reply.send(Ok(Answer::Done)).expect("somebody waits");
        let answer = first.await.expect("it ended");
        assert!(matches!(answer, Ok(Answer::Done)), "what is in the inbox is answered");
    }
}
