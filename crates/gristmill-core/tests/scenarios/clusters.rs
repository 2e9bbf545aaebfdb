//! Fixed and automatic clusters, sizes and quotas.

use crate::script::check;

#[test]
fn an_automatic_cluster_is_made_for_its_task_and_removed_after_it() {
    check(
        "job J on auto: a*2 -> b
         show auto-a
         show auto-b
         call
         place
         finish a/0
         finish a/1
         effects
         show auto-a
         gone auto-a-group-1
         gone auto-a-group-2
         show auto-a
         finish all
         show J
         gone auto-b-group-1
         show auto-b",
        "auto-a Active; group of 2: auto-a-group-1 Starting, auto-a-group-2 Starting
         auto-b is gone
         remove auto-a-group-1 1, remove auto-a-group-2 1, ensure auto-b-group-1 1
         auto-a Deleting; group of 2: auto-a-group-1 Deleting (the task ended), auto-a-group-2 Deleting (the task ended)
         auto-a is gone
         J Finished; a Finished: Finished Finished; b Finished: Finished
         auto-b is gone",
    );
}

#[test]
fn an_automatic_cluster_goes_when_its_job_is_stopped_and_comes_back_with_it() {
    check(
        "job J on auto: a
         call
         place
         start a/0
         stop J
         gone auto-a-group-1
         show auto-a
         restart J
         show auto-a
         finish all
         show J",
        "auto-a is gone
         auto-a Active; group of 1: auto-a-group-1 Starting
         J Finished; a Finished: Finished",
    );
}

#[test]
fn a_job_started_again_gets_machines_for_what_is_left_of_it() {
    check(
        "options machines 9, auto 9
         job J on auto: a*3
         call
         place
         finish a/0
         finish a/2
         exit a/1 1
         restart J
         show auto-a",
        "auto-a Active; group of 1: auto-a-group-1 Starting",
    );
}

#[test]
fn a_reserved_cluster_stays_after_a_failure_until_its_owner_deletes_it() {
    check(
        "job J on auto reserved: a, b
         call
         place
         exit a/0 1
         show auto-a
         show auto-b
         remove auto-a
         gone auto-a-group-1
         show auto-a
         job K on auto reserved: c
         finish all
         show auto-c",
        "auto-a Active; group of 1: auto-a-group-1 Running
         auto-b Deleting; group of 1: auto-b-group-1 Deleting (the job ended)
         deleting
         auto-a is gone
         auto-c Deleting; group of 1: auto-c-group-1 Deleting (the task ended)",
    );
}

#[test]
fn automatic_clusters_share_the_quota_and_are_topped_up_when_machines_are_freed() {
    check(
        "options machines 3, auto 2
         job J on auto: a*5
         job low on auto: b*5
         job high on auto: c*5; priority 1
         show auto-a
         show auto-b
         why high
         stop low
         show auto-c
         stop J
         show auto-c
         why high",
        "auto-a Active; group of 2: auto-a-group-1 Starting, auto-a-group-2 Starting
         auto-b Active; group of 1: auto-b-group-1 Starting
         task `c` waits for machines: the account uses 3 of the 3 it may
         auto-c Active; group of 1: auto-c-group-1 Starting
         auto-c Active; group of 2: auto-c-group-1 Starting, auto-c-group-2 Starting
         task `c` waits for cluster auto-c: 2 machines starting",
    );
}

#[test]
fn more_machines_than_the_quota_are_refused() {
    check(
        "options machines 3
         cluster C a*2, b*1
         cluster D a*1
         resize C a*3
         resize C a*1, b*2
         resize C x*1
         resize C a*70000
         cluster E a*3 by 2
         show C",
        "refused: quota exhausted: machines of an account: the limit is 3, 3 are in use
         refused: quota exhausted: machines of an account: the limit is 3, 3 are in use
         refused: Groups: the cluster has no group `x`
         refused: DesiredVMCount: 70000 is not in [0, 65536]
         C Active; a of 1: c-a-1 Deleting (the group was made smaller), c-a-2 Starting; b of 2: c-b-3 Starting, c-b-4 Starting",
    );
}

#[test]
fn a_smaller_group_gives_up_idle_machines_first_and_puts_busy_ones_back() {
    check(
        "cluster C w*2
         job J on C: a
         call
         place
         start a/0
         show J
         resize C w*1
         show J
         twice resize C w*0
         show J
         resize C w*1
         show C",
        "J Running; a Running: runs on c-w-1
         J Running; a Running: runs on c-w-1
         J Running; a Running: Waiting
         C Active; w of 1: c-w-1 Deleting (the group was made smaller), c-w-2 Deleting (the group was made smaller), c-w-3 Starting",
    );
}

#[test]
fn deleting_a_cluster_puts_its_instances_back_and_ends_when_the_machines_are_gone() {
    check(
        "cluster C w*1
         job J on C: a
         call
         place
         start a/0
         remove C
         effects
         show J
         remove C
         resize C w*2
         finish a/0
         gone c-w-1
         show C
         remove C
         why J
         cluster D w*0
         remove D",
        "deleting
         remove c-w-1 1
         J Running; a Running: Waiting
         refused: cluster `C` is Deleting: delete is not possible
         refused: cluster `C` is Deleting: change is not possible
         C is gone
         refused: cluster `C` is not found
         task `a` waits for cluster C, which was deleted
         deleted",
    );
}

#[test]
fn an_automatic_cluster_deleted_by_hand_is_made_again_while_its_task_needs_it() {
    check(
        "job J on auto: a
         call
         place
         start a/0
         remove auto-a
         gone auto-a-group-1
         show auto-a
         show J
         finish all
         show J",
        "deleting
         auto-a Active; group of 1: auto-a-group-1 Starting
         J Running; a Running: Waiting
         J Finished; a Finished: Finished",
    );
}

#[test]
fn the_clusters_of_others_are_not_found() {
    check(
        "cluster C w
         remove C by 2
         resize C w*2 by 2
         job J on C: a by 2
         show C",
        "refused: cluster `C` is not found
         refused: cluster `C` is not found
         refused: ClusterId: cluster `C` does not exist
         C Active; w of 1: c-w-1 Starting",
    );
}

#[test]
fn a_higher_limit_after_a_restart_gives_machines_and_a_lower_one_takes_none() {
    check(
        "options machines 1
         job J on auto: a*3
         show auto-a
         options machines 2
         show auto-a
         cluster C w*0
         job K on attach C: b*2
         options machines 5
         show auto-a
         show C
         options machines 1
         show auto-a
         show C",
        "auto-a Active; group of 1: auto-a-group-1 Starting
         auto-a Active; group of 2: auto-a-group-1 Starting, auto-a-group-2 Starting
         auto-a Active; group of 3: auto-a-group-1 Starting, auto-a-group-2 Starting, auto-a-group-3 Starting
         C Active; attached-1 of 2: c-attached-1-1 Starting, c-attached-1-2 Starting; w of 0:
         auto-a Active; group of 3: auto-a-group-1 Starting, auto-a-group-2 Starting, auto-a-group-3 Starting
         C Active; attached-1 of 2: c-attached-1-1 Starting, c-attached-1-2 Starting; w of 0:",
    );
}
