//! Drives a large world and prints what it did, as JSON; `cargo xtask bench plan` starts it.
//!
//! ```text
//! large flat  SEED CLUSTERS MACHINES SLOTS INSTANCES BUDGET
//! large graph SEED TASKS INSTANCES
//! ```

#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // it measures; the world it drives has no clock

use gristmill_sim::{Large, LargeSetup};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

/// How many placements a pass of the graph may make, as in the server.
const BUDGET: usize = 4_096;
/// How often a pass with nothing to do is timed.
const IDLE_PASSES: usize = 10_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u32>> = words.iter().skip(1).map(|word| word.parse().ok()).collect();
    match (words.first().map(String::as_str), numbers.as_deref()) {
        (Some("flat"), Some(&[seed, clusters, machines, slots, instances, budget])) => {
            let setup =
                LargeSetup { seed: seed.into(), clusters, machines, slots, lost_per_mille: 10 };
            flat(setup, instances / clusters, budget as usize)
        }
        (Some("graph"), Some(&[seed, tasks, instances])) => graph(seed.into(), tasks, instances),
        _ => {
            eprintln!(
                "large flat SEED CLUSTERS MACHINES SLOTS INSTANCES BUDGET | graph SEED TASKS INSTANCES"
            );
            ExitCode::from(2)
        }
    }
}

/// Times of the passes.
#[derive(Default)]
struct Times {
    plans: Vec<Duration>,
    placing: Duration,
    others: Duration,
    placed: u64,
}

fn flat(setup: LargeSetup, instances: u32, budget: usize) -> ExitCode {
    let mut large = Large::new(setup);
    large.submit_to_each(instances);
    let idle = idle_pass(&large_at_rest(setup));
    let mut times = Times::default();
    loop {
        loop {
            let since = Instant::now();
            let proposals = large.plan(budget);
            times.plans.push(since.elapsed());
            if proposals.is_empty() {
                break;
            }
            times.placed += proposals.iter().map(|it| u64::from(it.instances.len())).sum::<u64>();
            let since = Instant::now();
            large.place(proposals);
            times.placing += since.elapsed();
        }
        let since = Instant::now();
        let more = large.advance();
        times.others += since.elapsed();
        if !more {
            break;
        }
    }
    let planning: Duration = times.plans.iter().sum();
    let passes = times.plans.len();
    times.plans.sort();
    let at = |part: f64| times.plans[((passes - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    let (digest, events) = large.trace();
    println!(
        "{{\"done\":{},\"placed\":{},\"passes\":{passes},\"planning_s\":{:.6},\"placing_s\":{:.6},\"others_s\":{:.6},\
         \"pass_p50_us\":{:.1},\"pass_p99_us\":{:.1},\"pass_max_us\":{:.1},\"idle_pass_us\":{idle:.3},\
         \"virtual_s\":{},\"events\":{events},\"digest\":\"{digest:016x}\"}}",
        large.is_done(),
        times.placed,
        planning.as_secs_f64(),
        times.placing.as_secs_f64(),
        times.others.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        large.seconds(),
    );
    ExitCode::from(u8::from(!large.is_done()))
}

/// The same world with every machine full: nothing can be placed although very much waits.
fn large_at_rest(setup: LargeSetup) -> Large {
    let mut large = Large::new(setup);
    large.submit_to_each(setup.machines * setup.slots * 2);
    while let Some(proposals) = Some(large.plan(BUDGET)).filter(|it| !it.is_empty()) {
        large.place(proposals);
    }
    large
}

/// Microseconds of a pass that finds nothing to do.
fn idle_pass(large: &Large) -> f64 {
    let since = Instant::now();
    let proposed: usize = (0..IDLE_PASSES).map(|_| large.plan(BUDGET).len()).sum();
    assert_eq!(proposed, 0, "every machine is full");
    since.elapsed().as_secs_f64() * 1e6 / IDLE_PASSES as f64
}

fn graph(seed: u64, tasks: u32, instances: u32) -> ExitCode {
    let setup = LargeSetup { seed, clusters: 10, machines: 100, slots: 8, lost_per_mille: 10 };
    let mut large = Large::new(setup);
    large.submit_graph(tasks, instances);
    loop {
        while let Some(proposals) = Some(large.plan(BUDGET)).filter(|it| !it.is_empty()) {
            large.place(proposals);
        }
        if !large.advance() {
            break;
        }
    }
    let (digest, events) = large.trace();
    println!(
        "{{\"done\":{},\"virtual_s\":{},\"events\":{events},\"digest\":\"{digest:016x}\"}}",
        large.is_done(),
        large.seconds()
    );
    ExitCode::from(u8::from(!large.is_done()))
}
