//! The worked examples of `reference/api.md` 2.3, and what must not verify.

use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_447_236_000_000_000);
const DATE: &str = "Wed, 11 Nov 2015 10:00:00 GMT";
const NONCE: &str = "f6a1d3c2-885f-11e5-9a33-000c29d1a1b4";
const JOB: &str = "/jobs/job-0000000058524720000077E900007257";

/// A request as the Python SDK sends it, and ways to bend it.
#[derive(Clone)]
struct Sent {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
}

impl Sent {
    /// The headers of example A without `Authorization`.
    fn python(method: &'static str, target: &str) -> Self {
        let headers = [
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
            ("Date", DATE),
            ("x-acs-access-key-id", "testid"),
            ("x-acs-region-id", "cn-test"),
            ("x-acs-signature-method", "HMAC-SHA1"),
            ("x-acs-signature-nonce", NONCE),
            ("x-acs-signature-version", "1.0"),
            ("x-acs-version", "2015-11-11"),
            ("Host", "batchcompute.cn-test.aliyuncs.com"),
            ("User-Agent", "Mozilla/5.0"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        Self { method, target: target.to_owned(), headers }
    }

    /// The headers of example H.
    fn java(target: &str) -> Self {
        Self::python("GET", target)
            .without("x-acs-region-id")
            .set("x-acs-accesskey-id", "testid")
            .set("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==")
            .set("Content-Type", "application/x-www-form-urlencoded")
            .set("RegionId", "cn-test")
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
        self
    }

    fn set(self, name: &'static str, value: &str) -> Self {
        let mut sent = self.without(name);
        sent.headers.push((name, value.to_owned()));
        sent
    }

    fn signature(self, signature: &str) -> Self {
        self.set("Authorization", &format!("acs testid:{signature}"))
    }

    /// Signs what is there, with the target as the resource line.
    fn signed(self) -> Self {
        let authorization = self.with(|request| sign(request, "testid", "testsecret"));
        self.set("Authorization", &authorization)
    }

    fn with<T>(&self, judge: impl FnOnce(&SignedRequest<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
        judge(&SignedRequest { method: self.method, target: &self.target, headers: &headers })
    }

    fn verify_at(&self, now: Timestamp) -> Result<(), AuthError> {
        self.with(|request| verify(request, "testsecret", None, now, SKEW))
    }

    fn verify(&self) -> Result<(), AuthError> {
        self.verify_at(NOW)
    }
}

fn examples() -> Vec<(&'static str, Sent)> {
    let java_paged = "/jobs?MaxItemCount=50&Marker=a%20b%2Fc%2Bd";
    vec![
        (
            "A",
            Sent::python("GET", "/jobs?Marker&MaxItemCount=50&State=Running")
                .signature("IabbRMh2A4QLCnhzEJdbBtCEwxg="),
        ),
        (
            "B",
            Sent::python("POST", "/clusters?IdempotentToken=tok_1")
                .set("contentMd5", "a1657c7d9c43782da9c338b13b5f000b")
                .signature("2gTu6AjDlzGFPAdLzjZeWSVmXu8="),
        ),
        (
            "C",
            Sent::python("GET", &format!("{JOB}?description"))
                .set("x-acs-security-token", "STS.abc")
                .signature("Ss/+mqdygcaA4+L3dM0IxgQCJ3g="),
        ),
        (
            "D",
            Sent::python("POST", &format!("{JOB}/stop")).signature("xL1NrS2TMu+4qYLof9hEJOCdp/U="),
        ),
        (
            "E",
            Sent::python("POST", "/jobs?IdempotentToken=t1&sync")
                .signature("nP5jg/1qTflAg66B+TKyh+6qrdw="),
        ),
        (
            "F",
            Sent::python("GET", "/apps/a1?Detail=True&Qualifier")
                .signature("5Zz/fXSvYLTroKXNOCmeZzooHSs="),
        ),
        (
            "G",
            Sent::python("GET", "/jobs?Marker=a%20b%2Fc%2Bd&MaxItemCount=1")
                .set("x-client-name", "bcs")
                .signature("ZQajHLpI6uXB6oh7dzvEwFcPdTo="),
        ),
        ("H", Sent::java(java_paged).signature("f1OmQ188bdvdYH30rbl+W/agjGY=")),
        (
            "H, no marker",
            Sent::java("/jobs?MaxItemCount=50").signature("8j04HtMlrcTmvx94Kd5FvonncQ8="),
        ),
        (
            "H, detail",
            Sent::java("/apps/a1?Detail=True&Qualifier=2")
                .signature("3FuGfXr9y2+5+37raDmE/nhFJ80="),
        ),
    ]
}

#[test]
fn the_worked_examples_verify() {
    for (name, sent) in examples() {
        assert_eq!(sent.verify(), Ok(()), "example {name}");
        assert_eq!(
            sent.with(|request| access_key_id(request).map(str::to_owned)).as_deref(),
            Ok("testid")
        );
    }
}

#[test]
fn the_python_examples_are_signed_as_the_sdk_signs_them() {
    for (name, sent) in examples().into_iter().take(7) {
        assert_eq!(sent.clone().signed().headers, sent.headers, "example {name}");
    }
}

#[test]
fn the_order_of_a_java_query_on_the_wire_does_not_matter() {
    let signature = "f1OmQ188bdvdYH30rbl+W/agjGY=";
    for target in [
        "/jobs?Marker=a%20b%2Fc%2Bd&MaxItemCount=50",
        "/jobs?MaxItemCount=50&Marker=a+b%2Fc%2Bd",
        "/jobs?MaxItemCount=50&Marker=a%20b/c%2Bd",
    ] {
        assert_eq!(Sent::java(target).signature(signature).verify(), Ok(()), "{target}");
    }
}

#[test]
fn one_changed_byte_anywhere_fails() {
    for (name, sent) in examples() {
        for at in 0..sent.target.len() {
            let mut target = sent.target.clone().into_bytes();
            target[at] ^= 1;
            let target = String::from_utf8(target).expect("ASCII stays ASCII");
            let verdict = Sent { target: target.clone(), ..sent.clone() }.verify();
            assert!(matches!(verdict, Err(AuthError::DoesNotMatch { .. })), "{name}: {target}");
        }
    }
}

#[test]
fn a_changed_verb_header_or_secret_fails() {
    let sent = Sent::python("GET", "/jobs?Marker").signed();
    assert_eq!(sent.verify(), Ok(()));
    let bent = [
        Sent { method: "DELETE", ..sent.clone() },
        sent.clone().set("Accept", "text/html"),
        sent.clone().set("Content-Type", "text/plain"),
        sent.clone().set("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        sent.clone().set("Date", "Wed, 11 Nov 2015 10:00:01 GMT"),
        sent.clone().set("x-acs-region-id", "cn-other"),
        sent.clone().set("x-acs-source-ip", "10.0.0.1"),
        sent.clone().without("x-acs-signature-nonce"),
    ];
    for bent in bent {
        assert!(matches!(bent.verify(), Err(AuthError::DoesNotMatch { .. })), "{:?}", bent.headers);
    }
    let verdict = sent.with(|request| verify(request, "testsecreT", None, NOW, SKEW));
    assert!(matches!(verdict, Err(AuthError::DoesNotMatch { .. })));
}

#[test]
fn what_is_not_signed_may_change_on_the_way() {
    let sent = Sent::python("GET", "/jobs").signed();
    let changed = sent
        .set("Host", "localhost:8080")
        .set("RegionId", "cn-other")
        .set("contentMd5", "00")
        .set("Content-Length", "0")
        .set("x-client-version", "1.7.7")
        .set("ACCEPT", " application/json ");
    assert_eq!(changed.verify(), Ok(()));
}

#[test]
fn content_types_of_every_client_are_signed_as_sent() {
    for kind in [
        "application/json",
        "application/octet-stream",
        "application/octet-stream;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "text/plain;charset=UTF-8",
        "",
    ] {
        let sent = Sent::python("POST", "/jobs").set("Content-Type", kind).signed();
        assert_eq!(sent.verify(), Ok(()), "{kind}");
    }
    let none = Sent::python("GET", "/jobs").without("Content-Type").without("Accept").signed();
    assert_eq!(none.verify(), Ok(()));
}

#[test]
fn the_nonce_may_be_absent() {
    let sent = Sent::python("GET", "/jobs").without("x-acs-signature-nonce").signed();
    assert_eq!(sent.verify(), Ok(()));
}

#[test]
fn header_names_come_in_any_case_and_order() {
    let mut sent = Sent::python("GET", "/jobs").signed();
    sent.headers.reverse();
    let sent = sent.set("X-Acs-Version", "2015-11-11").set("DATE", DATE);
    assert_eq!(sent.verify(), Ok(()));
}

#[test]
fn the_date_may_be_in_its_own_header() {
    let absent = Sent::python("GET", "/jobs").without("Date");
    assert_eq!(absent.clone().set("x-acs-date", DATE).signed().verify(), Ok(()));
    assert_eq!(
        absent.clone().set("x-acs-date", "2015-11-11T10:00:00.000Z").signed().verify(),
        Ok(())
    );
    assert_eq!(absent.signed().verify(), Err(AuthError::MissingDate));
}

#[test]
fn the_date_must_be_within_the_window() {
    let sent = Sent::python("GET", "/jobs").signed();
    let minutes = |count: i64| Timestamp(NOW.0 + count * 60_000_000);
    for (at, good) in [(-16, false), (-15, true), (0, true), (15, true), (16, false)] {
        assert_eq!(sent.verify_at(minutes(at)).is_ok(), good, "{at} minutes");
    }
    let unreadable = Sent::python("GET", "/jobs").set("Date", "yesterday").signed().verify();
    assert!(matches!(unreadable, Err(AuthError::Expired { .. })));
}

#[test]
fn a_temporary_key_needs_its_token_and_others_ignore_it() {
    let check =
        |sent: &Sent, token| sent.with(|request| verify(request, "testsecret", token, NOW, SKEW));
    let with = Sent::python("GET", "/jobs").set("x-acs-security-token", "STS.abc").signed();
    let without = Sent::python("GET", "/jobs").signed();
    assert_eq!(check(&with, Some("STS.abc")), Ok(()));
    assert_eq!(check(&with, None), Ok(()));
    assert_eq!(check(&without, None), Ok(()));
    assert_eq!(check(&with, Some("STS.abd")), Err(AuthError::TokenMismatch));
    assert_eq!(check(&without, Some("STS.abc")), Err(AuthError::TokenMismatch));
}

#[test]
fn an_unreadable_authorization_is_incomplete() {
    let plain = Sent::python("GET", "/jobs");
    assert!(matches!(plain.verify(), Err(AuthError::Incomplete { .. })));
    for value in ["", "acs", "acs ", "acs testid", "acs :sig", "acs testid:", "OSS testid:sig"] {
        let verdict = plain.clone().set("Authorization", value).verify();
        assert!(matches!(verdict, Err(AuthError::Incomplete { .. })), "{value}");
    }
    let other = plain.set("x-acs-signature-method", "HMAC-SHA256").signed().verify();
    assert!(matches!(other, Err(AuthError::Incomplete { .. })));
}

#[test]
fn a_refusal_shows_the_servers_string_to_sign_but_no_token() {
    let sent = Sent::python("GET", "/jobs?Marker&MaxItemCount=50&State=Running")
        .set("x-acs-security-token", "STS.abc")
        .signature("AAAA");
    let error = ApiError::from(sent.verify().expect_err("the signature is wrong"));
    assert_eq!((error.status(), error.code.to_string().as_str()), (400, "SignatureDoesNotMatch"));
    let wanted = "GET\napplication/json\n\napplication/json\nWed, 11 Nov 2015 10:00:00 GMT\n\
        x-acs-access-key-id:testid\nx-acs-region-id:cn-test\nx-acs-security-token:***\n\
        x-acs-signature-method:HMAC-SHA1\n";
    assert!(error.message.contains(wanted), "{}", error.message);
    assert!(error.message.ends_with("\n/jobs?Marker&MaxItemCount=50&State=Running"));
}

#[test]
fn each_failure_has_the_code_of_the_table() {
    let expired = AuthError::Expired { date: "x".into(), now: DATE.into(), skew: SKEW };
    for (error, status, code) in [
        (AuthError::Incomplete { reason: "x" }, 400, "IncompleteSignature"),
        (AuthError::UnknownAccessKey { id: "x".into() }, 404, "InvalidAccessKeyId.NotFound"),
        (AuthError::TokenMismatch, 400, "InvalidSecurityToken.Mismatch"),
        (AuthError::MissingDate, 400, "MissingDate"),
        (expired, 400, "InvalidTimeStamp.Expired"),
    ] {
        let error = ApiError::from(error);
        assert_eq!((error.status(), error.code.to_string().as_str()), (status, code));
    }
}

#[test]
fn our_client_makes_example_a_and_verifies_with_a_token() {
    let mut credentials =
        Credentials { access_key_id: "testid".into(), secret: "testsecret".into(), token: None };
    let query = [("State", "Running"), ("Marker", ""), ("MaxItemCount", "50")];
    let target = encode_target("/jobs", &query);
    let parts = RequestParts { method: "GET", target: &target, region: "cn-test", nonce: NONCE };
    let headers = signed_headers(&credentials, parts, NOW);
    let authorization = &headers.last().expect("not empty").1;
    assert_eq!(authorization, "acs testid:IabbRMh2A4QLCnhzEJdbBtCEwxg=");

    credentials.token = Some("STS.abc".into());
    let headers = signed_headers(&credentials, parts, NOW);
    let sent = Sent { method: "GET", target: target.clone(), headers };
    assert_eq!(
        sent.with(|request| verify(request, "testsecret", Some("STS.abc"), NOW, SKEW)),
        Ok(())
    );
    assert!(!format!("{credentials:?}").contains("testsecret"));
}

#[test]
fn targets_are_encoded_as_the_sdk_does() {
    assert_eq!(
        encode_target("/jobs", &[("MaxItemCount", "1"), ("Marker", "a b/c+d~é")]),
        "/jobs?Marker=a%20b%2Fc%2Bd~%C3%A9&MaxItemCount=1"
    );
    assert_eq!(encode_target("/apps/Public:x", &[]), "/apps/Public:x");
}

/// What the Java cores sign: decoded values, sorted by key, a bare key where a value is empty.
fn java_resource(path: &str, query: &[(String, String)]) -> String {
    let mut query = query.to_vec();
    query.sort_by(|a, b| a.0.cmp(&b.0));
    let pairs = query.iter().map(|(key, value)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    });
    match pairs.collect::<Vec<_>>().join("&").as_str() {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// What the Java cores put on the wire: any order, encoded, `+` or `%20` for a space.
fn java_target(path: &str, query: &[(String, String)], plus: bool) -> String {
    let encode = |text: &str| {
        let text = percent_encoding::percent_encode(text.as_bytes(), target::PYTHON).to_string();
        if plus { text.replace("%20", "+") } else { text }
    };
    let pairs: Vec<_> =
        query.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_query_verifies_in_both_spellings(
        query in proptest::collection::btree_map("[A-Za-z]{1,8}", "\\PC{0,8}", 0..4),
        plus in any::<bool>(),
    ) {
        let query: Vec<(String, String)> = query.into_iter().rev().collect();
        let pairs: Vec<_> = query.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let python = Sent::python("GET", &encode_target("/jobs", &pairs)).signed();
        prop_assert_eq!(python.verify(), Ok(()));

        let authorization = Sent::java(&java_resource("/jobs", &query))
            .with(|request| sign(request, "testid", "testsecret"));
        let java = Sent::java(&java_target("/jobs", &query, plus))
            .set("Authorization", &authorization);
        prop_assert_eq!(java.verify(), Ok(()));
    }

    #[test]
    fn any_request_is_judged_without_a_panic(
        target in "\\PC{0,40}",
        headers in proptest::collection::vec(("[A-Za-z-]{0,20}", any::<Vec<u8>>()), 0..5),
        authorization in any::<Vec<u8>>(),
    ) {
        let mut headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        headers.push(("Authorization", authorization.as_slice()));
        let request = SignedRequest { method: "GET", target: &target, headers: &headers };
        prop_assert!(verify(&request, "testsecret", None, NOW, SKEW).is_err());
    }
}
