//! Carries published messages to subscriptions: a signed POST to a URL, or into a queue that was
//! not there when the message was published.
//!
//! Pushes that are due are taken by subscription, a few of each, so that one that does not answer
//! holds nobody else up; while a subscription has failed it is left alone for a moment. A push
//! that failed is tried again as its subscription says, then it is dropped. In order of any kind
//! they are not.

use super::{form, outside::Outside, seal::Seal, told};
use crate::{front::stopped, mill::Clock, vital::vital};
use gristmill_messages::{Endpoint, Messages, MessagesError, Push, Room};
use gristmill_model::{AccountId, Timestamp};
use gristmill_wire::mns::{push, sign};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{debug, warn};

/// Pushes that are under way at the same time.
const AT_ONCE_MAX: usize = 64;
/// Of these so many of one account: subscribers that do not answer are its own trouble.
const OF_ACCOUNT_MAX: usize = 32;
/// Pushes of one subscription that are taken together.
const EACH_MAX: usize = 8;
/// How long a subscription is left alone after a failure.
const REST: Duration = Duration::from_millis(500);
/// The longest sleep without looking.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The pause after the messages could not be read.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);

/// A push that is not under way any more.
struct Ended {
    subscription: i64,
    account: AccountId,
    was_taken: bool,
}

/// What is under way; it never is more than [`AT_ONCE_MAX`], nor of one account more than its part.
#[derive(Default)]
struct Load {
    /// How many pushes of a subscription.
    under_way: BTreeMap<i64, usize>,
    /// How many pushes of an account.
    of_account: BTreeMap<AccountId, usize>,
    /// Until when a subscription rests.
    resting: BTreeMap<i64, Instant>,
    /// The subscription behind which the next look begins.
    last: i64,
}

impl Load {
    fn room(&self) -> Room {
        let at_once: usize = self.of_account.values().sum();
        Room {
            busy: self.under_way.keys().chain(self.resting.keys()).copied().collect(),
            under_way: self.of_account.clone(),
            account_max: OF_ACCOUNT_MAX,
            each_max: EACH_MAX,
            all_max: AT_ONCE_MAX.saturating_sub(at_once),
            after: self.last,
        }
    }

    /// How long until a subscription has rested.
    fn rest(&self) -> Duration {
        let first = self.resting.values().min();
        first.map_or(LOOK_EVERY, |end| end.saturating_duration_since(Instant::now()))
    }

    fn begin(&mut self, push: &Push) {
        *self.under_way.entry(push.subscription).or_default() += 1;
        *self.of_account.entry(push.notification.owner).or_default() += 1;
    }

    fn end(&mut self, Ended { subscription, account, was_taken }: Ended) {
        one_less(&mut self.under_way, &subscription);
        one_less(&mut self.of_account, &account);
        if !was_taken {
            self.resting.insert(subscription, Instant::now() + REST);
        }
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

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
        let pusher = Arc::new(self);
        let (done, mut ended) = mpsc::unbounded_channel::<Ended>();
        let mut load = Load::default();
        loop {
            load.resting.retain(|_, end| *end > Instant::now());
            let mut sleep = load.rest();
            let room = load.room();
            // Without room it is the end of a push that goes on.
            if room.all_max > 0 {
                match pusher.messages.due_pushes(room).await {
                    Ok(due) => {
                        load.last = due.last;
                        for push in due.pushes {
                            load.begin(&push);
                            tokio::spawn(vital("pusher", pusher.clone().carry(push, done.clone())));
                        }
                        sleep = sleep.min(due.next.map_or(LOOK_EVERY, |next| pusher.until(next)));
                    }
                    Err(MessagesError::Closed) => return,
                    Err(error) => {
                        warn!(%error, "could not read which messages are to be pushed");
                        sleep = TROUBLE_PAUSE;
                    }
                }
            }
            tokio::select! {
                () = pusher.messages.new_pushes() => {}
                Some(one) = ended.recv() => {
                    load.end(one);
                    while let Ok(one) = ended.try_recv() {
                        load.end(one);
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

    /// Carries one push out and says so.
    async fn carry(self: Arc<Self>, push: Push, done: mpsc::UnboundedSender<Ended>) {
        let was_taken = self.try_once(&push).await;
        let (subscription, account) = (push.subscription, push.notification.owner);
        let _ = done.send(Ended { subscription, account, was_taken }); // the region may be stopping
    }

    /// Tries one push and notes how it went. Answers whether it was taken.
    async fn try_once(&self, push: &Push) -> bool {
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
