//! `/admin/keys`: access keys of accounts, and what they are limited to.
//!
//! The secret is in the answer to the creation and nowhere else.

use super::{account_named, body, refresh};
use crate::door::{Call, Door, Reply};
use gristmill_model::policy::{POLICY_ENTRIES_MAX, Policy};
use gristmill_store::registry::AccessKey;
use gristmill_wire::{
    api::{Operation, Query},
    error::{ApiError, Code},
    time::WireTime,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

/// Actions that are no operations of the vendor's: asking for a temporary key, and a shell on a
/// machine.
const OURS: [&str; 2] = ["AssumeRole", "OpenShell"];

/// The longest note.
const NOTE_CHARS_MAX: usize = 200;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyBody {
    access_key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_secret: Option<String>,
    account: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
    note: String,
    creation_time: WireTime,
}

impl From<AccessKey> for KeyBody {
    /// Without the secret.
    fn from(key: AccessKey) -> Self {
        Self {
            access_key_id: key.id,
            access_key_secret: None,
            account: key.account.0,
            state: if key.is_active { "Active" } else { "Inactive" },
            policy: key.policy,
            note: key.note,
            creation_time: WireTime(Some(key.created)),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Wanted {
    /// Number or name.
    account: String,
    #[serde(default)]
    policy: Option<Policy>,
    #[serde(default)]
    note: String,
}

pub async fn create(door: &Door, call: &Call) -> Result<Reply, ApiError> {
    let wanted: Wanted = body(call)?;
    if let Some(policy) = &wanted.policy {
        check_policy(policy)?;
    }
    if wanted.note.chars().count() > NOTE_CHARS_MAX {
        let reason = format!("length must be in [0, {NOTE_CHARS_MAX}]");
        return Err(ApiError::invalid("Note", reason));
    }
    let account = account_named(door, &wanted.account).await?;
    let [id, secret] = [chance::<9>()?, chance::<20>()?];
    let key = AccessKey {
        id: format!("GM{}", id.to_uppercase()),
        account,
        secret: secret.clone(),
        is_active: true,
        policy: wanted.policy,
        note: wanted.note,
        created: (door.clock)(),
    };
    let noted = key.clone();
    door.registrar.ask(move |registry| registry.create_key(&noted)).await?;
    refresh(door).await?;
    let made = KeyBody { access_key_secret: Some(secret), ..key.into() };
    Ok(Reply::json(StatusCode::CREATED, &made))
}

/// Bytes nobody can guess, in hex.
fn chance<const N: usize>() -> Result<String, ApiError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        ApiError::new(Code::InternalError, format!("the kernel gives no random bytes: {error}"))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the policy is not too long and every action of the API is one there is.
pub fn check_policy(policy: &Policy) -> Result<(), ApiError> {
    let (actions, places) = (policy.actions.len(), policy.places.len());
    if !(1..=POLICY_ENTRIES_MAX).contains(&actions) || places > POLICY_ENTRIES_MAX {
        let reason = format!("needs 1 to {POLICY_ENTRIES_MAX} actions and at most as many places");
        return Err(ApiError::invalid("Policy", reason));
    }
    let known = |pattern: &str| {
        let start = pattern.strip_suffix('*');
        let operations = Operation::NAMES.iter().chain(&OURS);
        pattern.contains(':')
            || operations
                .into_iter()
                .any(|name| start.map_or(*name == pattern, |start| name.starts_with(start)))
    };
    match policy.actions.iter().find(|action| !known(action.as_str())) {
        None => Ok(()),
        Some(action) => {
            let reason = format!("names the action `{action}`, which is no operation of the API");
            Err(ApiError::invalid("Policy", reason))
        }
    }
}

pub async fn list(door: &Door, query: &Query<'_>) -> Result<Reply, ApiError> {
    let account = match query.get("Account") {
        Some(named) => Some(account_named(door, named).await?),
        None => None,
    };
    let keys = door.registrar.ask(move |registry| registry.keys(account)).await?;
    let items: Vec<KeyBody> = keys.into_iter().map(KeyBody::from).collect();
    Ok(Reply::ok(&serde_json::json!({ "Items": items })))
}

pub async fn switch(door: &Door, id: &str, is_active: bool) -> Result<Reply, ApiError> {
    let id = id.to_owned();
    let done = door.registrar.ask(move |registry| registry.set_key_active(&id, is_active)).await;
    refresh(door).await?;
    done.map(|()| Reply::ok(&serde_json::json!({})))
}

pub async fn delete(door: &Door, id: &str) -> Result<Reply, ApiError> {
    let id = id.to_owned();
    let done = door.registrar.ask(move |registry| registry.delete_key(&id)).await;
    refresh(door).await?;
    done.map(|()| Reply::Empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_operations_there_are() {
        let policy = |actions: &str| {
            let text = format!(r#"{{"Actions":{actions}}}"#);
            let policy: Policy = serde_json::from_str(&text).expect("legal");
            check_policy(&policy).map_err(|error| error.code.to_string())
        };
        for good in [r#"["*"]"#, r#"["GetJob","List*","oss:get","mns:Send*","AssumeRole"]"#] {
            assert_eq!(policy(good), Ok(()), "{good}");
        }
        for bad in ["[]", r#"["GetJobs"]"#, r#"["Fetch*"]"#, r#"["GetJob","Getjob"]"#] {
            assert_eq!(policy(bad), Err("InvalidPolicy".to_owned()), "{bad}");
        }
        let long = vec!["GetJob"; POLICY_ENTRIES_MAX + 1];
        let long = serde_json::to_string(&long).expect("texts");
        assert_eq!(policy(&long), Err("InvalidPolicy".to_owned()));
    }
}
