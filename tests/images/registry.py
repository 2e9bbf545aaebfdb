"""A real registry: plain or with TLS by a certification authority of its own, open or with a user, who signs in
with each request (`basic`) or fetches a token for them (`bearer`).
"""

import base64
import ctypes
import ctypes.util
import http.client
import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
from region import free_ports, wait_for  # noqa: E402

USER = "operator"
PASSWORD = "a-password-nobody-may-see"
SERVICE = "registry of the tests"
ISSUER = "tokens of the tests"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Authority:
    """A certification authority that nobody knows, and a certificate by it for this host."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.file, self.certificate, self.key = (self.path(name) for name in ("ca.pem", "host.pem", "host.key"))
        with open(self.path("names"), "w") as out:
            out.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        new = ["-newkey", "rsa:2048", "-nodes"]
        self.openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", f"/CN={os.path.basename(directory)}", "-days", "2")
        self.openssl("req", *new, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=localhost")
        by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        self.openssl("x509", "-req", "-in", "host.csr", *by, "-out", "host.pem", "-days", "2", "-extfile", "names")

    def path(self, name):
        return os.path.join(self.directory, name)

    def openssl(self, *words, data=None):
        done = subprocess.run(["openssl", *words], cwd=self.directory, input=data, capture_output=True)
        assert done.returncode == 0, f"openssl {words}: {done.stderr.decode()}"
        return done.stdout

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Tokens:
    """Where users of a registry fetch tokens; what was asked is kept."""

    def __init__(self, authority):
        self.authority, self.given, self.refused = authority, 0, 0
        tokens = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                tokens.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = authority.server_context().wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request):
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != wanted:
            self.refused += 1
            status, body = 401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]}
        else:
            self.given += 1
            status, body = 200, {"token": self.token()}
        data = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def token(self):
        """For everything in one repository, for a minute."""
        now = int(time.time())
        with open(self.authority.certificate) as file:
            chain = ssl.PEM_cert_to_DER_cert(file.read())
        access = [{"type": "repository", "name": "team/tiny", "actions": ["pull", "push"]}]
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(chain).decode()]}
        body = {
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "iat": now, "nbf": now - 5, "exp": now + 60,
            "jti": uuid.uuid4().hex, "access": access,
        }
        encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
        signed = b".".join(encode(json.dumps(part).encode()) for part in (head, body))
        signature = self.authority.openssl("dgst", "-sha256", "-sign", self.authority.key, data=signed)
        return b".".join((signed, encode(signature))).decode()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def hashed(password):
    """As a file of users holds it."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return library.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()


class Registry:
    """With one repository, `team/tiny`, that is filled by hand. `None` if no registry is installed."""

    def __init__(self, directory, authority=None, sign_in=None):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.authority, self.sign_in = directory, authority, sign_in
        [self.port] = free_ports(1)
        self.storage = os.path.join(directory, "storage")
        self.tokens = Tokens(authority) if sign_in == "bearer" else None
        file = os.path.join(directory, "registry.yml")
        with open(file, "w") as out:
            json.dump(self.settings(), out)  # which is YAML, too
        log = open(os.path.join(directory, "registry.log"), "w")
        self.process = subprocess.Popen([shutil.which("docker-registry"), "serve", file], stdout=log, stderr=log)
        wait_for("the registry", self.answers, 30)

    def settings(self):
        settings = {
            "version": "0.1", "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": self.storage}},
            "http": {"addr": f"127.0.0.1:{self.port}"},
        }
        if self.authority:
            settings["http"]["tls"] = {"certificate": self.authority.certificate, "key": self.authority.key}
        if self.sign_in == "basic":
            users = os.path.join(self.directory, "users")
            with open(users, "w") as out:
                out.write(f"{USER}:{hashed(PASSWORD)}\n")
            settings["auth"] = {"htpasswd": {"realm": "the tests", "path": users}}
        if self.sign_in == "bearer":
            settings["auth"] = {"token": {
                "realm": self.tokens.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": self.authority.file,
            }}
        return settings

    def answers(self):
        try:
            return self.ask("GET", "/v2/")[0] == 200
        except OSError:
            return False

    def ask(self, method, target, body=None, kind="application/octet-stream"):
        if self.authority:
            context = ssl.create_default_context(cafile=self.authority.file)
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": kind}
        if self.sign_in == "basic":
            headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.sign_in == "bearer":
            headers["Authorization"] = "Bearer " + self.tokens.token()
        connection.request(method, target, body=body, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Location")

    def push(self, tag, blobs, manifest):
        """Fills the repository; what to import, but for the port's host."""
        name = "team/tiny"
        for each, data in blobs.items():
            status, place = self.ask("POST", f"/v2/{name}/blobs/uploads/", b"")
            assert status == 202, status
            place = place.split(str(self.port), 1)[1]
            status, _ = self.ask("PUT", f"{place}&digest={each}", data)
            assert status == 201, status
        status, _ = self.ask("PUT", f"/v2/{name}/manifests/{tag}", manifest, MANIFEST)
        assert status == 201, status
        return f"127.0.0.1:{self.port}/{name}:{tag}"

    def spoil(self, name):
        """Changes one byte of a blob."""
        path = os.path.join(self.storage, "docker/registry/v2/blobs/sha256", name[7:9], name[7:], "data")
        with open(path, "r+b") as file:
            data = bytearray(file.read())
            data[len(data) // 2] ^= 1
            file.seek(0)
            file.write(data)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        if self.tokens:
            self.tokens.stop()
