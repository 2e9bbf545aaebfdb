//! Pieces of canonical forms the schemes share.

use super::Request;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::Sha256;

/// Everything but `A-Za-z0-9-_.~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, but slashes stay.
const ENCODED_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// Percent-encodes a query name or value.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Percent-encodes a path, keeping its slashes.
pub(super) fn encoded_path(text: &str) -> String {
    utf8_percent_encode(text, ENCODED_PATH).to_string()
}

/// `/`, `/bucket/` or `/bucket/key`.
pub(super) fn resource(request: &Request) -> String {
    match (request.bucket, request.key) {
        ("", _) => "/".to_owned(),
        (bucket, key) => format!("/{bucket}/{key}"),
    }
}

/// All parameters but `without`, encoded, sorted, joined: `a&b=c`.
pub(super) fn canonical_query(request: &Request, without: &str) -> String {
    let mut pairs: Vec<(String, String)> = request
        .query
        .iter()
        .filter(|(name, _)| name != without)
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    pairs.sort();
    join_query(&pairs)
}

/// `name` or `name=value`, joined by `&`.
pub(super) fn join_query(pairs: &[(String, String)]) -> String {
    let texts = pairs.iter().map(|(name, value)| match value.is_empty() {
        true => name.clone(),
        false => format!("{name}={value}"),
    });
    texts.collect::<Vec<_>>().join("&")
}

/// The chosen headers, sorted by name, each `name:value\n`.
pub(super) fn header_lines(request: &Request, chosen: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut headers: Vec<_> = request.headers.iter().filter(|(name, _)| chosen(name)).collect();
    headers.sort_by_key(|(name, _)| name);
    let mut lines = vec![];
    for (name, value) in headers {
        lines.extend_from_slice(name.as_bytes());
        lines.push(b':');
        lines.extend_from_slice(value.trim_ascii());
        lines.push(b'\n');
    }
    lines
}

/// The lines every scheme but V4 begins with: method, MD5, type, date.
pub(super) fn opening_lines(request: &Request, date: &str) -> Vec<u8> {
    let header = |name| request.header(name).unwrap_or_default();
    let lines =
        [request.method.as_bytes(), header("content-md5"), header("content-type"), date.as_bytes()];
    lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect()
}

/// HMAC-SHA1 in base64.
pub(super) fn hmac_sha1(secret: &str, text: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(text);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// HMAC-SHA256.
pub(super) fn hmac_sha256(secret: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length is a key");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
