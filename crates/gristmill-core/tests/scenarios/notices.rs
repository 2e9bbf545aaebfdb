//! What is announced, to whom and in which order (`reference/api.md` 15).

use crate::script::check;
use gristmill_model::{
    Notice,
    notice::{Facts, InstanceFacts},
    spec::Notification,
};

const ALL: &str = "OnClusterDeleted OnInstanceCreated OnInstanceActive OnJobWaiting OnJobRunning \
     OnJobStopped OnJobFinished OnJobFailed OnTaskWaiting OnTaskRunning OnTaskStopped \
     OnTaskFinished OnTaskFailed OnInstanceWaiting OnInstanceRunning OnInstanceStopped \
     OnInstanceFinished OnInstanceFailed OnPriorityChange";

/// A subscription to `all` events or to those named.
pub fn subscription(events: &str) -> Option<Notification> {
    let events = if events == "all" { ALL } else { events };
    (!events.is_empty()).then(|| Notification {
        topic: "topic".to_owned(),
        endpoint: String::new(),
        events: events.split_whitespace().map(str::to_owned).collect(),
        user_data: String::new(),
        user_template: String::new(),
    })
}

/// A notice in one line.
pub fn text(notice: &Notice) -> String {
    let event = notice.facts.event();
    match &notice.facts {
        Facts::ClusterDeleted { name, .. } => format!("{event} {name}"),
        Facts::Machine { worker, group, address, .. } => {
            format!("{event} {group} {worker} {address}").trim_end().to_owned()
        }
        Facts::Job(job) => {
            let times = [job.started, job.ended].map(|time| if time.is_some() { "+" } else { "-" });
            format!("{event} {} {} {}", job.name, times.concat(), job.message).trim_end().to_owned()
        }
        Facts::Priority { job, from, to } => format!("{event} {} {from} to {to}", job.name),
        Facts::Task { task, .. } => format!("{event} {task}"),
        Facts::Instances(facts) => instances(event, facts),
    }
}

fn instances(event: &str, facts: &InstanceFacts) -> String {
    let InstanceFacts { task, first, count, retries, result, .. } = facts;
    let mut text = format!("{event} {task}/{first}");
    if *count > 1 {
        text += &format!("..{}", first.0 + count - 1);
    }
    text += &"'".repeat(*retries as usize);
    if result.exit_code != 0 {
        text += &format!(" exit {}", result.exit_code);
    }
    if !result.error_code.is_empty() {
        text += &format!(" {}", result.error_code);
    }
    text
}

#[test]
fn a_job_that_goes_well_is_announced_from_outside_in_and_inside_out() {
    check(
        "cluster C g*1
         job J on C: a*2 -> b; notify all
         notices
         call
         place
         start a/0
         notices
         finish a/0
         place
         start a/1
         finish a/1
         notices
         finish all
         notices",
        "OnJobWaiting J --
         OnTaskWaiting a
         OnInstanceWaiting a/0..1
         OnTaskWaiting b
         OnInstanceWaiting b/0
         OnJobRunning J +-
         OnTaskRunning a
         OnInstanceRunning a/0
         OnInstanceFinished a/0
         OnInstanceRunning a/1
         OnInstanceFinished a/1
         OnTaskFinished a
         OnTaskRunning b
         OnInstanceRunning b/0
         OnInstanceFinished b/0
         OnTaskFinished b
         OnJobFinished J ++",
    );
}

#[test]
fn a_failed_instance_stops_and_announces_what_is_left() {
    check(
        "options slots 2
         cluster C g*1
         job J on C: a*4 -> b*3; notify OnJobFailed OnTaskFailed OnTaskStopped OnInstanceFailed OnInstanceStopped
         call
         place
         start a/0
         start a/1
         exit a/0 137
         notices",
        "OnInstanceFailed a/0 exit 137 NonZeroExit
         OnInstanceStopped a/1
         OnInstanceStopped a/2..3
         OnTaskFailed a
         OnInstanceStopped b/0..2
         OnTaskStopped b
         OnJobFailed J ++ instance 0 of task `a` failed: NonZeroExit: exit code 137",
    );
}

#[test]
fn a_retry_waits_again_and_shows_its_number() {
    check(
        "cluster C g*1
         job J on C: a; retries 1; notify OnInstanceWaiting OnInstanceRunning OnInstanceFailed
         call
         place
         start a/0
         exit a/0 1
         notices
         place
         start a/0
         exit a/0 1
         notices",
        "OnInstanceWaiting a/0
         OnInstanceRunning a/0
         OnInstanceWaiting a/0'
         OnInstanceRunning a/0'
         OnInstanceFailed a/0' exit 1 NonZeroExit",
    );
}

#[test]
fn what_was_only_placed_is_still_waiting() {
    check(
        "cluster C g*1
         job J on C: a; notify all
         call
         place
         notices
         silent c-g-1
         notices",
        "OnJobWaiting J --
         OnTaskWaiting a
         OnInstanceWaiting a/0
         nothing",
    );
}

#[test]
fn a_start_that_was_not_reported_is_announced_before_the_end() {
    check(
        "options slots 2
         cluster C g*1
         job J on C: a*2; notify OnInstanceRunning OnInstanceFinished
         call
         place
         start a/0
         finish a/1
         finish a/0
         notices",
        "OnInstanceRunning a/0
         OnInstanceRunning a/1
         OnInstanceFinished a/1
         OnInstanceFinished a/0",
    );
}

#[test]
fn stopping_restarting_and_a_new_priority_are_announced() {
    check(
        "cluster C g*1
         job J on C: a*3; notify all
         notices
         stop J
         notices
         priority J 7
         restart J
         notices
         twice stop J
         notices",
        "OnJobWaiting J --
         OnTaskWaiting a
         OnInstanceWaiting a/0..2
         OnInstanceStopped a/0..2
         OnTaskStopped a
         OnJobStopped J -+
         OnPriorityChange J 0 to 7
         OnJobWaiting J --
         OnTaskWaiting a
         OnInstanceWaiting a/0..2
         OnInstanceStopped a/0..2
         OnTaskStopped a
         OnJobStopped J -+",
    );
}

#[test]
fn many_instances_share_notices_of_bounded_size() {
    check(
        "cluster C g*1
         job J on C: a*250; notify OnInstanceWaiting
         notices",
        "OnInstanceWaiting a/0..99
         OnInstanceWaiting a/100..199
         OnInstanceWaiting a/200..249",
    );
}

#[test]
fn machines_and_the_end_of_a_cluster_are_announced_once() {
    check(
        "cluster C g*1; notify all
         notices
         noroom c-g-1 full
         wait 60
         notices
         call
         twice call c-g-1
         notices
         remove C
         gone c-g-1
         notices",
        "OnInstanceCreated g c-g-1
         nothing
         OnInstanceActive g c-g-1 at-c-g-1
         deleting
         OnClusterDeleted C",
    );
}

#[test]
fn nobody_is_told_who_did_not_ask() {
    check(
        "cluster C g*1
         job J on C: a
         job K on C: a; notify OnJobFailed
         call
         finish all
         notices",
        "nothing",
    );
}
