//! `gristmill serve`: reads the configuration, starts the region, waits for a signal.
//!
//! A setting is taken from its flag, else from its environment variable, else from the file,
//! else it has a default. The variable of a key is `GRISTMILL_` and the key in capitals, with two
//! underscores where the key has a dot: `GRISTMILL_PATIENCE__WORKER_SILENCE_MAX`.

use crate::{log, mns_door, oss_door, setup};
use anyhow::Context;
use clap::Args;
use config::{Config, Environment, File, FileFormat};
use gristmill_server::{Clock, Region, RegionConfig, RegionSecrets};
use std::{collections::HashMap, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};

/// Variables that are secrets, not settings.
const KEY_ID: &str = "GRISTMILL_ROOT_ACCESS_KEY_ID";
const KEY_SECRET: &str = "GRISTMILL_ROOT_ACCESS_KEY_SECRET";
/// Variables that other parts read.
const NOT_SETTINGS: [&str; 7] = [
    KEY_ID,
    KEY_SECRET,
    "GRISTMILL_ENDPOINT",
    "GRISTMILL_LOG",
    "GRISTMILL_LOG_FORMAT",
    "GRISTMILL_REGISTRY_USER",
    "GRISTMILL_REGISTRY_PASSWORD",
];

/// Whether a variable is a key of the settings. A build without fail points refuses theirs.
fn is_setting(name: &str) -> bool {
    let of_tests = gristmill_faults::BUILT_IN && name == gristmill_faults::VARIABLE;
    !of_tests && !NOT_SETTINGS.contains(&name)
}

/// Run a region.
#[derive(Args)]
pub struct Serve {
    /// Directory for all state of the region [default: ./gristmill-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Name of the region [default: cn-local]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// BatchCompute API, /healthz, /metrics, /openapi.json [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Object store [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR:PORT")]
    oss_listen: Option<SocketAddr>,
    /// Message service [default: 127.0.0.1:8082]
    #[arg(long, value_name = "ADDR:PORT")]
    mns_listen: Option<SocketAddr>,
    /// All services on one port, told apart by Host (may be given several times)
    #[arg(long, value_name = "ADDR:PORT")]
    front_listen: Vec<SocketAddr>,
    /// The same with TLS and a self-made certificate (may be given several times)
    #[arg(long, value_name = "ADDR:PORT")]
    front_tls_listen: Vec<SocketAddr>,
    /// Shells on machines for SSH clients [default: off]
    #[arg(long, value_name = "ADDR:PORT")]
    ssh_listen: Option<SocketAddr>,
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        log::start("info");
        setup::end_when_an_owner_panics();
        let environment: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let config = self.settings(&environment)?;
        let data_dir = setup::data_dir(&config.data_dir)?;
        let key = match (environment.get(KEY_ID), environment.get(KEY_SECRET)) {
            (Some(id), Some(secret)) => Some(setup::RootKey {
                access_key_id: id.clone(),
                access_key_secret: secret.clone(),
            }),
            (None, None) => None,
            _ => anyhow::bail!("{KEY_ID} and {KEY_SECRET} must be set together"),
        };
        let secrets = secrets(&data_dir, key)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("could not start the async runtime")?;
        runtime.block_on(serve(RegionConfig { data_dir, ..config }, secrets))
    }

    fn settings(&self, environment: &HashMap<String, String>) -> anyhow::Result<RegionConfig> {
        let mut builder = Config::builder();
        if let Some(file) = &self.config {
            let name = file.to_str().context("the settings file has a name that is not UTF-8")?;
            builder = builder.add_source(File::new(name, FileFormat::Toml));
        }
        let variables = environment
            .iter()
            .filter(|(name, _)| name.starts_with("GRISTMILL_") && is_setting(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        builder = builder.add_source(
            Environment::with_prefix("GRISTMILL")
                .prefix_separator("_")
                .separator("__")
                .try_parsing(true)
                .list_separator(",")
                .with_list_parse_key("front_listen")
                .with_list_parse_key("front_tls_listen")
                .with_list_parse_key("oss_hosts")
                .with_list_parse_key("outbound.allow")
                .with_list_parse_key("local.nat.allow")
                .with_list_parse_key("local.nat.deny")
                .with_list_parse_key("local.nat.resolvers")
                .with_list_parse_key("notifications.own_hosts")
                .source(Some(variables)),
        );
        let mut config: RegionConfig = builder
            .build()
            .and_then(Config::try_deserialize)
            .context("the settings cannot be used")?;
        self.override_settings(&mut config);
        Ok(config)
    }

    fn override_settings(&self, config: &mut RegionConfig) {
        config.data_dir = self.data_dir.clone().unwrap_or_else(|| config.data_dir.clone());
        config.region = self.region.clone().unwrap_or_else(|| config.region.clone());
        config.listen = self.listen.unwrap_or(config.listen);
        config.oss_listen = self.oss_listen.unwrap_or(config.oss_listen);
        config.mns_listen = self.mns_listen.unwrap_or(config.mns_listen);
        config.ssh_listen = self.ssh_listen.or(config.ssh_listen);
        if !self.front_listen.is_empty() {
            config.front_listen.clone_from(&self.front_listen);
        }
        if !self.front_tls_listen.is_empty() {
            config.front_tls_listen.clone_from(&self.front_tls_listen);
        }
    }
}

/// Secrets of a region whose data lie in this directory.
pub fn secrets(
    data_dir: &std::path::Path,
    key: Option<setup::RootKey>,
) -> anyhow::Result<RegionSecrets> {
    let key = setup::root_key(data_dir, key)?;
    Ok(RegionSecrets {
        root_key_id: key.access_key_id,
        root_key_secret: key.access_key_secret,
        region_secret: setup::region_secret(data_dir)?,
        id_seed: setup::random()?,
    })
}

/// Starts a region with the real clock and this program.
pub async fn start(config: RegionConfig, secrets: RegionSecrets) -> anyhow::Result<Region> {
    let clock: Clock = Arc::new(setup::now);
    let store = oss_door::open_store(&config, clock.clone()).await?;
    let settings = config.clone();
    let oss_clock = clock.clone();
    let objects = store.clone();
    let oss = move |doorkeeper| oss_door::door(&settings, store, oss_clock, doorkeeper);
    let (settings, mns_clock) = (config.clone(), clock.clone());
    let mns = move |doorkeeper, service| mns_door::door(&settings, mns_clock, doorkeeper, service);
    let program = setup::this_program();
    Ok(Region::start(config, secrets, clock, program, objects, oss, mns).await?)
}

async fn serve(config: RegionConfig, secrets: RegionSecrets) -> anyhow::Result<ExitCode> {
    let mut term = signal(SignalKind::terminate()).context("could not watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not watch for SIGINT")?;
    let region = start(config, secrets).await?;
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
    }
    region.stop().await;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }

    fn settings(line: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<RegionConfig> {
        let line = Line::parse_from([&["serve"], line].concat());
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        line.serve.settings(&environment.iter().map(own).collect())
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let from_environment = [
            ("GRISTMILL_REGION", "cn-env"),
            ("GRISTMILL_FRONT_LISTEN", "127.0.0.1:80,127.0.0.1:81"),
        ];
        let config = settings(&["--region", "cn-flag"], &from_environment).expect("legal");
        assert_eq!(config.region, "cn-flag");
        assert_eq!(config.front_listen.len(), 2);
        assert_eq!(settings(&[], &from_environment).expect("legal").region, "cn-env");
    }

    #[test]
    fn nested_keys_have_variables_and_secrets_are_no_settings() {
        let variables = [
            ("GRISTMILL_PATIENCE__WORKER_SILENCE_MAX", "7"),
            (KEY_ID, "id"),
            (KEY_SECRET, "secret"),
        ];
        let config = settings(&[], &variables).expect("legal");
        assert_eq!(config.patience.worker_silence_max.0, 7);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = settings(&[], &[("GRISTMILL_REGOIN", "x")]).expect_err("misspelt");
        assert!(format!("{error:#}").contains("regoin"), "{error:#}");
    }
}
