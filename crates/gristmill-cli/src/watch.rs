//! Watches a job until it ends: a live table on a terminal, changes line by line elsewhere.
//!
//! [`Watch::run`] follows the job's events, or polls where the service has none. What is drawn is a
//! pure function of what was seen ([`table_of`], [`changes`]), so the tests need no terminal.
//!
//! Invariant: every task's last state is printed, also when it changed between two looks.

use crate::{
    client::{Client, ClientError, Job, JobEvent, JobEvents, Task},
    dag,
    environment::Environment,
    moment,
    output::Output,
    table,
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use unicode_width::UnicodeWidthStr;

/// How many looks in a row may find the service away before watching ends; with the client's own
/// tries this outlasts the restart of a server.
const LOOKS_LOST_MAX: u32 = 20;
/// How long between two looks at first, and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A job being watched.
pub struct Watch<'a> {
    client: &'a Client,
    env: &'a Environment,
    job: &'a str,
}

/// How a stream of events ended.
enum Told {
    /// With the last one.
    End,
    /// It broke.
    NoMore,
}

/// What one look saw.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The job.
    pub job: Job,
    /// Its tasks.
    pub tasks: Vec<Task>,
}

impl<'a> Watch<'a> {
    /// Nothing is asked yet.
    pub fn new(client: &'a Client, env: &'a Environment, job: &'a str) -> Self {
        Self { client, env, job }
    }

    /// Watches until the job has ended, and returns how it ended. Asks for its description unless the
    /// caller has it.
    pub async fn run(
        &self,
        description: Option<&Value>,
        out: &mut Output,
    ) -> Result<Seen, ClientError> {
        let mut screen = Screen::new(out.live);
        let mut before = Seen::default();
        let order = match description {
            Some(description) => order(description),
            None => order(&self.client.get_description(self.job).await?),
        };
        while let Ok(events) = self.client.follow_job(self.job).await {
            match self.follow(events, &order, &mut before, &mut screen, out).await {
                Told::End if before.job.has_ended() => return Ok(before),
                // It was deleted; asking for it is what says so.
                Told::End => break,
                // The service may be about to stop, and break the next one at once, too.
                Told::NoMore => tokio::time::sleep(PAUSE_FIRST).await,
            }
        }
        self.poll(&order, before, &mut screen, out).await
    }

    /// Takes events until the end of the job, or until the stream breaks.
    async fn follow(
        &self,
        mut events: JobEvents,
        order: &[String],
        before: &mut Seen,
        screen: &mut Screen,
        out: &mut Output,
    ) -> Told {
        let places: BTreeMap<&str, usize> =
            order.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let mut tasks: BTreeMap<usize, Task> = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                JobEvent::Task(task) => {
                    let place = places.get(task.task_name.as_str());
                    tasks.insert(place.copied().unwrap_or(order.len()), task);
                }
                JobEvent::Job(job) => {
                    let seen = Seen { job, tasks: tasks.values().cloned().collect() };
                    screen.show(&seen, &changes(before, &seen), out);
                    *before = seen;
                }
                JobEvent::End => {
                    screen.close();
                    return Told::End;
                }
            }
        }
        Told::NoMore
    }

    async fn poll(
        &self,
        order: &[String],
        mut before: Seen,
        screen: &mut Screen,
        out: &mut Output,
    ) -> Result<Seen, ClientError> {
        let mut pause = PAUSE_FIRST;
        let mut lost = 0;
        loop {
            let seen = match self.look(order).await {
                Err(error) if error.is_transient() && lost < LOOKS_LOST_MAX => {
                    lost += 1;
                    tokio::time::sleep(PAUSE_MAX).await;
                    continue;
                }
                looked => looked?,
            };
            lost = 0;
            let lines = changes(&before, &seen);
            pause = if lines.is_empty() { (pause * 3 / 2).min(PAUSE_MAX) } else { PAUSE_FIRST };
            screen.show(&seen, &lines, out);
            if seen.job.has_ended() {
                screen.close();
                return Ok(seen);
            }
            before = seen;
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&self, order: &[String]) -> Result<Seen, ClientError> {
        // The job first: when it has ended, the tasks read after it have ended too.
        let job = self.client.get_job(self.job).await?;
        let mut tasks = self.client.list_tasks(self.job).await?;
        tasks.sort_by_key(|task| order.iter().position(|name| *name == task.task_name));
        Ok(Seen { job, tasks })
    }

    /// The tasks as a table, for after the end.
    pub fn table(&self, seen: &Seen) -> String {
        table_of(seen, self.env)
    }
}

/// The names of the tasks as they run. A job without dependencies keeps the service's order.
fn order(description: &Value) -> Vec<String> {
    let dag = &description["DAG"];
    let tasks = dag["Tasks"].as_object().into_iter().flatten();
    let names: Vec<String> = tasks.map(|(name, _)| name.clone()).collect();
    let after = serde_json::from_value(dag["Dependencies"].clone()).unwrap_or_default();
    dag::stages(&names, &after).concat()
}

/// The tasks with their states and counts.
pub fn table_of(seen: &Seen, env: &Environment) -> String {
    let rows: Vec<Vec<String>> = seen
        .tasks
        .iter()
        .map(|task| {
            let counts = task.instance_metrics;
            vec![
                task.task_name.clone(),
                task.state.clone(),
                counts.ratio(),
                counts.running.to_string(),
                counts.failed.to_string(),
                moment::elapsed(task.start_time, task.end_time, (env.clock)()),
            ]
        })
        .collect();
    table::table(&["TaskName", "State", "Counts", "Running", "Failed", "Elapsed"], &rows, false)
}

/// A line for everything that is different from the look before.
pub fn changes(before: &Seen, now: &Seen) -> Vec<String> {
    let known: BTreeMap<&str, &Task> =
        before.tasks.iter().map(|task| (task.task_name.as_str(), task)).collect();
    let mut lines: Vec<String> = now
        .tasks
        .iter()
        .filter(|task| {
            known.get(task.task_name.as_str()).is_none_or(|before| {
                (&before.state, before.instance_metrics) != (&task.state, task.instance_metrics)
            })
        })
        .map(|task| {
            let failed = task.instance_metrics.failed;
            let failures = if failed > 0 { format!(" ({failed} failed)") } else { String::new() };
            format!("{} {} {}{failures}", task.task_name, task.state, task.instance_metrics.ratio())
        })
        .collect();
    if before.job.state != now.job.state {
        lines.push(format!("{} {}", now.job.id, now.job.state));
    }
    lines
}

/// Bars on a terminal, lines elsewhere.
struct Screen {
    live: bool,
    bars: MultiProgress,
    tasks: BTreeMap<String, ProgressBar>,
}

impl Screen {
    fn new(live: bool) -> Self {
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { live, bars: MultiProgress::with_draw_target(target), tasks: BTreeMap::new() }
    }

    fn show(&mut self, seen: &Seen, lines: &[String], out: &mut Output) {
        if !self.live {
            lines.iter().for_each(|line| out.words(line));
            return;
        }
        let width = seen.tasks.iter().map(|task| task.task_name.width()).max().unwrap_or(0);
        for task in &seen.tasks {
            let bar = self.tasks.entry(task.task_name.clone()).or_insert_with(|| {
                let padding = " ".repeat(width.saturating_sub(task.task_name.width()));
                let bar = self.bars.add(ProgressBar::new(0));
                bar.set_style(task_style());
                bar.set_prefix(format!("{}{padding}", task.task_name));
                bar
            });
            let counts = task.instance_metrics;
            bar.set_length(counts.total());
            bar.set_position(counts.ended());
            bar.set_message(format!(
                "{:<8} running {} failed {}",
                task.state, counts.running, counts.failed
            ));
        }
    }

    /// Takes the bars away; the table that follows says the same.
    fn close(&self) {
        self.tasks.values().for_each(ProgressBar::finish_and_clear);
    }
}

fn task_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}")
        .expect("the template is a constant")
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::Counts, environment::tests::nowhere};

    fn seen(job: &str, tasks: &[(&str, &str, u64, u64)]) -> Seen {
        let task = |&(name, state, waiting, finished): &(&str, &str, u64, u64)| Task {
            task_name: name.to_owned(),
            state: state.to_owned(),
            instance_metrics: Counts { waiting, finished, ..Counts::default() },
            ..Task::default()
        };
        let job = Job { id: "job-1".into(), state: job.into(), ..Job::default() };
        Seen { job, tasks: tasks.iter().map(task).collect() }
    }

    #[test]
    fn only_what_changed_is_said() {
        let first = seen("Running", &[("split", "Finished", 0, 1), ("count", "Running", 3, 0)]);
        let second = seen("Running", &[("split", "Finished", 0, 1), ("count", "Running", 1, 2)]);
        assert_eq!(
            changes(&Seen::default(), &first),
            ["split Finished 1/1", "count Running 0/3", "job-1 Running"]
        );
        assert_eq!(changes(&first, &second), ["count Running 2/3"]);
        assert!(changes(&second, &second).is_empty());
    }

    #[test]
    fn failures_are_counted_aloud() {
        let mut failed = seen("Failed", &[("t", "Failed", 0, 0)]);
        failed.tasks[0].instance_metrics.failed = 2;
        assert_eq!(changes(&seen("Failed", &[]), &failed), ["t Failed 2/2 (2 failed)"]);
    }

    #[test]
    fn the_table_names_every_task() {
        let folder = tempfile::tempdir().unwrap();
        let shown = table_of(
            &seen("Running", &[("分割", "Finished", 0, 1), ("b", "Waiting", 2, 0)]),
            &nowhere(folder.path()),
        );
        insta::assert_snapshot!(shown, @r"
        +----------+----------+--------+---------+--------+---------+
        | TaskName | State    | Counts | Running | Failed | Elapsed |
        +----------+----------+--------+---------+--------+---------+
        | 分割     | Finished | 1/1    | 0       | 0      |         |
        | b        | Waiting  | 0/2    | 0       | 0      |         |
        +----------+----------+--------+---------+--------+---------+
        ");
    }
}
