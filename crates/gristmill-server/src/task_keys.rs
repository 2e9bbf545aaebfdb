//! Keys that nobody makes and nobody stores: those of running tasks and machines, and the tokens
//! and passwords of machines, all derived from the region's secret.
//!
//! A task's key is good while its worker of that generation is wanted and the job exists, and only
//! for what the task's mappings name: a lost worker that still writes is refused by the object
//! store. A machine's key is good for what its cluster mounts. Both are worth nothing while the
//! account is disabled.
//!
//! Start at [`KeyRing::task_grants`].

use crate::{
    briefing::cluster_entries,
    keys::{KeyRing, Unwelcome},
};
use gristmill_core::World;
use gristmill_model::{
    AccountId, ClusterSpec, Generation, JobId, OssPath, TaskName, TaskSpec, WorkerId, WorkerState,
    policy::{Grant, OssRights},
    spec::Mounts,
};

/// Length of a machine's password: more than 100 bits.
const PASSWORD_CHARS: usize = 20;

const TASK_KEY_PREFIX: &str = "GMTASK.";
const MACHINE_KEY_PREFIX: &str = "GMMACHINE.";

/// The key of one task on one worker, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskKey {
    /// Where the task runs.
    pub worker: WorkerId,
    /// Of which generation.
    pub generation: Generation,
    /// Of which job.
    pub job: JobId,
    /// Which task.
    pub task: TaskName,
}

impl KeyRing {
    /// Proves to the server that an agent was started for this worker and generation.
    pub fn worker_token(&self, worker: WorkerId, generation: Generation) -> String {
        self.derive(&["worker", &worker.to_string(), &generation.to_string()])
    }

    /// The id and secret of a task's key.
    pub fn task_key(&self, key: &TaskKey) -> (String, String) {
        let TaskKey { worker, generation, job, task } = key;
        let id = format!("{TASK_KEY_PREFIX}{worker}.{generation}.{job}.{task}");
        let secret = self.derive(&["task", &id]);
        (id, secret)
    }

    /// The id and secret of a machine's own key, with which it is set up.
    pub fn machine_key(&self, worker: WorkerId, generation: Generation) -> (String, String) {
        let id = format!("{MACHINE_KEY_PREFIX}{worker}.{generation}");
        let secret = self.derive(&["machine", &id]);
        (id, secret)
    }

    /// Whether this is the id of a task's or machine's key.
    pub fn is_derived(id: &str) -> bool {
        id.starts_with(TASK_KEY_PREFIX) || id.starts_with(MACHINE_KEY_PREFIX)
    }

    /// The secret and the grants of a task's or machine's key, while it is good in this world.
    pub fn task_grants(
        &self,
        world: &World,
        id: &str,
    ) -> Result<(String, AccountId, Vec<Grant>), Unwelcome> {
        let good = match id.starts_with(MACHINE_KEY_PREFIX) {
            true => self.good_machine_key(world, id),
            false => self.good_task_key(world, id),
        };
        let (secret, account, grants) = good.ok_or(Unwelcome::Unknown)?;
        self.check_account(account)?;
        Ok((secret, account, grants))
    }

    /// A machine reads what its cluster mounts.
    fn good_machine_key(&self, world: &World, id: &str) -> Option<(String, AccountId, Vec<Grant>)> {
        let (worker, generation) = id.strip_prefix(MACHINE_KEY_PREFIX)?.split_once('.')?;
        let (worker, generation) = (worker.parse().ok()?, Generation(generation.parse().ok()?));
        let known = world.worker(worker)?;
        let wanted = known.generation == generation && known.state != WorkerState::Deleting;
        let cluster = world.any_cluster(known.cluster)?;
        let grants = cluster_entries(&cluster.spec).map(|(path, _)| read(&path)).collect();
        wanted.then(|| (self.machine_key(worker, generation).1, cluster.account, grants))
    }

    fn good_task_key(&self, world: &World, id: &str) -> Option<(String, AccountId, Vec<Grant>)> {
        let key = TaskKey::parse(id)?;
        let worker = world.worker(key.worker)?;
        // A machine that is to go has lost its runs: what it still writes is late.
        let wanted = worker.generation == key.generation && worker.state != WorkerState::Deleting;
        let cluster = world.any_cluster(worker.cluster)?;
        let job = world.any_job(key.job)?;
        let task = job.spec.tasks.get(&key.task)?;
        wanted.then(|| (self.task_key(&key).1, job.account, grants(task, &cluster.spec)))
    }

    /// The seed of the SSH door's host key: derived, so that the key stays the same and nothing is
    /// stored.
    pub fn ssh_host_seed(&self) -> [u8; 32] {
        let digest = self.derive(&["ssh host key"]);
        std::array::from_fn(|at| {
            let pair = &digest[2 * at..2 * at + 2];
            u8::from_str_radix(pair, 16).expect("derived texts are hexadecimal")
        })
    }

    /// The login password of a machine: derived, so nothing is stored; another one for each
    /// machine, the same for as long as the machine exists. Letters and digits, of each kind one
    /// at least, so that the rules of ordinary systems are kept.
    pub fn machine_password(&self, worker: WorkerId) -> String {
        let digest = self.derive(&["password", &worker.to_string()]);
        let bytes = digest.as_bytes().chunks(2).map(|pair| {
            let text = std::str::from_utf8(pair).expect("hexadecimal digits are text");
            u8::from_str_radix(text, 16).expect("derived texts are hexadecimal")
        });
        let kinds: [&[u8]; 4] = [
            b"abcdefghijkmnpqrstuvwxyz",
            b"ABCDEFGHJKLMNPQRSTUVWXYZ",
            b"23456789",
            b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789",
        ];
        let letter = |(at, byte): (usize, u8)| {
            let kind = kinds[at.min(3)];
            char::from(kind[usize::from(byte) % kind.len()])
        };
        bytes.take(PASSWORD_CHARS).enumerate().map(letter).collect()
    }
}

impl TaskKey {
    fn parse(id: &str) -> Option<Self> {
        let mut parts = id.strip_prefix(TASK_KEY_PREFIX)?.split('.');
        let key = Self {
            worker: parts.next()?.parse().ok()?,
            generation: Generation(parts.next()?.parse().ok()?),
            job: parts.next()?.parse().ok()?,
            task: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(key)
    }
}

fn read(path: &OssPath) -> Grant {
    Grant { place: Some(path.clone()), rights: OssRights::READ }
}

fn write(path: OssPath) -> Grant {
    Grant { place: Some(path), rights: OssRights::WRITE }
}

/// What the mappings of a task and the mounts of its cluster name, and nothing else.
pub fn grants(task: &TaskSpec, cluster: &ClusterSpec) -> Vec<Grant> {
    let mut all = mapped(task);
    all.extend(mounted(cluster.configs.mounts.as_ref()));
    all.extend(mounted(task.mounts.as_ref()));
    all
}

/// What the mappings of a task name: inputs, package, outputs, logs, streams.
pub fn mapped(task: &TaskSpec) -> Vec<Grant> {
    let mut all: Vec<Grant> = task.inputs.iter().map(|input| read(&input.source)).collect();
    all.extend(task.program.package.iter().map(read));
    all.extend(task.outputs.iter().map(|output| write(output.destination.clone())));
    all.extend(task.logs.iter().map(|log| write(log.destination.clone().into_prefix())));
    let streams = task.stdout.iter().chain(&task.stderr);
    all.extend(streams.map(|path| write(path.clone().into_prefix())));
    all
}

/// What mounts name of the object store.
pub fn mounted(mounts: Option<&Mounts>) -> Vec<Grant> {
    let mut all = Vec::new();
    for entry in mounts.into_iter().flat_map(|mounts| &mounts.entries) {
        let Ok(path) = entry.source.parse::<OssPath>() else { continue };
        all.push(read(&path));
        if entry.write_support {
            all.push(write(path));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(secret: u8) -> KeyRing {
        KeyRing::new([secret; 32], ("root".to_owned(), "hush".to_owned()), AccountId(7))
    }

    fn a_key() -> TaskKey {
        TaskKey {
            worker: WorkerId(7),
            generation: Generation(2),
            job: JobId(9),
            task: "count".parse().expect("legal"),
        }
    }

    #[test]
    fn each_machine_has_its_own_password_that_stays() {
        let ring = ring(1);
        let (one, two) = (ring.machine_password(WorkerId(1)), ring.machine_password(WorkerId(2)));
        assert_eq!(one, ring.machine_password(WorkerId(1)));
        assert_ne!(one, two);
        for password in [one, two] {
            assert_eq!(password.len(), PASSWORD_CHARS);
            for kind in [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit] {
                assert!(password.bytes().any(|byte| kind(&byte)), "{password}");
            }
        }
    }

    #[test]
    fn a_task_key_reads_back() {
        let (id, secret) = ring(1).task_key(&a_key());
        assert_eq!(TaskKey::parse(&id), Some(a_key()));
        assert_eq!(secret.len(), 64);
        assert_eq!(TaskKey::parse(&format!("{id}.x")), None);
        assert_eq!(TaskKey::parse("root"), None);
    }

    #[test]
    fn other_generations_and_other_regions_have_other_secrets() {
        let (one, two) = (ring(1), ring(2));
        let newer = TaskKey { generation: Generation(3), ..a_key() };
        assert_ne!(one.task_key(&a_key()).1, one.task_key(&newer).1);
        assert_ne!(one.task_key(&a_key()).1, two.task_key(&a_key()).1);
        assert_ne!(
            one.worker_token(WorkerId(1), Generation(1)),
            one.worker_token(WorkerId(1), Generation(2))
        );
    }
}
