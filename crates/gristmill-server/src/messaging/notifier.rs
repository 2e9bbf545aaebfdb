//! The notifier: takes notices from the books to the topics they are for.
//!
//! Each job or cluster with notices is a *lane*. A lane is worked on by one task at a time, oldest
//! notice first, so the order of a job is kept; lanes know nothing of each other, so one whose
//! topic does not exist holds nobody up. A lane that failed pauses, longer each time, and is
//! looked at again; what is too old or too much is dropped and said so. Lanes of different accounts have
//! their turns, and one account never has all places.
//!
//! The mill says which subjects have news; at a start the books say which are left over.
//!
//! Start at [`Notifier::work`]; one round of a lane is [`Delivery::round`].

use super::{
    board::{Board, Stuck},
    delivery::{Delivery, Round},
    lines::{Lines, Whose},
};
use crate::{front::stopped, mill::News, vital::vital};
use gristmill_model::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{info, warn};

/// Lanes that are worked on at the same time.
const AT_ONCE_MAX: usize = 64;
/// Of these so many of one account: an endpoint that does not answer takes its time.
const OF_ACCOUNT_MAX: usize = 32;
/// The first pause after a failure; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Subjects read from the books at a time at a start.
const SUBJECTS_PAGE: usize = 1_000;

/// Takes notices to their topics.
pub struct Notifier {
    delivery: Delivery,
    board: Board,
    pause_max: Duration,
    lanes: BTreeMap<String, Lane>,
    /// Lanes to be worked on, in turn.
    ready: Lines<String>,
    /// Lanes that pause, by the end of the pause.
    pauses: BTreeSet<(Instant, String)>,
}

/// A subject with notices.
#[derive(Default)]
struct Lane {
    /// Of an earlier process's nobody knows the account before there is news.
    whose: Whose,
    /// Whether a task works on it, it is in the line, or it pauses.
    busy: bool,
    /// Whether something came while it was busy.
    news: bool,
    failures: u32,
    since: Timestamp,
}

impl Notifier {
    /// A notifier that delivers so.
    pub fn new(delivery: Delivery, board: Board, pause_max: Duration) -> Self {
        Self {
            delivery,
            board,
            pause_max,
            lanes: BTreeMap::new(),
            ready: Lines::new(AT_ONCE_MAX, OF_ACCOUNT_MAX),
            pauses: BTreeSet::new(),
        }
    }

    /// Delivers until the region stops.
    pub async fn work(
        mut self,
        mut news: mpsc::UnboundedReceiver<News>,
        mut stop: watch::Receiver<bool>,
    ) {
        self.take_over().await;
        let (done, mut rounds) = mpsc::unbounded_channel();
        loop {
            self.start(&done);
            let pause = self.pauses.first().map(|(end, _)| *end);
            let wake = pause.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                subjects = news.recv() => match subjects {
                    Some(news) => news.iter().for_each(|(account, subject)| {
                        self.hear(Some(*account), subject.to_string());
                    }),
                    None => return,
                },
                Some((whose, subject, round)) = rounds.recv() => {
                    self.ready.done(whose);
                    self.note(subject, round);
                }
                () = tokio::time::sleep_until(wake) => self.resume(),
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// What an earlier process left over.
    async fn take_over(&mut self) {
        let mut after = String::new();
        loop {
            let page = self.delivery.subjects(after.clone(), SUBJECTS_PAGE).await;
            let Some(last) = page.last() else { break };
            after.clone_from(last);
            page.into_iter().for_each(|subject| self.hear(None, subject));
        }
        if !self.lanes.is_empty() {
            info!(subjects = self.lanes.len(), "notices are left over and are delivered now");
        }
    }

    fn hear(&mut self, whose: Whose, subject: String) {
        let lane = self.lanes.entry(subject.clone()).or_default();
        lane.whose = lane.whose.or(whose);
        match lane.busy {
            true => lane.news = true,
            false => {
                lane.busy = true;
                self.ready.push(lane.whose, subject);
            }
        }
    }

    fn start(&mut self, done: &mpsc::UnboundedSender<(Whose, String, Round)>) {
        while let Some((whose, subject)) = self.ready.next() {
            let (delivery, done) = (self.delivery.clone(), done.clone());
            tokio::spawn(vital("notifier", async move {
                let round = delivery.round(&subject).await;
                let _ = done.send((whose, subject, round));
            }));
        }
        let counts = [("waiting", self.lanes.len()), ("stuck", self.pauses.len())];
        for (state, count) in counts {
            metrics::gauge!("gristmill_notice_subjects", "state" => state).set(count as f64);
        }
    }

    fn note(&mut self, subject: String, round: Round) {
        let lane = self.lanes.get_mut(&subject).expect("a lane that is worked on is known");
        if round.delivered > 0 || round.failure.is_none() {
            if lane.failures > 0 {
                self.board.strike(&subject);
                if lane.failures >= LOUD {
                    info!(subject, failures = lane.failures, "notices are delivered again");
                }
            }
            lane.failures = 0;
        }
        match round.failure {
            Some(failure) => self.pause(subject, failure),
            None if round.more || lane.news => {
                lane.news = false;
                self.ready.push(lane.whose, subject);
            }
            None => {
                self.lanes.remove(&subject);
            }
        }
    }

    fn pause(&mut self, subject: String, reason: String) {
        let now = self.delivery.now();
        let lane = self.lanes.get_mut(&subject).expect("a lane that is worked on is known");
        if lane.failures == 0 {
            lane.since = now;
        }
        lane.failures += 1;
        let doubled = PAUSE_FIRST.saturating_mul(1 << (lane.failures - 1).min(20));
        let pause = doubled.min(self.pause_max).mul_f64(0.5 + 0.5 * self.delivery.chance());
        if lane.failures.is_power_of_two() && lane.failures >= LOUD {
            warn!(subject, failures = lane.failures, reason, "notices cannot be delivered");
        }
        let again_at = Timestamp(now.0 + i64::try_from(pause.as_micros()).unwrap_or(i64::MAX / 2));
        let (failures, since) = (lane.failures, lane.since);
        self.board.pin(Stuck { subject: subject.clone(), failures, since, again_at, reason });
        self.pauses.insert((Instant::now() + pause, subject));
    }

    fn resume(&mut self) {
        let now = Instant::now();
        while self.pauses.first().is_some_and(|(end, _)| *end <= now) {
            let (_, subject) = self.pauses.pop_first().expect("just seen");
            let whose = self.lanes.get(&subject).and_then(|lane| lane.whose);
            self.ready.push(whose, subject);
        }
    }
}

/// Failures in a row of which the log speaks; fewer are ordinary.
const LOUD: u32 = 4;
