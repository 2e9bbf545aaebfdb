//! What a specification may ask for in this region: types of the catalogue, and nothing that this
//! version would silently leave out. Whether its images are here is asked with whose they are.

use crate::door::Door;
use gristmill_model::{
    ClusterChange, ClusterSpec, JobSpec, Placement, TaskSpec,
    catalogue::InstanceTypeName,
    change::NewMounts,
    spec::{AutoCluster, Configs, Mounts},
};
use gristmill_wire::error::{ApiError, quote};

/// Variable that asks for a container (`reference/api.md` 13.8).
const DOCKER_VARIABLE: &str = "BATCH_COMPUTE_DOCKER_IMAGE";

/// Checks a job against what the region has.
pub fn check_job(door: &Door, spec: &JobSpec) -> Result<(), ApiError> {
    for (name, task) in &spec.tasks {
        check_task(door, task).map_err(|error| error.inside(format!("task {name}")))?;
    }
    Ok(())
}

fn check_task(door: &Door, task: &TaskSpec) -> Result<(), ApiError> {
    if task.program.docker.is_some() || task.program.env.contains_key(DOCKER_VARIABLE) {
        return Err(ApiError::invalid("Docker", "containers are not supported in this version"));
    }
    check_mounts(task.mounts.as_ref())?;
    match &task.placement {
        Placement::Auto(shape) | Placement::Attach { shape, .. } => check_shape(door, shape),
        Placement::Fixed(_) => Ok(()),
    }
}

fn check_shape(door: &Door, shape: &AutoCluster) -> Result<(), ApiError> {
    check_type(door, shape.instance_type.as_ref())?;
    check_configs(&shape.configs)
}

/// Checks a cluster against what the region has.
pub fn check_cluster(door: &Door, spec: &ClusterSpec) -> Result<(), ApiError> {
    check_type(door, spec.instance_type.as_ref())?;
    check_configs(&spec.configs)?;
    for (name, group) in &spec.groups {
        let inside = |error: ApiError| error.inside(format!("group {name}"));
        check_type(door, group.instance_type.as_ref()).map_err(inside)?;
    }
    Ok(())
}

/// Checks a change of a cluster against what the region has.
pub fn check_change(door: &Door, change: &ClusterChange) -> Result<(), ApiError> {
    if let Some(NewMounts::These(mounts)) = &change.mounts {
        check_mounts(Some(mounts))?;
    }
    for (name, group) in &change.groups {
        let inside = |error: ApiError| error.inside(format!("group {name}"));
        check_type(door, group.instance_type.as_ref()).map_err(inside)?;
    }
    Ok(())
}

fn check_type(door: &Door, name: Option<&InstanceTypeName>) -> Result<(), ApiError> {
    match name {
        Some(name) if door.catalogue.find(name).is_none() => {
            let reason = format!("`{name}` is not offered here, see GET /available");
            Err(ApiError::invalid("InstanceType", reason))
        }
        _ => Ok(()),
    }
}

fn check_configs(configs: &Configs) -> Result<(), ApiError> {
    check_mounts(configs.mounts.as_ref())
}

fn check_mounts(mounts: Option<&Mounts>) -> Result<(), ApiError> {
    let entries = mounts.into_iter().flat_map(|mounts| &mounts.entries);
    for entry in entries {
        if !entry.source.starts_with("oss://") {
            let source = quote(&entry.source);
            let reason = format!("{source}: only oss:// sources are supported in this version");
            return Err(ApiError::invalid("Mounts", reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_model::spec::MountEntry;

    #[test]
    fn a_source_that_is_refused_is_not_repeated_whole() {
        let source = format!("nas://host:/{}", "x".repeat(100_000));
        let entry = MountEntry { source, destination: "/home/nas".into(), write_support: false };
        let mounts = Mounts {
            entries: vec![entry],
            locale: "GBK".into(),
            lock: false,
            cache: true,
            cache_block_size: 0,
            cache_total_size: 0,
            extra: std::collections::BTreeMap::new(),
        };
        let error = check_mounts(Some(&mounts)).expect_err("not supported");
        assert!(error.message.contains("nas://host:/xxx"), "{}", error.message);
        assert!(error.message.len() < 300, "{}", error.message.len());
    }
}
