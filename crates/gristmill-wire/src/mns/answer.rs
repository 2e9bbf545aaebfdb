//! Bodies of answers of the message service (`reference/mns.md` 5 to 9 and 12).
//!
//! The official SDK's list decoders fail on empty elements, so what is empty is left out of lists;
//! where it looks members up by name, they are always there.

use super::{NAMESPACE, body_md5};
use crate::oss::xml::Out;
use gristmill_model::Timestamp;

/// A queue as it is shown. Times are whole seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueShown {
    /// Its address, for lists.
    pub url: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed.
    pub modified: Timestamp,
    /// `VisibilityTimeout`, `MaximumMessageSize`, `MessageRetentionPeriod`, `DelaySeconds`,
    /// `PollingWaitSeconds`.
    pub numbers: [u32; 5],
    /// `ActiveMessages`, `InactiveMessages`, `DelayMessages`.
    pub counts: [u64; 3],
    /// `LoggingEnabled`.
    pub logging: bool,
}

/// A topic as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicShown {
    /// Its address, for lists.
    pub url: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed.
    pub modified: Timestamp,
    /// `MaximumMessageSize`.
    pub size_max: u32,
    /// `MessageRetentionPeriod`.
    pub retention: u32,
    /// `MessageCount`.
    pub messages: u64,
    /// `LoggingEnabled`.
    pub logging: bool,
}

/// A subscription as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionShown {
    /// Its address, for lists.
    pub url: String,
    /// The account of the topic and of the subscription.
    pub owner: String,
    /// The topic.
    pub topic: String,
    /// Its name.
    pub name: String,
    /// `Endpoint`.
    pub endpoint: String,
    /// `NotifyStrategy`.
    pub strategy: String,
    /// `NotifyContentFormat`.
    pub format: String,
    /// `FilterTag`.
    pub tag: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed.
    pub modified: Timestamp,
}

/// A message as it is received or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageShown {
    /// `MessageId`.
    pub id: String,
    /// `ReceiptHandle`; not when it was only looked at.
    pub receipt: Option<String>,
    /// `MessageBody`, as sent.
    pub body: String,
    /// `EnqueueTime`.
    pub enqueued: Timestamp,
    /// `NextVisibleTime`; not when it was only looked at.
    pub next_visible: Option<Timestamp>,
    /// `FirstDequeueTime`.
    pub first_dequeued: Option<Timestamp>,
    /// `DequeueCount`.
    pub dequeues: u32,
    /// `Priority`.
    pub priority: u32,
    /// `MessageGroupId`.
    pub group: String,
    /// `UserProperties`: name, value, type.
    pub user_properties: Vec<[String; 3]>,
    /// `SystemProperties`: name, value, type.
    pub system_properties: Vec<[String; 3]>,
}

/// How sending one message went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentShown {
    /// It was sent.
    Sent {
        /// `MessageId`.
        id: String,
        /// Its text, for the digest.
        body: String,
        /// `ReceiptHandle`, for delayed messages.
        receipt: Option<String>,
    },
    /// It was not.
    Failed {
        /// `ErrorCode`.
        code: &'static str,
        /// `ErrorMessage`.
        message: String,
    },
}

fn seconds(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000_000)
}

fn millis(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000)
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// The answer of GetQueueAttributes.
pub fn queue(queue: &QueueShown) -> String {
    let mut out = Out::new_in("Queue", NAMESPACE);
    queue_members(&mut out, queue);
    out.finish()
}

fn queue_members(out: &mut Out, queue: &QueueShown) {
    let [visibility, size_max, retention, delay, polling_wait] = queue.numbers;
    let [active, inactive, delayed] = queue.counts;
    out.leaf("QueueName", &queue.name)
        .leaf("CreateTime", seconds(queue.created))
        .leaf("LastModifyTime", seconds(queue.modified))
        .leaf("VisibilityTimeout", visibility)
        .leaf("MaximumMessageSize", size_max)
        .leaf("MessageRetentionPeriod", retention)
        .leaf("DelaySeconds", delay)
        .leaf("PollingWaitSeconds", polling_wait)
        .leaf("ActiveMessages", active)
        .leaf("InactiveMessages", inactive)
        .leaf("DelayMessages", delayed)
        .leaf("LoggingEnabled", truth(queue.logging));
}

/// The answer of ListQueue.
pub fn queues(queues: &[QueueShown], with_meta: bool, next: Option<&str>) -> String {
    let mut out = Out::new_in("Queues", NAMESPACE);
    for queue in queues {
        out.open("Queue").leaf("QueueURL", &queue.url);
        if with_meta {
            queue_members(&mut out, queue);
        }
        out.close();
    }
    out.leaf_if("NextMarker", next);
    out.finish()
}

/// The answer of GetTopicAttributes.
pub fn topic(topic: &TopicShown) -> String {
    let mut out = Out::new_in("Topic", NAMESPACE);
    topic_members(&mut out, topic);
    out.finish()
}

fn topic_members(out: &mut Out, topic: &TopicShown) {
    out.leaf("TopicName", &topic.name)
        .leaf("CreateTime", seconds(topic.created))
        .leaf("LastModifyTime", seconds(topic.modified))
        .leaf("MaximumMessageSize", topic.size_max)
        .leaf("MessageRetentionPeriod", topic.retention)
        .leaf("MessageCount", topic.messages)
        .leaf("LoggingEnabled", truth(topic.logging));
}

/// The answer of ListTopic.
pub fn topics(topics: &[TopicShown], with_meta: bool, next: Option<&str>) -> String {
    let mut out = Out::new_in("Topics", NAMESPACE);
    for topic in topics {
        out.open("Topic").leaf("TopicURL", &topic.url);
        if with_meta {
            topic_members(&mut out, topic);
        }
        out.close();
    }
    out.leaf_if("NextMarker", next);
    out.finish()
}

/// The answer of GetSubscriptionAttributes.
pub fn subscription(subscription: &SubscriptionShown) -> String {
    let mut out = Out::new_in("Subscription", NAMESPACE);
    out.leaf("TopicOwner", &subscription.owner)
        .leaf("TopicName", &subscription.topic)
        .leaf("Subscriber", &subscription.owner)
        .leaf("SubscriptionName", &subscription.name)
        .leaf("Endpoint", &subscription.endpoint)
        .leaf("NotifyStrategy", &subscription.strategy)
        .leaf("NotifyContentFormat", &subscription.format)
        .leaf_if("FilterTag", subscription.tag.as_deref())
        .leaf("CreateTime", seconds(subscription.created))
        .leaf("LastModifyTime", seconds(subscription.modified));
    out.finish()
}

/// The answer of ListSubscriptionByTopic.
pub fn subscriptions(urls: &[String], next: Option<&str>) -> String {
    let mut out = Out::new_in("Subscriptions", NAMESPACE);
    for url in urls {
        out.open("Subscription").leaf("SubscriptionURL", url).close();
    }
    out.leaf_if("NextMarker", next);
    out.finish()
}

/// The answer of a receive or a look; a batch is a list, also of one.
pub fn messages(messages: &[MessageShown], batch: bool) -> String {
    if let ([message], false) = (messages, batch) {
        let mut out = Out::new_in("Message", NAMESPACE);
        message_members(&mut out, message);
        return out.finish();
    }
    let mut out = Out::new_in("Messages", NAMESPACE);
    for message in messages {
        out.open("Message");
        message_members(&mut out, message);
        out.close();
    }
    out.finish()
}

fn message_members(out: &mut Out, message: &MessageShown) {
    let first = message.first_dequeued.unwrap_or(message.enqueued);
    out.leaf("MessageId", &message.id)
        .leaf_if("ReceiptHandle", message.receipt.as_deref())
        .leaf("MessageBodyMD5", body_md5(&message.body))
        .leaf("MessageBody", &message.body)
        .leaf("EnqueueTime", millis(message.enqueued))
        .leaf_if("NextVisibleTime", message.next_visible.map(millis))
        .leaf("FirstDequeueTime", millis(first))
        .leaf("DequeueCount", message.dequeues)
        .leaf("Priority", message.priority);
    if !message.group.is_empty() {
        out.leaf("MessageGroupId", &message.group);
    }
    properties(out, "UserProperties", "PropertyValue", &message.user_properties);
    properties(out, "SystemProperties", "SystemPropertyValue", &message.system_properties);
}

fn properties(out: &mut Out, list: &'static str, item: &'static str, all: &[[String; 3]]) {
    if all.is_empty() {
        return;
    }
    out.open(list);
    for [name, value, kind] in all {
        out.open(item).leaf("Name", name).leaf("Value", value).leaf("Type", kind).close();
    }
    out.close();
}

/// The answer of SendMessage, BatchSendMessage and PublishMessage.
pub fn sent(sent: &[SentShown], batch: bool) -> String {
    if let ([one], false) = (sent, batch) {
        let mut out = Out::new_in("Message", NAMESPACE);
        sent_members(&mut out, one);
        return out.finish();
    }
    let mut out = Out::new_in("Messages", NAMESPACE);
    for one in sent {
        out.open("Message");
        sent_members(&mut out, one);
        out.close();
    }
    out.finish()
}

fn sent_members(out: &mut Out, sent: &SentShown) {
    match sent {
        SentShown::Sent { id, body, receipt } => {
            out.leaf("MessageId", id).leaf("MessageBodyMD5", body_md5(body));
            out.leaf_if("ReceiptHandle", receipt.as_deref());
        }
        SentShown::Failed { code, message } => {
            out.leaf("ErrorCode", code).leaf("ErrorMessage", message);
        }
    }
}

/// The answer of a BatchDeleteMessage that failed in part: code, message and receipt of each.
pub fn delete_errors(errors: &[(&str, String, String)]) -> String {
    let mut out = Out::new_in("Errors", NAMESPACE);
    for (code, message, receipt) in errors {
        out.open("Error").leaf("ErrorCode", code).leaf("ErrorMessage", message);
        out.leaf("ReceiptHandle", receipt).close();
    }
    out.finish()
}

/// The answer of ChangeMessageVisibility.
pub fn changed_visibility(receipt: &str, next_visible: Timestamp) -> String {
    let mut out = Out::new_in("ChangeVisibility", NAMESPACE);
    out.leaf("ReceiptHandle", receipt).leaf("NextVisibleTime", millis(next_visible));
    out.finish()
}

/// The answer of GetAccountAttributes.
pub fn account(logging_bucket: &str) -> String {
    let mut out = Out::new_in("Account", NAMESPACE);
    out.leaf("LoggingBucket", logging_bucket);
    out.finish()
}

/// The answer of OpenService.
pub fn opened(order: &str) -> String {
    let mut out = Out::new_in("OpenService", NAMESPACE);
    out.leaf("OrderId", order);
    out.finish()
}

/// A request to publish, as our own client sends it.
pub fn publish(body: &str) -> String {
    let mut out = Out::new_in("Message", NAMESPACE);
    out.leaf("MessageBody", body);
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_message() -> MessageShown {
        MessageShown {
            id: "ID".into(),
            receipt: Some("1-1-1-1".into()),
            body: "a<b".into(),
            enqueued: Timestamp(1_700_000_000_123_456),
            next_visible: Some(Timestamp(1_700_000_030_123_456)),
            first_dequeued: None,
            dequeues: 1,
            priority: 8,
            group: String::new(),
            user_properties: vec![],
            system_properties: vec![["traceparent".into(), "x".into(), "STRING".into()]],
        }
    }

    #[test]
    fn a_message_is_shown_whole() {
        let shown = messages(&[a_message()], false);
        assert_eq!(
            shown,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Message xmlns=\"http://mns.aliyuncs.com/doc/v1/\"><MessageId>ID</MessageId>\
             <ReceiptHandle>1-1-1-1</ReceiptHandle>\
             <MessageBodyMD5>9E49B34D2A65A4C0CE38BC84C0F13C02</MessageBodyMD5>\
             <MessageBody>a&lt;b</MessageBody><EnqueueTime>1700000000123</EnqueueTime>\
             <NextVisibleTime>1700000030123</NextVisibleTime>\
             <FirstDequeueTime>1700000000123</FirstDequeueTime><DequeueCount>1</DequeueCount>\
             <Priority>8</Priority><SystemProperties><SystemPropertyValue><Name>traceparent</Name>\
             <Value>x</Value><Type>STRING</Type></SystemPropertyValue></SystemProperties></Message>"
                .replace("9E49B34D2A65A4C0CE38BC84C0F13C02", &body_md5("a<b"))
        );
        let peeked = MessageShown { receipt: None, next_visible: None, ..a_message() };
        let shown = messages(&[peeked], true);
        assert!(shown.contains("<Messages xmlns") && !shown.contains("ReceiptHandle"), "{shown}");
        assert!(!shown.contains("NextVisibleTime"), "{shown}");
    }

    #[test]
    fn the_last_page_of_a_list_has_no_marker() {
        let urls = ["http://h/topics/t/subscriptions/s".to_owned()];
        assert!(!subscriptions(&urls, None).contains("NextMarker"));
        assert!(
            subscriptions(&urls, Some("s")).ends_with("<NextMarker>s</NextMarker></Subscriptions>")
        );
    }
}
