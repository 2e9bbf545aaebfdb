//! What a remote store answers: headers of objects, XML, errors.

use crate::{
    Listing, ObjectError, ObjectInfo, PartRef,
    rules::{changed, no_bucket, no_key, no_upload, refused},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gristmill_model::Timestamp;
use percent_encoding::percent_decode_str;
use quick_xml::{
    Reader,
    escape::{escape, resolve_predefined_entity},
    events::Event,
};
use reqwest::{Response, StatusCode, header::HeaderMap};
use std::{collections::BTreeMap, io};

/// Error bodies are not read beyond this.
const ERROR_SIZE_MAX: usize = 64 * 1024;
/// Elements may be nested this deep.
const DEPTH_MAX: usize = 16;

/// An XML element.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub name: String,
    pub text: String,
    pub children: Vec<Node>,
}

impl Node {
    /// Reads a document; answers its root.
    pub fn parse(body: &[u8]) -> io::Result<Self> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let text = std::str::from_utf8(body).map_err(|error| bad(error.to_string()))?;
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            let event = reader.read_event().map_err(|error| bad(error.to_string()))?;
            let depth = open.len();
            let top = open.last_mut().ok_or_else(|| bad("ends too early".into()))?;
            match event {
                Event::Start(start) if depth <= DEPTH_MAX => {
                    open.push(Self::named(start.local_name().as_ref()));
                }
                Event::Start(_) => return Err(bad("nested too deep".into())),
                Event::Empty(start) => top.children.push(Self::named(start.local_name().as_ref())),
                Event::End(_) => {
                    let done = open.pop().unwrap_or_default();
                    let parent = open.last_mut().ok_or_else(|| bad("ends too early".into()))?;
                    parent.children.push(done);
                }
                Event::Text(text) => top.text.push_str(&text),
                Event::CData(text) => top.text.push_str(&text),
                Event::GeneralRef(entity) => match entity.resolve_char_ref() {
                    Ok(Some(character)) => top.text.push(character),
                    _ => top.text.push_str(resolve_predefined_entity(&entity).unwrap_or_default()),
                },
                Event::Eof => break,
                _ => {}
            }
        }
        let root = open.pop().and_then(|mut document| document.children.pop());
        root.filter(|_| open.is_empty()).ok_or_else(|| bad("is not one XML document".into()))
    }

    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The first child of a name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of a name; empty if there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }
}

/// A page of a listing.
pub(super) fn listing(root: &Node) -> Listing {
    let encoded = root.text_of("EncodingType") == "url";
    let plain = |text: &str| match encoded {
        true => percent_decode_str(text).decode_utf8_lossy().into_owned(),
        false => text.to_owned(),
    };
    let named = |name: &'static str| root.children.iter().filter(move |child| child.name == name);
    let object = |node: &Node| ObjectInfo {
        key: plain(node.text_of("Key")),
        size: node.text_of("Size").parse().unwrap_or_default(),
        etag: node.text_of("ETag").trim_matches('"').to_owned(),
        last_modified: node.text_of("LastModified").parse().map_or_else(
            |_| Timestamp::default(),
            |time: jiff::Timestamp| Timestamp(time.as_microsecond()),
        ),
        crc64: None,
        kind: node.text_of("Type").to_owned(),
        headers: BTreeMap::new(),
    };
    let next = plain(root.text_of("NextMarker"));
    Listing {
        objects: named("Contents").map(object).collect(),
        common_prefixes: named("CommonPrefixes").map(|n| plain(n.text_of("Prefix"))).collect(),
        next: (root.text_of("IsTruncated") == "true" && !next.is_empty()).then_some(next),
    }
}

/// An object by its headers.
pub(super) fn object_info(key: &str, headers: &HeaderMap, size: u64) -> ObjectInfo {
    let text = |name: &str| text(headers, name);
    let kept = |name: &str| {
        name.starts_with("x-oss-meta-")
            || [
                "cache-control",
                "content-disposition",
                "content-encoding",
                "content-language",
                "content-type",
                "expires",
            ]
            .contains(&name)
    };
    // A PUT answers no Last-Modified; its Date is as good.
    let modified = text("last-modified").or_else(|| text("date"));
    ObjectInfo {
        key: key.to_owned(),
        size,
        etag: text("etag").unwrap_or_default().trim_matches('"').to_owned(),
        last_modified: modified.and_then(http_date).unwrap_or_default(),
        crc64: number(headers, "x-oss-hash-crc64ecma"),
        kind: text("x-oss-object-type").unwrap_or("Normal").to_owned(),
        headers: headers
            .iter()
            .filter(|(name, _)| kept(name.as_str()))
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect(),
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp(parsed.as_microsecond()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A header that is a number.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// The body that completes an upload.
pub(super) fn complete_body(parts: &[PartRef]) -> String {
    let part = |part: &PartRef| {
        let PartRef { number, etag } = part;
        let etag = escape(etag.as_str());
        format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag></Part>")
    };
    let parts: String = parts.iter().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

/// Lets a success through; reads an error.
pub(super) async fn check(
    response: Response,
    bucket: &str,
    key: &str,
) -> Result<Response, ObjectError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = match response.headers().get("x-oss-err") {
        Some(header) => STANDARD.decode(header.as_bytes()).unwrap_or_default(),
        None => error_body(response).await,
    };
    let root = Node::parse(&body).unwrap_or_default();
    Err(error(status, root.text_of("Code"), root.text_of("Message"), bucket, key))
}

/// As much of an error's body as is wanted. Half of it may be lost; the status says enough then.
async fn error_body(mut response: Response) -> Vec<u8> {
    let mut body = vec![];
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ERROR_SIZE_MAX {
            break;
        }
    }
    body
}

fn error(status: StatusCode, code: &str, message: &str, bucket: &str, key: &str) -> ObjectError {
    let denied = || ObjectError::Denied {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        message: format!("{code}: {message}"),
    };
    match (status.as_u16(), code) {
        (_, "NoSuchBucket") => no_bucket(bucket),
        (_, "NoSuchKey") => no_key(bucket, key),
        (_, "NoSuchUpload") => no_upload(message),
        (_, "InsufficientStorage" | "QuotaExceeded") => ObjectError::Full,
        (412, _) => changed(bucket, key),
        (403, _) => denied(),
        (404, "") if key.is_empty() => no_bucket(bucket),
        (404, "") => no_key(bucket, key),
        (500.., _) | (_, "") => ObjectError::Io {
            doing: format!("use `{bucket}/{key}` at the object store"),
            source: io::Error::other(format!("it answered {status} {code}: {message}")),
        },
        _ => refused(code, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let xml = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <NextMarker>a%20b</NextMarker><Contents><Key>a%26</Key><Size>7</Size><ETag>\"AB\"</ETag>\
            <Type>Normal</Type><LastModified>2024-01-02T03:04:05.000Z</LastModified></Contents>\
            <CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes></ListBucketResult>";
        let page = listing(&Node::parse(xml.as_bytes()).expect("parses"));
        assert_eq!(page.next.as_deref(), Some("a b"));
        assert_eq!(page.common_prefixes, ["c/"]);
        let object = &page.objects[0];
        assert_eq!((object.key.as_str(), object.size, object.etag.as_str()), ("a&", 7, "AB"));
        assert_eq!(object.last_modified, Timestamp(1_704_164_645_000_000));
    }

    #[test]
    fn errors_become_ours() {
        let of = |status, code| {
            let status = StatusCode::from_u16(status).expect("a status");
            error(status, code, "why", "bkt", "key")
        };
        assert!(matches!(of(404, "NoSuchKey"), ObjectError::NoSuchKey { .. }));
        assert!(matches!(of(404, ""), ObjectError::NoSuchKey { .. }));
        assert!(matches!(of(404, "NoSuchBucket"), ObjectError::NoSuchBucket { .. }));
        assert!(matches!(of(412, "PreconditionFailed"), ObjectError::Changed { .. }));
        assert!(matches!(of(403, "SignatureDoesNotMatch"), ObjectError::Denied { .. }));
        assert!(matches!(of(507, "InsufficientStorage"), ObjectError::Full));
        assert!(of(503, "ServiceUnavailable").is_transient());
        assert!(of(502, "").is_transient());
        assert!(
            matches!(of(400, "InvalidPart"), ObjectError::Refused { code, .. } if code == "InvalidPart")
        );
    }

    #[test]
    fn broken_xml_is_an_error() {
        for body in ["", "<a>", "</a>", "text", "<a></b>"] {
            assert!(Node::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
