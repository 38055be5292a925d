# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""What bench/compare/run measures: every piece of work, in which types, by whom, and how often."""

from dataclasses import dataclass

OURS, EAGER, COMPILED, GGML = "ours", "eager", "compiled", "ggml"
PEERS = (EAGER, COMPILED, GGML)


@dataclass
class Work:
    """One process of each program in every round."""

    part: str
    dtype: str
    side: int = 0  # pixels, where the part draws pictures
    peers: tuple = ()
    rounds: int = 0  # 0: as asked for
    repeat: int = 0
    warm_up: int = 1
    one_thread: bool = False  # a second measurement, for the gain of all threads


FLOATS = (("bfloat16", 0), ("float32", 1))  # and rounds: nobody runs the published model in float32
REFERENCE = (EAGER, COMPILED)


def schedule(parts, quick=False):
    """The works of the named parts, the short ones first. What takes minutes runs fewer times: its noise is smaller.
    `quick`: each part once, in its first type."""
    works = []
    for dtype in ("float32", "bfloat16", "int8"):
        works += [Work("limits", dtype), Work("limits", dtype, one_thread=True)]
    works += [Work("products", dtype, 0, (EAGER, GGML), rounds, 2) for dtype, rounds in FLOATS]
    works += [Work("products", dtype, peers=(GGML,), repeat=2) for dtype in ("int8", "int4")]
    works += [Work("ar", dtype, 0, REFERENCE, rounds, 2) for dtype, rounds in FLOATS]
    works += [Work("ar", dtype, repeat=2) for dtype in ("int8", "int4")]
    works += [Work("ar", dtype, rounds=1, repeat=2, one_thread=True) for dtype in ("bfloat16", "int8")]
    works += [Work("dit", dtype, 512, REFERENCE, rounds, 2) for dtype, rounds in FLOATS]
    works += [Work("dit", "bfloat16", 1024, REFERENCE, 1, 1), Work("dit", "float32", 1024, (EAGER,), 1, 1)]
    works += [Work("dit", "int8", 512, repeat=2), Work("dit", "int8", 1024, rounds=1, repeat=1)]
    works += [Work(part, dtype, 0, REFERENCE, rounds) for part in ("vision", "glyph") for dtype, rounds in FLOATS]
    for part in ("vae_encode", "vae_decode"):
        works += [Work(part, "bfloat16", 256, REFERENCE, 1, 1), Work(part, "float32", 256, (EAGER,), 1, 1)]
        # Unwarmed: what a first run costs more is little beside what it takes.
        works += [Work(part, "bfloat16", side, (EAGER,), 1, 1, 0) for side in (512, 1024)]
    works += [Work("generate", "float32", peers=(EAGER,), repeat=3), Work("start", "float32", peers=(EAGER,))]
    works = [work for work in works if work.part in parts]
    return list({work.part: work for work in reversed(works)}.values())[::-1] if quick else works


PARTS = tuple(dict.fromkeys(work.part for work in schedule(
    ("limits", "products", "ar", "dit", "vision", "glyph", "vae_encode", "vae_decode", "generate", "start"))))  # fmt: skip
