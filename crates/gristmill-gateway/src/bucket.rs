//! Operations on buckets and on the service (`reference/oss-gateway.md` 13).
//!
//! Settings that would have to be obeyed (CORS, lifecycle, policies, …) are refused rather than
//! kept and ignored; asking for them answers that there are none, which is true.

use crate::{
    body,
    caller::Wish,
    fault::Fault,
    headers::text,
    listing::owner,
    reply::{self, Reply, set},
    route::Call,
};
use gristmill_objects::{BucketAcl, BucketInfo, ByteStream, ObjectError};
use gristmill_wire::oss::{
    answer::{self, Bucket, BucketPage},
    xml::{Out, parse},
};
use http::{StatusCode, header};

/// Where the tags of a bucket are kept.
const TAGS: &str = "tagging";
/// Tags of a bucket.
const TAGS_MAX: usize = 20;

fn shown(call: &Call<'_>, info: BucketInfo) -> Bucket {
    Bucket {
        name: info.name,
        created: info.created,
        region: call.gateway.settings.region.clone(),
        endpoint: call.address.endpoint.clone(),
        owner: owner(info.owner),
        acl: info.acl.as_str(),
    }
}

/// `GET /` of the service.
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply, Fault> {
    let account = call.caller.whole_account()?;
    let text = |name| call.param(name).unwrap_or_default().to_owned();
    let (prefix, marker) = (text("prefix"), text("marker"));
    let keys_max = call.number("max-keys", 100)?;
    if !(1..=1000).contains(&keys_max) {
        return Err(Fault::argument("max-keys", keys_max));
    }
    let mut found = call.store().list_buckets(account).await?;
    found.retain(|info| info.name.starts_with(&prefix) && info.name > marker);
    let more = found.len() > keys_max;
    found.truncate(keys_max);
    let next = found.last().filter(|_| more).map(|info| info.name.clone());
    let buckets = found.into_iter().map(|info| shown(call, info)).collect();
    let page = BucketPage { owner: owner(account), prefix, marker, keys_max, next, buckets };
    Ok(reply::xml(page.to_xml()))
}

/// `PUT /`
pub(crate) async fn create(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    let bucket = &call.address.bucket;
    let account = call.caller.whole_account()?;
    let body = body::gather(&call.headers, body).await?;
    if !body.is_empty() {
        // Storage class and redundancy are accepted; there is one of each.
        parse(&body, "CreateBucketConfiguration")?;
    }
    let acl = match (asked_acl(call)?, call.store().bucket(bucket).await) {
        (Some(acl), _) => acl,
        (None, Ok(there)) => there.acl,
        (None, Err(ObjectError::NoSuchBucket { .. })) => BucketAcl::Private,
        (None, Err(error)) => return Err(error.into()),
    };
    call.store().create_bucket(bucket, account, acl).await?;
    let mut reply = reply::empty(StatusCode::OK);
    set(reply.headers_mut(), header::LOCATION, format!("/{bucket}"));
    Ok(reply)
}

fn asked_acl(call: &Call<'_>) -> Result<Option<BucketAcl>, Fault> {
    let Some(word) = text(&call.headers, "x-oss-acl") else { return Ok(None) };
    BucketAcl::parse(word).map(Some).ok_or_else(|| Fault::argument("x-oss-acl", word))
}

/// `DELETE /`
pub(crate) async fn delete(call: &Call<'_>) -> Result<Reply, Fault> {
    let bucket = call.permit(Wish::Manage).await?.name;
    match call.store().delete_bucket(&bucket).await {
        Err(ObjectError::Refused { code, message }) => {
            Err(Fault::new(code, message).detail("BucketName", bucket))
        }
        outcome => outcome.map(|()| reply::empty(StatusCode::NO_CONTENT)).map_err(Fault::from),
    }
}

/// `HEAD /`
pub(crate) async fn head(call: &Call<'_>) -> Result<Reply, Fault> {
    call.permit(Wish::Manage).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /?bucketInfo`
pub(crate) async fn info(call: &Call<'_>) -> Result<Reply, Fault> {
    let info = call.permit(Wish::Manage).await?;
    Ok(reply::xml(shown(call, info).to_xml()))
}

/// `GET /?location`
pub(crate) async fn location(call: &Call<'_>) -> Result<Reply, Fault> {
    call.permit(Wish::Manage).await?;
    Ok(reply::xml(answer::location(&call.gateway.settings.region)))
}

/// `GET /?acl`
pub(crate) async fn acl(call: &Call<'_>) -> Result<Reply, Fault> {
    let info = call.permit(Wish::Manage).await?;
    Ok(reply::xml(answer::acl(&owner(info.owner), info.acl.as_str())))
}

/// `PUT /?acl`
pub(crate) async fn set_acl(call: &Call<'_>) -> Result<Reply, Fault> {
    let info = call.permit(Wish::Manage).await?;
    let acl = asked_acl(call)?.ok_or_else(|| Fault::argument("x-oss-acl", ""))?;
    call.store().set_bucket_acl(&info.name, acl).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /?stat`
pub(crate) async fn stat(call: &Call<'_>) -> Result<Reply, Fault> {
    let info = call.permit(Wish::Manage).await?;
    let stat = call.store().bucket_stat(&info.name).await?;
    let now = (call.gateway.settings.clock)();
    Ok(reply::xml(answer::stat(stat.bytes, stat.objects, stat.uploads, stat.parts, now)))
}

/// `GET /?live`: there are none. Every tear-down of the SDK's tests asks.
pub(crate) async fn live_channels(call: &Call<'_>) -> Result<Reply, Fault> {
    call.permit(Wish::Manage).await?;
    let text = |name| call.param(name).unwrap_or_default();
    Ok(reply::xml(answer::no_live_channels(text("prefix"), text("marker"))))
}

/// `PUT /?tagging`
pub(crate) async fn set_tags(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    let bucket = call.permit(Wish::Manage).await?.name;
    let body = body::gather(&call.headers, body).await?;
    let root = parse(&body, "Tagging")?;
    let set = root.child("TagSet").map_or(&[][..], |set| &set.children);
    let tag = |tag: &gristmill_wire::oss::xml::Node| {
        Ok((tag.need("Key")?.to_owned(), tag.text_of("Value").unwrap_or_default().to_owned()))
    };
    let tags = set.iter().map(tag).collect::<Result<Vec<_>, Fault>>()?;
    if tags.len() > TAGS_MAX {
        return Err(Fault::new("InvalidTag", format!("{} tags, at most {TAGS_MAX}", tags.len())));
    }
    let fits = |(key, value): &(String, String)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256
    };
    if !tags.iter().all(fits) {
        return Err(Fault::new("InvalidTag", "A tag is empty or too long."));
    }
    call.store().set_bucket_setting(&bucket, TAGS, Some(answer::tagging(&tags))).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /?tagging`
pub(crate) async fn tags(call: &Call<'_>) -> Result<Reply, Fault> {
    let bucket = call.permit(Wish::Manage).await?.name;
    let kept = call.store().bucket_setting(&bucket, TAGS).await?;
    Ok(reply::xml(kept.unwrap_or_else(|| answer::tagging(&[]))))
}

/// `DELETE /?tagging`
pub(crate) async fn delete_tags(call: &Call<'_>) -> Result<Reply, Fault> {
    if call.param("tagging").is_some_and(|names| !names.is_empty()) {
        return Err(Fault::not_implemented("deleting single tags of a bucket"));
    }
    let bucket = call.permit(Wish::Manage).await?.name;
    call.store().set_bucket_setting(&bucket, TAGS, None).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `GET` of a setting that is never there.
pub(crate) async fn absent(call: &Call<'_>, setting: &str) -> Result<Reply, Fault> {
    let bucket = call.permit(Wish::Manage).await?.name;
    let missing = |code: &'static str| {
        Err(Fault::new(code, format!("The bucket has no {setting} configuration."))
            .detail("BucketName", &bucket))
    };
    let mut out = match setting {
        "cors" => return missing("NoSuchCORSConfiguration"),
        "lifecycle" => return missing("NoSuchLifecycle"),
        "website" => return missing("NoSuchWebsiteConfiguration"),
        "policy" => return missing("NoSuchBucketPolicy"),
        "encryption" => return missing("NoSuchServerSideEncryptionRule"),
        "logging" => Out::new("BucketLoggingStatus"),
        "versioning" => Out::new("VersioningConfiguration"),
        "referer" => Out::new("RefererConfiguration"),
        "requestPayment" => Out::new("RequestPaymentConfiguration"),
        other => return Err(Fault::not_implemented(other)),
    };
    match setting {
        "referer" => {
            out.leaf("AllowEmptyReferer", true).leaf("AllowTruncateQueryString", true);
            out.open("RefererList").close()
        }
        "requestPayment" => out.leaf("Payer", "BucketOwner"),
        _ => &mut out,
    };
    Ok(reply::xml(out.finish()))
}

/// `DELETE` of a setting that is never there.
pub(crate) async fn delete_absent(call: &Call<'_>) -> Result<Reply, Fault> {
    call.permit(Wish::Manage).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
