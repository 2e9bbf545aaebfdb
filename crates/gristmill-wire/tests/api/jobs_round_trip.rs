//! Properties: a description reads back as the job it describes, and no bytes make us panic.

use crate::{a_job, specs, with};
use gristmill_model::spec::Limits;
use gristmill_wire::api::{
    JobDescription, job_description, parse_cluster, parse_job, parse_modify_cluster, parse_priority,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Whether there is a null anywhere.
fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

/// Any JSON, a few levels deep, with names that the contract knows.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        Just("Name"),
        Just("DAG"),
        Just("Tasks"),
        Just("Parameters"),
        Just("Command"),
        Just("CommandLine"),
        Just("Mounts"),
        Just("Entries"),
        Just("Source"),
        Just("AutoCluster"),
        Just("Configs"),
        Just("Disks"),
        Just("SystemDisk"),
        Just("Size"),
        Just("Networks"),
        Just("VPC"),
        Just("Dependencies"),
        Just("Groups"),
        Just("Notification"),
        Just("Topic"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // The JSON library reads long floats to within one unit in the last place only.
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("oss://bucket/a/")),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(names.clone(), inner, 0..6).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

fn read_everything(body: &[u8]) {
    let limits = Limits::default();
    let _ = parse_job(body, &limits);
    let _ = parse_cluster(body, &limits);
    let _ = parse_modify_cluster(body, &limits);
    let _ = parse_priority(body);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..Default::default() })]

    #[test]
    fn a_description_reads_back_as_the_job_it_describes(spec in specs::job()) {
        let description = job_description(&spec, spec.priority);
        prop_assert!(!has_null(&description), "{description}");
        let body = serde_json::to_vec(&JobDescription { spec: &spec, priority: spec.priority });
        let body = body.expect("plain");
        prop_assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), description);
        prop_assert_eq!(parse_job(&body, &Limits::default()), Ok(spec));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_everything(&body);
    }

    #[test]
    fn any_json_is_read_without_a_panic(body in any_json()) {
        read_everything(body.to_string().as_bytes());
    }

    #[test]
    fn any_json_in_any_place_of_a_job_is_read_or_refused(
        value in any_json(),
        place in prop_oneof![
            Just("DAG"), Just("DAG.Tasks"), Just("DAG.Dependencies"), Just("DAG.Tasks.only"),
            Just("DAG.Tasks.only.Parameters"), Just("DAG.Tasks.only.Mounts"),
            Just("DAG.Tasks.only.AutoCluster"), Just("DAG.Tasks.only.InputMapping"),
            Just("DAG.Tasks.only.CredentialConfig"), Just("Notification"),
        ],
    ) {
        let body = with(a_job(), place, value).to_string();
        if let Ok(spec) = parse_job(body.as_bytes(), &Limits::default()) {
            let again = job_description(&spec, spec.priority);
            prop_assert!(!has_null(&again), "{again}");
            prop_assert_eq!(parse_job(again.to_string().as_bytes(), &Limits::default()), Ok(spec));
        }
    }
}
