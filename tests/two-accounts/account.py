"""An account with things of its own, whose names and ids can be recognised wherever they turn up."""

import json
import os
import subprocess
from email.utils import formatdate
from urllib.parse import quote

from region import KEY, SECRET, Refused, mac, signed, wait_for

POOL = {"Name": "", "ImageId": "img-ubuntu", "Groups": {"": {"DesiredVMCount": 1, "InstanceType": "ecs.sn1.medium"}}}


class Key:
    """An access key, with the token of a temporary one."""

    def __init__(self, id, secret, token=None):
        self.id, self.secret, self.token = id, secret, token


class Operator:
    """`gristmill admin` against a region."""

    def __init__(self, region, program):
        self.region, self.program = region, program

    def run(self, *words, fails=False):
        environment = dict(os.environ, GRISTMILL_ROOT_ACCESS_KEY_ID=KEY, GRISTMILL_ROOT_ACCESS_KEY_SECRET=SECRET)
        endpoint = f"http://127.0.0.1:{self.region.api}"
        command = [self.program, "admin", *words, "--json", "--endpoint", endpoint]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode != 0) == fails, done
        return done.stderr if fails else json.loads(done.stdout or "null")

    def key(self, account, *limits):
        made = self.run("key", "create", account, *limits)
        return Key(made["AccessKeyId"], made["AccessKeySecret"])


class Account:
    def __init__(self, region, name, number, key):
        self.region, self.name, self.number, self.key = region, name, number, key
        self.mark = f"{name}-only"
        self.bucket = f"{self.mark}-bucket"

    @classmethod
    def made(cls, operator, name):
        number = operator.run("account", "create", name)["Id"]
        return cls(operator.region, name, number, operator.key(name, "--note", "the test's"))

    # --- requests ---------------------------------------------------------------------------

    def raw(self, method, target, body=None, key=None):
        key = key or self.key
        data = b"" if body is None else json.dumps(body).encode()
        headers = signed(method, target, key.id, key.secret, key.token)
        return self.region.raw(method, target, data, headers)

    def call(self, method, target, body=None, key=None):
        status, _, answer = self.raw(method, target, body, key)
        if not 200 <= status < 300:
            raise Refused(status, answer.decode(errors="replace"))
        return json.loads(answer) if answer else None

    def oss(self, method, bucket, object="", query="", data=b"", key=None, headers=None):
        key = key or self.key
        date = formatdate(usegmt=True)
        extra = dict(headers or {})
        if key.token:
            extra["x-oss-security-token"] = key.token
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(extra.items()))
        signed_query = query if query.lstrip("?") in ("acl", "bucketInfo", "delete", "stat", "tagging", "uploads", "location") else ""
        text = f"{method}\n\n\n{date}\n{lines}/{bucket}{'/' if bucket else ''}{object}{signed_query}"
        sent = {"Date": date, "Authorization": f"OSS {key.id}:{mac(text, key.secret)}", **extra}
        return self.region.raw(method, f"/{bucket}{'/' if bucket else ''}{quote(object)}{query}", data, sent, self.region.oss)

    # --- things -----------------------------------------------------------------------------

    def settle(self):
        """Makes one of everything."""
        assert self.oss("PUT", self.bucket)[0] == 200
        assert self.oss("PUT", self.bucket, f"{self.mark}/object", data=b"of " + self.mark.encode())[0] == 200
        self.group = f"{self.name}group"
        groups = {self.group: {"DesiredVMCount": 1, "InstanceType": "ecs.sn1.medium"}}
        cluster = {"Name": self.mark, "ImageId": "img-ubuntu", "Groups": groups, "Description": self.mark}
        self.cluster = self.call("POST", "/clusters", cluster)["Id"]
        running = lambda: self.call("GET", f"/clusters/{self.cluster}")["Metrics"]["RunningCount"] == 1
        wait_for("a machine", running)
        self.machine = self.call("GET", f"/clusters/{self.cluster}/groups/{self.group}/instances")["Items"][0]["Id"]
        self.finished = self.submit("true", "finished")
        wait_for("a finished job", lambda: self.state(self.finished) == "Finished")
        self.running = self.submit("sleep 100000", "running")
        wait_for("a running job", lambda: self.state(self.running) == "Running")
        image = {"Name": self.mark, "EcsImageId": f"m-{self.mark}", "Platform": "Linux"}
        self.image = self.call("POST", "/images", image)["Id"]
        self.app = f"{self.mark}-app"
        app = {"Name": self.app, "CommandLine": f"echo {self.mark}", "VM": {"ECSImageId": "img-ubuntu"}}
        self.call("POST", "/apps", app)
        self.task = f"{self.name}task"

    def submit(self, line, name):
        program = {"Command": {"CommandLine": line, "EnvVars": {"MARK": self.mark}}}
        program["StdoutRedirectPath"] = f"oss://{self.bucket}/logs/"
        task = {"ClusterId": self.cluster, "Parameters": program}
        job = {"Name": f"{self.mark}-{name}", "Type": "DAG", "Description": self.mark, "DAG": {"Tasks": {f"{self.name}task": task}}}
        return self.call("POST", "/jobs", job)["Id"]

    def state(self, job):
        return self.call("GET", f"/jobs/{job}")["State"]

    def marks(self):
        """Texts that only this account may see."""
        return [self.mark, self.cluster, self.machine, self.finished, self.running, self.image, self.key.id, self.key.secret]

    def look(self):
        """Everything the account has, as it sees it."""
        names = lambda target, name="Id": sorted(item[name] for item in self.call("GET", target)["Items"])
        cluster = self.call("GET", f"/clusters/{self.cluster}")
        app = self.call("GET", f"/apps/{self.app}?Detail=True")
        return {
            "jobs": {job: (self.state(job), self.call("GET", f"/jobs/{job}?description")) for job in names("/jobs")},
            "clusters": names("/clusters"),
            "cluster": [cluster[member] for member in ("State", "Name", "Groups", "EnvVars", "UserData")],
            "machines": names(f"/clusters/{self.cluster}/groups/{self.group}/instances"),
            "images": names("/images"),
            "apps": (names("/apps", "Name"), app, self.call("GET", f"/apps/{self.app}?Revisions=True")),
            "object": self.oss("GET", self.bucket, f"{self.mark}/object")[2],
            "acl": self.oss("GET", self.bucket, query="?acl")[2],
        }


def leak_in(row, headers, answer, own, other):
    """What of the other's is in the answer that was not in the request, if anything."""
    text = answer.decode(errors="replace") + "".join(f"{name}: {value}\n" for name, value in headers.items())
    found = [mark for mark in other.marks() if mark in text and mark not in row.sent()]
    # A bucket and an app have their owner's mark in their names; what the request named is no news.
    for named in (other.bucket, other.app, f"m-{other.mark}", f"{other.mark}/object"):
        if named in row.sent():
            text = text.replace(named, "").replace(quote(named, safe=""), "")
    found += [mark for mark in other.marks() if mark in text and mark not in row.sent()]
    if str(other.number) in text:
        found.append(f"the number {other.number}")
    return f"answered with {sorted(set(found))} of {other.name}'s: {text[:400]}" if found else None
