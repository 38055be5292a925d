#!/usr/bin/env python3
# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Builds tiny random GLM-Image checkpoints and writes what the Python reference computes with them.

This is the only Python that defines truth for glm-image.cpp. Everything the C++ tests compare with comes from the
reference packages themselves (torch, transformers, diffusers on the CPU, float32, one thread): this script builds small
configurations, fills them with random weights, saves them in the published folder layout, loads them back through
`GlmImagePipeline.from_pretrained`, and records inputs and outputs by wrapping methods, never by computing them anew.

    make_golden.py                                write tests/golden (checkpoints that exist are kept)
    make_golden.py --rebuild                      also build the checkpoints anew
    make_golden.py --check                        compute all goldens again from the stored checkpoints and compare
    make_golden.py --only tiny_a,shared           part of it
    make_golden.py --only training                gradients of all parameters, steps of AdamW, the discriminator
    make_golden.py --only lora                    adapters of tiny_a; needs peft, so it is not done unless named
    make_golden.py --random-config 7 --name r7 --seed 3 --out /tmp/golden
                                                  a checkpoint nobody has seen, with goldens, elsewhere

Layout under --out:
    manifest.json  pictures/*.png  resize.safetensors  smart_resize.json  sampler.safetensors  sampler.json
    byte_cases.json  glyph_cases.json
    <name>/manifest.json  <name>/checkpoint/**  <name>/modules.safetensors  <name>/cases/<case>.safetensors
    tiny_a/lora/**  training/checkpoint/**  training/gradients.safetensors  training/manifest.json
    training/discriminator.safetensors
    <name>/schedule.safetensors  <name>/preprocess.safetensors  <name>/tokenizer_cases.json  <name>/chat_cases.json
"""

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path

import torch

from reference.cases import write_cases
from reference.checkpoint import build_checkpoint, load_pipeline
from reference.discriminator import write_discriminator
from reference.modules import write_modules
from reference.numbers import write_preprocess, write_resize, write_sampler, write_schedule, write_smart_resize
from reference.pictures import write_pictures
from reference.recording import Sink, versions, write_json
from reference.specs import SPECS, Spec, random_spec
from reference.text import write_chat_cases, write_glyph_cases, write_tokenizer_cases
from reference.training import write_training

REPOSITORY = Path(__file__).resolve().parents[2]


def describe(spec: Spec) -> dict:
    content = dataclasses.asdict(spec)
    content["storage"] = str(spec.storage).removeprefix("torch.")
    return content


def golden_of(spec: Spec, sink: Sink, root: Path, rebuild: bool) -> None:
    checkpoint = sink.root / "checkpoint"
    if not sink.check and (rebuild or not (checkpoint / "model_index.json").exists()):
        build_checkpoint(spec, checkpoint)
    if not sink.check:
        shutil.rmtree(sink.root / "cases", ignore_errors=True)
    pipe = load_pipeline(checkpoint)
    write_modules(sink, spec, pipe, root)
    write_schedule(sink, pipe)
    write_tokenizer_cases(sink, spec, pipe)
    write_chat_cases(sink, spec, pipe, root)
    write_preprocess(sink, spec, pipe, root)
    cases = write_cases(sink, spec, pipe, root)
    sink.json("manifest.json", {"name": spec.name, "spec": describe(spec), "cases": cases})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "tests" / "golden")
    parser.add_argument("--check", action="store_true", help="compare with the stored files instead of writing")
    parser.add_argument("--rebuild", action="store_true", help="build the checkpoints anew even if they exist")
    parser.add_argument("--only", help="comma-separated names out of: shared, training, lora, " + ", ".join(s.name for s in SPECS))
    parser.add_argument("--random-config", type=int, metavar="SEED", help="one checkpoint with widths drawn from SEED")
    parser.add_argument("--name", help="name of the random checkpoint")
    parser.add_argument("--seed", type=int, help="seed of its weights")
    arguments = parser.parse_args()

    specs = SPECS
    if arguments.random_config is not None:
        specs = [random_spec(arguments.random_config)]
        specs[0].name = arguments.name or specs[0].name
        specs[0].seed = specs[0].seed if arguments.seed is None else arguments.seed
    wanted = set(arguments.only.split(",")) if arguments.only else {"shared", "training", *(s.name for s in specs)}

    torch.set_num_threads(1)
    sinks = []
    if not arguments.check and (arguments.rebuild or not (arguments.out / "pictures").exists()):
        write_pictures(arguments.out)
    for spec in specs:
        if spec.name in wanted:
            sinks.append(Sink(arguments.out / spec.name, arguments.check))
            golden_of(spec, sinks[-1], arguments.out, arguments.rebuild)
    if "shared" in wanted:
        sinks.append(Sink(arguments.out, arguments.check))
        write_glyph_cases(sinks[-1], load_pipeline(arguments.out / specs[0].name / "checkpoint"))
        write_resize(sinks[-1])
        write_smart_resize(sinks[-1])
        write_sampler(sinks[-1])
    if "training" in wanted:
        sinks.append(Sink(arguments.out / "training", arguments.check))
        write_training(sinks[-1], arguments.rebuild)
        write_discriminator(sinks[-1])
    if "lora" in wanted:
        from reference.lora import write_lora

        sinks.append(Sink(arguments.out / "tiny_a", arguments.check))
        write_lora(sinks[-1], load_pipeline(sinks[-1].root / "checkpoint"))
    if not arguments.check and wanted - {"lora", "training"}:  # these have manifests of their own
        write_json(
            arguments.out / "manifest.json",
            {"versions": versions(), "image_backend": "pillow", "checkpoints": [s.name for s in specs]},
        )
    differences = [f"{sink.root.name}/{line}" for sink in sinks for line in sink.differences]
    print("\n".join(differences) or f"{sum(sink.files for sink in sinks)} files {'agree' if arguments.check else 'written'}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
