//! What is mounted: a list of [`Source`]s, numbered in order, and why mounting one failed.
//!
//! One mount serves all inputs of an instance. Source number 3 appears as the directory `3` when
//! it is a prefix and as the file `3/object` when it is one object; whoever asked for the mount
//! binds these to where the program expects them.

use gristmill_model::OssPath;
use gristmill_objects::ObjectError;
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// The name a single object has in its source's directory. Not its own: that may be no legal
/// file name.
pub const OBJECT_NAME: &str = "object";

/// One prefix or one object of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The bucket.
    pub bucket: String,
    /// The object's key, or the prefix.
    pub key: String,
    /// Which of both.
    pub kind: SourceKind,
}

/// What a source's key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Everything that starts with the key.
    Prefix,
    /// The object of that key.
    Object,
}

impl Source {
    /// The prefix to list, with its slash at the end unless it is the whole bucket.
    pub fn prefix(&self) -> String {
        match self.kind {
            SourceKind::Prefix if !self.key.is_empty() && !self.key.ends_with('/') => {
                format!("{}/", self.key)
            }
            SourceKind::Prefix | SourceKind::Object => self.key.clone(),
        }
    }

    /// Where source `number` appears below the mount point.
    pub fn path_in_mount(&self, number: usize) -> PathBuf {
        let directory = PathBuf::from(number.to_string());
        match self.kind {
            SourceKind::Prefix => directory,
            SourceKind::Object => directory.join(OBJECT_NAME),
        }
    }
}

impl From<&OssPath> for Source {
    fn from(path: &OssPath) -> Self {
        let kind = if path.is_prefix() { SourceKind::Prefix } else { SourceKind::Object };
        Self { bucket: path.bucket().to_owned(), key: path.key().to_owned(), kind }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oss://{}/{}", self.bucket, self.key)
    }
}

/// A source that cannot be mounted.
#[derive(Debug, thiserror::Error)]
#[error("could not open the input {path}")]
pub struct SourceError {
    /// Which, as `oss://bucket/key`.
    pub path: String,
    /// What the store said.
    pub source: ObjectError,
}
