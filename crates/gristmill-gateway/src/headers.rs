//! Which headers of a request are kept with an object, and how they are shown again.

use crate::{
    address::decoded,
    fault::Fault,
    reply::{set, set_sums},
};
use gristmill_objects::ObjectInfo;
use gristmill_wire::{
    oss::ask::{BadTags, check_tags},
    time::http_date,
};
use http::{HeaderMap, HeaderName, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;

/// Headers of an object, lower-case names.
pub(crate) type Stored = BTreeMap<String, String>;

/// Where the ACL of an object is kept.
pub(crate) const ACL: &str = "x-oss-object-acl";
/// Where the tags of an object are kept: `k=v&k=v`, percent-encoded.
pub(crate) const TAGS: &str = "x-oss-tagging";
/// Where the target of a symbolic link is kept.
pub(crate) const LINK: &str = "x-oss-symlink-target";

const KEPT: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-oss-server-side-encryption",
];
const META: &str = "x-oss-meta-";
/// All user metadata of an object, names and values.
const META_SIZE_MAX: usize = 8 * 1024;

/// The text of a header.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok().map(str::trim)
}

/// What of the request's headers is kept with the object.
pub(crate) fn stored(headers: &HeaderMap) -> Result<Stored, Fault> {
    let mut kept = Stored::new();
    let mut meta_size = 0;
    for (name, value) in headers {
        let name = name.as_str();
        let is_meta = name.starts_with(META);
        if !is_meta && !KEPT.contains(&name) {
            continue;
        }
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Fault::argument(name, "not UTF-8"))?;
        meta_size += if is_meta { name.len() + value.len() } else { 0 };
        kept.insert(name.to_owned(), value.trim().to_owned());
    }
    if meta_size > META_SIZE_MAX {
        return Err(Fault::new("InvalidArgument", "The user metadata is over 8 KiB."));
    }
    kept.entry("content-type".into()).or_insert_with(|| "application/octet-stream".into());
    if let Some(acl) = object_acl(headers)? {
        kept.insert(ACL.into(), acl);
    }
    if let Some(tags) = text(headers, TAGS) {
        let tags = check_tags(parse_tags(tags)?)?;
        kept.insert(TAGS.into(), tags_text(&tags));
    }
    Ok(kept)
}

/// The ACL a request sets on an object; `default` is none.
pub(crate) fn object_acl(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    match text(headers, ACL) {
        None | Some("default") => Ok(None),
        Some(acl @ ("private" | "public-read" | "public-read-write")) => Ok(Some(acl.to_owned())),
        Some(other) => Err(Fault::argument(ACL, other)),
    }
}

/// Reads `k=v&k=v`.
pub(crate) fn parse_tags(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(key)?, decoded(value)?))
    };
    let pairs = text.split('&').filter(|text| !text.is_empty()).map(pair);
    pairs
        .collect::<Option<_>>()
        .ok_or_else(|| BadTags::Invalid("the tags are not UTF-8".into()).into())
}

/// Writes `k=v&k=v`.
pub(crate) fn tags_text(tags: &[(String, String)]) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = tags.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// All headers of GET and HEAD but `Content-Length`.
pub(crate) fn show(info: &ObjectInfo, headers: &mut HeaderMap) {
    show_meta(info, headers);
    set(headers, header::ACCEPT_RANGES, "bytes");
    set(headers, HeaderName::from_static("x-oss-object-type"), &info.kind);
    set(headers, HeaderName::from_static("x-oss-storage-class"), "Standard");
    set_sums(headers, &info.etag, info.crc64);
    for (name, value) in &info.headers {
        if KEPT.contains(&name.as_str()) || name.starts_with(META) {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("it came as a header");
            set(headers, name, value);
        }
    }
    if !info.headers.contains_key("content-type") {
        set(headers, header::CONTENT_TYPE, "application/octet-stream");
    }
    if let Some(tags) = info.headers.get(TAGS) {
        let count = tags.split('&').filter(|text| !text.is_empty()).count();
        set(headers, HeaderName::from_static("x-oss-tagging-count"), count);
    }
    if info.kind == "Appendable" {
        set(headers, HeaderName::from_static("x-oss-next-append-position"), info.size);
    }
}

/// The few headers of GetObjectMeta.
pub(crate) fn show_meta(info: &ObjectInfo, headers: &mut HeaderMap) {
    set(headers, header::ETAG, format!("\"{}\"", info.etag));
    set(headers, header::LAST_MODIFIED, http_date(info.last_modified));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            (HeaderName::from_static(name), value)
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_what_belongs_to_the_object_is_kept() {
        let kept = stored(&headers(&[
            ("content-type", "text/plain"),
            ("x-oss-meta-name", "中文"),
            ("x-oss-object-acl", "default"),
            ("x-oss-tagging", "a=1&b="),
            ("authorization", "OSS x:y"),
            ("x-oss-security-token", "t"),
        ]))
        .expect("is good");
        let names: Vec<_> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, ["content-type", "x-oss-meta-name", "x-oss-tagging"]);
        assert_eq!(kept["x-oss-tagging"], "a=1&b=");
    }

    #[test]
    fn bad_headers_are_refused() {
        let large = "x".repeat(META_SIZE_MAX);
        for (name, value, code) in [
            ("x-oss-meta-a", large.as_str(), "InvalidArgument"),
            ("x-oss-object-acl", "everybody", "InvalidArgument"),
            ("x-oss-tagging", "a=1&a=2", "InvalidTag"),
        ] {
            let fault = stored(&headers(&[(name, value)])).expect_err(name);
            assert_eq!(fault.code, code, "{name}");
        }
    }
}
