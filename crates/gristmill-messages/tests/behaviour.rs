//! What the message service promises, on a clock that the test moves.

mod common;

use common::{Stage, all_ok, bodies, queue, topic};
use gristmill_messages::{
    Created, Due, Endpoint, Format, MessagesError, NameKind, NewLetter, Page, Publication,
    QueueWish, Room, Strategy, SubscriptionWish, TopicWish,
};
use gristmill_model::AccountId;

const ONE: AccountId = AccountId(1);
const TWO: AccountId = AccountId(2);

#[tokio::test]
async fn a_queue_is_made_once_and_keeps_its_attributes() {
    let stage = Stage::new();
    let wish = QueueWish { visibility: Some(5), ..QueueWish::default() };
    let messages = &stage.messages;
    assert_eq!(messages.create_queue(ONE, queue("q"), wish).await, Ok(Created::New));
    assert_eq!(messages.create_queue(ONE, queue("q"), wish).await, Ok(Created::Same));
    let other = QueueWish { delay: Some(1), ..wish };
    let refused = messages.create_queue(ONE, queue("q"), other).await;
    assert_eq!(refused, Err(MessagesError::QueueExists { name: "q".into() }));
    assert_eq!(messages.create_queue(TWO, queue("q"), other).await, Ok(Created::New));

    messages
        .set_queue(ONE, queue("q"), QueueWish { retention: Some(60), ..QueueWish::default() })
        .await
        .expect("set");
    let attributes = messages.queue(ONE, queue("q")).await.expect("there").attributes;
    assert_eq!((attributes.visibility.0, attributes.retention.0, attributes.delay.0), (5, 60, 0));
    let wrong = QueueWish { visibility: Some(0), ..QueueWish::default() };
    let refused = messages.set_queue(ONE, queue("q"), wrong).await;
    assert!(matches!(refused, Err(MessagesError::OutOfRange { member: "VisibilityTimeout", .. })));
}

#[tokio::test]
async fn nothing_of_an_account_is_seen_by_another() {
    let stage = Stage::new();
    let messages = &stage.messages;
    stage.make_queue(ONE, "q").await;
    messages.create_topic(ONE, topic("t"), TopicWish::default()).await.expect("made");
    stage.send(ONE, "q", &["secret"]).await;
    let no_queue = || MessagesError::NoQueue { name: "q".into() };
    assert_eq!(messages.queue(TWO, queue("q")).await.err(), Some(no_queue()));
    assert_eq!(messages.receive(TWO, queue("q"), 1, None).await.err(), Some(no_queue()));
    assert_eq!(messages.peek(TWO, queue("q"), 1).await.err(), Some(no_queue()));
    assert_eq!(messages.queues(TWO, Page::default()).await.expect("listed").items, []);
    assert_eq!(messages.topics(TWO, Page::default()).await.expect("listed").items, []);
    let published = messages.publish(TWO, topic("t"), Publication::of("x")).await;
    assert_eq!(published.err(), Some(MessagesError::NoTopic { name: "t".into() }));
    messages.delete_queue(TWO, queue("q")).await.expect("as if there were none");
    assert_eq!(messages.queue(ONE, queue("q")).await.expect("there").counts.active, 1);

    // A receipt is no way into a queue of somebody else.
    let receipt = stage.receive_one(ONE, "q").await.receipt.expect("received");
    stage.make_queue(TWO, "mine").await;
    let stolen = messages.delete_letters(TWO, queue("mine"), vec![receipt]).await.expect("asked");
    assert!(matches!(stolen[0], Err(MessagesError::BadReceipt { .. })));
}

#[tokio::test]
async fn a_received_message_hides_and_comes_back_with_a_new_receipt() {
    let stage = Stage::new();
    stage.make_queue(ONE, "q").await;
    stage.send(ONE, "q", &["a"]).await;
    let first = stage.receive_one(ONE, "q").await;
    assert_eq!((first.body.as_str(), first.dequeues), ("a", 1));
    let nothing = stage.messages.receive(ONE, queue("q"), 1, Some(0)).await;
    assert_eq!(nothing, Err(MessagesError::NoMessage));
    let counts = stage.messages.queue(ONE, queue("q")).await.expect("there").counts;
    assert_eq!((counts.active, counts.inactive, counts.delayed), (0, 1, 0));

    stage.pass(30).await;
    let old = first.receipt.clone().expect("received");
    let late = stage.messages.delete_letters(ONE, queue("q"), vec![old.clone()]).await;
    assert!(matches!(late.expect("asked")[0], Err(MessagesError::BadReceipt { .. })));
    let second = stage.receive_one(ONE, "q").await;
    assert_eq!((second.id.clone(), second.dequeues), (first.id, 2));
    assert_eq!(second.first_dequeued, first.first_dequeued);
    let receipt = second.receipt.expect("received");
    assert_ne!(receipt, old);
    let deleted = stage.messages.delete_letters(ONE, queue("q"), vec![old, receipt.clone()]).await;
    let deleted = deleted.expect("asked");
    assert!(deleted[0].is_err() && deleted[1].is_ok());
    let again = stage.messages.delete_letters(ONE, queue("q"), vec![receipt]).await;
    assert_eq!(again.expect("asked"), [Err(MessagesError::NoMessage)]);
    let counts = stage.messages.queue(ONE, queue("q")).await.expect("there").counts;
    assert_eq!((counts.active, counts.inactive, counts.delayed), (0, 0, 0));
}

#[tokio::test]
async fn changing_the_visibility_gives_a_new_receipt() {
    let stage = Stage::new();
    stage.make_queue(ONE, "q").await;
    stage.send(ONE, "q", &["a"]).await;
    let old = stage.receive_one(ONE, "q").await.receipt.expect("received");
    let changed = stage.messages.change_visibility(ONE, queue("q"), old.clone(), 100).await;
    let (receipt, until) = changed.expect("changed");
    assert_eq!(until, stage.now().after(gristmill_model::Seconds(100)));
    let stale = stage.messages.change_visibility(ONE, queue("q"), old, 1).await;
    assert!(matches!(stale, Err(MessagesError::BadReceipt { .. })));
    stage.pass(99).await;
    let hidden = stage.messages.receive(ONE, queue("q"), 1, Some(0)).await;
    assert_eq!(hidden, Err(MessagesError::NoMessage));
    let (_, now) =
        stage.messages.change_visibility(ONE, queue("q"), receipt, 0).await.expect("changed");
    assert_eq!(now, stage.now());
    assert_eq!(stage.receive_one(ONE, "q").await.dequeues, 2);
}

#[tokio::test]
async fn priority_comes_first_then_order() {
    let stage = Stage::new();
    stage.make_queue(ONE, "q").await;
    let of = |body: &str, priority| NewLetter { priority, ..NewLetter::of(body) };
    let letters = vec![of("c", 8), of("d", 8), of("a", 1), of("e", 16), of("b", 2)];
    all_ok(stage.messages.send(ONE, queue("q"), letters).await);
    let peeked = stage.messages.peek(ONE, queue("q"), 16).await.expect("there");
    assert_eq!(bodies(&peeked), ["a", "b", "c", "d", "e"]);
    assert!(peeked.iter().all(|it| it.receipt.is_none() && it.dequeues == 0));
    let taken = stage.messages.receive(ONE, queue("q"), 2, None).await.expect("there");
    assert_eq!(bodies(&taken), ["a", "b"]);
    let wrong = stage.messages.send(ONE, queue("q"), vec![of("x", 17), of("y", 16)]).await;
    let wrong = wrong.expect("asked");
    assert!(matches!(wrong[0], Err(MessagesError::OutOfRange { member: "Priority", .. })));
    assert!(wrong[1].is_ok(), "each message stands for itself");
}

#[tokio::test]
async fn a_delayed_message_waits_and_can_be_deleted_before() {
    let stage = Stage::new();
    stage.make_queue(ONE, "q").await;
    let of = |body: &str| NewLetter { delay: Some(10), ..NewLetter::of(body) };
    let sent = stage.messages.send(ONE, queue("q"), vec![of("a"), of("b")]).await.expect("sent");
    let receipt = sent[0].clone().expect("sent").receipt.expect("delayed messages have one");
    let deleted = stage.messages.delete_letters(ONE, queue("q"), vec![receipt]).await;
    assert_eq!(deleted.expect("asked"), [Ok(())]);
    let counts = stage.messages.queue(ONE, queue("q")).await.expect("there").counts;
    assert_eq!((counts.active, counts.delayed), (0, 1));
    stage.pass(9).await;
    assert!(stage.messages.receive(ONE, queue("q"), 1, Some(0)).await.is_err());
    stage.pass(1).await;
    assert_eq!(stage.receive_one(ONE, "q").await.body, "b");
}

#[tokio::test]
async fn a_message_is_kept_as_long_as_the_queue_says() {
    let stage = Stage::new();
    let wish = QueueWish { retention: Some(60), ..QueueWish::default() };
    stage.messages.create_queue(ONE, queue("q"), wish).await.expect("made");
    stage.send(ONE, "q", &["a"]).await;
    stage.pass(59).await;
    assert_eq!(stage.messages.peek(ONE, queue("q"), 1).await.expect("there").len(), 1);
    stage.pass(1).await;
    assert_eq!(stage.messages.peek(ONE, queue("q"), 1).await, Err(MessagesError::NoMessage));
    assert_eq!(stage.messages.queue(ONE, queue("q")).await.expect("there").counts.active, 0);
}

#[tokio::test]
async fn a_body_is_as_large_as_the_queue_allows() {
    let stage = Stage::new();
    let wish = QueueWish { size_max: Some(1024), ..QueueWish::default() };
    stage.messages.create_queue(ONE, queue("q"), wish).await.expect("made");
    let letters = vec![NewLetter::of("x".repeat(1024)), NewLetter::of("x".repeat(1025))];
    let sent = stage.messages.send(ONE, queue("q"), letters).await.expect("asked");
    assert!(sent[0].is_ok());
    assert!(matches!(sent[1], Err(MessagesError::OutOfRange { most: 1024, .. })), "{sent:?}");
}

#[tokio::test]
async fn receivers_wait_in_line_until_there_is_something() {
    let stage = Stage::new();
    stage.make_queue(ONE, "q").await;
    let first = stage.wait_at(ONE, "q", 1, 30).await;
    let second = stage.wait_at(ONE, "q", 16, 30).await;
    stage.send(ONE, "q", &["a"]).await;
    assert_eq!(bodies(&first.await.expect("ran").expect("served")), ["a"]);
    stage.send(ONE, "q", &["b", "c"]).await;
    assert_eq!(bodies(&second.await.expect("ran").expect("served")), ["b", "c"]);
}

#[tokio::test]
async fn waiting_ends_with_its_time_with_the_queue_and_with_the_service() {
    let stage = Stage::new();
    stage.make_queue(ONE, "q").await;
    let in_time = stage.wait_at(ONE, "q", 1, 10).await;
    stage.pass(10).await;
    assert_eq!(in_time.await.expect("ran"), Err(MessagesError::NoMessage));

    let at_queue = stage.wait_at(ONE, "q", 1, 30).await;
    stage.messages.delete_queue(ONE, queue("q")).await.expect("deleted");
    let gone = MessagesError::NoQueue { name: "q".into() };
    assert_eq!(at_queue.await.expect("ran"), Err(gone));

    stage.make_queue(ONE, "q").await;
    let at_service = stage.wait_at(ONE, "q", 1, 30).await;
    stage.messages.dismiss().await;
    assert_eq!(at_service.await.expect("ran"), Err(MessagesError::NoMessage));
}

#[tokio::test]
async fn who_waits_gets_what_becomes_visible_and_who_left_gets_nothing() {
    let stage = Stage::new();
    stage.make_queue(ONE, "q").await;
    let left = stage.wait_at(ONE, "q", 1, 30).await;
    left.abort();
    assert!(left.await.expect_err("aborted").is_cancelled());
    let delayed = NewLetter { delay: Some(5), ..NewLetter::of("a") };
    all_ok(stage.messages.send(ONE, queue("q"), vec![delayed]).await);
    let waits = stage.wait_at(ONE, "q", 1, 30).await;
    stage.pass(5).await;
    let letters = waits.await.expect("ran").expect("served");
    assert_eq!((bodies(&letters), letters[0].dequeues), (vec!["a"], 1));
}

#[tokio::test]
async fn lists_come_in_pages_by_name_and_prefix() {
    let stage = Stage::new();
    for name in ["b2", "a", "b1", "b3", "B"] {
        stage.make_queue(ONE, name).await;
    }
    let page = |after: &str| Page { prefix: "b".into(), after: after.into(), items_max: 2 };
    let names = |listing: &gristmill_messages::Listing<gristmill_messages::QueueInfo>| {
        listing.items.iter().map(|queue| queue.name.clone()).collect::<Vec<_>>()
    };
    let first = stage.messages.queues(ONE, page("")).await.expect("listed");
    assert_eq!(
        (names(&first), first.next.as_deref()),
        (vec!["b1".into(), "b2".into()], Some("b2"))
    );
    let last = stage.messages.queues(ONE, page("b2")).await.expect("listed");
    assert_eq!((names(&last), last.next), (vec!["b3".into()], None));
}

fn to_queue(name: &str, format: Format) -> SubscriptionWish {
    let text = format!("acs:mns:cn-local:1:queues/{name}");
    let endpoint = Endpoint::Queue { text, name: queue(name) };
    SubscriptionWish { endpoint, strategy: Strategy::Backoff, format, tag: None }
}

#[tokio::test]
async fn a_publication_reaches_queues_by_tag_and_in_their_format() {
    let stage = Stage::new();
    let messages = &stage.messages;
    messages.create_topic(ONE, topic("t"), TopicWish::default()).await.expect("made");
    for name in ["plain", "told", "tagged"] {
        stage.make_queue(ONE, name).await;
    }
    let tagged =
        SubscriptionWish { tag: Some("x".into()), ..to_queue("tagged", Format::Simplified) };
    for (name, wish) in [
        ("s1", to_queue("plain", Format::Simplified)),
        ("s2", to_queue("told", Format::Json)),
        ("s3", tagged.clone()),
    ] {
        let made = messages.subscribe(ONE, topic("t"), topic(name), wish).await;
        assert_eq!(made, Ok(Created::New));
    }
    assert_eq!(messages.subscribe(ONE, topic("t"), topic("s3"), tagged).await, Ok(Created::Same));
    let other = messages.subscribe(ONE, topic("t"), topic("s3"), to_queue("x", Format::Xml)).await;
    assert!(matches!(other, Err(MessagesError::SubscriptionExists { .. })));

    let with_tag = Publication { tag: Some("x".into()), ..Publication::of("b") };
    messages.publish(ONE, topic("t"), Publication::of("a")).await.expect("published");
    messages.publish(ONE, topic("t"), with_tag).await.expect("published");
    let read = async |name: &str| {
        let letters = messages.peek(ONE, queue(name), 16).await.expect("there");
        letters.into_iter().map(|letter| letter.body).collect::<Vec<_>>()
    };
    assert_eq!(read("plain").await, ["a", "b"]);
    assert_eq!(read("told").await, ["JSON t a", "JSON t b"]);
    assert_eq!(read("tagged").await, ["b"]);
    assert_eq!(messages.topic(ONE, topic("t")).await.expect("there").messages, 0);
}

#[tokio::test]
async fn a_queue_that_is_not_there_gets_its_message_when_it_comes() {
    let stage = Stage::new();
    let messages = &stage.messages;
    messages.create_topic(ONE, topic("t"), TopicWish::default()).await.expect("made");
    let wish = to_queue("q", Format::Simplified);
    messages.subscribe(ONE, topic("t"), topic("s"), wish).await.expect("made");
    messages.publish(ONE, topic("t"), Publication::of("a")).await.expect("published");
    let Due { pushes: none, next, .. } = messages.due_pushes(room(4)).await.expect("asked");
    assert_eq!((none, next), (vec![], Some(stage.now().after(gristmill_model::Seconds(10)))));
    assert_eq!(messages.topic(ONE, topic("t")).await.expect("there").messages, 1);

    stage.pass(10).await;
    let due = messages.due_pushes(room(4)).await.expect("asked").pushes;
    assert_eq!((due.len(), due[0].attempts), (1, 1));
    let push = due[0].clone();
    let missing = messages.push_into_queue(push.clone(), queue("q")).await;
    assert_eq!(missing, Err(MessagesError::NoQueue { name: "q".into() }));
    messages.push_again(push.id, stage.now()).await.expect("noted");
    stage.make_queue(ONE, "q").await;
    messages.push_into_queue(push, queue("q")).await.expect("delivered");
    assert_eq!(stage.receive_one(ONE, "q").await.body, "a");
    assert_eq!(messages.due_pushes(room(4)).await.expect("asked").pushes, []);
    assert_eq!(messages.topic(ONE, topic("t")).await.expect("there").messages, 0);
}

/// Room for all, and so many of each subscription.
fn room(each_max: usize) -> Room {
    Room {
        busy: [].into(),
        under_way: [].into(),
        account_max: 100,
        each_max,
        all_max: 100,
        after: 0,
    }
}

/// An account with many subscriptions neither fills the memory nor keeps others waiting.
#[tokio::test]
async fn pushes_are_handed_out_in_turn_and_within_bounds() {
    let stage = Stage::new();
    let messages = &stage.messages;
    for (account, names) in [(ONE, &["s1", "s2", "s3"][..]), (TWO, &["s4"])] {
        messages.create_topic(account, topic("t"), TopicWish::default()).await.expect("made");
        for name in names {
            let endpoint = Endpoint::Http(format!("http://hooks.example/{name}"));
            let wish = SubscriptionWish { endpoint, ..to_queue("x", Format::Xml) };
            messages.subscribe(account, topic("t"), topic(name), wish).await.expect("made");
        }
        for body in ["a", "b", "c"] {
            messages.publish(account, topic("t"), Publication::of(body)).await.expect("published");
        }
    }
    let names = async |room: Room| {
        let due = messages.due_pushes(room).await.expect("asked");
        let told = due.pushes.iter().map(|push| push.notification.subscription.clone());
        (told.collect::<Vec<_>>(), due.next, due.last)
    };
    let (found, next, _) = names(Room { account_max: 2, all_max: 3, ..room(8) }).await;
    assert_eq!(found, ["s1", "s1", "s4"], "the account's part, and the other's");
    assert_eq!(next, None);
    let (found, next, _) = names(Room { all_max: 4, ..room(2) }).await;
    assert_eq!((found.len(), next), (4, Some(stage.now())), "there is more than fits");
    let full = Room { under_way: [(ONE, 2)].into(), account_max: 2, ..room(8) };
    assert_eq!(names(full).await.0, ["s4", "s4"]);
    let (mut after, mut turns) = (0, Vec::new());
    for _ in 0..5 {
        let (found, _, last) = names(Room { all_max: 1, after, ..room(8) }).await;
        turns.extend(found);
        after = last;
    }
    assert_eq!(turns, ["s1", "s2", "s3", "s4", "s1"]);
}

/// Else those behind the first would wait for as long as there is more than can be carried.
#[tokio::test]
async fn the_subscriptions_of_an_account_that_has_its_part_have_their_turns() {
    let stage = Stage::new();
    let messages = &stage.messages;
    messages.create_topic(ONE, topic("t"), TopicWish::default()).await.expect("made");
    for name in ["s1", "s2", "s3"] {
        let endpoint = Endpoint::Http(format!("http://hooks.example/{name}"));
        let wish = SubscriptionWish { endpoint, ..to_queue("x", Format::Xml) };
        messages.subscribe(ONE, topic("t"), topic(name), wish).await.expect("made");
    }
    for body in ["a", "b", "c"] {
        messages.publish(ONE, topic("t"), Publication::of(body)).await.expect("published");
    }
    let (mut after, mut turns) = (0, Vec::new());
    for _ in 0..4 {
        let due = messages.due_pushes(Room { account_max: 1, after, ..room(8) }).await;
        let due = due.expect("asked");
        let [push] = &due.pushes[..] else { panic!("{due:?}") };
        turns.push(push.notification.subscription.clone());
        messages.push_done(push.id).await.expect("noted");
        after = due.last;
    }
    assert_eq!(turns, ["s1", "s2", "s3", "s1"]);
}

#[tokio::test]
async fn pushes_are_handed_out_by_subscription() {
    let stage = Stage::new();
    let messages = &stage.messages;
    messages.create_topic(ONE, topic("t"), TopicWish::default()).await.expect("made");
    for name in ["s1", "s2"] {
        let endpoint = Endpoint::Http(format!("http://hooks.example/{name}"));
        let wish = SubscriptionWish { endpoint, ..to_queue("x", Format::Xml) };
        messages.subscribe(ONE, topic("t"), topic(name), wish).await.expect("made");
    }
    for body in ["a", "b", "c"] {
        messages.publish(ONE, topic("t"), Publication::of(body)).await.expect("published");
    }
    messages.new_pushes().await;
    let due = messages.due_pushes(room(2)).await.expect("asked").pushes;
    assert_eq!(due.len(), 4, "two for each");
    let beside = Room { busy: [due[0].subscription].into(), ..room(9) };
    let rest = messages.due_pushes(beside).await.expect("asked").pushes;
    assert_eq!(rest.len(), 3, "all of the one that is not busy");
    messages.push_done(due[0].id).await.expect("noted");
    messages.push_done(due[0].id).await.expect("twice is harmless");
    assert_eq!(messages.topic(ONE, topic("t")).await.expect("there").messages, 5);
    messages.unsubscribe(ONE, topic("t"), topic("s1")).await.expect("gone");
    messages.delete_topic(ONE, topic("t")).await.expect("gone");
    assert_eq!(messages.due_pushes(room(9)).await.expect("asked").pushes, []);
}

#[tokio::test]
async fn what_a_source_published_is_not_published_again() {
    let stage = Stage::new();
    let messages = &stage.messages;
    messages.create_topic(ONE, topic("t"), TopicWish::default()).await.expect("made");
    stage.make_queue(ONE, "q").await;
    let wish = to_queue("q", Format::Simplified);
    messages.subscribe(ONE, topic("t"), topic("s"), wish).await.expect("made");
    let publish = async |parts: &[(u64, u32)]| {
        let bodies = parts.iter().map(|(n, part)| Publication::of(format!("{n}.{part}")));
        let source = stage.source("job-1", parts);
        messages.publish_once(ONE, topic("t"), bodies.collect(), source).await.expect("published")
    };
    assert_eq!(publish(&[(1, 0), (1, 1)]).await, 2);
    assert_eq!(publish(&[(1, 0), (1, 1), (1, 2), (4, 0)]).await, 2);
    assert_eq!(publish(&[(1, 2), (4, 0)]).await, 0);
    let letters = messages.peek(ONE, queue("q"), 16).await.expect("there");
    assert_eq!(bodies(&letters), ["1.0", "1.1", "1.2", "4.0"]);

    // The books were restored from a backup: numbers start again, time goes on.
    stage.pass(1).await;
    assert_eq!(publish(&[(2, 0)]).await, 1);
}

#[tokio::test]
async fn names_are_checked_where_they_come_in() {
    use gristmill_messages::Name;
    assert!(Name::parse(NameKind::Subscription, "a-1").is_ok());
    assert!(Name::parse(NameKind::Subscription, "a'; DROP TABLE queue").is_err());
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mut stage = Stage::new();
    stage.make_queue(ONE, "q").await;
    stage.send(ONE, "q", &["a", "b"]).await;
    let receipt = stage.receive_one(ONE, "q").await.receipt.expect("received");
    stage.messages.set_logging_bucket(ONE, "logs".into()).await.expect("set");
    stage.restart().await;
    let counts = stage.messages.queue(ONE, queue("q")).await.expect("there").counts;
    assert_eq!((counts.active, counts.inactive), (1, 1));
    let deleted = stage.messages.delete_letters(ONE, queue("q"), vec![receipt]).await;
    assert_eq!(deleted.expect("asked"), [Ok(())], "a receipt outlives the process");
    assert_eq!(stage.messages.logging_bucket(ONE).await, Ok("logs".into()));
    assert_eq!(stage.messages.logging_bucket(TWO).await, Ok(String::new()));
}
