//! Names a user chooses, and paths in the object store (`reference/api.md` 4.5).

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is not a name of this kind. The wording follows the vendor's messages, which
/// people search for (`reference/api.md` 3.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Too short or too long.
    #[error("length must be in [{min}, {max}]")]
    Length {
        /// The shortest legal length.
        min: usize,
        /// The longest legal length.
        max: usize,
    },
    /// A character outside the alphabet, or a digit in front.
    #[error("only [a-zA-Z0-9_-] are allowed and the first character must not be a digit")]
    Alphabet,
}

fn check(text: &str, length_max: usize) -> Result<(), BadName> {
    if text.is_empty() || text.len() > length_max {
        return Err(BadName::Length { min: 1, max: length_max });
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !text.bytes().all(plain) || text.as_bytes()[0].is_ascii_digit() {
        return Err(BadName::Alphabet);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest legal length in characters.
            pub const LENGTH_MAX: usize = $max;

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                check(text, Self::LENGTH_MAX)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name!(
    /// The name of a job, a cluster or an image; not unique. 100 characters are accepted because
    /// App jobs may have them; the wire narrows DAG jobs, clusters and images to 64.
    JobName,
    100
);
name!(
    /// The name of a task inside its job. The vendor's page says 32; the official command line
    /// sends up to 63.
    TaskName,
    63
);
name!(
    /// The name of a group of machines inside its cluster.
    GroupName,
    64
);

name!(
    /// The name of an app; unique among the apps of an account.
    AppName,
    64
);

/// A place in the object store: `oss://bucket/key`. A key that ends in `/` (or is empty) means
/// the prefix, any other key means the one object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OssPath {
    bucket: String,
    key: String,
}

/// A text that is not `oss://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOssPath {
    /// Another scheme or none.
    #[error("must start with oss://")]
    Scheme,
    /// The bucket breaks the rules: 3 to 63 of [a-z0-9-], no hyphen at the ends.
    #[error("the bucket must be 3 to 63 of [a-z0-9-] without a hyphen at either end")]
    Bucket,
    /// The key is over 1023 bytes, starts with `/` or `\`, or holds a NUL.
    #[error("the key must be at most 1023 bytes and must not start with / or \\")]
    Key,
}

/// Whether a bucket may have this name (`reference/oss-gateway.md` 2).
pub fn is_bucket_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=63).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl OssPath {
    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key, without a slash in front. Empty for the whole bucket.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether this is a prefix (a directory) and not one object.
    pub fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    /// This path as a prefix: with a slash at the end (`reference/api.md` 14.3).
    pub fn into_prefix(mut self) -> Self {
        if !self.is_prefix() {
            self.key.push('/');
        }
        self
    }

    /// The object `name` below this prefix.
    pub fn join(&self, name: &str) -> Self {
        Self { bucket: self.bucket.clone(), key: format!("{}{name}", self.key) }
    }
}

impl FromStr for OssPath {
    type Err = BadOssPath;

    fn from_str(text: &str) -> Result<Self, BadOssPath> {
        let rest = text.strip_prefix("oss://").ok_or(BadOssPath::Scheme)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket_name(bucket) {
            return Err(BadOssPath::Bucket);
        }
        if key.len() > 1023 || key.starts_with(['/', '\\']) || key.contains('\0') {
            return Err(BadOssPath::Key);
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl TryFrom<String> for OssPath {
    type Error = BadOssPath;

    fn try_from(text: String) -> Result<Self, BadOssPath> {
        text.parse()
    }
}

impl From<OssPath> for String {
    fn from(path: OssPath) -> String {
        path.to_string()
    }
}

impl fmt::Display for OssPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oss://{}/{}", self.bucket, self.key)
    }
}

impl fmt::Debug for OssPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        for good in ["a", "log-count", "_x", "-x", "A_1"] {
            assert!(good.parse::<JobName>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "a b", "a/b", "日志"] {
            assert!(bad.parse::<JobName>().is_err(), "{bad}");
        }
        assert!("x".repeat(63).parse::<TaskName>().is_ok());
        assert!("x".repeat(64).parse::<TaskName>().is_err());
    }

    #[test]
    fn oss_paths_are_split_once() {
        let path: OssPath = "oss://bkt/a//b/".parse().expect("legal");
        assert_eq!((path.bucket(), path.key(), path.is_prefix()), ("bkt", "a//b/", true));
        assert!("oss://bkt".parse::<OssPath>().expect("legal").is_prefix());
        assert_eq!("oss://ab/x".parse::<OssPath>(), Err(BadOssPath::Bucket));
        assert_eq!("oss://bkt//x".parse::<OssPath>(), Err(BadOssPath::Key));
        assert_eq!("nas://bkt/x".parse::<OssPath>(), Err(BadOssPath::Scheme));
    }
}
