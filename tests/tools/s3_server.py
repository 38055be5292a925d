#!/usr/bin/env python3
"""A small S3 service in memory, for tests of src/serve/s3_blobs.cpp. Usage: s3_server.py REGION ACCESS_KEY SECRET_KEY

Prints its port and serves one bucket on loopback. Signatures are checked with AWS's own implementation (botocore). It
misbehaves on request: POST /faults with a JSON list of what is to happen to the next requests, each "ok", "drop" (the
connection ends without an answer), "cut" (half of the body), "wrong" (other bytes) or a status. GET /log answers what
was asked so far.
"""
import hashlib
import http.server
import json
import sys

import botocore.auth
import botocore.awsrequest
import botocore.credentials

REGION, ACCESS_KEY, SECRET_KEY = sys.argv[1:4]
objects, faults, log = {}, [], []


def expected_signature(request, body):
    """The signature AWS's client would have made of what arrived, by the headers it says it signed."""
    fields = dict(part.strip().split("=", 1) for part in request.headers["Authorization"].split(" ", 1)[1].split(","))
    signed = fields["SignedHeaders"].split(";")
    if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(signed):
        return None, fields["Signature"]
    ours = botocore.awsrequest.AWSRequest(
        method=request.command, url="http://" + request.headers["Host"] + request.path, data=body,
        headers={name: request.headers[name] for name in signed})
    ours.context["timestamp"] = request.headers["x-amz-date"]
    auth = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
    text = auth.string_to_sign(ours, auth.canonical_request(ours))
    return auth.signature(text, ours), fields["Signature"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def permitted(self, body):
        if "Authorization" not in self.headers:
            return False
        if self.headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
            return False
        expected, given = expected_signature(self, body)
        return expected == given

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/faults":
            faults[:] = json.loads(body)
            return self.answer(204)
        if self.path == "/log":
            return self.answer(200, json.dumps(log).encode())
        log.append(f"{self.command} {self.path}")
        fault = faults.pop(0) if faults else "ok"
        if fault == "drop":
            self.close_connection = True
            return None
        if isinstance(fault, int):
            return self.answer(fault)
        if not self.permitted(body):
            return self.answer(403)
        return self.store(body, fault)

    def store(self, body, fault):
        if self.command == "PUT":
            objects[self.path] = body
            return self.answer(200)
        if self.command == "DELETE":
            objects.pop(self.path, None)
            return self.answer(204)
        if self.path not in objects:
            return self.answer(404)
        found = objects[self.path]
        if fault == "cut":
            self.answer(200, found[: len(found) // 2], len(found))
            self.close_connection = True
            return None
        return self.answer(200, found[::-1] if fault == "wrong" else found)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = serve


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"port {server.server_address[1]}", file=sys.stderr, flush=True)
server.serve_forever()
