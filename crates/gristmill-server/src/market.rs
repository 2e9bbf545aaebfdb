//! What the operator sets for machines: prices of spot machines, prepaid machines, quotas. The
//! server's end of `gristmill admin spot-price`, `prepaid` and `quota`, and the prices of the
//! settings file.
//!
//! Nothing is decided here: each command is one input of the mill.

use crate::{
    admin::{account_named, body},
    config::SpotConfig,
    door::{Call, Door, Reply},
    mill::{Mill, MillError},
};
use gristmill_core::World;
use gristmill_model::{AccountId, Input, PriceMilli, Quota, catalogue::InstanceTypeName};
use gristmill_wire::{
    api::responses::AccountQuota,
    error::{ApiError, quote},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// Sets the prices of the settings file, whose limits may be others as well.
pub async fn apply(mill: &Mill, config: &SpotConfig) -> Result<(), MillError> {
    for entry in &config.price {
        let (instance_type, price) = (entry.instance_type.clone(), milli(entry.price));
        mill.put(Input::SetSpotPrice { instance_type, price }).await?;
    }
    mill.put(Input::Resumed).await?;
    Ok(())
}

/// A price in thousandths; `None` when it is none: negative, or too large.
fn milli(price: f64) -> Option<PriceMilli> {
    let milli = (price * 1_000.0).round();
    (0.0..=f64::from(u32::MAX)).contains(&milli).then_some(PriceMilli(milli as u32))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PriceBody {
    price: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CountBody {
    count: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
#[derive(Default)]
struct QuotaBody {
    machines: Option<u64>,
    cores: Option<u64>,
    jobs: Option<u64>,
    instances: Option<u64>,
}

/// The type, which must be one of the catalogue.
fn kind(door: &Door, name: &str) -> Result<InstanceTypeName, ApiError> {
    let kind = InstanceTypeName(name.to_owned());
    match door.catalogue.find(&kind) {
        Some(_) => Ok(kind),
        None => Err(ApiError::invalid("InstanceType", format!("{} is not offered", quote(name)))),
    }
}

/// Carries out a command below `/admin/` if it is one of these; `None` when it is not.
pub async fn dispatch(door: &Door, call: &Call, path: &[&str]) -> Option<Result<Reply, ApiError>> {
    Some(match (call.method.as_str(), path) {
        ("GET", ["spot-prices"]) => Ok(prices(door)),
        ("POST", ["spot-prices", kind]) => set_price(door, call, kind).await,
        ("DELETE", ["spot-prices", kind]) => remove_price(door, kind).await,
        ("GET", ["prepaid", owner]) => prepaid(door, owner).await,
        ("POST", ["prepaid", owner, kind]) => set_prepaid(door, call, owner, kind).await,
        ("GET", ["quotas", owner]) => quota(door, owner).await,
        ("POST", ["quotas", owner]) => set_quota(door, call, owner).await,
        _ => return None,
    })
}

/// `GET /admin/spot-prices`
fn prices(door: &Door) -> Reply {
    let world = door.mill.published().world();
    let prices = world.market().prices.iter();
    let items: Vec<Value> = prices
        .map(|(kind, price)| json!({"InstanceType": kind, "Price": f64::from(price.0) / 1_000.0}))
        .collect();
    Reply::ok(&json!({ "Items": items }))
}

/// `POST /admin/spot-prices/{type}` with `Price`
async fn set_price(door: &Door, call: &Call, name: &str) -> Result<Reply, ApiError> {
    let PriceBody { price } = body(call)?;
    let wrong = || ApiError::invalid("Price", "must be 0 or a price of at most three decimals");
    let exact = |milli: &PriceMilli| (price * 1_000.0 - f64::from(milli.0)).abs() < 0.01;
    let price = Some(milli(price).filter(exact).ok_or_else(wrong)?);
    door.mill.put(Input::SetSpotPrice { instance_type: kind(door, name)?, price }).await?;
    Ok(prices(door))
}

/// `DELETE /admin/spot-prices/{type}`
async fn remove_price(door: &Door, name: &str) -> Result<Reply, ApiError> {
    let instance_type = InstanceTypeName(name.to_owned());
    door.mill.put(Input::SetSpotPrice { instance_type, price: None }).await?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

/// `GET /admin/prepaid/{account}`
async fn prepaid(door: &Door, owner: &str) -> Result<Reply, ApiError> {
    let account = account_named(door, owner).await?;
    let world = door.mill.published().world();
    let items: Vec<Value> = world
        .market()
        .prepaid_of(account)
        .map(|(kind, count)| json!({"AccountId": account, "InstanceType": kind, "Count": count}))
        .collect();
    Ok(Reply::ok(&json!({ "Items": items })))
}

/// `POST /admin/prepaid/{account}/{type}` with `Count`
async fn set_prepaid(door: &Door, call: &Call, owner: &str, name: &str) -> Result<Reply, ApiError> {
    let account = account_named(door, owner).await?;
    let CountBody { count: machines } = body(call)?;
    let instance_type = kind(door, name)?;
    door.mill.put(Input::SetPrepaid { account, instance_type, machines }).await?;
    prepaid(door, owner).await
}

/// `GET /admin/quotas/{account}`
async fn quota(door: &Door, owner: &str) -> Result<Reply, ApiError> {
    let account = account_named(door, owner).await?;
    let world = door.mill.published().world();
    Ok(Reply::ok(&json!({ "Items": quotas_of(&world, account) })))
}

/// `POST /admin/quotas/{account}`: a member that is absent is as the region's limits say.
async fn set_quota(door: &Door, call: &Call, owner: &str) -> Result<Reply, ApiError> {
    let account = account_named(door, owner).await?;
    let QuotaBody { machines, cores, jobs, instances } = body(call)?;
    let quota = Quota { machines, cores, jobs, instances };
    door.mill.put(Input::SetQuota { account, quota }).await?;
    self::quota(door, owner).await
}

/// What an account may use and does use.
pub fn quotas_of(world: &World, account: AccountId) -> Vec<AccountQuota> {
    let (may, used) = (world.allowance(account), world.account(account));
    [
        ("Machines", may.machines, u64::from(used.machines)),
        ("Cores", may.cores, used.cores),
        ("Jobs", may.jobs, u64::from(used.jobs)),
        ("Instances", may.instances, used.instances),
    ]
    .map(|(name, limit, used)| AccountQuota { name: name.to_owned(), limit, used })
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_kept_in_thousandths() {
        for (price, wanted) in [
            (0.0, Some(0)),
            (0.6, Some(600)),
            (1.234, Some(1_234)),
            (-0.1, None),
            (1e300, None),
            (f64::NAN, None),
        ] {
            assert_eq!(milli(price), wanted.map(PriceMilli), "{price}");
        }
    }
}
