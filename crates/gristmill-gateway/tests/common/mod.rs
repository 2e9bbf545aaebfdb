//! A gateway on a free port with keys of several kinds, and clients that sign.

#![allow(dead_code, reason = "not every test file uses all of it")]

use gristmill_gateway::{AccessKeys, Gateway, Key, Scope, Settings, Unwelcome, serve};
use gristmill_model::{
    AccountId, Timestamp,
    policy::{Grant, OssRights},
};
use gristmill_objects::{
    Clock, LocalStore,
    remote::{RemoteStore, Signer, Unsigned},
};
use gristmill_wire::{
    oss::sign::{KeyPair, Request, sign_v1, sign_v4},
    time::{http_date, oss_date},
};
use std::sync::Arc;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// What time it is in all these tests: 2024-01-02T03:04:05Z.
pub const NOW: Timestamp = Timestamp(1_704_164_645_000_000);
pub const SECRET: &str = "secret";

pub fn clock() -> Clock {
    Arc::new(|| NOW)
}

/// Keys named by what they may: `owner`, `other`, `token`, and `scoped`, which may read `in/` and
/// `one` and write `out/` of the bucket `bkt`.
struct Keys;

impl AccessKeys for Keys {
    fn find(&self, access_key_id: &str, token: Option<&str>) -> Result<Key, Unwelcome> {
        let key = |account, scope| {
            Ok(Key { secret: SECRET.to_owned(), account: AccountId(account), scope })
        };
        let grant = |place: &str, rights| Grant { place: place.parse().ok(), rights };
        match (access_key_id, token) {
            ("owner", _) => key(1, Scope::Everything),
            ("other", _) => key(2, Scope::Everything),
            ("token", Some("right-token")) => key(1, Scope::Everything),
            ("token", Some("old-token")) => Err(Unwelcome::Expired),
            ("token", Some(_)) => Err(Unwelcome::WrongToken),
            ("inactive", _) => Err(Unwelcome::Inactive),
            ("disabled", _) => Err(Unwelcome::AccountDisabled),
            ("scoped", _) => key(
                1,
                Scope::Grants(vec![
                    grant("oss://bkt/in/", OssRights::READ),
                    grant("oss://bkt/out/", OssRights::WRITE),
                    grant("oss://bkt/one", OssRights::READ),
                ]),
            ),
            ("reader", _) => {
                key(1, Scope::Grants(vec![Grant { place: None, rights: OssRights::READ }]))
            }
            _ => Err(Unwelcome::Unknown),
        }
    }
}

/// A running gateway.
pub struct Door {
    pub url: String,
    pub port: u16,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Door {
    pub async fn open(store: Arc<dyn LocalStore>) -> Self {
        let settings = Settings {
            region: "cn-test".into(),
            regions_accepted: vec!["cn-hangzhou".into()],
            endpoint_names: vec!["store.test".into()],
            clock: clock(),
        };
        let gateway = Gateway::new(store, Arc::new(Keys), settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("is bound").port();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, gateway, async {
            // The sender is dropped when a test fails: stop then too.
            let _ = stopped.await;
        }));
        Self { url: format!("http://127.0.0.1:{port}"), port, stop: Some(stop), task }
    }

    /// A client with this key and scheme.
    pub fn client(&self, id: &str, scheme: Scheme) -> RemoteStore {
        let signer = TestSigner { id: id.to_owned(), scheme, token: None };
        RemoteStore::new(&self.url, Arc::new(signer)).expect("is an endpoint")
    }

    /// A client of the key `token` that sends this token.
    pub fn client_with_token(&self, token: &str) -> RemoteStore {
        let token = Some(token.to_owned());
        let signer = TestSigner { id: "token".into(), scheme: Scheme::V1, token };
        RemoteStore::new(&self.url, Arc::new(signer)).expect("is an endpoint")
    }

    /// Waits until everything in flight is answered.
    pub async fn close(mut self) {
        self.stop.take().expect("is open").send(()).expect("is served");
        self.task.await.expect("does not panic").expect("serves");
    }
}

#[derive(Clone, Copy)]
pub enum Scheme {
    V1,
    V4,
}

struct TestSigner {
    id: String,
    scheme: Scheme,
    token: Option<String>,
}

impl Signer for TestSigner {
    fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)> {
        let iso = oss_date(NOW);
        let compact: String = iso.chars().filter(|c| !"-:".contains(*c)).take(15).collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut added = match self.scheme {
            Scheme::V1 => vec![pair("date", &http_date(NOW))],
            Scheme::V4 => vec![
                pair("x-oss-date", &format!("{compact}Z")),
                pair("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
            ],
        };
        added.extend(self.token.iter().map(|token| pair("x-oss-security-token", token)));
        let authorization = authorization(self.scheme, &self.id, request, &added);
        added.push(("authorization".to_owned(), authorization));
        added
    }
}

fn authorization(
    scheme: Scheme,
    id: &str,
    request: &Unsigned<'_>,
    added: &[(String, String)],
) -> String {
    let raw = |(name, value): &(String, String)| (name.clone(), value.clone().into_bytes());
    let headers: Vec<_> = request.headers.iter().chain(added).map(raw).collect();
    let query: Vec<_> =
        request.query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let Unsigned { method, bucket, key, .. } = *request;
    let signed = Request { method, bucket, key, query: &query, headers: &headers };
    let pair = KeyPair { id, secret: SECRET };
    match scheme {
        Scheme::V1 => sign_v1(&signed, pair),
        Scheme::V4 => sign_v4(&signed, pair, "cn-test"),
    }
}
