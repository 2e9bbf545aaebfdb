//! A region with a past: a million finished instances in memory, a hundred thousand jobs in the history.
//! How long a restart takes, what the server weighs, and how long pages and changes take while short
//! instances run.
//!
//! ```text
//! fill:     jobs of one instance, all moved into the history;  jobs of many, which stay
//! restart:  kill -9, start, asked every millisecond until the counts of a live job and a job of the history are right
//! load:     jobs of 50 instances at a steady rate; one client turns pages, one changes a priority every 5 ms
//! ```
//!
//! A change is an input of the mill and answered when durable: the longest is the longest stall a user
//! sees.

use super::{
    Common,
    line::Line,
    machine::Machine,
    million::wait_until_finished,
    null, processor,
    region::Region,
    stage::Stage,
    sums::{Latency, Spread},
};
use crate::house::House;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gristmill_wire::api::Marker;
use serde::Serialize;
use serde_json::json;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::task::spawn_local;

/// How often a starting server is asked.
const ASK: Duration = Duration::from_millis(1);
/// How long a start may take.
const START_MAX: Duration = Duration::from_secs(60);
/// How long all jobs may take to move into the history.
const MOVED_MAX: Duration = Duration::from_secs(300);
/// Clients that fill the region.
const CLIENTS: u32 = 32;
/// Instances of a job of the load.
const BURST: u32 = 50;
/// Pause between two changes of a priority.
const BETWEEN_CHANGES: Duration = Duration::from_millis(5);

/// A region with a past: restart, memory, pages and changes under load.
#[derive(Debug, Clone, Args)]
pub struct Restart {
    /// Jobs of one instance in the history.
    #[arg(long, default_value_t = 100_000)]
    history: u32,
    /// Finished jobs in memory.
    #[arg(long, default_value_t = 100)]
    live: u32,
    /// Instances of each of them.
    #[arg(long, default_value_t = 10_000)]
    instances: u32,
    /// How often the server is killed and started.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    restarts: u32,
    /// Instances a second while pages are turned.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// How long, seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Raw {
    machine: Machine,
    history: u32,
    live: u32,
    instances_each: u32,
    books_mib: f64,
    /// From the signal to the first right answer.
    restart_seconds: Spread,
    /// The most memory the server had when it answered.
    memory_mib_at_the_answer: Spread,
    rate: f64,
    pages: BTreeMap<&'static str, Latency>,
    all_pages: Latency,
    changes: Latency,
    memory_peak_mib_under_load: f64,
    /// Turns of the mill that took longer than 50 ms, from the filling to the end, and how long of that
    /// for the disk.
    slow_turns_ms: Vec<[u64; 2]>,
}

/// What is in the region.
struct Past {
    /// The cluster with machines.
    cluster: String,
    /// A job of the history, and one in its middle.
    archived: [String; 2],
    /// A job in memory.
    live: String,
    /// A stopped job, whose priority may be changed, on a cluster without machines.
    stopped: String,
    /// That cluster.
    empty_cluster: String,
}

impl Restart {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let raw = stage.play(self.measure(&stage.programs, stage.machine.clone()))?;
        show(&raw);
        self.common.keep(house, "restart", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self, programs: &Path, machine: Machine) -> Result<Raw> {
        let mut settings = null::settings(programs, 8, 8);
        settings.push(("GRISTMILL_HISTORY__LIVE", "0".to_owned()));
        let mut region = Region::start_with(&programs.join("gristmill"), None, &settings).await?;
        let past = Rc::new(self.fill(&mut region).await?);
        let books_mib = region.books_bytes() as f64 / f64::from(1 << 20);
        println!("filled: books {books_mib:.0} MiB");
        let (mut times, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..self.restarts {
            times.push(self.restart(&mut region, &past).await?.as_secs_f64());
            memory.push(processor::memory_peak_mib(region.process_id())?);
        }
        let (pages, changes, rate) = self.load(&region, &past).await?;
        let latency = |times: &Vec<Duration>| Latency::of(times.iter().copied());
        let all = Latency::of(pages.values().flatten().copied());
        let pages = pages.iter().filter_map(|(kind, times)| Some((*kind, latency(times)?)));
        Ok(Raw {
            machine,
            history: self.history,
            live: self.live,
            instances_each: self.instances,
            books_mib,
            restart_seconds: Spread::of(times).context("there are restarts")?,
            memory_mib_at_the_answer: Spread::of(memory).context("there are restarts")?,
            rate,
            pages: pages.collect(),
            all_pages: all.context("pages were turned")?,
            changes: latency(&changes).context("priorities were changed")?,
            memory_peak_mib_under_load: processor::memory_peak_mib(region.process_id())?,
            slow_turns_ms: region.slow_turns()?,
        })
    }

    async fn fill(&self, region: &mut Region) -> Result<Past> {
        let (cluster, empty_cluster) = (region.cluster(8).await?, region.cluster(0).await?);
        let made = submit(region.api, CLIENTS, self.history, &job(&cluster, 1)).await?;
        let mut line = Line::open(region.api).await?;
        wait_until_moved(&mut line).await?;
        region.kill()?;
        region.set("GRISTMILL_HISTORY__LIVE", "86400");
        region.start_again()?;
        region.wait_until_it_answers().await?;
        let many = submit(region.api, 4, self.live, &job(&cluster, self.instances)).await?;
        let mut line = Line::open(region.api).await?;
        for id in &many {
            wait_until_finished(&mut line, id).await?;
        }
        let stopped = line.create_job(&job(&empty_cluster, 1)).await?;
        let status = line.ask("POST", &format!("/jobs/{stopped}/stop"), b"").await?.status;
        ensure!(status < 300, "a job was not stopped: {status}");
        let archived = [made[0].clone(), made[made.len() / 2].clone()];
        Ok(Past { cluster, archived, live: many[0].clone(), stopped, empty_cluster })
    }

    /// Kills the server and starts it: from the signal to the first right answer.
    async fn restart(&self, region: &mut Region, past: &Past) -> Result<Duration> {
        let clock = Instant::now();
        region.kill()?;
        region.start_again()?;
        loop {
            if let Ok(mut line) = Line::open(region.api).await {
                let live = line.get(&format!("/jobs/{}", past.live)).await?;
                let finished = &live["InstanceMetrics"]["FinishedCount"];
                ensure!(*finished == self.instances, "after the restart: {live}");
                let old = line.get(&format!("/jobs/{}", past.archived[0])).await?;
                ensure!(old["State"] == "Finished", "after the restart: {old}");
                return Ok(clock.elapsed());
            }
            ensure!(clock.elapsed() < START_MAX, "the region does not start");
            tokio::time::sleep(ASK).await;
        }
    }

    /// Runs instances and turns pages: times by kind of page, times of changes, instances a second.
    async fn load(&self, region: &Region, past: &Rc<Past>) -> Result<Measured> {
        let over = Rc::new(Cell::new(false));
        let changes = spawn_local(change(region.api, past.clone(), over.clone()));
        let pages = spawn_local(turn_pages(region.api, past.clone(), over.clone()));
        let mut line = Line::open(region.api).await?;
        let burst = job(&past.cluster, BURST);
        let every = Duration::from_secs_f64(f64::from(BURST) / f64::from(self.rate));
        let (clock, mut jobs) = (Instant::now(), Vec::new());
        let mut beat = tokio::time::interval(every);
        while clock.elapsed() < Duration::from_secs(self.seconds.into()) {
            beat.tick().await;
            jobs.push(line.create_job(&burst).await?);
        }
        let last = jobs.last().context("jobs were submitted")?;
        wait_until_finished(&mut line, last).await?;
        let rate = f64::from(BURST) * jobs.len() as f64 / clock.elapsed().as_secs_f64();
        over.set(true);
        Ok((pages.await??, changes.await??, rate))
    }
}

type Measured = (BTreeMap<&'static str, Vec<Duration>>, Vec<Duration>, f64);

fn job(cluster: &str, instances: u32) -> Vec<u8> {
    let description = json!({
        "Name": "past",
        "DAG": {"Tasks": {"all": {
            "ClusterId": cluster,
            "InstanceCount": instances,
            "Parameters": {"Command": {"CommandLine": "true"}},
        }}},
    });
    description.to_string().into_bytes()
}

/// So many clients submit so many jobs: their ids, in the order of the answers.
async fn submit(api: SocketAddr, clients: u32, jobs: u32, body: &[u8]) -> Result<Vec<String>> {
    let (left, made) = (Rc::new(Cell::new(jobs)), Rc::new(RefCell::new(Vec::new())));
    let client = |left: Rc<Cell<u32>>, made: Rc<RefCell<Vec<String>>>, body: Vec<u8>| async move {
        let mut line = Line::open(api).await?;
        while left.get() > 0 {
            left.set(left.get() - 1);
            let id = line.create_job(&body).await?;
            made.borrow_mut().push(id);
        }
        anyhow::Ok(())
    };
    let begin = |_| spawn_local(client(left.clone(), made.clone(), body.to_vec()));
    let running: Vec<_> = (0..clients).map(begin).collect();
    for one in running {
        one.await??;
    }
    Ok(made.take())
}

/// Waits until no job is in memory: the counts of `/metrics` are of live ones.
async fn wait_until_moved(line: &mut Line) -> Result<()> {
    let clock = Instant::now();
    loop {
        let body = line.ask("GET", "/metrics", b"").await?.body;
        let text = String::from_utf8_lossy(&body).into_owned();
        let jobs: f64 = text
            .lines()
            .filter(|line| line.starts_with("gristmill_jobs{"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum();
        if jobs == 0.0 {
            return Ok(());
        }
        if clock.elapsed() > MOVED_MAX {
            bail!("{jobs} jobs have not moved into the history");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn change(api: SocketAddr, past: Rc<Past>, over: Rc<Cell<bool>>) -> Result<Vec<Duration>> {
    let (mut line, mut times) = (Line::open(api).await?, Vec::new());
    let target = format!("/jobs/{}", past.stopped);
    while !over.get() {
        let body = json!({"Priority": 1 + times.len() % 900}).to_string();
        let clock = Instant::now();
        let status = line.ask("PUT", &target, body.as_bytes()).await?.status;
        times.push(clock.elapsed());
        ensure!(status < 300, "a priority was not changed: {status}");
        tokio::time::sleep(BETWEEN_CHANGES).await;
    }
    Ok(times)
}

async fn turn_pages(
    api: SocketAddr,
    past: Rc<Past>,
    over: Rc<Cell<bool>>,
) -> Result<BTreeMap<&'static str, Vec<Duration>>> {
    let mut line = Line::open(api).await?;
    let [_, middle] = &past.archived;
    let marker = |key: &str| Marker::after(key).to_string();
    let instances = format!("/jobs/{}/tasks/all/instances?MaxItemCount=100", past.live);
    let kinds = [
        ("jobs, the oldest", "/jobs?MaxItemCount=100".to_owned()),
        ("jobs, the newest", "/jobs?IsReverse=true&MaxItemCount=100".to_owned()),
        ("jobs, from the middle", format!("/jobs?Marker={}&MaxItemCount=100", marker(middle))),
        ("jobs, Finished", "/jobs?State=Finished&MaxItemCount=100".to_owned()),
        ("jobs, Failed", "/jobs?State=Failed&MaxItemCount=100".to_owned()),
        ("jobs, Waiting", "/jobs?State=Waiting&MaxItemCount=100".to_owned()),
        ("jobs of a cluster", format!("/jobs?ClusterId={}&MaxItemCount=100", past.cluster)),
        (
            "jobs of a cluster with one",
            format!("/jobs?ClusterId={}&MaxItemCount=100", past.empty_cluster),
        ),
        ("instances, the first", instances.clone()),
        ("instances, from the middle", format!("{instances}&Marker={}", marker("4999"))),
        (
            "instances, Finished, late",
            format!("{instances}&State=Finished&Marker={}", marker("9000")),
        ),
        ("clusters", "/clusters".to_owned()),
    ];
    let mut times: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
    while !over.get() {
        for (kind, target) in &kinds {
            let (_, took) = line.timed_get(target).await?;
            times.entry(*kind).or_default().push(took);
        }
    }
    Ok(times)
}

fn show(raw: &Raw) {
    println!("restart, s               {}", raw.restart_seconds);
    println!("memory at the answer MiB {}", raw.memory_mib_at_the_answer);
    println!(
        "{:.0} instances a second; memory up to {:.0} MiB",
        raw.rate, raw.memory_peak_mib_under_load
    );
    for (kind, latency) in &raw.pages {
        println!("{kind:28} {latency}");
    }
    println!("{:28} {}", "all pages", raw.all_pages);
    println!("{:28} {}", "a change", raw.changes);
    println!("slow turns, ms               {:?}", raw.slow_turns_ms);
}
