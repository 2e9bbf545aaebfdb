//! The signed BatchCompute client.
//!
//! One method per operation; each says what it reads. Every request is signed with
//! `gristmill_wire::acs` as the official SDK signs. What may be repeated without harm (reads, and
//! creating a job, which carries an idempotency token) is tried again when the service is away
//! for a moment; everything else is sent once.
//!
//! Start at [`Client::new`]. Errors: [`ClientError`].

pub mod apps;
mod error;
mod events;
mod log;
mod shapes;
mod shell;

pub use error::{ClientError, Doing};
pub use events::{JobEvent, JobEvents};
pub use gristmill_wire::acs::Credentials;
pub use log::{LogChunk, Stream};
pub use shapes::{
    Available, Cluster, Counts, Group, Image, Instance, InstanceResult, Job, Machine, MachineType,
    Obstacle, Quotas, Task, Why,
};
pub use shell::ShellSocket;

use gristmill_model::Timestamp;
use gristmill_wire::acs::{RequestParts, encode_target, signed_headers};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the services answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// `http://host:port` of the BatchCompute API, without a slash at the end.
    pub batchcompute_url: String,
    /// The same of the object store.
    pub oss_url: String,
    /// The region's name; information for the service.
    pub region: String,
}

/// The client of one user of one service.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Endpoints,
    credentials: Credentials,
    clock: fn() -> Timestamp,
    fresh_id: fn() -> String,
    pause: Duration,
}

/// How often a call that may be repeated is tried.
const TRIES_MAX: u32 = 4;
/// A service that wants to be left alone for longer is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take; lists of a million instances come in pages.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// The page size all lists ask for.
const PAGE: &str = "100";

/// What a path segment may not hold as it is.
const SEGMENT: &AsciiSet =
    &CONTROLS.add(b' ').add(b'/').add(b'?').add(b'#').add(b'%').add(b'"').add(b'<').add(b'>');

/// A list answer.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(rename = "Items")]
    items: Vec<T>,
    #[serde(rename = "NextMarker", default)]
    next_marker: Option<String>,
}

/// Installs the house's TLS stack for this process.
pub(crate) fn install_tls() {
    // Another part of the program may have installed it already; both are the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The HTTP client. Certificates of the system are read only for `https`: reading them takes
/// longer than a request, and a minimal machine has none.
fn http_client(url: &str, only_http1: bool) -> reqwest::Client {
    install_tls();
    let builder = || {
        let builder = reqwest::Client::builder();
        let builder = if only_http1 { builder.http1_only() } else { builder };
        builder
            .connect_timeout(CONNECT_TIMEOUT)
            // As the official tool: a proxy for the web must not see requests to the service.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("gristmill-bcs/", env!("CARGO_PKG_VERSION")))
    };
    let with_system = if url.starts_with("https:") { builder().build().ok() } else { None };
    with_system.unwrap_or_else(|| {
        // Without trusted certificates every https handshake fails, and says why.
        builder()
            .tls_certs_only([])
            .build()
            .expect("the TLS provider is installed, nothing else can fail")
    })
}

impl Client {
    /// A client for these services with this key.
    pub fn new(endpoints: Endpoints, credentials: Credentials) -> Self {
        Self {
            http: http_client(&endpoints.batchcompute_url, false),
            endpoints,
            credentials,
            clock: || {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            },
            fresh_id: || uuid::Uuid::new_v4().to_string(),
            pause: Duration::from_millis(300),
        }
    }

    /// With another clock and another source of nonces.
    #[must_use]
    pub fn with_chance(mut self, clock: fn() -> Timestamp, fresh_id: fn() -> String) -> Self {
        self.clock = clock;
        self.fresh_id = fresh_id;
        self
    }

    /// With another first pause between tries.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Where it calls.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// With which key; its `Debug` hides the secret.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Any call, as the operator's commands make them; the answer's JSON, null when it has none.
    /// Sent once.
    pub async fn ask(
        &self,
        method: &'static str,
        segments: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let call = query
            .iter()
            .fold(Call::to(method, segments), |call, (key, value)| call.query(key, value));
        let call = if let Some(body) = body { call.body(body) } else { call };
        let doing = call.doing();
        let bytes = self.send(call).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Garbled { doing, source })
    }

    /// `POST /jobs`: submits, and returns the job's id.
    pub async fn create_job(&self, description: &Value) -> Result<String, ClientError> {
        let token = (self.fresh_id)().replace('-', "");
        let call = Call::new("POST", "/jobs".to_owned())
            .query("IdempotentToken", &token)
            .body(description)
            .repeatable();
        self.created(call).await
    }

    /// `GET /jobs/{job}`.
    pub async fn get_job(&self, job: &str) -> Result<Job, ClientError> {
        self.read(Call::get(&["jobs", job])).await
    }

    /// `GET /jobs/{job}/why`: what stands in the way of tasks that wait. Nothing where the service
    /// does not know the question.
    pub async fn obstacles(&self, job: &str) -> Result<Vec<Obstacle>, ClientError> {
        match self.read::<Why>(Call::get(&["jobs", job, "why"])).await {
            Ok(why) => Ok(why.tasks),
            Err(error) if error.code().is_some() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// `GET /jobs/{job}?description`, as the service writes it.
    pub async fn get_description(&self, job: &str) -> Result<Value, ClientError> {
        self.read(Call::get(&["jobs", job]).query("description", "")).await
    }

    /// `GET /jobs`, all pages.
    pub async fn list_jobs(&self) -> Result<Vec<Job>, ClientError> {
        self.all(Call::get(&["jobs"])).await
    }

    /// One page of one job: the cheapest call that needs a right key.
    pub async fn ping(&self) -> Result<(), ClientError> {
        let call = Call::get(&["jobs"]).query("Marker", "").query("MaxItemCount", "1");
        self.read::<Value>(call).await.map(drop)
    }

    /// `POST /jobs/{job}/stop`.
    pub async fn stop_job(&self, job: &str) -> Result<(), ClientError> {
        self.send(Call::to("POST", &["jobs", job, "stop"])).await.map(drop)
    }

    /// `POST /jobs/{job}/start`.
    pub async fn start_job(&self, job: &str) -> Result<(), ClientError> {
        self.send(Call::to("POST", &["jobs", job, "start"])).await.map(drop)
    }

    /// `DELETE /jobs/{job}`.
    pub async fn delete_job(&self, job: &str) -> Result<(), ClientError> {
        self.send(Call::to("DELETE", &["jobs", job])).await.map(drop)
    }

    /// `PUT /jobs/{job}` with a new priority.
    pub async fn change_priority(&self, job: &str, priority: u32) -> Result<(), ClientError> {
        let body = json!({"Priority": priority});
        self.send(Call::to("PUT", &["jobs", job]).body(&body).repeatable()).await.map(drop)
    }

    /// `GET /jobs/{job}/tasks`, all pages.
    pub async fn list_tasks(&self, job: &str) -> Result<Vec<Task>, ClientError> {
        self.all(Call::get(&["jobs", job, "tasks"])).await
    }

    /// `GET /jobs/{job}/tasks/{task}`.
    pub async fn get_task(&self, job: &str, task: &str) -> Result<Task, ClientError> {
        self.read(Call::get(&["jobs", job, "tasks", task])).await
    }

    /// `GET /jobs/{job}/tasks/{task}/instances`: one page from `marker` (empty: the first), and
    /// the marker of the next page, unless it was the last. `state` keeps only those in it.
    pub async fn instances_page(
        &self,
        job: &str,
        task: &str,
        state: Option<&str>,
        marker: &str,
    ) -> Result<(Vec<Instance>, Option<String>), ClientError> {
        let mut call = Call::get(&["jobs", job, "tasks", task, "instances"]);
        if let Some(state) = state {
            call = call.query("State", state);
        }
        self.page(&call, marker).await
    }

    /// `GET /jobs/{job}/tasks/{task}/instances/{instance}`.
    pub async fn get_instance(
        &self,
        job: &str,
        task: &str,
        instance: u64,
    ) -> Result<Instance, ClientError> {
        self.read(Call::get(&["jobs", job, "tasks", task, "instances", &instance.to_string()]))
            .await
    }

    /// `GET /clusters`, all pages.
    pub async fn list_clusters(&self) -> Result<Vec<Cluster>, ClientError> {
        self.all(Call::get(&["clusters"])).await
    }

    /// `GET /clusters/{cluster}`.
    pub async fn get_cluster(&self, cluster: &str) -> Result<Cluster, ClientError> {
        self.read(Call::get(&["clusters", cluster])).await
    }

    /// `GET /clusters/{cluster}/groups/{group}/instances`, all pages.
    pub async fn list_machines(
        &self,
        cluster: &str,
        group: &str,
    ) -> Result<Vec<Machine>, ClientError> {
        self.all(Call::get(&["clusters", cluster, "groups", group, "instances"])).await
    }

    /// `GET /clusters/{cluster}/groups/{group}/instances/{machine}`.
    pub async fn get_machine(
        &self,
        cluster: &str,
        group: &str,
        machine: &str,
    ) -> Result<Machine, ClientError> {
        self.read(Call::get(&["clusters", cluster, "groups", group, "instances", machine])).await
    }

    /// `POST /clusters`: makes a cluster, and returns its id.
    pub async fn create_cluster(&self, description: &Value) -> Result<String, ClientError> {
        let token = (self.fresh_id)().replace('-', "");
        let call =
            Call::to("POST", &["clusters"]).query("IdempotentToken", &token).body(description);
        self.created(call.repeatable()).await
    }

    /// `PUT /clusters/{cluster}`.
    pub async fn modify_cluster(&self, cluster: &str, change: &Value) -> Result<(), ClientError> {
        self.send(Call::to("PUT", &["clusters", cluster]).body(change)).await.map(drop)
    }

    /// `DELETE /clusters/{cluster}`.
    pub async fn delete_cluster(&self, cluster: &str) -> Result<(), ClientError> {
        self.send(Call::to("DELETE", &["clusters", cluster])).await.map(drop)
    }

    /// `GET /images`, all pages: the system's, then one's own.
    pub async fn list_images(&self) -> Result<Vec<Image>, ClientError> {
        let mut images: Vec<Image> =
            self.all(Call::get(&["images"]).query("Type", "System")).await?;
        images.extend(self.all::<Image>(Call::get(&["images"])).await?);
        Ok(images)
    }

    /// `GET /images/{image}`.
    pub async fn get_image(&self, image: &str) -> Result<Image, ClientError> {
        self.read(Call::get(&["images", image])).await
    }

    /// `POST /images`: registers an image, and returns its id.
    pub async fn create_image(&self, description: &Value) -> Result<String, ClientError> {
        let token = (self.fresh_id)().replace('-', "");
        let call = Call::to("POST", &["images"]).query("IdempotentToken", &token);
        self.created(call.body(description).repeatable()).await
    }

    /// `DELETE /images/{image}`.
    pub async fn delete_image(&self, image: &str) -> Result<(), ClientError> {
        self.send(Call::to("DELETE", &["images", image])).await.map(drop)
    }

    /// `POST /clusters/{cluster}/groups/{group}/instances/{machine}/recreate`.
    pub async fn recreate_machine(
        &self,
        cluster: &str,
        group: &str,
        machine: &str,
    ) -> Result<(), ClientError> {
        let place = ["clusters", cluster, "groups", group, "instances", machine, "recreate"];
        self.send(Call::to("POST", &place)).await.map(drop)
    }

    /// `DELETE /clusters/{cluster}/groups/{group}/instances/{machine}`.
    pub async fn delete_machine(
        &self,
        cluster: &str,
        group: &str,
        machine: &str,
    ) -> Result<(), ClientError> {
        let place = ["clusters", cluster, "groups", group, "instances", machine];
        self.send(Call::to("DELETE", &place)).await.map(drop)
    }

    /// `GET /quotas`.
    pub async fn quotas(&self) -> Result<Quotas, ClientError> {
        self.read(Call::get(&["quotas"])).await
    }

    /// `GET /available`.
    pub async fn available(&self) -> Result<Available, ClientError> {
        self.read(Call::get(&["available"])).await
    }

    /// All pages of a list as the service wrote its items, for `--show_json`.
    pub async fn list_raw(&self, segments: &[&str]) -> Result<Vec<Value>, ClientError> {
        self.all(Call::get(segments)).await
    }

    /// Any `GET` of the API as JSON, for `--show_json`.
    pub async fn get_raw(&self, segments: &[&str]) -> Result<Value, ClientError> {
        self.read(Call::get(segments)).await
    }

    async fn created(&self, call: Call) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        Ok(self.read::<Created>(call).await?.id)
    }

    async fn page<T: DeserializeOwned>(
        &self,
        call: &Call,
        marker: &str,
    ) -> Result<(Vec<T>, Option<String>), ClientError> {
        let call = call.clone().query("Marker", marker).query("MaxItemCount", PAGE);
        let page: Page<T> = self.read(call).await?;
        Ok((page.items, page.next_marker.filter(|marker| !marker.is_empty())))
    }

    async fn all<T: DeserializeOwned>(&self, call: Call) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        let mut marker = String::new();
        loop {
            let (items, next) = self.page(&call, &marker).await?;
            all.extend(items);
            match next {
                // A server that repeats its marker must not keep us for ever.
                Some(next) if next != marker => marker = next,
                _ => return Ok(all),
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let doing = call.doing();
        let bytes = self.send(call).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Garbled { doing, source })
    }

    /// Sends, and again when that is allowed and may help; returns the body of a 2xx answer.
    async fn send(&self, call: Call) -> Result<bytes::Bytes, ClientError> {
        let mut tried = 1;
        loop {
            let outcome = self.send_once(&call).await;
            match outcome {
                Err(error) if call.repeatable && error.is_transient() && tried < TRIES_MAX => {
                    let wanted = error.retry_after().min(RETRY_AFTER_MAX);
                    tokio::time::sleep(wanted.max(self.pause * 2u32.pow(tried - 1))).await;
                    tried += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn send_once(&self, call: &Call) -> Result<bytes::Bytes, ClientError> {
        let response = self.open(call).await?;
        let lost = |source| self.unreachable(call, source);
        response.bytes().await.map_err(lost)
    }

    /// Sends a signed request and returns the answer when it is a success.
    async fn open(&self, call: &Call) -> Result<reqwest::Response, ClientError> {
        let lost = |source| self.unreachable(call, source);
        let mut request = self.signed(&self.http, call);
        if !call.endless {
            request = request.timeout(ANSWER_TIMEOUT);
        }
        // An explicit body gives a Content-Length also to empty requests, as the SDK sends it.
        let body = call.body.clone().unwrap_or_default();
        let response = request.body(body).send().await.map_err(lost)?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refusal(call, response).await)
        }
    }

    fn signed(&self, http: &reqwest::Client, call: &Call) -> reqwest::RequestBuilder {
        let query: Vec<(&str, &str)> =
            call.query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let target = encode_target(&call.path, &query);
        let nonce = (self.fresh_id)();
        let parts = RequestParts {
            method: call.method,
            target: &target,
            region: &self.endpoints.region,
            nonce: &nonce,
        };
        let method = call.method.parse().expect("the methods are constants");
        let url = format!("{}{target}", self.endpoints.batchcompute_url);
        let headers = signed_headers(&self.credentials, parts, (self.clock)());
        let request = http.request(method, url);
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    fn unreachable(&self, call: &Call, source: reqwest::Error) -> ClientError {
        let url = self.endpoints.batchcompute_url.clone();
        // Without the URL, which reqwest would print a second time, query and all.
        ClientError::Unreachable { doing: call.doing(), url, source: source.without_url() }
    }
}

/// Reads the vendor's error body; anything else becomes the status alone.
async fn refusal(call: &Call, response: reqwest::Response) -> ClientError {
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let seconds = header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(0);
    let request_id = header("x-acs-request-id").or(header("request-id")).unwrap_or("").to_owned();
    let body: Value = response
        .bytes()
        .await
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let member = |name: &str| body[name].as_str().map(str::to_owned);
    ClientError::Refused {
        retry_after: Duration::from_secs(seconds),
        doing: call.doing(),
        status: status.as_u16(),
        code: member("Code").unwrap_or_else(|| status.canonical_reason().unwrap_or("?").to_owned()),
        message: member("Message").unwrap_or_default(),
        request_id: member("RequestId").filter(|id| !id.is_empty()).unwrap_or(request_id),
    }
}

/// A request before it is signed.
#[derive(Clone)]
struct Call {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    repeatable: bool,
    /// The answer goes on for as long as there is something to tell.
    endless: bool,
}

impl Call {
    fn new(method: &'static str, path: String) -> Self {
        Self { method, path, query: Vec::new(), body: None, repeatable: false, endless: false }
    }

    fn to(method: &'static str, segments: &[&str]) -> Self {
        let path: String = segments
            .iter()
            .map(|segment| format!("/{}", utf8_percent_encode(segment, SEGMENT)))
            .collect();
        Self::new(method, path)
    }

    fn get(segments: &[&str]) -> Self {
        Self::to("GET", segments).repeatable()
    }

    fn query(mut self, key: &str, value: &str) -> Self {
        self.query.push((key.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self
    }

    fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    fn doing(&self) -> Doing {
        Doing { method: self.method, path: self.path.clone() }
    }
}
