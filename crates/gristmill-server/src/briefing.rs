//! What an agent is told about a task: the job's specification, the cluster's environment, and
//! a key for the object store that opens nothing else.

use crate::{keys::KeyRing, seats::Wish, task_keys::TaskKey};
use gristmill_core::{Cluster, World};
use gristmill_model::{
    AccountId, AppCall, ClusterSpec, Generation, JobId, OssPath, Seconds, TaskName, TaskSpec,
    WorkerId, app::ParameterValue, spec::MountEntry,
};
use gristmill_wire::agent::{Mapping, Resident, Task};
use serde_json::Value;
use std::collections::BTreeMap;

/// Variables that say which run it is.
const RUN_NAMES: [&str; 4] = [
    "BATCH_COMPUTE_DAG_JOB_ID",
    "BATCH_COMPUTE_DAG_TASK_ID",
    "BATCH_COMPUTE_JOB_ID",
    "BATCH_COMPUTE_TASK_ID",
];

/// What is the same for all tasks of the region.
#[derive(Debug, Clone)]
pub struct Briefing {
    /// Region id, as in `BATCH_COMPUTE_REGION`.
    pub region: String,
    /// The object store's URL as agents reach it.
    pub oss_endpoint: String,
    /// The object store's host as programs see it (`BATCH_COMPUTE_OSS_HOST`).
    pub oss_host: String,
    /// When a program that stays has waited for too long.
    pub daemon_idle_max: Seconds,
    /// The object store's port where clusters have networks of their own: their programs reach it
    /// at their network's gateway.
    pub oss_port_apart: Option<u16>,
}

impl Briefing {
    /// The message about a task, or `None` when the world does not know it (any more).
    pub fn task(
        &self,
        world: &World,
        (worker, generation): (WorkerId, Generation),
        (job, task): &(JobId, TaskName),
        number: u32,
        keys: &KeyRing,
    ) -> Option<Task> {
        let job_of_task = world.any_job(*job)?;
        let spec = job_of_task.spec.tasks.get(task)?;
        let cluster = world.any_cluster(world.worker(worker)?.cluster)?;
        let described = &cluster.spec;
        let key = TaskKey { worker, generation, job: *job, task: task.clone() };
        let (access_key_id, access_key_secret) = keys.task_key(&key);
        let mut env = self.environment(job, task, worker, cluster);
        env.extend(spec.program.env.clone());
        let task = Task {
            number,
            job: job.to_string(),
            task: task.to_string(),
            command_line: spec.program.command_line.clone(),
            package: spec.program.package.as_ref().map(ToString::to_string).unwrap_or_default(),
            env,
            inputs: inputs(spec, described),
            outputs: outputs(spec, described),
            logs: spec
                .logs
                .iter()
                .map(|log| mapping(&log.destination.clone().into_prefix(), &log.local))
                .collect(),
            stdout: stream(spec.stdout.as_ref()),
            stderr: stream(spec.stderr.as_ref()),
            timeout: spec.timeout.0,
            locale: spec.locale.clone(),
            lock: spec.lock,
            access_key_id,
            access_key_secret,
            memory_bytes: 0,
            cpu_millis: 0,
            resident: None,
        };
        match &job_of_task.spec.app {
            Some(call) if call.daemonize => {
                Some(self.resident(task, spec, call, job_of_task.account))
            }
            _ => Some(task),
        }
    }

    /// The same for a program that stays. It sees the parameters' files of one run after the other
    /// and no other mounts of the task: those would outlive the key that opens them.
    fn resident(&self, task: Task, spec: &TaskSpec, call: &AppCall, account: AccountId) -> Task {
        let AppCall { owner, app_name, revision, .. } = call;
        let parameters = call.inputs.iter().chain(&call.outputs).map(|(name, value)| {
            let shown = spec.program.env.get(name).cloned().map(Value::from);
            let value = match value {
                ParameterValue::Number(number) => Value::Number(number.clone()),
                ParameterValue::Text(text) => shown.unwrap_or_else(|| text.as_str().into()),
            };
            (name.clone(), value)
        });
        let parameters = Value::Object(parameters.collect());
        let of_run = RUN_NAMES.into_iter().map(str::to_owned);
        let resident = Resident {
            key: format!("{account}/{owner}/{app_name}/{revision}"),
            run_env: of_run.chain(call.inputs.keys().chain(call.outputs.keys()).cloned()).collect(),
            parameters: parameters.to_string(),
            idle_seconds_max: self.daemon_idle_max.0,
        };
        Task {
            inputs: spec.inputs.iter().map(|it| mapping(&it.source, &it.local)).collect(),
            outputs: spec.outputs.iter().map(|it| mapping(&it.destination, &it.local)).collect(),
            resident: Some(resident),
            ..task
        }
    }

    /// `reference/api.md` 14.1; the names without `DAG_` are those of older samples. The
    /// instance's number is added by the agent.
    fn environment(
        &self,
        job: &JobId,
        task: &TaskName,
        worker: WorkerId,
        cluster: &Cluster,
    ) -> BTreeMap<String, String> {
        let (job, task) = (job.to_string(), task.to_string());
        let values = [job.clone(), task.clone(), job, task];
        let pairs = RUN_NAMES.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value));
        pairs.chain(self.machine_environment(worker, cluster)).collect()
    }

    fn oss_host_of(&self, cluster: &Cluster) -> String {
        match self.oss_port_apart {
            Some(port) => format!("{}:{port}", Wish::of(cluster).block.gateway()),
            None => self.oss_host.clone(),
        }
    }

    /// The part of it that is the same for every program of a machine, its bootstrap included,
    /// and the cluster's own variables.
    pub fn machine_environment(
        &self,
        worker: WorkerId,
        cluster: &Cluster,
    ) -> BTreeMap<String, String> {
        let pairs = [
            ("BATCH_COMPUTE_OSS_HOST", self.oss_host_of(cluster)),
            ("BATCH_COMPUTE_REGION", self.region.clone()),
            ("BATCH_COMPUTE_WORKER_ID", worker.to_string()),
            ("BATCH_COMPUTE_CLUSTER_ID", cluster.id.to_string()),
        ];
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
        pairs.chain(cluster.spec.env.clone()).collect()
    }
}

fn mapping(remote: &OssPath, local: &str) -> Mapping {
    Mapping { remote: remote.to_string(), local: local.to_owned() }
}

fn stream(prefix: Option<&OssPath>) -> String {
    prefix.map(|path| path.clone().into_prefix().to_string()).unwrap_or_default()
}

/// What the cluster and the task mount, and `InputMapping`; the later lies on top.
fn inputs(task: &TaskSpec, cluster: &ClusterSpec) -> Vec<Mapping> {
    let mounted =
        oss_entries(task, cluster).map(|(source, entry)| mapping(&source, &entry.destination));
    let mapped = task.inputs.iter().map(|input| mapping(&input.source, &input.local));
    mounted.chain(mapped).collect()
}

/// `OutputMapping`, and the writable entries of `Mounts`.
fn outputs(task: &TaskSpec, cluster: &ClusterSpec) -> Vec<Mapping> {
    let mapped = task.outputs.iter().map(|output| mapping(&output.destination, &output.local));
    let mounted = oss_entries(task, cluster)
        .filter(|(_, entry)| entry.write_support)
        .map(|(source, entry)| mapping(&source, &entry.destination));
    mapped.chain(mounted).collect()
}

/// The entries of a cluster's `Mounts` that lie in the object store.
pub fn cluster_entries(cluster: &ClusterSpec) -> impl Iterator<Item = (OssPath, &MountEntry)> {
    let entries = cluster.configs.mounts.iter().flat_map(|mounts| &mounts.entries);
    entries.filter_map(|entry| Some((entry.source.parse().ok()?, entry)))
}

/// The entries of `Mounts` that lie in the object store: the cluster's, then the task's.
pub fn oss_entries<'a>(
    task: &'a TaskSpec,
    cluster: &'a ClusterSpec,
) -> impl Iterator<Item = (OssPath, &'a MountEntry)> {
    let mounts = cluster.configs.mounts.iter().chain(&task.mounts);
    let entries = mounts.flat_map(|mounts| &mounts.entries);
    entries.filter_map(|entry| Some((entry.source.parse().ok()?, entry)))
}
