//! A few seeds of the simulated world, and bugs that it must find. `cargo xtask sim` runs more.

use gristmill_sim::{Plant, STEPS, Setup, run, run_many, run_with};

#[test]
fn a_hundred_seeds_are_clean() {
    let sum = run_many(0, 100).unwrap_or_else(|failure| panic!("{failure}"));
    // Clean because something happened, not because nothing did.
    assert!(sum.jobs > 500 && sum.results > 1_000, "{sum:?}");
    assert!(sum.restarts > 100 && sum.lost > 100 && sum.jumps > 100, "{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = || run(7, STEPS).expect("a clean seed");
    assert_eq!(trace(), trace());
    assert_ne!(trace().digest, run(8, STEPS).expect("a clean seed").digest);
}

fn found(plant: Plant) -> String {
    let failure =
        (0..20).find_map(|seed| run_with(Setup { seed, steps: STEPS, plant: Some(plant) }).err());
    failure.unwrap_or_else(|| panic!("twenty seeds did not find {plant:?}")).what
}

#[test]
fn a_result_that_is_counted_twice_is_found() {
    assert!(found(Plant::CountTwice).contains("result"));
}

#[test]
fn an_event_that_the_journal_loses_is_found() {
    let what = found(Plant::LoseEvent);
    assert!(what.contains("after a restart") || what.contains("panic"), "{what}");
}

#[test]
fn a_job_that_is_acknowledged_too_early_and_lost_is_found() {
    assert!(found(Plant::AnswerEarly).contains("acknowledged and does not exist"));
}
