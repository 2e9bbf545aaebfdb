//! `POST /sts/credentials`, ours: a temporary key for programs that should not hold a lasting one.
//!
//! Any lasting key may ask for one that is worth at most as much as itself; the root key may ask
//! for any account. The answer has the shape the hosted service's `AssumeRole` has, and that name
//! allows or forbids it in policies.

use crate::{
    admin,
    door::{Call, Door, Reply},
    keys::Unwelcome,
    sts::{LIFE_DEFAULT, LIFE_MAX, LIFE_MIN, Wish},
};
use gristmill_model::{AccountId, Seconds, policy::Policy};
use gristmill_wire::{
    error::{ApiError, Code},
    time::second_stamp,
};
use serde::Deserialize;

/// The action in policies.
pub const ACTION: &str = "AssumeRole";

/// Whether a request is for here.
pub fn is_here(method: &str, path: &str) -> bool {
    method == "POST" && path.trim_end_matches('/') == "/sts/credentials"
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct Wanted {
    duration_seconds: Option<u32>,
    policy: Option<Policy>,
    /// Number or name; only for the root key.
    account: Option<String>,
}

/// Makes a temporary key.
pub async fn create(door: &Door, call: &Call) -> Result<Reply, ApiError> {
    if call.caller.is_temporary {
        let message = "a temporary access key cannot ask for another one";
        return Err(ApiError::new(Code::Forbidden, message));
    }
    call.check(ACTION)?;
    let wanted: Wanted = if call.body.is_empty() { Wanted::default() } else { admin::body(call)? };
    if let Some(policy) = &wanted.policy {
        admin::check_policy(policy)?;
    }
    let life = Seconds(wanted.duration_seconds.unwrap_or(LIFE_DEFAULT.0));
    if !(LIFE_MIN.0..=LIFE_MAX.0).contains(&life.0) {
        let reason = format!("must be in [{}, {}]", LIFE_MIN.0, LIFE_MAX.0);
        return Err(ApiError::invalid("DurationSeconds", reason));
    }
    let account = account(door, call, wanted.account).await?;
    let chance = uuid::Uuid::new_v4().as_u128();
    let wish =
        Wish { parent: call.caller.key_id.clone(), account, life, policy: wanted.policy, chance };
    let key = door.keys.issue(wish, (door.clock)());
    Ok(Reply::ok(&serde_json::json!({
        "Credentials": {
            "AccessKeyId": key.id,
            "AccessKeySecret": key.secret,
            "SecurityToken": key.token,
            "Expiration": second_stamp(key.until),
        }
    })))
}

async fn account(door: &Door, call: &Call, named: Option<String>) -> Result<AccountId, ApiError> {
    let Some(named) = named else { return Ok(call.account) };
    if !call.caller.is_root {
        let message = "only the root key may ask for another account";
        return Err(ApiError::new(Code::Forbidden, message));
    }
    let account = admin::account_named(door, &named).await?;
    match door.keys.check_account(account) {
        Ok(()) => Ok(account),
        Err(Unwelcome::AccountDisabled) => {
            let message = format!("account `{named}` is disabled");
            Err(ApiError::new(Code::StateConflict, message))
        }
        Err(other) => Err(ApiError::new(Code::InternalError, other.to_string())),
    }
}
