//! A project: a directory with `job.json`, `project.json` and the program's files below `src`
//! (`reference/bcs-cli.md` 15).
//!
//! ```text
//! template or an existing job -> directory -> build: worker.tar.gz -> submit: upload, fill, POST /jobs
//! ```
//! Everything here works on values in memory; `commands::project` reads and writes the files.
//!
//! Start at [`faults`] for what makes a `job.json` legal, at [`template`] for what a new one holds.

pub mod globs;
pub mod template;

use crate::{
    submit::mapping::{self, Cluster},
    words::{Complaint, messages as m},
};
use serde_json::{Value, json};

/// The description of the job.
pub const JOB_FILE: &str = "job.json";
/// What the directory is and how its archive is made.
pub const PROJECT_FILE: &str = "project.json";
/// The archive.
pub const ARCHIVE: &str = "worker.tar.gz";

const PRIORITY_MAX: u64 = 1000;
const NAME_CHARS_MAX: usize = 63;

/// What is wrong with a description, a complaint each; it is not sent while there are any.
pub fn faults(job: &Value) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut check = |right: bool, place: &str| {
        if !right {
            found.push(m::PROJECT_FAULT.complain([("place", &place)]));
        }
    };
    check(is_name(&job["Name"]), "Name");
    check(job["Priority"].as_u64().is_some_and(|it| it <= PRIORITY_MAX), "Priority");
    let tasks = job["DAG"]["Tasks"].as_object();
    check(tasks.is_some_and(|tasks| !tasks.is_empty()), "DAG.Tasks");
    for (name, task) in tasks.into_iter().flatten() {
        let place = |member: &str| format!("DAG.Tasks.{name}.{member}");
        let parameters = &task["Parameters"];
        let command = &parameters["Command"];
        check(task["InstanceCount"].as_u64().is_some_and(|it| it > 0), &place("InstanceCount"));
        check(
            command["CommandLine"].as_str().is_some_and(|line| !line.trim().is_empty()),
            &place("Parameters.Command.CommandLine"),
        );
        check(is_path(&command["PackagePath"], false), &place("Parameters.Command.PackagePath"));
        for member in ["StdoutRedirectPath", "StderrRedirectPath"] {
            check(is_path(&parameters[member], true), &place(&format!("Parameters.{member}")));
        }
    }
    found
}

fn is_name(value: &Value) -> bool {
    let is_right = |name: &str| {
        (1..=NAME_CHARS_MAX).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    value.as_str().is_some_and(is_right)
}

/// Nothing, or a path of the object store: of a folder or of one object.
fn is_path(value: &Value, is_folder: bool) -> bool {
    match value.as_str() {
        None => value.is_null(),
        Some(text) => {
            text.is_empty() || (text.starts_with("oss://") && text.ends_with('/') == is_folder)
        }
    }
}

/// Gives tasks without a package this archive's place, and those without places for their output the
/// folder of logs beside it. Where the archive has to go.
///
/// A place that an earlier submit made up is given up: a job that still waits there keeps its program.
pub fn fill(job: &mut Value, run_folder: &str) -> Vec<String> {
    let (archive, logs) = (format!("{run_folder}{ARCHIVE}"), format!("{run_folder}logs/"));
    let mut places = Vec::new();
    for task in tasks_of(job) {
        let parameters = &mut task["Parameters"];
        for (member, default) in [("StdoutRedirectPath", &logs), ("StderrRedirectPath", &logs)] {
            set_if_empty(&mut parameters[member], default);
        }
        let package = &mut parameters["Command"]["PackagePath"];
        if package.as_str().is_some_and(is_made_up) {
            *package = "".into();
        }
        set_if_empty(package, &archive);
        let place = package.as_str().unwrap_or_default().to_owned();
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Whether an archive lies in a folder with a fresh id for a name, as a submit makes it.
fn is_made_up(place: &str) -> bool {
    let folder = place.strip_suffix(ARCHIVE).and_then(|rest| rest.strip_suffix('/'));
    let name = folder.and_then(|folder| folder.rsplit('/').next());
    name.is_some_and(|name| uuid::Uuid::parse_str(name).is_ok())
}

fn set_if_empty(value: &mut Value, text: &str) {
    if value.as_str().is_none_or(str::is_empty) {
        *value = text.into();
    }
}

fn tasks_of(job: &mut Value) -> impl Iterator<Item = &mut Value> {
    named_tasks_of(job).map(|(_, task)| task)
}

fn named_tasks_of(job: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    let tasks = job.get_mut("DAG").and_then(|dag| dag.get_mut("Tasks"));
    tasks.and_then(Value::as_object_mut).into_iter().flatten()
}

/// Whether what is changed in a task is made of objects, where it is there.
fn check_members(name: &str, task: &Value) -> Result<(), Complaint> {
    const INSIDE: [&[&str]; 5] = [
        &[],
        &["AutoCluster"],
        &["Parameters"],
        &["Parameters", "Command"],
        &["Parameters", "Command", "EnvVars"],
    ];
    for members in INSIDE {
        let value = members.iter().fold(task, |value, member| &value[*member]);
        let may_be_missing = !members.is_empty();
        if !(value.is_object() || value.is_null() && may_be_missing) {
            let place = [&["DAG.Tasks", name], members].concat().join(".");
            return Err(m::PROJECT_FAULT.complain([("place", &place)]));
        }
    }
    Ok(())
}

/// Where a project's tasks run, as words say it.
#[derive(Debug, Default)]
pub struct Change<'a> {
    /// `-c`.
    pub cluster: Option<&'a str>,
    /// `--docker`.
    pub docker: Option<&'a str>,
}

/// Changes one task, or all.
pub fn change(job: &mut Value, task: Option<&str>, change: &Change<'_>) -> Result<(), Complaint> {
    let cluster = change.cluster.map(mapping::cluster).transpose()?;
    let docker = change.docker.map(mapping::docker).transpose()?;
    let mut found = false;
    for (name, body) in named_tasks_of(job) {
        if task.is_some_and(|task| task != name) {
            continue;
        }
        found = true;
        check_members(name, body)?;
        if let Some(cluster) = &cluster {
            place(body, cluster);
        }
        for (key, value) in docker.iter().flatten() {
            body["Parameters"]["Command"]["EnvVars"][key] = value.as_str().into();
        }
    }
    match task {
        Some(task) if !found => Err(m::NO_TASK.complain([("task", &task)])),
        _ => Ok(()),
    }
}

fn place(task: &mut Value, cluster: &Cluster) {
    match cluster {
        Cluster::Fixed(id) => {
            task["ClusterId"] = id.as_str().into();
            task.as_object_mut().map(|task| task.remove("AutoCluster"));
        }
        Cluster::Auto { image, instance_type } => {
            task["ClusterId"] = "".into();
            for (member, value) in [("ImageId", image), ("InstanceType", instance_type)] {
                if let Some(value) = value {
                    task["AutoCluster"][member] = value.as_str().into();
                }
            }
        }
    }
}

/// What a project made from an existing job is.
pub fn project_of(job: &Value) -> Value {
    let tasks = job["DAG"]["Tasks"].as_object();
    let mut lines = tasks
        .into_iter()
        .flat_map(|tasks| tasks.values())
        .filter_map(|task| task["Parameters"]["Command"]["CommandLine"].as_str());
    let kind = lines.next().map_or("shell", |line| match line.split_whitespace().next() {
        Some(program) if program.ends_with("java") => "java",
        Some(program) if program.contains("python") => "python",
        _ => "shell",
    });
    project(kind)
}

/// A `project.json` of this type that packs everything below `src`.
pub fn project(kind: &str) -> Value {
    json!({"type": kind, "tar_src": {"base": "src", "files": ["*"]}})
}

/// The first package that a task of a job names.
pub fn package_of(job: &Value) -> Option<&str> {
    let tasks = job["DAG"]["Tasks"].as_object()?;
    let paths = tasks.values().map(|task| &task["Parameters"]["Command"]["PackagePath"]);
    paths.filter_map(Value::as_str).find(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Value {
        let task = || {
            json!({"InstanceCount": 1, "ClusterId": "", "AutoCluster": {"ImageId": "img-ubuntu"},
                "Parameters": {"Command": {"CommandLine": "sh main.sh", "PackagePath": ""}}})
        };
        json!({"Name": "n", "Priority": 0, "DAG": {"Tasks": {"a": task(), "b": task()}}})
    }

    #[test]
    fn what_is_empty_is_filled_with_one_place_for_all() {
        let mut job = job();
        let set = "oss://b/own/worker.tar.gz";
        job["DAG"]["Tasks"]["b"]["Parameters"]["Command"]["PackagePath"] = set.into();
        let places = fill(&mut job, "oss://b/run/");
        assert_eq!(places, ["oss://b/run/worker.tar.gz", set]);
        let parameters = &job["DAG"]["Tasks"]["a"]["Parameters"];
        assert_eq!(parameters["StderrRedirectPath"], "oss://b/run/logs/");
        assert!(faults(&job).is_empty());
        assert_eq!(fill(&mut job, "oss://b/other/"), places, "what is there stays");
    }

    #[test]
    fn what_an_earlier_submit_sent_is_not_overwritten() {
        let mut job = job();
        let [first, second] =
            ["11112222-3333-4444-5555-666677778888", "9c5b94b1-35ad-49bb-b118-8e8fc24abf80"]
                .map(|id| format!("oss://b/home/{id}/"));
        assert_eq!(fill(&mut job, &first), [format!("{first}worker.tar.gz")]);
        assert_eq!(fill(&mut job, &second), [format!("{second}worker.tar.gz")]);
        let logs = &job["DAG"]["Tasks"]["a"]["Parameters"]["StdoutRedirectPath"];
        assert_eq!(*logs, format!("{first}logs/"), "logs have the job in their names");
    }

    #[test]
    fn faults_name_their_place() {
        let mut job = job();
        job["Name"] = "two words".into();
        job["DAG"]["Tasks"]["a"]["InstanceCount"] = 0.into();
        job["DAG"]["Tasks"]["b"]["Parameters"]["StdoutRedirectPath"] = "oss://b/x".into();
        let said: Vec<String> = faults(&job).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        for (said, place) in said.iter().zip([
            "Name",
            "DAG.Tasks.a.InstanceCount",
            "DAG.Tasks.b.Parameters.StdoutRedirectPath",
        ]) {
            assert!(said.contains(place), "{said}");
        }
    }

    #[test]
    fn one_task_or_all_move_to_a_cluster() {
        let mut job = job();
        let to = |cluster| Change { cluster: Some(cluster), docker: None };
        change(&mut job, Some("a"), &to("cls-1")).expect("there");
        assert_eq!(job["DAG"]["Tasks"]["a"]["ClusterId"], "cls-1");
        assert!(job["DAG"]["Tasks"]["a"].get("AutoCluster").is_none());
        assert_eq!(job["DAG"]["Tasks"]["b"]["ClusterId"], "");
        change(&mut job, None, &to("img=img-x:type=t")).expect("there");
        for task in ["a", "b"] {
            assert_eq!(job["DAG"]["Tasks"][task]["ClusterId"], "");
            assert_eq!(job["DAG"]["Tasks"][task]["AutoCluster"]["InstanceType"], "t");
        }
        assert!(change(&mut job, Some("c"), &to("cls-1")).is_err());
    }

    #[test]
    fn what_is_no_description_is_said_to_be_none() {
        let everything =
            Change { cluster: Some("img=img-x:type=t"), docker: Some("app@oss://b/d/") };
        let said = |job: Value| {
            let mut job = job;
            change(&mut job, None, &everything).map_err(|complaint| complaint.to_string())
        };
        for nothing in [json!([]), json!("x"), json!({"DAG": "x"}), json!({"DAG": {"Tasks": 1}})] {
            assert_eq!(said(nothing), Ok(()), "there is no task to change");
        }
        for (task, place) in [
            (json!("x"), "DAG.Tasks.a"),
            (json!({"AutoCluster": 1}), "DAG.Tasks.a.AutoCluster"),
            (json!({"Parameters": []}), "DAG.Tasks.a.Parameters"),
            (
                json!({"Parameters": {"Command": {"EnvVars": "x"}}}),
                "DAG.Tasks.a.Parameters.Command.EnvVars",
            ),
        ] {
            let said = said(json!({"DAG": {"Tasks": {"a": task}}})).expect_err("wrong");
            assert!(said.contains(&format!("{place} ")), "{said}");
        }
    }
}
