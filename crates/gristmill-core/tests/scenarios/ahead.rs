//! Runs that machines hold ahead, and what comes before them.

use crate::script::check;

#[test]
fn what_is_held_ahead_makes_way_for_a_higher_priority() {
    check(
        "cluster C w
         call c-w-1 ahead 4
         job J on C: a*8
         place
         start a/0
         finish a/0
         place
         show J
         job same on C: s
         show J
         job high on C: h; priority 5
         show J
         place
         show J
         show high
         start a/1
         finish a/1
         place
         show high
         finish a/2
         place
         show high
         show J
         finish high:h/0
         finish all
         show J
         show high
         show same",
        "J Running; a Running: Finished given to c-w-1 given to c-w-1 given to c-w-1 given to c-w-1 given to c-w-1 Waiting Waiting
         J Running; a Running: Finished given to c-w-1 given to c-w-1 given to c-w-1 given to c-w-1 given to c-w-1 Waiting Waiting
         J Running; a Running: Finished given to c-w-1 given to c-w-1 Waiting Waiting Waiting Waiting Waiting
         J Running; a Running: Finished given to c-w-1 given to c-w-1 Waiting Waiting Waiting Waiting Waiting
         high Waiting; h Waiting: Waiting
         high Waiting; h Waiting: Waiting
         high Waiting; h Waiting: given to c-w-1
         J Running; a Running: Finished Finished Finished given to c-w-1 given to c-w-1 given to c-w-1 given to c-w-1 Waiting
         J Finished; a Finished: Finished Finished Finished Finished Finished Finished Finished Finished
         high Finished; h Finished: Finished
         same Finished; s Finished: Finished",
    );
}

#[test]
fn who_was_blocked_overtakes_when_its_turn_comes() {
    check(
        "cluster C w*2
         call c-w-1 ahead 4
         call c-w-2 ahead 4
         job J on C: a*20
         job high on C: x -> y; priority 5
         place
         show high
         start a/0
         finish a/0
         place
         show J
         finish high:x/0
         show J",
        "high Waiting; x Waiting: given to c-w-1; y Waiting: Waiting
         J Running; a Running: Finished given to c-w-1 given to c-w-2 given to c-w-2 given to c-w-1 given to c-w-1 given to c-w-2 given to c-w-1 given to c-w-2 given to c-w-2 Waiting Waiting Waiting Waiting Waiting Waiting Waiting Waiting Waiting Waiting
         J Running; a Running: Finished given to c-w-1 given to c-w-2 given to c-w-2 given to c-w-1 Waiting given to c-w-2 Waiting given to c-w-2 given to c-w-2 Waiting Waiting Waiting Waiting Waiting Waiting Waiting Waiting Waiting Waiting",
    );
}
