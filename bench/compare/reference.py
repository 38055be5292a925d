#!/usr/bin/env python3
# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Times the same work as bench_pipeline with the reference classes and prints JSON under the same keys.

Needs torch, transformers 5.17.0 and diffusers 0.39.0. Single layers have the published widths and random weights; whole
pictures are drawn with GlmImagePipeline on a checkpoint. Everything runs on the CPU under torch.inference_mode, with the
attention the reference chooses by itself (scaled_dot_product_attention). Options are those of bench_pipeline.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
import transformers

PARTS = ("ar", "dit", "vae", "generate")


@dataclass
class LayerSizes:
    """As LayerSizes in bench/layers.h."""

    ar_width: int = 4096
    ar_feed_forward: int = 13696
    ar_heads: int = 32
    ar_kv_heads: int = 2
    prompt_tokens: int = 1024
    cached_tokens: int = 1300
    dit_heads: int = 32
    dit_head_dim: int = 128
    time_dim: int = 512
    glyph_tokens: int = 16
    dit_grids: tuple = (32, 64)
    vae_widths: tuple = (128, 512, 1024, 1024)
    vae_layers: int = 3
    vae_groups: int = 32
    picture_sides: tuple = (256,)


QUICK = LayerSizes(64, 96, 4, 2, 32, 40, 2, 16, 16, 16, (4, 8), (8, 16, 16, 16), 1, 4, (32, 64))


class Report:
    def __init__(self):
        self.results, self.skipped = {}, {}
        self.visual_tokens = 0

    def add(self, key, samples):
        median = statistics.median(samples)
        self.results[key] = {"seconds": median, "min": min(samples), "max": max(samples), "samples": len(samples)}
        print(f"{key:<28} {median:10.4f} s  ({min(samples):.4f} to {max(samples):.4f}, {len(samples)} runs)", file=sys.stderr)

    def skip(self, key, why):
        self.skipped[key] = why
        print(f"{key:<28} skipped: {why}", file=sys.stderr)


def time_runs(warm_up, measured, work):
    for _ in range(warm_up):
        work()
    samples = []
    for _ in range(measured):
        began = time.perf_counter()
        work()
        samples.append(time.perf_counter() - began)
    return samples


def fill(module, dtype):
    """The spread of the weights that bench_pipeline draws; norms stay at one."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.02, generator=generator)
    return module.to(dtype).eval()


def bench_ar_layer(report, sizes, dtype, repeat):
    from transformers.cache_utils import DynamicCache
    from transformers.models.glm_image.configuration_glm_image import GlmImageTextConfig
    from transformers.models.glm_image.modeling_glm_image import GlmImageTextModel

    turned = sizes.ar_width // sizes.ar_heads // 4  # frequencies: half of half of a head
    config = GlmImageTextConfig(
        vocab_size=256, vision_vocab_size=256, hidden_size=sizes.ar_width, num_hidden_layers=1,
        intermediate_size=sizes.ar_feed_forward, num_attention_heads=sizes.ar_heads,
        num_key_value_heads=sizes.ar_kv_heads, pad_token_id=0, eos_token_id=1,
        rope_parameters=dict(
            rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5,
            mrope_section=[turned // 4, turned * 3 // 8, turned - turned // 4 - turned * 3 // 8],
        ),
    )  # fmt: skip
    model = fill(GlmImageTextModel._from_config(config, attn_implementation="sdpa"), dtype)

    def positions(first, count):
        return torch.arange(first, first + count).expand(3, 1, count)

    def run(embeddings, first, cache):
        model(inputs_embeds=embeddings, position_ids=positions(first, embeddings.shape[1]), past_key_values=cache,
              use_cache=True)  # fmt: skip

    prompt = torch.randn(1, sizes.prompt_tokens, sizes.ar_width, dtype=dtype)
    report.add(f"ar_layer.prefill_{sizes.prompt_tokens}",
               time_runs(1, repeat, lambda: run(prompt, 0, DynamicCache(config=config))))  # fmt: skip

    cache = DynamicCache(config=config)
    run(torch.randn(1, sizes.cached_tokens, sizes.ar_width, dtype=dtype), 0, cache)
    token = torch.randn(1, 1, sizes.ar_width, dtype=dtype)
    report.add(f"ar_layer.decode_{sizes.cached_tokens}",
               time_runs(4, 4 * repeat, lambda: run(token, cache.get_seq_length(), cache)))  # fmt: skip


def bench_dit_layer(report, sizes, dtype, repeat):
    from diffusers.models.transformers.transformer_glm_image import GlmImageRotaryPosEmbed, GlmImageTransformerBlock

    width = sizes.dit_heads * sizes.dit_head_dim
    block = fill(GlmImageTransformerBlock(width, sizes.dit_heads, sizes.dit_head_dim, sizes.time_dim), dtype)
    rope = GlmImageRotaryPosEmbed(sizes.dit_head_dim, patch_size=2, theta=10000.0)
    e = torch.randn(1, sizes.time_dim, dtype=dtype)
    for side in sizes.dit_grids:
        image = torch.randn(1, side * side, width, dtype=dtype)
        glyphs = torch.randn(1, sizes.glyph_tokens, width, dtype=dtype)
        angles = rope(torch.empty(1, 16, 2 * side, 2 * side))
        report.add(f"dit_layer.step_{side * side}", time_runs(1, repeat, lambda: block(image, glyphs, e, angles)))


def bench_vae_decoder(report, sizes, dtype, repeat):
    vae = diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=16, block_out_channels=sizes.vae_widths,
        layers_per_block=sizes.vae_layers, norm_num_groups=sizes.vae_groups, act_fn="silu", sample_size=1024,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    fill(vae, dtype)
    for side in sizes.picture_sides:
        latents = torch.randn(1, 16, side // 8, side // 8, dtype=dtype)
        report.add(f"vae.decode_{side}", time_runs(1, repeat, lambda: vae.decode(latents)))


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
            self.marks[before] = time.perf_counter()
            result = method(*args, **kwargs)
            if after:
                self.marks[after] = time.perf_counter()
            return result

        setattr(owner, name, timed)

    def mark_once(self, name):
        self.marks.setdefault(name, time.perf_counter())

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


def bench_generate(report, options, dtype, repeat):
    if not (options.model / "model_index.json").exists():
        report.skip("generate", f"{options.model} is not a checkpoint (no model_index.json)")
        return
    use_draft_size(options.model)

    def load():
        return diffusers.GlmImagePipeline.from_pretrained(options.model, torch_dtype=dtype)

    report.add("generate.load", time_runs(1, repeat, load))
    pipe = load()
    pipe.set_progress_bar_config(disable=True)
    stages = Stages(pipe, options.steps)
    size = options.size or pipe.vae.config.sample_size
    size = -(-size // 32) * 32  # as drawn by bench_pipeline, which rounds up
    runs = [stages.draw(options.prompt, size) for _ in range(1 + repeat)][1:]
    report.visual_tokens = stages.forwards - 1  # the last one drawn is the end id
    for stage in ("prefill", "visual_token", "glyphs", "denoise_step", "decode", "picture"):
        samples = [run[stage] for run in runs if stage in run]
        if samples:
            report.add(f"generate.{stage}", samples)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, comma-separated: " + ", ".join(PARTS))
    parser.add_argument("--model", type=Path, default=Path("checkpoints/mini"), help="checkpoint to draw with")
    parser.add_argument("--prompt", default='a green sign with the text "OPEN"')
    parser.add_argument("--size", type=int, help="pixels a side; default: the model's own size")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--threads", type=int, default=0, help="processor threads; 0: as torch chooses")
    parser.add_argument("--repeat", type=int, default=5, help="measured runs of each piece of work; the median counts")
    parser.add_argument("--quick", action="store_true", help="a smoke run with tiny sizes: the numbers mean nothing")
    parser.add_argument("--full", action="store_true", help="also the VAE decoder at 512 x 512 and 1024 x 1024")
    parser.add_argument("--out", type=Path, help="write the JSON to this file instead of printing it")
    return parser.parse_args()


def main():
    options = parse()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"reference.py: unknown parts: {', '.join(sorted(unknown))}")
    if options.threads:
        torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    dtype = getattr(torch, options.dtype)
    sizes, repeat = LayerSizes(), options.repeat
    if options.quick:
        sizes, repeat, options.steps = QUICK, 1, 2
    elif options.full:
        sizes.picture_sides += (512, 1024)

    report = Report()
    with torch.inference_mode():
        if "ar" in parts:
            bench_ar_layer(report, sizes, dtype, repeat)
        if "dit" in parts:
            bench_dit_layer(report, sizes, dtype, repeat)
        if "vae" in parts:
            bench_vae_decoder(report, sizes, dtype, repeat)
        if "generate" in parts:
            bench_generate(report, options, dtype, repeat)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, diffusers {diffusers.__version__}"
    text = json.dumps(
        {
            "implementation": versions,
            "dtype": options.dtype,
            "threads": torch.get_num_threads(),
            "quick": options.quick,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "visual_tokens": report.visual_tokens,
            "results": report.results,
            "skipped": report.skipped,
        },
        indent=2,
    )
    if options.out:
        options.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
