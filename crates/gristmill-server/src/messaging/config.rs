//! How notices are delivered, and which addresses the region calls for its users.

use gristmill_model::Seconds;
use serde::Deserialize;
use std::fmt;

/// Delivery of notices to the topics of jobs and clusters. Since 0.1.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotificationConfig {
    /// A notice that could not be delivered for longer is dropped.
    pub age_max: Seconds,
    /// When a job or cluster has more notices that cannot be delivered, the oldest are dropped.
    pub waiting_max: u64,
    /// The longest pause before a delivery is tried again.
    pub retry_pause_max: Seconds,
    /// How long an endpoint may take to answer.
    pub timeout: Seconds,
    /// Further host names of this region's message service: `mns.example.com`.
    pub own_hosts: Vec<String>,
    /// The key that signs messages to endpoints of other services.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: Secret,
}

impl Default for NotificationConfig {
    fn default() -> Self {
        Self {
            age_max: Seconds(24 * 3600),
            waiting_max: 1_000_000,
            retry_pause_max: Seconds(300),
            timeout: Seconds(10),
            own_hosts: Vec::new(),
            access_key_id: String::new(),
            access_key_secret: Secret::default(),
        }
    }
}

/// Which addresses the region calls for its users: endpoints of subscriptions and of topics
/// elsewhere. Since 0.1.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundConfig {
    /// Whether public addresses are called that are not in `allow`.
    pub public: bool,
    /// Networks (`10.1.0.0/16`), addresses and host names (`hooks.example.com`, `*.example.com`)
    /// that are called although they are private.
    pub allow: Vec<String>,
    /// How long a subscriber may take to answer a push.
    pub push_timeout: Seconds,
    /// The address under which subscribers reach the message service's port, for the certificate
    /// of signed pushes; empty: the port's own address.
    pub certificate_base: String,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            public: true,
            allow: Vec::new(),
            push_timeout: Seconds(5),
            certificate_base: String::new(),
        }
    }
}

/// A text that is not shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}
