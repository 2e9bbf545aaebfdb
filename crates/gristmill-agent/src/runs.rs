//! The runs this agent holds: what executes, and results nobody has acknowledged.

use crate::work::now;
use gristmill_wire::agent::{Report, Run, RunEnd, Streams, Task};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::sync::{Notify, watch};

/// A run while it is held.
struct Held {
    report: Report,
    unsent: bool,
    /// Set when the server does not want the run any more.
    cancel: watch::Sender<bool>,
    /// Files that receive standard output and standard error, once they exist.
    logs: Option<[PathBuf; 2]>,
    /// Changes when what can be read of it is elsewhere, or complete.
    log_moves: watch::Sender<()>,
}

impl Held {
    fn new(run: u64, cancel: watch::Sender<bool>) -> Self {
        let report = Report { run, ..Report::default() };
        Self { report, unsent: false, cancel, logs: None, log_moves: watch::Sender::new(()) }
    }

    fn move_logs(&mut self, logs: Option<[PathBuf; 2]>) {
        self.logs = logs;
        self.log_moves.send_replace(());
    }
}

/// All runs this agent holds. Shared by the line and the runs' own tasks.
#[derive(Default)]
pub struct Runs {
    held: Mutex<BTreeMap<u64, Held>>,
    /// Rings when there is something to report.
    pub news: Notify,
}

/// A run just begun: what it is, and how it learns that it is not wanted any more.
pub struct Begun {
    /// What is common to the task's runs.
    pub task: Arc<Task>,
    /// Which run.
    pub run: Run,
    /// Becomes true when the run should end.
    pub cancelled: watch::Receiver<bool>,
    /// When this machine was told of it, microseconds since 1970.
    pub taken: i64,
    /// Whether it must not share a turn: its sandbox was lost in one.
    pub alone: bool,
}

impl Begun {
    /// Whether another run may follow this one in its sandbox at once: it is of the same task, which
    /// has nothing that must be made before a program or kept after it but its streams.
    pub fn leads(&self, other: &Self) -> bool {
        let alone = self.alone || other.alone || *other.cancelled.borrow();
        Arc::ptr_eq(&self.task, &other.task) && self.is_plain() && !alone
    }

    /// Whether it moves nothing but its streams, once its package is there.
    fn is_plain(&self) -> bool {
        let Task { inputs, outputs, logs, resident, .. } = &*self.task;
        inputs.is_empty() && outputs.is_empty() && logs.is_empty() && resident.is_none()
    }

    /// Whether there is little to do beside its program.
    pub fn is_light(&self) -> bool {
        self.is_plain() && self.task.package.is_empty()
    }
}

impl Runs {
    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Held>> {
        self.held.lock().expect("no holder of the lock panics")
    }

    /// Takes a run in. `None`: it is held already, the server only said it again.
    pub fn begin(&self, task: Arc<Task>, run: Run) -> Option<Begun> {
        let mut held = self.held();
        if held.contains_key(&run.run) {
            return None;
        }
        let (cancel, cancelled) = watch::channel(false);
        held.insert(run.run, Held::new(run.run, cancel));
        Some(Begun { task, run, cancelled, taken: now(), alone: false })
    }

    /// The ids of all held runs, for `Hello`.
    pub fn ids(&self) -> Vec<u64> {
        self.held().keys().copied().collect()
    }

    /// Where a run's output is written.
    pub fn set_logs(&self, run: u64, logs: [PathBuf; 2]) {
        if let Some(held) = self.held().get_mut(&run) {
            held.move_logs(Some(logs));
        }
    }

    /// The files may serve another run from now on.
    pub fn take_logs(&self, run: u64) {
        if let Some(held) = self.held().get_mut(&run) {
            held.move_logs(None);
        }
    }

    /// Changes from now on when the run's log is elsewhere or complete; closed when the run is
    /// forgotten. `None`: it is not held.
    pub fn log_moves(&self, run: u64) -> Option<watch::Receiver<()>> {
        self.held().get(&run).map(|held| held.log_moves.subscribe())
    }

    /// A run's standard output (1) or standard error (2).
    pub fn log(&self, run: u64, stream: u32) -> Option<Log> {
        let held = self.held();
        let Held { report, logs, .. } = held.get(&run)?;
        let number = usize::try_from(stream).ok()?.checked_sub(1)?;
        if let Some(said) = &report.streams {
            return [&said.stdout, &said.stderr].get(number).map(|said| Log::Said(said.to_vec()));
        }
        match logs {
            Some(logs) => {
                Some(Log::File { file: logs.get(number)?.clone(), over: report.end.is_some() })
            }
            None if report.end.is_none() => Some(Log::NotYet),
            None => None,
        }
    }

    /// The program started at this time (microseconds since 1970). It is news after
    /// [`Runs::announce`], or together with the end.
    pub fn started(&self, run: u64, at: i64) {
        if let Some(held) = self.held().get_mut(&run) {
            held.report.started = at;
        }
    }

    /// When the program started, microseconds since 1970; 0 when it did not.
    pub fn started_at(&self, run: u64) -> i64 {
        self.held().get(&run).map_or(0, |held| held.report.started)
    }

    /// The server should know that the program started.
    pub fn announce(&self, run: u64) {
        if let Some(held) = self.held().get_mut(&run) {
            held.unsent = true;
        }
        self.news.notify_one();
    }

    /// The run is over. A cancelled run has nobody to report to and is forgotten. `streams`: what
    /// the server has to store.
    pub fn ended(&self, run: u64, end: RunEnd, streams: Option<Streams>) {
        let mut all = self.held();
        match all.get_mut(&run) {
            Some(held) if *held.cancel.borrow() => drop(all.remove(&run)),
            Some(held) => {
                held.report.end = Some(end);
                held.report.streams = streams;
                held.unsent = true;
                held.log_moves.send_replace(());
            }
            None => {}
        }
        drop(all);
        self.news.notify_one();
    }

    /// The server does not want this run: a result is forgotten, a program is ended.
    pub fn cancel(&self, run: u64) {
        let mut all = self.held();
        match all.get(&run) {
            Some(held) if held.report.end.is_some() => drop(all.remove(&run)),
            Some(held) => drop(held.cancel.send_replace(true)),
            None => {}
        }
    }

    /// Ends every program, when the agent itself has to end.
    pub fn cancel_all(&self) {
        for held in self.held().values() {
            held.cancel.send_replace(true);
        }
    }

    /// Whether no program runs any more.
    pub fn is_idle(&self) -> bool {
        self.held().values().all(|held| held.report.end.is_some())
    }

    /// These results are durable elsewhere.
    pub fn acknowledge(&self, runs: &[u64]) {
        let mut all = self.held();
        for run in runs {
            if all.get(run).is_some_and(|held| held.report.end.is_some()) {
                all.remove(run);
            }
        }
    }

    /// After a reconnect: whatever was said before may have been lost.
    pub fn say_all_again(&self) {
        for held in self.held().values_mut() {
            held.unsent = held.report.started != 0 || held.report.end.is_some();
        }
        self.news.notify_one();
    }

    /// What has not been said, at most `count` reports, and no more once they hold `bytes` of
    /// streams. They count as said from now on.
    pub fn take_news(&self, count: usize, bytes: usize) -> Vec<Report> {
        let mut all = self.held();
        let (mut news, mut held_bytes) = (Vec::new(), 0);
        for held in all.values_mut().filter(|held| held.unsent) {
            if news.len() == count || held_bytes >= bytes {
                break;
            }
            held.unsent = false;
            let streams = held.report.streams.iter();
            held_bytes += streams.map(|said| said.stdout.len() + said.stderr.len()).sum::<usize>();
            news.push(held.report.clone());
        }
        news
    }
}

/// What a run says on one of its streams.
#[derive(Debug, PartialEq, Eq)]
pub enum Log {
    /// Not here yet: the run waits for its turn, or its end is being put together.
    NotYet,
    /// In a file.
    File {
        /// Which.
        file: PathBuf,
        /// Whether nothing will follow.
        over: bool,
    },
    /// The run is over, and this is all of it.
    Said(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_run(run: u64) -> Run {
        Run { run, task: 1, instance: 0 }
    }

    fn runs_with(ids: &[u64]) -> (Runs, Vec<Begun>) {
        let runs = Runs::default();
        let task = Arc::new(Task::default());
        let begun =
            ids.iter().map(|id| runs.begin(task.clone(), a_run(*id)).expect("new")).collect();
        (runs, begun)
    }

    #[test]
    fn a_run_said_twice_begins_once() {
        let (runs, _begun) = runs_with(&[1]);
        assert!(runs.begin(Arc::default(), a_run(1)).is_none());
        assert_eq!(runs.ids(), [1]);
    }

    #[test]
    fn a_result_is_kept_and_said_again_until_it_is_acknowledged() {
        let (runs, _begun) = runs_with(&[1, 2]);
        runs.started(1, 5);
        runs.ended(1, RunEnd::default(), None);
        assert_eq!(runs.take_news(10, 100).len(), 1);
        assert_eq!(runs.take_news(10, 100), [], "said once on one line");
        runs.say_all_again();
        assert_eq!(runs.take_news(10, 100)[0].run, 1, "said again on the next line");
        runs.acknowledge(&[1, 2]);
        assert_eq!(runs.ids(), [2], "a run that goes on is not forgotten");
    }

    #[test]
    fn a_start_is_news_when_it_is_announced_and_comes_with_the_end_otherwise() {
        let (runs, _begun) = runs_with(&[1, 2]);
        runs.started(1, 5);
        runs.started(2, 6);
        assert_eq!(runs.take_news(10, 100), []);
        runs.announce(1);
        runs.ended(2, RunEnd::default(), None);
        let said: Vec<_> =
            runs.take_news(10, 100).iter().map(|said| (said.started, said.end.is_some())).collect();
        assert_eq!(said, [(5, false), (6, true)]);
    }

    #[test]
    fn a_cancelled_run_ends_silently() {
        let (runs, begun) = runs_with(&[1, 2]);
        runs.cancel(1);
        assert!(*begun[0].cancelled.borrow());
        runs.ended(1, RunEnd::default(), None);
        runs.ended(2, RunEnd::default(), None);
        runs.cancel(2);
        assert_eq!((runs.ids(), runs.take_news(10, 100)), (vec![], vec![]));
    }

    #[test]
    fn long_streams_travel_in_several_messages_and_can_be_read_until_they_have_arrived() {
        let (runs, _begun) = runs_with(&[1, 2, 3]);
        for run in 1..=3 {
            let said = Streams { stdout: vec![b'x'; 60].into(), stderr: "e".into() };
            runs.ended(run, RunEnd::default(), Some(said));
        }
        let sizes: Vec<_> = (0..3).map(|_| runs.take_news(10, 100).len()).collect();
        assert_eq!(sizes, [2, 1, 0]);
        assert_eq!(runs.log(2, 2), Some(Log::Said(b"e".to_vec())));
        runs.acknowledge(&[2]);
        assert_eq!(runs.log(2, 2), None);
    }
}
