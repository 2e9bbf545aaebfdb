//! `POST /jobs`: `JobDescription` to `JobSpec` (`reference/api.md` 7.1).
//!
//! The body is read once. Each task is turned into a `TaskSpec` as soon as it has been read, and
//! the first task that is refused stops the making (not the reading: the rest must still be
//! JSON). Members may come in any order; the checks run in the order of the reference, so the
//! same body always gets the same refusal.
//!
//! A job of type App is read here and checked against its app in [`crate::api::app`].
//!
//! Start at [`parse_submission`]; one task is checked in `task`, dependencies in `dag`.

use crate::{
    api::{
        JOB_BODY_BYTES_MAX,
        app::{AppBody, AppJob},
        dag::{Edges, dependencies},
        priority::check_priority,
        read::{Member, Object, ReadWith, With, parse_body_with},
        shared::{
            JOB_EVENTS, NotificationBody, app_job_name, description, filled, name, notification,
        },
        task::TaskBody,
    },
    error::{ApiError, quote},
};
use gristmill_model::{JobSpec, TaskName, TaskSpec, spec::Limits};
use serde::de::{Error, IgnoredAny, MapAccess};
use std::collections::BTreeMap;

/// The most instances of all tasks together: what the counts of a job can hold.
pub const INSTANCES_PER_JOB_MAX: u32 = u32::MAX;

/// What `POST /jobs` asks for.
#[derive(Debug)]
pub enum Submission {
    /// A job of tasks.
    Dag(Box<JobSpec>),
    /// A call of an app, which has to be looked up.
    App(Box<AppJob>),
}

/// A job as the model wants it, or a call of an app, or why not. Nothing but the body and the
/// limits decides.
pub fn parse_submission(body: &[u8], limits: &Limits) -> Result<Submission, ApiError> {
    let reader = With(JobReader { limits });
    let body = parse_body_with(reader, body, JOB_BODY_BYTES_MAX)?;
    match body.kind()? {
        Kind::Dag => Ok(Submission::Dag(Box::new(body.check()?))),
        Kind::App => Ok(Submission::App(Box::new(body.check_call()?))),
    }
}

/// A job of type DAG, or why not.
pub fn parse_job(body: &[u8], limits: &Limits) -> Result<JobSpec, ApiError> {
    match parse_submission(body, limits)? {
        Submission::Dag(spec) => Ok(*spec),
        Submission::App(_) => Err(ApiError::invalid("Type", "must be DAG")),
    }
}

/// The two types of job.
enum Kind {
    Dag,
    App,
}

/// What was read of a job.
#[derive(Default)]
struct JobBody {
    name: Member<String>,
    description: Member<String>,
    priority: Member<i64>,
    job_fail_on_instance_fail: Member<bool>,
    auto_release: Member<bool>,
    kind: Member<String>,
    dag: Member<DagBody>,
    app: Member<Object<AppBody>>,
    notification: Member<Object<NotificationBody>>,
}

/// What was read of the graph.
#[derive(Default)]
struct DagBody {
    tasks: Member<Tasks>,
    dependencies: Member<Edges>,
}

/// The tasks, or the first refusal.
type Tasks = Result<Vec<(TaskName, TaskSpec)>, ApiError>;

impl JobBody {
    /// `Type`, or what it must be by the members that are there.
    fn kind(&self) -> Result<Kind, ApiError> {
        match filled(self.kind.clone(), "Type")?.as_deref() {
            Some("DAG") => Ok(Kind::Dag),
            Some("App") => Ok(Kind::App),
            Some(other) => {
                Err(ApiError::invalid("Type", format_args!("{} must be DAG or App", quote(other))))
            }
            None => match (&self.dag, &self.app) {
                (Member::Absent, Member::Given(_) | Member::Wrong) => Ok(Kind::App),
                _ => Ok(Kind::Dag),
            },
        }
    }

    fn check(self) -> Result<JobSpec, ApiError> {
        let name = name(self.name)?;
        let description = description(self.description)?;
        let priority = check_priority(self.priority.optional("Priority")?.unwrap_or(0))?;
        let fail = self.job_fail_on_instance_fail.optional("JobFailOnInstanceFail")?;
        let auto_release = self.auto_release.or_empty("AutoRelease")?;
        let notification = notification(self.notification, &JOB_EVENTS)?;
        let dag = self.dag.optional_as("DAG", "an object")?;
        let (tasks, edges) = dag.ok_or_else(|| ApiError::missing("DAG"))?.check()?;
        let dependencies = dependencies(tasks.keys().cloned().collect(), edges)?;
        Ok(JobSpec {
            name,
            description,
            priority,
            fail_on_instance_fail: fail.unwrap_or(true),
            auto_release,
            notification,
            tasks,
            dependencies,
            app: None,
        })
    }

    fn check_call(self) -> Result<AppJob, ApiError> {
        let name = app_job_name(self.name)?;
        let description = description(self.description)?;
        let priority = check_priority(self.priority.optional("Priority")?.unwrap_or(0))?;
        let fail = self.job_fail_on_instance_fail.optional("JobFailOnInstanceFail")?;
        let auto_release = self.auto_release.or_empty("AutoRelease")?;
        let notification = notification(self.notification, &JOB_EVENTS)?;
        let Object(app) = self.app.required("App")?;
        Ok(AppJob {
            name,
            description,
            priority,
            fail_on_instance_fail: fail.unwrap_or(true),
            auto_release,
            notification,
            app,
        })
    }
}

impl DagBody {
    fn check(self) -> Result<(BTreeMap<TaskName, TaskSpec>, Edges), ApiError> {
        let tasks = self.tasks.optional_as("Tasks", "an object of tasks");
        let tasks = tasks.and_then(|tasks| tasks.ok_or_else(|| ApiError::missing("Tasks")));
        let tasks = check_tasks(tasks.and_then(|tasks| tasks)).map_err(|e| e.inside("DAG"))?;
        let edges = self.dependencies.or_empty("Dependencies").map_err(|e| e.inside("DAG"))?;
        Ok((tasks, edges))
    }
}

/// The tasks by name: at least one, no name twice, and not too many instances in all.
fn check_tasks(tasks: Tasks) -> Result<BTreeMap<TaskName, TaskSpec>, ApiError> {
    let mut tasks = tasks?;
    if tasks.is_empty() {
        return Err(ApiError::invalid("Tasks", "must have at least one task"));
    }
    // Sorted input makes a map whose nodes are full, which matters at 100,000 tasks.
    tasks.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = tasks.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let reason = format!("has {} twice", quote(pair[0].0.as_str()));
        return Err(ApiError::invalid("Tasks", reason));
    }
    let instances: u64 = tasks.iter().map(|(_, task)| u64::from(task.instance_count)).sum();
    if instances > u64::from(INSTANCES_PER_JOB_MAX) {
        let reason = format!("of all tasks is {instances}, the limit is {INSTANCES_PER_JOB_MAX}");
        return Err(ApiError::invalid("InstanceCount", reason));
    }
    Ok(BTreeMap::from_iter(tasks))
}

/// Reads the job; hands the limits down to the tasks.
struct JobReader<'a> {
    limits: &'a Limits,
}

impl<'de> ReadWith<'de> for JobReader<'_> {
    type Out = JobBody;

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<JobBody>, A::Error> {
        let mut body = JobBody::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "Name" => once(&mut body.name, map.next_value()?)?,
                "Description" => once(&mut body.description, map.next_value()?)?,
                "Priority" => once(&mut body.priority, map.next_value()?)?,
                "JobFailOnInstanceFail" => {
                    once(&mut body.job_fail_on_instance_fail, map.next_value()?)?;
                }
                "AutoRelease" => once(&mut body.auto_release, map.next_value()?)?,
                "Type" => once(&mut body.kind, map.next_value()?)?,
                "DAG" => {
                    let reader = With(DagReader { limits: self.limits });
                    once(&mut body.dag, map.next_value_seed(reader)?)?;
                }
                "App" => once(&mut body.app, map.next_value()?)?,
                "Notification" => once(&mut body.notification, map.next_value()?)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(body))
    }
}

struct DagReader<'a> {
    limits: &'a Limits,
}

impl<'de> ReadWith<'de> for DagReader<'_> {
    type Out = DagBody;

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<DagBody>, A::Error> {
        let mut body = DagBody::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "Tasks" => {
                    let reader = With(TasksReader { limits: self.limits });
                    once(&mut body.tasks, map.next_value_seed(reader)?)?;
                }
                "Dependencies" => once(&mut body.dependencies, map.next_value()?)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(body))
    }
}

/// Puts a member in its place. A member that is there twice is an error of the text, as it is
/// for the members that are read by derived code.
fn once<T, E: Error>(place: &mut Member<T>, member: Member<T>) -> Result<(), E> {
    match place {
        Member::Absent => *place = member,
        Member::Given(_) | Member::Wrong => return Err(E::custom("a member is there twice")),
    }
    Ok(())
}

struct TasksReader<'a> {
    limits: &'a Limits,
}

impl<'de> ReadWith<'de> for TasksReader<'_> {
    type Out = Tasks;

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Tasks>, A::Error> {
        let mut tasks = Vec::new();
        let mut refused = None;
        while let Some(name) = map.next_key::<String>()? {
            if refused.is_some() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let body = map.next_value()?;
            match self.task(&name, body, tasks.len()) {
                Ok(task) => tasks.push(task),
                Err(error) => {
                    tasks = Vec::new();
                    refused = Some(error);
                }
            }
        }
        Ok(Some(refused.map_or(Ok(tasks), Err)))
    }
}

impl TasksReader<'_> {
    /// One checked task, when `before` others are there.
    fn task(
        &self,
        name: &str,
        body: Member<Object<TaskBody>>,
        before: usize,
    ) -> Result<(TaskName, TaskSpec), ApiError> {
        let max = self.limits.tasks_per_job_max;
        if before >= max as usize {
            return Err(ApiError::invalid("Tasks", format_args!("must be at most {max}")));
        }
        let wrong = |error| ApiError::invalid("TaskName", format!("{}: {error}", quote(name)));
        let task_name: TaskName = name.parse().map_err(wrong)?;
        let inside = |error: ApiError| error.inside(format_args!("Tasks.{name}"));
        match body {
            Member::Given(Object(body)) => {
                Ok((task_name, body.check(self.limits).map_err(inside)?))
            }
            Member::Absent | Member::Wrong => {
                let reason = format!("must be objects, {} is not", quote(name));
                Err(ApiError::invalid("Tasks", reason))
            }
        }
    }
}
