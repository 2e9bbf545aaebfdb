//! What a request presents to be let in, and whether it holds.

use super::{
    MALFORMED_EXPIRES, Request, SignatureError, check_expiry, check_skew,
    form::hmac_sha1,
    v1, v2,
    v4::{self, Scope},
};
use crate::time::parse_http_date;
use gristmill_model::Timestamp;
use subtle::ConstantTimeEq;

/// A signature found in a request, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Whose key it claims.
    pub access_key_id: String,
    /// The signature as it was sent.
    pub signature: String,
    /// The security token that goes with a temporary key.
    pub security_token: Option<String>,
    scheme: Scheme,
    in_url: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    V1,
    V2 { additional: Vec<String> },
    V4 { additional: Vec<String>, scope: Scope },
}

const MALFORMED: SignatureError =
    SignatureError::Malformed { message: "Authorization header is invalid.", ec: "0002-00000226" };
const BAD_CREDENTIAL: SignatureError = SignatureError::Malformed {
    message: "Invalid credential in Authorization header.",
    ec: "0002-00000226",
};
const BAD_REGION: SignatureError = SignatureError::Malformed {
    message: "Invalid signing region in Authorization header.",
    ec: "0002-00000226",
};
const BAD_REGION_IN_URL: SignatureError = SignatureError::Malformed {
    message: "The signing region in credential is invalid.",
    ec: "0002-00000226",
};
const BAD_LIFETIME: SignatureError = SignatureError::Malformed {
    message: "x-oss-expires must be 1 to 604800 seconds.",
    ec: "0002-00000227",
};

/// Finds the signature of a request; `None` when it is anonymous.
pub fn presented(request: &Request) -> Result<Option<Presented>, SignatureError> {
    if let Some(header) = request.header("authorization") {
        let text = std::str::from_utf8(header).map_err(|_| MALFORMED)?;
        let token = request.header_text("x-oss-security-token").map(str::to_owned);
        let (access_key_id, signature, scheme) = from_header(text.trim()).ok_or(MALFORMED)?;
        let in_url = false;
        let security_token = token;
        return Ok(Some(Presented { access_key_id, signature, security_token, scheme, in_url }));
    }
    match request.param("x-oss-signature-version") {
        Some("OSS2") => from_url_v2(request).map(Some),
        Some(v4::ALGORITHM) => from_url_v4(request).map(Some),
        Some(_) => Err(MALFORMED),
        None if request.param("OSSAccessKeyId").is_some() => from_url_v1(request).map(Some),
        None => Ok(None),
    }
}

fn from_header(text: &str) -> Option<(String, String, Scheme)> {
    let (name, rest) = text.split_once(' ')?;
    match name {
        "OSS" => {
            let (id, signature) = rest.trim().rsplit_once(':')?;
            Some((id.to_owned(), signature.to_owned(), Scheme::V1))
        }
        "OSS2" => {
            let field = |name| field(rest, name, ':');
            let additional = names(field("AdditionalHeaders").unwrap_or_default());
            let id = field("AccessKeyId")?.to_owned();
            Some((id, field("Signature")?.to_owned(), Scheme::V2 { additional }))
        }
        v4::ALGORITHM => {
            let field = |name| field(rest, name, '=');
            let additional = names(field("AdditionalHeaders").unwrap_or_default());
            let (id, scope) = Scope::parse(field("Credential")?)?;
            Some((id, field("Signature")?.to_owned(), Scheme::V4 { additional, scope }))
        }
        _ => None,
    }
}

/// The value of `name` in `name=value, name=value`.
fn field<'a>(text: &'a str, name: &str, sign: char) -> Option<&'a str> {
    text.split(',')
        .filter_map(|pair| pair.trim().split_once(sign))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn names(text: &str) -> Vec<String> {
    let names = text.split(';').map(|name| name.trim().to_ascii_lowercase());
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    names.sort();
    names
}

fn from_url_v1(request: &Request) -> Result<Presented, SignatureError> {
    let param = |name| request.param(name).map(str::to_owned).ok_or(MALFORMED);
    param("Expires")?;
    Ok(Presented {
        access_key_id: param("OSSAccessKeyId")?,
        signature: param("Signature")?,
        security_token: param("security-token").ok(),
        scheme: Scheme::V1,
        in_url: true,
    })
}

fn from_url_v2(request: &Request) -> Result<Presented, SignatureError> {
    let param = |name| request.param(name).map(str::to_owned).ok_or(MALFORMED);
    param("x-oss-expires")?;
    let additional = names(request.param("x-oss-additional-headers").unwrap_or_default());
    Ok(Presented {
        access_key_id: param("x-oss-access-key-id")?,
        signature: param("x-oss-signature")?,
        security_token: param("security-token").ok(),
        scheme: Scheme::V2 { additional },
        in_url: true,
    })
}

fn from_url_v4(request: &Request) -> Result<Presented, SignatureError> {
    let param = |name| request.param(name).map(str::to_owned).ok_or(MALFORMED);
    let (access_key_id, scope) = Scope::parse(&param("x-oss-credential")?).ok_or(BAD_CREDENTIAL)?;
    let additional = names(request.param("x-oss-additional-headers").unwrap_or_default());
    Ok(Presented {
        access_key_id,
        signature: param("x-oss-signature")?,
        security_token: param("x-oss-security-token").ok(),
        scheme: Scheme::V4 { additional, scope },
        in_url: true,
    })
}

impl Presented {
    /// Whether the signature is the one of this request, made with `secret` for one of `regions`,
    /// and still good `now`.
    pub fn verify(
        &self,
        request: &Request,
        secret: &str,
        regions: &[String],
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        match &self.scheme {
            Scheme::V1 => self.verify_v1(request, secret, now),
            Scheme::V2 { additional } => self.verify_v2(request, secret, additional, now),
            Scheme::V4 { additional, scope } => {
                if !regions.contains(&scope.region) {
                    return Err(if self.in_url { BAD_REGION_IN_URL } else { BAD_REGION });
                }
                self.verify_v4(request, secret, additional, scope, now)
            }
        }
    }

    fn verify_v1(
        &self,
        request: &Request,
        secret: &str,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let date = match self.in_url {
            true => request.param("Expires").unwrap_or_default(),
            false => v1::date(request).ok_or(SignatureError::NoDate)?,
        };
        self.check_time(date, now)?;
        let text = v1::string_to_sign(request, date);
        self.compare(&hmac_sha1(secret, &text), text, None)
    }

    fn verify_v2(
        &self,
        request: &Request,
        secret: &str,
        additional: &[String],
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let date = match self.in_url {
            true => request.param("x-oss-expires").unwrap_or_default(),
            false => request.header_text("date").unwrap_or_default(),
        };
        // `x-oss-date` says when, but V2 signs the `Date` header (the SDK sends both).
        let when = request.header_text("x-oss-date").filter(|_| !self.in_url).unwrap_or(date);
        self.check_time(when, now)?;
        let text = v2::string_to_sign(request, date, additional);
        self.compare(&v2::signature(secret, &text), text, None)
    }

    fn verify_v4(
        &self,
        request: &Request,
        secret: &str,
        additional: &[String],
        scope: &Scope,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let date = match self.in_url {
            true => request.param("x-oss-date"),
            false => request.header_text("x-oss-date"),
        };
        let date = date.ok_or(SignatureError::NoDate)?;
        let made = v4::parse_date(date).ok_or(BAD_CREDENTIAL)?;
        if !date.starts_with(&scope.day) {
            return Err(BAD_CREDENTIAL);
        }
        check_additional(request, additional)?;
        match self.in_url {
            true => check_lifetime(request.param("x-oss-expires"), made, now)?,
            false => check_skew(made, now)?,
        }
        let canonical = v4::canonical_request(request, additional);
        let text = v4::string_to_sign(&canonical, date, scope);
        let signature = v4::signature(secret, scope, &text);
        let canonical = String::from_utf8_lossy(&canonical).into_owned();
        self.compare(&signature, text.into_bytes(), Some(canonical))
    }

    fn check_time(&self, text: &str, now: Timestamp) -> Result<(), SignatureError> {
        match self.in_url {
            true => check_expiry(text, now),
            false => check_skew(parse_http_date(text).ok_or(SignatureError::NoDate)?, now),
        }
    }

    fn compare(
        &self,
        right: &str,
        string_to_sign: Vec<u8>,
        canonical_request: Option<String>,
    ) -> Result<(), SignatureError> {
        if bool::from(right.as_bytes().ct_eq(self.signature.as_bytes())) {
            return Ok(());
        }
        Err(SignatureError::Mismatch { string_to_sign, canonical_request })
    }
}

/// Additional headers must be there and must not be those that are signed anyway.
fn check_additional(request: &Request, additional: &[String]) -> Result<(), SignatureError> {
    let allowed = |name: &String| {
        request.header(name).is_some()
            && !name.starts_with("x-oss-")
            && !["content-type", "content-md5"].contains(&name.as_str())
    };
    if additional.iter().all(allowed) { Ok(()) } else { Err(MALFORMED) }
}

fn check_lifetime(
    seconds: Option<&str>,
    made: Timestamp,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let seconds: i64 = seconds.unwrap_or_default().parse().map_err(|_| MALFORMED_EXPIRES)?;
    if !(1..=604_800).contains(&seconds) {
        return Err(BAD_LIFETIME);
    }
    if made.0 + seconds * 1_000_000 < now.0 {
        return Err(SignatureError::Expired);
    }
    // Not good before it was made, but for clocks that differ.
    if made > now { check_skew(made, now) } else { Ok(()) }
}
