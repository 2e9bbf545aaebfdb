"""A receiver of signed pushes, with the verification that the reference describes."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Push:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.body = method, path, body
        self.headers = {name.lower(): value for name, value in headers.items()}

    def verify(self, pem):
        """Whether the certificate's key made the signature. Raises when not."""
        # A library the official SDK depends on, so it is there.
        from Crypto.Hash import SHA1
        from Crypto.PublicKey import RSA
        from Crypto.Signature import pkcs1_15

        names = sorted(name for name in self.headers if name.startswith("x-mns-"))
        lines = [self.method, self.headers["content-md5"], self.headers["content-type"], self.headers["date"]]
        lines += [f"{name}:{self.headers[name]}" for name in names]
        text = "\n".join([*lines, self.path])
        signature = base64.b64decode(self.headers["authorization"])
        pkcs1_15.new(RSA.import_key(pem)).verify(SHA1.new(text.encode()), signature)


class Receiver:
    """Takes pushes on a free port; refuses the first few."""

    def __init__(self, fail_first=0):
        self.taken, self.refused = [], 0
        self.fail_first, self.lock = fail_first, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                push = Push("POST", self.path, dict(self.headers), body)
                with outer.lock:
                    refuse = outer.refused < outer.fail_first
                    outer.refused += refuse
                    if not refuse:
                        outer.taken.append(push)
                self.send_response(500 if refuse else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
