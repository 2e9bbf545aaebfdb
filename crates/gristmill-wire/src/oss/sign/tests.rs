//! The worked examples of `reference/oss-gateway.md` 5 to 8, and what must not be let in.

use super::*;
use crate::time::parse_iso_date;

const KEY: KeyPair = KeyPair { id: "GMEXAMPLEKEYID01", secret: "gmExampleSecret0123456789" };
const DATE: &str = "Tue, 02 Jan 2024 03:04:05 GMT";

/// A request with what it owns.
struct Owned {
    method: &'static str,
    bucket: &'static str,
    key: &'static str,
    query: Vec<(String, String)>,
    headers: Vec<(String, Vec<u8>)>,
}

fn pairs<V: for<'a> From<&'a str>>(pairs: &[(&str, &str)]) -> Vec<(String, V)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), V::from(value))).collect()
}

impl Owned {
    fn new(
        method: &'static str,
        key: &'static str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Self {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec()));
        Self { method, bucket: "demo-bucket", key, query: pairs(query), headers: headers.collect() }
    }

    fn request(&self) -> Request<'_> {
        Request {
            method: self.method,
            bucket: self.bucket,
            key: self.key,
            query: &self.query,
            headers: &self.headers,
        }
    }

    fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    fn check(&self, now: &str) -> Result<(), SignatureError> {
        let now = parse_iso_date(now).expect("a date");
        let presented = presented(&self.request())?.expect("it is signed");
        assert_eq!(presented.access_key_id, KEY.id);
        presented.verify(&self.request(), KEY.secret, &["cn-test".to_owned()], now)
    }
}

fn code(outcome: Result<(), SignatureError>) -> &'static str {
    outcome.map_or_else(|error| error.code(), |()| "ok")
}

fn put_v1() -> Owned {
    Owned::new(
        "PUT",
        "logs/run-1/stdout.txt",
        &[],
        &[
            ("content-md5", "XQVHCjy0y4B2kVtdqw34Jw=="),
            ("content-type", "text/plain"),
            ("x-oss-meta-owner", "alice"),
            ("x-oss-object-acl", "private"),
            ("date", DATE),
        ],
    )
}

#[test]
fn v1_signs_as_the_sdk_does() {
    let example = put_v1();
    let right = "OSS GMEXAMPLEKEYID01:Nf3ErM11lXczx9lf13cMn7zgE4k=";
    assert_eq!(sign_v1(&example.request(), KEY), right);
    let signed = example.with_header("authorization", right);
    assert_eq!(signed.check("2024-01-02T03:10:00Z"), Ok(()));
    assert_eq!(code(signed.check("2024-01-02T03:20:00Z")), "RequestTimeTooSkewed");
    assert_eq!(code(signed.check("2024-01-02T02:40:00Z")), "RequestTimeTooSkewed");
}

#[test]
fn v1_signs_sub_resources() {
    let query =
        [("uploadId", "0004B9894A22E5B1888A1E29F8236E2D"), ("partNumber", "1"), ("prefix", "x")];
    let example = Owned::new("PUT", "big.bin", &query, &[("date", DATE)]);
    let right = "OSS GMEXAMPLEKEYID01:qeNEHw6En2BZeGrbMxKBHGkkR1Q=";
    assert_eq!(sign_v1(&example.request(), KEY), right);
}

#[test]
fn a_changed_request_does_not_match() {
    let signed = |request: Owned| {
        request.with_header("authorization", "OSS GMEXAMPLEKEYID01:Nf3ErM11lXczx9lf13cMn7zgE4k=")
    };
    let now = "2024-01-02T03:04:05Z";
    assert_eq!(code(signed(put_v1()).check(now)), "ok");
    let changes: [fn(&mut Owned); 6] = [
        |request| request.method = "GET",
        |request| request.key = "logs/run-1/stderr.txt",
        |request| request.bucket = "other-bucket",
        |request| request.query.push(("acl".into(), String::new())),
        |request| request.headers[2].1 = b"bob".to_vec(),
        |request| request.headers.push(("x-oss-meta-more".into(), b"x".to_vec())),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut request = put_v1();
        change(&mut request);
        assert_eq!(code(signed(request).check(now)), "SignatureDoesNotMatch", "change {index}");
    }
}

#[test]
fn v1_header_bytes_are_signed_undecoded() {
    let mut example = Owned::new("PUT", "k", &[], &[("date", DATE), ("x-oss-meta-name", "中文")]);
    let authorization = sign_v1(&example.request(), KEY);
    example = example.with_header("authorization", &authorization);
    assert_eq!(example.check("2024-01-02T03:04:05Z"), Ok(()));
}

#[test]
fn v1_urls_are_good_until_they_expire() {
    let mut example = Owned::new("GET", "logs/run-1/stdout.txt", &[], &[]);
    let added = presign_v1(&example.request(), KEY, 1_704_168_245);
    assert_eq!(added[2].1, "hAD7C1uPlIYpG2Y6825E1rSRMzM=");
    example.query.extend(added);
    assert_eq!(example.check("2024-01-02T04:04:05Z"), Ok(()));
    assert_eq!(code(example.check("2024-01-02T04:04:06Z")), "AccessDenied");
    example.query[1].1 = "9999999999999".to_owned();
    assert_eq!(code(example.check("2024-01-02T04:04:06Z")), "SignatureDoesNotMatch");
}

#[test]
fn v2_signs_as_the_sdk_does() {
    let authorization =
        "OSS2 AccessKeyId:GMEXAMPLEKEYID01,Signature:3N2X7p32yECEMMDY9CLQGp1VezhkFRqa+PUCXl0e5FY=";
    let headers = [("date", DATE), ("authorization", authorization)];
    let example = Owned::new("GET", "a/b.txt", &[("acl", "")], &headers);
    assert_eq!(example.check("2024-01-02T03:04:05Z"), Ok(()));
    let other = Owned::new("GET", "a/c.txt", &[("acl", "")], &headers);
    assert_eq!(code(other.check("2024-01-02T03:04:05Z")), "SignatureDoesNotMatch");
}

fn put_v4(extra: &[(&str, &str)]) -> Owned {
    let headers = [
        ("content-type", "text/plain"),
        ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-oss-date", "20240102T030405Z"),
        ("x-oss-meta-owner", "alice"),
        ("host", "anything"),
    ];
    Owned::new("PUT", "logs/run-1/stdout a.txt", &[], &[&headers, extra].concat())
}

#[test]
fn v4_signs_as_the_sdk_does() {
    let example = put_v4(&[]);
    let scope =
        v4::Scope { day: "20240102".into(), region: "cn-test".into(), product: "oss".into() };
    assert_eq!(
        form::hex(&v4::signing_key(KEY.secret, &scope)),
        "230f012a10786e30324aca72919a0aa991121dfa67ffec304f2621b542b76492"
    );
    let authorization = sign_v4(&example.request(), KEY, "cn-test");
    assert_eq!(
        authorization,
        "OSS4-HMAC-SHA256 Credential=GMEXAMPLEKEYID01/20240102/cn-test/oss/aliyun_v4_request, \
         Signature=dddf9a89224679c5201ac80d63b351957928a1bea707dc02ee37420e0f3daadb"
    );
    let signed = example.with_header("authorization", &authorization);
    assert_eq!(signed.check("2024-01-02T03:04:05Z"), Ok(()));
    assert_eq!(code(signed.check("2024-01-02T03:20:00Z")), "RequestTimeTooSkewed");
}

#[test]
fn v4_signs_every_parameter() {
    let query = [
        ("list-type", "2"),
        ("prefix", "logs/"),
        ("delimiter", "/"),
        ("continuation-token", ""),
        ("max-keys", "100"),
    ];
    let headers =
        [("x-oss-content-sha256", "UNSIGNED-PAYLOAD"), ("x-oss-date", "20240102T030405Z")];
    let example = Owned::new("GET", "", &query, &headers);
    let authorization = sign_v4(&example.request(), KEY, "cn-test");
    let right = "d111950d436a5f1cb4dea09af545c5a71df0d3f8d2ebb8368c5773ad6aaffffc";
    assert!(authorization.ends_with(right), "{authorization}");
}

#[test]
fn v4_fields_may_come_in_any_order_and_headers_may_be_added() {
    let good = put_v4(&[]).with_header(
        "authorization",
        "OSS4-HMAC-SHA256 \
         Signature=dddf9a89224679c5201ac80d63b351957928a1bea707dc02ee37420e0f3daadb,\
         Credential=GMEXAMPLEKEYID01/20240102/cn-test/oss/aliyun_v4_request",
    );
    assert_eq!(good.check("2024-01-02T03:04:05Z"), Ok(()));
    let missing = put_v4(&[]).with_header(
        "authorization",
        "OSS4-HMAC-SHA256 Credential=GMEXAMPLEKEYID01/20240102/cn-test/oss/aliyun_v4_request, \
         AdditionalHeaders=range, Signature=00",
    );
    assert_eq!(code(missing.check("2024-01-02T03:04:05Z")), "InvalidArgument");
}

#[test]
fn v4_knows_its_region_and_day() {
    let with = |credential: &str| {
        let authorization = format!("OSS4-HMAC-SHA256 Credential={credential}, Signature=00");
        let error =
            put_v4(&[]).with_header("authorization", &authorization).check("2024-01-02T03:04:05Z");
        error.expect_err("is refused").to_string()
    };
    assert_eq!(
        with("GMEXAMPLEKEYID01/20240102/cn-other/oss/aliyun_v4_request"),
        "Invalid signing region in Authorization header."
    );
    assert_eq!(
        with("GMEXAMPLEKEYID01/20240103/cn-test/oss/aliyun_v4_request"),
        "Invalid credential in Authorization header."
    );
}

#[test]
fn v4_urls_are_good_for_their_lifetime() {
    let mut example = Owned::new("GET", "logs/run-1/stdout.txt", &[], &[]);
    let now = parse_iso_date("2024-01-02T03:04:05Z").expect("a date");
    let added = presign_v4(&example.request(), KEY, "cn-test", now, 3600);
    assert_eq!(added[4].1, "9a24e32759947448aeae3f55357902bd347823270b07fb80e60f6f77d8b64afd");
    example.query.extend(added);
    assert_eq!(example.check("2024-01-02T04:04:05Z"), Ok(()));
    assert_eq!(code(example.check("2024-01-02T04:04:06Z")), "AccessDenied");
    assert_eq!(code(example.check("2024-01-01T04:04:06Z")), "RequestTimeTooSkewed");
    example.query[3].1 = "604801".to_owned();
    assert_eq!(code(example.check("2024-01-02T03:04:06Z")), "InvalidArgument");
}

#[test]
fn unsigned_and_malformed_requests_are_told_apart() {
    let anonymous = Owned::new("GET", "k", &[], &[("date", DATE)]);
    assert_eq!(presented(&anonymous.request()), Ok(None));
    for text in ["", "OSS", "OSS id", "Basic abc", "OSS2 AccessKeyId:x", "OSS4-HMAC-SHA256 x"] {
        let request = Owned::new("GET", "k", &[], &[("authorization", text)]);
        let error = presented(&request.request()).expect_err(text);
        assert_eq!(error.code(), "InvalidArgument", "{text}");
    }
    let undated = Owned::new("GET", "k", &[], &[("authorization", "OSS GMEXAMPLEKEYID01:xxx")]);
    assert_eq!(code(undated.check("2024-01-02T03:04:05Z")), "AccessDenied");
}

mod properties {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const NOW: Timestamp = Timestamp(1_704_164_645_000_000);

    type Parts = (String, String, Vec<(String, String)>, Vec<(String, Vec<u8>)>);

    /// Any key, any parameters, any headers, with what the signer of each scheme needs.
    fn parts() -> impl Strategy<Value = Parts> {
        let query = vec(("[a-zA-Z-]{1,12}", ".{0,12}"), 0..5);
        let header = ("(x-oss-meta-[a-z]{1,6}|content-type|range)", vec(0x21u8..=0xff, 0..12));
        let headers = proptest::collection::btree_map(header.0, header.1, 0..4);
        ("(GET|PUT|POST|HEAD|DELETE)", "\\PC{0,20}", query, headers).prop_map(
            |(method, key, mut query, headers)| {
                query.retain(|(name, _)| !name.starts_with("OSS") && name != "Expires");
                query.sort();
                query.dedup_by(|left, right| left.0 == right.0);
                (method, key, query, headers.into_iter().collect())
            },
        )
    }

    fn check(request: &Request, now: Timestamp) -> Result<(), SignatureError> {
        let presented = presented(request)?.expect("it is signed");
        presented.verify(request, KEY.secret, &["cn-test".to_owned()], now)
    }

    proptest! {
        #[test]
        fn what_is_signed_is_let_in_and_what_is_changed_is_not(
            (method, key, query, mut headers) in parts(),
            scheme in 0..2,
        ) {
            let pair = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
            headers.push(match scheme {
                0 => pair("date", DATE),
                _ => pair("x-oss-date", "20240102T030405Z"),
            });
            let request = Request {
                method: &method, bucket: "bkt", key: &key, query: &query, headers: &headers,
            };
            let authorization = match scheme {
                0 => sign_v1(&request, KEY),
                _ => sign_v4(&request, KEY, "cn-test"),
            };
            let mut signed = headers.clone();
            signed.push(pair("authorization", &authorization));
            let request = Request { headers: &signed, ..request };
            prop_assert_eq!(check(&request, NOW), Ok(()));
            let longer = format!("{key}x");
            for other in [
                Request { key: &longer, ..request },
                Request { bucket: "other", ..request },
                Request { method: "OPTIONS", ..request },
            ] {
                prop_assert_eq!(code(check(&other, NOW)), "SignatureDoesNotMatch");
            }
        }

        #[test]
        fn signed_urls_are_let_in((method, key, query, headers) in parts(), scheme in 0..2) {
            let request = Request {
                method: &method, bucket: "bkt", key: &key, query: &query, headers: &headers,
            };
            let added = match scheme {
                0 => presign_v1(&request, KEY, 1_704_164_705),
                _ => presign_v4(&request, KEY, "cn-test", NOW, 60),
            };
            let query = [query.clone(), added].concat();
            let request = Request { query: &query, ..request };
            prop_assert_eq!(check(&request, NOW), Ok(()));
            prop_assert_eq!(code(check(&request, Timestamp(NOW.0 + 61_000_000))), "AccessDenied");
        }

        #[test]
        fn no_header_makes_the_reader_panic(text in vec(any::<u8>(), 0..80)) {
            let headers = [("authorization".to_owned(), text)];
            let request =
                Request { method: "GET", bucket: "b", key: "k", query: &[], headers: &headers };
            if let Ok(Some(presented)) = presented(&request) {
                prop_assert!(presented.verify(&request, "s", &[], NOW).is_err());
            }
        }
    }
}
