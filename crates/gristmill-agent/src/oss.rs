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
use std::sync::Arc;

/// What opens a part of the object store. Crosses to the mounter on its standard input, never on
/// a command line.
#[derive(Clone, Serialize, Deserialize)]
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
