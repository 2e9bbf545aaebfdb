//! Durable, signed job creation: one client, many clients, and `kill -9` right after an answer.
//!
//! ```text
//! round:  1 client (latency)  32 clients (rate)  kills: 32 clients, a kill at an answer, a restart, every id asked for
//! ```
//!
//! The jobs name a cluster without machines, so nothing runs. Beside them, in the same round: what the
//! HTTP server answers without looking (`/healthz`) and how often the disk takes a small synced append.

use super::{
    Common, floor,
    line::Line,
    machine::Machine,
    null, processor,
    region::Region,
    stage::{Rounds, Stage},
    sums::{Latency, Spread},
};
use crate::house::House;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::task::spawn_local;

/// How long the floors are measured.
const FLOOR: Duration = Duration::from_secs(1);
/// The first kill comes after so many answers; each further one after more.
const ANSWERS_BEFORE_KILL: usize = 500;

/// Durable, signed job creation.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// How many jobs one client submits.
    #[arg(long, default_value_t = 2_000)]
    alone: u32,
    /// How many jobs all clients submit together.
    #[arg(long, default_value_t = 50_000)]
    together: u32,
    /// How many clients.
    #[arg(long, default_value_t = 32)]
    clients: u32,
    /// How often the server is killed in a round.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// How often everything is measured, each time in a new region.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Serialize)]
struct Round {
    /// Small synced appends to one file, a second.
    synced_appends: f64,
    /// `/healthz` with one client.
    hello: Latency,
    /// `/healthz` with all clients, a second.
    hello_per_second: f64,
    one_client: Latency,
    all_clients: Latency,
    per_second: f64,
    /// Processor time of the server for each job, with all clients.
    server_us: f64,
    books_bytes_each: f64,
    kills: u32,
    /// Acknowledged jobs that were asked for after a restart; every one was there.
    found_after_kills: usize,
    /// Turns of the mill that took longer than 50 ms, and how long of that for the disk.
    slow_turns_ms: Vec<[u64; 2]>,
}

#[derive(Serialize)]
struct Raw {
    machine: Machine,
    clients: u32,
    per_second: Spread,
    one_client_p50_ms: Spread,
    rounds: Rounds<Round>,
}

impl Create {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let stage = Stage::set(&self.common, house)?;
        let show = |round: &Round| show(round, self.clients);
        let rounds = stage.rounds(self.rounds, async |it| self.round(it).await, show)?;
        let raw = Raw {
            machine: stage.machine,
            clients: self.clients,
            per_second: rounds.over(|it| it.per_second),
            one_client_p50_ms: rounds.over(|it| it.one_client.p50_ms),
            rounds,
        };
        println!("one client, p50 ms  {}", raw.one_client_p50_ms);
        println!("jobs a second       {}", raw.per_second);
        self.common.keep(house, "create", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn round(&self, programs: &Path) -> Result<Round> {
        let settings = null::settings(programs, 1, 1);
        let mut region = Region::start_with(&programs.join("gristmill"), None, &settings).await?;
        let cluster = region.cluster(0).await?;
        let synced_appends = floor::synced_appends(&region.directory(), FLOOR)?;
        let hello = hello(region.api, 1).await?;
        let hello_together = self::hello(region.api, self.clients).await?;
        let plan = Rc::new(Plan::new(region.api, &cluster));
        let alone = plan.submit(1, self.alone).await?;
        let (books, before) = (region.books_bytes(), processor::of_process(region.process_id())?);
        let clock = Instant::now();
        let all = plan.submit(self.clients, self.together).await?;
        let seconds = clock.elapsed().as_secs_f64();
        let used = processor::of_process(region.process_id())? - before;
        let count = f64::from(self.together);
        let books_bytes_each = region.books_bytes().saturating_sub(books) as f64 / count;
        for kill in 0..self.kills {
            let answers = ANSWERS_BEFORE_KILL + 137 * kill as usize;
            plan.submit_until_killed(self.clients, answers, &mut region).await?;
        }
        let found_after_kills = plan.find_all().await?;
        Ok(Round {
            synced_appends,
            hello: Latency::of(hello.1).context("there are answers")?,
            hello_per_second: hello_together.1.len() as f64 / hello_together.0,
            one_client: Latency::of(alone).context("there are jobs")?,
            all_clients: Latency::of(all).context("there are jobs")?,
            per_second: count / seconds,
            server_us: used * 1e6 / count,
            books_bytes_each,
            kills: self.kills,
            found_after_kills,
            slow_turns_ms: region.slow_turns()?,
        })
    }
}

/// What the clients share.
struct Plan {
    api: SocketAddr,
    description: Vec<u8>,
    /// Every id that was answered.
    acknowledged: RefCell<Vec<String>>,
}

impl Plan {
    fn new(api: SocketAddr, cluster: &str) -> Self {
        let description = json!({
            "Name": "create",
            "DAG": {"Tasks": {"only": {
                "ClusterId": cluster,
                "InstanceCount": 1,
                "Parameters": {
                    "Command": {"CommandLine": "/bin/true"},
                    "StdoutRedirectPath": "oss://gristmill/bench/",
                    "StderrRedirectPath": "oss://gristmill/bench/",
                },
            }}},
        });
        let acknowledged = RefCell::default();
        Self { api, description: description.to_string().into_bytes(), acknowledged }
    }

    /// So many clients submit so many jobs together: how long each took.
    async fn submit(self: &Rc<Self>, clients: u32, jobs: u32) -> Result<Vec<Duration>> {
        let left = Rc::new(Cell::new(jobs));
        let client = |plan: Rc<Self>, left: Rc<Cell<u32>>| async move {
            let (mut line, mut times) = (Line::open(plan.api).await?, Vec::new());
            while left.get() > 0 {
                left.set(left.get() - 1);
                let clock = Instant::now();
                let id = line.create_job(&plan.description).await?;
                times.push(clock.elapsed());
                plan.acknowledged.borrow_mut().push(id);
            }
            anyhow::Ok(times)
        };
        let running: Vec<_> =
            (0..clients).map(|_| spawn_local(client(self.clone(), left.clone()))).collect();
        let mut times = Vec::new();
        for one in running {
            times.extend(one.await??);
        }
        Ok(times)
    }

    /// All clients submit; at the answer of this number the server is killed. It is started again,
    /// and everything acknowledged since the last kill is asked for.
    async fn submit_until_killed(
        self: &Rc<Self>,
        clients: u32,
        answers: usize,
        region: &mut Region,
    ) -> Result<()> {
        let known = self.acknowledged.borrow().len();
        let server = region.process_id();
        let client = |plan: Rc<Self>| async move {
            let mut line = Line::open(plan.api).await?;
            // The end of the line is the end of the server.
            while let Ok(id) = line.create_job(&plan.description).await {
                plan.acknowledged.borrow_mut().push(id);
                if plan.acknowledged.borrow().len() == known + answers {
                    processor::kill(server)?;
                }
            }
            anyhow::Ok(())
        };
        let running: Vec<_> = (0..clients).map(|_| spawn_local(client(self.clone()))).collect();
        for one in running {
            one.await??;
        }
        let answered = self.acknowledged.borrow().len() - known;
        ensure!(answered >= answers, "the server hung up after {answered} answers, unkilled");
        region.kill()?;
        region.start_again()?;
        region.wait_until_it_answers().await?;
        let new = self.acknowledged.borrow()[known..].to_vec();
        self.find(&new).await
    }

    /// Asks for every job that was ever acknowledged.
    async fn find_all(&self) -> Result<usize> {
        let all = self.acknowledged.borrow().clone();
        self.find(&all).await?;
        Ok(all.len())
    }

    async fn find(&self, ids: &[String]) -> Result<()> {
        let mut line = Line::open(self.api).await?;
        for id in ids {
            let job = line.get(&format!("/jobs/{id}")).await;
            let job = job.with_context(|| format!("{id} was acknowledged and is lost"))?;
            ensure!(job["Name"] == "create", "{id} is another job");
        }
        Ok(())
    }
}

/// `/healthz` for a second: how long it took, and each answer.
async fn hello(api: SocketAddr, clients: u32) -> Result<(f64, Vec<Duration>)> {
    let begun = Instant::now();
    let client = move || async move {
        let (mut line, mut times) = (Line::open(api).await?, Vec::new());
        while begun.elapsed() < FLOOR {
            let clock = Instant::now();
            line.ask("GET", "/healthz", b"").await?;
            times.push(clock.elapsed());
        }
        anyhow::Ok(times)
    };
    let running: Vec<_> = (0..clients).map(|_| spawn_local(client())).collect();
    let mut times = Vec::new();
    for one in running {
        times.extend(one.await??);
    }
    Ok((begun.elapsed().as_secs_f64(), times))
}

fn show(round: &Round, clients: u32) {
    println!("synced appends {:.0}/s", round.synced_appends);
    println!("hello: {}; {:.0}/s with {clients}", round.hello, round.hello_per_second);
    println!("1 client: {}", round.one_client);
    println!(
        "{clients} clients: {:.0}/s, {}, server {:.1} us each, books {:.0} bytes each",
        round.per_second, round.all_clients, round.server_us, round.books_bytes_each
    );
    println!("slow turns, ms: {:?}", round.slow_turns_ms);
    println!("{} kills: all {} acknowledged jobs are there", round.kills, round.found_after_kills);
}
