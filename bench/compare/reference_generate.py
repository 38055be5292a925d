# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Whole pictures with the reference's GlmImagePipeline, on a checkpoint."""

import json
import math
import time

import diffusers
import torch
import transformers

from report import time_runs


def use_draft_size(model):
    """The reference's processor knows only the published model's draft of about 16 x 16 visual tokens. Checkpoints that
    name another `draft_size` get it here, so that both programs draw equally many tokens."""
    config = json.loads((model / "vision_language_encoder" / "config.json").read_text())
    draft = config.get("draft_size", 16)
    if draft == 16:
        return

    def target_shape(self, height, width):
        token_h, token_w = height // 32, width // 32
        ratio = token_h / token_w
        return token_h, token_w, int(math.sqrt(ratio) * draft), int(math.sqrt(1 / ratio) * draft)

    transformers.GlmImageProcessor._get_target_shape = target_shape


def open_pipeline(model, dtype, device="cpu"):
    use_draft_size(model)
    pipe = diffusers.GlmImagePipeline.from_pretrained(model, torch_dtype=dtype).to(device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw_once(options, dtype, picture):
    """What a user's script does: load, draw, write the file. For the time of a process."""
    pipe = open_pipeline(options.model, dtype, options.device)
    side = side_of(pipe, options)
    with torch.inference_mode():
        images = pipe(prompt=options.prompt, height=side, width=side, num_inference_steps=options.steps, guidance_scale=1.5,
                      generator=torch.Generator().manual_seed(1)).images  # fmt: skip
    images[0].save(picture)


def side_of(pipe, options):
    side = options.size or pipe.vae.config.sample_size
    return -(-side // 32) * 32  # as drawn by bench_pipeline, which rounds up


class Stages:
    """Stage times of one picture, taken from hooks on the reference's own modules and methods."""

    def __init__(self, pipe, steps):
        self.pipe, self.steps, self.marks, self.forwards = pipe, steps, {}, 0
        language, transformer = pipe.vision_language_encoder, pipe.transformer
        language.register_forward_hook(lambda *_: self.token_done())
        transformer.register_forward_pre_hook(lambda *_: self.mark_once("denoise"))
        self.wrap(language, "generate", "prior", "prior_end")
        self.wrap(pipe, "encode_prompt", "glyphs", "glyphs_end")
        self.wrap(pipe.vae, "decode", "decode", None)

    def wrap(self, owner, name, before, after):
        method = getattr(owner, name)

        def timed(*args, **kwargs):
            self.marks[before] = self.now()
            result = method(*args, **kwargs)
            if after:
                self.marks[after] = self.now()
            return result

        setattr(owner, name, timed)

    def mark_once(self, name):
        if name not in self.marks:
            self.marks[name] = self.now()

    def now(self):
        if self.pipe.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def token_done(self):
        self.forwards += 1
        self.mark_once("first_token")

    def draw(self, prompt, size):
        """One picture -> seconds by stage."""
        self.marks, self.forwards = {}, 0
        began = time.perf_counter()
        self.pipe(prompt=prompt, height=size, width=size, num_inference_steps=self.steps, guidance_scale=1.5,
                  generator=torch.Generator().manual_seed(1))  # fmt: skip
        ended, marks = time.perf_counter(), self.marks
        seconds = {
            "prefill": marks["first_token"] - marks["prior"],
            "glyphs": marks["glyphs_end"] - marks["glyphs"],
            "denoise_step": (marks["decode"] - marks["denoise"]) / self.steps,
            "decode": ended - marks["decode"],
            "picture": ended - began,
        }
        if self.forwards > 1:
            seconds["visual_token"] = (marks["prior_end"] - marks["first_token"]) / (self.forwards - 1)
        return seconds


def bench_generate(report, options, dtype):
    if not (options.model / "model_index.json").exists():
        report.skip("generate", f"{options.model} is not a checkpoint (no model_index.json)")
        return
    opened = []

    def load():
        opened.clear()
        opened.append(open_pipeline(options.model, dtype, options.device))

    report.add("generate.load", time_runs(options.warm_up, options.repeat, load))
    pipe = opened[0]
    stages = Stages(pipe, options.steps)
    size = side_of(pipe, options)
    runs = [stages.draw(options.prompt, size) for _ in range(options.warm_up + options.repeat)][options.warm_up :]
    report.visual_tokens = stages.forwards - 1  # the last one drawn is the end id
    for stage in ("prefill", "visual_token", "glyphs", "denoise_step", "decode", "picture"):
        samples = [run[stage] for run in runs if stage in run]
        if samples:
            report.add(f"generate.{stage}", samples)
