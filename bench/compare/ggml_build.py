# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Builds bench_ggml outside the tree, against a checkout of ggml."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = "https://github.com/ggml-org/ggml"
COMMIT = "d99724f2b141fed9e1a9f402213506c081433465"  # 0.21.0


def do(*command):
    print("+ " + " ".join(map(str, command)), file=sys.stderr, flush=True)
    subprocess.run([*map(str, command)], check=True, stdout=sys.stderr)


def clone(folder):
    """The commit above, in `folder` -> `folder`."""
    if not (folder / ".git").exists():
        do("git", "clone", "--filter=blob:none", "--no-checkout", REPOSITORY, folder)
    do("git", "-C", folder, "checkout", "--quiet", COMMIT)
    return folder


def build(source, cache):
    """`source`: a checkout, or "clone" -> the program. Exits with a reason where something is missing."""
    cache.mkdir(parents=True, exist_ok=True)
    try:
        checkout = clone(cache / "ggml") if source == "clone" else Path(source).resolve()
        if not (checkout / "include" / "ggml.h").exists():
            sys.exit(f"{checkout} is not a checkout of ggml (no include/ggml.h)")
        folder = cache / "build"
        do("cmake", "-S", Path(__file__).parent / "ggml", "-B", folder, f"-DGGML_SOURCE={checkout}")
        do("cmake", "--build", folder, "--target", "bench_ggml", "--parallel")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"ggml could not be built: {error}")
    return folder / "bench_ggml"
