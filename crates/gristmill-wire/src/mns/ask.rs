//! Bodies of requests to the message service (`reference/mns.md` 5 to 9). Namespaces are ignored;
//! what is not there is `None`; numbers are checked for being numbers, ranges by whoever keeps
//! the things.

use crate::oss::xml::{self, Malformed, Node};

/// Why a body cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It is not the XML that was expected.
    #[error("{0}")]
    Malformed(String),
    /// A member has another form.
    #[error("{member} `{value}` is not {form}")]
    Member {
        /// Which.
        member: &'static str,
        /// As sent.
        value: String,
        /// What it should be.
        form: &'static str,
    },
}

impl AskError {
    /// The vendor's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MalformedXML",
            Self::Member { .. } => "InvalidArgument",
        }
    }
}

impl From<Malformed> for AskError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

/// Attributes of a queue, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueAsk {
    /// `VisibilityTimeout`.
    pub visibility: Option<u32>,
    /// `MaximumMessageSize`.
    pub size_max: Option<u32>,
    /// `MessageRetentionPeriod`.
    pub retention: Option<u32>,
    /// `DelaySeconds`.
    pub delay: Option<u32>,
    /// `PollingWaitSeconds`.
    pub polling_wait: Option<u32>,
    /// `LoggingEnabled`.
    pub logging: Option<bool>,
}

/// Attributes of a topic, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicAsk {
    /// `MaximumMessageSize`.
    pub size_max: Option<u32>,
    /// `LoggingEnabled`.
    pub logging: Option<bool>,
}

/// A subscription, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionAsk {
    /// `Endpoint`.
    pub endpoint: Option<String>,
    /// `NotifyStrategy`.
    pub strategy: Option<String>,
    /// `NotifyContentFormat`.
    pub format: Option<String>,
    /// `FilterTag`.
    pub tag: Option<String>,
}

/// A message to be sent or published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageAsk {
    /// `MessageBody`, as sent.
    pub body: String,
    /// `DelaySeconds`.
    pub delay: Option<u32>,
    /// `Priority`.
    pub priority: Option<u32>,
    /// `MessageTag`.
    pub tag: Option<String>,
    /// `MessageGroupId`.
    pub group: String,
    /// `UserProperties`.
    pub user_properties: Vec<PropertyAsk>,
    /// `SystemProperties`.
    pub system_properties: Vec<PropertyAsk>,
}

/// One property of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyAsk {
    /// `Name`.
    pub name: String,
    /// `Value`.
    pub value: String,
    /// `Type`.
    pub kind: String,
}

/// Reads the body of CreateQueue and SetQueueAttributes. An empty body wishes nothing.
pub fn queue(body: &[u8]) -> Result<QueueAsk, AskError> {
    let Some(node) = optional(body, "Queue")? else { return Ok(QueueAsk::default()) };
    Ok(QueueAsk {
        visibility: number(&node, "VisibilityTimeout")?,
        size_max: number(&node, "MaximumMessageSize")?,
        retention: number(&node, "MessageRetentionPeriod")?,
        delay: number(&node, "DelaySeconds")?,
        polling_wait: number(&node, "PollingWaitSeconds")?,
        logging: truth(&node, "LoggingEnabled")?,
    })
}

/// Reads the body of CreateTopic and SetTopicAttributes. An empty body wishes nothing.
pub fn topic(body: &[u8]) -> Result<TopicAsk, AskError> {
    let Some(node) = optional(body, "Topic")? else { return Ok(TopicAsk::default()) };
    let size_max = number(&node, "MaximumMessageSize")?;
    Ok(TopicAsk { size_max, logging: truth(&node, "LoggingEnabled")? })
}

/// Reads the body of Subscribe and SetSubscriptionAttributes.
pub fn subscription(body: &[u8]) -> Result<SubscriptionAsk, AskError> {
    let node = xml::parse(body, "Subscription")?;
    Ok(SubscriptionAsk {
        endpoint: text(&node, "Endpoint"),
        strategy: text(&node, "NotifyStrategy"),
        format: text(&node, "NotifyContentFormat"),
        tag: text(&node, "FilterTag"),
    })
}

/// The messages of a request, and whether it was a batch.
pub fn messages(body: &[u8]) -> Result<(Vec<MessageAsk>, bool), AskError> {
    match xml::parse(body, "Messages") {
        Ok(node) => {
            let all: Result<Vec<_>, _> = node.all("Message").map(message).collect();
            Ok((all?, true))
        }
        Err(_) => Ok((vec![message(&xml::parse(body, "Message")?)?], false)),
    }
}

fn message(node: &Node) -> Result<MessageAsk, AskError> {
    Ok(MessageAsk {
        body: node.need("MessageBody")?.to_owned(),
        delay: number(node, "DelaySeconds")?,
        priority: number(node, "Priority")?,
        tag: text(node, "MessageTag"),
        group: text(node, "MessageGroupId").unwrap_or_default(),
        user_properties: properties(node, "UserProperties", "PropertyValue")?,
        system_properties: properties(node, "SystemProperties", "SystemPropertyValue")?,
    })
}

fn properties(node: &Node, list: &str, item: &str) -> Result<Vec<PropertyAsk>, AskError> {
    let Some(list) = node.child(list) else { return Ok(Vec::new()) };
    let read = |node: &Node| {
        Ok(PropertyAsk {
            name: node.need("Name")?.to_owned(),
            value: node.need("Value")?.to_owned(),
            kind: node.text_of("Type").unwrap_or("STRING").to_owned(),
        })
    };
    list.all(item).map(read).collect()
}

/// Reads the receipts of BatchDeleteMessage.
pub fn receipts(body: &[u8]) -> Result<Vec<String>, AskError> {
    let node = xml::parse(body, "ReceiptHandles")?;
    Ok(node.all("ReceiptHandle").map(|it| it.text.trim().to_owned()).collect())
}

/// Reads the body of SetAccountAttributes.
pub fn logging_bucket(body: &[u8]) -> Result<String, AskError> {
    Ok(text(&xml::parse(body, "Account")?, "LoggingBucket").unwrap_or_default())
}

fn optional(body: &[u8], root: &str) -> Result<Option<Node>, AskError> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    Ok(Some(xml::parse(body, root)?))
}

/// The text of a child; an empty one is none.
fn text(node: &Node, member: &str) -> Option<String> {
    node.text_of(member).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number(node: &Node, member: &'static str) -> Result<Option<u32>, AskError> {
    let Some(value) = text(node, member) else { return Ok(None) };
    match value.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(AskError::Member { member, value, form: "a number" }),
    }
}

fn truth(node: &Node, member: &'static str) -> Result<Option<bool>, AskError> {
    let Some(value) = text(node, member) else { return Ok(None) };
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(AskError::Member { member, value, form: "True or False" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_say_what_they_want_and_nothing_else() {
        let body = b"<?xml version=\"1.0\"?><Queue xmlns=\"http://mns.aliyuncs.com/doc/v1\">\
            <VisibilityTimeout>10</VisibilityTimeout><LoggingEnabled>True</LoggingEnabled>\
            <DelaySeconds></DelaySeconds></Queue>";
        let wanted = QueueAsk { visibility: Some(10), logging: Some(true), ..QueueAsk::default() };
        assert_eq!(queue(body), Ok(wanted));
        assert_eq!(queue(b""), Ok(QueueAsk::default()));
        assert_eq!(queue(b"<Topic/>").expect_err("refused").code(), "MalformedXML");
        let wrong = queue(b"<Queue><DelaySeconds>-1</DelaySeconds></Queue>").expect_err("refused");
        assert_eq!(
            (wrong.code(), wrong.to_string().as_str()),
            ("InvalidArgument", "DelaySeconds `-1` is not a number")
        );
    }

    #[test]
    fn one_message_and_a_batch_are_told_apart() {
        let one = b"<Message><MessageBody> a&lt;b </MessageBody><Priority>1</Priority></Message>";
        let (messages_read, batch) = messages(one).expect("read");
        assert_eq!(
            (messages_read[0].body.as_str(), messages_read[0].priority, batch),
            (" a<b ", Some(1), false)
        );
        let two = b"<Messages><Message><MessageBody>a</MessageBody></Message><Message>\
            <MessageBody>b</MessageBody><UserProperties><PropertyValue><Name>n</Name>\
            <Value>1</Value><Type>NUMBER</Type></PropertyValue></UserProperties></Message></Messages>";
        let (messages_read, batch) = messages(two).expect("read");
        assert_eq!((messages_read.len(), batch), (2, true));
        let property = PropertyAsk { name: "n".into(), value: "1".into(), kind: "NUMBER".into() };
        assert_eq!(messages_read[1].user_properties, [property]);
        assert!(messages(b"<Message/>").is_err(), "a message has a body");
    }
}
