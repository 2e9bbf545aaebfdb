"""A region with a few things in it, of which nothing may change, and what rows of a table need.

A row is a request that is wrong in one way, with the status and the code it must be answered with.
After every row the region is looked at again: the same jobs, clusters, buckets and objects as
before, or the row fails.
"""

import contextlib
import json
import os
import re
import select
import socket
from email.utils import formatdate
from urllib.parse import quote, unquote

from region import KEY, mac, signed, wait_for

BUCKET, OBJECT, CONTENT = "standing", "dir/object", b"0123456789"


def a_task(cluster, **changes):
    """The smallest task; keyword arguments replace members, `Command__X` inside the command."""
    task = {"ClusterId": cluster, "Parameters": {"Command": {"CommandLine": "true"}}}
    for name, value in changes.items():
        place, parts = task, name.split("__")
        if parts[0] in ("Command", "Parameters") and len(parts) > 1:
            place = task["Parameters"] if parts[0] == "Parameters" else task["Parameters"]["Command"]
        place[parts[-1]] = value
    return task


def a_job(tasks, **changes):
    dag = {"Tasks": tasks, **changes.pop("DAG", {})}
    return {"Name": "bad-input", "Type": "DAG", "DAG": dag, **changes}


class Standing:
    """What stands in the region while it is asked for impossible things."""

    def __init__(self, region):
        self.region = region
        group = {"DesiredVMCount": 1, "InstanceType": "ecs.sn1.medium"}
        cluster = {"Name": "pool", "ImageId": "img-ubuntu", "Groups": {"g": group}}
        self.cluster = region.call("POST", "/clusters", cluster)["Id"]
        counts = lambda: region.call("GET", f"/clusters/{self.cluster}")["Metrics"]["RunningCount"]
        wait_for("a machine", lambda: counts() == 1)
        self.finished = self.submit(a_job({"only": a_task(self.cluster)}, Name="finished"), "standing")
        self.wait_state(self.finished, "Finished")
        sleeper = a_task(self.cluster, Command__CommandLine="sleep 100000")
        self.running = self.submit(a_job({"only": sleeper}, Name="running"))
        self.wait_state(self.running, "Running")
        self.machine = region.call("GET", f"/clusters/{self.cluster}/groups/g/instances")["Items"][0]["Id"]
        assert oss_signed(region, "PUT", BUCKET, "")[0] == 200
        region.put_object(BUCKET, OBJECT, CONTENT)
        self.before = self.look()

    def submit(self, job, token=None):
        return self.region.call("POST", f"/jobs?IdempotentToken={token}" if token else "/jobs", job)["Id"]

    def wait_state(self, job, *states):
        def there():
            found = self.region.call("GET", f"/jobs/{job}")
            return found if found["State"] in states else None
        return wait_for(f"{job} in {states}", there)

    @contextlib.contextmanager
    def machines(self, count):
        """A cluster of its own, for as long as it is needed."""
        group = {"DesiredVMCount": count, "InstanceType": "ecs.sn1.medium"}
        cluster = {"Name": "passing", "ImageId": "img-ubuntu", "Groups": {"g": group}}
        identity = self.region.call("POST", "/clusters", cluster)["Id"]
        yield identity
        self.region.call("DELETE", f"/clusters/{identity}")

    def ended(self, tasks):
        """Runs tasks as one job and yields the name and the only instance of each."""
        job = self.submit(a_job(tasks, Name="passing", JobFailOnInstanceFail=False))
        self.wait_state(job, "Failed", "Finished")
        for name in tasks:
            yield name, self.region.call("GET", f"/jobs/{job}/tasks/{name}/instances/0")
        self.region.call("DELETE", f"/jobs/{job}")

    def look(self):
        """Everything the account has, as a comparable value."""
        region = self.region
        jobs = region.call("GET", "/jobs")["Items"]
        clusters = region.call("GET", "/clusters")["Items"]
        state = {"jobs": jobs, "clusters": clusters}
        for bucket in re.findall(r"<Name>([^<]+)</Name>", text_of(oss_signed(region, "GET", "", ""))):
            listing = text_of(oss_signed(region, "GET", bucket, ""))
            keys = re.findall(r"<Key>([^<]*)</Key>.*?<ETag>([^<]*)</ETag>", listing)
            state[f"bucket {bucket}"] = keys
            state[f"uploads {bucket}"] = text_of(oss_signed(region, "GET", bucket, "", "?uploads")).count("<Upload>")
        return state

    def unchanged(self):
        now = self.look()
        changed = [name for name in {*now, *self.before} if now.get(name) != self.before.get(name)]
        assert not changed, {name: (self.before.get(name), now.get(name)) for name in changed}


def text_of(answer):
    status, _, body = answer
    assert status == 200, (status, body)
    return body.decode()


# --- requests -------------------------------------------------------------------------------


def ask(region, method, target, body=None, headers=None, **changes):
    """A request to the API: signed, then its headers replaced (`None`: removed)."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = headers if headers is not None else signed(method, target)
    for name, value in changes.items():
        name = name.replace("_", "-")
        sent.pop(name, None)
        if value is not None:
            sent[name] = value
    return exchange(region.api, head_of(method, target, {"Content-Length": len(data), **sent}), data)


def head_of(method, target, headers, host="127.0.0.1"):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def exchange(port, head, pieces=b"", finish=True):
    """Sends a head and a body over a socket of its own. Unlike `http.client` it listens while it
    sends, because a server may answer before it has read everything. `pieces` are bytes or an
    iterable of them. Without `finish` the connection is cut after the last byte: `None`."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(head)
            for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                for start in range(0, len(piece), 1 << 16):
                    if select.select([connection], [], [], 0)[0]:
                        break
                    connection.sendall(piece[start:start + (1 << 16)])
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_answer(connection) if finish else None


def read_answer(connection):
    received = b""
    while True:
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        if not piece:
            break
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0]:
        raise AssertionError("the connection was closed without an answer")
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    if headers.get("Transfer-Encoding") == "chunked":
        body = dechunked(body)
    return int(lines[0].split()[1]), headers, body


def dechunked(body):
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        whole, body = whole + body[:length], body[length + 2:]
    return whole


def oss_signed(region, method, bucket, key, query="", data=b"", path=None, host="127.0.0.1", finish=True, **changes):
    """A request to the object store with a V1 signature over bucket and key; `path` replaces what
    is sent, headers are replaced as in `ask`."""
    headers = {"Date": changes.pop("Date", formatdate(usegmt=True)), "Content-Length": len(data)}
    unsigned = {name.replace("_", "-"): value for name, value in changes.items()}
    headers.update({name: value for name, value in unsigned.items() if value is not None})
    md5, kind = headers.get("Content-MD5", ""), headers.get("Content-Type", "")
    extra = "".join(f"{n.lower()}:{headers[n]}\n" for n in sorted(headers) if n.lower().startswith("x-oss-"))
    resource = f"/{bucket}/{key}" if bucket else "/"
    signed_query = "&".join(sorted(unquote(p) for p in query.lstrip("?").split("&") if p.split("=")[0] in SIGNED))
    text = f"{method}\n{md5}\n{kind}\n{headers['Date'] or ''}\n{extra}{resource}" + (f"?{signed_query}" if signed_query else "")
    headers.setdefault("Authorization", f"OSS {KEY}:{mac(text)}")
    target = path if path is not None else quote(f"/{bucket}/{key}" if bucket else "/")
    headers = {name: value for name, value in headers.items() if value is not None}
    return exchange(region.oss, head_of(method, target + query, headers, host), data, finish)


SIGNED = {
    "acl", "append", "delete", "partNumber", "position", "symlink", "tagging", "uploadId", "uploads",
    "bucketInfo", "location", "lifecycle", "cors", "policy", "website", "versioning", "versionId", "x-oss-process",
}


# --- judging --------------------------------------------------------------------------------


def api_code(answer):
    """Status and code of an answer of the API, which must have the form every error has."""
    status, headers, body = answer
    assert headers.get("Content-Type") == "application/json; charset=utf-8", headers
    error = json.loads(body)
    assert set(error) == {"Code", "Message", "RequestId", "HostId"}, error
    assert error["RequestId"] == headers["X-Acs-Request-Id"], (error, headers)
    assert error["Message"] and len(error["Message"]) < 2000, error["Message"][:3000]
    return status, error["Code"]


def oss_code(answer):
    status, headers, body = answer
    found = re.search(rb"<Code>([^<]*)</Code>", body)
    assert found, (status, headers, body[:300])
    assert len(body) < 8000, len(body)
    return status, found.group(1).decode()


def memory(region):
    """Resident memory of the server, in bytes."""
    with open(f"/proc/{region.process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) << 10


def peak_memory(region):
    with open(f"/proc/{region.process.pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) << 10


def reset_peak(region):
    with open(f"/proc/{region.process.pid}/clear_refs", "w") as file:
        file.write("5")


def files_below(directory):
    return {os.path.join(at, name) for at, _, names in os.walk(directory) for name in names}
