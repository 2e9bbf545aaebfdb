//! Signs requests to the object store: Signature V1, as the official tool does, which needs no
//! agreement about the region's name.

use crate::client::Credentials;
use gristmill_model::Timestamp;
use gristmill_objects::remote::{Signer, Unsigned};
use gristmill_wire::{
    oss::sign::{KeyPair, Request, sign_v1},
    time::http_date,
};

/// A key with a clock.
pub struct OssSigner {
    credentials: Credentials,
    clock: fn() -> Timestamp,
}

impl OssSigner {
    /// Signs with this key at this clock's time.
    pub fn new(credentials: Credentials, clock: fn() -> Timestamp) -> Self {
        Self { credentials, clock }
    }
}

impl Signer for OssSigner {
    fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)> {
        let mut added = vec![("date".to_owned(), http_date((self.clock)()))];
        if let Some(token) = &self.credentials.token {
            added.push(("x-oss-security-token".to_owned(), token.clone()));
        }
        let headers: Vec<(String, Vec<u8>)> = request
            .headers
            .iter()
            .chain(&added)
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect();
        let query: Vec<(String, String)> =
            request.query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let signed = Request {
            method: request.method,
            bucket: request.bucket,
            key: request.key,
            query: &query,
            headers: &headers,
        };
        let pair =
            KeyPair { id: &self.credentials.access_key_id, secret: &self.credentials.secret };
        added.push(("authorization".to_owned(), sign_v1(&signed, pair)));
        added
    }
}
