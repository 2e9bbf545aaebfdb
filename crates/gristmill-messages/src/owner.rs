//! The owner of the database: one thread that takes all orders that wait, carries them out in one
//! transaction, commits, and answers.
//!
//! Receivers that found nothing wait here. After the orders of a turn the owner looks at the
//! queues that got something and serves whoever waits there, first come first served, in the same
//! transaction; when the time of the longest waiting one is up, or a hidden message becomes
//! visible, it turns without orders. A receiver that went away is passed over.

use crate::{
    desk::Desk,
    error::MessagesError,
    handle::{Clock, Render},
    letters, limits,
    nouns::{Letter, Name, within},
    queues, topics,
};
use gristmill_faults::{self as faults, Point};
use gristmill_model::{AccountId, Seconds, Timestamp, shares};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, warn};

/// Something to be done.
pub(crate) enum Order {
    /// To be carried out now.
    Work(Work),
    /// To be carried out as soon as there is a message.
    Receive(Receiver),
    /// Everybody who waits is answered: the service is shutting down.
    Dismiss,
    /// Time may have passed.
    Nudge,
}

/// Work at the desk, or the reason why there is none. It answers when the outcome is durable.
pub(crate) type Work = Box<dyn FnOnce(Result<&Desk<'_>, MessagesError>) -> Reply + Send>;
pub(crate) type Reply = Box<dyn FnOnce(Result<(), MessagesError>) + Send>;

/// Somebody who wants messages.
pub(crate) struct Receiver {
    pub(crate) account: AccountId,
    pub(crate) queue: Name,
    pub(crate) letters_max: u32,
    /// Seconds; `None`: as the queue says.
    pub(crate) wait: Option<u32>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Letter>, MessagesError>>,
}

/// Somebody who waits at a queue.
struct Waiter {
    account: AccountId,
    queue_name: Name,
    letters_max: u32,
    until: Timestamp,
    reply: oneshot::Sender<Result<Vec<Letter>, MessagesError>>,
}

pub(crate) struct Owner {
    pub(crate) connection: Connection,
    pub(crate) clock: Clock,
    pub(crate) render: Render,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) pushes: Arc<Notify>,
    waiters: Waiters,
}

impl Owner {
    pub(crate) fn new(
        connection: Connection,
        clock: Clock,
        render: Render,
        orders: mpsc::Receiver<Order>,
        pushes: Arc<Notify>,
    ) -> Self {
        Self { connection, clock, render, orders, pushes, waiters: Waiters::default() }
    }

    /// Turns until every handle is gone.
    pub(crate) fn run(mut self) {
        let timer = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let timer = timer.expect("the process can make a timer at its beginning");
        let mut due = None;
        loop {
            let Some(mut orders) = timer.block_on(self.next(due)) else { break };
            while orders.len() < limits::TURN_MAX
                && let Ok(order) = self.orders.try_recv()
            {
                orders.push(order);
            }
            due = self.turn(orders);
        }
    }

    /// The first order, or none when something is due before. `None`: nobody is left.
    async fn next(&mut self, due: Option<Timestamp>) -> Option<Vec<Order>> {
        let Some(due) = due else { return self.orders.recv().await.map(|order| vec![order]) };
        let pause = due.0.saturating_sub((self.clock)().0).max(0).cast_unsigned();
        match tokio::time::timeout(Duration::from_micros(pause), self.orders.recv()).await {
            Ok(order) => order.map(|order| vec![order]),
            Err(_) => Some(Vec::new()),
        }
    }

    /// One turn. Answers when the next one is due.
    fn turn(&mut self, orders: Vec<Order>) -> Option<Timestamp> {
        let now = (self.clock)();
        let mut replies: Vec<Reply> = Vec::new();
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = match begun {
            Ok(transaction) => transaction,
            Err(failure) => {
                warn!(error = %failure, "the messages cannot be written now");
                refuse(orders, &failure.into());
                self.waiters.send_home(now);
                return self.waiters.next_deadline();
            }
        };
        let desk = Desk::new(&transaction, now, &self.render);
        if let Err(failure) = keep_house(&desk) {
            warn!(error = %failure, "old messages stay for now");
        }
        for order in orders {
            match order {
                Order::Work(work) => replies.push(work(Ok(&desk))),
                Order::Receive(receiver) => {
                    replies.extend(self.waiters.take_in(&desk, receiver));
                }
                Order::Dismiss => self.waiters.dismiss(),
                Order::Nudge => {}
            }
        }
        replies.extend(self.waiters.serve(&desk));
        self.waiters.send_home(now);
        let surface = if self.waiters.is_empty() { None } else { surface_after(&desk) };
        let pushes = desk.pushes.get();
        let allowed = faults::at(Point::MessagesCommit).or_fail();
        let committed = allowed
            .map_err(|_| MessagesError::DiskFull)
            .and_then(|()| transaction.commit().map_err(MessagesError::from));
        if let Err(failure) = &committed {
            error!(error = %failure, "a turn of the messages could not be committed");
        }
        for reply in replies {
            reply(committed.clone());
        }
        if pushes && committed.is_ok() {
            self.pushes.notify_one();
        }
        [self.waiters.next_deadline(), surface].into_iter().flatten().min()
    }
}

fn keep_house(desk: &Desk<'_>) -> Result<(), MessagesError> {
    desk.whole(|desk| {
        letters::surface(desk)?;
        letters::expire(desk)?;
        topics::forget_marks(desk)
    })
}

fn surface_after(desk: &Desk<'_>) -> Option<Timestamp> {
    letters::next_surface(desk).unwrap_or_default()
}

fn refuse(orders: Vec<Order>, failure: &MessagesError) {
    for order in orders {
        match order {
            Order::Work(work) => work(Err(failure.clone()))(Ok(())),
            Order::Receive(receiver) => {
                let _ = receiver.reply.send(Err(failure.clone()));
            }
            Order::Dismiss | Order::Nudge => {}
        }
    }
}

/// Who waits, by queue, longest waiting first.
#[derive(Default)]
struct Waiters {
    by_queue: BTreeMap<i64, VecDeque<Waiter>>,
    count: usize,
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.by_queue.values().flatten().map(|waiter| waiter.until).min()
    }

    /// Whether one more may wait.
    fn has_place_for(&self, account: AccountId) -> bool {
        let all = self.by_queue.values().flatten();
        let own = || all.filter(|waiter| waiter.account == account).count();
        shares::has_place(limits::WAITERS_MAX, self.count, own)
    }

    /// Serves a receiver at once, or lets it wait. Nobody is served before those who wait already.
    fn take_in(&mut self, desk: &Desk<'_>, receiver: Receiver) -> Option<Reply> {
        let Receiver { account, queue, letters_max, wait, reply } = receiver;
        let first = || {
            within("numOfMessages", letters_max, &limits::BATCH)?;
            let row = queues::get(desk, account, &queue)?;
            let wait = match wait {
                Some(wait) => within("waitseconds", wait, &limits::WAIT)?,
                None => row.attributes.polling_wait.0,
            };
            let alone = !self.by_queue.contains_key(&row.id);
            let letters = if alone { letters::receive(desk, row.id, letters_max)? } else { vec![] };
            Ok((row.id, wait, letters))
        };
        let (id, wait, letters) = match first() {
            Ok(found) => found,
            Err(failure) => return Some(answer(reply, Err(failure))),
        };
        if !letters.is_empty() {
            return Some(answer(reply, Ok(letters)));
        }
        if wait == 0 || !self.has_place_for(account) {
            return Some(answer(reply, Err(MessagesError::NoMessage)));
        }
        let until = desk.now.after(Seconds(wait));
        let waiter = Waiter { account, queue_name: queue, letters_max, until, reply };
        self.by_queue.entry(id).or_default().push_back(waiter);
        self.count += 1;
        desk.note(id);
        None
    }

    /// Serves those who wait at queues that changed.
    fn serve(&mut self, desk: &Desk<'_>) -> Vec<Reply> {
        let mut replies = Vec::new();
        for queue in desk.news.take() {
            let Some(mut line) = self.by_queue.remove(&queue) else { continue };
            self.count -= line.len();
            while let Some(waiter) = line.pop_front() {
                if waiter.reply.is_closed() {
                    continue;
                }
                match receive(desk, queue, &waiter) {
                    Ok(letters) if letters.is_empty() => {
                        line.push_front(waiter);
                        break;
                    }
                    outcome => replies.push(answer(waiter.reply, outcome)),
                }
            }
            self.count += line.len();
            if !line.is_empty() {
                self.by_queue.insert(queue, line);
            }
        }
        replies
    }

    /// Answers those whose time is up, and forgets those who went away.
    fn send_home(&mut self, now: Timestamp) {
        if self.next_deadline().is_none_or(|first| first > now) {
            return;
        }
        for line in self.by_queue.values_mut() {
            for waiter in std::mem::take(line) {
                if waiter.until <= now {
                    let _ = waiter.reply.send(Err(MessagesError::NoMessage));
                } else if !waiter.reply.is_closed() {
                    line.push_back(waiter);
                }
            }
        }
        self.by_queue.retain(|_, line| !line.is_empty());
        self.count = self.by_queue.values().map(VecDeque::len).sum();
    }

    fn dismiss(&mut self) {
        for waiter in std::mem::take(&mut self.by_queue).into_values().flatten() {
            let _ = waiter.reply.send(Err(MessagesError::NoMessage));
        }
        self.count = 0;
    }
}

fn receive(desk: &Desk<'_>, queue: i64, waiter: &Waiter) -> Result<Vec<Letter>, MessagesError> {
    if !queues::exists(desk, queue)? {
        return Err(MessagesError::NoQueue { name: waiter.queue_name.to_string() });
    }
    desk.whole(|desk| letters::receive(desk, queue, waiter.letters_max))
}

fn answer(
    reply: oneshot::Sender<Result<Vec<Letter>, MessagesError>>,
    outcome: Result<Vec<Letter>, MessagesError>,
) -> Reply {
    Box::new(move |committed| {
        // One who went away meanwhile gets the message again when its time is up.
        let _ = reply.send(committed.and(outcome));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nouns::NameKind;

    /// Else the owner would go round without a pause as long as the database is held.
    #[test]
    fn who_waits_is_sent_home_also_while_nothing_can_be_written() {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch("BEGIN").expect("somebody holds it");
        let now = Timestamp(10_000_000);
        let (_orders, inbox) = mpsc::channel(1);
        let render: Render = Arc::new(|_, _| String::new());
        let mut owner =
            Owner::new(connection, Arc::new(move || now), render, inbox, Arc::default());
        let queue_name = Name::parse(NameKind::Queue, "q").expect("legal");
        let (reply, mut answer) = oneshot::channel();
        let account = AccountId(1);
        let waiter = Waiter { account, queue_name, letters_max: 1, until: Timestamp(1), reply };
        owner.waiters.by_queue.entry(1).or_default().push_back(waiter);
        owner.waiters.count = 1;
        assert_eq!(owner.turn(Vec::new()), None, "nothing is due any more");
        assert_eq!(answer.try_recv().expect("answered"), Err(MessagesError::NoMessage));
    }

    #[test]
    fn one_account_alone_does_not_keep_all_others_from_waiting() {
        let queue_name = Name::parse(NameKind::Queue, "q").expect("legal");
        let mut waiters = Waiters::default();
        let mut wait = |account, count: usize| {
            let free = (0..count).take_while(|_| {
                let (reply, queue_name) = (oneshot::channel().0, queue_name.clone());
                let waiter =
                    Waiter { account, queue_name, letters_max: 1, until: Timestamp(1), reply };
                let has_place = waiters.has_place_for(account);
                if has_place {
                    waiters.by_queue.entry(1).or_default().push_back(waiter);
                    waiters.count += 1;
                }
                has_place
            });
            free.count()
        };
        let kept = limits::WAITERS_MAX / 16;
        assert_eq!(wait(AccountId(1), usize::MAX), limits::WAITERS_MAX - kept);
        assert_eq!(wait(AccountId(2), 10), 10);
        assert_eq!(wait(AccountId(1), 1), 0);
        assert_eq!(wait(AccountId(3), usize::MAX), kept - 10, "then there are no more");
    }
}
