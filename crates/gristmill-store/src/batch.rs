//! The written form of a batch of events: format 2 of the journal.
//!
//! ```text
//! record  = 2  count  event*
//! event   = 0  length  JSON of the event         every kind
//!         | 1  RunsPlaced    | 2  RunsFinished  | 3  RunStarted
//! ```
//!
//! What happens a million times has a form of its own, in which numbers are steps from the ones before;
//! everything else is the serde form of `model::Event` (format 1), so that kinds and members can be
//! added without touching this file. A form is never changed; a new one gets a new number.
//! `tests/golden/batch-v2.hex` holds one of each.

use crate::{
    bytes::{Damaged, Reader, Writer},
    error::StoreError,
    journal,
};
use gristmill_model::{
    Event, FinishedRun, Generation, InstanceNo, JobId, RangeSet, RunId, TaskName, Timestamp,
    WorkerId,
};

/// The first byte of a record.
const FORMAT: u8 = 2;

const JSON: u8 = 0;
const PLACED: u8 = 1;
const FINISHED: u8 = 2;
const STARTED: u8 = 3;

/// The record of a batch.
pub(crate) fn encode(events: &[Event]) -> Result<Vec<u8>, StoreError> {
    let mut out = Writer::default();
    out.byte(FORMAT);
    out.number(events.len() as u64);
    for event in events {
        write(&mut out, event)?;
    }
    Ok(out.0)
}

/// The events of a record whose first one has the number `seq`.
pub(crate) fn decode(seq: i64, record: &[u8]) -> Result<Vec<Event>, StoreError> {
    let damaged = |source: Damaged| {
        StoreError::corrupt(format!("the batch of event {seq} cannot be read"), source)
    };
    let mut from = Reader(record);
    match from.byte().map_err(damaged)? {
        FORMAT => {}
        other => {
            let what = format!("the batch of event {seq} has the unknown format {other}");
            return Err(StoreError::Corrupt { what, source: None });
        }
    }
    let count = from.number().map_err(damaged)?;
    (0..count.cast_signed()).map(|at| read(&mut from, seq + at)).collect()
}

fn write(out: &mut Writer, event: &Event) -> Result<(), StoreError> {
    match event {
        Event::RunsPlaced { first, job, task, instances, worker, generation, at } => {
            write_head(out, PLACED, *job, task);
            out.id(worker.0);
            out.number(generation.0.into());
            out.signed(at.0);
            out.number(first.0);
            out.number(instances.ranges().len() as u64);
            let mut last = 0;
            for range in instances.ranges() {
                out.step(&mut last, range.start.into());
                out.number(u64::from(range.end - range.start));
            }
        }
        Event::RunsFinished { job, task, worker, address, runs } => {
            write_head(out, FINISHED, *job, task);
            out.id(worker.0);
            out.text(address.as_bytes());
            out.number(runs.len() as u64);
            let mut last = (0, 0, 0);
            for one in runs {
                out.step(&mut last.0, one.run.0);
                out.step(&mut last.1, one.instance.0.into());
                out.step(&mut last.2, one.started.0.cast_unsigned());
                out.signed(one.ended.0.wrapping_sub(one.started.0));
            }
        }
        Event::RunStarted { run, job, task, instance, at } => {
            write_head(out, STARTED, *job, task);
            out.number(run.0);
            out.number(instance.0.into());
            out.signed(at.0);
        }
        _ => {
            out.byte(JSON);
            out.text(journal::encode_event(event)?.as_bytes());
        }
    }
    Ok(())
}

fn write_head(out: &mut Writer, form: u8, job: JobId, task: &TaskName) {
    out.byte(form);
    out.id(job.0);
    out.text(task.as_str().as_bytes());
}

fn read(from: &mut Reader<'_>, seq: i64) -> Result<Event, StoreError> {
    let damaged =
        |source: Damaged| StoreError::corrupt(format!("event {seq} cannot be read"), source);
    let form = from.byte().map_err(damaged)?;
    if form == JSON {
        return journal::decode_event(seq, journal::FORMAT, from.str().map_err(damaged)?);
    }
    read_run(from, form).map_err(damaged)
}

fn read_run(from: &mut Reader<'_>, form: u8) -> Result<Event, Damaged> {
    let job = JobId(from.id()?);
    let task: TaskName = from.str()?.parse().map_err(|_| Damaged)?;
    Ok(match form {
        PLACED => {
            let (worker, generation) = (WorkerId(from.id()?), Generation(from.small()?));
            let (at, first) = (Timestamp(from.signed()?), RunId(from.number()?));
            let (mut instances, mut last) = (RangeSet::default(), 0);
            for _ in 0..from.number()? {
                let start = u32::try_from(from.step(&mut last)?).map_err(|_| Damaged)?;
                let end = start.checked_add(from.small()?).ok_or(Damaged)?;
                instances.push(start..end);
            }
            Event::RunsPlaced { first, job, task, instances, worker, generation, at }
        }
        FINISHED => {
            let (worker, address) = (WorkerId(from.id()?), from.str()?.to_owned());
            let (count, mut last) = (from.number()?, (0, 0, 0));
            let mut runs = Vec::new();
            for _ in 0..count {
                let run = RunId(from.step(&mut last.0)?);
                let instance = u32::try_from(from.step(&mut last.1)?).map_err(|_| Damaged)?;
                let started = Timestamp(from.step(&mut last.2)?.cast_signed());
                let ended = Timestamp(started.0.wrapping_add(from.signed()?));
                runs.push(FinishedRun { run, instance: InstanceNo(instance), started, ended });
            }
            Event::RunsFinished { job, task, worker, address, runs }
        }
        STARTED => Event::RunStarted {
            run: RunId(from.number()?),
            instance: InstanceNo(from.small()?),
            at: Timestamp(from.signed()?),
            job,
            task,
        },
        _ => return Err(Damaged),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each form as it was first written. Lines are added, never changed.
    const GOLDEN: &str = include_str!("../tests/golden/batch-v2.hex");

    fn events() -> Vec<Event> {
        let job = JobId(0x0006_0000_0000_0000_0000_0000_0000_0001);
        let task: TaskName = "count".parse().expect("a legal name");
        let (worker, at) = (WorkerId(36), Timestamp(1_500_000_000_123_456));
        let finished = |(run, instance)| FinishedRun {
            run: RunId(run),
            instance: InstanceNo(instance),
            started: Timestamp(at.0 + i64::from(instance)),
            ended: Timestamp(at.0 + 1_500),
        };
        vec![
            Event::RunsPlaced {
                first: RunId(4),
                job,
                task: task.clone(),
                instances: [3, 4, 7].into_iter().collect(),
                worker,
                generation: Generation(1),
                at,
            },
            Event::RunStarted {
                run: RunId(4),
                job,
                task: task.clone(),
                instance: InstanceNo(3),
                at,
            },
            Event::RunsFinished {
                job,
                task,
                worker,
                address: "10.0.0.7".into(),
                runs: [(4, 3), (6, 7), (9, 2)].map(finished).into(),
            },
            Event::JobStopped { job, at },
        ]
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn batches_written_by_older_releases_can_be_read() {
        for line in GOLDEN.lines() {
            assert_eq!(decode(1, &bytes(line)).expect("readable"), events());
        }
        let written = encode(&events()).expect("written");
        let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(GOLDEN.lines().any(|line| line == hex), "this version writes:\n{hex}");
    }

    #[test]
    fn whatever_is_cut_off_is_damage() {
        let whole = encode(&events()).expect("written");
        for length in 0..whole.len() {
            assert!(decode(1, &whole[..length]).is_err(), "{length} bytes of {}", whole.len());
        }
    }
}
