//! Operations on queues and their messages.

use super::{Call, Inner, Reply, fault, fault::Fault, request_header, route::OnQueue};
use gristmill_messages::{
    Letter, MessagesError, Name, NewLetter, Page, Property, PropertyScope, QueueInfo, QueueWish,
    limits,
};
use gristmill_wire::mns::{
    answer::{self, MessageShown, QueueShown, SentShown},
    ask::{self, MessageAsk, PropertyAsk},
};
use http::StatusCode;

pub(super) async fn carry_out(
    door: &Inner,
    call: &Call,
    operation: OnQueue,
) -> Result<Reply, Fault> {
    let (messages, account) = (&door.messages, call.account);
    match operation {
        OnQueue::List => list(door, call).await,
        OnQueue::Create(name) => {
            let location = call.url("queues", name.as_str());
            Ok(Reply::created(messages.create_queue(account, name, wish(call)?).await?, location))
        }
        OnQueue::Set(name) => {
            messages.set_queue(account, name, wish(call)?).await?;
            Ok(Reply::nothing())
        }
        OnQueue::Get(name) => {
            let queue = messages.queue(account, name).await?;
            Ok(Reply::xml(answer::queue(&shown_queue(call, queue))))
        }
        OnQueue::Delete(name) => {
            messages.delete_queue(account, name).await?;
            Ok(Reply::nothing())
        }
        OnQueue::Send(name) => send(door, call, name).await,
        OnQueue::Receive { queue, count, batch, wait } => {
            let letters = messages.receive(account, queue, count, wait).await?;
            Ok(Reply::xml(answer::messages(&shown(letters), batch)))
        }
        OnQueue::Peek { queue, count, batch } => {
            let letters = messages.peek(account, queue, count).await?;
            Ok(Reply::xml(answer::messages(&shown(letters), batch)))
        }
        OnQueue::DeleteMessage { queue, receipt } => {
            let deleted = messages.delete_letters(account, queue, vec![receipt]).await?;
            deleted.into_iter().collect::<Result<Vec<()>, _>>()?;
            Ok(Reply::nothing())
        }
        OnQueue::DeleteMessages(queue) => delete(door, call, queue).await,
        OnQueue::ChangeVisibility { queue, receipt, seconds } => {
            let changed = messages.change_visibility(account, queue, receipt, seconds).await?;
            Ok(Reply::xml(answer::changed_visibility(&changed.0, changed.1)))
        }
    }
}

impl Call {
    /// The address of a thing, as the client reaches it.
    pub(super) fn url(&self, kind: &str, path: &str) -> String {
        format!("http://{}/{kind}/{path}", self.host)
    }
}

/// Which part of a list the headers of a request ask for.
pub(super) fn page(call: &Call) -> Result<Page, Fault> {
    let header = |name| request_header(&call.parts, name).unwrap_or_default();
    let count = header("x-mns-ret-number");
    let items_max = match count.parse::<u32>() {
        Ok(count) if limits::PAGE.contains(&count) => count,
        _ if count.is_empty() => *limits::PAGE.end(),
        _ => {
            let message = format!("x-mns-ret-number `{count}` is not in [1, 1000]");
            return Err(Fault::new("InvalidArgument", message));
        }
    };
    let (prefix, after) = (header("x-mns-prefix").to_owned(), header("x-mns-marker").to_owned());
    Ok(Page { prefix, after, items_max })
}

/// Whether a list shows attributes.
pub(super) fn with_meta(call: &Call) -> bool {
    request_header(&call.parts, "x-mns-with-meta").is_some_and(|it| it.eq_ignore_ascii_case("true"))
}

async fn list(door: &Inner, call: &Call) -> Result<Reply, Fault> {
    let listing = door.messages.queues(call.account, page(call)?).await?;
    let queues: Vec<_> = listing.items.into_iter().map(|queue| shown_queue(call, queue)).collect();
    Ok(Reply::xml(answer::queues(&queues, with_meta(call), listing.next.as_deref())))
}

fn wish(call: &Call) -> Result<QueueWish, Fault> {
    let ask::QueueAsk { visibility, size_max, retention, delay, polling_wait, logging } =
        ask::queue(&call.body)?;
    Ok(QueueWish { visibility, size_max, retention, delay, polling_wait, logging })
}

fn shown_queue(call: &Call, queue: QueueInfo) -> QueueShown {
    let attributes = queue.attributes;
    QueueShown {
        url: call.url("queues", &queue.name),
        name: queue.name,
        created: queue.created,
        modified: queue.modified,
        numbers: [
            attributes.visibility.0,
            attributes.size_max,
            attributes.retention.0,
            attributes.delay.0,
            attributes.polling_wait.0,
        ],
        counts: [queue.counts.active, queue.counts.inactive, queue.counts.delayed],
        logging: attributes.logging,
    }
}

async fn send(door: &Inner, call: &Call, queue: Name) -> Result<Reply, Fault> {
    let (asked, batch) = ask::messages(&call.body)?;
    if asked.is_empty() || asked.len() > *limits::BATCH.end() as usize {
        let message = format!("{} messages are not 1 to {}", asked.len(), limits::BATCH.end());
        return Err(Fault::new("InvalidArgument", message));
    }
    let bodies: Vec<String> = asked.iter().map(|message| message.body.clone()).collect();
    let letters = asked.into_iter().map(letter).collect::<Result<Vec<_>, _>>()?;
    let outcomes = door.messages.send(call.account, queue, letters).await?;
    let failed = outcomes.iter().any(Result::is_err);
    if !batch && let Some(Err(error)) = outcomes.first() {
        return Err(error.clone().into());
    }
    let sent: Vec<_> = outcomes.into_iter().zip(bodies).map(|(it, body)| how(it, body)).collect();
    let status = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::CREATED };
    Ok(Reply::xml(answer::sent(&sent, batch)).with_status(status))
}

fn how(outcome: Result<gristmill_messages::Posted, MessagesError>, body: String) -> SentShown {
    match outcome {
        Ok(posted) => SentShown::Sent { id: posted.id, body, receipt: posted.receipt },
        Err(error) => SentShown::Failed { code: fault::code(&error), message: error.to_string() },
    }
}

fn letter(asked: MessageAsk) -> Result<NewLetter, Fault> {
    let properties = properties(&asked)?;
    let priority = asked.priority.unwrap_or(NewLetter::PRIORITY);
    let MessageAsk { body, delay, group, .. } = asked;
    Ok(NewLetter { body, delay, priority, group, properties })
}

/// The properties of a message, if they are not too many.
pub(super) fn properties(asked: &MessageAsk) -> Result<Vec<Property>, Fault> {
    let of = |scope| {
        move |asked: &PropertyAsk| {
            let PropertyAsk { name, value, kind } = asked.clone();
            Property { scope, name, value, kind }
        }
    };
    let user = asked.user_properties.iter().map(of(PropertyScope::User));
    let all: Vec<_> =
        user.chain(asked.system_properties.iter().map(of(PropertyScope::System))).collect();
    if all.len() > limits::PROPERTIES_MAX {
        let message = format!("{} properties are more than {}", all.len(), limits::PROPERTIES_MAX);
        return Err(Fault::new("InvalidArgument", message));
    }
    Ok(all)
}

fn shown(letters: Vec<Letter>) -> Vec<MessageShown> {
    let show = |letter: Letter| {
        let of = |scope: PropertyScope| {
            let own = letter.properties.iter().filter(|it| it.scope == scope);
            own.map(|it| [it.name.clone(), it.value.clone(), it.kind.clone()]).collect()
        };
        let (user_properties, system_properties) =
            (of(PropertyScope::User), of(PropertyScope::System));
        MessageShown {
            id: letter.id,
            receipt: letter.receipt,
            body: letter.body,
            enqueued: letter.enqueued,
            next_visible: letter.next_visible,
            first_dequeued: letter.first_dequeued,
            dequeues: letter.dequeues,
            priority: letter.priority,
            group: letter.group,
            user_properties,
            system_properties,
        }
    };
    letters.into_iter().map(show).collect()
}

async fn delete(door: &Inner, call: &Call, queue: Name) -> Result<Reply, Fault> {
    if call.body.is_empty() {
        return Err(Fault::new("MissingReceiptHandle", "ReceiptHandle is not in the query."));
    }
    let receipts = ask::receipts(&call.body)?;
    if receipts.is_empty() || receipts.len() > *limits::BATCH.end() as usize {
        let message = format!("{} receipts are not 1 to {}", receipts.len(), limits::BATCH.end());
        return Err(Fault::new("InvalidArgument", message));
    }
    let outcomes = door.messages.delete_letters(call.account, queue, receipts.clone()).await?;
    let errors: Vec<_> = outcomes
        .into_iter()
        .zip(receipts)
        .filter_map(|(outcome, receipt)| outcome.err().map(|error| (error, receipt)))
        .map(|(error, receipt)| (fault::code(&error), error.to_string(), receipt))
        .collect();
    match errors.is_empty() {
        true => Ok(Reply::nothing()),
        false => Ok(Reply::xml(answer::delete_errors(&errors)).with_status(StatusCode::NOT_FOUND)),
    }
}
