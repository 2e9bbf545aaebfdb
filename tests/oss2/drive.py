"""What the official SDK does all day, once per signature scheme. Each function is a sentence."""

import io
import os
import subprocess
import sys
import tempfile
import time
import traceback

import oss2
import requests
from oss2.models import PartInfo

KEY, SECRET, REGION = "GMEXAMPLEKEYID01", "gmExampleSecret0123456789", "cn-hangzhou"
ODD_KEYS = ["中文/文件 名.txt", "a b+c%20d", "x//y/./z/../w", "dir/", "?&=#'\"<>", "é😀", "tab\tkey"]


class Scheme:
    """A scheme with a bucket of its own."""

    def __init__(self, name, make_auth, port):
        self.name, self.auth = name, make_auth(KEY, SECRET)
        self.endpoint = f"http://127.0.0.1:{port}"
        self.proxies = {"http": self.endpoint}
        self.bucket = self.open(f"oss2-{name}")
        self.bucket.create_bucket()

    def open(self, bucket, **options):
        return oss2.Bucket(self.auth, self.endpoint, bucket, region=REGION, **options)

    def service(self):
        return oss2.Service(self.auth, self.endpoint, region=REGION)


def fails(kind, action, *arguments, **named):
    """The error an action ends with; another one, or none, is a failed test."""
    try:
        action(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def keys(bucket, **options):
    return [found.key for found in oss2.ObjectIterator(bucket, **options)]


def wipe(bucket):
    found = keys(bucket)
    for at in range(0, len(found), 1000):
        bucket.batch_delete_objects(found[at : at + 1000])


# The sentences.


def an_object_comes_back_as_it_was_put(s):
    headers = {"Content-Type": "text/plain", "x-oss-meta-owner": "alice", "Cache-Control": "no-cache"}
    put = s.bucket.put_object("logs/run-1", b"hello gristmill", headers=headers)
    assert put.status == 200 and put.etag == "5D05470A3CB4CB8076915B5DAB0DF827", put.etag
    assert put.crc == 17346265302628625600 and put.request_id
    got = s.bucket.get_object("logs/run-1")
    assert got.read() == b"hello gristmill" and got.client_crc == got.server_crc
    assert got.headers["x-oss-meta-owner"] == "alice" and got.content_type == "text/plain"
    assert got.object_type == "Normal" and got.headers["Cache-Control"] == "no-cache"


def a_head_tells_everything_and_a_meta_little(s):
    s.bucket.put_object("headed", b"12345")
    head = s.bucket.head_object("headed")
    assert head.content_length == 5 and head.content_type and abs(head.last_modified - time.time()) < 60
    meta = s.bucket.get_object_meta("headed")
    assert meta.content_length == 5 and meta.etag == head.etag and meta.last_modified
    assert s.bucket.object_exists("headed") and not s.bucket.object_exists("no-such")
    fails(oss2.exceptions.NoSuchBucket, s.open("no-such-bucket").object_exists, "key")


def ranges_are_bytes_and_bad_ones_are_ignored(s):
    s.bucket.put_object("ranged", b"0123456789")
    read = lambda first, last: s.bucket.get_object("ranged", byte_range=(first, last))
    assert read(2, 4).read() == b"234" and read(2, 4).status == 206
    assert read(7, None).read() == b"789" and read(None, 3).read() == b"789"
    assert read(0, 100).read() == b"0123456789" and read(0, 100).status == 200
    standard = {"x-oss-range-behavior": "standard"}
    got = s.bucket.get_object("ranged", byte_range=(5, 100), headers=standard)
    assert got.status == 206 and got.content_range == "bytes 5-9/10" and got.read() == b"56789"
    error = fails(oss2.exceptions.ServerError, s.bucket.get_object, "ranged", (10, 20), headers=standard)
    assert error.status == 416 and error.code == "InvalidRange"


def conditions_hold_or_not(s):
    etag = s.bucket.put_object("condition", b"x").etag
    get = lambda **headers: s.bucket.get_object("condition", headers=headers).read()
    assert get(**{"If-Match": etag}) == b"x"
    fails(oss2.exceptions.PreconditionFailed, get, **{"If-Match": "0" * 32})
    fails(oss2.exceptions.NotModified, get, **{"If-None-Match": etag})
    future = oss2.http_date(int(time.time()) + 3600)
    fails(oss2.exceptions.NotModified, get, **{"If-Modified-Since": future})


def odd_keys_are_kept(s):
    for key in ODD_KEYS:
        s.bucket.put_object(key, key.encode())
        assert s.bucket.get_object(key).read() == key.encode(), key
    found = keys(s.bucket)
    assert set(ODD_KEYS) <= set(found), set(ODD_KEYS) - set(found)
    assert found == sorted(found, key=lambda key: key.encode())
    fails(oss2.exceptions.ServerError, s.bucket.put_object, "\\invalid", b"x")
    for key in ODD_KEYS:
        s.bucket.delete_object(key)
        assert not s.bucket.object_exists(key)


def bodies_may_have_no_length(s):
    s.bucket.put_object("chunked", (bytes([65 + n]) * 1000 for n in range(20)))
    assert s.bucket.get_object("chunked").read() == b"".join(bytes([65 + n]) * 1000 for n in range(20))

    class Reader:
        """Something to read that does not say how much."""

        def __init__(self):
            self.inner = io.BytesIO(b"y" * 300_000)

        def read(self, amount=None):
            return self.inner.read(amount)

    s.bucket.put_object("chunked", Reader())
    assert s.bucket.head_object("chunked").content_length == 300_000
    s.bucket.put_object("empty", b"")
    assert s.bucket.get_object("empty").read() == b""


def a_wrong_md5_is_refused_and_leaves_nothing(s):
    headers = {"Content-MD5": oss2.utils.content_md5(b"other")}
    error = fails(oss2.exceptions.ServerError, s.bucket.put_object, "md5", b"body", headers=headers)
    assert error.code == "InvalidDigest" and not s.bucket.object_exists("md5")


def appends_go_where_the_object_ends(s):
    s.bucket.delete_object("appended")
    first = s.bucket.append_object("appended", 0, b"hello ", init_crc=0)
    assert first.next_position == 6
    second = s.bucket.append_object("appended", 6, b"world" * 10_000, init_crc=first.crc)
    assert second.next_position == 50_006
    error = fails(oss2.exceptions.PositionNotEqualToLength, s.bucket.append_object, "appended", 3, b"x")
    assert error.next_position == 50_006
    assert s.bucket.get_object("appended").read() == b"hello " + b"world" * 10_000
    assert s.bucket.head_object("appended").object_type == "Appendable"
    s.bucket.put_object("normal", b"x")
    fails(oss2.exceptions.ObjectNotAppendable, s.bucket.append_object, "normal", 1, b"x")


def parts_make_an_object(s):
    data = [os.urandom(150_000), os.urandom(102_400), b"tail"]
    upload = s.bucket.init_multipart_upload("big", headers={"x-oss-meta-a": "b"}).upload_id
    parts = []
    for number, bytes_ in enumerate(data, 1):
        sent = s.bucket.upload_part("big", upload, number, bytes_)
        parts.append(PartInfo(number, sent.etag, size=len(bytes_), part_crc=sent.crc))
    listed = s.bucket.list_parts("big", upload, max_parts=2)
    assert [part.part_number for part in listed.parts] == [1, 2] and listed.is_truncated
    assert [found.upload_id for found in oss2.MultipartUploadIterator(s.bucket)] == [upload]
    done = s.bucket.complete_multipart_upload("big", upload, parts)
    assert done.etag.endswith("-3") and done.crc
    got = s.bucket.get_object("big")
    assert got.read() == b"".join(data) and got.headers["x-oss-meta-a"] == "b"
    assert s.bucket.get_object("big", byte_range=(149_999, 252_401)).read() == b"".join(data)[149_999:252_402]
    fails(oss2.exceptions.NoSuchUpload, s.bucket.upload_part, "big", upload, 1, b"x")


def parts_may_be_copied_and_completed_unnamed(s):
    s.bucket.put_object("source", b"0123456789")
    upload = s.bucket.init_multipart_upload("cut").upload_id
    s.bucket.upload_part_copy(s.bucket.bucket_name, "source", (2, 5), "cut", upload, 1)
    s.bucket.complete_multipart_upload("cut", upload, None, headers={"x-oss-complete-all": "yes"})
    assert s.bucket.get_object("cut").read() == b"2345"
    upload = s.bucket.init_multipart_upload("aborted").upload_id
    s.bucket.abort_multipart_upload("aborted", upload)
    fails(oss2.exceptions.NoSuchUpload, s.bucket.list_parts, "aborted", upload)


def large_files_resume_and_arrive_whole(s):
    with tempfile.TemporaryDirectory() as directory:
        here, back = os.path.join(directory, "here"), os.path.join(directory, "back")
        data = os.urandom(3_333_333)
        with open(here, "wb") as file:
            file.write(data)
        store = oss2.ResumableStore(root=directory)
        options = {"store": store, "multipart_threshold": 200_000, "part_size": 300_000, "num_threads": 4}
        oss2.resumable_upload(s.bucket, "resumed", here, **options)
        assert s.bucket.head_object("resumed").object_type == "Multipart"
        down = oss2.ResumableDownloadStore(root=directory)
        oss2.resumable_download(
            s.bucket, "resumed", back, store=down, multiget_threshold=200_000, part_size=250_000, num_threads=4
        )
        assert open(back, "rb").read() == data
        s.bucket.put_object_from_file("from-file", here)
        s.bucket.get_object_to_file("from-file", back)
        assert open(back, "rb").read() == data


def a_thousand_keys_are_listed_in_pages(s):
    wipe(s.bucket)
    names = [f"many/{n % 7}/{n:04}" for n in range(1_050)]
    for name in names:
        s.bucket.put_object(name, b"")
    assert keys(s.bucket, prefix="many/") == sorted(names)
    assert keys(s.bucket, prefix="many/", delimiter="/") == [f"many/{n}/" for n in range(7)]
    assert [found.key for found in oss2.ObjectIteratorV2(s.bucket, prefix="many/", max_keys=99)] == sorted(names)
    page = s.bucket.list_objects_v2(prefix="many/", delimiter="/", max_keys=3, fetch_owner=True)
    assert page.prefix_list == ["many/0/", "many/1/", "many/2/"] and page.is_truncated
    after = s.bucket.list_objects_v2(start_after="many/6/1000", max_keys=1)
    assert after.object_list[0].key == "many/6/1007", after.object_list[0].key
    page = s.bucket.list_objects(max_keys=1)
    assert page.object_list[0].owner.id and page.object_list[0].storage_class == "Standard"
    fails(oss2.exceptions.InvalidArgument, s.bucket.list_objects, max_keys=1001)
    fails(oss2.exceptions.InvalidArgument, s.bucket.list_objects_v2, continuation_token="wrong")
    wipe(s.bucket)


def many_objects_are_deleted_at_once(s):
    names = ["plain", "a&b<c>", "中文", "form\x0cfeed", "carriage\rreturn"]
    for name in names:
        s.bucket.put_object(name, b"x")
    deleted = s.bucket.batch_delete_objects(names + ["never-there"]).deleted_keys
    assert sorted(deleted) == sorted(names + ["never-there"])
    assert not any(s.bucket.object_exists(name) for name in names)
    s.bucket.delete_object("never-there")


def copies_keep_or_replace_what_they_carry(s):
    s.bucket.put_object("源/source", b"bytes", headers={"x-oss-meta-a": "old", "Content-Type": "text/css"})
    copied = s.bucket.copy_object(s.bucket.bucket_name, "源/source", "copy")
    assert copied.etag == s.bucket.head_object("源/source").etag
    head = s.bucket.head_object("copy")
    assert head.headers["x-oss-meta-a"] == "old" and head.content_type == "text/css"
    s.bucket.update_object_meta("copy", {"x-oss-meta-b": "new"})
    head = s.bucket.head_object("copy")
    assert head.headers["x-oss-meta-b"] == "new" and "x-oss-meta-a" not in head.headers
    assert s.bucket.get_object("copy").read() == b"bytes"
    wrong = {"x-oss-copy-source-if-match": "0" * 32}
    fails(oss2.exceptions.PreconditionFailed, s.bucket.copy_object, s.bucket.bucket_name, "copy", "x", headers=wrong)
    fails(oss2.exceptions.NoSuchKey, s.bucket.copy_object, s.bucket.bucket_name, "no-such", "x")


def what_exists_may_be_protected(s):
    s.bucket.put_object("kept", b"first")
    forbid = {"x-oss-forbid-overwrite": "true"}
    error = fails(oss2.exceptions.ServerError, s.bucket.put_object, "kept", b"second", headers=forbid)
    assert error.code == "FileAlreadyExists" and error.status == 409
    assert s.bucket.get_object("kept").read() == b"first"


def signed_urls_open_for_a_while(s):
    s.bucket.put_object("目录/shared", b"shared")
    for slash_safe in (False, True):
        url = s.bucket.sign_url("GET", "目录/shared", 60, slash_safe=slash_safe)
        assert requests.get(url).content == b"shared", url
    url = s.bucket.sign_url("GET", "目录/shared", 60, params={"response-content-type": "text/x-y"})
    assert requests.get(url).headers["Content-Type"] == "text/x-y"
    headers = {"Content-Type": "text/plain", "x-oss-meta-a": "b"}
    url = s.bucket.sign_url("PUT", "目录/sent", 60, headers=headers)
    assert requests.put(url, data=b"sent", headers=headers).status_code == 200
    assert s.bucket.get_object("目录/sent").read() == b"sent"
    assert requests.put(url, data=b"sent", headers={**headers, "x-oss-meta-a": "c"}).status_code == 403
    assert requests.get(url).status_code == 403
    chunks = (b"chunk" for _ in range(3))
    assert s.bucket.put_object_with_url(s.bucket.sign_url("PUT", "chunked", 60), chunks).status == 200


def buckets_are_made_found_and_removed(s):
    bucket = s.open(f"oss2-{s.name}-more")
    bucket.create_bucket(oss2.BUCKET_ACL_PUBLIC_READ)
    bucket.create_bucket()
    assert bucket.get_bucket_acl().acl == "public-read"
    bucket.put_bucket_acl(oss2.BUCKET_ACL_PRIVATE)
    info = bucket.get_bucket_info()
    assert info.name == bucket.bucket_name and info.acl.grant == "private" and info.owner.id
    assert info.location == "oss-cn-hangzhou" and abs(info.creation_date and 1) == 1
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
    names = [found.name for found in oss2.BucketIterator(s.service(), prefix="oss2-", max_keys=1)]
    assert bucket.bucket_name in names and names == sorted(names)
    bucket.put_object("key", b"12345")
    stat = bucket.get_bucket_stat()
    assert stat.storage_size_in_bytes == 5 and stat.object_count == 1
    fails(oss2.exceptions.BucketNotEmpty, bucket.delete_bucket)
    bucket.delete_object("key")
    assert list(bucket.list_live_channel().channels) == []
    bucket.delete_bucket()
    fails(oss2.exceptions.NoSuchBucket, bucket.get_bucket_info)
    fails(oss2.exceptions.ServerError, bucket.list_objects)


def objects_have_tags_acls_and_links(s):
    s.bucket.put_object("tagged", b"x", headers={"x-oss-tagging": "k1=v1&k%20two=v2"})
    assert s.bucket.get_object_tagging("tagged").tag_set.tagging_rule == {"k1": "v1", "k two": "v2"}
    rule = oss2.models.TaggingRule()
    rule.add("only", "one")
    s.bucket.put_object_tagging("tagged", oss2.models.Tagging(rule))
    assert s.bucket.get_object_tagging("tagged").tag_set.tagging_rule == {"only": "one"}
    s.bucket.delete_object_tagging("tagged")
    assert s.bucket.get_object_tagging("tagged").tag_set.tagging_rule == {}
    assert s.bucket.get_object_acl("tagged").acl == "default"
    s.bucket.put_object_acl("tagged", oss2.OBJECT_ACL_PUBLIC_READ)
    assert s.bucket.get_object_acl("tagged").acl == "public-read"
    assert requests.get(f"{s.endpoint}/{s.bucket.bucket_name}/tagged").content == b"x"
    s.bucket.put_symlink("tagged", "link")
    assert s.bucket.get_symlink("link").target_key == "tagged" and s.bucket.get_object("link").read() == b"x"


def errors_are_told_apart(s):
    error = fails(oss2.exceptions.NoSuchKey, s.bucket.get_object, "no-such")
    assert error.details["Key"] == "no-such" and error.details["EC"] == "0026-00000001"
    assert error.request_id and error.headers["x-oss-ec"] == "0026-00000001"
    fails(oss2.exceptions.NoSuchKey, s.bucket.get_object_meta, "no-such")
    fails(oss2.exceptions.NoSuchBucket, s.open("no-such-bucket").get_object, "key")
    wrong = oss2.Bucket(type(s.auth)(KEY, "wrong"), s.endpoint, s.bucket.bucket_name, region=REGION)
    error = fails(oss2.exceptions.SignatureDoesNotMatch, wrong.get_object, "key")
    assert error.details["OSSAccessKeyId"] == KEY and error.details["StringToSign"]
    unknown = oss2.Bucket(type(s.auth)("nobody", "x"), s.endpoint, s.bucket.bucket_name, region=REGION)
    error = fails(oss2.exceptions.ServerError, unknown.get_object, "key")
    assert error.code == "InvalidAccessKeyId" and error.status == 403
    anonymous = oss2.Bucket(oss2.AnonymousAuth(), s.endpoint, s.bucket.bucket_name)
    fails(oss2.exceptions.AccessDenied, anonymous.get_object, "key")
    fails(oss2.exceptions.AccessDenied, anonymous.put_object, "key", b"x" * 100_000)
    error = fails(oss2.exceptions.ServerError, s.bucket.get_bucket_worm)
    assert error.code == "NotImplemented" and error.status == 400


def the_bucket_may_be_in_the_host_and_the_target_absolute(s):
    bucket = oss2.Bucket(s.auth, "http://oss.test", s.bucket.bucket_name, region=REGION, proxies=s.proxies)
    bucket.put_object("深/host style", b"host")
    assert s.bucket.get_object("深/host style").read() == b"host"
    assert bucket.get_bucket_info().extranet_endpoint == "oss.test"
    official = oss2.Bucket(
        s.auth, "oss-cn-hangzhou.aliyuncs.com", s.bucket.bucket_name, region=REGION, proxies=s.proxies
    )
    assert official.get_object("深/host style").read() == b"host"


def a_read_asks_for_no_body(s):
    s.bucket.put_object("bodyless", b"x")
    got = s.bucket.get_object("bodyless", headers={"Content-Length": "9"})
    assert got.read() == b"x"


SENTENCES = [value for value in list(globals().values()) if getattr(value, "__code__", None) and value.__code__.co_varnames[:1] == ("s",)]
SCHEMES = [("v1", oss2.Auth), ("v2", oss2.AuthV2), ("v4", oss2.AuthV4)]


def run(scheme, sentence):
    name = f"{scheme.name}: {sentence.__name__}"
    try:
        sentence(scheme)
    except Exception:
        print(f"FAILED {name}\n{traceback.format_exc()}")
        return False
    print(f"ok     {name}")
    return True


def main(program, *wanted):
    directory = tempfile.TemporaryDirectory()
    gateway = subprocess.Popen([program, directory.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        port = int(gateway.stdout.readline())
        outcomes = []
        for name, make_auth in SCHEMES:
            scheme = Scheme(name, make_auth, port)
            chosen = [s for s in SENTENCES if not wanted or any(part in s.__name__ for part in wanted)]
            outcomes += [run(scheme, sentence) for sentence in chosen]
    finally:
        gateway.stdin.close()
        status = gateway.wait(timeout=30)
        directory.cleanup()
    outcomes.append(status == 0)
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed, 0 skipped")
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
