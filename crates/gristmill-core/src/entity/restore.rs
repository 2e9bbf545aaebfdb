//! The way back from the entities of a checkpoint to a world.
//!
//! Clusters first, then machines, then jobs: each puts itself into the indexes through the same
//! doors that `apply` uses. At the end the books are checked once, whole.

use super::{
    Entity,
    records::{ClusterRecord, JobRecord, WorkerRecord},
};
use crate::{cluster::Assigned, options::Options, world::World};
use gristmill_model::{InstanceNo, InstanceState, JobId, JobSpec, TaskName};
use std::{collections::BTreeMap, sync::Arc};

/// Entities that do not make a world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Something refers to something that is not there.
    #[error("{what} refers to {to}, which the checkpoint does not hold")]
    Missing {
        /// Who refers.
        what: String,
        /// To what.
        to: String,
    },
    /// The pieces fit, but the books do not add up.
    #[error("the checkpoint does not add up: {}", .0.join("; "))]
    Unsound(Vec<String>),
}

impl World {
    /// The world of a checkpoint. The entities may come in any order.
    pub fn restore(
        options: Options,
        entities: impl IntoIterator<Item = Entity>,
    ) -> Result<Self, RestoreError> {
        let mut pieces = Pieces::default();
        let mut world = Self::new(options);
        for entity in entities {
            match entity {
                Entity::Region { next_run } => world.next_run = next_run,
                Entity::Spec { job, spec } => drop(pieces.specs.insert(job, spec)),
                Entity::Job(record) => pieces.jobs.push(record),
                Entity::Cluster(record) => world.put_cluster(record),
                Entity::Worker(record) => pieces.workers.push(record),
                Entity::Market(record) => world.market = record.into(),
                Entity::Token { key, record } => world.remember_token(key, record),
            }
        }
        for record in pieces.workers {
            world.put_worker(record)?;
        }
        for record in pieces.jobs {
            let spec = pieces.specs.remove(&record.id);
            world.put_job(record, spec)?;
        }
        world.check_books().map_err(RestoreError::Unsound)?;
        Ok(world)
    }

    fn put_cluster(&mut self, record: ClusterRecord) {
        let cluster = record.into_cluster();
        let (id, account, usage) = (cluster.id, cluster.account, cluster.usage(&self.options));
        self.change_account(account, |account| account.take(usage));
        self.account_clusters.insert((account, id));
        self.note_lanes(&cluster);
        self.clusters.insert(id, Arc::new(cluster));
    }

    fn put_worker(&mut self, record: WorkerRecord) -> Result<(), RestoreError> {
        let (worker, group) = (record.id, record.group.clone());
        let cluster = self.clusters.get(&record.cluster);
        if cluster.is_none_or(|cluster| !cluster.groups.contains_key(&group)) {
            let to = format!("group `{group}` of {}", record.cluster);
            return Err(RestoreError::Missing { what: format!("machine {worker}"), to });
        }
        let cluster = self.cluster_of(record.cluster);
        let (is_spot, lane) = (cluster.is_spot(&group), cluster.groups[&group].lane.clone());
        self.add_worker(record.into_worker(is_spot, lane));
        Ok(())
    }

    fn put_job(
        &mut self,
        record: JobRecord,
        spec: Option<Arc<JobSpec>>,
    ) -> Result<(), RestoreError> {
        let id = record.id;
        let missing = |to: String| RestoreError::Missing { what: id.to_string(), to };
        let spec = spec.ok_or_else(|| missing("its specification".to_owned()))?;
        let job = record.into_job(spec).map_err(|task| missing(format!("task `{task}`")))?;
        self.list_job(&job, true);
        let instances = job.open_instances();
        self.change_account(job.account, |account| {
            account.jobs += 1;
            account.instances += instances;
        });
        let job = Arc::new(job);
        self.note_finished(&job, true);
        self.jobs.insert(id, Arc::clone(&job));
        for (name, task) in &job.tasks {
            self.index_task(id, name);
            for (number, state) in &task.live {
                self.put_run(id, name, *number, state)?;
            }
        }
        Ok(())
    }

    fn put_run(
        &mut self,
        job: JobId,
        task: &TaskName,
        number: u32,
        state: &InstanceState,
    ) -> Result<(), RestoreError> {
        let (InstanceState::Placed { run, worker, .. }
        | InstanceState::Running { run, worker, .. }) = *state
        else {
            return Ok(());
        };
        if !self.workers.contains_key(&worker) {
            let what = format!("{job} {task}/{number}");
            return Err(RestoreError::Missing { what, to: format!("machine {worker}") });
        }
        let instance = InstanceNo(number);
        let what = Assigned { job, task: task.clone(), instance };
        self.change_worker(worker, |worker| {
            worker.runs.insert(run, what);
        });
        Ok(())
    }
}

#[derive(Default)]
struct Pieces {
    specs: BTreeMap<JobId, Arc<JobSpec>>,
    jobs: Vec<JobRecord>,
    workers: Vec<WorkerRecord>,
}
