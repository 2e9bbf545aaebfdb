//! Answers: small builders, and the dress every answer wears.

use crate::{ReplyBody, fault::Fault};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::TryStreamExt;
use gristmill_objects::ByteStream;
use gristmill_wire::oss::error::lookup;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;

/// An answer.
pub(crate) type Reply = Response<ReplyBody>;

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    with_status(status, body)
}

/// An answer that is XML.
pub(crate) fn xml(text: String) -> Reply {
    let mut reply = with_status(StatusCode::OK, full(text));
    set(reply.headers_mut(), header::CONTENT_TYPE, "application/xml");
    reply
}

/// An answer whose body streams.
pub(crate) fn stream(status: StatusCode, body: ByteStream) -> Reply {
    with_status(status, StreamBody::new(body.map_ok(Frame::data)).boxed_unsync())
}

fn full(text: String) -> ReplyBody {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

fn with_status(status: StatusCode, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
}

/// Adds a header. A value that cannot be one (it holds a control character) is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_bytes(value.to_string().as_bytes()) {
        headers.insert(name, value);
    }
}

/// Adds the headers of a stored body: `ETag` and CRC.
pub(crate) fn set_sums(headers: &mut HeaderMap, etag: &str, crc64: Option<u64>) {
    set(headers, header::ETAG, format!("\"{etag}\""));
    if let Some(crc) = crc64 {
        set(headers, HeaderName::from_static("x-oss-hash-crc64ecma"), crc);
    }
}

/// An error as an answer. To HEAD it goes into a header, as there is no body.
pub(crate) fn fault(fault: &Fault, method: &Method, request_id: &str, host: &str) -> Reply {
    let body = fault.body(request_id, host);
    let status = StatusCode::from_u16(lookup(&fault.code).status).expect("the table has statuses");
    let text = body.to_xml();
    let mut reply = match *method {
        Method::HEAD => {
            let mut reply = empty(status);
            let name = HeaderName::from_static("x-oss-err");
            set(reply.headers_mut(), name, STANDARD.encode(text));
            reply
        }
        _ => {
            let mut reply = xml(text);
            *reply.status_mut() = status;
            reply
        }
    };
    if !body.ec.is_empty() {
        set(reply.headers_mut(), HeaderName::from_static("x-oss-ec"), &body.ec);
    }
    for (name, value) in &fault.headers {
        set(reply.headers_mut(), name.clone(), value);
    }
    reply
}

/// What every answer has.
pub(crate) fn dress(mut reply: Reply, request_id: &str) -> Reply {
    let headers = reply.headers_mut();
    set(headers, header::SERVER, "AliyunOSS");
    set(headers, HeaderName::from_static("x-oss-request-id"), request_id);
    reply
}
