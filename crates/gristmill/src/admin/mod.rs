//! `gristmill admin`: the operator's commands. They talk to the running region through its admin
//! door, signed with the root key.
//!
//! To add a command: its arguments in the module of its noun, a line in [`Noun`], the Chinese of
//! every help text in `words`, and the other end in the server's `admin`. Data goes to standard
//! output, words to standard error.

mod account;
mod app;
mod books;
mod credentials;
mod image;
mod key;
mod market;
mod notifications;
mod shell;
mod trial;
mod words;

use crate::setup::RootKey;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gristmill_cli::{
    client::{Client, ClientError, Credentials, Endpoints},
    table::table,
    words::Language,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub use trial::Trial;
pub use words::translated;

/// Variables of `serve` that hold the root key.
const KEY_ID: &str = "GRISTMILL_ROOT_ACCESS_KEY_ID";
const KEY_SECRET: &str = "GRISTMILL_ROOT_ACCESS_KEY_SECRET";

/// Operate a running region.
#[derive(Args)]
pub struct Admin {
    /// Where the region's API answers
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "GRISTMILL_ENDPOINT",
        default_value = "http://127.0.0.1:8080"
    )]
    endpoint: String,
    /// Directory of the region, for its root key; not read when the environment has a key
    #[arg(long, global = true, value_name = "DIR", default_value = "gristmill-data")]
    data_dir: PathBuf,
    /// Print the server's JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Subcommand)]
enum Noun {
    /// Accounts: who owns jobs, clusters, buckets and images
    #[command(subcommand)]
    Account(account::Account),
    /// Apps that everybody may see and call
    #[command(subcommand)]
    App(app::App),
    /// Images that machines start from
    #[command(subcommand)]
    Image(image::Image),
    /// Access keys of accounts
    #[command(subcommand)]
    Key(key::Key),
    /// Prices of spot machines
    #[command(subcommand)]
    SpotPrice(market::SpotPrice),
    /// Machines set aside for an account
    #[command(subcommand)]
    Prepaid(market::Prepaid),
    /// How much an account may use
    #[command(subcommand)]
    Quota(market::Quota),
    /// Make a temporary access key
    Credentials(credentials::Credentials),
    /// List jobs and clusters whose notifications cannot be delivered now
    Notifications(notifications::Notifications),
    /// Open a shell on a machine of a fixed cluster, or run a command there
    Shell(shell::Shell),
    /// Copy books and keys of a region, running or not, into a new directory
    Backup(books::Backup),
    /// Put a copy into an empty data directory
    Restore(books::Restore),
    /// Look whether the books of a stopped region, or a copy, are whole and add up
    Check(books::Check),
}

impl Admin {
    /// Carries the command out.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match &self.noun {
            Noun::Backup(backup) => return backup.run(&self.data_dir).map(|()| ExitCode::SUCCESS),
            Noun::Restore(restore) => {
                return restore.run(&self.data_dir).map(|()| ExitCode::SUCCESS);
            }
            Noun::Check(check) => return check.run(&self.data_dir).map(|()| ExitCode::SUCCESS),
            _ => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the async runtime")?;
        let door = Door::new(&self.endpoint, &self.data_dir, self.json)?;
        if let Noun::Shell(shell) = self.noun {
            let key = root_key(&self.data_dir)?;
            return Ok(runtime.block_on(shell.run(&self.endpoint, key)));
        }
        runtime.block_on(async {
            match self.noun {
                Noun::Account(account) => account.run(&door).await,
                Noun::App(app) => app.run(&door).await,
                Noun::Image(image) => image.run(&door, &self.data_dir).await,
                Noun::Key(key) => key.run(&door).await,
                Noun::SpotPrice(price) => price.run(&door).await,
                Noun::Prepaid(prepaid) => prepaid.run(&door).await,
                Noun::Quota(quota) => quota.run(&door).await,
                Noun::Credentials(credentials) => credentials.run(&door).await,
                Noun::Notifications(notifications) => notifications.run(&door).await,
                Noun::Shell(_) => unreachable!("it was run above"),
                Noun::Backup(_) | Noun::Restore(_) | Noun::Check(_) => {
                    unreachable!("it was run above")
                }
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The admin door of a region, with the root key in hand.
struct Door {
    client: Client,
    json: bool,
}

impl Door {
    fn new(endpoint: &str, data_dir: &Path, json: bool) -> anyhow::Result<Self> {
        let key = root_key(data_dir)?;
        let url = endpoint.trim_end_matches('/');
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let endpoints =
            Endpoints { batchcompute_url: url.clone(), oss_url: url, region: String::new() };
        let credentials = Credentials {
            access_key_id: key.access_key_id,
            secret: key.access_key_secret,
            token: None,
        };
        Ok(Self { client: Client::new(endpoints, credentials), json })
    }

    /// Calls `/admin/...`.
    async fn ask(
        &self,
        method: &'static str,
        segments: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let segments = [&["admin"], segments].concat();
        self.client.ask(method, &segments, query, body).await.map_err(plain)
    }

    async fn get(&self, segments: &[&str]) -> anyhow::Result<Value> {
        self.ask("GET", segments, &[], None).await
    }

    /// The same; `None`: there is no such thing.
    async fn find(&self, segments: &[&str]) -> anyhow::Result<Option<Value>> {
        let segments = [&["admin"], segments].concat();
        match self.client.ask("GET", &segments, &[], None).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.code() == Some("InvalidResource.NotFound") => Ok(None),
            Err(error) => Err(plain(error)),
        }
    }

    async fn post(&self, segments: &[&str], body: Option<&Value>) -> anyhow::Result<Value> {
        self.ask("POST", segments, &[], body).await
    }

    async fn delete(&self, segments: &[&str]) -> anyhow::Result<()> {
        self.ask("DELETE", segments, &[], None).await.map(drop)
    }

    /// Prints one thing, or a list of things (`Items`), as a table with these members as columns.
    fn show(&self, answer: &Value, columns: &[&str]) {
        if self.json {
            println!("{answer:#}");
            return;
        }
        let items = match answer["Items"].as_array() {
            Some(items) => items.clone(),
            None => vec![answer.clone()],
        };
        let row = |item: &Value| columns.iter().map(|column| cell(&item[*column])).collect();
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        println!("{}", table(columns, &rows, false));
    }
}

/// The message of the service without our prefix twice; what the operator greps for stays.
fn plain(error: ClientError) -> anyhow::Error {
    let language = Language::choose(None, &std::env::vars().collect());
    anyhow::Error::msg(error.say(language))
}

/// A member as a cell: texts plainly, lists with commas, the rest as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// From the environment, else from the region's directory.
fn root_key(data_dir: &Path) -> anyhow::Result<RootKey> {
    match (std::env::var(KEY_ID), std::env::var(KEY_SECRET)) {
        (Ok(access_key_id), Ok(access_key_secret)) => {
            return Ok(RootKey { access_key_id, access_key_secret });
        }
        (Err(_), Err(_)) => {}
        _ => bail!("{KEY_ID} and {KEY_SECRET} must be set together"),
    }
    let file = data_dir.join("root-key.json");
    let text = fs::read(&file).with_context(|| {
        format!(
            "could not read the root key {}: give --data-dir, or set {KEY_ID} and {KEY_SECRET}",
            file.display()
        )
    })?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not a root key", file.display()))
}

/// JSON of an option: a file's with `@file`, else the text itself.
fn json_of(text: &str, option: &str) -> anyhow::Result<Value> {
    let text = match text.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).with_context(|| format!("could not read {file}"))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text).with_context(|| format!("{option} is not JSON"))
}
