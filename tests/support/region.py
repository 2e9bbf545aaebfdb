"""What the scripts in `tests/` share: a region as a process, and a signed client in plain Python.

The client is written here, from the contract, so that these tests depend on nothing but the
standard library and do not share code with what they test.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from email.utils import formatdate
from urllib.parse import quote

KEY, SECRET = "testkeyid", "testkeysecret"


GIVEN = set()


def free_ports(count):
    """Ports that were free a moment ago, and that nobody else in this process was given."""
    held, ports = [], []
    while len(ports) < count:
        held.append(socket.create_server(("127.0.0.1", 0)))
        port = held[-1].getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            ports.append(port)
    for opened in held:
        opened.close()
    return ports


class Refused(Exception):
    """An answer outside 200 to 299."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body
        try:
            self.code = json.loads(body)["Code"]
        except (ValueError, KeyError, TypeError):
            self.code = ""


class Region:
    """`gristmill serve` on free ports; can be killed and started again on the same data."""

    def __init__(self, binaries, directory, settings=None):
        self.program = os.path.join(binaries, "gristmill")
        self.directory = directory
        self.api, self.oss, self.mns = free_ports(3)
        self.settings = settings or {}
        self.flags = []
        self.process = None

    @property
    def data(self):
        return os.path.join(self.directory, "data")

    def start(self, before=None):
        """Starts it; `before` is done in its process first."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRISTMILL_")}
        environment.update(GRISTMILL_ROOT_ACCESS_KEY_ID=KEY, GRISTMILL_ROOT_ACCESS_KEY_SECRET=SECRET)
        environment.update(self.settings)
        ports = {"--listen": self.api, "--oss-listen": self.oss, "--mns-listen": self.mns}
        command = [self.program, "serve", "--data-dir", self.data]
        command += self.flags
        for flag, port in ports.items():
            command += [flag, f"127.0.0.1:{port}"]
        log = open(os.path.join(self.directory, "serve.log"), "a")
        self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, preexec_fn=before)
        self.wait_until_ready()

    def wait_until_ready(self, patience=30):
        deadline = time.monotonic() + patience
        while True:
            try:
                status, _, _ = self.raw("GET", "/healthz")
                if status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                raise SystemExit(f"serve ended with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise SystemExit(f"serve is not ready:\n{self.log_tail()}")
            time.sleep(0.01)

    def log_tail(self):
        with open(os.path.join(self.directory, "serve.log")) as log:
            return log.read()[-8000:]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    # --- requests ---------------------------------------------------------------------------

    def raw(self, method, target, body=None, headers=None, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.api, timeout=30)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def call(self, method, target, body=None):
        """A signed call; the parsed answer, or `Refused`."""
        data = b"" if body is None else json.dumps(body).encode()
        status, _, answer = self.raw(method, target, data, signed(method, target))
        if not 200 <= status < 300:
            raise Refused(status, answer.decode(errors="replace"))
        return json.loads(answer) if answer else None

    def put_object(self, bucket, key, data):
        status, _, answer = self.oss_call("PUT", bucket, key, data)
        if status != 200:
            raise Refused(status, answer.decode(errors="replace"))

    def get_object(self, bucket, key):
        status, _, answer = self.oss_call("GET", bucket, key)
        if status != 200:
            raise Refused(status, answer.decode(errors="replace"))
        return answer

    def oss_call(self, method, bucket, key, data=b""):
        date = formatdate(usegmt=True)
        text = f"{method}\n\n\n{date}\n/{bucket}/{key}"
        headers = {"Date": date, "Authorization": f"OSS {KEY}:{mac(text)}"}
        return self.raw(method, f"/{bucket}/{quote(key)}", data, headers, self.oss)


def mac(text, secret=SECRET):
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def signed(method, target, key=KEY, secret=SECRET, token=None):
    """Headers of the vendor's signature, Python spelling."""
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Date": formatdate(usegmt=True),
        "x-acs-access-key-id": key,
        "x-acs-region-id": "cn-local",
        "x-acs-signature-method": "HMAC-SHA1",
        "x-acs-signature-nonce": str(uuid.uuid4()),
        "x-acs-signature-version": "1.0",
        "x-acs-version": "2015-11-11",
    }
    if token:
        headers["x-acs-security-token"] = token
    lines = [method, headers["Accept"], "", headers["Content-Type"], headers["Date"]]
    lines += [f"{name}:{value}" for name, value in sorted(headers.items()) if name.startswith("x-acs-")]
    headers["Authorization"] = f"acs {key}:{mac(chr(10).join([*lines, target]), secret)}"
    return headers


def wait_for(what, condition, patience=120):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen in {patience} s")
