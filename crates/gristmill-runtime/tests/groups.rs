//! Control groups of runs that could not be started.

mod support;

use gristmill_runtime::{Limits, Stage};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::{
    fs,
    path::{Path, PathBuf},
};
use support::{Agent, By, is_root};

/// The process that makes sandboxes.
fn spawner(agent: &Agent) -> i32 {
    let pid = agent.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("told");
    children.split_whitespace().next().and_then(|child| child.parse().ok()).expect("it has one")
}

/// Directories of this name somewhere below a directory, links not followed.
fn named(top: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() == name {
                found.push(entry.path());
            }
            named(&entry.path(), name, found);
        }
    }
}

/// Bounds the descriptors of a process so that it can open this many more.
fn leave_free(process: i32, count: usize) {
    let open = |number: &u32| Path::new(&format!("/proc/{process}/fd/{number}")).exists();
    let last = (0..).filter(|number| !open(number)).nth(count - 1).expect("there is no end");
    let most = Some(u64::from(last) + 1);
    let process = Pid::from_raw(process).expect("not 0");
    prlimit(Some(process), Resource::Nofile, Rlimit { current: most, maximum: most })
        .expect("it is ours");
}

#[test]
fn a_sandbox_that_could_not_be_made_leaves_no_group() {
    if !is_root() {
        eprintln!("skipped, because only root surely has control groups");
        return;
    }
    let mut agent = Agent::start(By::Root);
    assert_eq!(agent.sh("true").output(), ""); // now the spawner has opened what it needs
    // Two for the streams, one to write the limits; not enough for a line to the sandbox.
    leave_free(spawner(&agent), 3);
    let limits = Limits { cpu_millis: Some(500), ..Limits::default() };
    let plan = agent.plan(&["true"]).limits(limits);
    let id = plan.sandbox.id.clone();
    let outcome = agent.run(plan);
    let failure = outcome.failure();
    assert_eq!((failure.stage, failure.is_users()), (Stage::Process, false), "{failure:?}");
    let mut groups = vec![];
    named(Path::new("/sys/fs/cgroup"), &format!("gristmill-{}", agent.pid()), &mut groups);
    groups.iter().for_each(|group| assert!(!group.join(&id).exists(), "{}", group.display()));
}
