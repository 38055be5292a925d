# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Timing with the reference: what was measured, as bench/report.h has it, and compiling what is timed."""

import signal
import statistics
import sys
import time

import torch


def time_runs(warm_up, measured, work):
    for _ in range(warm_up):
        work()
    samples = []
    for _ in range(measured):
        began = time.perf_counter()
        work()
        samples.append(time.perf_counter() - began)
    return samples


class Report:
    def __init__(self):
        self.results, self.skipped = {}, {}
        self.visual_tokens = 0

    def add(self, key, samples, **more):
        median = statistics.median(samples)
        self.results[key] = {"seconds": median, "min": min(samples), "max": max(samples), "samples": len(samples), **more}
        print(f"{key:<28} {median:10.4f} s  ({min(samples):.4f} to {max(samples):.4f}, {len(samples)} runs)", file=sys.stderr)

    def skip(self, key, why):
        self.skipped[key] = why
        print(f"{key:<28} skipped: {why}", file=sys.stderr)


class TooLong(Exception):
    pass


class Timer:
    """Times what the parts hand it, as it is (eager) or compiled with torch.compile."""

    def __init__(self, report, options):
        self.report, self.warm_up, self.repeat = report, options.warm_up, options.repeat
        self.compile, self.limit = options.compile, options.compile_limit

    def compiled(self, module):
        return torch.compile(module) if self.compile else module

    def measure(self, key, work, runs=1):
        """`runs`: how many times as many runs, for what is short."""
        if not self.compile:
            self.report.add(key, time_runs(runs * self.warm_up, runs * self.repeat, work))
            return
        try:
            seconds = self.first_runs(work)
        except Exception as error:  # whatever a compiler may throw
            reason = str(error).strip().splitlines() or [type(error).__name__]
            self.report.skip(key, f"does not compile: {reason[0][:200]}")
            return
        self.report.add(key, time_runs(runs * self.warm_up, runs * self.repeat, work), compile_seconds=seconds)

    def first_runs(self, work):
        """Compiles, at most `limit` seconds long. Twice: what grew since the first run may ask for another kernel."""

        def stop(*_):
            raise TooLong(f"not within {self.limit} s")

        signal.signal(signal.SIGALRM, stop)
        signal.alarm(self.limit)
        try:
            began = time.perf_counter()
            work()
            work()
            return time.perf_counter() - began
        finally:
            signal.alarm(0)
