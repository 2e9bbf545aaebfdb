//! PutObject, GetObject, HeadObject, AppendObject and the deletes.

use crate::{
    address::is_key,
    body,
    caller::{Caller, Wish},
    conditions::{Cut, Span, Verdict, judge},
    fault::Fault,
    headers::{self, LINK, Stored, text},
    reply::{self, Reply, set, set_sums},
    route::Call,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gristmill_objects::{ByteStream, GetObject, GetOptions, ObjectError, ObjectInfo, PutOptions};
use gristmill_wire::oss::{answer, ask};
use http::{HeaderMap, HeaderName, StatusCode, header};
use std::ops::Range;

/// How often a read looks again when the object changed between two looks.
const READ_ATTEMPTS_MAX: usize = 5;

/// What a request says about the body it sends, and about its object if it `makes` one.
pub(crate) fn put_options(call: &Call<'_>, makes: bool) -> Result<PutOptions, Fault> {
    if call.headers.contains_key("x-oss-callback") {
        return Err(Fault::not_implemented("callbacks"));
    }
    Ok(PutOptions {
        headers: if makes { headers::stored(&call.headers)? } else { Stored::new() },
        content_md5: body::content_md5(&call.headers)?,
        forbid_overwrite: forbids_overwrite(&call.headers),
        length: body::length(&call.headers, call.version)?,
    })
}

/// Whether an existing object must stay.
pub(crate) fn forbids_overwrite(headers: &HeaderMap) -> bool {
    text(headers, "x-oss-forbid-overwrite").is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// `PUT /key`
pub(crate) async fn put(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let options = put_options(call, true)?;
    let info = call.store().put(bucket, key, options, body).await?;
    let mut reply = reply::empty(StatusCode::OK);
    set_sums(reply.headers_mut(), &info.etag, info.crc64);
    if let Some(md5) = md5_of(&info.etag) {
        set(reply.headers_mut(), HeaderName::from_static("content-md5"), md5);
    }
    Ok(reply)
}

/// The `Content-MD5` of an ETag that is an MD5.
fn md5_of(etag: &str) -> Option<String> {
    let pair = |at: usize| u8::from_str_radix(etag.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).step_by(2).map(pair).collect();
    bytes.filter(|_| etag.len() == 32).map(|bytes| STANDARD.encode(bytes))
}

/// `POST /key?append&position=N`
pub(crate) async fn append(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let position = call.param("position").and_then(|text| text.parse().ok());
    let position = position.ok_or_else(|| Fault::argument("position", ""))?;
    // Only the first append says what the object carries; later ones may say anything.
    let options = put_options(call, position == 0)?;
    let next = HeaderName::from_static("x-oss-next-append-position");
    match call.store().append(bucket, key, position, options, body).await {
        Ok(info) => {
            let mut reply = reply::empty(StatusCode::OK);
            set_sums(reply.headers_mut(), &info.etag, info.crc64);
            set(reply.headers_mut(), next, info.size);
            Ok(reply)
        }
        // The SDK reads the header of the refusal and fails without it.
        Err(error @ ObjectError::Refused { .. }) => {
            let size = call.store().head(bucket, key).await.map_or(0, |info| info.size);
            let mut fault = Fault::from(error);
            fault.headers.push((next, size.to_string()));
            Err(fault)
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /key`
pub(crate) async fn get(call: &Call<'_>) -> Result<Reply, Fault> {
    let key = &call.address.key;
    call.permit(Wish::Read(key)).await?;
    let span = text(&call.headers, "range").and_then(Span::parse);
    let standard = text(&call.headers, "x-oss-range-behavior") == Some("standard");
    let (mut object, mut cut) = open(call, key, span, standard).await?;
    if let Some(target) = object.info.headers.get(LINK).cloned() {
        call.permit(Wish::Read(&target)).await?;
        let link = object.info;
        (object, cut) = open(call, &target, span, standard).await.map_err(behind_link)?;
        object.info = through_link(link, object.info);
    }
    let mut reply = match judge(&object.info, &call.headers, "") {
        Verdict::Failed(condition) => return Err(Fault::precondition_failed(condition)),
        Verdict::NotModified => {
            let mut reply = reply::empty(StatusCode::NOT_MODIFIED);
            headers::show_meta(&object.info, reply.headers_mut());
            return Ok(reply);
        }
        Verdict::Go => {
            let status = if cut.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
            reply::stream(status, object.body)
        }
    };
    let shown = reply.headers_mut();
    headers::show(&object.info, shown);
    set(shown, header::CONTENT_LENGTH, object.range.end - object.range.start);
    if let Some(Range { start, end }) = cut {
        let range = format!("bytes {start}-{}/{}", end - 1, object.info.size);
        set(shown, header::CONTENT_RANGE, range);
    }
    override_headers(call, shown)?;
    Ok(reply)
}

/// Opens an object at the range that is meant; `Some` range: the answer is partial.
async fn open(
    call: &Call<'_>,
    key: &str,
    span: Option<Span>,
    standard: bool,
) -> Result<(GetObject, Option<Range<u64>>), Fault> {
    let bucket = &call.address.bucket;
    let open =
        async |range, if_match| call.store().get(bucket, key, GetOptions { range, if_match }).await;
    let Some(span) = span else { return Ok((open(None, None).await?, None)) };
    if let Some(range) = span.guess() {
        match open(Some(range), None).await {
            Ok(object) => {
                if let Cut::Part(part) = span.cut(object.info.size, standard)
                    && part == object.range
                {
                    return Ok((object, Some(part)));
                }
            }
            Err(ObjectError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The size decides what the range means: look, then read that version.
    for _ in 0..READ_ATTEMPTS_MAX {
        let info = call.store().head(bucket, key).await?;
        let part = match span.cut(info.size, standard) {
            Cut::Whole => None,
            Cut::Part(part) => Some(part),
            Cut::Outside => return Err(outside(&info)),
        };
        match open(part.clone(), Some(info.etag)).await {
            Ok(object) => return Ok((object, part)),
            Err(ObjectError::Changed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Fault::new("ServiceUnavailable", "The object changes faster than it can be read."))
}

fn outside(info: &ObjectInfo) -> Fault {
    Fault::new("InvalidRange", "The requested range cannot be satisfied.")
        .detail("ActualObjectSize", info.size)
        .header("content-range", format!("bytes */{}", info.size))
}

/// What is wrong with the target of a symbolic link. A link to a link is answered as the empty
/// object that it is.
fn behind_link(fault: Fault) -> Fault {
    match &*fault.code {
        "NoSuchKey" => {
            Fault::new("SymlinkTargetNotExist", "The target of the symbolic link does not exist.")
        }
        _ => fault,
    }
}

/// How an object looks through a link to it: its own bytes, the link's kind and metadata.
fn through_link(link: ObjectInfo, target: ObjectInfo) -> ObjectInfo {
    let mut headers = target.headers;
    headers.retain(|name, _| !name.starts_with("x-oss-meta-"));
    headers.extend(link.headers.into_iter().filter(|(name, _)| name != "content-type"));
    ObjectInfo { kind: link.kind, headers, ..target }
}

/// `response-content-type=…` and its kin.
fn override_headers(call: &Call<'_>, shown: &mut HeaderMap) -> Result<(), Fault> {
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LANGUAGE,
        header::EXPIRES,
        header::CACHE_CONTROL,
        header::CONTENT_DISPOSITION,
        header::CONTENT_ENCODING,
    ] {
        if let Some(value) = call.param(&format!("response-{name}")) {
            set(shown, name, value);
        }
    }
    Ok(())
}

/// `HEAD /key`, `HEAD /key?objectMeta`
pub(crate) async fn head(call: &Call<'_>) -> Result<Reply, Fault> {
    let key = &call.address.key;
    call.permit(Wish::Read(key)).await?;
    let bucket = &call.address.bucket;
    let mut info = call.store().head(bucket, key).await?;
    if let Some(target) = info.headers.get(LINK).cloned() {
        call.permit(Wish::Read(&target)).await?;
        let target = call.store().head(bucket, &target).await;
        info = through_link(info, target.map_err(|error| behind_link(error.into()))?);
    }
    let mut reply = match judge(&info, &call.headers, "") {
        Verdict::Failed(condition) => return Err(Fault::precondition_failed(condition)),
        Verdict::NotModified => reply::empty(StatusCode::NOT_MODIFIED),
        Verdict::Go => {
            let mut reply = reply::empty(StatusCode::OK);
            set(reply.headers_mut(), header::CONTENT_LENGTH, info.size);
            reply
        }
    };
    match call.param("objectMeta") {
        Some(_) => headers::show_meta(&info, reply.headers_mut()),
        None => headers::show(&info, reply.headers_mut()),
    }
    Ok(reply)
}

/// `DELETE /key`: 204, also when it is not there.
pub(crate) async fn delete(call: &Call<'_>) -> Result<Reply, Fault> {
    let key = &call.address.key;
    call.permit(Wish::Delete(key)).await?;
    call.store().delete(&call.address.bucket, key).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /?delete`. All keys go together or none does.
pub(crate) async fn delete_many(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    let bucket = &call.address.bucket;
    // Whoever may write nothing here need not send the keys.
    if call.caller == Caller::Anonymous {
        call.permit(Wish::Delete("")).await?;
    }
    let asked = ask::delete_objects(&body::gather(&call.headers, body).await?)?;
    if !asked.keys.iter().all(|key| is_key(key)) {
        return Err(Fault::new("InvalidObjectName", "A key is not valid."));
    }
    for key in &asked.keys {
        call.caller.check_scope(bucket, Wish::Delete(key))?;
    }
    if !call.caller.owns(&call.store().bucket(bucket).await?) {
        for key in &asked.keys {
            call.permit(Wish::Delete(key)).await?;
        }
    }
    call.store().delete_many(bucket, &asked.keys).await?;
    match asked.quiet {
        true => Ok(reply::empty(StatusCode::OK)),
        false => Ok(reply::xml(answer::deleted(&asked.keys, call.encode()?))),
    }
}
