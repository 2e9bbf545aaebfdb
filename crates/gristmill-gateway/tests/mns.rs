//! The door of the message service, without a connection before it.

use bytes::Bytes;
use futures::StreamExt;
use gristmill_gateway::mns::{BODY_SIZE_MAX, MnsDoor, MnsKey, MnsKeys, MnsRefusal, MnsSettings};
use gristmill_messages::Messages;
use gristmill_model::{AccountId, Timestamp};
use gristmill_wire::{
    mns::sign::{Request, authorization},
    time::http_date,
};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::{convert::Infallible, sync::Arc};

const NOW: Timestamp = Timestamp(1_704_164_645_000_000);
const SECRET: &str = "secret";
const CHUNK: usize = 64 * 1024;

struct Keys;

impl MnsKeys for Keys {
    fn find(&self, id: &str, _token: Option<&str>) -> Result<MnsKey, MnsRefusal> {
        match id {
            "owner" => Ok(MnsKey {
                secret: SECRET.to_owned(),
                account: AccountId(1),
                may: Box::new(|_| true),
            }),
            _ => Err(MnsRefusal::Unknown),
        }
    }
}

fn door(directory: &tempfile::TempDir) -> MnsDoor {
    let path = directory.path().join("messages.db");
    let render = Arc::new(|_, _: &_| String::new());
    let messages = Messages::open(&path, Arc::new(|| NOW), render).expect("opens");
    let settings = MnsSettings {
        region: "cn-test".to_owned(),
        skew_micros_max: 900_000_000,
        clock: Arc::new(|| NOW),
        certificate_path: "/certificate".to_owned(),
        certificate: Arc::new(|| None),
    };
    MnsDoor::new(messages, Arc::new(Keys), settings)
}

/// The code of the answer to a message of `size` bytes, sent with this `Authorization`.
async fn code(door: &MnsDoor, authorization: Option<&str>, size: usize) -> String {
    let chunks = (0..size.div_ceil(CHUNK))
        .map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; CHUNK]))));
    let body = StreamBody::new(futures::stream::iter(chunks).boxed());
    let mut request = http::Request::builder()
        .method("POST")
        .uri("/queues/q/messages")
        .header("date", http_date(NOW));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let response = door.handle(request.body(body).expect("legal")).await;
    let body = response.into_body().collect().await.expect("is in memory").to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map(|(code, _)| code.to_owned()).expect("it is refused")
}

#[tokio::test]
async fn nothing_is_kept_of_the_body_of_somebody_who_is_not_known() {
    let directory = tempfile::tempdir().expect("makes a directory");
    let door = door(&directory);
    let signed = Request {
        method: "POST".to_owned(),
        target: "/queues/q/messages".to_owned(),
        headers: [("date".to_owned(), http_date(NOW))].into(),
    };
    let right = authorization("owner", SECRET, &signed);
    for (authorization, size, wanted) in [
        // Whoever is known is told that it is too much; nobody else is listened to as far.
        (Some(&*right), 2 * BODY_SIZE_MAX, "InvalidArgument"),
        (Some(&*right), CHUNK, "MalformedXML"),
        (None, 2 * BODY_SIZE_MAX, "MissingAuthorizationHeader"),
        (Some("MNS owner:AAAA"), 2 * BODY_SIZE_MAX, "SignatureDoesNotMatch"),
        (Some("MNS nobody:AAAA"), 2 * BODY_SIZE_MAX, "InvalidAccessKeyId"),
        (None, CHUNK, "MissingAuthorizationHeader"),
    ] {
        assert_eq!(code(&door, authorization, size).await, wanted, "{authorization:?} {size}");
    }
}
