//! `gristmill demo`: the guide's log-count job from start to result, in a region that is thrown
//! away. Everything a user would type goes through the same code as `bcs`.

use crate::{log, oss_door::DEFAULT_BUCKET, serve, setup};
use anyhow::{Context, bail};
use clap::Args;
use gristmill_cli::{environment::Environment, output::Output};
use gristmill_server::RegionConfig;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use tokio::signal::unix::{SignalKind, signal};

/// How often each word stands in the demo's log.
const WORDS: [(&str, usize); 4] =
    [("INFO", 2460), ("WARN", 2448), ("DEBUG", 2509), ("ERROR", 2583)];

/// The job and its three programs, as in `examples/log-count`.
const FILES: [(&str, &str); 5] = [
    ("job.cfg", include_str!("../../../examples/log-count/job.cfg")),
    ("log-count/conf.sh", include_str!("../../../examples/log-count/log-count/conf.sh")),
    ("log-count/split.sh", include_str!("../../../examples/log-count/log-count/split.sh")),
    ("log-count/count.sh", include_str!("../../../examples/log-count/log-count/count.sh")),
    ("log-count/merge.sh", include_str!("../../../examples/log-count/log-count/merge.sh")),
];

/// Run the guide's log-count job.
#[derive(Args)]
pub struct Demo {
    /// Keep the region's directory and say where it is
    #[arg(long)]
    keep: bool,
}

impl Demo {
    /// Runs the job, prints the counts, leaves nothing behind.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        log::start("warn");
        let directory = tempfile::Builder::new()
            .prefix("gristmill-demo-")
            .tempdir()
            .context("could not make a temporary directory")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("could not start the async runtime")?;
        let outcome = runtime.block_on(demo(directory.path()));
        if self.keep {
            eprintln!("kept: {}", directory.keep().display());
        }
        outcome
    }
}

async fn demo(directory: &Path) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = RegionConfig {
        data_dir: setup::data_dir(&directory.join("region"))?,
        listen: anywhere,
        oss_listen: anywhere,
        mns_listen: anywhere,
        ..RegionConfig::default()
    };
    let secrets = serve::secrets(&config.data_dir, None)?;
    let key = (secrets.root_key_id.clone(), secrets.root_key_secret.clone());
    let region = serve::start(config, secrets).await?;
    eprintln!("region up at http://{}, object store at http://{}", region.api, region.oss);
    let user = User::new(directory, region.api, region.oss, key)?;
    let outcome = tokio::select! {
        outcome = user.log_count() => outcome,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    region.stop().await;
    if outcome.is_ok() {
        eprintln!("done in {:.1} s, nothing is left behind", begun.elapsed().as_secs_f64());
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn interrupted() {
    let mut term = signal(SignalKind::terminate()).expect("a handler can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a handler can be set");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Someone who types `bcs` commands in a directory of their own.
struct User {
    environment: Environment,
    directory: PathBuf,
}

impl User {
    fn new(
        directory: &Path,
        api: SocketAddr,
        oss: SocketAddr,
        key: (String, String),
    ) -> anyhow::Result<Self> {
        let work = directory.join("work");
        for (name, text) in FILES {
            let file = work.join(name);
            fs::create_dir_all(file.parent().expect("below the work directory"))?;
            fs::write(&file, text)
                .with_context(|| format!("could not write {}", file.display()))?;
        }
        fs::write(work.join("log-count-data.txt"), a_log())?;
        let mut environment = Environment::of_process();
        environment.directory.clone_from(&work);
        environment.config_dir = directory.join("config");
        environment.asks = false;
        let variables = [
            ("BCS_ENDPOINT", format!("http://{api}")),
            ("BCS_OSS_ENDPOINT", format!("http://{oss}")),
            ("BCS_REGION", "cn-local".to_owned()),
            ("BCS_ACCESS_KEY_ID", key.0),
            ("BCS_ACCESS_KEY_SECRET", key.1),
            ("BCS_OSSPATH", format!("oss://{DEFAULT_BUCKET}/home/")),
        ];
        environment.variables.extend(variables.map(|(name, value)| (name.to_owned(), value)));
        Ok(Self { environment, directory: work })
    }

    async fn log_count(&self) -> anyhow::Result<()> {
        let place = format!("oss://{DEFAULT_BUCKET}/log-count/");
        let data = format!("{place}log-count-data.txt");
        self.bcs(&["oss", "upload", "log-count-data.txt", &data]).await?;
        let (inputs, outputs) = (format!("{place}:/home/input/"), format!("{place}:/home/output/"));
        self.bcs(&["sub", "--file", "job.cfg", "-r", &inputs, "-w", &outputs]).await?;
        self.bcs(&["j"]).await?;
        self.bcs(&["j", "1", "-w"]).await?;
        self.bcs(&["oss", "cat", &format!("{place}merge_result.txt")]).await
    }

    async fn bcs(&self, words: &[&str]) -> anyhow::Result<()> {
        eprintln!("$ bcs {}", words.join(" "));
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let output = Output::of_process(&self.environment);
        match gristmill_cli::run(words, self.environment.clone(), output).await {
            0 => Ok(()),
            status => bail!("bcs ended with {status} (in {})", self.directory.display()),
        }
    }
}

/// 10,000 lines whose counts are known, in an order that only looks random.
fn a_log() -> String {
    let mut words: Vec<&str> =
        WORDS.into_iter().flat_map(|(word, count)| std::iter::repeat_n(word, count)).collect();
    let mut state = 20_161_101_u32;
    for last in (1..words.len()).rev() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words.swap(last, state as usize % (last + 1));
    }
    let line = |(number, word)| format!("{number:05} {word} something happened\n");
    words.into_iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_the_counts_of_the_guide() {
        let log = a_log();
        assert_eq!(log.lines().count(), 10_000);
        for (word, count) in WORDS {
            assert_eq!(log.lines().filter(|line| line.contains(word)).count(), count, "{word}");
        }
    }
}
