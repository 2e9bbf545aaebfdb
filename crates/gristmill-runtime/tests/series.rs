//! Programs that follow each other in one sandbox without a word in between: each is told of as if it
//! had run alone, and the series ends where one is not quick.

mod support;

use gristmill_runtime::{Exit, QuickEnd, RunEvent};
use support::{Agent, Outcome, Plan, as_everyone};

/// Runs a script so often in one sandbox: what was said of the quick ones, and of the last.
fn series(agent: &mut Agent, count: u32, script: &str) -> (Vec<QuickEnd>, Outcome, u64) {
    let plan = agent.plan(&["sh", "-c", script]).lineage("job/task").series(count);
    carry_out(agent, plan)
}

fn carry_out(agent: &mut Agent, plan: Plan) -> (Vec<QuickEnd>, Outcome, u64) {
    let run = agent.spawn(plan);
    let last = agent.wait(run);
    (agent.quick.remove(&run).unwrap_or_default(), last, run)
}

fn outputs(quick: &[QuickEnd]) -> Vec<String> {
    quick.iter().map(|end| String::from_utf8_lossy(&end.stdout).trim_end().to_owned()).collect()
}

#[test]
fn each_program_has_its_environment_and_its_output() {
    as_everyone(|agent| {
        let script = "echo $N $$; [ $N != 3 ] || echo oh >&2; exit $(($N - 1))";
        let (quick, last, run) = series(agent, 5, script);
        assert_eq!(outputs(&quick), ["1 2", "2 3", "3 4", "4 5"]);
        assert_eq!(quick.iter().map(|end| end.code).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let errors: Vec<_> = quick.iter().map(|end| end.stderr.as_slice()).collect();
        assert_eq!(errors, [b"".as_slice(), b"", b"oh\n", b""]);
        assert!(quick.iter().all(|end| end.started_micros <= end.ended_micros));
        assert!(quick.is_sorted_by_key(|end| end.started_micros));
        assert_eq!(
            (last.exit(), last.stdout.as_str(), last.kept()),
            (Exit::Code(4), "5 6\n", true)
        );
        assert!(!agent.events(run).iter().any(|e| matches!(e, RunEvent::Started { .. })));
    });
}

#[test]
fn a_program_that_takes_its_time_is_the_last() {
    as_everyone(|agent| {
        let script = "[ $N != 3 ] || sleep 3; echo $N";
        let mut plan = agent.plan(&["sh", "-c", script]).lineage("job/task").series(5);
        plan.quick_millis = 1_500;
        let (quick, last, run) = carry_out(agent, plan);
        assert_eq!((outputs(&quick), last.output()), (vec!["1".into(), "2".into()], "3"));
        assert!(last.kept());
        assert!(matches!(agent.events(run), [RunEvent::Started { .. }, RunEvent::Exited(_)]));
    });
}

#[test]
fn a_program_whose_children_end_all_the_time_is_told_of_all_the_same() {
    as_everyone(|agent| {
        // Each `true` is left to pid 1, which hears of its end.
        let script = "while :; do (true &); done";
        let mut plan = agent.plan(&["sh", "-c", script]).lineage("job/task").series(2);
        plan.quick_millis = 300;
        let run = agent.spawn(plan);
        agent.wait_started(run);
        agent.order(&serde_json::json!({"Kill": {"run": run}}));
        assert_eq!(agent.wait(run).exit(), Exit::Signal(9));
    });
}

#[test]
fn a_program_that_leaves_a_trace_is_the_last() {
    as_everyone(|agent| {
        for deed in ["touch /tmp/trace", "chmod 700 /tmp", "chmod 640 /proc/self/fd/1"] {
            let (quick, last, _) = series(agent, 5, &format!("[ $N != 3 ] || {deed}; echo $N"));
            assert_eq!(outputs(&quick), ["1", "2"], "{deed}");
            assert_eq!(last.output(), "3", "{deed}");
        }
    });
}

#[test]
fn a_program_that_dies_or_says_much_is_the_last() {
    as_everyone(|agent| {
        let (quick, last, _) = series(agent, 5, "[ $N != 2 ] || kill -9 $$; echo $N");
        assert_eq!((outputs(&quick), last.exit()), (vec!["1".into()], Exit::Signal(9)));
        let much = "head -c 20000 /dev/zero";
        let (quick, last, _) = series(agent, 5, &format!("[ $N != 2 ] || {much}; echo $N"));
        assert_eq!((outputs(&quick), last.stdout.len()), (vec!["1".into()], 20_002));
    });
}

#[test]
fn what_a_program_leaves_running_ends_before_the_next_begins() {
    as_everyone(|agent| {
        let script = "sleep 100 & ls /proc | grep -c '^[0-9]'";
        let (quick, last, _) = series(agent, 4, script);
        let mut seen = outputs(&quick);
        seen.push(last.output().to_owned());
        // Pid 1, the shell, the one in the background, ls, grep.
        assert!(seen.iter().all(|count| count.parse::<u32>().is_ok_and(|n| n <= 5)), "{seen:?}");
    });
}

#[test]
fn streams_are_opened_anew_for_each_program() {
    as_everyone(|agent| {
        let probe = agent.probe();
        let plan = agent.plan(&["/probe", "descriptors"]).mount("/probe", probe);
        let run = agent.spawn(plan.lineage("job/task").series(3));
        assert_eq!(agent.wait(run).output(), "0 1 2");
        // A shell that moves the place where its output goes on, and what comes after it.
        let (quick, last, _) = series(agent, 3, "echo $N; exec >>/dev/stdout; echo again >&1");
        assert_eq!(outputs(&quick), ["1\nagain", "2\nagain"]);
        assert_eq!(last.output(), "3\nagain");
    });
}

#[test]
fn a_sandbox_that_is_killed_in_the_middle_of_a_series_is_lost() {
    as_everyone(|agent| {
        let plan = agent.plan(&["sleep", "0.002"]).lineage("job/task").series(10_000);
        let run = agent.spawn(plan);
        agent.wait_quick(run);
        agent.order(&serde_json::json!({"Kill": {"run": run}}));
        agent.wait_lost(run);
    });
}

#[test]
fn a_program_that_cannot_be_executed_says_why() {
    as_everyone(|agent| {
        let plan = agent.plan(&["no-such-program"]).lineage("job/task").series(3);
        let message = agent.run(plan).failure().message.clone();
        assert!(message.contains("`no-such-program` was not found"), "{message}");
    });
}
