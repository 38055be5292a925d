# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Random weights in the reference's classes, saved in the published layout and loaded back."""

import random
import shutil
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, GlmImagePipeline, GlmImageTransformer2DModel
from transformers import ByT5Tokenizer, GlmImageConfig, GlmImageForConditionalGeneration, T5Config, T5EncoderModel

from .processor import SPECIALS, write_processor
from .recording import write_json
from .specs import Spec

diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


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
    write_companions(spec, folder)


def write_companions(spec: Spec, folder: Path) -> None:
    """What has no weights: the byte tokenizer's settings, the scheduler and the index."""
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
