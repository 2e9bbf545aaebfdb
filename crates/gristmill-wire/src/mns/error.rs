//! Error codes of the message service: which status belongs to which code, and the body that
//! carries them (`reference/mns.md` 4). The official SDK needs all four children of the body.

use super::NAMESPACE;
use crate::oss::xml::Out;

/// Every code with its status.
pub const CODES: &[(&str, u16)] = &[
    ("InvalidArgument", 400),
    ("InvalidAuthorizationHeader", 400),
    ("InvalidDateHeader", 400),
    ("InvalidDegist", 400), // the vendor's spelling
    ("InvalidRequestURL", 400),
    ("InvalidQueryString", 400),
    ("MalformedXML", 400),
    ("MissingAuthorizationHeader", 400),
    ("MissingDateHeader", 400),
    ("MissingVisibilityTimeout", 400),
    ("MissingReceiptHandle", 400),
    ("ReceiptHandleError", 400),
    ("InvalidQueueName", 400),
    ("QueueNameLengthError", 400),
    ("TopicNameInvalid", 400),
    ("TopicNameLengthError", 400),
    ("SubscriptionNameInvalid", 400),
    ("SubscriptionNameLengthError", 400),
    ("EndpointInvalid", 400),
    ("AccessDenied", 403),
    ("InvalidAccessKeyId", 403),
    ("InvalidSecurityToken", 403),
    ("QuotaExceeded", 403),
    ("SignatureDoesNotMatch", 403),
    ("QueueNotExist", 404),
    ("MessageNotExist", 404),
    ("TopicNotExist", 404),
    ("SubscriptionNotExist", 404),
    ("TimeExpired", 408),
    ("QueueAlreadyExist", 409),
    ("TopicAlreadyExist", 409),
    ("SubscriptionAlreadyExist", 409),
    ("InternalError", 500),
    ("ServiceUnavailable", 503),
];

/// The status of a code. An unknown one is a bad request.
pub fn status(code: &str) -> u16 {
    CODES.iter().find(|(known, _)| *known == code).map_or(400, |(_, status)| *status)
}

/// The body of an error.
pub fn body(code: &str, message: &str, request_id: &str, host: &str) -> String {
    let mut out = Out::new_in("Error", NAMESPACE);
    out.leaf("Code", code).leaf("Message", message);
    out.leaf("RequestId", request_id).leaf("HostId", host);
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_four_children_and_the_namespace() {
        assert_eq!(
            body("QueueNotExist", "a < b", "ID", "http://h"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Error xmlns=\"http://mns.aliyuncs.com/doc/v1/\"><Code>QueueNotExist</Code>\
             <Message>a &lt; b</Message><RequestId>ID</RequestId><HostId>http://h</HostId></Error>"
        );
        assert_eq!((status("TimeExpired"), status("Whatever")), (408, 400));
    }
}
