# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""What the comparing scripts share: running a program for a turn, and putting a table into a page."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path


def run_program(command, threads, out, limit=None):
    """Runs one program, which writes to `out`, at most `limit` seconds -> its JSON. Exits where it fails."""
    command = [*map(str, command), "--threads", str(threads), "--out", str(out)]
    run_command(command, threads, limit)
    return json.loads(out.read_text())


def run_command(command, threads, limit=None):
    """Runs a command, its output among the messages -> its wall time in seconds and its peak of memory in bytes."""
    environment = dict(os.environ)
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    print("+ " + " ".join(map(str, command)), file=sys.stderr, flush=True)
    began = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], env=environment, stdout=sys.stderr)
    watch = threading.Timer(limit, process.kill) if limit else None
    if watch:
        watch.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if watch:
        watch.cancel()
    if process.returncode != 0:
        reason = f"not within {limit} s" if limit and seconds > limit else f"exit code {process.returncode}"
        sys.exit(f"{Path(sys.argv[0]).name}: this failed ({reason}): {' '.join(map(str, command))}")
    return seconds, usage.ru_maxrss * 1024


def fastest_of(runs, key):
    return min(run["results"][key]["min"] for run in runs if key in run["results"])


def text_of(seconds):
    """Three significant digits in a unit that reads well."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def split_page(file, begin, end):
    """The page before, and after, what lies between the two markers."""
    text = file.read_text() if file.exists() else ""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        sys.exit(f"{Path(sys.argv[0]).name}: {file} needs one line '{begin}' and below it one '{end}'")
    return text[: text.index(begin) + len(begin)], text[text.index(end) :]


def put_table(file, begin, end, text):
    before, after = split_page(file, begin, end)
    file.write_text(f"{before}\n{text}\n{after}")
