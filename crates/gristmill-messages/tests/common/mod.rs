//! A message service on a clock that stands still until it is moved.

use gristmill_messages::{
    Letter, Messages, MessagesError, Name, NameKind, NewLetter, Page, Posted, QueueWish, Source,
    SourcePart,
};
use gristmill_model::{AccountId, Timestamp};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use tokio::task::JoinHandle;

pub fn queue(name: &str) -> Name {
    Name::parse(NameKind::Queue, name).expect("a legal name")
}

pub fn topic(name: &str) -> Name {
    Name::parse(NameKind::Topic, name).expect("a legal name")
}

pub fn bodies(letters: &[Letter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.body.as_str()).collect()
}

pub fn all_ok(sent: Result<Vec<Result<Posted, MessagesError>>, MessagesError>) {
    assert!(sent.expect("asked").iter().all(Result::is_ok));
}

pub struct Stage {
    pub messages: Messages,
    clock: Arc<AtomicI64>,
    dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000_000));
        Self { messages: open(&dir, &clock), clock, dir }
    }

    pub async fn restart(&mut self) {
        // The old owner ends by itself; both may have the database open for a moment.
        self.messages = open(&self.dir, &self.clock);
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::SeqCst))
    }

    /// Time passes and the owner looks at the clock.
    pub async fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        self.messages.nudge().await;
    }

    pub async fn make_queue(&self, account: AccountId, name: &str) {
        let made = self.messages.create_queue(account, queue(name), QueueWish::default()).await;
        made.expect("made");
    }

    pub async fn send(&self, account: AccountId, name: &str, texts: &[&str]) {
        let letters = texts.iter().map(|text| NewLetter::of(*text)).collect();
        all_ok(self.messages.send(account, queue(name), letters).await);
    }

    pub async fn receive_one(&self, account: AccountId, name: &str) -> Letter {
        let received = self.messages.receive(account, queue(name), 1, Some(0)).await;
        received.expect("there is one").remove(0)
    }

    /// Somebody waits. Returns when the owner knows.
    pub async fn wait_at(
        &self,
        account: AccountId,
        name: &str,
        letters_max: u32,
        seconds: u32,
    ) -> JoinHandle<Result<Vec<Letter>, MessagesError>> {
        let (messages, name) = (self.messages.clone(), queue(name));
        let (sent, was_sent) = tokio::sync::oneshot::channel();
        let waits = tokio::spawn(async move {
            let mut receive =
                std::pin::pin!(messages.receive(account, name, letters_max, Some(seconds)));
            // The first poll puts the order into the inbox.
            let polled = futures_poll(receive.as_mut()).await;
            let _ = sent.send(());
            match polled {
                Some(outcome) => outcome,
                None => receive.await,
            }
        });
        was_sent.await.expect("it ran");
        // What is answered after it shows that it was taken in: the clock may go on now.
        let page = Page { prefix: String::new(), after: String::new(), items_max: 1 };
        self.messages.queues(account, page).await.expect("listed");
        waits
    }

    pub fn source(&self, subject: &str, parts: &[(u64, u32)]) -> Source {
        let decided = self.now();
        let part =
            |(notice, part): &(u64, u32)| SourcePart { notice: *notice, part: *part, decided };
        Source { subject: subject.to_owned(), parts: parts.iter().map(part).collect() }
    }
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

fn open(dir: &tempfile::TempDir, clock: &Arc<AtomicI64>) -> Messages {
    let clock = clock.clone();
    let clock = Arc::new(move || Timestamp(clock.load(Ordering::SeqCst)));
    let render =
        Arc::new(|format: gristmill_messages::Format, told: &gristmill_messages::Notification| {
            match format {
                gristmill_messages::Format::Simplified => told.body.clone(),
                format => format!("{} {} {}", format.name(), told.topic, told.body),
            }
        });
    Messages::open(&dir.path().join("messages.db"), clock, render).expect("opens")
}
