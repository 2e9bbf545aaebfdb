//! Accounts that compete for the places of a full host.

use crate::script::check;

#[test]
fn an_account_with_more_machines_gives_some_up_as_its_runs_end() {
    check(
        "options machines 4
         job J on auto: a*9
         call
         place
         show J
         job K on auto: b*2 by 2
         noroom auto-b-group-1 full
         noroom auto-b-group-2 full
         show auto-a
         why K
         finish a/0
         finish a/1
         finish a/2
         finish a/3
         show auto-a
         show auto-b
         gone auto-a-group-1
         gone auto-a-group-2
         show auto-a
         show auto-b",
        "J Waiting; a Waiting: given to auto-a-group-1 given to auto-a-group-2 given to auto-a-group-4 given to auto-a-group-3 Waiting Waiting Waiting Waiting Waiting
         auto-a Active; group of 4: auto-a-group-1 Running (to be reclaimed: another account has fewer machines and waits), auto-a-group-2 Running (to be reclaimed: another account has fewer machines and waits), auto-a-group-3 Running, auto-a-group-4 Running
         task `b` waits for a machine of cluster auto-b; the provider says: full
         auto-a Active; group of 4: auto-a-group-1 Deleting (another account has fewer machines and waits), auto-a-group-2 Deleting (another account has fewer machines and waits), auto-a-group-3 Running, auto-a-group-4 Running, auto-a-group-5 Pending (another account has fewer machines and waits), auto-a-group-6 Pending (another account has fewer machines and waits)
         auto-b Active; group of 2: auto-b-group-1 Pending (full), auto-b-group-2 Pending (full)
         auto-a Active; group of 4: auto-a-group-3 Running, auto-a-group-4 Running, auto-a-group-5 Pending (another account has fewer machines and waits), auto-a-group-6 Pending (another account has fewer machines and waits)
         auto-b Active; group of 2: auto-b-group-1 Starting (full), auto-b-group-2 Starting (full)",
    );
}
