//! The REST contract from outside: bodies in, specifications or refusals out, and answers as the
//! reference shows them.

mod answers;
mod apps;
mod clusters;
mod jobs_large;
mod jobs_malformed;
mod jobs_read;
mod jobs_round_trip;
mod requests;
mod specs;

use gristmill_model::{JobSpec, spec::Limits};
use gristmill_wire::api::{BadRequest, parse_job};
use serde_json::{Value, json};

/// A fixed cluster's id.
const CLUSTER: &str = "cls-hr2rbl6qt5gki7392b8001";

/// Whether `docs/errors/README.md` speaks of a code.
fn is_documented(code: &str) -> bool {
    let page = include_str!("../../../../docs/errors/README.md");
    let code = if code.starts_with("InvalidGroups.") { "InvalidGroups.{group}" } else { code };
    page.contains(&format!("`{code}`"))
}

/// The smallest valid job.
fn a_job() -> Value {
    json!({"Name": "demo", "DAG": {"Tasks": {"only": a_task()}}})
}

/// The smallest valid task.
fn a_task() -> Value {
    json!({"ClusterId": CLUSTER, "Parameters": {"Command": {"CommandLine": "true"}}})
}

/// `body` with the value at `path` (members joined by `.`) replaced; null takes it out.
fn with(mut body: Value, path: &str, value: Value) -> Value {
    let (last, parents) = {
        let mut parts: Vec<_> = path.split('.').collect();
        (parts.pop().expect("a path has a part"), parts)
    };
    let mut place = &mut body;
    for part in parents {
        place = &mut place[part];
    }
    match value {
        Value::Null => drop(place.as_object_mut().expect("an object").remove(last)),
        value => place[last] = value,
    }
    body
}

fn read(body: &Value) -> Result<JobSpec, BadRequest> {
    parse_job(body.to_string().as_bytes(), &Limits::default())
}
