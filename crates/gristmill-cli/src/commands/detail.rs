//! One job, one task, one instance, in full.

use super::{End, Outcome};
use crate::{
    caches::Kind,
    client::{Client, Instance, Task},
    dag, moment,
    oss_path::OssPath,
    session::Session,
    table,
    words::messages as m,
};
use clap::ArgMatches;
use futures::TryStreamExt;
use serde_json::Value;

/// How much of each log the view of an instance shows.
const LOG_PREVIEW: u64 = 101;
/// How many instances the view of a task shows at most.
const INSTANCES_SHOWN: usize = 100;

/// `bcs j <job>`.
pub(super) async fn job(job: &str, words: &ArgMatches, session: &mut Session) -> Outcome {
    let client = session.client()?;
    if words.get_flag("show_json") {
        return raw(&client, &["jobs", job], session).await;
    }
    let description = client.get_description(job).await?;
    let seen = client.get_job(job).await?;
    let tasks = client.list_tasks(job).await?;
    session.say(m::EXEC, &[("words", &format!("j {job}"))]);
    let zone = (session.env.zone)();
    let shown = |member: &str| plain(&description[member]);
    let pairs = [
        ("Id", seen.id.clone()),
        ("Name", seen.name.clone()),
        ("State", seen.state.clone()),
        ("Type", shown("Type")),
        ("Priority", shown("Priority")),
        ("JobFailOnInstanceFail", shown("JobFailOnInstanceFail")),
        ("AutoRelease", shown("AutoRelease")),
        ("Created", moment::local(seen.creation_time, &zone)),
        ("StartTime", moment::local(seen.start_time, &zone)),
        ("EndTime", moment::local(seen.end_time, &zone)),
        ("Elapsed", moment::elapsed(seen.start_time, seen.end_time, (session.env.clock)())),
        ("Message", seen.message.clone()),
        ("Topic", plain(&description["Notification"]["Topic"]["Name"])),
        ("Description", shown("Description")),
    ];
    show_pairs(&pairs, session)?;
    show_tasks(&description, tasks, session)
}

fn show_pairs(pairs: &[(&str, String)], session: &mut Session) -> anyhow::Result<()> {
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let value =
            if *name == "State" { table::state(value, session.out.colour) } else { value.clone() };
        session.out.data(&format!("{name}: {value}"))?;
    }
    Ok(())
}

fn show_tasks(description: &Value, tasks: Vec<Task>, session: &mut Session) -> Outcome {
    let after: dag::Dependencies =
        serde_json::from_value(description["DAG"]["Dependencies"].clone()).unwrap_or_default();
    let names: Vec<String> = tasks.iter().map(|task| task.task_name.clone()).collect();
    if names.len() > 1 {
        session.out.data("")?;
        for line in dag::picture(&names, &after) {
            session.out.data(&line)?;
        }
    }
    let order: Vec<String> = dag::stages(&names, &after).concat();
    let zone = (session.env.zone)();
    let row = |name: &String| {
        let task =
            tasks.iter().find(|task| task.task_name == *name).expect("the names are these tasks'");
        vec![
            task.task_name.clone(),
            task.state.clone(),
            task.instance_metrics.ratio(),
            moment::local(task.start_time, &zone),
            moment::local(task.end_time, &zone),
            moment::elapsed(task.start_time, task.end_time, (session.env.clock)()),
            cluster_of(&description["DAG"]["Tasks"][name]),
        ]
    };
    let rows: Vec<Vec<String>> = order.iter().map(row).collect();
    let header = ["TaskName", "State", "Counts", "StartTime", "EndTime", "Elapsed", "Cluster"];
    session.out.data("")?;
    let table = table::numbered(&header, &rows, session.out.colour);
    session.out.data(&table)?;
    session.caches.remember(Kind::Tasks, order)?;
    Ok(End::Success)
}

/// The cluster a task names, or the machine it wishes for.
pub(super) fn cluster_of(task: &Value) -> String {
    if task.is_null() {
        return String::new(); // the task of an app: its settings say where it runs
    }
    match task["ClusterId"].as_str() {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => {
            let auto = &task["AutoCluster"];
            let image = [&auto["ECSImageId"], &auto["ImageId"]]
                .into_iter()
                .map(plain)
                .find(|id| !id.is_empty());
            format!("img={}:type={}", image.unwrap_or_default(), plain(&auto["InstanceType"]))
        }
    }
}

/// What a job made from an app was asked: the app, then each value with its place in the request.
fn call_of(description: &Value) -> Vec<(String, String)> {
    let app = &description["App"];
    let mut pairs = vec![("AppName".to_owned(), plain(&app["AppName"]))];
    for member in ["Inputs", "Outputs", "Logging", "Config"] {
        for (name, value) in app[member].as_object().into_iter().flatten() {
            pairs.push((format!("{member}.{name}"), plain(value)));
        }
    }
    pairs
}

/// A scalar as text; nothing for what is missing or nested.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// `bcs j <job> <task>`.
pub(super) async fn task(
    job: &str,
    task: &str,
    words: &ArgMatches,
    session: &mut Session,
) -> Outcome {
    let client = session.client()?;
    if words.get_flag("show_json") {
        return raw(&client, &["jobs", job, "tasks", task], session).await;
    }
    let description = client.get_description(job).await?;
    let seen = client.get_task(job, task).await?;
    let (instances, more) = client.instances_page(job, task, None, "").await?;
    session.say(m::EXEC, &[("words", &format!("j {job} {task}"))]);
    let described = &description["DAG"]["Tasks"][task];
    let parameters = &described["Parameters"];
    let zone = (session.env.zone)();
    let pairs = [
        ("TaskName", seen.task_name.clone()),
        ("State", seen.state.clone()),
        ("Counts", seen.instance_metrics.ratio()),
        ("StartTime", moment::local(seen.start_time, &zone)),
        ("EndTime", moment::local(seen.end_time, &zone)),
        ("Cluster", cluster_of(described)),
        ("Timeout", plain(&described["Timeout"])),
        ("MaxRetryCount", plain(&described["MaxRetryCount"])),
        ("Command", plain(&parameters["Command"]["CommandLine"])),
        ("Package", plain(&parameters["Command"]["PackagePath"])),
        ("StdoutRedirectPath", plain(&parameters["StdoutRedirectPath"])),
        ("StderrRedirectPath", plain(&parameters["StderrRedirectPath"])),
    ];
    show_pairs(&pairs, session)?;
    let call = call_of(&description);
    let call: Vec<_> = call.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    show_pairs(&call, session)?;
    let objects = [
        ("EnvVars", &parameters["Command"]["EnvVars"]),
        ("InputMapping", &described["InputMapping"]),
        ("OutputMapping", &described["OutputMapping"]),
        ("LogMapping", &described["LogMapping"]),
        ("Mounts", &described["Mounts"]["Entries"]),
    ];
    for (name, value) in objects {
        if value.as_object().is_some_and(|map| !map.is_empty())
            || value.as_array().is_some_and(|list| !list.is_empty())
        {
            session.out.data(&format!("{name}: {value}"))?;
        }
    }
    show_instances(&instances, more.is_some(), seen.instance_metrics.total(), session)
}

fn show_instances(
    instances: &[Instance],
    more: bool,
    total: u64,
    session: &mut Session,
) -> Outcome {
    let shown = &instances[..instances.len().min(INSTANCES_SHOWN)];
    let rows: Vec<Vec<String>> =
        shown.iter().map(|instance| instance_row(instance, session)).collect();
    session.out.data("")?;
    let table = table::table(&INSTANCE_HEADER, &rows, session.out.colour);
    session.out.data(&table)?;
    if more {
        session.say(
            m::MORE_INSTANCES,
            &[("shown", &shown.len().to_string()), ("total", &total.to_string())],
        );
    }
    Ok(End::Success)
}

const INSTANCE_HEADER: [&str; 7] =
    ["InstanceId", "State", "Progress", "RetryCount", "StartTime", "EndTime", "Elapsed"];

fn instance_row(instance: &Instance, session: &Session) -> Vec<String> {
    let zone = &(session.env.zone)();
    vec![
        instance.instance_id.to_string(),
        instance.state.clone(),
        format!("{}%", instance.progress),
        instance.retry_count.to_string(),
        moment::local(instance.start_time, zone),
        moment::local(instance.end_time, zone),
        moment::elapsed(instance.start_time, instance.end_time, (session.env.clock)()),
    ]
}

/// `bcs j <job> <task> <instance>`.
pub(super) async fn instance(
    job: &str,
    task: &str,
    number: u64,
    words: &ArgMatches,
    session: &mut Session,
) -> Outcome {
    let client = session.client()?;
    if words.get_flag("show_json") {
        let number = number.to_string();
        return raw(&client, &["jobs", job, "tasks", task, "instances", &number], session).await;
    }
    let instance = client.get_instance(job, task, number).await?;
    session.say(m::EXEC, &[("words", &format!("j {job} {task} {number}"))]);
    let row = instance_row(&instance, session);
    let table = table::table(&INSTANCE_HEADER, &[row], session.out.colour);
    session.out.data(&table)?;
    let result = &instance.result;
    let exit_code =
        if instance.end_time.is_some() { result.exit_code.to_string() } else { String::new() };
    let pairs = [
        ("NodeIp", instance.node_ip.clone()),
        ("ExitCode", exit_code),
        ("ErrorCode", result.error_code.clone()),
        ("ErrorMessage", result.error_message.clone()),
        ("Detail", result.detail.clone()),
    ];
    show_pairs(&pairs, session)?;
    let logs =
        [("Stdout", &instance.stdout_redirect_path), ("Stderr", &instance.stderr_redirect_path)];
    for (name, path) in logs.into_iter().filter(|(_, path)| !path.is_empty()) {
        session.out.data(&format!("{name}: {path}"))?;
        if let Some(preview) = preview(path, session).await {
            session.out.data(&preview)?;
        }
    }
    Ok(End::Success)
}

/// The beginning of a log; nothing when it is not there yet or cannot be read.
async fn preview(path: &str, session: &Session) -> Option<String> {
    let path = OssPath::parse(path).ok()?;
    let store = session.store().ok()?;
    let size = store.head(&path).await.ok()??.size;
    if size == 0 {
        return None;
    }
    let body = store.open(&path, Some(0..size.min(LOG_PREVIEW))).await.ok()?;
    let chunks: Vec<bytes::Bytes> = body.try_collect().await.ok()?;
    Some(String::from_utf8_lossy(&chunks.concat()).trim_end().to_owned())
}

async fn raw(client: &Client, segments: &[&str], session: &mut Session) -> Outcome {
    let answer = client.get_raw(segments).await?;
    session.out.data(&serde_json::to_string_pretty(&answer)?)?;
    Ok(End::Success)
}
