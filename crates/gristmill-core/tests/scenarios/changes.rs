//! Changes of clusters and of single machines.

use crate::script::check;

#[test]
fn a_new_type_and_image_are_for_new_machines_and_a_restart_asks_for_the_old_ones_as_they_are() {
    check(
        "cluster C w*2
         call c-w-1
         change C w type big, w size 3, image img-b
         effects
         show C
         noroom c-w-2 full
         wait 1
         effects
         log C",
        "ensure c-w-3 1 big img-b
         C Active; w of 3: c-w-1 Running, c-w-2 Starting, c-w-3 Starting
         ensure c-w-2 2 big img-b
         created
         [w][c-w-1]created
         [w][c-w-2]created
         [w][c-w-1]active
         changed: ImageId, InstanceType of w
         [w]resized from 2 to 3
         [w][c-w-3]created",
    );
}

#[test]
fn a_change_that_changes_nothing_is_not_written_down() {
    check(
        "cluster C w*1
         twice resize C w*1
         twice change C env A=1
         log C",
        "created
         [w][c-w-1]created
         changed: EnvVars",
    );
}

#[test]
fn a_change_of_a_group_that_is_not_there_or_not_spot_changes_nothing() {
    check(
        "cluster C w*1
         change C w size 2, x size 1
         change C w size 2, w price 500
         show C",
        "refused: Groups: the cluster has no group `x`
         refused: SpotStrategy: group `w` has no spot machines
         C Active; w of 1: c-w-1 Starting",
    );
}

#[test]
fn a_deleted_machine_makes_its_group_smaller_and_gives_its_work_back() {
    check(
        "cluster C w*3
         job J on C: a
         call
         place
         start a/0
         drop c-w-1
         effects
         show C
         show J
         drop c-w-1
         recreate c-w-1
         drop c-w-2 by 2
         gone c-w-1
         show C
         finish all
         show J",
        "remove c-w-1 1
         C Active; w of 2: c-w-1 Deleting (deleted by its owner), c-w-2 Running, c-w-3 Running
         J Running; a Running: Waiting
         refused: machine `c-w-1` is Deleting: delete is not possible
         refused: machine `c-w-1` is Deleting: recreate is not possible
         refused: cluster `C` is not found
         C Active; w of 2: c-w-2 Running, c-w-3 Running
         J Finished; a Finished: Finished",
    );
}

#[test]
fn a_recreated_machine_is_a_new_one_under_a_new_name() {
    check(
        "cluster C w*1
         call
         recreate c-w-1
         effects
         show C
         gone c-w-1
         call
         show C",
        "remove c-w-1 1, ensure c-w-2 1
         C Active; w of 1: c-w-1 Deleting (recreated by its owner), c-w-2 Starting
         C Active; w of 1: c-w-2 Running",
    );
}
