//! Signature V1: HMAC-SHA1 over method, date, `x-oss-` headers and the resource with those query
//! parameters that name a sub-resource (`reference/oss-gateway.md` 5).

use super::{
    KeyPair, Request,
    form::{header_lines, hmac_sha1, opening_lines, resource},
};

/// The query parameters that are signed. Names are case-sensitive.
const SIGNED: &[&str] = &[
    "accessPoint",
    "accessPointPolicy",
    "acl",
    "append",
    "asyncFetch",
    "bucketArchiveDirectRead",
    "bucketInfo",
    "callback",
    "callback-var",
    "cname",
    "comp",
    "continuation-token",
    "cors",
    "delete",
    "encryption",
    "endTime",
    "group",
    "httpsConfig",
    "img",
    "inventory",
    "inventoryId",
    "lifecycle",
    "link",
    "live",
    "location",
    "logging",
    "metaQuery",
    "objectInfo",
    "objectMeta",
    "partNumber",
    "policy",
    "position",
    "publicAccessBlock",
    "qos",
    "qosInfo",
    "qosRequester",
    "redundancyTransition",
    "referer",
    "regionList",
    "replication",
    "replicationLocation",
    "replicationProgress",
    "requestPayment",
    "requesterQosInfo",
    "resourceGroup",
    "resourcePool",
    "resourcePoolBuckets",
    "resourcePoolInfo",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "security-token",
    "sequential",
    "startTime",
    "stat",
    "status",
    "style",
    "styleName",
    "symlink",
    "tagging",
    "transferAcceleration",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "vod",
    "website",
    "worm",
    "wormExtend",
    "wormId",
    "x-oss-ac-forward-allow",
    "x-oss-ac-source-ip",
    "x-oss-ac-subnet-mask",
    "x-oss-ac-vpc-id",
    "x-oss-access-point-name",
    "x-oss-async-process",
    "x-oss-process",
    "x-oss-redundancy-transition-taskid",
    "x-oss-request-payer",
    "x-oss-target-redundancy-type",
    "x-oss-traffic-limit",
    "x-oss-write-get-object-response",
];

/// What is signed. `date` is the date header, or `Expires` of a URL.
pub(super) fn string_to_sign(request: &Request, date: &str) -> Vec<u8> {
    let mut text = opening_lines(request, date);
    text.extend(header_lines(request, |name| name.starts_with("x-oss-")));
    text.extend(resource(request).into_bytes());
    let signed = |name: &str| SIGNED.binary_search(&name).is_ok() || name.starts_with("udf");
    let mut pairs: Vec<_> = request.query.iter().filter(|(name, _)| signed(name)).collect();
    pairs.sort();
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        text.push(if index == 0 { b'?' } else { b'&' });
        text.extend(name.as_bytes());
        if !value.is_empty() {
            text.push(b'=');
            text.extend(value.as_bytes());
        }
    }
    text
}

/// The date V1 signs: `x-oss-date` if it is there, else `Date`.
pub(super) fn date<'a>(request: &Request<'a>) -> Option<&'a str> {
    request.header_text("x-oss-date").or_else(|| request.header_text("date"))
}

/// The value of `Authorization`. The request already has its `date` header.
pub fn sign_v1(request: &Request, key: KeyPair) -> String {
    let text = string_to_sign(request, date(request).unwrap_or_default());
    format!("OSS {}:{}", key.id, hmac_sha1(key.secret, &text))
}

/// The parameters to add to the URL, which is good until `expires` (Unix seconds). A security
/// token must already be in the query as `security-token`.
pub fn presign_v1(request: &Request, key: KeyPair, expires: u64) -> Vec<(String, String)> {
    let expires = expires.to_string();
    let signature = hmac_sha1(key.secret, &string_to_sign(request, &expires));
    vec![
        ("OSSAccessKeyId".to_owned(), key.id.to_owned()),
        ("Expires".to_owned(), expires),
        ("Signature".to_owned(), signature),
    ]
}

#[cfg(test)]
mod tests {
    use super::SIGNED;

    #[test]
    fn the_signed_parameters_can_be_searched() {
        assert!(SIGNED.is_sorted());
    }
}
