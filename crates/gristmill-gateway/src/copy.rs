//! CopyObject and UploadPartCopy.

use crate::{
    address::decoded,
    caller::Wish,
    conditions::{Cut, Span, judge},
    fault::Fault,
    headers::{self, ACL, LINK, Stored, TAGS, text},
    object::forbids_overwrite,
    reply::{self, Reply, set_sums},
    route::Call,
};
use gristmill_objects::{CopyOptions, ObjectInfo, Source};
use gristmill_wire::oss::answer;

/// The header that makes a PUT a copy.
pub(crate) const SOURCE: &str = "x-oss-copy-source";

/// `PUT /key` with a source.
pub(crate) async fn object(call: &Call<'_>) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let (source, info) = source(call).await?;
    let headers = Some(copied_headers(call, &info)?);
    let options = CopyOptions { headers, forbid_overwrite: forbids_overwrite(&call.headers) };
    let copy = call.store().copy(&source, bucket, key, options).await?;
    let mut reply = reply::xml(answer::copied_object(&copy.etag, copy.last_modified));
    set_sums(reply.headers_mut(), &copy.etag, copy.crc64);
    Ok(reply)
}

/// `PUT /key?partNumber=N&uploadId=U` with a source.
pub(crate) async fn part(call: &Call<'_>) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let (source, info) = source(call).await?;
    let range = match text(&call.headers, "x-oss-copy-source-range") {
        None => None,
        Some(asked) => {
            let cut = Span::parse(asked).map(|span| span.cut(info.size, false));
            match cut {
                Some(Cut::Part(part)) => Some(part),
                _ => return Err(Fault::argument("x-oss-copy-source-range", asked)),
            }
        }
    };
    let upload = call.param("uploadId").unwrap_or_default();
    let number = call.number("partNumber", 0)?;
    let copy = call.store().copy_part(&source, range, bucket, key, upload, number).await?;
    let mut reply = reply::xml(answer::copied_part(&copy.etag, copy.last_modified));
    set_sums(reply.headers_mut(), &copy.etag, copy.crc64);
    Ok(reply)
}

/// The source of a copy: readable, in the version its conditions allow, and pinned to it.
async fn source(call: &Call<'_>) -> Result<(Source, ObjectInfo), Fault> {
    let named = text(&call.headers, SOURCE).unwrap_or_default();
    let (path, version) = named.split_once('?').unwrap_or((named, ""));
    if !version.is_empty() {
        return Err(Fault::not_implemented("versionId"));
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    // The slash after the bucket may be encoded with the rest.
    let split = |path: &str| {
        let (bucket, key) = path.split_once('/')?;
        Some((decoded(bucket)?, decoded(key)?))
    };
    let whole = || {
        let path = decoded(path)?;
        let (bucket, key) = path.strip_prefix('/').unwrap_or(&path).split_once('/')?;
        Some((bucket.to_owned(), key.to_owned()))
    };
    let (bucket, key) = split(path)
        .or_else(whole)
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        .ok_or_else(|| Fault::argument(SOURCE, named))?;
    call.permit_in(&bucket, Wish::Read(&key)).await?;
    let info = call.store().head(&bucket, &key).await?;
    judge(&info, &call.headers, "x-oss-copy-source-").or_fault()?;
    let if_match = Some(info.etag.clone());
    Ok((Source { bucket, key, if_match }, info))
}

/// The headers of the copy, by the directives of the request. An ACL is never copied.
fn copied_headers(call: &Call<'_>, source: &ObjectInfo) -> Result<Stored, Fault> {
    let replaces = |name: &str| match text(&call.headers, name).map(str::to_ascii_lowercase) {
        None => Ok(false),
        Some(word) if word == "copy" => Ok(false),
        Some(word) if word == "replace" => Ok(true),
        Some(word) => Err(Fault::argument(name, word)),
    };
    let own = headers::stored(&call.headers)?;
    let mut result = match replaces("x-oss-metadata-directive")? {
        true => own.clone(),
        false => source.headers.clone(),
    };
    for (name, from_request) in [(ACL, true), (TAGS, replaces("x-oss-tagging-directive")?)] {
        let from = if from_request { &own } else { &source.headers };
        match from.get(name) {
            Some(value) => result.insert(name.to_owned(), value.clone()),
            None => result.remove(name),
        };
    }
    // The copy of a link is a link, whatever else it says.
    if let Some(target) = source.headers.get(LINK) {
        result.insert(LINK.to_owned(), target.clone());
    }
    Ok(result)
}
