//! Measures the store on the disk it is pointed at: commits and events a second by batch size,
//! checkpoint, restart, and a page of attempts.
//!
//! `cargo run -p gristmill-store --example commit_rate -- DIR`. DIR must be empty or missing; it is
//! left as it is afterwards, so that its size can be looked at.

use gristmill_model::{
    Event, InstanceNo, JobId, RunId, RunOutcome, TaskName, Timestamp, WorkerId, event::AfterRun,
};
use gristmill_store::{Batch, Checkpoint, Store, StoreError, StoreOptions};
use std::{env, path::Path, time::Instant};

const JOB: JobId = JobId(1);

fn task() -> TaskName {
    "count".parse().expect("a legal name")
}

/// What one short instance adds to the journal: placed, started, ended.
fn a_life(run: u64) -> [Event; 3] {
    let (run, job, instance) = (RunId(run), JOB, InstanceNo(run as u32));
    let (worker, at) = (WorkerId(36), Timestamp(1_500_000_000_123_456));
    let generation = gristmill_model::Generation(1);
    [
        Event::RunPlaced { run, job, task: task(), instance, worker, generation, at },
        Event::RunStarted { run, job, task: task(), instance, at },
        Event::RunEnded {
            run,
            job,
            task: task(),
            instance,
            worker,
            address: "10.0.0.7".into(),
            retries: 0,
            outcome: RunOutcome::Exited { code: 0 },
            detail: String::new(),
            started: Some(at),
            ended: at,
            after: AfterRun::Finished,
        },
    ]
}

/// Commits `batches` batches of `lives` instances each; returns the next run.
fn commit(store: &mut Store, first: u64, batches: u64, lives: u64) -> Result<u64, StoreError> {
    let mut run = first;
    let mut longest = 0.0_f64;
    let start = Instant::now();
    for _ in 0..batches {
        let events: Vec<_> = (run..run + lives).flat_map(a_life).collect();
        let began = Instant::now();
        store.commit(&Batch { events: &events, effects: &[], archived: &[], at: Timestamp(1) })?;
        longest = longest.max(began.elapsed().as_secs_f64());
        run += lives;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "batches of {:>5} events: {:>7.0} commits/s {:>9.0} events/s, longest commit {:.1} ms",
        3 * lives,
        batches as f64 / seconds,
        (3 * batches * lives) as f64 / seconds,
        longest * 1e3
    );
    Ok(run)
}

fn main() -> Result<(), StoreError> {
    let dir = env::args_os().nth(1).expect("the directory is the first argument");
    let dir = Path::new(&dir);
    let (mut store, _) = Store::open(dir, &StoreOptions::default())?;
    let mut run = 1;
    for (batches, lives) in [(1_000, 1), (500, 5), (200, 85), (50, 1_365)] {
        run = commit(&mut store, run, batches, lives)?;
    }
    drop(store);

    let start = Instant::now();
    let (mut store, recovered) = Store::open(dir, &StoreOptions::default())?;
    println!("restart with {} events: {:.0?}", recovered.events.len(), start.elapsed());

    let readers = store.readers();
    let start = Instant::now();
    let page = readers.last_attempts_in(JOB, &task(), 40_000..41_000)?;
    println!("first page of {} attempts: {:.1?}", page.len(), start.elapsed());
    let start = Instant::now();
    let page = readers.last_attempts_in(JOB, &task(), 50_000..51_000)?;
    println!("next page of {} attempts: {:.1?}", page.len(), start.elapsed());

    let upserts = (0..1_000).map(|key| (format!("job/{key}"), vec![b'x'; 10_000])).collect();
    let through = store.last_seq();
    let start = Instant::now();
    store.checkpoint(&Checkpoint { upserts, through, ..Checkpoint::default() })?;
    println!("checkpoint of 1,000 x 10 kB and cut of the journal: {:.0?}", start.elapsed());

    let deleted = [Event::JobDeleted { job: JOB }];
    store.commit(&Batch { events: &deleted, effects: &[], archived: &[], at: Timestamp(1) })?;
    let start = Instant::now();
    let purged = store.purge(1_000)?;
    println!("purge of {} attempts: {:.1?}", purged.attempts, start.elapsed());
    Ok(())
}
