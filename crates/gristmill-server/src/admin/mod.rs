//! The admin door: what the operator asks of a running region, below `/admin/` on the API's port.
//!
//! Requests are signed like all others; only the root key may use the door, and no temporary key
//! stands for it. JSON goes in and comes out, with the names and the errors of the API.
//! `gristmill admin` is the client.
//!
//! To add a command: a line in [`dispatch`], a function in the module of its noun, and the same
//! in `gristmill/src/admin`.

mod accounts;
mod apps;
mod images;
mod keys;
mod notifications;

pub(crate) use keys::check_policy;

use crate::{
    door::{Call, Door, Reply},
    market,
};
use gristmill_model::AccountId;
use gristmill_wire::{
    api::Query,
    error::{ApiError, Code, quote},
};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// The path of a request to this door, taken apart; `None` for all other requests.
pub fn path_of(target: &str) -> Option<Vec<String>> {
    let path = target.split('?').next().unwrap_or_default();
    let rest = path.strip_prefix("/admin/")?;
    Some(rest.trim_end_matches('/').split('/').map(decoded).collect())
}

/// A part that cannot be decoded names nothing that exists.
fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8().map(Cow::into_owned).unwrap_or_default()
}

/// Finds the command and carries it out.
pub async fn dispatch(door: &Door, call: &Call, path: &[String]) -> Result<Reply, ApiError> {
    if !call.caller.is_root {
        return Err(ApiError::new(Code::Forbidden, "only the root key may use the admin door"));
    }
    let (_, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
    let query = Query::parse(query)?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["accounts"]) => accounts::list(door).await,
        ("POST", ["accounts"]) => accounts::create(door, call).await,
        ("GET", ["accounts", account]) => accounts::show(door, account).await,
        ("DELETE", ["accounts", account]) => accounts::delete(door, account).await,
        ("POST", ["accounts", account, "enable"]) => accounts::switch(door, account, true).await,
        ("POST", ["accounts", account, "disable"]) => accounts::switch(door, account, false).await,
        ("GET", ["apps"]) => apps::list(door, &query).await,
        ("POST", ["apps", app, "publish"]) => apps::publish(door, app, &query, true).await,
        ("POST", ["apps", app, "withdraw"]) => apps::publish(door, app, &query, false).await,
        ("GET", ["images"]) => images::list(door).await,
        ("GET", ["images", image]) => images::show(door, image).await,
        ("POST", ["images", image]) => images::create(door, call, image).await,
        ("DELETE", ["images", image]) => images::delete(door, image, &query).await,
        ("POST", ["images", image, "check"]) => images::note_check(door, call, image).await,
        ("GET", ["keys"]) => keys::list(door, &query).await,
        ("POST", ["keys"]) => keys::create(door, call).await,
        ("DELETE", ["keys", key]) => keys::delete(door, key).await,
        ("POST", ["keys", key, "enable"]) => keys::switch(door, key, true).await,
        ("POST", ["keys", key, "disable"]) => keys::switch(door, key, false).await,
        ("GET", ["notifications"]) => notifications::list(door).await,
        (method, path) => {
            if let Some(answer) = market::dispatch(door, call, path).await {
                return answer;
            }
            let target = quote(call.target.split('?').next().unwrap_or_default());
            let message = format!("the admin door has no {method} {target}");
            Err(ApiError::new(Code::InvalidUrlPattern, message))
        }
    }
}

/// The body of a command. Unknown members are refused: a misspelt one would be left out silently.
pub(crate) fn body<T: DeserializeOwned>(call: &Call) -> Result<T, ApiError> {
    serde_json::from_slice(&call.body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            ApiError::new(Code::InvalidHttpBody, format!("the body: {error}"))
        }
        _ => ApiError::new(Code::InvalidJsonFormat, format!("the body is not JSON: {error}")),
    })
}

/// The account with this number or name.
pub(crate) async fn account_named(door: &Door, named: &str) -> Result<AccountId, ApiError> {
    let named = named.to_owned();
    door.registrar.ask(move |registry| registry.account(&named)).await.map(|account| account.id)
}

/// Takes what the registry says about accounts and keys now, whatever became of the change before.
async fn refresh(door: &Door) -> Result<(), ApiError> {
    let keys = door.keys.clone();
    door.registrar.ask(move |registry| keys.read(registry)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_and_decoded() {
        for (target, wanted) in [
            ("/admin/accounts", Some(vec!["accounts"])),
            ("/admin/accounts/?x=1", Some(vec!["accounts"])),
            ("/admin/accounts/a%20b/enable", Some(vec!["accounts", "a b", "enable"])),
            ("/admin/keys/%zz", Some(vec!["keys", "%zz"])),
            ("/admin/keys/%ff", Some(vec!["keys", ""])),
            ("/admin", None),
            ("/jobs", None),
        ] {
            let found = path_of(target);
            let found = found.as_ref().map(|parts| parts.iter().map(String::as_str).collect());
            assert_eq!(found, wanted, "{target}");
        }
    }
}
