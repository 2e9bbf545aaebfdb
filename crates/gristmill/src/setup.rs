//! What the front door finds or makes before a region starts: the clock, this program's path,
//! the root key and the region's secret.

use anyhow::{Context, bail};
use gristmill_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The real clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Threads that own something which nobody else can go on with.
const OWNERS: [&str; 5] = ["mill", "checkpoints", "books", "messages", "object-writer"];

/// A panic of an owner ends the process: a restart recovers. One in the answer to a request costs
/// that request.
pub fn end_when_an_owner_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if std::thread::current().name().is_some_and(|name| OWNERS.contains(&name)) {
            std::process::exit(70);
        }
    }));
}

/// The one TLS provider; two in one process would make rustls panic.
pub fn install_crypto() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How Gristmill starts itself again: as what is running now, even after an upgrade of the file.
pub fn this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"))
}

/// Bytes nobody can guess.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the kernel gives no random bytes: {error}"))?;
    Ok(bytes)
}

/// An access key with its secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct RootKey {
    /// The id.
    pub access_key_id: String,
    /// The secret.
    pub access_key_secret: String,
}

pub const ROOT_KEY_FILE: &str = "root-key.json";
pub const SECRET_FILE: &str = "region-secret";

/// Makes the data directory, readable by its owner only.
pub fn data_dir(dir: &Path) -> anyhow::Result<PathBuf> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("could not make the data directory {}", dir.display()))?;
    dir.canonicalize().with_context(|| format!("could not resolve {}", dir.display()))
}

/// The root key: from the environment, else from the data directory, else made now and kept.
pub fn root_key(dir: &Path, from_environment: Option<RootKey>) -> anyhow::Result<RootKey> {
    if let Some(key) = from_environment {
        return Ok(key);
    }
    let file = dir.join(ROOT_KEY_FILE);
    if let Some(text) = read(&file)? {
        return serde_json::from_slice(&text)
            .with_context(|| format!("{} is not a root key", file.display()));
    }
    let key = RootKey {
        access_key_id: format!("GM{}", hex(&random::<9>()?).to_uppercase()),
        access_key_secret: hex(&random::<20>()?),
    };
    write_private(&file, &serde_json::to_vec_pretty(&key).context("a key is plain text")?)?;
    Ok(key)
}

/// The region's secret, from which keys of tasks and tokens of workers are derived.
pub fn region_secret(dir: &Path) -> anyhow::Result<[u8; 32]> {
    let file = dir.join(SECRET_FILE);
    match read(&file)? {
        Some(bytes) => match bytes.try_into() {
            Ok(secret) => Ok(secret),
            Err(_) => bail!("{} does not hold 32 bytes", file.display()),
        },
        None => {
            let secret = random()?;
            write_private(&file, &secret)?;
            Ok(secret)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not read {}", file.display())),
    }
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let draft = file.with_extension("new");
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut target = options.open(&draft)?;
        target.write_all(bytes)?;
        target.sync_all()?;
        fs::rename(&draft, file)?;
        fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
    })();
    written.with_context(|| format!("could not write {}", file.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_root_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = root_key(dir.path(), None).expect("made");
        let again = root_key(dir.path(), None).expect("read");
        assert_eq!(first.access_key_secret, again.access_key_secret);
        let mode =
            fs::metadata(dir.path().join(ROOT_KEY_FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            region_secret(dir.path()).expect("made"),
            region_secret(dir.path()).expect("read")
        );
    }
}
