//! `bcs log`: what programs wrote.
//!
//! Without `-f` the log objects of the chosen instances are printed; they are there once an
//! instance has ended. With `-f` the output is followed live through the service's log endpoint;
//! where a service has none, the objects are looked at again and again until the instance ends.
//!
//! Log bytes go to standard output as they are, headings to standard error. When several logs
//! are followed at once, each line begins with the task and instance it came from.

mod follow;

use super::{End, Outcome, number, required, text};
use crate::{
    caches::Kind,
    client::{Client, ClientError, Instance},
    oss_path::OssPath,
    progress::Bar,
    session::Session,
    store::Store,
    words::messages as m,
};
use clap::ArgMatches;
use futures::TryStreamExt;
use std::collections::BTreeMap;

/// Objects larger than this are named, not printed; `-d` fetches them whole.
const PRINTED_MAX: u64 = 1 << 20;

/// Which logs of an instance.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    stdout: bool,
    stderr: bool,
    mapped: bool,
}

impl Wanted {
    fn of(words: &ArgMatches) -> Self {
        let given = |name| words.get_flag(name);
        let any = given("stdout") || given("stderr") || given("log_mapping");
        Self {
            stdout: !any || given("stdout"),
            stderr: !any || given("stderr"),
            mapped: !any || given("log_mapping"),
        }
    }
}

/// One log object with the heading it is shown under.
struct Source {
    heading: String,
    path: OssPath,
}

/// `bcs log <job> [task] [instance]`.
pub(super) async fn log(words: &ArgMatches, session: &mut Session) -> Outcome {
    let job = session.caches.resolve(Kind::Jobs, required(words, "job"))?;
    let task =
        text(words, "task").map(|task| session.caches.resolve(Kind::Tasks, task)).transpose()?;
    let instance = number::<u64>(words, "instance")?;
    let wanted = Wanted::of(words);
    let client = session.client()?;
    let tasks = match task {
        Some(task) => vec![task],
        None => client.list_tasks(&job).await?.into_iter().map(|task| task.task_name).collect(),
    };
    if words.get_flag("follow") {
        return follow::follow(&client, &job, &tasks, instance, wanted, session).await;
    }
    let store = session.store()?;
    let mapped = if wanted.mapped { mappings(&client, &job).await? } else { BTreeMap::new() };
    let folder = text(words, "dir_path").map(|folder| session.env.path(folder));
    let mut found = 0;
    for task in &tasks {
        let mut marker = Some(String::new());
        while let Some(at) = marker {
            let (page, next) = page(&client, &job, task, instance, &at).await?;
            for instance in page {
                for source in sources(&job, task, &instance, wanted, mapped.get(task)) {
                    found += u64::from(match &folder {
                        Some(folder) => download(&store, &source, folder, session).await?,
                        None => print(&store, &source, session).await?,
                    });
                }
                show_result(task, &instance, session);
            }
            marker = next;
        }
    }
    if found == 0 {
        session.say(m::NO_LOGS, &[]);
    }
    Ok(End::Success)
}

/// The one instance asked for, or a page of all.
async fn page(
    client: &Client,
    job: &str,
    task: &str,
    only: Option<u64>,
    marker: &str,
) -> Result<(Vec<Instance>, Option<String>), ClientError> {
    match only {
        Some(number) => Ok((vec![client.get_instance(job, task, number).await?], None)),
        None => client.instances_page(job, task, None, marker).await,
    }
}

/// `LogMapping` of every task.
async fn mappings(
    client: &Client,
    job: &str,
) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
    let description = client.get_description(job).await?;
    let tasks = description["DAG"]["Tasks"].as_object().cloned().unwrap_or_default();
    let mapping = |task: &serde_json::Value| {
        serde_json::from_value(task["LogMapping"].clone()).unwrap_or_default()
    };
    Ok(tasks.iter().map(|(name, task)| (name.clone(), mapping(task))).collect())
}

/// The log objects of an instance (`reference/api.md` 14.3).
fn sources(
    job: &str,
    task: &str,
    instance: &Instance,
    wanted: Wanted,
    mapped: Option<&BTreeMap<String, String>>,
) -> Vec<Source> {
    let id = instance.instance_id;
    let heading = |kind: &str| format!("{kind} [TaskName:{task}, InstanceId:{id}]");
    let mut paths = Vec::new();
    if wanted.stdout {
        paths.push((heading("Stdout"), instance.stdout_redirect_path.clone()));
    }
    if wanted.stderr {
        paths.push((heading("Stderr"), instance.stderr_redirect_path.clone()));
    }
    for (local, folder) in mapped.into_iter().flatten() {
        let name = local.rsplit(['/', '\\']).next().unwrap_or(local);
        paths.push((heading(local), format!("{folder}{name}.{job}.{task}.{id}")));
    }
    // A path that cannot be read means that no log was asked for.
    let known = |(heading, path): (String, String)| {
        Some(Source { heading, path: OssPath::parse(&path).ok()? })
    };
    paths.into_iter().filter_map(known).collect()
}

/// Prints an object; whether it was there.
async fn print(store: &Store, source: &Source, session: &mut Session) -> anyhow::Result<bool> {
    let Some(info) = store.head(&source.path).await? else { return Ok(false) };
    let path = source.path.to_string();
    session.out.words(&format!("{}\n{path}", source.heading));
    if info.size > PRINTED_MAX {
        session.say(m::LOG_TOO_LARGE, &[("path", &path), ("size", &info.size.to_string())]);
        return Ok(true);
    }
    if info.size > 0 {
        let chunks: Vec<bytes::Bytes> = store.open(&source.path, None).await?.try_collect().await?;
        let bytes = chunks.concat();
        session.out.raw(&bytes)?;
        if !bytes.ends_with(b"\n") {
            session.out.raw(b"\n")?;
        }
    }
    Ok(true)
}

async fn download(
    store: &Store,
    source: &Source,
    folder: &std::path::Path,
    session: &mut Session,
) -> anyhow::Result<bool> {
    let Some(info) = store.head(&source.path).await? else { return Ok(false) };
    let local = folder.join(source.path.base_name());
    let bar = Bar::bytes(source.path.base_name(), info.size, session.out.bars);
    store.download(&source.path, &local, &bar).await?;
    bar.clear();
    session.out.data(&local.display().to_string())?;
    Ok(true)
}

/// How a failed instance ended, among its logs.
fn show_result(task: &str, instance: &Instance, session: &mut Session) {
    let result = &instance.result;
    if result.error_code.is_empty() {
        return;
    }
    let id = instance.instance_id;
    let parts = [&result.error_code, &result.error_message, &result.detail];
    let shown: Vec<&str> =
        parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    session.out.words(&format!("Result [TaskName:{task}, InstanceId:{id}] {}", shown.join(": ")));
}
