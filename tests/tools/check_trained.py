#!/usr/bin/env python3
# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Draws with what `glm-image train` wrote, in this program and in the reference, and compares the pictures.

    tests/tools/check_trained.py --model checkpoints/mini --prompt 'a cat on a red background'
    tests/tools/check_trained.py --model checkpoints/mini --lora runs/ar/final/adapter.safetensors --lora runs/dit/…

Needs torch, transformers 5.17.0, diffusers 0.39.0 and, for adapters, peft. Both draw in float32 on one thread. The
reference loads the folder as it is, and adapters with PEFT's own reader. Fails below 50 dB.
"""

import argparse
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import diffusers
import numpy
import torch
from PIL import Image
from safetensors.torch import load_file

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "bench" / "compare"))
from reference import use_draft_size  # noqa: E402

PARTS = ("transformer", "vision_language_encoder")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=REPOSITORY / "build" / "glm-image")
    parser.add_argument("--prompt", default='a cat on a red background with the text "HELLO"')
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lora", type=Path, action="append", default=[], help="an adapter; may be given several times")
    return parser.parse_args()


def attach(pipe, file):
    """An adapter's matrices, read by PEFT into the module their names begin with."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    tensors = load_file(file)
    for part in PARTS:
        own = {name[len(part) + 1 :]: value for name, value in tensors.items() if name.startswith(part + ".")}
        matrices = {name: value for name, value in own.items() if not name.endswith(".alpha")}
        if not matrices:
            continue
        targets = sorted({name.rsplit(".lora_", 1)[0] for name in matrices})
        rank = next(value.shape[0] for name, value in matrices.items() if ".lora_A." in name)
        alphas = {float(value) for name, value in own.items() if name.endswith(".alpha")} or {float(rank)}
        (alpha,) = alphas  # one strength for all modules
        module = getattr(pipe, part)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets), module, file.stem)
        result = set_peft_model_state_dict(module, {name: value.float() for name, value in matrices.items()}, file.stem)
        if result.unexpected_keys:
            sys.exit(f"{file}: PEFT does not know {result.unexpected_keys[:3]}")
        print(f"{file}: {len(targets)} matrices of {part}, rank {rank}, alpha {alpha:g}")


def reference_picture(options):
    torch.set_num_threads(1)
    use_draft_size(options.model)
    pipe = diffusers.GlmImagePipeline.from_pretrained(options.model, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    for file in options.lora:
        attach(pipe, file)
    torch.manual_seed(options.seed)  # the visual tokens are drawn from the global generator
    picture = pipe(prompt=options.prompt, height=options.size, width=options.size, num_inference_steps=options.steps,
                   generator=torch.Generator().manual_seed(options.seed)).images[0]  # fmt: skip
    return numpy.asarray(picture.convert("RGB"), dtype=numpy.float64)


def own_picture(options):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        command = [options.program, "generate", "--model", options.model, "--prompt", options.prompt, "--output", file]
        command += ["--width", options.size, "--height", options.size, "--steps", options.steps, "--seed", options.seed]
        command += ["--dtype", "float32", "--threads", 1, "--quiet"]
        for adapter in options.lora:
            command += ["--lora", adapter]
        subprocess.run([str(word) for word in command], check=True)
        return numpy.asarray(Image.open(file).convert("RGB"), dtype=numpy.float64)


def main():
    options = parse()
    error = float(numpy.mean((reference_picture(options) - own_picture(options)) ** 2))
    psnr = math.inf if error == 0 else 10 * math.log10(255**2 / error)
    print(f"{psnr:.1f} dB")
    return 0 if psnr >= 50 else 1


if __name__ == "__main__":
    sys.exit(main())
