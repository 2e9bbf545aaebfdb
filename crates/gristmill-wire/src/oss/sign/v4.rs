//! Signature V4: HMAC-SHA256 with a key derived from date and region over the hash of a canonical
//! request; the payload is never hashed (`reference/oss-gateway.md` 7 and 8).

use super::{
    KeyPair, Request,
    form::{canonical_query, encoded_path, header_lines, hex, hmac_sha256, resource},
};
use gristmill_model::Timestamp;
use sha2::{Digest, Sha256};

/// The name of the scheme, in headers and parameters.
pub(super) const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const TERMINATOR: &str = "aliyun_v4_request";

/// Date, region and product a signature is for: `20240102/cn-test/oss/aliyun_v4_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub day: String,
    pub region: String,
    pub product: String,
}

impl Scope {
    /// Splits `<id>/<day>/<region>/<product>/aliyun_v4_request`.
    pub fn parse(credential: &str) -> Option<(String, Self)> {
        let mut words = credential.rsplitn(5, '/');
        let mut word = || words.next().map(str::to_owned);
        let (end, product, region, day, id) = (word()?, word()?, word()?, word()?, word()?);
        let known = end == TERMINATOR && ["oss", "oss-cloudbox"].contains(&product.as_str());
        (known && !id.is_empty()).then_some((id, Self { day, region, product }))
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.day, self.region, self.product)
    }
}

/// What is hashed into the string to sign.
pub(super) fn canonical_request(request: &Request, additional: &[String]) -> Vec<u8> {
    let query = canonical_query(request, "x-oss-signature");
    let signed = |name: &str| {
        name.starts_with("x-oss-")
            || ["content-type", "content-md5"].contains(&name)
            || additional.iter().any(|listed| listed == name)
    };
    let uri = encoded_path(&resource(request));
    let mut text = format!("{}\n{uri}\n{query}\n", request.method).into_bytes();
    text.extend(header_lines(request, signed));
    text.extend(format!("\n{}\n", additional.join(";")).into_bytes());
    let payload = request.header("x-oss-content-sha256").unwrap_or(UNSIGNED.as_bytes());
    text.extend_from_slice(payload);
    text
}

/// The text under the signature.
pub(super) fn string_to_sign(canonical: &[u8], date: &str, scope: &Scope) -> String {
    let hash = hex(&Sha256::digest(canonical));
    format!("{ALGORITHM}\n{date}\n{}\n{hash}", scope.text())
}

/// The signature of that text.
pub(super) fn signature(secret: &str, scope: &Scope, text: &str) -> String {
    hex(&hmac_sha256(&signing_key(secret, scope), text.as_bytes()))
}

pub(super) fn signing_key(secret: &str, scope: &Scope) -> [u8; 32] {
    let first = hmac_sha256(format!("aliyun_v4{secret}").as_bytes(), scope.day.as_bytes());
    [&scope.region, &scope.product, TERMINATOR]
        .into_iter()
        .fold(first, |key, word| hmac_sha256(&key, word.as_bytes()))
}

/// `20240102T030405Z`.
pub(super) fn date_text(time: Timestamp) -> String {
    let iso = crate::time::oss_date(time);
    iso.chars().filter(|c| !"-:".contains(*c)).take(15).chain(['Z']).collect()
}

/// Reads `20240102T030405Z`.
pub(super) fn parse_date(text: &str) -> Option<Timestamp> {
    if text.len() != 16 || !text.is_ascii() {
        return None;
    }
    let (year, month, day) = (&text[..4], &text[4..6], &text[6..8]);
    let (hour, minute, second) = (&text[9..11], &text[11..13], &text[13..15]);
    let iso = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    crate::time::parse_iso_date(&iso).filter(|_| &text[8..9] == "T" && text.ends_with('Z'))
}

fn scope_at(region: &str, date: &str) -> Scope {
    let day = date.get(..8).unwrap_or_default().to_owned();
    Scope { day, region: region.to_owned(), product: "oss".to_owned() }
}

/// The value of `Authorization`. The request already has `x-oss-date` (`20240102T030405Z`) and
/// `x-oss-content-sha256: UNSIGNED-PAYLOAD`.
pub fn sign_v4(request: &Request, key: KeyPair, region: &str) -> String {
    let date = request.header_text("x-oss-date").unwrap_or_default();
    let scope = scope_at(region, date);
    let text = string_to_sign(&canonical_request(request, &[]), date, &scope);
    let signature = signature(key.secret, &scope, &text);
    format!("{ALGORITHM} Credential={}/{}, Signature={signature}", key.id, scope.text())
}

/// The parameters to add to the URL, which is good for `seconds` (1 to 604800) from `now` on. A
/// security token must already be in the query as `x-oss-security-token`.
pub fn presign_v4(
    request: &Request,
    key: KeyPair,
    region: &str,
    now: Timestamp,
    seconds: u32,
) -> Vec<(String, String)> {
    let date = date_text(now);
    let scope = scope_at(region, &date);
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let mut added = vec![
        pair("x-oss-signature-version", ALGORITHM.to_owned()),
        pair("x-oss-credential", format!("{}/{}", key.id, scope.text())),
        pair("x-oss-date", date.clone()),
        pair("x-oss-expires", seconds.to_string()),
    ];
    let query = [request.query, &added].concat();
    let request = Request { query: &query, ..*request };
    let text = string_to_sign(&canonical_request(&request, &[]), &date, &scope);
    added.push(pair("x-oss-signature", signature(key.secret, &scope, &text)));
    added
}
