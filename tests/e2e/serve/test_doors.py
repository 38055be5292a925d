"""What strangers may do: keys, limits, malformed requests, slow clients, browsers, TLS."""
import http.client
import os
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import PROGRAM, SOAK, png, read_all
from malformed import attack

DRAW = "/v1/images/generations"
SMALL = {"prompt": "a fox", "size": "64x64"}


def keys(folder, *arguments):
    environment = dict(os.environ, GLM_IMAGE_DATA=str(folder / "data"))
    return subprocess.run([PROGRAM, "keys", *arguments], env=environment, check=True, capture_output=True,
                          text=True).stdout.strip()


def bearer(secret):
    return {"Authorization": "Bearer " + secret}


def test_keys(start, tmp_path):
    one, other = keys(tmp_path, "add", "one"), keys(tmp_path, "add", "other", "--requests-per-minute", "2")
    server = start()
    for headers in ({}, bearer("gi_wrong"), {"Authorization": one}, {"Authorization": "Basic " + one}):
        for method, path in (("POST", DRAW), ("GET", "/v1/jobs"), ("GET", "/v1/models"), ("GET", "/metrics")):
            reply = server.ask(method, path, None, headers)
            assert reply.status == 401 and reply.headers["WWW-Authenticate"] == "Bearer", (path, headers)
            assert reply.json["error"]["type"] == "authentication_error"
    assert server.ask("POST", "/api/paas/v4/images/generations", {}).json["error"]["code"] == "1000"
    assert server.ask("GET", "/healthz").status == 200
    reply = server.ask("POST", DRAW, {**SMALL, "response_format": "url"}, bearer(one))
    assert reply.status == 200
    # Jobs are their owner's, a picture's URL is for whoever has it.
    job = reply.headers["X-Job-Id"]
    assert server.ask("GET", f"/v1/jobs/{job}", headers=bearer(one)).status == 200
    assert server.ask("GET", f"/v1/jobs/{job}", headers=bearer(other)).status == 404
    assert server.ask("GET", reply.json["data"][0]["url"].split(str(server.port))[1]).status == 200
    # The other key has one request left in this minute; a minute may end meanwhile.
    statuses = [server.ask("GET", "/v1/models", headers=bearer(other)) for _ in range(5)]
    assert statuses[-1].status == 429 and 1 <= int(statuses[-1].headers["Retry-After"]) <= 60
    keys(tmp_path, "revoke", "one")
    assert server.ask("GET", "/v1/models", headers=bearer(one)).status == 401
    assert one not in server.log_text() and other not in server.log_text()


def test_public_address_needs_a_key(tmp_path):
    result = subprocess.run([PROGRAM, "serve", "--address", "0.0.0.0", "--port", "0"], capture_output=True, text=True,
                            env=dict(os.environ, GLM_IMAGE_DATA=str(tmp_path)), timeout=60)
    assert result.returncode == 2 and "glm-image keys add" in result.stderr


def test_bad_options(tmp_path):
    def fails(code, *options):
        result = subprocess.run([PROGRAM, "serve", *options], capture_output=True, text=True,
                                env=dict(os.environ, GLM_IMAGE_DATA=str(tmp_path)), timeout=60)
        assert result.returncode == code, result.stderr
        return result.stderr
    assert "example.com" in fails(2, "--address", "example.com")
    assert "both" in fails(2, "--tls-certificate", "a.pem")
    assert "a.pem" in fails(2, "--tls-certificate", "a.pem", "--tls-key", "b.pem")
    assert "--max-body" in fails(2, "--max-body", "much")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot listen" in fails(1, "--port", str(taken.getsockname()[1]))


def test_prompts_stay_out_of_the_log_unless_asked(start, tmp_path):
    quiet = start()
    quiet.ask("POST", DRAW, {**SMALL, "prompt": "a secret garden"}, {"X-Job": "1"})
    quiet.ask("GET", "/v1/jobs?search=garden")
    assert "garden" not in quiet.log_text()
    requests = [line for line in quiet.lines() if line["event"] == "request"]
    assert [r["route"] for r in requests] == [DRAW, "/v1/jobs"] and all(r["request_id"] for r in requests)
    loud = start("--log-prompts")
    loud.ask("POST", DRAW, {**SMALL, "prompt": "a secret garden"})
    assert "a secret garden" in loud.log_text()


def test_health_and_metrics(server):
    assert server.ask("GET", "/healthz").json == {"status": "ok"}
    assert server.ask("GET", "/readyz").json == {"status": "ready"}
    server.ask("POST", DRAW, SMALL)
    text = server.ask("GET", "/metrics").body.decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["glm_image_pictures_total"]) >= 1
    assert float(values['glm_image_jobs{state="done"}']) >= 1
    assert float(values['glm_image_stage_seconds_total{stage="denoise"}']) > 0
    assert float(values["glm_image_visual_tokens_per_second"]) > 0
    assert float(values["glm_image_peak_resident_bytes"]) > 1e6
    assert f'glm_image_http_requests_total{{method="POST",route="{DRAW}",status="200"}}' in values


def test_headers(server):
    reply = server.ask("GET", "/v1/models")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert reply.headers["X-Request-Id"].startswith("req_")
    assert "Access-Control-Allow-Origin" not in reply.headers
    head = server.ask("HEAD", "/v1/models")
    assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == str(len(reply.body))
    reply = server.ask("PUT", "/v1/models")
    assert reply.status == 405 and "GET" in reply.headers["Allow"]
    assert server.ask("GET", "/v1/nothing").status == 404


def test_pages_of_other_sites_cannot_ask(server):
    # A form or a script of any page reaches 127.0.0.1; a name that was made to point here too.
    assert server.ask("POST", DRAW, SMALL, {"Origin": "https://evil.example"}).status == 403
    assert server.ask("POST", DRAW, SMALL, {"Origin": "null"}).status == 403
    assert server.ask("POST", DRAW, SMALL, {"Host": "evil.example"}).status == 421
    own = f"127.0.0.1:{server.port}"
    assert server.ask("POST", DRAW, SMALL, {"Host": own, "Origin": "http://" + own}).status == 200


def test_cors_where_asked_for(start):
    server = start("--origin", "https://studio.example", "--host-name", "pictures.example")
    asked = {"Origin": "https://studio.example", "Host": "pictures.example",
             "Access-Control-Request-Method": "POST"}
    reply = server.ask("OPTIONS", DRAW, headers=asked)
    assert reply.status == 204 and reply.headers["Access-Control-Allow-Origin"] == "https://studio.example"
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    assert server.ask("POST", DRAW, SMALL, asked).headers["Access-Control-Allow-Origin"] == "https://studio.example"
    assert server.ask("OPTIONS", DRAW, headers={**asked, "Origin": "https://evil.example"}).status == 403


def request(head, body=b""):
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("data, status", [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60, b"400"),
    (b"GET\r\n\r\n", b"400"),
    (b"GET / HTTP/9.9\r\n\r\n", b"505"),
    (request("GET /%zz HTTP/1.1\nHost: localhost"), b"400"),
    (request("GET /%00 HTTP/1.1\nHost: localhost"), b"400"),
    (request("GET http://localhost/ HTTP/1.1\nHost: localhost"), b"400"),
    (request("GET / HTTP/1.1\nHost: localhost\nA: " + "x" * 20000), b"431"),
    (request("GET / HTTP/1.1\nHost: localhost" + "\nA: b" * 5000), b"431"),
    (request("GET /" + "x" * 20000 + " HTTP/1.1\nHost: localhost"), b"431"),
    (request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nContent-Length: -5"), b"400"),
    (request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nContent-Length: 5\nContent-Length: 6"), b"400"),
    (request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nContent-Length: 99999999999999"), b"413"),
    (request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nContent-Length: 4\nTransfer-Encoding: chunked", b"0\r\n\r\n"), b"400"),
    (request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked", b"zz\r\n"), b"400"),
    (request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nContent-Length: 2", b"{]"), b"400"),
    (request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nContent-Length: 100000", b"[" * 100000), b"400"),
    (request("GET /healthz HTTP/1.1\nHost: localhost\nContent-Length: 5", b"hello"), b"413"),
    (request("GET /healthz HTTP/1.0"), b"200"),
])
def test_malformed(server, data, status):
    answer = server.raw(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    assert answer.split(b" ")[1] == status, answer[:200]
    assert server.ask("GET", "/healthz").status == 200


def test_chunked_body_over_the_limit(server):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked")
    assert b" 413 " in server.raw(head + chunk * 40)


def test_oversize_pictures(start):
    server = start("--max-body", "1MB", "--max-picture", "10KB")
    def edit(size):
        form = (b"--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nx\r\n--b\r\nContent-Disposition: "
                b"form-data; name=\"image\"; filename=\"a\"\r\n\r\n" + b"x" * size + b"\r\n--b--\r\n")
        return server.ask("POST", "/v1/images/edits", form, {"Content-Type": "multipart/form-data; boundary=b"})
    assert edit(20_000).json["error"]["code"] == "image_too_large"
    assert edit(20_000).status == 413
    assert edit(2_000_000).status == 413


def test_expect_continue(server):
    body = b'{"prompt":"a fox","size":"64x64"}'
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as peer:
        peer.sendall(request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nExpect: 100-continue\nContent-Length: {len(body)}"))
        assert peer.recv(100).startswith(b"HTTP/1.1 100")
        peer.sendall(body)
        assert peer.recv(100).startswith(b"HTTP/1.1 200")
        read_all(peer)
        peer.close()
    refused = server.raw(request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nExpect: 100-continue\nContent-Length: 9999999"))
    assert refused.startswith(b"HTTP/1.1 413")


def test_pipelined_requests(server):
    one = request("GET /healthz HTTP/1.1\nHost: localhost")
    last = request("GET /healthz HTTP/1.1\nHost: localhost\nConnection: close")
    assert server.raw(one * 20 + last).count(b"HTTP/1.1 200") == 21


def test_malformed_requests(server):
    """Random changes of good requests: the server answers or hangs up, and lives."""
    answers = attack(server.port, 10_000 if SOAK else 400)
    assert answers.get(400, 0) > 20 and answers.get(None, 0) < sum(answers.values()) / 2, answers
    assert server.ask("GET", "/healthz").status == 200
    assert server.ask("POST", DRAW, SMALL).status == 200


def test_slow_clients_block_nobody(start):
    server = start("--connections", "400")
    slow = []
    try:
        for k in range(300):
            peer = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " if k % 2 else
                         request(f"POST {DRAW} HTTP/1.1\nHost: localhost\nContent-Length: 500000", b"{"))
            slow.append(peer)
        for _ in range(20):
            began = time.monotonic()
            assert server.ask("GET", "/healthz").status == 200
            assert time.monotonic() - began < 1
        assert server.ask("POST", DRAW, SMALL).status == 200
        if SOAK:  # a byte a second does not help: the header has a deadline as a whole
            end = time.monotonic() + 14
            while time.monotonic() < end:
                for peer in slow[1::2]:
                    try:
                        peer.send(b"x")
                    except OSError:
                        pass
                time.sleep(1)
            slow[1].settimeout(5)
            answer = slow[1].recv(4096)
            assert answer == b"" or b" 408 " in answer
    finally:
        for peer in slow:
            peer.close()


def test_too_many_connections(start):
    server = start("--connections", "10")
    peers = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(30)]
    time.sleep(0.3)
    refused = 0
    for peer in peers:
        peer.settimeout(0.05)
        try:
            refused += b" 503 " in peer.recv(200)
        except TimeoutError:
            pass
    assert refused == 20
    for peer in peers:
        peer.close()
    time.sleep(0.2)
    assert server.ask("GET", "/healthz").status == 200


def test_many_listeners(server):
    job = server.ask("POST", "/v1/jobs", {**SMALL, "size": "256x256", "num_inference_steps": 60}).json["id"]
    ends, threads = [], []

    def listen():
        ends.append(server.ask("GET", f"/v1/jobs/{job}/events").body.rstrip().endswith(b"}"))
    for _ in range(100):
        threads.append(threading.Thread(target=listen))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert ends == [True] * 100
    assert server.wait_for_job(job)["state"] == "done"


def test_tls(start, tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    server = start("--tls-certificate", certificate, "--tls-key", key)
    context = ssl.create_default_context(cafile=certificate)
    connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=30)
    for _ in range(3):  # one connection, kept
        connection.request("GET", "/v1/models")
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read() and answer.headers["Strict-Transport-Security"]
    connection.request("POST", DRAW, '{"prompt":"a fox","size":"64x64","response_format":"url"}')
    assert b'"url":"https://localhost:' in connection.getresponse().read()
    assert server.raw(request("GET /healthz HTTP/1.1\nHost: localhost")) [:4] != b"HTTP"
