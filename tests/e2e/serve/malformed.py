"""Requests that are no good: valid ones of every kind, changed at random. Used by test_doors.py and test_sanitized.py."""
import json
import random
import socket
import threading

from conftest import data_url, png, read_all

DELIMITER = b"----b"
# What breaks parsers: ends of numbers, of lines, of texts.
NASTY = [b"\x00", b"\r\n", b"\n", b"\r\n\r\n", b":", b"%00", b"%", b"\xff\xfe", b"\xc3\x28", b"-1", b"1e999", b"99999999999999999999",
         b"null", b"[[[[", b"{", b"}", b'"', b"\\u0000", b"\\ud800", b"--" + DELIMITER, b"--" + DELIMITER + b"--",
         b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"data:image/png;base64,"]


def message(line, body=b"", *fields):
    head = [line, b"Host: localhost", b"Connection: close", *fields]
    if body and not any(field.startswith(b"Transfer") for field in fields):
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(body, chance):
    """The body in pieces of any length."""
    out = b""
    while body:
        size = chance.randint(1, 40)
        out += b"%x\r\n%s\r\n" % (len(body[:size]), body[:size])
        body = body[size:]
    return out + b"0\r\n\r\n"


def form(fields):
    out = b""
    for name, content in fields:
        out += b'--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n' % (DELIMITER, name, content)
    return out + b"--" + DELIMITER + b"--\r\n"


def good_requests(chance):
    """Every kind of request, none of which draws for long."""
    draw = json.dumps({"prompt": "a fox", "n": 1, "size": "64x64", "num_inference_steps": 1, "seed": 7,
                       "output_format": "webp", "output_compression": 10, "lora": "none of these"}).encode()
    edit = json.dumps({"prompt": "x", "images": [{"image_url": data_url(png(8, 8))}], "stream": 1}).encode()
    zai = json.dumps({"model": "glm-image", "prompt": "x", "size": "12x12", "user_id": "123456"}).encode()
    parts = form([(b'name="prompt"', b"x"), (b'name="n"', b"11"), (b'name="image[]"; filename="a.png"', png(8, 8))])
    kind = b"Content-Type: multipart/form-data; boundary=" + DELIMITER
    as_json = b"Content-Type: application/json"
    post = b"POST %s HTTP/1.1"
    return [
        message(b"GET /v1/jobs?limit=3&search=%41&before=x HTTP/1.1"),
        message(b"GET /v1/jobs/0190b5a0-0000-7000-8000-000000000000/events HTTP/1.1", b"", b"Last-Event-ID: 3"),
        message(b"GET /pictures/0190b5a0-0000-7000-8000-000000000000/0.png HTTP/1.1"),
        message(b"DELETE /v1/jobs/x HTTP/1.1", b"", b"Authorization: Bearer gi_x"),
        message(b"OPTIONS /v1/jobs HTTP/1.1", b"", b"Origin: http://localhost", b"Access-Control-Request-Method: POST"),
        message(post % b"/v1/images/generations", draw, as_json),
        message(post % b"/v1/images/generations", chunked(draw, chance), as_json, b"Transfer-Encoding: chunked"),
        message(post % b"/v1/images/edits", edit, as_json),
        message(post % b"/v1/images/edits", parts, kind),
        message(post % b"/v1/jobs", chunked(parts, chance), kind, b"Transfer-Encoding: chunked"),
        message(post % b"/v1/jobs", draw, as_json, b"Idempotency-Key: k"),
        message(post % b"/api/paas/v4/async/images/generations", zai, as_json),
    ]


def mutated(data, chance):
    """1 to 6 changes: bytes, pieces cut out, repeated or put in, the end cut off, a wrong length."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data))
        kind = chance.randrange(7)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at:at + chance.randint(1, 30)]
        elif kind == 2:
            data[at:at] = data[at:at + chance.randint(1, 60)] * chance.choice([1, 1, 50])
        elif kind == 3:
            data[at:at] = chance.choice(NASTY)
        elif kind == 4:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 5 and chance.random() < 0.3:
            del data[at:]
        else:
            length = data.find(b"Content-Length: ")
            if length >= 0:
                end = data.find(b"\r\n", length)
                data[length + 16:end] = chance.choice([b"0", b"1", b"-1", b"%d" % len(data), b"18446744073709551616", b"0x1", b"1 1"])
        data = data or bytearray(b"x")
    return bytes(data)


def send(port, data, limit):
    """What comes back when the bytes are sent and nothing more. An answer that does not come fails the test."""
    with socket.create_connection(("127.0.0.1", port), timeout=limit) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            return read_all(peer)
        except TimeoutError:
            raise AssertionError(f"the server neither answers nor hangs up: {data!r}") from None
        except OSError:  # it hung up
            return b""


def attack(port, count, seed=7, threads=4, limit=60):
    """Sends `count` requests. Returns how many were answered, by status, None for those it hung up on."""
    answers, faults, lock = {}, [], threading.Lock()

    def work(number):
        chance = random.Random(f"{seed}/{number}")
        for _ in range(count // threads):
            data = mutated(chance.choice(good_requests(chance)), chance)
            try:
                answer = send(port, data, limit)
            except (AssertionError, OSError) as error:
                faults.append(error)
                return
            status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else None
            with lock:
                answers[status] = answers.get(status, 0) + 1
    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not faults, faults[0]
    return answers
