//! ListObjects, ListObjectsV2, ListMultipartUploads and ListParts (`reference/oss-gateway.md` 11, 12).

use crate::{
    caller::Wish,
    fault::Fault,
    reply::{self, Reply},
    route::Call,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gristmill_model::AccountId;
use gristmill_objects::{ListOptions, ObjectInfo, UploadListOptions};
use gristmill_wire::oss::answer::{ObjectPage, Owner, Paging, PartPage, Row, UploadPage};

/// Entries of a page, at most.
const PAGE_MAX: usize = 1000;
/// Entries of a page that does not say how many.
const PAGE_DEFAULT: usize = 100;
/// First bytes of a continuation token, so that other texts are refused.
const TOKEN_MARK: &str = "1:";

/// How an account is shown.
pub(crate) fn owner(account: AccountId) -> Owner {
    Owner(account.0.to_string())
}

fn page_size(call: &Call<'_>, name: &str, default: usize) -> Result<usize, Fault> {
    let size = call.number(name, default)?;
    match (1..=PAGE_MAX).contains(&size) {
        true => Ok(size),
        false => Err(Fault::argument(name, size)),
    }
}

/// `GET /`, `GET /?list-type=2`
pub(crate) async fn objects(call: &Call<'_>) -> Result<Reply, Fault> {
    let text = |name| call.param(name).unwrap_or_default().to_owned();
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    let bucket = call.permit(Wish::List(&prefix)).await?;
    let (keys_max, encode) = (page_size(call, "max-keys", PAGE_DEFAULT)?, call.encode()?);
    let second = match call.param("list-type") {
        None | Some("1") => false,
        Some("2") => true,
        Some(other) => return Err(Fault::argument("list-type", other)),
    };
    let token = call.param("continuation-token").filter(|token| !token.is_empty());
    let after = match (second, token) {
        (false, _) => text("marker"),
        (true, None) => text("start-after"),
        (true, Some(token)) => {
            from_token(token).ok_or_else(|| Fault::argument("continuation-token", token))?
        }
    };
    let options = ListOptions {
        prefix: prefix.clone(),
        delimiter: Some(delimiter.clone()).filter(|text| !text.is_empty()),
        after,
        keys_max,
    };
    let page = call.store().list(&bucket.name, options).await?;
    let paging = match second {
        false => Paging::Marker { marker: text("marker"), next: page.next },
        true => Paging::Token {
            start_after: text("start-after"),
            token: token.map(str::to_owned),
            next: page.next.as_deref().map(to_token),
        },
    };
    let with_owner = !second || call.param("fetch-owner") == Some("true");
    let shown = ObjectPage {
        bucket: bucket.name,
        prefix,
        delimiter,
        keys_max,
        encode,
        owner: with_owner.then(|| owner(bucket.owner)),
        paging,
        objects: page.objects.into_iter().map(row).collect(),
        common_prefixes: page.common_prefixes,
    };
    Ok(reply::xml(shown.to_xml()))
}

fn row(info: ObjectInfo) -> Row {
    Row {
        key: info.key,
        last_modified: info.last_modified,
        etag: info.etag,
        kind: info.kind,
        size: info.size,
    }
}

fn to_token(after: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{TOKEN_MARK}{after}"))
}

fn from_token(token: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix(TOKEN_MARK).map(str::to_owned)
}

/// `GET /?uploads`
pub(crate) async fn uploads(call: &Call<'_>) -> Result<Reply, Fault> {
    let text = |name| call.param(name).unwrap_or_default().to_owned();
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    let bucket = call.permit(Wish::List(&prefix)).await?.name;
    let (key_marker, upload_marker) = (text("key-marker"), text("upload-id-marker"));
    let (uploads_max, encode) = (page_size(call, "max-uploads", PAGE_MAX)?, call.encode()?);
    let options = UploadListOptions {
        prefix: prefix.clone(),
        delimiter: Some(delimiter.clone()).filter(|text| !text.is_empty()),
        after_key: key_marker.clone(),
        after_upload: upload_marker.clone(),
        uploads_max,
    };
    let page = call.store().list_uploads(&bucket, options).await?;
    let uploads = page.uploads.into_iter().map(|info| (info.key, info.upload, info.initiated));
    let shown = UploadPage {
        bucket,
        prefix,
        delimiter,
        key_marker,
        upload_marker,
        uploads_max,
        encode,
        next: page.next,
        uploads: uploads.collect(),
        common_prefixes: page.common_prefixes,
    };
    Ok(reply::xml(shown.to_xml()))
}

/// `GET /key?uploadId=U`
pub(crate) async fn parts(call: &Call<'_>) -> Result<Reply, Fault> {
    let (bucket, key) = (&call.address.bucket, &call.address.key);
    call.permit(Wish::Write(key)).await?;
    let upload = call.param("uploadId").unwrap_or_default();
    let after = call.number("part-number-marker", 0)?;
    let (parts_max, encode) = (page_size(call, "max-parts", PAGE_MAX)?, call.encode()?);
    let page = call.store().list_parts(bucket, key, upload, after, parts_max).await?;
    let part = |part: gristmill_objects::PartInfo| {
        (part.number, part.last_modified, part.etag, part.size, part.crc64)
    };
    let shown = PartPage {
        bucket: bucket.clone(),
        key: key.clone(),
        upload: upload.to_owned(),
        after,
        parts_max,
        next: page.next,
        encode,
        parts: page.parts.into_iter().map(part).collect(),
    };
    Ok(reply::xml(shown.to_xml()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_others_are_not() {
        for after in ["", "a/b", "中文"] {
            assert_eq!(from_token(&to_token(after)).as_deref(), Some(after));
        }
        for bad in ["", "abc", "err", "not base64 !", "MjphYg"] {
            assert_eq!(from_token(bad), None, "{bad}");
        }
    }
}
