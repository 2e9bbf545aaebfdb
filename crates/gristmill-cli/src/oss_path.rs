//! `oss://bucket/key` as typed by a person. The key may be empty or end in a slash.

use crate::words::{Complaint, messages as m};
use std::fmt;

/// A place in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OssPath {
    /// The bucket.
    pub bucket: String,
    /// The key, or a prefix of keys.
    pub key: String,
}

impl OssPath {
    /// Reads `oss://bucket/key`. A bucket without a slash after it is an error, as everywhere in
    /// the protocol: it is usually a forgotten path.
    pub fn parse(text: &str) -> Result<Self, Complaint> {
        let broken = || m::INVALID_OSS_PATH.complain([("path", &text)]);
        let rest = text.strip_prefix("oss://").ok_or_else(broken)?;
        let (bucket, key) = rest.split_once('/').ok_or_else(broken)?;
        if bucket.is_empty() {
            return Err(broken());
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Whether it names everything below it.
    pub fn is_folder(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    /// The last part of the key.
    pub fn base_name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// The same bucket, another key.
    #[must_use]
    pub fn with_key(&self, key: String) -> Self {
        Self { bucket: self.bucket.clone(), key }
    }
}

impl fmt::Display for OssPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oss://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_bucket_and_a_key() {
        let path = OssPath::parse("oss://b/a/c.txt").unwrap();
        assert_eq!(
            (path.bucket.as_str(), path.key.as_str(), path.base_name()),
            ("b", "a/c.txt", "c.txt")
        );
        assert!(OssPath::parse("oss://b/").unwrap().is_folder());
        assert!(OssPath::parse("oss://b/a/").unwrap().is_folder());
        assert!(!path.is_folder());
        for text in ["oss://b", "oss:///a", "/a", "s3://b/a"] {
            assert!(OssPath::parse(text).is_err(), "{text}");
        }
    }
}
