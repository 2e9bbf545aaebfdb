//! The rows of the tables: what is shown, where it stands in the raw data, what it has to reach.

use super::in_digits;
use std::fmt;

/// A table of the page.
pub struct Table {
    /// Its name in the mark.
    pub name: &'static str,
    /// Its rows.
    pub rows: &'static [Row],
}

/// A row: a figure and its bar.
pub struct Row {
    /// What it is, with its unit.
    pub label: &'static str,
    /// The file with the raw data.
    pub file: &'static str,
    /// Where in it.
    pub figure: Figure,
    /// Digits behind the point.
    pub digits: usize,
    /// What it has to reach.
    pub bar: Bar,
}

/// Where a figure is: places are JSON pointers.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// `median`, `min` and `max` there.
    Spread(&'static str),
    /// One number.
    Number(&'static str),
    /// One number as a multiple of another.
    Multiple(&'static str, &'static str),
    /// One number of each round as a multiple of another.
    RoundsMultiple(&'static str, &'static str),
    /// One number less another.
    Difference(&'static str, &'static str),
    /// A number of each round.
    Rounds(&'static str),
    /// Seconds of each round, as microseconds of an instance.
    EachInstance(&'static str),
    /// A number of each round, added up.
    Sum(&'static str),
    /// The largest number at the second place of all members at the first.
    Largest(&'static str, &'static str),
    /// How many there are in a list.
    Count(&'static str),
}

/// What the median has to reach.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    /// Nothing: it is there to understand the others.
    None,
    /// No more than this, in this unit.
    AtMost(f64, &'static str),
    /// No less than this.
    AtLeast(f64),
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: f64| in_digits(value, if value.fract() == 0.0 { 0 } else { 2 });
        match self {
            Self::None => Ok(()),
            Self::AtMost(bar, unit) => write!(f, "at most {} {unit}", number(*bar)),
            Self::AtLeast(bar) => write!(f, "at least {}", number(*bar)),
        }
    }
}

const fn row(label: &'static str, file: &'static str, figure: Figure, digits: usize) -> Row {
    Row { label, file, figure, digits, bar: Bar::None }
}

impl Row {
    const fn at_most(self, bar: f64, unit: &'static str) -> Self {
        Self { bar: Bar::AtMost(bar, unit), ..self }
    }

    const fn at_least(self, bar: f64) -> Self {
        Self { bar: Bar::AtLeast(bar), ..self }
    }
}

use Figure::{
    Count, Difference, EachInstance, Largest, Multiple, Number, Rounds, RoundsMultiple, Spread, Sum,
};

/// What a start of `true` takes where the bars for latencies were set, milliseconds. Most of a short
/// job is starts of processes, so on another machine these bars are multiples of its own start.
const START_AT_THE_BARS_MS: f64 = 0.56;

/// A bar in milliseconds, in starts of `true`.
const fn in_starts(bar_ms: f64) -> f64 {
    bar_ms / START_AT_THE_BARS_MS
}

/// All tables, in the order of the page.
pub const TABLES: &[Table] = &[
    Table { name: "short", rows: &short("short.json") },
    Table { name: "short-100000", rows: &short("short-100000.json") },
    Table { name: "latency", rows: LATENCY },
    Table { name: "follow", rows: FOLLOW },
    Table { name: "idle", rows: IDLE },
    Table { name: "read", rows: READ },
    Table { name: "plan", rows: PLAN },
    Table { name: "null", rows: NULL },
    Table { name: "create", rows: CREATE },
    Table { name: "million", rows: MILLION },
    Table { name: "restart", rows: RESTART },
];

const fn short(file: &'static str) -> [Row; 9] {
    let over =
        Difference("/summary/processor_us/median", "/summary/namespaces_processor_us/median");
    [
        row("Gristmill / bare loop", file, Spread("/summary/of_bare"), 2).at_least(0.45),
        row("Gristmill / namespaced loop", file, Spread("/summary/of_namespaces"), 2)
            .at_least(0.75),
        row("processor time of an instance over the namespaced loop, us", file, over, 0)
            .at_most(150.0, "us"),
        row("processor time of an instance, us", file, Spread("/summary/processor_us"), 0),
        row("the same, bare loop, us", file, Spread("/summary/bare_processor_us"), 0),
        row("the same, namespaced loop, us", file, Spread("/summary/namespaces_processor_us"), 0),
        row(
            "of Gristmill's: spawner, sandboxes and the program, us",
            file,
            EachInstance("/job/processor_seconds/spawner"),
            0,
        ),
        row(
            "of Gristmill's: server, us",
            file,
            EachInstance("/job/processor_seconds/gristmill serve"),
            0,
        ),
        row(
            "of Gristmill's: agents, us",
            file,
            EachInstance("/job/processor_seconds/gristmill agent"),
            0,
        ),
    ]
}

const HOP_IN_STARTS: Figure = RoundsMultiple("/hop_ms", "/floors/start_ms");
const LONE_IN_STARTS: Figure = Multiple("/command/p50_ms", "/floors/start_ms");

const LATENCY: &[Row] = &[
    row("a hop of a chain of 1,000 tasks, ms", "chain.json", Spread("/hop_ms"), 2)
        .at_most(2.0, "ms"),
    row("the same, in bare starts of `true`", "chain.json", HOP_IN_STARTS, 2)
        .at_most(in_starts(2.0), "starts"),
    row("a bare start of `true` in the same rounds, ms", "chain.json", Spread("/bare_ms"), 2),
    row("a small synced append in the same rounds, ms", "chain.json", Spread("/sync_ms"), 2),
    row("`bcs sub --watch` of one `true`, p50, ms", "one.json", Number("/command/p50_ms"), 1)
        .at_most(8.0, "ms"),
    row("the same, in bare starts of `true`", "one.json", LONE_IN_STARTS, 1)
        .at_most(in_starts(8.0), "starts"),
    row("the same, p99, ms", "one.json", Number("/command/p99_ms"), 1).at_most(25.0, "ms"),
    row("a bare start of `true` before these, ms", "one.json", Number("/floors/start_ms"), 2),
    row("of which the start of `bcs` alone, p50, ms", "one.json", Number("/client/p50_ms"), 1),
    row("by the API: create, events to the end, p50, ms", "one.json", Number("/api/p50_ms"), 1),
    row("the same, p99, ms", "one.json", Number("/api/p99_ms"), 1),
    row("the region in memory, no disk: a hop, ms", "chain-memory.json", Spread("/hop_ms"), 2),
    row("its bare start of `true`, ms", "chain-memory.json", Spread("/bare_ms"), 2),
    row("`bcs sub --watch`, p50, ms", "one-memory.json", Number("/command/p50_ms"), 1),
    row("the same, p99, ms", "one-memory.json", Number("/command/p99_ms"), 1),
    row("by the API, p50, ms", "one-memory.json", Number("/api/p50_ms"), 1),
    row("the same, p99, ms", "one-memory.json", Number("/api/p99_ms"), 1),
];

const FOLLOW: &[Row] = &[
    row("from a program to its follower, p50, ms", "follow.json", Number("/lines/p50_ms"), 2)
        .at_most(5.0, "ms"),
    row("the same, p99, ms", "follow.json", Number("/lines/p99_ms"), 1).at_most(30.0, "ms"),
    row(
        "processor time of the agents, s",
        "follow.json",
        Number("/processor_seconds/gristmill agent"),
        1,
    ),
    row(
        "processor time of the server, s",
        "follow.json",
        Number("/processor_seconds/gristmill serve"),
        1,
    ),
];

const IDLE: &[Row] = &[
    row("server, memory in proportion, MiB", "idle.json", Number("/server/memory_mib"), 1)
        .at_most(40.0, "MiB"),
    row("server, resident, MiB", "idle.json", Number("/server/resident_mib"), 1),
    row("server, % of a processor", "idle.json", Number("/server/processor_percent"), 3)
        .at_most(0.1, "%"),
    row("agent, memory in proportion, MiB", "idle.json", Number("/agent/memory_mib"), 1)
        .at_most(12.0, "MiB"),
    row("agent, resident, MiB", "idle.json", Number("/agent/resident_mib"), 1),
    row("agent, % of a processor", "idle.json", Number("/agent/processor_percent"), 3)
        .at_most(0.1, "%"),
    row(
        "agent with its spawner, memory in proportion, MiB",
        "idle.json",
        Number("/agent_whole/memory_mib"),
        1,
    ),
];

const READ: &[Row] = &[
    row("mount / HTTP, 1 connection", "read.json", Spread("/summary/of_http_1"), 2),
    row("mount / HTTP, 8 connections", "read.json", Spread("/summary/of_http_8"), 2),
    row("mount / local file, pages dropped", "read.json", Spread("/summary/of_local_dropped"), 2),
    row("mount / local file in memory", "read.json", Spread("/summary/of_local_memory"), 3),
    row(
        "processor time of the mounter for 1 GiB, s",
        "read.json",
        Spread("/summary/mounter_processor_seconds_per_gib"),
        2,
    ),
    row("most memory of the mounter, MiB", "read.json", Spread("/summary/mounter_memory_mib"), 0),
    row("mount ready after, ms", "read.json", Spread("/summary/ready_ms"), 1),
];

const PLAN: &[Row] = &[
    row(
        "placements a second, planned and applied",
        "plan.json",
        Spread("/results/placements a second, planned and applied"),
        0,
    )
    .at_least(250_000.0),
    row(
        "placements a second, planned only",
        "plan.json",
        Spread("/results/placements a second, planned only"),
        0,
    ),
    row("a pass, p50, us", "plan.json", Spread("/results/a pass, p50, microseconds"), 1),
    row("a pass, p99, us", "plan.json", Spread("/results/a pass, p99, microseconds"), 0)
        .at_most(10_000.0, "us"),
    row("the longest pass of a round, us", "plan.json", Rounds("/pass_max_us"), 0),
    row(
        "a pass with nothing to do, us",
        "plan.json",
        Spread("/results/a pass with nothing to do, microseconds"),
        3,
    )
    .at_most(10.0, "us"),
];

const NULL: &[Row] = &[
    row("instances a second", "null.json", Spread("/per_second"), 0).at_least(150_000.0),
    row("processor time of the server for each, us", "null.json", Spread("/server_us"), 1)
        .at_most(6.0, "us"),
    row("most memory of the server, MiB", "null.json", Rounds("/memory_peak_mib"), 0)
        .at_most(128.0, "MiB"),
    row("the books at the end, MiB", "null.json", Rounds("/books_mib"), 1),
];

const CREATE: &[Row] = &[
    row("one client, p50, ms", "create.json", Spread("/one_client_p50_ms"), 2).at_most(1.0, "ms"),
    row("one client, p99, ms", "create.json", Rounds("/one_client/p99_ms"), 1),
    row("32 clients, jobs a second", "create.json", Spread("/per_second"), 0).at_least(10_000.0),
    row("32 clients, the longest wait, ms", "create.json", Rounds("/all_clients/max_ms"), 0),
    row("processor time of the server for each, us", "create.json", Rounds("/server_us"), 0),
    row("`/healthz`, one client, p50, ms", "create.json", Rounds("/hello/p50_ms"), 2),
    row("`/healthz`, 32 clients, a second", "create.json", Rounds("/hello_per_second"), 0),
    row("synced appends, a second", "create.json", Rounds("/synced_appends"), 0),
    row("kills", "create.json", Sum("/kills"), 0),
    row(
        "acknowledged jobs found after them (a missing one fails the measurement)",
        "create.json",
        Sum("/found_after_kills"),
        0,
    ),
];

const MILLION: &[Row] = &[
    row("making it, p50, ms", "million.json", Spread("/create_p50_ms"), 2).at_most(5.0, "ms"),
    row("making it, the longest, ms", "million.json", Rounds("/create/max_ms"), 1),
    row("what making it takes, MiB", "million.json", Rounds("/made_mib"), 3).at_most(1.0, "MiB"),
    row("what is left when all have run, MiB", "million.json", Spread("/left_mib"), 1)
        .at_most(48.0, "MiB"),
    row("the same after a restart, MiB", "million.json", Rounds("/left_after_restart_mib"), 1),
    row("most memory of the server, MiB", "million.json", Rounds("/memory_peak_mib"), 1),
    row(
        "instances asked for, before and after a restart, and answered for in full",
        "million.json",
        Rounds("/answered"),
        0,
    )
    .at_least(1_000_000.0),
    row("a page of a hundred, p50, ms", "million.json", Rounds("/pages/p50_ms"), 2),
    row("the same, p99, ms", "million.json", Rounds("/pages/p99_ms"), 2),
];

const RESTART: &[Row] = &[
    row("restart to the first right answer, s", "restart.json", Spread("/restart_seconds"), 3)
        .at_most(0.8, "s"),
    row("memory then, MiB", "restart.json", Spread("/memory_mib_at_the_answer"), 0)
        .at_most(200.0, "MiB"),
    row("most memory under load, MiB", "restart.json", Number("/memory_peak_mib_under_load"), 0)
        .at_most(200.0, "MiB"),
    row("the slowest kind of page, p99, ms", "restart.json", Largest("/pages", "/p99_ms"), 1)
        .at_most(5.0, "ms"),
    row("all pages, p50, ms", "restart.json", Number("/all_pages/p50_ms"), 2),
    row("all pages, the longest, ms", "restart.json", Number("/all_pages/max_ms"), 0),
    row("a change, p50, ms", "restart.json", Number("/changes/p50_ms"), 2),
    row("a change, p99, ms", "restart.json", Number("/changes/p99_ms"), 1),
    row("turns of the mill longer than 50 ms", "restart.json", Count("/slow_turns_ms"), 0),
];
