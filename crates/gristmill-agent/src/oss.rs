//! The object store as an agent reaches it: our remote client with the vendor's signature.

use gristmill_model::Timestamp;
use gristmill_objects::{
    ObjectStore,
    remote::{EndpointError, RemoteStore, Signer, Unsigned},
};
use gristmill_wire::{
    oss::sign::{KeyPair, Request, sign_v1},
    time::http_date,
};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// What opens a part of the object store. Crosses to the mounter on its standard input, never on
/// a command line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// URL of the store.
    pub endpoint: String,
    /// The task's key.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: String,
}

struct TaskSigner {
    id: String,
    secret: String,
}

impl Signer for TaskSigner {
    fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)> {
        let date = http_date(Timestamp(crate::work::now()));
        let query: Vec<(String, String)> =
            request.query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let own = |(name, value): &(String, String)| {
            (name.to_ascii_lowercase(), value.clone().into_bytes())
        };
        let mut headers: Vec<_> = request.headers.iter().map(own).collect();
        headers.push(("date".into(), date.clone().into_bytes()));
        let Unsigned { method, bucket, key, .. } = *request;
        let signed = Request { method, bucket, key, query: &query, headers: &headers };
        let authorization = sign_v1(&signed, KeyPair { id: &self.id, secret: &self.secret });
        vec![("date".into(), date), ("authorization".into(), authorization)]
    }
}

fn signer(opening: &Opening) -> Arc<TaskSigner> {
    let Opening { access_key_id, access_key_secret, .. } = opening;
    Arc::new(TaskSigner { id: access_key_id.clone(), secret: access_key_secret.clone() })
}

/// The part of the store that this key opens.
pub fn remote_store(opening: &Opening) -> Result<Arc<dyn ObjectStore>, EndpointError> {
    Ok(Arc::new(RemoteStore::new(&opening.endpoint, signer(opening))?))
}

/// The store as all tasks of a machine reach it: each with its own key, all on the same connections.
#[derive(Default)]
pub struct Stores {
    /// Where it answers, and the store there.
    latest: Mutex<Option<(String, RemoteStore)>>,
}

impl Stores {
    /// The part of the store that this key opens.
    pub fn open(&self, opening: &Opening) -> Result<Arc<dyn ObjectStore>, EndpointError> {
        let mut latest = self.latest.lock().expect("no holder of the lock panics");
        let signer = signer(opening);
        match &*latest {
            Some((endpoint, store)) if *endpoint == opening.endpoint => {
                Ok(Arc::new(store.signing_with(signer)))
            }
            _ => {
                let store = RemoteStore::new(&opening.endpoint, signer)?;
                *latest = Some((opening.endpoint.clone(), store.clone()));
                Ok(Arc::new(store))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    /// Answers one request after the other on the first connection; returns what keys they named.
    fn answer(door: TcpListener, count: usize) -> Vec<String> {
        let (mut connection, _) = door.accept().expect("somebody calls");
        let mut request = |_| {
            let mut text = String::new();
            while !text.ends_with("\r\n\r\n") {
                let mut byte = [0];
                connection.read_exact(&mut byte).expect("the same connection goes on");
                text.push(char::from(byte[0]));
            }
            let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            connection.write_all(answer.as_bytes()).expect("the caller listens");
            let key = text.split_once("OSS ").and_then(|(_, rest)| rest.split_once(':'));
            key.map(|(key, _)| key.to_owned()).unwrap_or_default()
        };
        (0..count).map(&mut request).collect()
    }

    #[tokio::test]
    async fn each_task_signs_with_its_key_and_all_share_a_connection() {
        let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", door.local_addr().expect("it is bound"));
        let answering = std::thread::spawn(|| answer(door, 3));
        let stores = Stores::default();
        for key in ["one", "two", "one"] {
            let opening = Opening {
                endpoint: endpoint.clone(),
                access_key_id: key.into(),
                access_key_secret: "secret".into(),
            };
            let store = stores.open(&opening).expect("a legal endpoint");
            assert!(store.head("bkt", "no/such/key").await.is_err());
        }
        assert_eq!(answering.join().expect("all were answered"), ["one", "two", "one"]);
    }
}
