# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers of each tiny checkpoint."""

import dataclasses
import random

import torch


@dataclasses.dataclass
class Spec:
    """All the numbers of one tiny checkpoint. The defaults are those of `tiny_a`."""

    name: str = "tiny_a"
    seed: int = 1
    storage: torch.dtype = torch.float32
    shard_size: dict = dataclasses.field(default_factory=dict)  # part -> max_shard_size

    # Vocabulary: `codes` visual codes, then control ids up to `dit_tokens`; text and specials follow.
    codes: int = 64
    dit_tokens: int = 80
    begin: int = 64
    end: int = 65
    merges: int = 200
    specials_first: bool = False  # place the special tokens before the text instead of behind it
    shuffle_specials: bool = False
    ignore_merges: bool = True
    legacy_merges: bool = False  # "a b" strings instead of ["a", "b"] pairs

    # Language model
    width: int = 32
    layers: int = 2
    heads: int = 2
    kv_heads: int = 1
    feed_forward: int = 48
    rope_theta: float = 10000.0
    partial_rotary_factor: float = 0.5
    mrope_section: tuple = (1, 1, 2)
    temperature: float = 0.9
    top_p: float = 0.75

    # Vision tower and quantiser
    vision_width: int = 32
    vision_depth: int = 2
    vision_heads: int = 2
    vision_feed_forward: int = 48
    vision_image_size: int = 64
    code_width: int = 16
    min_pixels: int = 32 * 32
    max_pixels: int = 2048 * 2048

    # Glyph encoder
    glyph_width: int = 24
    glyph_layers: int = 2
    glyph_heads: int = 2
    glyph_head_dim: int = 8
    glyph_feed_forward: int = 32
    glyph_buckets: int = 32
    glyph_max_distance: int = 128

    # DiT
    dit_heads: int = 2
    dit_head_dim: int = 16
    dit_layers: int = 2
    time_width: int = 16
    condition_width: int = 8

    # VAE
    latent_channels: int = 16
    vae_widths: tuple = (4, 8, 8, 12)
    vae_layers: int = 1
    vae_groups: int = 4
    vae_sample_size: int = 48

    # Scheduler
    base_shift: float = 0.25
    max_shift: float = 0.75

    # Sides of the reference pictures this checkpoint can take (see traps.md 13)
    published_preprocessing: bool = False


SPECS = [
    Spec(),
    Spec(
        name="tiny_b", seed=2, shard_size={"vision_language_encoder": "120KB", "transformer": "60KB"},
        codes=48, dit_tokens=64, begin=50, end=49, merges=300, specials_first=True, shuffle_specials=True,
        ignore_merges=False, legacy_merges=True,
        width=48, layers=3, heads=6, kv_heads=3, feed_forward=40, rope_theta=500.0, partial_rotary_factor=1.0,
        mrope_section=(2, 1, 1), temperature=1.1, top_p=0.9,
        vision_width=24, vision_depth=3, vision_heads=3, vision_feed_forward=56, vision_image_size=96, code_width=12,
        min_pixels=48 * 48, max_pixels=256 * 256,
        glyph_width=20, glyph_layers=3, glyph_heads=3, glyph_head_dim=4, glyph_feed_forward=28, glyph_buckets=16, glyph_max_distance=40,
        dit_heads=3, dit_head_dim=8, dit_layers=3, time_width=12, condition_width=6,
        latent_channels=8, vae_widths=(4, 8, 8, 12), vae_layers=3, vae_groups=2, vae_sample_size=96,
        base_shift=0.4, max_shift=0.9,
    ),
    Spec(
        name="tiny_c", seed=3, storage=torch.bfloat16, codes=96, dit_tokens=112, begin=96, end=97, merges=160,
        width=48, layers=2, heads=3, kv_heads=1, feed_forward=80, partial_rotary_factor=0.75, mrope_section=(1, 3, 2),
        vision_width=48, vision_depth=2, vision_heads=3, vision_feed_forward=64, vision_image_size=128, code_width=20,
        min_pixels=512 * 512, published_preprocessing=True,
        glyph_width=28, glyph_layers=2, glyph_heads=3, glyph_head_dim=8, glyph_feed_forward=48,
        dit_heads=3, dit_head_dim=12, dit_layers=2, time_width=32, condition_width=16,
        latent_channels=4, vae_widths=(8, 8, 8, 16), vae_layers=2, vae_groups=8, vae_sample_size=128,
    ),
]  # fmt: skip


def random_spec(config_seed: int) -> Spec:
    """A consistent specification drawn from `config_seed`: every width, ratio and id is free within its rules."""
    draw = random.Random(config_seed)
    codes = draw.randrange(32, 200)
    control = draw.sample(range(codes, codes + 16), 2)
    kv_heads, group, head_dim = draw.choice([1, 2, 3]), draw.choice([1, 2, 3, 4]), draw.choice([8, 12, 16])
    rotary = draw.choice([r for r in (4, 6, 8, 12, 16) if r <= head_dim])
    cut = sorted(draw.choices(range(rotary // 2 + 1), k=2))
    vision_heads, groups = draw.choice([1, 2, 4]), draw.choice([1, 2, 4])
    return Spec(
        name=f"random_{config_seed}", seed=config_seed, storage=draw.choice([torch.float32, torch.bfloat16]),
        shard_size=draw.choice([{}, {"vision_language_encoder": "100KB"}, {"transformer": "50KB", "vae": "60KB"}]),
        codes=codes, dit_tokens=codes + 16, begin=control[0], end=control[1], merges=draw.randrange(0, 400),
        specials_first=draw.random() < 0.5, shuffle_specials=draw.random() < 0.5,
        ignore_merges=draw.random() < 0.5, legacy_merges=draw.random() < 0.5,
        width=kv_heads * group * head_dim, layers=draw.randrange(1, 4), heads=kv_heads * group, kv_heads=kv_heads,
        feed_forward=draw.randrange(20, 80), rope_theta=draw.choice([100.0, 10000.0, 1e6]),
        partial_rotary_factor=rotary / head_dim, mrope_section=(cut[0], cut[1] - cut[0], rotary // 2 - cut[1]),
        temperature=draw.choice([0.7, 0.9, 1.3]), top_p=draw.choice([0.5, 0.75, 0.95, 1.0]),
        vision_heads=vision_heads, vision_width=vision_heads * draw.choice([8, 12]), vision_depth=draw.randrange(1, 4),
        vision_feed_forward=draw.randrange(20, 60), vision_image_size=16 * draw.randrange(2, 9), code_width=draw.randrange(6, 24),
        min_pixels=draw.choice([32 * 32, 64 * 64]), max_pixels=draw.choice([256 * 256, 2048 * 2048]),
        glyph_width=draw.randrange(12, 40), glyph_layers=draw.randrange(1, 4), glyph_heads=draw.randrange(1, 5),
        glyph_head_dim=draw.choice([4, 6, 8]), glyph_feed_forward=draw.randrange(20, 60),
        glyph_buckets=draw.choice([8, 16, 32]), glyph_max_distance=draw.choice([40, 64, 128]),
        dit_heads=draw.randrange(1, 5), dit_head_dim=draw.choice([4, 8, 12, 16]), dit_layers=draw.randrange(1, 4),
        time_width=draw.choice([8, 12, 20, 32]), condition_width=draw.choice([4, 6, 10, 16]),
        latent_channels=draw.choice([4, 8, 16]), vae_widths=tuple(groups * draw.randrange(1, 16 // groups) for _ in range(4)),
        vae_layers=draw.randrange(1, 4), vae_groups=groups, vae_sample_size=draw.choice([48, 64, 96]),
        base_shift=draw.choice([0.25, 0.5]), max_shift=draw.choice([0.75, 1.15]),
    )  # fmt: skip
