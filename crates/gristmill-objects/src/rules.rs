//! Rules of the protocol that every store of ours keeps: which parts make an object, what an ETag
//! is, which range is meant (`reference/oss-gateway.md` 9 to 11).

use crate::{
    ObjectError, ObjectInfo, PartInfo, PartListing, PartRef, Sum,
    digest::{combined_crc, hex_upper},
};
use md5::{Digest as _, Md5};
use std::{collections::BTreeMap, io, ops::Range};

/// Every part but the last must have at least this many bytes.
pub const PART_SIZE_MIN: u64 = 100 * 1024;
/// The highest part number.
pub(crate) const PART_NUMBER_MAX: u32 = 10_000;

/// A refusal with the vendor's code.
pub(crate) fn refused(code: &str, message: impl Into<String>) -> ObjectError {
    ObjectError::Refused { code: code.to_owned(), message: message.into() }
}

/// No such bucket.
pub(crate) fn no_bucket(bucket: &str) -> ObjectError {
    ObjectError::NoSuchBucket { bucket: bucket.to_owned() }
}

/// No such object.
pub(crate) fn no_key(bucket: &str, key: &str) -> ObjectError {
    ObjectError::NoSuchKey { bucket: bucket.to_owned(), key: key.to_owned() }
}

/// Another version than the one that was meant.
pub(crate) fn changed(bucket: &str, key: &str) -> ObjectError {
    ObjectError::Changed { bucket: bucket.to_owned(), key: key.to_owned() }
}

/// An I/O error, told apart from a full disk.
pub(crate) fn io_error(doing: impl Into<String>, source: io::Error) -> ObjectError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ObjectError::Full,
        _ => ObjectError::Io { doing: doing.into(), source },
    }
}

/// A key the namespace can hold: 1 to 1023 bytes.
pub(crate) fn check_key(key: &str) -> Result<(), ObjectError> {
    match key.len() {
        1..=1023 => Ok(()),
        length => {
            Err(refused("InvalidObjectName", format!("a key has 1 to 1023 bytes, not {length}")))
        }
    }
}

/// A part number the protocol knows.
pub(crate) fn check_part_number(number: u32) -> Result<(), ObjectError> {
    if (1..=PART_NUMBER_MAX).contains(&number) {
        return Ok(());
    }
    Err(refused(
        "InvalidArgument",
        format!("part number {number} is not in 1 to {PART_NUMBER_MAX}"),
    ))
}

/// Cuts `range` to an object of `size` bytes.
pub(crate) fn clip(range: Option<Range<u64>>, size: u64) -> Result<Range<u64>, ObjectError> {
    let Some(range) = range else { return Ok(0..size) };
    if range.start > size || range.start > range.end {
        let message = format!("bytes {}..{} of {size}", range.start, range.end);
        return Err(refused("InvalidRange", message));
    }
    Ok(range.start..range.end.min(size))
}

/// Whether two ETags mean the same; quotes and case do not matter.
pub(crate) fn same_etag(left: &str, right: &str) -> bool {
    left.trim_matches('"').eq_ignore_ascii_case(right.trim_matches('"'))
}

/// The kind of an object that was put whole: a link when its headers name a target.
pub(crate) fn kind_of(headers: &BTreeMap<String, String>) -> &'static str {
    if headers.contains_key("x-oss-symlink-target") { "Symlink" } else { "Normal" }
}

/// The object that parts make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    pub size: u64,
    pub etag: String,
    pub crc64: u64,
}

/// Checks the parts a sender names against those that are there, and sums them up. Parts that
/// are there but not named do not belong to the object.
pub(crate) fn assemble<'a>(
    named: &[PartRef],
    there: impl Fn(u32) -> Option<&'a PartInfo>,
) -> Result<Assembled, ObjectError> {
    if named.is_empty() {
        return Err(refused("MalformedXML", "an upload is completed with at least one part"));
    }
    if !named.is_sorted_by(|left, right| left.number < right.number) {
        return Err(refused("InvalidPartOrder", "parts are named in ascending order, each once"));
    }
    let (mut size, mut crc64, mut etags) = (0, 0, Md5::new());
    for (index, part) in named.iter().enumerate() {
        let info = there(part.number)
            .filter(|info| same_etag(&info.etag, &part.etag))
            .ok_or_else(|| refused("InvalidPart", format!("part {} is not there", part.number)))?;
        if info.size < PART_SIZE_MIN && index + 1 < named.len() {
            let message = format!("part {} has {} bytes", part.number, info.size);
            return Err(refused("EntityTooSmall", message));
        }
        size += info.size;
        crc64 = combined_crc(crc64, info.crc64, info.size);
        etags.update(bytes_of_hex(&info.etag));
    }
    let etag = format!("{}-{}", hex_upper(&etags.finalize()), named.len());
    Ok(Assembled { size, etag, crc64 })
}

/// What an appendable object is after a piece was added.
pub(crate) fn grown_info(before: &ObjectInfo, piece: &Sum, fresh: &ObjectInfo) -> ObjectInfo {
    ObjectInfo {
        size: before.size + piece.length,
        etag: grown_etag(&before.etag, &piece.md5),
        crc64: before.crc64.map(|crc| combined_crc(crc, piece.crc64, piece.length)),
        last_modified: fresh.last_modified,
        ..before.clone()
    }
}

/// Cuts parts, of which one too many was read, to a page.
pub(crate) fn part_page(mut parts: Vec<PartInfo>, parts_max: usize) -> PartListing {
    let more = parts.len() > parts_max;
    parts.truncate(parts_max);
    let next = parts.last().filter(|_| more).map(|part| part.number);
    PartListing { parts, next }
}

/// Refuses an append that does not start where the object ends.
pub(crate) fn check_position(position: u64, size: u64) -> Result<(), ObjectError> {
    if position == size {
        return Ok(());
    }
    let message = format!("position {position} is not the length {size} of the object");
    Err(refused("PositionNotEqualToLength", message))
}

/// The object is there and must not be overwritten.
pub(crate) fn exists(key: &str) -> ObjectError {
    refused("FileAlreadyExists", format!("object `{key}` exists and must not be overwritten"))
}

/// No such upload, or not of this key.
pub(crate) fn no_upload(upload: &str) -> ObjectError {
    ObjectError::NoSuchUpload { upload: upload.to_owned() }
}

/// The ETag of an object that grew by a piece: stable, without reading the object again.
fn grown_etag(before: &str, piece: &[u8; 16]) -> String {
    let mut sum = Md5::new();
    sum.update(before.as_bytes());
    sum.update(piece);
    hex_upper(&sum.finalize())
}

fn bytes_of_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sum;

    fn part(number: u32, bytes: &[u8]) -> PartInfo {
        let sum = Sum::of(bytes);
        let (size, etag, crc64) = (sum.length, sum.etag(), sum.crc64);
        PartInfo { number, size, etag, crc64, last_modified: Default::default() }
    }

    fn named(part: &PartInfo) -> PartRef {
        PartRef { number: part.number, etag: format!("\"{}\"", part.etag.to_lowercase()) }
    }

    fn code(outcome: Result<Assembled, ObjectError>) -> String {
        match outcome {
            Err(ObjectError::Refused { code, .. }) => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn parts_sum_up_to_the_whole() {
        let (first, second) = (vec![7; PART_SIZE_MIN as usize], b"tail".to_vec());
        let parts = [part(1, &first), part(5, &second)];
        let there = |number| parts.iter().find(|part| part.number == number);
        let whole = assemble(&[named(&parts[0]), named(&parts[1])], there).expect("assembles");
        assert_eq!(whole.crc64, Sum::of(&[first, second].concat()).crc64);
        assert_eq!(whole.size, PART_SIZE_MIN + 4);
        assert!(whole.etag.ends_with("-2"), "{}", whole.etag);
    }

    #[test]
    fn wrong_missing_small_and_unordered_parts_are_refused() {
        let parts = [part(1, b"small"), part(2, b"tail")];
        let there = |number| parts.iter().find(|part| part.number == number);
        let (one, two) = (named(&parts[0]), named(&parts[1]));
        let gone = PartRef { number: 3, etag: one.etag.clone() };
        let wrong = PartRef { number: 1, etag: two.etag.clone() };
        assert_eq!(code(assemble(&[one.clone(), two.clone()], there)), "EntityTooSmall");
        assert_eq!(code(assemble(&[two, one], there)), "InvalidPartOrder");
        assert_eq!(code(assemble(&[gone], there)), "InvalidPart");
        assert_eq!(code(assemble(&[wrong], there)), "InvalidPart");
        assert_eq!(code(assemble(&[], there)), "MalformedXML");
    }

    #[test]
    fn a_range_is_cut_to_the_object() {
        assert_eq!(clip(None, 5).expect("whole"), 0..5);
        assert_eq!(clip(Some(2..9), 5).expect("cut"), 2..5);
        assert_eq!(clip(Some(5..9), 5).expect("empty"), 5..5);
        assert!(clip(Some(6..9), 5).is_err());
    }
}
