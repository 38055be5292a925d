# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Traces of whole requests."""

import contextlib
import dataclasses
from pathlib import Path

import torch
from diffusers import GlmImagePipeline
from PIL import Image

from .pictures import read_picture
from .recording import Sink, wrapped
from .specs import Spec


@dataclasses.dataclass
class Case:
    """One request to the pipeline."""

    name: str
    prompt: str
    width: int = 64
    height: int = 64
    steps: int = 3
    guidance_scale: float = 1.5
    seed: int = 0
    pictures: tuple = ()
    greedy: bool = False
    max_sequence_length: int = 2048
    crop: tuple = (0, 0)


def cases_of(spec: Spec) -> list[Case]:
    large = spec.published_preprocessing
    one, two, tall = ("square512", "wide640x512", "wide640x512") if large else ("square64", "wide96x64", "tall64x128")
    cases = [
        Case("t2i_square", "A red apple on a wooden table, soft light", seed=42),
        Case("t2i_wide", "an astronaut riding a horse on mars, 1024", width=96, height=32, steps=4, seed=1234),
        Case("t2i_tall_quoted", 'A sign that says "OPEN" and “CLOSED”', width=32, height=96, seed=7),
        Case("t2i_chinese", "一块写着「你好」和“世界，你好”的牌子，旁边有一只猫。", seed=2025, steps=4, height=32),
        Case("t2i_emoji",
             "👩‍👩‍👧‍👦 e\u0301 ＨＥＬＬＯ ½ 🇨🇳\n\n\t 1234567  don't “🙂\u200d” \u00a0\u3000 naïve", seed=2**32 + 5, height=32),
        Case("t2i_guidance1", "a 'stop' sign", guidance_scale=1.0, seed=3, width=32),
        Case("t2i_greedy", "A red apple on a wooden table, soft light", seed=42, width=32, greedy=True),
        Case("t2i_one_step", "cat", steps=1, seed=2**63 - 1, width=32, height=32),
        Case("t2i_guidance4", "“a” “bc” “def” 'gh' \"\" 「ij」", guidance_scale=4.0, seed=11, width=32),
        Case("t2i_128x32", "黄昏的山水画 with a bridge", width=128, height=32, seed=99),
        Case("t2i_crop", "a cropped 'crop'", seed=5, crop=(8, 24), height=32),
        Case("edit_one", "make the circle blue", pictures=(one,), seed=8, width=96),
        Case("edit_two", "put “both” together", pictures=(two, one), width=96, height=32, seed=2**33 + 17),
        Case("edit_guidance1", "变成黑白", pictures=(tall,), width=32, height=96, guidance_scale=1.0, seed=21),
        Case("edit_greedy", "make it greedy", pictures=(one,), seed=4, width=96, height=32, greedy=True),
    ]  # fmt: skip
    # The full list for the first one; the others repeat what depends on their differences (and keep the files small).
    left_out = {
        "tiny_b": {"t2i_greedy", "t2i_guidance1", "t2i_one_step", "t2i_guidance4", "t2i_128x32", "t2i_crop", "edit_greedy"},
    }
    left_out["tiny_c"] = left_out["tiny_b"] | {"t2i_tall_quoted", "edit_two", "edit_guidance1"}
    return [case for case in cases if case.name not in left_out.get(spec.name, ())]


def run_case(pipe: GlmImagePipeline, case: Case, pictures: list[Image.Image]) -> dict:
    """Runs the pipeline as it is and -> the trace of one request."""
    trace, steps, references = {}, [], []

    def on_template(inputs, *_, **__):
        trace["ar.input_ids"] = inputs["input_ids"]
        trace["ar.grids"] = inputs["image_grid_thw"]

    def on_generate(output, *_, input_ids, **__):
        trace["ar.output_ids"] = output[:, input_ids.shape[1] :]

    def on_image_tokens(ids, features, grids):
        if "references.0.token_ids" not in trace:  # the reference does this twice
            for i, (part, grid) in enumerate(zip(torch.split(ids, grids.prod(-1).tolist()), grids, strict=True)):
                trace[f"references.{i}.token_ids"] = part[None]
                trace[f"references.{i}.grid"] = grid[1:]

    def on_prior(result, *_, **__):
        trace["prior_token_ids"] = result[0]

    def on_prompt(result, *_, **__):
        trace["glyph.embeds"] = result[0]
        if result[1] is not None:
            trace["glyph.negative_embeds"] = result[1]

    def on_latents(result, *_, **__):
        trace["noise"] = result

    def on_transformer(result, **kwargs):
        if kwargs["kv_caches"].caches[0].mode == "write":
            trace[f"references.{len(references)}.latents"] = kwargs["hidden_states"]
            references.append(kwargs)

    def on_step(result, velocity, timestep, latents, **__):
        trace[f"step.{len(steps)}.velocity"] = velocity
        trace["latents"] = result[0]
        steps.append(timestep)

    with contextlib.ExitStack() as stack:
        for target, name, record, override in (
            (pipe.processor, "apply_chat_template", on_template, {}),
            (pipe.vision_language_encoder, "get_image_tokens", on_image_tokens, {}),
            # The pipeline itself always samples.
            (pipe.vision_language_encoder, "generate", on_generate, {"do_sample": False} if case.greedy else {}),
            (pipe, "generate_prior_tokens", on_prior, {}),
            (pipe, "encode_prompt", on_prompt, {}),
            (pipe, "prepare_latents", on_latents, {}),
            (pipe.transformer, "forward", on_transformer, {}),
            (pipe.scheduler, "step", on_step, {}),
        ):
            stack.enter_context(wrapped(target, name, record, override))
        torch.manual_seed(case.seed)
        trace["image"] = pipe(
            prompt=case.prompt, image=pictures or None, height=case.height, width=case.width, num_inference_steps=case.steps,
            guidance_scale=case.guidance_scale, generator=torch.Generator("cpu").manual_seed(case.seed), output_type="pt",
            crops_coords_top_left=case.crop, max_sequence_length=case.max_sequence_length,
        ).images  # fmt: skip
    trace["sigmas"] = pipe.scheduler.sigmas
    trace["timesteps"] = torch.stack(steps)
    return trace


def write_cases(sink: Sink, spec: Spec, pipe: GlmImagePipeline, root: Path) -> list[dict]:
    entries = []
    for case in cases_of(spec):
        trace = run_case(pipe, case, [read_picture(root, name) for name in case.pictures])
        sink.tensors(f"cases/{case.name}.safetensors", trace)
        entry = dataclasses.asdict(case)
        entry["pictures"] = [f"pictures/{name}.png" for name in case.pictures]  # relative to --out
        entry["file"] = f"cases/{case.name}.safetensors"  # relative to this manifest
        entry["temperature"] = 0.0 if case.greedy else spec.temperature
        entry["top_p"] = spec.top_p
        entry["rendered"] = pipe.processor.tokenizer.decode(trace["ar.input_ids"][0])
        entries.append(entry)
    return entries
