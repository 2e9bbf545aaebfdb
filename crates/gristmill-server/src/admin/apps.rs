//! `/admin/apps`: which apps everybody may see and call.
//!
//! Apps are made by accounts and belong to them; only the operator publishes one. A published app
//! is called as `:name`, so its name is unique among the published; its owner goes on to change it.

use super::account_named;
use crate::door::{Door, Reply};
use gristmill_model::AppName;
use gristmill_store::registry::{App, AppScope};
use gristmill_wire::{
    api::{List, Query},
    error::{ApiError, Code, quote},
    time::WireTime,
};
use serde_json::{Value, json};

/// The most apps that one list has.
const APPS_MAX: usize = 10_000;

fn shown(app: &App) -> Value {
    json!({
        "Name": app.spec.name,
        "Account": app.owner.to_string(),
        "Public": app.public,
        "Revision": app.revision,
        "CreationTime": WireTime(Some(app.created)),
    })
}

/// The published apps, or those of an account (`Account`).
pub async fn list(door: &Door, query: &Query<'_>) -> Result<Reply, ApiError> {
    let scope = match query.get("Account") {
        Some(named) => AppScope::Private(account_named(door, named).await?),
        None => AppScope::Public,
    };
    let found = door.registrar.ask(move |registry| registry.apps(scope, None, APPS_MAX)).await?;
    Ok(Reply::ok(&List::page(found.iter().map(shown).collect(), None::<AppName>)))
}

/// Publishes an app of an account (`Account`), or withdraws it.
pub async fn publish(
    door: &Door,
    app: &str,
    query: &Query<'_>,
    public: bool,
) -> Result<Reply, ApiError> {
    let named = query.get("Account").ok_or_else(|| ApiError::missing("Account"))?;
    let account = account_named(door, named).await?;
    let missing = |_| {
        let message = format!("app {} is not found", quote(app));
        ApiError::new(Code::ResourceNotFound, message)
    };
    let name: AppName = app.parse().map_err(missing)?;
    let changed = door.registrar.ask(move |registry| {
        registry.publish_app(account, &name, public)?;
        registry.app(AppScope::Private(account), &name)
    });
    Ok(Reply::ok(&shown(&changed.await?)))
}
