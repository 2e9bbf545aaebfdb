"""A small client of the message service in plain Python, for tests without the official SDK."""

import base64
import hashlib
import hmac
import json
import time
from email.utils import formatdate
from xml.etree import ElementTree

from region import KEY, SECRET, Refused

NAMESPACE = "{http://mns.aliyuncs.com/doc/v1/}"


def signature(secret, method, headers, target):
    """`headers` by lower-case name."""
    lines = [method, *(headers.get(name, "") for name in ("content-md5", "content-type", "date"))]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-mns-")]
    digest = hmac.new(secret.encode(), "\n".join([*lines, target]).encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_genuine(request, body, key, secret):
    """Whether a request that came in was signed with this key."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    md5 = base64.b64encode(hashlib.md5(body).hexdigest().encode()).decode()
    expected = f"MNS {key}:{signature(secret, request.command, headers, request.path)}"
    return headers.get("content-md5") == md5 and headers.get("authorization") == expected


def call(region, method, target, body=""):
    headers = {"date": formatdate(usegmt=True), "x-mns-version": "2015-06-06"}
    if body:
        headers["content-type"] = "text/xml;charset=UTF-8"
    headers["authorization"] = f"MNS {KEY}:{signature(SECRET, method, headers, target)}"
    status, _, answer = region.raw(method, target, body.encode() or None, headers, region.mns)
    if status >= 300:
        raise Refused(status, answer.decode())
    return answer


class Queue:
    """A queue of the root account."""

    def __init__(self, region, name):
        self.region, self.name = region, name
        call(region, "PUT", f"/queues/{name}", "<Queue></Queue>")

    def subscribe(self, topic):
        """Makes a topic whose messages come in as they are."""
        call(self.region, "PUT", f"/topics/{topic}", "<Topic></Topic>")
        to = f"acs:mns:cn-local:1000000001:queues/{self.name}"
        body = (f"<Subscription><Endpoint>{to}</Endpoint>"
                "<NotifyContentFormat>SIMPLIFIED</NotifyContentFormat></Subscription>")
        call(self.region, "PUT", f"/topics/{topic}/subscriptions/{self.name}", body)

    def drain(self, count, patience):
        """Takes messages until there were `count`, and then whatever else is there."""
        messages, deadline = [], time.monotonic() + patience
        while True:
            assert time.monotonic() < deadline, f"{len(messages)} of {count} messages came"
            enough = len(messages) >= count
            target = f"/queues/{self.name}/messages?numOfMessages=16&waitseconds={1 if enough else 5}"
            try:
                answer = call(self.region, "GET", target)
            except Refused as refused:
                if "MessageNotExist" in refused.body and enough:
                    return messages
                continue
            found = ElementTree.fromstring(answer).findall(f"{NAMESPACE}Message")
            messages += [json.loads(message.findtext(f"{NAMESPACE}MessageBody")) for message in found]
            handles = "".join(f"<ReceiptHandle>{message.findtext(f'{NAMESPACE}ReceiptHandle')}</ReceiptHandle>"
                              for message in found)
            call(self.region, "DELETE", f"/queues/{self.name}/messages",
                 f"<ReceiptHandles>{handles}</ReceiptHandles>")
