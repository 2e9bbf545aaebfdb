//! The BatchCompute door: reads a request, verifies its signature, finds its operation, and
//! dresses the answer as the vendor's clients want it.
//!
//! Invariants
//! - Nothing of a body is looked at before the signature holds.
//! - Every answer, also an error and an empty one, says `application/json; charset=utf-8` and
//!   carries a request id (`reference/api.md` 1.4).
//!
//! Start at [`Door::answer`]; the operations are in `handlers`.

use crate::{
    audit::Entry,
    body::{Bodies, Gathered, bytes_max, pass_over},
    catalogue::Catalogue,
    config::RegionConfig,
    handlers,
    images::Images,
    keys::{KeyRing, Unwelcome, Welcome},
    messaging::board::Board,
    mill::{Clock, Mill, MillError},
    places::Places,
    pressure::Pressure,
    registrar::Registrar,
    sessions::Sessions,
    shell::Shells,
    throttle::{Class, Throttle},
};
use axum::{
    body::Body,
    extract::{FromRequestParts, ws::WebSocketUpgrade},
};
use gristmill_model::{
    AccountId, Answer, Input,
    policy::{Permit, Service},
};
use gristmill_objects::LocalStore;
use gristmill_provider::Provider;
use gristmill_store::Readers;
use gristmill_wire::{
    acs::{self, SignedRequest},
    api,
    error::{ApiError, Code},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tracing::{Instrument, debug, error, info_span, warn};

/// When to come again after the server had no memory.
const PRESSURE_PAUSE: Duration = Duration::from_secs(5);

/// What the handlers work with.
pub struct Door {
    /// For whatever changes something.
    pub mill: Mill,
    /// For what scheduling does not know: accounts, images, apps.
    pub registrar: Registrar,
    /// For what machines start from.
    pub images: Arc<Images>,
    /// For ended attempts.
    pub readers: Readers,
    /// For live logs.
    pub sessions: Arc<Sessions>,
    /// For what machines said when they were set up.
    pub provider: Arc<dyn Provider>,
    /// For shells on machines.
    pub shells: Shells,
    /// Who may call.
    pub keys: Arc<KeyRing>,
    /// For whose buckets are whose.
    pub objects: Arc<dyn LocalStore>,
    /// What is on offer.
    pub catalogue: Catalogue,
    /// How the region is set up.
    pub config: RegionConfig,
    /// What time it is.
    pub clock: Clock,
    /// Open streams of events.
    pub followers: Places,
    /// Whether the region is about to stop: open streams end then.
    pub halting: watch::Receiver<bool>,
    /// Bodies of requests under way.
    pub bodies: Bodies,
    /// How many requests accounts may make.
    pub throttle: Throttle,
    /// Whether there is memory for more.
    pub pressure: Pressure,
    /// Notices that cannot be delivered now.
    pub stuck: Board,
    /// Callers that wait for the end of a job.
    pub waiters: handlers::Waiters,
}

/// A request whose signature holds.
pub struct Call {
    /// For whom the caller speaks.
    pub account: AccountId,
    /// The key behind the request, without its secret.
    pub caller: Caller,
    /// Verb.
    pub method: String,
    /// Path and query as received.
    pub target: String,
    /// The whole body.
    pub body: Gathered,
    /// The request's id, as the answer will show it.
    pub request_id: String,
    /// Whether the caller wants to go on with another protocol.
    pub upgrade: Option<WebSocketUpgrade>,
}

/// What is known of the key that signed.
pub struct Caller {
    /// What it is limited to.
    pub permit: Permit,
    /// Whether it is the root key.
    pub is_root: bool,
    /// Whether it ends by itself.
    pub is_temporary: bool,
    /// The lasting key behind it.
    pub key_id: String,
}

impl Call {
    /// Refuses what the key is not allowed to do.
    pub fn check(&self, operation: &str) -> Result<(), ApiError> {
        if self.caller.permit.allows(Service::BatchCompute, operation) {
            return Ok(());
        }
        let message = format!("this access key is not allowed to call {operation}");
        Err(ApiError::new(Code::Forbidden, message))
    }
}

/// What a handler answers.
pub enum Reply {
    /// A JSON object (or, for revisions, an array) with this status.
    Json(StatusCode, Vec<u8>),
    /// A status without a body.
    Empty(StatusCode),
    /// Server-sent events, for as long as they come.
    Events(Body),
    /// Bytes of a log, with headers of ours.
    Bytes(Vec<u8>, Vec<(&'static str, String)>),
    /// The connection goes on as a WebSocket.
    Upgraded(Response<Body>),
}

impl Reply {
    /// A body with 200.
    pub fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// A body with another status.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self::Json(status, serde_json::to_vec(body).expect("answers have only texts as names"))
    }
}

impl Door {
    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let request_id = uuid::Uuid::new_v4().to_string().to_uppercase();
        let (parts, body) = request.into_parts();
        let span = info_span!("request", method = %parts.method, path = parts.uri.path());
        let answered = async {
            let call = self.let_in(parts, body, &request_id).await?;
            let entry = Entry::of(&call);
            let reply = handlers::dispatch(&self, call).await;
            if let Some(entry) = entry {
                entry.write(&request_id, &reply);
            }
            reply
        };
        let reply = answered.instrument(span).await;
        metrics::counter!("gristmill_requests_total", "outcome" => outcome(&reply)).increment(1);
        dress(reply, &request_id, &self.config.region)
    }

    async fn let_in(
        &self,
        mut parts: Parts,
        body: Body,
        request_id: &str,
    ) -> Result<Call, ApiError> {
        let method = parts.method.as_str().to_owned();
        let target = target_of(&parts);
        let welcome = self.verify(&method, &target, &parts.headers)?;
        if let Err(refusal) = self.take_in(welcome.account, &method, parts.uri.path()) {
            pass_over(body).await;
            return Err(refusal);
        }
        let most = bytes_max(&method, &target);
        let body = self.bodies.gather(welcome.account, body, most).await?;
        // Others may have filled the memory while this one waited for its room.
        self.has_memory_for(&method, parts.uri.path())?;
        let Welcome { account, permit, is_root, is_temporary, key_id, .. } = welcome;
        let caller = Caller { permit, is_root, is_temporary, key_id };
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.ok();
        let request_id = request_id.to_owned();
        Ok(Call { account, caller, method, target, body, request_id, upgrade })
    }

    /// Refuses what is too much, for this account or for the server.
    fn take_in(&self, account: AccountId, method: &str, path: &str) -> Result<(), ApiError> {
        let Some(class) = Class::of(method, path) else { return Ok(()) };
        self.throttle.take(account, class).map_err(|wait| {
            let name = class.name();
            let message = format!("the account makes too many requests of the class `{name}`");
            ApiError::new(Code::Throttling, message).retry_after(wait)
        })?;
        self.has_memory_for(method, path)
    }

    /// Refuses what would make the server grow when there is no memory for it.
    fn has_memory_for(&self, method: &str, path: &str) -> Result<(), ApiError> {
        if Class::of(method, path) != Some(Class::Create) {
            return Ok(());
        }
        match self.pressure.is_high() {
            true => {
                let message = "the server has no memory for more now; nothing was changed";
                Err(ApiError::new(Code::ServiceUnavailable, message).retry_after(PRESSURE_PAUSE))
            }
            false => Ok(()),
        }
    }

    /// Puts a user's input through the mill, if it has room in time. What it answers is durable.
    pub async fn put(&self, input: Input) -> Result<Answer, MillError> {
        self.mill.offer(input, self.config.overload.wait_max.into()).await
    }

    fn verify(&self, method: &str, target: &str, headers: &HeaderMap) -> Result<Welcome, ApiError> {
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let request = SignedRequest { method, target, headers: &headers };
        let id = acs::access_key_id(&request)?;
        let token = request.header("x-acs-security-token").map(String::from_utf8_lossy);
        let now = (self.clock)();
        // Of a temporary key the token says the secret, so it is looked at before the signature.
        let welcome = self.keys.find(id, token.as_deref(), now).map_err(unwelcome)?;
        acs::verify(&request, &welcome.secret, None, now, self.config.patience.clock_skew_max)?;
        let version = request.header("x-acs-version").map(String::from_utf8_lossy);
        api::routes::check_version(version.as_deref())?;
        Ok(welcome)
    }
}

fn unwelcome(why: Unwelcome) -> ApiError {
    let code = match why {
        Unwelcome::Unknown => Code::UnknownAccessKey,
        Unwelcome::Inactive | Unwelcome::AccountDisabled => Code::InactiveAccessKey,
        Unwelcome::MissingToken | Unwelcome::WrongToken => Code::SecurityTokenMismatch,
        Unwelcome::Expired => Code::SecurityTokenExpired,
    };
    ApiError::new(code, why.to_string())
}

/// Path and query as the client sent them: the signature covers exactly these bytes.
fn target_of(parts: &Parts) -> String {
    parts.uri.path_and_query().map_or_else(|| "/".to_owned(), |target| target.as_str().to_owned())
}

fn outcome(reply: &Result<Reply, ApiError>) -> &'static str {
    match reply {
        Ok(_) => "ok",
        Err(error) if error.status() >= 500 && error.retry_after_seconds().is_none() => "fault",
        Err(_) => "refused",
    }
}

/// What an operator has to know of a refusal. Who asks too often must not fill the log with it.
fn log(error: &ApiError, request_id: &str) {
    let ApiError { code, message, .. } = error;
    match code {
        Code::Throttling => debug!(request_id, message, "refused for now"),
        _ if error.retry_after_seconds().is_some() => {
            warn!(request_id, ?code, message, "refused for now");
        }
        _ if error.status() >= 500 => error!(request_id, ?code, message, "a request failed"),
        _ => {}
    }
}

fn dress(reply: Result<Reply, ApiError>, request_id: &str, region: &str) -> Response<Body> {
    let (status, body, extra) = match reply {
        Ok(Reply::Json(status, body)) => (status, body.into(), vec![]),
        Ok(Reply::Empty(status)) => (status, Body::empty(), vec![]),
        Ok(Reply::Events(events)) => {
            let headers = [("content-type", "text/event-stream"), ("cache-control", "no-store")];
            let headers = headers.map(|(name, value)| (name, value.to_owned()));
            (StatusCode::OK, events, headers.into())
        }
        Ok(Reply::Bytes(bytes, headers)) => (StatusCode::OK, bytes.into(), headers),
        Ok(Reply::Upgraded(response)) => return response,
        Err(error) => {
            log(&error, request_id);
            let status =
                StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = serde_json::to_vec(&error.body(request_id, region)).unwrap_or_default();
            let later = error.retry_after_seconds().map(|it| ("retry-after", it.to_string()));
            (status, body.into(), later.into_iter().collect())
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::SERVER, HeaderValue::from_static("Gristmill"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-acs-request-id", id.clone());
        headers.insert("request-id", id);
    }
    for (name, value) in extra {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

impl From<MillError> for ApiError {
    fn from(error: MillError) -> Self {
        match error {
            MillError::Refused(refusal) => refusal.into(),
            MillError::Busy => ApiError::new(Code::Throttling, error.to_string()),
            MillError::DiskFull | MillError::Closed => {
                ApiError::new(Code::ServiceUnavailable, error.to_string())
            }
        }
    }
}
