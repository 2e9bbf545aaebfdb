//! What a remote store answers, as our types. Reading is lenient, writing is exact.

use crate::{ByteStream, Listing, ObjectError, ObjectInfo, PartRef};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use gristmill_model::Timestamp;
use percent_encoding::percent_decode_str;
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, HeaderName},
};
use serde::Deserialize;
use std::{fmt::Write, io, ops::Range};

/// The largest error body that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What the headers of an answer say of an object.
pub fn info_of(key: &str, headers: &HeaderMap) -> ObjectInfo {
    let kept = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-oss-meta-")
            || ["content-type", "cache-control", "content-disposition", "content-encoding", "expires"]
                .contains(&name)
    };
    let kept = headers.iter().filter(|(name, _)| kept(name)).map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    ObjectInfo {
        key: key.to_owned(),
        size: text(headers, "content-length").parse().unwrap_or(0),
        etag: text(headers, "etag").trim_matches('"').to_owned(),
        last_modified: http_date(text(headers, "last-modified")),
        crc64: text(headers, "x-oss-hash-crc64ecma").parse().ok(),
        kind: text(headers, "x-oss-object-type").to_owned(),
        headers: kept.collect(),
    }
}

/// The object as a whole, and which bytes follow.
pub fn whole_and_range(key: &str, response: &Response) -> Result<(ObjectInfo, Range<u64>), ObjectError> {
    let mut info = info_of(key, response.headers());
    if response.status() != StatusCode::PARTIAL_CONTENT {
        let all = 0..info.size;
        return Ok((info, all));
    }
    let said = text(response.headers(), "content-range");
    let (range, size) = content_range(said).filter(|(range, _)| range.end - range.start == info.size).ok_or_else(|| {
        corrupt("Content-Range", key, format!("{} bytes", info.size), said)
    })?;
    info.size = size;
    Ok((info, range))
}

/// `bytes 0-4/10`.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first..last.checked_add(1)?, size.parse().ok()?))
}

fn corrupt(what: &'static str, key: &str, expected: String, actual: &str) -> ObjectError {
    ObjectError::Corrupt { what, key: key.to_owned(), expected, actual: actual.to_owned() }
}

/// A body; hyper ends it with an error when it is shorter than its `Content-Length`.
pub fn body_of(body: BoxStream<'static, reqwest::Result<Bytes>>) -> ByteStream {
    body.map(|piece| piece.map_err(|error| io::Error::other(error.without_url()))).boxed()
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorBody {
    code: String,
    message: String,
}

/// An answer outside 200 to 299.
pub async fn failure(response: Response, bucket: &str, key: &str) -> ObjectError {
    let status = response.status();
    let in_header = response.headers().get("x-oss-err").map(|value| unbase64(value.as_bytes()));
    let body = match in_header {
        Some(body) => body,
        None => {
            let whole = response.bytes().await.unwrap_or_default();
            whole[..whole.len().min(ERROR_BYTES_MAX)].to_vec()
        }
    };
    let body: ErrorBody = quick_xml::de::from_reader(body.as_slice()).unwrap_or_default();
    said_no(status, body, bucket, key)
}

fn said_no(status: StatusCode, ErrorBody { code, message }: ErrorBody, bucket: &str, key: &str) -> ObjectError {
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    match (status.as_u16(), code.as_str()) {
        (_, "NoSuchBucket") => ObjectError::NoSuchBucket { bucket },
        (_, "NoSuchUpload") => ObjectError::NoSuchUpload { upload: message },
        (404, _) => ObjectError::NoSuchKey { bucket, key },
        (412, _) => ObjectError::Changed { bucket, key },
        (403, _) => {
            let message = if code.is_empty() { "403".to_owned() } else { format!("{code}: {message}") };
            ObjectError::Denied { bucket, key, message }
        }
        (507, _) => ObjectError::Full,
        (429 | 500..=599, _) => ObjectError::Io {
            doing: format!("use {bucket}/{key} of the object store"),
            source: io::Error::other(format!("{status} {code}: {message}")),
        },
        _ if code.is_empty() => ObjectError::Refused { code: status.as_u16().to_string(), message },
        _ => ObjectError::Refused { code, message },
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBody {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_marker: String,
    #[serde(default)]
    encoding_type: String,
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    #[serde(default)]
    last_modified: String,
    #[serde(rename = "ETag", default)]
    etag: String,
    #[serde(default)]
    r#type: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

/// A page of a listing.
pub fn listing(body: &[u8]) -> Result<Listing, ObjectError> {
    let body: ListBody = parse(body, "a listing")?;
    let encoded = body.encoding_type == "url";
    let plain = |text: String| {
        if encoded { percent_decode_str(&text).decode_utf8_lossy().into_owned() } else { text }
    };
    let objects = body.contents.into_iter().map(|found| ObjectInfo {
        key: plain(found.key),
        size: found.size,
        etag: found.etag.trim_matches('"').to_owned(),
        last_modified: iso_date(&found.last_modified),
        crc64: None,
        kind: found.r#type,
        headers: std::collections::BTreeMap::new(),
    });
    Ok(Listing {
        objects: objects.collect(),
        common_prefixes: body.common_prefixes.into_iter().map(|it| plain(it.prefix)).collect(),
        next: body.is_truncated.then(|| plain(body.next_marker)),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated {
    upload_id: String,
}

/// The id of a new upload.
pub fn upload_id(body: &[u8]) -> Result<String, ObjectError> {
    Ok(parse::<Initiated>(body, "a new upload")?.upload_id)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BucketsBody {
    #[serde(default)]
    buckets: BucketList,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct BucketList {
    #[serde(default)]
    bucket: Vec<BucketBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BucketBody {
    name: String,
    #[serde(default)]
    creation_date: String,
}

/// The list of buckets.
pub fn buckets(body: &[u8]) -> Result<Vec<super::RemoteBucket>, ObjectError> {
    let body: BucketsBody = parse(body, "the list of buckets")?;
    let found = body.buckets.bucket.into_iter();
    Ok(found.map(|it| super::RemoteBucket { name: it.name, created: it.creation_date }).collect())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, ObjectError> {
    let text = std::str::from_utf8(body).map_err(io::Error::other);
    let read = text.and_then(|text| quick_xml::de::from_str(text).map_err(io::Error::other));
    read.map_err(|source| ObjectError::Io { doing: format!("understand {what} of the object store"), source })
}

/// The body that completes an upload.
pub fn parts_body(parts: &[PartRef]) -> String {
    let mut body = String::from("<CompleteMultipartUpload>");
    for part in parts {
        let etag = quick_xml::escape::escape(&part.etag);
        write!(body, "<Part><PartNumber>{}</PartNumber><ETag>\"{etag}\"</ETag></Part>", part.number)
            .expect("writing to a string succeeds");
    }
    body + "</CompleteMultipartUpload>"
}

/// A time that cannot be read is the beginning of time: it is only shown.
fn http_date(text: &str) -> Timestamp {
    jiff::fmt::rfc2822::parse(text).map_or(Timestamp(0), |time| Timestamp(time.timestamp().as_microsecond()))
}

fn iso_date(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().map_or(Timestamp(0), |time| Timestamp(time.as_microsecond()))
}

/// For headers.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn unbase64(bytes: &[u8]) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_decoded() {
        let page = listing(
            b"<?xml version=\"1.0\"?><ListBucketResult><EncodingType>url</EncodingType>\
              <IsTruncated>true</IsTruncated><NextMarker>a%20b</NextMarker>\
              <Contents><Key>a%20b</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>\
              <ETag>\"AB\"</ETag><Type>Normal</Type><Size>7</Size></Contents>\
              <CommonPrefixes><Prefix>%E6%97%A5/</Prefix></CommonPrefixes></ListBucketResult>",
        )
        .expect("legal");
        assert_eq!((page.objects[0].key.as_str(), page.objects[0].etag.as_str()), ("a b", "AB"));
        assert_eq!(page.objects[0].last_modified, Timestamp(1_704_164_645_000_000));
        assert_eq!(page.common_prefixes, ["日/"]);
        assert_eq!(page.next.as_deref(), Some("a b"));
    }

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(content_range("bytes 0-4/10"), Some((0..5, 10)));
        for bad in ["", "bytes 5-4/10", "bytes 0-4/*", "0-4/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals_keep_their_meaning() {
        let no = |status: u16, code: &str| {
            let status = StatusCode::from_u16(status).expect("legal");
            let body = ErrorBody { code: code.into(), message: "m".into() };
            said_no(status, body, "bkt", "key")
        };
        assert!(matches!(no(404, "NoSuchKey"), ObjectError::NoSuchKey { .. }));
        assert!(matches!(no(404, "NoSuchBucket"), ObjectError::NoSuchBucket { .. }));
        assert!(matches!(no(412, "PreconditionFailed"), ObjectError::Changed { .. }));
        assert!(matches!(no(403, ""), ObjectError::Denied { .. }));
        assert!(no(503, "").is_transient());
        assert!(!no(400, "InvalidPart").is_transient());
    }
}
