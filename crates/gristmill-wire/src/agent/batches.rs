//! Many runs in one message, and back to one by one. Agents are not trusted: columns of unequal
//! length and numbers out of range are an error, not a panic.

use super::{BadReport, Finished, Run, Runs};
use gristmill_model::{RangeSet, RunId, RunOutcome, RunReport, Timestamp};

/// The most runs one message may speak of.
const RUNS_MAX: usize = 65_536;

impl Finished {
    /// Adds a run that ended with exit code 0. Times in microseconds since 1970.
    pub fn push(&mut self, last: &mut FinishedLast, run: u64, started: i64, ended: i64) {
        self.runs.push(run.cast_signed().wrapping_sub(last.run));
        self.started.push(started.wrapping_sub(last.started));
        self.took.push(u64::try_from(ended.saturating_sub(started)).unwrap_or(0));
        *last = FinishedLast { run: run.cast_signed(), started };
    }

    /// The same as reports, one for each run.
    pub fn into_reports(self) -> Result<Vec<RunReport>, BadReport> {
        let Self { runs, started, took } = self;
        let count = runs.len();
        if count > RUNS_MAX || started.len() != count || took.len() != count {
            return Err(BadReport { what: "number of runs", value: count.to_string() });
        }
        let mut last = FinishedLast::default();
        let report = |((run, started), took): ((i64, i64), u64)| {
            last.run = last.run.wrapping_add(run);
            last.started = last.started.wrapping_add(started);
            RunReport::Ended {
                run: RunId(last.run.cast_unsigned()),
                started: Some(Timestamp(last.started)),
                ended: Timestamp(last.started.saturating_add_unsigned(took)),
                outcome: RunOutcome::Exited { code: 0 },
                detail: String::new(),
            }
        };
        Ok(runs.into_iter().zip(started).zip(took).map(report).collect())
    }
}

/// What the next run of a [`Finished`] is compared with; starts as zeros.
#[derive(Debug, Clone, Copy, Default)]
pub struct FinishedLast {
    run: i64,
    started: i64,
}

impl Runs {
    /// Runs from `first` on of these instances.
    pub fn new(first: RunId, task: u32, instances: &RangeSet) -> Self {
        let pairs =
            instances.ranges().iter().flat_map(|range| [range.start, range.end - range.start]);
        Self { first: first.0, task, instances: pairs.collect() }
    }

    /// The same one by one. A server is trusted not to send more than it means.
    pub fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        let instances = self
            .instances
            .chunks_exact(2)
            .flat_map(|pair| pair[0]..pair[0].saturating_add(pair[1]));
        let task = self.task;
        (self.first..).zip(instances).map(move |(run, instance)| Run { run, task, instance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_reports_reads_back_as_what_was_put_in() {
        let (mut batch, mut last) = (Finished::default(), FinishedLast::default());
        let ended = [(7, 1_000, 1_500), (9, 900, 900), (8, -5, 40)];
        for (run, started, ended) in ended {
            batch.push(&mut last, run, started, ended);
        }
        let reports = batch.into_reports().expect("sound");
        let read = reports.into_iter().map(|report| match report {
            RunReport::Ended { run, started: Some(started), ended, .. } => {
                (run.0, started.0, ended.0)
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(read.collect::<Vec<_>>(), ended);
    }

    #[test]
    fn columns_of_unequal_length_are_refused() {
        let lame = Finished { runs: vec![1, 1], started: vec![1], took: vec![1, 1] };
        assert!(lame.into_reports().is_err());
        let wild = Finished { runs: vec![-1], started: vec![i64::MAX], took: vec![u64::MAX] };
        assert_eq!(wild.into_reports().expect("sound enough").len(), 1);
    }

    #[test]
    fn a_batch_of_runs_is_the_runs_one_by_one() {
        let instances: RangeSet = [3, 4, 9].into_iter().collect();
        let runs: Vec<_> = Runs::new(RunId(20), 2, &instances).iter().collect();
        let run = |run, instance| Run { run, task: 2, instance };
        assert_eq!(runs, [run(20, 3), run(21, 4), run(22, 9)]);
    }
}
