#!/usr/bin/env python3
"""A small hub that misbehaves on request: Hugging Face's and ModelScope's interfaces and plain files, on loopback. Left in
peace it serves huggingface_hub 2.4 (once it answers HEAD as GET) and modelscope_hub 0.5.1, too.

Usage: hub_server.py FOLDER [CERTIFICATE KEY]
FOLDER/script.json, read at every request, says what is served and which faults are made; FOLDER/log gets a line of JSON
for each request that ended; FOLDER/ready.json holds the ports once it listens. Faults ("kind") are below in answer().
"""
import gzip
import hashlib
import http.server
import json
import os
import pathlib
import re
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse

FOLDER = pathlib.Path(sys.argv[1])
LOCK = threading.Lock()
FAULT_COUNTS = {}
LAST_SCRIPT = None
PORTS = {}


def read_script():
    """The script, with the counters of its faults set back when it is a new one."""
    global LAST_SCRIPT
    text = (FOLDER / "script.json").read_text()
    with LOCK:
        if text != LAST_SCRIPT:
            LAST_SCRIPT = text
            FAULT_COUNTS.clear()
    return json.loads(text)


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def files_of(folder):
    root = pathlib.Path(folder)
    return {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hub"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            pass  # a client that was killed

    def do_GET(self):
        self.script = read_script()
        self.sent, self.status_sent, begun = 0, 0, time.monotonic()
        url = urllib.parse.urlsplit(self.path)
        self.where, self.query = urllib.parse.unquote(url.path), dict(urllib.parse.parse_qsl(url.query))
        try:
            self.route()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True
        finally:
            line = {"path": self.path, "host": self.headers.get("Host"), "to": self.connection.getsockname()[0],
                    "range": self.headers.get("Range"), "if_range": self.headers.get("If-Range"),
                    "authorization": self.headers.get("Authorization"), "cookie": self.headers.get("Cookie"),
                    "agent": self.headers.get("User-Agent"), "status": self.status_sent, "sent": self.sent,
                    "number": self.script.get("number"), "begun": begun, "ended": time.monotonic()}
            with LOCK, open(FOLDER / "log", "a") as log:
                log.write(json.dumps(line) + "\n")

    # -- what is asked for

    def route(self):
        fault = self.fault()
        if fault and fault["kind"] == "status":
            return self.reply(fault["status"], b"no", fault.get("headers", {}))
        if fault and fault["kind"] == "redirect":
            host = fault.get("host", "127.0.0.1:%d" % PORTS["port"]).replace("PORT", str(PORTS["port"]))
            return self.reply(302, b"", {"Location": "http://%s/moved%s" % (host, self.path)})
        self.where = self.where.removeprefix("/moved")
        token, moved = self.script.get("token"), self.path.startswith(("/moved", "/cdn"))
        bearer = self.headers.get("Authorization") == "Bearer %s" % token
        if token and not bearer and not moved:
            return self.reply(401, b"who?", {"X-Error-Message": "Invalid username or password."})
        if self.where.startswith("/plain/"):
            return self.plain(self.where[len("/plain/"):], fault)
        if self.where.startswith("/cdn/"):
            return self.answer(pathlib.Path(self.script["folder"]) / self.where[len("/cdn/"):], fault)
        for pattern, handler in ((r"/api/models/([^/]+/[^/]+)/revision/(.+)", self.hf_info),
                                 (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self.hf_tree),
                                 (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.hf_file),
                                 (r"/api/v1/models/([^/]+/[^/]+)/repo/files", self.ms_list),
                                 (r"/api/v1/models/([^/]+/[^/]+)/repo", self.ms_file)):
            match = re.fullmatch(pattern, self.where)
            if match:
                if match.group(1) != self.script.get("id"):
                    return self.reply(404, b"?", {"X-Error-Code": "RepoNotFound"})
                return handler(fault, *match.groups()[1:])
        self.reply(404, b"nothing here")

    def fault(self):
        """The first fault of the script that fits this request and is not used up."""
        for number, fault in enumerate(self.script.get("faults", [])):
            if not re.search(fault["path"], self.where) or fault.get("range", "") not in (self.headers.get("Range") or ""):
                continue
            with LOCK:
                count = FAULT_COUNTS.get(number, 0)
                FAULT_COUNTS[number] = count + 1
            if fault.get("skip", 0) <= count < fault.get("skip", 0) + fault.get("times", 10**9):
                return fault
        return None

    def hf_info(self, fault, revision):
        if revision not in (self.script.get("revision", "main"), self.script["commit"]):
            return self.reply(404, b"?", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        self.reply_json({"id": self.script["id"], "sha": self.script["commit"]})

    def hf_tree(self, fault, commit):
        if "raw_list" in self.script:
            return self.reply(200, self.script["raw_list"].encode())
        entries = []
        for name, path in files_of(self.script["folder"]).items():
            data = path.read_bytes()
            entry = {"type": "file", "path": name, "oid": git_sha1(data), "size": len(data)}
            if len(data) > self.script.get("lfs_bytes", 10000):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        entries.append({"type": "directory", "path": "big", "oid": "0" * 40, "size": 0})
        for name in self.script.get("extra_names", []):
            entries.append({"type": "file", "path": name, "oid": "0" * 40, "size": 1})
        for name, size in self.script.get("listed_sizes", {}).items():
            for entry in entries:
                if entry["path"] == name:
                    entry["size"] = size
                    entry.get("lfs", {})["size"] = size
        page, at = self.script.get("page", 1000), int(self.query.get("cursor", 0))
        headers = {}
        if at + page < len(entries):
            base = self.script.get("next_host", "")
            headers["Link"] = '<%s%s?recursive=true&cursor=%d>; rel="next"' % (base, self.where, at + page)
        self.reply_json(entries[at:at + page], headers)

    def hf_file(self, fault, commit, name):
        path = pathlib.Path(self.script["folder"]) / name
        if commit != self.script["commit"] or not path.is_file():
            return self.reply(404, b"?", {"X-Error-Code": "EntryNotFound"})
        data = path.read_bytes()
        headers = {"X-Repo-Commit": self.script.get("told_commit", commit)}
        if len(data) <= self.script.get("lfs_bytes", 10000):
            return self.answer(path, fault, headers | {"ETag": '"%s"' % git_sha1(data)})
        digest = self.script.get("told_sha256", hashlib.sha256(data).hexdigest())
        headers |= {"X-Linked-Etag": '"%s"' % digest, "X-Linked-Size": str(len(data))}
        if self.script.get("cdn"):
            headers["Location"] = "http://%s:%d/cdn/%s" % (self.script["cdn"], PORTS["port"], name)
            return self.reply(302, b"", headers)
        self.answer(path, fault, headers)

    def ms_list(self, fault):
        files = [{"Type": "tree", "Path": "big", "Name": "big", "Size": 0, "Sha256": ""}]
        for name, path in files_of(self.script["folder"]).items():
            data = path.read_bytes()
            files.append({"Type": "blob", "Path": name, "Name": path.name, "Size": len(data),
                          "Sha256": hashlib.sha256(data).hexdigest()})
        if self.query.get("Revision") != "master":
            return self.reply_json({"Code": 10010205001, "Success": False, "Message": "no such revision", "Data": None})
        files *= self.script.get("list_times", 1)
        self.reply_json({"Code": 200, "Success": True, "Message": "success", "Data": {"Files": files}})

    def ms_file(self, fault):
        self.answer(pathlib.Path(self.script["folder"]) / self.query["FilePath"], fault)

    def plain(self, name, fault):
        path = pathlib.Path(self.script["folder"]) / name
        if not path.is_file():
            return self.reply(404, b"not here")
        headers = {}
        if self.script.get("validators", True):
            headers["ETag"] = '"%s"' % hashlib.md5(path.read_bytes()).hexdigest()
        self.answer(path, fault, headers)

    # -- how it is answered

    def reply(self, status, body, headers=()):
        self.status_sent = status
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.sent += len(body)

    def reply_json(self, value, headers=()):
        self.reply(200, json.dumps(value).encode(), headers)

    def answer(self, path, fault, headers=()):
        """A file or the range of it that is asked for, with a fault: drop, short, long, length, wrong, ignore_range,
        wrong_range, stall, slow, gzip, swap, no_length, headers."""
        kind = fault["kind"] if fault else ""
        data = pathlib.Path(fault["file"] if kind == "swap" else path).read_bytes()
        headers = dict(headers)
        if kind == "swap":
            headers["ETag"] = '"%s"' % hashlib.md5(data).hexdigest()
        if kind == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if kind == "headers":
            headers |= {"X-Flood-%d" % i: "x" * 1000 for i in range(100)}
        if kind == "gzip":
            data, headers["Content-Encoding"] = gzip.compress(data), "gzip"
        begin, end, status = 0, len(data), 200
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if_range = self.headers.get("If-Range")
        if match and kind != "ignore_range" and if_range in (None, headers.get("ETag")):
            begin, end, status = int(match.group(1)), min(int(match.group(2)) + 1, len(data)), 206
            if begin >= len(data):
                return self.reply(416, b"", {"Content-Range": "bytes */%d" % len(data)})
            told = begin + (1 if kind == "wrong_range" else 0)
            headers["Content-Range"] = "bytes %d-%d/%d" % (told, end - 1, len(data))
        body = data[begin:end]
        self.status_sent = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if kind in ("long", "no_length"):
            self.send_header("Connection", "close")
            self.close_connection = True
            body += b"x" * 1000 if kind == "long" else b""
        else:
            self.send_header("Content-Length", str(len(body) + (fault["by"] if kind == "length" else 0)))
        self.end_headers()
        self.send_body(body, kind, fault or {})

    def send_body(self, body, kind, fault):
        after = fault.get("after", len(body))
        rate, block = fault.get("rate", 0), 16384
        for at in range(0, min(after, len(body)), block):
            piece = body[at:min(at + block, after)]
            self.wfile.write(piece)
            self.wfile.flush()
            self.sent += len(piece)
            if kind == "slow":
                time.sleep(len(piece) / rate)
        if kind == "drop":
            self.close_connection = True
            if not isinstance(self.connection, ssl.SSLSocket):  # a reset, as when a machine goes away
                time.sleep(0.05)  # what is under way arrives first
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if kind == "short":
            self.close_connection = True
        if kind == "stall":
            release = FOLDER / "release"
            until = time.monotonic() + fault.get("seconds", 20)
            while time.monotonic() < until and not release.exists():
                time.sleep(0.02)
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


def serve(address, port, certificate=None):
    server = Server((address, port), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    PORTS["port"] = serve("127.0.0.1", 0)
    serve("127.0.0.2", PORTS["port"])  # the same under another name: another host
    if len(sys.argv) > 3:
        PORTS["tls_port"] = serve("127.0.0.1", 0, sys.argv[2:4])
    (FOLDER / "ready.json.part").write_text(json.dumps(PORTS))
    os.rename(FOLDER / "ready.json.part", FOLDER / "ready.json")
    parent = os.getppid()
    while os.getppid() == parent:  # not longer than the test that started it
        time.sleep(0.2)


main()
