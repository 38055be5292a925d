"""Stopping, being killed, and starting again with the queue as it was."""
import signal
import threading
import time

from conftest import events_of

SMALL = {"prompt": "a fox", "size": "64x64"}
SLOW = {**SMALL, "size": "256x256", "num_inference_steps": 60, "n": 2}


def queue(server, **fields):
    return server.ask("POST", "/v1/jobs", {**SMALL, **fields}).json["id"]


def wait_until_running(server, job):
    while server.ask("GET", f"/v1/jobs/{job}").json["state"] == "queued":
        time.sleep(0.01)


def test_killed_and_started_again(start, tmp_path):
    server = start()
    done = queue(server, seed=1)
    before = server.wait_for_job(done)
    slow = queue(server, **{**SLOW, "seed": 2, "num_inference_steps": 100})
    waiting = [queue(server, seed=10 + k) for k in range(3)]
    wait_until_running(server, slow)
    server.kill()
    again = start(folder=tmp_path)
    assert again.ask("GET", f"/v1/jobs/{done}").json["pictures"][0]["bytes"] == before["pictures"][0]["bytes"]
    drawn = again.wait_for_job(slow)
    assert drawn["state"] == "done" and [p["seed"] for p in drawn["pictures"]] == [2, 3] and drawn["attempts"] == 2
    for k, job in enumerate(waiting):
        assert [p["seed"] for p in again.wait_for_job(job)["pictures"]] == [10 + k]
    assert len(again.ask("GET", "/v1/jobs?limit=100").json["data"]) == 5


def test_sigterm_lets_the_running_job_end(start, tmp_path):
    server = start()
    replies = {}

    def ask(name, path, body):
        replies[name] = server.ask("POST", path, body)
    running = threading.Thread(target=ask, args=("running", "/v1/images/generations", SLOW))
    running.start()
    while not (jobs := server.ask("GET", "/v1/jobs?state=running").json["data"]):
        time.sleep(0.01)
    waiting = threading.Thread(target=ask, args=("waiting", "/v1/images/generations", SMALL))
    waiting.start()
    while len(server.ask("GET", "/v1/jobs").json["data"]) < 2:
        time.sleep(0.01)
    server.send_signal(signal.SIGTERM)
    running.join()
    waiting.join()
    assert replies["running"].status == 200
    # The one that had not begun stays in the queue, and its client is told to come back.
    assert replies["waiting"].status == 503 and replies["waiting"].headers["Retry-After"]
    assert server.process.wait(20) == 0, server.log_text()
    assert [line["event"] for line in server.lines()][-1] == "stopped"
    again = start(folder=tmp_path)
    for job in again.ask("GET", "/v1/jobs").json["data"]:
        assert again.wait_for_job(job["id"])["state"] == "done"
    assert again.ask("GET", f"/v1/jobs/{jobs[0]['id']}").json["attempts"] == 1


def test_drain_that_takes_too_long_hands_the_job_back(start, tmp_path):
    server = start("--drain-seconds", "1")
    job = queue(server, size="512x512", num_inference_steps=200, n=10)
    wait_until_running(server, job)
    server.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0, server.log_text()
    again = start(folder=tmp_path)
    state = again.ask("GET", f"/v1/jobs/{job}").json
    assert state["state"] in ("queued", "running") and state["attempts"] <= 1


def test_second_signal_ends_at_once(start):
    server = start()
    job = queue(server, size="512x512", num_inference_steps=200, n=10)
    wait_until_running(server, job)
    server.send_signal(signal.SIGTERM)
    server.wait_for_line("draining")
    time.sleep(0.1)
    server.send_signal(signal.SIGTERM)
    assert server.process.wait(5) == 130


def test_events_end_with_the_server(start):
    server = start()
    queue(server, **SLOW)
    behind = queue(server)
    told = {}

    def listen():
        told["events"] = events_of(server.ask("GET", f"/v1/jobs/{behind}/events").body.decode())
    listener = threading.Thread(target=listen)
    listener.start()
    time.sleep(0.2)
    server.send_signal(signal.SIGTERM)
    listener.join()
    assert told["events"][-1][1] == "error"
    assert server.process.wait(20) == 0
