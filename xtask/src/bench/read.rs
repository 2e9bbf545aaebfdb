//! Reading one large object from its first byte to its last: through a mount, beside the store's
//! own HTTP and a local file.
//!
//! The mount is served by `gristmill mounter`, started as an agent starts it, anew in each round,
//! so that nothing is in the kernel's cache of it. The store's files are in memory for HTTP and
//! mount alike: the way to the program is measured, not the disk. The local file is read twice,
//! with its pages dropped and from memory.
//!
//! Mounting needs root, or `unshare --map-root-user --mount` in front.

use super::{
    Common,
    machine::Machine,
    processor,
    region::{BUCKET, Region, clock, credentials},
    sums::Spread,
};
use crate::house::House;
use anyhow::{Context, Result, ensure};
use clap::Args;
use gristmill_cli::{oss_path::OssPath, progress::Bar};
use gristmill_wire::oss::sign::{KeyPair, Request, presign_v1};
use serde::Serialize;
use serde_json::json;
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Read as _, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Instant,
};

/// Bytes asked for at once, by every reader.
const PIECE: usize = 1 << 20;
const KEY: &str = "bench/large";
/// What an agent gives a mounter (`gristmill_mounts::mounter::MEMORY_BUDGET_DEFAULT`).
const MEMORY_BUDGET: u64 = 256 << 20;
/// How long a signed address is good for.
const ADDRESS_SECONDS: u64 = 3_600;

/// Reading an object through a mount, beside the store's own HTTP and a local file.
#[derive(Debug, Clone, Args)]
pub struct Read {
    /// The object's size.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(8..))]
    size_mib: u64,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    common: Common,
}

/// One reading of the whole object.
#[derive(Debug, Clone, Copy, Serialize)]
struct Reading {
    seconds: f64,
    /// The region's processor time meanwhile.
    server_processor_seconds: f64,
}

/// One reading through a mount, and what serving it took.
#[derive(Debug, Clone, Serialize)]
struct Mounted {
    seconds: f64,
    server_processor_seconds: f64,
    mounter_processor_seconds: f64,
    /// The most memory the mounter ever had.
    mounter_memory_mib: f64,
    /// From the start of the mounter's process until the file could be opened.
    ready_seconds: f64,
    /// Requests to the store, by the mounter's own count.
    requests: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Round {
    http_1: Reading,
    http_8: Reading,
    mount: Mounted,
    local_dropped: Reading,
    local_memory: Reading,
}

#[derive(Debug, Serialize)]
struct Summary {
    /// The mount's speed as a part of what stands beside it.
    of_http_1: Spread,
    of_http_8: Spread,
    of_local_dropped: Spread,
    of_local_memory: Spread,
    mount_mib_per_second: Spread,
    mounter_processor_seconds_per_gib: Spread,
    mounter_memory_mib: Spread,
    ready_ms: Spread,
}

#[derive(Serialize)]
struct Raw<'a> {
    machine: Machine,
    size_mib: u64,
    summary: &'a Summary,
    rounds: &'a [Round],
}

impl Read {
    /// Measures, prints and keeps.
    pub fn run(&self, house: &House) -> Result<ExitCode> {
        let program = self.common.programs(house)?.join("gristmill");
        let machine = Machine::look(house);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let region = runtime.block_on(Region::start(&program, None))?;
        let desk = Desk {
            region: &region,
            program,
            file: region.directory().join("large"),
            size: self.size_mib << 20,
        };
        make_file(&desk.file, desk.size)?;
        let to = OssPath { bucket: BUCKET.to_owned(), key: KEY.to_owned() };
        runtime.block_on(region.store.upload(&desk.file, &to, None, &Bar::hidden()))?;
        desk.check_mount()?;
        let mut rounds = Vec::new();
        for number in 0..self.rounds {
            let round = desk.round()?;
            println!("{}", self.line(number, &round));
            rounds.push(round);
        }
        let summary = self.sum_up(&rounds);
        self.show(&summary);
        let raw = Raw { machine, size_mib: self.size_mib, summary: &summary, rounds: &rounds };
        self.common.keep(house, "read", &raw)?;
        Ok(ExitCode::SUCCESS)
    }

    fn line(&self, number: u32, round: &Round) -> String {
        let speed = |seconds: f64| self.size_mib as f64 / seconds;
        format!(
            "round {}: http {:.0} MiB/s, 8 x http {:.0}, mount {:.0}, local file {:.0}, in memory {:.0}",
            number + 1,
            speed(round.http_1.seconds),
            speed(round.http_8.seconds),
            speed(round.mount.seconds),
            speed(round.local_dropped.seconds),
            speed(round.local_memory.seconds),
        )
    }

    fn sum_up(&self, rounds: &[Round]) -> Summary {
        let over = |figure: &dyn Fn(&Round) -> f64| {
            Spread::of(rounds.iter().map(figure)).expect("there is a round")
        };
        let gib = self.size_mib as f64 / 1024.0;
        Summary {
            of_http_1: over(&|round| round.http_1.seconds / round.mount.seconds),
            of_http_8: over(&|round| round.http_8.seconds / round.mount.seconds),
            of_local_dropped: over(&|round| round.local_dropped.seconds / round.mount.seconds),
            of_local_memory: over(&|round| round.local_memory.seconds / round.mount.seconds),
            mount_mib_per_second: over(&|round| self.size_mib as f64 / round.mount.seconds),
            mounter_processor_seconds_per_gib: over(&|round| {
                round.mount.mounter_processor_seconds / gib
            }),
            mounter_memory_mib: over(&|round| round.mount.mounter_memory_mib),
            ready_ms: over(&|round| round.mount.ready_seconds * 1e3),
        }
    }

    fn show(&self, summary: &Summary) {
        println!("\n{} MiB, median (min .. max)", self.size_mib);
        for (name, spread) in [
            ("mount / http, 1 connection", &summary.of_http_1),
            ("mount / http, 8 connections", &summary.of_http_8),
            ("mount / local file, pages dropped", &summary.of_local_dropped),
            ("mount / local file in memory", &summary.of_local_memory),
            ("mount, MiB/s", &summary.mount_mib_per_second),
            ("mounter, processor seconds per GiB", &summary.mounter_processor_seconds_per_gib),
            ("mounter, most memory, MiB", &summary.mounter_memory_mib),
            ("mounter, ready after, ms", &summary.ready_ms),
        ] {
            println!("{name:36} {spread}");
        }
    }
}

/// What one measurement works with.
struct Desk<'a> {
    region: &'a Region,
    program: PathBuf,
    /// A local file with the object's bytes.
    file: PathBuf,
    size: u64,
}

impl Desk<'_> {
    fn round(&self) -> Result<Round> {
        Ok(Round {
            http_1: self.timed(|| self.http(1))?,
            http_8: self.timed(|| self.http(8))?,
            mount: self.mounted()?,
            local_dropped: {
                drop_pages(&self.file)?;
                self.timed(|| drain(&self.file))?
            },
            local_memory: self.timed(|| drain(&self.file))?,
        })
    }

    /// Runs one reading, which answers how many bytes it saw.
    fn timed(&self, reading: impl FnOnce() -> Result<u64>) -> Result<Reading> {
        let server = self.region.process_id();
        let (clock, before) = (Instant::now(), processor::of_process(server)?);
        let bytes = reading()?;
        let seconds = clock.elapsed().as_secs_f64();
        ensure!(bytes == self.size, "{bytes} bytes were read");
        Ok(Reading { seconds, server_processor_seconds: processor::of_process(server)? - before })
    }

    /// Reads the object over so many connections, a part of it on each.
    fn http(&self, connections: u64) -> Result<u64> {
        let target = address(KEY);
        let part = self.size.div_ceil(connections);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..connections)
                .map(|number| {
                    let range = number * part..self.size.min((number + 1) * part);
                    let (oss, target) = (self.region.oss, &target);
                    scope.spawn(move || get(oss, target, range.start, range.end))
                })
                .collect();
            let mut bytes = 0;
            for reader in readers {
                bytes += reader.join().expect("a reader does not panic")?;
            }
            Ok(bytes)
        })
    }

    fn mounted(&self) -> Result<Mounted> {
        let started = Instant::now();
        let mut mounter = Mounter::start(self)?;
        let ready_seconds = started.elapsed().as_secs_f64();
        let reading = self.timed(|| drain(&mounter.file()));
        let Reading { seconds, server_processor_seconds } = reading?;
        let pid = mounter.process.id();
        let mounter_processor_seconds = processor::of_process(pid)?;
        let mounter_memory_mib = processor::memory_peak_mib(pid)?;
        let requests = mounter.finish()?;
        Ok(Mounted {
            seconds,
            server_processor_seconds,
            mounter_processor_seconds,
            mounter_memory_mib,
            ready_seconds,
            requests,
        })
    }

    /// The mount shows the object's bytes and no others. Not measured; warms the store's files.
    fn check_mount(&self) -> Result<()> {
        let mut mounter = Mounter::start(self)?;
        let (mut shown, mut local) = (File::open(mounter.file())?, File::open(&self.file)?);
        let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
        for _ in 0..self.size / PIECE as u64 {
            shown.read_exact(&mut a).context("the mount has less than the object")?;
            local.read_exact(&mut b)?;
            ensure!(a == b, "the mount shows other bytes than the object has");
        }
        ensure!(shown.read(&mut a)? == 0, "the mount has more than the object");
        drop(shown);
        mounter.finish().map(drop)
    }
}

/// `gristmill mounter` with the object mounted. Ends when dropped.
struct Mounter {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    mount_point: PathBuf,
}

impl Mounter {
    fn start(desk: &Desk<'_>) -> Result<Self> {
        let mount_point = desk.region.directory().join("mount");
        fs::create_dir_all(&mount_point)?;
        let key = credentials();
        let told = json!({
            "spec": {
                "sources": [{"bucket": BUCKET, "key": KEY, "kind": "object"}],
                "mount_point": mount_point,
                "locale": "UTF-8",
                "lock": false,
                "uid": rustix::process::getuid().as_raw(),
                "gid": rustix::process::getgid().as_raw(),
                "memory_budget": MEMORY_BUDGET,
            },
            "opening": {
                "endpoint": format!("http://{}", desk.region.oss),
                "access_key_id": key.access_key_id,
                "access_key_secret": key.secret,
            },
        });
        let mut process = Command::new(&desk.program)
            .arg("mounter")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start the mounter")?;
        let output = BufReader::new(process.stdout.take().context("standard output is piped")?);
        let mut mounter = Self { process, output, mount_point };
        let input = mounter.process.stdin.as_mut().context("standard input is piped")?;
        writeln!(input, "{told}")?;
        let said = mounter.hear()?;
        ensure!(said.get("ready").is_some(), "the mounter said {said}");
        Ok(mounter)
    }

    /// Where the object appears.
    fn file(&self) -> PathBuf {
        self.mount_point.join("0/object")
    }

    fn hear(&mut self) -> Result<serde_json::Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the mounter said `{line}`"))
    }

    /// Unmounts; answers how many requests went to the store.
    fn finish(&mut self) -> Result<u64> {
        drop(self.process.stdin.take());
        let report = self.hear()?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the mounter ended with {status}");
        report["report"]["requests"].as_u64().with_context(|| format!("the mounter said {report}"))
    }
}

impl Drop for Mounter {
    fn drop(&mut self) {
        drop(self.process.stdin.take()); // which tells it to unmount and end
        let _ = self.process.wait(); // it was already awaited, when all went well
    }
}

/// The path and query at which anybody may read the object for a while.
fn address(key: &str) -> String {
    let request = Request { method: "GET", bucket: BUCKET, key, query: &[], headers: &[] };
    let credentials = credentials();
    let pair = KeyPair { id: &credentials.access_key_id, secret: &credentials.secret };
    let now = u64::try_from(clock().0 / 1_000_000).unwrap_or(0);
    let escaped = |text: &str| {
        text.replace('%', "%25").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
    };
    let query: Vec<String> = presign_v1(&request, pair, now + ADDRESS_SECONDS)
        .into_iter()
        .map(|(name, value)| format!("{name}={}", escaped(&value)))
        .collect();
    format!("/{BUCKET}/{key}?{}", query.join("&"))
}

/// The plainest client there is: asks for bytes `start..end` and counts what comes.
fn get(store: SocketAddr, target: &str, start: u64, end: u64) -> Result<u64> {
    let mut stream = TcpStream::connect(store)?;
    let last = end - 1;
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {store}\r\nRange: bytes={start}-{last}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = BufReader::with_capacity(PIECE, stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 206"), "the store answered {line}");
    while line != "\r\n" {
        line.clear();
        ensure!(answer.read_line(&mut line)? > 0, "the store's answer has no end of headers");
    }
    count(answer)
}

fn drain(file: &Path) -> Result<u64> {
    let file = File::open(file).with_context(|| format!("could not open {}", file.display()))?;
    count(file)
}

fn count(mut from: impl std::io::Read) -> Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

/// A file of bytes that no file system can make smaller.
fn make_file(path: &Path, size: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(PIECE, File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..size / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    file.into_inner()?.sync_all().context("could not keep the local file")
}

/// Asks the kernel to forget what it holds of a file; no right is needed for that.
fn drop_pages(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_character_that_means_something_else() {
        let address = address(KEY);
        let (path, query) = address.split_once('?').expect("a query");
        assert_eq!(path, "/gristmill/bench/large");
        assert_eq!(query.split('&').count(), 3);
        assert!(query.split('&').all(|pair| pair.matches(['=', '+', '/']).count() == 1), "{query}");
    }

    #[test]
    fn a_file_has_the_size_it_was_asked_to_have() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        make_file(&path, 3 << 20).expect("written");
        drop_pages(&path).expect("dropped");
        assert_eq!(drain(&path).expect("read"), 3 << 20);
    }

    #[test]
    fn ratios_compare_times_of_one_round() {
        let reading = |seconds| Reading { seconds, server_processor_seconds: 0.0 };
        let mount = Mounted {
            seconds: 2.0,
            server_processor_seconds: 0.0,
            mounter_processor_seconds: 1.0,
            mounter_memory_mib: 64.0,
            ready_seconds: 0.01,
            requests: 9,
        };
        let (http_1, http_8) = (reading(1.0), reading(0.5));
        let round = Round {
            http_1,
            http_8,
            mount,
            local_dropped: reading(4.0),
            local_memory: reading(0.2),
        };
        let read = Read { size_mib: 512, rounds: 1, common: Common { programs: None, json: None } };
        let summary = read.sum_up(&[round]);
        assert_eq!((summary.of_http_1.median, summary.of_http_8.median), (0.5, 0.25));
        assert_eq!(summary.of_local_dropped.median, 2.0);
        assert_eq!(summary.mounter_processor_seconds_per_gib.median, 2.0);
    }
}
