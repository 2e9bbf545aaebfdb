//! One round of a lane: a page of its oldest notices to where they belong.
//!
//! To the embedded service a run of notices is published in one transaction, with marks that
//! make a repetition harmless. To others each message is one signed request, in order; what was
//! taken is struck from the books while the next one is on its way, and all of it before the round
//! ends. So after a crash at most the messages whose strike was under way are sent again.

use super::{
    config::NotificationConfig,
    outside::{Outside, OutsideError},
    own::OwnEndpoints,
    striker::Striker,
};
use crate::mill::Clock;
use gristmill_faults::{self as faults, Point};
use gristmill_messages::{Messages, Name, NameKind, Publication, Source, SourcePart};
use gristmill_model::{AccountId, Notice, Timestamp};
use gristmill_store::{NoticeProgress, Readers, WaitingNotice};
use gristmill_wire::{
    mns::{self, sign},
    time::http_date,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tracing::warn;

/// Notices read from the books at a time.
const NOTICES_PAGE: usize = 100;
/// How long an endpoint is left alone that is away, at first and at most.
const AWAY_FIRST: Duration = Duration::from_millis(500);
const AWAY_MAX: Duration = Duration::from_secs(30);
/// Endpoints of which it is remembered that they are away.
const AWAY_ENDPOINTS_MAX: usize = 4_096;

/// How a round went.
pub struct Round {
    /// Messages that were taken.
    pub delivered: usize,
    /// Whether there is more.
    pub more: bool,
    /// Why it ended early.
    pub failure: Option<String>,
}

/// Delivers rounds. Cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    readers: Readers,
    striker: Striker,
    messages: Messages,
    outside: Outside,
    own: OwnEndpoints,
    config: NotificationConfig,
    clock: Clock,
    away: Mutex<BTreeMap<String, (u32, Instant)>>,
    rolls: AtomicU64,
}

impl Delivery {
    /// Delivers from these books to these places.
    pub fn new(
        readers: Readers,
        striker: Striker,
        messages: Messages,
        outside: Outside,
        own: OwnEndpoints,
        config: NotificationConfig,
        clock: Clock,
    ) -> Self {
        let (away, rolls) = (Mutex::default(), AtomicU64::new(0));
        let inner = Inner { readers, striker, messages, outside, own, config, clock, away, rolls };
        Self(Arc::new(inner))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// Anything from 0 to 1, to keep retries apart.
    pub fn chance(&self) -> f64 {
        let roll = self.0.rolls.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (roll ^ self.now().0.cast_unsigned()).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Subjects with notices after `after`. None when the books cannot be read: the mill's news
    /// brings them in time.
    pub async fn subjects(&self, after: String, subjects_max: usize) -> Vec<String> {
        let readers = self.0.readers.clone();
        let read = move || readers.noticed_subjects(&after, subjects_max);
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(subjects)) => subjects,
            Ok(Err(error)) => {
                warn!(%error, "could not read which notices are left over");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Delivers the oldest notices of a subject.
    pub async fn round(&self, subject: &str) -> Round {
        let failed = |failure: String| Round { delivered: 0, more: true, failure: Some(failure) };
        let page = match self.page(subject).await {
            Ok(page) => page,
            Err(reason) => return failed(reason),
        };
        let more = page.len() >= NOTICES_PAGE;
        let (old, fresh): (Vec<_>, Vec<_>) =
            page.into_iter().partition(|waiting| self.is_too_old(&waiting.notice));
        if !old.is_empty() {
            self.drop_notices(subject, &old, "they are older than `notifications.age_max`").await;
        }
        if fresh.is_empty() {
            return Round { delivered: 0, more, failure: None };
        }
        let turn = faults::at(Point::NoticeDeliver);
        if let Err(fault) = turn.or_fail() {
            return failed(fault.to_string());
        }
        for _ in 1..turn.times() {
            self.deliver(subject, &fresh).await;
        }
        let (delivered, failure) = self.deliver(subject, &fresh).await;
        if failure.is_some() && delivered == 0 {
            self.drop_surplus(subject).await;
        }
        let outcome = if failure.is_some() { "failed" } else { "delivered" };
        metrics::counter!("gristmill_notice_rounds_total", "outcome" => outcome).increment(1);
        metrics::counter!("gristmill_notice_messages_total", "outcome" => "delivered")
            .increment(delivered as u64);
        Round { delivered, more: more || failure.is_some(), failure }
    }

    async fn page(&self, subject: &str) -> Result<Vec<WaitingNotice>, String> {
        let (readers, subject) = (self.0.readers.clone(), subject.to_owned());
        let read = move || readers.notices(&subject, NOTICES_PAGE);
        let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
        read.map_err(|error| error.to_string())
    }

    fn is_too_old(&self, notice: &Notice) -> bool {
        notice.at.after(self.0.config.age_max) < self.now()
    }

    async fn drop_notices(&self, subject: &str, dropped: &[WaitingNotice], why: &str) {
        let count: u32 = dropped.iter().map(|waiting| waiting.notice.messages()).sum();
        warn!(subject, messages = count, why, "notices are dropped");
        metrics::counter!("gristmill_notice_messages_total", "outcome" => "dropped")
            .increment(count.into());
        for waiting in dropped {
            self.0.striker.strike(NoticeProgress::Done(waiting.id)).await;
        }
        self.0.striker.settle().await;
    }

    /// Drops the oldest notices of a subject that has too many: all that are too many, as more may come
    /// until the next attempt than one page holds.
    async fn drop_surplus(&self, subject: &str) {
        let (readers, name) = (self.0.readers.clone(), subject.to_owned());
        let counted = tokio::task::spawn_blocking(move || readers.notices_waiting(&name)).await;
        let Ok(Ok(waiting)) = counted else { return };
        let surplus = waiting.saturating_sub(self.0.config.waiting_max);
        let mut surplus = usize::try_from(surplus).unwrap_or(usize::MAX);
        while surplus > 0
            && let Ok(mut page) = self.page(subject).await
            && !page.is_empty()
        {
            page.truncate(surplus);
            surplus -= page.len();
            self.drop_notices(subject, &page, "there are more than `notifications.waiting_max`")
                .await;
        }
    }

    /// Delivers notices in their order until one fails.
    async fn deliver(&self, subject: &str, notices: &[WaitingNotice]) -> (usize, Option<String>) {
        let mut delivered = 0;
        let same_place = |a: &WaitingNotice, b: &WaitingNotice| {
            (&a.notice.endpoint, &a.notice.topic) == (&b.notice.endpoint, &b.notice.topic)
        };
        for run in notices.chunk_by(same_place) {
            let notice = &run[0].notice;
            let (count, outcome) = match self.0.own.account(&notice.endpoint, notice.account) {
                Some(Ok(account)) => self.publish(subject, account, run).await,
                Some(Err(reason)) => (0, Err(reason)),
                None => self.post_all(run).await,
            };
            delivered += count;
            if let Err(reason) = outcome {
                return (delivered, Some(reason));
            }
        }
        (delivered, None)
    }

    /// To the embedded service: all in one transaction.
    async fn publish(
        &self,
        subject: &str,
        account: AccountId,
        run: &[WaitingNotice],
    ) -> (usize, Result<(), String>) {
        let (mut publications, mut parts) = (Vec::new(), Vec::new());
        for waiting in run {
            for part in waiting.delivered..waiting.notice.messages() {
                publications.push(Publication::of(mns::notice::message(&waiting.notice, part)));
                let (notice, decided) = (waiting.id.0, waiting.notice.at);
                parts.push(SourcePart { notice, part, decided });
            }
        }
        let topic = match Name::parse(NameKind::Topic, &run[0].notice.topic) {
            Ok(topic) => topic,
            Err(_) => return (0, Err(format!("`{}` is no topic's name", run[0].notice.topic))),
        };
        let (count, source) = (parts.len(), Source { subject: subject.to_owned(), parts });
        match self.0.messages.publish_once(account, topic, publications, source).await {
            Ok(_) => {
                for _ in 0..faults::at(Point::NoticeDelivered).times() {
                    for waiting in run {
                        self.0.striker.strike(NoticeProgress::Done(waiting.id)).await;
                    }
                }
                self.0.striker.settle().await;
                (count, Ok(()))
            }
            Err(error) => (0, Err(error.to_string())),
        }
    }

    /// To another service: one request for each message.
    async fn post_all(&self, run: &[WaitingNotice]) -> (usize, Result<(), String>) {
        let mut count = 0;
        let mut outcome = Ok(());
        'all: for waiting in run {
            let messages = waiting.notice.messages();
            for part in waiting.delivered..messages {
                if let Err(reason) = self.post(&waiting.notice, part).await {
                    outcome = Err(reason);
                    break 'all;
                }
                count += 1;
                let (id, delivered) = (waiting.id, part + 1);
                let progress = match delivered == messages {
                    true => NoticeProgress::Done(id),
                    false => NoticeProgress::Partly { id, delivered },
                };
                self.0.striker.strike(progress).await;
            }
        }
        self.0.striker.settle().await;
        (count, outcome)
    }

    async fn post(&self, notice: &Notice, part: u32) -> Result<(), String> {
        let config = &self.0.config;
        let endpoint = notice.endpoint.trim_end_matches('/');
        if config.access_key_id.is_empty() {
            return Err(format!(
                "`{endpoint}` is another service, and there is no key for it \
                 (`notifications.access_key_id`)"
            ));
        }
        self.is_there(endpoint)?;
        let body = mns::answer::publish(&mns::notice::message(notice, part));
        let target = format!("/topics/{}/messages", notice.topic);
        let headers = [
            ("content-md5", mns::content_md5(body.as_bytes())),
            ("content-type", "text/xml;charset=UTF-8".to_owned()),
            ("date", http_date(self.now())),
            ("x-mns-version", mns::VERSION.to_owned()),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut request =
            sign::Request { method: "POST".to_owned(), target: target.clone(), headers };
        let secret = &config.access_key_secret.0;
        let authorization = sign::authorization(&config.access_key_id, secret, &request);
        request.headers.insert("authorization".to_owned(), authorization);
        let url = format!("{endpoint}{target}");
        let sent = self.0.outside.post(&url, &request.headers, body, config.timeout.into()).await;
        self.remember(endpoint, &sent);
        sent.map_err(|error| error.to_string())
    }

    /// An endpoint that is away is not called for each of a thousand jobs.
    fn is_there(&self, endpoint: &str) -> Result<(), String> {
        match self.away().get(endpoint) {
            Some((_, until)) if *until > Instant::now() => {
                Err(format!("`{endpoint}` is away and is left alone for a moment"))
            }
            _ => Ok(()),
        }
    }

    fn remember(&self, endpoint: &str, sent: &Result<(), OutsideError>) {
        let mut away = self.away();
        match sent {
            Err(error) if error.is_away() => {
                if away.len() >= AWAY_ENDPOINTS_MAX {
                    away.clear();
                }
                let (failures, until) =
                    away.entry(endpoint.to_owned()).or_insert((0, Instant::now()));
                *failures += 1;
                let pause = AWAY_FIRST.saturating_mul(1 << (*failures - 1).min(10)).min(AWAY_MAX);
                *until = Instant::now() + pause;
            }
            _ => {
                away.remove(endpoint);
            }
        }
    }

    fn away(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (u32, Instant)>> {
        self.0.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::HistoryConfig,
        messaging::{config::OutboundConfig, reach::Reach, rendered},
        mill::Mill,
        recovery::recover,
    };
    use gristmill_core::{IdMint, Options};
    use gristmill_model::{
        Effect, JobId, JobState,
        notice::{Facts, Subject},
    };
    use gristmill_store::Batch;
    use std::{net::SocketAddr, path::Path};
    use tokio::sync::mpsc;

    const SUBJECT: Subject = Subject::Job(JobId(1));

    fn notice() -> Notice {
        let task = "only".parse().expect("a legal name");
        let facts = Facts::Task { task, state: JobState::Failed, started: None, ended: None };
        let topic = "no-such-topic".to_owned();
        let (account, endpoint, at) = (AccountId(1), String::new(), Timestamp(1));
        Notice { account, about: SUBJECT, topic, endpoint, at, facts }
    }

    /// Delivers what waits in the books: so many notices for a topic that does not exist.
    fn delivery(dir: &Path, waiting: usize, waiting_max: u64) -> (Delivery, Readers) {
        let mut recovered = recover(dir, Options::default()).expect("opens");
        let effects: Vec<_> = (0..waiting).map(|_| Effect::Notify(Box::new(notice()))).collect();
        let batch = Batch { events: &[], effects: &effects, archived: &[], at: Timestamp(1) };
        recovered.store.commit(&batch).expect("written");
        let readers = recovered.store.readers();
        let clock: Clock = Arc::new(|| Timestamp(1));
        let (ids, history) = (IdMint::new([7; 32]), HistoryConfig::default());
        let (hands, news) = (mpsc::unbounded_channel().0, mpsc::unbounded_channel().0);
        let mill = Mill::start((recovered, history), ids, clock.clone(), hands, news);
        let messages = dir.join("messages.db");
        let messages = Messages::open(&messages, clock.clone(), Arc::new(rendered)).expect("opens");
        let reach = Reach::of(&OutboundConfig::default()).expect("legal");
        let listen = SocketAddr::from(([127, 0, 0, 1], 1));
        let delivery = Delivery::new(
            readers.clone(),
            Striker::start(mill),
            messages,
            Outside::new(reach),
            OwnEndpoints::new("cn-local", listen, &[]),
            NotificationConfig { waiting_max, ..NotificationConfig::default() },
            clock,
        );
        (delivery, readers)
    }

    /// Between two attempts there may come more than a page: what waits would grow for ever.
    #[tokio::test(flavor = "multi_thread")]
    async fn of_what_cannot_be_delivered_no_more_waits_than_may() {
        let dir = tempfile::tempdir().expect("a directory");
        let waiting_max = 50;
        let (delivery, readers) = delivery(dir.path(), 3 * NOTICES_PAGE, waiting_max);
        let round = delivery.round(&SUBJECT.to_string()).await;
        assert_eq!(round.delivered, 0);
        assert!(round.failure.is_some_and(|why| why.contains("no-such-topic")));
        let left = readers.notices(&SUBJECT.to_string(), 1_000).expect("read");
        assert_eq!(left.len() as u64, waiting_max);
        assert_eq!(left.last().map(|it| it.id.0), Some(300), "the oldest go");
    }
}
