//! Machines that come, call, forget, fall silent and go.

use crate::script::check;

#[test]
fn a_lost_machine_gives_its_instances_back_and_is_replaced() {
    check(
        "cluster C w
         job J on C: a; retries 1
         call
         place
         start a/0
         silent c-w-1
         effects
         show J
         show C
         twice finish a/0
         call c-w-1
         gone c-w-1
         finish all
         show J
         show C",
        "remove c-w-1 1, ensure c-w-2 1
         J Running; a Running: Waiting~
         C Active; w of 1: c-w-1 Deleting (lost: it was silent for too long), c-w-2 Starting
         c-w-1 is unwanted
         J Finished; a Finished: Finished~
         C Active; w of 1: c-w-2 Running",
    );
}

#[test]
fn an_instance_that_loses_too_many_machines_fails_and_says_so() {
    check(
        "options put back 1
         cluster C w
         job J on C: a
         call
         place
         gone c-w-1
         call
         place
         gone c-w-2
         why J",
        "the job is Failed: instance 0 of task `a` failed: VMLost: machine c-w-2 (c-w-2) was lost: the provider has it no longer",
    );
}

#[test]
fn a_machine_that_lost_a_started_run_gives_it_back_but_keeps_what_it_never_received() {
    check(
        "options slots 2
         cluster C w
         job J on C: a*2
         call
         place
         start a/0
         show J
         call c-w-1
         show J
         call c-w-1 holding nothing
         show J",
        "J Running; a Running: runs on c-w-1 given to c-w-1
         J Running; a Running: runs on c-w-1 given to c-w-1
         J Running; a Running: Waiting~ given to c-w-1",
    );
}

#[test]
fn a_machine_that_cannot_be_made_is_asked_for_again_after_longer_and_longer_waits() {
    check(
        "cluster C w
         noroom c-w-1 no cores
         effects
         show C
         twice noroom c-w-1 still none
         wait 1
         effects
         stale noroom c-w-1
         stale call c-w-1
         noroom c-w-1 still none
         wait 1
         show C
         wait 1
         show C
         call
         show C",
        "no effects
         C Active; w of 1: c-w-1 Pending (no cores)
         ensure c-w-1 2
         C Active; w of 1: c-w-1 Pending (still none)
         C Active; w of 1: c-w-1 Starting (still none)
         C Active; w of 1: c-w-1 Running",
    );
}

#[test]
fn a_machine_that_vanishes_before_it_calls_is_made_again() {
    check(
        "cluster C w
         gone c-w-1
         show C
         twice gone c-w-1
         wait 1
         effects
         call
         show C",
        "C Active; w of 1: c-w-1 Pending (the machine went away before it called)
         ensure c-w-1 2
         C Active; w of 1: c-w-1 Running",
    );
}

#[test]
fn a_machine_that_never_calls_is_replaced() {
    check(
        "cluster C w
         wait 599
         show C
         wait 1
         effects
         show C",
        "C Active; w of 1: c-w-1 Starting
         remove c-w-1 1, ensure c-w-2 1
         C Active; w of 1: c-w-1 Deleting (lost: it did not call in time), c-w-2 Starting",
    );
}

#[test]
fn replacements_wait_when_machines_are_lost_as_soon_as_they_run() {
    check(
        "cluster C w
         call
         gone c-w-1
         call
         gone c-w-2
         call
         gone c-w-3
         effects
         call
         gone c-w-4
         effects
         wait 1
         effects
         call
         wait 2
         gone c-w-5
         effects
         wait 61
         call
         gone c-w-6
         effects",
        "remove c-w-3 1, ensure c-w-4 1
         remove c-w-4 1
         ensure c-w-5 2
         remove c-w-5 2, ensure c-w-6 1
         remove c-w-6 1, ensure c-w-7 1",
    );
}

#[test]
fn a_group_made_smaller_and_larger_again_does_not_wait() {
    check(
        "cluster C w*6
         call
         resize C w*0
         resize C w*1
         effects",
        "ensure c-w-7 1",
    );
}

#[test]
fn losing_a_machine_can_fail_a_job_whose_other_runs_are_on_it() {
    check(
        "options slots 3, put back 0
         cluster C w
         job J on C: a*2
         job K on C: a*1
         call
         place
         start a/0
         start K:a/0
         silent c-w-1
         show K
         show J",
        "K Failed (instance 0 of task `a` failed: VMLost: machine c-w-1 (c-w-1) was lost: it was silent for too long); a Failed: Failed
         J Failed (instance 0 of task `a` failed: VMLost: machine c-w-1 (c-w-1) was lost: it was silent for too long); a Failed: Failed Stopped",
    );
}

#[test]
fn work_spreads_over_the_emptiest_machines_in_neighbours() {
    check(
        "options slots 2
         cluster C w*2
         job J on C: a*3
         call
         place
         show J",
        "J Waiting; a Waiting: given to c-w-1 given to c-w-1 given to c-w-2",
    );
}

#[test]
fn a_machine_that_cannot_be_set_up_is_tried_again_ever_more_slowly_and_tells_why() {
    check(
        "cluster C w
         job J on C: a
         unfit c-w-1 the bootstrap ended with 3
         why J
         show C
         wait 1
         why J
         effects
         unfit c-w-1 the bootstrap ended with 4
         wait 1
         show C
         wait 1
         call
         finish all
         show C
         show J",
        "task `a` waits for a machine of cluster C; the provider says: the bootstrap ended with 3
         C Active; w of 1: c-w-1 Pending (the bootstrap ended with 3)
         task `a` waits for cluster C: 1 machine starting; the last said: the bootstrap ended with 3
         ensure c-w-1 2
         C Active; w of 1: c-w-1 Pending (the bootstrap ended with 4)
         C Active; w of 1: c-w-1 Running
         J Finished; a Finished: Finished",
    );
}
