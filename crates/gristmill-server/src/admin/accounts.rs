//! `/admin/accounts`: who owns things in this region.
//!
//! A disabled account is refused at once; what it has stays, and its jobs run on without reaching
//! the object store. An account is deleted when it is disabled and has nothing left.

use super::{body, refresh};
use crate::door::{Call, Door, Reply};
use gristmill_core::JobQuery;
use gristmill_model::AccountId;
use gristmill_store::registry::Account;
use gristmill_wire::{
    error::{ApiError, Code},
    time::WireTime,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

/// The longest name of an account.
const NAME_CHARS_MAX: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccountBody {
    id: u64,
    name: String,
    state: &'static str,
    creation_time: WireTime,
}

impl From<Account> for AccountBody {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.0,
            name: account.name,
            state: if account.is_active { "Active" } else { "Disabled" },
            creation_time: WireTime(Some(account.created)),
        }
    }
}

/// An account and how much it has.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    #[serde(flatten)]
    account: AccountBody,
    keys: usize,
    jobs: usize,
    clusters: usize,
    buckets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Wanted {
    name: String,
}

pub async fn create(door: &Door, call: &Call) -> Result<Reply, ApiError> {
    let Wanted { name } = body(call)?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    // A name of digits could be taken for a number.
    if !fits || !name.chars().all(plain) || name.bytes().all(|b| b.is_ascii_digit()) {
        let reason =
            format!("must be 1 to {NAME_CHARS_MAX} letters, digits, _ - . @ and not digits alone");
        return Err(ApiError::invalid("Name", reason));
    }
    let now = (door.clock)();
    let made = door.registrar.ask(move |registry| registry.create_account(&name, now)).await?;
    refresh(door).await?;
    Ok(Reply::json(StatusCode::CREATED, &AccountBody::from(made)))
}

pub async fn list(door: &Door) -> Result<Reply, ApiError> {
    let all = door.registrar.ask(|registry| registry.accounts()).await?;
    let items: Vec<AccountBody> = all.into_iter().map(AccountBody::from).collect();
    Ok(Reply::ok(&serde_json::json!({ "Items": items })))
}

async fn find(door: &Door, named: &str) -> Result<Account, ApiError> {
    let named = named.to_owned();
    door.registrar.ask(move |registry| registry.account(&named)).await
}

pub async fn show(door: &Door, named: &str) -> Result<Reply, ApiError> {
    let account = find(door, named).await?;
    let id = account.id;
    let keys = door.registrar.ask(move |registry| registry.keys(Some(id))).await?.len();
    let (jobs, clusters) = in_the_mill(door, id);
    let buckets = buckets(door, id).await?;
    Ok(Reply::ok(&Details { account: account.into(), keys, jobs, clusters, buckets }))
}

fn in_the_mill(door: &Door, account: AccountId) -> (usize, usize) {
    let world = door.mill.published().world();
    let jobs = world.jobs_of(account, &JobQuery::default()).count();
    (jobs, world.clusters_of(account, None).count())
}

async fn buckets(door: &Door, account: AccountId) -> Result<Vec<String>, ApiError> {
    let found = door.objects.list_buckets(account).await.map_err(|error| {
        ApiError::new(Code::InternalError, format!("could not list the buckets: {error}"))
    })?;
    Ok(found.into_iter().map(|bucket| bucket.name).collect())
}

fn check_not_root(door: &Door, account: AccountId) -> Result<(), ApiError> {
    match account == door.keys.root_account() {
        true => Err(ApiError::new(Code::StateConflict, "the root account is always active")),
        false => Ok(()),
    }
}

pub async fn switch(door: &Door, named: &str, is_active: bool) -> Result<Reply, ApiError> {
    let account = find(door, named).await?.id;
    check_not_root(door, account)?;
    let done =
        door.registrar.ask(move |registry| registry.set_account_active(account, is_active)).await;
    refresh(door).await?;
    done?;
    show(door, named).await
}

pub async fn delete(door: &Door, named: &str) -> Result<Reply, ApiError> {
    let account = find(door, named).await?;
    let id = account.id;
    check_not_root(door, id)?;
    // Disabled first, so that nothing new comes while it is looked at.
    if account.is_active {
        let message = format!("account `{named}` is active, disable it first");
        return Err(ApiError::new(Code::StateConflict, message));
    }
    let (jobs, clusters) = in_the_mill(door, id);
    let buckets = buckets(door, id).await?.len();
    if jobs + clusters + buckets > 0 {
        let message = format!(
            "account `{named}` still has {jobs} jobs, {clusters} clusters and {buckets} buckets"
        );
        return Err(ApiError::new(Code::StateConflict, message));
    }
    let done = door.registrar.ask(move |registry| registry.delete_account(id)).await;
    refresh(door).await?;
    done?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}
