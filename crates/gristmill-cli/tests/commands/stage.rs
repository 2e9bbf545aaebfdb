//! A made-up service and a made-up place, for tests that run whole `bcs` command lines.
//!
//! [`Service`] answers from a script, checks every signature with `wire`, and remembers what it
//! was asked. [`Stage::bcs`] runs a command line against it and returns everything it printed.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use gristmill_cli::{environment::Environment, output::Output};
use gristmill_model::Timestamp;
use gristmill_wire::acs::{SKEW, SignedRequest, verify};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

/// The secret of the one access key there is. No output may hold it.
pub const SECRET: &str = "never-print-this";

/// Two and a half hours after the jobs below were created.
pub const NOW: Timestamp = Timestamp(1_704_172_445_000_000);

/// An answer of the service.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

pub fn ok(body: Value) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.to_string().into() }
}

pub fn created(id: &str) -> Answer {
    Answer { status: 201, ..ok(json!({"Id": id})) }
}

pub fn named(name: &str) -> Answer {
    Answer { status: 201, ..ok(json!({"Name": name})) }
}

pub fn list(items: Value) -> Answer {
    ok(json!({"Items": items, "NextMarker": ""}))
}

pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"Code": code, "Message": message, "RequestId": "REQ-1"});
    Answer { status, ..ok(body) }
}

pub fn bytes(text: &str, next_offset: u64, is_end: bool) -> Answer {
    let headers = vec![
        ("x-gristmill-next-offset", next_offset.to_string()),
        ("x-gristmill-eof", is_end.to_string()),
    ];
    Answer { status: 200, headers, body: text.to_owned().into() }
}

#[derive(Default)]
struct Memory {
    /// `METHOD target` -> answers in turn; the last one stays.
    script: BTreeMap<String, Vec<Answer>>,
    asked: Vec<String>,
    bodies: Vec<Value>,
}

/// A service on a port of its own.
#[derive(Clone)]
pub struct Service {
    pub url: String,
    memory: Arc<Mutex<Memory>>,
}

impl Service {
    pub async fn start() -> Self {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(memory.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, memory }
    }

    /// Answers `line`, a method and a target with the query's fresh ids cut off.
    pub fn on(&self, line: &str, answer: Answer) -> &Self {
        self.memory.lock().unwrap().script.entry(line.to_owned()).or_default().push(answer);
        self
    }

    /// Everything asked since the last look.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.memory.lock().unwrap().asked)
    }

    /// The JSON bodies received since the last look.
    pub fn bodies(&self) -> Vec<Value> {
        std::mem::take(&mut self.memory.lock().unwrap().bodies)
    }
}

async fn answer(State(memory): State<Arc<Mutex<Memory>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().unwrap().as_str().to_owned();
    let headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let signed = SignedRequest { method: head.method.as_str(), target: &target, headers: &headers };
    let verdict = verify(&signed, SECRET, None, NOW, SKEW);
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let line = format!("{} {}", head.method, target.split("IdempotentToken").next().unwrap());
    let mut memory = memory.lock().unwrap();
    memory.asked.push(line.clone());
    memory.bodies.extend(serde_json::from_slice::<Value>(&body));
    let answer = match verdict {
        Err(error) => refusal(400, "SignatureDoesNotMatch", &error.to_string()),
        Ok(()) => match memory.script.get_mut(&line) {
            None => refusal(404, "InvalidResource.NotFound", &format!("no script for {line}")),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        },
    };
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status).unwrap());
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.header("x-acs-request-id", "REQ-1").body(Body::from(answer.body)).unwrap()
}

/// What a command did.
pub struct Ran {
    pub status: u8,
    pub out: String,
    pub err: String,
}

/// A place with a service.
pub struct Stage {
    pub service: Service,
    pub folder: tempfile::TempDir,
    pub variables: BTreeMap<String, String>,
}

impl Stage {
    /// Logged in, with an `osspath`.
    pub async fn new() -> Self {
        let service = Service::start().await;
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "[common]\nregion = cn-test\naccesskeyid = testid\naccesskeysecret = {SECRET}\n\
             endpoint = {0}\noss_endpoint = {0}\nosspath = oss://b/bcs/\n",
            service.url
        );
        fs::create_dir(folder.path().join("config")).unwrap();
        fs::write(folder.path().join("config/cliconfig"), settings).unwrap();
        Self { service, folder, variables: BTreeMap::new() }
    }

    /// Runs a command line whose words are separated by single spaces; `+` stands for a space
    /// inside a word.
    pub async fn bcs(&self, line: &str) -> Ran {
        let words = line.split(' ').map(|word| word.replace('+', " "));
        self.run(words.collect()).await
    }

    /// Runs a command line.
    pub async fn run(&self, words: Vec<String>) -> Ran {
        let environment = Environment {
            variables: self.variables.clone(),
            config_dir: self.folder.path().join("config"),
            directory: self.folder.path().to_owned(),
            zone: || jiff::tz::TimeZone::UTC,
            clock: || NOW,
            fresh_id: || "0f0f0f0f-aaaa-bbbb-cccc-dddddddddddd".to_owned(),
            asks: false,
            out_is_terminal: false,
            err_is_terminal: false,
        };
        let (output, out, err) = Output::captured();
        let status = gristmill_cli::run(words, environment, output).await;
        let ran = Ran { status, out: out.text(), err: err.text() };
        assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET), "the secret was printed");
        ran
    }

    /// A file of the place, as text.
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Writes a file of the place.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Ran {
    /// Status, data and words in one text, for snapshots.
    pub fn shown(&self) -> String {
        format!("exit {}\n--- out\n{}--- err\n{}", self.status, self.out, self.err)
    }
}
