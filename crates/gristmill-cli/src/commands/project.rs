//! `gen` and `project`: directories from which jobs are submitted.

use super::{End, Outcome, required, text};
use crate::{
    dag,
    oss_path::OssPath,
    progress::Bar,
    project::{
        self, ARCHIVE, Change, JOB_FILE, PROJECT_FILE, globs,
        template::{self, Defaults, KINDS},
    },
    session::Session,
    submit::pack::{PackError, archive},
    words::{Tell, messages as m},
};
use clap::ArgMatches;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

/// `bcs gen [location] -t TYPE`.
pub(super) fn generate(words: &ArgMatches, session: &mut Session) -> Outcome {
    let folder = session.env.path(text(words, "location").unwrap_or("."));
    from_template(&folder, required(words, "type"), session)
}

/// `bcs project ...`
pub(super) async fn project(words: &ArgMatches, session: &mut Session) -> Outcome {
    match words.subcommand() {
        Some(("create", words)) => create(words, session).await,
        Some(("build", _)) => build(session).await,
        Some(("update", words)) => update(words, session),
        Some(("status", words)) => status(words, session),
        Some(("submit", _)) => submit(session).await,
        _ => Err(m::NO_SUBCOMMAND.complain([("command", &"project")]).into()),
    }
}

async fn create(words: &ArgMatches, session: &mut Session) -> Outcome {
    let parent = session.env.path(text(words, "location").unwrap_or("."));
    let folder = parent.join(required(words, "name"));
    match text(words, "job") {
        Some(job) => from_job(&folder, job, session).await,
        None => from_template(&folder, text(words, "type").unwrap_or("empty"), session),
    }
}

/// Nothing that is there is overwritten.
fn from_template(folder: &Path, kind: &str, session: &mut Session) -> Outcome {
    let settings = &session.settings;
    let defaults = Defaults {
        osspath: settings.osspath()?,
        image: settings.get("defaultimage").unwrap_or_else(|| "img-ubuntu".to_owned()),
        instance_type: settings.get("defaulttype").unwrap_or_default(),
    };
    let files = template::files(&kind.to_ascii_lowercase(), &defaults).ok_or_else(|| {
        m::UNKNOWN_TEMPLATE.complain([("type", &kind), ("known", &KINDS.join(", "))])
    })?;
    if let Some((name, _)) = files.iter().find(|(name, _)| folder.join(name).exists()) {
        return Err(m::ALREADY_THERE.complain([("path", &folder.join(name).display())]).into());
    }
    for (name, text) in files {
        write(&folder.join(name), text.as_bytes())?;
    }
    session.say(m::PROJECT_MADE, &[("path", &folder.display().to_string())]);
    Ok(End::Success)
}

async fn from_job(folder: &Path, job: &str, session: &mut Session) -> Outcome {
    if folder.join(JOB_FILE).exists() {
        return Err(m::ALREADY_THERE.complain([("path", &folder.display())]).into());
    }
    let description = session.client()?.get_description(job).await?;
    write(&folder.join(JOB_FILE), format!("{description:#}\n").as_bytes())?;
    let about = project::project_of(&description);
    write(&folder.join(PROJECT_FILE), format!("{about:#}\n").as_bytes())?;
    if let Some(package) = project::package_of(&description) {
        let (path, file) = (OssPath::parse(package)?, folder.join(ARCHIVE));
        let bar = Bar::bytes(ARCHIVE, 0, session.out.bars);
        let fetched = session.store()?.download(&path, &file, &bar).await;
        bar.clear();
        fetched.tell(m::CANNOT_DOWNLOAD, package)?;
        let source = folder.join("src");
        let unpacked = file.clone();
        tokio::task::spawn_blocking(move || unpack(&unpacked, &source))
            .await?
            .tell(m::CANNOT_READ, file.display())?;
    }
    session.say(m::PROJECT_MADE, &[("path", &folder.display().to_string())]);
    Ok(End::Success)
}

/// Names that would leave the folder are refused by the archive reader; links are left out.
fn unpack(file: &Path, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let reader = flate2::read::GzDecoder::new(fs::File::open(file)?);
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() || entry.header().entry_type().is_dir() {
            entry.unpack_in(folder)?;
        }
    }
    Ok(())
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).tell(m::CANNOT_WRITE, folder.display())?;
    fs::write(file, bytes).tell(m::CANNOT_WRITE, file.display())
}

/// A file of the project in the current directory.
fn read(name: &str, session: &Session) -> anyhow::Result<Value> {
    let file = session.env.path(name);
    if !file.exists() {
        return Err(m::NO_PROJECT.complain([("file", &name)]).into());
    }
    let bytes = fs::read(&file).tell(m::CANNOT_READ, file.display())?;
    let parsed = serde_json::from_slice(&bytes);
    Ok(parsed.map_err(|error| m::BROKEN_FILE.complain([("file", &name), ("why", &error)]))?)
}

async fn build(session: &mut Session) -> Outcome {
    read(JOB_FILE, session)?;
    let about = read(PROJECT_FILE, session)?;
    let (script, packed) = (about["build_script"].as_str(), about.get("tar_src"));
    if let Some(script) = script {
        run(script, session).await?;
    }
    match (script, packed) {
        (None, None) => Err(m::NOTHING_TO_BUILD.complain([]).into()),
        (_, None) => Ok(End::Success),
        (_, Some(packed)) => {
            let files: Vec<String> = match packed["files"].as_array() {
                Some(files) => files.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                None => vec!["*".to_owned()],
            };
            let base = session.env.path(packed["base"].as_str().unwrap_or("."));
            pack(base, files, session).await
        }
    }
}

async fn run(script: &str, session: &mut Session) -> anyhow::Result<()> {
    session.say(m::RUNNING, &[("what", script)]);
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", script]).current_dir(&session.env.directory).stdin(Stdio::null());
    let status = command.status().await.tell(m::CANNOT_READ, "sh")?;
    match status.success() {
        true => Ok(()),
        false => Err(m::SCRIPT_FAILED.complain([("what", &script), ("status", &status)]).into()),
    }
}

async fn pack(base: PathBuf, files: Vec<String>, session: &mut Session) -> Outcome {
    let to = session.env.path(ARCHIVE);
    let packed = tokio::task::spawn_blocking(move || -> Result<_, PackError> {
        let patterns: Vec<&str> = files.iter().map(String::as_str).collect();
        let mut entries = globs::entries(&base, &patterns)?;
        // A project whose base is its own directory does not pack the archive of before.
        entries.retain(|(name, _)| name != ARCHIVE);
        if entries.is_empty() {
            let path = base.display();
            return Err(m::NOTHING_TO_PACK.complain([("path", &path)]).into());
        }
        archive(&entries, |_| ())
    })
    .await??;
    fs::copy(packed.file.path(), &to).tell(m::CANNOT_WRITE, to.display())?;
    let counts = [packed.files.to_string(), packed.bytes.to_string()];
    session.say(m::PACKED, &[("files", &counts[0]), ("bytes", &counts[1])]);
    Ok(End::Success)
}

fn update(words: &ArgMatches, session: &mut Session) -> Outcome {
    let mut job = read(JOB_FILE, session)?;
    let change = Change { cluster: text(words, "cluster"), docker: text(words, "docker") };
    project::change(&mut job, text(words, "task"), &change)?;
    write(&session.env.path(JOB_FILE), format!("{job:#}\n").as_bytes())?;
    session.say(m::DONE, &[]);
    Ok(End::Success)
}

fn status(words: &ArgMatches, session: &mut Session) -> Outcome {
    let job = read(JOB_FILE, session)?;
    read(PROJECT_FILE, session)?;
    let tasks = job["DAG"]["Tasks"].as_object().cloned().unwrap_or_default();
    let wanted = text(words, "task");
    if let Some(task) = wanted.filter(|task| !tasks.contains_key(*task)) {
        return Err(m::NO_TASK.complain([("task", &task)]).into());
    }
    for member in ["Name", "Type", "Priority", "JobFailOnInstanceFail", "Description"] {
        session.out.data(&format!("{member}: {}", shown(&job[member])))?;
    }
    if wanted.is_none() {
        let names: Vec<String> = tasks.keys().cloned().collect();
        let after = serde_json::from_value(job["DAG"]["Dependencies"].clone()).unwrap_or_default();
        for line in dag::picture(&names, &after) {
            session.out.data(&line)?;
        }
    }
    if !words.get_flag("dag_only") {
        for (name, task) in tasks.iter().filter(|(name, _)| wanted.is_none_or(|it| it == *name)) {
            show_task(name, task, session)?;
        }
    }
    let faults = project::faults(&job);
    for fault in &faults {
        let line = fault.say(session.language);
        session.out.words(&line);
    }
    Ok(if faults.is_empty() { End::Success } else { End::Failure })
}

fn show_task(name: &str, task: &Value, session: &mut Session) -> anyhow::Result<()> {
    session.out.data(&format!("\n{name}"))?;
    let (parameters, command) = (&task["Parameters"], &task["Parameters"]["Command"]);
    for (member, value) in [
        ("CommandLine", &command["CommandLine"]),
        ("PackagePath", &command["PackagePath"]),
        ("EnvVars", &command["EnvVars"]),
        ("InstanceCount", &task["InstanceCount"]),
        ("MaxRetryCount", &task["MaxRetryCount"]),
        ("Timeout", &task["Timeout"]),
        ("ClusterId", &task["ClusterId"]),
        ("AutoCluster", &task["AutoCluster"]),
        ("InputMapping", &task["InputMapping"]),
        ("OutputMapping", &task["OutputMapping"]),
        ("LogMapping", &task["LogMapping"]),
        ("StdoutRedirectPath", &parameters["StdoutRedirectPath"]),
        ("StderrRedirectPath", &parameters["StderrRedirectPath"]),
    ] {
        let value = shown(value);
        if !value.is_empty() {
            session.out.data(&format!("  {member}: {value}"))?;
        }
    }
    Ok(())
}

/// Texts without quotes; what is not there is empty.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(members) if members.is_empty() => String::new(),
        other => other.to_string(),
    }
}

async fn submit(session: &mut Session) -> Outcome {
    let mut job = read(JOB_FILE, session)?;
    read(PROJECT_FILE, session)?;
    if let Some(fault) = project::faults(&job).into_iter().next() {
        return Err(fault.into());
    }
    let run_folder = format!("{}{}/", session.settings.osspath()?, (session.env.fresh_id)());
    let places = project::fill(&mut job, &run_folder);
    let file = session.env.path(ARCHIVE);
    let size = fs::metadata(&file).map_err(|_| m::NOT_BUILT.complain([("file", &ARCHIVE)]))?.len();
    let store = session.store()?;
    for place in &places {
        let bar = Bar::bytes(ARCHIVE, size, session.out.bars);
        let path = OssPath::parse(place)?;
        let sent = store.upload(&file, &path, Some("application/x-tar"), &bar).await;
        bar.clear();
        sent.tell(m::CANNOT_UPLOAD, place)?;
        session.say(m::UPLOADED, &[("from", ARCHIVE), ("to", place)]);
    }
    write(&session.env.path(JOB_FILE), format!("{job:#}\n").as_bytes())?;
    let id = session.client()?.create_job(&job).await?;
    session.say(m::JOB_CREATED, &[("job", &id)]);
    session.out.data(&id)?;
    Ok(End::Success)
}
