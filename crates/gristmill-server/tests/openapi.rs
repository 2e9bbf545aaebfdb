//! Holds `data/openapi.json` to the code: its paths are routed, its schemas fit what we write and
//! its examples are what we read.
//!
//! That an operation is marked as not implemented exactly when it answers 501 is tested against a
//! real region in `tests/bad-input`.

use gristmill_model::{
    AccountId, ClusterId, GroupName, InstanceNo, JobId, Timestamp, WorkerId, WorkerState,
    spec::Limits,
};
use gristmill_wire::{
    api::{
        List, Operation, Query,
        cluster::{ClusterParts, cluster_body},
        job_description, parse_cluster, parse_job, parse_modify_cluster, parse_priority,
        responses as bodies,
        routes::route,
    },
    error::{ApiError, Code},
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
const LATER: &str = "x-gristmill-status";

fn document() -> Value {
    serde_json::from_str(include_str!("../data/openapi.json")).expect("the document is JSON")
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}"))
}

/// Verb, path and operation of everything in the document.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = object(&document["paths"]);
    let of_path = |(path, item)| {
        let verbs = object(item).iter().filter(|(name, _)| VERBS.contains(&name.as_str()));
        verbs.map(move |(verb, operation)| (verb.to_uppercase(), String::clone(path), operation))
    };
    paths.iter().flat_map(of_path).collect()
}

/// The name and the status of success of the operation that a request is routed to.
fn routed(verb: &str, path: &str, query: &str) -> (String, String) {
    let query = Query::parse(query).expect("legal");
    let found = route(verb, path, &query).unwrap_or_else(|error| panic!("{verb} {path}: {error}"));
    (found.name().to_owned(), found.success_status().to_string())
}

/// Looks a reference up.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    let pointer = reference.strip_prefix('#').expect("references stay in the document");
    document.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not there"))
}

fn schema<'a>(document: &'a Value, name: &str) -> &'a Value {
    let found = &document["components"]["schemas"][name];
    assert!(found.is_object(), "no schema {name}");
    found
}

/// What is wrong with `value` by `schema`: types, enumerations, members that are missing or that
/// the schema does not know.
fn misfits(document: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let schema = resolve(document, schema);
    if !fits_type(schema, value) {
        found.push(format!("{place} = {value} is not of type {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        found.push(format!("{place} = {value} is not one of {}", schema["enum"]));
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        misfits(document, &schema["items"], item, &format!("{place}[{at}]"), found);
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let absent = required.filter(|name| value.get(name).is_none());
    found.extend(absent.map(|name| format!("{place}.{name} is missing")));
    for (name, member) in value.as_object().into_iter().flatten() {
        let (known, other) = (&schema["properties"][name], &schema["additionalProperties"]);
        let is_free = schema["properties"].is_null() && other.is_null();
        match (known.is_object(), other.is_object()) {
            (true, _) => misfits(document, known, member, &format!("{place}.{name}"), found),
            (false, true) => misfits(document, other, member, &format!("{place}.{name}"), found),
            (false, false) if is_free => {}
            (false, false) => found.push(format!("{place}.{name} is not documented")),
        }
    }
}

fn fits_type(schema: &Value, value: &Value) -> bool {
    let fits = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => false,
    };
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(fits),
        kind => fits(kind),
    }
}

fn check_fits(name: &str, body: &impl Serialize) {
    let (document, value) = (document(), serde_json::to_value(body).expect("plain"));
    let mut found = Vec::new();
    misfits(&document, schema(&document, name), &value, name, &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The same, and the document names no member that is not there.
fn check_exact(name: &str, body: &impl Serialize) {
    check_fits(name, body);
    let value = serde_json::to_value(body).expect("plain");
    let written: BTreeSet<_> = object(&value).keys().cloned().collect();
    let document = document();
    let documented: BTreeSet<_> =
        object(&schema(&document, name)["properties"]).keys().cloned().collect();
    assert_eq!(written, documented, "{name}");
}

#[test]
fn every_operation_has_its_path_and_its_verb() {
    let document = document();
    let mut names = BTreeSet::new();
    for (verb, path, operation) in operations(&document) {
        if operation["x-gristmill-extension"] == true {
            continue;
        }
        let variants = operation["x-gristmill-variants"].as_object().cloned().unwrap_or_default();
        let (name, status) = routed(&verb, &path, "");
        assert_eq!(operation["operationId"], name.as_str(), "{verb} {path}");
        assert!(operation["responses"][&status].is_object(), "{name} has no {status}");
        names.insert(name);
        for (variant, about) in variants {
            let query = about["query"].as_str().expect("a query");
            let wanted = (variant, about["status"].to_string());
            assert_eq!(routed(&verb, &path, query), wanted);
            assert!(operation["responses"][&wanted.1].is_object(), "{}", wanted.0);
            names.insert(wanted.0);
        }
    }
    assert_eq!(names.len(), 35);
    assert_eq!(names, Operation::NAMES.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn our_own_paths_are_there() {
    let document = document();
    let ours: Vec<_> = operations(&document)
        .into_iter()
        .filter(|(.., operation)| operation["x-gristmill-extension"] == true)
        .map(|(verb, path, _)| format!("{verb} {path}"))
        .collect();
    let wanted = [
        "GET /clusters/{cluster}/groups/{group}/instances/{machine}/bootstrap-log",
        "GET /clusters/{cluster}/groups/{group}/instances/{machine}/shell",
        "GET /healthz",
        "GET /jobs/{job}/tasks/{task}/instances/{instance}/log",
        "GET /jobs/{job}/why",
        "GET /metrics",
        "GET /openapi.json",
    ];
    assert_eq!(ours, wanted);
}

#[test]
fn every_reference_leads_somewhere_and_every_path_names_its_parts() {
    fn visit(document: &Value, value: &Value) {
        resolve(document, value);
        value.as_object().into_iter().flatten().for_each(|(_, inner)| visit(document, inner));
        value.as_array().into_iter().flatten().for_each(|inner| visit(document, inner));
    }
    let document = document();
    visit(&document, &document);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    for (path, item) in object(&document["paths"]) {
        let named: Vec<_> = path.split('/').filter_map(|part| part.strip_prefix('{')).collect();
        let given = item["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let given =
            given.iter().map(|one| resolve(&document, one)["name"].as_str().expect("a name"));
        let given: Vec<_> = given.map(|name| format!("{name}}}")).collect();
        assert_eq!(given, named, "{path}");
    }
}

#[test]
fn every_schema_is_used_and_all_but_the_open_pages_are_signed() {
    let document = document();
    let text = document.to_string();
    for name in object(&document["components"]["schemas"]).keys() {
        assert!(text.contains(&format!("#/components/schemas/{name}\"")), "nothing uses {name}");
    }
    assert!(document["components"]["securitySchemes"]["Signature"].is_object());
    for (verb, path, operation) in operations(&document) {
        let is_open = ["/healthz", "/metrics", "/openapi.json"].contains(&path.as_str());
        assert_eq!(operation["security"].is_array(), is_open, "{verb} {path}");
        let marked = operation[LATER].is_string();
        assert!(!marked || operation[LATER] == "not implemented", "{verb} {path}");
    }
}

#[test]
fn answers_have_exactly_the_documented_members() {
    let job: JobId = "job-0000000058524720000077E900007257".parse().expect("legal");
    let mut shown = bodies::Job::new(job, AccountId(1), "name", "");
    shown.creation_time = Timestamp(0).into();
    check_exact("Job", &shown);
    check_exact("JobList", &List::page(vec![shown], Some(job)));
    check_exact("Metrics", &bodies::Metrics::default());
    let task = bodies::Task::new(&"only".parse().expect("legal"));
    check_exact("TaskList", &List::page(vec![task.clone()], None::<u32>));
    check_exact("Task", &task);
    let instance = bodies::Instance::new(InstanceNo(0));
    check_exact("InstanceList", &List::page(vec![instance.clone()], None::<u32>));
    check_exact("Instance", &instance);
    check_exact("InstanceResult", &bodies::InstanceResult::default());
    check_exact("InstanceError", &bodies::InstanceError::default());
    check_exact("Created", &bodies::Created::default());
    check_exact("SynchronousInstance", &bodies::SynchronousInstance::default());
    let machine = bodies::ClusterInstance::new(WorkerId(1), WorkerState::Running, "h");
    check_exact("ClusterInstanceList", &List::page(vec![machine.clone()], None::<u32>));
    check_exact("ClusterInstance", &machine);
    let image =
        bodies::Image { r#type: "System".into(), platform: "Linux".into(), ..Default::default() };
    check_exact("ImageList", &List::page(vec![image.clone()], None::<u32>));
    check_exact("Image", &image);
    check_exact("ErrorBody", &ApiError::new(Code::BadDag, "a cycle").body("id", "host"));
    check_exact("InputMappingConfig", &bodies::InputMappingConfig::default());
    check_exact("ClusterMetrics", &bodies::ClusterMetrics::default());
}

#[test]
fn what_is_on_offer_has_exactly_the_documented_members() {
    let types = bodies::AvailableResource {
        available_cluster_instance_type: vec![bodies::InstanceDesc::default()],
        ..Default::default()
    };
    check_exact("AvailableResource", &types);
    check_exact("InstanceDesc", &bodies::InstanceDesc::default());
    check_exact("NetworkDesc", &bodies::NetworkDesc::default());
    let quotas = bodies::Quotas {
        account_quotas: vec![bodies::AccountQuota::default()],
        ..bodies::Quotas::of(&[], true)
    };
    check_exact("Quotas", &quotas);
    check_exact("AccountQuota", &bodies::AccountQuota::default());
}

/// The examples of a request's schema, each read by `read`.
fn examples(name: &str, read: impl Fn(&[u8])) {
    let document = document();
    let all = schema(&document, name)["examples"].as_array().cloned().unwrap_or_default();
    assert!(!all.is_empty(), "{name} has no example");
    for example in all {
        check_fits(name, &example);
        read(example.to_string().as_bytes());
    }
}

#[test]
fn a_job_is_read_and_written_as_documented() {
    examples("JobDescription", |body| {
        let spec = parse_job(body, &Limits::default()).expect("the example is legal");
        check_fits("JobDescription", &job_description(&spec, spec.priority));
    });
    examples("PriorityChange", |body| assert!(parse_priority(body).is_ok()));
}

#[test]
fn a_cluster_is_read_and_written_as_documented() {
    let limits = Limits::default();
    let id: ClusterId = "cls-hr2rbl6qt5gki7392b8001".parse().expect("legal");
    examples("ClusterDescription", |body| {
        let spec = parse_cluster(body, &limits).expect("the example is legal");
        let numbers = BTreeMap::<GroupName, u32>::new();
        let cluster = cluster_body(ClusterParts {
            id,
            account: AccountId(1),
            spec: &spec,
            state: "Active",
            created: Timestamp(0),
            desired: &numbers,
            actual: &numbers,
            metrics: bodies::ClusterMetrics::default(),
            operation_logs: &["made".to_owned()],
        });
        check_exact("Cluster", &cluster);
        check_exact("Group", cluster.groups.values().next().expect("one group"));
        check_exact("ClusterList", &List::page(vec![cluster], None::<u32>));
    });
    examples("ClusterChange", |body| assert!(parse_modify_cluster(body, &limits).is_ok()));
}
