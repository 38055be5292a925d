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
    make_golden.py --random-config 7 --name r7 --seed 3 --out /tmp/golden
                                                  a checkpoint nobody has seen, with goldens, elsewhere

Layout under --out:
    manifest.json  pictures/*.png  resize.safetensors  sampler.safetensors  smart_resize.json  byte_cases.json  glyph_cases.json
    <name>/manifest.json  <name>/checkpoint/**  <name>/modules.safetensors  <name>/cases/<case>.safetensors
    <name>/schedule.safetensors  <name>/preprocess.safetensors  <name>/tokenizer_cases.json  <name>/chat_cases.json
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import platform
import random
import shutil
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import diffusers
import numpy as np
import PIL
import safetensors
import safetensors.torch
import tokenizers
import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, GlmImagePipeline, GlmImageTransformer2DModel
from diffusers.models.transformers.transformer_glm_image import GlmImageKVCache
from PIL import Image, ImageDraw
from transformers import ByT5Tokenizer, GlmImageConfig, GlmImageForConditionalGeneration, T5Config, T5EncoderModel

diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
REPOSITORY = Path(__file__).resolve().parents[2]

# --------------------------------------------------------------------------------------------------------------------
# Specifications
# --------------------------------------------------------------------------------------------------------------------


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
    vae_sample_size: int = 64

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
        glyph_width=32, glyph_layers=2, glyph_heads=3, glyph_head_dim=8, glyph_feed_forward=48,
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
        vae_layers=draw.randrange(1, 4), vae_groups=groups, vae_sample_size=draw.choice([64, 96]),
        base_shift=draw.choice([0.25, 0.5]), max_shift=draw.choice([0.75, 1.15]),
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# processor/: tokenizer, chat template, picture settings
# --------------------------------------------------------------------------------------------------------------------

TRAINING_TEXT = """
A red apple on a wooden table, soft morning light, high detail. The sign above the door says "OPEN" and "CLOSED".
Draw a picture of a small white cat with blue eyes; the cat is sitting on the window. Don't touch it, they're sleeping, we'll see.
An astronaut riding a horse on mars, photograph, 1024 by 768, in the style of an oil painting. The quick brown fox jumps over the lazy dog.
一只红色的苹果放在桌子上，旁边写着「你好，世界」。一块写着“欢迎光临”的牌子，背景是蓝色的天空和白色的云。请画一只可爱的猫。
可爱的小狗在草地上奔跑，阳光明媚，高清照片。中国风的山水画，远处有一座红色的桥。这是一张海报，标题是“人工智能”。
Ein kleines Mädchen läuft über die Straße. Un café à la crème, s'il vous plaît. Привет, мир! こんにちは世界。 안녕하세요
😀 😃 🙂 🐱 🐶 🍎 🚗 👩‍👩‍👧‍👦 🇨🇳 ❤️ 👍🏽   int main() { return 0; }   x = y + 1;  for (int i = 0; i < n; ++i) sum += a[i];
"""

# The split of the GLM-4 tokenizer: contractions, words with one leading sign, up to three digits, signs, line ends, blanks.
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = [
    "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>",
    "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>",
]  # fmt: skip

CHAT_TEMPLATE = """{%- for message in messages -%}
{%- if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for item in message['content'] -%}
{%- if item['type'] == 'image' -%}
BEGIN<|image|>END
{%- elif item['type'] == 'text' -%}
{{ item['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
"""


def dit_token(index: int) -> str:
    return f"<|dit_token_{index}|>"


def build_tokenizer(spec: Spec) -> tuple[dict, dict]:
    """-> (tokenizer.json, {special token: id}); ids: dit tokens from 0, then text and specials in the order asked for."""
    byte_level = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(PRE_TOKENIZER), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = byte_level
    trained.decoder = tokenizers.decoders.ByteLevel()
    trained.post_processor = tokenizers.processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + spec.merges, min_frequency=1, show_progress=False, initial_alphabet=sorted(alphabet))
    trained.train_from_iterator(TRAINING_TEXT.splitlines(), trainer)
    described = json.loads(trained.to_str())

    text = [t for t, _ in sorted(described["model"]["vocab"].items(), key=lambda item: item[1])]
    specials = SPECIALS + ["<think>", "</think>"]
    if spec.shuffle_specials:
        random.Random(spec.seed).shuffle(specials)
    dits = [dit_token(i) for i in range(spec.dit_tokens)]
    order = dits + (specials + text if spec.specials_first else text + specials)
    ids = {token: i for i, token in enumerate(order)}

    # As in the published file the dit tokens are part of the vocabulary as well as added tokens: only so may they come
    # first. Specials behind the text exist as added tokens alone.
    in_vocabulary = order if spec.specials_first else dits + text
    described["model"]["vocab"] = {token: ids[token] for token in in_vocabulary}
    described["model"]["ignore_merges"] = spec.ignore_merges
    if spec.legacy_merges:
        described["model"]["merges"] = [" ".join(pair) for pair in described["model"]["merges"]]
    described["added_tokens"] = [
        {"id": ids[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": "think" not in token}
        for token in sorted(dits + specials, key=ids.get)
    ]  # fmt: skip
    return described, {token: ids[token] for token in specials}


def write_processor(spec: Spec, folder: Path) -> dict:
    """Writes processor/ and returns the ids of the special tokens."""
    folder.mkdir(parents=True)
    described, special_ids = build_tokenizer(spec)
    begin, end = dit_token(spec.begin), dit_token(spec.end)
    settings = {
        "added_tokens_decoder": {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in described["added_tokens"]},
        "bos_token": begin,
        "clean_up_tokenization_spaces": False,
        "do_lower_case": False,
        "eos_token": end,
        "extra_special_tokens": {"image_token": "<|image|>", "grid_bos_token": "<sop>", "grid_eos_token": "<eop>"},
        "grid_bos_token": "<sop>",
        "grid_eos_token": "<eop>",
        "image_token": "<|image|>",
        "model_max_length": 128000,
        "pad_token": end,
        "padding_side": "left",
        "processor_class": "GlmImageProcessor",
        "remove_space": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    pictures = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "GlmImageImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "max_pixels": spec.max_pixels,
        "merge_size": 1,
        "min_pixels": spec.min_pixels,
        "patch_size": 16,
        "processor_class": "GlmImageProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "temporal_patch_size": 1,
    }
    write_json(folder / "tokenizer.json", described)
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "preprocessor_config.json", pictures)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("BEGIN", begin).replace("END", end), encoding="utf-8")
    return special_ids


def write_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


# --------------------------------------------------------------------------------------------------------------------
# Weights
# --------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def randomise(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Weights under which a wrong order, sign or axis shows: unit variance through every layer, no zero bias, norms near 1."""

    def fill(tensor, mean, std):
        tensor.copy_(mean + std * torch.randn(tensor.shape, generator=generator))

    done = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in done:  # T5 shares its table
                continue
            done.add(parameter)
            if isinstance(module, torch.nn.Embedding):
                fill(parameter, 0.0, 1.0)
            elif parameter.ndim == 1:
                fill(parameter, *((1.0, 0.2) if name == "weight" else (0.0, 0.2)))
            else:
                fill(parameter, 0.0, parameter[0].numel() ** -0.5)


def build_language_model(spec: Spec, special_ids: dict, generator: torch.Generator) -> GlmImageForConditionalGeneration:
    vocabulary = -(-max(spec.dit_tokens + 256 + spec.merges + len(SPECIALS) + 2, max(special_ids.values()) + 1) // 32) * 32
    config = GlmImageConfig(
        text_config=dict(
            vocab_size=vocabulary, vision_vocab_size=spec.dit_tokens, hidden_size=spec.width, num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads, num_key_value_heads=spec.kv_heads, intermediate_size=spec.feed_forward,
            eos_token_id=spec.end, pad_token_id=special_ids["<|endoftext|>"],
            rope_parameters=dict(rope_type="default", rope_theta=spec.rope_theta,
                                 partial_rotary_factor=spec.partial_rotary_factor, mrope_section=list(spec.mrope_section)),
        ),
        vision_config=dict(
            depth=spec.vision_depth, hidden_size=spec.vision_width, num_heads=spec.vision_heads,
            intermediate_size=spec.vision_feed_forward, image_size=spec.vision_image_size,
        ),
        vq_config=dict(embed_dim=spec.code_width, num_embeddings=spec.codes, latent_channels=spec.vision_width),
        image_start_token_id=spec.begin, image_end_token_id=spec.end, image_token_id=special_ids["<|image|>"],
    )  # fmt: skip
    model = GlmImageForConditionalGeneration(config).eval()
    randomise(model, generator)
    with torch.no_grad():
        # The control ids must never be drawn, or the grid stays incomplete and the reference fails (traps.md 1). The head
        # has no bias, so channel 0 carries a constant through all layers and the rows of the control ids look at it alone.
        model.model.language_model.embed_tokens.weight[:, 0] = 2.0
        for layer in model.model.language_model.layers:
            layer.post_self_attn_layernorm.weight[0] = 0.02
            layer.post_mlp_layernorm.weight[0] = 0.02
        model.model.language_model.norm.weight[0] = 1.0
        model.lm_head.weight *= 1.8
        model.lm_head.weight[spec.codes :] = 0.0
        model.lm_head.weight[spec.codes :, 0] = -60.0
        # Pictures are smooth: without these gains nearly all patches would get the same code.
        model.model.visual.embeddings.position_embedding.weight *= 2.0
        model.model.visual.patch_embed.proj.weight *= 2.0
        model.model.vqmodel.quant_conv.weight *= 3.0
    model.generation_config = transformers.GenerationConfig(
        do_sample=True, temperature=spec.temperature, top_p=spec.top_p, top_k=spec.dit_tokens,
        eos_token_id=spec.end, pad_token_id=special_ids["<|image|>"],
    )  # fmt: skip
    return model


def build_text_encoder(spec: Spec, generator: torch.Generator) -> T5EncoderModel:
    config = T5Config(
        vocab_size=384, d_model=spec.glyph_width, d_kv=spec.glyph_head_dim, d_ff=spec.glyph_feed_forward,
        num_layers=spec.glyph_layers, num_heads=spec.glyph_heads, relative_attention_num_buckets=spec.glyph_buckets,
        relative_attention_max_distance=spec.glyph_max_distance, feed_forward_proj="gated-gelu", dropout_rate=0.1,
        layer_norm_epsilon=1e-6, is_encoder_decoder=False, use_cache=False, tie_word_embeddings=False,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    model = T5EncoderModel(config).eval()
    randomise(model, generator)
    with torch.no_grad():
        for block in model.encoder.block:  # attention here has no 1/sqrt(d): keep the softmax soft
            block.layer[0].SelfAttention.q.weight *= 1.5 * spec.glyph_head_dim**-0.5
    return model


def build_transformer(spec: Spec, generator: torch.Generator) -> GlmImageTransformer2DModel:
    model = GlmImageTransformer2DModel(
        patch_size=2, in_channels=spec.latent_channels, out_channels=spec.latent_channels, num_layers=spec.dit_layers,
        attention_head_dim=spec.dit_head_dim, num_attention_heads=spec.dit_heads, text_embed_dim=spec.glyph_width,
        time_embed_dim=spec.time_width, condition_dim=spec.condition_width, prior_vq_quantizer_codebook_size=spec.codes,
    ).eval()  # fmt: skip
    randomise(model, generator)
    return model


def build_vae(spec: Spec, generator: torch.Generator) -> AutoencoderKL:
    draw = random.Random(spec.seed)
    model = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=spec.latent_channels, block_out_channels=spec.vae_widths,
        layers_per_block=spec.vae_layers, norm_num_groups=spec.vae_groups, act_fn="silu", sample_size=spec.vae_sample_size,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, mid_block_add_attention=False,
        use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.18215,
        latents_mean=[round(draw.uniform(-0.6, 0.6), 4) for _ in range(spec.latent_channels)],
        latents_std=[round(draw.uniform(0.5, 2.0), 4) for _ in range(spec.latent_channels)],
    ).eval()  # fmt: skip
    randomise(model, generator)
    return model


def build_checkpoint(spec: Spec, folder: Path) -> None:
    """Writes the whole checkpoint in the published layout."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generator = torch.Generator("cpu").manual_seed(spec.seed)
    special_ids = write_processor(spec, folder / "processor")
    parts = {
        "vision_language_encoder": build_language_model(spec, special_ids, generator),
        "text_encoder": build_text_encoder(spec, generator),
        "transformer": build_transformer(spec, generator),
        "vae": build_vae(spec, generator),
    }
    for part, model in parts.items():
        # As published: the glyph encoder is float32 whatever the rest is.
        model.to(torch.float32 if part == "text_encoder" else spec.storage)
        model.save_pretrained(folder / part, max_shard_size=spec.shard_size.get(part, "10MB"))
    ByT5Tokenizer().save_pretrained(folder / "tokenizer")
    FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000, use_dynamic_shifting=True, time_shift_type="linear", base_image_seq_len=256,
        max_image_seq_len=4096, base_shift=spec.base_shift, max_shift=spec.max_shift, shift=1.0,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    write_json(folder / "model_index.json", {
        "_class_name": "GlmImagePipeline",
        "_diffusers_version": "0.37.0.dev0",
        "processor": ["transformers", "GlmImageProcessor"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "ByT5Tokenizer"],
        "transformer": ["diffusers", "GlmImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "vision_language_encoder": ["transformers", "GlmImageForConditionalGeneration"],
    })  # fmt: skip


def load_pipeline(folder: Path) -> GlmImagePipeline:
    pipe = GlmImagePipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    for part in ("vision_language_encoder", "text_encoder", "transformer", "vae"):
        model = getattr(pipe, part).eval()
        assert {p.dtype for p in model.parameters()} == {torch.float32}, part
    return pipe


# --------------------------------------------------------------------------------------------------------------------
# Where goldens go: written, or compared with what is there
# --------------------------------------------------------------------------------------------------------------------


class Sink:
    """Writes golden files under `root`; with `check` compares them instead and collects the differences."""

    def __init__(self, root: Path, check: bool):
        self.root, self.check, self.differences, self.files = root, check, [], 0

    def tensors(self, name: str, content: dict) -> None:
        content = {key: value.detach().contiguous().clone() for key, value in content.items()}
        path = self.root / name
        self.files += 1
        if not self.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_file(dict(sorted(content.items())), path)
            path.chmod(0o644)
            return
        stored = safetensors.torch.load_file(path)
        for key in sorted(stored.keys() ^ content.keys()):
            self.differences.append(f"{name}: {key} is in one of the two only")
        for key in sorted(stored.keys() & content.keys()):
            old, new = stored[key], content[key]
            if old.shape != new.shape or old.dtype != new.dtype:
                self.differences.append(f"{name}: {key} was {old.dtype}{list(old.shape)}, is {new.dtype}{list(new.shape)}")
            elif not torch.allclose(old.double(), new.double(), rtol=1e-4, atol=1e-5 if new.is_floating_point() else 0):
                self.differences.append(f"{name}: {key} differs by up to {(old.double() - new.double()).abs().max():.3g}")

    def json(self, name: str, content) -> None:
        path = self.root / name
        self.files += 1
        if not self.check:
            write_json(path, content)
        elif json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(content)):
            self.differences.append(f"{name}: differs")


# --------------------------------------------------------------------------------------------------------------------
# Pictures: smooth and flat regions, sharp edges, no symmetry
# --------------------------------------------------------------------------------------------------------------------

PICTURES = {
    "square64": (64, 64), "wide96x64": (96, 64), "tall64x128": (64, 128), "square96": (96, 96), "wide192x96": (192, 96),
    "square512": (512, 512), "wide640x512": (640, 512), "odd101x77": (101, 77),
}  # fmt: skip


def draw_picture(name: str) -> Image.Image:
    width, height = PICTURES[name]
    draw = random.Random(name)
    steps = 12 if width > 256 else 256  # few levels keep the large files small
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    mix = [draw.uniform(-1, 1) for _ in range(6)]
    channels = [0.5 + 0.5 * np.sin(3 * (mix[2 * c] * across + mix[2 * c + 1] * down) + c) for c in range(3)]
    levels = np.floor(np.stack(channels, -1) * (steps - 1)) * (255 // (steps - 1))
    picture = Image.fromarray(levels.astype(np.uint8), "RGB")
    pen = ImageDraw.Draw(picture)
    for shape in ("ellipse", "rectangle", "ellipse"):
        x, y = draw.uniform(0, 0.6) * width, draw.uniform(0, 0.6) * height
        box = (x, y, x + draw.uniform(0.2, 0.5) * width, y + draw.uniform(0.2, 0.5) * height)
        getattr(pen, shape)(box, fill=tuple(draw.randrange(256) for _ in range(3)))
    pen.line((0, height - 1, width - 1, 0), fill=(255, 255, 0), width=max(1, width // 40))
    return picture


def write_pictures(root: Path) -> None:
    (root / "pictures").mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        draw_picture(name).save(root / "pictures" / f"{name}.png", optimize=True)


def read_picture(root: Path, name: str) -> Image.Image:
    return Image.open(root / "pictures" / f"{name}.png").convert("RGB")


# --------------------------------------------------------------------------------------------------------------------
# Whole-pipeline traces
# --------------------------------------------------------------------------------------------------------------------


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
    one, two = ("square512", "wide640x512") if large else ("square64", "wide96x64")
    cases = [
        Case("t2i_square", "A red apple on a wooden table, soft light", seed=42),
        Case("t2i_wide", "an astronaut riding a horse on mars, 1024", width=96, steps=4, seed=1234),
        Case("t2i_tall_quoted", 'A sign that says "OPEN" and “CLOSED”', height=96, seed=7),
        Case("t2i_chinese", "一块写着「你好」和“世界，你好”的牌子，旁边有一只猫。", seed=2025, steps=4),
        Case("t2i_emoji", "👩‍👩‍👧‍👦 e\u0301 ＨＥＬＬＯ ½ 🇨🇳\n\n\t 1234567  don't “🙂\u200d” \u00a0\u3000 naïve", seed=2**32 + 5, height=32),
        Case("t2i_guidance1", "a 'stop' sign", guidance_scale=1.0, seed=3, width=32),
        Case("t2i_greedy", "A red apple on a wooden table, soft light", seed=42, width=32, greedy=True),
        Case("t2i_one_step", "cat", steps=1, seed=2**63 - 1, width=32, height=32),
        Case("t2i_guidance4", "“a” “bc” “def” 'gh' \"\" 「ij」", guidance_scale=4.0, seed=11, width=32),
        Case("t2i_128x64", "黄昏的山水画 with a bridge", width=128, seed=99),
        Case("t2i_crop", "a cropped 'crop'", seed=5, crop=(8, 24), height=32),
        Case("edit_one", "make the circle blue", pictures=(one,), seed=8, width=96),
        Case("edit_two", "put “both” together", pictures=(two, one), width=96, seed=2**33 + 17),
        Case("edit_guidance1", "变成黑白", pictures=("wide640x512" if large else "tall64x128",), height=96, guidance_scale=1.0, seed=21),
        Case("edit_greedy", "make it greedy", pictures=(one,), seed=4, width=96, height=32, greedy=True),
    ]  # fmt: skip
    # The full list for the first one; the others repeat what depends on their differences (and keep the files small).
    left_out = {"tiny_b": ("t2i_one_step", "t2i_guidance4", "t2i_128x64", "t2i_crop", "edit_greedy"),
                "tiny_c": ("t2i_guidance1", "t2i_greedy", "t2i_guidance4", "t2i_128x64", "t2i_crop", "edit_greedy")}  # fmt: skip
    return [case for case in cases if case.name not in left_out.get(spec.name, ())]


@contextlib.contextmanager
def wrapped(target, name: str, record, override=None):
    """Replaces `target.name` by itself followed by `record(result, *args, **kwargs)` for the time of the block."""
    original = getattr(target, name)

    def call(*args, **kwargs):
        kwargs.update(override or {})
        result = original(*args, **kwargs)
        record(result, *args, **kwargs)
        return result

    setattr(target, name, call)
    try:
        yield
    finally:
        delattr(target, name)  # all targets are instances: the class's own method shows again


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
            for i, (part, grid) in enumerate(zip(torch.split(ids, grids.prod(-1).tolist()), grids)):
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


# --------------------------------------------------------------------------------------------------------------------
# Modules: inputs, outputs, inner values, gradients
# --------------------------------------------------------------------------------------------------------------------


class Recorder:
    """Collects tensors by name, module outputs by hooks, and gradients of a random projection."""

    def __init__(self, seed: int):
        self.tensors, self.generator = {}, torch.Generator("cpu").manual_seed(seed)

    def normal(self, *shape) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator)

    def integers(self, high: int, *shape, low: int = 0) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=self.generator)

    @contextlib.contextmanager
    def outputs_of(self, modules: dict):
        """{name: module}: the first call's output of each goes to `name` (a tuple's parts to `name`, `name.1`, …)."""

        def hook(name):
            def record(_, __, output):
                parts = [part for part in (output if isinstance(output, tuple) else (output,)) if torch.is_tensor(part)]
                for i, part in enumerate(parts):
                    self.tensors.setdefault(name if i == 0 else f"{name}.{i}", part.detach().clone())

            return record

        handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
        yield
        for handle in handles:
            handle.remove()

    def gradients(self, part: str, output: torch.Tensor, model: torch.nn.Module, names: list[str], inputs: dict | None = None):
        """d sum(output · projection) / d parameter as `grad.<part>.<name>`, with `grad.<part>.projection` beside them."""
        projection = self.normal(*output.shape)
        self.tensors[f"grad.{part}.projection"] = projection
        model.zero_grad(set_to_none=True)
        (output * projection).sum().backward()
        parameters = dict(model.named_parameters())
        for name in names:
            self.tensors[f"grad.{part}.{name}"] = parameters[name].grad.clone()
        for name, tensor in (inputs or {}).items():
            self.tensors[f"grad.{part}.{name}"] = tensor.grad.clone()
        model.zero_grad(set_to_none=True)


def record_vae(rec: Recorder, pipe: GlmImagePipeline) -> None:
    vae = pipe.vae
    picture = rec.normal(1, 3, 32, 48).clamp(-1, 1).requires_grad_()
    inner = {
        "vae.encoder.conv_in.out": vae.encoder.conv_in,
        "vae.encoder.down_blocks.0.resnets.0.out": vae.encoder.down_blocks[0].resnets[0],
        "vae.encoder.down_blocks.0.out": vae.encoder.down_blocks[0],
        "vae.encoder.down_blocks.3.out": vae.encoder.down_blocks[3],
        "vae.encoder.mid_block.out": vae.encoder.mid_block,
    }
    with rec.outputs_of(inner):
        moments = vae._encode(picture)
    rec.tensors |= {"vae.encoder.in": picture.detach(), "vae.encoder.out": moments.detach()}
    rec.gradients("vae.encoder", moments, vae, [
        "encoder.conv_in.weight", "encoder.down_blocks.0.downsamplers.0.conv.weight", "encoder.down_blocks.1.resnets.0.norm1.weight",
        "encoder.mid_block.resnets.1.conv2.bias", "encoder.conv_out.weight"], {"in": picture})  # fmt: skip

    latents = rec.normal(1, vae.config.latent_channels, 4, 6).requires_grad_()
    inner = {
        "vae.decoder.conv_in.out": vae.decoder.conv_in,
        "vae.decoder.mid_block.out": vae.decoder.mid_block,
        "vae.decoder.up_blocks.0.out": vae.decoder.up_blocks[0],
        "vae.decoder.up_blocks.2.resnets.0.out": vae.decoder.up_blocks[2].resnets[0],
    }
    with rec.outputs_of(inner):
        decoded = vae.decode(latents, return_dict=False)[0]
    rec.tensors |= {"vae.decoder.in": latents.detach(), "vae.decoder.out": decoded.detach()}
    rec.gradients("vae.decoder", decoded, vae, [
        "decoder.conv_in.weight", "decoder.up_blocks.0.upsamplers.0.conv.weight", "decoder.up_blocks.3.resnets.0.norm1.bias",
        "decoder.mid_block.resnets.0.conv1.weight", "decoder.conv_out.weight"], {"in": latents})  # fmt: skip

    # Tiling with tiles of sample_size pixels: two tiles down, two across, sizes that do not divide.
    tile = vae.config.sample_size
    with torch.no_grad():
        vae.enable_tiling()
        latents = rec.normal(1, vae.config.latent_channels, tile // 8 + 2, tile // 8 + 5)
        picture = rec.normal(1, 3, tile, tile + 16).clamp(-1, 1)
        rec.tensors |= {"vae.tiled.decoder.in": latents, "vae.tiled.encoder.in": (picture * 127).round().to(torch.int8)}
        rec.tensors["vae.tiled.decoder.out"] = vae.decode(latents, return_dict=False)[0].half()
        rec.tensors["vae.tiled.encoder.out"] = vae._encode(rec.tensors["vae.tiled.encoder.in"].float() / 127)
        vae.disable_tiling()


def record_glyph(rec: Recorder, pipe: GlmImagePipeline) -> None:
    encoder = pipe.text_encoder
    ids = rec.integers(259, 1, 140, low=3)  # longer than max_distance, so that every bucket is used
    blocks = encoder.encoder.block
    inner = {"glyph.block.0.attention.out": blocks[0].layer[0], "glyph.block.0.out": blocks[0].layer[1], "glyph.last_block.out": blocks[-1].layer[1]}
    bias = {}
    with rec.outputs_of(inner), wrapped(blocks[0].layer[0].SelfAttention, "compute_bias", lambda out, *_, **__: bias.update(out=out)):
        output = encoder(ids).last_hidden_state
    rec.tensors |= {"glyph.in_ids": ids, "glyph.out": output.detach(), "glyph.bias.row0": bias["out"][0, :, 0].detach(),
                    "glyph.bias.row_last": bias["out"][0, :, -1].detach()}  # fmt: skip
    rec.gradients("glyph", output, encoder, [
        "shared.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "encoder.block.0.layer.0.SelfAttention.q.weight",
        "encoder.block.1.layer.1.DenseReluDense.wi_0.weight" if len(blocks) > 1 else "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
        "encoder.block.0.layer.1.DenseReluDense.wo.weight", "encoder.final_layer_norm.weight"])  # fmt: skip
    with torch.no_grad():
        rec.tensors |= {"glyph.end_only.in_ids": torch.tensor([[1]]), "glyph.end_only.out": encoder(torch.tensor([[1]])).last_hidden_state}


def record_visual(rec: Recorder, pipe: GlmImagePipeline) -> None:
    """Two pictures in one call, grids 3×2 and 2×5."""
    model, tower = pipe.vision_language_encoder, pipe.vision_language_encoder.model.visual
    grid = torch.tensor([[1, 3, 2], [1, 2, 5]])
    pixels = rec.normal(16, 3 * 16 * 16).clamp(-1, 1)
    pixels = (pixels * 8).round() / 8  # few values: compresses, and stays exact in any type
    inner = {
        "visual.patch_embed.out": tower.patch_embed,
        "visual.embeddings.out": tower.embeddings,
        "visual.block.0.out": tower.blocks[0],
        "visual.vq.quant_conv.last_picture": model.model.vqmodel.quant_conv,
    }
    with rec.outputs_of(inner):
        features = tower(pixels, grid_thw=grid).last_hidden_state
        with torch.no_grad():
            codes = model.get_image_tokens(features.flip(0).split([10, 6])[0], grid[1:])
            ids = model.get_image_tokens(features, grid)
    del codes, rec.tensors["visual.vq.quant_conv.last_picture"]
    with torch.no_grad():
        z = model.model.vqmodel.quant_conv(features[:, :, None, None])[:, :, 0, 0]
    rec.tensors |= {"visual.pixel_values": pixels, "visual.grid": grid, "visual.features": features.detach(), "visual.ids": ids, "visual.z": z}
    rec.gradients("visual", features, model, [f"model.visual.{name}" for name in (
        "patch_embed.proj.bias", "embeddings.position_embedding.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.bias", "blocks.0.norm1.weight")])  # fmt: skip


def record_ar(rec: Recorder, pipe: GlmImagePipeline, pictures: list[Image.Image]) -> None:
    """Prefill and a few decode steps as `generate` runs them; teacher forcing with explicit positions and its gradients."""
    model = pipe.vision_language_encoder
    text = model.model.language_model
    for prefix, prompt, images, height, width in (("ar", "a cat and a 'dog', 12", [], 64, 96), ("ar_edit", "改成 red", pictures, 96, 64)):
        content = [{"type": "image", "image": image} for image in images] + [{"type": "text", "text": prompt}]
        inputs = pipe.processor.apply_chat_template(
            [[{"role": "user", "content": content}]], tokenize=True, target_h=height, target_w=width, return_dict=True, return_tensors="pt")
        calls = []
        torch.manual_seed(1)
        with rec.outputs_of({f"{prefix}.layer.0.out": text.layers[0], f"{prefix}.norm.out": text.norm}), \
                wrapped(text, "forward", lambda out, **kwargs: calls.append(kwargs["position_ids"])), torch.no_grad():  # fmt: skip
            output = model.generate(**inputs, max_new_tokens=6, output_logits=True, return_dict_in_generate=True)
        length = inputs["input_ids"].shape[1]
        rec.tensors |= {
            f"{prefix}.input_ids": inputs["input_ids"], f"{prefix}.grids": inputs["image_grid_thw"],
            f"{prefix}.decode.input_ids": output.sequences[:, length:],
            f"{prefix}.position_ids": calls[0], f"{prefix}.decode.position_ids": model.model._cached_decode_position_ids.permute(1, 0, 2),
            f"{prefix}.decode.logits": torch.stack(output.logits, 1),  # (1, 6, Vv): the k-th chooses the k-th new id
        }  # fmt: skip
        if images:
            with torch.no_grad():
                grids = inputs["image_grid_thw"][:-1]
                features = torch.cat(model.get_image_features(inputs["pixel_values"], grids).pooler_output)
                codes = model.get_image_tokens(features, grids)
            replaced = inputs["input_ids"].masked_scatter(inputs["input_ids"] == model.config.image_token_id, codes)
            rec.tensors[f"{prefix}.image_ids"] = codes[None]
        else:
            replaced = inputs["input_ids"]
        model.model.rope_deltas = None
        sequence = torch.cat([replaced, output.sequences[:, length:]], 1)
        positions = torch.cat([calls[0], rec.tensors[f"{prefix}.decode.position_ids"][:, :, :6]], 2)
        logits = model(input_ids=sequence, position_ids=positions, use_cache=False).logits
        rec.tensors |= {f"{prefix}.teacher.input_ids": sequence, f"{prefix}.teacher.position_ids": positions, f"{prefix}.teacher.logits": logits.detach(),
                        f"{prefix}.logits": logits[:, :length].detach()}  # fmt: skip
        if not images:
            layer = "model.language_model.layers.0"
            rec.gradients("ar", logits, model, [
                "lm_head.weight", "model.language_model.norm.weight", f"{layer}.input_layernorm.weight", f"{layer}.self_attn.q_proj.bias",
                f"{layer}.self_attn.k_proj.weight", f"{layer}.mlp.gate_up_proj.weight", f"{layer}.post_mlp_layernorm.weight"])  # fmt: skip


def record_dit(rec: Recorder, pipe: GlmImagePipeline) -> None:
    dit, config = pipe.transformer, pipe.transformer.config
    glyphs = rec.normal(1, 5, config.text_embed_dim)

    def request(height, width, batch=1, g=5, drop=False, timestep=700.0, crop=(0.0, 0.0)):
        tokens = height // 16 * (width // 16)
        return dict(
            hidden_states=rec.normal(batch, config.in_channels, height // 8, width // 8), encoder_hidden_states=glyphs[:, :g].repeat(batch, 1, 1),
            prior_token_id=rec.integers(config.prior_vq_quantizer_codebook_size, batch, tokens),
            prior_token_drop=torch.full((batch, tokens), drop), timestep=torch.full((batch,), timestep),
            target_size=torch.tensor([[float(height), float(width)]]).repeat(batch, 1), crop_coords=torch.tensor([crop]).repeat(batch, 1),
        )  # fmt: skip

    short = {"hidden_states": "latents", "encoder_hidden_states": "glyphs", "prior_token_id": "prior", "prior_token_drop": "drop"}

    def run(name, inputs, cache=None, mode=None):
        if cache is not None:
            cache.set_mode(mode)
        output = dit(**inputs, kv_caches=cache, return_dict=False)[0]
        rec.tensors |= {f"dit.{name}.{short.get(key, key)}": value for key, value in inputs.items()}
        rec.tensors[f"dit.{name}.out"] = output.detach()
        return output

    conditional = request(32, 48)
    block = dit.transformer_blocks[0]
    inner = {
        "dit.cond.time_embed": dit.time_condition_embed,
        "dit.cond.image_projector.out": dit.image_projector,
        "dit.cond.glyph_projector.out": dit.glyph_projector,
        "dit.cond.prior_projector.out": dit.prior_projector,
        "dit.cond.block.0.modulation": block.norm1.linear,
        "dit.cond.block.0.attention": block.attn1,  # image, then `.1` glyphs
        "dit.cond.block.0.out": block,  # image, then `.1` glyphs
        "dit.cond.norm_out.out": dit.norm_out,
    }
    with torch.no_grad(), rec.outputs_of(inner):
        run("cond", conditional)
    cosine, sine = dit.rope(conditional["hidden_states"])
    rec.tensors |= {"dit.cond.rope.cos": cosine, "dit.cond.rope.sin": sine}
    with torch.no_grad():
        run("dropped", {**conditional, "prior_token_drop": torch.ones_like(conditional["prior_token_drop"])})
        run("no_glyphs", {**conditional, "encoder_hidden_states": glyphs[:, :0]})
        batch = request(48, 32, batch=2, g=3, timestep=19.0, crop=(8.0, 24.0))
        batch["prior_token_drop"] = rec.integers(2, 2, 6).bool()
        batch["timestep"] = torch.tensor([19.0, 999.0])
        run("batch", batch)
        # Two references of one sample, then the target with one and with both, and once past them.
        cache = GlmImageKVCache(config.num_layers)
        first, second = request(32, 32, g=0, timestep=0.0), request(32, 64, g=0, timestep=0.0)
        run("reference.0", first, cache, "write")
        rec.tensors["dit.reference.0.cache.0.k"], rec.tensors["dit.reference.0.cache.0.v"] = cache[0].k_caches[0], cache[0].v_caches[0]
        run("read_one", conditional, cache, "read")
        run("reference.1", second, cache, "write")
        run("read_two", conditional, cache, "read")
        run("skip", conditional, cache, "skip")
    for name in ("dropped", "no_glyphs", "read_one", "read_two", "skip"):  # same inputs as `cond` but for drop and glyphs
        for key in ("latents", "prior", "timestep", "target_size", "crop_coords", *(("drop", "glyphs") if name in ("read_one", "read_two", "skip") else ())):
            del rec.tensors[f"dit.{name}.{key}"]

    learner = request(32, 32, timestep=333.0)
    learner["prior_token_drop"][0, 1] = True
    learner["encoder_hidden_states"] = learner["encoder_hidden_states"].clone().requires_grad_()
    learner["hidden_states"].requires_grad_()
    output = run("train", learner)
    rec.gradients("dit", output, dit, [
        "image_projector.proj.weight", "glyph_projector.net.0.proj.weight", "prior_token_embedding.weight", "prior_projector.net.0.proj.bias",
        "time_condition_embed.timestep_embedder.linear_1.weight", "time_condition_embed.condition_embedder.linear_2.weight",
        "transformer_blocks.0.norm1.linear.bias", "transformer_blocks.0.attn1.to_q.weight", "transformer_blocks.0.attn1.to_k.bias",
        "transformer_blocks.0.ff.net.2.weight", "norm_out.linear.weight", "proj_out.bias",
    ], {"latents": learner["hidden_states"], "glyphs": learner["encoder_hidden_states"]})  # fmt: skip


def write_modules(sink: Sink, spec: Spec, pipe: GlmImagePipeline, root: Path) -> None:
    rec = Recorder(1000 + spec.seed)
    record_vae(rec, pipe)
    record_glyph(rec, pipe)
    record_visual(rec, pipe)
    names = ("square512",) if spec.published_preprocessing else ("wide96x64", "square64")
    record_ar(rec, pipe, [read_picture(root, name) for name in names])
    record_dit(rec, pipe)
    sink.tensors("modules.safetensors", rec.tensors)


def write_schedule(sink: Sink, pipe: GlmImagePipeline) -> None:
    """sigmas and DiT times for many sizes and step counts, through the pipeline itself with a DiT that answers zero."""
    tensors = {}
    transformer = pipe.transformer
    for width, height, steps in ((1024, 1024, 50), (512, 512, 3), (1152, 768, 50), (2048, 2048, 20), (64, 96, 1), (32, 32, 7), (2048, 512, 999), (96, 64, 1000)):
        times = []

        def silent(hidden_states, timestep, **_):
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
        tensors |= {f"{key}.sigmas": pipe.scheduler.sigmas, f"{key}.timesteps": pipe.scheduler.timesteps, f"{key}.dit_times": torch.stack(times)}
    sink.tensors("schedule.safetensors", tensors)


# --------------------------------------------------------------------------------------------------------------------
# Main
# --------------------------------------------------------------------------------------------------------------------


def versions() -> dict:
    packages = {"torch": torch, "transformers": transformers, "diffusers": diffusers, "tokenizers": tokenizers,
                "safetensors": safetensors, "numpy": np, "pillow": PIL}  # fmt: skip
    return {"python": platform.python_version(), "machine": platform.machine(),
            **{name: package.__version__ for name, package in packages.items()}}  # fmt: skip


def describe(spec: Spec) -> dict:
    content = dataclasses.asdict(spec)
    content["storage"] = str(spec.storage).removeprefix("torch.")
    return content


def golden_of(spec: Spec, sink: Sink, root: Path, rebuild: bool) -> None:
    checkpoint = sink.root / "checkpoint"
    if not sink.check and (rebuild or not (checkpoint / "model_index.json").exists()):
        build_checkpoint(spec, checkpoint)
    pipe = load_pipeline(checkpoint)
    write_modules(sink, spec, pipe, root)
    write_schedule(sink, pipe)
    cases = write_cases(sink, spec, pipe, root)
    sink.json("manifest.json", {"name": spec.name, "spec": describe(spec), "cases": cases})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "tests" / "golden")
    parser.add_argument("--check", action="store_true", help="compare with the stored files instead of writing")
    parser.add_argument("--rebuild", action="store_true", help="build the checkpoints anew even if they exist")
    parser.add_argument("--only", help="comma-separated names out of: shared, " + ", ".join(s.name for s in SPECS))
    parser.add_argument("--random-config", type=int, metavar="SEED", help="one checkpoint with widths drawn from SEED")
    parser.add_argument("--name", help="name of the random checkpoint")
    parser.add_argument("--seed", type=int, help="seed of its weights")
    arguments = parser.parse_args()

    specs = SPECS
    if arguments.random_config is not None:
        specs = [random_spec(arguments.random_config)]
        specs[0].name = arguments.name or specs[0].name
        specs[0].seed = specs[0].seed if arguments.seed is None else arguments.seed
    wanted = set(arguments.only.split(",")) if arguments.only else {"shared", *(s.name for s in specs)}

    torch.set_num_threads(1)
    sinks = []
    if not arguments.check and (arguments.rebuild or not (arguments.out / "pictures").exists()):
        write_pictures(arguments.out)
    for spec in specs:
        if spec.name in wanted:
            sinks.append(Sink(arguments.out / spec.name, arguments.check))
            golden_of(spec, sinks[-1], arguments.out, arguments.rebuild)
    if not arguments.check:
        write_json(arguments.out / "manifest.json", {"versions": versions(), "image_backend": "pillow", "checkpoints": [s.name for s in specs]})
    differences = [f"{sink.root.name}/{line}" for sink in sinks for line in sink.differences]
    print("\n".join(differences) or f"{sum(sink.files for sink in sinks)} files {'agree' if arguments.check else 'written'}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
