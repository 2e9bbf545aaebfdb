//! An object store behind HTTP for tests: `objects`' memory store, with signatures checked by
//! `wire`. As much of the protocol as `bcs` speaks.

use crate::stage::{NOW, SECRET};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use futures::{StreamExt, TryStreamExt, stream};
use gristmill_objects::{
    ByteStream, GetOptions, ListOptions, LocalStore, ObjectError, ObjectStore, PartRef, PutOptions,
    memory::MemoryStore,
};
use gristmill_wire::oss::{
    answer::{ObjectPage, Paging, Row, initiated},
    ask, error,
    sign::{Request as Signed, presented},
};
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// A store on a port of its own, with the bucket `b`.
#[derive(Clone)]
pub struct Door {
    pub url: String,
    pub objects: Arc<MemoryStore>,
}

impl Door {
    pub async fn start() -> Self {
        let objects = Arc::new(MemoryStore::with_bucket(Arc::new(|| NOW), "b"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(objects.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, objects }
    }

    pub async fn put(&self, key: &str, text: &str) {
        self.objects
            .put("b", key, PutOptions::default(), body(text.to_owned().into()))
            .await
            .unwrap();
    }

    /// An object of the bucket `b` as bytes, if it is there.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let object = self.objects.get("b", key, GetOptions::default()).await.ok()?;
        let chunks: Vec<Bytes> = object.body.try_collect().await.unwrap();
        Some(chunks.concat())
    }

    pub async fn keys(&self) -> Vec<String> {
        let all = ListOptions {
            prefix: String::new(),
            delimiter: None,
            after: String::new(),
            keys_max: 1000,
        };
        self.objects
            .list("b", all)
            .await
            .unwrap()
            .objects
            .into_iter()
            .map(|object| object.key)
            .collect()
    }
}

fn body(bytes: Bytes) -> ByteStream {
    stream::once(async { Ok(bytes) }).boxed()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

async fn answer(State(objects): State<Arc<MemoryStore>>, request: Request) -> Response {
    let (head, content) = request.into_parts();
    let (bucket, key) = head.uri.path()[1..].split_once('/').unwrap_or((&head.uri.path()[1..], ""));
    let (bucket, key) = (decode(bucket), decode(key));
    let query: Vec<(String, String)> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    let headers: Vec<(String, Vec<u8>)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    let signed = Signed {
        method: head.method.as_str(),
        bucket: &bucket,
        key: &key,
        query: &query,
        headers: &headers,
    };
    let verdict =
        presented(&signed).unwrap().expect("it is signed").verify(&signed, SECRET, &[], NOW);
    if let Err(why) = verdict {
        return refusal("SignatureDoesNotMatch", &why.to_string());
    }
    let content = axum::body::to_bytes(content, 256 << 20).await.unwrap();
    match perform(&objects, &signed, content).await {
        Ok(response) => response,
        Err(ObjectError::NoSuchKey { .. }) => {
            refusal("NoSuchKey", "The specified key does not exist.")
        }
        Err(ObjectError::NoSuchBucket { .. }) => {
            refusal("NoSuchBucket", "The specified bucket does not exist.")
        }
        Err(other) => refusal("InternalError", &other.to_string()),
    }
}

fn refusal(code: &str, message: &str) -> Response {
    let body =
        error::ErrorBody { code: code.into(), message: message.into(), ..Default::default() };
    Response::builder().status(error::status(code)).body(Body::from(body.to_xml())).unwrap()
}

fn done(etag: &str, body: impl Into<Body>) -> Response {
    Response::builder().header("etag", format!("\"{etag}\"")).body(body.into()).unwrap()
}

async fn perform(
    objects: &MemoryStore,
    asked: &Signed<'_>,
    content: Bytes,
) -> Result<Response, ObjectError> {
    let (bucket, key) = (asked.bucket, asked.key);
    let options = PutOptions::default();
    match (asked.method, asked.param("uploadId"), key) {
        ("PUT", None, "") => {
            objects
                .create_bucket(bucket, Default::default(), gristmill_objects::BucketAcl::Private)
                .await?;
            Ok(done("", ""))
        }
        ("GET", None, "") => Ok(done("", list(objects, asked).await?)),
        ("PUT", Some(upload), _) => {
            let number = asked.param("partNumber").unwrap().parse().unwrap();
            let part =
                objects.put_part(bucket, key, upload, number, options, body(content)).await?;
            Ok(done(&part.etag, ""))
        }
        ("POST", Some(upload), _) => {
            let parts: Vec<PartRef> = ask::complete_upload(&content)
                .unwrap()
                .into_iter()
                .map(|(number, etag)| PartRef { number, etag })
                .collect();
            let info = objects.complete_upload(bucket, key, upload, &parts).await?;
            Ok(done(&info.etag, ""))
        }
        ("POST", None, _) => {
            let upload = objects.create_upload(bucket, key, options).await?;
            Ok(done("", initiated(bucket, key, &upload, false)))
        }
        ("PUT", None, _) => {
            Ok(done(&objects.put(bucket, key, options, body(content)).await?.etag, ""))
        }
        ("DELETE", _, _) => objects.delete(bucket, key).await.map(|()| done("", "")),
        ("HEAD", _, _) => {
            let info = objects.head(bucket, key).await?;
            Ok(Response::builder().header("content-length", info.size).body(Body::empty()).unwrap())
        }
        _ => read(objects, asked).await,
    }
}

async fn read(objects: &MemoryStore, asked: &Signed<'_>) -> Result<Response, ObjectError> {
    let range = asked.header_text("range").map(|text| {
        let (first, last) = text.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        first.parse().unwrap()..last.parse::<u64>().unwrap() + 1
    });
    let is_part = range.is_some();
    let object = objects.get(asked.bucket, asked.key, GetOptions { range, if_match: None }).await?;
    let (start, end, size) = (object.range.start, object.range.end, object.info.size);
    let mut response = Response::builder().header("content-length", end - start);
    if is_part {
        response = response
            .status(206)
            .header("content-range", format!("bytes {start}-{}/{size}", end - 1));
    }
    Ok(response.body(Body::from_stream(object.body)).unwrap())
}

async fn list(objects: &MemoryStore, asked: &Signed<'_>) -> Result<String, ObjectError> {
    let param = |name| asked.param(name).unwrap_or_default().to_owned();
    let keys_max = param("max-keys").parse().unwrap();
    let delimiter = Some(param("delimiter")).filter(|text| !text.is_empty());
    let (prefix, marker) = (param("prefix"), param("marker"));
    let options =
        ListOptions { prefix: prefix.clone(), delimiter, after: marker.clone(), keys_max };
    let page = objects.list(asked.bucket, options).await?;
    let row = |object: gristmill_objects::ObjectInfo| Row {
        key: object.key,
        last_modified: object.last_modified,
        etag: object.etag,
        kind: object.kind,
        size: object.size,
    };
    let answer = ObjectPage {
        bucket: asked.bucket.to_owned(),
        prefix,
        delimiter: param("delimiter"),
        keys_max,
        encode: true,
        owner: None,
        paging: Paging::Marker { marker, next: page.next },
        objects: page.objects.into_iter().map(row).collect(),
        common_prefixes: page.common_prefixes,
    };
    Ok(answer.to_xml())
}
