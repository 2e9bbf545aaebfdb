//! ACL, tags and symbolic links of objects (`reference/oss-gateway.md` 14).
//!
//! All three are kept among the headers of the object, so they travel and vanish with it.

use crate::{
    address::{decoded, is_key},
    body,
    caller::Wish,
    fault::Fault,
    headers::{self, ACL, LINK, Stored, TAGS, text},
    listing::owner,
    object::forbids_overwrite,
    reply::{self, Reply, set, set_sums},
    route::Call,
};
use gristmill_objects::{ByteStream, PutOptions, body_of};
use gristmill_wire::oss::{answer, ask};
use http::{HeaderName, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Changes the kept headers of the addressed object.
async fn change(
    call: &Call<'_>,
    change: impl FnOnce(&mut Stored) + Send + 'static,
) -> Result<(), Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.store().change_headers(bucket, key, Box::new(change)).await?;
    Ok(())
}

/// `PUT /key?acl`
pub(crate) async fn set_acl(call: &Call<'_>) -> Result<Reply, Fault> {
    let bucket = call.permit(Wish::Write(&call.address.key)).await?;
    if !call.caller.owns(&bucket) {
        return Err(Fault::denied());
    }
    if text(&call.headers, ACL).is_none() {
        return Err(Fault::argument(ACL, ""));
    }
    let acl = headers::object_acl(&call.headers)?;
    change(call, move |headers| {
        match acl {
            Some(acl) => headers.insert(ACL.to_owned(), acl),
            None => headers.remove(ACL),
        };
    })
    .await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /key?acl`
pub(crate) async fn acl(call: &Call<'_>) -> Result<Reply, Fault> {
    let bucket = call.permit(Wish::Read(&call.address.key)).await?;
    if !call.caller.owns(&bucket) {
        return Err(Fault::denied());
    }
    let info = call.store().head(&bucket.name, &call.address.key).await?;
    let grant = info.headers.get(ACL).map_or("default", String::as_str);
    Ok(reply::xml(answer::acl(&owner(bucket.owner), grant)))
}

/// `PUT /key?tagging`
pub(crate) async fn set_tags(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    call.permit(Wish::Write(&call.address.key)).await?;
    let tags = ask::tagging(&body::gather(&call.headers, body).await?)?;
    let text = headers::tags_text(&tags);
    change(call, move |headers| {
        headers.insert(TAGS.to_owned(), text);
    })
    .await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /key?tagging`
pub(crate) async fn tags(call: &Call<'_>) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Read(key)).await?;
    let info = call.store().head(bucket, key).await?;
    let tags = headers::parse_tags(info.headers.get(TAGS).map_or("", String::as_str))?;
    Ok(reply::xml(answer::tagging(&tags)))
}

/// `DELETE /key?tagging`
pub(crate) async fn delete_tags(call: &Call<'_>) -> Result<Reply, Fault> {
    call.permit(Wish::Write(&call.address.key)).await?;
    change(call, |headers| {
        headers.remove(TAGS);
    })
    .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `PUT /key?symlink`. The target need not exist yet.
pub(crate) async fn set_link(call: &Call<'_>) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let named = text(&call.headers, LINK).unwrap_or_default();
    let target = decoded(named)
        .filter(|target| is_key(target) && !target.is_empty())
        .ok_or_else(|| Fault::argument(LINK, named))?;
    let mut headers = headers::stored(&call.headers)?;
    headers.insert(LINK.to_owned(), target);
    let forbid_overwrite = forbids_overwrite(&call.headers);
    let options = PutOptions { headers, forbid_overwrite, ..PutOptions::default() };
    let info = call.store().put(bucket, key, options, body_of("")).await?;
    let mut reply = reply::empty(StatusCode::OK);
    set_sums(reply.headers_mut(), &info.etag, None);
    Ok(reply)
}

/// `GET /key?symlink`
pub(crate) async fn link(call: &Call<'_>) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Read(key)).await?;
    let info = call.store().head(bucket, key).await?;
    let target = info.headers.get(LINK).ok_or_else(|| {
        Fault::new("NotSymlink", "The object is not a symbolic link.").detail("Key", key)
    })?;
    let mut reply = reply::empty(StatusCode::OK);
    let encoded = utf8_percent_encode(target, NON_ALPHANUMERIC);
    set(reply.headers_mut(), HeaderName::from_static(LINK), encoded);
    headers::show_meta(&info, reply.headers_mut());
    Ok(reply)
}
