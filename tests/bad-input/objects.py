"""Requests to the object store that must be refused, and bodies that never end."""

import base64
import hashlib
import hmac
import time
from email.utils import formatdate
from urllib.parse import quote

from bench import BUCKET, OBJECT, exchange, head_of, oss_signed
from region import KEY, SECRET, mac

REGION = "cn-local"


def rows(standing):
    yield from signatures(standing)
    yield from names(standing)
    yield from bodies(standing)
    yield from reads(standing)
    yield from not_offered(standing)


# --- signatures -----------------------------------------------------------------------------


def v4(region, method, bucket, key, at=None, scope=None, secret=SECRET, extra="", sent_query="", **changes):
    """A request with a V4 signature in its header."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at if at is not None else time.time()))
    scope = scope or f"{stamp[:8]}/{REGION}/oss/aliyun_v4_request"
    headers = {"x-oss-content-sha256": "UNSIGNED-PAYLOAD", "x-oss-date": stamp}
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if headers[name] is not None)
    canonical = f"{method}\n{quote(f'/{bucket}/{key}')}\n\n{lines}\n\nUNSIGNED-PAYLOAD"
    signature = v4_signature(secret, scope, stamp, canonical)
    headers["Authorization"] = f"OSS4-HMAC-SHA256 Credential={KEY}/{scope}{extra}, Signature={signature}"
    headers = {name: value for name, value in headers.items() if value is not None}
    return exchange(region.oss, head_of(method, quote(f"/{bucket}/{key}") + sent_query, headers))


def v4_signature(secret, scope, stamp, canonical):
    text = f"OSS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("aliyun_v4" + secret).encode()
    for word in [*scope.split("/"), text]:
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key.hex()


def presigned_v1(region, method, expires, sign_expires=None, data=b""):
    text = f"{method}\n\n\n{sign_expires or expires}\n/{BUCKET}/{OBJECT}"
    query = f"?OSSAccessKeyId={KEY}&Expires={quote(str(expires))}&Signature={quote(mac(text), safe='')}"
    head = head_of(method, f"/{BUCKET}/{OBJECT}{query}", {"Content-Length": len(data)})
    return exchange(region.oss, head, data)


def presigned_v4(region, method, made, seconds, sent_seconds=None):
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(made))
    scope = f"{stamp[:8]}/{REGION}/oss/aliyun_v4_request"
    query = lambda lifetime: "&".join([
        f"x-oss-credential={quote(f'{KEY}/{scope}', safe='')}", f"x-oss-date={stamp}",
        f"x-oss-expires={lifetime}", "x-oss-signature-version=OSS4-HMAC-SHA256",
    ])
    canonical = f"{method}\n/{BUCKET}/{OBJECT}\n{query(seconds)}\n\n\nUNSIGNED-PAYLOAD"
    signature = v4_signature(SECRET, scope, stamp, canonical)
    target = f"/{BUCKET}/{OBJECT}?{query(sent_seconds or seconds)}&x-oss-signature={signature}"
    return exchange(region.oss, head_of(method, target, {"Content-Length": 0}))


def signatures(standing):
    region, now = standing.region, time.time()
    put = lambda **changes: oss_signed(region, "PUT", BUCKET, OBJECT, data=b"changed", **changes)
    get4 = lambda **changes: v4(region, "DELETE", BUCKET, OBJECT, **changes)
    away = lambda minutes: formatdate(now + 60 * minutes, usegmt=True)
    region_of = lambda name: f"{time.strftime('%Y%m%d', time.gmtime())}/{name}/oss/aliyun_v4_request"
    for name, request, status, code in [
        ("V1: nobody signed", lambda: exchange(region.oss, head_of("DELETE", f"/{BUCKET}/{OBJECT}", {})), 403, "AccessDenied"),
        ("V1: a wrong signature", lambda: put(Authorization=f"OSS {KEY}:{mac('other')}"), 403, "SignatureDoesNotMatch"),
        ("V1: an empty signature", lambda: put(Authorization=f"OSS {KEY}:"), 403, "SignatureDoesNotMatch"),
        ("V1: no colon", lambda: put(Authorization=f"OSS {KEY}"), 400, "InvalidArgument"),
        ("V1: another scheme", lambda: put(Authorization="Bearer token"), 400, "InvalidArgument"),
        ("V1: an unknown key", lambda: put(Authorization="OSS stranger:abc="), 403, "InvalidAccessKeyId"),
        ("V1: the key of no task", lambda: put(Authorization="OSS GMTASK.i-1.1.job-1.t:abc="), 403, "InvalidAccessKeyId"),
        ("V1: no date", lambda: put(Date=None), 403, "AccessDenied"),
        ("V1: a date in words", lambda: put(Date="yesterday"), 403, "AccessDenied"),
        ("V1: 16 minutes late", lambda: put(Date=away(-16)), 403, "RequestTimeTooSkewed"),
        ("V1: 16 minutes early", lambda: put(Date=away(16)), 403, "RequestTimeTooSkewed"),
        ("V1: another key was signed", lambda: put(path=f"/{BUCKET}/dir/other"), 403, "SignatureDoesNotMatch"),
        ("V1: an added sub-resource", lambda: exchange_added(region), 403, "SignatureDoesNotMatch"),
        ("V4: a wrong secret", lambda: get4(secret="wrong"), 403, "SignatureDoesNotMatch"),
        ("V4: 16 minutes late", lambda: get4(at=now - 960), 403, "RequestTimeTooSkewed"),
        ("V4: 16 minutes early", lambda: get4(at=now + 960), 403, "RequestTimeTooSkewed"),
        ("V4: no date", lambda: get4(x_oss_date=None), 403, "AccessDenied"),
        ("V4: a garbled date", lambda: get4(x_oss_date="2024-01-02 03:04"), 400, "InvalidArgument"),
        ("V4: another region", lambda: get4(scope=region_of("cn-other")), 400, "InvalidArgument"),
        ("V4: another day", lambda: get4(scope=f"20240102/{REGION}/oss/aliyun_v4_request"), 400, "InvalidArgument"),
        ("V4: another service", lambda: get4(scope=f"20240102/{REGION}/s3/aws4_request"), 400, "InvalidArgument"),
        ("V4: a header that is not there", lambda: get4(extra=", AdditionalHeaders=host2"), 400, "InvalidArgument"),
        ("V4: an added parameter", lambda: get4(sent_query="?versionId=1"), 403, "SignatureDoesNotMatch"),
        ("URL V1: over", lambda: presigned_v1(region, "DELETE", int(now) - 60), 403, "AccessDenied"),
        ("URL V1: prolonged", lambda: presigned_v1(region, "DELETE", int(now) + 999, int(now) - 60), 403, "SignatureDoesNotMatch"),
        ("URL V1: for another verb", lambda: exchange_verb(region, now), 403, "SignatureDoesNotMatch"),
        ("URL V1: no number", lambda: presigned_v1(region, "DELETE", "soon"), 400, "InvalidArgument"),
        ("URL V4: over", lambda: presigned_v4(region, "DELETE", now - 120, 60), 403, "AccessDenied"),
        ("URL V4: prolonged", lambda: presigned_v4(region, "DELETE", now - 120, 60, 600), 403, "SignatureDoesNotMatch"),
        ("URL V4: for ever", lambda: presigned_v4(region, "DELETE", now, 604_801), 400, "InvalidArgument"),
        ("URL V4: a lifetime below 0", lambda: presigned_v4(region, "DELETE", now, -1), 400, "InvalidArgument"),
        ("URL V4: from tomorrow", lambda: presigned_v4(region, "DELETE", now + 86_400, 60), 403, "RequestTimeTooSkewed"),
    ]:
        yield f"signature: {name}", request, status, code


def exchange_added(region):
    """`PUT` of an object, turned into a change of its ACL."""
    date = formatdate(usegmt=True)
    text = f"PUT\n\n\n{date}\n/{BUCKET}/{OBJECT}"
    headers = {"Date": date, "Content-Length": 0, "Authorization": f"OSS {KEY}:{mac(text)}"}
    return exchange(region.oss, head_of("PUT", f"/{BUCKET}/{OBJECT}?acl", headers))


def exchange_verb(region, now):
    """A URL made for reading, used for deleting."""
    expires = int(now) + 600
    text = f"GET\n\n\n{expires}\n/{BUCKET}/{OBJECT}"
    query = f"?OSSAccessKeyId={KEY}&Expires={expires}&Signature={quote(mac(text), safe='')}"
    return exchange(region.oss, head_of("DELETE", f"/{BUCKET}/{OBJECT}{query}", {}))


# --- names ----------------------------------------------------------------------------------


def names(standing):
    region = standing.region
    put = lambda key, path: oss_signed(region, "PUT", BUCKET, key, data=b"x", path=path)
    for name, path in [
        ("a slash in front", f"/{BUCKET}//etc/passwd"),
        ("an encoded slash in front", f"/{BUCKET}/%2Fetc%2Fpasswd"),
        ("a backslash in front", f"/{BUCKET}/%5C..%5Cx"),
        ("a NUL", f"/{BUCKET}/a%00b"),
        ("not UTF-8", f"/{BUCKET}/%ff%fe"),
        ("half a character", f"/{BUCKET}/a%E6%97"),
        ("1024 bytes", f"/{BUCKET}/{'k' * 1024}"),
        ("1026 bytes in 342 characters", f"/{BUCKET}/{'%E6%97%A5' * 342}"),
    ]:
        yield f"key: {name}", lambda path=path: put("x", path), 400, "InvalidObjectName"
    for name in ["ab", "Upper", "-dash", "dash-", "under_score", "x" * 64, "..", "a.b", "%2E%2E", "a%2Fb", "%ff", "日志"]:
        path = f"/{quote(name, safe='%')}"
        request = lambda path=path: oss_signed(region, "PUT", "other", "", path=path)
        yield f"bucket: {name[:12]}", request, 400, "InvalidBucketName"
    host = lambda name: lambda: oss_signed(region, "PUT", "other", "", path="/", host=f"{name}.oss-{REGION}.aliyuncs.com")
    yield "bucket: a bad one in the host", host("Bad_"), 400, "InvalidBucketName"
    gone = lambda method, key, query="": oss_signed(region, method, "no-such-bucket", key, query)
    for method, key, query in [("PUT", "k", ""), ("GET", "", ""), ("DELETE", "", ""), ("POST", "k", "?uploads"), ("GET", "k", "")]:
        shown = f"no bucket: {method} {key}{query}"
        yield shown, lambda m=method, k=key, q=query: gone(m, k, q), 404, "NoSuchBucket"
    yield "key: `..` is a key like any other", lambda: oss_signed(region, "GET", BUCKET, "../../dir/object"), 404, "NoSuchKey"
    yield "key: encoded `..` too", lambda: oss_signed(region, "GET", BUCKET, "../x", path=f"/{BUCKET}/%2e%2e/x"), 404, "NoSuchKey"
    yield "bucket: not empty", lambda: oss_signed(region, "DELETE", BUCKET, ""), 409, "BucketNotEmpty"


# --- bodies ---------------------------------------------------------------------------------


def bodies(standing):
    region = standing.region
    put = lambda data=b"other", **changes: oss_signed(region, "PUT", BUCKET, OBJECT, data=data, **changes)
    md5 = lambda data: base64.b64encode(hashlib.md5(data).digest()).decode()
    bucket_post = lambda query, data, method="POST", **changes: oss_signed(region, method, BUCKET, "", query, data, **changes)
    long_key = "<Object><Key>" + "k" * 1024 + "</Key></Object>"
    many = "<Object><Key>k</Key></Object>" * 1001
    lol = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>'
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&a;</Key></Object></Delete>'
    deep = "<Delete>" + "<a>" * 100_000 + "</a>" * 100_000 + "</Delete>"
    for name, request, status, code in [
        ("the MD5 of something else", lambda: put(Content_MD5=md5(b"something else")), 400, "InvalidDigest"),
        ("an MD5 that is none", lambda: put(Content_MD5="not base64!"), 400, "InvalidDigest"),
        ("an MD5 too short", lambda: put(Content_MD5="YWJj"), 400, "InvalidDigest"),
        ("6 GiB announced", lambda: put(b"", Content_Length=6 << 30), 400, "EntityTooLarge"),
        ("metadata of 9 KiB", lambda: put(x_oss_meta_large="x" * 9216), 400, "InvalidArgument"),
        ("an ACL nobody knows", lambda: put(x_oss_object_acl="everybody"), 400, "InvalidArgument"),
        ("a tag twice", lambda: put(x_oss_tagging="a=1&a=2"), 400, "InvalidTag"),
        ("must not exist", lambda: put(x_oss_forbid_overwrite="true"), 409, "FileAlreadyExists"),
        ("append to an object", lambda: oss_signed(region, "POST", BUCKET, OBJECT, "?append&position=10", b"x"), 409, "ObjectNotAppendable"),
        ("append in the middle", lambda: oss_signed(region, "POST", BUCKET, "new", "?append&position=10", b"x"), 409, "PositionNotEqualToLength"),
        ("append nowhere", lambda: oss_signed(region, "POST", BUCKET, "new", "?append&position=-1", b"x"), 400, "InvalidArgument"),
        ("a copy of nothing", lambda: oss_signed(region, "PUT", BUCKET, "copy", x_oss_copy_source=f"/{BUCKET}/none"), 404, "NoSuchKey"),
        ("a copy of no path", lambda: oss_signed(region, "PUT", BUCKET, "copy", x_oss_copy_source="%ff"), 400, "InvalidArgument"),
        ("delete: not XML", lambda: bucket_post("?delete", b"{}"), 400, "MalformedXML"),
        ("delete: half of it", lambda: bucket_post("?delete", b"<Delete><Object><Key>dir/object</Key></Object>"), 400, "MalformedXML"),
        ("delete: another root", lambda: bucket_post("?delete", b"<Remove/>"), 400, "MalformedXML"),
        ("delete: nothing", lambda: bucket_post("?delete", b"<Delete/>"), 400, "MalformedXML"),
        ("delete: 1001 keys", lambda: bucket_post("?delete", f"<Delete>{many}</Delete>".encode()), 400, "MalformedXML"),
        ("delete: entities", lambda: bucket_post("?delete", lol.encode()), 400, "MalformedXML"),
        ("delete: an entity from outside", lambda: bucket_post("?delete", outside.encode()), 400, "MalformedXML"),
        ("delete: deep", lambda: bucket_post("?delete", deep.encode()), 400, "MalformedXML"),
        ("delete: not UTF-8", lambda: bucket_post("?delete", b"<Delete><Object><Key>\xff</Key></Object></Delete>"), 400, "MalformedXML"),
        ("delete: one key too long, so none", lambda: bucket_post("?delete", f"<Delete><Object><Key>dir/object</Key></Object>{long_key}</Delete>".encode()), 400, "InvalidObjectName"),
        ("delete: another MD5", lambda: bucket_post("?delete", b"<Delete><Object><Key>dir/object</Key></Object></Delete>", Content_MD5=md5(b"x")), 400, "InvalidDigest"),
        ("delete: 5 MiB", lambda: bucket_post("?delete", b"<Delete>" + b" " * (5 << 20)), 400, "EntityTooLarge"),
        ("tags: too many", lambda: bucket_post("?tagging", tags(21), "PUT"), 400, "InvalidTag"),
        ("a bucket of another form", lambda: oss_signed(region, "PUT", "other-bucket", "", data=b"<Bucket/>"), 400, "MalformedXML"),
        ("a bucket with an odd ACL", lambda: oss_signed(region, "PUT", "other-bucket", "", x_oss_acl="mine"), 400, "InvalidArgument"),
    ]:
        yield f"body: {name}", request, status, code
    complete = lambda upload, data: oss_signed(region, "POST", BUCKET, "parts", f"?uploadId={upload}", data)
    part = lambda upload, number: oss_signed(region, "PUT", BUCKET, "parts", f"?partNumber={number}&uploadId={upload}", b"x")
    whole = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>"
    for name, request, code in [
        ("put a part", lambda: part("none", 1), "NoSuchUpload"),
        ("complete", lambda: complete("none", whole), "NoSuchUpload"),
        ("complete a path", lambda: complete("..%2F..%2Fx", whole), "NoSuchUpload"),
        ("abort", lambda: oss_signed(region, "DELETE", BUCKET, "parts", "?uploadId=none"), "NoSuchUpload"),
        ("list", lambda: oss_signed(region, "GET", BUCKET, "parts", "?uploadId=none"), "NoSuchUpload"),
    ]:
        yield f"no upload: {name}", request, 404, code


def tags(count):
    one = "".join(f"<Tag><Key>k{n}</Key><Value>v</Value></Tag>" for n in range(count))
    return f"<Tagging><TagSet>{one}</TagSet></Tagging>".encode()


# --- reads ----------------------------------------------------------------------------------


def reads(standing):
    region = standing.region
    get = lambda **changes: oss_signed(region, "GET", BUCKET, OBJECT, **changes)
    listing = lambda query: oss_signed(region, "GET", BUCKET, "", query)
    for name, request, status, code in [
        ("behind the end", lambda: get(Range="bytes=10-20", x_oss_range_behavior="standard"), 416, "InvalidRange"),
        ("nothing", lambda: get(Range="bytes=-0", x_oss_range_behavior="standard"), 416, "InvalidRange"),
        ("another ETag", lambda: get(If_Match='"0"'), 412, "PreconditionFailed"),
        ("no such key", lambda: oss_signed(region, "GET", BUCKET, "none"), 404, "NoSuchKey"),
        ("max-keys 1001", lambda: listing("?max-keys=1001"), 400, "InvalidArgument"),
        ("max-keys 0x10", lambda: listing("?max-keys=0x10"), 400, "InvalidArgument"),
        ("encoding-type", lambda: listing("?encoding-type=base64"), 400, "InvalidArgument"),
        ("a query that is not UTF-8", lambda: listing("?prefix=%ff"), 400, "InvalidArgument"),
        ("a link to nothing", lambda: oss_signed(region, "GET", BUCKET, OBJECT, "?symlink"), 400, "NotSymlink"),
    ]:
        yield f"read: {name}", request, status, code


def not_offered(standing):
    region = standing.region
    for method, key, query in [
        ("PUT", "", "?lifecycle"), ("PUT", "", "?policy"), ("PUT", "", "?cors"), ("PUT", "", "?versioning"),
        ("GET", OBJECT, "?x-oss-process=image/resize"), ("DELETE", OBJECT, "?versionId=1"),
        ("POST", "", ""),
    ]:
        request = lambda m=method, k=key, q=query: oss_signed(region, m, BUCKET, k, q)
        yield f"not offered: {method} {key}{query}", request, 400, "NotImplemented"
    yield "verb: PATCH", lambda: oss_signed(region, "PATCH", BUCKET, OBJECT), 405, "MethodNotAllowed"
    yield "verb: DELETE of the service", lambda: oss_signed(region, "DELETE", "", ""), 405, "MethodNotAllowed"


# --- ranges that are answered ---------------------------------------------------------------


RANGES = [
    ("bytes=0-3", 206, b"0123"), ("bytes=8-", 206, b"89"), ("bytes=-2", 206, b"89"),
    ("bytes=5-4", 200, b"0123456789"), ("bytes=10-", 200, b"0123456789"), ("bytes=0-99", 200, b"0123456789"),
    ("bytes=a-b", 200, b"0123456789"), ("bytes=18446744073709551616-", 200, b"0123456789"),
    ("bytes=0-18446744073709551615", 200, b"0123456789"), ("lines=1-2", 200, b"0123456789"),
]
