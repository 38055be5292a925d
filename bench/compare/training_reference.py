#!/usr/bin/env python3
# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Times the same updates as bench_training with the reference classes and prints JSON under the same keys.

Needs torch, transformers 5.17.0 and diffusers 0.39.0. PyTorch eager in float32 on the CPU, with the attention the classes
choose by themselves; losses are those of the stages (src/train/losses), written over the reference classes; AdamW is
torch.optim.AdamW with its fused kernel, the one that src/train/optim calls as well. --flops counts instead of timing:
products of matrices, convolutions and attention of one update, forward and backward.
"""

import argparse
import contextlib
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
import torch.nn.functional as F
import transformers
from torch import nn

PARTS = ("vae", "tokenizer", "ar", "dit", "gemm")
CLASSES, BACKGROUNDS, PLACES = 96, 12, 49  # what the tokenizer's heads tell


@dataclass
class Sizes:
    """As TrainingSizes in bench/training.h; the defaults are the shipped preset's."""

    name: str = "mini"
    vae_widths: tuple = (32, 32, 64, 128)
    vae_layers: int = 1
    vae_groups: int = 8
    channels: int = 16
    vision_depth: int = 4
    vision_width: int = 160
    vision_heads: int = 4
    vision_image: int = 64
    codes: int = 1536
    code_width: int = 32
    glyph_width: int = 128
    glyph_layers: int = 3
    glyph_heads: int = 4
    glyph_head_dim: int = 32
    glyph_feed_forward: int = 256
    dit_heads: int = 4
    dit_head_dim: int = 64
    dit_layers: int = 5
    time_width: int = 64
    condition_width: int = 32
    ar_width: int = 192
    ar_layers: int = 4
    ar_heads: int = 3
    ar_kv_heads: int = 1
    ar_feed_forward: int = 512
    vocabulary: int = 2448
    visual_vocabulary: int = 1664
    mrope_section: tuple = (4, 6, 6)
    vae_batch: int = 8
    vae_side: int = 64
    tokenizer_batch: int = 64
    tokenizer_side: int = 4
    ar_batch: int = 64
    ar_prompt: int = 24
    ar_drawn: int = 21
    dit_batch: int = 32
    dit_side: int = 128


SIZES = {
    "mini": Sizes(),
    "published": Sizes(
        name="published", vae_widths=(128, 512, 1024, 1024), vae_layers=3, vae_groups=32,
        vision_depth=1, vision_width=1536, vision_heads=16, vision_image=2048, codes=16384, code_width=2048,
        glyph_width=1472, glyph_layers=1, glyph_heads=6, glyph_head_dim=64, glyph_feed_forward=3584,
        dit_heads=32, dit_head_dim=128, dit_layers=1, time_width=512, condition_width=256,
        ar_width=4096, ar_layers=1, ar_heads=32, ar_kv_heads=2, ar_feed_forward=13696,
        vocabulary=16512, visual_vocabulary=16512, mrope_section=(8, 12, 12),
        vae_batch=1, vae_side=128, tokenizer_batch=1, tokenizer_side=32, ar_batch=1, ar_prompt=256, ar_drawn=769,
        dit_batch=1, dit_side=512,
    ),
    "quick": Sizes(
        name="quick", vae_widths=(8, 8, 8, 8), vae_groups=4, channels=4,
        vision_depth=1, vision_width=32, vision_heads=2, vision_image=32, codes=64, code_width=8,
        glyph_width=16, glyph_layers=1, glyph_heads=2, glyph_head_dim=8, glyph_feed_forward=32,
        dit_heads=2, dit_head_dim=16, dit_layers=1, time_width=16, condition_width=8,
        ar_width=32, ar_layers=1, ar_heads=2, ar_feed_forward=32, vocabulary=500, visual_vocabulary=192, mrope_section=(1, 1, 2),
        vae_batch=2, vae_side=32, tokenizer_batch=2, tokenizer_side=2, ar_batch=2, ar_prompt=5, ar_drawn=6,
        dit_batch=2, dit_side=64,
    ),
}  # fmt: skip


def vae_step(s):
    model = diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=s.channels, block_out_channels=s.vae_widths,
        layers_per_block=s.vae_layers, norm_num_groups=s.vae_groups, act_fn="silu", sample_size=s.vae_side,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    pixels = torch.randn(s.vae_batch, 3, s.vae_side, s.vae_side).clamp(-1, 1)

    def loss():
        posterior = model.encode(pixels).latent_dist
        decoded = model.decode(posterior.sample(), return_dict=False)[0]
        edges = sum((decoded.diff(dim=d) - pixels.diff(dim=d)).abs().mean() for d in (2, 3))
        kl = 0.5 * (posterior.mean**2 + posterior.logvar.exp() - 1 - posterior.logvar).mean()
        return (decoded - pixels).abs().mean() + 0.5 * F.mse_loss(decoded, pixels) + edges + 2e-4 * kl

    return s.vae_batch, model, loss


class TokenizerHeads(nn.Module):
    """As TokenizerHeads in src/train/losses/tokenizer_loss.h, with the reference's block."""

    def __init__(self, s, config):
        super().__init__()
        from transformers.models.glm_image.modeling_glm_image import GlmImageVisionBlock

        self.name_alone = nn.Linear(s.code_width, CLASSES)
        self.part_alone = nn.Linear(s.code_width, PLACES)
        self.background_alone = nn.Linear(s.code_width, BACKGROUNDS)
        self.position = nn.Embedding((s.vision_image // 16) ** 2, s.vision_width)
        self.block = GlmImageVisionBlock(config)
        self.name = nn.Linear(s.vision_width, CLASSES)
        self.look = nn.Linear(s.vision_width, 3 * 4 * 4)


def tokenizer_step(s):
    from transformers.models.glm_image import configuration_glm_image as configuration
    from transformers.models.glm_image import modeling_glm_image as modeling

    vision = configuration.GlmImageVisionConfig(
        depth=s.vision_depth, hidden_size=s.vision_width, num_heads=s.vision_heads,
        intermediate_size=4 * s.vision_width, image_size=s.vision_image, attn_implementation="sdpa",
    )  # fmt: skip
    vq = configuration.GlmImageVQVAEConfig(
        embed_dim=s.code_width, num_embeddings=s.codes, latent_channels=s.vision_width
    )
    tower = modeling.GlmImageVisionModel._from_config(vision, attn_implementation="sdpa")
    quantiser, heads = modeling.GlmImageVQVAE(vq), TokenizerHeads(s, tower.config)
    for parameter in quantiser.parameters():
        parameter.requires_grad_(True)
    batch, side = s.tokenizer_batch, s.tokenizer_side
    cells = side * side
    patches = torch.randn(batch * cells, 3 * 16 * 16).clamp(-1, 1)
    grid = torch.tensor([[1, side, side]]).repeat(batch, 1)
    bounds = torch.arange(batch + 1, dtype=torch.int32) * cells
    labels = torch.randint(CLASSES, (batch * cells,))
    parts, background = torch.randint(PLACES, labels.shape), torch.randint(BACKGROUNDS, labels.shape)
    table = s.vision_image // 16
    axis = torch.arange(side) * table // side
    places = (axis[:, None] * table + axis).flatten().repeat(batch)
    looks = patches.view(-1, 3, 4, 4, 4, 4).mean((3, 5)).flatten(1)

    def loss():
        features = tower(patches, grid_thw=grid).last_hidden_state
        z = F.normalize(quantiser.quant_conv(features[:, :, None, None])[:, :, 0, 0], dim=-1)
        codes = F.normalize(quantiser.quantize.embedding.weight, dim=-1)
        with torch.no_grad():
            found = ((z**2).sum(1, keepdim=True) + (codes**2).sum(1) - 2 * z @ codes.t()).argmin(1)
        q = codes[found]
        scaled = (z + (q - z).detach()) * s.code_width**0.5
        x = quantiser.post_quant_conv(scaled[:, :, None, None])[:, :, 0, 0] + heads.position(places)
        x = heads.block(x, cu_seqlens=bounds)
        return (
            F.cross_entropy(heads.name_alone(scaled), labels)
            + 0.5 * F.cross_entropy(heads.name(x), labels)
            + F.cross_entropy(heads.part_alone(scaled), parts)
            + 0.3 * F.cross_entropy(heads.background_alone(scaled), background)
            + F.mse_loss(heads.look(x), looks)
            + s.code_width * (0.25 * F.mse_loss(z, q.detach()) + F.mse_loss(q, z.detach()))
        )

    return batch, nn.ModuleList([tower, quantiser, heads]), loss


def ar_step(s):
    """The language model and its head, the head only where something is to be predicted."""
    from transformers.models.glm_image.configuration_glm_image import GlmImageTextConfig
    from transformers.models.glm_image.modeling_glm_image import GlmImageTextModel

    config = GlmImageTextConfig(
        vocab_size=s.vocabulary, vision_vocab_size=s.visual_vocabulary, hidden_size=s.ar_width,
        num_hidden_layers=s.ar_layers, intermediate_size=s.ar_feed_forward, num_attention_heads=s.ar_heads,
        num_key_value_heads=s.ar_kv_heads, pad_token_id=0, eos_token_id=1,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5,
                             mrope_section=list(s.mrope_section)),
    )  # fmt: skip
    model = GlmImageTextModel._from_config(config, attn_implementation="sdpa")
    head = nn.Linear(s.ar_width, s.visual_vocabulary, bias=False)
    length = s.ar_prompt + s.ar_drawn - 1
    ids = torch.randint(s.vocabulary, (s.ar_batch, length))
    positions = torch.arange(length).expand(3, s.ar_batch, length)
    targets = torch.randint(s.visual_vocabulary, (s.ar_batch, s.ar_drawn)).flatten()

    def loss():
        hidden = model(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return F.cross_entropy(head(hidden[:, s.ar_prompt - 1 :]).flatten(0, 1), targets)

    return s.ar_batch, nn.ModuleList([model, head]), loss


def dit_step(s):
    model = diffusers.GlmImageTransformer2DModel(
        patch_size=2, in_channels=s.channels, out_channels=s.channels, num_layers=s.dit_layers,
        attention_head_dim=s.dit_head_dim, num_attention_heads=s.dit_heads, text_embed_dim=s.glyph_width,
        time_embed_dim=s.time_width, condition_dim=s.condition_width, prior_vq_quantizer_codebook_size=s.codes,
    )  # fmt: skip
    config = transformers.T5Config(
        vocab_size=384, d_model=s.glyph_width, d_kv=s.glyph_head_dim, d_ff=s.glyph_feed_forward,
        num_layers=s.glyph_layers, num_heads=s.glyph_heads, feed_forward_proj="gated-gelu", is_encoder_decoder=False,
        use_cache=False,
    )  # fmt: skip
    glyph_encoder = transformers.T5EncoderModel(config)
    batch, side = s.dit_batch, s.dit_side
    latents = torch.randn(batch, s.channels, side // 8, side // 8)
    prior = torch.randint(s.codes, (batch, (side // 16) ** 2))
    word = torch.tensor([[ord(letter) + 3 for letter in "OPEN"] + [1]]).repeat(batch, 1)
    size, crop = torch.full((1, 2), float(side)), torch.zeros(1, 2)
    mu = 0.25 + 0.75 * math.sqrt(prior.shape[1] / 256)

    def loss():
        times = torch.rand(batch).sqrt()
        sigmas = (mu * times / (1 + (mu - 1) * times))[:, None, None, None]
        epsilon, dropped = torch.randn_like(latents), torch.rand(batch) < 0.1
        ids, mask = word.clone(), torch.ones_like(word)
        ids[dropped, 1:], ids[dropped, 0], mask[dropped, 1:] = 0, 1, 0
        velocity = model(
            hidden_states=(1 - sigmas) * latents + sigmas * epsilon,
            encoder_hidden_states=glyph_encoder(ids, mask).last_hidden_state,
            prior_token_id=prior, prior_token_drop=dropped[:, None].expand_as(prior),
            timestep=(times * 1000 - 1).clamp_min(0), target_size=size.repeat(batch, 1), crop_coords=crop.repeat(batch, 1),
            attention_mask=mask, return_dict=False,
        )[0]  # fmt: skip
        return F.mse_loss(velocity, epsilon - latents)

    return batch, nn.ModuleList([model, glyph_encoder]), loss


STEPS = {"vae": vae_step, "tokenizer": tokenizer_step, "ar": ar_step, "dit": dit_step}


def time_runs(repeat, work):
    work()
    samples = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        samples.append(time.perf_counter() - began)
    return {"seconds": statistics.median(samples), "min": min(samples), "max": max(samples), "samples": len(samples)}


def run_step(part, sizes, repeat, count):
    """One update, timed or counted -> the entry of its key."""
    batch, model, loss = STEPS[part](sizes)
    model.eval()  # no dropout, as in the stages; gradients flow all the same
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.01},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)

    def update():
        loss().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    entry = {"batch": batch, "parameters": sum(p.numel() for p in parameters)}
    if not count:
        return entry | time_runs(repeat, update)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # only plain products are counted
        loss().backward()
    return entry | {"flops": counter.get_total_flops()}


def run_gemm(side, repeat):
    a, b = torch.randn(side, side), torch.randn(side, side)
    return {"flops": 2 * side**3} | time_runs(repeat, lambda: a @ b)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, comma-separated: " + ", ".join(PARTS))
    parser.add_argument("--sizes", default="mini,published", help="mini, published or both")
    parser.add_argument("--threads", type=int, default=0, help="processor threads; 0: as torch chooses")
    parser.add_argument("--repeat", type=int, default=3, help="measured updates of each stage")
    parser.add_argument("--flops", action="store_true", help="count the work of an update instead of timing it")
    parser.add_argument("--quick", action="store_true", help="a smoke run with tiny sizes: the numbers mean nothing")
    parser.add_argument("--out", type=Path, help="write the JSON to this file instead of printing it")
    return parser.parse_args()


def main():
    options = parse()
    parts, names = options.only.split(","), ["quick"] if options.quick else options.sizes.split(",")
    if unknown := (set(parts) - set(PARTS)) | (set(names) - set(SIZES)):
        sys.exit(f"training_reference.py: unknown: {', '.join(sorted(unknown))}")
    if options.threads:
        torch.set_num_threads(options.threads)
    repeat = 1 if options.quick else options.repeat
    results = {}
    if "gemm" in parts and not options.flops:
        side = 256 if options.quick else 4096
        results[f"gemm.{side}"] = run_gemm(side, repeat)
    for name in names:
        for part in (part for part in parts if part != "gemm"):
            results[f"{part}.{name}"] = run_step(part, SIZES[name], repeat, options.flops)
    with contextlib.redirect_stdout(sys.stderr):
        for key, entry in results.items():
            print(key, entry)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, diffusers {diffusers.__version__}"
    content = {
        "implementation": versions,
        "threads": torch.get_num_threads(),
        "quick": options.quick,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "results": results,
    }
    text = json.dumps(content, indent=2)
    if options.out:
        options.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
