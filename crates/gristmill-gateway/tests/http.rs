//! The door as bytes on a connection: what no client library lets one say or see.

mod common;

use common::{Door, NOW, SECRET, clock};
use gristmill_model::AccountId;
use gristmill_objects::{
    BucketAcl, GetOptions, LocalStore, ObjectStore, PutOptions, body_of, collect, disk::DiskStore,
    memory::MemoryStore,
};
use gristmill_wire::{
    oss::sign::{KeyPair, Request, sign_v1},
    time::http_date,
};
use percent_encoding::percent_decode_str;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request of the key `owner` to the bucket `bkt`, path style, with a good V1 signature.
struct Ask {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn ask(method: &'static str, target: &str) -> Ask {
    Ask { method, target: target.to_owned(), headers: vec![], body: vec![] }
}

impl Ask {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        let length = body.len().to_string();
        self.header("content-length", &length)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut headers = self.headers.clone();
        headers.push(("date".into(), http_date(NOW)));
        headers.push(("authorization".into(), self.authorization(&headers)));
        let mut text = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", self.method, self.target);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        [text.as_bytes(), b"\r\n", &self.body].concat()
    }

    fn authorization(&self, headers: &[(String, String)]) -> String {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let target = self.target.split_once("://127.0.0.1").map_or(&*self.target, |(_, path)| path);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        let query: Vec<_> = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect();
        let request = Request {
            method: self.method,
            bucket,
            key: &decoded(key),
            query: &query,
            headers: &headers,
        };
        sign_v1(&request, KeyPair { id: "owner", secret: SECRET })
    }

    /// Sends it on a connection of its own and reads until the other side closes.
    async fn send(&self, door: &Door) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", door.port)).await.expect("connects");
        let closing = self.bytes();
        let head_end = closing.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 2;
        let bytes = [&closing[..head_end], b"Connection: close\r\n", &closing[head_end..]].concat();
        stream.write_all(&bytes).await.expect("sends");
        let mut answer = vec![];
        stream.read_to_end(&mut answer).await.expect("reads");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn door() -> Door {
    let store = MemoryStore::new(clock());
    store.create_bucket("bkt", AccountId(1), BucketAcl::Private).await.expect("makes");
    store.put("bkt", "key", PutOptions::default(), body_of("0123456789")).await.expect("puts");
    Door::open(Arc::new(store)).await
}

/// Reads one answer's head from a connection that stays open.
async fn head(stream: &mut TcpStream) -> String {
    let mut text = vec![];
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.expect("the head goes on"));
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn answers_have_the_customary_headers_in_title_case() {
    let answer = ask("GET", "/bkt/key").send(&door().await).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for header in [
        "Server: AliyunOSS\r\n",
        "X-Oss-Request-Id: ",
        "Content-Length: 10\r\n",
        "Accept-Ranges: bytes\r\n",
        "X-Oss-Object-Type: Normal\r\n",
        "Last-Modified: Tue, 02 Jan 2024 03:04:05 GMT\r\n",
        "Date: ",
    ] {
        assert!(answer.contains(header), "{header} is not in {answer}");
    }
    assert!(answer.ends_with("\r\n\r\n0123456789"));
}

#[tokio::test]
async fn a_target_may_be_absolute() {
    let answer = ask("GET", "http://127.0.0.1/bkt/key").send(&door().await).await;
    assert!(answer.ends_with("0123456789"), "{answer}");
}

#[tokio::test]
async fn an_error_of_head_travels_in_a_header() {
    let answer = ask("HEAD", "/bkt/nothing").send(&door().await).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("X-Oss-Err: PD94bWw"), "{answer}");
    assert!(answer.contains("X-Oss-Ec: 0026-00000001"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn a_body_is_not_asked_for_before_the_caller_is_known() {
    let door = door().await;
    let mut stream = TcpStream::connect(("127.0.0.1", door.port)).await.expect("connects");
    let waiting = "PUT /bkt/key HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
                   Expect: 100-continue\r\n\r\n";
    stream.write_all(waiting.as_bytes()).await.expect("sends");
    let refused = head(&mut stream).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");

    let mut stream = TcpStream::connect(("127.0.0.1", door.port)).await.expect("connects");
    let asked =
        ask("PUT", "/bkt/key").header("content-length", "5").header("expect", "100-continue");
    stream.write_all(&asked.bytes()).await.expect("sends");
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 100"));
    stream.write_all(b"hello").await.expect("sends");
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_get_is_answered_although_its_body_never_comes() {
    let door = door().await;
    let mut stream = TcpStream::connect(("127.0.0.1", door.port)).await.expect("connects");
    let asked = ask("GET", "/bkt/key").header("content-length", "9");
    stream.write_all(&asked.bytes()).await.expect("sends");
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.expect("is closed by the other side");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("Connection: close\r\n") && answer.ends_with("0123456789"), "{answer}");
}

#[tokio::test]
async fn whoever_is_refused_while_sending_sees_why() {
    let door = door().await;
    let mut asked = ask("PUT", "/other/key").body(&vec![b'x'; 20_000_000]);
    asked.headers.push(("x-oss-meta-a".into(), "b".into()));
    let answer = asked.send(&door).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("NoSuchBucket"), "{answer}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let door = door().await;
    let mut stream = TcpStream::connect(("127.0.0.1", door.port)).await.expect("connects");
    for _ in 0..3 {
        stream.write_all(&ask("HEAD", "/bkt/key").bytes()).await.expect("sends");
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
        stream.write_all(&ask("HEAD", "/bkt/nothing").bytes()).await.expect("sends");
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 404"));
        let put = ask("PUT", "/bkt/other").body(b"body");
        stream.write_all(&put.bytes()).await.expect("sends");
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = Arc::new(DiskStore::open(directory.path(), clock()).expect("opens"));
    store.create_bucket("bkt", AccountId(1), BucketAcl::Private).await.expect("makes");
    store.put("bkt", "key", PutOptions::default(), body_of("before")).await.expect("puts");
    let door = Door::open(store.clone()).await;
    for framing in [("content-length", "9000000"), ("transfer-encoding", "chunked")] {
        let mut stream = TcpStream::connect(("127.0.0.1", door.port)).await.expect("connects");
        let asked = ask("PUT", "/bkt/key").header(framing.0, framing.1);
        let piece = [b"2dc6c0\r\n", &vec![b'x'; 3_000_000][..], b"\r\n"].concat();
        stream.write_all(&asked.bytes()).await.expect("sends");
        stream.write_all(&piece).await.expect("sends");
        drop(stream);
    }
    // The door waits for requests in flight, so both uploads are over when it is closed.
    door.close().await;
    let got = store.get("bkt", "key", GetOptions::default()).await.expect("is there");
    assert_eq!(collect(got.body).await.expect("reads"), "before");
    // A block that was being written is given up when it is written.
    let data = directory.path().join("data");
    let files = || {
        let below = std::fs::read_dir(&data).expect("lists").flatten();
        below.map(|at| std::fs::read_dir(at.path()).expect("lists").count()).sum::<usize>()
    };
    for _ in 0..2_000 {
        if files() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} files are left", files());
}

#[tokio::test]
async fn changes_of_one_object_at_the_same_time_all_hold() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = DiskStore::open(directory.path(), clock()).expect("opens");
    store.create_bucket("bkt", AccountId(1), BucketAcl::Private).await.expect("makes");
    let door = Door::open(Arc::new(store)).await;
    for round in 0..20 {
        let put = ask("PUT", "/bkt/key").body(b"bytes").send(&door).await;
        assert!(put.starts_with("HTTP/1.1 200"), "{put}");
        let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
        let tags = ask("PUT", "/bkt/key?tagging").body(tags.as_bytes());
        let acl = ask("PUT", "/bkt/key?acl").header("x-oss-object-acl", "public-read").body(b"");
        let (tags, acl) = tokio::join!(tags.send(&door), acl.send(&door));
        assert!(tags.starts_with("HTTP/1.1 200") && acl.starts_with("HTTP/1.1 200"), "{tags}{acl}");
        let tags = ask("GET", "/bkt/key?tagging").send(&door).await;
        assert!(tags.contains("<Key>k</Key>"), "round {round}: {tags}");
        let acl = ask("GET", "/bkt/key?acl").send(&door).await;
        assert!(acl.contains("<Grant>public-read</Grant>"), "round {round}: {acl}");
    }
}

#[tokio::test]
async fn a_link_with_other_metadata_still_leads_to_its_target() {
    let door = door().await;
    let link = ask("PUT", "/bkt/link?symlink").header("x-oss-symlink-target", "key").body(b"");
    assert!(link.send(&door).await.starts_with("HTTP/1.1 200"));
    let change = ask("PUT", "/bkt/link")
        .header("x-oss-copy-source", "/bkt/link")
        .header("x-oss-metadata-directive", "REPLACE")
        .header("x-oss-meta-a", "b");
    let changed = change.body(b"").send(&door).await;
    assert!(changed.starts_with("HTTP/1.1 200"), "{changed}");
    let target = ask("GET", "/bkt/link?symlink").send(&door).await;
    assert!(target.contains("X-Oss-Symlink-Target: key\r\n"), "{target}");
    let got = ask("GET", "/bkt/link").send(&door).await;
    assert!(got.contains("X-Oss-Meta-A: b\r\n") && got.ends_with("0123456789"), "{got}");
}

#[tokio::test]
async fn of_uploads_that_must_not_overwrite_one_is_completed() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let store = DiskStore::open(directory.path(), clock()).expect("opens");
    store.create_bucket("bkt", AccountId(1), BucketAcl::Private).await.expect("makes");
    let store = Arc::new(store);
    let door = Door::open(store.clone()).await;
    for round in 0..10 {
        let key = format!("key-{round}");
        let mut completions = vec![];
        for _ in 0..2 {
            let options = PutOptions::default();
            let upload = store.create_upload("bkt", &key, options.clone()).await.expect("begins");
            let part = store.put_part("bkt", &key, &upload, 1, options, body_of("part")).await;
            let etag = part.expect("puts").etag;
            let parts = format!(
                "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
            );
            let asked = ask("POST", &format!("/bkt/{key}?uploadId={upload}"))
                .header("x-oss-forbid-overwrite", "true")
                .header("x-oss-object-acl", "public-read");
            completions.push(asked.body(parts.as_bytes()));
        }
        let (one, two) = tokio::join!(completions[0].send(&door), completions[1].send(&door));
        let mut codes = [&one[..13], &two[..13]];
        codes.sort_unstable();
        assert_eq!(codes, ["HTTP/1.1 200 ", "HTTP/1.1 409 "], "round {round}: {one}{two}");
        let acl = ask("GET", &format!("/bkt/{key}?acl")).send(&door).await;
        assert!(acl.contains("<Grant>public-read</Grant>"), "{acl}");
    }
}

#[tokio::test]
async fn bad_requests_get_the_right_code_and_change_nothing() {
    let door = door().await;
    let cases: Vec<(Ask, u16, &str)> = vec![
        (ask("GET", "/BKT/key"), 400, "InvalidBucketName"),
        (ask("GET", "/..%2f..%2fetc/passwd"), 400, "InvalidBucketName"),
        (ask("GET", "/bkt/%5Ckey"), 400, "InvalidObjectName"),
        (ask("GET", "/bkt/%FF"), 400, "InvalidObjectName"),
        (ask("GET", "/bkt/nothing"), 404, "NoSuchKey"),
        (ask("GET", "/nothing/key"), 404, "NoSuchBucket"),
        (ask("GET", "/bkt/?max-keys=0"), 400, "InvalidArgument"),
        (ask("GET", "/bkt/?max-keys=1001"), 400, "InvalidArgument"),
        (ask("GET", "/bkt/?max-keys=x"), 400, "InvalidArgument"),
        (ask("GET", "/bkt/?encoding-type=base64"), 400, "InvalidArgument"),
        (ask("GET", "/bkt/?list-type=2&continuation-token=x"), 400, "InvalidArgument"),
        (ask("GET", "/bkt/?list-type=3"), 400, "InvalidArgument"),
        (ask("GET", "/bkt/?cors"), 404, "NoSuchCORSConfiguration"),
        (ask("GET", "/bkt/?lifecycle"), 404, "NoSuchLifecycle"),
        (ask("GET", "/bkt/?worm"), 400, "NotImplemented"),
        (ask("GET", "/bkt/key?versionId=1"), 400, "NotImplemented"),
        (ask("GET", "/bkt/key?x-oss-process=image"), 400, "NotImplemented"),
        (ask("GET", "/bkt/key?symlink"), 400, "NotSymlink"),
        (ask("GET", "/bkt/key?uploadId=x"), 404, "NoSuchUpload"),
        (ask("PUT", "/bkt/new"), 411, "MissingContentLength"),
        (ask("PUT", "/bkt/?cors").body(b"<x/>"), 400, "NotImplemented"),
        (ask("PUT", "/bkt/new?live").body(b"<x/>"), 400, "NotImplemented"),
        (ask("PUT", "/bkt/new?restore").body(b""), 405, "MethodNotAllowed"),
        (ask("PUT", "/bkt/new?uploadId=x&partNumber=1").body(b""), 404, "NoSuchUpload"),
        (ask("PUT", "/bkt/new?uploadId=x&partNumber=0").body(b""), 400, "InvalidArgument"),
        (ask("PUT", "/bkt/new?uploadId=x&partNumber=z").body(b""), 400, "InvalidArgument"),
        (ask("PUT", "/bkt/new").header("content-md5", "x").body(b""), 400, "InvalidDigest"),
        (
            ask("PUT", "/bkt/new").header("content-md5", "XQVHCjy0y4B2kVtdqw34Jw==").body(b"x"),
            400,
            "InvalidDigest",
        ),
        (
            ask("PUT", "/bkt/new").header("x-oss-object-acl", "all").body(b""),
            400,
            "InvalidArgument",
        ),
        (ask("PUT", "/bkt/new").header("x-oss-tagging", "#=1").body(b""), 400, "InvalidTag"),
        (ask("PUT", "/bkt/new").header("x-oss-callback", "e30=").body(b""), 400, "NotImplemented"),
        (
            ask("PUT", "/bkt/key").header("x-oss-forbid-overwrite", "true").body(b""),
            409,
            "FileAlreadyExists",
        ),
        (ask("PUT", "/bkt/new").header("x-oss-copy-source", "nothing"), 400, "InvalidArgument"),
        (ask("PUT", "/bkt/new").header("x-oss-copy-source", "/bkt/nothing"), 404, "NoSuchKey"),
        (ask("PUT", "/bkt/new").header("x-oss-copy-source", "/nothing/key"), 404, "NoSuchBucket"),
        (
            ask("PUT", "/bkt/new")
                .header("x-oss-copy-source", "/bkt/key")
                .header("x-oss-copy-source-if-match", "other"),
            412,
            "PreconditionFailed",
        ),
        (
            ask("PUT", "/bkt/new")
                .header("x-oss-copy-source", "/bkt/key")
                .header("x-oss-metadata-directive", "MERGE"),
            400,
            "InvalidArgument",
        ),
        (ask("PUT", "/bkt/new").header("content-length", "5368709121"), 400, "EntityTooLarge"),
        (ask("PUT", "/fresh").header("x-oss-acl", "all").body(b""), 400, "InvalidArgument"),
        (ask("PUT", "/fresh").body(b"<Bucket>"), 400, "MalformedXML"),
        (ask("POST", "/bkt/key?append&position=3").body(b"x"), 409, "ObjectNotAppendable"),
        (ask("POST", "/bkt/new?append&position=3").body(b"x"), 409, "PositionNotEqualToLength"),
        (ask("POST", "/bkt/new?append&position=x").body(b"x"), 400, "InvalidArgument"),
        (ask("POST", "/bkt/new?append").body(b"x"), 400, "InvalidArgument"),
        (ask("POST", "/bkt/?delete").body(b"<Delete>"), 400, "MalformedXML"),
        (ask("POST", "/bkt/?delete").body(b"<Delete></Delete>"), 400, "MalformedXML"),
        (ask("POST", "/bkt/?delete").body(b"not xml"), 400, "MalformedXML"),
        (
            ask("POST", "/bkt/?delete")
                .header("content-md5", "XQVHCjy0y4B2kVtdqw34Jw==")
                .body(b"<Delete><Object><Key>key</Key></Object></Delete>"),
            400,
            "InvalidDigest",
        ),
        (ask("POST", "/bkt/?delete").body(&vec![b' '; 5_000_000]), 400, "EntityTooLarge"),
        (ask("POST", "/bkt/new?uploadId=x").body(b"<x/>"), 400, "MalformedXML"),
        (ask("POST", "/bkt/key").body(b""), 400, "NotImplemented"),
        (ask("POST", "/bkt/").body(b""), 400, "NotImplemented"),
        (ask("PATCH", "/bkt/key"), 405, "MethodNotAllowed"),
        (ask("DELETE", "/"), 405, "MethodNotAllowed"),
        (ask("DELETE", "/bkt"), 409, "BucketNotEmpty"),
        (ask("DELETE", "/bkt/key?uploadId=x"), 404, "NoSuchUpload"),
        (ask("PUT", "/bkt/key?tagging").body(b"<Tagging/>"), 400, "MalformedXML"),
        (ask("PUT", "/bkt/key?acl").body(b""), 400, "InvalidArgument"),
        (ask("PUT", "/bkt/new?symlink").body(b""), 400, "InvalidArgument"),
    ];
    assert!(cases.len() >= 55);
    for (asked, status, code) in cases {
        let answer = asked.send(&door).await;
        let (method, target) = (asked.method, &asked.target);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {answer}");
        assert!(answer.contains(&format!("<Code>{code}</Code>")), "{method} {target}: {answer}");
        assert!(!answer.contains(SECRET), "{method} {target} shows the secret");
    }
    let listed = ask("GET", "/bkt").send(&door).await;
    assert_eq!(listed.matches("<Contents>").count(), 1, "{listed}");
    assert!(ask("GET", "/bkt/key").send(&door).await.ends_with("0123456789"));
    assert_eq!(ask("GET", "/").send(&door).await.matches("<Bucket>").count(), 1);
}

#[tokio::test]
async fn what_is_not_signed_right_is_not_let_in() {
    let door = door().await;
    for (header, value, code) in [
        ("authorization: OSS owner:", "AAAA", "SignatureDoesNotMatch"),
        ("authorization: OSS nobody:", "AAAA", "InvalidAccessKeyId"),
        ("authorization: Basic ", "AAAA", "InvalidArgument"),
        ("x-nothing: ", "", "AccessDenied"),
    ] {
        let date = http_date(NOW);
        let text = format!(
            "GET /bkt/key HTTP/1.1\r\nHost: h\r\nDate: {date}\r\n{header}{value}\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", door.port)).await.expect("connects");
        stream.write_all(text.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("reads");
        assert!(answer.contains(&format!("<Code>{code}</Code>")), "{header}: {answer}");
        assert!(!answer.contains("0123456789") && !answer.contains(SECRET), "{answer}");
    }
}
