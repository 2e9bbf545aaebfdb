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

/// The part of the store that this key opens.
pub fn remote_store(opening: &Opening) -> Result<Arc<dyn ObjectStore>, EndpointError> {
    let signer =
        TaskSigner { id: opening.access_key_id.clone(), secret: opening.access_key_secret.clone() };
    Ok(Arc::new(RemoteStore::new(&opening.endpoint, Arc::new(signer))?))
}

/// How many stores are kept open. A machine rarely works for more tasks at a time.
const STORES_MAX: usize = 4;

/// The stores of recent tasks, with their connections: the next run of a task finds them open.
#[derive(Default)]
pub struct Stores {
    /// The most recent one last.
    recent: Mutex<Vec<(Opening, Arc<dyn ObjectStore>)>>,
}

impl Stores {
    /// The part of the store that this key opens, from an earlier run or anew.
    pub fn open(&self, opening: &Opening) -> Result<Arc<dyn ObjectStore>, EndpointError> {
        let mut recent = self.recent.lock().expect("no holder of the lock panics");
        let found = recent.iter().position(|(known, _)| known == opening);
        let entry = match found {
            Some(at) => recent.remove(at),
            None => (opening.clone(), remote_store(opening)?),
        };
        let store = entry.1.clone();
        recent.push(entry);
        if recent.len() > STORES_MAX {
            recent.remove(0);
        }
        Ok(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(key: usize) -> Opening {
        Opening {
            endpoint: "http://127.0.0.1:8081".into(),
            access_key_id: format!("key-{key}"),
            access_key_secret: "secret".into(),
        }
    }

    #[test]
    fn runs_of_one_task_share_a_store_and_old_ones_are_let_go() {
        let stores = Stores::default();
        let open = |key| stores.open(&opening(key)).expect("a legal endpoint");
        let first = open(0);
        assert!(Arc::ptr_eq(&first, &open(0)));
        assert!(!Arc::ptr_eq(&first, &open(1)), "another key opens another part");
        (2..=STORES_MAX).for_each(|key| drop(open(key)));
        assert!(!Arc::ptr_eq(&first, &open(0)));
        assert_eq!(stores.recent.lock().expect("whole").len(), STORES_MAX);
    }
}
