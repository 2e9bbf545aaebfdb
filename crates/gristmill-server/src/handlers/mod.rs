//! The operations of the API: each takes a verified call and answers.

mod apps;
mod belongings;
mod bootstrap_log;
mod clusters;
mod credentials;
mod events;
mod images;
mod instances;
mod jobs;
mod live_log;
mod offers;
mod shell;
mod supported;
mod sync_jobs;

pub use sync_jobs::Waiters;

pub use events::FOLLOWERS_MAX;

use crate::{
    admin,
    door::{Call, Door, Reply},
    shell::Address,
};
use gristmill_model::Input;
use gristmill_wire::{
    api::{Operation, Query, routes::route},
    error::{ApiError, Code},
};
use http::StatusCode;

/// Finds the operation and carries it out.
pub async fn dispatch(door: &Door, mut call: Call) -> Result<Reply, ApiError> {
    let target = call.target.clone();
    let (path, raw_query) = target.split_once('?').unwrap_or((&target, ""));
    let query = Query::parse(raw_query)?;
    if let Some(place) = admin::path_of(path) {
        return admin::dispatch(door, &call, &place).await;
    }
    if credentials::is_here(&call.method, path) {
        return credentials::create(door, &call).await;
    }
    if let Some(place) = live_log::LogPlace::of(&call.method, path) {
        call.check("GetInstance")?;
        return live_log::read(door, &call, &query, place).await;
    }
    if let Some(address) = bootstrap_log::address_of(&call.method, path) {
        call.check("GetClusterInstance")?;
        return bootstrap_log::read(door, &call, &query, address).await;
    }
    if let Some(address) = Address::of(&call.method, path) {
        call.check("OpenShell")?;
        return shell::open(door, &mut call, address);
    }
    if let Some(job) = jobs::why_path(&call.method, path) {
        call.check("GetJob")?;
        return jobs::why(door, &call, job).await;
    }
    if let Some(job) = events::job_of(&call.method, path) {
        call.check("GetJob")?;
        return events::follow(door, &call, job).await;
    }
    let operation = route(&call.method, path, &query)?;
    call.check(operation.name())?;
    let done = StatusCode::from_u16(operation.success_status()).unwrap_or(StatusCode::OK);
    match &operation {
        Operation::CreateJob => jobs::create(door, &call, &query).await,
        Operation::GetJob { job } => jobs::get(door, &call, job).await,
        Operation::GetJobDescription { job } => jobs::description(door, &call, job).await,
        Operation::ListJobs => jobs::list(door, &call, &query).await,
        Operation::StopJob { job } => jobs::stop(door, &call, job, done).await,
        Operation::StartJob { job } => jobs::start(door, &call, job, done).await,
        Operation::DeleteJob { job } => jobs::delete(door, &call, job, done).await,
        Operation::ChangeJobPriority { job } => jobs::change_priority(door, &call, job, done).await,
        Operation::ListTasks { job } => jobs::list_tasks(door, &call, job, &query).await,
        Operation::GetTask { job, task } => jobs::get_task(door, &call, job, task).await,
        Operation::ListInstances { job, task } => {
            instances::list(door, &call, job, task, &query).await
        }
        Operation::GetInstance { job, task, instance } => {
            instances::get(door, &call, job, task, instance).await
        }
        Operation::CreateCluster => clusters::create(door, &call, &query).await,
        Operation::GetCluster { cluster } => clusters::get(door, &call, cluster),
        Operation::ListClusters => clusters::list(door, &call, &query),
        Operation::ModifyCluster { cluster } => clusters::modify(door, &call, cluster, done).await,
        Operation::DeleteCluster { cluster } => clusters::delete(door, &call, cluster).await,
        Operation::ListClusterInstances { cluster, group } => {
            clusters::list_machines(door, &call, cluster, group, &query)
        }
        Operation::GetClusterInstance { cluster, group, worker } => {
            clusters::get_machine(door, &call, Address { cluster, group, machine: worker })
        }
        Operation::DeleteClusterInstance { cluster, group, worker } => {
            let address = Address { cluster, group, machine: worker };
            let wish = |account, place| Input::DeleteWorker { account, place };
            clusters::change_machine(door, &call, address, wish, done).await
        }
        Operation::RecreateClusterInstance { cluster, group, worker } => {
            let address = Address { cluster, group, machine: worker };
            let wish = |account, place| Input::RecreateWorker { account, place };
            clusters::change_machine(door, &call, address, wish, done).await
        }
        Operation::CreateImage => images::create(door, &call, &query).await,
        Operation::GetImage { image } => images::get(door, &call, image).await,
        Operation::ListImages => images::list(door, &call, &query).await,
        Operation::DeleteImage { image } => images::delete(door, &call, image, done).await,
        Operation::GetQuotas => Ok(offers::quotas(door, &call)),
        Operation::GetAvailableResource => Ok(offers::available(door, &call)),
        Operation::CreateJobSync => sync_jobs::create(door, &call, &query).await,
        Operation::CreateApp => apps::create(door, &call, &query).await,
        Operation::GetApp { app } => apps::get(door, &call, app, &query).await,
        Operation::GetAppDetail { app } => apps::detail(door, &call, app, &query).await,
        Operation::GetAppRevisions { app } => apps::revisions(door, &call, app).await,
        Operation::ListApps => apps::list(door, &call, &query).await,
        Operation::ModifyApp { app } => apps::modify(door, &call, app, done).await,
        Operation::DeleteApp { app } => apps::delete(door, &call, app, &query, done).await,
    }
}

pub(crate) fn not_found(kind: &str, id: &str) -> ApiError {
    let message = format!("{kind} {} is not found", gristmill_wire::error::quote(id));
    ApiError::new(Code::ResourceNotFound, message)
}
