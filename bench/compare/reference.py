#!/usr/bin/env python3
# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Times the same work as bench_pipeline with the reference classes and prints JSON under the same keys.

Needs torch, transformers 5.17.0 and diffusers 0.39.0. Single layers have the published widths and random weights; whole
pictures are drawn with GlmImagePipeline on a checkpoint. All runs under torch.inference_mode, layers on the CPU, with the
attention the reference chooses by itself (scaled_dot_product_attention). Options are those of bench_pipeline. --compile
puts layers through torch.compile first, with its weights frozen; what does not compile is noted and left out.
"""

import argparse
import json
import resource
import sys
from pathlib import Path

import diffusers
import torch
import transformers

import reference_generate
import reference_layers
from report import Report, Timer

PARTS = (*reference_layers.PARTS, "generate")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, comma-separated: " + ", ".join(PARTS))
    parser.add_argument("--model", type=Path, default=Path("checkpoints/mini"), help="checkpoint to draw with")
    parser.add_argument("--prompt", default='a green sign with the text "OPEN"')
    parser.add_argument("--size", type=int, help="pixels a side; default: the model's own size")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--sides", help="pixels a side of the pictures of dit, vae_encode and vae_decode; default: 512")
    parser.add_argument("--device", default="cpu", help="of whole pictures: cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="processor threads; 0: as torch chooses")
    parser.add_argument("--warm-up", type=int, default=1, help="runs of each piece of work before those that are measured")
    parser.add_argument("--repeat", type=int, default=5, help="measured runs of each piece of work; the median counts")
    parser.add_argument("--compile", action="store_true", help="torch.compile the layers")
    parser.add_argument("--compile-limit", type=int, default=240, metavar="SECONDS", help="give up on one that takes longer")
    parser.add_argument("--draw", type=Path, metavar="PICTURE", help="only draw one picture into this file, timing nothing")
    parser.add_argument("--quick", action="store_true", help="a smoke run with tiny sizes: the numbers mean nothing")
    parser.add_argument("--out", type=Path, help="write the JSON to this file instead of printing it")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    if options.quick:
        options.repeat, options.steps = 1, 2
    return options


def make_quiet():
    for library in (transformers, diffusers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def run(options, dtype):
    sizes = reference_layers.QUICK if options.quick else reference_layers.LayerSizes()
    if options.sides and not options.quick:
        sizes.picture_sides = tuple(int(side) for side in options.sides.split(","))
    report = Report()
    timer = Timer(report, options)
    if options.compile:
        import torch._inductor.config as inductor

        inductor.freezing = True
    # The compiler freezes weights where no gradients are asked for, but not under inference_mode.
    with torch.no_grad() if options.compile else torch.inference_mode():
        for part in options.only:
            if part == "generate":
                reference_generate.bench_generate(report, options, dtype)
            else:
                reference_layers.PARTS[part](timer, sizes, dtype)
    return report


def main():
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    make_quiet()
    dtype = getattr(torch, options.dtype)
    if options.draw:
        reference_generate.draw_once(options, dtype, options.draw)
        return
    report = run(options, dtype)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, diffusers {diffusers.__version__}"
    result = {
        "implementation": versions,
        "device": options.device,
        "dtype": options.dtype,
        "threads": torch.get_num_threads(),
        "quick": options.quick,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "visual_tokens": report.visual_tokens,
        "results": report.results,
        "skipped": report.skipped,
    }
    text = json.dumps(result, indent=2)
    if options.out:
        options.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
