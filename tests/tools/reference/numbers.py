# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Schedules, resampling, picture preprocessing and sampling."""

from pathlib import Path

import numpy as np
import torch
from diffusers import GlmImagePipeline
from PIL import Image
from transformers.generation import logits_process
from transformers.models.glm_image.image_processing_pil_glm_image import smart_resize

from .pictures import read_picture
from .recording import Sink
from .specs import Spec


def write_schedule(sink: Sink, pipe: GlmImagePipeline) -> None:
    """sigmas and DiT times for many sizes and step counts, through the pipeline itself with a DiT that answers zero."""
    tensors = {}
    transformer = pipe.transformer
    for width, height, steps in (
        (1024, 1024, 50),
        (512, 512, 3),
        (1152, 768, 50),
        (2048, 2048, 20),
        (64, 96, 1),
        (32, 32, 7),
        (96, 64, 1000),
    ):
        times = []

        def silent(hidden_states, timestep, times=times, **_):
            times.append(timestep[0])
            return (torch.zeros_like(hidden_states),)

        transformer.forward = silent
        try:
            pipe(
                height=height, width=width, num_inference_steps=steps, guidance_scale=1.0, output_type="latent",
                prompt_embeds=torch.zeros(1, 1, transformer.config.text_embed_dim), latents=torch.zeros(1, 1, 1, 1),
                prior_token_ids=torch.zeros(1, 1, dtype=torch.long),
            )  # fmt: skip
        finally:
            del transformer.forward
        key = f"{width}x{height}x{steps}"
        tensors |= {
            f"{key}.sigmas": pipe.scheduler.sigmas,
            f"{key}.timesteps": pipe.scheduler.timesteps,
            f"{key}.dit_times": torch.stack(times),
        }
    sink.tensors("schedule.safetensors", tensors)


def write_resize(sink: Sink) -> None:
    """Pillow on 8-bit RGB, (H, W, 3): the input `in.<w>x<h>` and `bicubic|lanczos.<w>x<h>.<w'>x<h'>` from it."""
    generator, tensors = torch.Generator("cpu").manual_seed(99), {}
    filters = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
    for size, targets in {
        (13, 7): [(29, 31), (5, 3), (13, 20), (1, 1)], (40, 33): [(17, 5), (32, 32), (40, 33), (61, 16)], (1, 1): [(9, 4)],
        (2, 50): [(3, 7), (8, 64)], (37, 2): [(4, 2), (80, 5)], (64, 48): [(16, 16), (63, 47)],
    }.items():  # fmt: skip
        pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
        pixels[size[1] // 2 :, : size[0] // 2] = torch.tensor([255, 0, 128], dtype=torch.uint8)  # flat, with overshooting edges
        tensors["in.{}x{}".format(*size)] = pixels
        for target in targets:
            for name, method in filters.items():
                resized = Image.fromarray(pixels.numpy()).resize(target, method)
                tensors["{}.{}x{}.{}x{}".format(name, *size, *target)] = torch.from_numpy(np.array(resized))
    sink.tensors("resize.safetensors", tensors)


def write_smart_resize(sink: Sink) -> None:
    sizes = [
        (512, 640), (700, 900), (3000, 2000), (1024, 1024), (256, 256), (2048, 2048), (16, 16), (15, 64), (64, 15), (64, 256),
        (64, 257), (100, 401), (511, 513), (528, 512), (1008, 1008), (400, 400), (500, 500),
        (2100, 1024), (544, 528), (1000, 333), (4096, 1024), (8192, 8192), (31, 33), (48, 80), (77, 101), (1520, 2016),
        (5000, 1300), (520, 520), (40, 120), (72, 56),
    ]  # fmt: skip
    entries = []
    for low, high in (
        (512 * 512, 2048 * 2048),
        (32 * 32, 2048 * 2048),
        (48 * 48, 256 * 256),
        (56 * 56, 28 * 28 * 1280),
        (1000, 5000),
    ):
        for height, width in sizes:
            entry = {"height": height, "width": width, "factor": 16, "min_pixels": low, "max_pixels": high}
            try:
                entry["result"] = list(smart_resize(height, width, factor=16, min_pixels=low, max_pixels=high))
            except ValueError as error:
                entry["error"] = str(error)
            entries.append(entry)
    sink.json("smart_resize.json", entries)


def write_preprocess(sink: Sink, spec: Spec, pipe: GlmImagePipeline, root: Path) -> None:
    """Both ways of a reference picture: `<picture>.pixel_values` with `.grid` for the tower (for large pictures every 97th
    row as `.pixel_values_97`), and `<picture>.vae_pixels`, the 8-bit picture (H, W, 3) that the VAE gets as v / 127.5 − 1."""
    tensors = {}
    for name in ("odd101x77", "square96"):
        picture = read_picture(root, name)
        inputs = pipe.processor.image_processor(picture, return_tensors="pt")
        tensors[f"{name}.grid"] = inputs["image_grid_thw"][0, 1:]
        pixels = inputs["pixel_values"]
        tensors |= {f"{name}.pixel_values_97": pixels[::97]} if len(pixels) > 64 else {f"{name}.pixel_values": pixels}
        if name == "square96":
            continue  # nothing to resize for the VAE
        multiple = pipe.vae_scale_factor * pipe.transformer.config.patch_size
        values = pipe.image_processor.preprocess(
            picture, height=picture.height // multiple * multiple, width=picture.width // multiple * multiple
        )
        eight_bit = ((values + 1) * 127.5).round().to(torch.uint8)
        assert (eight_bit.float() / 127.5 - 1 - values).abs().max() < 1e-6
        tensors[f"{name}.vae_pixels"] = eight_bit[0].permute(1, 2, 0)
    sink.tensors("preprocess.safetensors", tensors)


def write_sampler(sink: Sink) -> None:
    """`<case>.logits` (rows, V) → `.probabilities` (rows, V) after all filters, and `.ids` (draws, rows): after
    torch.manual_seed(seed), each draw is one multinomial call over all rows. Settings in sampler.json."""
    generator, tensors, entries = torch.Generator("cpu").manual_seed(7), {}, []
    for name, rows, width, temperature, top_k, top_p, seed in (
        ("published", 1, 16512, 0.9, 16512, 0.75, 42), ("no_filter", 2, 80, 1.0, 0, 1.0, 0), ("top_p", 4, 80, 0.9, 0, 0.75, 1),
        ("top_k", 3, 80, 1.3, 5, 1.0, 2**32 + 9), ("both", 3, 80, 0.7, 12, 0.6, 3),
        ("narrow", 2, 80, 0.9, 0, 0.01, 4), ("ties", 2, 16, 1.0, 0, 0.5, 5), ("banned", 3, 80, 0.9, 0, 0.75, 6),
        ("cold", 2, 80, 0.05, 0, 0.9, 8),
    ):  # fmt: skip
        logits = (3 if name == "published" else 1.2) * torch.randn(rows, width, generator=generator)
        if name == "published":
            logits = (logits * 16).round() / 16  # with ties, and small on disk
        if name == "ties":
            logits = torch.zeros(rows, width) + (torch.arange(width) % 4 == 1).float() * torch.arange(rows)[:, None]
        if name == "banned":
            logits[:, 64:] = -float("inf")
        steps = logits_process.LogitsProcessorList()
        if temperature != 1.0:
            steps.append(logits_process.TemperatureLogitsWarper(temperature))
        if top_k:
            steps.append(logits_process.TopKLogitsWarper(top_k))
        if top_p < 1.0:
            steps.append(logits_process.TopPLogitsWarper(top_p))
        probabilities = torch.softmax(steps(None, logits.clone()), -1)
        torch.manual_seed(seed)
        ids = torch.stack([torch.multinomial(probabilities, 1)[:, 0] for _ in range(12)])
        tensors |= {f"{name}.logits": logits, f"{name}.probabilities": probabilities, f"{name}.ids": ids}
        entries.append({"name": name, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed})
    tensors["published.logits"] = tensors["published.logits"].half()  # exact: sixteenths
    tensors["published.kept"] = tensors.pop("published.probabilities")[0].nonzero()[:, 0].int()
    sink.tensors("sampler.safetensors", tensors)
    sink.json("sampler.json", entries)
