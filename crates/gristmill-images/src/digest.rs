//! Digests of content, and readers that compute them on the way.

use crate::progress::Progress;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fmt::{self, Write as _},
    io::{self, Read},
    str::FromStr,
};

/// `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digest(String);

const PREFIX: &str = "sha256:";

impl Digest {
    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    pub fn finish(state: Sha256) -> Self {
        let mut text = PREFIX.to_owned();
        for byte in state.finalize() {
            let _ = write!(text, "{byte:02x}"); // writing into a text does not fail
        }
        Self(text)
    }
}

/// Not the digest of anything that we can check.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no sha256 digest")]
pub(crate) struct BadDigest(String);

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.strip_prefix(PREFIX) {
            Some(hex) if hex.len() == 64 && hex.bytes().all(digit) => Ok(Self(text.to_owned())),
            _ => Err(BadDigest(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;

    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Computes the digest of what is read through it, and tells how far it is.
pub(crate) struct Hashing<'p, R> {
    inner: R,
    state: Sha256,
    progress: Option<&'p dyn Progress>,
}

impl<'p, R: Read> Hashing<'p, R> {
    pub fn new(inner: R, progress: Option<&'p dyn Progress>) -> Self {
        Self { inner, state: Sha256::new(), progress }
    }

    /// Reads what is left and gives the digest of all.
    pub fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest::finish(self.state))
    }
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.state.update(&buffer[..got]);
        if let Some(progress) = self.progress {
            progress.advance(got as u64);
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_that_can_be_checked_are_taken() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().expect("legal").to_string(), empty);
        for bad in
            ["", "sha256:", "sha256:../../x", "sha512:00", &empty.to_uppercase(), &empty[..70]]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_not_read_counts_too() {
        let mut hashing = Hashing::new(&b"hello"[..], None);
        hashing.read_exact(&mut [0; 2]).expect("read");
        assert_eq!(hashing.finish().expect("read"), Digest::of(b"hello"));
    }
}
