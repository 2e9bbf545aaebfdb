//! Multipart uploads (`reference/oss-gateway.md` 11).

use crate::{
    body,
    caller::Wish,
    fault::Fault,
    headers::{self, ACL, text},
    object::{forbids_overwrite, put_options},
    reply::{self, Reply, set_sums},
    route::Call,
};
use gristmill_objects::{ByteStream, CompleteOptions, PartRef, PutOptions};
use gristmill_wire::oss::{answer, ask};
use http::StatusCode;

/// Parts of an upload, all at once.
const PARTS_MAX: usize = 10_000;

/// `POST /key?uploads`
pub(crate) async fn initiate(call: &Call<'_>) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let options = PutOptions {
        headers: headers::stored(&call.headers)?,
        forbid_overwrite: forbids_overwrite(&call.headers),
        ..PutOptions::default()
    };
    let encode = call.encode()?;
    let upload = call.store().create_upload(bucket, key, options).await?;
    Ok(reply::xml(answer::initiated(bucket, key, &upload, encode)))
}

/// `PUT /key?partNumber=N&uploadId=U`
pub(crate) async fn put_part(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let upload = call.param("uploadId").unwrap_or_default();
    let number = call.number("partNumber", 0)?;
    let options = put_options(call, false)?;
    let part = call.store().put_part(bucket, key, upload, number, options, body).await?;
    let mut reply = reply::empty(StatusCode::OK);
    set_sums(reply.headers_mut(), &part.etag, part.crc64);
    Ok(reply)
}

/// `POST /key?uploadId=U`
pub(crate) async fn complete(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let upload = call.param("uploadId").unwrap_or_default();
    let acl = headers::object_acl(&call.headers)?;
    let options = CompleteOptions {
        headers: acl.map(|acl| (ACL.to_owned(), acl)).into_iter().collect(),
        forbid_overwrite: forbids_overwrite(&call.headers),
    };
    let parts = named_parts(call, upload, body).await?;
    let info = call.store().complete_upload_with(bucket, key, upload, &parts, options).await?;
    let location = format!("http://{}/{bucket}/{key}", call.address.endpoint);
    let text = answer::completed(bucket, key, &info.etag, &location, call.encode()?);
    let mut reply = reply::xml(text);
    set_sums(reply.headers_mut(), &info.etag, info.crc64);
    Ok(reply)
}

/// The parts the body names, or all that are there.
async fn named_parts(
    call: &Call<'_>,
    upload: &str,
    body: ByteStream,
) -> Result<Vec<PartRef>, Fault> {
    let all = text(&call.headers, "x-oss-complete-all");
    if all.is_some_and(|text| text.eq_ignore_ascii_case("yes")) {
        let (bucket, key) = (&call.address.bucket, &call.address.key);
        let page = call.store().list_parts(bucket, key, upload, 0, PARTS_MAX).await?;
        let part =
            |part: gristmill_objects::PartInfo| PartRef { number: part.number, etag: part.etag };
        return Ok(page.parts.into_iter().map(part).collect());
    }
    let named = ask::complete_upload(&body::gather(&call.headers, body).await?)?;
    Ok(named.into_iter().map(|(number, etag)| PartRef { number, etag }).collect())
}

/// `DELETE /key?uploadId=U`
pub(crate) async fn abort(call: &Call<'_>) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let upload = call.param("uploadId").unwrap_or_default();
    call.store().abort_upload(bucket, key, upload).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
