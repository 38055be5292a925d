"""The server's own code under sanitizers, without a model: `make soak` builds it (build-fuzz/stand_in_server)."""
import os
import signal

import pytest

from conftest import ROOT, SOAK, Server
from malformed import attack

STAND_IN = ROOT / "build-fuzz" / "stand_in_server"


@pytest.fixture
def stand_in(tmp_path):
    if not STAND_IN.exists():
        pytest.skip("there is no build with sanitizers; make soak makes one")
    # LibTorch leaves what it made at the start to the system: leaks are looked for in what the server does.
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1", OMP_NUM_THREADS="1")
    server = Server(tmp_path).run([STAND_IN, str(tmp_path)], environment)
    yield server
    server.kill()


def test_malformed_requests(stand_in):
    answers = attack(stand_in.port, 10_000 if SOAK else 400, seed=11)
    assert stand_in.alive(), stand_in.log_text()[-20_000:]
    assert answers.get(400, 0) > 20, answers
    reply = stand_in.ask("POST", "/v1/images/generations", {"prompt": "a fox"})
    assert reply.status == 200, reply.body
    stand_in.send_signal(signal.SIGTERM)
    assert stand_in.process.wait(timeout=60) == 0, stand_in.log_text()[-20_000:]
