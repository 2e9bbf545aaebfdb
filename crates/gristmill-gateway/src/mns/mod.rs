//! The door of the message service: HTTP in front of [`Messages`], so that unmodified clients of
//! the hosted service work (`reference/mns.md`), path-style and host-style.
//!
//! A request's signature is verified over the target as it was sent, then its body is read (at most
//! [`BODY_SIZE_MAX`]), the operation is found and asked of the key's permit, and carried out for
//! the account of the key. The certificate of signed pushes is shown to everybody.
//!
//! Invariants
//! - A key reaches what its account owns, whatever name or number the request carries.
//! - Nothing is kept of the body of somebody who is not known.
//! - Every answer has the four-child error body or the shape of the operation, and
//!   `x-mns-request-id` in lower case: the official SDK compares it so.
//! - No secret and no signature is logged or echoed.
//!
//! Start at [`MnsDoor::handle`]; `route` knows the operations, `queues` and `topics` carry them out.

mod fault;
mod queues;
mod route;
mod topics;

use bytes::Bytes;
use fault::Fault;
use gristmill_messages::Messages;
use gristmill_model::{AccountId, Timestamp};
use gristmill_wire::mns::{
    self,
    sign::{self, SignatureError},
};
use http::{Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use route::Operation;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The longest body: a batch of the largest messages, escaped.
pub const BODY_SIZE_MAX: usize = 8 * 1024 * 1024;
/// How long a client may take to send a body.
const BODY_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long one that nobody wants is read, so that its sender sees why.
const DISCARD_WAIT_MAX: Duration = Duration::from_secs(10);

/// Where access keys are looked up.
pub trait MnsKeys: Send + Sync + 'static {
    /// What the key of this id is worth, given the security token that came with it.
    fn find(&self, access_key_id: &str, security_token: Option<&str>)
    -> Result<MnsKey, MnsRefusal>;
}

/// What an access key is worth at the message service.
pub struct MnsKey {
    /// What signs.
    pub secret: String,
    /// For whom it speaks.
    pub account: AccountId,
    /// Whether it may call the operation of this name.
    pub may: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// Why a key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MnsRefusal {
    /// There is no such key, or it is not active.
    Unknown,
    /// Its security token is missing, wrong or too old.
    Token,
}

/// How a door presents itself.
#[derive(Clone)]
pub struct MnsSettings {
    /// The region; endpoints of queues name it.
    pub region: String,
    /// How far the clock of a client may be off, in microseconds.
    pub skew_micros_max: i64,
    /// What time it is.
    pub clock: gristmill_messages::Clock,
    /// The path of the certificate of signed pushes.
    pub certificate_path: String,
    /// The certificate, PEM, once there is one.
    pub certificate: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct MnsDoor(Arc<Inner>);

struct Inner {
    messages: Messages,
    keys: Arc<dyn MnsKeys>,
    settings: MnsSettings,
    requests: AtomicU64,
}

/// A request whose caller is known.
struct Call {
    account: AccountId,
    /// The address the client used, for URLs in answers.
    host: String,
    parts: Parts,
    body: Bytes,
}

/// An answer of an operation.
struct Reply {
    status: StatusCode,
    body: String,
    location: Option<String>,
}

impl Reply {
    fn xml(body: String) -> Self {
        Self { status: StatusCode::OK, body, location: None }
    }

    fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    fn nothing() -> Self {
        Self::xml(String::new()).with_status(StatusCode::NO_CONTENT)
    }

    /// A create: 201, or 204 when the same was there.
    fn created(created: gristmill_messages::Created, location: String) -> Self {
        let status = match created {
            gristmill_messages::Created::New => StatusCode::CREATED,
            gristmill_messages::Created::Same => StatusCode::NO_CONTENT,
        };
        Self { location: Some(location), ..Self::xml(String::new()).with_status(status) }
    }
}

impl MnsDoor {
    /// A door in front of `messages` for the holders of `keys`.
    pub fn new(messages: Messages, keys: Arc<dyn MnsKeys>, settings: MnsSettings) -> Self {
        Self(Arc::new(Inner { messages, keys, settings, requests: AtomicU64::new(0) }))
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let inner = &self.0;
        let id = inner.request_id();
        let host = host_of(&request);
        let (parts, body) = request.into_parts();
        if let Some(certificate) = inner.certificate(&parts) {
            return certificate;
        }
        let outcome = match inner.caller(&parts) {
            Ok(key) => inner.answer(key, host.clone(), parts, body).await,
            Err(fault) => {
                discard(&parts, body).await;
                Err(fault)
            }
        };
        match outcome {
            Ok(reply) => respond(reply, &id),
            Err(fault) => {
                let status = mns::error::status(fault.code);
                if status >= 500 {
                    tracing::warn!(request = id, code = fault.code, reason = %fault.message, "the message service could not answer");
                }
                let body =
                    mns::error::body(fault.code, &fault.message, &id, &format!("http://{host}"));
                let status = StatusCode::from_u16(status).expect("the table has statuses");
                respond(Reply::xml(body).with_status(status), &id)
            }
        }
    }
}

impl Inner {
    async fn answer<B>(
        &self,
        key: MnsKey,
        host: String,
        parts: Parts,
        body: B,
    ) -> Result<Reply, Fault>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = gather(body).await?;
        check_md5(&parts, &body)?;
        let call = Call { account: key.account, host, parts, body };
        let operation = route::find(&call.parts)?;
        let name = operation.name();
        if !(key.may)(name) || !host_is_own(&call.host, key.account) {
            return Err(Fault::new("AccessDenied", format!("{name} is not allowed to this key.")));
        }
        match operation {
            Operation::Queue(operation) => queues::carry_out(self, &call, operation).await,
            Operation::Topic(operation) => topics::carry_out(self, &call, operation).await,
            Operation::Account(operation) => self.account(&call, operation).await,
        }
    }

    async fn account(&self, call: &Call, operation: route::OnAccount) -> Result<Reply, Fault> {
        match operation {
            route::OnAccount::Get => {
                let bucket = self.messages.logging_bucket(call.account).await?;
                Ok(Reply::xml(mns::answer::account(&bucket)))
            }
            route::OnAccount::Set => {
                let bucket = mns::ask::logging_bucket(&call.body)?;
                self.messages.set_logging_bucket(call.account, bucket).await?;
                Ok(Reply::nothing())
            }
            // There is nothing to buy; the answer is the same each time.
            route::OnAccount::Open => {
                Ok(Reply::xml(mns::answer::opened(&call.account.to_string())))
            }
        }
    }

    /// The key of a request, once its signature is verified.
    fn caller(&self, parts: &Parts) -> Result<MnsKey, Fault> {
        let request = signed_request(parts);
        let presented = sign::presented(&request)?;
        let token = request_header(parts, "security-token").filter(|token| !token.is_empty());
        let id = &presented.access_key_id;
        let key = self.keys.find(id, token).map_err(|refusal| match refusal {
            MnsRefusal::Unknown => {
                Fault::new("InvalidAccessKeyId", format!("The access key `{id}` does not exist."))
            }
            MnsRefusal::Token => {
                Fault::new("InvalidSecurityToken", "The security token is not valid.")
            }
        })?;
        let now: Timestamp = (self.settings.clock)();
        presented.verify(&request, &key.secret, now, self.settings.skew_micros_max)?;
        Ok(key)
    }

    fn certificate(&self, parts: &Parts) -> Option<Response<Full<Bytes>>> {
        if parts.method != http::Method::GET || parts.uri.path() != self.settings.certificate_path {
            return None;
        }
        let response = Response::builder();
        Some(match (self.settings.certificate)() {
            Some(pem) => response
                .header(header::CONTENT_TYPE, "application/x-pem-file")
                .body(Full::from(pem))
                .expect("constant headers"),
            None => response
                .status(StatusCode::NOT_FOUND)
                .body(Full::default())
                .expect("constant headers"),
        })
    }

    /// 24 upper-case hexadecimal digits, unique while the clock moves.
    fn request_id(&self) -> String {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) as u32;
        format!("{:016X}{count:08X}", (self.settings.clock)().0)
    }
}

fn request_header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

/// What was signed: the target exactly as it was sent.
fn signed_request(parts: &Parts) -> sign::Request {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let matters = |name: &str| {
        name.starts_with("x-mns-")
            || matches!(name, "authorization" | "content-md5" | "content-type" | "date")
    };
    let headers = parts.headers.iter().filter(|(name, _)| matters(name.as_str()));
    let headers = headers.map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
    });
    sign::Request {
        method: parts.method.as_str().to_owned(),
        target: target.to_owned(),
        headers: headers.collect(),
    }
}

fn host_of<B>(request: &Request<B>) -> String {
    let in_target = request.uri().authority().map(|authority| authority.as_str());
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    in_target.or(header).unwrap_or("localhost").to_owned()
}

/// A host that begins with the number of an account is that account's only.
fn host_is_own(host: &str, account: AccountId) -> bool {
    match host.split_once(".mns.") {
        Some((label, _)) => {
            label.parse::<u64>().is_ok_and(|number| number == account.0)
                || label.parse::<u64>().is_err()
        }
        None => true,
    }
}

async fn gather<B>(body: B) -> Result<Bytes, Fault>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = tokio::time::timeout(BODY_WAIT_MAX, Limited::new(body, BODY_SIZE_MAX).collect());
    match whole.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Fault::new("InvalidArgument", format!("The body is over {BODY_SIZE_MAX} bytes.")))
        }
        _ => Err(Fault::new("InvalidArgument", "The body ended before it was complete.")),
    }
}

/// Whether it is the body that was signed.
fn check_md5(parts: &Parts, body: &[u8]) -> Result<(), Fault> {
    match request_header(parts, "content-md5") {
        Some(md5) if !md5.is_empty() && !mns::md5_matches(md5, body) => {
            Err(Fault::new("InvalidDegist", "The Content-MD5 is not that of the body."))
        }
        _ => Ok(()),
    }
}

/// Reads a body that nobody wants and keeps nothing of it, within bounds, so that a client that is
/// still sending gets to see why it was refused. One that waits to be asked for it is not asked.
async fn discard<B>(parts: &Parts, body: B)
where
    B: hyper::body::Body<Data = Bytes>,
{
    if parts.headers.contains_key(header::EXPECT) {
        return;
    }
    let mut body = std::pin::pin!(body);
    let read = async {
        let mut left = BODY_SIZE_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.checked_sub(frame.data_ref().map_or(0, Bytes::len))?;
        }
        Some(())
    };
    // However it ends, the answer is the same.
    let _ = tokio::time::timeout(DISCARD_WAIT_MAX, read).await;
}

fn respond(reply: Reply, id: &str) -> Response<Full<Bytes>> {
    let mut response = Response::builder()
        .status(reply.status)
        .header("x-mns-request-id", id)
        .header("x-mns-version", mns::VERSION);
    if !reply.body.is_empty() {
        response = response.header(header::CONTENT_TYPE, "text/xml;charset=utf-8");
    }
    if let Some(location) = &reply.location {
        response = response.header(header::LOCATION, location);
    }
    response.body(Full::from(reply.body)).unwrap_or_else(|_| {
        // Only a host that is no header value gets here, and hyper refuses such requests.
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    })
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_number_belongs_to_that_account() {
        for (host, wanted) in [
            ("127.0.0.1:8082", true),
            ("7.mns.cn-local.aliyuncs.com", true),
            ("8.mns.cn-local.aliyuncs.com", false),
            ("xxx.mns.cn-local.aliyuncs.com", true),
        ] {
            assert_eq!(host_is_own(host, AccountId(7)), wanted, "{host}");
        }
    }
}
