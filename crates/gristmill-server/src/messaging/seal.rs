//! The key that signs pushes, and its certificate (`reference/mns.md` 10): RSA with SHA-1, because
//! that is what receivers verify.
//!
//! Both are made when the first push needs them and kept in the data directory: the key with mode
//! 0600, the certificate for everybody.

use base64::{Engine, engine::general_purpose::STANDARD};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use rsa::{
    PrivateKey,
    pkcs1v15::SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
    signature::{SignatureEncoding, Signer},
};
use sha1::Sha1;
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// The size of the key.
const KEY_BITS: usize = 2_048;
/// The key of signed pushes, below the data directory.
pub const KEY_FILE: &str = "push-key.pem";
/// Its certificate.
pub const CERTIFICATE_FILE: &str = "push-certificate.pem";

/// Signs pushes. Cheap to clone.
#[derive(Clone)]
pub struct Seal(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    /// Where the key comes from when it is made.
    seed: [u8; 32],
    made: OnceLock<Made>,
    /// Held while the key is made, so that it is made once.
    making: Mutex<()>,
}

struct Made {
    key: SigningKey<Sha1>,
    certificate: String,
}

impl Seal {
    /// A seal whose key is kept in this directory.
    pub fn new(directory: &Path, seed: [u8; 32]) -> Self {
        Self(Arc::new(Inner {
            directory: directory.to_owned(),
            seed,
            made: OnceLock::new(),
            making: Mutex::default(),
        }))
    }

    /// The signature of a text, in base64. Blocks while a key is made, which may take a second.
    pub fn sign(&self, text: &str) -> io::Result<String> {
        let signature = self.made()?.key.sign(text.as_bytes());
        Ok(STANDARD.encode(signature.to_bytes()))
    }

    /// The certificate, PEM, if a push was signed before.
    pub fn certificate(&self) -> Option<String> {
        if let Some(made) = self.0.made.get() {
            return Some(made.certificate.clone());
        }
        fs::read_to_string(self.certificate_file()).ok()
    }

    fn made(&self) -> io::Result<&Made> {
        if let Some(made) = self.0.made.get() {
            return Ok(made);
        }
        let _making = self.0.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.0.made.get() {
            return Ok(made);
        }
        let made = match self.read() {
            Ok(made) => made,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make()?,
            Err(error) => return Err(error),
        };
        Ok(self.0.made.get_or_init(|| made))
    }

    fn read(&self) -> io::Result<Made> {
        let key = PrivateKey::from_pkcs8_pem(&fs::read_to_string(self.key_file())?)
            .map_err(io::Error::other)?;
        let certificate = fs::read_to_string(self.certificate_file())?;
        Ok(Made { key: SigningKey::new(key), certificate })
    }

    /// Makes key and certificate. The certificate is written first, so that a key is never
    /// without one.
    fn make(&self) -> io::Result<Made> {
        let mut chance = ChaCha20Rng::from_seed(self.0.seed);
        let key = PrivateKey::new(&mut chance, KEY_BITS).map_err(io::Error::other)?;
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(io::Error::other)?;
        let pair = rcgen::KeyPair::from_pem(&pem).map_err(io::Error::other)?;
        let names = vec!["gristmill message service".to_owned()];
        let parameters = rcgen::CertificateParams::new(names).map_err(io::Error::other)?;
        let certificate = parameters.self_signed(&pair).map_err(io::Error::other)?.pem();
        write(&self.certificate_file(), 0o644, certificate.as_bytes())?;
        write(&self.key_file(), 0o600, pem.as_bytes())?;
        tracing::info!(file = %self.certificate_file().display(), "made a key for signed pushes");
        Ok(Made { key: SigningKey::new(key), certificate })
    }

    fn key_file(&self) -> PathBuf {
        self.0.directory.join(KEY_FILE)
    }

    fn certificate_file(&self) -> PathBuf {
        self.0.directory.join(CERTIFICATE_FILE)
    }
}

/// Writes a whole file or none.
fn write(file: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let fresh = file.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut open = options.write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
    open.write_all(content)?;
    open.sync_all()?;
    fs::rename(fresh, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::{pkcs1v15::VerifyingKey, signature::Verifier};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_signature_outlives_the_process_and_the_key_is_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let seal = Seal::new(dir.path(), [7; 32]);
        assert_eq!(seal.certificate(), None);
        let first = seal.sign("text").expect("signed");
        let again = Seal::new(dir.path(), [8; 32]);
        assert_eq!(again.certificate(), seal.certificate());
        assert_eq!(again.sign("text").expect("signed"), first, "the key was kept");

        let key = fs::read_to_string(dir.path().join("push-key.pem")).expect("there");
        let public = PrivateKey::from_pkcs8_pem(&key).expect("a key").to_public_key();
        let bytes = STANDARD.decode(first).expect("base64");
        let signature = rsa::pkcs1v15::Signature::try_from(bytes.as_slice()).expect("one");
        VerifyingKey::<Sha1>::new(public).verify(b"text", &signature).expect("genuine");
        let about = fs::metadata(dir.path().join("push-key.pem")).expect("there");
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
    }
}
