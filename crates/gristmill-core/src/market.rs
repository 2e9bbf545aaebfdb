//! What the operator set, and what accounts use: prices of spot machines, machines set aside,
//! quotas.
//!
//! Prices: a group of spot machines with a limit wants no new machine while the price of its
//! type is above it. Nothing is bought; the price only decides who has machines when.
//! Prepaid machines are dealt to the groups that ask for them, the oldest cluster first; they use
//! up no quota.
//!
//! Start at [`Market`].

use crate::{
    cluster::{Cluster, Worker},
    options::Options,
    world::{Account, World},
};
use gristmill_model::{
    AccountId, GroupName, PriceMilli, Quota,
    catalogue::InstanceTypeName,
    spec::{Limits, Resource},
};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// What the operator set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Market {
    /// The price of spot machines by type.
    pub prices: OrdMap<InstanceTypeName, PriceMilli>,
    /// Machines set aside, by account and type. Never 0.
    pub prepaid: OrdMap<(AccountId, InstanceTypeName), u32>,
    /// Quotas of accounts that have their own.
    pub quotas: OrdMap<AccountId, Quota>,
}

/// [`Market`] as a checkpoint holds it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MarketRecord {
    prices: Vec<(InstanceTypeName, PriceMilli)>,
    prepaid: Vec<(AccountId, InstanceTypeName, u32)>,
    quotas: Vec<(AccountId, Quota)>,
}

/// What machines take from a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) machines: u32,
    pub(crate) cores: u64,
}

/// What an account may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Machines, prepaid ones aside.
    pub machines: u64,
    /// Their cores.
    pub cores: u64,
    /// Jobs that were not deleted.
    pub jobs: u64,
    /// Instances of jobs that have not ended.
    pub instances: u64,
}

/// From which purse machines are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purse {
    /// The account's quota.
    Quota,
    /// The machines set aside for it.
    PrePaid,
}

impl Purse {
    pub(crate) fn of(resource: &Resource) -> Self {
        match resource {
            Resource::OnDemand | Resource::Spot { .. } => Self::Quota,
            Resource::PrePaid => Self::PrePaid,
        }
    }
}

impl Market {
    /// Whether the operator set nothing.
    pub fn is_empty(&self) -> bool {
        self.prices.is_empty() && self.prepaid.is_empty() && self.quotas.is_empty()
    }

    pub(crate) fn set_price(&mut self, kind: &InstanceTypeName, price: Option<PriceMilli>) {
        match price {
            Some(price) => self.prices.insert(kind.clone(), price),
            None => self.prices.remove(kind),
        };
    }

    pub(crate) fn set_prepaid(&mut self, account: AccountId, kind: &InstanceTypeName, count: u32) {
        let key = (account, kind.clone());
        match count {
            0 => self.prepaid.remove(&key),
            count => self.prepaid.insert(key, count),
        };
    }

    pub(crate) fn set_quota(&mut self, account: AccountId, quota: Quota) {
        match quota == Quota::default() {
            true => self.quotas.remove(&account),
            false => self.quotas.insert(account, quota),
        };
    }

    /// How many machines of a type are set aside for an account.
    pub(crate) fn set_aside(&self, account: AccountId, kind: &InstanceTypeName) -> u32 {
        self.prepaid.get(&(account, kind.clone())).copied().unwrap_or(0)
    }

    /// The machines set aside for an account, by type.
    pub fn prepaid_of(
        &self,
        account: AccountId,
    ) -> impl Iterator<Item = (&InstanceTypeName, u32)> + '_ {
        let first = (account, InstanceTypeName(String::new()));
        let rest = self.prepaid.range(first..);
        rest.take_while(move |((owner, _), _)| *owner == account)
            .map(|((_, kind), count)| (kind, *count))
    }
}

impl From<&Market> for MarketRecord {
    fn from(market: &Market) -> Self {
        let prepaid = market.prepaid.iter();
        Self {
            prices: market.prices.iter().map(|(kind, price)| (kind.clone(), *price)).collect(),
            prepaid: prepaid.map(|((owner, kind), n)| (*owner, kind.clone(), *n)).collect(),
            quotas: market.quotas.iter().map(|(account, quota)| (*account, *quota)).collect(),
        }
    }
}

impl From<MarketRecord> for Market {
    fn from(record: MarketRecord) -> Self {
        let prepaid = record.prepaid.into_iter();
        Self {
            prices: record.prices.into_iter().collect(),
            prepaid: prepaid.map(|(owner, kind, count)| ((owner, kind), count)).collect(),
            quotas: record.quotas.into_iter().collect(),
        }
    }
}

impl Cluster {
    /// What the cluster takes from its owner's quota.
    pub(crate) fn usage(&self, options: &Options) -> Usage {
        let mut usage = Usage::default();
        if self.deleting {
            return usage;
        }
        for (name, group) in &self.groups {
            let shape = self.shape_of(name);
            if Purse::of(&shape.resource) == Purse::Quota {
                usage.machines += group.desired;
                let cores = options.cores_of(shape.instance_type.as_ref());
                usage.cores += u64::from(group.desired) * cores;
            }
        }
        usage
    }
}

impl Account {
    pub(crate) fn take(&mut self, usage: Usage) {
        self.machines += usage.machines;
        self.cores += usage.cores;
    }

    pub(crate) fn give_back(&mut self, usage: Usage) {
        self.machines -= usage.machines;
        self.cores -= usage.cores;
    }
}

impl World {
    /// What the operator set.
    pub fn market(&self) -> &Market {
        &self.market
    }

    /// What an account may use.
    pub fn allowance(&self, account: AccountId) -> Allowance {
        let own = self.market.quotas.get(&account).copied().unwrap_or_default();
        let Limits { machines_max, cores_max, jobs_max, instances_max, .. } = self.options.limits;
        Allowance {
            machines: own.machines.unwrap_or(machines_max.into()),
            cores: own.cores.unwrap_or(cores_max),
            jobs: own.jobs.unwrap_or(jobs_max.into()),
            instances: own.instances.unwrap_or(instances_max),
        }
    }

    /// Why a group of spot machines gets no new ones now, in words.
    pub(crate) fn group_overpriced(&self, cluster: &Cluster, group: &GroupName) -> Option<String> {
        let shape = cluster.shape_of(group);
        self.overpriced(shape.instance_type.as_ref(), &shape.resource)
    }

    /// Why a spot machine is too expensive now, in words.
    pub(crate) fn worker_overpriced(&self, worker: &Worker) -> Option<String> {
        let shape = worker.made_as.as_deref().cloned();
        let shape =
            shape.unwrap_or_else(|| self.cluster_of(worker.cluster).shape_of(&worker.group));
        self.overpriced(shape.instance_type.as_ref(), &shape.resource)
    }

    fn overpriced(&self, kind: Option<&InstanceTypeName>, resource: &Resource) -> Option<String> {
        let Resource::Spot { price_limit_milli: Some(limit) } = resource else { return None };
        let kind = kind.or(self.options.default_type.as_ref())?;
        let (price, limit) = (*self.market.prices.get(kind)?, PriceMilli(*limit));
        (price > limit)
            .then(|| format!("the spot price of {kind} is {price}, above the limit of {limit}"))
    }
}
