//! What topics of jobs and clusters are told: JSON whose values are all texts, numbers included
//! (`reference/api.md` 15).

use crate::time::stamp;
use gristmill_model::{
    InstanceNo, Notice, OssPath, Timestamp,
    notice::{Facts, InstanceFacts, JobFacts, Subject},
};
use serde_json::{Map, Value};

/// The `part`-th message of a notice; a notice has as many as it has instances.
pub fn message(notice: &Notice, part: u32) -> String {
    let mut members = Members::default();
    let event = notice.facts.event();
    match (&notice.facts, notice.about) {
        (Facts::ClusterDeleted { name, created }, about) => {
            members.put("Category", "Cluster").put("ClusterId", about).put("ClusterName", name);
            members.put("CreationTime", stamp(*created));
            members.put("State", "Deleted").put("Event", event);
        }
        (Facts::Machine { worker, group, active, address, created }, about) => {
            members.put("Category", "Cluster").put("ClusterId", about).put("Group", group);
            members.put("InstanceId", worker).put("InnerIpAddress", address).put("Hints", "");
            members.put("State", if *active { "Running" } else { "Starting" });
            members.put("CreationTime", stamp(*created)).put("Event", event);
        }
        (Facts::Job(job), about) => members.job(job, about, event),
        (Facts::Priority { job, from, to }, about) => {
            members.job(job, about, event);
            members.put("From", from).put("To", to);
        }
        (Facts::Task { task, state, started, ended }, about) => {
            members.put("Category", "Job").put("JobId", about).put("Task", task);
            members.put("Event", event).put("State", state);
            members.time("StartTime", *started).time("EndTime", *ended);
        }
        (Facts::Instances(facts), about) => members.instance(facts, about, event, part),
    }
    Value::Object(members.0).to_string()
}

/// The members of a message; they are written in the order of their names.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.0.insert(name.to_owned(), Value::String(value.to_string()));
        self
    }

    fn time(&mut self, name: &str, time: Option<Timestamp>) -> &mut Self {
        self.put(name, time.map(stamp).unwrap_or_default())
    }

    fn job(&mut self, job: &JobFacts, about: Subject, event: &str) {
        self.put("Category", "Job").put("JobId", about).put("JobName", &job.name);
        self.put("Event", event).put("State", job.state);
        self.time("CreationTime", Some(job.created));
        self.time("StartTime", job.started).time("EndTime", job.ended);
        self.put("Message", &job.message);
    }

    fn instance(&mut self, facts: &InstanceFacts, about: Subject, event: &str, part: u32) {
        let number = InstanceNo(facts.first.0 + part);
        let log = |stream: &str, prefix: &Option<OssPath>| {
            let Some(prefix) = prefix else { return String::new() };
            let name = format!("{stream}.{about}.{}.{number}", facts.task);
            prefix.clone().into_prefix().join(&name).to_string()
        };
        let finished = facts.state == gristmill_model::JobState::Finished;
        self.put("Category", "Job").put("JobId", about).put("Task", &facts.task);
        self.put("InstanceId", number).put("Event", event).put("State", facts.state);
        self.time("StartTime", facts.started).time("EndTime", facts.ended);
        self.put("RetryCount", facts.retries).put("Progress", if finished { 100 } else { 0 });
        self.put("StdoutRedirectPath", log("stdout", &facts.stdout));
        self.put("StderrRedirectPath", log("stderr", &facts.stderr));
        self.put("ExitCode", facts.result.exit_code);
        self.put("ErrorCode", &facts.result.error_code);
        self.put("ErrorMessage", &facts.result.error_message);
        self.put("Detail", &facts.result.detail);
    }
}
