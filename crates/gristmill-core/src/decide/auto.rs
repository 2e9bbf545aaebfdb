//! Automatic clusters: made for one task, as large as its open instances and the quota allow,
//! topped up when something becomes free. Whose turn it is says `fill`.

use super::Draft;
use crate::world::Turn;
use gristmill_model::{
    AccountId, ClusterSpec, Event, GroupSpec, JobName, Placement, TaskName, event::Purpose,
    spec::AutoCluster,
};
use std::{collections::BTreeMap, sync::Arc};

/// The longest name of a cluster on the wire.
const CLUSTER_NAME_MAX: usize = 64;

impl Draft<'_> {
    /// Makes or tops up the automatic cluster of a task with at most `left` machines.
    pub(super) fn feed(&mut self, account: AccountId, turn: &Turn, left: u32) {
        let task = &self.world.job_of(turn.job).tasks[&turn.task];
        // Never 0, or this would be asked for ever: who is starved is short and has something
        // waiting, or has no cluster.
        let more = task.machines_short.min(task.counts.waiting).min(left);
        if let Some(cluster) = task.auto_cluster {
            let (group, size) = self.world.cluster_of(cluster).only_group();
            let (group, size) = (group.clone(), size + more);
            self.resize_group(cluster, &group, size);
            return;
        }
        let size = self.world.machines_wanted(turn.job, &turn.task).min(left);
        let spec = auto_cluster_spec(self.world.job_of(turn.job), &turn.task, size);
        let cluster = self.ids.cluster();
        let purpose = Purpose::Task { job: turn.job, task: turn.task.clone() };
        let (spec, token, at) = (Arc::new(spec), None, self.now);
        self.emit(Event::ClusterCreated { cluster, account, spec, purpose, token, at });
        self.fit_cluster(cluster);
    }
}

fn auto_cluster_spec(job: &crate::job::Job, task: &TaskName, size: u32) -> ClusterSpec {
    let Placement::Auto(shape) = &job.spec.tasks[task].placement else {
        unreachable!("only a task with an automatic cluster waits for one");
    };
    let mut name = format!("auto-{task}");
    name.truncate(CLUSTER_NAME_MAX);
    ClusterSpec {
        name: name.parse::<JobName>().expect("a task's name has the alphabet of a cluster's"),
        description: format!("made for task `{task}` of {}", job.id),
        image: None,
        instance_type: shape.instance_type.clone(),
        groups: [("group".parse().expect("a legal name"), auto_group(shape, size))].into(),
        user_data: shape.user_data.clone(),
        env: BTreeMap::new(),
        bootstrap: String::new(),
        configs: shape.configs.clone(),
        notification: None,
        extra: BTreeMap::new(),
    }
}

fn auto_group(shape: &AutoCluster, size: u32) -> GroupSpec {
    GroupSpec {
        desired: size,
        instance_type: shape.instance_type.clone(),
        image: shape.ecs_image.clone().or_else(|| shape.image.clone()),
        resource: shape.resource.clone(),
        host_name_prefix: String::new(),
        mode: String::new(),
    }
}
