//! The hands: carry out effects on the provider, and look at what is there.
//!
//! Effects say what should be; each is carried out at least once, in order for each worker, and
//! then struck from the outbox. What the provider says, of an effect or when it is looked at, is
//! one more input for the mill. Nothing is decided here.

use crate::{
    front::stopped,
    images::{Images, NoRoot},
    keys::KeyRing,
    launch::Launch,
    machine,
    mill::Mill,
    promises,
    seats::Seats,
    vital::vital,
};
use gristmill_faults::{self as faults, Point};
use gristmill_model::{Effect, Generation, Input, WorkerId, event::EnsureWorker, input::Seen};
use gristmill_provider::{AgentLaunch, Presence, Provider, ProviderError, Retry};
use gristmill_store::EffectId;
use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tracing::{Instrument, debug, info, info_span, warn};

/// Workers that are made or removed at the same time.
const AT_ONCE_MAX: usize = 16;
/// First and longest pause before an effect is tried again.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long a machine may take to end after its agent hung up, before it is looked at.
const AFTER_HANG_UP: Duration = Duration::from_millis(100);

type Order = (Option<EffectId>, Effect);

/// Carries out effects.
#[derive(Clone)]
pub struct Hands {
    mill: Mill,
    provider: Arc<dyn Provider>,
    launch: Arc<Launch>,
    keys: Arc<KeyRing>,
    seats: Arc<Seats>,
    images: Arc<Images>,
    at_once: Arc<Semaphore>,
    /// The generation of each worker that the provider was asked for and took on.
    asked: Arc<Mutex<BTreeMap<WorkerId, Generation>>>,
}

impl Hands {
    /// Hands on this provider.
    pub fn new(
        mill: Mill,
        provider: Arc<dyn Provider>,
        launch: Launch,
        keys: Arc<KeyRing>,
        (seats, images): (Arc<Seats>, Arc<Images>),
    ) -> Self {
        let (at_once, asked) = (Arc::new(Semaphore::new(AT_ONCE_MAX)), Arc::default());
        Self { mill, provider, launch: Arc::new(launch), keys, seats, images, at_once, asked }
    }

    /// Carries out what comes, in order for each worker, until the sender is gone. `standing` is
    /// what should hold at the start.
    pub async fn work(
        self,
        standing: Vec<Order>,
        mut effects: mpsc::UnboundedReceiver<Vec<(EffectId, Effect)>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut queues: BTreeMap<WorkerId, mpsc::UnboundedSender<Order>> = BTreeMap::new();
        let mut orders = standing;
        loop {
            for order in orders {
                self.queue(&mut queues, order);
            }
            let next = tokio::select! {
                next = effects.recv() => next,
                () = stopped(&mut stop) => None,
            };
            let Some(next) = next else { return };
            orders = next.into_iter().map(|(id, effect)| (Some(id), effect)).collect();
        }
    }

    fn queue(&self, queues: &mut BTreeMap<WorkerId, mpsc::UnboundedSender<Order>>, order: Order) {
        let Some(worker) = worker_of(&order.1) else { return };
        queues.retain(|_, queue| !queue.is_closed());
        let queue = queues.entry(worker).or_insert_with(|| {
            let (queue, orders) = mpsc::unbounded_channel();
            tokio::spawn(vital("hands", self.clone().serve(worker, orders)));
            queue
        });
        if let Err(mpsc::error::SendError(order)) = queue.send(order) {
            // The queue's task ended between the check and now; a new one takes over.
            queues.remove(&worker);
            self.queue(queues, order);
        }
    }

    /// Carries out the orders for one worker until it is to be removed.
    async fn serve(self, worker: WorkerId, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some((id, effect)) = orders.recv().await {
            let removed = matches!(effect, Effect::RemoveWorker { .. });
            match &effect {
                Effect::EnsureWorker(request) => {
                    let _place = self.at_once.acquire().await.expect("never closed");
                    self.ensure(request).await;
                }
                Effect::RemoveWorker { generation, .. } => self.remove(worker, *generation).await,
                Effect::Notify(_) => {}
            }
            if let Some(id) = id {
                for _ in 0..faults::at(Point::OutboxStrike).times() {
                    self.mill.effects_done(vec![id]).await;
                }
            }
            if removed && orders.is_empty() {
                orders.close();
            }
        }
    }

    async fn ensure(&self, request: &EnsureWorker) {
        let EnsureWorker { worker, generation, .. } = request;
        let span = info_span!("ensure_worker", %worker, %generation);
        async {
            if !self.is_wanted(*worker, *generation) {
                return debug!("not wanted any more");
            }
            let disks_max = self.launch.config.local.disks_bytes_max;
            if let Some(reason) =
                promises::no_room(&self.mill.published().world(), request, disks_max)
            {
                warn!(reason, "no room for the machine");
                return self.tell(*worker, *generation, Seen::NoRoom { reason }).await;
            }
            let launch = match self.launch_of(request).await {
                Ok(Some(launch)) => launch,
                Ok(None) => return debug!("not wanted any more"),
                Err(seen) => {
                    warn!(?seen, "cannot be made");
                    return self.tell(*worker, *generation, seen).await;
                }
            };
            let seen = match self.ask(request, &launch).await {
                Ok(()) => {
                    info!("asked");
                    self.asked().insert(*worker, *generation);
                    Seen::There
                }
                Err(error) => {
                    warn!(%error, retry = ?error.retry(), "provider refused");
                    refusal(&error)
                }
            };
            for _ in 1..faults::at(Point::HandsEnsured).times() {
                self.tell(*worker, *generation, seen.clone()).await;
            }
            self.tell(*worker, *generation, seen).await;
        }
        .instrument(span)
        .await;
    }

    /// Asks the provider for a worker.
    async fn ask(&self, request: &EnsureWorker, launch: &AgentLaunch) -> Result<(), ProviderError> {
        let turn = faults::at(Point::HandsEnsure);
        if turn.is_fail() {
            return Err(ProviderError::Silent);
        }
        for _ in 1..turn.times() {
            self.provider.ensure(request, launch).await?;
        }
        self.provider.ensure(request, launch).await
    }

    /// Asks the provider to remove a worker.
    async fn dismiss(&self, worker: WorkerId, generation: Generation) -> Result<(), ProviderError> {
        let turn = faults::at(Point::HandsRemove);
        if turn.is_fail() {
            return Err(ProviderError::Silent);
        }
        for _ in 1..turn.times() {
            self.provider.remove(worker, generation).await?;
        }
        self.provider.remove(worker, generation).await
    }

    async fn remove(&self, worker: WorkerId, generation: Generation) {
        let span = info_span!("remove_worker", %worker, %generation);
        async {
            until_done(&self.at_once, || self.dismiss(worker, generation)).await;
            info!("removed");
            self.asked().remove(&worker);
            self.tell(worker, generation, Seen::Gone).await;
            self.free_seats().await;
        }
        .instrument(span)
        .await;
    }

    /// Whether the world still wants this worker in this generation.
    fn is_wanted(&self, worker: WorkerId, generation: Generation) -> bool {
        let world = self.mill.published().world();
        world.worker(worker).is_some_and(|known| known.generation == generation)
    }

    /// What the worker's agent is started with; `None` when its cluster is gone.
    async fn launch_of(&self, request: &EnsureWorker) -> Result<Option<AgentLaunch>, Seen> {
        let (hands, request) = (self.clone(), request.clone());
        let work = move || {
            let EnsureWorker { worker, generation, .. } = request;
            let world = hands.mill.published().world();
            let Some(cluster) = world.any_cluster(request.cluster) else { return Ok(None) };
            let image = hands.images.root_of(cluster.account, request.image.as_ref());
            let image = image.map_err(|why| rootless(&why))?;
            let seat = hands.seats.take(&request, cluster);
            let seat = seat.map_err(|error| Seen::NoRoom { reason: error.to_string() })?;
            let Launch { briefing, config, .. } = hands.launch.as_ref();
            let bootstrap_max = config.patience.bootstrap_max.0;
            let keys = hands.keys.as_ref();
            let machine =
                machine::describe(&request, cluster, briefing, keys, &seat, (image, bootstrap_max));
            let token = keys.worker_token(worker, generation);
            Ok(Some(hands.launch.agent(&request, token, seat.address, machine)))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
    }

    /// Frees the places of machines that are gone for good.
    async fn free_seats(&self) {
        let (seats, world) = (self.seats.clone(), self.mill.published().world());
        let images = self.images.clone();
        let free = move || {
            seats.free(&world);
            images.sweep();
        };
        // It is cut short only when the region stops, and then done at the next start.
        let _ = tokio::task::spawn_blocking(free).await;
    }

    async fn tell(&self, worker: WorkerId, generation: Generation, seen: Seen) {
        let input = Input::WorkerObserved { worker, generation, seen };
        if let Err(error) = self.mill.put(input).await {
            debug!(%worker, %error, "an observation was not taken; it is made again");
        }
    }

    /// Looks at all workers every so often, and soon after an agent hung up, and tells the mill
    /// which are gone.
    pub async fn observe(
        self,
        every: Duration,
        hang_ups: Arc<Notify>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = hang_ups.notified() => tokio::time::sleep(AFTER_HANG_UP).await,
                () = stopped(&mut stop) => return,
            }
            self.look().await;
        }
    }

    async fn look(&self) {
        let known: BTreeMap<WorkerId, Generation> = {
            let world = self.mill.published().world();
            world.all_workers().map(|worker| (worker.id, worker.generation)).collect()
        };
        if known.is_empty() {
            return;
        }
        let ids: Vec<WorkerId> = known.keys().copied().collect();
        match self.provider.observe(&ids).await {
            Ok(seen) => {
                for seen in seen {
                    let generation = known[&seen.worker];
                    if seen.presence == Presence::Gone && self.is_missing(seen.worker, generation) {
                        self.tell(seen.worker, generation, Seen::Gone).await;
                    }
                }
            }
            Err(error) => warn!(%error, "the provider did not answer"),
        }
    }

    /// Whether it is news that a worker is not there: one that waits in a queue of ours to be
    /// asked for cannot be missing.
    fn is_missing(&self, worker: WorkerId, generation: Generation) -> bool {
        use gristmill_model::WorkerState as S;
        let world = self.mill.published().world();
        match world.worker(worker).map(|known| known.state) {
            Some(S::Running | S::Deleting) => true,
            Some(S::Starting) => self.asked().get(&worker) == Some(&generation),
            Some(S::Pending) | None => false,
        }
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Generation>> {
        self.asked.lock().expect("no holder of the lock panics")
    }
}

/// Tries again until it is done. A place is taken for each attempt and not for the pauses: what cannot
/// be done for long must not keep others from theirs.
async fn until_done<F: Future<Output = Result<(), E>>, E: Display>(
    places: &Semaphore,
    attempt: impl Fn() -> F,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let place = places.acquire().await.expect("never closed");
        let Err(error) = attempt().await else { return };
        drop(place);
        warn!(%error, "could not remove; it is tried again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whom an effect concerns; notices are the notifier's business.
fn worker_of(effect: &Effect) -> Option<WorkerId> {
    match effect {
        Effect::EnsureWorker(request) => Some(request.worker),
        Effect::RemoveWorker { worker, .. } => Some(*worker),
        Effect::Notify(_) => None,
    }
}

/// A machine without a root is tried again like one that could not be set up: seldom, as it takes a
/// person to change that.
fn rootless(why: &NoRoot) -> Seen {
    let reason = why.to_string();
    match why {
        NoRoot::Windows(_) => Seen::Refused { reason },
        NoRoot::Unregistered(_) | NoRoot::NotImported(_) | NoRoot::Missing(_) => {
            Seen::Failed { reason }
        }
        NoRoot::Registry(_) => Seen::NoRoom { reason },
    }
}

fn refusal(error: &ProviderError) -> Seen {
    let reason = error.to_string();
    match error.retry() {
        Retry::Later => Seen::NoRoom { reason },
        Retry::Never => Seen::Refused { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Else as many machines whose process does not end as there are places would be the end of all
    /// making and removing.
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_done_takes_no_place_while_it_pauses() {
        let (places, attempts) = (Semaphore::new(1), Cell::new(0));
        let undying = until_done(&places, || async {
            attempts.set(attempts.get() + 1);
            assert!(attempts.get() < 1_000, "the other one does not come to its turn");
            Err("it does not end")
        });
        let other = async {
            tokio::time::sleep(PAUSE_MAX * 3 + PAUSE_FIRST / 2).await;
            let begun = tokio::time::Instant::now();
            until_done(&places, || async { Ok::<_, &str>(()) }).await;
            assert_eq!(begun.elapsed(), Duration::ZERO, "it waits for nobody's pause");
        };
        tokio::select! {
            () = undying => panic!("it cannot be done"),
            () = other => {}
        }
        assert!(attempts.get() > 5, "it is tried again and again");
    }
}
