//! Which operation a request asks for (`reference/api.md` 6).
//!
//! The path decides, the presence of bare query keys selects variants, and a known path with
//! another verb is `MethodNotAllowed` (400, as the vendor has it). Ids are handed on as text: an
//! id of the wrong form is "not found", which only the caller can say of the right thing.

use crate::{
    api::{VERSION, query::Query},
    error::{ApiError, Code, quote},
};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// A part of a path, decoded.
pub type Segment<'a> = Cow<'a, str>;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident),* })? => $status:literal;)*) => {
        /// The 35 operations. The fields are parts of the path.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Operation<'a> {
            $($(#[$doc])* $name $({ $(#[allow(missing_docs)] $field: Segment<'a>),* })?,)*
        }

        impl Operation<'_> {
            /// The vendor's names of all of them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The vendor's name, for spans, metrics and messages.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)* }
            }

            /// The status of success. `DeleteCluster` is 202 instead while machines have to go.
            pub fn success_status(&self) -> u16 {
                match self { $(Self::$name { .. } => $status,)* }
            }
        }
    };
}

operations! {
    /// `POST /jobs`
    CreateJob => 201;
    /// `POST /jobs?sync`: waits for the result of an App job.
    CreateJobSync => 200;
    /// `GET /jobs/{job}`
    GetJob { job } => 200;
    /// `GET /jobs/{job}?description`
    GetJobDescription { job } => 200;
    /// `GET /jobs`
    ListJobs => 200;
    /// `POST /jobs/{job}/stop`
    StopJob { job } => 201;
    /// `POST /jobs/{job}/start`
    StartJob { job } => 201;
    /// `DELETE /jobs/{job}`
    DeleteJob { job } => 204;
    /// `PUT /jobs/{job}`
    ChangeJobPriority { job } => 200;
    /// `GET /jobs/{job}/tasks`
    ListTasks { job } => 200;
    /// `GET /jobs/{job}/tasks/{task}`
    GetTask { job, task } => 200;
    /// `GET /jobs/{job}/tasks/{task}/instances`
    ListInstances { job, task } => 200;
    /// `GET /jobs/{job}/tasks/{task}/instances/{instance}`
    GetInstance { job, task, instance } => 200;
    /// `POST /clusters`
    CreateCluster => 201;
    /// `GET /clusters/{cluster}`
    GetCluster { cluster } => 200;
    /// `GET /clusters`
    ListClusters => 200;
    /// `PUT /clusters/{cluster}`
    ModifyCluster { cluster } => 200;
    /// `DELETE /clusters/{cluster}`
    DeleteCluster { cluster } => 200;
    /// `GET /clusters/{cluster}/groups/{group}/instances`
    ListClusterInstances { cluster, group } => 200;
    /// `GET /clusters/{cluster}/groups/{group}/instances/{worker}`
    GetClusterInstance { cluster, group, worker } => 200;
    /// `DELETE /clusters/{cluster}/groups/{group}/instances/{worker}`
    DeleteClusterInstance { cluster, group, worker } => 202;
    /// `POST /clusters/{cluster}/groups/{group}/instances/{worker}/recreate`
    RecreateClusterInstance { cluster, group, worker } => 201;
    /// `POST /images`
    CreateImage => 201;
    /// `GET /images/{image}`
    GetImage { image } => 200;
    /// `GET /images`
    ListImages => 200;
    /// `DELETE /images/{image}`
    DeleteImage { image } => 204;
    /// `POST /apps`
    CreateApp => 201;
    /// `GET /apps/{app}`
    GetApp { app } => 200;
    /// `GET /apps/{app}?Detail=True`
    GetAppDetail { app } => 200;
    /// `GET /apps/{app}?Revisions=True`
    GetAppRevisions { app } => 200;
    /// `GET /apps`
    ListApps => 200;
    /// `PUT /apps/{app}`
    ModifyApp { app } => 200;
    /// `DELETE /apps/{app}`
    DeleteApp { app } => 204;
    /// `GET /quotas`
    GetQuotas => 200;
    /// `GET /available`
    GetAvailableResource => 200;
}

/// The operation of a verb, a raw path and a query. `path` has no query; one slash at its end is
/// tolerated.
pub fn route<'a>(
    method: &str,
    path: &'a str,
    query: &Query<'_>,
) -> Result<Operation<'a>, ApiError> {
    let parts = segments(path).ok_or_else(|| unknown_path(path))?;
    let (family, rest) = parts.split_first().ok_or_else(|| unknown_path(path))?;
    let known = match family.as_ref() {
        "jobs" => jobs(rest, query),
        "clusters" => clusters(rest),
        "images" => images(rest),
        "apps" => apps(rest, query),
        "quotas" if rest.is_empty() => vec![("GET", Operation::GetQuotas)],
        "available" if rest.is_empty() => vec![("GET", Operation::GetAvailableResource)],
        _ => Vec::new(),
    };
    if known.is_empty() {
        return Err(unknown_path(path));
    }
    let verbs: Vec<_> = known.iter().map(|(verb, _)| *verb).collect();
    let found = known.into_iter().find(|(verb, _)| *verb == method);
    found.map(|(_, operation)| operation).ok_or_else(|| {
        let message = format!("{} allows {}, not {}", quote(path), verbs.join(", "), quote(method));
        ApiError::new(Code::MethodNotAllowed, message)
    })
}

/// Whether `x-acs-version` names the version we speak; a missing header does.
pub fn check_version(header: Option<&str>) -> Result<(), ApiError> {
    match header.map(str::trim) {
        None | Some("" | VERSION) => Ok(()),
        Some(other) => {
            let message = format!("version {} is not found, use {VERSION}", quote(other));
            Err(ApiError::new(Code::UnknownVersion, message))
        }
    }
}

/// The verbs of one path with their operations; empty when there is no such path.
type Verbs<'a> = Vec<(&'static str, Operation<'a>)>;

fn jobs<'a>(rest: &[Segment<'a>], query: &Query<'_>) -> Verbs<'a> {
    use Operation as O;
    let part = |at: usize| rest[at].clone();
    let names: Vec<&str> = rest.iter().skip(1).map(Cow::as_ref).collect();
    match (rest.len(), names.as_slice()) {
        (0, _) if query.has("sync") => vec![("GET", O::ListJobs), ("POST", O::CreateJobSync)],
        (0, _) => vec![("GET", O::ListJobs), ("POST", O::CreateJob)],
        (1, _) => vec![
            (
                "GET",
                match query.has("description") {
                    true => O::GetJobDescription { job: part(0) },
                    false => O::GetJob { job: part(0) },
                },
            ),
            ("PUT", O::ChangeJobPriority { job: part(0) }),
            ("DELETE", O::DeleteJob { job: part(0) }),
        ],
        (2, ["stop"]) => vec![("POST", O::StopJob { job: part(0) })],
        (2, ["start"]) => vec![("POST", O::StartJob { job: part(0) })],
        (2, ["tasks"]) => vec![("GET", O::ListTasks { job: part(0) })],
        (3, ["tasks", _]) => vec![("GET", O::GetTask { job: part(0), task: part(2) })],
        (4, ["tasks", _, "instances"]) => {
            vec![("GET", O::ListInstances { job: part(0), task: part(2) })]
        }
        (5, ["tasks", _, "instances", _]) => {
            vec![("GET", O::GetInstance { job: part(0), task: part(2), instance: part(4) })]
        }
        _ => Vec::new(),
    }
}

fn clusters<'a>(rest: &[Segment<'a>]) -> Verbs<'a> {
    use Operation as O;
    let names: Vec<&str> = rest.iter().skip(1).map(Cow::as_ref).collect();
    let Some(cluster) = rest.first().cloned() else {
        return vec![("GET", O::ListClusters), ("POST", O::CreateCluster)];
    };
    let part = |at: usize| rest[at].clone();
    match names.as_slice() {
        [] => vec![
            ("GET", O::GetCluster { cluster: cluster.clone() }),
            ("PUT", O::ModifyCluster { cluster: cluster.clone() }),
            ("DELETE", O::DeleteCluster { cluster }),
        ],
        ["groups", _, "instances"] => {
            vec![("GET", O::ListClusterInstances { cluster, group: part(2) })]
        }
        ["groups", _, "instances", _] => {
            let (group, worker) = (part(2), part(4));
            let get = O::GetClusterInstance {
                cluster: cluster.clone(),
                group: group.clone(),
                worker: worker.clone(),
            };
            vec![("GET", get), ("DELETE", O::DeleteClusterInstance { cluster, group, worker })]
        }
        ["groups", _, "instances", _, "recreate"] => {
            let (group, worker) = (part(2), part(4));
            vec![("POST", O::RecreateClusterInstance { cluster, group, worker })]
        }
        _ => Vec::new(),
    }
}

fn images<'a>(rest: &[Segment<'a>]) -> Verbs<'a> {
    use Operation as O;
    match rest {
        [] => vec![("GET", O::ListImages), ("POST", O::CreateImage)],
        [image] => vec![
            ("GET", O::GetImage { image: image.clone() }),
            ("DELETE", O::DeleteImage { image: image.clone() }),
        ],
        _ => Vec::new(),
    }
}

fn apps<'a>(rest: &[Segment<'a>], query: &Query<'_>) -> Verbs<'a> {
    use Operation as O;
    let get = |app: Segment<'a>| match () {
        () if query.is_true("Detail") => O::GetAppDetail { app },
        () if query.is_true("Revisions") => O::GetAppRevisions { app },
        () => O::GetApp { app },
    };
    match rest {
        [] => vec![("GET", O::ListApps), ("POST", O::CreateApp)],
        [app] => vec![
            ("GET", get(app.clone())),
            ("PUT", O::ModifyApp { app: app.clone() }),
            ("DELETE", O::DeleteApp { app: app.clone() }),
        ],
        _ => Vec::new(),
    }
}

/// The decoded parts between the slashes; `None` when one is empty or is not UTF-8.
fn segments(path: &str) -> Option<Vec<Segment<'_>>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/')
        .map(|part| percent_decode_str(part).decode_utf8().ok().filter(|part| !part.is_empty()))
        .collect()
}

fn unknown_path(path: &str) -> ApiError {
    ApiError::new(Code::InvalidUrlPattern, format!("no operation has the path {}", quote(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str) -> Result<String, String> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query::parse(query).expect("legal");
        route(method, path, &query)
            .map(|operation| format!("{} {}", operation.success_status(), operation.name()))
            .map_err(|error| error.code.to_string())
    }

    /// The index of `reference/api.md` 6, whole.
    #[test]
    fn every_operation_of_the_index_is_found() {
        for (request, wanted) in [
            ("POST /jobs", "201 CreateJob"),
            ("POST /jobs?IdempotentToken=t1&sync", "200 CreateJobSync"),
            ("GET /jobs/j", "200 GetJob"),
            ("GET /jobs/j?description", "200 GetJobDescription"),
            ("GET /jobs?Marker&MaxItemCount=50", "200 ListJobs"),
            ("POST /jobs/j/stop", "201 StopJob"),
            ("POST /jobs/j/start", "201 StartJob"),
            ("DELETE /jobs/j", "204 DeleteJob"),
            ("PUT /jobs/j", "200 ChangeJobPriority"),
            ("GET /jobs/j/tasks", "200 ListTasks"),
            ("GET /jobs/j/tasks/t", "200 GetTask"),
            ("GET /jobs/j/tasks/t/instances?Marker=0", "200 ListInstances"),
            ("GET /jobs/j/tasks/t/instances/0", "200 GetInstance"),
            ("POST /clusters?IdempotentToken=tok_1", "201 CreateCluster"),
            ("GET /clusters/c", "200 GetCluster"),
            ("GET /clusters", "200 ListClusters"),
            ("PUT /clusters/c", "200 ModifyCluster"),
            ("DELETE /clusters/c", "200 DeleteCluster"),
            ("GET /clusters/c/groups/g/instances", "200 ListClusterInstances"),
            ("GET /clusters/c/groups/g/instances/i-1", "200 GetClusterInstance"),
            ("DELETE /clusters/c/groups/g/instances/i-1", "202 DeleteClusterInstance"),
            ("POST /clusters/c/groups/g/instances/i-1/recreate", "201 RecreateClusterInstance"),
            ("POST /images", "201 CreateImage"),
            ("GET /images/img-ubuntu", "200 GetImage"),
            ("GET /images?Type=System", "200 ListImages"),
            ("DELETE /images/img-1", "204 DeleteImage"),
            ("POST /apps", "201 CreateApp"),
            ("GET /apps/a?Scope=Public", "200 GetApp"),
            ("GET /apps/a?Detail=True&Qualifier", "200 GetAppDetail"),
            ("GET /apps/a?Revisions=true", "200 GetAppRevisions"),
            ("GET /apps?Scope=Private", "200 ListApps"),
            ("PUT /apps/a", "200 ModifyApp"),
            ("DELETE /apps/a?Qualifier", "204 DeleteApp"),
            ("GET /quotas", "200 GetQuotas"),
            ("GET /available?RegionId=cn-test", "200 GetAvailableResource"),
        ] {
            let (method, target) = request.split_once(' ').expect("two words");
            assert_eq!(ask(method, target).as_deref(), Ok(wanted), "{request}");
            assert!(Operation::NAMES.contains(&&wanted[4..]), "{wanted}");
            if let Some((path, query)) = target.split_once('?') {
                assert_eq!(ask(method, &format!("{path}/?{query}")).as_deref(), Ok(wanted));
            } else {
                assert_eq!(ask(method, &format!("{target}/")).as_deref(), Ok(wanted));
            }
        }
    }

    #[test]
    fn names_in_the_path_are_decoded() {
        let query = Query::default();
        for path in ["/apps/Public:x", "/apps/Public%3Ax"] {
            let wanted = Operation::GetApp { app: "Public:x".into() };
            assert_eq!(route("GET", path, &query), Ok(wanted), "{path}");
        }
        let wanted =
            Operation::GetInstance { job: "j".into(), task: "t".into(), instance: "7".into() };
        assert_eq!(route("GET", "/jobs/j/tasks/t/instances/7", &query), Ok(wanted));
    }

    #[test]
    fn unknown_paths_and_wrong_verbs_are_400() {
        for target in [
            "",
            "/",
            "jobs",
            "//jobs",
            "/jobs//",
            "/Jobs",
            "/jobs/j/pause",
            "/jobs/j/stop/now",
            "/jobs//tasks",
            "/jobs/j/tasks/t/instances/0/log",
            "/clusters/c/groups",
            "/clusters/c/groups/g",
            "/clusters/c/groups/g/instances/i/renew",
            "/images/i/x",
            "/regions",
            "/projects/p",
            "/quotas/x",
            "/jobs/%ff",
        ] {
            assert_eq!(ask("GET", target), Err("InvalidUrlPattern".into()), "{target}");
        }
        for (method, target) in [
            ("PUT", "/jobs"),
            ("POST", "/jobs/j"),
            ("GET", "/jobs/j/stop"),
            ("HEAD", "/jobs"),
            ("get", "/jobs"),
            ("DELETE", "/jobs/j/tasks"),
            ("PUT", "/images/i"),
            ("POST", "/quotas"),
        ] {
            assert_eq!(ask(method, target), Err("MethodNotAllowed".into()), "{method} {target}");
        }
    }

    #[test]
    fn only_our_version_is_spoken() {
        assert_eq!(check_version(None), Ok(()));
        assert_eq!(check_version(Some("2015-11-11")), Ok(()));
        let code = check_version(Some("2016-01-01")).map_err(|error| (error.status(), error.code));
        assert_eq!(code, Err((403, Code::UnknownVersion)));
    }
}
