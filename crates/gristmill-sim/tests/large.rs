//! Large worlds, as large as a test may be. `cargo xtask bench plan` runs whole ones.

use gristmill_sim::{Large, LargeSetup};

const BUDGET: usize = 4_096;

fn drive(large: &mut Large) {
    loop {
        while let Some(proposals) = Some(large.plan(BUDGET)).filter(|it| !it.is_empty()) {
            large.place(proposals);
        }
        if !large.advance() {
            return;
        }
    }
}

fn graph(seed: u64, instances: u32) -> Large {
    let setup = LargeSetup { seed, clusters: 4, machines: 25, slots: 4, lost_per_mille: 100 };
    let mut large = Large::new(setup);
    large.submit_graph(100, instances);
    drive(&mut large);
    large
}

#[test]
fn a_random_graph_of_a_hundred_tasks_finishes_although_machines_are_lost() {
    let large = graph(1, 50);
    assert!(large.is_done());
    assert_eq!(large.counts(), (0, 0));
    assert_eq!(large.check(), Ok(()));
}

#[test]
fn a_trace_depends_on_nothing_but_the_seed() {
    assert_eq!(graph(5, 20).trace(), graph(5, 20).trace());
    assert_ne!(graph(5, 20).trace(), graph(6, 20).trace());
}

/// A hundred tasks of ten thousand instances. Pinned, so that each machine that runs this test compares itself with the one it was written
/// on. A change of the core's decisions changes it: take the new one over when that was meant.
#[test]
fn the_trace_is_the_same_on_every_machine() {
    let (digest, events) = graph(1, 10_000).trace();
    assert_eq!((format!("{digest:016x}").as_str(), events), ("c2701982529f22f3", 1_990_715));
}
