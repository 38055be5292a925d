# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs, outputs, inner values and gradients of each module."""

from pathlib import Path

import torch
from diffusers import GlmImagePipeline
from diffusers.models.transformers.transformer_glm_image import GlmImageKVCache
from PIL import Image

from .pictures import read_picture
from .recording import Recorder, Sink, wrapped
from .specs import Spec


def record_vae(rec: Recorder, pipe: GlmImagePipeline) -> None:
    vae = pipe.vae
    picture = rec.normal(1, 3, 24, 32).clamp(-1, 1).requires_grad_()
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
    rec.gradients(
        "vae.encoder",
        moments,
        vae,
        [
            "encoder.conv_in.weight",
            "encoder.down_blocks.0.downsamplers.0.conv.weight",
            "encoder.down_blocks.1.resnets.0.norm1.weight",
            "encoder.mid_block.resnets.1.conv2.bias",
            "encoder.conv_out.weight",
        ],
        {"in": picture},
    )

    latents = rec.normal(1, vae.config.latent_channels, 3, 4).requires_grad_()
    inner = {
        "vae.decoder.conv_in.out": vae.decoder.conv_in,
        "vae.decoder.mid_block.out": vae.decoder.mid_block,
        "vae.decoder.up_blocks.0.out": vae.decoder.up_blocks[0],
        "vae.decoder.up_blocks.2.resnets.0.out": vae.decoder.up_blocks[2].resnets[0],
    }
    with rec.outputs_of(inner):
        decoded = vae.decode(latents, return_dict=False)[0]
    rec.tensors |= {"vae.decoder.in": latents.detach(), "vae.decoder.out": decoded.detach()}
    rec.gradients(
        "vae.decoder",
        decoded,
        vae,
        [
            "decoder.conv_in.weight",
            "decoder.up_blocks.0.upsamplers.0.conv.weight",
            "decoder.up_blocks.3.resnets.0.norm1.bias",
            "decoder.mid_block.resnets.0.conv1.weight",
            "decoder.conv_out.weight",
        ],
        {"in": latents},
    )


def record_tiled_vae(rec: Recorder, pipe: GlmImagePipeline) -> None:
    """Tiling with tiles of sample_size pixels, at sizes that the step does not divide."""
    vae, tile = pipe.vae, pipe.vae.config.sample_size
    latents = rec.normal(1, vae.config.latent_channels, tile // 8 + 1, tile // 8 + 4)
    picture = rec.normal(1, 3, tile, tile + 16).clamp(-1, 1)
    vae.enable_tiling()
    with torch.no_grad():
        rec.tensors |= {
            "vae.tiled.decoder.in": latents,
            "vae.tiled.decoder.out": vae.decode(latents, return_dict=False)[0],
            "vae.tiled.encoder.in": picture,
            "vae.tiled.encoder.out": vae._encode(picture),
        }
    vae.disable_tiling()


def record_glyph(rec: Recorder, pipe: GlmImagePipeline) -> None:
    encoder = pipe.text_encoder
    ids = rec.integers(259, 1, 140, low=3)  # longer than max_distance, so that every bucket is used
    blocks = encoder.encoder.block
    inner = {"glyph.block.0.attention.out": blocks[0].layer[0], "glyph.block.0.out": blocks[0].layer[1]}
    bias = {}
    record_bias = wrapped(blocks[0].layer[0].SelfAttention, "compute_bias", lambda out, *_, **__: bias.update(out=out))
    with rec.outputs_of(inner), record_bias:
        output = encoder(ids).last_hidden_state
    rec.tensors |= {
        "glyph.in_ids": ids,
        "glyph.out": output.detach(),
        "glyph.bias.row0": bias["out"][0, :, 0].detach(),
        "glyph.bias.row_last": bias["out"][0, :, -1].detach(),
    }
    del rec.tensors["glyph.block.0.attention.out.1"]  # the whole bias: large
    rec.gradients(
        "glyph",
        output,
        encoder,
        [
            "shared.weight",
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            "encoder.block.0.layer.0.SelfAttention.q.weight",
            "encoder.block.1.layer.1.DenseReluDense.wi_0.weight"
            if len(blocks) > 1
            else "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
            "encoder.block.0.layer.1.DenseReluDense.wo.weight",
            "encoder.final_layer_norm.weight",
        ],
    )
    with torch.no_grad():
        rec.tensors |= {
            "glyph.end_only.in_ids": torch.tensor([[1]]),
            "glyph.end_only.out": encoder(torch.tensor([[1]])).last_hidden_state,
        }


def record_visual(rec: Recorder, pipe: GlmImagePipeline) -> None:
    """Two pictures in one call, grids 3×2 and 1×5."""
    model, tower = pipe.vision_language_encoder, pipe.vision_language_encoder.model.visual
    grid = torch.tensor([[1, 3, 2], [1, 1, 5]])
    pixels = rec.normal(11, 3 * 16 * 16).clamp(-1, 1)
    inner = {
        "visual.patch_embed.out": tower.patch_embed,
        "visual.embeddings.out": tower.embeddings,
        "visual.block.0.out": tower.blocks[0],
    }
    with rec.outputs_of(inner):
        features = tower(pixels, grid_thw=grid).last_hidden_state
    with torch.no_grad():
        ids = model.get_image_tokens(features, grid)
        z = model.model.vqmodel.quant_conv(features[:, :, None, None])[:, :, 0, 0]
    rec.tensors |= {
        "visual.pixel_values": pixels,
        "visual.grid": grid,
        "visual.features": features.detach(),
        "visual.ids": ids,
        "visual.z": z,
    }
    rec.gradients(
        "visual",
        features,
        model,
        [
            f"model.visual.{name}"
            for name in (
                "patch_embed.proj.bias",
                "embeddings.position_embedding.weight",
                "blocks.0.attn.qkv.weight",
                "blocks.0.mlp.fc1.bias",
                "blocks.0.norm1.weight",
            )
        ],
    )


def record_ar(rec: Recorder, pipe: GlmImagePipeline, pictures: list[Image.Image]) -> None:
    """Prefill and a few decode steps as `generate` runs them; teacher forcing with explicit positions and its gradients."""
    model = pipe.vision_language_encoder
    text = model.model.language_model
    requests = ("ar", "a cat and a 'dog', 12", [], 64, 96), ("ar_edit", "改成 red", pictures, 96, 64)
    for prefix, prompt, images, height, width in requests:
        content = [{"type": "image", "image": image} for image in images] + [{"type": "text", "text": prompt}]
        inputs = pipe.processor.apply_chat_template(
            [[{"role": "user", "content": content}]],
            tokenize=True,
            target_h=height,
            target_w=width,
            return_dict=True,
            return_tensors="pt",
        )
        calls = []
        torch.manual_seed(1)
        inner = {} if images else {"ar.layer.0.out": text.layers[0], "ar.norm.out": text.norm}
        record_positions = wrapped(text, "forward", lambda _, calls=calls, **kwargs: calls.append(kwargs["position_ids"]))
        with rec.outputs_of(inner), record_positions, torch.no_grad():
            output = model.generate(**inputs, max_new_tokens=6, output_logits=True, return_dict_in_generate=True)
        length = inputs["input_ids"].shape[1]
        rec.tensors |= {
            f"{prefix}.input_ids": inputs["input_ids"],
            f"{prefix}.grids": inputs["image_grid_thw"],
            f"{prefix}.decode.input_ids": output.sequences[:, length:],
            f"{prefix}.position_ids": calls[0],
            f"{prefix}.decode.position_ids": model.model._cached_decode_position_ids.permute(1, 0, 2),
            f"{prefix}.decode.logits": torch.stack(output.logits, 1),  # (1, 6, Vv): the k-th chooses the k-th new id
        }
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
        rec.tensors |= {f"{prefix}.teacher.input_ids": sequence, f"{prefix}.teacher.position_ids": positions}
        # Of the long edit prompts only the logits of the last 16 prompt positions.
        rec.tensors[f"{prefix}.logits"] = logits[:, length - 16 if images else 0 : length].detach()
        rec.tensors[f"{prefix}.teacher.logits"] = logits[:, length - 16 if images else 0 :].detach()
        if not images:
            layer = "model.language_model.layers.0"
            rec.gradients(
                "ar",
                logits,
                model,
                [
                    "lm_head.weight",
                    "model.language_model.norm.weight",
                    f"{layer}.input_layernorm.weight",
                    f"{layer}.self_attn.q_proj.bias",
                    f"{layer}.self_attn.k_proj.weight",
                    f"{layer}.mlp.gate_up_proj.weight",
                    f"{layer}.post_mlp_layernorm.weight",
                ],
            )


def record_dit(rec: Recorder, pipe: GlmImagePipeline) -> None:
    dit, config = pipe.transformer, pipe.transformer.config
    glyphs = rec.normal(1, 5, config.text_embed_dim)

    def request(height, width, batch=1, g=5, drop=False, timestep=700.0, crop=(0.0, 0.0)):
        tokens = height // 16 * (width // 16)
        return dict(
            hidden_states=rec.normal(batch, config.in_channels, height // 8, width // 8),
            encoder_hidden_states=glyphs[:, :g].repeat(batch, 1, 1),
            prior_token_id=rec.integers(config.prior_vq_quantizer_codebook_size, batch, tokens),
            prior_token_drop=torch.full((batch, tokens), drop),
            timestep=torch.full((batch,), timestep),
            target_size=torch.tensor([[float(height), float(width)]]).repeat(batch, 1),
            crop_coords=torch.tensor([crop]).repeat(batch, 1),
        )

    short = {
        "hidden_states": "latents",
        "encoder_hidden_states": "glyphs",
        "prior_token_id": "prior",
        "prior_token_drop": "drop",
    }

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
        rec.tensors["dit.reference.0.cache.0.k"], rec.tensors["dit.reference.0.cache.0.v"] = (
            cache[0].k_caches[0],
            cache[0].v_caches[0],
        )
        run("read_one", conditional, cache, "read")
        run("reference.1", second, cache, "write")
        run("read_two", conditional, cache, "read")
        run("skip", conditional, cache, "skip")
    # Same inputs as `cond`, but for `drop` and `glyphs` of the first two.
    for name in ("dropped", "no_glyphs", "read_one", "read_two", "skip"):
        changed = ("drop", "glyphs") if name in ("dropped", "no_glyphs") else ()
        for key in ("latents", "glyphs", "prior", "drop", "timestep", "target_size", "crop_coords"):
            if key not in changed:
                del rec.tensors[f"dit.{name}.{key}"]

    learner = request(32, 32, timestep=333.0)
    learner["prior_token_drop"][0, 1] = True
    learner["encoder_hidden_states"] = learner["encoder_hidden_states"].clone().requires_grad_()
    learner["hidden_states"].requires_grad_()
    output = run("train", learner)
    rec.gradients(
        "dit",
        output,
        dit,
        [
            "image_projector.proj.weight",
            "glyph_projector.net.0.proj.weight",
            "prior_token_embedding.weight",
            "prior_projector.net.0.proj.bias",
            "time_condition_embed.timestep_embedder.linear_1.weight",
            "time_condition_embed.condition_embedder.linear_2.weight",
            "transformer_blocks.0.norm1.linear.bias",
            "transformer_blocks.0.attn1.to_q.weight",
            "transformer_blocks.0.attn1.to_k.bias",
            "transformer_blocks.0.ff.net.0.proj.bias",
            "norm_out.linear.weight",
            "proj_out.bias",
        ],
        {"latents": learner["hidden_states"], "glyphs": learner["encoder_hidden_states"]},
    )


def write_modules(sink: Sink, spec: Spec, pipe: GlmImagePipeline, root: Path) -> None:
    rec = Recorder(1000 + spec.seed, with_gradients=spec.storage == torch.float32)
    record_vae(rec, pipe)
    if spec.vae_sample_size <= 64:
        record_tiled_vae(rec, pipe)
    record_glyph(rec, pipe)
    record_visual(rec, pipe)
    names = ("square512",) if spec.published_preprocessing else ("wide96x64", "square64")
    record_ar(rec, pipe, [read_picture(root, name) for name in names])
    record_dit(rec, pipe)
    sink.tensors("modules.safetensors", rec.tensors)
