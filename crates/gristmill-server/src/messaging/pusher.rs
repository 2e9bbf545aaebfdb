//! Carries published messages to subscriptions: a signed POST to a URL, or into a queue that was
//! not there when the message was published.
//!
//! Pushes that are due are taken by subscription, a few of each, so that one that does not answer
//! holds nobody else up; while a subscription has failed it is left alone for a moment. A push
//! that failed is tried again as its subscription says, then it is dropped. In order of any kind
//! they are not.

use super::{form, outside::Outside, seal::Seal, told};
use crate::{front::stopped, mill::Clock, vital::vital};
use gristmill_messages::{Endpoint, Messages, MessagesError, Push};
use gristmill_model::Timestamp;
use gristmill_wire::mns::{push, sign};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};
use tracing::{debug, warn};

/// Pushes that are under way at the same time.
const AT_ONCE_MAX: usize = 64;
/// Pushes of one subscription that are taken together.
const EACH_MAX: u32 = 8;
/// How long a subscription is left alone after a failure.
const REST: Duration = Duration::from_millis(500);
/// The longest sleep without looking.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The pause after the messages could not be read.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);

/// Carries out pushes.
pub struct Pusher {
    /// Where they come from.
    pub messages: Messages,
    /// How URLs are called.
    pub outside: Outside,
    /// What signs.
    pub seal: Seal,
    /// The address of the certificate.
    pub certificate_url: String,
    /// How long a subscriber may take.
    pub timeout: Duration,
    /// What time it is.
    pub clock: Clock,
}

impl Pusher {
    /// Pushes until the region stops.
    pub async fn work(self, mut stop: watch::Receiver<bool>) {
        let (pusher, permits) = (Arc::new(self), Arc::new(Semaphore::new(AT_ONCE_MAX)));
        let (done, mut ended) = mpsc::unbounded_channel::<(i64, bool)>();
        // How many pushes of a subscription are under way, and until when it rests.
        let mut under_way: BTreeMap<i64, usize> = BTreeMap::new();
        let mut resting: BTreeMap<i64, Instant> = BTreeMap::new();
        loop {
            resting.retain(|_, end| *end > Instant::now());
            let busy: BTreeSet<i64> = under_way.keys().chain(resting.keys()).copied().collect();
            let mut sleep = resting
                .values()
                .min()
                .map_or(LOOK_EVERY, |end| end.saturating_duration_since(Instant::now()));
            match pusher.messages.due_pushes(busy, EACH_MAX).await {
                Ok((due, next)) => {
                    for push in due {
                        *under_way.entry(push.subscription).or_default() += 1;
                        let (pusher, permits) = (pusher.clone(), permits.clone());
                        let done = done.clone();
                        tokio::spawn(vital("pusher", async move {
                            let _permit = permits.acquire_owned().await.expect("never closed");
                            let good = pusher.carry(&push).await;
                            let _ = done.send((push.subscription, good));
                        }));
                    }
                    sleep = sleep.min(next.map_or(LOOK_EVERY, |next| pusher.until(next)));
                }
                Err(MessagesError::Closed) => return,
                Err(error) => {
                    warn!(%error, "could not read which messages are to be pushed");
                    sleep = TROUBLE_PAUSE;
                }
            }
            tokio::select! {
                () = pusher.messages.new_pushes() => {}
                Some((subscription, good)) = ended.recv() => {
                    if !good {
                        resting.insert(subscription, Instant::now() + REST);
                    }
                    if let Some(count) = under_way.get_mut(&subscription) {
                        *count -= 1;
                        if *count == 0 {
                            under_way.remove(&subscription);
                        }
                    }
                }
                () = tokio::time::sleep(sleep) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    fn until(&self, due: Timestamp) -> Duration {
        let left = due.0.saturating_sub((self.clock)().0).max(1_000);
        Duration::from_micros(left.cast_unsigned())
    }

    /// Carries one push out and notes how it went. Answers whether it was taken.
    async fn carry(&self, push: &Push) -> bool {
        let outcome = match &push.endpoint {
            Endpoint::Queue { name, .. } => {
                let delivered = self.messages.push_into_queue(push.clone(), name.clone()).await;
                delivered.map_err(|error| error.to_string())
            }
            Endpoint::Http(url) => match self.post(push, url).await {
                Ok(()) => self.messages.push_done(push.id).await.map_err(|error| error.to_string()),
                Err(reason) => Err(reason),
            },
        };
        let word = if outcome.is_ok() { "delivered" } else { "failed" };
        metrics::counter!("gristmill_pushes_total", "outcome" => word).increment(1);
        let Err(reason) = outcome else { return true };
        let told = &push.notification;
        let (topic, subscription) = (&told.topic, &told.subscription);
        let chance = push.id.0.wrapping_mul(0x9e37_79b1).rem_euclid(1_001).unsigned_abs() as u32;
        let noted = match push.strategy.pause(push.attempts + 1, chance) {
            Some(pause) => {
                debug!(topic, subscription, reason, "a push is tried again");
                self.messages.push_again(push.id, (self.clock)().after(pause)).await
            }
            None => {
                warn!(topic, subscription, reason, "a message is dropped for a subscription");
                metrics::counter!("gristmill_pushes_total", "outcome" => "dropped").increment(1);
                self.messages.push_done(push.id).await
            }
        };
        if let Err(error) = noted {
            warn!(topic, subscription, %error, "could not note how a push went; it is made again");
        }
        false
    }

    async fn post(&self, push: &Push, url: &str) -> Result<(), String> {
        let target = reqwest::Url::parse(url).map_err(|_| format!("`{url}` is not a URL"))?;
        let owner = push.notification.owner.to_string();
        let (form, told) = (form(push.format), told(&owner, &push.notification));
        let body = push::body(form, &told);
        let id = format!("{:016X}{:08X}", (self.clock)().0, push.id.0);
        let now = (self.clock)();
        let headers = push::headers(form, &told, &body, &self.certificate_url, &id, now);
        let path = match target.path() {
            "" | "/" => "/notifications",
            path => path,
        }
        .to_owned();
        let request_target = match target.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        };
        let mut request =
            sign::Request { method: "POST".to_owned(), target: request_target, headers };
        let text = sign::string_to_sign(&request);
        let seal = self.seal.clone();
        let signed = tokio::task::spawn_blocking(move || seal.sign(&text)).await;
        let signature = signed.map_err(|error| error.to_string())?;
        let signature = signature.map_err(|error| format!("cannot sign: {error}"))?;
        request.headers.insert("authorization".to_owned(), signature);
        let mut called = target;
        called.set_path(&path);
        let sent = self.outside.post(called.as_str(), &request.headers, body, self.timeout);
        sent.await.map_err(|error| error.to_string())
    }
}
