//! The object store as an agent reaches it: our remote client with the vendor's signature.

use gristmill_objects::remote::RemoteStore;
use serde::{Deserialize, Serialize};

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
