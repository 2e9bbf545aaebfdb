//! Operations on topics and their subscriptions.

use super::{
    Call, Inner, Reply,
    fault::Fault,
    queues::{page, properties, with_meta},
    route::{OnTopic, name_of},
};
use gristmill_messages::{
    Endpoint, Format, Name, NameKind, Publication, Strategy, SubscriptionInfo, SubscriptionWish,
    TopicInfo, TopicWish, limits,
};
use gristmill_model::AccountId;
use gristmill_wire::mns::{
    answer::{self, SentShown, SubscriptionShown, TopicShown},
    ask,
};
use http::{StatusCode, Uri};

/// The longest endpoint.
const ENDPOINT_SIZE_MAX: usize = 2_048;

pub(super) async fn carry_out(
    door: &Inner,
    call: &Call,
    operation: OnTopic,
) -> Result<Reply, Fault> {
    let (messages, account) = (&door.messages, call.account);
    match operation {
        OnTopic::List => {
            let listing = messages.topics(account, page(call)?).await?;
            let topics: Vec<_> = listing.items.into_iter().map(|it| shown(call, it)).collect();
            Ok(Reply::xml(answer::topics(&topics, with_meta(call), listing.next.as_deref())))
        }
        OnTopic::Create(name) => {
            let location = call.url("topics", name.as_str());
            Ok(Reply::created(messages.create_topic(account, name, wish(call)?).await?, location))
        }
        OnTopic::Set(name) => {
            messages.set_topic(account, name, wish(call)?).await?;
            Ok(Reply::nothing())
        }
        OnTopic::Get(name) => {
            let topic = messages.topic(account, name).await?;
            Ok(Reply::xml(answer::topic(&shown(call, topic))))
        }
        OnTopic::Delete(name) => {
            messages.delete_topic(account, name).await?;
            Ok(Reply::nothing())
        }
        OnTopic::Publish(name) => publish(door, call, name).await,
        OnTopic::ListSubscriptions(topic) => {
            let listing = messages.subscriptions(account, topic, page(call)?).await?;
            let urls: Vec<_> = listing
                .items
                .iter()
                .map(|it| subscription_url(call, &it.topic, &it.name))
                .collect();
            Ok(Reply::xml(answer::subscriptions(&urls, listing.next.as_deref())))
        }
        OnTopic::Subscribe { topic, name } => {
            let wish = subscription(&door.settings.region, account, &call.body)?;
            let location = subscription_url(call, topic.as_str(), name.as_str());
            let created = messages.subscribe(account, topic, name, wish).await?;
            Ok(Reply::created(created, location))
        }
        OnTopic::SetSubscription { topic, name } => {
            let strategy = strategy(ask::subscription(&call.body)?.strategy.as_deref())?;
            messages.set_subscription(account, topic, name, strategy).await?;
            Ok(Reply::nothing())
        }
        OnTopic::GetSubscription { topic, name } => {
            let found = messages.subscription(account, topic, name).await?;
            Ok(Reply::xml(answer::subscription(&shown_subscription(call, found))))
        }
        OnTopic::Unsubscribe { topic, name } => {
            messages.unsubscribe(account, topic, name).await?;
            Ok(Reply::nothing())
        }
    }
}

fn subscription_url(call: &Call, topic: &str, name: &str) -> String {
    call.url("topics", &format!("{topic}/subscriptions/{name}"))
}

fn wish(call: &Call) -> Result<TopicWish, Fault> {
    let ask::TopicAsk { size_max, logging } = ask::topic(&call.body)?;
    Ok(TopicWish { size_max, logging })
}

fn shown(call: &Call, topic: TopicInfo) -> TopicShown {
    TopicShown {
        url: call.url("topics", &topic.name),
        name: topic.name,
        created: topic.created,
        modified: topic.modified,
        size_max: topic.attributes.size_max,
        retention: limits::TOPIC_RETENTION.0,
        messages: topic.messages,
        logging: topic.attributes.logging,
    }
}

fn shown_subscription(call: &Call, found: SubscriptionInfo) -> SubscriptionShown {
    SubscriptionShown {
        url: subscription_url(call, &found.topic, &found.name),
        owner: call.account.to_string(),
        topic: found.topic,
        name: found.name,
        endpoint: found.endpoint,
        strategy: found.strategy.name().to_owned(),
        format: found.format.name().to_owned(),
        tag: found.tag,
        created: found.created,
        modified: found.modified,
    }
}

async fn publish(door: &Inner, call: &Call, topic: Name) -> Result<Reply, Fault> {
    let (mut asked, batch) = ask::messages(&call.body)?;
    let (Some(asked), false) = (asked.pop(), batch) else {
        return Err(Fault::new("MalformedXML", "one Message is published at a time"));
    };
    if let Some(tag) = &asked.tag {
        check_tag(tag)?;
    }
    let properties = properties(&asked)?;
    let body = asked.body.clone();
    let publication =
        Publication { body: asked.body, tag: asked.tag, group: asked.group, properties };
    let published = door.messages.publish(call.account, topic, publication).await?;
    let sent = [SentShown::Sent { id: published.id, body, receipt: None }];
    Ok(Reply::xml(answer::sent(&sent, false)).with_status(StatusCode::CREATED))
}

fn check_tag(tag: &str) -> Result<(), Fault> {
    match tag.chars().count() > limits::TAG_MAX {
        true => {
            let message = format!("a tag has at most {} characters", limits::TAG_MAX);
            Err(Fault::new("InvalidArgument", message))
        }
        false => Ok(()),
    }
}

fn strategy(name: Option<&str>) -> Result<Option<Strategy>, Fault> {
    let unknown =
        |name: &str| Fault::new("InvalidArgument", format!("NotifyStrategy `{name}` is not known"));
    name.map(|name| Strategy::parse(name).ok_or_else(|| unknown(name))).transpose()
}

/// Reads a subscription and checks where it leads.
fn subscription(region: &str, account: AccountId, body: &[u8]) -> Result<SubscriptionWish, Fault> {
    let asked = ask::subscription(body)?;
    let format = asked.format.unwrap_or_else(|| Format::Xml.name().to_owned());
    let format = Format::parse(&format).ok_or_else(|| {
        Fault::new("InvalidArgument", format!("NotifyContentFormat `{format}` is not known"))
    })?;
    if let Some(tag) = &asked.tag {
        check_tag(tag)?;
    }
    let endpoint = endpoint(region, account, &asked.endpoint.unwrap_or_default())?;
    let strategy = strategy(asked.strategy.as_deref())?.unwrap_or_default();
    Ok(SubscriptionWish { endpoint, strategy, format, tag: asked.tag })
}

/// A queue of the same region and account, or a URL. Which addresses are called is decided when
/// they are.
fn endpoint(region: &str, account: AccountId, text: &str) -> Result<Endpoint, Fault> {
    let invalid = |reason: &str| {
        let shown: String = text.chars().take(200).collect();
        Fault::new("EndpointInvalid", format!("the endpoint `{shown}` {reason}"))
    };
    if text.len() > ENDPOINT_SIZE_MAX {
        return Err(invalid("is too long"));
    }
    if let Some(queue) = text.strip_prefix("acs:mns:") {
        let mut parts = queue.splitn(3, ':');
        let (there, owner, queue) = (parts.next(), parts.next(), parts.next());
        let queue = queue.and_then(|it| it.strip_prefix("queues/"));
        let queue = queue.ok_or_else(|| invalid("does not name a queue"))?;
        if there != Some(region) || owner != Some(account.to_string().as_str()) {
            return Err(invalid("is not in this region and of this account"));
        }
        let name = name_of(NameKind::Queue, queue)?;
        return Ok(Endpoint::Queue { text: text.to_owned(), name });
    }
    if ["mail:", "sms:"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(invalid("is mail or a telephone; there is neither here"));
    }
    let url: Uri = text.parse().map_err(|_| invalid("is not a URL"))?;
    let plain = url.authority().is_some_and(|it| !it.as_str().contains('@'));
    if !matches!(url.scheme_str(), Some("http" | "https")) || !plain {
        return Err(invalid("is neither a queue nor an http:// or https:// address"));
    }
    if url.path().starts_with("/mns-reserverd-") {
        return Err(invalid("has a reserved path"));
    }
    Ok(Endpoint::Http(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_queues_of_the_account_or_addresses() {
        let read = |text: &str| endpoint("cn-local", AccountId(7), text).map_err(|it| it.code);
        assert!(matches!(read("acs:mns:cn-local:7:queues/q"), Ok(Endpoint::Queue { .. })));
        for good in ["http://h", "http://h:80/a?b=c", "https://h/x"] {
            assert_eq!(read(good), Ok(Endpoint::Http(good.into())), "{good}");
        }
        for bad in [
            "",
            "h",
            "ftp://h/",
            "http://user:secret@h/",
            "http://h/mns-reserverd-x",
            "acs:mns:cn-other:7:queues/q",
            "acs:mns:cn-local:8:queues/q",
            "acs:mns:cn-local:7:topics/q",
            "mail:directmail:a@b",
            "sms:directsms:anonymous|1",
        ] {
            assert_eq!(read(bad), Err("EndpointInvalid"), "{bad}");
        }
        assert_eq!(read("acs:mns:cn-local:7:queues/a_b"), Err("InvalidQueueName"));
    }
}
