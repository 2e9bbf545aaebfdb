//! Fetches an image from a registry, into the layout of container images.
//!
//! Each blob is written to a file and compared with its digest. One that breaks off is gone on with
//! where it broke.

use crate::{
    blobs::Blobs,
    digest::{Digest, Hashing},
    error::ImageError,
    manifest::{DESCRIPTION_BYTES_MAX, Description, Descriptor, blob_name, choose, parse},
    progress::Progress,
    refusal::Refusal,
};
use futures::StreamExt;
use gristmill_runtime::package::archive::ArchiveLimits;
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use std::{
    fmt,
    fs::{self, File},
    io::Write,
    path::Path,
    time::Duration,
};

/// How often a blob is asked for before it is given up.
const ATTEMPTS_MAX: u32 = 5;
/// Before it is asked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a registry may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Indexes inside indexes.
const DEPTH_MAX: usize = 3;
/// Descriptions that are understood.
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// How registries are spoken to.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// Who asks; nobody: without signing in.
    pub credentials: Option<Credentials>,
    /// How connections are protected.
    pub protection: Protection,
}

/// How connections to a registry are protected.
#[derive(Debug, Clone, Default)]
pub enum Protection {
    /// By TLS, with the authorities that this host knows; registries of this host are spoken to without.
    #[default]
    Usual,
    /// By TLS, with these authorities as well; a certificate each, as PEM.
    Authorities(Vec<Vec<u8>>),
    /// Not at all.
    Nothing,
}

impl Protection {
    /// TLS with the authorities of a file: certificates, as PEM.
    pub fn by(file: &Path) -> Result<Self, ImageError> {
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        let text = fs::read_to_string(file).map_err(ImageError::io("read", file))?;
        let parts = text.split(BEGIN).skip(1).map(|rest| format!("{BEGIN}{rest}").into_bytes());
        match parts.collect::<Vec<_>>() {
            none if none.is_empty() => {
                let why = "it holds no certificate (PEM)".to_owned();
                Err(ImageError::NoAuthority { path: file.to_owned(), why })
            }
            certificates => Ok(Self::Authorities(certificates)),
        }
    }
}

/// A user of a registry.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A pull under way.
struct Pull<'a> {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
    to: &'a Path,
    bytes_max: u64,
    bytes_left: u64,
    progress: &'a dyn Progress,
}

impl Registry {
    /// Fetches `name` for these processors into the new directory `to`. Answers how many bytes it holds now.
    pub(crate) fn pull(
        &self,
        name: &str,
        architecture: &str,
        limits: &ArchiveLimits,
        to: &Path,
        progress: &dyn Progress,
    ) -> Result<u64, ImageError> {
        let no_name = |why: String| ImageError::NoImage { origin: name.to_owned(), why };
        let reference: Reference = name.parse().map_err(|error: oci_client::ParseError| {
            no_name(format!("nothing lies at this path, and it is no name of a registry: {error}"))
        })?;
        progress.begin(&format!("asking {} for {reference}", reference.registry()), None);
        fs::create_dir_all(to.join("blobs/sha256")).map_err(ImageError::io("make", to))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ImageError::io("start a runtime for", name))?;
        let client = self.client(&reference)?;
        let auth = match &self.credentials {
            Some(Credentials { user, password }) => {
                RegistryAuth::Basic(user.clone(), password.clone())
            }
            None => RegistryAuth::Anonymous,
        };
        let bytes_max = limits.bytes_max;
        let mut pull =
            Pull { client, reference, auth, to, bytes_max, bytes_left: bytes_max, progress };
        runtime.block_on(pull.run(architecture))?;
        Ok(bytes_max - pull.bytes_left)
    }

    fn client(&self, reference: &Reference) -> Result<Client, ImageError> {
        let host = reference.registry();
        let is_here = ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .any(|here| host == *here || host.starts_with(&format!("{here}:")));
        let (protocol, certificates) = match &self.protection {
            Protection::Authorities(certificates) => {
                (ClientProtocol::Https, certificates.as_slice())
            }
            Protection::Usual if !is_here => (ClientProtocol::Https, &[][..]),
            Protection::Usual | Protection::Nothing => (ClientProtocol::Http, &[][..]),
        };
        let authority =
            |data: &Vec<u8>| Certificate { encoding: CertificateEncoding::Pem, data: data.clone() };
        let config = ClientConfig {
            protocol,
            extra_root_certificates: certificates.iter().map(authority).collect(),
            read_timeout: Some(SILENCE_MAX),
            connect_timeout: Some(CONNECT_MAX),
            user_agent: concat!("gristmill/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let unusable = |error| ImageError::Registry {
            what: format!("a client for {host}"),
            source: Refusal::of(error, None),
        };
        Client::try_from(config).map_err(unusable)
    }
}

impl Pull<'_> {
    async fn run(&mut self, architecture: &str) -> Result<(), ImageError> {
        let mut reference = self.reference.clone();
        for _ in 0..=DEPTH_MAX {
            let (digest, bytes) = self.description(&reference).await?;
            let name = blob_name(&digest);
            let description: Description = parse(&name, &bytes)?;
            write(&self.to.join(&name), &bytes)?;
            let Some(config) = &description.config else {
                let chosen = choose(&name, &description.manifests, architecture)?;
                reference = self.reference.clone_with_digest(chosen.digest.to_string());
                continue;
            };
            self.blob("the configuration", config).await?;
            let count = description.layers.len();
            for (number, layer) in (1..).zip(&description.layers) {
                self.blob(&format!("layer {number} of {count}"), layer).await?;
            }
            return self.finish(&digest, bytes.len());
        }
        Err(ImageError::malformed(reference.to_string(), "indexes lie in indexes too deeply"))
    }

    async fn description(&self, reference: &Reference) -> Result<(Digest, Vec<u8>), ImageError> {
        let asked = self.client.pull_manifest_raw(reference, &self.auth, &ACCEPTED).await;
        let (bytes, _) = match asked {
            Ok(described) => described,
            Err(error) => return Err(self.refused(format!("`{reference}`"), error).await),
        };
        if bytes.len() as u64 > DESCRIPTION_BYTES_MAX {
            let why = format!("its description is longer than {DESCRIPTION_BYTES_MAX} bytes");
            return Err(ImageError::malformed(reference.to_string(), why));
        }
        let digest = Digest::of(&bytes);
        match reference.digest() {
            Some(wanted) if wanted != digest.to_string() => Err(ImageError::Digest {
                what: format!("`{reference}`"),
                found: digest.to_string(),
                wanted: wanted.to_owned(),
            }),
            _ => Ok((digest, bytes.to_vec())),
        }
    }

    /// Why something was not given. A client that could not sign in asks without, so the answer that
    /// signing in is necessary is looked into.
    async fn refused(&self, what: String, error: OciDistributionError) -> ImageError {
        let user = match &self.auth {
            RegistryAuth::Basic(user, _) => Some(user.as_str()),
            _ => None,
        };
        let is_stranger = matches!(error, OciDistributionError::UnauthorizedError { .. });
        let error = match is_stranger && user.is_some() {
            true => {
                let signed_in =
                    self.client.auth(&self.reference, &self.auth, RegistryOperation::Pull).await;
                signed_in.err().unwrap_or(error)
            }
            false => error,
        };
        ImageError::Registry { what, source: Refusal::of(error, user) }
    }

    /// Fetches a blob; one that is there already, as layers may be equal, is not asked for again.
    async fn blob(&mut self, what: &str, blob: &Descriptor) -> Result<(), ImageError> {
        let path = self.to.join(blob_name(&blob.digest));
        if path.exists() {
            return Ok(());
        }
        self.progress.begin(&format!("fetching {what}"), Some(blob.size));
        let mut file = File::create_new(&path).map_err(ImageError::io("make", &path))?;
        let (mut have, mut attempt) = (0, 1);
        while let Err(error) = self.stream(what, blob, &mut file, &mut have).await {
            if have > 0 && have >= blob.size {
                break; // it is whole, and not what it should be
            }
            let may_help =
                matches!(&error, ImageError::Registry { source, .. } if source.may_pass());
            if attempt == ATTEMPTS_MAX || !may_help {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
        }
        self.compare(what, blob)
    }

    /// Goes on behind what is there.
    async fn stream(
        &mut self,
        what: &str,
        blob: &Descriptor,
        file: &mut File,
        have: &mut u64,
    ) -> Result<(), ImageError> {
        let digest = blob.digest.to_string();
        let path = self.to.join(blob_name(&blob.digest));
        let asked = match *have {
            0 => self
                .client
                .pull_blob_stream(&self.reference, digest.as_str())
                .await
                .map(BlobResponse::Full),
            have => {
                let (reference, digest) = (&self.reference, digest.as_str());
                self.client.pull_blob_stream_partial(reference, digest, have, None).await
            }
        };
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return Err(self.refused(what.to_owned(), error).await),
        };
        let mut content = match asked {
            BlobResponse::Partial(rest) => rest,
            BlobResponse::Full(whole) => {
                file.set_len(0).map_err(ImageError::io("write", &path))?;
                std::io::Seek::rewind(file).map_err(ImageError::io("write", &path))?;
                *have = 0;
                whole
            }
        };
        while let Some(bytes) = content.next().await {
            let bytes = bytes.map_err(|error| ImageError::Registry {
                what: what.to_owned(),
                source: Refusal::of(error.into(), None),
            })?;
            let count = bytes.len() as u64;
            let too_much = ImageError::TooMuch { max: self.bytes_max, what: "bytes" };
            self.bytes_left = self.bytes_left.checked_sub(count).ok_or(too_much)?;
            file.write_all(&bytes).map_err(ImageError::io("write", &path))?;
            *have += count;
            self.progress.advance(count);
        }
        Ok(())
    }

    fn compare(&self, what: &str, blob: &Descriptor) -> Result<(), ImageError> {
        let blobs = Blobs::Folder(self.to.to_owned());
        let (content, _) = blobs.open(&blob_name(&blob.digest))?;
        let found =
            Hashing::new(content, None).finish().map_err(ImageError::io("read", self.to))?;
        if found == blob.digest {
            return Ok(());
        }
        let (found, wanted) = (found.to_string(), blob.digest.to_string());
        Err(ImageError::Digest { what: what.to_owned(), found, wanted })
    }

    /// The index that makes a layout of it.
    fn finish(&self, digest: &Digest, size: usize) -> Result<(), ImageError> {
        let index = serde_json::json!({
            "schemaVersion": 2,
            "manifests": [{"digest": digest, "size": size}],
        });
        write(&self.to.join("index.json"), index.to_string().as_bytes())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    fs::write(path, bytes).map_err(ImageError::io("write", path))
}
