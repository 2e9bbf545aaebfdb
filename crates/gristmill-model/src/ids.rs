//! Typed ids and their text forms (`reference/api.md` 4.6).
//!
//! Each id is a number inside and a fixed-width text outside, so text order equals number order.
//! `IdMint` in the core makes them; here they are only read and written.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {kind} id: `{text}`")]
pub struct BadId {
    /// What was expected, with its article: `a job`.
    pub kind: &'static str,
    /// What was there.
    pub text: String,
}

/// A job: `job-` and 32 upper-case hex digits. The upper 64 bits are the creation time in
/// microseconds, so ids sort by creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u128);

/// A cluster: `cls-` and 22 lower-case letters and digits (base 36).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

/// A machine of a cluster (the vendor's cluster instance): `i-` and 20 lower-case letters and
/// digits (base 36).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u128);

const JOB_DIGITS: usize = 32;
const CLUSTER_DIGITS: usize = 22;
const WORKER_DIGITS: usize = 20;
const IMAGE_DIGITS: usize = 22;

impl ClusterId {
    /// One more than the largest value that fits the text form: 36^22.
    pub const LIMIT: u128 = 36u128.pow(CLUSTER_DIGITS as u32);
}

impl WorkerId {
    /// One more than the largest value that fits the text form: 36^20.
    pub const LIMIT: u128 = 36u128.pow(WORKER_DIGITS as u32);
}

fn base36(mut value: u128, digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for place in text.iter_mut().rev() {
        *place = b"0123456789abcdefghijklmnopqrstuvwxyz"[(value % 36) as usize];
        value /= 36;
    }
    String::from_utf8(text).expect("the digits are ASCII")
}

fn from_base36(text: &str, digits: usize) -> Option<u128> {
    let plain = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    if text.len() != digits || !text.bytes().all(plain) {
        return None;
    }
    u128::from_str_radix(text, 36).ok()
}

fn from_hex(text: &str) -> Option<u128> {
    let plain = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    if text.len() != JOB_DIGITS || !text.bytes().all(plain) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

macro_rules! text_id {
    ($name:ident, $kind:literal, $prefix:literal, $show:expr, $read:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let show: fn(u128) -> String = $show;
                write!(f, concat!($prefix, "{}"), show(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let read: fn(&str) -> Option<u128> = $read;
                text.strip_prefix($prefix)
                    .and_then(read)
                    .map(Self)
                    .ok_or_else(|| BadId { kind: $kind, text: text.chars().take(80).collect() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(JobId, "a job", "job-", |v| format!("{v:032X}"), from_hex);
text_id!(ClusterId, "a cluster", "cls-", |v| base36(v, CLUSTER_DIGITS), |t| from_base36(
    t,
    CLUSTER_DIGITS
));
text_id!(WorkerId, "a machine", "i-", |v| base36(v, WORKER_DIGITS), |t| from_base36(
    t,
    WORKER_DIGITS
));

/// The owner of jobs, clusters and buckets. Shown as a number (`OwnerId`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AccountId(pub u64);

/// One execution of a task instance on a worker. Numbered by the region in the order of
/// placement and never used twice, also not after a restart of the job: a report that names an
/// older run than the current one is late and is dropped.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// How often a worker was asked for anew. The other end refuses an older generation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// The number of an instance inside its task: 0 to `InstanceCount` - 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct InstanceNo(pub u32);

macro_rules! show_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
show_number!(AccountId, RunId, Generation, InstanceNo);

/// An image by name: `img-ubuntu` and the other system images, `img-…` of the user, or `m-…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    /// The id of an image registered at this moment: `img-` and 22 lower-case letters and digits.
    /// Such ids sort by creation; what tells those of one microsecond apart is `chance`.
    pub fn registered(created: crate::Timestamp, chance: u64) -> Self {
        let moment = u128::from(created.0.max(0).cast_unsigned());
        let number = ((moment << 62) | u128::from(chance >> 2)) % 36u128.pow(IMAGE_DIGITS as u32);
        Self(format!("img-{}", base36(number, IMAGE_DIGITS)))
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ImageId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
        let named = text.starts_with("img-") || text.starts_with("m-");
        if named && text.len() <= 64 && text.bytes().all(plain) {
            return Ok(Self(text));
        }
        Err(BadId { kind: "an image", text: text.chars().take(80).collect() })
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> String {
        id.0
    }
}

impl FromStr for ImageId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_show() {
        let job = JobId(0x0000_0000_5852_4720_0000_77E9_0000_7257);
        assert_eq!(job.to_string(), "job-0000000058524720000077E900007257");
        assert_eq!(job.to_string().parse(), Ok(job));
        let cluster = ClusterId(ClusterId::LIMIT - 1);
        assert_eq!(cluster.to_string(), "cls-zzzzzzzzzzzzzzzzzzzzzz");
        assert_eq!(cluster.to_string().parse(), Ok(cluster));
        let worker = WorkerId(36);
        assert_eq!(worker.to_string(), "i-00000000000000000010");
        assert_eq!(worker.to_string().parse(), Ok(worker));
    }

    #[test]
    fn near_misses_are_refused() {
        for text in [
            "",
            "job-",
            "job-0000000058524720000077e900007257",
            "job-000000005852472000007E900007257",
            "JOB-0000000058524720000077E900007257",
            "job-+000000058524720000077E900007257",
        ] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        assert!("cls-ABCDEFGHIJKLMNOPQRSTUV".parse::<ClusterId>().is_err());
        assert!("img-".parse::<ImageId>().is_ok());
        assert!("img-a/b".parse::<ImageId>().is_err());
        assert!("ubuntu".parse::<ImageId>().is_err());
    }

    #[test]
    fn registered_images_sort_by_creation_for_two_centuries() {
        let at = |micros| ImageId::registered(crate::Timestamp(micros), 7);
        let (today, later) = (1_764_000_000_000_000, 3_700_000_000_000_000);
        assert!(at(today) < at(today + 1) && at(today + 1) < at(later));
        let text = at(today).to_string();
        assert_eq!(text.len(), "img-6ki7te6grlhbv42kn8a000".len(), "{text}");
        assert_eq!(text.parse(), Ok(at(today)));
        assert_ne!(at(today), ImageId::registered(crate::Timestamp(today), u64::MAX));
    }

    #[test]
    fn text_order_is_number_order() {
        let (low, high) = (ClusterId(9), ClusterId(10));
        assert!(low.to_string() < high.to_string());
    }
}
