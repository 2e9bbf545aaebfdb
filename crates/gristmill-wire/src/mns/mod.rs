//! The message service's protocol as bytes (`reference/mns.md`): signatures, error codes, bodies
//! of requests and answers, what subscribers get, and what a notice of the control plane says.
//!
//! [`sign`] verifies and makes signatures, [`error`] knows which status belongs to which code,
//! [`ask`] and [`answer`] are the XML bodies in both directions, [`push`] is what a subscription
//! delivers, [`notice`] the JSON that topics of jobs and clusters are told. All are pure.

pub mod answer;
pub mod ask;
pub mod error;
pub mod notice;
pub mod push;
pub mod sign;

/// The namespace of every document.
pub const NAMESPACE: &str = "http://mns.aliyuncs.com/doc/v1/";
/// The version every request and answer names.
pub const VERSION: &str = "2015-06-06";

use md5::{Digest, Md5};

/// The digest of a body as messages show it: upper-case hexadecimal.
pub fn body_md5(body: &str) -> String {
    hex(&Md5::digest(body.as_bytes()), true)
}

/// The digest of a request as the official SDK sends it: base64 of the hexadecimal text.
pub fn content_md5(body: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(hex(&Md5::digest(body), false))
}

/// Whether a `Content-MD5` is that of the body, in either of the two forms clients send.
pub fn md5_matches(header: &str, body: &[u8]) -> bool {
    use base64::Engine;
    let digest = Md5::digest(body);
    let sent = base64::engine::general_purpose::STANDARD.decode(header.trim());
    sent.is_ok_and(|sent| {
        sent == digest.as_slice() || sent.eq_ignore_ascii_case(hex(&digest, false).as_bytes())
    })
}

fn hex(bytes: &[u8], upper: bool) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let written = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
        written.expect("writing to a string succeeds");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_digest_are_taken() {
        assert_eq!(body_md5("abc"), "900150983CD24FB0D6963F7D28E17F72");
        assert!(md5_matches(&content_md5(b"abc"), b"abc"));
        assert!(md5_matches("kAFQmDzST7DWlj99KOF/cg==", b"abc"), "base64 of the 16 bytes");
        assert!(!md5_matches("kAFQmDzST7DWlj99KOF/cg==", b"abd"));
        assert!(!md5_matches("nonsense", b"abc"));
    }
}
