//! Apps (`reference/api.md` 11) and the jobs made from them (7.2).
//!
//! An app is named by its name, for the caller's own, or by `:name` or `Public:name` (or
//! `Scope=Public`) for a published one. Who is not its owner sees the public side of a published
//! app and may call it; all else is `Forbidden` there, and an app that is neither own nor published
//! does not exist.

use super::not_found;
use crate::door::{Call, Door, Reply};
use gristmill_model::{AccountId, AppName, JobSpec, app::AppImage};
use gristmill_store::registry::{App, AppScope};
use gristmill_wire::{
    api::{
        List, ListQuery, Query,
        app::{AppJob, Origin, app_detail, app_public, parse_app},
        idempotency_token,
    },
    error::{ApiError, Code, quote},
    time::WireTime,
};
use http::StatusCode;
use serde_json::{Value, json};

/// `POST /apps`
pub async fn create(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let token = idempotency_token(query, &call.body)?;
    let spec = parse_app(&call.body, &door.config.limits)?;
    let (account, now) = (call.account, (door.clock)());
    let made =
        door.registrar.ask(move |it| it.create_app(account, &spec, now, token.as_ref())).await?;
    Ok(Reply::json(StatusCode::CREATED, &json!({ "Name": made })))
}

/// An app as a request names it.
struct Named {
    name: AppName,
    scope: AppScope,
}

impl Named {
    /// Reads a name with its prefix; `public` says that the query asks for a published one.
    fn read(text: &str, account: AccountId, public: bool) -> Result<Self, ApiError> {
        let prefixed = text.strip_prefix(':').or_else(|| text.strip_prefix("Public:"));
        let name = prefixed.unwrap_or(text).parse().map_err(|_| not_found("app", text))?;
        let public = public || prefixed.is_some();
        let scope = if public { AppScope::Public } else { AppScope::Private(account) };
        Ok(Self { name, scope })
    }

    async fn find(self, door: &Door) -> Result<App, ApiError> {
        door.registrar.ask(move |it| it.app(self.scope, &self.name)).await
    }

    /// The name of an app that the caller owns. A published app of another is forbidden.
    async fn own(self, door: &Door, account: AccountId) -> Result<AppName, ApiError> {
        let name = self.name.clone();
        if self.scope == AppScope::Public && self.find(door).await?.owner != account {
            let message = format!("app {} belongs to another account", quote(name.as_str()));
            return Err(ApiError::new(Code::Forbidden, message));
        }
        Ok(name)
    }
}

/// Whether the query asks for published apps.
fn asks_public(query: &Query<'_>) -> Result<bool, ApiError> {
    match query.get("Scope") {
        None | Some("Private") => Ok(false),
        Some("Public") => Ok(true),
        Some(_) => Err(ApiError::invalid("Scope", "must be Private or Public")),
    }
}

/// `Qualifier`: the number of a revision; empty is all of them, or the newest.
fn qualifier(query: &Query<'_>) -> Result<Option<u32>, ApiError> {
    let Some(text) = query.get("Qualifier") else { return Ok(None) };
    let reason = |_| ApiError::invalid("Qualifier", "must be the number of a revision");
    text.parse().map(Some).map_err(reason)
}

/// `GET /apps/{app}`: the public side.
pub async fn get(
    door: &Door,
    call: &Call,
    app: &str,
    query: &Query<'_>,
) -> Result<Reply, ApiError> {
    let named = Named::read(app, call.account, asks_public(query)?)?;
    let found = named.find(door).await?;
    Ok(Reply::ok(&app_public(&found.spec, found.created)))
}

/// `GET /apps/{app}?Detail=True`: everything, for the owner.
pub async fn detail(
    door: &Door,
    call: &Call,
    app: &str,
    query: &Query<'_>,
) -> Result<Reply, ApiError> {
    let (account, revision) = (call.account, qualifier(query)?);
    let name = Named::read(app, account, false)?.own(door, account).await?;
    let spec = door.registrar.ask(move |it| it.app_revision(account, &name, revision)).await?;
    Ok(Reply::ok(&app_detail(&spec)))
}

/// `GET /apps/{app}?Revisions=True`: a bare array, for the owner.
pub async fn revisions(door: &Door, call: &Call, app: &str) -> Result<Reply, ApiError> {
    let account = call.account;
    let name = Named::read(app, account, false)?.own(door, account).await?;
    let found = door.registrar.ask(move |it| it.app_revisions(account, &name)).await?;
    let body: Vec<Value> = found
        .iter()
        .map(|it| json!({"Revision": it.revision, "UpdateTime": WireTime(Some(it.updated))}))
        .collect();
    Ok(Reply::ok(&body))
}

/// `GET /apps`
pub async fn list(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let wish = ListQuery::plain(query)?;
    let after: Option<AppName> = wish.marker.key()?;
    let scope = match asks_public(query)? {
        true => AppScope::Public,
        false => AppScope::Private(call.account),
    };
    let max = wish.items_max;
    let mut found = door.registrar.ask(move |it| it.apps(scope, after.as_ref(), max + 1)).await?;
    let is_more = found.len() > max;
    found.truncate(max);
    let last = found.last().filter(|_| is_more).map(|app| app.spec.name.clone());
    let items = found.iter().map(|app| app_public(&app.spec, app.created)).collect();
    Ok(Reply::ok(&List::page(items, last)))
}

/// `PUT /apps/{app}`: adds a revision.
pub async fn modify(
    door: &Door,
    call: &Call,
    app: &str,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    let account = call.account;
    let name = Named::read(app, account, false)?.own(door, account).await?;
    let spec = parse_app(&call.body, &door.config.limits)?;
    if spec.name != name {
        let reason = format!("is {}, the path says {}", quote(spec.name.as_str()), quote(app));
        return Err(ApiError::invalid("Name", reason));
    }
    let now = (door.clock)();
    door.registrar.ask(move |it| it.modify_app(account, &spec, now)).await?;
    Ok(Reply::Empty(done))
}

/// `DELETE /apps/{app}`: the app, or one revision of it. What is not there is deleted already.
pub async fn delete(
    door: &Door,
    call: &Call,
    app: &str,
    query: &Query<'_>,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    let (account, revision) = (call.account, qualifier(query)?);
    let named = match Named::read(app, account, false) {
        Ok(named) => named.own(door, account).await,
        Err(error) => Err(error),
    };
    let name = match named {
        Ok(name) => name,
        Err(error) if error.code == Code::ResourceNotFound => return Ok(Reply::Empty(done)),
        Err(error) => return Err(error),
    };
    door.registrar.ask(move |it| it.delete_app(account, &name, revision)).await?;
    Ok(Reply::Empty(done))
}

/// The job with one task that a call of an app is, by the app's newest revision.
pub async fn expand(door: &Door, account: AccountId, job: AppJob) -> Result<JobSpec, ApiError> {
    let text = job.app_name()?.to_owned();
    let app = Named::read(&text, account, false)?.find(door).await?;
    if let AppImage::Docker { .. } = app.spec.image {
        let reason = format!("app {} runs in a container; not in this version", quote(&text));
        return Err(ApiError::invalid("Docker", reason));
    }
    let origin = Origin { owner: app.owner, revision: app.revision };
    job.expand(&app.spec, origin, &door.config.limits)
}
