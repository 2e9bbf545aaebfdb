//! Where the time goes: histograms of the mill and of instances, for `/metrics`.
//!
//! A histogram is a row of counters, so a measurement costs two additions and keeps nothing. (The
//! exporter behind the `metrics` facade keeps every sample until somebody asks, which a million
//! instances would feel.) They belong to the process, like its other counters. Times that machines
//! measure come as spans, so it does not matter whose clock is right.
//!
//! Start at [`Measures`]; [`MEASURES`] is filled by the mill and the sessions.

use gristmill_wire::agent::Report;
use std::{
    fmt::Write,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets, microseconds, and as Prometheus writes them, seconds.
const BOUNDS: [(u64, &str); 17] = [
    (100, "0.0001"),
    (300, "0.0003"),
    (1_000, "0.001"),
    (3_000, "0.003"),
    (10_000, "0.01"),
    (30_000, "0.03"),
    (100_000, "0.1"),
    (300_000, "0.3"),
    (1_000_000, "1"),
    (3_000_000, "3"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (100_000_000, "100"),
    (300_000_000, "300"),
    (1_000_000_000, "1000"),
    (10_000_000_000, "10000"),
    (100_000_000_000, "100000"),
];

/// How many measurements were how long.
pub struct Histogram {
    /// One for each bound, and one for what is beyond.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    const fn new() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            sum_micros: AtomicU64::new(0),
        }
    }

    /// Notes that something took so long.
    pub fn note(&self, took: Duration) {
        self.note_all(took, 1);
    }

    /// Notes that so many things took so long each.
    pub fn note_all(&self, took: Duration, count: u64) {
        self.note_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), count);
    }

    /// Notes that so many things took so many microseconds each.
    pub fn note_micros(&self, micros: u64, count: u64) {
        let place = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        self.counts[place].fetch_add(count, Relaxed);
        self.sum_micros.fetch_add(micros.saturating_mul(count), Relaxed);
    }

    /// The lines of one series. `label` is empty or `name="value",`.
    fn render(&self, text: &mut String, name: &str, label: &str) {
        let mut seen = 0;
        let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (count, bound) in self.counts.iter().zip(bounds) {
            seen += count.load(Relaxed);
            line(text, format_args!("{name}_bucket{{{label}le=\"{bound}\"}} {seen}"));
        }
        let label = label.trim_end_matches(',');
        let braces = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let sum = self.sum_micros.load(Relaxed) as f64 / 1e6;
        line(text, format_args!("{name}_sum{braces} {sum}"));
        line(text, format_args!("{name}_count{braces} {seen}"));
    }
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(text, "{words}").expect("writing to a string succeeds");
}

/// Everything that is measured.
pub struct Measures {
    /// From when an instance could have run to when it was placed.
    pub queue: Histogram,
    /// From when a machine heard of it to when it had a place to run.
    placement: Histogram,
    /// Package, inputs, sandbox: until the program started.
    start: Histogram,
    /// The program.
    run: Histogram,
    /// Outputs and logs, until the machine had sent them.
    upload: Histogram,
    /// From when the server heard of the end to when that was durable.
    commit: Histogram,
    /// A turn of the mill: from the batch to the answers.
    pub pass: Histogram,
    /// The commit of a turn, the disk included.
    pub turn_commit: Histogram,
    /// How long a checkpoint held the mill up.
    pub checkpoint: Histogram,
    /// Requests that waited when the mill last looked.
    inbox: AtomicI64,
}

/// What this process measured since it started.
pub static MEASURES: Measures = Measures {
    queue: Histogram::new(),
    placement: Histogram::new(),
    start: Histogram::new(),
    run: Histogram::new(),
    upload: Histogram::new(),
    commit: Histogram::new(),
    pass: Histogram::new(),
    turn_commit: Histogram::new(),
    checkpoint: Histogram::new(),
    inbox: AtomicI64::new(0),
};

impl Measures {
    /// Notes how many requests wait for the mill.
    pub fn note_inbox(&self, waiting: usize) {
        self.inbox.store(i64::try_from(waiting).unwrap_or(i64::MAX), Relaxed);
    }

    /// Notes what a machine says of runs that ended.
    pub fn note_reports(&self, reports: &[Report]) {
        for report in reports {
            let Some(end) = &report.end else { continue };
            if let Some(spans) = &end.spans {
                self.placement.note_micros(spans.waited_micros, 1);
                self.upload.note_micros(spans.kept_micros, 1);
                if report.started != 0 {
                    self.start.note_micros(spans.prepared_micros, 1);
                }
            }
            if report.started != 0 {
                let ran = u64::try_from(end.at.saturating_sub(report.started)).unwrap_or(0);
                self.run.note_micros(ran, 1);
            }
        }
    }

    /// Notes how long it took until so many ends were durable.
    pub fn note_durable(&self, took: Duration, ends: usize) {
        self.commit.note_all(took, ends as u64);
    }

    /// As Prometheus reads it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let name = "gristmill_instance_seconds";
        head(&mut text, name, "histogram", "Where the time of instances goes, by phase.");
        let phases = [
            ("queue", &self.queue),
            ("placement", &self.placement),
            ("start", &self.start),
            ("run", &self.run),
            ("upload", &self.upload),
            ("commit", &self.commit),
        ];
        for (phase, histogram) in phases {
            histogram.render(&mut text, name, &format!("phase=\"{phase}\","));
        }
        for (name, words, histogram) in [
            ("gristmill_mill_pass_seconds", "A turn of the mill.", &self.pass),
            ("gristmill_mill_commit_seconds", "The commit of a turn.", &self.turn_commit),
            (
                "gristmill_checkpoint_seconds",
                "How long checkpoints hold the mill up.",
                &self.checkpoint,
            ),
        ] {
            head(&mut text, name, "histogram", words);
            histogram.render(&mut text, name, "");
        }
        let name = "gristmill_mill_inbox";
        head(&mut text, name, "gauge", "Requests that waited when the mill last looked.");
        line(&mut text, format_args!("{name} {}", self.inbox.load(Relaxed)));
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, words: &str) {
    line(text, format_args!("# HELP {name} {words}"));
    line(text, format_args!("# TYPE {name} {kind}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_up_and_a_measurement_on_a_bound_is_within_it() {
        let histogram = Histogram::new();
        histogram.note(Duration::from_micros(100));
        histogram.note_micros(101, 2);
        histogram.note_micros(u64::MAX, 1);
        let mut text = String::new();
        histogram.render(&mut text, "name", "phase=\"run\",");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "name_bucket{phase=\"run\",le=\"0.0001\"} 1");
        assert_eq!(lines[1], "name_bucket{phase=\"run\",le=\"0.0003\"} 3");
        assert_eq!(lines[16], "name_bucket{phase=\"run\",le=\"100000\"} 3");
        assert_eq!(lines[17], "name_bucket{phase=\"run\",le=\"+Inf\"} 4");
        assert_eq!(lines[19], "name_count{phase=\"run\"} 4");
    }

    #[test]
    fn every_series_is_described_and_has_a_sum() {
        let text = MEASURES.render();
        for name in [
            "gristmill_instance_seconds",
            "gristmill_mill_pass_seconds",
            "gristmill_mill_commit_seconds",
            "gristmill_checkpoint_seconds",
        ] {
            assert!(text.contains(&format!("# TYPE {name} histogram\n")), "{name}");
            assert!(text.contains(&format!("\n{name}_sum")), "{name}");
        }
        for phase in ["queue", "placement", "start", "run", "upload", "commit"] {
            assert!(text.contains(&format!("_count{{phase=\"{phase}\"}}")), "{phase}");
        }
        assert!(text.contains("# TYPE gristmill_mill_inbox gauge\n"));
    }
}
