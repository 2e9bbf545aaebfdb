//! Clusters and their machines (`reference/api.md` 9).

use super::{belongings, not_found, supported};
use crate::{
    door::{Call, Door, Reply},
    shell::Address,
};
use gristmill_core::{Cluster, LogLine, Trouble, Worker, World};
use gristmill_model::{
    AccountId, Answer, ClusterId, GroupName, Input, WorkerId, WorkerState, input::WorkerPlace,
    spec::Resource,
};
use gristmill_wire::{
    api::{
        List, ListQuery, Query,
        cluster::{ClusterParts, cluster_body},
        idempotency_token, parse_cluster, parse_modify_cluster,
        responses::{self as bodies, ClusterMetrics},
    },
    error::ApiError,
    time::{WireTime, stamp},
};
use http::StatusCode;
use std::{collections::BTreeMap, sync::Arc};

/// `POST /clusters`
pub async fn create(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let token = idempotency_token(query, &call.body)?;
    let spec = parse_cluster(&call.body, &door.config.limits)?;
    belongings::check_cluster(door, call, &spec).await?;
    supported::check_cluster(door, &spec)?;
    let input = Input::CreateCluster { account: call.account, spec: Arc::new(spec), token };
    match door.put(input).await? {
        Answer::Cluster(cluster) => {
            Ok(Reply::json(StatusCode::CREATED, &bodies::Created::from(cluster)))
        }
        other => unreachable!("creating a cluster answers with a cluster, not {other:?}"),
    }
}

fn find<'a>(world: &'a World, account: AccountId, id: &str) -> Result<&'a Cluster, ApiError> {
    let cluster = id.parse().ok().and_then(|cluster| world.cluster(account, cluster));
    cluster.ok_or_else(|| not_found("cluster", id))
}

/// `GET /clusters/{cluster}`
pub fn get(door: &Door, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let world = door.mill.published().world();
    Ok(Reply::ok(&body(find(&world, call.account, id)?)))
}

/// `GET /clusters`
pub fn list(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let wish = ListQuery::plain(query)?;
    let world = door.mill.published().world();
    let mut clusters = world.clusters_of(call.account, wish.marker.key::<ClusterId>()?);
    let page: Vec<&Cluster> = clusters.by_ref().take(wish.items_max).collect();
    let last = page.last().filter(|_| clusters.next().is_some()).map(|cluster| cluster.id);
    Ok(Reply::ok(&List::page(page.into_iter().map(body).collect(), last)))
}

fn body(cluster: &Cluster) -> bodies::Cluster {
    let group_numbers = |number: fn(&gristmill_core::Group) -> u32| -> BTreeMap<GroupName, u32> {
        cluster.groups.iter().map(|(name, group)| (name.clone(), number(group))).collect()
    };
    let metrics = cluster.metrics();
    let logs: Vec<String> = cluster.log.iter().map(log_line).collect();
    cluster_body(ClusterParts {
        id: cluster.id,
        account: cluster.account,
        spec: &cluster.spec,
        state: if cluster.deleting { "Deleting" } else { "Active" },
        created: cluster.created,
        desired: &desired(cluster),
        actual: &group_numbers(|group| group.metrics.running),
        metrics: ClusterMetrics {
            starting_count: metrics.starting,
            running_count: metrics.running,
            stopping_count: metrics.stopping,
            stopped_count: 0,
        },
        operation_logs: &logs,
    })
}

/// The sizes that were asked for; of prepaid machines none is, whatever the operator set aside.
fn desired(cluster: &Cluster) -> BTreeMap<GroupName, u32> {
    let asked = |name: &GroupName, group: &gristmill_core::Group| match cluster.spec.groups[name]
        .resource
    {
        Resource::PrePaid => 0,
        Resource::OnDemand | Resource::Spot { .. } => group.desired,
    };
    cluster.groups.iter().map(|(name, group)| (name.clone(), asked(name, group))).collect()
}

/// `[<time>][<group>][<machine>]text`, the brackets only where they apply.
fn log_line(line: &LogLine) -> String {
    let mut text = format!("[{}]", stamp(line.at));
    if let Some(group) = &line.group {
        text += &format!("[{group}]");
    }
    if let Some(worker) = &line.worker {
        text += &format!("[{worker}]");
    }
    text + &line.text
}

/// `PUT /clusters/{cluster}`
pub async fn modify(
    door: &Door,
    call: &Call,
    id: &str,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    let change = parse_modify_cluster(&call.body, &door.config.limits)?;
    belongings::check_change(door, call, &change).await?;
    supported::check_change(door, &change)?;
    let cluster = id.parse().map_err(|_| not_found("cluster", id))?;
    let (account, change) = (call.account, Arc::new(change));
    door.put(Input::ModifyCluster { account, cluster, change }).await?;
    Ok(Reply::Empty(done))
}

/// `DELETE /clusters/{cluster}`: 202 while machines have to go, else 200 (`reference/api.md` 9.5).
pub async fn delete(door: &Door, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let cluster = id.parse().map_err(|_| not_found("cluster", id))?;
    let answer = door.put(Input::DeleteCluster { account: call.account, cluster }).await?;
    let machines_left = answer == Answer::Deleting { machines_left: true };
    Ok(Reply::Empty(if machines_left { StatusCode::ACCEPTED } else { StatusCode::OK }))
}

/// `GET /clusters/{cluster}/groups/{group}/instances`. Machines that go are listed last: the
/// Java tests want a new one first.
pub fn list_machines(
    door: &Door,
    call: &Call,
    cluster: &str,
    group: &str,
    query: &Query<'_>,
) -> Result<Reply, ApiError> {
    let wish = ListQuery::plain(query)?;
    let world = door.mill.published().world();
    let mut machines = machines(&world, call.account, cluster, group)?;
    machines.sort_by_key(|worker| order(worker));
    let after: Option<MachineKey> = wish.marker.key()?;
    let mut rest = machines.into_iter().filter(|it| after.is_none_or(|after| order(it) > after.0));
    let page: Vec<&Worker> = rest.by_ref().take(wish.items_max).collect();
    let last = page.last().filter(|_| rest.next().is_some()).map(|it| MachineKey(order(it)));
    let items = page.into_iter().map(|worker| machine_body(door, &world, worker)).collect();
    Ok(Reply::ok(&List::page(items, last)))
}

/// Sort key of machines: those that go come last.
fn order(worker: &Worker) -> (bool, WorkerId) {
    (worker.state == WorkerState::Deleting, worker.id)
}

/// The sort key as a marker.
#[derive(Clone, Copy)]
struct MachineKey((bool, WorkerId));

impl std::fmt::Display for MachineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", u8::from(self.0.0), self.0.1)
    }
}

impl std::str::FromStr for MachineKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let goes = text.starts_with('1');
        let id = text.get(1..).and_then(|id| id.parse().ok()).ok_or(())?;
        Ok(Self((goes, id)))
    }
}

fn machines<'a>(
    world: &'a World,
    account: AccountId,
    cluster: &str,
    group: &str,
) -> Result<Vec<&'a Worker>, ApiError> {
    let found = find(world, account, cluster)?;
    let name: Option<GroupName> = group.parse().ok();
    let group =
        name.and_then(|name| found.groups.get(&name)).ok_or_else(|| not_found("group", group))?;
    Ok(group.workers.iter().filter_map(|id| world.worker(*id)).collect())
}

/// A machine of this account's.
pub fn machine<'a>(
    world: &'a World,
    account: AccountId,
    address: Address<'_>,
) -> Result<&'a Worker, ApiError> {
    let machines = machines(world, account, address.cluster, address.group)?;
    let id: Option<WorkerId> = address.machine.parse().ok();
    let found = machines.into_iter().find(|worker| Some(worker.id) == id);
    found.ok_or_else(|| not_found("machine", address.machine))
}

/// `GET /clusters/{cluster}/groups/{group}/instances/{machine}`
pub fn get_machine(door: &Door, call: &Call, address: Address<'_>) -> Result<Reply, ApiError> {
    let world = door.mill.published().world();
    let worker = machine(&world, call.account, address)?;
    Ok(Reply::ok(&machine_body(door, &world, worker)))
}

/// `DELETE …/instances/{machine}` and `POST …/instances/{machine}/recreate`
pub async fn change_machine(
    door: &Door,
    call: &Call,
    address: Address<'_>,
    wish: fn(AccountId, WorkerPlace) -> Input,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    door.put(wish(call.account, machine_place(address)?)).await?;
    Ok(Reply::Empty(done))
}

fn machine_place(address: Address<'_>) -> Result<WorkerPlace, ApiError> {
    let Address { cluster, group, machine } = address;
    Ok(WorkerPlace {
        cluster: cluster.parse().map_err(|_| not_found("cluster", cluster))?,
        group: group.parse().map_err(|_| not_found("group", group))?,
        worker: machine.parse().map_err(|_| not_found("machine", machine))?,
    })
}

fn machine_body(door: &Door, world: &World, worker: &Worker) -> bodies::ClusterInstance {
    let inherits = world
        .any_cluster(worker.cluster)
        .is_some_and(|cluster| cluster.spec.extra.contains_key("PasswordInherit"));
    let password = if inherits { String::new() } else { door.keys.machine_password(worker.id) };
    let error_code = match worker.trouble {
        None => 0,
        Some(Trouble::NotMade) => 1,
        Some(Trouble::NotSetUp) => 2,
    };
    bodies::ClusterInstance {
        error_code,
        error_message: if error_code == 0 { String::new() } else { worker.hint.clone() },
        instance_password: password,
        ip_address: worker.address.clone(),
        hint: worker.hint.clone(),
        creation_time: WireTime(Some(worker.created)),
        ..bodies::ClusterInstance::new(worker.id, worker.state, &worker.host_name)
    }
}
