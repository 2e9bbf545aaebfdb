//! The handle on the message service: every order as an async function. Answers are durable.

use crate::{
    desk::Desk,
    error::MessagesError,
    letters, limits,
    nouns::{
        Created, Format, Letter, Listing, Name, NewLetter, Notification, Page, Posted, Publication,
        Published, Push, PushId, QueueInfo, QueueWish, Source, Strategy, SubscriptionInfo,
        SubscriptionWish, TopicInfo, TopicWish,
    },
    owner::{Order, Owner, Receiver, Reply},
    pushes::{self, Due, Room},
    queues,
    schema::{self, OpenError},
    subscriptions, topics,
};
use gristmill_model::{AccountId, Timestamp};
use rusqlite::OptionalExtension;
use std::{path::Path, sync::Arc, thread};
use tokio::sync::{Notify, futures::Notified, mpsc, oneshot};

/// Reads the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Writes what a queue gets of a publication. What that looks like is the wire's business.
pub type Render = Arc<dyn Fn(Format, &Notification) -> String + Send + Sync>;

/// The message service. Cheap to clone; it ends when the last clone is gone.
#[derive(Clone)]
pub struct Messages {
    orders: mpsc::Sender<Order>,
    pushes: Arc<Notify>,
}

impl Messages {
    /// Opens the database at `path`, or makes it, and starts the owner's thread.
    pub fn open(path: &Path, clock: Clock, render: Render) -> Result<Self, OpenError> {
        let connection = schema::open(path)?;
        let (orders, inbox) = mpsc::channel(limits::INBOX_MAX);
        let pushes = Arc::new(Notify::new());
        let owner = Owner::new(connection, clock, render, inbox, pushes.clone());
        thread::Builder::new()
            .name("messages".into())
            .spawn(move || owner.run())
            .expect("the process can start a thread at its beginning");
        Ok(Self { orders, pushes })
    }

    /// Puts one order through the owner.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Desk<'_>) -> Result<T, MessagesError> + Send + 'static,
    ) -> Result<T, MessagesError> {
        let (send, answer) = oneshot::channel();
        let order = Order::Work(Box::new(move |desk| {
            let outcome = desk.and_then(|desk| desk.whole(work));
            Box::new(move |committed: Result<(), MessagesError>| {
                // A caller that went away does not change what is durable.
                let _ = send.send(committed.and(outcome));
            }) as Reply
        }));
        self.orders.send(order).await.map_err(|_| MessagesError::Closed)?;
        answer.await.map_err(|_| MessagesError::Closed)?
    }

    // Queues.

    /// Makes a queue.
    pub async fn create_queue(
        &self,
        account: AccountId,
        name: Name,
        wish: QueueWish,
    ) -> Result<Created, MessagesError> {
        self.ask(move |desk| queues::create(desk, account, &name, &wish)).await
    }

    /// Changes attributes of a queue.
    pub async fn set_queue(
        &self,
        account: AccountId,
        name: Name,
        wish: QueueWish,
    ) -> Result<(), MessagesError> {
        self.ask(move |desk| queues::set(desk, account, &name, &wish)).await
    }

    /// Looks at a queue.
    pub async fn queue(&self, account: AccountId, name: Name) -> Result<QueueInfo, MessagesError> {
        self.ask(move |desk| queues::info(desk, account, &name)).await
    }

    /// Lists queues.
    pub async fn queues(
        &self,
        account: AccountId,
        page: Page,
    ) -> Result<Listing<QueueInfo>, MessagesError> {
        self.ask(move |desk| queues::list(desk, account, &page)).await
    }

    /// Deletes a queue with its messages. Who waits there is told.
    pub async fn delete_queue(&self, account: AccountId, name: Name) -> Result<(), MessagesError> {
        self.ask(move |desk| queues::delete(desk, account, &name)).await
    }

    // Messages of queues.

    /// Puts messages into a queue; each succeeds or fails by itself.
    pub async fn send(
        &self,
        account: AccountId,
        queue: Name,
        letters: Vec<NewLetter>,
    ) -> Result<Vec<Result<Posted, MessagesError>>, MessagesError> {
        self.ask(move |desk| {
            let row = queues::get(desk, account, &queue)?;
            let post = |letter: &NewLetter| desk.whole(|desk| letters::post(desk, &row, letter));
            Ok(letters.iter().map(post).collect())
        })
        .await
    }

    /// Takes up to `letters_max` messages. While there are none, waits for up to `wait` seconds,
    /// or as the queue says, and then answers [`MessagesError::NoMessage`].
    pub async fn receive(
        &self,
        account: AccountId,
        queue: Name,
        letters_max: u32,
        wait: Option<u32>,
    ) -> Result<Vec<Letter>, MessagesError> {
        let (reply, answer) = oneshot::channel();
        let receiver = Receiver { account, queue, letters_max, wait, reply };
        let order = Order::Receive(receiver);
        self.orders.send(order).await.map_err(|_| MessagesError::Closed)?;
        answer.await.map_err(|_| MessagesError::Closed)?
    }

    /// Looks at up to `letters_max` messages.
    pub async fn peek(
        &self,
        account: AccountId,
        queue: Name,
        letters_max: u32,
    ) -> Result<Vec<Letter>, MessagesError> {
        let found = self.ask(move |desk| letters::peek(desk, account, &queue, letters_max)).await?;
        if found.is_empty() { Err(MessagesError::NoMessage) } else { Ok(found) }
    }

    /// Deletes messages by their receipts; each succeeds or fails by itself.
    pub async fn delete_letters(
        &self,
        account: AccountId,
        queue: Name,
        receipts: Vec<String>,
    ) -> Result<Vec<Result<(), MessagesError>>, MessagesError> {
        self.ask(move |desk| {
            queues::get(desk, account, &queue)?;
            let delete = |receipt: &String| {
                desk.whole(|desk| letters::delete(desk, account, &queue, receipt))
            };
            Ok(receipts.iter().map(delete).collect())
        })
        .await
    }

    /// Hides a received message for another `seconds`. Answers the receipt that is good from now
    /// on, and until when.
    pub async fn change_visibility(
        &self,
        account: AccountId,
        queue: Name,
        receipt: String,
        seconds: u32,
    ) -> Result<(String, Timestamp), MessagesError> {
        self.ask(move |desk| letters::change_visibility(desk, account, &queue, &receipt, seconds))
            .await
    }

    // Topics.

    /// Makes a topic.
    pub async fn create_topic(
        &self,
        account: AccountId,
        name: Name,
        wish: TopicWish,
    ) -> Result<Created, MessagesError> {
        self.ask(move |desk| topics::create(desk, account, &name, &wish)).await
    }

    /// Changes attributes of a topic.
    pub async fn set_topic(
        &self,
        account: AccountId,
        name: Name,
        wish: TopicWish,
    ) -> Result<(), MessagesError> {
        self.ask(move |desk| topics::set(desk, account, &name, &wish)).await
    }

    /// Looks at a topic.
    pub async fn topic(&self, account: AccountId, name: Name) -> Result<TopicInfo, MessagesError> {
        self.ask(move |desk| topics::get(desk, account, &name).map(|row| row.info)).await
    }

    /// Lists topics.
    pub async fn topics(
        &self,
        account: AccountId,
        page: Page,
    ) -> Result<Listing<TopicInfo>, MessagesError> {
        self.ask(move |desk| topics::list(desk, account, &page)).await
    }

    /// Deletes a topic with its subscriptions.
    pub async fn delete_topic(&self, account: AccountId, name: Name) -> Result<(), MessagesError> {
        self.ask(move |desk| topics::delete(desk, account, &name)).await
    }

    /// Publishes a message.
    pub async fn publish(
        &self,
        account: AccountId,
        topic: Name,
        publication: Publication,
    ) -> Result<Published, MessagesError> {
        self.ask(move |desk| {
            let published = topics::publish(desk, account, &topic, &[publication])?;
            Ok(published.into_iter().next().expect("one for each publication"))
        })
        .await
    }

    /// Publishes what this source did not publish before, all or nothing. Answers how many were
    /// new.
    pub async fn publish_once(
        &self,
        account: AccountId,
        topic: Name,
        publications: Vec<Publication>,
        source: Source,
    ) -> Result<usize, MessagesError> {
        self.ask(move |desk| topics::publish_once(desk, account, &topic, &publications, &source))
            .await
    }

    // Subscriptions.

    /// Makes a subscription.
    pub async fn subscribe(
        &self,
        account: AccountId,
        topic: Name,
        name: Name,
        wish: SubscriptionWish,
    ) -> Result<Created, MessagesError> {
        self.ask(move |desk| subscriptions::create(desk, account, &topic, &name, &wish)).await
    }

    /// Changes how often pushes to a subscription are tried again.
    pub async fn set_subscription(
        &self,
        account: AccountId,
        topic: Name,
        name: Name,
        strategy: Option<Strategy>,
    ) -> Result<(), MessagesError> {
        self.ask(move |desk| subscriptions::set(desk, account, &topic, &name, strategy)).await
    }

    /// Looks at a subscription.
    pub async fn subscription(
        &self,
        account: AccountId,
        topic: Name,
        name: Name,
    ) -> Result<SubscriptionInfo, MessagesError> {
        self.ask(move |desk| subscriptions::get(desk, account, &topic, &name).map(|row| row.info))
            .await
    }

    /// Lists subscriptions of a topic.
    pub async fn subscriptions(
        &self,
        account: AccountId,
        topic: Name,
        page: Page,
    ) -> Result<Listing<SubscriptionInfo>, MessagesError> {
        self.ask(move |desk| subscriptions::list(desk, account, &topic, &page)).await
    }

    /// Deletes a subscription.
    pub async fn unsubscribe(
        &self,
        account: AccountId,
        topic: Name,
        name: Name,
    ) -> Result<(), MessagesError> {
        self.ask(move |desk| subscriptions::delete(desk, account, &topic, &name)).await
    }

    // Pushes.

    /// Returns when there may be new pushes.
    pub fn new_pushes(&self) -> Notified<'_> {
        self.pushes.notified()
    }

    /// The pushes that are due, as many as there is room for.
    pub async fn due_pushes(&self, room: Room) -> Result<Due, MessagesError> {
        self.ask(move |desk| pushes::due(desk, room)).await
    }

    /// The push was taken, or is given up.
    pub async fn push_done(&self, id: PushId) -> Result<(), MessagesError> {
        self.ask(move |desk| pushes::done(desk, id)).await
    }

    /// The push failed and is tried again then.
    pub async fn push_again(&self, id: PushId, due: Timestamp) -> Result<(), MessagesError> {
        self.ask(move |desk| pushes::again(desk, id, due)).await
    }

    /// Puts a push into the queue it is for.
    pub async fn push_into_queue(&self, push: Push, queue: Name) -> Result<(), MessagesError> {
        self.ask(move |desk| pushes::into_queue(desk, &push, &queue)).await
    }

    // The account and the service.

    /// The bucket for logs that an account named; kept and echoed.
    pub async fn logging_bucket(&self, account: AccountId) -> Result<String, MessagesError> {
        self.ask(move |desk| {
            let sql = "SELECT logging_bucket FROM account WHERE id = ?1";
            let mut query = desk.connection.prepare_cached(sql)?;
            let found = query.query_row([queues::owner(account)], |row| row.get(0)).optional()?;
            Ok(found.unwrap_or_default())
        })
        .await
    }

    /// Keeps the bucket for logs that an account names.
    pub async fn set_logging_bucket(
        &self,
        account: AccountId,
        bucket: String,
    ) -> Result<(), MessagesError> {
        self.ask(move |desk| {
            let sql = "INSERT OR REPLACE INTO account (id, logging_bucket) VALUES (?1, ?2)";
            let values = rusqlite::params![queues::owner(account), bucket];
            desk.connection.prepare_cached(sql)?.execute(values)?;
            Ok(())
        })
        .await
    }

    /// Answers everybody who waits for a message: the service is shutting down.
    pub async fn dismiss(&self) {
        let _ = self.orders.send(Order::Dismiss).await;
    }

    /// Says that time may have passed: for clocks that do not go by themselves.
    pub async fn nudge(&self) {
        let _ = self.orders.send(Order::Nudge).await;
    }
}
