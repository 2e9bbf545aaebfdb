//! Runs that follow each other in one sandbox: what one left must not reach the next, and a sandbox
//! with a trace of a program must not be used again.

mod support;

use gristmill_runtime::{Exit, Limits, MountKind, SandboxSpec};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};
use support::{Agent, Outcome, as_everyone, processes_with, until};

/// A number that tells sandboxes apart: in a new one the first program is process 2.
const WHICH: &str = "echo $$";

/// Runs a script in a sandbox that may be used again.
fn first(agent: &mut Agent, script: &str) -> (Outcome, SandboxSpec) {
    let plan = agent.plan(&["sh", "-c", script]).lineage("job/task");
    let sandbox = plan.sandbox.clone();
    (agent.run(plan), sandbox)
}

/// Runs a script in the sandbox of an earlier run, or one that is made like it.
fn then(agent: &mut Agent, sandbox: &SandboxSpec, script: &str) -> Outcome {
    let plan = agent.plan(&["sh", "-c", script]).like(sandbox);
    agent.run(plan)
}

#[test]
fn runs_of_one_lineage_follow_each_other_in_one_sandbox() {
    as_everyone(|agent| {
        let (before, sandbox) = first(agent, WHICH);
        assert_eq!((before.output(), before.kept()), ("2", true));
        for number in 3..6 {
            let after = then(agent, &sandbox, WHICH);
            assert_eq!((after.output(), after.kept()), (number.to_string().as_str(), true));
        }
        let mut other = sandbox.clone();
        other.lineage = Some("job/other".into());
        assert_eq!(then(agent, &other, WHICH).output(), "2", "another task, another sandbox");
        let mut bounded = other.clone();
        bounded.limits.files_max = Some(100);
        assert_eq!(then(agent, &bounded, WHICH).output(), "2", "other bounds, another sandbox");
    });
}

#[test]
fn no_process_reaches_the_next_run() {
    as_everyone(|agent| {
        let mark = format!("6{:07}", agent.pid());
        let script = format!(
            "sleep {mark} & (setsid sleep {mark} &) ; \
             setsid sh -c 'trap \"\" TERM HUP; sleep {mark}; true' & echo left"
        );
        let (before, sandbox) = first(agent, &script);
        assert_eq!((before.output(), before.kept()), ("left", true));
        assert_eq!(processes_with(&mark), 0);
        let seen = then(agent, &sandbox, "ls /proc | grep '^[0-9]' | wc -l");
        let count: u32 = seen.output().parse().expect("a number");
        assert!(count <= 5, "pid 1, the shell, ls, grep, wc: {seen:?}");
    });
}

#[test]
fn no_signal_reaches_the_next_run() {
    as_everyone(|agent| {
        let script = "kill -TERM 1; kill -HUP 1; kill -CHLD 1; kill -KILL 1; kill -STOP 1; exit 3";
        let (before, sandbox) = first(agent, &format!("trap '' TERM; {script}"));
        assert_eq!((before.exit(), before.kept()), (Exit::Code(3), true));
        assert_eq!(then(agent, &sandbox, "sleep 0.05; echo whole").output(), "whole");
    });
}

#[test]
fn files_are_traces_wherever_they_lie() {
    as_everyone(|agent| {
        let workdir = agent.directory("workdir");
        agent.directory("workdir/below");
        for path in [workdir.clone(), workdir.join("below")] {
            let everybody = fs::Permissions::from_mode(0o777);
            fs::set_permissions(path, everybody).expect("changed");
        }
        let scripts = [
            "echo x > /trace",
            "echo x > /tmp/trace",
            "echo x > /var/tmp/trace",
            "echo x > /run/trace",
            "echo x > /dev/shm/trace",
            "echo x > /root/trace",
            "echo x >> /usr/trace",
            "mkdir /tmp/trace",
            "ln -s /trace /tmp/trace",
            "mkfifo /tmp/trace",
            "chmod 700 /tmp",
            "touch -d 2001-01-01 /tmp",
            "echo x > /srv/trace",
            "echo x > /work/trace",
            "echo x > /work/below/trace",
            "echo x > /memory/trace",
            "echo x > /tmp/trace; rm /tmp/trace",
            "mkdir /work/below/trace; rmdir /work/below/trace",
        ];
        for script in scripts {
            let bind = MountKind::Bind { source: workdir.clone(), read_only: false };
            let plan = agent
                .plan(&["sh", "-c", script])
                .lineage("job/task")
                .mount("/work", bind)
                .mount("/memory", MountKind::Tmpfs { size: 1 << 20 })
                .masked(Path::new("/srv"));
            let outcome = agent.run(plan);
            assert_eq!(outcome.exit(), Exit::Code(0), "{script}: {outcome:?}");
            assert!(!outcome.kept(), "{script}");
            for left in ["trace", "below/trace"] {
                let _ = fs::remove_file(workdir.join(left)); // only some left it
            }
        }
    });
}

#[test]
fn what_a_program_did_to_the_sandbox_itself_is_a_trace() {
    as_everyone(|agent| {
        let deeds = [
            "shared memory",
            "semaphore",
            "messages",
            "queue",
            "bound",
            "priority",
            "disk priority",
            "policy",
            "processors",
        ];
        for deed in deeds {
            let probe = agent.probe();
            let plan =
                agent.plan(&["/probe", "leave", deed]).mount("/probe", probe).lineage("job/task");
            let outcome = agent.run(plan);
            assert_eq!(outcome.exit(), Exit::Code(0), "{deed}: {outcome:?}");
            assert!(!outcome.kept(), "{deed}");
        }
    });
}

#[test]
fn the_next_run_has_its_own_streams_environment_and_descriptors() {
    as_everyone(|agent| {
        let probe = agent.probe();
        let plan = agent.plan(&["sh", "-c", "echo secret >&2; echo first; exec 9</etc/passwd"]);
        let plan = plan.mount("/probe", probe).lineage("job/task").env(&[("SECRET", "x")]);
        let sandbox = plan.sandbox.clone();
        let before = agent.run(plan);
        assert_eq!((before.output(), before.kept()), ("first", true));
        let plan = agent.plan(&["/probe", "descriptors"]).like(&sandbox);
        assert_eq!(agent.run(plan).output(), "0 1 2");
        let plan = agent.plan(&["env"]).like(&sandbox).env(&[("PATH", "/usr/bin"), ("A", "b")]);
        assert_eq!(agent.run(plan).output(), "PATH=/usr/bin\nA=b");
        let after = then(agent, &sandbox, "echo again > /dev/stderr; umask; pwd; ulimit -S -c");
        assert_eq!((after.output(), after.stderr.trim()), ("0022\n/\n0", "again"));
        let status = then(agent, &sandbox, "cat /proc/self/status");
        let number = |name: &str| {
            let line = status.output().lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.expect(name).trim(), 16).expect("a number")
        };
        // The two behind the classic ones belong to the C library.
        assert_eq!((number("SigBlk:"), number("SigIgn:") & 0x7fff_ffff), (0, 0), "{status:?}");
    });
}

#[test]
fn a_run_that_was_stopped_or_killed_is_the_last_in_its_sandbox() {
    as_everyone(|agent| {
        for order in [
            |run| serde_json::json!({"Kill": {"run": run}}),
            |run| serde_json::json!({"Stop": {"run": run, "grace_millis": 60_000}}),
        ] {
            let script = "trap 'exit 0' TERM; echo up; while true; do sleep 0.01; done";
            let plan = agent.plan(&["sh", "-c", script]).lineage("job/task");
            let run = agent.spawn(plan);
            agent.wait_output(run, "up");
            agent.order(&order(run));
            assert!(!agent.wait(run).kept());
        }
    });
}

#[test]
fn a_program_that_cannot_be_executed_says_why_in_a_used_sandbox_too() {
    as_everyone(|agent| {
        let (before, sandbox) = first(agent, "true");
        assert!(before.kept());
        let plan = agent.plan(&["no-such-program"]).like(&sandbox);
        let message = agent.run(plan).failure().message.clone();
        assert!(message.contains("`no-such-program` was not found"), "{message}");
    });
}

#[test]
fn a_sandbox_that_ran_out_of_memory_is_not_used_again() {
    as_everyone(|agent| {
        if !agent.enforces("memory") {
            return;
        }
        let probe = agent.probe();
        let limits = Limits { memory_bytes: Some(64 << 20), ..Limits::default() };
        // Not the program itself is ended for it, but a child of it.
        let plan = agent.plan(&["sh", "-c", "/probe eat 500000000 || true"]);
        let plan = plan.mount("/probe", probe).limits(limits).lineage("job/task");
        let outcome = agent.run(plan);
        assert_eq!((outcome.exit(), outcome.kept()), (Exit::Code(0), false));
    });
}

#[test]
fn a_sandbox_that_is_let_go_leaves_an_empty_directory() {
    as_everyone(|agent| {
        let (before, sandbox) = first(agent, WHICH);
        assert!(before.kept());
        let entries = || fs::read_dir(&sandbox.scratch).expect("there").count();
        assert!(entries() > 0);
        agent.order(&serde_json::json!({"LetGo": {"scratch": sandbox.scratch}}));
        until(|| entries() == 0);
        let after = then(agent, &sandbox, WHICH);
        assert_eq!((after.output(), after.kept()), ("2", true));
    });
}

/// When its sandbox was made, in hundredths of a second since the machine started.
const MADE: &str = "cut -d' ' -f22 /proc/1/stat";

/// The same clock.
fn now() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").expect("there");
    let whole = uptime.split_whitespace().next().expect("two numbers").replace('.', "");
    whole.parse().expect("a number")
}

/// Makes a sandbox ahead, and waits until whatever is made from now on is later by the clock.
fn ahead(agent: &mut Agent) -> SandboxSpec {
    let before = first_processes(agent.pid());
    let sandbox = agent.plan(&["true"]).lineage(SandboxSpec::OPEN).sandbox;
    agent.order(&serde_json::json!({"Prepare": {"sandbox": sandbox}}));
    until(|| first_processes(agent.pid()).iter().any(|pid| !before.contains(pid)));
    let made = now();
    until(|| now() > made);
    sandbox
}

/// Whether a run was in a sandbox that was there before, and what became of it.
fn then_ahead(agent: &mut Agent, sandbox: &SandboxSpec) -> (bool, Outcome) {
    let asked = now();
    let outcome = then(agent, sandbox, MADE);
    let made: u64 = outcome.output().parse().unwrap_or_else(|_| panic!("{outcome:?}"));
    (made < asked, outcome)
}

fn of_lineage(lineage: &str, like: &SandboxSpec) -> SandboxSpec {
    SandboxSpec { lineage: Some(lineage.into()), ..like.clone() }
}

#[test]
fn a_sandbox_made_ahead_belongs_to_the_first_that_takes_it() {
    as_everyone(|agent| {
        let open = ahead(agent);
        let (was_ahead, first) = then_ahead(agent, &of_lineage("one", &open));
        assert!(was_ahead && first.kept(), "{first:?}");
        let (was_ahead, again) = then_ahead(agent, &of_lineage("one", &open));
        assert!(was_ahead, "the next of its lineage follows it: {again:?}");
        let (was_ahead, other) = then_ahead(agent, &of_lineage("other", &open));
        assert!(!was_ahead, "it is taken: {other:?}");
    });
}

#[test]
fn a_sandbox_made_ahead_shows_nothing_and_keeps_no_trace() {
    as_everyone(|agent| {
        let open = ahead(agent);
        let seen = "ls -A /tmp /dev/shm; ls /proc | grep -c '^[0-9]'; echo x > /tmp/trace; echo $$";
        let first = then(agent, &of_lineage("one", &open), seen);
        assert_eq!(first.output(), "/dev/shm:\n\n/tmp:\n4\n2", "pid 1, the shell, ls and grep");
        assert!(!first.kept(), "it has a trace");
    });
}

#[test]
fn a_sandbox_made_ahead_is_for_runs_that_want_one_like_it() {
    as_everyone(|agent| {
        for change in [
            |spec: &mut SandboxSpec| spec.limits.files_max = Some(100),
            |spec: &mut SandboxSpec| spec.host_name = "other".into(),
            |spec: &mut SandboxSpec| spec.masked = vec!["/srv".into()],
            |spec: &mut SandboxSpec| spec.lineage = None,
        ] {
            let open = ahead(agent);
            let mut wanted = of_lineage("one", &open);
            change(&mut wanted);
            let (was_ahead, outcome) = then_ahead(agent, &wanted);
            assert!(!was_ahead, "{wanted:?}: {outcome:?}");
        }
    });
}

#[test]
fn a_sandbox_made_ahead_ends_with_its_agent() {
    as_everyone(|agent| {
        ahead(agent);
        let made = descendants(agent.pid());
        assert!(made.len() >= 2, "the spawner and pid 1 of the sandbox: {made:?}");
        agent.kill();
        until(|| made.iter().all(|pid| has_ended(*pid)));
    });
}

/// The first processes of sandboxes and of the spawner, where that has a view of its own.
fn first_processes(pid: i32) -> Vec<i32> {
    let is_first = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        line.and_then(|numbers| numbers.split_whitespace().last()) == Some("1")
    };
    descendants(pid).into_iter().filter(is_first).collect()
}

/// All processes below this one.
fn descendants(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|task| fs::read_to_string(task.path().join("children")));
    let children: Vec<i32> = lists
        .flat_map(|list| {
            let list = list.unwrap_or_default();
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect();
    children.iter().flat_map(|child| std::iter::once(*child).chain(descendants(*child))).collect()
}

/// Whether a process is gone, or waits for its parent to hear of its end.
fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
