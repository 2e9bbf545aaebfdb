//! From a request to its operation.
//!
//! One `match` per level (service, bucket, object) says which method and sub-resource is which
//! operation. A sub-resource nobody here knows must never fall through to a plain PUT or DELETE,
//! so those are refused first.

use crate::{
    Inner,
    address::{Address, query},
    attributes, body, bucket,
    caller::{Caller, Wish, authenticate},
    copy,
    fault::Fault,
    headers::{ACL, text},
    listing, multipart, object,
    reply::{self, Reply, set},
};
use gristmill_objects::{BucketAcl, BucketInfo, ByteStream, LocalStore};
use gristmill_wire::oss::sign;
use http::{HeaderMap, Method, Request, Version, header, request};

/// A request whose caller is known.
pub(crate) struct Call<'a> {
    /// The gateway.
    pub gateway: &'a Inner,
    /// Its method.
    pub method: Method,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// What it is about.
    pub address: Address,
    /// Its parameters.
    pub query: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Who calls.
    pub caller: Caller,
}

/// Sub-resources and parameters whose operations are not there.
const NOT_IMPLEMENTED: &[&str] = &[
    "accessPoint",
    "accessPointPolicy",
    "accessmonitor",
    "asyncFetch",
    "bucketArchiveDirectRead",
    "callback",
    "cname",
    "comp",
    "httpsConfig",
    "inventory",
    "metaQuery",
    "policyStatus",
    "publicAccessBlock",
    "qos",
    "qosInfo",
    "qosRequester",
    "redundancyTransition",
    "regions",
    "replication",
    "replicationLocation",
    "replicationProgress",
    "requesterQosInfo",
    "resourceGroup",
    "resourcePool",
    "resourcePoolBuckets",
    "resourcePoolInfo",
    "select/csv",
    "style",
    "transferAcceleration",
    "versionId",
    "versions",
    "vod",
    "worm",
    "wormExtend",
    "wormId",
    "x-oss-async-process",
    "x-oss-process",
    "x-oss-write-get-object-response",
];

/// Answers a request.
pub(crate) async fn answer(gateway: &Inner, request: Request<ByteStream>) -> Reply {
    let request_id = gateway.request_id();
    let (parts, body) = request.into_parts();
    let (body, rest) = body::shared(body);
    let host = host(&parts).to_owned();
    let mut reply = match serve(gateway, &parts, &host, body).await {
        Ok(reply) => reply,
        Err(fault) => reply::fault(&fault, &parts.method, &request_id, &host),
    };
    if !rest.read(&parts).await {
        // What is left of the body must not be taken for the next request.
        set(reply.headers_mut(), header::CONNECTION, "close");
    }
    let (method, path, status) = (&parts.method, parts.uri.path(), reply.status().as_u16());
    tracing::debug!(%method, path, status, request_id, "answered");
    reply::dress(reply, &request_id)
}

/// The host a request names: in an absolute target, else in its header.
fn host(parts: &request::Parts) -> &str {
    match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => text(&parts.headers, header::HOST.as_str()).unwrap_or_default(),
    }
}

async fn serve(
    gateway: &Inner,
    parts: &request::Parts,
    host: &str,
    body: ByteStream,
) -> Result<Reply, Fault> {
    let address = gateway.endpoints.address(host, parts.uri.path())?;
    let query = query(parts.uri.query().unwrap_or_default())?;
    let raw: Vec<(String, Vec<u8>)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let signed = sign::Request {
        method: parts.method.as_str(),
        bucket: &address.bucket,
        key: &address.key,
        query: &query,
        headers: &raw,
    };
    let now = (gateway.settings.clock)();
    let caller = authenticate(&*gateway.keys, &signed, &gateway.regions, now)?;
    let call = Call {
        gateway,
        method: parts.method.clone(),
        version: parts.version,
        address,
        query,
        headers: parts.headers.clone(),
        caller,
    };
    if let Some((name, _)) =
        call.query.iter().find(|(name, _)| NOT_IMPLEMENTED.contains(&name.as_str()))
    {
        return Err(Fault::not_implemented(name));
    }
    if call.caller.is_scoped() && publishes(&call.headers) {
        return Err(Fault::denied());
    }
    match (call.address.bucket.is_empty(), call.address.key.is_empty()) {
        (true, _) => on_service(&call).await,
        (false, true) => on_bucket(&call, body).await,
        (false, false) => on_object(&call, body).await,
    }
}

/// Whether an object is to be opened to others. A scoped key must not: what a task instance writes
/// stays its owner's.
fn publishes(headers: &HeaderMap) -> bool {
    text(headers, ACL).is_some_and(|acl| !["default", "private"].contains(&acl))
}

async fn on_service(call: &Call<'_>) -> Result<Reply, Fault> {
    match call.method {
        Method::GET => bucket::list(call).await,
        _ => Err(call.method_not_allowed("Service")),
    }
}

async fn on_bucket(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    let sub = call.sub(&[
        "acl",
        "bucketInfo",
        "cors",
        "delete",
        "encryption",
        "lifecycle",
        "live",
        "location",
        "logging",
        "policy",
        "referer",
        "requestPayment",
        "stat",
        "tagging",
        "uploads",
        "versioning",
        "website",
    ]);
    match (&call.method, sub) {
        (&Method::PUT, None) => bucket::create(call, body).await,
        (&Method::DELETE, None) => bucket::delete(call).await,
        (&Method::GET, None) => listing::objects(call).await,
        (&Method::HEAD, None) => bucket::head(call).await,
        (&Method::GET, Some("bucketInfo")) => bucket::info(call).await,
        (&Method::GET, Some("location")) => bucket::location(call).await,
        (&Method::GET, Some("acl")) => bucket::acl(call).await,
        (&Method::PUT, Some("acl")) => bucket::set_acl(call).await,
        (&Method::GET, Some("stat")) => bucket::stat(call).await,
        (&Method::GET, Some("live")) => bucket::live_channels(call).await,
        (&Method::GET, Some("uploads")) => listing::uploads(call).await,
        (&Method::POST, Some("delete")) => object::delete_many(call, body).await,
        (&Method::PUT, Some("tagging")) => bucket::set_tags(call, body).await,
        (&Method::GET, Some("tagging")) => bucket::tags(call).await,
        (&Method::DELETE, Some("tagging")) => bucket::delete_tags(call).await,
        (&Method::GET, Some(setting)) => bucket::absent(call, setting).await,
        (&Method::DELETE, Some(_)) => bucket::delete_absent(call).await,
        (_, Some(setting)) => Err(Fault::not_implemented(setting)),
        (&Method::POST, None) => Err(Fault::not_implemented("form uploads")),
        _ => Err(call.method_not_allowed("Bucket")),
    }
}

async fn on_object(call: &Call<'_>, body: ByteStream) -> Result<Reply, Fault> {
    if call.param("live").is_some() {
        return Err(Fault::not_implemented("live channels"));
    }
    let sub = call.sub(&[
        "acl",
        "append",
        "objectMeta",
        "restore",
        "symlink",
        "tagging",
        "uploadId",
        "uploads",
    ]);
    let is_copy = call.headers.contains_key(copy::SOURCE);
    match (&call.method, sub) {
        (&Method::PUT, None) if is_copy => copy::object(call).await,
        (&Method::PUT, None) => object::put(call, body).await,
        (&Method::GET, None) => object::get(call).await,
        (&Method::HEAD, None | Some("objectMeta")) => object::head(call).await,
        (&Method::DELETE, None) => object::delete(call).await,
        (&Method::POST, Some("append")) => object::append(call, body).await,
        (&Method::POST, Some("uploads")) => multipart::initiate(call).await,
        (&Method::PUT, Some("uploadId")) if is_copy => copy::part(call).await,
        (&Method::PUT, Some("uploadId")) => multipart::put_part(call, body).await,
        (&Method::POST, Some("uploadId")) => multipart::complete(call, body).await,
        (&Method::DELETE, Some("uploadId")) => multipart::abort(call).await,
        (&Method::GET, Some("uploadId")) => listing::parts(call).await,
        (&Method::PUT, Some("acl")) => attributes::set_acl(call).await,
        (&Method::GET, Some("acl")) => attributes::acl(call).await,
        (&Method::PUT, Some("tagging")) => attributes::set_tags(call, body).await,
        (&Method::GET, Some("tagging")) => attributes::tags(call).await,
        (&Method::DELETE, Some("tagging")) => attributes::delete_tags(call).await,
        (&Method::PUT, Some("symlink")) => attributes::set_link(call).await,
        (&Method::GET, Some("symlink")) => attributes::link(call).await,
        (&Method::POST, Some("restore")) => Err(Fault::new(
            "OperationNotSupported",
            "The operation is not supported for this resource: the object is not archived.",
        )),
        (&Method::POST, None) => Err(Fault::not_implemented("POST of an object")),
        _ => Err(call.method_not_allowed("Object")),
    }
}

impl Call<'_> {
    /// The store.
    pub fn store(&self) -> &dyn LocalStore {
        &*self.gateway.store
    }

    /// The first of these parameters that is there.
    fn sub<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.param(name).is_some())
    }

    /// The value of a parameter; empty if it has none.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number, or what it is without it.
    pub fn number<N: std::str::FromStr>(&self, name: &str, default: N) -> Result<N, Fault> {
        match self.param(name) {
            None | Some("") => Ok(default),
            Some(text) => text.parse().map_err(|_| Fault::argument(name, text)),
        }
    }

    /// Whether keys in the answer are to be percent-encoded.
    pub fn encode(&self) -> Result<bool, Fault> {
        match self.param("encoding-type") {
            None | Some("") => Ok(false),
            Some("url") => Ok(true),
            Some(other) => Err(Fault::argument("encoding-type", other)),
        }
    }

    fn method_not_allowed(&self, resource: &str) -> Fault {
        Fault::new("MethodNotAllowed", "The specified method is not allowed against this resource.")
            .detail("Method", &self.method)
            .detail("ResourceType", resource)
    }

    /// Lets the caller do this with the addressed bucket, or not.
    pub async fn permit(&self, wish: Wish<'_>) -> Result<BucketInfo, Fault> {
        self.permit_in(&self.address.bucket, wish).await
    }

    /// Lets the caller do this with a bucket, or not.
    pub async fn permit_in(&self, bucket: &str, wish: Wish<'_>) -> Result<BucketInfo, Fault> {
        self.caller.check_scope(bucket, wish)?;
        let info = self.store().bucket(bucket).await?;
        if self.caller.owns(&info) {
            return Ok(info);
        }
        let acl = match wish {
            Wish::Read(key) | Wish::Write(key) | Wish::Delete(key) => {
                self.object_acl(bucket, key).await?
            }
            Wish::List(_) | Wish::Manage => None,
        };
        Caller::check_public(acl.unwrap_or(info.acl), wish)?;
        Ok(info)
    }

    /// The ACL an object has of its own. A store that cannot tell now says nothing of it.
    async fn object_acl(&self, bucket: &str, key: &str) -> Result<Option<BucketAcl>, Fault> {
        match self.store().head(bucket, key).await {
            Ok(object) => Ok(object.headers.get(ACL).and_then(|acl| BucketAcl::parse(acl))),
            Err(error) if error.is_transient() => Err(error.into()),
            Err(_) => Ok(None),
        }
    }
}
