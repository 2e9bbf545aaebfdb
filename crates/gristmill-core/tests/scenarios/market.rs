//! Prices, machines set aside, quotas, and who gets the places of a small host.

use crate::script::check;
use gristmill_core::Options;
use gristmill_model::{
    AccountId, GroupSpec, Input, PriceMilli, Quota,
    catalogue::InstanceTypeName,
    samples::{a_group, a_shape},
    spec::{AutoCluster, Resource},
};

/// Machines that name no type are of type `t`, which has two cores; `big` has eight.
pub fn options() -> Options {
    let kind = |name: &str| InstanceTypeName(name.to_owned());
    let cores = [(kind("t"), 2), (kind("big"), 8)].into();
    Options { default_type: Some(kind("t")), cores, ..Options::default() }
}

/// `goes`, or a limit in thousandths.
pub fn spot(text: &str) -> Resource {
    let limit = (text != "goes").then(|| text.parse().expect("thousandths"));
    Resource::Spot { price_limit_milli: limit }
}

/// `spot 500; type big`, `prepaid`.
pub fn group(parts: &str) -> GroupSpec {
    let mut made = a_group(0);
    for part in parts.split("; ").filter(|part| !part.is_empty()) {
        match part.split_once(' ').unwrap_or((part, "")) {
            ("spot", limit) => made.resource = spot(limit),
            ("prepaid", _) => made.resource = Resource::PrePaid,
            ("image", image) => made.image = Some(image.parse().expect("an image")),
            ("type", kind) => made.instance_type = Some(InstanceTypeName(kind.to_owned())),
            _ => panic!("no part `{part}`"),
        }
    }
    made
}

/// The same for an automatic cluster.
pub fn shape(parts: &str) -> AutoCluster {
    let GroupSpec { resource, instance_type, image, .. } = group(parts);
    AutoCluster { resource, instance_type, image, ..a_shape(false) }
}

/// `price T 700`, `prepaid ACCOUNT T 2`, `quota ACCOUNT machines 3, cores 4`.
pub fn input(verb: &str, text: &str) -> Input {
    let (first, rest) = text.split_once(' ').expect("two words");
    let account = || AccountId(first.parse().expect("an account"));
    match verb {
        "price" => {
            let price = (rest != "none").then(|| PriceMilli(rest.parse().expect("thousandths")));
            Input::SetSpotPrice { instance_type: InstanceTypeName(first.to_owned()), price }
        }
        "prepaid" => {
            let (kind, count) = rest.split_once(' ').expect("a type and a number");
            let (instance_type, count) = (InstanceTypeName(kind.to_owned()), count.parse());
            let machines = count.expect("a number");
            Input::SetPrepaid { account: account(), instance_type, machines }
        }
        _ => {
            let mut quota = Quota::default();
            for item in rest.split(", ").filter(|item| *item != "none") {
                let (what, value) = item.split_once(' ').expect("what and a number");
                let value = Some(value.parse().expect("a number"));
                match what {
                    "machines" => quota.machines = value,
                    "cores" => quota.cores = value,
                    "jobs" => quota.jobs = value,
                    _ => quota.instances = value,
                }
            }
            Input::SetQuota { account: account(), quota }
        }
    }
}

#[test]
fn a_spot_machine_goes_after_its_notice_when_the_price_passes_the_limit() {
    check(
        "cluster C w*2; spot 500
         job J on C: a
         call
         place
         start a/0
         price t 500
         show C
         twice price t 700
         show C
         why J
         wait 9
         show J
         wait 1
         effects
         show J
         why J
         show C
         price t 500
         effects
         finish all
         show J
         log C",
        "C Active; w of 2: c-w-1 Running, c-w-2 Running
         C Active; w of 2: c-w-1 Running (to be reclaimed: the spot price of t is 0.700, above the limit of 0.500), c-w-2 Running (to be reclaimed: the spot price of t is 0.700, above the limit of 0.500)
         1 instance running, 0 waiting
         J Running; a Running: runs on c-w-1
         remove c-w-1 1, remove c-w-2 1
         J Running; a Running: Waiting~
         task `a` waits for machines of cluster C: the spot price of t is 0.700, above the limit of 0.500 of group `w`
         C Active; w of 2: c-w-1 Deleting (reclaimed: the spot price of t is 0.700, above the limit of 0.500), c-w-2 Deleting (reclaimed: the spot price of t is 0.700, above the limit of 0.500)
         ensure c-w-3 1, ensure c-w-4 1
         J Finished; a Finished: Finished~
         created
         [w][c-w-1]created
         [w][c-w-2]created
         [w][c-w-1]active
         [w][c-w-2]active
         [w][c-w-1]to be reclaimed: the spot price of t is 0.700, above the limit of 0.500
         [w][c-w-2]to be reclaimed: the spot price of t is 0.700, above the limit of 0.500
         [w][c-w-1]deleting: reclaimed: the spot price of t is 0.700, above the limit of 0.500
         [w][c-w-2]deleting: reclaimed: the spot price of t is 0.700, above the limit of 0.500
         [w][c-w-3]created
         [w][c-w-4]created
         [w][c-w-4]active
         [w][c-w-3]active",
    );
}

#[test]
fn a_machine_that_is_to_be_reclaimed_takes_nothing_new() {
    check(
        "cluster C w*1; spot 500
         call
         price t 501
         job J on C: a
         place
         show J
         why J",
        "J Waiting; a Waiting: Waiting
         task `a` waits: the machines of cluster C are reclaimed: the spot price of t is 0.501, above the limit of 0.500 of group `w`",
    );
}

#[test]
fn a_machine_stays_when_the_price_falls_in_time_and_goes_at_once_when_it_does_not_run_yet() {
    check(
        "cluster C w*2; spot 500
         call c-w-1
         price t 600
         effects
         price t none
         effects
         show C
         wait 10
         show C",
        "remove c-w-2 1
         ensure c-w-3 1
         C Active; w of 2: c-w-1 Running, c-w-2 Deleting (the spot price of t is 0.600, above the limit of 0.500), c-w-3 Starting
         C Active; w of 2: c-w-1 Running, c-w-2 Deleting (the spot price of t is 0.600, above the limit of 0.500), c-w-3 Starting",
    );
}

#[test]
fn only_machines_with_a_limit_below_the_price_of_their_type_go() {
    check(
        "cluster C w*1; spot goes
         cluster D w*1; spot 900; type big
         cluster E w*1
         call
         price t 5000
         price big 900
         show C
         show D
         show E
         change D w price 100
         show D
         resize D w*2
         show D",
        "C Active; w of 1: c-w-1 Running
         D Active; w of 1: d-w-1 Running
         E Active; w of 1: e-w-1 Running
         D Active; w of 1: d-w-1 Running
         D Active; w of 2: d-w-1 Running",
    );
}

#[test]
fn a_machine_on_demand_takes_the_place_of_a_spot_machine() {
    check(
        "cluster S w*2; spot goes
         job J on S: a
         call
         place
         start a/0
         cluster D w*1
         noroom d-w-1 the host is full
         show S
         wait 10
         effects
         show S
         gone s-w-2
         effects
         call d-w-1
         wait 60
         show S
         call
         show S
         show J",
        "S Active; w of 2: s-w-1 Running, s-w-2 Running (to be reclaimed: its place is needed for machines on demand)
         ensure d-w-1 2, remove s-w-2 1, ensure s-w-3 1
         S Active; w of 2: s-w-1 Running, s-w-2 Deleting (reclaimed: its place is needed for machines on demand), s-w-3 Starting
         no effects
         S Active; w of 2: s-w-1 Running, s-w-3 Starting
         S Active; w of 2: s-w-1 Running, s-w-3 Running
         J Running; a Running: runs on s-w-1",
    );
}

#[test]
fn spot_machines_do_not_ask_while_machines_on_demand_wait_for_room() {
    check(
        "cluster D w*1
         noroom d-w-1 the host is full
         cluster S w*1; spot goes
         effects
         show S
         wait 1
         call d-w-1
         wait 60
         effects",
        "no effects
         S Active; w of 1: s-w-1 Pending (its place is needed for machines on demand)
         ensure s-w-1 2",
    );
}

#[test]
fn the_place_that_becomes_free_goes_to_the_job_with_the_highest_priority() {
    check(
        "cluster X w*1
         call
         job J on auto: a
         job K on auto: b; priority 5
         job L on auto: c; priority 5
         noroom auto-a-group-1 full
         noroom auto-b-group-1 full
         noroom auto-c-group-1 full
         remove X
         gone x-w-1
         effects
         noroom auto-b-group-1 full
         wait 1
         effects",
        "deleting
         ensure auto-b-group-1 2
         ensure auto-b-group-1 3, ensure auto-c-group-1 2",
    );
}

#[test]
fn prepaid_machines_come_from_the_operator_and_use_no_quota() {
    check(
        "options machines 1
         cluster C w*0; prepaid
         later 1
         cluster D w*0; prepaid
         cluster E w*1
         prepaid 1 t 2
         show C
         show D
         change C w size 1
         twice change C w size 0
         call
         drop c-w-1
         twice prepaid 1 t 1
         show C
         prepaid 2 t 9
         remove C
         gone c-w-1
         show D
         job J on D: a
         finish all
         show J",
        "C Active; w of 2: c-w-1 Starting, c-w-2 Starting
         D Active; w of 0:
         refused: DesiredVMCount: group `w` is prepaid: its size is what the operator set aside
         refused: DesiredVMCount: the machine is prepaid; the operator sets how many there are
         C Active; w of 1: c-w-1 Deleting (the group was made smaller), c-w-2 Running
         deleting
         D Active; w of 1: d-w-1 Starting
         J Finished; a Finished: Finished",
    );
}

#[test]
fn an_automatic_cluster_of_prepaid_machines_is_as_large_as_what_is_set_aside() {
    check(
        "job J on auto prepaid: a*3
         why J
         prepaid 1 t 2
         show auto-a
         prepaid 1 t 5
         show auto-a
         finish all
         show J",
        "task `a` waits for machines: all that the operator set aside for the account are taken
         auto-a Active; group of 2: auto-a-group-1 Starting, auto-a-group-2 Starting
         auto-a Active; group of 3: auto-a-group-1 Starting, auto-a-group-2 Starting, auto-a-group-3 Starting
         J Finished; a Finished: Finished Finished Finished",
    );
}

#[test]
fn each_quota_is_the_accounts_own_and_says_what_is_used() {
    check(
        "quota 1 machines 2, cores 10, jobs 2, instances 5
         cluster C w*1; type big
         cluster D w*2
         cluster D w*1; type big
         resize C w*2
         change C w type t
         resize C w*2
         cluster E w*9 by 2
         job J on C: a*3
         job K on C: a*3
         job K on C: a*2
         job L on C: a*1
         stop K
         delete K
         job L on C: a*1
         quota 1 machines 1
         resize C w*1
         resize C w*2
         twice quota 1 none",
        "refused: quota exhausted: machines of an account: the limit is 2, 1 are in use
         refused: quota exhausted: cores of an account: the limit is 10, 8 are in use
         refused: quota exhausted: cores of an account: the limit is 10, 8 are in use
         refused: quota exhausted: instances of an account: the limit is 5, 3 are in use
         refused: quota exhausted: jobs of an account: the limit is 2, 2 are in use
         refused: quota exhausted: machines of an account: the limit is 1, 1 are in use",
    );
}

#[test]
fn automatic_clusters_grow_when_their_owner_may_have_more() {
    check(
        "quota 1 cores 4
         job J on auto: a*3
         show auto-a
         quota 1 none
         show auto-a",
        "auto-a Active; group of 2: auto-a-group-1 Starting, auto-a-group-2 Starting
         auto-a Active; group of 3: auto-a-group-1 Starting, auto-a-group-2 Starting, auto-a-group-3 Starting",
    );
}
