# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Single layers of the reference classes at the published widths, with random weights: the work of bench/layers.h under
the same keys. Each function builds its part and hands what is to be timed to `timer`."""

from dataclasses import dataclass

import diffusers
import torch


@dataclass
class LayerSizes:
    """As LayerSizes in bench/layers.h."""

    ar_width: int = 4096
    ar_feed_forward: int = 13696
    ar_heads: int = 32
    ar_kv_heads: int = 2
    visual_vocabulary: int = 16512
    prompt_tokens: int = 1024
    cached_tokens: int = 1300
    dit_heads: int = 32
    dit_head_dim: int = 128
    time_dim: int = 512
    glyph_tokens: int = 16
    image_tokens: int = 1024
    vision_width: int = 1536
    vision_feed_forward: int = 6144
    vision_heads: int = 16
    vision_tokens: int = 1024
    glyph_width: int = 1472
    glyph_feed_forward: int = 3584
    glyph_heads: int = 6
    glyph_head_dim: int = 64
    glyph_layers: int = 2
    vae_widths: tuple = (128, 512, 1024, 1024)
    vae_layers: int = 3
    vae_groups: int = 32
    picture_sides: tuple = (512,)


QUICK = LayerSizes(
    ar_width=64, ar_feed_forward=96, ar_heads=4, ar_kv_heads=2, visual_vocabulary=256, prompt_tokens=32,
    cached_tokens=40, dit_heads=2, dit_head_dim=32, time_dim=16, image_tokens=16, vision_width=64,
    vision_feed_forward=96, vision_heads=4, vision_tokens=16, glyph_width=64, glyph_feed_forward=96, glyph_heads=2,
    glyph_head_dim=16, vae_widths=(8, 16, 16, 16), vae_layers=1, vae_groups=4, picture_sides=(64,),
)  # fmt: skip


def fill(module, dtype):
    """The spread of the weights that bench_pipeline draws; norms stay at one."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.02, generator=generator)
    return module.to(dtype).eval()


def bench_products(timer, sizes, dtype):
    d, f = sizes.ar_width, sizes.ar_feed_forward
    kv, w = d // sizes.ar_heads * sizes.ar_kv_heads, sizes.dit_heads * sizes.dit_head_dim
    ar, dit = [(d, d + 2 * kv), (d, d), (d, 2 * f), (f, d)], [(w, 3 * w), (w, w), (w, 4 * w), (4 * w, w)]
    image = sizes.image_tokens + sizes.glyph_tokens
    for key, tokens, shapes in (("ar_1", 1, ar), ("ar_many", sizes.prompt_tokens, ar), ("dit_many", image, dit)):
        matrices = fill(torch.nn.ModuleList(torch.nn.Linear(a, b, bias=False) for a, b in shapes), dtype)
        inputs = [torch.randn(1, tokens, a, dtype=dtype) for a, _ in shapes]

        def work(matrices=matrices, inputs=inputs):
            return [matrix(x) for matrix, x in zip(matrices, inputs)]

        timer.measure(f"products.{key}", work, runs=4 if tokens == 1 else 1)


def ar_model(sizes, dtype):
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
    return fill(GlmImageTextModel._from_config(config, attn_implementation="sdpa"), dtype), config


def bench_ar_layer(timer, sizes, dtype):
    from transformers.cache_utils import DynamicCache

    model, config = ar_model(sizes, dtype)
    forward = timer.compiled(model)

    def run(model, embeddings, first, cache):
        count = embeddings.shape[1]
        positions = torch.arange(first, first + count).expand(3, 1, count)
        return model(inputs_embeds=embeddings, position_ids=positions, past_key_values=cache, use_cache=True)

    prompt = torch.randn(1, sizes.prompt_tokens, sizes.ar_width, dtype=dtype)
    timer.measure(f"ar_layer.prefill_{sizes.prompt_tokens}",
                  lambda: run(forward, prompt, 0, DynamicCache(config=config)))  # fmt: skip

    cache = DynamicCache(config=config)
    run(model, torch.randn(1, sizes.cached_tokens, sizes.ar_width, dtype=dtype), 0, cache)
    token = torch.randn(1, 1, sizes.ar_width, dtype=dtype)
    timer.measure(f"ar_layer.decode_{sizes.cached_tokens}",
                  lambda: run(forward, token, cache.get_seq_length(), cache), runs=4)  # fmt: skip

    head = fill(torch.nn.Linear(sizes.ar_width, sizes.visual_vocabulary, bias=False), dtype)
    scores = timer.compiled(head)
    timer.measure("ar_head.scores", lambda: scores(token), runs=4)


def bench_dit_layer(timer, sizes, dtype):
    from diffusers.models.transformers.transformer_glm_image import GlmImageRotaryPosEmbed, GlmImageTransformerBlock

    width = sizes.dit_heads * sizes.dit_head_dim
    block = timer.compiled(fill(GlmImageTransformerBlock(width, sizes.dit_heads, sizes.dit_head_dim, sizes.time_dim), dtype))
    rope = GlmImageRotaryPosEmbed(sizes.dit_head_dim, patch_size=2, theta=10000.0)
    e = torch.randn(1, sizes.time_dim, dtype=dtype)
    for side in sizes.picture_sides:
        image = torch.randn(1, (side // 16) ** 2, width, dtype=dtype)
        glyphs = torch.randn(1, sizes.glyph_tokens, width, dtype=dtype)
        angles = rope(torch.empty(1, 16, side // 8, side // 8))
        timer.measure(f"dit_layer.step_{side}", lambda: block(image, glyphs, e, angles))


def bench_vision_layer(timer, sizes, dtype):
    from transformers.models.glm_image.configuration_glm_image import GlmImageVisionConfig
    from transformers.models.glm_image.modeling_glm_image import GlmImageVisionBlock

    config = GlmImageVisionConfig(hidden_size=sizes.vision_width, num_heads=sizes.vision_heads, depth=1,
                                  intermediate_size=sizes.vision_feed_forward)  # fmt: skip
    config._attn_implementation = "sdpa"
    block = timer.compiled(fill(GlmImageVisionBlock(config), dtype))
    x = torch.randn(sizes.vision_tokens, sizes.vision_width, dtype=dtype)
    bounds = torch.tensor([0, sizes.vision_tokens], dtype=torch.int32)
    timer.measure("vision_layer", lambda: block(x, cu_seqlens=bounds))


def bench_glyph_layers(timer, sizes, dtype):
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=384, d_model=sizes.glyph_width, d_kv=sizes.glyph_head_dim, d_ff=sizes.glyph_feed_forward,
        num_layers=sizes.glyph_layers, num_heads=sizes.glyph_heads, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    encoder = timer.compiled(fill(T5EncoderModel(config), dtype))
    ids = (torch.arange(sizes.glyph_tokens) * 7 % 200 + 3).unsqueeze(0)
    mask = torch.ones_like(ids)
    timer.measure("glyph_encoder", lambda: encoder(input_ids=ids, attention_mask=mask), runs=4)


def vae_of(sizes, dtype):
    vae = diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=16, block_out_channels=sizes.vae_widths,
        layers_per_block=sizes.vae_layers, norm_num_groups=sizes.vae_groups, act_fn="silu", sample_size=1024,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    return vae


def bench_vae_encoder(timer, sizes, dtype):
    encoder = fill(vae_of(sizes, dtype).encoder, dtype)
    run = timer.compiled(encoder)
    for side in sizes.picture_sides:
        pixels = torch.randn(1, 3, side, side, dtype=dtype)
        timer.measure(f"vae.encode_{side}", lambda: run(pixels))


def bench_vae_decoder(timer, sizes, dtype):
    decoder = fill(vae_of(sizes, dtype).decoder, dtype)
    run = timer.compiled(decoder)
    for side in sizes.picture_sides:
        latents = torch.randn(1, 16, side // 8, side // 8, dtype=dtype)
        timer.measure(f"vae.decode_{side}", lambda: run(latents))


PARTS = {
    "products": bench_products,
    "ar": bench_ar_layer,
    "dit": bench_dit_layer,
    "vision": bench_vision_layer,
    "glyph": bench_glyph_layers,
    "vae_encode": bench_vae_encoder,
    "vae_decode": bench_vae_decoder,
}
