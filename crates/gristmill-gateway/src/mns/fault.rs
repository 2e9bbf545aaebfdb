//! What can be wrong with a request to the message service, as code and sentence.

use gristmill_messages::MessagesError;
use gristmill_wire::mns::ask::AskError;
use std::borrow::Cow;

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The vendor's code.
    pub code: &'static str,
    /// For people.
    pub message: Cow<'static, str>,
}

impl Fault {
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<AskError> for Fault {
    fn from(error: AskError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<MessagesError> for Fault {
    fn from(error: MessagesError) -> Self {
        Self::new(code(&error), error.to_string())
    }
}

/// The vendor's code of a refusal.
pub(crate) fn code(error: &MessagesError) -> &'static str {
    use MessagesError as E;
    match error {
        E::NoQueue { .. } => "QueueNotExist",
        E::NoTopic { .. } => "TopicNotExist",
        E::NoSubscription { .. } => "SubscriptionNotExist",
        E::NoMessage => "MessageNotExist",
        E::QueueExists { .. } => "QueueAlreadyExist",
        E::TopicExists { .. } => "TopicAlreadyExist",
        E::SubscriptionExists { .. } => "SubscriptionAlreadyExist",
        E::BadReceipt { .. } => "ReceiptHandleError",
        E::OutOfRange { .. } => "InvalidArgument",
        E::Full { .. } => "QuotaExceeded",
        E::DiskFull | E::Closed => "ServiceUnavailable",
        E::Books { .. } => "InternalError",
    }
}
