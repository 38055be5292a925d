"""Two servers on one PostgreSQL share the work, whichever of them was asked."""
import glob
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest

from conftest import events_of


@pytest.fixture
def database():
    """The URI of an empty database, on a PostgreSQL server of this test's own."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is missing; scripts/bootstrap --dev installs it")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="glm-image-pg"))
    user = []
    if os.getuid() == 0:  # PostgreSQL refuses to be run by root
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tools = pathlib.Path(programs[-1]).parent
    control = [*user, tools / "pg_ctl", "-D", folder / "d", "-w"]
    subprocess.run([*user, programs[-1], "-D", folder / "d", "-A", "trust", "-U", "postgres"], check=True,
                   capture_output=True, cwd=folder)
    subprocess.run([*control, "-l", folder / "log", "-o", f"-p {port} -k {folder} -c fsync=off", "start"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    yield f"postgres://postgres@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], stdout=subprocess.DEVNULL, cwd=folder)
    shutil.rmtree(folder, ignore_errors=True)


def pictures_of(server):
    text = server.ask("GET", "/metrics").body.decode()
    return int(next(line for line in text.splitlines() if line.startswith("glm_image_pictures_total")).split()[1])


def test_two_servers(start, tmp_path, database):
    options = ("--queue", database, "--blobs", str(tmp_path / "blobs"))
    first, second = start(*options, steps=20), start(*options, steps=20)
    replies = []

    def ask(k):
        replies.append(first.ask("POST", "/v1/images/generations", {"prompt": f"a cat {k}", "size": "64x64", "seed": k}))
    threads = [threading.Thread(target=ask, args=(k,)) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.status for r in replies] == [200] * 16
    drawn = pictures_of(first), pictures_of(second)
    assert sum(drawn) == 16 and min(drawn) > 0, drawn
    # A job that one of them draws is followed at the other.
    first.kill()
    job = second.ask("POST", "/v1/jobs", {"prompt": "a fox", "size": "64x64", "n": 2}).json["id"]
    again = start(*options, steps=20)
    told = events_of(again.ask("GET", f"/v1/jobs/{job}/events").body.decode())
    assert [name for _, name, _ in told].count("picture") == 2 and told[-1][2]["state"] == "done"
