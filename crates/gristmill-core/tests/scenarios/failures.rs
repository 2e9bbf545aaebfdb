//! What becomes of an instance that did not end well, and of its job.

use crate::script::check;

#[test]
fn a_failed_instance_fails_its_job_and_stops_the_rest() {
    check(
        "cluster C w*2
         job J on C: count*3 -> merge
         call
         place
         start count/0
         start count/1
         exit count/1 137
         show J
         twice finish count/0
         show J",
        "J Failed (instance 1 of task `count` failed: NonZeroExit: exit code 137); count Failed: Stopped Failed Stopped; merge Stopped: Stopped
         J Failed (instance 1 of task `count` failed: NonZeroExit: exit code 137); count Failed: Stopped Failed Stopped; merge Stopped: Stopped",
    );
}

#[test]
fn failures_that_do_not_count_let_the_job_finish_and_its_successors_run() {
    check(
        "cluster C w
         job J on C: a*2 -> b; keep going
         call
         place
         exit a/0 1
         show J
         place
         finish a/1
         show J
         finish all
         show J",
        "J Running; a Running: Failed Waiting; b Waiting: Waiting
         J Running; a Failed: Failed Finished; b Waiting: Waiting
         J Finished; a Failed: Failed Finished; b Finished: Finished",
    );
}

#[test]
fn failures_of_the_job_use_up_retries() {
    check(
        "cluster C w
         job J on C: a; retries 4
         call
         place
         exit a/0 1
         place
         signal a/0 9
         place
         timeout a/0
         place
         oom a/0
         show J
         place
         unable a/0
         show J",
        "J Running; a Running: Waiting''''
         J Failed (instance 0 of task `a` failed: PackageError: unable words); a Failed: Failed''''",
    );
}

#[test]
fn failures_of_the_infrastructure_use_up_nothing_until_their_bound() {
    check(
        "options put back 2
         cluster C w
         job J on C: a; retries 1
         call
         place
         broken a/0
         place
         cancel a/0
         show J
         place
         exit a/0 1
         show J
         place
         broken a/0
         show J",
        "J Running; a Running: Waiting~~
         J Running; a Running: Waiting'~~
         J Failed (instance 0 of task `a` failed: UploadError: broken words); a Failed: Failed'~~",
    );
}

#[test]
fn a_report_given_twice_or_too_late_counts_once() {
    check(
        "cluster C w
         job J on C: a*2; retries 1
         call
         place
         twice start a/0
         exit a/0 1
         stale exit a/0 1
         place
         stale exit a/0 1
         stale start a/0
         twice finish a/0
         show J",
        "J Running; a Running: Finished' Waiting",
    );
}

#[test]
fn a_run_that_never_started_can_fail() {
    check(
        "cluster C w
         job J on C: a*2
         call
         place
         unable a/0
         show J
         restart J
         show J",
        "J Failed (instance 0 of task `a` failed: PackageError: unable words); a Failed: Failed Stopped
         J Waiting; a Waiting: Waiting Waiting",
    );
}
