"""The real program as a process, for tests that speak to it as its clients do. Run by ctest (serve_clients)."""
import base64
import http.client
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time
import zlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(os.environ.get("GLM_IMAGE_PROGRAM", ROOT / "build" / "glm-image"))
CHECKPOINT = ROOT / "tests" / "golden" / "tiny_a" / "checkpoint"
SOAK = os.environ.get("GLM_IMAGE_SOAK") == "1"


def png(width=64, height=64, colour=(200, 30, 30), declared=None):
    """A PNG picture of one colour; `declared`: another size in its header."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    size = declared or (width, height)
    rows = b"".join(b"\0" + bytes(colour) * width for _ in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def data_url(picture):
    return "data:image/png;base64," + base64.b64encode(picture).decode()


class Reply:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """`glm-image serve` on a free port, with a data folder that outlives it."""

    def __init__(self, folder, *options, steps=2):
        self.folder, self.options, self.steps = folder, options, steps
        self.process = None

    def start(self):
        environment = dict(os.environ, GLM_IMAGE_DATA=str(self.folder / "data"), OMP_NUM_THREADS="1",
                           GLM_IMAGE_DEVICE_LIBRARY="")
        return self.run([PROGRAM, "serve", "--model", CHECKPOINT, "--port", "0", "--threads", "1", "--steps",
                         str(self.steps), "--quiet", *self.options], environment)

    def run(self, command, environment):
        self.log_file = open(self.folder / f"log-{time.monotonic_ns()}", "w+b")
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=self.log_file)
        self.port = self.wait_for_line("listening")["port"]
        return self

    def lines(self):
        out = []
        for line in pathlib.Path(self.log_file.name).read_text().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                out.append(json.loads(line))
        return out

    def log_text(self):
        return pathlib.Path(self.log_file.name).read_text()

    def wait_for_line(self, event, limit=60):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            for line in self.lines():
                if line["event"] == event:
                    return line
            assert self.process.poll() is None, self.log_text()
            time.sleep(0.02)
        raise AssertionError(f"no '{event}' in the log: {self.log_text()}")

    def ask(self, method, path, body=None, headers=None, limit=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=limit)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def raw(self, data, limit=20):
        """Sends bytes as they are and returns all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=limit) as peer:
            try:
                peer.sendall(data)
                return read_all(peer)
            except (ConnectionResetError, BrokenPipeError):
                return b""

    def wait_for_job(self, job, limit=60, headers=None):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            value = self.ask("GET", f"/v1/jobs/{job}", headers=headers).json
            if value["state"] in ("done", "failed", "cancelled"):
                return value
            time.sleep(0.05)
        raise AssertionError(f"the job did not end: {value}")

    def send_signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def alive(self):
        return self.process.poll() is None


def read_all(peer):
    out = b""
    while True:
        piece = peer.recv(65536)
        if not piece:
            return out
        out += piece


def events_of(text):
    """Server-sent events as (id, name, data)."""
    out = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            out.append((fields.get("id"), fields.get("event"), json.loads(fields["data"])))
    return out


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("server")).start()
    yield one
    assert one.alive(), one.log_text()
    one.kill()


@pytest.fixture
def start(tmp_path):
    """Starts servers of its own for one test."""
    servers = []

    def begin(*options, folder=tmp_path, **settings):
        servers.append(Server(folder, *options, **settings))
        return servers[-1].start()
    yield begin
    for one in servers:
        one.kill()
