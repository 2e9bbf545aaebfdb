//! `gristmill admin image`.
//!
//! An image is unpacked by this command, not by the region: archives of strangers are opened in a
//! process that holds no books, on this host and as the user the region runs as. When the image is complete, the
//! region is asked to name it; until then, and when the command is ended, the region knows nothing of it.

use super::{Door, trial};
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use gristmill_images::{
    Credentials, Hold, ImageError, Library, Progress, Protection, Refusal, Registry, Source, Wish,
    import,
};
use serde_json::{Value, json};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

const COLUMNS: [&str; 7] = ["Id", "Account", "Bytes", "ImportTime", "CheckTime", "Fault", "Origin"];
const DETAILS: [&str; 8] =
    ["Id", "Account", "Bytes", "Digest", "Directory", "InUse", "Machines", "Clusters"];
/// Variables with the user of a registry.
const REGISTRY_USER: &str = "GRISTMILL_REGISTRY_USER";
const REGISTRY_PASSWORD: &str = "GRISTMILL_REGISTRY_PASSWORD";
/// What an import leaves free on the disk of the region.
const BYTES_FREE_MIN: u64 = 1 << 30;

#[derive(Subcommand)]
pub enum Image {
    /// Unpack an image and let machines start from it
    Import(Import),
    /// List imported images
    List,
    /// Show an imported image and who uses it
    Show {
        /// Id of the image
        image: String,
    },
    /// Look whether an imported image is whole and programs start in it
    Check(Check),
    /// Remove an imported image
    Remove {
        /// Id of the image
        image: String,
        /// Also if machines or clusters use it; its files go with the last machine
        #[arg(long)]
        force: bool,
    },
}

/// Unpack an image and let machines start from it
#[derive(Args)]
pub struct Import {
    /// Id of the image: m-NAME, or img-ubuntu or img-centos; a plain NAME becomes m-NAME
    image: String,
    /// A directory, a tar (plain, gzip, zstd), a container image as a directory or an archive (OCI,
    /// docker save), or HOST/NAME:TAG of a registry
    source: String,
    /// For this account only; otherwise for all
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Replace an image of the same id; machines that run stay on the old one
    #[arg(long)]
    replace: bool,
    /// Speak to the registry without encryption
    #[arg(long, conflicts_with = "registry_ca")]
    insecure: bool,
    /// Trust the registry's certificate if it is by an authority in this file (PEM)
    #[arg(long, value_name = "FILE")]
    registry_ca: Option<PathBuf>,
}

/// Look whether an imported image is whole and programs start in it
#[derive(Args)]
pub struct Check {
    /// Id of the image
    image: String,
    /// How long programs may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u32,
    /// What to run in it as well, behind `--`
    #[arg(last = true)]
    command: Vec<String>,
}

impl Image {
    /// `data_dir` is the region's, on this host.
    pub async fn run(self, door: &Door, data_dir: &Path) -> anyhow::Result<()> {
        match self {
            Self::Import(wish) => {
                let made = wish.run(door, data_dir).await?;
                door.show(&made, &["Id", "Account", "Bytes", "Digest"]);
            }
            Self::List => door.show(&door.get(&["images"]).await?, &COLUMNS),
            Self::Show { image } => door.show(&door.get(&["images", &image]).await?, &DETAILS),
            Self::Check(check) => {
                let found = check.run(door).await?;
                door.show(&found, &COLUMNS);
                let fault = found["Fault"].as_str().unwrap_or_default();
                ensure!(fault.is_empty(), "the image must not be used: {fault}");
            }
            Self::Remove { image, force } => {
                let query = [("Force", if force { "true" } else { "false" })];
                door.ask("DELETE", &["images", &image], &query, None).await?;
            }
        }
        Ok(())
    }
}

impl Import {
    async fn run(self, door: &Door, data_dir: &Path) -> anyhow::Result<Value> {
        let is_id = self.image.starts_with("m-") || self.image.starts_with("img-");
        let id = if is_id { self.image.clone() } else { format!("m-{}", self.image) };
        // What the region would refuse in the end is not unpacked first.
        if door.find(&["images", &id]).await?.is_some() && !self.replace {
            bail!("image {id} exists already; --replace takes its place");
        }
        if let Some(account) = &self.account {
            door.get(&["accounts", account]).await?;
        }
        ours(data_dir)?;
        let source = Source::find(&self.source)?;
        let mut wish = Wish { registry: self.registry()?, ..Wish::default() };
        wish.limits.bytes_max = wish.limits.bytes_max.min(free_bytes(data_dir)?);
        let [a, b, c, d] = crate::setup::random::<4>()?;
        let name = format!("{id}.{a:02x}{b:02x}{c:02x}{d:02x}");
        let draft = Library::of(data_dir).begin(&name)?;
        // The source may have a runtime of its own, which does not go into this one.
        let imported = std::thread::scope(|scope| {
            scope.spawn(|| import(&source, &draft, &wish, &Teller::default())).join()
        });
        let imported = imported.map_err(|_| anyhow::anyhow!("the import came to an end"))?;
        let imported = imported.map_err(advised)?;
        if imported.left_out > 0 {
            eprintln!("{} devices, pipes and sockets were left out", imported.left_out);
        }
        let mut body = json!({
            "Directory": name,
            "Digest": imported.digest,
            "Origin": source.to_string(),
            "Replace": self.replace,
        });
        if let Some(account) = &self.account {
            body["Account"] = account.as_str().into();
        }
        let answer = door.post(&["images", &id], Some(&body)).await;
        if answer.is_ok() || may_be_named(door, &id, &name).await {
            draft.keep();
        }
        answer
    }

    fn registry(&self) -> anyhow::Result<Registry> {
        let credentials = match (std::env::var(REGISTRY_USER), std::env::var(REGISTRY_PASSWORD)) {
            (Ok(user), Ok(password)) => Some(Credentials { user, password }),
            (Err(_), Err(_)) => None,
            _ => bail!("{REGISTRY_USER} and {REGISTRY_PASSWORD} must be set together"),
        };
        let protection = match &self.registry_ca {
            Some(file) => Protection::by(file)?,
            None if self.insecure => Protection::Nothing,
            None => Protection::Usual,
        };
        Ok(Registry { credentials, protection })
    }
}

/// The error, and what to do about it.
fn advised(error: ImageError) -> anyhow::Error {
    let advice = match &error {
        ImageError::Registry { source: Refusal::Stranger, .. } => {
            format!("set {REGISTRY_USER} and {REGISTRY_PASSWORD}")
        }
        ImageError::Registry { source: Refusal::Certificate { .. }, .. } => {
            "--registry-ca FILE names an authority to trust".to_owned()
        }
        ImageError::Registry { source: Refusal::Encrypted, .. } => {
            "leave --insecure out; a registry of this host needs --registry-ca FILE".to_owned()
        }
        _ => return error.into(),
    };
    anyhow::anyhow!("{:#}; {advice}", anyhow::Error::from(error))
}

impl Check {
    async fn run(&self, door: &Door) -> anyhow::Result<Value> {
        let about = door.get(&["images", &self.image]).await?;
        let directory = PathBuf::from(about["Directory"].as_str().unwrap_or_default());
        let fault = self.fault(&directory).err().map(|fault| format!("{fault:#}"));
        let body = json!({ "Fault": fault.unwrap_or_default() });
        door.post(&["images", &self.image, "check"], Some(&body)).await
    }

    /// The error is what is wrong with the image.
    fn fault(&self, directory: &Path) -> anyhow::Result<()> {
        let hold = Hold::take(directory)?;
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let library = directory.parent().and_then(Path::parent).unwrap_or(directory);
        Library::of(library).check(&name, &Teller::default())?;
        eprintln!("starting a program in it");
        trial::run_in(hold.root(), self.timeout, &self.command)
    }
}

/// Whether the region may have named a directory although its answer did not come. One that it did not name is
/// swept away later.
async fn may_be_named(door: &Door, id: &str, name: &str) -> bool {
    let Ok(known) = door.get(&["images"]).await else { return true };
    let mut known = known["Items"].as_array().into_iter().flatten();
    let is_it =
        |image: &Value| image["Directory"].as_str().is_some_and(|path| path.ends_with(name));
    known.any(|image| image["Id"] == id && is_it(image))
}

/// Files of the region must belong to the region's user.
fn ours(data_dir: &Path) -> anyhow::Result<()> {
    let about = std::fs::metadata(data_dir).with_context(|| {
        format!("there is no region in {}: give --data-dir", data_dir.display())
    })?;
    let me = std::fs::metadata("/proc/self").context("could not see who is asking")?.uid();
    let owner = about.uid();
    ensure!(me == owner, "the region's files belong to user {owner}; import as that user");
    Ok(())
}

/// How much may be unpacked there.
fn free_bytes(data_dir: &Path) -> anyhow::Result<u64> {
    let about = rustix::fs::statvfs(data_dir).context("could not see how much disk is free")?;
    Ok((about.f_bavail * about.f_frsize).saturating_sub(BYTES_FREE_MIN))
}

/// Tells a person on standard error what is done, and now and then how far it is.
#[derive(Default)]
struct Teller(Mutex<Option<Stage>>);

struct Stage {
    total: Option<u64>,
    done: u64,
    said: Instant,
}

/// How often a long stage is told of.
const SAY_EVERY: Duration = Duration::from_secs(5);

impl Progress for Teller {
    fn begin(&self, what: &str, total: Option<u64>) {
        eprintln!("{what}{}", total.map(|total| format!(" ({})", size(total))).unwrap_or_default());
        let stage = Stage { total, done: 0, said: Instant::now() };
        *self.0.lock().expect("no holder of the lock panics") = Some(stage);
    }

    fn advance(&self, bytes: u64) {
        let mut stage = self.0.lock().expect("no holder of the lock panics");
        let Some(stage) = stage.as_mut() else { return };
        stage.done += bytes;
        if stage.said.elapsed() < SAY_EVERY {
            return;
        }
        stage.said = Instant::now();
        let of = stage.total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
        eprintln!("  {}{of}", size(stage.done));
    }
}

/// Bytes for a person.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes < MIB {
        format!("{} KiB", bytes.div_ceil(1 << 10))
    } else {
        format!("{} MiB", bytes / MIB)
    }
}
