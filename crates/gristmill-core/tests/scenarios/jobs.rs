//! Jobs from submission to the end, and what users do to them.

use crate::script::check;

#[test]
fn a_job_of_three_tasks_runs_in_the_order_of_its_dependencies() {
    check(
        "cluster C w*2
         job J on C: split -> count*3 -> merge
         show J
         call
         place
         show J
         start split/0
         finish split/0
         place
         start count/0
         show J
         finish all
         show J
         show C",
        "J Waiting; count Waiting: Waiting Waiting Waiting; merge Waiting: Waiting; split Waiting: Waiting
         J Waiting; count Waiting: Waiting Waiting Waiting; merge Waiting: Waiting; split Waiting: given to c-w-1
         J Running; count Running: runs on c-w-1 given to c-w-2 Waiting; merge Waiting: Waiting; split Finished: Finished
         J Finished; count Finished: Finished Finished Finished; merge Finished: Finished; split Finished: Finished
         C Active; w of 2: c-w-1 Running, c-w-2 Running",
    );
}

#[test]
fn a_task_waits_for_all_its_predecessors() {
    check(
        "cluster C w*2
         job J on C: a, b -> c
         call
         place
         finish a/0
         place
         show J
         finish b/0
         place
         show J",
        "J Running; a Finished: Finished; b Waiting: given to c-w-2; c Waiting: Waiting
         J Running; a Finished: Finished; b Finished: Finished; c Waiting: given to c-w-1",
    );
}

#[test]
fn the_higher_priority_runs_first_and_then_the_older_job() {
    check(
        "cluster C w
         job low on C: a*1
         job J on C: a*1; priority 5
         job late on C: a*1; priority 5
         call
         place
         show J
         finish a/0
         place
         show late
         finish late:a/0
         place
         show low",
        "J Waiting; a Waiting: given to c-w-1
         late Waiting; a Waiting: given to c-w-1
         low Waiting; a Waiting: given to c-w-1",
    );
}

#[test]
fn a_stopped_job_leaves_its_machines_at_once_and_late_reports_are_dropped() {
    check(
        "cluster C w*2
         job J on C: a*3
         call
         place
         start a/0
         stop J
         show J
         twice finish a/0
         twice start a/1
         stop J
         show J",
        "J Stopped; a Stopped: Stopped Stopped Stopped
         refused: job `J` is Stopped: stop is not possible
         J Stopped; a Stopped: Stopped Stopped Stopped",
    );
}

#[test]
fn a_job_started_again_keeps_what_finished_and_forgets_the_retries() {
    check(
        "cluster C w*2
         job J on C: a*2 -> b; retries 1
         call
         place
         finish a/0
         exit a/1 3
         show J
         stop J
         restart J
         show J
         place
         show J
         stale exit a/1 9
         exit a/1 3
         finish all
         show J",
        "J Running; a Running: Finished Waiting'; b Waiting: Waiting
         J Waiting; a Waiting: Finished Waiting; b Waiting: Waiting
         J Waiting; a Waiting: Finished given to c-w-1; b Waiting: Waiting
         J Finished; a Finished: Finished Finished'; b Finished: Finished",
    );
}

#[test]
fn a_finished_task_does_not_run_again_when_the_job_is_started_again() {
    check(
        "cluster C w
         job J on C: a -> b
         call
         place
         finish a/0
         place
         exit b/0 1
         show J
         restart J
         show J
         finish all
         show J",
        "J Failed (instance 0 of task `b` failed: NonZeroExit: exit code 1); a Finished: Finished; b Failed: Failed
         J Waiting; a Finished: Finished; b Waiting: Waiting
         J Finished; a Finished: Finished; b Finished: Finished",
    );
}

#[test]
fn commands_are_legal_only_in_the_states_of_the_table() {
    check(
        "cluster C w
         job J on C: a
         restart J
         delete J
         priority J 3
         call
         place
         start a/0
         restart J
         delete J
         finish a/0
         stop J
         restart J
         priority J 3
         delete J
         delete J
         show J",
        "refused: job `J` is Waiting: start is not possible
         refused: job `J` is Waiting: delete is not possible
         refused: job `J` is Waiting: change of priority is not possible
         refused: job `J` is Running: start is not possible
         refused: job `J` is Running: delete is not possible
         refused: job `J` is Finished: stop is not possible
         refused: job `J` is Finished: start is not possible
         refused: job `J` is Finished: change of priority is not possible
         refused: job `J` is not found
         J is gone",
    );
}

#[test]
fn a_new_priority_counts_when_the_job_is_started_again() {
    check(
        "cluster C w
         job other on C: a; priority 4
         job J on C: a
         stop J
         twice priority J 9
         restart J
         call
         place
         show J
         show other",
        "J Waiting; a Waiting: given to c-w-1
         other Waiting; a Waiting: Waiting",
    );
}

#[test]
fn a_job_with_auto_release_is_gone_after_success_only() {
    check(
        "cluster C w
         job J on C: a; auto release
         job K on C: a; auto release
         call
         stop K
         show K
         restart K
         place
         finish a/0
         show J
         place
         exit K:a/0 1
         show K",
        "K Stopped; a Stopped: Stopped
         J is gone
         K Failed (instance 0 of task `a` failed: NonZeroExit: exit code 1); a Failed: Failed",
    );
}

#[test]
fn the_same_token_makes_one_job_and_another_body_is_refused() {
    check(
        "cluster C w; token t one
         cluster C w; token t one
         cluster C w; token t two
         job J on C: a; token t one
         job J on C: a; token t one
         job J on C: a; token t two
         job K on C: a; token t one by 2",
        "the same cluster
         refused: the idempotency token was used with another body
         the same job
         refused: the idempotency token was used with another body
         refused: ClusterId: cluster `C` does not exist",
    );
}

#[test]
fn a_token_is_forgotten_after_a_day_but_not_with_its_job() {
    check(
        "cluster C w*0
         job J on C: a; token t one
         stop J
         delete J
         job J on C: a; token t one
         wait 86399
         job J on C: a; token t one
         wait 1
         job J on C: a; token t one",
        "the same job
         the same job
         another job",
    );
}

#[test]
fn a_token_that_is_too_old_is_used_anew_even_if_nobody_forgot_it_yet() {
    check(
        "cluster C w*0
         job J on C: a; token t one
         later 86400
         job J on C: a; token t two
         wait 0
         job J on C: a; token t two",
        "another job
         the same job",
    );
}

#[test]
fn the_jobs_of_others_are_not_found() {
    check(
        "cluster C w
         job J on C: a
         stop J by 2
         restart J by 2
         delete J by 2
         priority J 1 by 2
         show J",
        "refused: job `J` is not found
         refused: job `J` is not found
         refused: job `J` is not found
         refused: job `J` is not found
         J Waiting; a Waiting: Waiting",
    );
}

#[test]
fn jobs_that_cannot_be_are_refused() {
    check(
        "options jobs 1
         cluster C w
         job J on nowhere: a
         job J on C: nothing
         job J on C: a*0
         job J on C: a*2000000
         job J on C: a; retries 101
         job J on C: a -> b -> a
         job J on C: a
         job K on C: a
         remove C",
        "refused: ClusterId: cluster `cls-0000000000000000000007` does not exist
         refused: DAG: a job has at least one task
         refused: InstanceCount: task `a`: 0 is not in [1, 1000000]
         refused: InstanceCount: task `a`: 2000000 is not in [1, 1000000]
         refused: MaxRetryCount: task `a`: 101 is not in [0, 100]
         refused: DAG: the dependencies have a cycle
         refused: quota exhausted: jobs of an account: the limit is 1, 1 are in use
         deleting",
    );
}

#[test]
fn a_waiting_job_says_why() {
    check(
        "cluster C w
         job J on C: a -> b
         why J
         noroom c-w-1 no cores left
         why J
         wait 1
         call
         why J
         job K on C: x
         why K
         place
         why J
         why K
         start a/0
         why J
         finish a/0
         place
         job L on C: x; priority 9
         why K
         remove C
         why L
         stop L
         why L",
        "task `a` waits for cluster C: 1 machine starting
         task `a` waits for a machine of cluster C; the provider says: no cores left
         task `a` is about to be placed
         task `x` waits behind 1 other task on cluster C
         1 instance of task `a` at machines that prepare to run
         task `x` is next for a machine of cluster C; all are busy
         1 instance running, 1 waiting; task `b` waits for `a`
         task `x` waits behind 1 other task on cluster C
         deleting
         task `x` waits for cluster C, which was deleted
         the job is Stopped",
    );
}

#[test]
fn the_rest_of_a_running_job_says_why_it_has_no_machines() {
    check(
        "options machines 2
         job J on auto: a*5
         call
         place
         start a/0
         start a/1
         why J
         quota 1 machines 5
         why J
         quota 1 machines 9, cores 4
         job K on auto: x
         why K
         cluster C w*0
         job L on C: y
         why L",
        "2 instances running, 3 waiting; task `a` waits for machines: the account uses 2 of the 2 it may
         2 instances running, 3 waiting; task `a` is next for a machine of cluster auto-a; all are busy
         task `x` waits for machines: the account uses 10 of the 4 cores it may
         task `y` waits for cluster C, which is to have no machines: its DesiredVMCount is 0",
    );
}
