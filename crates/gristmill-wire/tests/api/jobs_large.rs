//! A job of 100,000 tasks is as good as one of three.

use crate::{a_task, with};
use gristmill_model::{TaskSpec, spec::Limits};
use gristmill_wire::api::{JobDescription, parse_job};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write};

/// A chain of tasks, as a body.
fn chain(count: usize) -> String {
    let task = with(a_task(), "InstanceCount", json!(10)).to_string();
    let mut body = r#"{"Name":"large","Type":"DAG","DAG":{"Tasks":{"#.to_owned();
    for at in 0..count {
        let comma = if at == 0 { "" } else { "," };
        write!(body, "{comma}\"t{at:06}\":{task}").expect("a String takes everything");
    }
    body.push_str(r#"},"Dependencies":{"#);
    for at in 1..count {
        let comma = if at == 1 { "" } else { "," };
        write!(body, "{comma}\"t{:06}\":[\"t{at:06}\"]", at - 1)
            .expect("a String takes everything");
    }
    body.push_str("}}}");
    body
}

#[test]
fn a_hundred_thousand_tasks_in_a_chain_are_read_and_described() {
    let spec = parse_job(chain(100_000).as_bytes(), &Limits::default()).expect("legal");
    assert_eq!((spec.tasks.len(), spec.dependencies.len()), (100_000, 99_999));
    let body = serde_json::to_vec(&JobDescription { spec: &spec, priority: 0 }).expect("plain");
    let described: Described = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(described.dag.tasks.len(), 100_000);
}

/// As much of a description as shows that it is whole.
#[derive(Deserialize)]
struct Described {
    #[serde(rename = "DAG")]
    dag: DescribedDag,
}

#[derive(Deserialize)]
struct DescribedDag {
    #[serde(rename = "Tasks")]
    tasks: BTreeMap<String, IgnoredAny>,
}

/// The books hold a job as long as it lives: a task must not grow unnoticed.
#[test]
fn a_task_in_memory_stays_small() {
    assert!(size_of::<TaskSpec>() <= 1024, "{}", size_of::<TaskSpec>());
}
