//! Which operation a request is, by method, path and query (`reference/mns.md` 5 to 12).

use super::fault::Fault;
use gristmill_messages::{Name, NameKind};
use http::{Method, request::Parts};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Queue(OnQueue),
    Topic(OnTopic),
    Account(OnAccount),
}

/// An operation on queues or their messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnQueue {
    List,
    Create(Name),
    Set(Name),
    Get(Name),
    Delete(Name),
    Send(Name),
    /// `batch`: `numOfMessages` was given.
    Receive {
        queue: Name,
        count: u32,
        batch: bool,
        wait: Option<u32>,
    },
    Peek {
        queue: Name,
        count: u32,
        batch: bool,
    },
    DeleteMessage {
        queue: Name,
        receipt: String,
    },
    DeleteMessages(Name),
    ChangeVisibility {
        queue: Name,
        receipt: String,
        seconds: u32,
    },
}

/// An operation on topics or their subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnTopic {
    List,
    Create(Name),
    Set(Name),
    Get(Name),
    Delete(Name),
    Publish(Name),
    ListSubscriptions(Name),
    Subscribe { topic: Name, name: Name },
    SetSubscription { topic: Name, name: Name },
    GetSubscription { topic: Name, name: Name },
    Unsubscribe { topic: Name, name: Name },
}

/// An operation on the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnAccount {
    Get,
    Set,
    Open,
}

impl Operation {
    /// The vendor's name, which policies use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queue(operation) => operation.name(),
            Self::Topic(operation) => operation.name(),
            Self::Account(OnAccount::Get) => "GetAccountAttributes",
            Self::Account(OnAccount::Set) => "SetAccountAttributes",
            Self::Account(OnAccount::Open) => "OpenService",
        }
    }
}

impl OnQueue {
    fn name(&self) -> &'static str {
        match self {
            Self::List => "ListQueue",
            Self::Create(_) => "CreateQueue",
            Self::Set(_) => "SetQueueAttributes",
            Self::Get(_) => "GetQueueAttributes",
            Self::Delete(_) => "DeleteQueue",
            Self::Send(_) => "SendMessage",
            Self::Receive { .. } => "ReceiveMessage",
            Self::Peek { .. } => "PeekMessage",
            Self::DeleteMessage { .. } | Self::DeleteMessages(_) => "DeleteMessage",
            Self::ChangeVisibility { .. } => "ChangeMessageVisibility",
        }
    }
}

impl OnTopic {
    fn name(&self) -> &'static str {
        match self {
            Self::List => "ListTopic",
            Self::Create(_) => "CreateTopic",
            Self::Set(_) => "SetTopicAttributes",
            Self::Get(_) => "GetTopicAttributes",
            Self::Delete(_) => "DeleteTopic",
            Self::Publish(_) => "PublishMessage",
            Self::ListSubscriptions(_) => "ListSubscriptionByTopic",
            Self::Subscribe { .. } => "Subscribe",
            Self::SetSubscription { .. } => "SetSubscriptionAttributes",
            Self::GetSubscription { .. } => "GetSubscriptionAttributes",
            Self::Unsubscribe { .. } => "Unsubscribe",
        }
    }
}

/// Finds the operation of a request.
pub(crate) fn find(parts: &Parts) -> Result<Operation, Fault> {
    let path = parts.uri.path().trim_start_matches('/').trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    let query = query(parts.uri.query().unwrap_or_default());
    match segments.as_slice() {
        ["queues", rest @ ..] => on_queue(&parts.method, rest, &query).map(Operation::Queue),
        ["topics", rest @ ..] => on_topic(&parts.method, rest, &query).map(Operation::Topic),
        ["commonbuy", "openservice"] if parts.method == Method::POST => {
            Ok(Operation::Account(OnAccount::Open))
        }
        [""] if query.contains_key("accountmeta") => match parts.method {
            Method::GET => Ok(Operation::Account(OnAccount::Get)),
            Method::PUT => Ok(Operation::Account(OnAccount::Set)),
            _ => Err(nowhere()),
        },
        _ => Err(nowhere()),
    }
}

fn on_queue(
    method: &Method,
    path: &[&str],
    query: &BTreeMap<String, String>,
) -> Result<OnQueue, Fault> {
    let queue = |name: &str| name_of(NameKind::Queue, name);
    Ok(match (method, path) {
        (&Method::GET, []) => OnQueue::List,
        (&Method::PUT, [name]) if overrides(query) => OnQueue::Set(queue(name)?),
        (&Method::PUT, [name]) => OnQueue::Create(queue(name)?),
        (&Method::GET, [name]) => OnQueue::Get(queue(name)?),
        (&Method::DELETE, [name]) => OnQueue::Delete(queue(name)?),
        (&Method::POST, [name, "messages"]) => OnQueue::Send(queue(name)?),
        (&Method::GET, [name, "messages"]) => {
            let (queue, batch) = (queue(name)?, query.contains_key("numOfMessages"));
            let count = number(query, "numOfMessages")?.unwrap_or(1);
            match query.get("peekonly").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
                true => OnQueue::Peek { queue, count, batch },
                false => {
                    OnQueue::Receive { queue, count, batch, wait: number(query, "waitseconds")? }
                }
            }
        }
        (&Method::DELETE, [name, "messages"]) => match query.get("ReceiptHandle") {
            Some(receipt) => {
                OnQueue::DeleteMessage { queue: queue(name)?, receipt: receipt.clone() }
            }
            None => OnQueue::DeleteMessages(queue(name)?),
        },
        (&Method::PUT, [name, "messages"]) => OnQueue::ChangeVisibility {
            queue: queue(name)?,
            receipt: query.get("ReceiptHandle").cloned().ok_or_else(|| {
                Fault::new("MissingReceiptHandle", "ReceiptHandle is not in the query.")
            })?,
            seconds: number(query, "VisibilityTimeout")?.ok_or_else(|| {
                Fault::new("MissingVisibilityTimeout", "VisibilityTimeout is not in the query.")
            })?,
        },
        _ => return Err(nowhere()),
    })
}

fn on_topic(
    method: &Method,
    path: &[&str],
    query: &BTreeMap<String, String>,
) -> Result<OnTopic, Fault> {
    let topic = |name: &str| name_of(NameKind::Topic, name);
    let subscription = |name: &str| name_of(NameKind::Subscription, name);
    Ok(match (method, path) {
        (&Method::GET, []) => OnTopic::List,
        (&Method::PUT, [name]) if overrides(query) => OnTopic::Set(topic(name)?),
        (&Method::PUT, [name]) => OnTopic::Create(topic(name)?),
        (&Method::GET, [name]) => OnTopic::Get(topic(name)?),
        (&Method::DELETE, [name]) => OnTopic::Delete(topic(name)?),
        (&Method::POST, [name, "messages"]) => OnTopic::Publish(topic(name)?),
        (&Method::GET, [name, "subscriptions"]) => OnTopic::ListSubscriptions(topic(name)?),
        (method, [name, "subscriptions", s]) => {
            let (topic, name) = (topic(name)?, subscription(s)?);
            match *method {
                Method::PUT if overrides(query) => OnTopic::SetSubscription { topic, name },
                Method::PUT => OnTopic::Subscribe { topic, name },
                Method::GET => OnTopic::GetSubscription { topic, name },
                Method::DELETE => OnTopic::Unsubscribe { topic, name },
                _ => return Err(nowhere()),
            }
        }
        _ => return Err(nowhere()),
    })
}

fn nowhere() -> Fault {
    Fault::new("InvalidRequestURL", "The URL of the request is not that of an operation.")
}

fn overrides(query: &BTreeMap<String, String>) -> bool {
    query.get("metaoverride").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// A legal name, or the vendor's code for what is wrong with it.
pub(crate) fn name_of(kind: NameKind, text: &str) -> Result<Name, Fault> {
    Name::parse(kind, text).map_err(|length| {
        let code = match (kind, length) {
            (NameKind::Queue, true) => "QueueNameLengthError",
            (NameKind::Queue, false) => "InvalidQueueName",
            (NameKind::Topic, true) => "TopicNameLengthError",
            (NameKind::Topic, false) => "TopicNameInvalid",
            (NameKind::Subscription, true) => "SubscriptionNameLengthError",
            (NameKind::Subscription, false) => "SubscriptionNameInvalid",
        };
        let shown: String = text.chars().take(64).collect();
        Fault::new(code, format!("The name `{shown}` is not legal."))
    })
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn number(query: &BTreeMap<String, String>, name: &str) -> Result<Option<u32>, Fault> {
    let Some(value) = query.get(name) else { return Ok(None) };
    value.parse().map(Some).map_err(|_| {
        Fault::new("InvalidQueryString", format!("{name} in the query is not a number."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str) -> Result<&'static str, &'static str> {
        let request = http::Request::builder().method(method).uri(target).body(());
        let (parts, ()) = request.expect("legal").into_parts();
        find(&parts).map(|operation| operation.name()).map_err(|fault| fault.code)
    }

    #[test]
    fn every_operation_is_found() {
        for (method, target, wanted) in [
            ("GET", "/queues", Ok("ListQueue")),
            ("PUT", "/queues/q", Ok("CreateQueue")),
            ("PUT", "/queues/q?metaoverride=true", Ok("SetQueueAttributes")),
            ("GET", "/queues/q", Ok("GetQueueAttributes")),
            ("DELETE", "/queues/q", Ok("DeleteQueue")),
            ("POST", "/queues/q/messages", Ok("SendMessage")),
            ("GET", "/queues/q/messages?waitseconds=3&numOfMessages=2", Ok("ReceiveMessage")),
            ("GET", "/queues/q/messages?peekonly=true", Ok("PeekMessage")),
            ("DELETE", "/queues/q/messages?ReceiptHandle=1-1-1-1", Ok("DeleteMessage")),
            ("DELETE", "/queues/q/messages", Ok("DeleteMessage")),
            (
                "PUT",
                "/queues/q/messages?ReceiptHandle=1&VisibilityTimeout=3",
                Ok("ChangeMessageVisibility"),
            ),
            ("PUT", "/queues/q/messages?VisibilityTimeout=3", Err("MissingReceiptHandle")),
            ("PUT", "/queues/q/messages?ReceiptHandle=1", Err("MissingVisibilityTimeout")),
            ("GET", "/topics", Ok("ListTopic")),
            ("PUT", "/topics/t", Ok("CreateTopic")),
            ("POST", "/topics/t/messages", Ok("PublishMessage")),
            ("PUT", "/topics/t/subscriptions/s", Ok("Subscribe")),
            ("PUT", "/topics/t/subscriptions/s?metaoverride=true", Ok("SetSubscriptionAttributes")),
            ("GET", "/topics/t/subscriptions", Ok("ListSubscriptionByTopic")),
            ("DELETE", "/topics/t/subscriptions/s", Ok("Unsubscribe")),
            ("GET", "/?accountmeta=true", Ok("GetAccountAttributes")),
            ("PUT", "/?accountmeta=true", Ok("SetAccountAttributes")),
            ("POST", "/commonbuy/openservice", Ok("OpenService")),
            ("GET", "/", Err("InvalidRequestURL")),
            ("PATCH", "/queues/q", Err("InvalidRequestURL")),
            ("GET", "/queues/q/messages?waitseconds=x", Err("InvalidQueryString")),
            ("PUT", "/queues/a_b", Err("InvalidQueueName")),
            ("PUT", "/topics/t/subscriptions/-", Err("SubscriptionNameInvalid")),
        ] {
            assert_eq!(ask(method, target), wanted, "{method} {target}");
        }
    }
}
