//! Tasks that are attached to a cluster: machines made for them, how many, how long.

use crate::script::check;

#[test]
fn a_cluster_without_machines_grows_for_a_task_attached_to_it_and_shrinks_again() {
    check(
        "cluster C w*0
         job J on attach C: a*2
         show C
         effects
         call
         place
         start a/0
         start a/1
         wait 5
         finish a/0
         finish a/1
         show J
         wait 59
         show C
         wait 1
         show C
         gone c-attached-1-1
         show C
         gone c-attached-1-2
         show C
         log C",
        "C Active; attached-1 of 2: c-attached-1-1 Starting, c-attached-1-2 Starting; w of 0:
         ensure c-attached-1-1 1, ensure c-attached-1-2 1
         J Finished; a Finished: Finished Finished
         C Active; attached-1 of 2: c-attached-1-1 Running, c-attached-1-2 Running; w of 0:
         C Active; attached-1 of 0: c-attached-1-1 Deleting (it had nothing to do), c-attached-1-2 Deleting (it had nothing to do); w of 0:
         C Active; attached-1 of 0: c-attached-1-2 Deleting (it had nothing to do); w of 0:
         C Active; w of 0:
         created
         [attached-1]opened for attached tasks
         [attached-1]resized from 0 to 2
         [attached-1][c-attached-1-1]created
         [attached-1][c-attached-1-2]created
         [attached-1][c-attached-1-1]active
         [attached-1][c-attached-1-2]active
         [attached-1]resized from 2 to 1
         [attached-1][c-attached-1-1]deleting: it had nothing to do
         [attached-1]resized from 1 to 0
         [attached-1][c-attached-1-2]deleting: it had nothing to do
         [attached-1][c-attached-1-1]released
         [attached-1][c-attached-1-2]released
         [attached-1]closed",
    );
}

#[test]
fn an_idle_machine_takes_the_next_job_and_its_time_begins_anew() {
    check(
        "cluster C w*0
         job J on attach C: a
         call
         place
         finish a/0
         wait 59
         job K on attach C: b
         show C
         place
         wait 30
         finish K:b/0
         show K
         wait 59
         show C
         wait 1
         show C",
        "C Active; attached-1 of 1: c-attached-1-1 Running; w of 0:
         K Finished; b Finished: Finished
         C Active; attached-1 of 1: c-attached-1-1 Running; w of 0:
         C Active; attached-1 of 0: c-attached-1-1 Deleting (it had nothing to do); w of 0:",
    );
}

#[test]
fn each_type_and_image_has_machines_of_its_own() {
    check(
        "cluster C w*1; type t
         job J on attach C type big: a
         effects
         job K on attach C type big; image m-1: b
         effects
         job L on attach C type big: c
         effects
         call
         place
         show J
         show K
         show L
         show C",
        "ensure c-attached-1-2 1 big
         ensure c-attached-2-3 1 big m-1
         ensure c-attached-1-4 1 big
         J Waiting; a Waiting: given to c-attached-1-2
         K Waiting; b Waiting: given to c-attached-2-3
         L Waiting; c Waiting: given to c-attached-1-4
         C Active; attached-1 of 2: c-attached-1-2 Running, c-attached-1-4 Running; attached-2 of 1: c-attached-2-3 Running; w of 1: c-w-1 Running",
    );
}

#[test]
fn the_clusters_own_machines_are_used_first_where_they_look_alike() {
    check(
        "cluster C w*2; type t; image m-1
         job J on attach C type t; image m-1: a*3
         show C
         call
         place
         show J
         finish a/0
         finish a/1
         finish a/2
         wait 60
         show C
         job K on attach C: b*2
         show C",
        "C Active; attached-1 of 1: c-attached-1-3 Starting; w of 2: c-w-1 Starting, c-w-2 Starting
         J Waiting; a Waiting: given to c-w-1 given to c-w-2 given to c-attached-1-3
         C Active; attached-1 of 0: c-attached-1-3 Deleting (it had nothing to do); w of 2: c-w-1 Running, c-w-2 Running
         C Active; attached-1 of 0: c-attached-1-3 Deleting (it had nothing to do); w of 2: c-w-1 Running, c-w-2 Running",
    );
}

#[test]
fn a_task_of_the_cluster_that_takes_its_machine_makes_the_lane_grow() {
    check(
        "cluster C w*1
         call
         job J on attach C: a
         job high on C: h; priority 9
         show C
         place
         show high
         show J
         show C",
        "C Active; attached-1 of 1: c-attached-1-2 Starting; w of 1: c-w-1 Running
         high Waiting; h Waiting: given to c-w-1
         J Waiting; a Waiting: Waiting
         C Active; attached-1 of 1: c-attached-1-2 Starting; w of 1: c-w-1 Running",
    );
}

#[test]
fn tasks_of_the_cluster_do_not_run_on_machines_of_a_lane() {
    check(
        "cluster C w*1
         call
         job F on C: f*2
         place
         job J on attach C: a
         call
         place
         finish a/0
         place
         show F
         show C",
        "F Waiting; f Waiting: given to c-w-1 Waiting
         C Active; attached-1 of 1: c-attached-1-2 Running; w of 1: c-w-1 Running",
    );
}

#[test]
fn lanes_share_the_quota_with_automatic_clusters_the_highest_priority_first() {
    check(
        "options machines 3, auto 9
         cluster C w*0
         job J on attach C: a*2
         job auto on auto: x*2
         job high on attach C type big: h*2; priority 1
         show C
         show auto-x
         why high
         stop auto
         show C
         stop J
         show C",
        "C Active; attached-1 of 2: c-attached-1-1 Starting, c-attached-1-2 Starting; w of 0:
         auto-x Active; group of 1: auto-x-group-1 Starting
         task `h` waits for machines: the account uses 3 of the 3 it may
         C Active; attached-1 of 2: c-attached-1-1 Starting, c-attached-1-2 Starting; attached-2 of 1: c-attached-2-3 Starting; w of 0:
         C Active; attached-1 of 2: c-attached-1-1 Starting, c-attached-1-2 Starting; attached-2 of 1: c-attached-2-3 Starting; w of 0:",
    );
}

#[test]
fn all_lanes_of_a_cluster_together_are_bounded_like_an_automatic_cluster() {
    check(
        "options machines 9, auto 3
         cluster C w*0
         job J on attach C: a*2
         job K on attach C type big: b*5
         show C
         finish all
         show K",
        "C Active; attached-1 of 2: c-attached-1-1 Starting, c-attached-1-2 Starting; attached-2 of 1: c-attached-2-3 Starting; w of 0:
         K Finished; b Finished: Finished Finished Finished Finished Finished",
    );
}

#[test]
fn a_machine_that_was_not_made_yet_is_given_back_as_soon_as_nobody_needs_it() {
    check(
        "cluster C w*0
         job J on attach C: a*2
         noroom c-attached-1-1 no room
         show C
         stop J
         show C
         call
         wait 60
         show C",
        "C Active; attached-1 of 2: c-attached-1-1 Pending (no room), c-attached-1-2 Starting; w of 0:
         C Active; attached-1 of 1: c-attached-1-1 Deleting (the group was made smaller), c-attached-1-2 Starting; w of 0:
         C Active; attached-1 of 0: c-attached-1-1 Deleting (the group was made smaller), c-attached-1-2 Deleting (it had nothing to do); w of 0:",
    );
}

#[test]
fn a_machine_of_a_lane_that_is_lost_is_replaced_and_its_run_is_put_back() {
    check(
        "cluster C w*0
         job J on attach C: a
         call
         place
         start a/0
         silent c-attached-1-1
         show C
         call
         place
         finish a/0
         show J",
        "C Active; attached-1 of 1: c-attached-1-1 Deleting (lost: it was silent for too long), c-attached-1-2 Starting; w of 0:
         J Finished; a Finished: Finished~",
    );
}

#[test]
fn a_lane_cannot_be_changed_by_hand_and_goes_with_its_cluster() {
    check(
        "cluster C w*0
         job J on attach C: a
         resize C attached-1*1
         resize C attached-1*5
         change C attached-1 type big
         call
         place
         remove C
         show C
         why J
         gone c-attached-1-1
         show C
         show J
         stop J",
        "refused: Groups: group `attached-1` is made for attached tasks and follows them
         refused: Groups: group `attached-1` is made for attached tasks and follows them
         deleting
         C Deleting; attached-1 of 1: c-attached-1-1 Deleting (the cluster is deleted); w of 0:
         task `a` waits for cluster C, which was deleted
         C is gone
         J Waiting; a Waiting: Waiting",
    );
}

#[test]
fn a_lane_of_spot_machines_waits_for_its_price() {
    check(
        "cluster C w*0
         price t 900
         job J on attach C spot 500: a
         show C
         why J
         price t 400
         show C
         call
         place
         price t 900
         wait 30
         show C
         stop J
         show C",
        "C Active; attached-1 of 1:; w of 0:
         task `a` waits for machines of cluster C: the spot price of t is 0.900, above the limit of 0.500 of group `attached-1`
         C Active; attached-1 of 1: c-attached-1-1 Starting; w of 0:
         C Active; attached-1 of 1: c-attached-1-1 Deleting (reclaimed: the spot price of t is 0.900, above the limit of 0.500); w of 0:
         C Active; attached-1 of 0: c-attached-1-1 Deleting (reclaimed: the spot price of t is 0.900, above the limit of 0.500); w of 0:",
    );
}

#[test]
fn a_lane_of_prepaid_machines_takes_what_was_set_aside() {
    check(
        "cluster C w*0
         job J on attach C prepaid: a*3
         show C
         why J
         prepaid 1 t 2
         show C
         prepaid 1 t 1
         show C",
        "C Active; w of 0:
         task `a` waits for machines: all that the operator set aside for the account are taken
         C Active; attached-1 of 2: c-attached-1-1 Starting, c-attached-1-2 Starting; w of 0:
         C Active; attached-1 of 1: c-attached-1-1 Deleting (the group was made smaller), c-attached-1-2 Starting; w of 0:",
    );
}

#[test]
fn a_task_that_waits_for_another_wants_no_machines_yet() {
    check(
        "cluster C w*0
         job J on attach C: a -> b*3
         show C
         call
         place
         finish a/0
         show C
         finish all
         show J",
        "C Active; attached-1 of 1: c-attached-1-1 Starting; w of 0:
         C Active; attached-1 of 3: c-attached-1-1 Running, c-attached-1-2 Starting, c-attached-1-3 Starting; w of 0:
         J Finished; a Finished: Finished; b Finished: Finished Finished Finished",
    );
}

#[test]
fn an_automatic_cluster_has_lanes_as_well_and_keeps_its_own_machines_for_its_task() {
    check(
        "options machines 3, auto 3
         job J on auto: a*4
         job K on attach auto-a type big: b
         show auto-a
         quota 1 machines 5
         show auto-a
         call
         place
         finish K:b/0
         wait 60
         gone auto-a-attached-1-4
         show auto-a
         finish all
         show J
         show K",
        "auto-a Active; group of 3: auto-a-group-1 Starting, auto-a-group-2 Starting, auto-a-group-3 Starting
         auto-a Active; attached-1 of 1: auto-a-attached-1-4 Starting; group of 3: auto-a-group-1 Starting, auto-a-group-2 Starting, auto-a-group-3 Starting
         auto-a Active; group of 3: auto-a-group-1 Running, auto-a-group-2 Running, auto-a-group-3 Running
         J Finished; a Finished: Finished Finished Finished Finished
         K Finished; b Finished: Finished",
    );
}

#[test]
fn a_price_takes_the_machines_of_a_lane_and_gives_back_only_what_is_needed() {
    check(
        "options machines 2
         cluster C w*0
         job J on attach C spot 500: a*2
         job K on attach C type big: b
         call
         place
         start a/0
         finish a/1
         price t 900
         show C
         wait 10
         show C
         why J
         gone c-attached-1-1
         gone c-attached-1-2
         price t 400
         show C
         finish all
         show J
         show K",
        "C Active; attached-1 of 2: c-attached-1-1 Running (to be reclaimed: the spot price of t is 0.900, above the limit of 0.500), c-attached-1-2 Running (to be reclaimed: the spot price of t is 0.900, above the limit of 0.500); w of 0:
         C Active; attached-1 of 1: c-attached-1-1 Deleting (reclaimed: the spot price of t is 0.900, above the limit of 0.500), c-attached-1-2 Deleting (reclaimed: the spot price of t is 0.900, above the limit of 0.500); attached-2 of 1: c-attached-2-3 Starting; w of 0:
         task `a` waits for machines of cluster C: the spot price of t is 0.900, above the limit of 0.500 of group `attached-1`
         C Active; attached-1 of 1: c-attached-1-4 Starting; attached-2 of 1: c-attached-2-3 Starting; w of 0:
         J Finished; a Finished: Finished~ Finished
         K Finished; b Finished: Finished",
    );
}

#[test]
fn an_idle_machine_of_a_lane_that_is_lost_gets_no_successor() {
    check(
        "cluster C w*0
         job J on attach C: a*2
         call
         place
         start a/0
         finish a/1
         gone c-attached-1-2
         show C
         gone c-attached-1-2
         show C
         finish a/0
         gone c-attached-1-1
         show C
         gone c-attached-1-1
         show C",
        "C Active; attached-1 of 1: c-attached-1-1 Running, c-attached-1-2 Deleting (lost: the provider has it no longer); w of 0:
         C Active; attached-1 of 1: c-attached-1-1 Running; w of 0:
         C Active; attached-1 of 0: c-attached-1-1 Deleting (lost: the provider has it no longer); w of 0:
         C Active; w of 0:",
    );
}

#[test]
fn a_lane_stands_in_for_own_machines_that_do_not_come() {
    check(
        "cluster C w*2
         job J on attach C: a*2
         show C
         noroom c-w-1 full
         show C
         noroom c-attached-1-3 full
         why J
         call c-w-2
         wait 1
         show C
         call
         show C
         place
         show J",
        "C Active; w of 2: c-w-1 Starting, c-w-2 Starting
         C Active; attached-1 of 1: c-attached-1-3 Starting; w of 2: c-w-1 Pending (full), c-w-2 Starting
         task `a` waits for cluster C: 1 machine starting; the last said: full
         C Active; attached-1 of 1: c-attached-1-3 Starting (full); w of 2: c-w-1 Pending (full), c-w-2 Running
         C Active; attached-1 of 1: c-attached-1-3 Running; w of 2: c-w-1 Pending (full), c-w-2 Running
         J Waiting; a Waiting: given to c-w-2 given to c-attached-1-3",
    );
}

#[test]
fn a_machine_that_an_own_one_makes_needless_goes_to_who_waits_for_it() {
    check(
        "options machines 3
         cluster C w*1
         cluster D w*0
         job J on attach C: a
         noroom c-w-1 full
         noroom c-attached-1-2 full
         job K on attach D: b*2
         show C
         show D
         call c-w-1
         show C
         show D",
        "C Active; attached-1 of 1: c-attached-1-2 Pending (full); w of 1: c-w-1 Pending (full)
         D Active; attached-1 of 1: d-attached-1-1 Starting; w of 0:
         C Active; attached-1 of 0: c-attached-1-2 Deleting (the group was made smaller); w of 1: c-w-1 Running
         D Active; attached-1 of 2: d-attached-1-1 Starting, d-attached-1-2 Starting; w of 0:",
    );
}

#[test]
fn an_automatic_cluster_whose_type_is_changed_gets_machines_of_the_new_type() {
    check(
        "prepaid 1 t 3
         job J on auto prepaid: a*2
         show auto-a
         change auto-a group type u
         show auto-a
         why J
         prepaid 1 u 1
         show auto-a
         effects",
        "auto-a Active; group of 2: auto-a-group-1 Starting, auto-a-group-2 Starting
         auto-a Active; group of 0: auto-a-group-1 Deleting (the group was made smaller), auto-a-group-2 Deleting (the group was made smaller)
         task `a` waits for machines of cluster auto-a: group `group` is prepaid and no machines are set aside for it
         auto-a Active; group of 1: auto-a-group-1 Deleting (the group was made smaller), auto-a-group-2 Deleting (the group was made smaller), auto-a-group-3 Starting
         ensure auto-a-group-3 1 u",
    );
}

#[test]
fn who_waits_for_a_prepaid_type_does_not_keep_others_from_another_type() {
    check(
        "cluster C w*0
         job J on attach C type big; prepaid: a; priority 9
         job K on attach C prepaid: b
         prepaid 1 t 1
         show C
         why J",
        "C Active; attached-1 of 1: c-attached-1-1 Starting; w of 0:
         task `a` waits for machines: all that the operator set aside for the account are taken",
    );
}

#[test]
fn a_lane_stands_in_for_an_own_machine_while_that_is_to_be_reclaimed() {
    check(
        "cluster C w*1; spot 500
         call
         job J on attach C: a
         show C
         price t 900
         noroom c-attached-1-2 full
         show C
         price t none
         show C
         place
         show J",
        "C Active; w of 1: c-w-1 Running
         C Active; attached-1 of 1: c-attached-1-2 Pending (full); w of 1: c-w-1 Running (to be reclaimed: the spot price of t is 0.900, above the limit of 0.500)
         C Active; attached-1 of 0: c-attached-1-2 Deleting (the group was made smaller); w of 1: c-w-1 Running
         J Waiting; a Waiting: given to c-w-1",
    );
}
