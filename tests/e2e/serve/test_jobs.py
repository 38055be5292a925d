"""Our own /v1/jobs, idempotency keys, and Z.ai's API."""
import http.client
import json
import threading

import pytest

from conftest import data_url, events_of, png

SMALL = {"prompt": "a fox", "size": "64x64"}


def begin(server, headers=None, **fields):
    reply = server.ask("POST", "/v1/jobs", {**SMALL, **fields}, headers)
    assert reply.status == 202, reply.body
    assert reply.headers["Location"] == "/v1/jobs/" + reply.json["id"]
    return reply.json


def test_life_of_a_job(server):
    job = begin(server, seed=5, n=2)
    assert job["state"] in ("queued", "running", "done") and job["request"]["seed"] == 5
    done = server.wait_for_job(job["id"])
    assert done["state"] == "done" and [p["seed"] for p in done["pictures"]] == [5, 6]
    assert done["created"] <= done["started"] <= done["finished"]
    picture = server.ask("GET", done["pictures"][1]["url"].split(str(server.port))[1])
    assert picture.status == 200 and len(picture.body) == done["pictures"][1]["bytes"]
    assert server.ask("DELETE", f"/v1/jobs/{job['id']}").status == 204
    assert server.ask("GET", f"/v1/jobs/{job['id']}").status == 404
    assert server.ask("GET", f"/pictures/{job['id']}/0.png").status == 404


def test_list_has_pages_search_and_states(server):
    ids = [begin(server, prompt=f"a zebra number {k}")["id"] for k in range(5)]
    for job in ids:
        server.wait_for_job(job)
    first = server.ask("GET", "/v1/jobs?limit=2&search=ZEBRA&state=done").json
    assert [job["id"] for job in first["data"]] == ids[:2:-1] and first["has_more"]
    second = server.ask("GET", f"/v1/jobs?limit=9&search=zebra&before={first['next']}").json
    assert [job["id"] for job in second["data"]] == ids[2::-1] and not second["has_more"]
    for query in ("limit=0", "limit=x", "state=happy", "colour=red"):
        assert server.ask("GET", "/v1/jobs?" + query).status == 400, query


def test_events(server):
    job = begin(server, n=2, partial_images=1)
    told = events_of(server.ask("GET", f"/v1/jobs/{job['id']}/events").body.decode())
    names = [name for _, name, _ in told]
    assert names.count("picture") == 2 and names[-1] == "state"
    last_id, _, last = told[-1]
    assert last_id == "end" and last["state"] == "done" and len(last["job"]["pictures"]) == 2
    assert server.ask("GET", f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": last_id}).status == 204
    # Who comes back after the first picture is told of the second only.
    first = next(i for i, name, _ in told if name == "picture")
    again = events_of(server.ask("GET", f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": first}).body.decode())
    assert [data["index"] for _, name, data in again if name == "picture"] == [1]


def test_cancel_reaches_a_running_job(server):
    slow = begin(server, size="512x512", num_inference_steps=200, n=10)
    behind = begin(server)
    assert server.ask("POST", f"/v1/jobs/{behind['id']}/cancel").json["state"] == "cancelled"
    server.ask("DELETE", f"/v1/jobs/{slow['id']}")
    assert server.wait_for_job(slow["id"], 10)["state"] == "cancelled"
    assert server.ask("POST", "/v1/jobs/no-such-job/cancel").status == 404


def test_client_that_leaves_cancels_its_job(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    body = {**SMALL, "size": "512x512", "num_inference_steps": 200, "n": 10, "prompt": "left alone"}
    connection.request("POST", "/v1/images/generations", json.dumps(body), {"Content-Type": "application/json"})
    while not (jobs := server.ask("GET", "/v1/jobs?search=left+alone").json["data"]):
        pass
    connection.close()
    assert server.wait_for_job(jobs[0]["id"], 10)["state"] == "cancelled"
    assert any(line["event"] == "request" and line["status"] == 499 for line in server.lines())


def test_idempotency(server):
    headers = {"Idempotency-Key": "order 66"}
    replies = []

    def ask():
        replies.append(server.ask("POST", "/v1/images/generations", SMALL, headers))
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {r.status for r in replies} == {200}
    assert len({r.headers["X-Job-Id"] for r in replies}) == 1 and len({r.body for r in replies}) == 1
    other = server.ask("POST", "/v1/images/generations", {**SMALL, "prompt": "a wolf"}, headers)
    assert other.status == 409 and other.json["error"]["code"] == "idempotency_key_reused"
    assert other.headers["X-Should-Retry"] == "false"


def test_full_queue(start):
    server = start("--max-queue", "2")
    begin(server, size="512x512", num_inference_steps=200, n=10)
    refused = None
    for _ in range(4):
        reply = server.ask("POST", "/v1/jobs", SMALL)
        if reply.status == 429:
            refused = reply
    assert refused and int(refused.headers["Retry-After"]) >= 1
    assert refused.json["error"]["type"] == "rate_limit_error"


ZAI = "/api/paas/v4/images/generations"


def test_zai(server):
    reply = server.ask("POST", ZAI, {"model": "glm-image", "prompt": "a fox", "size": "64x64", "quality": "hd"})
    assert reply.status == 200 and reply.json["created"] > 1.6e9
    path = reply.json["data"][0]["url"].split(str(server.port))[1]
    assert server.ask("GET", path).body.startswith(b"\x89PNG")


def test_zai_watermark(server):
    """A mark that people see, by default; without it, the same picture and the label in the file alone."""
    def draw(**more):
        body = {"model": "glm-image", "prompt": "a fox", "size": "256x256", "seed": 3, **more}
        url = server.ask("POST", ZAI, body).json["data"][0]["url"]
        return server.ask("GET", url.split(str(server.port))[1]).body
    marked, plain = draw(), draw(watermark_enabled=False)
    assert b"AIGC" in marked and b"AIGC" in plain and marked != plain
    assert b'"label":"visible"' in marked.replace(b" ", b"") and b'"label":"hidden"' in plain.replace(b" ", b"")


def test_zai_async(server):
    task = server.ask("POST", ZAI.replace("v4/", "v4/async/"),
                      {"model": "glm-image", "prompt": "a fox", "size": "64x64", "request_id": "mine-1"}).json
    assert task["request_id"] == "mine-1" and task["task_status"] == "PROCESSING"
    server.wait_for_job(task["id"])
    result = server.ask("GET", "/api/paas/v4/async-result/" + task["id"]).json
    assert result["task_status"] == "SUCCESS" and result["image_result"][0]["url"].endswith("/0.png")
    assert server.ask("GET", "/api/paas/v4/async-result/none").status == 404


@pytest.mark.parametrize("change, code", [
    ({"model": "cogview"}, "1211"), ({"model": None}, "1213"), ({"prompt": None}, "1213"),
    ({"user_id": "short"}, "1214"), ({"colour": "red"}, "1214"), ({"size": "1"}, "1214")])
def test_zai_errors(server, change, code):
    body = {"model": "glm-image", "prompt": "a fox", "size": "64x64", **change}
    reply = server.ask("POST", ZAI, body)
    assert reply.status in (400, 404) and reply.json["error"]["code"] == code, reply.body


def test_pictures_by_url_are_off(server):
    for url in ("https://127.0.0.1/a.png", "http://example.com/a.png", "file:///etc/passwd", "data:,x",
                "data:image/png;base64,!!!!", 7):
        reply = server.ask("POST", "/v1/images/edits", {**SMALL, "images": [{"image_url": url}]})
        assert reply.status == 400 and reply.json["error"]["param"].startswith("images[0]"), reply.body


def test_pictures_by_url_never_from_inside(start):
    server = start("--fetch-urls")
    for host in ("127.0.0.1", "localhost", "[::1]", "10.1.2.3", "169.254.169.254", "0.0.0.0", "[::ffff:127.0.0.1]",
                 "2130706433", "user@127.0.0.1", "192.168.0.1:8443"):
        reply = server.ask("POST", "/v1/images/edits", {**SMALL, "images": [{"image_url": f"https://{host}/a.png"}]})
        assert reply.status == 400 and "cannot be used" in reply.json["error"]["message"], reply.body
    assert server.ask("POST", "/v1/images/edits", {**SMALL, "images": [{"image_url": data_url(png())}]}).status == 200
