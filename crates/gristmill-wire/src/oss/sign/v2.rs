//! Signature V2: HMAC-SHA256, all query parameters, named additional headers
//! (`reference/oss-gateway.md` 6).

use super::{
    Request,
    form::{canonical_query, encoded, header_lines, hmac_sha256, opening_lines, resource},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// What is signed. `date` is the `Date` header, or `x-oss-expires` of a URL.
pub(super) fn string_to_sign(request: &Request, date: &str, additional: &[String]) -> Vec<u8> {
    let mut text = opening_lines(request, date);
    text.extend(header_lines(request, |name| {
        name.starts_with("x-oss-") || additional.iter().any(|listed| listed == name)
    }));
    text.extend(additional.join(";").into_bytes());
    text.push(b'\n');
    text.extend(encoded(&resource(request)).into_bytes());
    let query = canonical_query(request, "x-oss-signature");
    if !query.is_empty() {
        text.push(b'?');
        text.extend(query.into_bytes());
    }
    text
}

/// The signature of that text.
pub(super) fn signature(secret: &str, text: &[u8]) -> String {
    STANDARD.encode(hmac_sha256(secret.as_bytes(), text))
}
