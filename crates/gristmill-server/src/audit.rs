//! Who changed what: one line of the log for every request that is no look, done or refused.
//!
//! It names the account, the lasting key behind the request, verb and path, and the outcome; of a
//! thing that was made, its id. Never a body: bodies hold what users keep secret.

use crate::door::{Call, Reply};
use gristmill_model::AccountId;
use gristmill_wire::error::ApiError;
use http::StatusCode;
use serde::Deserialize;
use tracing::info;

/// The longest path that is written down.
const PATH_CHARS_MAX: usize = 200;

/// What is known before the request is carried out.
pub struct Entry {
    account: AccountId,
    key: String,
    method: String,
    path: String,
}

impl Entry {
    /// `None` for a look.
    pub fn of(call: &Call) -> Option<Self> {
        if matches!(call.method.as_str(), "GET" | "HEAD") {
            return None;
        }
        let path = call.target.split('?').next().unwrap_or_default();
        Some(Self {
            account: call.account,
            key: call.caller.key_id.clone(),
            method: call.method.clone(),
            path: path.chars().take(PATH_CHARS_MAX).collect(),
        })
    }

    /// Writes the line.
    pub fn write(self, request_id: &str, reply: &Result<Reply, ApiError>) {
        let outcome = match reply {
            Ok(_) => "done".to_owned(),
            Err(error) => error.code.to_string(),
        };
        let made = reply.as_ref().ok().and_then(made).unwrap_or_default();
        let Self { account, key, method, path } = self;
        info!(target: "gristmill::audit", %account, key, method, path, outcome, made, request_id, "changed");
    }
}

/// The id of what was made.
fn made(reply: &Reply) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Made {
        id: Option<serde_json::Value>,
        name: Option<String>,
        access_key_id: Option<String>,
    }
    let Reply::Json(StatusCode::CREATED, body) = reply else { return None };
    let made: Made = serde_json::from_slice(body).ok()?;
    let id = made.id.map(|id| id.to_string().trim_matches('"').to_owned());
    id.or(made.access_key_id).or(made.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_of_what_was_made_is_written() {
        let id = |body: serde_json::Value| made(&Reply::json(StatusCode::CREATED, &body));
        assert_eq!(id(serde_json::json!({"Id": "job-1"})).as_deref(), Some("job-1"));
        assert_eq!(id(serde_json::json!({"Id": 7, "Name": "alice"})).as_deref(), Some("7"));
        let key = serde_json::json!({"AccessKeyId": "GM1", "AccessKeySecret": "hush"});
        assert_eq!(id(key).as_deref(), Some("GM1"));
        assert_eq!(id(serde_json::json!({"Name": "app"})).as_deref(), Some("app"));
        assert_eq!(made(&Reply::ok(&serde_json::json!({"Id": "job-1"}))), None);
    }
}
