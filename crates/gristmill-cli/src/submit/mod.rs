//! What `bcs sub` asks for: options and `job.cfg` become the JSON of one job.
//!
//! ```text
//! command line ─┐
//! task section ─┼─ layers ─> settled options ─> describe() ─> Plan { description, packages }
//! [DEFAULT] ────┘
//! ```
//! [`describe`] is pure: it reads no file, no clock, and sends nothing. The description equals,
//! member for member, what the official tool prints for the same words
//! (`tests/official/*.json` were captured from it).
//!
//! Layers: the command line wins over a task's section, that over `[DEFAULT]`; `env`, `docker`,
//! `user_data`, mounts and mappings of all layers are merged instead.
//!
//! Start at [`describe`].

pub mod job_cfg;
pub mod mapping;
pub mod pack;
pub(crate) mod task;

use crate::words::{Complaint, messages as m};
use gristmill_wire::api::JOB_EVENTS;
use job_cfg::JobCfg;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Options as they were written: long option name -> text. A flag that was given holds `true`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written(BTreeMap<String, String>);

impl Written {
    /// Adds or replaces one.
    pub fn set(&mut self, option: &str, text: &str) {
        self.0.insert(option.to_owned(), text.to_owned());
    }

    /// The same, in a chain.
    #[must_use]
    pub fn with(mut self, option: &str, text: &str) -> Self {
        self.set(option, text);
        self
    }

    /// What was written for one.
    pub fn get(&self, option: &str) -> Option<&str> {
        self.0.get(option).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// What the settings contribute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Defaults {
    /// `oss://bucket/prefix/`.
    pub osspath: String,
    /// The folder of this submission below `osspath`.
    pub run_folder: String,
    /// `defaultimage`.
    pub image: Option<String>,
    /// `defaulttype`.
    pub instance_type: Option<String>,
    /// `vpc_cidr_block`.
    pub vpc_cidr_block: Option<String>,
}

impl Defaults {
    fn object(&self, name: &str) -> String {
        format!("{}{}/{name}", self.osspath, self.run_folder)
    }
}

/// Everything a submission is made from.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The words of the command line: options, and `cmd` and `job_name` if given.
    pub written: Written,
    /// The file of `--file`.
    pub job_cfg: Option<JobCfg>,
    /// What the settings contribute.
    pub defaults: Defaults,
}

/// A pack to upload before the job is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The text of `-p`: a path, or several with commas.
    pub text: String,
    /// Where the archive goes.
    pub object: String,
}

/// What has to be done to submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The body of `POST /jobs`.
    pub description: Value,
    /// Archives that the tasks name.
    pub packages: Vec<Package>,
}

/// The layers of options of one task, the strongest first.
pub(crate) struct Layers<'a>(pub(crate) Vec<&'a Written>);

impl Layers<'_> {
    /// The strongest value.
    pub(crate) fn get(&self, option: &str) -> Option<&str> {
        self.0.iter().find_map(|layer| layer.get(option)).filter(|value| !value.is_empty())
    }

    /// All values, the weakest first: for what is merged.
    pub(crate) fn all(&self, option: &str) -> impl Iterator<Item = &str> {
        self.0.iter().rev().filter_map(move |layer| layer.get(option))
    }

    /// A switch: a flag of the command line, or a boolean of the file.
    pub(crate) fn flag(&self, option: &str) -> Result<bool, Complaint> {
        match self.get(option).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "no" | "off" | "0") => Ok(false),
            Some("true" | "yes" | "on" | "1") => Ok(true),
            Some(other) => Err(m::NOT_A_SWITCH.complain([("option", &option), ("text", &other)])),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(
        &self,
        option: &str,
        bounds: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> Result<u64, Complaint> {
        let Some(text) = self.get(option) else { return Ok(default) };
        text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
            m::NOT_A_NUMBER.complain([
                ("option", &option),
                ("text", &text),
                ("first", bounds.start()),
                ("last", bounds.end()),
            ])
        })
    }
}

/// Writes the job that the options mean, and says which archives it needs.
pub fn describe(options: &Options) -> Result<Plan, Complaint> {
    let tasks = tasks_of(options);
    let job = job_layers(options, &tasks);
    let mut packages: Vec<Package> = Vec::new();
    let mut described = Map::new();
    for (name, own) in &tasks {
        let mut layers = vec![&options.written, own];
        layers.extend(options.job_cfg.iter().map(|file| &file.defaults));
        let layers = Layers(layers);
        let package = layers
            .get("pack")
            .map(|text| package_for(&mut packages, text, name, &options.defaults));
        described
            .insert(name.clone(), task::describe(&layers, package.as_deref(), &options.defaults)?);
    }
    let dependencies = dependencies_of(options, &described)?;
    let description = json!({
        "Name": job.get("job_name").unwrap_or("cli-job"),
        "Description": job.get("description").unwrap_or("BatchCompute cli job"),
        "Type": "DAG",
        "Priority": job.number("priority", 0..=1000, 1)?,
        "JobFailOnInstanceFail": !job.flag("force")?,
        "AutoRelease": job.flag("auto_release")?,
        "Notification": {"Topic": topic(&job)?},
        "DAG": {"Tasks": described, "Dependencies": dependencies},
    });
    Ok(Plan { description, packages })
}

/// The file's tasks, or the one of the command line.
fn tasks_of(options: &Options) -> Vec<(String, Written)> {
    match &options.job_cfg {
        Some(file) => file.tasks.clone(),
        None => vec![("task".to_owned(), Written::default())],
    }
}

/// Job settings may also stand in task sections of old files; the last section wins.
fn job_layers<'a>(options: &'a Options, tasks: &'a [(String, Written)]) -> Layers<'a> {
    let mut layers = vec![&options.written];
    layers.extend(tasks.iter().rev().map(|(_, own)| own));
    layers.extend(options.job_cfg.iter().map(|file| &file.defaults));
    Layers(layers)
}

/// Equal texts share one archive; the first is `worker.tar.gz`, later ones carry a task's name.
fn package_for(packages: &mut Vec<Package>, text: &str, task: &str, defaults: &Defaults) -> String {
    if let Some(known) = packages.iter().find(|package| package.text == text) {
        return known.object.clone();
    }
    let name = if packages.is_empty() {
        "worker.tar.gz".to_owned()
    } else {
        format!("worker_{task}.tar.gz")
    };
    let object = defaults.object(&name);
    packages.push(Package { text: text.to_owned(), object: object.clone() });
    object
}

/// `deps` of the file. Names are checked here, where the file's author still looks at it.
fn dependencies_of(
    options: &Options,
    tasks: &Map<String, Value>,
) -> Result<BTreeMap<String, Vec<String>>, Complaint> {
    let text = options.job_cfg.as_ref().and_then(|file| file.defaults.get("deps")).unwrap_or("");
    let after = mapping::dependencies(text);
    let named = after.iter().flat_map(|(name, later)| later.iter().chain([name]));
    if let Some(stranger) = named.into_iter().find(|name| !tasks.contains_key(*name)) {
        return Err(m::UNKNOWN_DEPENDENCY.complain([("task", stranger)]));
    }
    Ok(after)
}

fn topic(job: &Layers) -> Result<Value, Complaint> {
    let mut topic = Map::new();
    for (option, member) in [("notification_endpoint", "Endpoint"), ("notification_topic", "Name")]
    {
        if let Some(text) = job.get(option) {
            topic.insert(member.to_owned(), text.into());
        }
    }
    if let Some(text) = job.get("notification_events") {
        let events = mapping::list(text);
        if let Some(stranger) = events.iter().find(|event| !JOB_EVENTS.contains(&event.as_str())) {
            return Err(m::INVALID_JOB_EVENT.complain([("event", stranger)]));
        }
        topic.insert("Events".to_owned(), events.into());
    }
    Ok(Value::Object(topic))
}
