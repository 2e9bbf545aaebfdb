//! What a subscription delivers (`reference/mns.md` 10 and 11): the published text itself, or a
//! document around it in XML or JSON.

use super::{NAMESPACE, VERSION, body_md5, content_md5};
use crate::{oss::xml::Out, time::http_date};
use gristmill_model::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    /// The account of the topic and of the subscription.
    pub owner: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The subscription.
    pub subscription: &'a str,
    /// The message's id.
    pub message_id: &'a str,
    /// The text, as published.
    pub message: &'a str,
    /// Its tag.
    pub tag: Option<&'a str>,
    /// When it was published.
    pub published: Timestamp,
}

/// The three forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A document.
    Xml,
    /// An object; all values are texts.
    Json,
    /// The text itself.
    Simplified,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Json<'a> {
    topic_owner: &'a str,
    topic_name: &'a str,
    subscriber: &'a str,
    subscription_name: &'a str,
    message_id: &'a str,
    message: &'a str,
    #[serde(rename = "MessageMD5")]
    message_md5: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_tag: Option<&'a str>,
    publish_time: String,
}

/// The body that is delivered.
pub fn body(form: Form, told: &Told<'_>) -> String {
    let publish_time = told.published.0.div_euclid(1_000).to_string();
    match form {
        Form::Simplified => told.message.to_owned(),
        Form::Json => serde_json::to_string(&Json {
            topic_owner: told.owner,
            topic_name: told.topic,
            subscriber: told.owner,
            subscription_name: told.subscription,
            message_id: told.message_id,
            message: told.message,
            message_md5: body_md5(told.message),
            message_tag: told.tag,
            publish_time,
        })
        .expect("texts can be written"),
        Form::Xml => {
            let mut out = Out::new_in("Notification", NAMESPACE);
            out.leaf("TopicOwner", told.owner)
                .leaf("TopicName", told.topic)
                .leaf("Subscriber", told.owner)
                .leaf("SubscriptionName", told.subscription)
                .leaf("MessageId", told.message_id)
                .leaf("Message", told.message)
                .leaf("MessageMD5", body_md5(told.message))
                .leaf_if("MessageTag", told.tag)
                .leaf("PublishTime", publish_time);
            out.finish()
        }
    }
}

/// The headers of a push, without the signature. `certificate_url` is the address itself.
pub fn headers(
    form: Form,
    told: &Told<'_>,
    body: &str,
    certificate_url: &str,
    request_id: &str,
    now: Timestamp,
) -> BTreeMap<String, String> {
    use base64::Engine;
    let content_type = match form {
        Form::Xml => "text/xml;charset=utf-8",
        Form::Json => "application/json",
        Form::Simplified => "text/plain;charset=utf-8",
    };
    let url = base64::engine::general_purpose::STANDARD.encode(certificate_url);
    let mut headers: BTreeMap<String, String> = [
        ("content-type", content_type),
        ("content-md5", &content_md5(body.as_bytes())),
        ("date", &http_date(now)),
        ("x-mns-request-id", request_id),
        ("x-mns-version", VERSION),
        ("x-mns-signing-cert-url", &url),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if form == Form::Simplified {
        headers.insert("x-mns-message-id".into(), told.message_id.to_owned());
        if let Some(tag) = told.tag {
            headers.insert("x-mns-message-tag".into(), tag.to_owned());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<'a>(tag: Option<&'a str>) -> Told<'a> {
        Told {
            owner: "1",
            topic: "t",
            subscription: "s",
            message_id: "ID",
            message: "{\"a\":\"<b>\"}",
            tag,
            published: Timestamp(1_700_000_000_123_456),
        }
    }

    #[test]
    fn the_three_forms_say_the_same() {
        assert_eq!(body(Form::Simplified, &told(None)), "{\"a\":\"<b>\"}");
        let md5 = body_md5("{\"a\":\"<b>\"}");
        assert_eq!(
            body(Form::Json, &told(Some("x"))),
            format!(
                "{{\"TopicOwner\":\"1\",\"TopicName\":\"t\",\"Subscriber\":\"1\",\
                 \"SubscriptionName\":\"s\",\"MessageId\":\"ID\",\
                 \"Message\":\"{{\\\"a\\\":\\\"<b>\\\"}}\",\"MessageMD5\":\"{md5}\",\
                 \"MessageTag\":\"x\",\"PublishTime\":\"1700000000123\"}}"
            )
        );
        let xml = body(Form::Xml, &told(None));
        assert!(xml.contains("<Message>{&quot;a&quot;:&quot;&lt;b&gt;&quot;}</Message>"), "{xml}");
        assert!(!xml.contains("MessageTag"), "{xml}");
    }
}
